# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source at work: nothing that a server does ends it, no event is lost or comes twice, and it ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import runpy
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.poll import make_poll
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch import polling
from ansible_collections.gpufleet.lmstudio.tests.conftest import collections_path
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.raw_server import Answering, http

SOURCE = collections_path() / "ansible_collections/gpufleet/lmstudio/extensions/eda/plugins/event_source/watch.py"
TOKEN = "sk-lm-0123456789abcdef"
PROMPTLY = 50
PATIENCE = 120
MINUTE, HOUR = 60, 3600
KEY = "qwen/qwen3-8b"


def main(queue, args):
    """As ansible-rulebook runs it."""
    return runpy.run_path(str(SOURCE))["main"](queue, args)


@contextlib.asynccontextmanager
async def watching(queue, **args):
    """The source at work. It is cancelled in the end, and must not have ended before."""
    others = asyncio.all_tasks()
    task = asyncio.create_task(main(queue, args))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == others, "nothing is left behind"


async def next_event(queue):
    patience = 2 * HOUR if isinstance(asyncio.get_running_loop(), Clock) else PATIENCE
    event = await asyncio.wait_for(queue.get(), patience)
    assert event.keys() == {"lmstudio", "meta"} and event["meta"] == {"hosts": event["lmstudio"]["host"]}
    assert list(event["lmstudio"]) == ["event", "host", "url", "model", "instance", "previous", "current", "status", "at"]
    return event["lmstudio"]


async def next_names(queue, number):
    """That many events, in whichever order the hosts have them."""
    events = [await next_event(queue) for _number in range(number)]
    return Counter((event["host"], event["event"]) for event in events)


