# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vocabulary of requirements: what is refused, what is met, and what a violation says."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import InputError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import parse as parse_poll
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.fleet import CONSISTENT, judge_fleet, parse_fleet_terms
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge, selected
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import (
    KEYS,
    VOCABULARY,
    boolean,
    parse,
    parse_all,
    read_value,
)


def instance(name, context=8192, **config):
    return {"id": name, "config": {"context_length": context, **config}}


CHAT = {
    "type": "llm",
    "publisher": "qwen",
    "key": "qwen/qwen3-8b",
    "architecture": "qwen3",
    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
    "size_bytes": 5_000_000_000,
    "max_context_length": 40960,
    "format": "gguf",
    "capabilities": {"vision": False, "trained_for_tool_use": True, "reasoning": {"allowed_options": ["on"], "default": "on"}},
    "selected_variant": "qwen/qwen3-8b@q4_k_m",
    "loaded_instances": [
        instance("qwen/qwen3-8b", 16384, parallel=4, flash_attention=True),
        instance("qwen/qwen3-8b:2", 4096, parallel=1, flash_attention=False),
    ],
}
IDLE = {
    **CHAT,
    "key": "idle/model",
    "publisher": "idle",
    "selected_variant": "idle/model@8bit",
    "max_context_length": 2048,
    "loaded_instances": [],
}
SECOND = "qwen/qwen3-8b (instance qwen/qwen3-8b:2)"
BARE = {"key": "bare/model", "loaded_instances": [{"id": "My Own Name", "config": {}}]}
EMBEDDING = {"type": "embeddings", "key": "text-embedding", "loaded_instances": [instance("text-embedding", 512)]}


ENDPOINT = make_endpoint({"url": "http://gpu01:1234"}, "")


def record(*entries, detail="full"):
    body = json.dumps({"models": entries or [CHAT, IDLE, BARE, EMBEDDING]}).encode()
    return record_of(ENDPOINT, parse_poll(ENDPOINT, Poll(Response(200, body), "2026-11-22T20:00:00Z", 1)), detail)


REFUSED = Poll(ApiError("refused", "refused the connection"), "2026-11-22T20:00:00Z", None)
DOWN = record_of(ENDPOINT, parse_poll(ENDPOINT, REFUSED), "full")


def violations(requirement, of=None, exclusive=False):
    return judge(of or record(), parse_all([requirement]), exclusive)


def messages(requirement, of=None):
    return [violation["message"] for violation in violations(requirement, of)]


# Parsing


@pytest.mark.parametrize(
    "raw, says",
    [
        (
            {"model": "m", "min_contex_length": 1},
            "unknown key min_contex_length. Did you mean min_context_length? The keys are name, model,",
        ),
        ({"model": "m", "xyz": 1}, "unknown key xyz. The keys are name, model, state, type"),
        ({"model": "m", 7: 1}, "unknown key 7."),
        ("qwen/qwen3-8b", "qwen/qwen3-8b is not a requirement. Write keys and values. The keys are name,"),
        (None, "null is not a requirement"),
        ([], "[] is not a requirement"),
        (
            {},
            "require[3] does not say which model it is about. Give at least one of model, type, publisher, architecture, format, quantization, capabilities.",
        ),
        ({"min_context_length": 5}, "does not say which model it is about"),
        ({"model": None}, "model has no value"),
        ({"model": ""}, "model has no value. Give one, or remove the key."),
        ({"model": " "}, "model has no value"),
        ({"model": []}, "model has no value"),
        ({"model": ["a", ""]}, "model: ['a', ''] is not a string or a list of strings that are not empty."),
        ({"model": ["a", 5]}, "model: ['a', 5] is not a string or a list of strings that are not empty."),
        ({"model": 5}, "model: 5 is not a string or a list of strings that are not empty."),
        ({"model": "m", "name": ["a"]}, "name: ['a'] is not a string."),
        ({"model": "m", "name": ""}, "name has no value"),
        ({"model": "m", "state": "present"}, "state: present is not one of loaded, available, unloaded, absent."),
        ({"model": "m", "state": ["loaded"]}, "state: ['loaded'] is not one of loaded, available, unloaded, absent."),
        ({"model": "m", "state": "Absent"}, "Absent is not one of loaded, available, unloaded, absent. Did you mean absent?"),
        ({"model": "m", "severity": "info"}, "severity: info is not one of fail, warn."),
        ({"model": "m", "min_context_length": "lots"}, "min_context_length: lots is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": True}, "min_context_length: true is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": 0}, "min_context_length: 0 is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": 1.5}, "min_context_length: 1.5 is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": "1e3"}, "min_context_length: 1e3 is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": "9" * 19}, "is not a whole number of 1 or more."),
        ({"model": "m", "min_context_length": [1]}, "min_context_length: [1] is not a whole number of 1 or more."),
        ({"model": "m", "min_parallel": 0}, "min_parallel: 0 is not a whole number of 1 or more."),
        ({"model": "m", "min_instances": -1}, "min_instances: -1 is not a whole number of 0 or more."),
        ({"model": "m", "max_instances": -1}, "max_instances: -1 is not a whole number of 0 or more."),
        ({"model": "m", "min_bits_per_weight": 0}, "min_bits_per_weight: 0 is not a number above 0 and below 1000."),
        ({"model": "m", "min_bits_per_weight": "4,5"}, "min_bits_per_weight: 4,5 is not a number above 0 and below 1000."),
        ({"model": "m", "min_bits_per_weight": True}, "min_bits_per_weight: true is not a number above 0 and below 1000."),
        ({"model": "m", "min_bits_per_weight": -1}, "min_bits_per_weight: -1 is not a number above 0 and below 1000."),
        ({"model": "m", "min_bits_per_weight": 2000}, "min_bits_per_weight: 2000 is not a number above 0 and below 1000."),
        ({"model": "m", "max_size": 0}, "max_size: 0 is not a size."),
        ({"model": "m", "min_bits_per_weight": 1000}, "min_bits_per_weight: 1000 is not a number above 0 and below 1000."),
        ({"model": "m", "min_bits_per_weight": [4]}, "min_bits_per_weight: [4] is not a number above 0 and below 1000."),
        ({"model": "m", "max_size": "40 apples"}, "max_size: 40 apples is not a size. Write bytes, or a string such as 40GB or 40GiB."),
        ({"model": "m", "max_size": "5iB"}, "max_size: 5iB is not a size."),
        ({"model": "m", "max_size": "0GB"}, "max_size: 0GB is not a size."),
        ({"model": "m", "max_size": True}, "max_size: true is not a size."),
        ({"model": "m", "max_size": "1GBx"}, "max_size: 1GBx is not a size."),
        (
            {"model": "m", "capabilities": ["vison"]},
            "capabilities: ['vison'] is not one or several of vision, trained_for_tool_use, reasoning. Did you mean vision?",
        ),
        ({"model": "m", "capabilities": []}, "capabilities has no value"),
        ({"model": "m", "config": []}, "config has no value"),
        ({"model": "m", "config": {}}, "config has no value"),
        ({"model": "m", "config": "fast"}, "config: fast is not a mapping of settings, such as flash_attention: true."),
        ({"model": "m", "config": {"a": None}}, "is not usable: a needs a string, a number, true or false, or a list of them."),
        ({"model": "m", "config": {"a": []}}, "is not usable: a needs"),
        ({"model": "m", "config": {"a": [{}]}}, "is not usable: a needs"),
        ({"model": "m", "config": {"": 1}}, "config: {'': 1} is not usable:  is not the name of a setting."),
        ({"model": "m", "config": {1: 2}}, "config: {1: 2} is not usable: 1 is not the name of a setting."),
        ({"model": "m", "max_size": "1.5B"}, "max_size: 1.5B is not a size."),
        ({"model": "m", "max_size": "\u0664\u0660GB"}, "is not a size."),
        (
            {"type": "lllm", "state": "absent"},
            "type: lllm is not a known type, and state: absent would pass with any wrong word. Did you mean llm?",
        ),
        ({"type": ["llm", "x"], "state": "unloaded"}, "The types are llm, embedding, embeddings, drafter, imageGen, transcription, tts."),
        ({"type": "x", "min_instances": 0, "max_instances": 1}, "type: x is not a known type, and min_instances: 0 would pass"),
        ({"model": "m", "state": "available", "min_parallel": 1}, "min_parallel contradicts state: available. Remove one of the two."),
        ({"model": "m", "state": "available", "config": {"a": 1}}, "config contradicts state: available."),
        ({"model": "m", "state": "available", "min_instances": 0}, "min_instances contradicts state: available."),
        ({"model": "m", "state": "available", "max_instances": 1}, "max_instances contradicts state: available."),
        ({"model": "m", "state": "unloaded", "min_context_length": 1}, "min_context_length contradicts state: unloaded."),
        ({"model": "m", "state": "absent", "max_size": 1}, "max_size contradicts state: absent."),
        ({"model": "m", "state": "absent", "min_bits_per_weight": 1}, "min_bits_per_weight contradicts state: absent."),
        ({"model": "m", "state": "unloaded", "max_instances": 1}, "max_instances contradicts state: unloaded."),
        (
            {"model": "m", "max_instances": 0},
            "max_instances 0 contradicts min_instances 1 (the default). For a model that must not be loaded",
        ),
        ({"model": "m", "max_instances": 1, "min_instances": 2}, "max_instances 1 contradicts min_instances 2. For a model"),
        ({"model": "m", "min_instances": 0}, "min_instances 0 without max_instances can never fail."),
    ],
)
def test_what_cannot_be_used_is_named(raw, says):
    with pytest.raises(InputError) as caught:
        parse(raw, "require[3]")
    assert str(caught.value).startswith("require[3]") and says in str(caught.value)


