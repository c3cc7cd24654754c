# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many endpoints at once: order, bounds, deadlines, one record each, and nobody else's token."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import answer_cache, engine
from ansible_collections.gpufleet.lmstudio.tests import raw_server
from ansible_collections.gpufleet.lmstudio.tests.conftest import collections_path
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.transports import LATE, exchange_in_threads

EMPTY = Response(200, b'{"models": []}')


def ask_all(endpoints, exchange, concurrency=50, fleet_timeout=60.0, told=None):
    """The records of a fleet that is asked by `exchange`, which blocks."""
    with exchange_in_threads(exchange):
        return engine.ask_all(endpoints, "loaded", concurrency, fleet_timeout, (told if told is not None else []).append)


def endpoints(number, timeout=5.0, token=None):
    return [make_endpoint({"url": f"http://h{n}.invalid", "timeout": timeout, "token": token}, "") for n in range(number)]


def test_answers_that_wait_are_bounded_and_read_many_at_a_time(monkeypatch):
    """When the memory for answers is used up, all of it is freed before anybody is asked."""
    monkeypatch.setattr(engine, "_UNREAD_BYTES", 20 * len(EMPTY.body))
    read_answer, done = answer_cache.read_answer, []

    def slow_read(*arguments):
        done.append("read")
        time.sleep(0.001)  # Reading takes a while, in which a thread that may ask asks.
        return read_answer(*arguments)

    def exchange(endpoint, request, deadline):
        done.append("asked")
        return EMPTY._replace(content_type=endpoint.url)  # Equal ones are read once.

    monkeypatch.setattr(answer_cache, "read_answer", slow_read)
    assert all(record["ok"] for record in ask_all(endpoints(400), exchange, concurrency=1))
    unread = [done[:end].count("asked") - done[:end].count("read") for end in range(len(done))]
    assert max(unread) <= 21
    pauses = sum(pair == ("read", "asked") for pair in zip(done, done[1:]))
    assert pauses < 100, "40 are enough"


def test_a_limit_of_threads_costs_time_and_nothing_else(monkeypatch):
    start, started = threading.Thread.start, []

    def start_three_at_once(thread):
        if thread.name == "lmstudio":
            if sum(other.is_alive() for other in started) >= 3:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_three_at_once)
    ended, all_three = threading.Event(), threading.Barrier(3)

    def exchange(endpoint, request, deadline):
        if endpoint.url in ("http://h0.invalid", "http://h1.invalid", "http://h2.invalid"):
            all_three.wait(30)
        # One hangs beyond its deadline, and keeps its thread until then.
        if endpoint.url == "http://h2.invalid":
            ended.wait(30)
        return EMPTY

    asked = endpoints(12, timeout=60)
    asked[2] = asked[2]._replace(timeout=3)
    try:
        records = ask_all(asked, exchange)
    finally:
        ended.set()
    found = {record["url"]: record["status"] for record in records}
    assert {url for url, status in found.items() if status != "ok"} == {"http://h2.invalid"}
    assert len(records) == 12 and len(started) >= 3

    def start_none_but_the_loop(thread):
        if thread.name == "lmstudio":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_none_but_the_loop)
    (record,) = ask_all(endpoints(1, timeout=1), lambda endpoint, request, deadline: EMPTY)
    assert record["status"] == "timeout"

    def start_none(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start_none)
    with pytest.raises(RuntimeError):
        ask_all(endpoints(1), lambda endpoint, request, deadline: EMPTY)


def test_a_round_without_endpoints_ends_whenever_it_is_asked():
    assert [ask_all([], lambda endpoint, request, deadline: EMPTY) for _time in range(1000)] == [[]] * 1000


def test_equal_endpoints_are_asked_once_and_others_are_not_mixed_up():
    asked = []

    def exchange(endpoint, request, deadline):
        asked.append(endpoint)
        return EMPTY

    one, other = endpoints(1, token="token-number-one")[0], endpoints(1, token="token-number-two")[0]
    records = ask_all([one, other, one, one], exchange)
    assert sorted(endpoint.token for endpoint in asked) == ["token-number-one", "token-number-two"]
    assert len({id(record) for record in records}) == 4


