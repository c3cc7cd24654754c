# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is required of a host that answered with the older list: what that does not tell never meets anything."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.fleet import CONSISTENT, judge_fleet
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge, selected
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import KEYS, parse_all

CHAT, OLD, SEE, SLOW, IDLE, ODD = "qwen/chat", "old/chat", "pix/see", "big/slow", "idle/chat", "odd/chat"


def row(name, state="not-loaded", **more):
    return {
        "id": name,
        "type": "llm",
        "publisher": name.split("/")[0],
        "arch": "qwen3",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": state,
        "max_context_length": 40960,
        **more,
    }


LIBRARY = [
    row(CHAT, "loaded", loaded_context_length=8192, capabilities=["tool_use"]),
    row(OLD, "loaded"),
    row(SEE, "loaded", type="vlm", loaded_context_length=4096),
    row(SLOW, "loading"),
    row(IDLE, capabilities=["tool_use"]),
    row("nomic/embed", "loaded", type="embeddings", loaded_context_length=2048),
]


def record(rows, api="v0"):
    endpoint = make_endpoint({"url": "http://gpu01:1234", "api": api}, "")
    document = {"object": "list", "data": rows} if api == "v0" else {"models": rows}
    poll = Poll(Response(200, json.dumps(document).encode()), "2026-11-22T20:00:00Z", 12, api)
    return record_of(endpoint, parse(endpoint, poll), "full")


HOST = record(LIBRARY)


def violations(requirement, host=HOST):
    return judge(host, parse_all([requirement]))


