# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Many endpoints at once: bounded concurrency, one deadline each and one for all, one result each, in order.

An event loop in a thread of its own asks them. The calling thread reads what they answer, tells the progress, and can be interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import math
import queue
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import Exchange, failure
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.tls import check_files, proxy_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import LIST_MODELS, KnownModels
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ParsedAnswer, Poll, parse, poll_after, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import event_loop

PROGRESS_SECONDS = 2.0
_TICK = 0.2
"""How late the end of the time for all may be noticed."""
_AT_FIRST, _SLOW = 64, 0.05
"""So many are asked at once at first, which keeps a core busy. Whoever is slow, in seconds, gets another one beside it, up to `concurrency`."""
_UNREAD_BYTES = 32 * 1024 * 1024
"""Of answers that wait to be read. When they are so many, nobody is asked until they are read."""
_MAX_KNOWN, _MAX_KNOWN_BYTES = 64, 256 * 1024
"""Of answers that are remembered: how many, and the size of the largest."""
_FILES_EACH, _FILES_LEFT = 2, 200
"""A socket and the handle with which a deadline can shut it; and what is for Ansible itself, and for the resolution of names."""

_MODELS: KnownModels = {}
T = TypeVar("T")
Keep = Callable[[Endpoint, Poll], T]
Progress = Callable[[str], None]
"""Gets a line for people, such as "412/1000 asked, 9 not ok"."""


def ask_all(
    endpoints: Sequence[Endpoint], detail: str, concurrency: int, fleet_timeout: float, progress: Progress, exchange: Exchange | None = None
) -> list[Record]:
    """One record for each endpoint, in order, whatever happens. As :func:`poll_all`. With `exchange` each has a thread, and runs it there."""
    records = _ask(endpoints, lambda endpoint, poll: record_of(endpoint, poll, detail), concurrency, fleet_timeout, progress, exchange)
    # Each of several that are equal has a record of its own.
    first = {id(record): number for number, record in reversed(list(enumerate(records)))}
    return [record if first[id(record)] == number else copy.deepcopy(record) for number, record in enumerate(records)]


def poll_all(endpoints: Sequence[Endpoint], concurrency: int, fleet_timeout: float, progress: Progress) -> list[Poll]:
    """What came of asking each endpoint, in order, with its answer read. Equal endpoints are asked once. An interrupt ends it at once.

    Raises ``OptionError``, before any request is sent. `concurrency` bounds how many are asked at once, `fleet_timeout` the
    seconds for all. Whole answers take memory: records of detail ``loaded`` take less.
    """
    return _ask(endpoints, parse, concurrency, fleet_timeout, progress, None)


def _ask(
    endpoints: Sequence[Endpoint], keep: Keep[T], concurrency: int, fleet_timeout: float, progress: Progress, exchange: Exchange | None
) -> list[T]:
    if concurrency < 1:
        raise OptionError("concurrency", f"{concurrency} is not a usable number of hosts. Give 1 or more.")
    if not 0 < fleet_timeout < math.inf:
        raise OptionError("fleet_timeout", f"{fleet_timeout:g} is not a usable number of seconds. Give more than 0.")
    distinct = list(dict.fromkeys(endpoints))
    check_files(distinct)
    with _open_files(min(concurrency, len(distinct))) as possible:
        kept = dict(zip(distinct, _Round(distinct, keep, possible, progress, exchange).run(fleet_timeout)))
    return [kept[endpoint] for endpoint in endpoints]


