# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arguments of the event source: its schema and its documentation say the same as its code, and wrong ones end it with a sentence."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import jsonschema
import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import connection_options
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import InputError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import KEYS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch import arguments
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.arguments import parse_arguments
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.events import EVENTS
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT, collections_path

FOLDER = ROOT / "extensions" / "eda" / "plugins" / "event_source"
INSTALLED = collections_path() / "ansible_collections" / "gpufleet" / "lmstudio" / FOLDER.relative_to(ROOT) / "watch.py"
SCHEMA = json.loads((FOLDER / "schemas" / "watch.json").read_text(encoding="utf-8"))
SECRET = "sk-lm-0123456789abcdef"
SOURCE = "gpufleet.lmstudio.watch: "

# Each with the sentence that it ends with. The schema refuses all of these, too.
ONE = {"endpoints": ["gpu01"]}
WRONG = {
    "none": ({}, "endpoints: must be a list of at least one endpoint"),
    "empty": ({"endpoints": []}, "endpoints: must be a list of at least one endpoint"),
    "a text": ({"endpoints": "gpu01"}, "endpoints: must be a list of at least one endpoint"),
    "a number": ({"endpoints": [1]}, "endpoints[0]: it is neither a string nor a mapping."),
    "nothing in it": ({"endpoints": [{}]}, "endpoints[0]: it has neither a name nor a url."),
    "unknown": ({**ONE, "intervall": 3}, SOURCE + "unknown argument intervall. Did you mean interval? The arguments are api, ca_path, "),
    "url for all": ({**ONE, "url": "http://gpu01"}, SOURCE + "unknown argument url."),
    "unknown of one": (
        {"endpoints": [{"name": "a", "tokn": SECRET}]},
        "endpoints[0]: unknown option tokn. Did you mean token? The options are ",
    ),
    "interval": ({**ONE, "interval": "soon"}, "interval: 'soon' is not a number."),
    "interval of nothing": ({**ONE, "interval": 0}, "interval: 0 is not a usable number of seconds. Give 0.1 or more and at most 86400."),
    "down_after": ({**ONE, "down_after": 0}, "down_after: '0' is not a whole number of 1 or more."),
    "initial": ({**ONE, "initial": "snapshoot"}, "initial: 'snapshoot' is not one of none, snapshot. Did you mean snapshot?"),
    "no event": ({**ONE, "events": []}, "events: must be a list of at least one event."),
    "unknown event": (
        {**ONE, "events": ["host_dwn"]},
        "events: unknown event host_dwn. Did you mean host_down? The events are host_down, ",
    ),
    "an empty require": ({**ONE, "require": []}, "require: it is empty, which would pass on any host."),
    "a wrong require": ({**ONE, "require": [{"modle": "a"}]}, "require[0]: unknown key modle. Did you mean model?"),
    "port": ({**ONE, "port": "http"}, "port: 'http' is not a whole number of 1 or more."),
    "headers": ({**ONE, "headers": SECRET}, "headers: it is not a mapping of names and texts."),
    "a header in a header": ({**ONE, "headers": {"X-Key": {"X-Key": SECRET}}}, "headers: it is not a mapping of names and texts."),
    "a list in a header": (
        {"endpoints": [{"name": "a", "headers": {"X-Key": [SECRET]}}]},
        "endpoints[0].headers: it is not a mapping of names and texts.",
    ),
    "userinfo in a list": ({"endpoints": [{"url": [f"http://me:{SECRET}@a"]}]}, 'endpoints[0].url: "********@a'),
    "userinfo in a mapping": ({"endpoints": [{"url": {f"http://me:{SECRET}@a": None}}]}, 'endpoints[0].url: "********@a'),
    "userinfo in a name": ({"endpoints": [{"name": [f"me:{SECRET}@a"]}]}, 'endpoints[0].name: "********@a'),
    "an endpoint as a mapping": ({"endpoints": [{f"http://me:{SECRET}@a": {}}]}, "endpoints[0]: unknown option http://********@a."),
    "an endpoint as an argument": ({f"http://me:{SECRET}@a": {}, **ONE}, "gpufleet.lmstudio.watch: unknown argument http://********@a."),
    "a token in a list": ({**ONE, "token": [SECRET]}, "token: it is not a string."),
    "a key in a list": ({**ONE, "client_key": [f"-----BEGIN {SECRET}"]}, "client_key: it is not a string."),
    "api": ({"endpoints": [{"name": "a", "api": "v2"}]}, "endpoints[0].api: 'v2' is not one of v1, v0, auto."),
    "validate_certs": ({**ONE, "validate_certs": "maybe"}, "validate_certs: 'maybe' is not true or false."),
}
# What only the code knows.
WRONG_SENSE = {
    "twice": ({"endpoints": ["gpu01", "http://gpu01:8080"]}, "endpoints[1]: it is the host gpu01, and so is endpoints[0]."),
    "a pattern": (
        {"endpoints": [{"name": "gpu*", "url": "http://a"}]},
        "endpoints[0].name: 'gpu*' is not the name of one host of an inventory.",
    ),
    "every host": (
        {"endpoints": ["http://all"]},
        "endpoints[0]: 'all' is not the name of one host of an inventory. Give the endpoint a name.",
    ),
    "a range": ({"endpoints": ["gpu[0:3]"]}, "endpoints[0]: 'gpu[0:3]' is neither a URL nor the name of one host of an inventory."),
    "a range of addresses": ({"endpoints": ["10.0.0.[1:3]:80"]}, "endpoints[0]: '10.0.0.[1:3]:80' is neither a URL nor the name of one"),
    "every host by name": ({"endpoints": ["all"]}, "endpoints[0]: 'all' is neither a URL nor the name of one host of an inventory."),
    "userinfo without a scheme": ({"endpoints": [f"me:{SECRET}@gpu01"]}, "endpoints[0]: a URL with a user name or password in it"),
    "two hosts": ({"endpoints": [{"name": "a,b", "url": "http://a"}]}, "endpoints[0].name: 'a,b' is not the name of one host"),
    **{
        f"every host in {name}": (
            {"endpoints": [{"name": name, "url": "http://a"}]},
            f"endpoints[0].name: '{name}' is not the name of one host",
        )
        for name in ("fe80::1%,all", "fe80::1%:all", "fe80::1% all")
    },
    "a URL": ({"endpoints": ["ftp://gpu01"]}, "endpoints[0]: 'ftp://gpu01' has an unknown scheme."),
    "userinfo": ({"endpoints": [f"http://me:{SECRET}@gpu01"]}, "endpoints[0]: a URL with a user name or password in it is refused"),
    "userinfo with a wide @": ({"endpoints": [f"http://me:{SECRET}\uff20gpu01"]}, "endpoints[0]: a URL with a user name or password in it"),
    "userinfo with an escaped @": ({"endpoints": [f"me:{SECRET}%40gpu01"]}, "endpoints[0]: a URL with a user name or password in it"),
    "two ports": (
        {"endpoints": [{"url": "http://a:1", "port": 2}]},
        "endpoints[0].port: endpoints[0].url 'http://a:1' already names a port.",
    ),
    "a large port": ({**ONE, "port": 70000}, "port: 70000 is not a port."),
    "a token with a space": ({"endpoints": [{"name": "a", "token": f"a {SECRET}"}]}, "endpoints[0].token: it contains spaces"),
    "a header with a line": ({**ONE, "headers": {"X-Key": f"{SECRET}\nX: y"}}, "headers: the value of X-Key has characters"),
    "two of them": ({**ONE, "token": SECRET, "headers": {"Authorization": SECRET}}, "headers: Authorization is set together with a token"),
    "no file": ({**ONE, "ca_path": "/nope.pem"}, "ca_path: '/nope.pem' does not exist on the controller."),
    "a key": ({**ONE, "client_cert": __file__, "client_key": f"-----BEGIN {SECRET}"}, "client_key: it is the content of a file."),
    "no key": ({**ONE, "client_cert": __file__}, "client_cert: it needs client_key as well."),
    "no certificate": ({"endpoints": ["https://a"], "ca_path": __file__}, "ca_path: "),
    "an endless number": ({**ONE, "interval": 10**400}, "interval: '1000000000000000000"),
    "no time": ({**ONE, "timeout": 0}, "timeout: 0 is not a usable number of seconds."),
    "nothing is judged": ({**ONE, "events": ["met"]}, "events: met needs a require next to it."),
}


