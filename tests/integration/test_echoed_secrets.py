# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that sends back what it was sent, wherever it can: none of it is shown. Ansible masks what modules return on targets, so here the
controller asks.
"""

from __future__ import annotations

import base64
import contextlib
import json
from urllib.parse import quote

import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in
from ansible_collections.gpufleet.lmstudio.tests.raw_server import Answering, http

TOKEN = "sk-lm-AbCdEfGh:QwErTyUiOp0123456789ZZ"
SSH = {"ansible_connection": "ssh"}


def model(key, *ids, **more):
    return {"type": "llm", "key": key, "loaded_instances": [{"id": name, "config": {"context_length": 4096}} for name in ids], **more}


def listing(*models):
    return http(json.dumps({"models": models}).encode())


def older(state):
    return http(json.dumps({"data": [{"id": "m/ok", "object": "model", "type": "llm", "state": state}]}).encode())


def refusal(**error):
    return http(json.dumps({"error": error}).encode(), status=b"400 Bad Request")


def shown_of(secret, text, least=5):
    """The longest run of characters of a secret in a text, of at least so many."""
    text, secret = text.lower(), secret.lower()
    runs = (secret[start : start + size] for size in range(len(secret), least - 1, -1) for start in range(len(secret) - size + 1))
    return next((run for run in runs if run in text), "")


@contextlib.contextmanager
def servers(answers):
    """A server for each host, as {name: its URL}."""
    with contextlib.ExitStack() as stack:
        yield {name: f"http://127.0.0.1:{stack.enter_context(Answering(answer)).port}" for name, answer in answers.items()}


def hosts_at(urls, **variables):
    return {name: {**SSH, "ansible_host": "192.0.2.7", "lmstudio_controller_url": url, **variables} for name, url in urls.items()}


def state_of(state, load=None):
    """A server that says this of its model in the older list. With `load`, its answer to a load, the model is not loaded before."""
    loaded = load is None

    def answer(method, path):
        nonlocal loaded
        if method == "POST":
            loaded = b" 504 " in load
            return load
        return older(state) if "v0" in path else listing(model("m/ok", *["m/ok"] * loaded))

    return answer


CONFIRMING = """
- name: Confirm what is loaded
  hosts: all
  gather_facts: false
  tasks:
    - name: One
      gpufleet.lmstudio.model_assert: {via: controller, confirm_loaded: true, require: [{model: m/ok}]}
      ignore_errors: true
    - name: All
      gpufleet.lmstudio.fleet_assert: {confirm_loaded: true, quiet: false, require: [{model: m/ok}]}
      ignore_errors: true
      run_once: true
    - name: Load it
      gpufleet.lmstudio.model: {model: m/ok, via: controller, load_timeout: "{{ longest }}"}
      ignore_errors: true
"""


def test_a_secret_in_a_state_and_in_an_error_of_the_older_list_and_of_a_load_is_masked(run):
    answers = {
        "state": state_of(TOKEN),
        "long-state": state_of("x" * 60 + TOKEN),
        "unclear-load": state_of(TOKEN, http(b"", status=b"504 Gateway Timeout")),
        "type": state_of("loaded", refusal(type=TOKEN, message="")),
        "long-type": state_of("loaded", refusal(type="x" * 60 + TOKEN, message="")),
        "message": state_of("loaded", refusal(type="invalid_request", message=f"bad key {TOKEN}")),
    }
    with servers(answers) as urls:
        hosts = hosts_at(urls, lmstudio_token=TOKEN, longest=60)
        # Whether this load ends is waited for until then.
        hosts["unclear-load"]["longest"] = 1
        outcome = run(CONFIRMING, hosts, "-vvv", connection={})
    assert "says that its state is ********" in outcome.output and "was not loaded: ********" in outcome.output
    assert not shown_of(TOKEN, outcome.output)


CUTTING = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: One
      gpufleet.lmstudio.model_info: {via: controller, on_error: report}
    - name: All
      gpufleet.lmstudio.fleet_info: {detail: full}
      run_once: true
    - name: Load it
      gpufleet.lmstudio.model: {model: m/ok, via: controller}
      ignore_errors: true
    - name: Audit
      ansible.builtin.include_role: {name: gpufleet.lmstudio.fleet_audit}
      vars: {fleet_audit_dest: audit}
      run_once: true
"""


