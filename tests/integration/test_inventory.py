# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin, read by Ansible's own inventory manager and used by plays."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import time
from urllib.parse import urlsplit

import pytest
import trustme
import yaml
from ansible import constants
from ansible_collections.gpufleet.lmstudio.plugins.inventory.lmstudio import DOCUMENTATION
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in, sent_to, vaulted, words

TOKENS = {name: f"token-of-{name}" for name in ("gpu01", "gpu02", "gpu03")}
PLUGIN = {"plugin": "gpufleet.lmstudio.lmstudio"}
VOLATILE = ("asked_at", "response_ms")


def local(fleet, **more):
    """A source with the hosts of a simulated fleet, which the controller reaches over loopback."""
    hosts = {name: {"lmstudio_controller_url": url, **more.get(name, {})} for name, url in fleet.urls.items()}
    return {"gpu": {"hosts": hosts}}


def steady(variables):
    """Without what differs from one question to the next."""
    return {
        host: {name: value for name, value in own["lmstudio_record"].items() if name not in VOLATILE}
        for host, own in variables.items()
        if "lmstudio_record" in own
    }


@pytest.mark.matrix
def test_hosts_of_another_source_get_a_variable_and_groups(read_inventory, start):
    fleet = start(
        {
            "gpu01": {"payload": "two_loaded.json"},
            "gpu02": {"payload": "none_loaded.json"},
            "gpu03": {"fault": "refused"},
            "gpu04": {"fault": "unauthorized"},
            "mac01": {"payload": "mac.json"},
        }
    )
    read = read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": {**PLUGIN, "hosts": "gpu:!mac01"}}, refresh=True)
    assert read.groups == {
        "all": ["gpu01", "gpu02", "gpu03", "gpu04", "mac01"],
        "ungrouped": [],
        "gpu": ["gpu01", "gpu02", "gpu03", "gpu04", "mac01"],
        "lmstudio_ok": ["gpu01", "gpu02"],
        "lmstudio_not_ok": ["gpu03", "gpu04"],
        "lmstudio_status_ok": ["gpu01", "gpu02"],
        "lmstudio_status_refused": ["gpu03"],
        "lmstudio_status_auth": ["gpu04"],
        "lmstudio_loaded_qwen_qwen3_8b": ["gpu01"],
        "lmstudio_loaded_openai_gpt_oss_20b": ["gpu01"],
    }
    record = read.variables["gpu01"]["lmstudio_record"]
    assert record["loaded"] == ["openai/gpt-oss-20b", "qwen/qwen3-8b"] and record["detail"] == "loaded"
    assert [entry["key"] for entry in record["models"]] == ["qwen/qwen3-8b", "openai/gpt-oss-20b"]
    assert read.variables["gpu04"]["lmstudio_record"]["error"]["http_status"] == 401
    assert "lmstudio_record" not in read.variables["mac01"]
    for name in fleet.urls:
        assert not [key for key in read.variables[name] if key.startswith("ansible_") and key not in read.variables["mac01"]]
    assert read.refreshed["groups"] == read.groups
    assert steady(read.refreshed["variables"]) == steady(read.variables)
    assert [len(fleet.requests(name)) for name in fleet.urls] == [2, 2, 0, 2, 0]
    assert "2 of 4 hosts did not return a model list. gpu03: " in words(read)


@pytest.mark.matrix
def test_endpoints_become_hosts(read_inventory, start):
    fleet = start({"one": {}, "two": {"prefix": "/lm"}})
    one, two = (urlsplit(url).netloc for url in fleet.urls.values())
    config = {
        **PLUGIN,
        "endpoints": [
            one,
            fleet.urls["two"],
            "gpu[08:11:3].invalid",
            "https://lab[a:b].invalid/lm[1:1]",
            "127.[1:1].0.1:7",
            "::1",
            "[::1]:7",
        ],
        "timeout": 20,
        "on_error": "report",
    }
    read = read_inventory({"fleet.lmstudio.yml": config})
    assert read.variables, read.output
    urls = {name: own["lmstudio_record"]["url"] for name, own in read.variables.items()}
    assert urls == {
        "127.0.0.1_" + one.partition(":")[2]: f"http://{one}",
        "127.0.0.1_" + two.partition(":")[2]: fleet.urls["two"],
        "gpu08.invalid": "http://gpu08.invalid:1234",
        "gpu11.invalid": "http://gpu11.invalid:1234",
        "laba.invalid": "https://laba.invalid/lm1",
        "labb.invalid": "https://labb.invalid/lm1",
        "127.1.0.1": "http://127.1.0.1:7",
        "::1_1234": "http://[::1]:1234",
        "::1_7": "http://[::1]:7",
    }
    assert len(read.groups["lmstudio_ok"]) == 2
    assert set(read.variables) == set(read.groups["all"])
    read = read_inventory({"fleet.lmstudio.yml": {**PLUGIN, "endpoints": ["gpu[1:1].invalid", "gpu2.invalid:7"], "port": 9}})
    urls = [own["lmstudio_record"]["url"] for own in read.variables.values()]
    assert urls == ["http://gpu1.invalid:9", "http://gpu2.invalid:7"]


