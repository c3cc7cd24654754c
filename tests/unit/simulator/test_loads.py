# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What loads and unloads do, with the habits of the real server."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.tests.patience import until

V1, LOAD, UNLOAD = "/api/v1/models", "/api/v1/models/load", "/api/v1/models/unload"
CHAT, LARGE, EMBEDDING = "qwen/qwen3-8b", "openai/gpt-oss-20b", "text-embedding-harbor-v2"
DEVSTRAL = "mistral/devstral-24b"
FRESH = {"payload": "none_loaded.json"}
HOSTS = {
    "fresh": FRESH,
    "twice": FRESH,
    "settings": FRESH,
    "mac": {"payload": "mac.json"},
    "fit": {**FRESH, "loads": {"context_at_most": 6000, "unreported": ["flash_attention"]}},
    "larger": {**FRESH, "loads": {"context_always": 40192}},
    "closed": {**FRESH, "loads": {"accepts": []}},
    "small": {**FRESH, "loads": {"memory": 17_200_000_000}},
    "crashing": {**FRESH, "loads": {"fails": {LARGE: "crash"}}},
    "refusing": {**FRESH, "loads": {"fails": {"*": "memory"}}},
    "changing": {**FRESH, "loads": {"accepts": []}},
    "replaced": {**FRESH, "loads": {"fails": {"*": "memory"}}},
    "held": {**FRESH, "loads": {"held": True}, "v0_error": True},
    "timed": {**FRESH, "loads": {"seconds": 0.2}},
    "surviving": {**FRESH, "loads": {"held": True}},
    "following": {**FRESH, "loads": {"held": True, "survives": False}},
    "cut": {**FRESH, "loads": {"held": True}},
    "restarted": {**FRESH, "loads": {"held": True}},
    "busy": {**FRESH, "chats": {"held": True}},
    "answering": {**FRESH, "chats": {"held": True}},
    "lazy": FRESH,
    "strict": {**FRESH, "just_in_time": False},
    "guarded": {**FRESH, "token": "sk-lm-0123456789", "denied": ["load", "unload"]},
    "0.3": {"version": "0.3"},
}


@pytest.fixture
def instances(ask):
    """The ids of what is listed as loaded, with their configurations."""

    def listed(host):
        models = ask(host, V1).document["models"]
        return {one["id"]: one["config"] for entry in models for one in entry["loaded_instances"]}

    return listed


def error_of(answer):
    return answer.status, answer.document["error"]["type"], answer.document["error"].get("code")


def test_a_load_is_told_at_its_end(ask, instances):
    status, told = ask("fresh", LOAD, {"model": CHAT})
    assert status == 200 and told.pop("load_time_seconds") >= 0
    assert told == {"type": "llm", "instance_id": CHAT, "status": "loaded"}
    assert instances("fresh")[CHAT]["context_length"] == 4096
    assert ask("fresh", UNLOAD, {"instance_id": CHAT}) == (200, {"instance_id": CHAT})
    assert instances("fresh") == {}


def test_a_second_load_makes_a_second_instance(ask, instances):
    ids = [ask("twice", LOAD, {"model": CHAT}).document["instance_id"] for _number in range(3)]
    assert ids == [CHAT, f"{CHAT}:2", f"{CHAT}:3"] == list(instances("twice"))
    ask("twice", UNLOAD, {"instance_id": CHAT})
    assert ask("twice", LOAD, {"model": CHAT}).document["instance_id"] == CHAT


def test_the_settings_count_and_are_echoed(ask, instances):
    wanted = {"context_length": 8192, "eval_batch_size": 256, "flash_attention": False, "parallel": 2}
    told = ask("settings", LOAD, {"model": CHAT, "echo_load_config": True, **wanted}).document
    assert told["load_config"] == instances("settings")[CHAT] == {**told["load_config"], **wanted}


def test_mlx_ignores_the_context(ask, instances):
    told = ask("mac", LOAD, {"model": DEVSTRAL, "context_length": 8192, "flash_attention": True, "echo_load_config": True}).document
    assert told["load_config"] == {"context_length": 131072, "parallel": 4, "reasoning_budget_message": ""} == instances("mac")[DEVSTRAL]


def test_an_embedding_has_nothing_but_its_context(ask, instances):
    ask("settings", LOAD, {"model": EMBEDDING, "flash_attention": True})
    assert instances("settings")[EMBEDDING] == {"context_length": 2048}


def test_auto_fit_lowers_the_context_and_a_setting_is_left_out_of_the_list(ask, instances):
    told = ask("fit", LOAD, {"model": CHAT, "context_length": 8192, "flash_attention": True, "echo_load_config": True}).document
    assert told["load_config"]["context_length"] == instances("fit")[CHAT]["context_length"] == 6000
    assert told["load_config"]["flash_attention"] is True and "flash_attention" not in instances("fit")[CHAT]