ONE_ROW = "/api/v0/models, which has one row for all instances, so it is not known whether each has"
# What is met, because the older list tells it.
MET = [
    {"model": CHAT},
    {"model": "qwen/*", "name": "chat"},
    {"model": CHAT, "severity": "warn"},
    {"model": CHAT, "type": "llm"},
    {"model": SEE, "type": "llm", "capabilities": ["vision"]},
    {"model": CHAT, "capabilities": ["trained_for_tool_use"]},
    {"type": "embedding"},
    {"model": CHAT, "publisher": "qwen", "architecture": "qwen3", "format": "gguf", "quantization": "Q4_K_M"},
    {"model": CHAT, "min_instances": 1},
    {"model": [CHAT, OLD], "min_instances": 2},
    {"model": IDLE, "state": "available", "min_context_length": 40960, "capabilities": ["trained_for_tool_use"]},
    {"model": CHAT, "state": "available"},
    {"model": IDLE, "state": "unloaded"},
    {"model": IDLE, "min_instances": 0, "max_instances": 0},
    {"model": IDLE, "min_instances": 0, "max_instances": 1},
]
# What is not, because it is wrong, or because nobody could know: with a part of the sentence, and what is there.
NOT_MET = [
    ({"model": CHAT, "min_context_length": 8193}, "a context of 8192, at least 8193 is required", 8192),
    ({"model": CHAT, "min_context_length": 8192}, f"a context of 8192 according to {ONE_ROW} a context of at least 8192. Remove", None),
    ({"model": "qwen/*", "min_context_length": 1}, f"{ONE_ROW} a context of at least 1. Remove", None),
    ({"model": CHAT, "config": {"context_length": 8192}}, f"context_length 8192 according to {ONE_ROW} context_length 8192. Remove", None),
    ({"model": CHAT, "config": {"context_length": [4096, "8192"]}}, f"{ONE_ROW} context_length 4096 or 8192. Remove", None),
    ({"model": CHAT, "config": {"context_length": 4096}}, "context_length 8192, but 4096 is required", 8192),
    # Another instance may have what this row does not tell.
    ({"model": CHAT, "min_context_length": 8193, "min_instances": 0, "max_instances": 0}, "1 loaded instance may meet", 1),
    ({"model": OLD, "min_context_length": 1}, "context of (not known)", None),
    ({"model": SLOW}, "big/slow is still loading", "loading"),
    ({"model": "big/*", "min_context_length": 1}, "still loading", "loading"),
    ({"model": SLOW, "state": "unloaded"}, "must not be loaded, but is still loading", "loading"),
    ({"model": SLOW, "min_instances": 0, "max_instances": 0}, "1 loaded instance may meet the requirement, none is allowed", 1),
    ({"model": IDLE}, "is not loaded", "available"),
    ({"model": "nobody/lists"}, "not listed", None),
    ({"model": "nobody/lists", "state": "available"}, "/api/v0/models may leave out models", None),
    ({"model": "nobody/lists", "state": "absent"}, "not known to be absent, because /api/v0/models may leave out models", None),
    ({"model": "nobody/*", "state": "absent"}, "not known to be absent", None),
    ({"type": "tts", "state": "absent"}, "not known to be absent", None),
    ({"model": IDLE, "type": "embedding", "state": "absent"}, "not known to be absent", None),
    ({"model": IDLE, "state": "absent"}, "must be absent, but is listed", "available"),
    ({"model": "nobody/lists", "state": "unloaded"}, "not known to be unloaded", None),
    ({"model": [IDLE, "nobody/lists"], "state": "unloaded"}, "not known to be unloaded", None),
    ({"model": "idle/*", "state": "unloaded"}, "not known to be unloaded", None),
    ({"type": "tts", "state": "unloaded"}, "not known to be unloaded", None),
    ({"model": CHAT, "state": "unloaded"}, "must not be loaded, but is", "loaded"),
    ({"model": CHAT, "capabilities": ["reasoning"], "state": "unloaded"}, "not known to be unloaded", None),
    ({"model": OLD, "capabilities": ["trained_for_tool_use"], "state": "unloaded"}, "not known to be unloaded", None),
    ({"model": CHAT, "max_instances": 1}, "meet the requirement, because /api/v0/models does not list instances", None),
    ({"model": CHAT, "max_instances": 99}, "not known", None),
    ({"model": "idle/*", "min_instances": 0, "max_instances": 0}, "not known", None),
    ({"model": "nobody/lists", "min_instances": 0, "max_instances": 3}, "not known", None),
    ({"model": CHAT, "min_instances": 2}, "1 loaded instance meets", 1),
    ({"model": CHAT, "min_parallel": 1}, "parallel (not known)", None),
    ({"model": CHAT, "min_bits_per_weight": 1}, "(not known) bits per weight", None),
    ({"model": CHAT, "max_size": "999TB"}, "size of (not known)", None),
    ({"model": CHAT, "capabilities": ["reasoning"]}, "is not known to have the capability reasoning", None),
    ({"model": OLD, "capabilities": ["trained_for_tool_use"]}, "is not known to have the capability", None),
    ({"model": CHAT, "capabilities": ["vision"]}, "does not have the capability vision", False),
    ({"capabilities": ["reasoning"]}, "no loaded model is known to have the capability reasoning", None),
    ({"model": CHAT, "config": {"flash_attention": True}}, "flash_attention (not known)", None),
    ({"model": CHAT, "config": {"anything": [1, 2]}}, "no setting anything", None),
    ({"model": CHAT, "type": "embedding"}, "type llm", "llm"),
    ({"model": CHAT, "type": "vlm"}, "type llm", "llm"),
    ({"model": CHAT, "publisher": "other"}, "publisher qwen", "qwen"),
    ({"model": CHAT, "architecture": "other"}, "architecture qwen3", "qwen3"),
    ({"model": CHAT, "format": "mlx"}, "format gguf", "gguf"),
    ({"model": CHAT, "quantization": "8bit"}, "quantization Q4_K_M", "Q4_K_M"),
    ({"model": f"{CHAT}@q4_k_m"}, "not listed", None),
]


@pytest.mark.parametrize("requirement", MET, ids=json.dumps)
def test_what_the_older_list_tells_is_met(requirement):
    assert violations(requirement) == []


@pytest.mark.parametrize(("requirement", "sentence", "actual"), NOT_MET, ids=lambda value: json.dumps(value)[:70])
def test_what_it_does_not_tell_is_not_met(requirement, sentence, actual):
    found = violations(requirement)
    assert found and sentence in found[-1]["message"], found
    assert found[-1]["actual"] == actual and type(found[-1]["actual"]) is type(actual)


