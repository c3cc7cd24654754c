# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Thousands of polls of a flapping fleet in one process: nothing is left of them but their records.

LMSTUDIO_SOAK_ROUNDS=200 .venv/dev/bin/python -m pytest -s tests/soak

Each round is 50 polls. For a fleet that is watched, half as many rounds give the same certainty.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import engine
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.arguments import parse_arguments
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.polling import watch
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK

HOSTS = 50
ROUNDS = int(os.environ.get("LMSTUDIO_SOAK_ROUNDS", "40"))
TOKEN = "sk-lm-0123456789abcdef"
STATUS_OF_FAULT = {
    None: "ok",
    "gzip": "ok",
    "chunked": "ok",
    "echoed_token": "ok",
    "refused": "refused",
    "reset": "disconnected",
    "cut_off": "disconnected",
    "cut_off_chunk": "disconnected",
    "unavailable": "unavailable",
    "unauthorized": "auth",
    "not_http": "invalid",
    "html": "not_lmstudio",
    "silence": "timeout",
}
LOUD = [fault for fault in STATUS_OF_FAULT if fault != "silence"]
# Enough for a machine that is busy with other things; nobody waits for it, because all but the silent host answer.
PATIENCE = 20
IMPATIENCE = 0.15

# A heap for all threads instead of one for each: how many run at a time, and so how much is kept for them, is a matter of chance.
M_ARENA_MAX = -8


def call_c(name, *arguments):
    """Call a function of the C library, if this one has it: musl has neither of the two that are called here."""
    return getattr(ctypes.CDLL(None), name, lambda *_arguments: 0)(*arguments)


class Level:
    """What this process holds at a moment when all exchanges have ended."""

    def __init__(self):
        for thread in threading.enumerate():
            if thread.name.startswith("lmstudio"):
                thread.join(PATIENCE)
        gc.collect()
        # Parts of the heap that are free but not given back to the system are not a leak.
        call_c("malloc_trim", 0)
        self.blocks = sys.getallocatedblocks()
        self.files = len(os.listdir("/proc/self/fd"))
        self.threads = len(threading.enumerate())
        self.kilobytes = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class FlappingFleet:
    """Hosts that change between rounds, in the same way each time, and what each of them must be found to be."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.dice = random.Random(20261123)
        self.names = sorted(simulator.urls)
        self.faults = dict.fromkeys(self.names)
        self.loaded = {name: [] for name in self.names}
        self.patient, self.impatient = ({name: self.endpoint(name, seconds) for name in self.names} for seconds in (PATIENCE, IMPATIENCE))

    def endpoint(self, name, seconds):
        return make_endpoint({"url": self.simulator.urls[name], "token": TOKEN, "timeout": seconds}, "")

    def change(self, hosts, silent):
        """Let some hosts get another fault or none, load or unload a model, and at most one be silent."""
        for name in self.names:
            if self.faults[name] == "silence":
                self.set_fault(name, None)
        for name in self.dice.sample(self.names, hosts):
            self.set_fault(name, self.dice.choice([None, None, *LOUD]))
        name = self.dice.choice(self.names)
        if self.loaded[name]:
            self.simulator.unload(name, self.loaded[name].pop())
        else:
            self.simulator.load(name, "qwen/qwen3-8b", id="soak")
            self.loaded[name].append("soak")
        if silent:
            self.set_fault(self.dice.choice(self.names), "silence")

    def set_fault(self, name, fault):
        if fault != self.faults[name]:
            self.simulator.fault(name, fault)
            self.faults[name] = fault

    def endpoint_now(self, name):
        return (self.impatient if self.faults[name] == "silence" else self.patient)[name]

    def found(self, name, record):
        """The status of a record, which is the one that the host's state must give."""
        assert record["status"] == STATUS_OF_FAULT[self.faults[name]], (self.faults[name], record["error"])
        if self.faults[name] in (None, "gzip", "chunked"):
            assert ("soak" in [instance["id"] for instance in record["instances"]]) == bool(self.loaded[name])
        return record["status"]


@pytest.fixture
def fleet(tmp_path):
    # What is here before need not be looked at each time.
    gc.collect()
    gc.freeze()
    (tmp_path / "fleet.yml").write_text(json.dumps({"hosts": {f"gpu{number:02}": {"token": TOKEN} for number in range(HOSTS)}}))
    with Simulator(tmp_path / "fleet.yml") as simulator:
        yield FlappingFleet(simulator)


def ask_together(fleet, number):
    fleet.change(hosts=5, silent=number % 2 == 0)
    records = engine.ask_all([fleet.endpoint_now(name) for name in fleet.names], "loaded", HOSTS, 60, lambda line: None)
    return [fleet.found(name, record) for name, record in zip(fleet.names, records)]


def ask_one_by_one(fleet, number):
    ask = ASK[("target", "requests")[number % 2]]
    fleet.change(hosts=5, silent=number % 4 < 2)
    return [fleet.found(name, ask(fleet.endpoint_now(name), "full")) for name in fleet.names]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts in /proc, which only Linux has")
