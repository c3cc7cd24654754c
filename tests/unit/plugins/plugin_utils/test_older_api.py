# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of a server, and when, with each driver: the newer list of models, the older one, or both."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import parse_assertion, poll_until_met
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import parse_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.answer_cache import AnswerReader
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.assertion import ask_fleet_until_met, parse_fleet_assertion
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.engine import ask_all, poll_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.cache import dump_polls, load_polls
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.raw_server import Server, http
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK

V1, V0 = "/api/v1/models", "/api/v0/models"
TOKEN = "sk-lm-0123456789abcdef"
CHAT = "qwen/qwen3-8b"
_TABLE = (ROOT / "tests/simulator/faults.py").read_text(encoding="utf-8").partition("FAULTS: ")[2]
FAULTS = ("refused", *re.findall(r'^    "(\w+)":', _TABLE, re.MULTILINE))
OLDER = ("unexpected_endpoint", "unexpected_endpoint_404")
"""LM Studio's own words."""
ENDLESS = ("silence", "slow_body", "slow_headers")
"""What takes the whole timeout."""
TIMEOUTS = (0.5, 5, 50)
"""Timeouts to try, the shortest first. A busy machine may not get to ask within it."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    hosts = {
        "new": {},
        "old": {"version": "0.3"},
        "old_closed": {"version": "0.3", "token": TOKEN},
        "new_closed": {"token": TOKEN},
        "neither": {"version": "0.3", "v0": False},
        "only_v1": {"v0": False},
        "idle": {"payload": "none_loaded.json", "v0_error": True},
        "idle_too": {"payload": "none_loaded.json", "v0_error": True},
        **{f"fault_{name}": {"fault": name} for name in FAULTS},
        **{f"older_{name}": {"fault": {"name": name, "path": V0}} for name in FAULTS if name != "refused"},
    }
    path = tmp_path_factory.mktemp("fleet") / "fleet.yml"
    path.write_text(yaml.safe_dump({"hosts": hosts}))
    with ForkedSimulator(path) as simulator:
        yield simulator


@pytest.fixture(params=ASK.values(), ids=ASK)
def asking(request):
    return request.param


def endpoint_of(fleet, host, confirm=False, **options):
    return make_endpoint({"url": fleet.urls[host], "timeout": 60, **options}, "")._replace(confirm_loaded=confirm)


def asked(fleet, host, asking, **options):
    """The record, and the paths that were asked for it."""
    before = len(fleet.requests(host))
    record = asking(endpoint_of(fleet, host, **options), "full")
    return record, [request["path"] for request in fleet.requests(host)[before:]]


def asked_in_time(fleet, host, asking, number, **options):
    """The same, with the shortest timeout in which that many requests are sent."""
    for timeout in TIMEOUTS:
        record, paths = asked(fleet, host, asking, timeout=timeout, **options)
        if len(paths) >= number:
            break
    return record, paths


def test_at_the_default_nothing_more_is_sent(fleet, asking):
    for host in ("new", "old", "new_closed", "old_closed", "neither"):
        _record, paths = asked(fleet, host, asking)
        assert paths == [V1]
    for name in set(FAULTS) - {"refused", "restart", *ENDLESS}:
        _record, paths = asked(fleet, f"fault_{name}", asking)
        assert paths == [V1], name


def test_the_older_list_is_the_same_record_with_each_driver(fleet, asking):
    record, paths = asked(fleet, "old", asking, api="v0")
    assert (record["ok"], record["api"], paths) == (True, "v0", [V0])
    record, paths = asked(fleet, "old", asking, api="auto")
    assert (record["ok"], record["api"], paths) == (True, "v0", [V1, V0])
    newer, paths = asked(fleet, "new", asking, api="auto")
    assert (newer["api"], paths) == ("v1", [V1])
    assert (record["loaded"], record["available"]) == (newer["loaded"], newer["available"])
    assert [each["context_length"] for each in record["instances"]] == [each["context_length"] for each in newer["instances"]]


def test_both_requests_have_the_same_secrets(fleet, asking):
    before = len(fleet.requests("old_closed"))
    assert asking(endpoint_of(fleet, "old_closed", api="auto", token=TOKEN, headers={"X-Tenant": "gpu"}), "full")["api"] == "v0"
    first, second = (request["headers"] for request in fleet.requests("old_closed")[before:])
    assert first == second and first["authorization"] == f"Bearer {TOKEN}" and first["x-tenant"] == "gpu"
    for token in (None, "sk-lm-of-somebody-else"):
        record, paths = asked(fleet, "old_closed", asking, api="auto", token=token)
        assert (record["status"], paths) == ("auth", [V1])


@pytest.mark.parametrize("name", FAULTS)
def test_auto_asks_for_the_older_list_after_nothing_but_its_own_words(fleet, asking, name):
    host, options = f"fault_{name}", {"api": "auto"}
    record, paths = asked_in_time(fleet, host, asking, 1, **options) if name in ENDLESS else asked(fleet, host, asking, **options)
    if name in OLDER:
        assert (record["status"], paths) == ("unsupported", [V1, V0])
        assert "neither" in record["error"]["hint"]
    else:
        assert paths == ([V1] if name not in ("refused", "restart") else paths[:1])
        assert record["api"] in (None, "v1")


def test_a_fleet_of_both_is_asked_in_one_round(fleet):
    names = ["new", "old", "neither", "old_closed", "fault_html"]
    records = ask_all([endpoint_of(fleet, name, api="auto") for name in names], "loaded", 10, 60, print)
    assert [(record["status"], record["api"]) for record in records] == [
        ("ok", "v1"),
        ("ok", "v0"),
        ("unsupported", None),
        ("auth", None),
        ("not_lmstudio", None),
    ]


def test_both_have_one_deadline(asking):
    unexpected = http(b'{"error": "Unexpected endpoint or method. (GET /api/v1/models)"}')

    class Slow(Server):
        """Takes its time to say that it is an older one, and then says nothing."""

        def answer(self, client):
            client.recv(65536)
            self.asked += 1
            if self.asked == 1:
                time.sleep(0.6 * timeout)  # What is left then is less than half.
                client.sendall(unexpected)
            while client.recv(65536):
                pass

    for timeout in TIMEOUTS:
        with Slow(b"") as server:
            record = asking(make_endpoint({"url": f"http://127.0.0.1:{server.port}", "api": "auto", "timeout": timeout}, ""), "full")
        if server.asked > 1:
            break
    assert record["status"] == "timeout"
    seconds = re.search(r"did not answer within ([0-9.]+) seconds", record["error"]["message"])
    assert seconds and float(seconds[1]) <= 0.4 * timeout
    assert record["error"]["message"].endswith(f"(asked for {V0}, because it does not know {V1}).")


def test_what_is_still_loading_is_asked_beside_the_newer_list(fleet, asking):
    record, paths = asked(fleet, "new", asking, confirm=True)
    assert (record["confirmed"], paths) == (True, [V1, V0])
    assert {entry.get("state") for entry in record["models"] if entry["loaded"]} == {"loaded"}
    record, paths = asked(fleet, "only_v1", asking, confirm=True)
    assert (record["confirmed"], paths) == (False, [V1, V0])
    # Where there is no list, nothing is confirmed.
    for host, options in (("new_closed", {}), ("neither", {}), ("neither", {"api": "auto"})):
        record, paths = asked(fleet, host, asking, confirm=True, **options)
        assert record["confirmed"] is None and paths == ([V1, V0] if options else [V1])
    # An older one has said it already.
    record, paths = asked(fleet, "old", asking, confirm=True, api="auto")
    assert (record["confirmed"], paths) == (True, [V1, V0])


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("refused", "restart")])
def test_an_error_of_the_older_list_confirms_nothing(fleet, asking, name):
    host, options = f"older_{name}", {"confirm": True}
    record, paths = asked_in_time(fleet, host, asking, 2, **options) if name in ENDLESS else asked(fleet, host, asking, **options)
    assert (record["ok"], paths) == (True, [V1, V0])
    violations = judge(record, parse_all([{"model": CHAT}]))
    if name in (*OLDER, "fastapi"):  # It is not there.
        assert record["confirmed"] is False and violations == []
    elif name in ("gzip", "chunked"):
        assert record["confirmed"] is True and violations == []
    else:
        assert record["confirmed"] is None
        assert "which is not confirmed: " in violations[0]["message"]
    assert TOKEN not in json.dumps(record)


def assertion(parse=parse_assertion, **options):
    waiting = {"wait_timeout": 600.0, "delay": 0.1, "give_up_on": []}
    unset = dict.fromkeys(("min_hosts", "min_percent", "consistent", "fail_msg", "success_msg"))
    given = {**unset, **waiting, "quiet": True, "exclusive": False, "confirm_loaded": True, "require": [{"model": CHAT}]}
    return parse({**given, **options})


class Watched:
    """Sleeps while a model loads, and ends the load after some polls."""

    def __init__(self, fleet, hosts, polls=3):
        self.fleet, self.hosts, self.left, self.lines = fleet, hosts, polls, []

    def sleep(self, _seconds):
        self.left -= 1
        if not self.left:
            for host in self.hosts:
                self.fleet.release(host, CHAT)


def test_a_gate_passes_only_after_the_load_has_ended(fleet):
    fleet.load("idle", CHAT, context_length=8192, held=True)
    watched = Watched(fleet, ["idle"])
    endpoint = endpoint_of(fleet, "idle")
    # Without the option it passes at once.
    assert poll_until_met(assertion(confirm_loaded=False), endpoint, blocking.fetch)["met"]
    result = poll_until_met(assertion(), endpoint, blocking.fetch, sleep=watched.sleep, progress=watched.lines.append)
    assert (result["met"], result["polls"], result["confirmed"], watched.left) == (True, 4, True, 0)
    # As the load began there was one error, which is not the end of it.
    assert watched.lines[0].startswith(
        f"{CHAT} is listed as loaded, which is not confirmed: {endpoint.url}{V0} answered HTTP 500 with a web page"
    )
    assert [line.partition(".")[0] for line in watched.lines[1:]] == [f"{CHAT} is still loading"] * 2


def test_a_gate_of_a_fleet_passes_only_after_every_load_has_ended(fleet):
    hosts = ["idle_too", "new"]
    fleet.load("idle_too", CHAT, context_length=8192, held=True)
    watched = Watched(fleet, ["idle_too"])

    def ask(names, seconds):
        records = ask_all([endpoint_of(fleet, name, confirm=True) for name in names], "loaded", 10, 600, print)
        return dict(zip(names, records))

    result = ask_fleet_until_met(assertion(parse_fleet_assertion), hosts, {}, 60, ask, sleep=watched.sleep, progress=watched.lines.append)
    assert (result["met"], result["unconfirmed"]) == (True, []) and watched.left <= 0
    assert "idle_too: not confirmed" in watched.lines[0] and "idle_too: still loading" in watched.lines[1]
    result = ask_fleet_until_met(assertion(parse_fleet_assertion), ["new", "only_v1"], {}, 60, ask)
    assert (result["met"], result["unconfirmed"]) == (True, ["only_v1"])


BOTH = Response(
    200,
    json.dumps({"models": [{"key": "newer", "size_bytes": 5}], "data": [{"id": "older", "state": "loaded"}], "object": "list"}).encode(),
)
"""What is a list of either kind."""


def test_equal_bytes_of_both_lists_are_two_answers():
    endpoint, reader = make_endpoint({}, "http://gpu01"), AnswerReader()
    for _time in range(2):
        for api, key in (("v1", ["newer"]), ("v0", ["older"])):
            poll = reader.read(endpoint, Poll(BOTH, "2026-11-22T20:00:00Z", 12, api))
            record = record_of(endpoint, poll, "full")
            assert (record["api"], record["available"]) == (api, key)


def test_a_cache_knows_which_list_it_was(fleet):
    for api, host in (("v1", "new"), ("v0", "old"), ("auto", "old"), ("auto", "new")):
        endpoint = endpoint_of(fleet, host, api=api)
        (poll,) = poll_all([endpoint], 1, 60, print, lambda _endpoint, poll: poll)
        kept = dump_polls({"gpu01": endpoint}, {"gpu01": poll})
        (loaded,) = load_polls(kept, {"gpu01": endpoint}, 0).values()
        assert record_of(endpoint, loaded, "full") == record_of(endpoint, poll, "full")
        for other in {"v1", "v0", "auto"} - {api}:
            assert load_polls(kept, {"gpu01": endpoint._replace(api=other)}, 0) == {}
    assert not load_polls(kept.replace('"api": "v1"', '"api": "v2"'), {"gpu01": endpoint}, 0)


def test_a_cached_failure_of_the_older_list_says_what_was_asked_for():
    endpoint = make_endpoint({"api": "auto"}, "http://gpu01")
    poll = parse(endpoint, Poll(ApiError("timeout", "did not answer within 1 second"), "2026-11-22T20:00:00Z", None, "v0"))
    (loaded,) = load_polls(dump_polls({"gpu01": endpoint}, {"gpu01": poll}), {"gpu01": endpoint}, 0).values()
    record = record_of(endpoint, loaded, "full")
    assert record == record_of(endpoint, poll, "full") and "(asked for /api/v0/models, because" in record["error"]["message"]


def test_a_masked_answer_stays_of_its_list():
    endpoint = make_endpoint({"token": TOKEN, "api": "v0"}, "http://gpu01")
    answer = Response(200, json.dumps({"data": [{"id": TOKEN, "state": "loaded"}]}).encode())
    record = record_of(endpoint, parse(endpoint, Poll(answer, "2026-11-22T20:00:00Z", 12, "v0")), "full")
    assert (record["api"], record["loaded"], record["size_bytes"]["loaded"]) == ("v0", ["********"], None)


def test_every_fault_of_the_simulator_is_in_the_table():
    told = (Path(ROOT) / "tests/simulator/README.md").read_text(encoding="utf-8")
    assert len(FAULTS) > 25 and all(f"`{name}`" in told for name in FAULTS)
