# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each report of one audit, compared with the file that it has to be. After a wanted change, write the files again with

LMSTUDIO_WRITE_GOLDEN=1 pytest tests/unit/plugins/plugin_utils/test__reports.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.modules import fleet_report
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.baseline import parse_baseline
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Scope, make_audit, without_times
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.findings import FINDING_KINDS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.history import history_with
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports import terminal_summary
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.formats import DEFAULT_FORMATS, FORMATS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.terminal_summary import as_lines
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.sentences import problems
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.summary import summary_of

ROOT = Path(__file__).parents[4]
GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads((ROOT / "roles/fleet_audit/files/fleet_audit.schema.json").read_text(encoding="utf-8"))
HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} `|` [x](y) @all \"q\" 'q' ]]> \x1b[31m\u202e\u0000"


def instance(name, context, ttl=None, **config):
    return {"id": name, "config": {"context_length": context, **config}, "remaining_ttl_seconds": ttl}


def entry(key, quantization="Q4_K_M", size=5_000_000_000, instances=(), **more):
    return {
        "type": "llm",
        "key": key,
        "publisher": key.split("/")[0],
        "display_name": key.upper(),
        "architecture": "qwen3",
        "quantization": {"name": quantization, "bits_per_weight": 4},
        "size_bytes": size,
        "format": "gguf",
        "max_context_length": 40960,
        "selected_variant": f"{key}@{quantization.lower()}",
        "loaded_instances": list(instances),
        **more,
    }


ENDPOINT = make_endpoint({"url": "http://gpu:1234"}, "")
CHAT = "qwen/qwen3-8b"
EMBEDDING = entry("nomic/embed", "Q8_0", 146_000_000, [instance("nomic/embed", 2048, ttl=12)], type="embedding")


def answering(*entries, detail="full", at="2026-11-22T20:00:00Z", ms=12):
    return record_of(ENDPOINT, parse(ENDPOINT, Poll(Response(200, json.dumps({"models": entries}).encode()), at, ms)), detail)


def older(*rows):
    """A host that answers over the older API."""
    endpoint = make_endpoint({"url": "http://gpu:1234", "api": "v0"}, "")
    listed = [{"type": "llm", "arch": "qwen3", "quantization": "Q4_K_M", "state": "not-loaded", **row} for row in rows]
    poll = Poll(Response(200, json.dumps({"data": listed}).encode()), "2026-11-22T20:00:00Z", 12, "v0")
    return record_of(endpoint, parse(endpoint, poll), "full")


def failing(status, message, http_status=None):
    error = ApiError(status, message, http_status=http_status)
    return record_of(ENDPOINT, parse(ENDPOINT, Poll(error, "2026-11-22T20:00:00Z", None)), "full")


def fleet(at="2026-11-22T20:00:00Z", ms=12):
    times = {"at": at, "ms": ms}
    hosts = {
        "gpu10": answering(entry(CHAT, instances=[instance(CHAT, 4096)]), EMBEDDING, **times),
        "gpu2": answering(
            EMBEDDING,
            entry(CHAT, instances=[instance("b", 8192, parallel=4), instance("a", 16384)]),
            entry("other/m", variants=["other/m@q4_k_m", "other/m@q8_0"]),
            **times,
        ),
        "gpu1": answering(entry(CHAT), entry(CHAT, "Q8_0", 9_000_000_000, [instance(CHAT, 32768)]), detail="loaded", **times),
        "down": failing("refused", "refused the connection"),
        "evil": answering(entry(HOSTILE, HOSTILE, 1, [instance(HOSTILE, 8192)]), entry("=HYPERLINK(1)", "+q"), **times),
        "away": {"unreachable": True, "msg": "Failed to connect to the host via ssh"},
    }
    return {name: {**record, "url": f"http://{name}:1234"} if "ok" in record else record for name, record in hosts.items()}