def test_an_endpoint_that_is_a_host_already_keeps_its_own_variables(read_inventory, start):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}, "gpu02": {}})
    hosts = local(fleet, gpu01={"lmstudio_token": TOKENS["gpu01"]})
    read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**PLUGIN, "endpoints": ["gpu01:1", "gpu02"], "hosts": ["gpu02"]}})
    assert read.groups["lmstudio_ok"] == ["gpu01", "gpu02"]
    assert read.variables["gpu01"]["lmstudio_record"]["url"] == fleet.urls["gpu01"]
    assert len(fleet.requests("gpu02")) == 1


@pytest.mark.matrix
@pytest.mark.parametrize(
    "headers", ["X-Key=key-of-the-fleet", "{{ 'X-Key=key-of-' ~ 'the-fleet' }}", "{{ {'X-Key': 'key-of-the-fleet'} }}"]
)
def test_headers_of_a_source_may_be_a_text_or_a_template_as_those_of_a_module(read_inventory, start, headers):
    fleet = start({"gpu01": {}})
    read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": {**PLUGIN, "hosts": "gpu", "headers": headers}})
    (request,) = fleet.requests("gpu01")
    assert request["headers"]["x-key"] == "key-of-the-fleet"


@pytest.mark.matrix
def test_a_vaulted_token_and_header_of_a_source_are_sent(start, tmp_path):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}})
    token, header = (vaulted(tmp_path, text) for text in (TOKENS["gpu01"], "key-of-the-fleet"))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(local(fleet)))
    # A vaulted text within a mapping is indented a few spaces more.
    header = header.rstrip().replace("\n", "\n    ")
    source = f"plugin: gpufleet.lmstudio.lmstudio\nhosts: gpu\ntoken: {token.rstrip()}\nheaders:\n  X-Key: {header}\n"
    (tmp_path / "lmstudio.yml").write_text(source)
    command = ["ansible-inventory", "-i", "hosts.yml", "-i", "lmstudio.yml", "--vault-password-file", "password", "--list", "-vvvv"]
    done = run_in(tmp_path, command, {})
    (request,) = fleet.requests("gpu01")
    assert (request["headers"]["authorization"], request["headers"]["x-key"]) == ("Bearer " + TOKENS["gpu01"], "key-of-the-fleet")
    assert TOKENS["gpu01"] not in done.stdout + done.stderr and "key-of-the-fleet" not in done.stdout + done.stderr


def test_a_vaulted_token_is_not_blamed_for_another_mistake(tmp_path):
    source = f"plugin: gpufleet.lmstudio.lmstudio\nhosts: all\ntimeout: soon\ntoken: {vaulted(tmp_path, 'token-of-all-hosts')}"
    (tmp_path / "lmstudio.yml").write_text(source)
    done = run_in(tmp_path, ["ansible-inventory", "-i", "lmstudio.yml", "--vault-password-file", "password", "--list"], {})
    assert "timeout" in done.stderr and "is not a string" not in done.stderr


def test_one_hosts_token_goes_to_that_host_only(run, start, tmp_path):
    fleet = start({**{name: {"token": token} for name, token in TOKENS.items()}, "gpu04": {}, "gpu05": {}})
    hosts = {name: {"lmstudio_controller_url": url} for name, url in fleet.urls.items()}
    hosts["gpu01"]["lmstudio_token"] = "{{ 'token-of-' ~ inventory_hostname }}"
    for folder, name, text in (
        ("host_vars", "gpu02", f"lmstudio_token: {vaulted(tmp_path, TOKENS['gpu02'])}"),
        ("group_vars", "three", f"lmstudio_token: {TOKENS['gpu03']}"),
        ("group_vars", "all", "lmstudio_timeout: 20\nlmstudio_headers: {X-Fleet: everyone}"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.yml").write_text(text)
    (tmp_path / "three.yml").write_text(yaml.safe_dump({"three": {"hosts": {"gpu03": {}}}}))
    text = "{plugin: gpufleet.lmstudio.lmstudio, hosts: 'all:!gpu05', token: \"{{ lookup('ansible.builtin.env', 'FLEET_TOKEN') }}\"}"
    (tmp_path / "lmstudio.yml").write_text(text)
    play = """
- name: Use the inventory
  hosts: lmstudio_ok
  serial: 1
  gather_facts: false
  tasks:
    - name: Every batch has one
      ansible.builtin.assert:
        that: lmstudio_record.ok and ansible_play_batch | length == 1
"""
    sources = ["-i", "three.yml", "-i", "lmstudio.yml", "--vault-password-file", "password"]
    env = {"FLEET_TOKEN": "token-of-the-fleet", "LM_API_TOKEN": "token-of-environment"}
    outcome = run(play, hosts, *sources, "-vvvv", env=env)
    assert outcome.output.count("failed=0") == 4
    assert [set(sent_to(fleet, name)) for name in TOKENS] == [{"Bearer " + token} for token in TOKENS.values()]
    assert set(sent_to(fleet, "gpu04")) == {"Bearer token-of-the-fleet"}
    assert fleet.requests("gpu05") == []
    assert {request["headers"]["x-fleet"] for request in fleet.requests("gpu01")} == {"everyone"}
    for token in (*TOKENS.values(), "token-of-the-fleet"):
        # Output of -vvvv names the token of a host variable nowhere, but the inventory file has two of them as text.
        assert token not in outcome.output


def test_without_vars_plugins_only_the_inventory_counts(read_inventory, start):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}})
    files = {"hosts.yml": local(fleet), "host_vars/gpu01.yml": {"lmstudio_token": TOKENS["gpu01"]}}
    for used in (True, False):
        read = read_inventory({**files, "lmstudio.yml": {**PLUGIN, "hosts": "gpu", "use_vars_plugins": used}})
        assert read.groups["lmstudio_ok"] == (["gpu01"] if used else [])
    read = read_inventory({**files, "lmstudio.yml": {**PLUGIN, "hosts": "gpu"}}, extra_vars=("lmstudio_token=extra",))
    assert read.groups["lmstudio_status_auth"] == ["gpu01"]