def test_what_was_cut_before_it_is_masked_is_masked(run, tmp_path):
    token = TOKEN.replace(":", "-")
    wrong = [model("x" * size + token, size_bytes="x") for size in range(40, 80, 3)]

    def refusing(method, path):
        return refusal(type="invalid_request", message=f"bad key {token[:14]}") if method == "POST" else listing(model("m/ok"))

    answers = {
        "coding": lambda *_request: http(b"x", b"Content-Encoding: " + token.encode()),
        "late-coding": lambda *_request: http(b"x", b"Content-Encoding: x-x-x-x-" + token.encode()),
        "redirect": lambda *_request: http(b"", b"Location: http://" + b"a." * 85 + token.encode() + b"/", status=b"302 Found"),
        "keys": lambda *_request: listing(*wrong),
        "wrong-key": lambda *_request: listing({**model("x" * 60 + token), "type": 5}),
        "fields": lambda *_request: listing(model("m", **{"x" * 60 + token: json.loads("[" * 20 + "]" * 20)})),
        "quoted": refusing,
    }
    inventory = {"plugin": "gpufleet.lmstudio.lmstudio", "hosts": "all", "detail": "full", "cache": True}
    inventory.update(cache_plugin="ansible.builtin.jsonfile", cache_connection="cache")
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump(inventory))
    with servers(answers) as urls:
        outcome = run(CUTTING, hosts_at(urls, lmstudio_token=token), "-i", "lmstudio.yml", "-vvv", connection={})
        listed = run_in(tmp_path, ["ansible-inventory", "-i", "inventory.yml", "-i", "lmstudio.yml", "--list"], {})
    assert "bad key ********'" in outcome.output and "to http://a.a." in outcome.output
    written = [path.read_text() for folder in ("audit", "cache") for path in (tmp_path / folder).iterdir()]
    assert len(written) == 3
    for text in (outcome.output, listed.stdout.replace(f'"lmstudio_token": "{token}"', ""), listed.stderr, *written):
        assert not shown_of(token, text), text


PASSWORD = "open-sesame-2026"
BASIC = base64.b64encode(f"api:{PASSWORD}".encode()).decode()
# The variables of a host, what its server sends back, and what of that must not be shown.
FORMS = {
    "phrase": ({"lmstudio_headers": {"X-Key": "correct horse battery staple"}}, "correct horse battery staple", "horse battery"),
    "cookie": ({"lmstudio_headers": {"Cookie": 'id="AbCdEf0123456789"; lang=en'}}, "AbCdEf0123456789", "0123456789"),
    "second-cookie": ({"lmstudio_headers": {"Cookie": "lang=en;id=AbCdEf0123456789"}}, "AbCdEf0123456789", "0123456789"),
    "short-header": ({"lmstudio_headers": {"X-Key": "hunter2abc"}}, "hunter2abc", "hunter2"),
    "short-token": ({"lmstudio_token": "hunter2abc"}, "hunter2abc", "hunter2"),
    "beginning": ({"lmstudio_headers": {"Authorization": f"Bearer {TOKEN}"}}, TOKEN[:10], TOKEN[5:10]),
    "short-bearer": ({"lmstudio_headers": {"Authorization": "Bearer hunter2abc"}}, "hunter2abc", "hunter2"),
    "basic": ({"lmstudio_headers": {"Authorization": f"Basic {BASIC}"}}, BASIC, BASIC[:10]),
    "decoded": ({"lmstudio_headers": {"Authorization": f"Basic {BASIC}"}}, f"api:{PASSWORD}", "sesame"),
    "password": ({"lmstudio_headers": {"Authorization": f"Basic {BASIC}"}}, PASSWORD, "sesame"),
    "number": ({"lmstudio_token": "1234567890123"}, 1234567890123, "1234567890123"),
    "in-a-url": ({"lmstudio_token": TOKEN}, f"/login?token={quote(TOKEN, safe='')}", "QwErTyUiOp"),
    "in-html": ({"lmstudio_headers": {"Authorization": f"Bearer {TOKEN}"}}, TOKEN.replace(":", "&#58;"), "QwErTyUiOp"),
    "in-json": ({"lmstudio_headers": {"Cookie": f"id={TOKEN}"}}, json.dumps({"id": TOKEN}).replace(":", "\\u003a"), "QwErTyUiOp"),
}