POLICY = {
    "require": [{"name": "chat", "model": "qwen/*", "min_context_length": 8192}, {"type": "embedding", "severity": "warn"}],
    "exclusive": "true",
    "fleet": [{"require": [{"model": CHAT}], "min_hosts": "2", "consistent": ["quantization"]}],
    "groups": {"rack | 1": {"require": [{"model": "other/m", "state": "absent"}]}, "empty": {"require": [{"model": "m"}]}},
}
RUNS = [
    {"hosts_ok": 6, "violations": 0, "drift": None, "loaded_bytes": 20_000_000_000, "requirements": []},
    {"hosts_ok": 5, "violations": "<b>", "drift": 3, "requirements": [{"policy": "all hosts", "requirement": "chat", "met": 4, "of": 6}]},
]
SCOPE = Scope(policy=POLICY, limit="gpu*,`|`<b>", inventory=["left out", *fleet()], collection_version="1.2.3", history=RUNS)
GROUPS = {"all": list(fleet()), "rack | 1": ["gpu2", "gpu10"], "empty": []}


def audit(at="2026-11-23T08:00:00Z", baseline=True, **times):
    policies = parse_policies(POLICY, GROUPS)
    return make_audit(fleet(**times), policies, earlier() if baseline else None, at, SCOPE)


def earlier():
    before = {
        **fleet(),
        "gpu10": answering(entry(CHAT, "8bit", instances=[instance(CHAT, 8192)]), entry("gone/m"), entry("nomic/embed", "Q8_0")),
        "gpu2": answering(
            entry(CHAT, instances=[instance("a", 16384), instance("b", 8192)]), EMBEDDING, entry("other/m", instances=[instance("o", 1)])
        ),
        "old": answering(),
        "left out": answering(entry(CHAT)),
        "away": answering(entry(CHAT, instances=[instance(CHAT, 8192)])),
    }
    del before["evil"]
    return parse_baseline(json.loads(json.dumps(make_audit(before, [], None, "2026-11-01T08:00:00Z"))))


def without_code(html):
    """Script and style have tests of their own, in a browser."""
    if not html.startswith("<!DOCTYPE"):
        return html
    html = re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-...", html)
    return re.sub(r"(<(?:script|style)>).*?(</(?:script|style)>)", r"\1...\2", html, flags=re.DOTALL)


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_as_it_has_to_be(name):
    file_name, render = FORMATS[name]
    text = without_code(render(audit()))
    path = GOLDEN / file_name
    if os.environ.get("LMSTUDIO_WRITE_GOLDEN"):
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode()