@pytest.mark.parametrize("source", ["site/hosts.yml", "site"])
def test_variables_next_to_an_earlier_source_count(start, tmp_path, source):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}})
    for path, content in {
        "site/hosts.yml": local(fleet),
        "site/host_vars/gpu01.yml": {"lmstudio_token": TOKENS["gpu01"]},
        "elsewhere/lmstudio.yml": {**PLUGIN, "hosts": "gpu"},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(yaml.safe_dump(content))
    run_in(tmp_path, ["ansible-inventory", "-i", source, "-i", "elsewhere/lmstudio.yml", "--list"], {})
    assert sent_to(fleet, "gpu01") == ["Bearer " + TOKENS["gpu01"]]


def test_a_loopback_server_is_still_asked_on_its_host(run, start, tmp_path):
    fleet = start({"gpu01": {"payload": "mac.json"}})
    play = """
- name: Ask again on the host itself
  hosts: all
  gather_facts: false
  tasks:
    - name: By the inventory it could not be asked
      ansible.builtin.assert:
        that: lmstudio_record.status == 'dns' and 'ansible_host' not in vars
    - name: On the host
      gpufleet.lmstudio.model_info:
      register: answer
    - name: From the controller as before
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: remote
    - name: Each as without the inventory
      ansible.builtin.assert:
        that:
          - answer.lmstudio.ok and answer.lmstudio.url == lmstudio_url
          - remote.lmstudio.status == 'dns'
          - hostvars[inventory_hostname].lmstudio_record.status == 'dns'
    - name: Read the inventory again
      ansible.builtin.meta: refresh_inventory
    - name: It is the same
      ansible.builtin.assert:
        that: lmstudio_record.status == 'dns' and groups.lmstudio_not_ok == ['gpu01.invalid']
    - name: On the host, once more
      gpufleet.lmstudio.model_info:
"""
    # A connection that is not local but needs no network.
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "elsewhere.py").write_text(
        "from ansible.plugins.connection.local import Connection, DOCUMENTATION\n"
        "DOCUMENTATION = DOCUMENTATION.replace('name: local', 'name: elsewhere')\n"
        "Connection.transport = 'elsewhere'\n"
    )
    hosts = {"gpu01.invalid": {"lmstudio_url": fleet.urls["gpu01"]}}
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump({**PLUGIN, "hosts": "all", "timeout": 20}))
    run(play, hosts, "-i", "lmstudio.yml", connection={"ansible_connection": "elsewhere"})


NAMES = [
    "{{ lookup('pipe', 'touch pwned') }}",
    "{% for x in y %}",
    "#jinja2:variable_start_string:'[[',variable_end_string:']]'\n[[ lookup('pipe', 'touch pwned') ]]",
    "two\nlines\ufffd[31m",
    "\"quotes\" and 'quotes'",
    "n" * 300,
    "modèle/日本語",
    "---",
    "!!!",
    "qwen/qwen3-8b",
    "qwen.qwen3_8b",
    "__ansible_type",
    "",
]
HOSTILE_SOURCE = """
plugin: gpufleet.lmstudio.lmstudio
hosts: gpu
detail: full
strict: true
compose:
  first: lmstudio_record.loaded[0]
  all_of_them: lmstudio_record.models | map(attribute='display_name') | list
  joined: lmstudio_record.loaded | join(' ')
  ids: "dict(lmstudio_record.instances | map(attribute='id') | zip(lmstudio_record.instances | map(attribute='model')))"
groups:
  has_dashes: "'---' in lmstudio_record.loaded"
keyed_groups:
  - key: lmstudio_record.loaded
    prefix: serves
  - key: lmstudio_record.models[0].display_name
    separator: ""
"""


def entry(name):
    return {"key": name, "type": "llm", "display_name": name, "loaded_instances": [{"id": name, "config": {}}]}


