# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Many endpoints at once: bounded concurrency, one deadline each and one for all, one result each, in order.

An event loop in a thread of its own asks them. The calling thread reads their answers, reports progress, and can be interrupted.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.errors import ApiError
from ...module_utils._http.response import Response
from ...module_utils._http.tls import check_routes
from ...module_utils._input_errors import OptionError
from ...module_utils._lmstudio.poll import Poll, make_poll, poll_endpoint
from ...module_utils._lmstudio.record import ParsedPoll, parse, record_of
from ...module_utils._lmstudio.record_type import Record
from . import event_loop
from .answer_cache import AnswerReader
from .open_files import allow_open_files

PROGRESS_SECONDS = 2.0
_TICK = 0.05
"""How often both threads look for what there is to do, in seconds."""
_AT_FIRST, _SLOW = 64, 0.05
"""How many are asked at once at first, which keeps a core busy. For each that takes longer than so many seconds, another is asked, up to
`concurrency`."""
_UNREAD_BYTES = 32 * 1024 * 1024
"""With this many bytes of unread answers, no other endpoint is asked until they are read."""

T = TypeVar("T")
Progress = Callable[[str], None]
"""Gets a line for people, such as "412 of 1,000 hosts done, 9 without an answer"."""


def ask_all(endpoints: Sequence[Endpoint], detail: str, concurrency: int, fleet_timeout: float, progress: Progress) -> list[Record]:
    """One record for each endpoint, in order, whatever happens. Otherwise like :func:`poll_all`."""
    return poll_all(endpoints, concurrency, fleet_timeout, progress, lambda endpoint, poll: record_of(endpoint, poll, detail))


def poll_all(
    endpoints: Sequence[Endpoint],
    concurrency: int,
    fleet_timeout: float,
    progress: Progress,
    result_of: Callable[[Endpoint, ParsedPoll], T],
) -> list[T]:
    """What `result_of` makes of the outcome of asking each endpoint, in order. Equal endpoints are asked once. An interrupt ends it at once.

    Raises ``OptionError``, before any request is sent. `concurrency` bounds how many are asked at once, `fleet_timeout` the seconds for all.
    Whole answers take memory: records of detail ``loaded`` take less.
    """
    if concurrency < 1:
        raise OptionError("concurrency", f"{concurrency} is not a usable number of hosts. Give 1 or more.")
    if not 0 < fleet_timeout < math.inf:
        raise OptionError("fleet_timeout", f"{fleet_timeout:g} is not a usable number of seconds. Give more than 0.")
    times_given = Counter(endpoints)
    check_routes(times_given)
    with allow_open_files(min(concurrency, len(times_given))) as possible:
        results = _Round(times_given, result_of, possible, progress).run(fleet_timeout)
    return [results[endpoint].pop() for endpoint in endpoints]


class _Round(Generic[T]):
    """Asks each endpoint once, and makes its result as often as the endpoint was given.

    As far as memory allows, all are asked before any answer is read, so that reading a thousand answers does not eat into short timeouts.
    """

    def __init__(
        self, times_given: Mapping[Endpoint, int], result_of: Callable[[Endpoint, ParsedPoll], T], concurrency: int, progress: Progress
    ) -> None:
        self._times_given = times_given
        self._result_of = result_of
        self._concurrency = concurrency
        self._progress = progress
        # Changed by the calling thread alone.
        self._results: dict[Endpoint, list[T]] = {}
        self._not_ok = 0
        self._reader = AnswerReader()
        self._read_bytes = 0
        # Changed in the loop alone: the endpoints not asked yet, since when others are being asked, and the bytes of all answers.
        self._waiting = deque(times_given)
        self._asked: dict[Endpoint, float] = {}
        self._arrived_bytes = 0
        # From the loop to the calling thread.
        self._arrived: deque[tuple[Endpoint, Poll]] = deque()
        self._error: BaseException | None = None
        # From the calling thread to the loop: when nobody is waited for any longer.
        self._end = 0.0

    def run(self, fleet_timeout: float) -> dict[Endpoint, list[T]]:
        self._end = time.monotonic() + fleet_timeout
        thread = threading.Thread(target=self._run_loop, daemon=True, name="lmstudio loop")
        thread.start()
        try:
            next_progress = time.monotonic() + PROGRESS_SECONDS
            while thread.is_alive():
                if time.monotonic() >= next_progress:
                    next_progress = time.monotonic() + PROGRESS_SECONDS
                    hosts = f"{len(self._times_given):,} host{'s' if len(self._times_given) > 1 else ''}"
                    self._progress(f"{len(self._results):,} of {hosts} done, {self._not_ok:,} without an answer")
                thread.join(_TICK)
                if not self._waiting or self._is_full():
                    self._read()
        finally:
            # For an interrupt: otherwise the loop has ended already.
            self._end = 0.0
        if self._error:
            raise self._error
        self._read()
        problem = f"had not answered within the time for all hosts ({round(fleet_timeout, 1):g} s)"
        for endpoint in self._times_given.keys() - self._results.keys():
            self._add_result(endpoint, parse(endpoint, make_poll(0, ApiError("timeout", problem, "whole fleet")))._replace(cut_short=True))
        return self._results

    def _is_full(self) -> bool:
        """Whether there are as many unread answers as may wait. Either thread may ask."""
        return self._arrived_bytes - self._read_bytes >= _UNREAD_BYTES

    # --- in the calling thread ---

    def _read(self) -> None:
        """Read all answers that have arrived, before others are asked again."""
        read_bytes = 0
        while self._arrived:
            endpoint, poll = self._arrived.popleft()
            self._add_result(endpoint, self._reader.read(endpoint, poll))
            read_bytes += _size(poll)
        self._read_bytes += read_bytes

    def _add_result(self, endpoint: Endpoint, poll: ParsedPoll) -> None:
        self._not_ok += isinstance(poll.answer, ApiError)
        self._results[endpoint] = [self._result_of(endpoint, poll) for _time in range(self._times_given[endpoint])]

    # --- in the thread of the loop ---

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._ask_each())
        except BaseException as exc:
            self._error = exc

    async def _ask_each(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while (tasks or self._waiting) and time.monotonic() < self._end:
                slow = sum(time.monotonic() - began >= _SLOW for began in self._asked.values())
                more = min(len(self._waiting), min(self._concurrency, _AT_FIRST + slow) - len(tasks))
                tasks |= {asyncio.create_task(self._ask_some()) for _number in range(more)}
                done, tasks = await asyncio.wait(tasks, timeout=_TICK, return_when=asyncio.FIRST_EXCEPTION)
                await asyncio.gather(*done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_some(self) -> None:
        """Ask the waiting endpoints, one after the other."""
        while self._waiting:
            endpoint = self._waiting.popleft()
            while self._is_full():
                await asyncio.sleep(_TICK)
            self._asked[endpoint] = time.monotonic()
            poll = await poll_endpoint(endpoint, event_loop.fetch)
            del self._asked[endpoint]
            self._arrived_bytes += _size(poll)
            self._arrived.append((endpoint, poll))


def _size(poll: Poll) -> int:
    return sum(len(answer.body) for answer in (poll.answer, poll.states) if isinstance(answer, Response))
