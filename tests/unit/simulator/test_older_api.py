# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API before v1, as LM Studio 0.3 and 0.4 serve it."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.tests.patience import until

V0, V1 = "/api/v0/models", "/api/v1/models"
CHAT, LARGE = "qwen/qwen3-8b", "openai/gpt-oss-20b"
HOSTS = {
    "newest": {},
    "0.3": {"version": "0.3"},
    "0.3.15": {"version": "0.3.15"},
    "only_loaded": {"just_in_time": False},
    "only_v1": {"v0": False},
    "held": {"payload": "none_loaded.json"},
    "timed": {"payload": "none_loaded.json"},
    "flaky": {"v0_error": True},
    "prefixed": {"prefix": "/lm", "token": "sk-lm-of-prefixed"},
}
UNEXPECTED = {"error": f"Unexpected endpoint or method. (GET {V1})"}


def rows(ask, host):
    status, document = ask(host, V0)
    assert status == 200 and document["object"] == "list"
    return {row["id"]: row for row in document["data"]}


def test_a_row_tells_what_v0_knows_and_no_more(ask):
    assert rows(ask, "newest")[CHAT] == {
        "id": CHAT,
        "object": "model",
        "type": "llm",
        "publisher": "qwen",
        "arch": "qwen3",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "loaded",
        "max_context_length": 40960,
        "loaded_context_length": 8192,
        "capabilities": ["tool_use"],
    }


def test_types_are_those_of_v0(ask):
    assert {row["type"] for row in rows(ask, "newest").values()} == {"llm", "vlm", "embeddings"}


def test_what_is_not_loaded_has_no_context(ask):
    row = rows(ask, "newest")[LARGE]
    assert row["state"] == "not-loaded" and "loaded_context_length" not in row


def test_0_3_serves_v0_alone(ask):
    assert ask("0.3", V1) == (200, UNEXPECTED)
    assert rows(ask, "0.3") == rows(ask, "newest")


def test_older_ones_tell_less(ask):
    told = rows(ask, "0.3")[CHAT]
    assert rows(ask, "0.3.15")[CHAT] == {key: value for key, value in told.items() if key not in ("loaded_context_length", "capabilities")}


def test_without_just_in_time_loading_only_what_is_loaded_is_listed(ask):
    assert set(rows(ask, "only_loaded")) == {CHAT, "text-embedding-harbor-v2"}
    assert ask("only_loaded", f"{V0}/{LARGE}").status == 404


def test_a_server_may_have_no_v0(ask):
    assert ask("only_v1", V0) == (200, {"error": f"Unexpected endpoint or method. (GET {V0})"})
    assert ask("only_v1", V1).status == 200


@pytest.mark.parametrize("path", [f"{V0}/{CHAT}", f"{V0}/qwen%2Fqwen3-8b"])
def test_one_model_alone(ask, path):
    assert ask("newest", path) == (200, rows(ask, "newest")[CHAT])


def test_a_held_load_is_listed_and_loads_until_it_is_released(ask, simulator):
    simulator.load("held", CHAT, context_length=8192, held=True)
    (entry,) = [entry for entry in ask("held", V1).document["models"] if entry["loaded_instances"]]
    assert entry["loaded_instances"][0] == {"id": CHAT, "config": {"context_length": 8192, "parallel": 4}}
    assert rows(ask, "held")[CHAT]["state"] == "loading" and "loaded_context_length" not in rows(ask, "held")[CHAT]
    # A second one that is ready does not hide it.
    simulator.load("held", CHAT)
    assert rows(ask, "held")[CHAT]["state"] == "loading"
    simulator.release("held", CHAT)
    assert (rows(ask, "held")[CHAT]["state"], rows(ask, "held")[CHAT]["loaded_context_length"]) == ("loaded", 8192)


def test_a_load_ends_by_itself(ask, simulator):
    assert simulator.load("timed", CHAT, seconds=0.2)["loading"] == [CHAT]
    until("the end of the load", lambda: rows(ask, "timed")[CHAT]["state"] != "loading")
    assert rows(ask, "timed")[CHAT]["state"] == "loaded"


def test_one_error_as_a_load_begins(ask, simulator):
    assert ask("flaky", V0).status == 200
    simulator.load("flaky", LARGE, held=True)
    status, page = ask("flaky", V0)
    assert status == 500 and page.startswith("<!DOCTYPE html>")
    assert ask("flaky", V1).status == 200
    assert rows(ask, "flaky")[LARGE]["state"] == "loading"


def test_a_prefix_and_a_token_count_here_too(ask):
    assert ask("prefixed", "/lm" + V0).status == 401
    assert ask("prefixed", "/lm" + V0, token="sk-lm-of-prefixed").status == 200


def test_requests_are_noted_in_their_order(ask, simulator):
    before = len(simulator.requests("only_v1"))
    ask("only_v1", V0)
    ask("only_v1", V1, {"model": CHAT})
    noted = simulator.requests("only_v1")[before:]
    assert [(one["method"], one["path"], one.get("body")) for one in noted] == [("GET", V0, None), ("POST", V1, {"model": CHAT})]