@pytest.mark.matrix
def test_hostile_names_are_text_everywhere(run, read_inventory, start, tmp_path):
    fleet = start({"gpu01": {"payload": {"models": [entry(name.replace("\ufffd", "\x1b")) for name in NAMES]}}})
    read = read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": HOSTILE_SOURCE})
    made = [name for name in read.groups if name.startswith(("lmstudio_loaded_", "serves_"))]
    assert len(made) == 2 * (len(NAMES) - 2)  # --- and !!! share a group, so do the two of qwen
    for name in read.groups:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,250}", name), name
    assert read.groups["has_dashes"] == ["gpu01"] == read.groups["lmstudio_loaded_qwen_qwen3_8b"]
    record = read.variables["gpu01"]["lmstudio_record"]
    assert record["available"] == sorted(NAMES) == record["loaded"]
    play = """
- name: Print and use everything
  hosts: lmstudio_loaded_qwen_qwen3_8b
  gather_facts: false
  tasks:
    - name: Print
      ansible.builtin.debug:
        msg: "{{ [lmstudio_record, first, all_of_them, joined, ids, group_names, groups] }}"
    - name: The exact keys are there
      ansible.builtin.assert:
        that:
          - "'qwen/qwen3-8b' in lmstudio_record.loaded and 'qwen.qwen3_8b' in lmstudio_record.loaded"
          - lmstudio_record.loaded == names | from_json
          - all_of_them | sort == names | from_json
          - first == names | from_json | first
          - joined == names | from_json | join(' ')
          - ids | dict2items | map(attribute='value') | sort == names | from_json | sort
    - name: Write
      ansible.builtin.copy:
        content: "{{ vars.lmstudio_record | to_json }}"
        dest: written.json
        mode: "0600"
"""
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"names": json.dumps(sorted(NAMES))}).replace("{{", "\\u007b\\u007b").replace("{%", "\\u007b%"))
    hosts = {"gpu01": {"lmstudio_controller_url": fleet.urls["gpu01"]}}
    (tmp_path / "lmstudio.yml").write_text(HOSTILE_SOURCE.replace("hosts: gpu", "hosts: all"))
    (tmp_path / "names.yml").write_text("names: !unsafe " + json.dumps(json.dumps(sorted(NAMES))) + "\n")
    outcome = run(play, hosts, "-i", "lmstudio.yml", "-e", "@names.yml", "-v")
    assert json.loads((tmp_path / "written.json").read_text())["loaded"] == sorted(NAMES)
    assert "\x1b" not in outcome.output
    assert not list(tmp_path.rglob("pwned"))


CACHED = {
    **PLUGIN,
    "hosts": "gpu",
    "on_error": "report",
    "cache": True,
    "cache_plugin": "ansible.builtin.jsonfile",
    "cache_connection": "cache",
}


UNSHARE = [command, "--map-root-user", "--net"] if (command := shutil.which("unshare")) else []


def cache_files(folder):
    return [path for path in (folder / "cache").iterdir() if path.is_file()]


@pytest.mark.matrix
def test_a_cache_answers_in_place_of_the_servers(read_inventory, start, tmp_path):
    # Longer than what may stand in a name, so that a beginning of it would be found as well.
    token = "sk-lm-Zq81x7Kw0pVt5"
    fleet = start(
        {
            "gpu01": {"payload": "two_loaded.json", "token": token},
            "gpu02": {"fault": "echoed_token"},
            "gpu03": {"fault": "refused"},
            "gpu04": {"fault": "unauthorized"},
        }
    )
    hosts = local(fleet, **{name: {"lmstudio_token": token} for name in fleet.urls})

    def asked():
        return [len(fleet.requests(name)) for name in fleet.urls]

    first = read_inventory({"hosts.yml": hosts, "lmstudio.yml": CACHED})
    assert asked() == [1, 1, 0, 1]
    (path,) = cache_files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token[:10] not in path.read_text()
    fleet.unload("gpu01", "qwen/qwen3-8b")
    fleet.fault("gpu03", None)
    written = path.stat().st_mtime_ns

    second = read_inventory({"hosts.yml": hosts, "lmstudio.yml": CACHED})
    assert asked() == [1, 1, 0, 2]  # A refused token is tried again.
    assert path.stat().st_mtime_ns == written
    assert second.groups == first.groups
    drop_401 = {name: own["lmstudio_record"] for name, own in first.variables.items() if name != "gpu04"}
    assert {name: own["lmstudio_record"] for name, own in second.variables.items() if name != "gpu04"} == drop_401

    # What is asked for changes at once, without a question.
    changed = {**CACHED, "detail": "full", "variable": "answer", "compose": {"n": "answer.counts.models"}, "hosts": "gpu01:gpu02"}
    third = read_inventory({"hosts.yml": hosts, "lmstudio.yml": changed})
    assert len(third.variables["gpu01"]["answer"]["models"]) == 4 == int(third.variables["gpu01"]["n"])
    assert "lmstudio_record" not in third.variables["gpu01"]
    assert asked() == [1, 1, 0, 2]

    # Where it is asked changes at once, with a question to that host.
    fourth = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**CACHED, "timeout": 9}}, extra_vars=("lmstudio_use_proxy=true",))
    assert asked() == [2, 2, 1, 3]
    assert fourth.groups["lmstudio_ok"] == ["gpu01", "gpu02", "gpu03"]
    assert [instance["id"] for instance in fourth.variables["gpu01"]["lmstudio_record"]["instances"]] == [
        "qwen/qwen3-8b:2",
        "openai/gpt-oss-20b",
    ]
    assert token[:10] not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_hosts_that_share_a_url_and_differ_in_their_tokens_are_not_kept(read_inventory, start):
    fleet = start(
        {"gateway": {"payload": "two_loaded.json"}, "gpu03": {"payload": "two_loaded.json"}, "gpu04": {"payload": "two_loaded.json"}}
    )
    hosts = local(fleet)
    both = hosts["gpu"]["hosts"]
    gateway = both.pop("gateway")
    # The same server, however its URL is written.
    other_spelling = {"lmstudio_controller_url": gateway["lmstudio_controller_url"].replace("127.0.0.1", "127.1")}
    both |= {"gpu01": {**gateway, "lmstudio_token": TOKENS["gpu01"]}, "gpu02": {**other_spelling, "lmstudio_token": TOKENS["gpu02"]}}
    both["gpu05"] = dict(both["gpu04"])
    files = {"hosts.yml": hosts, "lmstudio.yml": CACHED}
    read_inventory(files)
    # A gateway may choose the server by the token.
    both["gpu01"]["lmstudio_token"], both["gpu02"]["lmstudio_token"] = TOKENS["gpu02"], TOKENS["gpu01"]
    second = read_inventory(files)
    assert {name: len(fleet.requests(name)) for name in fleet.urls} == {"gateway": 4, "gpu03": 1, "gpu04": 1}
    assert second.groups["lmstudio_ok"] == ["gpu01", "gpu02", "gpu03", "gpu04", "gpu05"]