@contextlib.contextmanager
def _open_files(concurrency: int) -> Iterator[int]:
    """Let this process open the files that so many exchanges at once need, while they run. Yields how many are possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = concurrency * _FILES_EACH + _FILES_LEFT
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield concurrency
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, possible), hard))
    except (OSError, ValueError):
        possible = soft
    try:
        yield max(1, min(concurrency, (possible - _FILES_LEFT) // _FILES_EACH))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Round(Generic[T]):
    """One question to each of some distinct endpoints.

    As far as memory allows, all are asked before any answer is read, so that reading a thousand answers does not eat short timeouts.
    """

    def __init__(self, endpoints: list[Endpoint], keep: Keep[T], concurrency: int, progress: Progress, exchange: Exchange | None) -> None:
        self._endpoints = endpoints
        self._keep = keep
        self._concurrency = concurrency
        self._progress = progress
        self._exchange = exchange
        self._kept: dict[int, T] = {}
        self._not_ok = 0
        self._answers: dict[tuple[Response, int], ParsedAnswer] = {}
        self._loop = asyncio.new_event_loop()
        # What the loop has for the calling thread: the number of an endpoint and what came of it, or what went wrong.
        self._arrived: queue.SimpleQueue[tuple[int, Poll] | BaseException] = queue.SimpleQueue()
        # Of the loop: how many were not asked yet, who is being asked, the bytes that wait to be read, and whether there is room for more.
        self._waiting = len(endpoints)
        self._asked: set[Deadline] = set()
        self._stopped = False
        self._unread = 0
        self._room = asyncio.Event()

    def run(self, fleet_timeout: float) -> list[T]:
        end = time.monotonic() + fleet_timeout
        asking = threading.Thread(target=self._ask_all, daemon=True, name="lmstudio loop")
        asking.start()
        try:
            told = time.monotonic()
            unread: list[tuple[int, Poll]] = []
            while len(self._kept) < len(self._endpoints):
                now = time.monotonic()
                if now >= end:
                    self._give_up(fleet_timeout, unread)
                    break
                if now - told >= PROGRESS_SECONDS:
                    told = now
                    self._progress(f"{len(self._kept)}/{len(self._endpoints)} asked, {self._not_ok} not ok")
                self._receive(unread, min(_TICK, end - now))
                if not self._waiting or self._unread >= _UNREAD_BYTES:
                    self._read(unread)
        finally:
            # The loop closes by itself. A thread that waits for a name may take longer, and nobody waits for it.
            self._later(self._stop)
        asking.join()
        return [self._kept[number] for number in range(len(self._endpoints))]

    # --- in the calling thread ---

    def _receive(self, unread: list[tuple[int, Poll]], seconds: float) -> None:
        """Wait for an answer, at most so long, and take all that are there."""
        with contextlib.suppress(queue.Empty):
            arrived = self._arrived.get(timeout=seconds)
            while True:
                if isinstance(arrived, BaseException):
                    raise arrived
                unread.append(arrived)
                arrived = self._arrived.get_nowait()

    def _read(self, unread: list[tuple[int, Poll]]) -> None:
        for number, poll in unread:
            self._done(number, self._parsed(self._endpoints[number], poll))
        size = sum(map(_size, unread))
        unread.clear()
        self._later(self._make_room, size)

    def _parsed(self, endpoint: Endpoint, poll: Poll) -> Poll:
        """With the answer read. Hosts that are set up alike often say the very same, which is then read once."""
        if not isinstance(poll.answer, Response):
            return poll
        key = poll.answer, endpoint.max_response_bytes
        known = self._answers.get(key)
        if known is None:
            # Without its secrets, which are looked for at each host that says the same.
            read = parse(endpoint._replace(token=None, headers=()), poll, _MODELS).answer if poll.answer.http_status == 200 else None
            if not isinstance(read, ParsedAnswer):
                return parse(endpoint, poll)
            known = read
            if len(key[0].body) <= _MAX_KNOWN_BYTES:
                if len(self._answers) >= _MAX_KNOWN:
                    self._answers.clear()
                self._answers[key] = known
        return poll._replace(answer=known)

    def _done(self, number: int, poll: Poll) -> None:
        self._not_ok += isinstance(poll.answer, ApiError)
        self._kept[number] = self._keep(self._endpoints[number], poll)

    def _give_up(self, fleet_timeout: float, unread: list[tuple[int, Poll]]) -> None:
        """Read what is there, and record why the others have no answer."""
        self._later(self._stop)
        self._receive(unread, 0)
        self._read(unread)
        what = f"was given up when the {fleet_timeout:g} seconds for the whole fleet were over"
        for number in set(range(len(self._endpoints))) - self._kept.keys():
            self._done(number, poll_after(0, ApiError("timeout", what, "whole fleet")))

    def _later(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run it in the loop."""
        with contextlib.suppress(RuntimeError):  # It is closed, because all of them have answered.
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- in the thread of the loop ---

    def _ask_all(self) -> None:
        try:
            self._loop.run_until_complete(self._ask_each())
        except asyncio.CancelledError:
            pass  # Nobody waits for the rest.
        except BaseException as exc:
            self._arrived.put(exc)
        finally:
            self._stop()
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _ask_each(self) -> None:
        self._make_room(0)
        numbers = iter(range(len(self._endpoints)))
        tasks: set[asyncio.Task[None]] = set()
        while tasks or self._waiting:
            slow = sum(deadline.elapsed() >= _SLOW for deadline in self._asked)
            more = min(self._waiting, min(self._concurrency, _AT_FIRST + slow) - len(tasks))
            tasks |= {asyncio.create_task(self._ask_some(numbers)) for _number in range(more)}
            done, tasks = await asyncio.wait(tasks, timeout=_SLOW if self._waiting else None, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    async def _ask_some(self, numbers: Iterator[int]) -> None:
        """Ask one after the other of those that nobody has asked."""
        for number in numbers:
            self._waiting -= 1
            await self._room.wait()
            if self._stopped:
                return
            poll = await self._ask(self._endpoints[number])
            self._unread += _size((number, poll))
            if self._unread >= _UNREAD_BYTES:
                self._room.clear()
            self._arrived.put((number, poll))

    async def _ask(self, endpoint: Endpoint) -> Poll:
        deadline = Deadline(endpoint.timeout)
        self._asked.add(deadline)
        answer: Response | ApiError
        # Not asyncio.wait_for, which before Python 3.12 may take no notice of being cancelled.
        task = asyncio.create_task(self._response(endpoint, deadline))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.wait({task}, timeout=deadline.remaining())
            answer = task.result() if task.done() else failure(socket.timeout(), endpoint, deadline)
        except ApiError as exc:
            answer = exc
        finally:
            task.cancel()
            deadline.cancel()
            self._asked.remove(deadline)
        return poll_after(deadline.elapsed(), answer)

    async def _response(self, endpoint: Endpoint, deadline: Deadline) -> Response:
        # A proxy has to be asked for the connection first, which asyncio does not know.
        exchange = self._exchange or (blocking.exchange if proxy_of(endpoint) else None)
        if exchange:
            return await event_loop.in_thread(functools.partial(exchange, endpoint, LIST_MODELS, deadline))
        return await event_loop.exchange(endpoint, LIST_MODELS, deadline)

    def _make_room(self, size: int) -> None:
        self._unread -= size
        if self._unread < _UNREAD_BYTES:
            self._room.set()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            for task in asyncio.all_tasks(self._loop):
                task.cancel()


def _size(arrived: tuple[int, Poll]) -> int:
    answer = arrived[1].answer
    return len(answer.body) if isinstance(answer, Response) else 0
