# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any JSON whatever gives a record or a typed error, never another exception."""

from __future__ import annotations

import json

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v0 import read_models_v0
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import NOWHERE, read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge as judge_record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import parse_all
from ansible_collections.gpufleet.lmstudio.tests.strategies import anything, entries, objects, rows, valid_entries, valid_rows
from hypothesis import given
from hypothesis import strategies as st

documents = anything | objects(models=st.lists(entries, max_size=4), data=anything, error=anything, detail=anything)


def shape(record):
    return (
        list(record),
        sorted(record["counts"]),
        sorted(record["size_bytes"]),
        {name: type(record[name]) for name in ("ok", "status", "models", "instances", "available", "loaded", "warnings", "asked_at")},
    )


EMPTY = shape(ask(make_endpoint({}, "http://h"), lambda endpoint, request: Response(200, b'{"models": []}'), "full"))


def judge(body, status, detail="full", token=None, api="v1"):
    return ask(make_endpoint({"token": token, "api": api}, "http://h"), lambda endpoint, request: Response(status, body), detail)


@given(
    document=documents, status=st.sampled_from([200, 200, 200, 302, 401, 403, 404, 500, 503]), detail=st.sampled_from(["full", "loaded"])
)
def test_any_json_gives_a_serialisable_record_of_the_same_shape(document, status, detail):
    record = judge(json.dumps(document).encode(), status, detail, token="sk-lm-0123456789")
    json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
    assert shape(record) == EMPTY
    assert record["status"] in STATUSES
    assert record["ok"] == (record["status"] == "ok") == (record["error"] is None) == (record["fingerprint"] is not None)
    assert '"__ansible_' not in json.dumps(record) and '"__payload__' not in json.dumps(record)


@given(body=st.binary(max_size=200), status=st.integers(100, 599))
def test_any_bytes_give_entries_or_a_typed_error(body, status):
    try:
        read_models(Response(status, body))
    except ApiError as exc:
        assert exc.status in STATUSES


@given(models=st.lists(valid_entries, max_size=5), data=st.data())
def test_the_fingerprint_ignores_order_and_ttls_and_is_equal_at_both_details(models, data):
    record = judge(json.dumps({"models": models}).encode(), 200)
    assert record["ok"]
    other = data.draw(st.permutations(models))
    for entry in other:
        reasoning = entry.get("capabilities", {}).get("reasoning", {})
        reasoning["allowed_options"] = data.draw(st.permutations(reasoning.get("allowed_options", [])))
        if "quantization" in entry:
            entry["quantization"]["bits_per_weight"] = float(entry["quantization"]["bits_per_weight"])
        entry["loaded_instances"] = data.draw(st.permutations(entry["loaded_instances"]))
        for instance in entry["loaded_instances"]:
            instance["remaining_ttl_seconds"] = data.draw(st.none() | st.integers(0, 3600))
    body = json.dumps({"models": other}).encode()
    assert judge(body, 200)["fingerprint"] == judge(body, 200, "loaded")["fingerprint"] == record["fingerprint"]


@given(st.lists(entries | valid_entries, max_size=4))
def test_reading_what_was_read_changes_nothing(raw):
    try:
        read, _warnings = read_models(Response(200, json.dumps({"models": raw}).encode()))
    except ApiError:
        return
    again = [model.entry for model in read]
    assert read_models(Response(200, json.dumps({"models": again}).encode())) == (read, [])


older_documents = anything | objects(data=st.lists(rows | valid_rows, max_size=4), models=anything, error=anything, detail=anything)
NOT_KNOWN = [
    {"model": "nobody/has-it", "state": "absent"},
    {"type": "llm", "state": "absent"},
    {"type": "tts", "state": "unloaded"},
    {"model": "*", "min_instances": 0, "max_instances": 9999},
    {"model": "*", "min_parallel": 1},
    {"model": "*", "min_bits_per_weight": 0.1},
    {"model": "*", "capabilities": ["reasoning"]},
    {"model": "*", "config": {"flash_attention": [True, False]}},
]
"""What the older list never tells, whatever is in it."""


@given(document=older_documents, detail=st.sampled_from(["full", "loaded"]), api=st.sampled_from(["v0", "auto"]))
def test_any_json_of_the_older_list_does_too_and_meets_nothing_that_is_not_known(document, detail, api):
    record = judge(json.dumps(document).encode(), 200, detail, token="sk-lm-0123456789", api=api)
    json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
    assert shape(record) == EMPTY
    assert record["ok"] == (record["status"] == "ok") == (record["error"] is None) == (record["api"] is not None)
    if api == "v0" and detail == "full":
        for requirement in NOT_KNOWN:
            assert judge_record(record, parse_all([requirement])), requirement
        assert judge_record(record, parse_all([{"model": "*", "state": "available"}]), exclusive=True)


@given(st.lists(valid_rows, max_size=4))
def test_what_was_read_of_the_older_list_can_be_kept_as_the_newer_one(raw):
    try:
        read, _warnings = read_models_v0(Response(200, json.dumps({"data": raw}).encode()), NOWHERE)
    except ApiError:
        return
    again = [model.entry for model in read]
    kept, _warnings = read_models(Response(200, json.dumps({"models": again}).encode()))
    assert kept == read