def test_the_summary_for_a_terminal_is_as_it_has_to_be():
    paths = {name: f"/audit/{file_name}" for name, (file_name, _render) in FORMATS.items()}
    text = "\n".join(as_lines(audit(), paths)) + "\n"
    path = GOLDEN / "summary.txt"
    if os.environ.get("LMSTUDIO_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_times_stand_in_one_place_and_nothing_else_differs(name):
    render = FORMATS[name][1]
    first = render(audit())
    second = render(audit(at="2026-11-24T09:00:00Z", ms=3))
    lines, others = first.splitlines(), second.splitlines()
    differing = {number for number, (one, two) in enumerate(zip(lines, others)) if one != two}
    places = {
        "json": [number for number, line in enumerate(lines) if line.startswith('"run": ')],
        "prometheus": range(lines.index("# TYPE lmstudio_response_seconds gauge") if name == "prometheus" else 0, len(lines)),
        "csv": (),
        "markdown": range(len(lines) - 1, len(lines)),
        "junit": (1,),
        "html": [number for number, line in enumerate(lines) if "<time" in line],
    }
    assert len(lines) == len(others)
    assert differing <= set(places[name])
    assert bool(differing) is (name != "csv")


def test_what_counts_as_a_change_of_a_report():
    """The action compares a report with its earlier self except for the lines with times."""
    for _file_name, render in FORMATS.values():
        lines = render(audit()).splitlines()
        others = render(without_times(audit())).splitlines()
        changed_times = render(audit(at="2026-11-24T09:00:00Z", ms=3)).splitlines()
        assert len(lines) == len(others) == len(changed_times)
        assert [
            number for number, (one, two) in enumerate(zip(lines, changed_times)) if one != two and lines[number] == others[number]
        ] == []


@pytest.mark.parametrize("hosts", [1, 100])
def test_the_summary_is_never_longer_than_a_screen(hosts):
    many = {f"gpu{number}": failing("refused", "refused the connection") for number in range(hosts)}
    many |= {
        f"ok{number}": answering(*[entry(f"m/{model}", instances=[instance("i", 1)]) for model in range(50)]) for number in range(hosts)
    }
    policy = {"require": [{"model": "x"}, {"model": "y", "severity": "warn"}]}
    found = make_audit(many, parse_policies(policy, {}), None, "2026-11-23T08:00:00Z")
    lines = as_lines(found, {name: f"/audit/{name}" for name in FORMATS})
    assert len(lines) <= 40
    assert all(len(line) <= 200 for line in lines)
    assert any(line.startswith("gpu0 ") for line in lines) and lines[-1].endswith("/audit/prometheus")
    if hosts == 1:
        assert any(line.startswith("ok0 ") for line in lines)


@pytest.mark.parametrize("models", [1, 2, 3, 50])
def test_the_summary_fits_a_screen_even_if_everything_is_wrong(models):
    found = make_audit(
        {f"gpu{number}": answering(*[entry(f"m/{model}") for model in range(models)]) for number in range(9)},
        [],
        None,
        "2026-11-23T08:00:00Z",
    )
    wrong = [
        {"kind": kind, "policy": None, "requirement": None, "message": f"{kind} {number}", "causes": []}
        for kind in FINDING_KINDS
        for number in range(9)
    ]
    lines = as_lines(
        {**found, "findings": wrong, "notes": ["One.", "Two.", "Three.", "Four."]}, {name: f"/audit/{name}" for name in FORMATS}
    )
    assert len(lines) <= 40
    assert any(line.startswith("MODEL ") for line in lines) and any(line.startswith("HOST ") for line in lines)


@pytest.mark.parametrize(("room", "shown"), [(5, 4), (4, 2), (3, 1), (2, 0), (1, 0), (0, 0), (-3, 0)])
def test_hosts_that_do_not_fit_are_counted(room, shown):
    found = make_audit({f"gpu{number}": answering() for number in range(4)}, [], None, "2026-11-23T08:00:00Z")
    _title, *lines = terminal_summary._hosts(found, room)
    assert [line.split()[0] for line in lines[:shown]] == [f"gpu{number}" for number in range(shown)]
    assert lines[shown:] == ([] if shown == 4 else [f"  ... and {4 - shown} more hosts"])


@pytest.mark.parametrize("api", ["v0", "v1"])
def test_the_place_of_a_model_in_an_answer_is_no_change(api):
    def at(number):
        name = "data" if api == "v0" else "models"
        return {**answering(), "warnings": [f"{name}[{number}] (a) has the state odd, so it is not known whether it is loaded"]}

    one, other = (make_audit({"gpu": at(number)}, [], None, "2026-11-23T08:00:00Z") for number in (1, 2))
    assert one == other


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", " =1", "\t=1", "\r=1", "\u00a0=1", *"\uff1d\uff0b\uff0d\uff20"])
def test_a_cell_is_not_a_formula(text):
    found = make_audit({"gpu": answering(entry(text + "key", text, display_name=text))}, [], None, "2026-11-23T08:00:00Z")
    cells = FORMATS["csv"][1](found).splitlines()[1].split(",")
    assert not [cell for cell in cells if cell.strip(' \t\r\u00a0"').startswith(("=", "+", "-", "@", *"\uff1d\uff0b\uff0d\uff20"))]


def test_names_that_look_the_same_are_one_sample():
    found = make_audit(
        {"gpu": answering(entry("m\u202e", instances=[instance("i", 1)]), entry("m\\u202e", instances=[instance("i", 2)]))},
        [],
        None,
        "2026-11-23T08:00:00Z",
    )
    samples = [line for line in FORMATS["prometheus"][1](found).splitlines() if line.startswith("lmstudio_instance_context_length")]
    assert samples == ['lmstudio_instance_context_length{host="gpu",model="m\\\\u202e",model_instance="i"} 1']


def test_names_that_look_the_same_are_two_cases():
    """A CI system follows a case by its name."""
    policy = {"require": [{"name": name, "model": "m"} for name in ("chat\u200b", "chat\\u200b", "chat")]}
    policy["groups"] = {name: {"require": [{"name": "chat", "model": "m"}]} for name in ("g\u200b", "g\\u200b")}
    hosts = {"gpu": answering(entry("m", instances=[instance("m", 1)]))}
    found = make_audit(hosts, parse_policies(policy, {name: ["gpu"] for name in policy["groups"]}), None, "2026-11-23T08:00:00Z")
    suites = list(ElementTree.fromstring(FORMATS["junit"][1](found)))
    assert [(suite.get("name"), suite.get("tests"), [case.get("name") for case in suite]) for suite in suites] == [
        ("hosts answer", "1", ["answers"]),
        ("all hosts", "3", ["chat\\u200b", "chat\\u200b (2)", "chat"]),
        ("group g\\u200b", "2", ["chat", "chat (2)"]),
    ]


@pytest.mark.parametrize(("more", "plural", "verb"), [(1, "", "is"), (2, "s", "are")])
def test_what_is_left_out_is_counted(more, plural, verb):
    for name, most in (("markdown", 200), ("html", 500)):
        numbers = range(most + more)
        before = parse_baseline(json.loads(FORMATS["json"][1](make_audit({"gpu": answering()}, [], None, "2026-11-22T08:00:00Z"))))
        hosts = {"gpu": answering(*(entry(f"m{number}") for number in numbers))} | {f"new{number}": answering() for number in numbers}
        policy = {"groups": {"g": {"require": [{"model": f"x{number}"} for number in numbers]}}}
        found = make_audit(hosts, parse_policies(policy, {"g": ["gpu"]}), before, "2026-11-23T08:00:00Z")
        said = re.findall(r"(\d+ more[^.<]*) in the JSON report\.", FORMATS[name][1](found))
        counted = [f"{more} more requirement{plural} {verb}", f"{more} more change{plural} {verb}"]
        if name == "markdown":
            # Not compared, what was checked, models, and hosts, of which there is one more.
            counted += [f"{more} more host{plural} {verb}", f"{more} more {verb}", f"{more} more {verb}", f"{more + 1} more are"]
        else:
            # Models, changes, and not compared.
            counted += [f"{more} more model{plural} {verb}", f"{more} more {verb}", f"{more} more {verb}"]
        assert said == counted, name


def test_an_empty_fleet_of_hosts_that_are_down_has_every_report():
    found = make_audit({"gpu": None}, [], None, "2026-11-23T08:00:00Z", Scope(history=[*RUNS, *RUNS]))
    texts = {name: render(found) for name, (_file_name, render) in FORMATS.items()}
    assert all("gpu" in text for text in texts.values())
    # What nobody said is not 0.
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(texts["json"]))
    assert set(found["summary"]["models"].values()) == {None}
    assert "| 1 | not known | not known | not known | not known | not known |" in texts["markdown"]
    assert "<dt>models loaded</dt><dd>not known</dd>" in texts["html"]
    # Nor is what was not judged.
    assert "<dt>warnings</dt><dd>\u2013</dd>" in texts["html"] and not re.search('<dd class="[^"]*">0</dd>', texts["html"])
    *_before, run = json.loads(history_with(found))["runs"]
    assert run["violations"] is run["warnings"] is run["loaded_bytes"] is None
    # What earlier runs found is not shown as what there is now.
    assert re.findall(r'<figcaption>([^<]*)</figcaption><svg role="img" [^>]* class="history">', texts["html"]) == ["Hosts that answer: 0"]
    assert all("Not known, because no host answered." in texts[name] for name in ("html", "markdown"))


