# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What many records come to, and what a cache keeps of them."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._gathered import at_detail
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import Outcome, record_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._cache import entry_of, packed, record_from, unpacked
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._hosts import of_pattern
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._summary import complaint, summary_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._trust import group_name, untrusted
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT

ASKED_AT = "2026-11-22T20:00:00Z"
PAYLOADS = sorted((ROOT / "tests" / "simulator" / "payloads").glob("*.json"))


def record(what, detail="full", url="http://gpu01:1234", **options):
    answer = what if isinstance(what, ApiError) else Answer(200, what if isinstance(what, bytes) else json.dumps(what).encode())
    return record_of(make_endpoint({"url": url, **options}, ""), Outcome(answer, ASKED_AT, None), detail)


def serving(*keys):
    return record({"models": [{"key": key, "size_bytes": 5, "loaded_instances": [{"id": key}]} for key in keys]})


def test_a_summary_of_nothing():
    summary = summary_of({})
    assert summary["total"] == summary["ok"] == 0 and summary["not_ok"] == []
    assert summary["size_bytes"] == {"available": 0, "loaded": 0}
    assert complaint({}) == []


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
    lines = complaint(records)
    assert lines[0] == "5 of 6 hosts gave no model list."
    assert lines[1] == "gpu0: http://gpu01:1234 refused the connection."
    assert [line.partition(" ")[0] for line in lines[6:]] == ["(refused)", "(auth)"]
    short = complaint(records, at_most=2)
    assert short[:4] == [lines[0], lines[1], lines[2], "And 3 more."] and len(short) == 5


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
@pytest.mark.parametrize("detail", ["full", "loaded"])
def test_a_cached_record_is_the_record(path, detail):
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    before = record(path.read_bytes())
    kept = json.loads(json.dumps(packed({"gpu01": entry_of(endpoint, before), "gpu02": entry_of(endpoint, before)})))
    for entry in unpacked(kept).values():
        assert record_from(endpoint, entry, detail, 0) == at_detail(before, detail) == record(path.read_bytes(), detail)


def test_a_cache_has_each_model_once():
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    entries = {f"gpu{number}": entry_of(endpoint, serving("a", "b")) for number in range(9)}
    kept = packed({**entries, "gpu9": entry_of(endpoint, serving("b", "c")), "gpu10": entry_of(endpoint, record(ApiError("dns", "x")))})
    assert len(kept["models"]) == 3
    assert unpacked(kept)["gpu0"] == entries["gpu0"] and list(unpacked(kept)) == [*entries, "gpu9", "gpu10"]


def test_records_of_one_cache_share_nothing_that_can_be_changed():
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    entry = entry_of(endpoint, record({"models": [{"key": "a", "loaded_instances": [{"id": "a", "config": {}}]}, {"key": "b"}]}))
    for detail in ("full", "loaded"):
        one, other = (record_from(endpoint, entry, detail, 0) for _time in range(2))
        one["models"][-1]["key"] = one["instances"][0]["config"]["context_length"] = "changed"
        assert other == record_from(endpoint, entry, detail, 0)
        assert other["instances"][0]["config"]["context_length"] is None


def test_what_was_odd_about_an_answer_is_not_forgotten():
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    before = record({"models": [{"key": "m", "format": 7, "quantization": []}]})
    assert len(before["warnings"]) == 2
    assert record_from(endpoint, entry_of(endpoint, before), "full", 0) == before


def test_a_host_that_could_not_be_reached_is_kept_and_one_that_said_no_is_not():
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    before = record(ApiError("refused", "refused the connection", "Do something."))
    assert record_from(endpoint, entry_of(endpoint, before), "full", 0) == before
    assert entry_of(endpoint, record(ApiError("auth", "answered HTTP 401", http_status=401))) is None
    assert entry_of(endpoint, record(b"<html>")) is None


def test_an_entry_counts_for_what_was_asked_only():
    options = {"url": "http://gpu01:1234", "token": "token-number-one", "headers": {"x-key": "a-secret-header"}}
    entry = entry_of(make_endpoint(options, ""), serving("m"))
    assert "token-number-one" not in str(entry) and "a-secret-header" not in str(entry)
    for changed, counts in (
        ({}, True),
        ({"token": "token-number-two"}, True),
        ({"max_response_bytes": 100000}, True),
        ({"url": "http://gpu02:1234"}, False),
        ({"timeout": 3}, False),
        ({"use_proxy": True}, False),
        ({"validate_certs": False}, False),
    ):
        assert (record_from(make_endpoint({**options, **changed}, ""), entry, "full", 0) is not None) is counts, changed


NAMES = ["", "qwen/qwen3-8b", "9", "{{ 7 * 7 }}", "a\nb", "é", "x" * 300, "---"]


@pytest.mark.parametrize("text", NAMES)
def test_a_group_has_a_valid_name(text):
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", group_name(text))


def test_server_text_is_no_template():
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    variables = untrusted({"name": "{{ 7 * 7 }}", "names": ["{{ 7 * 7 }}"]})
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
        assert of_pattern(pattern, groups, DataLoader()) == expected, pattern