def test_each_keeps_its_own_deadline_and_a_thread_that_hangs_is_replaced():
    released = threading.Event()
    hanging = set(endpoints(3, timeout=0.3))

    def exchange(endpoint, request, deadline):
        if endpoint in hanging:
            released.wait(30)
        return EMPTY

    quick = [make_endpoint({"url": f"http://quick{number}", "timeout": 20}, "") for number in range(10)]
    try:
        records = ask_all([*hanging, *quick], exchange, concurrency=2)
    finally:
        released.set()
    assert [record["status"] for record in records] == ["timeout"] * 3 + ["ok"] * 10
    assert "within 0.3 seconds" in records[0]["error"]["message"]


def test_the_deadline_of_the_fleet_leaves_a_record_for_everyone():
    released = threading.Event()

    def exchange(endpoint, request, deadline):
        if not endpoint.url.endswith("h0.invalid"):
            released.wait(30)
        return EMPTY

    try:
        records = ask_all(endpoints(9, timeout=25), exchange, concurrency=3, fleet_timeout=2)
    finally:
        released.set()
    assert [record["status"] for record in records] == ["ok"] + ["timeout"] * 8
    assert (
        "had not answered within the time for all hosts (2 s)" in records[8]["error"]["message"]
        and "fleet_timeout" in records[8]["error"]["hint"]
    )


def test_an_error_of_options_in_a_thread_reaches_the_caller_and_nobody_else(caplog):
    def exchange(endpoint, request, deadline):
        raise OptionError("ca_path", "it holds nothing")

    with pytest.raises(OptionError, match="ca_path"):
        ask_all(endpoints(20), exchange)
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize(
    "concurrency, seconds, option", [(0, 1, "concurrency"), (1, 0, "fleet_timeout"), (1, float("inf"), "fleet_timeout")]
)
def test_bounds_that_cannot_be_used_are_named(concurrency, seconds, option):
    with pytest.raises(OptionError, match=f"^{option}: "):
        ask_all(endpoints(1), lambda endpoint, request, deadline: EMPTY, concurrency, seconds)