def test_every_key_of_a_requirement_has_been_thought_of():
    told = {key for requirement in MET for key in requirement}
    untold = {key for requirement, _sentence, _actual in NOT_MET for key in requirement}
    assert told | untold == set(KEYS)
    # These decide nothing. All others are not met for some value.
    assert untold == set(KEYS) - {"name", "severity"}


@pytest.mark.parametrize(
    "without", ["publisher", "arch", "compatibility_type", "quantization", "type", "max_context_length", "capabilities"]
)
def test_what_a_row_leaves_out_meets_nothing(without):
    host = record([{name: value for name, value in LIBRARY[0].items() if name != without}])
    required = {
        "publisher": {"publisher": "qwen"},
        "arch": {"architecture": "qwen3"},
        "compatibility_type": {"format": "gguf"},
        "quantization": {"quantization": "Q4_K_M"},
        "type": {"type": "llm"},
        "max_context_length": {"state": "available", "min_context_length": 1},
        "capabilities": {"capabilities": ["trained_for_tool_use"]},
    }[without]
    assert violations({"model": CHAT, **required}) == []
    (violation,) = violations({"model": CHAT, **required}, host)
    assert violation["actual"] is None


def test_a_state_that_nobody_knows_is_unclear():
    host = record([row(ODD, "unloading")])
    (violation,) = violations({"model": ODD}, host)
    assert violation["message"] == "odd/chat has the state unloading, so it is not known whether it is loaded"
    (violation,) = violations({"model": ODD, "state": "unloaded"}, host)
    assert violation["message"] == "odd/chat must not be loaded, but may be, because it has the state unloading"
    assert violations({"model": ODD, "min_instances": 0, "max_instances": 0}, host)


@pytest.mark.parametrize("state", ["unloading", ""])
def test_such_a_state_is_unclear_too_where_the_older_list_confirms_the_newer_one(state):
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")._replace(confirm_loaded=True)
    lists = [{"models": [{"type": "llm", "key": ODD, "loaded_instances": []}]}, {"data": [row(ODD, state)]}]
    answer, states = (Response(200, json.dumps(document).encode()) for document in lists)
    host = record_of(endpoint, parse(endpoint, Poll(answer, "2026-11-22T20:00:00Z", 12, states=states)), "full")
    (violation,) = violations({"model": ODD, "state": "unloaded"}, host)
    assert f"may be, because it has the state {state}" in violation["message"]
    assert judge(host, [], exclusive=True)


def test_exclusive_is_never_met():
    everything = parse_all([{"model": ["*"]}])
    (violation,) = judge(HOST, everything, exclusive=True)
    assert violation["check"] == "exclusive" and violation["actual"] is None
    assert "it is not known whether anything else is loaded, because /api/v0/models may leave out models" in violation["message"]
    only = judge(HOST, parse_all([{"model": CHAT}]), exclusive=True)
    assert [each["actual"] for each in only] == [OLD, SEE, SLOW, "nomic/embed"]
    assert "big/slow is still loading, and no requirement asks for it" in only[2]["message"]


def newer(variant=None, context=8192):
    entry = {
        "type": "llm",
        "key": CHAT,
        "quantization": {"name": "Q4_K_M"},
        "loaded_instances": [{"id": CHAT, "config": {"context_length": context}}],
        "selected_variant": variant,
        "variants": [variant] if variant else [],
    }
    return record([entry], "v1")


def fleet(attribute, hosts, **requirement):
    return judge_fleet(hosts, parse_all([{"model": CHAT, **requirement}]), 0, (attribute,))