@pytest.mark.parametrize(
    "raw, says",
    [
        ([], "require: it is empty, which would pass on any host. Give at least one requirement."),
        ({"model": "m"}, "require: it is one requirement. Write a list, with a dash before it."),
        ("m", "require: m is not a list of requirements."),
        (None, "require has no value."),
        ([{"model": "m"}, {"modle": "m"}], "require[1]: unknown key modle. Did you mean model?"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(raw, says):
    with pytest.raises(InputError) as caught:
        parse_all(raw)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    "value, size",
    [
        (5, 5),
        ("5", 5),
        ("5B", 5),
        ("40GB", 40 * 10**9),
        # As floats they are a little less.
        ("4.1GB", 4_100_000_000),
        ("16.9 TB", 16_900_000_000_000),
        ("1.5GiB", 3 * 2**29),
        ("1.000000009KB", 1000),
        ("40 gb", 40 * 10**9),
        ("40GiB", 40 * 2**30),
        ("1.5KiB", 1536),
        ("1.5KB", 1500),
        ("3MB", 3 * 10**6),
        ("3MiB", 3 * 2**20),
        ("2TB", 2 * 10**12),
        (" 2TiB ", 2 * 2**40),
    ],
)
def test_sizes(value, size):
    assert parse({"model": "m", "max_size": value}).max_size == size


def test_numbers_may_be_text_as_templates_make_them():
    found = parse({"model": "m", "min_context_length": "8192", "min_parallel": " 2 ", "min_instances": "1", "min_bits_per_weight": "4.5"})
    assert (found.min_context_length, found.min_parallel, found.min_instances, found.min_bits_per_weight) == (8192, 2, 1, 4.5)
    assert parse({"model": ("a", "b")}).model == ("a", "b")
    assert parse({"model": "m", "config": {"a": (1, 2), "b": "x"}}).config == (("a", (1, 2)), ("b", ("x",)))
    assert parse({"model": "m", "min_bits_per_weight": 999.5}).min_bits_per_weight == 999.5


def test_every_key_can_be_read():
    whole = {
        "name": "n", "model": "m", "state": "loaded", "type": "llm", "publisher": "p", "architecture": "a", "format": "f",
        "quantization": "q", "min_bits_per_weight": 4, "min_context_length": 1, "min_parallel": 1, "min_instances": 1,
        "max_instances": 1, "capabilities": "vision", "max_size": 1, "config": {"a": 1}, "severity": "warn",
    }  # fmt: skip
    assert tuple(whole) == KEYS and all(value not in (None, ()) for value in parse(whole))
    assert (parse({"model": "m"}).state, parse({"model": "m"}).severity) == ("loaded", "fail")


def test_every_key_that_asks_for_more_than_a_name_says_so_in_words():
    # Without words, keys alone would be enough to judge it.
    assert [name for name, key in VOCABULARY.items() if not key.describe] == ["name", "model", "state", "severity"]
    assert set(VOCABULARY) == set(KEYS)


# Judging


@pytest.mark.parametrize(
    "requirement",
    [
        {"model": "qwen/qwen3-8b"},
        {"model": "qwen/*"},
        {"model": "qwen/qwen3-8b@q4_k_m"},
        {"model": "qwen/qwen3-8b:2"},
        {"model": "My Own Name"},
        {"model": ["nothing", "qwen/qwen3-?b"]},
        {"type": "llm"},
        {"type": "embedding"},
        {"type": "embeddings"},
        {"publisher": ["x", "qwen"], "architecture": "qwen3", "format": ["mlx", "gguf"], "quantization": "Q4_K_M"},
        {"capabilities": ["trained_for_tool_use", "reasoning"]},
        {"model": "qwen/qwen3-8b", "min_bits_per_weight": 4, "max_size": "5GB"},
        {"model": "qwen/qwen3-8b", "min_context_length": 4096, "min_parallel": 1, "config": {"flash_attention": [True, False]}},
        {"model": "qwen/qwen3-8b:2", "min_context_length": 4096, "max_instances": 1},
        {"model": "qwen/qwen3-8b", "min_context_length": 4096, "min_instances": 2, "max_instances": 2},
        {"model": "qwen/qwen3-8b", "config": {"flash_attention": ["True", "no"], "parallel": ["4", 1], "context_length": ["4096", 16384]}},
        {"model": "nothing", "min_instances": 0, "max_instances": 1},
        {"model": "*", "min_context_length": 600},
        {"model": "qwen/qwen3-8b", "max_size": "6GB"},
        {"model": "idle/model", "state": "available"},
        {"model": "idle/model@8bit", "state": "available"},
        {"model": "My Own Name", "state": "available"},
        {"model": "idle/model", "state": "available", "min_context_length": 2048, "capabilities": "reasoning", "type": "llm"},
        {"model": "qwen/qwen3-8b", "state": "available", "min_context_length": 40960},
        {"model": "idle/model", "state": "unloaded"},
        {"model": "nothing", "state": "unloaded"},
        {"model": "nothing", "state": "absent"},
        {"model": "idle/*", "state": "absent", "publisher": "qwen"},
        {"publisher": "idle", "model": "idle/*", "state": "unloaded"},
    ],
    ids=json.dumps,
)
def test_met(requirement):
    assert violations(requirement) == []


@pytest.mark.parametrize(
    "requirement, expected",
    [
        ({"model": "nothing"}, [("model", "nothing", None, "nothing is not listed by this host")]),
        ({"model": ["no/*", "none"]}, [("model", ["no/*", "none"], None, "no/* or none is not listed by this host")]),
        (
            {"model": "idle/model"},
            [("state", "loaded", "available", "idle/model is not loaded. Loaded: bare/model, qwen/qwen3-8b, text-embedding")],
        ),
        (
            {"model": "idle/model@8bit"},
            [("state", "loaded", "available", "idle/model@8bit is not loaded. Loaded: bare/model, qwen/qwen3-8b, text-embedding")],
        ),
        ({"name": "chat model", "model": "nothing"}, [("model", "nothing", None, "chat model: nothing is not listed by this host")]),
        (
            {"publisher": "idle", "type": "llm"},
            [
                (
                    "state",
                    "loaded",
                    "available",
                    "no loaded model is known to have the type llm and the publisher idle. Loaded: bare/model, qwen/qwen3-8b, text-embedding",
                )
            ],
        ),
        (
            {"capabilities": "vision"},
            # What is not known does not make another model the one that is meant.
            [
                (
                    "state",
                    "loaded",
                    None,
                    "no loaded model has the capability vision. Loaded: bare/model, qwen/qwen3-8b, text-embedding",
                )
            ],
        ),
        (
            {"model": "qwen/qwen3-8b", "min_context_length": 32768},
            [
                ("min_context_length", 32768, 16384, "qwen/qwen3-8b is loaded with a context of 16384, at least 32768 is required"),
                ("min_context_length", 32768, 4096, f"{SECOND} is loaded with a context of 4096, at least 32768 is required"),
            ],
        ),
        (
            # LM Studio chooses which instance serves a request for the key, so the larger one does not stand in for the other.
            {"model": "qwen/qwen3-8b", "min_context_length": 16384},
            [("min_context_length", 16384, 4096, f"{SECOND} is loaded with a context of 4096, at least 16384 is required")],
        ),
        (
            {"model": "qwen/qwen3-8b", "min_context_length": 32768, "min_parallel": 8},
            [
                ("min_context_length", 32768, 16384, "qwen/qwen3-8b is loaded with a context of 16384, at least 32768 is required"),
                ("min_parallel", 8, 4, "qwen/qwen3-8b is loaded with parallel 4, at least 8 is required"),
                ("min_context_length", 32768, 4096, f"{SECOND} is loaded with a context of 4096, at least 32768 is required"),
                ("min_parallel", 8, 1, f"{SECOND} is loaded with parallel 1, at least 8 is required"),
            ],
        ),
        (
            # Both must hold on every instance.
            {"model": "qwen/qwen3-8b", "min_context_length": 8192, "config": {"flash_attention": False}},
            [
                ("config", {"flash_attention": False}, True, "qwen/qwen3-8b is loaded with flash_attention true, but false is required"),
                ("min_context_length", 8192, 4096, f"{SECOND} is loaded with a context of 4096, at least 8192 is required"),
            ],
        ),
        (
            {"model": "qwen/qwen3-8b:2", "min_context_length": 8192},
            [
                (
                    "min_context_length",
                    8192,
                    4096,
                    "qwen/qwen3-8b (instance qwen/qwen3-8b:2) is loaded with a context of 4096, at least 8192 is required",
                )
            ],
        ),
        (
            {"model": "qwen/qwen3-8b", "min_context_length": 8192, "min_instances": 2},
            [
                (
                    "min_context_length",
                    8192,
                    4096,
                    "qwen/qwen3-8b (instance qwen/qwen3-8b:2) is loaded with a context of 4096, at least 8192 is required",
                ),
                ("min_instances", 2, 0, "qwen/qwen3-8b: no loaded instance meets the requirement, at least 2 are required"),
            ],
        ),
        (
            {"model": "qwen/qwen3-8b", "min_instances": 3},
            [("min_instances", 3, 2, "qwen/qwen3-8b: 2 loaded instances meet the requirement, at least 3 are required")],
        ),
        (
            {"model": "qwen/qwen3-8b", "max_instances": 1},
            [("max_instances", 1, 2, "qwen/qwen3-8b: 2 loaded instances meet the requirement, at most 1 is allowed")],
        ),
        (
            {"model": "bare/model", "min_instances": 0, "max_instances": 0, "quantization": "Q4_K_M"},
            [("max_instances", 0, 1, "bare/model: 1 loaded instance may meet the requirement, none is allowed")],
        ),
        (
            {"model": "nothing", "min_instances": 2},
            [
                ("model", "nothing", None, "nothing is not listed by this host"),
                ("min_instances", 2, 0, "nothing: no loaded instance meets the requirement, at least 2 are required"),
            ],
        ),
        (
            {"model": "bare/model", "min_context_length": 1, "min_parallel": 1, "config": {"flash_attention": [True, False]}},
            [
                (
                    "min_context_length",
                    1,
                    None,
                    "bare/model (instance My Own Name) is loaded with a context of (not known), at least 1 is required",
                ),
                (
                    "min_parallel",
                    1,
                    None,
                    "bare/model (instance My Own Name) is loaded with parallel (not known), at least 1 is required",
                ),
                (
                    "config",
                    {"flash_attention": [True, False]},
                    None,
                    "bare/model (instance My Own Name) is loaded with flash_attention (not known), but true or false is required",
                ),
            ],
        ),
        (
            {
                "model": "bare/model",
                "type": "llm",
                "quantization": ["Q8_0", "8bit"],
                "min_bits_per_weight": 8,
                "max_size": "1GB",
                "capabilities": ["vision"],
            },
            [
                ("type", "llm", None, "bare/model (instance My Own Name) has the type (not known), but llm is required"),
                (
                    "quantization",
                    ["Q8_0", "8bit"],
                    None,
                    "bare/model (instance My Own Name) has the quantization (not known), but Q8_0 or 8bit is required",
                ),
                (
                    "min_bits_per_weight",
                    8.0,
                    None,
                    "bare/model (instance My Own Name) has (not known) bits per weight, at least 8 is required",
                ),
                ("max_size", 10**9, None, "bare/model (instance My Own Name) has a size of (not known), at most 1.0 GB is allowed"),
                (
                    "capabilities",
                    "vision",
                    False,
                    "bare/model (instance My Own Name) does not have the capability vision, which is required",
                ),
            ],
        ),
        (
            {
                "model": "qwen/qwen3-8b",
                "quantization": "Q8_0",
                "min_bits_per_weight": 4.5,
                "max_size": "4.9GB",
                "publisher": "x",
                "architecture": "y",
                "format": "z",
            },
            [
                ("publisher", "x", "qwen", "qwen/qwen3-8b has the publisher qwen, but x is required"),
                ("architecture", "y", "qwen3", "qwen/qwen3-8b has the architecture qwen3, but y is required"),
                ("format", "z", "gguf", "qwen/qwen3-8b has the format gguf, but z is required"),
                ("quantization", "Q8_0", "Q4_K_M", "qwen/qwen3-8b has the quantization Q4_K_M, but Q8_0 is required"),
                ("min_bits_per_weight", 4.5, 4, "qwen/qwen3-8b has 4 bits per weight, at least 4.5 is required"),
                ("max_size", 4_900_000_000, 5_000_000_000, "qwen/qwen3-8b has a size of 5.0 GB, at most 4.9 GB is allowed"),
            ],
        ),
        ({"model": "nothing", "state": "available"}, [("model", "nothing", None, "nothing is not listed by this host")]),
        (
            {"model": "idle/model", "state": "available", "min_context_length": 4096},
            [("min_context_length", 4096, 2048, "idle/model supports a context of 2048, at least 4096 is required")],
        ),
        (
            # What the model supports never stands in for what is loaded, nor the other way round.
            {"model": "bare/model", "state": "available", "min_context_length": 1},
            [("min_context_length", 1, None, "bare/model supports a context of (not known), at least 1 is required")],
        ),
        ({"model": "qwen/*", "state": "unloaded"}, [("state", "unloaded", "loaded", "qwen/* must not be loaded, but is: qwen/qwen3-8b")]),
        (
            {"model": "My Own Name", "state": "unloaded"},
            [("state", "unloaded", "loaded", "My Own Name must not be loaded, but is: bare/model")],
        ),
        ({"model": "idle/model", "state": "absent"}, [("state", "absent", "available", "idle/model must be absent, but is listed")]),
        (
            {"model": ["idle/*", "qwen/*"], "state": "absent"},
            [("state", "absent", "available", "idle/* or qwen/* must be absent, but is listed: qwen/qwen3-8b, idle/model")],
        ),
        # A quantization that is not known may be the one that must not be there.
        (
            {"quantization": "Q8_0", "state": "unloaded"},
            [
                (
                    "state",
                    "unloaded",
                    None,
                    "a model with the quantization Q8_0 is not known to be unloaded, because bare/model, text-embedding may be it "
                    "(not known: quantization)",
                )
            ],
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_violated(requirement, expected):
    found = violations(requirement)
    assert [(v["check"], v["expected"], v["actual"], v["message"]) for v in found] == expected
    for violation in found:
        assert set(violation) == {"requirement", "check", "expected", "actual", "severity", "message"}
        assert violation["severity"] == "fail"
        assert violation["requirement"] == requirement.get("name", violation["requirement"])


def test_severity_and_name_are_carried():
    (found,) = violations({"model": "nothing", "name": "a \x1b[31mlabel", "severity": "warn"})
    assert found["severity"] == "warn" and found["requirement"] == "a \x1b[31mlabel"
    assert found["message"] == "a \\x1b[31mlabel: nothing is not listed by this host"


@pytest.mark.parametrize("state", ["loaded", "available", "unloaded", "absent"])
def test_nothing_is_met_by_a_host_that_is_not_ok(state):
    (found,) = violations({"model": "nothing", "state": state}, DOWN)
    assert (found["check"], found["expected"], found["actual"]) == ("status", "ok", "refused")
    assert found["message"] == "could not check nothing: http://gpu01:1234 refused the connection."
    assert found["requirement"] == "nothing"
    (named,) = violations({"name": "label", "model": "nothing", "state": state}, DOWN)
    assert named["requirement"] == "label" and named["message"].startswith("label: could not check nothing: ")
    beside, other = violations({"model": "nothing", "state": state, "severity": "warn"}, DOWN, exclusive=True)
    assert (beside["severity"], other["severity"]) == ("warn", "fail")
    assert (other["requirement"], other["check"], other["expected"], other["actual"]) == ("exclusive", "status", "ok", "refused")
    assert other["message"] == "could not check what else is loaded: http://gpu01:1234 refused the connection."


def test_every_requirement_is_judged_in_order():
    found = judge(record(), parse_all([{"model": "b"}, {"model": "qwen/*"}, {"model": "a"}]))
    assert [violation["requirement"] for violation in found] == ["b", "a"]


def test_repeated_keys_and_instances_over_entries():
    other = {**CHAT, "loaded_instances": [instance("other", 32768)]}
    both = record(CHAT, other)
    assert [v["actual"] for v in violations({"model": "qwen/qwen3-8b", "min_context_length": 32768}, both)] == [16384, 4096]
    assert violations({"model": "other", "min_context_length": 32768}, both) == []
    assert violations({"model": "qwen/qwen3-8b", "min_instances": 3, "max_instances": 3}, both) == []
    # An instance is judged with its own entry.
    eight_bit = {**other, "quantization": {"name": "8bit"}}
    assert messages({"model": "qwen/qwen3-8b", "quantization": "Q4_K_M"}, record(CHAT, eight_bit)) == [
        "qwen/qwen3-8b (instance other) has the quantization 8bit, but Q4_K_M is required"
    ]
    # An entry without instances is not loaded, and does not count.
    assert violations({"model": "qwen/qwen3-8b", "quantization": "Q4_K_M"}, record(CHAT, {**eight_bit, "loaded_instances": []})) == []
    assert violations({"model": "qwen/qwen3-8b", "max_instances": 2}, both)[0]["actual"] == 3


def test_an_instance_that_an_entry_lists_twice_counts_once():
    twice = {"key": "m", "loaded_instances": [instance("m"), instance("m")]}
    assert messages({"model": "m", "min_instances": 2}, record(twice)) == [
        "m: 1 loaded instance meets the requirement, at least 2 are required"
    ]
    # Entries of one key may be those of linked machines.
    assert not violations({"model": "m", "min_instances": 2}, record(twice, twice))
    # It may be two all the same, which max_instances does not overlook.
    assert violations({"model": "m", "max_instances": 1}, record(twice))


def test_a_pattern_is_matched_exactly_first():
    odd = {"key": "odd[1]", "loaded_instances": [instance("odd[1]")]}
    assert violations({"model": "odd[1]"}, record(odd)) == []
    assert violations({"model": "ODD*"}, record(odd)) != []
    assert violations({"model": "odd?1?"}, record(odd)) == []


def test_the_closest_model_is_explained():
    # The other fails one check, the first two.
    other = {**CHAT, "key": "qwen/other", "selected_variant": None, "loaded_instances": [instance("qwen/other", 8192, parallel=2)]}
    found = messages({"model": "qwen/*", "min_parallel": 4, "min_context_length": 8192}, record(CHAT, other))
    assert found == ["qwen/other is loaded with parallel 2, at least 4 is required"]
    found = messages({"model": "qwen/qwen3-8b", "min_parallel": 2, "config": {"flash_attention": False}, "min_context_length": 4096})
    assert found == [
        "qwen/qwen3-8b is loaded with flash_attention true, but false is required",
        f"{SECOND} is loaded with parallel 1, at least 2 is required",
    ]
    found = messages({"model": ["bare/model", "qwen/qwen3-8b"], "state": "available", "type": "llm", "min_context_length": 99999})
    assert found == ["qwen/qwen3-8b supports a context of 40960, at least 99999 is required"]


@pytest.mark.parametrize(("capabilities", "known"), [("odd", "is known to be"), ({"vision": False}, "is")])
def test_no_model_is_called_missing_that_may_be_of_the_required_kind(capabilities, known):
    vision = {"capabilities": ["vision"], "state": "available"}
    assert messages(vision, record({**IDLE, "capabilities": capabilities})) == [
        f"no model with the capability vision {known} listed by this host"
    ]
    # Whether it is loaded is known.
    assert messages({"capabilities": ["vision"]}, record({**IDLE, "capabilities": capabilities})) == [
        "no loaded model has the capability vision. Loaded: nothing"
    ]


def test_names_of_a_long_list_are_few():
    entries = [{"key": f"m{number}", "loaded_instances": [instance(f"m{number}")]} for number in range(9)]
    assert messages({"model": "m*", "state": "absent"}, record(*entries)) == [
        "m* must be absent, but is listed: m0, m1, m2, m3, m4 and 4 more"
    ]
    assert messages({"type": "llm"}, record(IDLE)) == ["no loaded model has the type llm. Loaded: nothing"]


def test_server_text_in_a_message_is_printable():
    entry = {"key": "m\u202e\x1b[31m", "quantization": {"name": "q\n"}, "loaded_instances": [instance("i\u2028")]}
    (said,) = messages({"model": "m*", "quantization": "x"}, record(entry))
    assert said == "m\\u202e\ufffd[31m (instance i\\u2028) has the quantization q\\n, but x is required"


def test_exclusive_forbids_every_other_loaded_model():
    found = violations({"model": "qwen/qwen3-8b:2", "min_context_length": 99999}, record(CHAT, BARE, EMBEDDING), exclusive=True)
    # Another instance of the model serves it too, and nothing asks for that one.
    assert [violation["actual"] for violation in found] == [4096, "qwen/qwen3-8b", "bare/model", "text-embedding"]
    found = violations({"model": "qwen/*", "min_context_length": 16384}, exclusive=True)
    assert [violation["check"] for violation in found] == ["min_context_length", "exclusive", "exclusive"]
    assert [violation["actual"] for violation in found[1:]] == ["bare/model", "text-embedding"]
    assert found[1] == {
        "requirement": "exclusive",
        "check": "exclusive",
        "expected": ["qwen/*"],
        "actual": "bare/model",
        "severity": "fail",
        "message": "bare/model is loaded, and no requirement asks for it (exclusive)",
    }
    wanted = [{"model": ["qwen/*", "My Own Name"]}, {"name": "vectors", "type": "embedding", "state": "available"}]
    assert judge(record(), parse_all(wanted), exclusive=True) == []
    # What must not be there is not asked for.
    # What a requirement counts under another spelling is what it is about.
    few = {"model": "Qwen/*", "min_instances": 0, "max_instances": 2}
    assert violations(few, record(CHAT), exclusive=True) == []
    assert [violation["check"] for violation in violations({**few, "max_instances": 1}, record(CHAT), exclusive=True)] == ["max_instances"]
    found = judge(record(CHAT), parse_all([{"model": "idle/model"}, {"model": "qwen/*", "state": "unloaded"}]), exclusive=True)
    assert [violation["check"] for violation in found] == ["model", "state", "exclusive"]


# Several instances, names that are keys, variants or ids


def test_a_request_for_the_key_may_be_served_by_an_instance_of_another_model_that_is_called_so():
    borrowed = {"key": "other/m", "type": "llm", "loaded_instances": [instance("qwen/qwen3-8b", 2048)]}
    one = {**CHAT, "loaded_instances": [instance("qwen/qwen3-8b:1", 16384)]}
    both = record(one, borrowed)
    assert messages({"model": "qwen/qwen3-8b", "min_context_length": 4096}, both) == [
        "other/m (instance qwen/qwen3-8b) is loaded with a context of 2048, at least 4096 is required"
    ]
    assert messages({"model": "qwen/*", "min_context_length": 4096}, both) != []
    # It is one instance, of two models.
    assert violations({"model": ["qwen/qwen3-8b", "other/m"], "min_instances": 2, "max_instances": 2}, both) == []
    assert violations({"model": "qwen/qwen3-8b", "max_instances": 1}, both)[0]["actual"] == 2
    assert violations({"model": "qwen/qwen3-8b", "state": "unloaded"}, record({**one, "loaded_instances": []}, borrowed)) != []


def test_a_pattern_means_models_and_the_id_of_an_instance_only_where_no_model_is_meant():
    # The larger instance alone has an id that matches, and so has its model, with all instances.
    assert messages({"model": "qwen/qwen3-8*", "min_context_length": 8192}) == [
        f"{SECOND} is loaded with a context of 4096, at least 8192 is required"
    ]
    own = {**CHAT, "loaded_instances": [instance("long-context", 16384), instance("short", 512)]}
    assert messages({"model": "long-*", "min_context_length": 8192}, record(own)) == []
    assert messages({"model": "*", "min_context_length": 8192}, record(own)) != []
    # One model that meets it is enough.
    assert messages({"model": "*", "min_context_length": 8192}, record(own, {**IDLE, "loaded_instances": [instance("x", 9000)]})) == []


@pytest.mark.parametrize("forbidden", [{"state": "absent"}, {"state": "unloaded"}, {"min_instances": 0, "max_instances": 0}])
def test_a_pattern_matches_a_model_whose_key_is_empty(forbidden):
    (said,) = messages({"model": "*", **forbidden}, record({"key": "", "loaded_instances": [instance("")]}))
    assert "nothing" not in said


TWO_VARIANTS = {**IDLE, "variants": ["idle/model@4bit", "idle/model@8bit"]}


@pytest.mark.parametrize(
    "requirement, expected",
    [
        ({"model": "*@4bit", "state": "absent"}, ["*@4bit must be absent, but is listed: idle/model@4bit"]),
        (
            {"model": "idle/model@4bit", "state": "absent", "quantization": "Q2_K"},
            [
                "idle/model@4bit with the quantization Q2_K is not known to be absent, because idle/model@4bit may be it "
                "(not known: quantization)"
            ],
        ),
        (
            {"quantization": "Q2_K", "state": "absent", "type": "llm"},
            [
                "a model with the type llm and the quantization Q2_K is not known to be absent, because idle/model@4bit, bare/model may be it "
                "(not known: type, quantization)"
            ],
        ),
        ({"model": "idle/model@8bit", "state": "absent", "quantization": "Q2_K"}, []),
        ({"model": "idle/model@4bit", "state": "available"}, []),
        ({"model": "*@4bit", "state": "available"}, []),
        ({"model": "idle/model@2bit", "state": "available"}, ["idle/model@2bit is not listed by this host; did you mean idle/model?"]),
        (
            {"model": "idle/model@4bit", "state": "available", "type": "llm"},
            ["idle/model has the variant idle/model@8bit selected, so only the name of idle/model@4bit is known"],
        ),
        ({"model": "idle/model@8bit", "state": "available", "type": "llm"}, []),
        ({"model": "idle/model@4bit", "state": "unloaded"}, []),
    ],
    ids=json.dumps,
)
def test_variants(requirement, expected):
    assert messages(requirement, record(TWO_VARIANTS, BARE)) == expected


def test_variants_of_a_model_differ_in_quantization_and_format_alone():
    for kind in ({"quantization": "Q2_K"}, {"format": "mlx"}):
        forbidden = {**kind, "state": "absent"}
        assert len(violations({**forbidden, "publisher": "idle"}, record(TWO_VARIANTS))) == 1
        assert violations({**forbidden, "publisher": "other"}, record(TWO_VARIANTS)) == []
        assert len(violations(forbidden, record({**IDLE, "variants": 7}))) == 1
        assert violations(forbidden, record({**IDLE, "variants": ["idle/model@8bit"]})) == []


def test_whether_a_variant_that_is_not_selected_is_loaded_is_not_known():
    loaded = {**TWO_VARIANTS, "loaded_instances": [instance("idle/model", 8192)]}
    assert violations({"model": "idle/model@8bit", "min_context_length": 8192}, record(loaded)) == []
    assert messages({"model": "idle/model@4bit"}, record(loaded)) == [
        "idle/model has the variant idle/model@8bit selected, so only the name of idle/model@4bit is known"
    ]
    assert violations({"model": "idle/model@4bit", "state": "unloaded"}, record(loaded)) != []
    assert violations({"model": "idle/model@4bit", "min_instances": 0, "max_instances": 0}, record(loaded))[0]["actual"] == 1
    # A requirement by a variant whose identity is not known does not make the loaded model a required one.
    found = judge(record(loaded), parse_all([{"model": "idle/model@4bit", "severity": "warn"}]), exclusive=True)
    assert [violation["check"] for violation in found] == ["model", "exclusive"]


def test_a_variant_may_be_loaded_where_the_selected_one_has_an_empty_name():
    of = record({**CHAT, "variants": ["qwen/qwen3-8b@8bit"], "selected_variant": ""})
    assert violations({"model": "qwen/qwen3-8b@8bit", "quantization": "8bit", "state": "unloaded"}, of)


@pytest.mark.parametrize(
    "name, capabilities",
    [
        ("vision", "all"),
        ("vision", {"vision": "partly"}),
        ("reasoning", {"reasoning": "always"}),
        ("reasoning", {"reasoning": {"allowed_options": 5}}),
        ("reasoning", {"reasoning": {"allowed_options": [], "default": 5}}),
    ],
)
def test_a_capability_that_cannot_be_read_is_neither_there_nor_missing(name, capabilities):
    """Wherever the part of the answer is that has another type: the capability itself, something in it, or what it is in."""
    of = record({**CHAT, "capabilities": capabilities})
    (message,) = messages({"model": "qwen/*", "capabilities": name}, of)
    assert f"is not known to have the capability {name}" in message
    assert messages({"capabilities": name, "state": "absent"}, of)


@pytest.mark.parametrize(
    "reasoning, able",
    [
        ({"allowed_options": ["off"], "default": "off"}, False),
        ({"allowed_options": ["OFF"]}, False),
        ({"allowed_options": ["off", "on"], "default": "off"}, True),
        ({"allowed_options": ["low", "xhigh"], "default": "medium"}, True),
        ({"allowed_options": ["high"]}, True),
        ({"allowed_options": ["off", "medium"]}, True),
        ({"default": "on"}, True),
        ({"default": "off"}, False),
        ({"allowed_options": []}, False),
        (True, True),
        (False, False),
        (None, False),
    ],
)
def test_reasoning_is_an_option_other_than_off(reasoning, able):
    entry = {**CHAT, "capabilities": {"reasoning": reasoning}}
    assert (violations({"model": "qwen/*", "capabilities": "reasoning"}, record(entry)) == []) is able
    assert record(entry)["warnings"] == []


def test_types_are_an_open_set():
    drafter = {"key": "draft", "type": "drafter", "loaded_instances": [instance("draft")]}
    image = {"key": "image", "type": "imageGen"}
    assert violations({"type": "drafter"}, record(drafter, image)) == []
    assert violations({"type": "imagegen", "state": "available"}, record(drafter, image)) == []
    assert violations({"type": "imageGen", "state": "absent"}, record(drafter, image)) != []
    assert violations({"type": "of-tomorrow"}, record(drafter)) != []
    assert violations({"type": "of-tomorrow"}, record({**drafter, "type": "of-tomorrow"})) == []


@pytest.mark.parametrize("state", ["loaded", "available", "unloaded", "absent"])
@pytest.mark.parametrize(
    ("entry", "about"),
    [
        ({**EMBEDDING, "architecture": 7}, {"architecture": "qwen2"}),
        ({**CHAT, "capabilities": {"reasoning": {"allowed_options": ["********", "off"]}}}, {"capabilities": "reasoning"}),
        ({**CHAT, "capabilities": {"reasoning": {"default": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}}}, {"capabilities": "reasoning"}),
    ],
)
def test_what_is_masked_or_of_an_unexpected_type_meets_nothing(entry, about, state):
    assert violations({**about, "state": state}, record(entry)) != []


@pytest.mark.parametrize("variants", [[7], ["qwen/********"]])
@pytest.mark.parametrize("forbidden", [{"state": "absent"}, {"state": "unloaded"}, {"min_instances": 0, "max_instances": 0}])
def test_of_a_variant_whose_name_is_not_known_nothing_else_is_known(forbidden, variants):
    requirement = {"model": "qwen/qwen3-8b@8bit", "quantization": "8bit", **forbidden}
    assert violations(requirement, record({**CHAT, "variants": variants})) != []
    assert violations(requirement, record({**CHAT, "key": "other/m", "selected_variant": None, "variants": ["other/********"]})) == []


@pytest.mark.parametrize("named", ["qwen/qwen3-8b@q8_0", "*@q8_0"])
def test_an_instance_called_like_a_variant_that_is_not_selected_is_not_taken_for_it(named):
    variant = "qwen/qwen3-8b@q8_0"
    of = record({**CHAT, "variants": [CHAT["selected_variant"], variant], "loaded_instances": [instance(variant)]})
    assert violations({"model": named}, of) != []
    assert violations({"model": named, "quantization": "Q8_0", "state": "unloaded"}, of) != []


def test_a_variant_that_is_not_known_may_be_there_under_a_pattern_but_is_not_the_one_that_is_loaded():
    requirement = {"model": "qwen/*", "quantization": "8bit"}
    unknown = record({**CHAT, "variants": [7]})
    assert violations({**requirement, "state": "absent"}, unknown) != []
    assert violations({**requirement, "state": "absent"}, record(CHAT)) == []
    assert violations({**requirement, "state": "unloaded"}, unknown) == []


def test_a_model_that_is_named_is_judged_by_what_it_reports_also_where_its_variants_are_not_known():
    requirement = {"model": "qwen/*", "min_context_length": 9000, "min_instances": 0, "max_instances": 0}
    assert violations(requirement, record({**CHAT, "variants": [7], "loaded_instances": [instance("i")]})) == []
    assert (
        violations({**requirement, "min_context_length": 8000}, record({**CHAT, "variants": [7], "loaded_instances": [instance("i")]}))
        != []
    )


def test_a_model_that_is_counted_does_not_hide_another_one_of_its_key_whose_variants_are_not_known():
    counted = {**CHAT, "variants": ["qwen/qwen3-8b@q4_k_m"], "loaded_instances": [instance("i")]}
    hidden = {"key": CHAT["key"], "variants": [7], "loaded_instances": [instance("j")]}
    requirement = {"model": "qwen/qwen3-8b@q4_k_m", "max_instances": 1}
    assert violations(requirement, record(counted)) == []
    assert [violation["check"] for violation in violations(requirement, record(counted, hidden))] == ["max_instances"]


def test_an_instance_that_is_counted_does_not_hide_another_one_of_its_model_whose_name_is_masked():
    requirement = {"model": ["a", "b"], "max_instances": 1}
    model = {"key": "m", "loaded_instances": [instance("a"), instance("c")]}
    assert violations(requirement, record(model)) == []
    masked = {**model, "loaded_instances": [instance("a"), instance("********")]}
    assert [(each["check"], each["actual"]) for each in violations(requirement, record(masked))] == [("max_instances", None)]


def test_an_idle_model_whose_name_is_masked_may_be_listed_as_another_but_is_not_loaded():
    masked = record({**IDLE, "key": "qwen/********"})
    assert violations({"model": "qwen/qwen3-8b", "state": "absent"}, masked) != []
    assert violations({"model": "qwen/qwen3-8b", "state": "unloaded"}, masked) == []
    assert violations({"model": "qwen/qwen3-8b", "min_instances": 0, "max_instances": 0}, masked) == []


def test_the_architecture_that_an_embedding_does_not_tell_is_no_reason_to_suspect_it():
    assert violations({"architecture": "qwen2", "state": "absent"}, record(CHAT, {**EMBEDDING, "architecture": None})) == []
    assert violations({"architecture": "qwen2", "state": "unloaded"}, record(EMBEDDING)) == []
    assert violations({"architecture": "qwen2"}, record(EMBEDDING)) != []
    # For other models, it is a reason.
    assert violations({"architecture": "qwen2", "state": "absent"}, record(BARE)) != []
    assert violations({"architecture": "bert", "state": "absent"}, record({**EMBEDDING, "architecture": "bert"})) != []


def test_a_model_that_tells_a_loaded_context_and_no_instance_is_neither_loaded_nor_unloaded():
    odd = {**IDLE, "loaded_context_length": 8192}
    for detail in ("full", "loaded"):
        found = record(odd, BARE, detail=detail)
        assert [entry["key"] for entry in found["models"]] == ["idle/model", "bare/model"]
        assert found["loaded"] == ["bare/model"] and found["counts"]["loaded"] == 1
        assert found["warnings"] == [
            "models[0] (idle/model) reports loaded_context_length but no loaded instance, so it is not known whether it is loaded"
        ]
        (loaded,) = messages({"model": "idle/model"}, found)
        assert loaded == "idle/model reports a loaded context but no instance, so it is not known whether it is loaded"
        (unloaded,) = violations({"model": "idle/*", "state": "unloaded"}, found)
        assert unloaded["actual"] is None
        assert (
            unloaded["message"] == "idle/* must not be loaded, but may be, because it reports a loaded context but no instance: idle/model"
        )
        assert violations({"type": "llm", "state": "unloaded"}, found) != []
        assert violations({"model": "idle/model", "min_instances": 0, "max_instances": 0}, found) != []
        (other,) = violations({"model": "bare/model"}, found, exclusive=True)
        assert other["message"] == "idle/model may be loaded, and no requirement asks for it (exclusive)"
    assert selected(record(odd), parse({"model": "idle/*", "state": "unloaded"})) == []


@pytest.mark.parametrize(
    "name, meant",
    [
        ("qwen3-8b", "qwen/qwen3-8b"),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b"),
        ("qwen/qwen3-14b", "qwen/qwen3-8b"),
        ("gemma", None),
        ("qwn*", None),
    ],
)
def test_a_model_that_is_not_listed_is_answered_with_the_closest_one(name, meant):
    for state in ("loaded", "available"):
        (said,) = messages({"model": name, "state": state})
        assert said == f"{name} is not listed by this host" + (f"; did you mean {meant}?" if meant else "")


# Records that carry only what is loaded


@pytest.mark.parametrize(
    "requirement, checks",
    [
        ({"model": "qwen/qwen3-8b", "min_context_length": 16384}, ["min_context_length"]),
        ({"model": "qwen/qwen3-8b", "min_context_length": 4096}, []),
        ({"model": "idle/model"}, ["state"]),
        ({"model": "nothing"}, ["model"]),
        ({"model": "idle/model", "state": "available"}, []),
        ({"model": "idle/*", "state": "available"}, []),
        ({"model": "qwen/qwen3-8b", "state": "available", "type": "llm", "min_context_length": 1}, []),
        ({"model": "nothing", "state": "available"}, ["model"]),
        ({"model": "nothing", "state": "available", "type": "llm"}, ["model"]),
        ({"model": "idle/model", "state": "unloaded"}, []),
        ({"model": "qwen/*", "state": "unloaded", "type": "llm"}, ["state"]),
        ({"model": "nothing", "state": "absent"}, []),
        ({"model": "idle/model", "state": "absent"}, ["state"]),
        ({"model": "i*", "state": "absent"}, ["state"]),
    ],
    ids=json.dumps,
)
def test_a_record_of_loaded_models_is_enough_for(requirement, checks):
    assert [violation["check"] for violation in violations(requirement, record(detail="loaded"))] == checks


@pytest.mark.parametrize(
    "requirement",
    [
        {"model": "idle/model", "state": "available", "type": "llm"},
        {"model": "idle/model", "state": "available", "min_context_length": 1},
        {"model": "idle/model", "state": "available", "max_size": "1GB"},
        {"model": "idle/model@8bit", "state": "available"},
        {"architecture": "other", "state": "available"},
        {"model": "idle*8bit", "state": "available"},
        {"model": "idle/model?8bit", "state": "absent"},
        {"model": ["x", "*[8]bit"], "state": "absent"},
        {"model": "idle/model@8bit", "state": "absent"},
        {"model": "idle/model", "state": "absent", "publisher": "qwen"},
        {"quantization": "Q8_0", "state": "absent"},
    ],
    ids=json.dumps,
)
def test_a_record_of_loaded_models_is_not_enough_for(requirement):
    with pytest.raises(InputError, match="gather with detail: full"):
        violations(requirement, record(detail="loaded"))
    assert isinstance(violations(requirement, record(CHAT, BARE, EMBEDDING, detail="loaded")), list)


# Selecting


@pytest.mark.parametrize(
    "requirement, keys",
    [
        ({"type": "llm"}, ["qwen/qwen3-8b"]),
        ({"type": "llm", "state": "available"}, ["qwen/qwen3-8b", "idle/model"]),
        ({"type": "llm", "state": "unloaded"}, ["idle/model"]),
        ({"model": "*"}, ["qwen/qwen3-8b", "bare/model", "text-embedding"]),
        ({"model": "*", "min_context_length": 600}, ["qwen/qwen3-8b"]),
        ({"model": "*", "state": "available", "min_context_length": 2048}, ["qwen/qwen3-8b", "idle/model"]),
        ({"model": "nothing"}, []),
        ({"model": "idle/*", "state": "unloaded"}, ["idle/model"]),
        ({"model": "qwen/*", "state": "unloaded"}, []),
    ],
    ids=json.dumps,
)
def test_selected(requirement, keys):
    assert [entry["key"] for entry in selected(record(), parse(requirement))] == keys
    assert selected(DOWN, parse(requirement)) == []


def test_equal_entries_are_selected_each():
    assert len(selected(record(CHAT, CHAT), parse({"model": "qwen/*"}))) == 2


def test_what_cannot_be_selected():
    with pytest.raises(InputError, match="state: absent selects nothing"):
        selected(record(), parse({"model": "m", "state": "absent"}))
    for state in ("available", "unloaded"):
        with pytest.raises(InputError, match="gather with detail: full"):
            selected(record(detail="loaded"), parse({"model": "m", "state": state}))
    assert selected(record(detail="loaded"), parse({"model": "m"})) == []


# Fleets


THREE = {"a": record(CHAT), "b": record({**CHAT, "quantization": {"name": "4bit"}, "loaded_instances": [instance("x", 8192)]}), "c": DOWN}
WANTED = [{"name": "chat", "model": "qwen/*"}]


def fleet_messages(require=None, records=None, consistent=(), **options):
    found = judge_fleet(THREE if records is None else records, parse_all(require or WANTED), consistent=tuple(consistent), **options)
    return [violation["message"] for violation in found]


def test_every_host_must_meet_every_requirement():
    found = judge_fleet(THREE, parse_all([*WANTED, {"model": "nothing"}]))
    assert [(violation["host"], violation["check"]) for violation in found] == [
        ("c", "status"),
        ("a", "model"),
        ("b", "model"),
        ("c", "status"),
    ]
    assert found[1]["message"] == "a: nothing is not listed by this host"
    assert found[0]["message"].startswith("c: chat: could not check qwen/*: http")


def test_so_many_hosts_must_meet_it():
    assert fleet_messages(min_hosts=2) == []
    (few,) = judge_fleet(THREE, parse_all([{**WANTED[0], "severity": "warn"}]), min_hosts=3)
    assert few == {
        "requirement": "chat",
        "check": "min_hosts",
        "expected": 3,
        "actual": 2,
        "severity": "warn",
        "message": "chat: 2 of 3 hosts serve qwen/*; 3 are required. No answer: c (refused)",
        "host": None,
    }
    large = [{"model": "qwen/*", "min_context_length": 10000}]
    assert fleet_messages(large, min_hosts=2) == [
        "0 of 3 hosts serve qwen/* with a context of at least 10000; 2 are required. a: context 4096. b: context 8192. No answer: c (refused)"
    ]
    assert fleet_messages(large, {"a": THREE["a"], "b": THREE["b"]}, min_hosts=2) == [
        "0 of 2 hosts serve qwen/* with a context of at least 10000; 2 are required. a: context 4096. b: context 8192"
    ]
    assert fleet_messages(WANTED, {}, min_hosts=1) == ["chat: 0 of 0 hosts serve qwen/*; 1 is required"]


@pytest.mark.parametrize(
    "requirement, says",
    [
        ({"type": "embedding"}, "0 of 1 host serves a model with the type embedding; 1 is required. a: not loaded"),
        (
            {"type": "llm", "min_parallel": 8},
            "0 of 1 host serves a model with the type llm and parallel of at least 8; 1 is required. a: parallel 4",
        ),
        (
            {"model": "idle/*", "capabilities": ["vision", "reasoning"], "state": "available"},
            "0 of 1 host lists idle/* with the capabilities vision and reasoning; 1 is required. a: no vision",
        ),
        ({"model": "idle/*", "state": "absent"}, "0 of 1 host does not list idle/*; 1 is required. a: listed"),
        ({"model": "qwen/*", "state": "unloaded"}, "0 of 1 host has qwen/* unloaded; 1 is required. a: loaded"),
        ({"model": "m"}, "0 of 1 host serves m; 1 is required. a: not listed"),
        ({"model": "idle/model"}, "0 of 1 host serves idle/model; 1 is required. a: not loaded"),
        ({"model": "idle/model@4bit"}, "0 of 1 host serves idle/model@4bit; 1 is required. a: not listed"),
        ({"model": "qwen/*", "max_size": "4GB"}, "0 of 1 host serves qwen/* with a size of at most 4.0 GB; 1 is required. a: size 5.0 GB"),
        (
            {"model": "qwen/*", "config": {"flash_attention": True}},
            "0 of 1 host serves qwen/* with flash_attention true; 1 is required. a: flash_attention false",
        ),
        ({"model": "qwen/*", "min_instances": 3}, "0 of 1 host serves qwen/* with at least 3 instances; 1 is required. a: 2 instances"),
        ({"model": "qwen/*", "max_instances": 1}, "0 of 1 host serves qwen/* with at most 1 instance; 1 is required. a: 2 instances"),
        (
            {"model": "qwen/*", "min_bits_per_weight": 4.5, "quantization": "Q4_K_M"},
            "0 of 1 host serves qwen/* with the quantization Q4_K_M and at least 4.5 bits per weight; 1 is required. a: bits per weight 4",
        ),
    ],
)
def test_a_host_that_is_missing_has_a_reason(requirement, says):
    assert fleet_messages([requirement], {"a": record(CHAT, IDLE)}, min_hosts=1) == [says]


def test_what_is_not_known_is_a_reason():
    unclear = {**IDLE, "loaded_context_length": 4096}
    assert fleet_messages([{"model": "idle/*"}], {"a": record(unclear)}, min_hosts=1)[0].endswith("a: unclear whether loaded")
    assert fleet_messages([{"model": "bare/*", "min_context_length": 1}], {"a": record()}, min_hosts=1)[0].endswith("a: context not known")
    # Not where another model is unclear, or where it does not matter.
    for state in ("absent", "unloaded"):
        forbidden = [{"quantization": "Q2_K", "state": state}]
        assert fleet_messages(forbidden, {"a": record(unclear, BARE)}, min_hosts=1)[0].endswith("a: not known")
    assert fleet_messages([{"model": "idle/*", "state": "unloaded"}], {"a": record(unclear)}, min_hosts=1)[0].endswith(
        "a: unclear whether loaded"
    )
    variant = {**CHAT, "variants": ["qwen/qwen3-8b@q4_k_m", "qwen/qwen3-8b@8bit"]}
    (message,) = fleet_messages([{"model": "qwen/qwen3-8b@8bit"}], {"a": record(variant)}, min_hosts=1)
    assert message.endswith("a: another variant selected")


def test_many_hosts_are_counted_by_reason():
    with_context = {f"gpu{number:02}": record({**CHAT, "loaded_instances": [instance("i", 100 + number // 8)]}) for number in range(64)}
    (message,) = fleet_messages(
        [{"model": "qwen/*", "min_context_length": 8192}], {**with_context, **dict.fromkeys("abcdefg", DOWN)}, min_hosts=9
    )
    assert message.startswith(
        "0 of 71 hosts serve qwen/* with a context of at least 8192; 9 are required. 8 with context 100: gpu00, gpu01, gpu02, gpu03, gpu04 and 3 more. "
    )
    assert message.endswith("gpu36 and 3 more. For other reasons: 24 hosts. No answer: 7 (7 refused): a, b, c, d, e and 2 more")


GPT = {**CHAT, "key": "openai/gpt-oss-20b", "loaded_instances": [instance("i", 8192)]}
GPT_IS_REQUIRED = [{"model": "openai/gpt-oss-20b", "min_context_length": 8192}]


def without_answer(status):
    return {**DOWN, "status": status, "error": {**DOWN["error"], "message": f"http://gpu is {status}"}}


def test_of_six_hosts_each_is_named():
    fleet = {
        "gpu01": record(GPT),
        "gpu02": record({**GPT, "loaded_instances": []}),
        "gpu03": without_answer("auth"),
        "gpu04": record(CHAT),
        "gpu05": DOWN,
        "gpu06": record(CHAT),
    }
    assert fleet_messages(GPT_IS_REQUIRED, fleet, min_hosts=2) == [
        "1 of 6 hosts serves openai/gpt-oss-20b with a context of at least 8192; 2 are required. gpu04, gpu06: not listed. gpu02: not loaded. "
        "No answer: gpu03 (auth), gpu05 (refused)"
    ]


def test_of_five_hundred_hosts_each_is_counted():
    said = (
        [record(GPT)]
        + [record({**GPT, "loaded_instances": []})] * 380
        + [record(CHAT)] * 36
        + [record({**GPT, "loaded_instances": [instance("i", 4096)]})] * 52
        + [record({**GPT, "loaded_instances": [instance("i", 2048)]})]
        + [without_answer("timeout")] * 10
        + [DOWN] * 20
    )
    fleet = {f"gpu{number:03}": each for number, each in enumerate(said)}
    assert len(fleet) == 500
    (message,) = fleet_messages(GPT_IS_REQUIRED, fleet, min_hosts=2)
    assert message == (
        "1 of 500 hosts serves openai/gpt-oss-20b with a context of at least 8192; 2 are required. "
        "380 not loaded: gpu001, gpu002, gpu003, gpu004, gpu005 and 375 more. "
        "52 with context 4096: gpu417, gpu418, gpu419, gpu420, gpu421 and 47 more. "
        "36 not listed: gpu381, gpu382, gpu383, gpu384, gpu385 and 31 more. "
        "gpu469: context 2048. "
        "No answer: 30 (20 refused, 10 timeout): gpu470, gpu471, gpu472, gpu473, gpu474 and 25 more"
    )


def test_what_five_hundred_hosts_have_differently_is_counted():
    fleet = {f"gpu{number:03}": record({**GPT, "loaded_instances": [instance("i", max(9000, 9300 - number))]}) for number in range(500)}
    (message,) = fleet_messages(GPT_IS_REQUIRED, fleet, consistent=["context_length"])
    assert message == (
        "openai/gpt-oss-20b has different context lengths: 9000 on 200 hosts (gpu300, gpu301, gpu302, gpu303, gpu304 and 195 more); "
        "9300 on gpu000; 9299 on gpu001; 9298 on gpu002; 9297 on gpu003; 296 other values on 296 hosts"
    )


def test_what_must_be_the_same_everywhere():
    (mixed,) = judge_fleet(THREE, parse_all(WANTED), 2, ("quantization",))
    assert (mixed["check"], mixed["expected"], mixed["host"]) == ("consistent", "quantization", None)
    assert mixed["actual"] == [{"value": "Q4_K_M", "hosts": ["a"]}, {"value": "4bit", "hosts": ["b"]}]
    assert mixed["message"] == "chat: qwen/* has different quantizations: Q4_K_M on a; 4bit on b"
    assert fleet_messages(min_hosts=2, consistent=["selected_variant"]) == []
    # The two instances of one host differ as well.
    assert fleet_messages(min_hosts=2, consistent=["context_length"]) == [
        "chat: qwen/* has different context lengths: 16384 on a; 4096 on a; 8192 on b"
    ]
    assert "quantization" in fleet_messages([{"model": "qwen/*", "state": "available"}], min_hosts=1, consistent=("quantization",))[0]
    unknown = {**THREE, "d": record({"key": "qwen/other", "loaded_instances": [instance("i")]})}
    assert "(not known) on d" in fleet_messages(records=unknown, min_hosts=1, consistent=["quantization"])[0]
    # Where nothing is known, nobody can say that it is the same.
    silent = {name: record({"key": "qwen/a", "loaded_instances": [{"id": name, "config": {}}]}) for name in ("a", "b")}
    for attribute in ("quantization", "context_length"):
        assert fleet_messages([{"model": "qwen/*"}], silent, min_hosts=1, consistent=[attribute]) == [
            f"qwen/* may have different {attribute.replace('_', ' ')}s: (not known) on a, b"
        ]
    assert fleet_messages([{"model": "qwen/*"}], silent, min_hosts=1, consistent=["selected_variant"]) == []
    assert fleet_messages([{"model": "qwen/*"}], {"a": silent["a"]}, min_hosts=1, consistent=["quantization"]) == []
    assert CONSISTENT == ("quantization", "selected_variant", "context_length")


def test_two_unknown_values_on_one_host_may_differ_too():
    untold = [{"id": name, "config": {}} for name in ("qwen/a", "a:2")]
    one_model = {"a": record({"key": "qwen/a", "loaded_instances": untold})}
    assert fleet_messages([{"model": ["qwen/*", "a:2"]}], one_model, min_hosts=1, consistent=["context_length"]) == [
        "qwen/* or a:2 may have different context lengths: (not known) on a"
    ]
    # Both instances are of one entry, or one instance has both names.
    assert fleet_messages([{"model": "qwen/*"}], one_model, min_hosts=1, consistent=["quantization"]) == []
    assert fleet_messages([{"model": "a:2"}], one_model, min_hosts=1, consistent=["context_length"]) == []
    one_instance = {"a": record({"key": "qwen/a", "loaded_instances": untold[:1]})}
    assert fleet_messages([{"model": ["qwen/*", "qwen/a"]}], one_instance, min_hosts=1, consistent=["context_length"]) == []
    two_models = {"a": record(*({"key": key, "loaded_instances": untold[:1]} for key in ("qwen/a", "qwen/b")))}
    assert fleet_messages([{"model": "qwen/*"}], two_models, min_hosts=1, consistent=["quantization"]) == [
        "qwen/* may have different quantizations: (not known) on a"
    ]


def test_a_host_without_the_model_has_nothing_to_compare():
    of = {"a": record(CHAT), "b": record(CHAT), "c": record(EMBEDDING)}
    for state in ("loaded", "available"):
        assert fleet_messages([{"model": "qwen/*", "state": state}], of, min_hosts=2, consistent=["quantization"]) == []


@pytest.mark.parametrize("number, more", [(5, ""), (6, " (and 1 instance more)")])
def test_up_to_five_instances_that_fall_short_are_all_named(number, more):
    several = {**CHAT, "loaded_instances": [instance(f"i{each}") for each in range(number)]}
    told = messages({"model": "qwen/*", "min_context_length": 10**6}, record(several))
    assert len(told) == 5 and told[-1].endswith(f"at least 1000000 is required{more}")


@pytest.mark.parametrize("names, told", [("abcde", "a, b, c, d, e: not loaded"), ("abcdef", "6 not loaded: a, b, c, d, e and 1 more")])
def test_up_to_five_hosts_are_all_named(names, told):
    (message,) = fleet_messages([{"model": "idle/model"}], {name: record() for name in names}, min_hosts=1)
    assert message.endswith(told)


@pytest.mark.parametrize(
    ("attribute", "fields"),
    [
        ("selected_variant", {"selected_variant": 7}),
        ("selected_variant", {"selected_variant": "qwen/a@********"}),
        ("quantization", {"quantization": {"name": 4}}),
        ("quantization", {"quantization": {"name": "********"}}),
        ("quantization", {"quantization": {"name": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}}),
    ],
)
def test_what_cannot_be_read_or_is_masked_is_not_the_same_everywhere(attribute, fields):
    entry = {
        "key": "qwen/a",
        "selected_variant": "qwen/a@q4",
        "quantization": {"name": "Q4"},
        "loaded_instances": [instance("i")],
        **fields,
    }
    (message,) = fleet_messages([{"model": "qwen/a"}], {name: record(entry) for name in "ab"}, min_hosts=1, consistent=[attribute])
    assert message == f"qwen/a may have different {attribute.replace('_', ' ')}s: (not known) on a, b"


@pytest.mark.parametrize(
    "state, attribute", [("available", "context_length"), ("unloaded", "quantization"), ("absent", "selected_variant")]
)
def test_what_cannot_be_compared_is_an_error(state, attribute):
    with pytest.raises(InputError) as caught:
        fleet_messages([{"model": "qwen/*", "state": state}], min_hosts=1, consistent=[attribute])
    assert str(caught.value) == (f"consistent: with state: {state} there is no {attribute} to compare. Remove it, or write state: loaded.")


def test_a_fleet_without_hosts_meets_nothing():
    with pytest.raises(InputError, match="^hosts: there are none, so any requirement would be met"):
        fleet_messages(records={})


def test_models_that_are_not_loaded_cannot_be_compared_at_detail_loaded():
    idle = [{"model": "idle/model", "state": "available"}]
    slim = {"a": record(detail="loaded"), "down": DOWN}
    assert fleet_messages(idle, slim, min_hosts=1) == []
    with pytest.raises(InputError, match="gather with detail: full"):
        fleet_messages(idle, slim, min_hosts=1, consistent=["quantization"])
    assert fleet_messages([{"model": "qwen/*"}], slim, min_hosts=1, consistent=["quantization"]) == []
    assert fleet_messages([{"model": "elsewhere", "state": "available"}], slim, min_hosts=1, consistent=["quantization"]) != []


@pytest.mark.parametrize(
    "pattern",
    ["elsewhere/*", "idle/model-2*", "model@8bit", "qwen/qwen3-8b@8bit"],
)
def test_a_pattern_that_no_unloaded_model_can_meet_needs_no_more_detail(pattern):
    assert violations({"model": pattern, "state": "absent"}, record(detail="loaded")) == []
    (found,) = violations({"model": pattern, "state": "available"}, record(detail="loaded"))
    assert found["check"] == "model"


def test_a_key_that_is_listed_twice_may_have_a_variant_that_is_not_carried():
    twice = record(CHAT, {**CHAT, "loaded_instances": [], "selected_variant": "qwen/qwen3-8b@8bit"}, detail="loaded")
    with pytest.raises(InputError, match="gather with detail: full"):
        violations({"model": "qwen/qwen3-8b@8bit", "state": "absent"}, twice)


@pytest.mark.parametrize("requirement", [{"format": "GGUF"}, {"quantization": "q4_k_m"}, {"architecture": "Qwen3"}, {"publisher": "QWEN"}])
def test_capitals_make_no_other_kind(requirement):
    assert violations({**requirement}) == []
    assert violations({**requirement, "state": "unloaded"}) != []


@pytest.mark.parametrize(
    "name",
    [
        "qwen/qwen3-8b\u200b", "\ufeffqwen/qwen3-8b", "qwen\u00ad/*", "qwen/qwen3-8b\u200b@q4_k_m", "qwen/qwen3-8b\u2060:2",
        "Qwen/Qwen3-8B", "QWEN/*", "[Q]wen/*", "Qwen/Qwen3-8B@Q4_K_M", "Qwen/Qwen3-8B:2",
        # A combining joiner, Hangul fillers, Khmer vowels and variation selectors are letters or marks, and nobody sees them.
        "qwen\u034f/qwen3-8b", "\u115fqwen/*", "qwen/qwen3-8b\u1160", "qwen/\u17b5qwen3-8b", "qwen/qwen3-8b\u180b", "qwen\u180f/*",
        "qwen/qwen3-8b\u3164", "qwen/qwen3-8b\ufe00@q4_k_m", "qwen/qwen3-8b\ufe0f:2", "qwen/\uffa0qwen3-8b", "qwen/qwen3-8b\U000e01ef",
    ],
)  # fmt: skip
def test_a_name_that_reads_like_that_of_a_model_does_not_pass_for_its_absence(name):
    assert violations({"model": name, "state": "absent"}) and violations({"model": name, "state": "absent"}, record(CHAT, detail="loaded"))
    assert violations({"model": name, "state": "unloaded"}) and violations({"model": name, "min_instances": 0, "max_instances": 0})
    # Requests have to name a model exactly.
    assert violations({"model": name}) and violations({"model": name, "state": "available"})


@pytest.mark.parametrize(("name", "listed"), [("id\u00e9", "IDE\u0301"), ("\u0390", "\u03aa\u0301"), ("qwen", "\U0001d410wen")])
def test_letters_are_the_same_however_they_are_encoded(name, listed):
    for one, other in ((name, listed), (listed, name)):
        assert violations({"model": one, "state": "absent"}, record({**CHAT, "key": other}))


def test_where_a_record_has_only_the_key_of_a_model_it_is_compared_as_it_reads():
    listed = record(CHAT, {**IDLE, "key": "id\u00e9/model"}, detail="loaded")
    assert violations({"model": "ide\u0301/model", "state": "absent"}, listed)
    with pytest.raises(InputError, match="gather with detail: full"):
        violations({"model": "Ide\u0301/Model@8bit", "state": "absent"}, listed)
    assert violations({"model": "ide\u0301/model", "state": "unloaded"}, listed) == []


@pytest.mark.parametrize("state", ["absent", "unloaded"])
def test_a_pattern_means_what_it_says_whatever_its_capitals(state):
    # In small letters it would not match.
    assert violations({"model": "[!Q]wen/*", "state": state})


@pytest.mark.parametrize("key", ["publisher", "architecture", "quantization", "format"])
def test_characters_that_cannot_be_seen_make_no_other_kind(key):
    value = {**CHAT, "quantization": "Q4_K_M"}[key]
    assert violations({key: f"{value}\u200b", "state": "absent"}, record(CHAT))
    assert violations({key: f"\ufeff{value}", "state": "unloaded"}, record(CHAT))
    # Where it must be there, what only reads like it is not known to be it.
    assert violations({key: f"{value}\u200b"}, record(CHAT)) and violations({key: [f"\ufeff{value}", "other"]}, record(CHAT))
    assert violations({key: [f"\ufeff{value}", value]}, record(CHAT)) == []


@pytest.mark.parametrize("listed", ["embedding", "embeddings"])
@pytest.mark.parametrize("required", ["Embedding", "EMBEDDINGS"])
def test_both_words_for_embeddings_are_one_type_in_capitals_too(listed, required):
    of = record({**EMBEDDING, "type": listed})
    assert violations({"type": required}, of) == [] and violations({"type": required, "state": "absent"}, of)


@pytest.mark.parametrize(
    "required, listed",
    [("qwen", " qwen"), ("qwen", "qwen \u200b"), ("qwen", "qwen\u00a0"), ("a b", "a  b"), ("a b", "a\u00a0b"), ("STRASSE", "stra\u00dfe")],
)
def test_spaces_and_letters_that_change_in_capitals_make_no_other_model(required, listed):
    assert violations({"model": required, "state": "absent"}, record({"type": "llm", "key": listed, "loaded_instances": []}))


@pytest.mark.parametrize("name", ["QWEN/Secret", "qwen\u200b/secret"])
def test_a_masked_name_is_compared_as_it_reads_where_the_model_must_not_be_there(name):
    (message,) = messages({"model": name, "state": "absent"}, record({"type": "llm", "key": "qwen/********"}))
    assert "a name there is masked" in message


def test_variants_that_cannot_be_read_may_be_those_of_a_name_in_other_capitals():
    of = record({"type": "llm", "key": "qwen/qwen3-8b", "variants": 5})
    (message,) = messages({"model": "Qwen/Qwen3-8B@4bit", "state": "absent"}, of)
    assert "has an unexpected type" in message


def test_spaces_around_a_text_do_not_count():
    assert violations({"model": " qwen/qwen3-8b "}) == []
    assert violations({"model": [" qwen/qwen3-8b\n"], "type": "llm "}) == []


@pytest.mark.parametrize(
    "accepted, met",
    [("yes", True), ("On", True), ("no", False), ("off ", False), ("maybe", None), (1, None), (True, True), (["x", True], True)],
)
def test_settings_that_are_true_or_false(accepted, met):
    of = record({**CHAT, "loaded_instances": [instance("x", flash_attention=True), instance("y", flash_attention=True)]})
    found = violations({"model": "qwen/*", "config": {"flash_attention": accepted}, "min_instances": 0, "max_instances": 1}, of)
    # What is not known counts as if it met the rest, where there must not be too many.
    assert bool(found) is (met is not False)
    assert bool(violations({"model": "qwen/*", "config": {"flash_attention": accepted}}, of)) is (met is not True)


@pytest.mark.parametrize(
    "accepted, met", [("4", True), ("4.0", True), ("5", False), ("four", None), (4.0, True), ("-4", False), (True, None), (None, None)]
)
def test_settings_that_are_numbers(accepted, met):
    if accepted is None:
        of, accepted = record({**CHAT, "loaded_instances": [instance("x"), instance("y")]}), 4
    else:
        of = record({**CHAT, "loaded_instances": [instance("x", parallel=4), instance("y", parallel=4)]})
    found = violations({"model": "qwen/*", "config": {"parallel": accepted}, "min_instances": 0, "max_instances": 1}, of)
    assert bool(found) is (met is not False)
    assert bool(violations({"model": "qwen/*", "config": {"parallel": accepted}}, of)) is (met is not True)


def test_a_setting_that_does_not_exist_is_named_with_those_that_do():
    (found,) = messages({"model": "qwen/*", "config": {"flash_atention": True}}, record({**CHAT, "loaded_instances": [instance("x")]}))
    assert found.startswith(
        "qwen/qwen3-8b (instance x) has no setting flash_atention, but true is required. The settings are context_length"
    )


@pytest.mark.parametrize("value, expected", [(True, True), ("yes", True), (" FALSE ", False), ("off", False)])
def test_flags(value, expected):
    assert read_value(boolean, value, "x") is expected


def test_what_is_not_a_flag_is_refused():
    with pytest.raises(InputError, match="^x: 1 is not true or false.$"):
        read_value(boolean, 1, "x")


def test_terms_of_a_fleet():
    assert parse_fleet_terms(None, []) == parse_fleet_terms(None, None) == parse_fleet_terms(None, "") == (None, ())
    assert parse_fleet_terms("2", "quantization") == (2, ("quantization",))
    for min_hosts, consistent, says in (
        (0, [], "at.min_hosts: 0 is not a whole number of 1 or more."),
        ("\u00b2", [], "at.min_hosts: \u00b2 is not a whole number of 1 or more."),
        (1, {}, "at.consistent: {} is not a list."),
        (1, ["size"], "at.consistent: size is not one of quantization, selected_variant, context_length."),
    ):
        with pytest.raises(InputError) as caught:
            parse_fleet_terms(min_hosts, consistent, "at.")
        assert str(caught.value) == says


def test_sizes_that_look_alike_are_shown_in_bytes():
    entry = {**CHAT, "size_bytes": 40_010_000_000}
    assert messages({"model": "qwen/*", "max_size": "40GB"}, record(entry)) == [
        "qwen/qwen3-8b has a size of 40010000000 B, at most 40000000000 B is allowed"
    ]


@pytest.mark.parametrize(("accepted", "met"), [("fast", True), ("slow", False), ("Fast", False)])
def test_settings_that_are_text(accepted, met):
    entry = {"key": "m", "loaded_instances": [instance("m", mode="fast")]}
    assert (violations({"model": "m", "config": {"mode": accepted}}, record(entry)) == []) is met


def test_an_error_of_judging_begins_with_the_name():
    with pytest.raises(InputError, match="^tools: the record has detail: loaded"):
        violations({"name": "tools", "architecture": "other", "state": "available"}, record(detail="loaded"))