def test_a_link_in_a_cache_folder_does_not_change_the_mode_of_another_file(read_inventory, start, tmp_path):
    files = {"hosts.yml": local(start({"gpu01": {}})), "lmstudio.yml": CACHED}
    read_inventory(files)
    (path,) = cache_files(tmp_path)
    other = tmp_path / "other"
    other.write_text("")
    other.chmod(0o644)
    # In a folder for everyone, such as /tmp, anybody can make one.
    (path.parent / f"of_somebody_{path.name}").symlink_to(other)
    path.chmod(0o644)
    read_inventory(files)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(other.stat().st_mode) == 0o644


@pytest.mark.skipif(not UNSHARE or subprocess.run([*UNSHARE, "true"], check=False).returncode != 0, reason="needs namespaces of Linux")
def test_what_another_controller_had_on_its_loopback_address_is_not_in_a_shared_cache(read_inventory, start, tmp_path):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": CACHED})
    # In a network of its own, as another machine has: nothing listens there.
    command = [*UNSHARE, str(BINARIES / "ansible-inventory"), "-i", "hosts.yml", "-i", "lmstudio.yml", "--host", "gpu01"]
    done = run_in(tmp_path, command, {"ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"})
    record = json.loads(done.stdout)["lmstudio_record"]
    assert (record["ok"], record["loaded"]) == (False, [])
    assert len(cache_files(tmp_path)) == 1, "they share a cache"


def test_flush_and_refresh_ask_all_anew(run, start, tmp_path):
    fleet = start({"gpu01": {}})
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump({**CACHED, "hosts": "all"}))
    hosts = {"gpu01": {"lmstudio_controller_url": fleet.urls["gpu01"], "control": fleet.control}}
    play = """
- name: Use the inventory
  hosts: all
  gather_facts: false
  tasks:
    - name: State as of the cache
      ansible.builtin.debug:
        msg: "loaded: {{ lmstudio_record.loaded }}"
"""
    refresh = """
    - name: Read it again
      ansible.builtin.meta: refresh_inventory
    - name: State now
      ansible.builtin.debug:
        msg: "now: {{ lmstudio_record.loaded }}"
"""
    for arguments, more, expected in (
        ([], "", 1),
        ([], "", 1),
        (["--flush-cache"], "", 2),
        ([], "", 2),
        ([], refresh, 3),
    ):
        run(play + more, hosts, "-i", "lmstudio.yml", *arguments)
        assert len(fleet.requests("gpu01")) == expected, arguments


def changed(cached, **entry):
    return {**cached, "hosts": {name: {**kept, **entry} for name, kept in cached["hosts"].items()}}


def without_answer(cached, **entry):
    return changed(
        {**cached, "hosts": {name: {k: v for k, v in kept.items() if k != "answer"} for name, kept in cached["hosts"].items()}}, **entry
    )