def test_a_context_may_be_larger(ask, instances):
    ask("larger", LOAD, {"model": CHAT, "context_length": 40000})
    assert instances("larger")[CHAT]["context_length"] == 40192


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (LOAD, {"model": "nothing", "ttl": 60}, "unrecognized_keys"),
        (LOAD, {"model": "nothing", "identifier": "chat"}, "unrecognized_keys"),
        (LOAD, {"model": CHAT, "parallel": 2}, "unrecognized_keys"),
        (LOAD, {}, "missing_required_parameter"),
        (UNLOAD, {}, "missing_required_parameter"),
        (UNLOAD, {"model": CHAT}, "unrecognized_keys"),
        (LOAD, {"model": CHAT, "context_length": "8192"}, "invalid_type"),
        (LOAD, {"model": CHAT, "context_length": True}, "invalid_type"),
        (LOAD, {"model": CHAT, "context_length": 0}, "too_small"),
        (LOAD, {"model": CHAT, "flash_attention": 1}, "invalid_type"),
        (LOAD, "{", "invalid_json"),
        (LOAD, [CHAT], "invalid_type"),
    ],
)
def test_the_request_is_closed(ask, instances, path, body, code):
    assert error_of(ask("closed", path, body)) == (400, "invalid_request", code)
    assert instances("closed") == {}


@pytest.mark.parametrize("model", ["nothing", f"{CHAT}@q4_k_m"])
def test_an_unknown_model_and_a_variant_are_not_found(ask, model):
    answer = ask("closed", LOAD, {"model": model})
    assert error_of(answer) == (404, "model_not_found", None)
    assert answer.document["error"]["message"] == f"Model {model} not found in downloaded models"


def test_an_unload_of_what_is_not_there(ask):
    answer = ask("closed", UNLOAD, {"instance_id": "x"})
    assert error_of(answer) == (404, "model_not_found", None)
    assert answer.document["error"]["message"] == "Model with instance identifier 'x' is not loaded."


def test_memory_is_used_up_by_what_is_loaded(ask, instances):
    assert ask("small", LOAD, {"model": LARGE}).status == 200
    assert ask("small", LOAD, {"model": CHAT}).status == 200
    answer = ask("small", LOAD, {"model": EMBEDDING})
    assert error_of(answer) == (500, "model_load_failed", None)
    assert "insufficient system resources" in answer.document["error"]["message"]
    assert "requires approximately 0.15 GB of memory" in answer.document["error"]["message"]
    ask("small", UNLOAD, {"instance_id": CHAT})
    assert ask("small", LOAD, {"model": EMBEDDING}).status == 200


def test_memory_may_be_too_little_whatever_there_is(ask):
    assert error_of(ask("refusing", LOAD, {"model": CHAT})) == (500, "model_load_failed", None)


def test_a_crash_of_the_engine_leaves_nothing(ask, instances):
    for _again in range(2):
        answer = ask("crashing", LOAD, {"model": LARGE})
        assert error_of(answer) == (500, "model_load_failed", None)
        assert "insufficient" not in answer.document["error"]["message"]
    assert instances("crashing") == {}
    assert ask("crashing", LOAD, {"model": CHAT}).status == 200


def test_a_load_is_listed_from_its_beginning(ask, ask_later, instances, simulator):
    answer = ask_later("held", LOAD, {"model": CHAT})
    simulator.wait_for("held", LOAD)
    assert list(instances("held")) == [CHAT] == simulator.state("held")["loading"]
    assert ask("held", "/api/v0/models").status == 500
    assert ask("held", f"/api/v0/models/{CHAT}").document["state"] == "loading"
    assert not answer.done()
    simulator.release("held", CHAT)
    assert answer.result().status == 200 and simulator.state("held")["loading"] == []
    assert ask("held", f"/api/v0/models/{CHAT}").document["state"] == "loaded"


def test_a_load_takes_its_time(ask):
    assert ask("timed", LOAD, {"model": CHAT}).document["load_time_seconds"] >= 0.2


def test_a_load_goes_on_when_the_client_is_gone(leave, simulator, instances):
    leave("surviving", LOAD, {"model": CHAT})
    assert simulator.state("surviving")["loading"] == [CHAT]
    simulator.release("surviving")
    assert list(instances("surviving")) == [CHAT]


def test_or_it_ends_with_the_client(leave, instances):
    leave("following", LOAD, {"model": CHAT})
    until("the end of the load", lambda: not instances("following"))


