# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Many endpoints at once: bounded concurrency, one deadline each and one for all, one result each, in order.

One thread asks all that have an address and are asked in the clear, others ask one endpoint each, because that can block. The
calling thread reads what they bring, watches the deadlines, tells the progress, and raises what a thread met.
"""

from __future__ import annotations

import contextlib
import copy
import math
import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from ansible.utils.display import Display
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _http
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint, OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import HINTS, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import Exchange, Guard, failure, read_on, timed_out
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import Outcome, Read, outcome_after, read, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._route import check_files
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._direct import Begun, Exchanges, address_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._known_models import KnownModels

PROGRESS_SECONDS = 2.0
# How late a deadline may be noticed, but for the reading of one answer; and what is slow for an exchange.
_TICK = 0.05
# So many keep a core busy. More are started only beside slow ones, because each switch between threads costs time.
_THREADS_AT_FIRST = 16
_DIRECT_AT_FIRST = 64
# Of answers that wait to be read. When they are so many, nobody is asked until half of them are read: room for one answer at a time
# would wake all threads for each.
_UNREAD_BYTES = 32 * 1024 * 1024
# Of answers that are remembered: how many, and the size of the largest.
_MAX_KNOWN = 64
_MAX_KNOWN_BYTES = 256 * 1024
# A socket, and the guard's handle of it.
_FILES_EACH = 2
# For Ansible itself, and for the resolution of names.
_FILES_LEFT = 200

_MODELS = KnownModels()
T = TypeVar("T")

Progress = Callable[[str], None]
"""Gets a line for people, such as "412/1000 asked, 9 not ok"."""


def ask_all(
    endpoints: Sequence[Endpoint],
    detail: str,
    concurrency: int,
    fleet_timeout: float,
    progress: Progress | None = None,
    exchange: Exchange = _http.exchange,
) -> list[Record]:
    """One record for each endpoint, in order, whatever happens. As :func:`outcomes_of`."""

    def record(endpoint: Endpoint, outcome: Outcome) -> Record:
        return record_of(endpoint, outcome, detail)

    records = _asked(endpoints, record, concurrency, fleet_timeout, progress, exchange)
    answered: set[Endpoint] = set()
    ordered = []
    for endpoint in endpoints:
        ordered.append(copy.deepcopy(records[endpoint]) if endpoint in answered else records[endpoint])
        answered.add(endpoint)
    return ordered


def outcomes_of(endpoints: Sequence[Endpoint], concurrency: int, fleet_timeout: float) -> list[Outcome]:
    """What came of asking each endpoint, in order, with its answer read. Equal endpoints are asked once. An interrupt ends it at once.

    Raises ``OptionError``, before any request is sent. `concurrency` bounds how many are asked at once, `fleet_timeout` the
    seconds for all. Whole answers take memory: records of detail ``loaded`` take less.
    """
    outcomes = _asked(endpoints, lambda _endpoint, outcome: outcome, concurrency, fleet_timeout)
    return [outcomes[endpoint] for endpoint in endpoints]


def _asked(
    endpoints: Sequence[Endpoint],
    kept: Callable[[Endpoint, Outcome], T],
    concurrency: int,
    fleet_timeout: float,
    progress: Progress | None = None,
    exchange: Exchange = _http.exchange,
) -> dict[Endpoint, T]:
    """What is kept of asking each endpoint."""
    if concurrency < 1:
        raise OptionError("concurrency", f"{concurrency} is not a usable number of hosts. Give 1 or more.")
    if not 0 < fleet_timeout < math.inf:
        raise OptionError("fleet_timeout", f"{fleet_timeout:g} is not a usable number of seconds. Give more than 0.")
    distinct = list(dict.fromkeys(endpoints))
    check_files(distinct)
    with _open_files(min(concurrency, len(distinct))) as concurrency:
        return dict(zip(distinct, _Round(distinct, kept, concurrency, exchange, progress or tell).run(fleet_timeout)))


def tell(line: str) -> None:
    """To people. Standard output may be read by a program."""
    Display().display(line, stderr=True)


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


class _Running(NamedTuple):
    """A question that is being asked."""

    guard: Guard
    threaded: bool
    """Whether it has a thread of its own."""


class _Round(Generic[T]):
    """One question to each of some distinct endpoints.

    As far as memory allows, all are asked before any answer is read: whoever is silent is waited for from early on, and the
    threads that ask do not compete with the one that reads.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        kept: Callable[[Endpoint, Outcome], T],
        concurrency: int,
        exchange: Exchange,
        progress: Progress,
    ) -> None:
        self._endpoints = endpoints
        self._kept = kept
        self._concurrency = concurrency
        self._exchange = exchange
        self._progress = progress
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._woken = threading.Event()
        # Any other exchange is a function for one endpoint, which can block.
        addresses = {number: address_of(endpoint) for number, endpoint in enumerate(endpoints)} if exchange is _http.exchange else {}
        self._waiting = deque(number for number in range(len(endpoints)) if not addresses.get(number))
        self._waiting_direct = deque((number, address) for number, address in addresses.items() if address)
        self._direct = Exchanges()
        self._begun: dict[int, Begun] = {}
        self._running: dict[int, _Running] = {}
        self._unread: deque[tuple[int, Outcome]] = deque()
        self._unread_bytes = 0
        self._full = False
        self._results: dict[int, T] = {}
        self._not_ok = 0
        self._known: dict[tuple[Answer, int], Read] = {}
        self._errors: list[BaseException] = []
        self._threads = 0

    def run(self, fleet_timeout: float) -> list[T]:
        began = told = time.monotonic()
        direct = self._start_direct()
        try:
            while len(self._results) < len(self._endpoints) and not self._errors:
                self._start_threads()
                unread = len(self._unread)
                if not self._reading_is_due():
                    self._woken.wait(_TICK)
                    self._woken.clear()
                now = time.monotonic()
                self._leave_overdue()
                if now - began >= fleet_timeout:
                    self._leave_all(fleet_timeout)
                if now - told >= PROGRESS_SECONDS:
                    told = now
                    self._tell()
                if self._reading_is_due() or len(self._unread) == unread:
                    self._read_until(now + _TICK)
        finally:
            self._end()
        if direct:
            direct.join()  # It has nobody left to ask, and closes what it has open.
        if self._errors:
            raise self._errors[0]
        return [self._results[number] for number in range(len(self._endpoints))]

    def _slow(self, threaded: bool) -> int:
        with self._lock:
            return sum(running.guard.age() >= _TICK for running in self._running.values() if running.threaded is threaded)

    def _start_direct(self) -> threading.Thread | None:
        """The thread for all that have an address, if there are any. Where the system does not allow it, each of them waits for its own."""
        if self._waiting_direct:
            thread = threading.Thread(target=self._ask_direct, daemon=True, name="lmstudio")
            try:
                thread.start()
                return thread
            except RuntimeError:
                self._waiting.extend(number for number, _address in self._waiting_direct)
                self._waiting_direct.clear()
        self._direct.close()
        return None

    def _ask_direct(self) -> None:
        """Ask all that have an address, in this one thread."""
        try:
            while self._waiting_direct or len(self._direct):
                self._direct.leave_ended()
                # Whoever is slow gets another one beside it.
                most = _DIRECT_AT_FIRST + self._slow(threaded=False)
                until = time.monotonic() + _TICK
                while (left := until - time.monotonic()) > 0 and (self._waiting_direct or len(self._direct)):
                    self._begin_direct(most)
                    for number, ended in self._direct.wait(left):
                        self._take(number, ended)
        except BaseException as exc:
            self._errors.append(exc)
            self._woken.set()
        finally:
            self._direct.close()

    def _has_room(self) -> bool:
        """Whether another one may be asked now. For who has the lock."""
        return not self._full and len(self._running) < self._concurrency

    def _begin_direct(self, most: int) -> None:
        while len(self._direct) < most:
            with self._lock:
                if not self._waiting_direct or not self._has_room():
                    return
                number, address = self._waiting_direct.popleft()
                endpoint = self._endpoints[number]
                guard = Guard(endpoint.timeout)
                self._running[number] = _Running(guard, threaded=False)
            failed = self._direct.start(number, endpoint, address, guard)
            if failed:
                self._take(number, failed)

    def _take(self, number: int, ended: Answer | ApiError | Begun) -> None:
        """What came of asking directly. An answer that has begun, and is not plain, gets a thread."""
        with self._lock:
            running = self._running.get(number)
            if running and isinstance(ended, Begun):
                self._begun[number] = ended
                self._waiting.appendleft(number)
                self._room.notify()
        if isinstance(ended, Begun):
            if not running:
                ended.sock.close()
            self._woken.set()
        elif running:
            running.guard.end()
            self._note(number, running.guard, ended)

    def _start_threads(self) -> None:
        """Have as many as are useful. Those that the system does not allow now, as in a container with a limit, are started later."""
        # Whoever is slow gets another one beside it.
        useful = min(self._concurrency, max(_THREADS_AT_FIRST, self._threads + self._slow(threaded=True)))
        while self._threads < useful and self._waiting:
            try:
                threading.Thread(target=self._ask_waiting, daemon=True, name="lmstudio").start()
            except RuntimeError:
                if not self._running:
                    raise
                return
            with self._lock:
                self._threads += 1

    def _ask_waiting(self) -> None:
        try:
            while True:
                with self._lock:
                    # Whose answer has begun is being asked already.
                    while self._waiting and self._waiting[0] not in self._begun and not self._has_room():
                        self._room.wait()
                    if not self._waiting:
                        self._threads -= 1
                        return
                    number = self._waiting.popleft()
                    endpoint = self._endpoints[number]
                    begun = self._begun.pop(number, None)
                    guard = self._running[number].guard if begun else Guard(endpoint.timeout)
                    self._running[number] = _Running(guard, threaded=True)
                answer: Answer | ApiError
                try:
                    answer = _rest_of(begun, endpoint, guard) if begun else self._exchange(endpoint, guard)
                except ApiError as exc:
                    answer = exc
                finally:
                    guard.end()
                if not self._note(number, guard, answer):
                    return  # It was left at its deadline, and this thread is no longer counted.
                if self._waiting_direct:
                    self._direct.wake()
        except BaseException as exc:
            self._errors.append(exc)
            self._woken.set()

    def _note(self, number: int, guard: Guard, answer: Answer | ApiError) -> bool:
        """Keep what came of a question for the reading. False when it was left before."""
        outcome = outcome_after(guard.age(), answer)
        with self._lock:
            if self._running.pop(number, None) is None:
                return False
            self._room.notify()
            self._unread.append((number, outcome))
            self._unread_bytes += _size(outcome)
            self._full = self._full or self._unread_bytes >= _UNREAD_BYTES
        if self._reading_is_due():
            self._woken.set()
        return True

    def _reading_is_due(self) -> bool:
        """Nobody waits to be asked, or the memory for answers is used up. Without the lock: a moment ago is recent enough."""
        return bool(self._unread) and (self._full or not (self._waiting or self._waiting_direct))

    def _read_until(self, end: float) -> None:
        while self._unread and time.monotonic() < end:
            with self._lock:
                number, outcome = self._unread.popleft()
                self._unread_bytes -= _size(outcome)
                if self._full and self._unread_bytes <= _UNREAD_BYTES // 2:
                    self._full = False
                    self._room.notify_all()
                    self._direct.wake()
            self._keep(number, self._read(self._endpoints[number], outcome))

    def _read(self, endpoint: Endpoint, outcome: Outcome) -> Outcome:
        """With the answer read. Hosts that are set up alike often say the very same, which is then read once."""
        answer = outcome.answer
        # What a host is told as a secret is looked for in what it says.
        if not isinstance(answer, Answer) or answer.http_status != 200 or len(answer.body) > _MAX_KNOWN_BYTES or endpoint.sent():
            return read(endpoint, outcome, _MODELS.listed)
        key = answer, endpoint.max_response_bytes
        known = self._known.get(key)
        if known:
            return outcome._replace(answer=known)
        outcome = read(endpoint, outcome, _MODELS.listed)
        if isinstance(outcome.answer, Read):
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = outcome.answer
        return outcome

    def _keep(self, number: int, outcome: Outcome) -> None:
        self._not_ok += isinstance(outcome.answer, ApiError)
        self._results[number] = self._kept(self._endpoints[number], outcome)

    def _leave_overdue(self) -> None:
        with self._lock:
            overdue = [(number, running.guard) for number, running in self._running.items() if running.guard.overdue]
        for number, guard in overdue:
            self._leave(number, timed_out(self._endpoints[number], guard))

    def _leave_all(self, fleet_timeout: float) -> None:
        late = ApiError(
            "timeout",
            f"was given up when the {fleet_timeout:g} seconds for the whole fleet were over",
            HINTS["timeout: whole fleet"],
        )
        with self._lock:
            # Who was never asked has nothing to end, and is left in the same way.
            never = [number for number in self._waiting if number not in self._begun] + [
                number for number, _address in self._waiting_direct
            ]
            self._running.update((number, _Running(Guard(0), threaded=False)) for number in never)
            self._waiting.clear()
            self._waiting_direct.clear()
            unanswered = list(self._running)
        for number in unanswered:
            self._leave(number, late)

    def _leave(self, number: int, why: ApiError) -> None:
        """Record why an endpoint has no answer, and end its exchange, unless the answer was quicker."""
        with self._lock:
            running = self._running.pop(number, None)
            if running is None:
                return
            self._room.notify()
            self._threads -= running.threaded
            begun = self._begun.pop(number, None)
            if begun and number in self._waiting:
                self._waiting.remove(number)
        running.guard.end()
        self._direct.wake()
        if begun:
            begun.sock.close()
        self._keep(number, read(self._endpoints[number], outcome_after(running.guard.age(), why)))

    def _tell(self) -> None:
        self._progress(f"{len(self._results)}/{len(self._endpoints)} asked, {self._not_ok} not ok")

    def _end(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._waiting_direct.clear()
            self._room.notify_all()
            guards = [running.guard for running in self._running.values()]
            self._running.clear()
            begun = list(self._begun.values())
            self._begun.clear()
        for guard in guards:
            guard.end()
        self._direct.wake()
        for answer in begun:
            answer.sock.close()


def _rest_of(begun: Begun, endpoint: Endpoint, guard: Guard) -> Answer:
    """The answer that began directly and is not plain."""
    with begun.sock as sock:
        try:
            guard.hold(sock)
            sock.settimeout(guard.left())
        except OSError as exc:
            raise failure(exc, endpoint, guard, connecting=False) from None
        return read_on(endpoint, sock, begun.data, guard)


def _size(outcome: Outcome) -> int:
    return len(outcome.answer.body) if isinstance(outcome.answer, Answer) else 0