BROKEN_FILES = {
    "no JSON": lambda text: text[: len(text) // 2],
    "another shape": lambda text: "[1, 2, 3]",
    "nothing": lambda text: "",
    "too old": lambda text: re.sub(r"20\d\d-", "2001-", text),
    "of the future": lambda text: re.sub(r"20\d\d-", "2999-", text),
    "no time": lambda text: text.replace("asked_at", "asked"),
}
BROKEN_ENTRIES = {
    "hosts as a list": lambda cached: {**cached, "hosts": list(cached["hosts"].items())},
    "of another inventory": lambda cached: {"hosts": list(cached["hosts"]), "gpu02": {}},
    "an entry of another shape": lambda cached: {**cached, "hosts": {name: [7] for name in cached["hosts"]}},
    "an entry of another plugin": lambda cached: {name: {"ansible_host": "10.0.0.1"} for name in cached["hosts"]},
    "a list": lambda cached: [cached],
    "an answer that is not there": lambda cached: changed(cached, answer=7),
    "an answer of another type": lambda cached: changed(cached, answer=[]),
    "milliseconds of another type": lambda cached: changed(cached, response_ms="7"),
    "answers of another type": lambda cached: {**cached, "answers": 7},
    "an answer of an unknown list": lambda cached: {**cached, "answers": [{**answer, "api": "v9"} for answer in cached["answers"]]},
    "an answer of no list in particular": lambda cached: {**cached, "answers": [{**answer, "api": "auto"} for answer in cached["answers"]]},
    "models of another type": lambda cached: {**cached, "answers": [{"models": 7, "warnings": []}]},
    "models that are not there": lambda cached: {**cached, "models": []},
    "a model that is none": lambda cached: {**cached, "models": ["7", *cached["models"][1:]]},
    "a model that is not text": lambda cached: {**cached, "models": [{"key": "m"}, *cached["models"][1:]]},
    "two models in a text": lambda cached: {**cached, "models": ['{"key": "a"}, {"key": "b"}', *cached["models"][1:]]},
    "a failure that is none": lambda cached: without_answer(cached, status="ok", what="is fine", hint="Do nothing."),
    "a failure of another type": lambda cached: without_answer(cached, status=[], what="is fine", hint="Do nothing."),
    "nothing of the host": without_answer,
}


def broken(how, text):
    if how in BROKEN_FILES:
        return BROKEN_FILES[how](text)
    document = json.loads(text)
    # ansible-core 2.19 and later keep a text in the file.
    kept = document if isinstance(document, str) else json.loads(document["__payload__"])
    changed = json.dumps(json.dumps(BROKEN_ENTRIES[how](json.loads(kept))))
    return changed if isinstance(document, str) else json.dumps({"__payload__": changed})


@pytest.mark.once
def test_a_broken_or_foreign_cache_is_asked_anew(read_inventory, start, tmp_path):
    """One source for each way to break a cache, of one host."""
    fleet = start({f"gpu{number:02}": {"payload": "two_loaded.json"} for number in range(len(BROKEN_FILES) + len(BROKEN_ENTRIES))})
    broken_by = dict(zip(fleet.urls, [*BROKEN_FILES, *BROKEN_ENTRIES]))
    files = {"hosts.yml": local(fleet), **{f"{name}.lmstudio.yml": {**CACHED, "hosts": name} for name in fleet.urls}}

    def asked():
        return {broken_by[name]: len(fleet.requests(name)) for name in fleet.urls}

    first = read_inventory(files)
    assert asked() == dict.fromkeys(broken_by.values(), 1)
    paths = {name: path for path in cache_files(tmp_path) for name in fleet.urls if name in path.read_text()}
    assert sorted(paths) == list(fleet.urls)
    for name, path in paths.items():
        before = path.read_text()
        path.write_text(broken(broken_by[name], before))
        assert path.read_text() != before
    second = read_inventory(files)
    assert asked() == dict.fromkeys(broken_by.values(), 2)
    assert steady(second.variables) == steady(first.variables) and second.groups == first.groups
    read_inventory(files)
    assert asked() == dict.fromkeys(broken_by.values(), 2)


def test_a_cache_does_not_grow_old_unseen(read_inventory, start, tmp_path):
    fleet = start({"gpu01": {}, "gpu02": {"fault": "unauthorized"}})
    files = {"hosts.yml": local(fleet), "lmstudio.yml": {**CACHED, "cache_timeout": 3600}}
    read_inventory(files)
    (path,) = cache_files(tmp_path)
    # Half an hour ago: the file of a cache is rewritten when one host is asked, but the answers in it keep their age.
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1800))
    path.write_text(re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", then, path.read_text()))
    assert read_inventory(files).variables["gpu01"]["lmstudio_record"]["asked_at"] == then
    files["lmstudio.yml"]["cache_timeout"] = 1700
    os.utime(path)
    assert read_inventory(files).variables["gpu01"]["lmstudio_record"]["asked_at"] != then


WRONG = [
    ({"hosts": "gpu", "tokn": "x"}, "unknown option tokn. Did you mean token?"),
    ({"hosts": "gpu", "url": "http://gpu01"}, "unknown option url"),
    ({}, "neither endpoints nor hosts"),
    ({"hosts": ["gpu", ""]}, "hosts: it has an entry"),
    ({"endpoints": ["gpu 01"]}, "endpoints: 'http://gpu 01'"),
    ({"endpoints": ["gpu[07:01]", "gpu[1:02]x[z:a]"]}, "endpoints: "),
    ({"endpoints": ["gpu[5:1]"]}, "endpoints: 'gpu[5:1]' has an empty range"),
    ({"endpoints": ["https://u:hunter2hunter2@gpu[1:b].example"]}, "has a range that cannot be used"),
    ({"endpoints": ["http://u:hunter2hunter2@gpu01"]}, "endpoints: a URL with a user name"),
    ({"endpoints": ["http://gpu01/a", "http://gpu01/b"]}, "endpoints: http://gpu01/a and http://gpu01/b would both be host gpu01_80"),
    ({"hosts": "gpu", "variable": "ansible_host"}, "variable: ansible_host decides how a host is reached"),
    ({"hosts": "gpu", "variable": "lmstudio_url"}, "variable: lmstudio_url decides"),
    ({"hosts": "gpu", "variable": "lmstudio_controller_url"}, "variable: lmstudio_controller_url decides"),
    ({"hosts": "gpu", "variable": "lmstudio_via"}, "variable: lmstudio_via decides"),
    ({"hosts": "gpu", "variable": "a-b"}, "variable: 'a-b' is not a valid variable name"),
    ({"hosts": "gpu", "timeout": 0}, "timeout: 0 is not"),
    ({"hosts": "gpu", "timeout": "soon"}, "timeout"),
    ({"hosts": "gpu", "timeout": True}, "timeout: true is not a number"),
    ({"hosts": "gpu", "cache": True, "cache_timeout": False}, "cache_timeout: false is not a number"),
    ({"hosts": "gpu", "validate_certs": "ture"}, "validate_certs: it is not true or false"),
    ({"hosts": "gpu", "use_proxy": "{{ true }}"}, "use_proxy: it is not true or false"),
    ({"hosts": "gpu", "use_vars_plugins": 2}, "use_vars_plugins: it is not true or false"),
    ({"hosts": "gpu", "concurrency": 0}, "concurrency: 0"),
    ({"hosts": "gpu", "ca_path": "/no/such/file.pem"}, "ca_path: '/no/such/file.pem' does not exist on the controller"),
    ({"hosts": "gpu", "token": "{{ no_such_variable }}"}, "token: its template cannot be used"),
    ({"hosts": "gpu", "token": "hunter2hunter2 hunter2hunter2"}, "token: it contains spaces"),
    ({"hosts": "gpu", "headers": "hunter2hunter2"}, "headers"),
    ({"hosts": "gpu", "compose": {"x": "lmstudio_record.nothing.there"}, "strict": True}, "Could not set x for host gpu01"),
]


def test_a_wrong_option_fails_the_source_with_its_name(read_inventory, start):
    fleet = start({"gpu01": {}})
    sources = {f"{number:02}.lmstudio.yml": {**PLUGIN, **options} for number, (options, _says) in enumerate(WRONG)}
    read = read_inventory({"hosts.yml": local(fleet), **sources})
    printed = words(read)
    # What is said of a source ends with its own name.
    said = printed.split(" as an inventory source")
    assert len(said) == len(WRONG) + 1
    assert [(says, about) for (_options, says), about in zip(WRONG, said) if says not in about] == []
    assert "hunter2" not in printed
    assert len(fleet.requests("gpu01")) == sum("compose" in options for options, _says in WRONG)


@pytest.mark.matrix
def test_an_empty_string_is_an_option_that_is_not_set(read_inventory, start, tmp_path):
    """Ansible takes an empty text for false: a certificate that nobody checks, and variables that are not read."""
    certificate = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    fleet = start({"gpu01": {}, "untrusted": {"tls": {"certificate": str(certificate), "key": str(certificate)}}})
    options = (
        *("port", "headers", "timeout", "validate_certs", "ca_path", "client_cert", "client_key", "use_proxy", "max_response_bytes", "api"),
        *("concurrency", "fleet_timeout", "detail", "on_error", "variable", "use_vars_plugins", "endpoints"),
    )
    source = {**PLUGIN, "hosts": "gpu", "token": "a-token-for-all", **dict.fromkeys(options, "")}
    vars_file = {"host_vars/gpu01.yml": {"lmstudio_token": TOKENS["gpu01"]}}
    read = read_inventory({"hosts.yml": local(fleet), **vars_file, "lmstudio.yml": source})
    assert [read.variables[name]["lmstudio_record"]["status"] for name in ("gpu01", "untrusted")] == ["ok", "tls"], read.output
    assert sent_to(fleet, "gpu01") == [f"Bearer {TOKENS['gpu01']}"] and not fleet.requests("untrusted")
    assert "1 of 2 hosts did not return a model list. untrusted: " in words(read)


def test_a_source_that_fails_can_end_the_run(read_inventory, start):
    fleet = start({"gpu01": {}})
    env = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    options, says = WRONG[0]
    read = read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": {**PLUGIN, **options}}, env=env, ends=1)
    assert says in words(read)


def test_on_error_says_who_and_why(read_inventory, start):
    fleet = start({"gpu01": {}, "gpu02": {"fault": "unavailable"}})
    for on_error in ("report", "warn", "fail"):
        read = read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": {**PLUGIN, "hosts": "gpu", "on_error": on_error}})
        printed = words(read)
        said = f"1 of 2 hosts did not return a model list. gpu02: {fleet.urls['gpu02']} answered HTTP 503"
        assert (said in printed) == ("WARNING" in printed) == (on_error != "report"), printed
        assert ("lmstudio_record" in read.variables["gpu01"]) == (on_error != "fail")


def test_a_source_that_failed_has_added_nothing(read_inventory, start):
    fleet = start({"gpu01": {}, "gpu02": {"fault": "refused"}})
    ports = [url.rpartition(":")[2] for url in fleet.urls.values()]
    options = {"endpoints": [f"127.0.0.1:{port}" for port in ports], "on_error": "fail"}
    read = read_inventory({"lmstudio.yml": {**PLUGIN, **options}})
    assert read.groups.get("all", []) == [] and "1 of 2 hosts did not return a model list" in words(read)


def test_the_port_of_an_endpoint_is_that_of_the_endpoint(read_inventory, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    first, second = (int(url.rpartition(":")[2]) for url in fleet.urls.values())
    known = {"all": {"hosts": {"127.0.0.1": {}}, "vars": {"lmstudio_port": first}}}
    read = read_inventory({"hosts.yml": known, "lmstudio.yml": {**PLUGIN, "endpoints": [f"127.0.0.1:{second}"]}})
    assert read.variables["127.0.0.1"]["lmstudio_record"]["url"] == fleet.urls["gpu02"], read.output
    two = {"port": first, "endpoints": ["127.0.0.1", f"127.0.0.1:{second}"]}
    read = read_inventory({"hosts.yml": {"all": {}}, "lmstudio.yml": {**PLUGIN, **two}})
    assert read.groups["lmstudio_ok"] == sorted([f"127.0.0.1_{first}", f"127.0.0.1_{second}"]), read.output


def test_an_endpoint_is_a_known_host_whatever_its_capitals(read_inventory, start):
    fleet = start({"gpu01": {}})
    port = fleet.urls["gpu01"].rpartition(":")[2]
    known = {"all": {"hosts": {"LOCALHOST": {"lmstudio_controller_url": fleet.urls["gpu01"]}}}}
    read = read_inventory({"hosts.yml": known, "lmstudio.yml": {**PLUGIN, "endpoints": [f"localhost:{port}"]}})
    assert read.groups["lmstudio_ok"] == read.groups["all"] == ["LOCALHOST"]


@pytest.mark.matrix
def test_an_endpoint_that_replaces_the_implicit_localhost_is_one_that_the_documentation_names(run, tmp_path):
    play = """
- name: Where a play on localhost runs
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: "{{ inventory_hostname }} is {{ '' if ansible_connection | default('ssh') == 'local' else 'not ' }}local"
"""
    (tmp_path / "host_vars").mkdir()
    for address in constants.LOCALHOST:
        assert f"C({address})" in DOCUMENTATION
        source = {**PLUGIN, "endpoints": [f"http://{'[::1]' if address == '::1' else address}:9"], "on_error": "report"}
        (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump(source))
        assert f"{address} is not local" in run(play, {}, "-i", "lmstudio.yml", connection={}).output
        (tmp_path / "host_vars" / f"{address}.yml").write_text("ansible_connection: local")
        assert f"{address} is local" in run(play, {}, "-i", "lmstudio.yml", connection={}).output


def test_the_implicit_localhost_is_no_host_of_a_pattern(read_inventory, start):
    fleet = start({"gpu01": {}})
    read = read_inventory({"hosts.yml": local(fleet), "lmstudio.yml": {**PLUGIN, "hosts": ["gpu", "localhost"]}})
    assert read.groups["lmstudio_ok"] == ["gpu01"], read.output


def test_the_last_of_two_sources_decides_the_groups(read_inventory, start):
    fleet = start({"gpu01": {"token": "a-token-of-gpu01"}})
    sources = {"a.lmstudio.yml": {**PLUGIN, "hosts": "gpu"}, "b.lmstudio.yml": {**PLUGIN, "hosts": "gpu", "token": "a-token-of-gpu01"}}
    read = read_inventory({"hosts.yml": local(fleet), **sources})
    assert read.groups["lmstudio_ok"] == ["gpu01"] and read.groups["lmstudio_not_ok"] == read.groups["lmstudio_status_auth"] == []


@pytest.mark.matrix
def test_a_group_that_has_the_name_of_a_host_does_not_stand_in_for_it(read_inventory, start):
    hosts = {**local(start({"gpu01": {}, "gpu02": {"fault": "refused"}})), "gpu01": {"hosts": {"gpu02": {}}}}
    made = {"groups": {"first": "inventory_hostname == 'gpu01'"}, "keyed_groups": [{"key": "lmstudio_record.status", "separator": ""}]}
    read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**PLUGIN, "hosts": "gpu", **made}})
    assert [read.groups[name] for name in ("lmstudio_ok", "first", "ok", "gpu01")] == [["gpu01"], ["gpu01"], ["gpu01"], ["gpu02"]]


