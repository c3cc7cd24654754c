# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An assertion that waits: until when, and what it does not wait for. The clock of these tests goes by itself."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import (
    describe_round,
    judge_given_record,
    parse_assertion,
    poll_until_met,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import warnings_of

LOADED = {"key": "m", "type": "llm", "loaded_instances": [{"id": "m", "config": {"context_length": 8192}}]}


def asserted(**options):
    given = {
        "wait_timeout": 300,
        "delay": 5,
        "give_up_on": ["auth", "forbidden", "not_asked"],
        "quiet": True,
        "exclusive": False,
        "confirm_loaded": False,
    }
    return parse_assertion({"require": [{"model": "m"}], **given, **options})


def wait_for(*answers, seconds=0, progress=print, **options):
    """The result of waiting for a server that answers so, a status or models, and goes on with its last answer."""
    now = [0.0]
    left = list(answers)

    def fetch(endpoint, request):
        now[0] += seconds
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, str):
            raise ApiError(answer, "does not answer")
        return Response(200, json.dumps({"models": answer}).encode())

    def sleep(seconds):
        now[0] += seconds

    return poll_until_met(asserted(**options), make_endpoint({}, "http://gpu01"), fetch, lambda: now[0], sleep, progress)


@pytest.mark.parametrize(
    ("answers", "options", "ended"),
    [
        (["auth"], {}, (7, 30)),
        (["forbidden", "auth"], {}, (7, 30)),
        (["auth"], {"delay": 60}, (2, 60)),
        (["auth"], {"seconds": 40}, (2, 85)),
        (["auth"], {"wait_timeout": 20}, (5, 20)),
        (["auth"], {"give_up_on": []}, (61, 300)),
        (["refused"], {}, (61, 300)),
        (["refused"], {"give_up_on": ["refused"]}, (7, 30)),
        (["refused", "auth"], {}, (61, 300)),
        (["auth", [], "auth"], {}, (61, 300)),
        ([[]], {}, (61, 300)),
    ],
)
def test_it_gives_up_on_what_waiting_does_not_change(answers, options, ended):
    result = wait_for(*answers, **options)
    assert (result["met"], result["polls"], result["waited"]) == (False, *ended)
    gave_up = ended[1] < options.get("wait_timeout", 300)
    assert ("Gave up after" in result["msg"]) is gave_up
    assert ("Waited " in result["msg"]) is not gave_up


def test_no_question_takes_longer_than_what_is_left():
    now, allowed = [0.0], []

    def fetch(endpoint, request):
        allowed.append(endpoint.timeout)
        now[0] += endpoint.timeout
        raise ApiError("timeout", "did not answer")

    def sleep(seconds):
        now[0] += seconds

    result = poll_until_met(asserted(wait_timeout=20, delay=1), make_endpoint({"timeout": 8}, "http://gpu01"), fetch, lambda: now[0], sleep)
    assert allowed == [8, 8, 2] and result["waited"] == 20
    # The last one has a moment, however late it begins.
    now[0], allowed[:] = 0.0, []
    late = poll_until_met(asserted(wait_timeout=9, delay=1), make_endpoint({"timeout": 8}, "http://gpu01"), fetch, lambda: now[0], sleep)
    assert allowed == [8, 0.8] and late["waited"] == 9.8


def wait_until_cut_short(cut, first, then, **requirement):
    """The result of waiting for a server that is asked for two lists, where the last poll gets no answer to `cut`. It has these models."""
    now, states = [0.0], {"data": [{"id": "m", "state": "loading"}]}

    def fetch(endpoint, request):
        is_last = endpoint.timeout < 8
        if is_last and request.path == cut:
            raise ApiError("timeout", "did not answer in time")
        models = {"models": then if is_last else first}
        return Response(200, json.dumps(models if request.path == "/api/v1/models" else states).encode())

    def sleep(seconds):
        now[0] += seconds

    assertion = asserted(wait_timeout=20, confirm_loaded=True, require=[{"model": "m", **requirement}])
    return poll_until_met(assertion, make_endpoint({"timeout": 8}, "http://gpu01"), fetch, lambda: now[0], sleep)


@pytest.mark.parametrize("cut", ["/api/v1/models", "/api/v0/models"])
def test_the_reason_is_that_of_the_last_poll_that_the_deadline_did_not_cut_short(cut):
    result = wait_until_cut_short(cut, [LOADED], [LOADED])
    assert [violation["message"] for violation in result["violations"]] == ["m is still loading"] and not result["met"]


