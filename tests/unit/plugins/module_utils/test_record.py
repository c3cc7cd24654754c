# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host record: its shape, what it derives, and what it never holds."""

from __future__ import annotations

import copy
import json
import random

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import HINTS, STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask, explain
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import MASK

KEYS = [
    "ok",
    "status",
    "error",
    "url",
    "api",
    "asked_at",
    "response_ms",
    "detail",
    "models",
    "instances",
    "available",
    "loaded",
    "counts",
    "size_bytes",
    "fingerprint",
    "warnings",
]
TOKEN = "sk-lm-0123456789abcdef"


def instance(name, context=4096, ttl=None):
    return {"id": name, "config": {"context_length": context}, "remaining_ttl_seconds": ttl}


LIBRARY = [
    {"type": "llm", "key": "b", "size_bytes": 10, "loaded_instances": [instance("b", 8192), instance("b:2", 4096, 60)]},
    {"type": "llm", "key": "a", "size_bytes": 5, "loaded_instances": []},
    {"type": "embeddings", "key": "e", "size_bytes": 3, "loaded_instances": [instance("e", 512)]},
    {"type": "llm", "key": "b", "size_bytes": 10, "loaded_instances": [], "variants": ["b@4", "b@8"]},
    {"type": "image", "key": "i", "size_bytes": 1, "loaded_instances": []},
]


def record_of(models, detail="full", options=None, status=200):
    body = json.dumps({"models": models}).encode()
    return ask(make_endpoint(options or {}, "http://gpu01"), lambda endpoint, request: Response(status, body), detail)


def raising(exc):
    def fetch(endpoint, request):
        raise exc

    return fetch


def test_a_sum_is_not_known_where_a_size_is_not_known():
    assert record_of([*LIBRARY, {"key": "idle"}])["size_bytes"] == {"available": None, "loaded": 13}
    assert record_of([*LIBRARY, {"key": "odd", "size_bytes": -1}])["size_bytes"] == {"available": None, "loaded": 13}
    assert record_of([*LIBRARY, {"key": "busy", "loaded_instances": [instance("busy", 1)]}])["size_bytes"] == {
        "available": None,
        "loaded": None,
    }


def test_a_record_derives_what_plays_ask_for():
    record = record_of(LIBRARY)
    assert list(record) == KEYS
    assert (record["ok"], record["status"], record["error"]) == (True, "ok", None)
    assert record["url"] == "http://gpu01:1234"
    assert [entry["key"] for entry in record["models"]] == ["b", "a", "e", "b", "i"]
    assert record["available"] == ["a", "b", "e", "i"]
    assert record["loaded"] == ["b", "e"]
    assert record["counts"] == {"models": 5, "llm": 3, "embedding": 1, "loaded": 2, "instances": 3}
    assert record["size_bytes"] == {"available": 29, "loaded": 13}
    assert [(i["id"], i["model"], i["type"], i["context_length"], i["remaining_ttl_seconds"]) for i in record["instances"]] == [
        ("b", "b", "llm", 8192, None),
        ("b:2", "b", "llm", 4096, 60),
        ("e", "e", "embeddings", 512, None),
    ]
    assert record["instances"][0]["config"]["context_length"] == 8192
    assert isinstance(record["response_ms"], int)


def test_detail_loaded_leaves_out_entries_and_nothing_else():
    full, slim = record_of(LIBRARY), record_of(LIBRARY, "loaded")
    assert [entry["key"] for entry in slim["models"]] == ["b", "e"]
    assert slim["detail"] == "loaded"
    for key in set(KEYS) - {"models", "detail", "asked_at", "response_ms"}:
        assert slim[key] == full[key]


def test_a_large_library_is_small_at_detail_loaded():
    models = [
        {
            "type": "llm",
            "publisher": f"publisher-{number % 7}",
            "key": f"publisher-{number % 7}/some-model-name-{number}b-instruct",
            "display_name": f"Some Model Name {number}B Instruct",
            "architecture": "qwen3",
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": 5027783872,
            "loaded_instances": [instance(f"instance-{number}")] if number < 3 else [],
            "max_context_length": 131072,
            "description": None,
        }
        for number in range(200)
    ]
    assert len(json.dumps(record_of(models, "loaded"))) < 20000