def test_a_fleet_that_was_given_up_is_not_cached(read_inventory, start, tmp_path):
    fleet = start({"gpu01": {"fault": "silence"}, "gpu02": {}})
    cache = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    hurried = {**PLUGIN, "hosts": "gpu", **cache, "concurrency": 1, "fleet_timeout": 0.5, "timeout": 60}
    files = {"hosts.yml": local(fleet, gpu01={"lmstudio_timeout": 1}), "lmstudio.yml": hurried}
    assert read_inventory(files).groups["lmstudio_status_timeout"] == ["gpu01", "gpu02"]
    files["lmstudio.yml"] = {**hurried, "concurrency": 10, "fleet_timeout": 60}
    assert read_inventory(files).groups["lmstudio_ok"] == ["gpu02"]


def test_a_token_that_looks_like_a_template_is_not_shown(read_inventory, start):
    fleet = start({"gpu01": {}})
    hosts = {"gpu": {"hosts": {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_token": "hunter2hunter2{%abcdef"}}}}
    read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**PLUGIN, "hosts": "gpu"}})
    said = read.output.partition("READ ")[2].partition("\n")[2]
    assert "gpu01: This host was not asked: its lmstudio_token cannot be templated" in " ".join(said.split())
    assert "hunter2" not in said


def test_a_pattern_that_matches_nothing_says_how_to_order_the_sources(read_inventory, start):
    fleet = start({"gpu01": {}})
    read = read_inventory({"lmstudio.yml": {**PLUGIN, "hosts": "gpu"}, "hosts.yml": local(fleet)})
    said = "matches no host of the sources that were read before this one. Check its spelling, and give the source that has the hosts first"
    assert said in words(read)
    assert read.groups["gpu"] == ["gpu01"]
    assert "lmstudio_record" not in read.variables["gpu01"]


def test_only_files_of_its_name_are_read(read_inventory, start):
    fleet = start({"gpu01": {}})
    read = read_inventory({"hosts.yml": local(fleet), "other.yml": {**PLUGIN, "hosts": "gpu"}})
    assert fleet.requests("gpu01") == [] and "other.yml" in read.output
