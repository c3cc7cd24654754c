# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An assertion that waits: until when, and what it does not wait for. The clock of these tests goes by itself."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import parse_assertion, poll_until_met
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError

LOADED = {"key": "m", "type": "llm", "loaded_instances": [{"id": "m", "config": {"context_length": 8192}}]}


def asserted(**options):
    given = {"wait_timeout": 300, "delay": 5, "give_up_on": ["auth", "forbidden", "not_asked"], "quiet": True, "exclusive": False}
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