@pytest.mark.parametrize("status", STATUSES[1:])
def test_a_failure_has_the_same_keys_and_a_next_step(status):
    record = ask(make_endpoint({}, "http://gpu01"), raising(ApiError(status, "did something")), "full")
    assert list(record) == KEYS
    assert (record["ok"], record["status"], record["fingerprint"], record["response_ms"]) == (False, status, None, None)
    message = f"http://gpu01:1234 {'is not LM Studio: it ' if status == 'not_lmstudio' else ''}did something."
    assert record["error"] == {"message": message, "hint": HINTS[status], "http_status": None}
    assert record["models"] == record["instances"] == record["available"] == record["loaded"] == record["warnings"] == []
    assert set(record["counts"].values()) == {0}
    assert explain(record) == f"{message} {HINTS[status]}"


def test_an_answer_that_is_refused_has_a_time_and_an_http_status():
    record = record_of([], status=500)
    assert record["error"]["http_status"] == 500
    assert isinstance(record["response_ms"], int)


def shuffled(value, chance):
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(item, chance) for key, item in items}
    if isinstance(value, list):
        items = [shuffled(item, chance) for item in value]
        chance.shuffle(items)
        return items
    return value


def test_the_fingerprint_ignores_order_and_ttls_and_detail():
    chance = random.Random(7)
    expected = record_of(LIBRARY)["fingerprint"]
    assert expected.startswith("sha256:")
    for _time in range(20):
        other = shuffled(copy.deepcopy(LIBRARY), chance)
        for entry in other:
            for loaded in entry["loaded_instances"]:
                loaded["remaining_ttl_seconds"] = chance.choice([None, 1, 2.5])
        assert record_of(other)["fingerprint"] == expected
        assert record_of(other, "loaded")["fingerprint"] == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda models: models.pop(1),
        lambda models: models[1].update(size_bytes=6),
        lambda models: models[0]["loaded_instances"].pop(),
        lambda models: models[0]["loaded_instances"][0]["config"].update(context_length=8193),
        lambda models: models[0]["loaded_instances"][0]["config"].update(future=1),
        lambda models: models[1].update(selected_variant="b@8"),
        lambda models: models.append(dict(models[1])),
    ],
)
def test_the_fingerprint_sees_every_other_change(change):
    models = copy.deepcopy(LIBRARY)
    change(models)
    assert record_of(models)["fingerprint"] != record_of(LIBRARY)["fingerprint"]


def echo(text):
    return [
        {"type": "llm", "key": text, text: text, "size_bytes": text, "loaded_instances": [{"id": text, "config": {text: {text: [text]}}}]}
    ]


@pytest.mark.parametrize("sent_back", [TOKEN, TOKEN[:10], "x" + TOKEN[:10] + "..."])
def test_a_token_that_comes_back_is_masked_everywhere(sent_back):
    record = record_of(echo(sent_back), options={"token": TOKEN})
    assert TOKEN[:10] not in json.dumps(record)
    assert MASK in record["available"][0]
    assert "masked" in record["warnings"][-1]


@pytest.mark.parametrize("size", range(5, 10))
def test_the_beginning_of_a_token_is_masked_wherever_a_message_was_cut(size):
    record = record_of(echo(f"{TOKEN[:size]}..."), options={"token": TOKEN})
    assert TOKEN[:size] not in json.dumps(record) and "masked" in record["warnings"][-1]


def test_a_token_that_json_escapes_is_masked_as_well():
    record = record_of(echo('quo"te\\d-token-value'), options={"token": 'quo"te\\d-token-value'})
    assert record["available"] == [MASK]


def test_a_secret_header_that_comes_back_is_masked():
    record = record_of(echo("c2VjcmV0LXNlY3JldA=="), options={"headers": {"Authorization": "Basic c2VjcmV0LXNlY3JldA=="}})
    assert "c2VjcmV0" not in json.dumps(record)