def test_every_form_of_a_secret_is_masked(run, tmp_path):
    answers = {}
    for name, (_variables, echo, _hidden) in FORMS.items():
        fields = {"size_bytes": echo, "extra": [{"a": echo}]} if isinstance(echo, int) else {}
        answers[name] = lambda *_request, name=name, echo=echo, fields=fields: listing(model(name if fields else echo, name, **fields))
    # A short text of a header is not a secret: it would mask parts of names.
    answers["plain"] = lambda *_request: listing(model("qwen/qwen3-8b", "1"))
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, detail: full}")
    with servers(answers) as urls:
        hosts = hosts_at(urls)
        for name, (variables, _echo, _hidden) in FORMS.items():
            hosts[name].update(variables)
        hosts["plain"]["lmstudio_headers"] = {"X-Version": 1, "X-Tenant": "qwen"}
        outcome = run(CUTTING, hosts, "-vvv", connection={})
        listed = run_in(tmp_path, ["ansible-inventory", "-i", "inventory.yml", "-i", "lmstudio.yml", "--list"], {})
    records = {name: own["lmstudio_record"] for name, own in json.loads(listed.stdout)["_meta"]["hostvars"].items()}
    for text in (outcome.output, json.dumps(records), *[path.read_text() for path in (tmp_path / "audit").iterdir()]):
        for name, (_variables, _echo, hidden) in FORMS.items():
            assert hidden.lower() not in text.lower(), name
    assert records["number"]["models"][0]["size_bytes"] is None
    assert "qwen/qwen3-8b" in str(records["plain"]["available"]) and not records["plain"]["warnings"]


PROXIED = """
- name: Ask through a proxy
  hosts: all
  gather_facts: false
  tasks:
    - name: From the host
      gpufleet.lmstudio.model_info: {on_error: report}
    - name: From the controller
      gpufleet.lmstudio.model_info: {via: controller, on_error: report}
    - name: All
      gpufleet.lmstudio.fleet_info: {detail: full}
      run_once: true
"""


def test_what_a_proxy_was_sent_is_masked_and_its_words_are_not_used(run):
    credentials = f"api:{PASSWORD}"
    answers = {
        "encoded": lambda *_request: listing(model(BASIC)),
        "plain": lambda *_request: listing(model(credentials), model(PASSWORD)),
        "refusing": lambda *_request: http(b"", status=f"407 bad {credentials} {BASIC} of somebody".encode()),
    }
    with servers(answers) as urls:
        for name, url in urls.items():
            proxy = url.replace("http://", f"http://api:{PASSWORD.replace('-', '%2D')}@")
            kind = "https" if name == "refusing" else "http"
            host = {"lmstudio_url": f"{kind}://gpu01.invalid:1234", "lmstudio_use_proxy": True}
            outcome = run(PROXIED, {name: host}, "-vvv", env={f"{kind}_proxy": proxy})
            assert outcome.output.count("********") >= 3 or name == "refusing"
            assert name != "refusing" or outcome.output.count("(tunnel connection failed: 407)") >= 3
            for secret in (PASSWORD, BASIC, "somebody"):
                assert not shown_of(secret, outcome.output, 8), name


def test_what_follows_an_at_in_the_password_of_a_proxy_is_not_taken_for_the_proxy(run):
    """An unescaped slash ends the user name and the password, whatever follows."""
    play = PROXIED.replace("gather_facts: false", "gather_facts: false\n  ignore_errors: true")
    with Answering(lambda *_request: listing(model("m"))) as other:
        for password in (f"open@127.0.0.1:{other.port}/sesame", f"open@127.0.0.1:{other.port}?sesame", "2026/sesame", "2026#sesame"):
            host = {"lmstudio_url": "http://gpu01.invalid:1234", "lmstudio_use_proxy": True, "lmstudio_token": TOKEN}
            outcome = run(play, {"gpu01": host}, "-vvv", env={"http_proxy": f"http://127.0.0.1:{password}@127.0.0.1:1"})
            assert outcome.output.count("the environment variable http_proxy is not a URL of the form http://HOST:PORT") >= 3, password
            assert "sesame" not in outcome.output and ":2026" not in outcome.output and not other.asked, password


def test_a_proxy_gets_nothing_of_a_host_in_no_proxy(run):
    # Nobody can connect to these addresses, so whoever tries to is told at once.
    networks, names = (
        ["http://255.255.255.255:1234", "http://[ff0e:0::1]:1234"],
        ["http://gpu.invalid.:1234", "http://dot.invalid:1234", "http://other.invalid:1234"],
    )
    hosts = {
        f"gpu{number}": {"lmstudio_url": url, "lmstudio_use_proxy": True, "lmstudio_token": TOKEN}
        for number, url in enumerate([*networks, *names])
    }
    asked = []
    with Answering(lambda _method, url: asked.append(url) or listing(model("m"))) as proxy:
        no_proxy = "10.0.0.0/8, 255.255.255.0/24, [ff0e::1], gpu.invalid, dot.invalid."
        run(PROXIED, hosts, env={"http_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": no_proxy})
    assert asked == ["http://other.invalid:1234/api/v1/models"] * 3