@pytest.mark.parametrize("case", [*WRONG, *WRONG_SENSE])
def test_wrong_arguments_end_with_a_sentence_that_names_the_argument(case):
    given, sentence = {**WRONG, **WRONG_SENSE}[case]
    with pytest.raises(InputError) as raised:
        parse_arguments(given)
    assert str(raised.value).startswith(sentence) and "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("case", WRONG)
def test_the_schema_refuses_what_the_code_refuses(case):
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(WRONG[case][0])


RIGHT = {
    "a URL": ({"endpoints": ["http://gpu01:8080/v1"]}, [("gpu01", "http://gpu01:8080")]),
    "a name": ({"endpoints": ["GPU-01.example.org"]}, [("GPU-01.example.org", "http://gpu-01.example.org:1234")]),
    "a name and a port": ({"endpoints": ["gpu01:99"], "port": 5}, [("gpu01", "http://gpu01:99")]),
    "a port for all": ({"endpoints": ["gpu01", "http://gpu02", "http://gpu03:7"], "port": 5}, None),
    "an address": ({"endpoints": ["[::1]:99", "::2"]}, [("::1", "http://[::1]:99"), ("::2", "http://[::2]:1234")]),
    "an address of a link": ({"endpoints": ["fe80::1%eth0"]}, [("fe80::1%eth0", "http://[fe80::1%eth0]:1234")]),
    "headers": ({**ONE, "headers": {"X-Number": 5, "X-Flag": True, "X-Empty": None}}, [("gpu01", "http://gpu01:1234")]),
    "a mapping": ({"endpoints": [{"name": "gpu01", "url": "https://a/lms", "timeout": "3"}]}, [("gpu01", "https://a/lms")]),
    "unset": (
        {"endpoints": [{"name": "gpu01", "url": "", "token": None}], "require": None, "events": None},
        [("gpu01", "http://gpu01:1234")],
    ),
    "texts": ({**ONE, "interval": "2.5", "down_after": "3", "validate_certs": "no", "events": "host_up"}, [("gpu01", "http://gpu01:1234")]),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_arguments_are_taken_by_the_code_and_the_schema(case):
    given, hosts = RIGHT[case]
    parsed = parse_arguments(given)
    jsonschema.validate(given, SCHEMA)
    hosts = hosts or [("gpu01", "http://gpu01:5"), ("gpu02", "http://gpu02"), ("gpu03", "http://gpu03:7")]
    assert [(host.name, host.endpoint.url) for host in parsed.hosts] == hosts


def test_what_ansible_rulebook_adds_is_no_argument():
    assert parse_arguments({**ONE, "eda_feedback_queue": object()}).hosts


def test_a_secret_goes_to_the_server_that_it_belongs_to(monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "sk-lm-of-the-environment")
    endpoints = [
        "gpu01",
        {"name": "gpu02", "token": "sk-lm-of-gpu02-alone"},
        {"name": "gpu03", "headers": {"authorization": "Basic 0123456789ab"}},
        {"name": "gpu04", "headers": {"X-Key": "0123456789ab"}},
    ]
    with_default = [
        (host.endpoint.token, host.endpoint.headers) for host in parse_arguments({"endpoints": endpoints, "token": SECRET}).hosts
    ]
    assert with_default == [
        (SECRET, ()),
        ("sk-lm-of-gpu02-alone", ()),
        (None, (("authorization", "Basic 0123456789ab"),)),
        (SECRET, (("X-Key", "0123456789ab"),)),
    ]
    default_header = parse_arguments({"endpoints": endpoints[:2], "headers": {"Authorization": "Basic 0123456789ab", "X-Key": "1"}}).hosts
    assert [host.endpoint.token for host in default_header] == [None, "sk-lm-of-gpu02-alone"]
    assert default_header[1].endpoint.headers == (("X-Key", "1"),)
    assert [host.endpoint.token for host in parse_arguments({"endpoints": endpoints[:1]}).hosts] == [None]


def test_schema_documentation_and_code_have_the_same_arguments():
    source = runpy.run_path(str(INSTALLED))
    options = yaml.safe_load(source["DOCUMENTATION"])["options"]
    assert set(options) == set(SCHEMA["properties"]) == {"endpoints", *arguments._OWN, *arguments._CONNECTION}
    connection = connection_options()
    assert set(arguments._CONNECTION) == connection.keys() - {"url"}
    of_endpoint = SCHEMA["$defs"]["endpoint"]["properties"]
    assert set(of_endpoint) == {"name", "url", *arguments._CONNECTION}
    types = {"list": "array", "float": "number", "int": "integer", "bool": "boolean", "dict": "object"}
    for name, option in options.items():
        assert option["description"]
        listed = SCHEMA["properties"][name]
        if name in connection:
            # What it may be is said once, for one endpoint.
            assert listed["$ref"] == f"#/$defs/endpoint/properties/{name}"
            listed = {**of_endpoint[name], **listed}
        assert types.get(option["type"], "string") in listed["type"], name
        assert option.get("default") == listed.get("default"), name
        if name in connection:
            assert {key: option.get(key) for key in ("type", "default")} == {key: connection[name].get(key) for key in ("type", "default")}
    parsed = parse_arguments(ONE)
    assert (parsed.interval, parsed.rules.down_after, parsed.rules.snapshot) == (
        options["interval"]["default"],
        options["down_after"]["default"],
        options["initial"]["default"] == "snapshot",
    )
    assert tuple(options["events"]["choices"]) == tuple(SCHEMA["properties"]["events"]["items"]["enum"]) == EVENTS
    assert set(SCHEMA["$defs"]["requirement"]["properties"]) == set(KEYS)
    (example,) = yaml.safe_load(source["EXAMPLES"])
    given = example["gpufleet.lmstudio.watch"]
    given["endpoints"][2]["token"] = SECRET  # ansible-rulebook puts it there
    jsonschema.validate(given, SCHEMA)
    assert [host.name for host in parse_arguments(given).hosts] == ["gpu01", "gpu02", "gpu03"]


def test_the_guide_shows_endpoints_and_events_as_they_are():
    guide = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    endpoints = yaml.safe_load(guide.partition("```yaml\n# endpoints.yml\n")[2].partition("```")[0])
    parsed = [(host.name, host.endpoint.url) for host in parse_arguments(endpoints).hosts]
    assert parsed == [("gpu01", "http://gpu01:1234"), ("gpu02", "http://gpu02:8080"), ("gpu03", "https://proxy.example.com/gpu03")]
    event = json.loads(guide.partition("```json\n")[2].partition("```")[0])
    assert list(event["lmstudio"]) == ["event", "host", "url", "model", "instance", "previous", "current", "status", "at"]
    assert [name for name in EVENTS if f"| `{name}` |" not in guide] == []


def test_a_lone_copy_ends_with_one_sentence(tmp_path):
    copy = tmp_path / "watch.py"
    copy.write_text(INSTALLED.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ImportError, match=r"^gpufleet\.lmstudio\.watch needs the rest of its collection: .*\.$"):
        runpy.run_path(str(copy))


OTHER_COLLECTIONS = """
import ansible_collections.other.thing
import runpy, sys
source = runpy.run_path(sys.argv[1])
assert [name for name in sys.modules if name == "ansible" or name.startswith("ansible.")] == []
import ansible_collections.other.more
print(source["parse_arguments"]({"endpoints": ["gpu01"]}).hosts[0].name)
"""


def test_it_finds_its_own_collection_where_the_package_ansible_is_installed_too(tmp_path):
    """That one has a package ansible_collections which is all that Python would look at."""
    for name in ("__init__.py", "other/__init__.py", "other/thing.py", "other/more.py", "gpufleet/lmstudio/plugins/plugin_utils/old.py"):
        file = tmp_path / "ansible_collections" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    command = [sys.executable, "-c", OTHER_COLLECTIONS, str(INSTALLED)]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "gpu01\n", done.stderr