@pytest.mark.parametrize(
    "value, echo",
    [
        ("correct horse battery staple", "a Correct horse battery staple!"),
        ("id=AbCdEf0123456789; lang=en", "AbCdEf0123456789"),
        ('lang=en,id="AbCdEf0123456789"', "AbCdEf0123456789"),
        ("eightchr", "an EIGHTCHR"),
        ("Bearer eightchr", "eightchr"),
        ("Basic YXBpOmh1bnRlcjJodW50ZXIy", "api:hunter2hunter2"),
        ("basic YXBpOmh1bnRlcjJodW50ZXIy", "hunter2hunter2"),
    ],
)
def test_what_a_header_may_mean_is_masked(value, echo):
    record = record_of([{"key": echo}], options={"headers": {"X-Key": value}})
    assert MASK in record["available"][0] and "masked" in record["warnings"][-1]


@pytest.mark.parametrize(("header", "is_masked"), [("Authorization", True), ("cookie", True), ("X-Forwarded-Host", False)])
def test_only_of_what_is_a_secret_the_beginning_is_one(header, is_masked):
    options = {"headers": {header: "lmstudio-cluster.example.com"}}
    record = record_of([{"key": "lmstudio-community/qwen3"}], options=options)
    assert (MASK in record["available"][0]) is is_masked
    assert record_of([{"key": "on lmstudio-cluster.example.com"}], options=options)["available"] == [f"on {MASK}"]


@pytest.mark.parametrize("value", ["1", "qwen", "sevench", "Basic ====", "Basic YQ==", "=;,"])
def test_a_short_text_of_a_header_masks_no_part_of_a_name(value):
    record = record_of([{"key": "qwen1/sevench", "size_bytes": 1}], options={"headers": {"X-Key": value}})
    assert record["available"] == ["qwen1/sevench"] and record["models"][0]["size_bytes"] == 1


def test_a_number_with_the_token_in_it_is_not_known():
    number = 123456789012
    models = [
        {"type": "llm", "key": "m", "size_bytes": number, "future": [number * 10], "loaded_instances": [instance("m", number, number)]}
    ]
    for sent in (models, [{"type": "llm", "key": "m", "loaded_instances": [instance("m", 4096, number)]}]):
        record = record_of(sent, options={"token": str(number)})
        assert str(number) not in json.dumps(record) and "masked" in record["warnings"][-1]
        assert record["instances"][0]["remaining_ttl_seconds"] is None
        # Which does not mean that it stays.
        assert record["models"][0]["unreadable"] == ["loaded_instances[0].remaining_ttl_seconds"]


def test_what_a_proxy_is_sent_is_masked_where_one_is_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "user%40example:hunter2hunter2@proxy:3128")
    models = [{"key": "user@example:hunter2hunter2"}, {"key": "hunter2hunter2"}, {"key": "dXNlckBleGFtcGxlOmh1bnRlcjJodW50ZXIy"}]
    assert record_of(models, options={"use_proxy": True})["available"] == [MASK]
    assert len(record_of(models)["available"]) == 3


@pytest.mark.parametrize("token", ["ok", "full", "loaded", "models", "counts", "loaded_instances", "context_length", "h"])
def test_a_token_that_is_a_word_of_ours_leaves_the_shape_alone(token):
    plain, masked = record_of(LIBRARY), record_of(LIBRARY, options={"token": token})
    assert list(masked) == list(plain)
    assert (masked["status"], masked["detail"], masked["url"]) == ("ok", "full", "http://gpu01:1234")
    assert set(masked["counts"]) == set(plain["counts"])
    assert set(masked["models"][0]) == set(plain["models"][0])
    assert set(masked["models"][0]["loaded_instances"][0]["config"]) == set(plain["models"][0]["loaded_instances"][0]["config"])


def test_a_record_without_an_echo_is_left_alone():
    assert record_of(LIBRARY, options={"token": TOKEN})["warnings"] == []