def test_every_format_is_documented():
    role = ROOT / "roles" / "fleet_audit"
    module = yaml.safe_load(fleet_report.DOCUMENTATION)["options"]["formats"]
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert module["choices"] == spec["fleet_audit_formats"]["choices"] == list(FORMATS)
    assert module["default"] == spec["fleet_audit_formats"]["default"] == defaults["fleet_audit_formats"] == list(DEFAULT_FORMATS)
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`( \(default\))? \| `(fleet_audit\.\w+)` \|", page, re.MULTILINE)
    assert [(name, file_name) for name, _default, file_name in rows] == [
        (name, file_name) for name, (file_name, _render) in FORMATS.items()
    ]
    assert [name for name, default, _file_name in rows if default] == list(DEFAULT_FORMATS)


def test_what_passed_says_what_it_asked():
    policy = {"require": [{"model": "m", "state": "available"}, {"name": "chat", "model": "n", "min_context_length": 4096}]}
    fleet_rule = {"fleet": [{"require": [{"model": "n"}], "min_hosts": 1, "consistent": ["quantization"]}]}
    record = answering(entry("m"), entry("n", instances=[instance("n", 8192)]))
    hosts = {name: {**record, "url": f"http://{name}:1234"} for name in ("gpu1", "gpu2")}
    found = make_audit(hosts, parse_policies({**policy, **fleet_rule}, {}), None, "2026-11-23T08:00:00Z")
    rows = [
        ("all hosts", "m", "lists m", "met by 2 of 2 hosts"),
        ("all hosts", "chat", "serves n with a context of at least 4096", "met by 2 of 2 hosts"),
        ("fleet", "n", "at least 1 of 2 hosts serves n and the same quantization of n on all hosts that have it", "met"),
    ]
    html, markdown, junit = (FORMATS[name][1](found) for name in ("html", "markdown", "junit"))
    for policy_name, requirement, asked, outcome in rows:
        cells = [f'<th scope="row">{policy_name}</th>', *(f">{text}</td>" for text in (requirement, asked, outcome))]
        assert any(all(cell in line for cell in cells) for line in html.splitlines())
        assert f"| `{policy_name}` | `{requirement}` | `{asked}` | {outcome} |" in markdown
        assert f"<system-out>asked: {asked}</system-out>" in junit
    assert as_lines(found, {})[0] == "2 of 2 hosts answered, the policy is met."


# The story: what is wrong first, what weighs most first of all


def story(hosts, policy):
    hosts = {name: {**record, "url": f"http://{name}:1234"} for name, record in hosts.items()}
    found = make_audit(hosts, parse_policies(policy, {}), None, "2026-11-23T08:00:00Z")
    paths = {name: f"/audit/{name}" for name in FORMATS}
    return found, as_lines(found, paths), FORMATS["markdown"][1](found).splitlines()


STORY = {
    "require": [{"name": "chat", "model": "chat/m", "min_context_length": 8192}, {"name": "embeddings", "model": "embed/m"}],
    "fleet": [{"require": [{"name": "vision", "model": "vision/m"}], "min_hosts": 2}],
}


def test_the_rule_of_five_hosts_comes_first():
    idle = answering(entry("chat/m"), entry("embed/m"), entry("vision/m"))
    hosts = {f"gpu{number}": idle for number in range(4)} | {"gpu4": failing("refused", "refused the connection")}
    found, lines, markdown = story(hosts, STORY)
    rule = "fleet: vision: 0 of 5 hosts serve vision/m; 2 are required"
    for shown in (lines, markdown, problems(found)["violations"]):
        assert any(rule in line for line in shown[:10])
    assert lines[:8] == [
        "4 of 5 hosts answered, 1 rule of the fleet and 2 requirements not met.",
        "Rules of the fleet that are not met:",
        f"  {rule}. gpu0, gpu1, gpu2, gpu3: not loaded. No answer: gpu4 (refused)",
        "Hosts without an answer:",
        "  1 of 5 hosts gave no answer: 1 refused",
        "    gpu4: http://gpu:1234 refused the connection.",
        "Requirements that are not met:",
        "  chat: not met by 5 of 5 hosts: 4 not loaded, 1 gave no answer",
    ]


def test_five_hundred_hosts_tell_the_story_in_forty_lines():
    others = [entry(f"other/m{number}") for number in range(58)]
    loaded = answering(entry("chat/m", instances=[instance("c", 8192)]), entry("embed/m", instances=[instance("e", 512)]), *others)
    idle, without = answering(entry("chat/m"), entry("embed/m"), *others), answering(*others, entry("embed/m"))
    hosts = {f"gpu{number:03}": loaded if number < 50 else idle if number < 430 else without for number in range(466)}
    hosts |= {f"gpu{number:03}": failing("refused" if number < 486 else "timeout", "did not answer") for number in range(466, 500)}
    found, lines, markdown = story(hosts, STORY)
    counted = "chat: not met by 450 of 500 hosts: 380 not loaded, 36 not listed, 34 gave no answer"
    for shown in (lines, markdown, problems(found)["violations"]):
        assert any("vision: 0 of 500 hosts serve vision/m; 2 are required" in line for line in shown[:10])
        assert any(counted in line for line in shown)
        assert any("34 of 500 hosts gave no answer: 20 refused, 14 timeout" in line for line in shown)
    assert len(lines) <= 40 and all(len(line) <= 200 for line in lines)
    # Each of them once, and not once more for each requirement.
    assert [finding["kind"] for finding in found["findings"]] == ["fleet", "no_answer", "requirement", "requirement"]
    assert [len(cause["hosts"]) for cause in found["findings"][1]["causes"]] == [20, 14]
    assert len(problems(found)["violations"]) == 4
    assert lines[-8].startswith("  ... and 4") and lines[-8].endswith(" more hosts")
    served = next(line for line in lines if line.startswith("chat/m")).split()
    assert served[:5] == ["chat/m", "50", "430", "50", "not"]


def test_what_is_cut_is_counted_by_kind():
    policy = {
        "require": [{"model": f"m{number}"} for number in range(30)],
        "fleet": [{"require": [{"model": f"f{number}"}], "min_hosts": 1} for number in range(10)],
    }
    _found, lines, markdown = story({"gpu": answering()}, policy)
    assert "  ... and 7 more rules of the fleet" in lines and "  ... and 25 more requirements" in lines
    assert len(lines) <= 40
    assert sum("not met by" in line for line in markdown) == 30
    groups = {f"empty{number}": {"require": [{"model": "m"}]} for number in range(4)}
    noted = make_audit({"gpu": answering()}, parse_policies({"groups": groups}, dict.fromkeys(groups, ())), None, "2026-11-23T08:00:00Z")
    assert as_lines(noted, {})[-3:] == [*noted["notes"][:2], "... and 2 more notes"]


def test_a_host_without_an_answer_still_violates_what_is_required_of_it():
    hosts = {"a": answering(entry("m", instances=[instance("m", 1)])), "b": failing("timeout", "did not answer")}
    found, lines, _markdown = story(hosts, {"require": [{"model": "m"}]})
    assert [finding["kind"] for finding in found["findings"]] == ["no_answer"]
    assert problems(found)["violations"] == problems(found)["not_ok"] != []
    assert found["summary"]["violations"] == {"fail": 1, "warn": 0}
    assert lines[0] == "1 of 2 hosts answered, not all of the policy could be checked."
    warned, _lines, _markdown = story(hosts, {"require": [{"model": "m", "severity": "warn"}]})
    assert problems(warned)["violations"] == [] != problems(warned)["not_ok"]


def test_the_reasons_of_several_hosts_are_sentences_side_by_side():
    hosts = {"gpu1": failing("refused", "refused the connection"), "gpu2": failing("auth", "requires a token")}
    (said,) = problems(story(hosts, {"require": [{"model": "m"}]})[0])["not_ok"]
    assert said == (
        "2 of 2 hosts gave no answer: 1 auth, 1 refused. "
        "gpu2: http://gpu:1234 requires a token. gpu1: http://gpu:1234 refused the connection."
    )
    cut = {"gpu1": failing("auth", "said wait... and"), "gpu2": failing("refused", "refused the connection")}
    (said,) = problems(story(cut, {})[0])["not_ok"]
    assert "gpu1: http://gpu:1234 said wait... and. gpu2: " in said


def failures(found):
    """What a CI system sees of a report, by the suite."""
    root = ElementTree.fromstring(FORMATS["junit"][1](found))
    return [
        (suite.get("name"), case.find("failure").get("message")) for suite in root for case in suite if case.find("failure") is not None
    ]


def test_a_gate_that_judged_or_compared_nothing_says_so():
    policy = {"groups": {"g": {"require": [{"model": "m"}]}}}
    hosts = {"a": answering(entry("m"))}
    found = make_audit(hosts, parse_policies(policy, {"g": []}), None, "2026-11-23T08:00:00Z", Scope(policy=policy, first_run=True))
    assert problems(found)["violations"] == ["The policy judged nothing: no host of this audit is in its groups."]
    assert as_lines(found, {})[0] == (
        "1 of 1 host answered, the policy judged nothing, this is the first run, so there is nothing to compare with."
    )
    assert failures(found) == [("policy", "The policy judged nothing: no host of this audit is in its groups.")]
    baseline = parse_baseline(json.loads(FORMATS["json"][1](found)))
    down = make_audit({"a": failing("refused", "x")}, [], baseline, "2026-11-23T08:00:00Z", Scope(inventory=["a"]))
    assert problems(down)["drift"] == ["No host could be compared with the baseline."]
    assert failures(down)[1:] == [("drift", "No host could be compared with the baseline.")]
    assert as_lines(down, {})[0] == "0 of 1 host answered, 0 changes since the baseline, 1 host not compared with it."
    assert "<dt>changes since the baseline</dt><dd>\u2013</dd>" in FORMATS["html"][1](down)
    assert json.loads(history_with({**down, "run": {**down["run"], "history": []}}))["runs"][0]["drift"] is None
    limited = make_audit({"b": answering()}, [], baseline, "2026-11-23T08:00:00Z", Scope(inventory=["a", "b"]))
    assert as_lines(limited, {})[0].endswith("1 host not compared with it, 1 host of the baseline not in this run.")
    assert "Hosts of the baseline that are not in this run: a." in FORMATS["html"][1](limited)


def test_what_is_not_known_is_not_zero():
    hosts = {"a": failing("timeout", "did not answer"), "b": answering(entry("m", size=None, instances=[instance("m", None)]))}
    found, lines, markdown = story(hosts, {})
    down, up = found["hosts"]
    assert {*down["counts"].values(), *down["size_bytes"].values(), down["duplicates"]} == {None}
    assert up["size_bytes"] == found["summary"]["size_bytes"] == {"available": None, "loaded": None}
    assert any(line.split() == ["b", "ok", "1", "not", "known", "m", "(context", "not", "known)"] for line in lines)
    assert "| 2 | 1 | 1 | 1 | not known | not known |" in markdown
    samples = FORMATS["prometheus"][1](found)
    assert 'lmstudio_host_ok{host="a"} 0' in samples and 'models_loaded{host="a"}' not in samples and "loaded_bytes{" not in samples
    assert FORMATS["csv"][1](found).splitlines()[2].startswith("b,ok,m,loaded,1,1,?,Q4_K_M,4,m@q4_k_m,,")
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(FORMATS["json"][1](found)))


def test_the_size_of_a_model_that_is_not_loaded_may_not_be_known_either():
    listed = (entry("m", instances=[instance("m", 8192)]), entry("idle", size=None))
    records = {detail: answering(*listed, detail=detail) for detail in ("loaded", "full")}
    found = make_audit(records, [], None, "2026-11-22T20:00:00Z")
    assert [host["size_bytes"] for host in found["hosts"]] == [{"available": None, "loaded": 5_000_000_000}] * 2
    assert found["notes"] == ["The size of a model is not known on full, loaded. Sums of sizes with it leave the host out."]
    assert summary_of(records)["size_bytes"] == {"available": None, "loaded": 10_000_000_000}
    # What is loaded on them is not part of what others list.
    with_another = make_audit({**records, "other": answering(*listed[:1])}, [], None, "2026-11-22T20:00:00Z")
    assert "15.0 GB <small>listed size not known</small>" in FORMATS["html"][1](with_another)
    assert "5.0 GB <small>of 5.0 GB listed</small>" in FORMATS["html"][1](make_audit({"other": answering(*listed[:1])}, [], None, ""))
    # A record of an earlier release, as in a cache of facts, counted it as 0.
    kept = {**records["full"], "size_bytes": {"available": 5_000_000_000, "loaded": 5_000_000_000}}
    (host,) = make_audit({"full": kept}, [], None, "2026-11-22T20:00:00Z")["hosts"]
    assert host["size_bytes"] == {"available": None, "loaded": 5_000_000_000}


def test_what_the_older_list_does_not_tell_is_not_known_in_any_report():
    rows = [{"id": "chat/m", "state": "loaded", "loaded_context_length": 8192}, {"id": "slow/m", "state": "loading"}, {"id": "idle/m"}]
    hosts = {"new": answering(entry("chat/m", instances=[instance("chat/m", 8192, parallel=4)])), "old": older(*rows)}
    policy = {"require": [{"model": "chat/m", "max_instances": 1}, {"model": "gone/m", "state": "absent"}], "exclusive": True}
    found, lines, markdown = story(hosts, policy)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(FORMATS["json"][1](found)))
    new, old = found["hosts"]
    assert (new["api"], old["api"], old["counts"]["instances"], old["size_bytes"]) == (
        "v1",
        "v0",
        None,
        {"available": None, "loaded": None},
    )
    assert {model["key"]: (model["state"], model["variants"]) for model in old["models"]} == {
        "chat/m": ("loaded", None),
        "idle/m": ("available", None),
        "slow/m": ("loading", None),
    }
    assert [model["instances"][0]["unloads_when_idle"] for host in (new, old) for model in host["models"][:1]] == [False, None]
    # No check is met for what nobody knows, and the other host meets all of them.
    assert [(check["host"], check["outcome"], check["reason"]) for check in found["checks"]] == [
        *(("new", "passed", None) for _check in range(3)),
        ("old", "failed", "with instances not known"),
        ("old", "failed", "not known"),
        ("old", "failed", "with slow/m loaded"),
    ]
    quiet = story({"old": older(rows[0])}, {"require": [{"model": "chat/m"}], "exclusive": True})[0]
    assert [(check["outcome"], check["reason"]) for check in quiet["checks"]] == [("passed", None), ("failed", "not known")]
    note = "Answered over /api/v0/models: old."
    html, csv, junit, samples = (FORMATS[name][1](found) for name in ("html", "csv", "junit", "prometheus"))
    for shown in (lines, markdown, html.splitlines()):
        assert any(note in line for line in shown)
    assert [line.split(",")[-1] for line in csv.splitlines()] == ["api", "v1", "v0", "v0", "v0"]
    assert "answered over /api/v0/models, which does not report everything" in junit
    assert 'lmstudio_host_older_api{host="new"} 0' in samples and 'lmstudio_host_older_api{host="old"} 1' in samples
    assert 'lmstudio_models_loaded{host="old"} 1' in samples and 'lmstudio_models_listed{host="old"} 3' in samples
    assert 'lmstudio_instance_context_length{host="old",model="chat/m",model_instance="chat/m"} 8192' in samples
    for unknown in ("instances", "listed_bytes", "loaded_bytes"):
        assert f'lmstudio_{unknown}{{host="new"}}' in samples and f'lmstudio_{unknown}{{host="old"}}' not in samples


def test_of_the_two_lists_only_what_both_tell_is_compared():
    def audit_of(record, baseline=None):
        kept = None if baseline is None else parse_baseline(json.loads(FORMATS["json"][1](baseline)))
        return make_audit({"gpu": record}, [], kept, "2026-11-23T08:00:00Z", Scope(inventory=["gpu"]))

    def changes(one, other):
        """Of one record to the other, and back."""
        found = [audit_of(now, audit_of(before))["drift"] for before, now in ((one, other), (other, one))]
        assert [drift["not_compared"] for drift in found] == [[], []]
        return [[(change["model"], change["change"]) for change in drift["changes"]] for drift in found]

    listed = [{"id": "chat/m", "state": "loaded", "loaded_context_length": 8192}, {"id": "idle/m"}]
    chat = instance("chat/m", 8192)
    # What the older list does not tell is not a change: variants, models that are not loaded, a second instance, what unloads when idle.
    whole = entry("chat/m", instances=[chat, instance("chat/m:2", 4096, ttl=60)], variants=["chat/m@q4_k_m", "chat/m@q8_0"])
    assert changes(older(*listed[:1]), answering(whole, entry("idle/m"), entry("more/m"))) == [[], []]
    assert changes(older({"id": "chat/m", "state": "loaded"}), answering(whole)) == [[], []]
    # What it tells is.
    assert changes(older(*listed), answering(entry("chat/m"), entry("idle/m"))) == [[("chat/m", "unloaded")], [("chat/m", "loaded")]]
    assert changes(older(*listed[:1]), answering(entry("chat/m", instances=[instance("chat/m", 4096)]))) == [[("chat/m", "context")]] * 2
    assert changes(older(*listed[:1]), answering(entry("chat/m", "8bit", instances=[chat]))) == [[("chat/m", "quantization")]] * 2
    gone = answering(entry("chat/m", instances=[chat]), entry("more/m", instances=[instance("more/m", 1)]))
    assert changes(older(*listed[:1]), gone) == [[("more/m", "loaded")], [("more/m", "unloaded")]]
    old = audit_of(older(*listed))
    again = audit_of(older({**listed[0], "loaded_context_length": 4096}), old)
    assert [change["change"] for change in again["drift"]["changes"]] == ["context", "removed"]
    # A host without an answer keeps what it was, with the list that told it.
    down = audit_of(failing("refused", "refused the connection"), old)
    assert down["hosts"][0]["last_known"]["api"] == "v0"
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(FORMATS["json"][1](down)))
    assert audit_of(older(*listed), down)["drift"] == {**again["drift"], "changes": [], "not_compared": []}
    # A report of an earlier release has the newer list only.
    earlier_release = json.loads(FORMATS["json"][1](audit_of(answering(entry("chat/m")))))
    del earlier_release["hosts"][0]["api"]
    now = make_audit({"gpu": answering(entry("chat/m"))}, [], parse_baseline(earlier_release), "2026-11-23T08:00:00Z")
    assert now["drift"]["not_compared"] == []