def test_what_hosts_have_in_common_is_not_what_one_of_them_does_not_tell():
    hosts = {"new": newer(), "old": HOST}
    assert fleet("quantization", hosts) == []
    (violation,) = fleet("context_length", hosts)
    assert violation["message"] == "qwen/chat may have different context lengths: 8192 on new; (not known) on old"
    # Also of one host alone, whose instances may differ.
    (violation,) = fleet("context_length", {"old": HOST})
    assert violation["message"] == "qwen/chat may have different context lengths: (not known) on old"
    # One row with a masked name may be it, and stand for several instances.
    (violation,) = fleet("context_length", {"old": record([row("qwen/********", "loaded")])})
    assert violation["message"] == "qwen/chat may have different context lengths: (not known) on old"
    assert fleet("context_length", {"new": newer(), "newer": newer()}) == []
    # A model without variants has none selected. That of the older host is not known.
    (violation,) = fleet("selected_variant", hosts)
    assert violation["message"] == "qwen/chat may have different selected variants: none on new; (not known) on old"
    assert fleet("selected_variant", {"old": HOST, "older": HOST})
    assert fleet("selected_variant", {"new": newer(), "newer": newer()}) == []
    (violation,) = fleet("context_length", {"new": newer(), "old": record([row(CHAT, "loaded")])})
    assert violation["message"].startswith("qwen/chat may have different context lengths: ")
    (violation,) = fleet("quantization", {"new": newer(), "old": record([])}, state="available")
    assert "(not known) on old" in violation["message"]
    assert set(CONSISTENT) == {"quantization", "selected_variant", "context_length"}


def test_a_fleet_counts_no_host_that_does_not_tell():
    hosts = {"new": newer(), "old": HOST}
    (violation,) = judge_fleet(hosts, parse_all([{"model": CHAT, "max_instances": 1}]), 2)
    assert violation["message"].startswith(
        "1 of 2 hosts serves qwen/chat with at most 1 instance; 2 are required. old: instances not known"
    )
    (violation,) = judge_fleet(hosts, parse_all([{"model": "x/y", "state": "absent"}]), 2)
    assert violation["message"] == "1 of 2 hosts does not list x/y; 2 are required. old: not known"
    (violation,) = judge_fleet(hosts, parse_all([{"model": SLOW}]), 1)
    assert "old: still loading" in violation["message"]
    # That another model is loading says nothing about this one.
    (violation,) = judge_fleet({"old": HOST}, parse_all([{"architecture": "llama"}]), 1)
    assert violation["message"].endswith("old: not loaded")


def test_what_is_selected_meets_it_too():
    def keys(**requirement):
        return [entry["key"] for entry in selected(HOST, *parse_all([requirement]))]

    assert keys(type="llm") == [CHAT, OLD, SEE]
    assert keys(type="llm", state="unloaded") == [IDLE]
    assert keys(type="llm", max_size="999TB") == []
    assert keys(type="llm", state="available") == [CHAT, OLD, SEE, SLOW, IDLE]


def test_an_empty_older_list_meets_nothing():
    for state in ("loaded", "available", "unloaded", "absent"):
        assert violations({"model": CHAT, "state": state}, record([]))
    assert (
        judge(record([]), parse_all([{"model": CHAT, "state": "unloaded", "severity": "warn"}]), exclusive=True)[-1]["severity"] == "fail"
    )


def confirmed(state=None, unconfirmed=None, keys=(CHAT,)):
    """A record of the newer list with what the older one says about its models."""
    entries = [
        {
            "type": "llm",
            "key": key,
            "loaded_instances": [{"id": key, "config": {"context_length": 8192}}, {"id": f"{key}:2", "config": {"context_length": 8192}}],
        }
        for key in keys
    ]
    host = record(entries, "v1")
    host["models"][0].update({"state": state} if state else {"unconfirmed": unconfirmed})
    return host


