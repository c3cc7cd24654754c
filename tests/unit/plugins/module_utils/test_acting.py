# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done for a state when all goes well, and when anything goes wrong at any request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state import acting
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.api_requests import Download
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.client import Client
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.downloading import describe
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import REASONS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.plan import Plan, make_plan
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import warnings_of
from ansible_collections.gpufleet.lmstudio.tests.clockwork import ENDPOINT, ClockworkServer, error, parse_options

DOCS = Path(__file__).parents[4] / "docs"
FAULTS = (
    "dropped",
    "answer_lost",
    "gives_up_early",
    "gateway_error",
    "redirects",
    "refused",
    "silent",
    "restarts",
    "crashes",
    "html_error",
    "forbidden",
)


def model(key, *instances, **fields):
    return {"type": "llm", "key": key, "max_context_length": 32768, "loaded_instances": list(instances), **fields}


def instance(instance_id, context_length=4096, ttl=None, **config):
    return {"id": instance_id, "config": {"context_length": context_length, **config}, "remaining_ttl_seconds": ttl}


EIGHT = {"context_length": 8192}
QWEN = model("qwen")
GEMMA = model("gemma", instance("gemma"))
SCENARIOS = {
    "load": ([QWEN], {}),
    "reload": ([model("qwen", instance("qwen", parallel=2))], {"config": EIGHT}),
    "reload two of three": (
        [model("qwen", instance("qwen"), instance("qwen:2", 8192), instance("qwen:3"))],
        {"config": EIGHT},
    ),
    "pin": ([model("qwen", instance("qwen", ttl=600))], {}),
    "remove duplicates": ([model("qwen", instance("qwen"), instance("qwen:2"), instance("qwen:3"))], {"duplicates": "remove"}),
    "make room": ([QWEN, GEMMA, model("nomic", instance("nomic"))], {"exclusive": True}),
    "unload": ([model("qwen", instance("qwen"), instance("qwen:2")), GEMMA], {"state": "unloaded"}),
    "unload one": ([model("qwen", instance("qwen"), instance("qwen:2"))], {"state": "unloaded", "name": "qwen:2"}),
    "download": ([GEMMA], {"state": "downloaded"}),
    "download and load": ([GEMMA], {"download": True, "exclusive": True, "config": EIGHT}),
    "nothing": ([model("qwen", instance("qwen"))], {}),
}


def scenario(name, **settings):
    models, options = SCENARIOS[name]
    server = ClockworkServer(models, **settings)
    server.catalogue["qwen"] = 50e6
    options = dict(options)
    return server, parse_options(options.pop("name", "qwen"), **options)


def requests_of(name):
    server, wanted = scenario(name)
    server.run(wanted)
    return len(server.requests)


def actions_of(result):
    return [(action["action"], action["instance"] if action["action"] == "unload" else action["model"]) for action in result["actions"]]


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_check_mode_tells_is_done_and_a_second_run_sends_nothing(name):
    server, wanted = scenario(name)
    told = server.run(wanted, check_mode=True)
    assert server.posts() == [] and "failed" not in told
    result = server.run(wanted)
    assert "failed" not in result, result["msg"]
    assert actions_of(told) == actions_of(result)
    assert told["changed"] == result["changed"] == (name != "nothing")
    if name != "nothing":
        assert told["diff"]["after"]["instances"].keys() == result["diff"]["after"]["instances"].keys()
    sent = len(server.posts())
    again = server.run(wanted)
    assert len(server.posts()) == sent
    assert again["changed"] is False and again["actions"] == [] and again["diff"]["before"] == again["diff"]["after"]
    assert make_plan(server.record(), wanted).actions == ()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_goes_wrong_nothing_is_done_twice_and_a_second_run_gets_there(name, fault):
    for number in range(requests_of(name)):
        for has_v0 in (True, False):
            go_wrong(name, fault, number, has_v0)


STATUSES = ("refused", "disconnected", "timeout", "http_error", "not_lmstudio", "forbidden", "unavailable", "redirect")


def go_wrong(name, fault, number, has_v0):
    """One fault at one request."""
    server, wanted = scenario(name, has_v0=has_v0)
    before = server.record()
    plan = make_plan(before, wanted)
    planned = [action.instance for action in plan.actions if action.action == "unload"]
    server.faults[number] = getattr(server, fault)
    result = server.run(wanted)

    # Nothing is loaded twice, and nothing is unloaded that was not planned.
    of_model = sum(instance["model"] == "qwen" for instance in before["instances"])
    most = max(of_model, sum(action.action == "load" for action in plan.actions))
    assert server.most_instances.get("qwen", 0) <= most
    assert set(server.unloaded) <= set(planned)
    unclear = server.requests[number][0].endswith("/load") and fault not in ("refused", "crashes", "forbidden")
    if unclear and "failed" in result:
        assert not any(path.endswith("/load") for path, _body in server.requests[number + 1 :])

    # What is told is true.
    tell_the_truth(server, result, before, number, fault)
    if "failed" in result:
        shown = json.dumps(result)
        assert result["reason"] in REASONS or result["reason"] in STATUSES
        assert result["msg"] and "sk-lm" not in shown and "\\u001b" not in shown
    else:
        assert make_plan(server.record(), wanted).actions == ()
    if result.get("restored"):
        assert sum(instance["model"] == "qwen" for instance in server.record()["instances"]) == of_model

    # A second run gets there, and a third one does nothing.
    server.faults.clear()
    server.pass_time(60)
    second = server.run(wanted)
    assert "failed" not in second, second["msg"]
    after = server.record()
    assert make_plan(after, wanted).actions == ()
    assert sum(instance["model"] == "qwen" for instance in after["instances"]) <= most
    sent = len(server.posts())
    assert server.run(wanted)["changed"] is False and len(server.posts()) == sent