FILES = """
import resource, sys, threading
sys.path[:0] = [sys.argv[1]]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[3])))
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.engine import ask_all
from ansible_collections.gpufleet.lmstudio.tests.transports import exchange_in_threads
at_once, together = int(sys.argv[4]), threading.Barrier(int(sys.argv[4]))
def exchange(endpoint, request, deadline):
    together.wait(20)
    return Response(200, b'{"models": []}')
endpoints = [make_endpoint({"url": f"http://h{n}.invalid", "timeout": 30}, "") for n in range(at_once * 2)]
with exchange_in_threads(exchange):
    records = ask_all(endpoints, "loaded", 300, 60, lambda line: None)
print({record["status"] for record in records}, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    "soft, hard, at_once",
    [pytest.param(256, 1000, 300, id="raised for a while"), pytest.param(256, 300, 50, id="fewer at once")],
)
def test_a_low_limit_of_open_files(soft, hard, at_once):
    arguments = [str(number) for number in (soft, hard, at_once)]
    done = subprocess.run([sys.executable, "-c", FILES, str(collections_path()), *arguments], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{{'ok'}} {soft}\n", "")


def test_files_that_cannot_be_used_are_named_before_any_request(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    asked = []
    bad = make_endpoint({"url": "https://h9.invalid", "ca_path": str(tmp_path / "ca.pem")}, "")
    with pytest.raises(OptionError, match="^ca_path: "):
        ask_all([*endpoints(3), bad], lambda endpoint, request, deadline: asked.append(endpoint) or EMPTY)
    assert asked == []


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr(engine, "PROGRESS_SECONDS", 0.1)
    released = threading.Event()

    class Told(list):
        def append(self, line):
            # An earlier line counts fewer, when the threads are slow to begin.
            if line == "2 of 3 hosts done, 1 without an answer":
                released.set()

    def exchange(endpoint, request, deadline):
        if endpoint.url.endswith("h1.invalid"):
            assert released.wait(20)
        return Response(503) if endpoint.url.endswith("h0.invalid") else EMPTY

    ask_all(endpoints(3, timeout=30), exchange, told=Told())
    assert released.is_set()


def test_a_real_fleet_with_every_kind_of_host(tmp_path):
    hosts = {f"gpu{number:03}": {"token": f"token-of-gpu{number:03}"} for number in range(60)}
    for number in range(0, 60, 10):
        hosts[f"gpu{number:03}"] = {"fault": "silence"}
        hosts[f"gpu{number + 1:03}"] = {"fault": "refused"}
        hosts[f"gpu{number + 2:03}"]["token"] = "another-token"
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": hosts}))
    with ForkedSimulator(tmp_path / "fleet.yml") as fleet:
        asked = [
            make_endpoint({"url": url, "token": f"token-of-{name}", "timeout": 3 if hosts[name].get("fault") == "silence" else 60}, "")
            for name, url in fleet.urls.items()
        ]
        began = time.monotonic()
        records = engine.ask_all(asked, "loaded", 50, 60, lambda line: None)
        assert 3 <= time.monotonic() - began < 3 + LATE, "the silent ones wait side by side"
        assert [record["url"] for record in records] == list(fleet.urls.values())
        expected = ["timeout", "refused", "auth", "ok", "ok", "ok", "ok", "ok", "ok", "ok"] * 6
        assert [record["status"] for record in records] == expected
        for name in hosts:
            sent = {request["headers"]["authorization"] for request in fleet.requests(name)}
            assert sent <= {f"Bearer token-of-{name}"}


class Server(raw_server.Server):
    """Answers each request with what a function gives for its path, and knows how many there were at once."""

    def __init__(self, answer):
        self.answer_to = answer
        self.open, self.most, self.paths = 0, 0, []
        super().__init__(b"")
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, client):
        path = client.recv(65536).split(b" ")[1].decode().removesuffix("/api/v1/models")
        with self.lock:
            self.paths.append(path)
            self.open += 1
            self.most = max(self.most, self.open)
        parts = self.answer_to(path)
        for part in parts[:-1] if isinstance(parts, list) else parts:
            client.sendall(part)
            time.sleep(0.02)  # So that the next one arrives by itself.
        # It is over before the last of it is sent, so that the next host that is asked does not count as asked at the same time.
        with self.lock:
            self.open -= 1
        if isinstance(parts, list) and parts:
            client.sendall(parts[-1])

    def endpoints(self, *paths, **options):
        return [make_endpoint({"url": self.url + path, "timeout": 20, **options}, "") for path in paths]


PLAIN = raw_server.http(EMPTY.body)
CHUNKED = raw_server.framed(b"Transfer-Encoding: chunked", body=raw_server.chunks(EMPTY.body))


def test_order_is_kept_and_concurrency_is_bounded():
    everyone, several = threading.Barrier(5), threading.Event()

    def answer(path):
        if not several.is_set():
            everyone.wait(20)  # Five have to be there at once before the first may go.
            several.set()
        return [PLAIN]

    with Server(answer) as server:
        asked = server.endpoints(*(f"/{number}" for number in range(40)))
        records = engine.ask_all(asked, "loaded", 5, 60, lambda line: None)
    assert [record["url"] for record in records] == [endpoint.url for endpoint in asked]
    assert {record["status"] for record in records} == {"ok"}
    assert server.most == 5


def test_a_few_are_asked_at_first_so_that_short_timeouts_are_not_eaten_by_the_others(monkeypatch):
    monkeypatch.setattr(engine, "_SLOW", 60)
    with Server(lambda path: [PLAIN]) as server:
        records = engine.ask_all(server.endpoints(*(f"/{number}" for number in range(300))), "loaded", 1000, 60, lambda line: None)
    assert {record["status"] for record in records} == {"ok"}
    assert server.most <= engine._AT_FIRST


def test_whoever_is_slow_gets_another_one_beside_it_up_to_the_bound():
    everyone = threading.Barrier(200)

    def answer(path):
        everyone.wait(30)  # All that may be asked at once have to be there.
        return [PLAIN]

    with Server(answer) as server:
        records = engine.ask_all(server.endpoints(*(f"/{number}" for number in range(400))), "loaded", 200, 60, lambda line: None)
    assert {record["status"] for record in records} == {"ok"}
    assert server.most == 200


@pytest.mark.parametrize("concurrency", [1, 3, 1000])
def test_a_fleet_of_every_kind_asks_everyone_once(concurrency):
    def answer(path):
        if path == "/p0":
            return [PLAIN[:20], PLAIN[20:]]  # The head comes in pieces, which is not the plain case.
        return {"p": [PLAIN], "c": [CHUNKED], "r": [raw_server.http(b"", status=b"503 Busy")], "x": [PLAIN[:-3]], "n": []}[path[1]]

    paths = [f"/{kind}{number}" for number in range(8) for kind in "pcrxn"]
    expected = {"p": "ok", "c": "ok", "r": "unavailable", "x": "disconnected", "n": "disconnected"}
    with Server(answer) as server:
        by_name = [
            endpoint._replace(url=endpoint.url.replace("127.0.0.1", "localhost")) for endpoint in server.endpoints("/p8", "/c8", "/r8")
        ]
        records = engine.ask_all([*server.endpoints(*paths), *by_name], "loaded", concurrency, 60, lambda line: None)
    assert [record["status"] for record in records] == [*(expected[path[1]] for path in paths), "ok", "ok", "unavailable"]
    assert sorted(server.paths) == sorted([*paths, "/p8", "/c8", "/r8"])
    assert server.most <= concurrency


@pytest.mark.parametrize("first", [b"", PLAIN[:-1], CHUNKED[:60]], ids=["nothing", "plain", "chunked"])
def test_who_is_silent_is_left_at_the_deadline_of_the_fleet(monkeypatch, first):
    released, silent = threading.Event(), []

    def answer(path):
        yield first
        silent.append(path)
        released.wait(60)

    def monotonic():
        """The deadline has come when as many are asked as may be asked at once."""
        return time.monotonic() + (60 if len(silent) >= 3 else 0)

    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=monotonic))
    try:
        with Server(answer) as server:
            asked = server.endpoints(*(f"/{number}" for number in range(9)), timeout=100)
            records = engine.ask_all(asked, "loaded", 3, 60, lambda line: None)
    finally:
        released.set()
    assert {record["status"] for record in records} == {"timeout"}
    assert all("within the time for all hosts" in record["error"]["message"] for record in records)
    assert len(server.paths) == 3


def test_who_waits_for_room_is_asked_as_soon_as_there_is_some(monkeypatch):
    # Who waited for the next look at the deadlines would find them over.
    monkeypatch.setattr(engine, "_TICK", 600)
    with Server(lambda path: [CHUNKED]) as server:
        records = engine.ask_all(server.endpoints(*(f"/{number}" for number in range(60))), "loaded", 1, 60, lambda line: None)
    assert {record["status"] for record in records} == {"ok"}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts in /proc, which only Linux has")
def test_no_file_is_left_open_although_nobody_collects_garbage():
    files = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for _time in range(5):
            ask_all(endpoints(3), lambda endpoint, request, deadline: EMPTY)
            with Server(lambda path: [PLAIN]) as server:
                engine.ask_all(server.endpoints("/0", "/1"), "loaded", 10, 60, lambda line: None)
                engine.ask_all(
                    [endpoint._replace(url=server.url.replace("127.0.0.1", "localhost")) for endpoint in endpoints(1)],
                    *("loaded", 10, 60, lambda line: None),
                )
            server.join()
        end = time.monotonic() + 30
        while len(os.listdir("/proc/self/fd")) > files and time.monotonic() < end:
            time.sleep(0.01)  # The last threads of the servers are on their way out.
        assert len(os.listdir("/proc/self/fd")) <= files
    finally:
        gc.enable()


def test_equal_answers_are_read_once_and_belong_to_nobody_else(monkeypatch):
    body = json.dumps({"models": [{"type": "llm", "key": "sk-lm-0123456789", "loaded_instances": [{"id": "m"}]}]}).encode()
    read_answer, reads = answer_cache.read_answer, []
    monkeypatch.setattr(answer_cache, "read_answer", lambda *arguments: reads.append(1) or read_answer(*arguments))

    def exchange(endpoint, request, deadline):
        return Response(200, body)

    records = ask_all(endpoints(5), exchange)
    assert len(reads) == 1
    assert [record["url"] for record in records] == [f"http://h{number}.invalid" for number in range(5)]
    records[0]["models"][0]["loaded_instances"].clear()
    records[0]["available"].append("mine")
    assert all(record["available"] == ["sk-lm-0123456789"] and record["models"][0]["loaded_instances"] for record in records[1:])
    # A secret may have come back, so it is looked for in each record, although the answer is read once.
    told = ask_all([*endpoints(2), *endpoints(2, token="sk-lm-0123456789")], exchange)
    assert ["0123456789" in json.dumps(record) for record in told] == [True, True, False, False]
    assert len(reads) == 2


HANGING = """
import socket, sys, time
sys.path[:0] = [sys.argv[1]]
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.engine import ask_all
resolve = socket.getaddrinfo
def getaddrinfo(host, port, *more, **options):
    if options.get("flags") and host.endswith(".test"):
        raise socket.gaierror  # It is not an address.
    if host.startswith("hangs"):
        time.sleep(60)
    return resolve("127.0.0.1" if host.endswith(".test") else host, port, *more, **options)
