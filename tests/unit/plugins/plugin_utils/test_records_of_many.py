# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary of many records, and what a cache keeps of them."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.inventory.lmstudio import InventoryModule
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.selection import match_pattern
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.summary import failure_lines, failure_warning, summary_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.cache import dump_polls, load_polls
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.groups import make_unsafe
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.naming import group_name
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT

ASKED_AT = "2026-11-22T20:00:00Z"
PAYLOADS = sorted((ROOT / "tests" / "simulator" / "payloads").glob("*.json"))


ENDPOINT = make_endpoint({"url": "http://gpu01:1234"}, "")


def poll(what, endpoint=ENDPOINT):
    answer = what if isinstance(what, ApiError) else Response(200, what if isinstance(what, bytes) else json.dumps(what).encode())
    return parse(endpoint, Poll(answer, ASKED_AT, None))


def record(what, detail="full"):
    return record_of(ENDPOINT, poll(what), detail)


def serving(*keys):
    return record({"models": [{"key": key, "size_bytes": 5, "loaded_instances": [{"id": key}]} for key in keys]})


def test_a_summary_of_nothing():
    summary = summary_of({})
    assert summary["total"] == summary["ok"] == 0 and summary["not_ok"] == []
    assert summary["size_bytes"] == {"available": 0, "loaded": 0}
    assert failure_lines({}) == []


def test_a_summary_has_no_key_that_breaks_results():
    summary = summary_of({"a": serving("__ansible_unsafe", "__payload__x", "m"), "b": serving("m"), "c": record(ApiError("dns", "x"))})
    assert summary["serving"] == {"m": ["a", "b"]}
    assert summary["by_status"] == {"dns": ["c"], "ok": ["a", "b"]}
    assert summary["counts"]["loaded"] == 4 and summary["size_bytes"]["loaded"] == 20
    assert (summary["total"], summary["ok"], summary["not_ok"]) == (3, 2, ["c"])


def test_a_complaint_names_each_host_and_each_next_step_once():
    records = {f"gpu{number}": record(ApiError("refused", "refused the connection")) for number in range(4)}
    records["gpu9"] = record(ApiError("auth", "answered HTTP 401"))
    records["fine"] = serving()
    lines = failure_lines(records)
    assert lines[0] == "5 of 6 hosts did not return a model list."
    assert lines[1] == "gpu0: http://gpu01:1234 refused the connection."
    assert [line.partition(" ")[0] for line in lines[6:]] == ["(refused)", "(auth)"]
    records |= {f"gpu{number}": record(ApiError("timeout", "did not answer")) for number in range(20, 28)}
    short = failure_warning(records).splitlines()
    assert short[0] == "13 of 14 hosts did not return a model list."
    assert short[1].startswith("8 timeout: gpu20, gpu21, gpu22, gpu23, gpu24 and 3 more. gpu20: http://gpu01:1234 did not answer. ")
    assert short[2].startswith("4 refused: gpu0, gpu1, gpu2, gpu3. gpu0: http://gpu01:1234 refused the connection. Start ")
    assert short[3].startswith("gpu9: http://gpu01:1234 answered HTTP 401. ") and len(short) == 4
    assert failure_warning({"fine": serving()}) == ""


def test_a_next_step_that_several_statuses_share_is_that_of_each():
    records = {
        name: record(ApiError(status, "could not be reached", "proxy")) for name, status in (("a", "dns"), ("b", "no_route"), ("c", "dns"))
    }
    assert failure_lines(records)[4:] == ["(dns, no_route) Check the proxy that the environment names, or set use_proxy to false."]


def cached(*whats, detail="full"):
    """The records of hosts that gave these answers, or failed like this, from a cache. None for hosts that it does not have."""
    hosts = {f"gpu{number}": ENDPOINT for number in range(len(whats))}
    found = load_polls(dump_polls(hosts, dict(zip(hosts, map(poll, whats)))), hosts, 0)
    return [record_of(ENDPOINT, found[name], detail) if name in found else None for name in hosts]


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
@pytest.mark.parametrize("detail", ["full", "loaded"])
def test_a_cached_record_is_the_record(path, detail):
    expected = record(path.read_bytes(), detail)
    assert cached(path.read_bytes(), path.read_bytes(), detail=detail) == [expected, expected]


def test_a_cache_has_each_answer_and_each_model_once():
    models = [{"key": key, "loaded_instances": [{"id": key}]} for key in "abc"]
    same = poll({"models": models[:2]})
    polls = {
        **{f"gpu{number}": same for number in range(9)},
        "gpu9": poll({"models": models[1:]}),
        "gpu10": poll(ApiError("dns", "x")),
    }
    text = dump_polls(dict.fromkeys(polls, ENDPOINT), polls)
    assert (len(json.loads(text)["answers"]), len(json.loads(text)["models"])) == (2, 3)
    found = load_polls(text, dict.fromkeys(polls, ENDPOINT), 0)
    assert list(found) == list(polls)
    assert dump_polls(dict.fromkeys(polls, ENDPOINT), found) == text