def tell_the_truth(server, result, before, number, fault):
    """What differs from before has changed, unless it was a restart that this task has nothing to do with."""
    restarted = fault == "restarts" and server.requests[number][1] is None
    assert result["changed"] or restarted or server.record()["fingerprint"] == before["fingerprint"]
    assert result["changed"] or not result["actions"]
    if not result["changed"]:
        assert not server.jobs and (restarted or (server.loads == 0 and not server.unloaded))


@pytest.mark.parametrize("then", ["forbidden", "refused", "html_error", "answer_lost"])
@pytest.mark.parametrize("fault", ["answer_lost", "gives_up_early", "restarts", "silent", "answer"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_an_outage_hides_is_told_as_changed(name, fault, then):
    for number in range(requests_of(name)):
        for length in (1, 1000):
            server, wanted = scenario(name)
            before = server.record()
            fault_itself = getattr(server, fault)

            def goes_out(request, server=server, fault_itself=fault_itself, length=length):
                sent = len(server.requests)
                try:
                    return fault_itself(request)
                finally:
                    server.faults.update(dict.fromkeys(range(sent, sent + length), getattr(server, then)))

            server.faults[number] = goes_out
            result = server.run(wanted)
            tell_the_truth(server, result, before, number, fault)
            # Nothing is asked after all went well.
            assert "failed" in result or length == 1 or number == requests_of(name) - 1


def test_a_load_that_takes_longer_than_its_deadline_is_waited_for_by_the_list_and_not_sent_again():
    server = ClockworkServer([QWEN], seconds_to_load=700)
    result = server.run(parse_options("qwen", load_timeout=600))
    assert result["reason"] == "load_unconfirmed" and result["changed"] is True
    assert "after load_timeout it is still loading. Nothing is loaded again" in result["msg"]
    assert "run the task again with confirm_loaded: true" in result["msg"] and "Raise load_timeout" in result["msg"]
    assert server.loads == 1


def test_a_load_whose_answer_a_proxy_cuts_off_is_confirmed_by_the_older_list():
    server = ClockworkServer([QWEN], seconds_to_load=300)
    server.faults[1] = server.gives_up_early
    result = server.run(parse_options("qwen"))
    assert "failed" not in result and result["instance"] == "qwen" and server.loads == 1
    assert server.now >= 300


def test_a_load_that_was_listed_and_is_gone_has_failed():
    server = ClockworkServer([QWEN], seconds_to_load=300)
    server.faults[1] = server.gives_up_early

    def crash(request):
        if server.now > 50:
            server.models[0]["loaded_instances"] = []

    server.hooks.append(crash)
    result = server.run(parse_options("qwen"))
    assert result["reason"] == "load_failed" and "is gone" in result["msg"] and server.now < 100


def test_without_the_older_list_a_load_whose_answer_is_missing_stays_unconfirmed():
    server = ClockworkServer([QWEN], seconds_to_load=30, has_v0=False)
    server.faults[1] = server.gives_up_early
    result = server.run(parse_options("qwen"))
    assert (
        result["reason"] == "load_unconfirmed"
        and "it is not known whether it is loaded: this LM Studio has no /api/v0/models" in result["msg"]
    )
    assert server.loads == 1


GATEWAYS = [
    *(Response(status, b"wait", content_type="text/plain") for status in (408, 424, 425, 429, 460, 499)),
    *(Response(status, location="http://gpu01:1234/login") for status in (302, 303, 307)),
    error(429, "rate_limit_error", "Too many requests"),
    error(500, "timeout_error", "upstream request timed out"),
    error(500, "model_not_found", "upstream has no such model"),
    error(502, "server_error", "upstream closed the connection"),
]

SILENCE = "silence"


@pytest.mark.parametrize("answer", GATEWAYS, ids=lambda answer: f"{answer.http_status} {answer.body[:30]}")
@pytest.mark.parametrize("route", ["/load", "/unload", "/download"])
def test_a_proxy_that_waits_no_longer_or_redirects_says_nothing_about_what_was_requested(route, answer):
    server, wanted = scenario("download" if route == "/download" else "reload")

    def waits_no_longer(request):
        if request.path.endswith(route):
            server.hooks.clear()
            server.gives_up_early(request)
            server.faults[len(server.requests) - 1] = lambda request: answer

    server.hooks.append(waits_no_longer)
    result = server.run(wanted)
    assert "failed" not in result and "restored" not in result, result["msg"]
    assert server.loads == (0 if route == "/download" else 1) and server.unloaded in ([], ["qwen"]) and len(server.jobs) <= 1


@pytest.mark.parametrize("answer", [*GATEWAYS, Response(200, b"{}"), SILENCE], ids=str)
@pytest.mark.parametrize("name, route", [("load", "load"), ("unload one", "unload"), ("download", "download")])
def test_what_is_unclear_is_not_said_not_to_be_done(name, route, answer):
    server, wanted = scenario(name)

    def keep_silent(request):
        if request.path.endswith("/" + route):
            server.faults[len(server.requests) - 1] = server.silent if answer == SILENCE else lambda request: answer

    server.hooks.append(keep_silent)
    result = server.run(wanted)
    assert result["failed"] and result["changed"] is True and "was not" not in result["msg"]
    assert f"it is not known whether {'qwen:2' if route == 'unload' else 'qwen'} was {route}ed: http://gpu01:1234 " in result["msg"]
    assert len(server.posts()) == (3 if route == "download" else 1)


@pytest.mark.parametrize("answer", [error(500, "model_load_failed", "Crashed"), error(500, "not_implemented", "No quantization")])
def test_an_error_that_lm_studio_has_for_another_request_is_unclear(answer):
    server, wanted = scenario("unload one")
    server.faults[1] = lambda request: answer
    result = server.run(wanted)
    assert result["reason"] == "still_loaded" and result["changed"] is True and result["actions"] == []
    assert "http://gpu01:1234 answered HTTP 500 and says" in result["msg"]


def test_a_gateway_that_waits_no_longer_is_quoted_where_the_load_stays_unclear():
    server, wanted = scenario("reload")
    server.refusal = lambda body: error(500, "timeout_error", "upstream request timed out")
    result = server.run(wanted)
    assert result["reason"] == "load_unconfirmed" and result["restored"] is False and server.loads == 0
    assert "answered HTTP 500 and says 'upstream request timed out'. After load_timeout it is not listed" in result["msg"]
    assert len(server.posts()) == 2


def test_what_somebody_else_has_unloaded_is_done_already_and_not_by_this_task():
    server, wanted = scenario("unload one")

    def somebody(request):
        if request.path.endswith("/unload"):
            server.models[0]["loaded_instances"].pop()
            server.hooks.clear()

    server.hooks.append(somebody)
    result = server.run(wanted)
    assert "failed" not in result and result["actions"] == [] and result["changed"] is False


@pytest.mark.parametrize("options", [{"state": "unloaded"}, {"duplicates": "remove"}])
def test_what_somebody_else_unloads_of_several_is_done_already(options):
    server = ClockworkServer([model("qwen", instance("qwen", 8192), instance("qwen:2"), instance("qwen:3"))])

    def unload_another(request):
        if request.path.endswith("/unload"):
            server.hooks.clear()
            server.models[0]["loaded_instances"].pop()

    server.hooks.append(unload_another)
    result = server.run(parse_options("qwen", **options))
    assert "failed" not in result, result["msg"]


@pytest.mark.parametrize("options", [{"duplicates": "remove"}, {"exclusive": True}])
def test_where_somebody_else_unloads_what_is_to_be_kept_the_rest_is_not_unloaded_too(options):
    if "exclusive" in options:
        models = [model("qwen", instance("qwen")), GEMMA, model("nomic", instance("nomic"))]
    else:
        models = [model("qwen", instance("qwen"), instance("qwen:2"), instance("qwen:3"))]
    server = ClockworkServer(models)

    def unload_the_one_to_keep(request):
        if request.path.endswith("/unload"):
            server.hooks.clear()
            server.models[0]["loaded_instances"].pop(0)

    server.hooks.append(unload_the_one_to_keep)
    result = server.run(parse_options("qwen", **options))
    assert result["reason"] == "changed_meanwhile" and len(server.posts()) == 1
    assert [each["id"] for each in server.record()["instances"]] == ["nomic" if "exclusive" in options else "qwen:3"]


def test_what_somebody_else_has_unloaded_is_no_change_in_an_outage_either():
    server, wanted = scenario("unload one")

    def somebody(request):
        server.models[0]["loaded_instances"].pop()
        return server.answer(request)

    server.faults.update({1: somebody, **dict.fromkeys(range(2, 200), server.refused)})
    result = server.run(wanted)
    assert result["reason"] == "refused" and result["changed"] is False and result["actions"] == []


def test_nothing_is_loaded_where_an_unload_has_made_no_room():
    server, wanted = scenario("make room")
    server.faults[1] = lambda request: Response(200, request.body)
    result = server.run(wanted)
    assert result["reason"] == "still_loaded" and server.loads == 0 and server.unloaded == []
    assert actions_of(result) == [("unload", "gemma")] and "gemma was to be unloaded, but is listed as loaded." in result["msg"]


SAYS_NO = Response(200, json.dumps({"error": {"type": "busy", "message": "Not now"}}).encode())
SAYS_NO_AND_YES = Response(200, json.dumps({"error": {"type": "busy", "message": "Not now"}, "instance_id": "qwen:2"}).encode())
SAYS_NOTHING = Response(200, b"{}")
SAYS_ANOTHER = Response(200, b'{"instance_id": "qwen", "status": "loaded"}')
NO_ANSWERS = pytest.mark.parametrize(
    "answer, words",
    [
        (SAYS_NO, "sent an error with HTTP 200 and says 'Not now'"),
        (SAYS_NO_AND_YES, "sent an error with HTTP 200 and says 'Not now'"),
        (SAYS_NOTHING, "did not confirm that the "),
        (SAYS_ANOTHER, ""),
    ],
    ids=["error", "error and id", "nothing", "another"],
)


@NO_ANSWERS
@pytest.mark.parametrize("is_done", [False, True])
def test_an_answer_that_does_not_confirm_an_unload_does_not_count(answer, words, is_done):
    server, wanted = scenario("unload one")
    server.faults[1] = lambda request: (server.answer(request), answer)[1] if is_done else answer
    result = server.run(wanted)
    assert result["changed"] is True
    if is_done:
        assert "failed" not in result and actions_of(result) == [("unload", "qwen:2")]
    else:
        assert result["reason"] == "still_loaded" and result["actions"] == [] and "Already done" not in result["msg"]
        assert "qwen:2 was to be unloaded, but is listed as loaded" in result["msg"] and words in result["msg"]


@NO_ANSWERS
@pytest.mark.parametrize("is_done", [False, True])
def test_an_answer_that_does_not_confirm_a_load_does_not_count(answer, words, is_done):
    server = ClockworkServer([model("qwen", instance("qwen", 8192), instance("qwen:2"))])

    def fault(request):
        if request.path.endswith("/load"):
            if is_done:
                server.answer(request)
            server.faults[len(server.requests) - 1] = lambda request: answer

    server.hooks.append(fault)
    result = server.run(parse_options("qwen", config=EIGHT))
    assert [path for path, _body in server.posts()] == ["/api/v1/models/unload", "/api/v1/models/load"]
    assert bool(result.get("failed")) is not is_done
    assert is_done or (result["reason"] == "load_unconfirmed" and result["restored"] is False and words in result["msg"])
    assert is_done or answer is not SAYS_ANOTHER or "named an instance that existed before, qwen. After load_timeout" in result["msg"]


def test_a_client_that_loads_it_again_before_the_list_is_read_is_noticed_and_the_unload_is_told():
    server, wanted = scenario("unload one")

    def client(request):
        answer = server.answer(request)
        server.models[0]["loaded_instances"].append(instance("qwen:2", ttl=3600))
        return answer

    server.faults[1] = client
    result = server.run(wanted)
    assert result["reason"] == "still_loaded" and actions_of(result) == [("unload", "qwen:2")] and result["changed"] is True


def test_an_instance_that_is_listed_and_not_known_is_not_unloaded():
    server = ClockworkServer([model("qwen", instance("a\x1bb"))])
    result = server.run(parse_options("qwen", state="unloaded"))
    assert result["reason"] == "still_loaded" and result["changed"] is False and result["actions"] == []
    assert "a\ufffdb was to be unloaded, but is listed as loaded (a\ufffdb was not unloaded: LM Studio says " in result["msg"]
    assert "Unload it in LM Studio" in result["msg"]


def test_what_is_downloaded_already_and_not_listed_is_no_change():
    server = ClockworkServer([GEMMA])
    server.faults[1] = lambda request: Response(200, b'{"status": "already_downloaded"}')
    result = server.run(parse_options("qwen", state="downloaded"))
    assert result["reason"] == "download_failed" and result["changed"] is False and result["actions"] == []


def test_the_diff_shows_a_variant_that_was_downloaded():
    server = ClockworkServer([GEMMA])
    server.catalogue["qwen@4bit"] = 1e6
    # LM Studio lists it under its key.
    server.hooks.append(lambda request: server.models[1:] and server.models[1].update(key="qwen", variants=["qwen@4bit"]))
    wanted = parse_options("qwen@4bit", state="downloaded")
    told = server.run(wanted, check_mode=True)
    result = server.run(wanted)
    assert "failed" not in result and result["changed"] is True
    assert told["diff"] == result["diff"] and [result["diff"][side]["downloaded"] for side in ("before", "after")] == [False, True]


def test_what_is_loaded_during_a_download_is_not_unloaded():
    server, wanted = scenario("download and load")

    def somebody(request):
        if "/status/" in request.path:
            server.models.append(model("other", instance("other")))
            server.hooks.clear()

    server.hooks.append(somebody)
    result = server.run(wanted)
    assert result["reason"] == "changed_meanwhile" and "other" in result["msg"]
    assert server.unloaded == [] and server.loads == 0


def test_only_the_newer_list_is_acted_on():
    assert Client(ENDPOINT._replace(api="auto"), fetch=None).endpoint.api == "v1"


MEMORY = "Model loading was stopped due to insufficient system resources. It requires approximately 76.69 GB of memory."


@pytest.mark.parametrize(
    "answer, reason, words",
    [
        (error(500, "model_load_failed", MEMORY), "insufficient_memory", "requires approximately 76.69 GB"),
        (error(500, "model_load_failed", "The engine has crashed"), "load_failed", "The engine has crashed"),
        (error(400, "unrecognized_keys", "Unrecognized key(s) in object: 'ttl'"), "option_unsupported", "'ttl'"),
        (error(400, "invalid_request", "context_length must be positive"), "request_rejected", "must be positive"),
        (error(404, "model_not_found", "No model"), "model_unknown", "No model"),
        (Response(403), "forbidden", "Give it permission to load"),
        (Response(404, b'{"error": "Unexpected endpoint or method. (POST /api/v1/models/load)"}'), "unsupported", "update it"),
        (Response(404, b"404 page not found"), "not_lmstudio", "A proxy in front of it may only let reads through"),
    ],
)
def test_why_a_load_fails_is_told_and_what_was_there_is_loaded_again(answer, reason, words):
    server, wanted = scenario("reload")
    server.refusal = lambda body: answer if body["context_length"] == 8192 else None
    result = server.run(wanted)
    assert result["reason"] == reason and words in result["msg"]
    assert result["restored"] is True and result["msg"].endswith("What was loaded before is loaded again.")
    assert actions_of(result) == [("unload", "qwen"), ("load", "qwen")] and result["changed"]
    assert server.posts()[-1] == ("/api/v1/models/load", {"model": "qwen", "context_length": 4096, "parallel": 2})
    assert server.loads == 1


def test_the_servers_own_words_about_memory_are_whole():
    words = (
        "Model loading was stopped due to insufficient system resources. Continuing to load the model would likely overload your system and "
        "cause it to freeze. This model requires approximately 76.69 GB of memory. If you believe this is a mistake, you can try to change "
        "the model loading guardrails in the settings, under Settings, App, Model loading guardrails."
    )
    server = ClockworkServer([QWEN])
    server.refusal = lambda body: error(500, "model_load_failed", words)
    assert 340 < len(words) < 400 and words in server.run(parse_options("qwen"))["msg"]


def test_when_nobody_answers_at_the_end_what_was_done_is_told():
    server, wanted = scenario("load")
    server.faults.update(dict.fromkeys(range(2, 200), server.refused))
    result = server.run(wanted)
    assert result["reason"] == "refused" and result["changed"] is True and actions_of(result) == [("load", "qwen")]
    assert result["msg"].startswith("what was done could not be checked: ") and "Already done: loaded qwen." in result["msg"]


def test_a_setting_that_the_server_reports_and_does_not_take_is_left_out_when_it_loads_again():
    server = ClockworkServer([model("qwen", instance("qwen", parallel=2, flash_attention=False, num_experts=0))])
    wanted = parse_options("qwen", config=EIGHT)
    server.refusal = lambda body: error(400, "unrecognized_keys", "no") if "parallel" in body or body["context_length"] == 8192 else None
    result = server.run(wanted)
    assert result["reason"] == "option_unsupported" and result["restored"] is True
    assert server.posts()[-1][1] == {"model": "qwen", "context_length": 4096, "flash_attention": False}


def test_of_all_settings_the_context_is_the_last_that_is_left_out_when_it_loads_again():
    server = ClockworkServer([model("qwen", instance("qwen", parallel=2, flash_attention=True))])
    server.refusal = lambda body: error(400, "unrecognized_keys", "no") if len(body) > 2 or body["context_length"] == 8192 else None
    assert server.run(parse_options("qwen", config=EIGHT))["restored"] is True
    assert server.posts()[-1][1] == {"model": "qwen", "context_length": 4096}


@pytest.mark.parametrize("name, other", [("qwen", "qwen:2"), ("qwen:2", "qwen")])
def test_an_instance_is_loaded_again_with_its_own_settings(name, other):
    server = ClockworkServer([model("qwen", instance(other, 8192, parallel=4), instance(name, parallel=2))])
    server.refusal = lambda body: error(500, "model_load_failed", MEMORY) if body["context_length"] == 8192 else None
    result = server.run(parse_options("qwen", config=EIGHT))
    assert server.unloaded == [name] and result["restored"] is True
    assert server.posts()[-1][1] == {"model": "qwen", "context_length": 4096, "parallel": 2}


@pytest.mark.parametrize(
    "answer", [error(500, "model_load_failed", MEMORY), error(500, "model_load_failed", "The engine has crashed"), Response(403)]
)
def test_a_smaller_context_is_advised_where_memory_is_short_and_only_there(answer):
    server, wanted = scenario("make room")
    server.refusal = lambda body: answer
    result = server.run(wanted)
    assert ("smaller context" in result["msg"]) is (result["reason"] == "insufficient_memory"), result["msg"]


def test_each_action_tells_how_long_it_took():
    server, wanted = scenario("download and load")
    server.pass_time(1000)
    began = server.now
    result = server.run(wanted)
    taken = [action["seconds"] for action in result["actions"]]
    assert [action["action"] for action in result["actions"]] == ["download", "unload", "load"]
    assert taken[0] > 0 and taken[2] >= server.seconds_to_load and sum(taken) <= server.now - began


def test_what_cannot_be_loaded_again_is_told():
    server, wanted = scenario("reload")
    server.refusal = lambda body: error(500, "model_load_failed", MEMORY)
    result = server.run(wanted)
    assert result["restored"] is False and "was not loaded again" in result["msg"] and result["instance"] is None
    assert len([path for path, _body in server.posts() if path.endswith("/load")]) == 2


def test_that_it_is_not_known_whether_it_is_loaded_again_is_told():
    server, wanted = scenario("reload", has_v0=False)
    server.refusal = lambda body: error(500, "model_load_failed", MEMORY) if body["context_length"] == 8192 else None

    def lose_the_answer(request):
        if request.path.endswith("/load") and json.loads(request.body)["context_length"] == 4096:
            server.faults[len(server.requests) - 1] = server.gives_up_early

    server.hooks.append(lose_the_answer)
    result = server.run(wanted)
    assert result["reason"] == "insufficient_memory" and result["restored"] is False and server.loads == 1
    assert "was not loaded again" not in result["msg"]
    assert result["msg"].endswith("It is not known whether what was loaded before is loaded again.")


def test_what_was_loaded_again_and_is_gone_is_not_told_to_be_there():
    server, wanted = scenario("reload")
    server.refusal = lambda body: error(500, "model_load_failed", MEMORY) if body["context_length"] == 8192 else None

    def lose(request):
        if server.loads:
            server.models[0]["loaded_instances"].clear()

    server.hooks.append(lose)
    result = server.run(wanted)
    assert server.loads == 1 and result["lmstudio"]["loaded"] == [] and result["restored"] is False
    assert result["msg"].endswith(
        "Already done: unloaded qwen, loaded qwen. It is not known whether what was loaded before is loaded again."
    )


def test_what_may_be_loaded_again_may_be_all_that_has_changed():
    server, wanted = scenario("reload", has_v0=False)
    server.refusal = lambda body: error(500, "model_load_failed", MEMORY) if body["context_length"] == 8192 else None

    def somebody(request):
        if request.path.endswith("/unload"):
            server.models[0]["loaded_instances"].clear()
        elif request.path.endswith("/load") and json.loads(request.body)["context_length"] == 4096:
            server.faults[len(server.requests) - 1] = server.gives_up_early

    server.hooks.append(somebody)
    result = server.run(wanted)
    assert server.loads == 1 and server.unloaded == [] and result["actions"] == []
    assert result["reason"] == "insufficient_memory" and result["restored"] is False and result["changed"] is True


@pytest.mark.parametrize("given, compare, failed", [(131072, {}, False), (4096, {}, True), (4096, {"context_length": "ignore"}, False)])
def test_a_context_other_than_the_one_that_was_asked_for(given, compare, failed):
    server = ClockworkServer([QWEN])
    server.effective = lambda config: {"context_length": given}
    wanted = parse_options("qwen", config={**EIGHT, "flash_attention": True}, compare=compare)
    result = server.run(wanted)
    assert result["unverified"] == ["flash_attention"]
    assert result["requirement"] == {"model": "qwen", **({} if compare else {"min_context_length": 8192})}
    assert failed or result["msg"].endswith(" Not compared, because the server does not report it: flash_attention.")
    assert bool(result.get("failed")) == failed
    if failed:
        assert result["reason"] == "effective_config_differs" and "context_length 4096, at least 8192 is required" in result["msg"]
        assert [difference["actual"] for difference in result["differences"]] == [4096]
        return
    sent = len(server.posts())
    assert server.run(wanted)["changed"] is False and len(server.posts()) == sent


@pytest.mark.parametrize("seconds, has_v0, reason", [(300, True, None), (900, True, "load_unconfirmed"), (300, False, None)])
def test_what_is_listed_and_still_loading_is_waited_for_where_that_is_wanted(seconds, has_v0, reason):
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": seconds})], has_v0=has_v0)
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert result.get("reason") == reason and result["changed"] is False and server.posts() == []
    assert server.now >= min(seconds, 600) or not has_v0
    assert result["confirmed"] is (None if reason else has_v0)
    assert bool(warnings_of(result)) == (not has_v0)


def fault_of_older_list(server, fault, until=10**9):
    """What happens to each question to the older list."""

    def hook(request):
        if request.path == "/api/v0/models" and server.now < until:
            server.faults[len(server.requests) - 1] = fault

    server.hooks.append(hook)


@pytest.mark.parametrize(
    "fault, words, least, most",
    [
        ("forbidden", "/api/v0/models answered HTTP 403", 0, 1),
        ("unauthorized", "/api/v0/models answered HTTP 401", 0, 1),
        ("html_error", "/api/v0/models answered HTTP 500 with a web page", 600, 700),
    ],
)
@pytest.mark.parametrize("answer_is_missing", [False, True])
def test_that_it_is_still_loading_is_said_only_where_the_server_does(fault, words, least, most, answer_is_missing):
    server = ClockworkServer([model("qwen", *([] if answer_is_missing else [instance("qwen")]))])
    if answer_is_missing:
        server.faults[1] = server.answer_lost
        least, most = max(least, 40), most + 50
    fault_of_older_list(server, getattr(server, fault, lambda request: Response(401)))
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert result["reason"] == "load_unconfirmed" and words in result["msg"], result["msg"]
    assert "it is still loading" not in result["msg"]
    assert least <= server.now <= most and result["changed"] is answer_is_missing and result["confirmed"] is None


def test_an_error_of_the_older_list_that_passes_is_waited_for():
    server = ClockworkServer([model("qwen", instance("qwen"))])
    fault_of_older_list(server, server.html_error, until=30)
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert "failed" not in result and result["confirmed"] is True and 30 <= server.now < 60


@pytest.mark.parametrize("options", [{}, {"config": EIGHT}])
def test_check_mode_asks_once_whether_it_is_still_loading(options):
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": 300})])
    wanted = parse_options("qwen", confirm_loaded=True, **options)
    told = server.run(wanted, check_mode=True)
    assert told["reason"] == "load_unconfirmed" and "qwen is listed, but it is still loading. A run waits for it" in told["msg"]
    assert told["changed"] is False and server.now < 1 and len(server.requests) == 2
    server.pass_time(300)
    told = server.run(wanted, check_mode=True)
    assert "failed" not in told and told["changed"] == bool(options) and told["confirmed"] is (None if options else True)


def test_check_mode_does_not_promise_a_wait_where_a_run_has_none():
    server = ClockworkServer([model("qwen", instance("qwen"))])
    fault_of_older_list(server, server.forbidden)
    told = server.run(parse_options("qwen", confirm_loaded=True), check_mode=True)
    assert told["reason"] == "load_unconfirmed" and "A run waits" not in told["msg"] and "/api/v0/models answered HTTP 403" in told["msg"]


def test_an_outage_while_it_is_still_loading_confirms_nothing():
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": 300})])
    server.faults.update(dict.fromkeys(range(4, 400), server.refused))
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert result["reason"] == "refused" and result["confirmed"] is None and result["changed"] is False


def test_where_nothing_is_loaded_there_is_nothing_to_confirm_yet():
    server = ClockworkServer([QWEN])
    told = server.run(parse_options("qwen", confirm_loaded=True), check_mode=True)
    assert actions_of(told) == [("load", "qwen")] and told["confirmed"] is None and len(server.requests) == 1


def test_another_instance_that_comes_while_the_end_is_confirmed_is_noticed():
    server = ClockworkServer([QWEN])
    fault_of_older_list(server, server.html_error, until=100)

    def somebody(request):
        if server.now > 60 and len(server.models[0]["loaded_instances"]) == 1:
            server.models[0]["loaded_instances"].append(instance("qwen:2"))

    server.hooks.append(somebody)
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert (
        result["reason"] == "changed_meanwhile"
        and "should have the instance qwen now, but has the instances qwen, qwen:2" in result["msg"]
        and result["changed"] is True
    )


def test_what_goes_while_the_end_is_confirmed_is_not_confirmed():
    server = ClockworkServer([QWEN])
    fault_of_older_list(server, server.html_error, until=100)

    def somebody(request):
        if server.now > 60:
            server.models[0]["loaded_instances"].clear()

    server.hooks.append(somebody)
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert result["reason"] == "changed_meanwhile" and "should have the instance qwen now, but has no instance" in result["msg"]
    assert result["confirmed"] is None


def lower_its_context(server):
    server.models[0]["loaded_instances"][0]["config"]["context_length"] = 2048


def pin_it_no_longer(server):
    server.models[0]["loaded_instances"][0]["remaining_ttl_seconds"] = 3600


def load_another(server):
    server.models[1]["loaded_instances"] = [instance("gemma")]


@pytest.mark.parametrize(
    "change, reason, words",
    [
        (lower_its_context, "effective_config_differs", "context_length 2048, at least 8192 is required"),
        (pin_it_no_longer, "effective_config_differs", "qwen unloads when it is idle"),
        (load_another, "changed_meanwhile", "another instance was loaded meanwhile: gemma"),
    ],
)
def test_what_changes_while_the_end_is_confirmed_is_noticed(change, reason, words):
    server = ClockworkServer([QWEN, model("gemma")])
    fault_of_older_list(server, server.html_error, until=100)

    def somebody(request):
        if server.now > 60:
            change(server)
            server.hooks.remove(somebody)

    server.hooks.append(somebody)
    result = server.run(parse_options("qwen", config=EIGHT, exclusive=True, confirm_loaded=True))
    assert result["reason"] == reason and words in result["msg"] and result["confirmed"] is True
    assert [path for path, _body in server.posts()] == ["/api/v1/models/load"]


def test_a_load_of_somebody_else_is_not_interrupted_by_a_reload():
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": 300})])
    moments = []
    server.hooks.append(lambda request: moments.append(server.now) if request.path.endswith("/unload") else None)
    result = server.run(parse_options("qwen", confirm_loaded=True, config=EIGHT))
    assert "failed" not in result and result["confirmed"] is True and actions_of(result) == [("unload", "qwen"), ("load", "qwen")]
    assert len(moments) == 1 and moments[0] >= 300


def test_what_is_loaded_is_confirmed_although_somebody_else_has_unloaded_the_others():
    server = ClockworkServer([model("qwen", instance("qwen")), GEMMA])

    def somebody(request):
        if request.path.endswith("/unload"):
            server.models[1]["loaded_instances"].clear()

    server.hooks.append(somebody)
    result = server.run(parse_options("qwen", exclusive=True, confirm_loaded=True))
    assert "failed" not in result and result["actions"] == [] and result["confirmed"] is True


def test_a_load_of_somebody_else_that_ends_without_an_instance_is_made_up_for():
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": 300})])

    def crash(request):
        if server.now > 50:
            server.models[0]["loaded_instances"] = []
            server.hooks.clear()

    server.hooks.append(crash)
    result = server.run(parse_options("qwen", confirm_loaded=True))
    assert "failed" not in result and actions_of(result) == [("load", "qwen")] and result["diff"]["before"]["instances"] == {}


def test_somebody_else_who_loads_at_once_is_noticed():
    server = ClockworkServer([QWEN])

    def somebody(request):
        if request.path.endswith("/load"):
            server.models[0]["loaded_instances"].append(instance("qwen"))
            server.hooks.clear()

    server.hooks.append(somebody)
    result = server.run(parse_options("qwen"))
    assert (
        result["reason"] == "changed_meanwhile"
        and "should have the instance qwen:2 now, but has the instances qwen, qwen:2" in result["msg"]
    )


def test_nothing_is_loaded_when_somebody_else_has_done_so_since():
    server, wanted = scenario("reload")

    def somebody(request):
        if request.path.endswith("/unload"):
            server.models[0]["loaded_instances"].append(instance("qwen:2", 8192))
            server.hooks.clear()

    server.hooks.append(somebody)
    result = server.run(wanted)
    assert result["reason"] == "changed_meanwhile" and server.loads == 0 and result["restored"] is False


def test_a_client_that_has_it_loaded_again_at_once_is_noticed():
    server, wanted = scenario("unload")

    def client(request):
        if request.path == "/api/v1/models" and "qwen" in server.unloaded and not server.models[0]["loaded_instances"]:
            server.models[0]["loaded_instances"].append(instance("qwen", ttl=3600))

    server.hooks.append(client)
    result = server.run(wanted)
    assert result["reason"] == "still_loaded" and "just-in-time" in result["msg"]


@pytest.mark.parametrize("moment", range(6))
def test_two_controllers_at_once_end_with_one_instance_or_say_so(moment):
    server = ClockworkServer([QWEN])
    results = []

    def other(request):
        if len(server.requests) == moment + 1:
            server.hooks.clear()
            results.append(server.run(parse_options("qwen")))

    server.hooks.append(other)
    results.append(server.run(parse_options("qwen")))
    ids = [each["id"] for each in server.models[0]["loaded_instances"]]
    assert ids == ["qwen"] or any(result.get("reason") == "changed_meanwhile" for result in results)


def test_that_it_is_not_known_whether_an_instance_is_pinned_is_told():
    server = ClockworkServer([model("qwen", instance("qwen", ttl="soon"))])
    result = server.run(parse_options("qwen"))
    assert result["unverified"] == ["pinned"] and result["differences"] == [] and result["changed"] is False and "failed" not in result
    assert server.run(parse_options("qwen", pinned=False))["unverified"] == []


def test_a_plan_that_leaves_the_model_unloaded_is_no_success(monkeypatch):
    monkeypatch.setattr(acting, "make_plan", lambda record, wanted: Plan())
    result = ClockworkServer([QWEN]).run(parse_options("qwen"))
    assert result["reason"] == "changed_meanwhile" and "no instance of it is listed" in result["msg"]


def test_a_download_tells_how_far_it_is():
    server, wanted = scenario("download")
    server.catalogue["qwen"] = 500e6
    lines = []
    server.run(wanted, progress=lines.append)
    assert "qwen: downloading, 31 %, 154.6 MB of 500.0 MB, 1.5 MB/s, 15 seconds so far" in lines
    assert len(lines) < 6


@pytest.mark.parametrize("somebody_else", [False, True], ids=["its own", "that of somebody else"])
def test_a_load_that_is_waited_for_by_the_list_tells_for_how_long(somebody_else):
    """Of a load whose answer is lost, and of one that it does not interrupt."""
    server = ClockworkServer([model("qwen", {**instance("qwen"), "loaded_at": 100})] if somebody_else else [QWEN], seconds_to_load=100)
    if not somebody_else:
        server.faults[1] = server.gives_up_early
    lines = []
    result = server.run(parse_options("qwen", confirm_loaded=somebody_else), progress=lines.append)
    assert "failed" not in result and server.loads == (0 if somebody_else else 1)
    told = [line for line in lines if line.startswith("waiting for the load, ") and line.endswith(" of at most 600 seconds")]
    assert 3 <= len(told) <= 6


def test_the_page_shows_how_far_a_download_is_as_it_is_told():
    line = describe("openai/gpt-oss-20b", Download("downloading", "job", 12.1e9, 5.4e9, 61.3e6), 92)
    assert f"\nmodel, http://gpu01:1234: {line}\n" in (DOCS / "acting.md").read_text(encoding="utf-8")


def test_a_download_that_failed_may_say_why():
    server, wanted = scenario("download")
    server.bytes_per_second = 0
    status = {"job_id": "job", "status": "failed", "error": "disk full", "downloaded_bytes": 0}
    server.faults.update({number: lambda _request: Response(200, json.dumps(status).encode()) for number in range(2, 9)})
    assert server.run(wanted)["reason"] == "download_failed" and server.now < 600


def test_a_download_that_stands_still_has_stalled():
    server, wanted = scenario("download")
    server.bytes_per_second = 0
    result = server.run(wanted)
    assert result["changed"] is True
    assert result["reason"] == "download_stalled" and "for 600 seconds (downloading, 0 bytes so far)" in result["msg"]
    assert 600 <= server.now < 700


@pytest.mark.parametrize("bytes_per_second, ends_as", [(1e6, None), (0, "forbidden")])
def test_a_server_that_does_not_tell_how_far_a_download_is_tells_by_its_list(bytes_per_second, ends_as):
    server, wanted = scenario("download")
    server.bytes_per_second = bytes_per_second

    def refuse(request):
        if "/status/" in request.path:
            server.answer(request)
            server.faults[len(server.requests) - 1] = server.forbidden

    server.hooks.append(refuse)
    result = server.run(wanted)
    assert result["reason"] == ends_as, result["msg"]
    assert len(server.posts()) == 1
    if ends_as:
        assert result["changed"] is True and "it is not known how far the download of qwen is: http://gpu01:1234" in result["msg"]
        assert "permission" in result["msg"]


def test_a_download_that_takes_too_long_goes_on_and_is_waited_for_by_the_next_run():
    server, wanted = scenario("download")
    server.bytes_per_second = 10000
    result = server.run(wanted._replace(download_timeout=60.0))
    assert result["reason"] == "timeout" and "It continues in LM Studio" in result["msg"]
    assert "failed" not in server.run(wanted)
    assert len(server.jobs) == 1


@pytest.mark.parametrize("kind", ["not_found", "not_implemented", "unrecognized_keys"])
def test_a_job_that_is_lost_is_asked_for_again(kind):
    server, wanted = scenario("download")
    server.bytes_per_second = 1e6
    server.no_such_job = error(404, kind, "There is no such job")

    def lose(request):
        if "/status/" in request.path and server.now > 10:
            server.jobs.clear()
            server.hooks.clear()

    server.hooks.append(lose)
    assert "failed" not in server.run(wanted)
    assert [path for path, _body in server.posts()] == ["/api/v1/models/download"] * 2


@pytest.mark.parametrize(
    "catalogue, reason, words",
    [
        ({}, "download_unavailable", "No compatible download options"),
        ({"lab/qwen-GGUF": 1e6}, "download_failed", "New in the list: lab/qwen-GGUF"),
    ],
)
def test_what_cannot_be_downloaded_or_is_listed_under_another_key(catalogue, reason, words):
    server = ClockworkServer([GEMMA])
    server.catalogue.update(catalogue)
    result = server.run(parse_options("qwen", state="downloaded", source=next(iter(catalogue), "qwen")))
    assert result["reason"] == reason and words in result["msg"]
    assert result["changed"] == bool(catalogue) and actions_of(result) == [("download", "qwen")] * len(catalogue)
    assert result["lmstudio"]["available"] == ["gemma", *catalogue]


def test_what_an_unload_did_is_not_known_when_nobody_answers_any_more():
    server, wanted = scenario("unload one")
    server.faults.update({1: server.answer_lost, **dict.fromkeys(range(2, 200), server.refused)})
    result = server.run(wanted)
    assert result["reason"] == "refused" and result["changed"] is True and result["actions"] == []
    assert result["msg"].startswith("it is not known whether qwen:2 is unloaded: http://gpu01:1234 refused the connection.")
    assert "diff" not in result


def test_a_server_that_restarts_after_an_unload_is_waited_for_and_else_what_it_said_is_told():
    for failed_lists, ends_as in ((12, None), (200, "refused")):
        server, wanted = scenario("reload")
        server.faults.update(dict.fromkeys(range(2, 2 + failed_lists), server.refused))
        result = server.run(wanted)
        assert result.get("reason") == ends_as, result["msg"]
        assert actions_of(result) == [("unload", "qwen"), ("load", "qwen")][: 1 if ends_as else 2]
    assert server.now >= 60 and result["msg"].startswith("what was done could not be checked: http://gpu01:1234 refused the connection.")


def test_a_full_disk_ends_the_application():
    server, wanted = scenario("download")
    server.faults.update({1: server.dropped, **dict.fromkeys(range(2, 200), server.refused)})
    result = server.run(wanted)
    assert result["reason"] == "download_failed" and "no longer answers" in result["msg"] and "free disk space" in result["msg"]


def test_names_and_words_of_a_server_are_printable_and_without_the_token():
    hostile = "q\x1b[2Jwen {{ 1 }} sk-lm-secret-of-gpu01"
    server = ClockworkServer([model(hostile), model("gemma", instance(hostile))])
    server.refusal = lambda body: error(500, "model_load_failed", f"\x1b[2J {ENDLESS} sk-lm-secret-of-gpu01")
    for options in ({"exclusive": True}, {"state": "unloaded"}, {"name": "missing", "exclusive": True}):
        options = dict(options)
        shown = json.dumps(server.run(parse_options(options.pop("name", "gemma"), **options)))
        assert "sk-lm-secret" not in shown and "u001b" not in shown and len(shown) < 20000


def test_the_kind_of_an_error_is_shown_without_the_token_and_compared_as_it_was_sent():
    server = ClockworkServer([QWEN])
    server.refusal = lambda body: error(400, "\x1b[2J sk-lm-secret-of-gpu01", "")
    result = server.run(parse_options("qwen"))
    assert "qwen was not loaded: \ufffd[2J ********." in result["msg"] and "sk-lm" not in json.dumps(result)
    server.refusal = lambda body: error(404, "model_not_found", "")
    unknown = server.run(parse_options("qwen"), endpoint=ENDPOINT._replace(token="model_not_found"))
    assert unknown["reason"] == "model_unknown" and "qwen was not loaded: ********." in unknown["msg"]


def test_a_server_that_calls_an_instance_like_the_token_does_not_get_it_shown():
    server = ClockworkServer([QWEN])
    secret = "sk-lm-secret-of-gpu01"

    def call_it_so(request):
        server.now += 1
        server.models[0]["loaded_instances"].append(instance(secret))
        return Response(200, json.dumps({"instance_id": secret, "status": "loaded"}).encode())

    server.faults[1] = call_it_so
    shown = json.dumps(server.run(parse_options("qwen")))
    assert "sk-lm" not in shown and "********" in shown


ENDLESS = "x" * 100000


def test_every_reason_has_its_next_step_on_the_page():
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    for reason, next_step in REASONS.items():
        assert f"| `{reason}` | {next_step} |" in page