def test_what_needs_no_second_list_is_met_where_the_deadline_cut_that_short():
    assert wait_until_cut_short("/api/v0/models", [], [LOADED], state="available")["met"]


def test_it_says_why_it_gave_up_and_what_to_do():
    lines = wait_for("auth")["msg"].splitlines()
    assert lines[1] == (
        "Gave up after 30 seconds, asked 7 times: waiting does not change the status auth. Correct its cause, or remove auth from give_up_on "
        "to wait longer."
    )
    assert lines[2].startswith("Set token (lmstudio_token")


def test_a_server_that_refuses_tokens_at_first_is_waited_for():
    result = wait_for("auth", "auth", "auth", [], [LOADED])
    assert (result["met"], result["polls"], result["waited"]) == (True, 5, 20)


def test_a_status_that_there_is_not_is_an_error():
    with pytest.raises(OptionError) as caught:
        asserted(give_up_on=["auth", "forbiden", "ok"])
    assert str(caught.value).startswith(
        "give_up_on: unknown status forbiden, ok. Did you mean forbidden? The statuses are not_asked, refused,"
    )


def test_each_poll_says_what_it_waits_for():
    lines = []
    assert wait_for("refused", [], [LOADED], progress=lines.append)["met"]
    assert lines == [
        "could not check m: http://gpu01:1234 does not answer. Asking again in 5 seconds.",
        "m is not listed by this host. Asking again in 5 seconds.",
    ]
    question = ["m is not listed by this host; did you mean n?"]
    assert describe_round(question, 5) == "m is not listed by this host; did you mean n? Asking again in 5 seconds."
    assert describe_round(question * 2, 5) == "m is not listed by this host; did you mean n? (and 1 more). Asking again in 5 seconds."


NO_V0 = Response(200, b'{"error": "Unexpected endpoint or method. (GET /api/v0/models)"}')
PAGE = Response(500, b"<!DOCTYPE html><title>Error</title>", content_type="text/html")


def state(name):
    return Response(200, json.dumps({"object": "list", "data": [{"id": "m", "state": name}]}).encode())


def confirm(*states, **options):
    """The result of waiting for a model that is listed as loaded, while the older list answers so, and what was asked for when."""
    now, asked, left, lines = [0.0], [], list(states), []

    def fetch(endpoint, request):
        asked.append((now[0], request.path))
        if request.path == "/api/v1/models":
            return Response(200, json.dumps({"models": [LOADED]}).encode())
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def sleep(seconds):
        now[0] += seconds

    assertion = asserted(confirm_loaded=True, **options)
    result = poll_until_met(assertion, make_endpoint({}, "http://gpu01"), fetch, lambda: now[0], sleep, lines.append)
    return result, asked, lines


def test_it_waits_until_the_load_has_ended():
    result, asked, lines = confirm(PAGE, state("loading"), state("loading"), state("loaded"))
    assert (result["met"], result["polls"], result["waited"], result["confirmed"]) == (True, 4, 15, True)
    assert asked == [(when, path) for when in (0, 5, 10, 15) for path in ("/api/v1/models", "/api/v0/models")]
    assert lines[0].startswith("m is listed as loaded, which is not confirmed: http://gpu01:1234/api/v0/models ")
    assert lines[1:] == ["m is still loading. Asking again in 5 seconds."] * 2
    assert warnings_of(result) == []


def test_what_never_ends_is_not_met():
    for answer in (state("loading"), PAGE, state("not-loaded"), Response(401), ApiError("timeout", "did not answer")):
        result, _asked, _lines = confirm(answer, wait_timeout=20)
        assert not result["met"] and result["polls"] == 5 and warnings_of(result) == []
        once, asked, _lines = confirm(answer, wait_timeout=0)
        assert not once["met"] and len(asked) == 2


def test_where_it_cannot_be_told_the_newer_list_counts_and_there_is_one_warning():
    result, _asked, _lines = confirm(NO_V0)
    assert (result["met"], result["polls"], result["confirmed"]) == (True, 1, False)
    assert warnings_of(result) == [
        "confirm_loaded: it is not known whether a model is still loading, because this host's LM Studio has no /api/v0/models."
    ]


def test_a_record_cannot_be_confirmed():
    assertion = asserted(confirm_loaded=True, wait_timeout=0, record={"ok": True, "status": "ok", "fingerprint": "", "instances": []})
    with pytest.raises(OptionError, match="confirm_loaded: a record gathered before cannot be confirmed"):
        judge_given_record(assertion)