def test_records_of_one_answer_share_nothing_that_can_be_changed():
    said = {"models": [{"key": "a", "loaded_instances": [{"id": "a", "config": {}}]}, {"key": "b"}]}
    hosts = {"gpu01": ENDPOINT}
    for answer in (poll(said), load_polls(dump_polls(hosts, {"gpu01": poll(said)}), hosts, 0)["gpu01"]):
        for detail in ("full", "loaded"):
            one, other = (record_of(ENDPOINT, answer, detail) for _time in range(2))
            one["models"][-1]["key"] = one["instances"][0]["config"]["context_length"] = "changed"
            one["models"][0]["loaded_instances"][0]["id"] = "changed"
            one["available"].append("changed")
            assert one["models"][0]["loaded_instances"][0]["config"]["context_length"] is None
            assert other == record_of(ENDPOINT, answer, detail) == record(said, detail)


def test_what_was_odd_about_an_answer_is_not_forgotten():
    said = {"models": [{"key": "m", "format": 7, "quantization": []}]}
    assert len(record(said)["warnings"]) == 2
    assert cached(said) == [record(said)]


def test_a_host_that_could_not_be_reached_is_kept_and_one_that_said_no_is_not():
    refused = ApiError("refused", "refused the connection", hint="Do something.")
    said_no = ApiError("auth", "answered HTTP 401", http_status=401)
    assert cached(refused, said_no, b"<html>") == [record(refused), None, None]


def test_a_host_with_a_token_that_is_in_the_cache_is_asked_anew():
    """It was not a secret when the answer was kept."""
    token = "sk-lm-AbCdEf12:GhIjKlMnOpQrStUvWxYz"
    for said in ({"models": [{"key": "m", "display_name": token}]}, {"models": [{"key": "m", "format": [token], token: []}]}):
        text = dump_polls({"gpu01": ENDPOINT}, {"gpu01": poll(said)})
        assert load_polls(text, {"gpu01": ENDPOINT}, 0)
        assert not load_polls(text, {"gpu01": ENDPOINT._replace(token=token)}, 0)
        # A name of ours, or a word of it, is not a secret that came back.
        for other in ("another-token-than-that", "ok", "loaded_instances"):
            assert load_polls(text, {"gpu01": ENDPOINT._replace(token=other)}, 0), other


def test_an_answer_counts_for_what_was_asked_only():
    options = {"url": "http://gpu01:1234", "token": "token-number-one", "headers": {"x-key": "a-secret-header"}}
    asked_with = make_endpoint(options, "")
    text = dump_polls({"gpu01": asked_with}, {"gpu01": poll({"models": []}, asked_with)})
    assert "token-number-one" not in text and "a-secret-header" not in text
    for changed, counts in (
        ({}, True),
        ({"token": "token-number-two"}, True),
        ({"max_response_bytes": 100000}, True),
        ({"url": "http://gpu02:1234"}, False),
        ({"timeout": 3}, False),
        ({"use_proxy": True}, False),
        ({"validate_certs": False}, False),
    ):
        found = load_polls(text, {"gpu01": make_endpoint({**options, **changed}, "")}, 0)
        assert bool(found) is counts, changed


NAMES = ["", "qwen/qwen3-8b", "9", "{{ 7 * 7 }}", "a\nb", "é", "x" * 300, "---"]


@pytest.mark.parametrize("text", NAMES)
def test_a_group_has_a_valid_name(text):
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", group_name(text))


def test_server_text_is_no_template():
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    variables = make_unsafe({"name": "{{ 7 * 7 }}", "names": ["{{ 7 * 7 }}"]})
    templar = Templar(loader=DataLoader(), variables=variables)
    assert templar.template(variables["name"]) == variables["name"] == "{{ 7 * 7 }}"
    assert templar.template(variables["names"]) == ["{{ 7 * 7 }}"]


def test_a_pattern_is_that_of_a_play(monkeypatch):
    from ansible import constants
    from ansible.parsing.dataloader import DataLoader

    # ansible-test makes a pattern without a host an error; people get a warning.
    monkeypatch.setattr(constants, "HOST_PATTERN_MISMATCH", "warning")

    groups = {"all": ["a1", "a2", "b1"], "a": ["a1", "a2"], "b": ["b1"]}
    for pattern, expected in (
        (["a:!a2"], ["a1"]),
        (["b", "a1"], ["b1", "a1"]),
        (["~.1$"], ["a1", "b1"]),
        (["x"], []),
        (["all[1]"], ["a2"]),
    ):
        assert match_pattern(pattern, groups, DataLoader()) == expected, pattern


def test_groups_of_expressions_are_named_by_the_same_rule():
    text = "1 model" * 100
    assert InventoryModule()._sanitize_group_name(text) == group_name(text)