async def in_thread(work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


@pytest.fixture
def simulate(tmp_path):
    """Starts a simulator with these hosts."""
    with contextlib.ExitStack() as stack:

        def start(hosts):
            (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": hosts}))
            return stack.enter_context(ForkedSimulator(tmp_path / "fleet.yml"))

        yield start


def endpoints_of(fleet, **options):
    return [{"name": name, "url": url, **options} for name, url in sorted(fleet.urls.items())]


# --- on a clock of its own, and without a network ---


class Clock(asyncio.SelectorEventLoop):
    """An event loop in which nobody waits: when there is nothing to do, its clock jumps to the next thing to do."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def run_on_clock(coroutine):
    loop = Clock()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def answer_of(loaded, ttl=None):
    models = [{"type": "llm", "key": "idle", "loaded_instances": []}]
    instances = [{"id": name, "config": {"context_length": size}, "remaining_ttl_seconds": ttl} for name, size in loaded.items()]
    models += [{"type": "llm", "key": name, "loaded_instances": [each]} for name, each in zip(loaded, instances)]
    return Response(200, json.dumps({"models": models}).encode())


class Fleet:
    """Hosts that change at given times, and a log of what each of them was asked and said."""

    def __init__(self, monkeypatch, scripts):
        self.scripts = scripts
        """For each host, its changes: the time, and its answer from then on."""
        self.log = Counter()
        monkeypatch.setattr(polling, "poll_endpoint", self.ask)

    async def ask(self, endpoint, fetch):
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        name = endpoint.host
        self.log[name] += 1
        answer = [said for when, said in self.scripts[name] if when <= now][-1]
        return make_poll(0.01, answer(now) if callable(answer) else answer)


def down(_now):
    """A new one each time, because an exception holds on to the frames that raised it."""
    return ApiError("refused", "refused the connection")


def flapping_fleet(dice):
    """80 hosts of which a fourth changes again and again, with what each change must make."""
    scripts, expected = {}, Counter()
    for number in range(80):
        name = f"gpu{number:03}"
        loaded = {"a": 4096}
        # The rest of a TTL goes down all the time, which is not an event.
        script = [(0, lambda now, loaded=loaded: answer_of(loaded, round(HOUR - now)))]
        if number % 4 == 0:
            when = dice.uniform(2, 4) * MINUTE
            while when < HOUR - 4 * MINUTE:
                kind = dice.choice(["down", "blink", "load", "context"])
                back = when + dice.uniform(2, 4) * MINUTE
                if kind == "blink":
                    # No longer than one poll, which down_after 2 does not count.
                    back = when + 20
                    script += [(when, down), (back, answer_of(loaded))]
                elif kind == "down":
                    script += [(when, down), (back, answer_of(loaded))]
                    expected.update([(name, "host_down"), (name, "host_up")])
                elif kind == "load":
                    script += [(when, answer_of({**loaded, "b": 1})), (back, answer_of(loaded))]
                    expected.update([(name, "model_loaded"), (name, "model_unloaded")])
                else:
                    script += [(when, answer_of({"a": 2048})), (back, answer_of(loaded))]
                    expected.update([(name, "instance_changed")] * 2 + [(name, "violated"), (name, "met")])
                when = back + dice.uniform(2, 4) * MINUTE
        scripts[name] = script
    return scripts, expected


ARGUMENTS = {"interval": 30, "down_after": 2, "require": [{"model": "a", "min_context_length": 4096}]}


def test_an_hour_of_a_flapping_fleet_loses_no_event_and_doubles_none(monkeypatch):
    scripts, expected = flapping_fleet(random.Random(20261127))
    fleet = Fleet(monkeypatch, scripts)
    seen, blocks, times = Counter(), [], {}

    async def hour():
        queue = asyncio.Queue(10)
        loop = asyncio.get_running_loop()
        async with watching(queue, endpoints=sorted(scripts), **ARGUMENTS):
            reader = asyncio.create_task(read(queue))
            for minutes in (18, 38, 58):
                await asyncio.sleep(minutes * MINUTE - loop.time())
                # The answers that are remembered fill up in a minute, and then start over.
                blocks.append(min([await blocks_in(10) for _number in range(12)]))
                assert not reader.done()
            times["polls"] = fleet.log.total()
            reader.cancel()

    async def blocks_in(seconds):
        await asyncio.sleep(seconds)
        gc.collect()
        return sys.getallocatedblocks()

    async def read(queue):
        while True:
            event = await next_event(queue)
            seen[event["host"], event["event"]] += 1

    gc.freeze()  # What was there before need not be looked at each time.
    try:
        run_on_clock(hour())
    finally:
        gc.unfreeze()
    assert seen == expected and expected.total() > 300
    assert min(fleet.log.values()) > 110 and max(fleet.log.values()) < 130, "each at its own pace, and none twice as often"
    growth = min(blocks[1] - blocks[0], blocks[2] - blocks[1])
    assert growth < times["polls"] // 3 // 3, f"{blocks}: one object that is kept of each poll would be more"


def test_a_storm_makes_as_many_events_as_there_are_edges_and_its_reader_may_be_slow(monkeypatch):
    """All hosts go down and come up three times, and who reads the events is busy for minutes."""
    storm = [(0, answer_of({"a": 4096}))]
    for when in (5, 35, 65):
        storm += [(when * MINUTE, down), ((when + 15) * MINUTE, answer_of({"a": 4096}))]
    names = [f"gpu{number:03}" for number in range(60)]
    fleet = Fleet(monkeypatch, dict.fromkeys(names, tuple(storm)))

    async def storms():
        queue = asyncio.Queue(1)
        async with watching(queue, endpoints=names, **ARGUMENTS):
            await asyncio.sleep(10 * MINUTE)
            asked = fleet.log.copy()
            await asyncio.sleep(5 * MINUTE)
            # All but the one whose event has a place in the queue.
            assert len(fleet.log - asked) == queue.qsize() == 1, "who has told nobody asks nobody, and the queue grows no longer"
            # A tenth of a second for each event: the storm is told before the next one.
            seen = []
            while len(seen) < 2 * 3 * len(names):
                seen.append(await next_event(queue))
                await asyncio.sleep(0.1)
            await asyncio.sleep(10 * MINUTE)
            assert queue.empty()
        return seen

    seen = run_on_clock(storms())
    for name in names:
        assert [event["event"] for event in seen if event["host"] == name] == ["host_down", "host_up"] * 3


def test_a_slow_host_delays_no_other(monkeypatch):
    fleet = Fleet(monkeypatch, {"quick": [(0, answer_of({}))], "slow": [(0, answer_of({}))]})
    ask = polling.poll_endpoint

    async def slowly(endpoint, fetch):
        await asyncio.sleep(600 if endpoint.host == "slow" else 0)
        return await ask(endpoint, fetch)

    monkeypatch.setattr(polling, "poll_endpoint", slowly)

    async def hour():
        async with watching(asyncio.Queue(), endpoints=["quick", "slow"], interval=30):
            await asyncio.sleep(HOUR)

    run_on_clock(hour())
    assert fleet.log["slow"] in (5, 6) and 115 <= fleet.log["quick"] <= 125


def test_polls_are_spread(monkeypatch):
    names = [f"gpu{number:03}" for number in range(200)]
    fleet = Fleet(monkeypatch, dict.fromkeys(names, ((0, answer_of({})),)))
    ask, asked = polling.poll_endpoint, []

    async def noted(endpoint, fetch):
        asked.append(asyncio.get_running_loop().time())
        return await ask(endpoint, fetch)

    monkeypatch.setattr(polling, "poll_endpoint", noted)

    async def some_minutes():
        async with watching(asyncio.Queue(), endpoints=names, interval=30):
            await asyncio.sleep(10 * MINUTE)

    run_on_clock(some_minutes())
    assert fleet.log.total() > 3000
    assert all(Counter(int(when) for when in asked)[second] < 100 for second in range(600))


def test_a_bug_at_one_endpoint_ends_nothing_and_is_one_sentence(monkeypatch, caplog):
    fleet = Fleet(monkeypatch, {"good": [(0, answer_of({})), (300, down)], "odd": [(0, answer_of({"a": 1}))]})
    read = polling.AnswerReader.read
    broken = []

    def odd_read(self, endpoint, poll):
        if endpoint.host == "odd" and broken:
            raise KeyError("{{ what the server said }}")
        return read(self, endpoint, poll)

    monkeypatch.setattr(polling.AnswerReader, "read", odd_read)

    async def some_minutes():
        queue = asyncio.Queue()
        async with watching(queue, endpoints=["good", "odd"], interval=30):
            await asyncio.sleep(100)
            broken.append(True)
            await asyncio.sleep(500)
            broken.clear()
            await asyncio.sleep(100)
            return [await next_event(queue) for _number in range(queue.qsize())]

    with caplog.at_level(logging.WARNING):
        events = run_on_clock(some_minutes())
    told = [(event["host"], event["event"], event["status"]) for event in events]
    assert sorted(told) == [("good", "host_down", "refused"), ("odd", "host_down", "invalid"), ("odd", "host_up", "ok")]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("gpufleet")] == [
        "odd could not be polled (KeyError)."
    ]
    (of_bug,) = [str(event) for event in events if event["status"] == "invalid"]
    assert "This is an error of the event source" in of_bug and "Check url" not in of_bug
    assert "server said" not in str(events) and fleet.log["good"] > 20


def test_names_of_one_server_are_told_however_its_url_is_written(monkeypatch, caplog):
    Fleet(monkeypatch, {name: [(0, answer_of({}))] for name in ("gpu01", "gpu01.", "gpu02")})

    async def a_moment():
        async with watching(asyncio.Queue(), endpoints=["gpu01", {"name": "twin", "url": "http://GPU01.:1234/"}, "gpu02"]):
            await asyncio.sleep(1)

    with caplog.at_level(logging.WARNING):
        run_on_clock(a_moment())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("gpufleet")] == [
        "gpu01, twin have the same URL: one machine under several names, or several behind one address."
    ]


def test_a_filter_that_fails_loses_its_event_with_a_sentence_and_no_other_one(monkeypatch, caplog):
    Fleet(monkeypatch, {"gpu01": [(0, answer_of({})), (100, answer_of({"a": 1})), (200, answer_of({})), (300, answer_of({"b": 1}))]})
    seen = []

    class Filtered:
        async def put(self, event):
            if event["lmstudio"]["event"] == "model_unloaded":
                raise ValueError("a")
            seen.append(event["lmstudio"]["event"])

    async def some_minutes():
        async with watching(Filtered(), endpoints=["gpu01"], interval=30):
            await asyncio.sleep(400)

    run_on_clock(some_minutes())
    assert seen == ["model_loaded", "model_loaded"]
    assert "The event model_unloaded of gpu01 is lost, because it could not be put into the queue (ValueError)." in caplog.text


def test_only_the_events_that_are_wanted_are_sent(monkeypatch):
    Fleet(monkeypatch, {"gpu01": [(0, answer_of({"a": 1})), (100, down), (200, answer_of({}))]})

    async def some_minutes():
        queue = asyncio.Queue()
        async with watching(queue, endpoints=["gpu01"], interval=30, events=["host_up", "model_loaded"], initial="snapshot"):
            await asyncio.sleep(400)
            return [(await next_event(queue))["event"] for _number in range(queue.qsize())]

    assert run_on_clock(some_minutes()) == ["host_up", "model_loaded", "host_up"]


def test_names_of_a_hostile_server_are_no_templates_in_any_part_of_an_event(monkeypatch):
    hostile = "{{ lookup('pipe', 'touch /tmp/owned') }}"
    config = {"context_length": 1, "{% raw %}": [{"{# x": "#jinja2: variable_start_string:'[%'"}], "vault": "$ANSIBLE_VAULT;1.1"}
    models = [{"type": "llm", "key": hostile, "loaded_instances": [{"id": "#jinja2: " + hostile, "config": config}]}]
    there = Response(200, json.dumps({"models": models}).encode())
    page = Response(302, b"", location=f"http://other/{hostile}")
    Fleet(monkeypatch, {"gpu01": [(0, there), (100, page), (200, answer_of({}))]})

    async def some_minutes():
        queue = asyncio.Queue()
        require = [{"name": "{{ name }}", "model": hostile, "min_context_length": 8192}]
        async with watching(queue, endpoints=["gpu01"], interval=30, initial="snapshot", require=require):
            await asyncio.sleep(300)
            return [await next_event(queue) for _number in range(queue.qsize())]

    def texts(value):
        if isinstance(value, dict):
            return [text for key, item in value.items() for text in (key, *texts(item))]
        return [text for item in value for text in texts(item)] if isinstance(value, list) else [value] if isinstance(value, str) else []

    events = run_on_clock(some_minutes())
    assert [event["event"] for event in events] == [
        *("host_up", "model_loaded", "violated"),
        *("host_down", "host_up", "model_unloaded", "violated"),
    ]
    assert events[1]["model"] == hostile.replace("{", "\uff5b") and events[1]["instance"].startswith("\uff03jinja2: \uff5b\uff5b")
    found = texts(events)
    assert any("\uff5b%" in text for text in found)
    assert not [text for text in found if any(mark in text for mark in "{#$\\")]


# --- against servers ---


# The status that each fault of the simulator gives to a host that is watched; None where the host stays up.
FAULTS = {
    **dict.fromkeys(("refused",), "refused"),
    **dict.fromkeys(("reset", "cut_off", "cut_off_chunk"), "disconnected"),
    **dict.fromkeys(("silence", "slow_headers", "slow_body"), "timeout"),
    **dict.fromkeys(("endless", "gzip_bomb", "broken_json", "empty_body", "wrong_types", "not_http"), "invalid"),
    **dict.fromkeys(("unexpected_endpoint", "unexpected_endpoint_404"), "unsupported"),
    **dict.fromkeys(("openai", "llamacpp", "fastapi", "html"), "not_lmstudio"),
    **dict.fromkeys(("redirect", "redirect_nowhere", "redirect_endless"), "redirect"),
    "unauthorized": "auth",
    "forbidden": "forbidden",
    "server_error": "http_error",
    "unavailable": "unavailable",
    **dict.fromkeys(("gzip", "chunked", "echoed_headers")),
}


def test_whatever_a_server_does_at_any_poll_ends_nothing_and_unloads_nothing(simulate, caplog):
    """Every fault of the simulator, at a host that answered before and answers afterwards."""
    fleet = simulate({fault: {"payload": "two_loaded.json", "token": TOKEN} for fault in FAULTS})
    failing = Counter({(fault, "host_down"): 1 for fault, status in FAULTS.items() if status})
    first = Counter({(fault, "host_up"): 1 for fault in FAULTS})
    args = {"interval": 1, "timeout": 60, "max_response_bytes": 1000000, "token": TOKEN, "initial": "snapshot"}
    endpoints = [{**each, **({"timeout": 5} if FAULTS[each["name"]] == "timeout" else {})} for each in endpoints_of(fleet)]
    loaded = 2

    async def faults():
        queue = asyncio.Queue()
        async with watching(queue, endpoints=endpoints, **args):
            found = await next_names(queue, (1 + loaded) * len(FAULTS))
            assert found == first + Counter({(fault, "model_loaded"): loaded for fault in FAULTS})
            for fault in FAULTS:
                await in_thread(fleet.fault, fault, fault)
            events = [await next_event(queue) for _number in range(failing.total())]
            assert {(event["host"], event["status"]) for event in events} == {(fault, status) for fault, status in FAULTS.items() if status}
            assert {event["event"] for event in events} == {"host_down"}
            assert TOKEN[:10] not in str(events)
            for fault in FAULTS:
                asked = len(await in_thread(fleet.requests, fault))
                await in_thread(fleet.fault, fault, None)
                if not FAULTS[fault]:
                    while len(await in_thread(fleet.requests, fault)) < asked + 3:
                        await asyncio.sleep(0.05)
            assert await next_names(queue, failing.total()) == Counter({(fault, "host_up"): 1 for fault, _down in failing})
            assert queue.empty()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(faults())
    assert TOKEN[:10] not in caplog.text


def test_a_token_goes_to_its_own_server_and_comes_back_in_no_event(simulate, caplog):
    own = "sk-lm-of-gpu02-alone"
    fleet = simulate({"gpu01": {"fault": "echoed_token"}, "gpu02": {"fault": "echoed_token"}, "gpu03": {"fault": "redirect"}})
    endpoints = endpoints_of(fleet)
    endpoints[1]["token"] = own

    async def some_polls():
        queue = asyncio.Queue()
        async with watching(queue, endpoints=endpoints, interval=0.2, down_after=1, initial="snapshot", timeout=60, token=TOKEN):
            return [await next_event(queue) for _number in range(5)]

    with caplog.at_level(logging.DEBUG):
        events = asyncio.run(some_polls())
    for text in (str(events), caplog.text):
        assert TOKEN[:10] not in text and own[:10] not in text
    sent = {name: {request["headers"].get("authorization") for request in fleet.requests(name)} for name in fleet.urls}
    assert sent == {"gpu01": {f"Bearer {TOKEN}"}, "gpu02": {f"Bearer {own}"}, "gpu03": {f"Bearer {TOKEN}"}}


def test_an_upgrade_with_the_model_still_loaded_is_no_change_of_an_instance():
    """The two lists name the instances of a model differently, and only the newer one shows how each is configured."""

    def newer(**config):
        return {"models": [{"type": "llm", "key": KEY, "loaded_instances": [{"id": "alias", "config": config}]}]}

    def older(state):
        return {"data": [{"id": KEY, "type": "llm", "state": state, **({"loaded_context_length": 8192} if state == "loaded" else {})}]}

    unknown = {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}
    with_newer = newer(context_length=8192, flash_attention=True), {}
    phases = [with_newer, *((unknown, older(state)) for state in ("loaded", "loading", "loaded")), with_newer]
    now, asked = list(with_newer), []

    def answer(_method, path):
        asked.append(path)
        return http(json.dumps(now[path == "/api/v0/models"]).encode())

    async def upgrade(url):
        queue = asyncio.Queue()
        async with watching(queue, endpoints=[url], interval=0.2, timeout=60, api="auto"):
            for phase in phases:
                now[:], before = phase, len(asked)
                # One may have been answered by halves.
                while asked[before:].count("/api/v1/models") < 4:
                    await asyncio.sleep(0.02)
                assert queue.empty(), queue.get_nowait()
            now[0] = newer(context_length=16384)
            return await next_event(queue)

    with Answering(answer) as server:
        event = asyncio.run(asyncio.wait_for(upgrade(f"http://127.0.0.1:{server.port}"), PATIENCE))
    assert (event["event"], event["instance"], event["current"]["context_length"]) == ("instance_changed", "alias", 16384)


async def seconds_to_cancel(args, ready):
    """How long the source takes to end, once `ready` is set, with nothing left of it in the loop."""
    others = asyncio.all_tasks()
    task = asyncio.create_task(main(asyncio.Queue(), args))
    await asyncio.wait_for(ready.wait(), PATIENCE)
    began = time.monotonic()
    task.cancel()
    done, _pending = await asyncio.wait({task}, timeout=PATIENCE)
    seconds = time.monotonic() - began
    assert done and task.cancelled()
    left = [other for other in asyncio.all_tasks() - others if "serve" not in str(other.get_coro())]
    assert not left
    return seconds


def test_it_ends_at_once_when_it_is_cancelled_although_200_servers_are_silent():
    async def silent():
        connected, everyone = set(), asyncio.Event()

        async def serve(reader, writer):
            connected.add(await reader.readline())
            if len(connected) == 200:
                everyone.set()
            await reader.read()  # It ends when the client leaves.
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        endpoints = [{"name": f"gpu{number}", "url": f"{url}/{number}"} for number in range(200)]
        seconds = await seconds_to_cancel({"endpoints": endpoints, "interval": 0.2, "timeout": 60}, everyone)
        server.close()
        return seconds

    assert asyncio.run(silent()) < PROMPTLY, "each of them would be given 60 seconds"


def test_it_ends_at_once_although_200_names_wait_for_a_resolver_that_hangs(monkeypatch):
    released, waiting = threading.Event(), []
    resolve = socket.getaddrinfo

    def hang(host, *arguments, **options):
        if not host.endswith(".test") or options.get("flags"):
            return resolve(host, *arguments, **options)
        waiting.append(host)
        released.wait(PATIENCE)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def hanging():
        everyone = asyncio.Event()

        async def watch_them():
            while len(set(waiting)) < 200:
                await asyncio.sleep(0.02)
            everyone.set()

        counting = asyncio.create_task(watch_them())
        await asyncio.sleep(0)
        endpoints = [f"gpu{number}.test" for number in range(200)]
        seconds = await seconds_to_cancel({"endpoints": endpoints, "interval": 0.2, "timeout": 60}, everyone)
        await counting
        return seconds

    try:
        assert asyncio.run(hanging()) < PROMPTLY, "the resolver would take two minutes"
    finally:
        released.set()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts in /proc, which only Linux has")
def test_hosts_that_flap_leave_no_file_open(simulate):
    """Changes of a real fleet, each of which is awaited, and the files that this process has open afterwards."""
    fleet = simulate({f"gpu{number:02}": {"payload": "none_loaded.json"} for number in range(20)})
    dice = random.Random(20261127)

    async def flap():
        queue = asyncio.Queue()
        async with watching(queue, endpoints=endpoints_of(fleet), interval=0.1, down_after=1, initial="snapshot", timeout=60):
            await next_names(queue, 20)
            for number in range(15):
                name = dice.choice(sorted(fleet.urls))
                await in_thread(lambda name=name: fleet.load(name, KEY, id="x"))
                assert (await next_event(queue))["event"] == "model_loaded"
                fault = dice.choice(["refused", "reset", "cut_off", "html"])
                await in_thread(fleet.fault, name, fault)
                event = await next_event(queue)
                assert (event["host"], event["event"]) == (name, "host_down")
                await in_thread(fleet.unload, name, "x")
                await in_thread(fleet.fault, name, None)
                assert [(await next_event(queue))["event"] for _number in range(2)] == ["host_up", "model_unloaded"]
                if number == 0:
                    before = len(os.listdir("/proc/self/fd"))
            assert queue.empty()
            # Those that are being asked right now have one each.
            assert len(os.listdir("/proc/self/fd")) <= before + 20

    files = len(os.listdir("/proc/self/fd"))
    asyncio.run(flap())
    assert len(os.listdir("/proc/self/fd")) <= files