socket.getaddrinfo = getaddrinfo
names = [("hangs" if number % 3 else "quick") + str(number) for number in range(300)]
port = sys.argv[2].rpartition(":")[2]
endpoints = [make_endpoint({"url": f"http://{name}.test:{port}", "timeout": 3 if name.startswith("hangs") else 60}, "") for name in names]
began = time.monotonic()
records = ask_all(endpoints, "loaded", 300, 100, lambda line: None)
told = {(record["url"][7:12], record["status"], "no connection" in str(record["error"])) for record in records}
print(sorted(told), time.monotonic() - began)
"""


def test_a_resolver_that_hangs_delays_neither_the_others_nor_the_end(tmp_path):
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": {"gpu01": {}}}))
    with ForkedSimulator(tmp_path / "fleet.yml") as fleet:
        command = [sys.executable, "-c", HANGING, str(collections_path()), fleet.urls["gpu01"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    told, _bracket, took = done.stdout.rpartition("] ")
    assert told == "[('hangs', 'timeout', True), ('quick', 'ok', False)", done.stderr
    assert 3 <= float(took) < 3 + LATE, "the resolver takes 60 seconds"


def test_a_caller_may_run_an_event_loop_of_its_own():
    async def caller():
        with Server(lambda path: [PLAIN]) as server:
            return engine.ask_all(server.endpoints("/0", "/1"), "loaded", 10, 60, lambda line: None)

    assert [record["status"] for record in asyncio.run(caller())] == ["ok", "ok"]


def test_after_an_interrupt_nobody_else_is_asked(monkeypatch):
    monkeypatch.setattr(engine, "PROGRESS_SECONDS", 0.1)
    released, asked = threading.Event(), []

    class Interrupting(list):
        def append(self, line):
            raise KeyboardInterrupt

    def exchange(endpoint, request, deadline):
        asked.append(endpoint)
        released.wait(30)
        return EMPTY

    with pytest.raises(KeyboardInterrupt):
        ask_all(endpoints(9, timeout=60), exchange, concurrency=3, told=Interrupting())
    try:
        for thread in [thread for thread in threading.enumerate() if thread.name == "lmstudio loop"]:
            thread.join(LATE)
            assert not thread.is_alive()
    finally:
        released.set()
    assert len(asked) == 3


INTERRUPTED = """
import signal, sys
# What a shell starts in the background ignores interrupts, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = [sys.argv[1]]
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.engine import ask_all
endpoints = [make_endpoint({"url": sys.argv[2] + "/" + str(n), "timeout": 60}, "") for n in range(1000)]
print("asking", flush=True)
ask_all(endpoints, "loaded", 1000, 600, lambda line: print(line, flush=True))
"""


def test_an_interrupt_ends_it_at_once(tmp_path):
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": {"gpu01": {"fault": "silence"}}}))
    with ForkedSimulator(tmp_path / "fleet.yml") as fleet:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(collections_path()), fleet.urls["gpu01"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # The first line of progress shows that the round is under way.
        lines = [process.stdout.readline(), process.stdout.readline()]
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=50)
    assert lines == ["asking\n", "0 of 1,000 hosts done, 0 without an answer\n"]
    assert time.monotonic() - began < LATE, "they would be given 60 seconds"
    assert "KeyboardInterrupt" in err and process.returncode != 0
