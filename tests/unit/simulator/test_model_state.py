# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models are brought into a state on the simulator, over real connections: check mode, faults at each request, two at once."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import fetch
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.acting import ensure_state
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.client import Client
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.plan import make_plan
from ansible_collections.gpufleet.lmstudio.tests.clockwork import parse_options
from ansible_collections.gpufleet.lmstudio.tests.states import KEYS, hosts, options
from hypothesis import given, settings

CATALOGUE = {key: {"size_bytes": 1000} for key in [*KEYS, "chat"]}
HOSTS = {"gpu01": {"payload": {"models": []}, "token": "sk-lm-secret-of-gpu01", "downloads": {"catalogue": CATALOGUE}}}


SPEED = 50
"""How many seconds pass here in one."""


class Clock:
    """Moves only while a run waits. What a slow machine needs for a request does not count, and cannot use up a timeout."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        time.sleep(seconds / SPEED)
        self.now += seconds

    def fetch(self, endpoint, request):
        if request.timeout is None:
            return fetch(endpoint, request)
        try:
            return fetch(endpoint, request._replace(timeout=request.timeout / SPEED))
        except ApiError as exc:
            if exc.status == "timeout":
                self.now += request.timeout
            raise


def server_of(simulator, timeout=60.0):
    endpoint = make_endpoint({"token": "sk-lm-secret-of-gpu01", "timeout": timeout, "url": simulator.urls["gpu01"]}, "")
    clock = Clock()
    return Client(endpoint, clock.fetch, clock=lambda: clock.now, sleep=clock.sleep)


def begin(simulator, models):
    simulator.fault("gpu01", None)
    simulator.change("gpu01", payload={"models": models})


def actions_of(result):
    return [(action["action"], action["instance"] if action["action"] == "unload" else action["model"]) for action in result["actions"]]


@settings(max_examples=50)
@given(hosts(), options())
def test_check_mode_tells_what_the_run_does_and_sends_nothing(simulator, models, wanted):
    begin(simulator, models)
    sent = len(simulator.posts("gpu01"))
    server = server_of(simulator)
    told = ensure_state(wanted, server, check_mode=True)
    assert len(simulator.posts("gpu01")) == sent
    result = ensure_state(wanted, server, check_mode=False)
    assert told.get("reason") == result.get("reason"), result["msg"]
    assert actions_of(told) == actions_of(result)
    assert len(simulator.posts("gpu01")) == sent + len(result["actions"])
    # What was done is there, so a second run has nothing to do.
    sent = len(simulator.posts("gpu01"))
    again = ensure_state(wanted, server, check_mode=False)
    assert again["changed"] is False and len(simulator.posts("gpu01")) == sent


def model(key, *ids):
    instances = [{"id": name, "config": {"context_length": 4096, "parallel": 4}} for name in ids]
    return {"type": "llm", "key": key, "max_context_length": 32768, "size_bytes": 1000, "loaded_instances": instances}


EIGHT = {"context_length": 8192}
SCENARIOS = {
    "load": ([model("c")], {}),
    "reload": ([model("c", "c", "c:2")], {"config": EIGHT}),
    "make room": ([model("c"), model("lab/a", "lab/a")], {"exclusive": True, "config": EIGHT}),
    "unload": ([model("c", "c", "c:2")], {"state": "unloaded"}),
    "download and load": ([model("lab/a", "lab/a")], {"download": True, "exclusive": True}),
}
FAULTS = [
    {"name": "reset"},
    {"name": "reset", "carried_out": True},
    {"name": "silence", "carried_out": True},
    {"name": "restart"},
    {"name": "unavailable"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(map(str, fault.values())))
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_any_change_does_nothing_twice_and_a_second_run_gets_there(simulator, name, fault):
    models, given_options = SCENARIOS[name]
    wanted = parse_options("c", load_timeout=20, **given_options)
    begin(simulator, models)
    impatient, server = server_of(simulator, timeout=0.4), server_of(simulator)
    plan = make_plan(server.list(), wanted)
    loads = sum(action.action == "load" for action in plan.actions)
    for number in range(1, len(plan.actions) + 1):
        begin(simulator, models)
        simulator.fault("gpu01", {**fault, "method": "POST", "at": number})
        sent = len(simulator.posts("gpu01"))
        result = ensure_state(wanted, impatient, check_mode=False)
        simulator.fault("gpu01", None)
        posts = simulator.posts("gpu01")[sent:]
        unloaded = {body["instance_id"] for path, body in posts if path.endswith("/unload")}
        assert unloaded <= {action.instance for action in plan.actions if action.action == "unload"}
        ids = [instance["id"] for instance in server.list()["instances"] if instance["model"] == "c"]
        assert len(ids) <= max(loads, 2 if name in ("reload", "unload") else 1)
        if result.get("failed"):
            assert result["reason"] and "sk-lm-secret" not in str(result)
        else:
            assert make_plan(server.list(), wanted).actions == ()
        patient = wanted._replace(load_timeout=600.0)
        second = ensure_state(patient, server, check_mode=False)
        assert "failed" not in second, second["msg"]
        assert make_plan(server.list(), wanted).actions == ()
        sent = len(simulator.posts("gpu01"))
        third = ensure_state(patient, server_of(simulator), check_mode=False)
        assert third["changed"] is False and len(simulator.posts("gpu01")) == sent


def test_two_controllers_at_once_end_with_one_instance_or_say_so(simulator):
    begin(simulator, [model("c")])
    simulator.change("gpu01", loads={"held": True})
    wanted = parse_options("c", confirm_loaded=True)
    before = len(simulator.requests("gpu01"))
    results = []

    def run():
        results.append(ensure_state(wanted, server_of(simulator), check_mode=False))

    threads = [threading.Thread(target=run) for _number in range(2)]
    for thread in threads:
        thread.start()
    # The load ends when both have begun one, or one asks whether that of the other is over.
    while any(thread.is_alive() for thread in threads):
        asked = [(request["method"], request["path"]) for request in simulator.requests("gpu01")[before:]]
        if asked.count(("POST", "/api/v1/models/load")) == 2 or ("GET", "/api/v0/models") in asked:
            break
        time.sleep(0.02)
    simulator.change("gpu01", loads={"held": False})
    simulator.release("gpu01")
    for thread in threads:
        thread.join()
    ids = [instance["id"] for instance in server_of(simulator).list()["instances"]]
    assert ids == ["c"] or [result["reason"] for result in results if result["reason"]] == ["changed_meanwhile"] * 2


def test_a_load_that_outlives_its_client_is_found_by_the_next_run(simulator):
    begin(simulator, [model("c")])
    simulator.change("gpu01", loads={"held": True})
    wanted = parse_options("c", load_timeout=15, confirm_loaded=True)
    # The request has to arrive before its timeout, which is real: three seconds.
    result = ensure_state(wanted._replace(load_timeout=3.0 * SPEED), server_of(simulator), check_mode=False)
    assert result["reason"] == "load_unconfirmed"
    assert simulator.state("gpu01")["loading"] == ["c"]
    sent = len(simulator.posts("gpu01"))
    still = ensure_state(wanted, server_of(simulator), check_mode=False)
    assert still["reason"] == "load_unconfirmed" and "still loading" in still["msg"]
    simulator.release("gpu01")
    second = ensure_state(wanted, server_of(simulator), check_mode=False)
    assert second["changed"] is False and second["instance"] == "c" and len(simulator.posts("gpu01")) == sent
    simulator.change("gpu01", loads={"held": False})


@pytest.mark.parametrize(
    "loads, reason",
    [
        ({"fails": {"*": "memory"}}, "insufficient_memory"),
        ({"fails": {"*": "crash"}}, "load_failed"),
        ({"context_at_most": 5000}, "effective_config_differs"),
    ],
)
def test_what_the_server_says_of_a_load_is_the_reason(simulator, loads, reason):
    begin(simulator, [model("c")])
    simulator.change("gpu01", loads=loads)
    result = ensure_state(parse_options("c", config=EIGHT), server_of(simulator), check_mode=False)
    simulator.change("gpu01", loads={"fails": {}, "context_at_most": None})
    assert result["reason"] == reason and "sk-lm" not in str(result)


@pytest.mark.parametrize(
    "downloads, reason, words",
    [
        ({"stalls_at": 500}, "download_stalled", "(downloading, 500 B so far)"),
        ({"fails_at": 500}, "download_failed", "failed"),
        ({"disk_full_at": 500, "bytes_per_second": 1e6}, "download_failed", "begun 3 times"),
        ({"catalogue": {}}, "download_unavailable", "No compatible download options"),
        ({"index_lag": 3}, None, ""),
        ({"catalogue": {"c": {"size_bytes": 1000, "key": "other"}}}, "download_failed", "New in the list: other"),
    ],
)
def test_how_a_download_ends(simulator, downloads, reason, words):
    begin(simulator, [])
    usual = {"catalogue": CATALOGUE, **dict.fromkeys(("stalls_at", "fails_at", "disk_full_at", "bytes_per_second")), "index_lag": 0}
    simulator.change("gpu01", downloads={**usual, **downloads})
    result = ensure_state(parse_options("c", state="downloaded", stall_timeout=20), server_of(simulator), check_mode=False)
    simulator.change("gpu01", downloads=usual)
    assert result["reason"] == reason and words in result["msg"]
