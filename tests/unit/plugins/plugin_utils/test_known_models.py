# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose models were listed by others before: they are read as if they were the only ones."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import Reader
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, read_answer, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import MASK
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import answer_cache, engine
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.answer_cache import _MAX_MODEL_BYTES, _MAX_MODELS, KnownModels
from ansible_collections.gpufleet.lmstudio.tests.strategies import entries, valid_entries
from ansible_collections.gpufleet.lmstudio.tests.transports import exchange_in_threads
from hypothesis import given
from hypothesis import strategies as st

TOKEN = "sk-lm-AbCdEf12:GhIjKlMnOpQrStUvWxYz"
ENDPOINT = Endpoint("http://gpu01:1234", max_response_bytes=1024 * 1024)


def on_disk(**fields):
    return {"type": "llm", "key": "qwen/qwen3-8b", "size_bytes": 10, "loaded_instances": [], **fields}


def listing(models, **spaced):
    return json.dumps({"models": models}, **spaced).encode()


class Fleet:
    """Hosts that are read one after the other."""

    def __init__(self):
        self.known = KnownModels()

    def record(self, body, **options):
        endpoint = make_endpoint(options, "http://gpu01")
        poll = Poll(Response(200, body), "", 1)
        return record_of(endpoint, parse(endpoint, poll, lambda *answer: read_answer(*answer, self.known.read)), "full")


@pytest.fixture
def fleet():
    return Fleet()


@pytest.mark.parametrize("spaced", [{}, {"indent": 2}, {"separators": (",", ":")}], ids=["spaced", "indented", "compact"])
def test_a_host_with_the_models_of_others_in_another_order(fleet, spaced):
    for keys in ("abc", "abc", "cba", "bab", "ca", "adc", "abcd", "abc"):
        models = fleet.record(listing([on_disk(key=key) for key in keys], **spaced))["models"]
        assert [model["key"] for model in models] == list(keys)
    assert len(fleet.known) == 4


def test_each_model_is_read_once(fleet, monkeypatch):
    """The order of a list, white space between its models, and a model that is loaded in between make no difference."""
    shelf = [json.dumps(on_disk(key=key)) for key in "abcd"]
    loaded = json.dumps(on_disk(key="l", loaded_instances=[{"id": "l", "config": {}}]))
    new, reading = [], Reader.read
    monkeypatch.setattr(Reader, "read", lambda self, raw, number: new.append(raw["key"]) or reading(self, raw, number))
    for texts in (shelf, shelf[::-1], [loaded, *shelf], [*shelf[:2], loaded, *shelf[2:]]):
        for between in (",", " ,\n"):
            assert fleet.record(('{"models":[' + between.join(texts) + "]}").encode())["counts"]["models"] == len(texts)
    assert "".join(new) == "abcd" + 4 * "l"


def test_what_is_done_to_one_record_does_not_reach_the_next(fleet):
    body = listing([on_disk(variants=["a", "b"], extra={"of": ["the", "server"]}, quantization={"name": "Q4"})])
    record, untouched = fleet.record(body), copy.deepcopy(fleet.record(body)["models"])
    (entry,) = record["models"]
    entry["variants"].clear()
    entry["extra"]["of"].append("someone")
    entry["quantization"]["name"] = "other"
    entry["key"] = "other"
    assert fleet.record(body)["models"] == untouched


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, "1"), (1, 1.5), (None, 0), ("a", None)])
def test_a_model_that_differs_by_type_alone_is_read_anew(fleet, one, other):
    first, second, again = (fleet.record(listing([on_disk(size_bytes=value, extra=value)])) for value in (one, other, one))
    assert first["models"] == again["models"] and first["warnings"] == again["warnings"]
    assert first["fingerprint"] == again["fingerprint"] != second["fingerprint"]
    assert second["models"][0]["extra"] is other or second["models"][0]["extra"] == other
    assert type(second["models"][0]["extra"]).__name__ == type(other).__name__


def test_a_warning_is_said_of_every_host(fleet):
    body = listing([on_disk(), on_disk(key="odd", size_bytes="much")])
    assert fleet.record(body)["warnings"] == fleet.record(body)["warnings"] != []


def test_a_model_with_the_token_of_a_host_in_it_is_masked_there_only(fleet):
    body = listing([on_disk(display_name=TOKEN)])
    names = [fleet.record(body, **options)["models"][0]["display_name"] for options in ({}, {"token": TOKEN}, {})]
    assert names == [TOKEN, MASK, TOKEN]


def test_what_is_remembered_has_bounds(fleet):
    for number in range(3):
        fleet.record(listing([on_disk(key=f"{number}/{index}") for index in range(3000)]))
        fleet.record(listing([on_disk(key="x" * 100_000)]))
        assert 0 < len(fleet.known) <= _MAX_MODELS
    assert max(map(len, fleet.known)) <= _MAX_MODEL_BYTES


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_fleet_reads_each_model_once(monkeypatch, token):
    monkeypatch.setattr(answer_cache, "_MODELS", KnownModels())
    new, reading = [], Reader.read
    monkeypatch.setattr(Reader, "read", lambda self, raw, number: new.append(raw["key"]) or reading(self, raw, number))
    asked = [make_endpoint({"token": token}, f"http://h{number}.invalid") for number in range(5)]

    def exchange(endpoint, request, deadline):
        loaded = on_disk(key="loaded", loaded_instances=[{"id": endpoint.url, "config": {}}])
        return Response(200, listing([on_disk(key="a"), loaded, on_disk(key="b")]))

    with exchange_in_threads(exchange):
        assert all(record["ok"] for record in engine.ask_all(asked, "loaded", 1, 60, lambda line: None))
    assert sorted(new) == ["a", "b", *5 * ["loaded"]]


@pytest.mark.parametrize("levels", [100, 900, 2100, 5000])
def test_a_model_that_is_nested_deep_is_the_same_every_time(fleet, levels):
    body = b'{"models": [{"key": "a", "extra": %s%s}]}' % (b"[" * levels, b"]" * levels)
    first, second = fleet.record(body), fleet.record(body)
    # How deep is too deep for JSON differs from one Python to another.
    assert (first["status"], len(first["warnings"])) in (("ok", 1), ("invalid", 0))
    assert second == first


def said_of(body, read_model):
    try:
        return read_models(Response(200, body), ENDPOINT, read_model)
    except ApiError as exc:
        return exc.status, exc.problem, exc.case, exc.hint, exc.http_status


@given(
    shelf=st.lists(entries | valid_entries, min_size=1, max_size=5),
    chosen=st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=2, max_size=4),
)
def test_hosts_are_read_alike_whatever_the_hosts_before_them_said(shelf, chosen):
    bodies = [
        json.dumps({"models": [shelf[number % len(shelf)] for number in numbers]}).encode("utf-8", "surrogatepass") for numbers in chosen
    ]
    alone = [said_of(body, Reader.read) for body in bodies]
    known = KnownModels()
    assert [said_of(body, known.read) for body in bodies] == alone
    assert [said_of(body, known.read) for body in bodies] == alone
