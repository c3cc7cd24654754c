# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any JSON whatever gives a record or a typed error, never another exception."""

from __future__ import annotations

import json
from unittest import mock

from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _api
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import STATUSES, Answer, ApiError, read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import ask
from hypothesis import given, settings
from hypothesis import strategies as st


def values(floats):
    scalars = st.none() | st.booleans() | st.integers() | floats | st.text(max_size=20)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=20
    )


anything = values(st.floats())


def objects(**fields):
    """Objects with these fields, of the right type or of any other, and with unknown ones."""
    known = st.fixed_dictionaries({}, optional={name: kind | anything for name, kind in fields.items()})
    more = st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["__ansible_type", "__payload__", "items", "loaded"]), anything, max_size=2
    )
    return st.builds(lambda one, other: {**other, **one}, known, more)


instances = objects(
    id=st.text(max_size=9),
    config=objects(context_length=st.integers(0, 2**40), parallel=st.integers(0, 9), flash_attention=st.booleans()),
    remaining_ttl_seconds=st.integers(0, 3600),
)
entries = objects(
    type=st.sampled_from(["llm", "embedding", "embeddings"]),
    key=st.text(max_size=9),
    size_bytes=st.integers(0, 2**50),
    quantization=objects(name=st.text(max_size=5), bits_per_weight=st.floats()),
    loaded_instances=st.lists(instances, max_size=3),
    capabilities=objects(vision=st.booleans(), reasoning=objects(allowed_options=st.lists(st.text(max_size=3), max_size=2))),
    variants=st.lists(st.text(max_size=5), max_size=2),
)
valid_instances = st.fixed_dictionaries(
    {"id": st.text(max_size=9), "config": st.fixed_dictionaries({"context_length": st.integers(0, 2**40)})},
    optional={"remaining_ttl_seconds": st.integers(0, 3600)},
)
valid_entries = st.fixed_dictionaries(
    {"type": st.sampled_from(["llm", "embedding"]), "key": st.text(max_size=9), "loaded_instances": st.lists(valid_instances, max_size=3)},
    optional={
        "capabilities": st.fixed_dictionaries(
            {"reasoning": st.fixed_dictionaries({"allowed_options": st.lists(st.text(max_size=4), max_size=3)})}
        ),
        "quantization": st.fixed_dictionaries({"bits_per_weight": st.integers(1, 16)}),
        "future": values(st.floats(allow_nan=False, allow_infinity=False)),
        "size_bytes": st.integers(0, 2**50),
        "variants": st.lists(st.text(max_size=5), max_size=3),
    },
)
documents = anything | objects(models=st.lists(entries, max_size=4), data=anything, error=anything, detail=anything)


def shape(record):
    return (
        list(record),
        sorted(record["counts"]),
        sorted(record["size_bytes"]),
        {name: type(record[name]) for name in ("ok", "status", "models", "instances", "available", "loaded", "warnings", "asked_at")},
    )


EMPTY = shape(ask(make_endpoint({}, "http://h"), lambda endpoint: Answer(200, b'{"models": []}'), "full"))


def judge(body, status, detail="full", token=None):
    return ask(make_endpoint({"token": token}, "http://h"), lambda endpoint: Answer(status, body), detail)


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
        read_models(Answer(status, body))
    except ApiError as exc:
        assert exc.status in STATUSES


@settings(max_examples=60)
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


@settings(deadline=None)
@given(st.lists(entries | valid_entries, max_size=4))
def test_reading_what_was_read_changes_nothing(raw):
    try:
        read, _warnings = read_models(Answer(200, json.dumps({"models": raw}).encode()))
    except ApiError:
        return
    again = [model.entry for model in read]
    assert read_models(Answer(200, json.dumps({"models": again}).encode())) == (read, [])


def read_or_refused(body):
    try:
        return read_models(Answer(200, body))
    except ApiError as exc:
        return exc.status, exc.what, exc.hint


@settings(deadline=None)
@given(
    shelf=st.lists(entries | valid_entries, min_size=1, max_size=5),
    chosen=st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=2, max_size=4),
    spaced=st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]),
    tail=st.sampled_from([b"", b"\n", b"", b"]", b"\x0b", b"{}"]),
)
def test_hosts_are_read_alike_whatever_the_hosts_before_them_said(shelf, chosen, spaced, tail):
    fleet = [json.dumps({"models": [shelf[number % len(shelf)] for number in numbers]}, **spaced) for numbers in chosen]
    bodies = [body.encode("utf-8", "surrogatepass") + tail for body in fleet]
    with mock.patch.object(_api, "_read_text", return_value=None):
        one_by_one = [read_or_refused(body) for body in bodies]
    assert [read_or_refused(body) for body in bodies] == one_by_one
    assert [read_or_refused(body) for body in bodies] == one_by_one