@pytest.mark.parametrize("ask_all_hosts", [ask_together, ask_one_by_one])
def test_thousands_of_polls_leave_nothing_behind(fleet, ask_all_hosts):
    call_c("mallopt", M_ARENA_MAX, 1)
    warm_up = ROUNDS // 4
    half = (ROUNDS - warm_up) // 2
    began = time.monotonic()
    statuses = Counter()
    levels = []
    for number in range(ROUNDS):
        if number in (warm_up, warm_up + half):
            levels.append(Level())
        statuses.update(ask_all_hosts(fleet, number))
    levels.append(Level())

    print(f"\n{ask_all_hosts.__name__}: {statuses.total():,} polls in {time.monotonic() - began:.0f} s")
    print("   " + ", ".join(f"{status} {count:,}" for status, count in statuses.most_common()))
    # After the warm-up, in which the heap reaches its size, a leak of one small object at each poll is one block of memory for each, and
    # one of a buffer of 1 KB, which only the system's measure shows, a kilobyte. It shows in both halves of the rest. What a busy machine
    # adds once, because more exchanges were under way than before, shows in one of them.
    polls = half * HOSTS
    bounds = {"kilobytes": 128 + polls // 2, "blocks": polls // 3, "files": 0, "threads": 0}
    for what, bound in bounds.items():
        print(f"   {what}: {', '.join(f'{getattr(level, what):,}' for level in levels)}; in each half {bound:,} more are allowed")

    assert statuses.total() == HOSTS * ROUNDS
    assert set(statuses) == set(STATUS_OF_FAULT.values())
    for what, bound in bounds.items():
        first, middle, last = (getattr(level, what) for level in levels)
        assert (min(middle - first, last - middle) if bound else last - first) <= bound, what


async def next_events(queue, number):
    events = [(await asyncio.wait_for(queue.get(), 10 * PATIENCE))["lmstudio"] for _number in range(number)]
    return Counter((event["host"], event["event"]) for event in events)


async def flap(fleet, queue, names):
    """Let each of these go down, get a model or lose it, and come up. Every event is awaited, and no other one may come."""
    change = "model_unloaded" if fleet.loaded[names[0]] else "model_loaded"
    for name in names:
        fleet.set_fault(name, fleet.dice.choice(["refused", "reset", "cut_off", "html"]))
    assert await next_events(queue, len(names)) == Counter((name, "host_down") for name in names)
    for name in names:
        if fleet.loaded[name]:
            fleet.simulator.unload(name, fleet.loaded[name].pop())
        else:
            fleet.simulator.load(name, "google/gemma-3-27b", id="soak")
            fleet.loaded[name].append("soak")
        fleet.set_fault(name, None)
    assert await next_events(queue, 2 * len(names)) == Counter((name, event) for name in names for event in ("host_up", change))


async def least_level(simulator):
    """The least of what this process holds at some moments, at any of which some hosts are being asked, and how many polls there were."""
    levels = []
    for _moment in range(10):
        await asyncio.sleep(0.05)
        levels.append(Level())
    least = {what: min(getattr(level, what) for level in levels) for what in ("kilobytes", "blocks", "files", "threads")}
    return {**least, "polls": sum(len(simulator.requests(name)) for name in simulator.urls)}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts in /proc, which only Linux has")
def test_a_fleet_that_is_watched_leaves_nothing_behind(fleet):
    """A tenth of it flaps, in each of some rounds."""
    call_c("mallopt", M_ARENA_MAX, 1)
    endpoints = [{"name": name, "url": fleet.simulator.urls[name]} for name in fleet.names]
    arguments = parse_arguments({"endpoints": endpoints, "token": TOKEN, "timeout": PATIENCE, "interval": 0.2, "down_after": 1})
    # An even number before each level, so that as many models are loaded at each.
    rounds = ROUNDS // 4 * 2
    warm_up = rounds // 10 * 2
    half = (rounds - warm_up) // 4 * 2
    levels = []

    async def watched():
        queue = asyncio.Queue(1)
        task = asyncio.create_task(watch(queue, arguments))
        while not all(fleet.simulator.requests(name) for name in fleet.names):
            await asyncio.sleep(0.1)
        for number in range(rounds):
            if number in (warm_up, warm_up + half):
                levels.append(await least_level(fleet.simulator))
            # The same ones twice: they lose in one round what they got in the one before.
            await flap(fleet, queue, fleet.names[number // 2 % 10 :: 10])
        levels.append(await least_level(fleet.simulator))
        assert queue.empty() and not task.done()
        task.cancel()
        await asyncio.wait({task})
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(watched())
    first, middle, last = (level["polls"] for level in levels)
    polls = min(middle - first, last - middle)
    print(f"\nwatched: {last:,} polls, at least {polls:,} in each half")
    bounds = {"kilobytes": 128 + polls // 2, "blocks": polls // 2, "files": 20, "threads": 0}
    for what, bound in bounds.items():
        first, middle, last = (level[what] for level in levels)
        print(f"   {what}: {first:,}, {middle:,}, {last:,}; in each half {bound:,} more are allowed")
        assert min(middle - first, last - middle) <= bound, what
