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

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, record_of
from ansible_collections.gpufleet.lmstudio.plugins.modules import fleet_report
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import make_audit, parse_baseline, without_times
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.formats import DEFAULT_FORMATS, FORMATS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.terminal_summary import as_lines

ROOT = Path(__file__).parents[4]
GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} `|` [x](y) @all \"q\" 'q' ]]> \x1b[31m\u202e\u0000"


def instance(name, context, **config):
    return {"id": name, "config": {"context_length": context, **config}, "remaining_ttl_seconds": 12}


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


CHAT = "qwen/qwen3-8b"
EMBEDDING = entry("nomic/embed", "Q8_0", 146_000_000, [instance("nomic/embed", 2048)], type="embedding")


def answering(*entries, detail="full", at="2026-11-22T20:00:00Z", ms=12):
    return record_of(
        make_endpoint({"url": "http://gpu:1234"}, ""), Poll(Response(200, json.dumps({"models": entries}).encode()), at, ms), detail
    )


def failing(status, message, http_status=None):
    error = ApiError(status, message, http_status=http_status)
    return record_of(make_endpoint({"url": "http://gpu:1234"}, ""), Poll(error, "2026-11-22T20:00:00Z", None), "full")


def fleet(at="2026-11-22T20:00:00Z", ms=12):
    times = {"at": at, "ms": ms}
    return {
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


POLICY = {
    "require": [{"name": "chat", "model": "qwen/*", "min_context_length": 8192}, {"type": "embedding", "severity": "warn"}],
    "exclusive": "true",
    "fleet": [{"require": [{"model": CHAT}], "min_hosts": "2", "consistent": ["quantization"]}],
    "groups": {"rack | 1": {"require": [{"model": "other/m", "state": "absent"}]}, "empty": {"require": [{"model": "m"}]}},
}
GROUPS = {"all": list(fleet()), "rack | 1": ["gpu2", "gpu10"], "empty": []}


def audit(at="2026-11-23T08:00:00Z", baseline=True, **times):
    policies = parse_policies(POLICY, GROUPS)
    return make_audit(fleet(**times), policies, earlier() if baseline else None, at)


def earlier():
    before = {
        **fleet(),
        "gpu10": answering(entry(CHAT, "8bit", instances=[instance(CHAT, 8192)]), entry("gone/m"), entry("nomic/embed", "Q8_0")),
        "gpu2": answering(
            entry(CHAT, instances=[instance("a", 16384), instance("b", 8192)]), EMBEDDING, entry("other/m", instances=[instance("o", 1)])
        ),
        "old": answering(),
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
        "json": range(lines.index(' "run": {'), lines.index(' "summary": {')) if name == "json" else (),
        "prometheus": range(len(lines) - 9, len(lines)),
        "csv": (),
        "markdown": range(len(lines) - 1, len(lines)),
        "junit": (1,),
        "html": [number for number, line in enumerate(lines) if "<time" in line],
    }
    assert len(lines) == len(others)
    assert differing <= set(places[name])
    assert bool(differing) is (name != "csv")


def test_what_counts_as_a_change_of_a_report():
    """The action compares a report with its earlier self but for the lines that have other times."""
    for _file_name, render in FORMATS.values():
        lines = render(audit()).splitlines()
        others = render(without_times(audit())).splitlines()
        changed_times = render(audit(at="2026-11-24T09:00:00Z", ms=3)).splitlines()
        assert len(lines) == len(others) == len(changed_times)
        assert [
            number for number, (one, two) in enumerate(zip(lines, changed_times)) if one != two and lines[number] == others[number]
        ] == []


def test_the_order_of_hosts_and_models_and_instances_does_not_count():
    turned = {
        name: record if name in ("down", "away") else {**record, "models": record["models"][::-1]}
        for name, record in reversed(fleet().items())
    }
    again = make_audit(turned, parse_policies(POLICY, GROUPS), earlier(), "2026-11-23T08:00:00Z")
    assert json.dumps(again) == json.dumps(audit())


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


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", " =1", "\t=1", "\r=1", "\u00a0=1"])
def test_a_cell_is_not_a_formula(text):
    found = make_audit({"gpu": answering(entry(text + "key", text, display_name=text))}, [], None, "2026-11-23T08:00:00Z")
    cells = FORMATS["csv"][1](found).splitlines()[1].split(",")
    assert not [cell for cell in cells if cell.strip(' \t\r\u00a0"').startswith(("=", "+", "-", "@"))]


def test_names_that_look_the_same_are_one_sample():
    found = make_audit(
        {"gpu": answering(entry("m\u202e", instances=[instance("i", 1)]), entry("m\\u202e", instances=[instance("i", 2)]))},
        [],
        None,
        "2026-11-23T08:00:00Z",
    )
    samples = [line for line in FORMATS["prometheus"][1](found).splitlines() if line.startswith("lmstudio_instance_context_length")]
    assert samples == ['lmstudio_instance_context_length{host="gpu",model="m\\\\u202e",instance="i"} 1']


def test_an_empty_fleet_of_hosts_that_are_down_has_every_report():
    found = make_audit({"gpu": None}, [], None, "2026-11-23T08:00:00Z")
    for _file_name, render in FORMATS.values():
        assert "gpu" in render(found)


def test_every_format_is_documented():
    role = ROOT / "roles" / "fleet_audit"
    module = yaml.safe_load(fleet_report.DOCUMENTATION)["options"]["formats"]
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert module["choices"] == spec["fleet_audit_formats"]["choices"] == list(FORMATS)
    assert module["default"] == spec["fleet_audit_formats"]["default"] == defaults["fleet_audit_formats"] == list(DEFAULT_FORMATS)
    rows = re.findall(r"^\| `(\w+)` \| `(fleet_audit\.\w+)` \|", (ROOT / "docs" / "audit.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, file_name) for name, (file_name, _render) in FORMATS.items()]


@pytest.mark.parametrize("required, sentence", [(["m"], "None. The check passed."), (["m", "n"], "None. All 2 checks passed.")])
def test_checks_that_passed_are_counted(required, sentence):
    policies = parse_policies({"require": [{"model": key, "state": "available"} for key in required]}, {})
    found = make_audit({"gpu": answering(entry("m"), entry("n"))}, policies, None, "2026-11-23T08:00:00Z")
    assert f"<p>{sentence}</p>" in FORMATS["html"][1](found)