@pytest.mark.parametrize(
    ("host", "sentence", "short"),
    [
        (confirmed("loading"), "qwen/chat is still loading", "still loading"),
        (
            confirmed(unconfirmed="http://gpu01:1234/api/v0/models answered HTTP 500"),
            "qwen/chat is listed as loaded, which is not confirmed: http://gpu01:1234/api/v0/models answered HTTP 500",
            "not confirmed",
        ),
    ],
)
def test_what_is_listed_as_loaded_but_may_not_be_is_not_met(host, sentence, short):
    for requirement in ({"model": CHAT}, {"model": "qwen/*", "min_context_length": 1}, {"type": "llm"}, {"model": f"{CHAT}:2"}):
        (violation,) = violations(requirement, host)
        assert violation["message"].replace(f"{CHAT} (instance {CHAT}:2)", CHAT) == sentence
        assert violation["check"] == "state"
    (violation,) = violations({"model": CHAT, "min_instances": 0, "max_instances": 1}, host)
    assert violation["message"] == "qwen/chat: 2 loaded instances may meet the requirement, at most 1 is allowed"
    assert violations({"model": CHAT, "state": "unloaded"}, host)
    assert violations({"model": CHAT, "state": "available"}, host) == []
    (violation,) = judge_fleet({"gpu01": host}, parse_all([{"model": CHAT}]), 1)
    assert violation["message"].endswith(f"gpu01: {short}")
    assert selected(host, *parse_all([{"model": CHAT}])) == []


def test_another_model_that_is_loaded_is_enough_for_a_pattern():
    host = confirmed("loading", keys=(CHAT, "qwen/other"))
    assert violations({"model": "qwen/*"}, host) == []
    (violation,) = violations({"model": "qwen/*", "min_instances": 3}, host)[-1:]
    assert violation["actual"] == 2
    assert judge(host, parse_all([{"model": "qwen/*"}]), exclusive=True) == []
    assert "is still loading, and no requirement" in judge(host, parse_all([{"model": "qwen/other"}]), exclusive=True)[0]["message"]


@pytest.mark.parametrize(
    ("requirement", "unlisted", "known"),
    [
        ({"model": CHAT, "state": "absent"}, CHAT, False),
        ({"model": "qwen/*", "state": "absent"}, CHAT, False),
        ({"model": "qwen/*", "state": "unloaded"}, CHAT, False),
        ({"model": f"{CHAT}@q4", "state": "unloaded"}, CHAT, False),
        ({"type": "llm", "state": "absent"}, CHAT, False),
        ({"model": CHAT, "min_instances": 0, "max_instances": 2}, CHAT, False),
        ({"model": CHAT, "state": "unloaded"}, "********", False),
        # A row may be that of a variant or of an instance.
        ({"model": CHAT, "state": "absent"}, f"{CHAT}@q4", False),
        ({"model": CHAT, "state": "unloaded"}, f"{CHAT}:2", False),
        ({"model": CHAT, "state": "absent"}, OLD, True),
        ({"model": CHAT, "state": "unloaded"}, f"{CHAT}-2", True),
    ],
)
def test_a_model_that_only_the_older_list_has_may_be_loaded(requirement, unlisted, known):
    host = {**record([], "v1"), "confirmed": True, "unlisted": [unlisted]}
    found = violations(requirement, host)
    assert known == (found == [])
    if not known:
        (violation,) = found
        assert violation["actual"] is None
        assert violation["message"].endswith(f"because only /api/v0/models lists {unlisted}")


def test_exclusive_forbids_a_model_that_only_the_older_list_has():
    host = {**confirmed("loaded"), "unlisted": [OLD, SEE]}
    assert judge(host, parse_all([{"model": [CHAT, OLD, SEE]}]), exclusive=True) == []
    (violation,) = judge(host, parse_all([{"model": [CHAT, SEE]}]), exclusive=True)
    assert violation["message"] == f"it is not known whether anything else is loaded, because only /api/v0/models lists {OLD} (exclusive)"


@pytest.mark.parametrize("attribute", CONSISTENT)
def test_of_a_model_that_only_the_older_list_has_nothing_is_known_to_be_the_same(attribute):
    def compared(unlisted, **requirement):
        hosts = {"new": newer(), "racing": {**record([], "v1"), "confirmed": True, "unlisted": unlisted}}
        return [each["message"] for each in judge_fleet(hosts, parse_all([requirement]), 1, (attribute,))]

    for requirement in ({"model": CHAT}, {"model": "qwen/*"}, {"type": "llm"}):
        (message,) = compared([CHAT], **requirement)
        assert "may have different" in message and message.endswith("(not known) on racing")
    assert compared([OLD], model=CHAT) == [] == compared([], type="llm")