def test_an_unload_ends_a_load(ask, ask_later, simulator, instances):
    answer = ask_later("cut", LOAD, {"model": CHAT})
    simulator.wait_for("cut", LOAD)
    assert ask("cut", UNLOAD, {"instance_id": CHAT}).status == 200
    assert error_of(answer.result()) == (500, "model_load_failed", None) and instances("cut") == {}


def test_a_restart_breaks_what_is_under_way(ask, ask_later, simulator, instances):
    answer = ask_later("restarted", LOAD, {"model": CHAT})
    simulator.wait_for("restarted", LOAD)
    simulator.fault("restarted", {"name": "restart", "at": 1})
    with pytest.raises(ConnectionError):
        ask("restarted", V1)
    with pytest.raises(ConnectionError):
        answer.result()
    assert instances("restarted") == {}


def test_an_unload_cuts_off_who_is_being_answered(ask, ask_later, simulator):
    ask("busy", LOAD, {"model": CHAT})
    answers = [ask_later("busy", "/v1/chat/completions", {"model": CHAT, "messages": []}) for _number in range(2)]
    simulator.wait_for("busy", "/v1/chat/completions", count=2)
    ask("busy", UNLOAD, {"instance_id": CHAT})
    for answer in answers:
        with pytest.raises(ConnectionError):
            answer.result()


def test_a_chat_that_is_not_cut_off_is_answered(ask, ask_later, simulator):
    ask("answering", LOAD, {"model": LARGE})
    answer = ask_later("answering", "/v1/chat/completions", {"model": LARGE, "messages": []})
    simulator.wait_for("answering", "/v1/chat/completions")
    simulator.release("answering")
    assert answer.result().document["model"] == LARGE


def test_a_request_loads_what_it_names_and_the_one_before_goes(ask, simulator):
    def expiring():
        """The ids of what is loaded, and whether it goes after an hour, of which some seconds may have passed."""
        models = ask("lazy", V1).document["models"]
        left = {one["id"]: one.get("remaining_ttl_seconds") for entry in models for one in entry["loaded_instances"]}
        return {name: seconds is not None and 3500 < seconds <= 3600 for name, seconds in left.items()}

    ask("lazy", LOAD, {"model": EMBEDDING})
    ask("lazy", "/v1/chat/completions", {"model": CHAT})
    assert expiring() == {EMBEDDING: False, CHAT: True}
    ask("lazy", "/v1/chat/completions", {"model": LARGE})
    assert expiring() == {EMBEDDING: False, LARGE: True}
    assert ask("lazy", "/v1/chat/completions", {"model": "nothing"}).status == 400


def test_without_just_in_time_loading_a_request_loads_nothing(ask, instances):
    assert ask("strict", "/v1/chat/completions", {"model": CHAT}).status == 400
    assert instances("strict") == {}


def test_a_token_may_read_and_no_more(ask, simulator):
    token = "sk-lm-0123456789"
    assert ask("guarded", V1, token=token).status == 200
    for path, body in ((LOAD, {"model": CHAT}), (UNLOAD, {"instance_id": CHAT})):
        assert ask("guarded", path, body, token=token).status == 403
        assert ask("guarded", path, body).status == 401
    assert ask("guarded", "/api/v1/models/download", {"model": CHAT}, token=token).status == 200


def test_what_is_not_there_is_404_below_v1_and_200_elsewhere(ask):
    unexpected = {"error": "Unexpected endpoint or method. (POST /api/v1/models/delete)"}
    assert ask("closed", "/api/v1/models/delete", {}) == (404, unexpected)
    assert ask("closed", "/v1/models/load", {}).status == 200
    assert ask("0.3", LOAD, {"model": CHAT}) == (200, {"error": f"Unexpected endpoint or method. (POST {LOAD})"})


def test_settings_change_while_it_runs(ask, simulator):
    simulator.change("changing", loads={"fails": {CHAT: "crash"}}, version="0.4.25")
    assert ask("changing", LOAD, {"model": CHAT}).status == 500
    simulator.change("changing", loads={"fails": {}})
    assert ask("changing", LOAD, {"model": CHAT}).status == 200
    # What was set before is still there.
    assert ask("changing", LOAD, {"model": CHAT, "parallel": 2}).status == 400


def test_a_payload_is_a_new_beginning(ask, instances, simulator):
    ask("replaced", V1)
    simulator.change("replaced", payload="two_loaded.json", loads={"fails": {}})
    assert len(instances("replaced")) == 3
    simulator.change(
        "replaced", payload={"models": [{"type": "llm", "key": "a", "loaded_instances": [{"id": "b", "config": {"context_length": 1}}]}]}
    )
    assert instances("replaced") == {"b": {"context_length": 1}}
