# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""A client that loads and unloads models, and waits until the list shows it.

A load or an unload is sent once. Where its answer is missing or unclear, the list decides whether it was done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, NamedTuple

from .._http.endpoint import V1, Endpoint
from .._lmstudio.confirmation import ask_confirmation
from .._lmstudio.models_v0 import LIST_MODELS_V0, LOADING
from .._lmstudio.record import FULL, Fetch, ask
from .._text import count, format_names, printable
from .api_requests import Requests
from .failures import NOT_CHECKED, Failure, no_list
from .plan import ids_of

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record

PATIENCE = 60.0
"""Seconds for a server that restarts, and for a list that lags behind."""
SECONDS_BETWEEN_LINES = 15.0
"""Between progress lines."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Doubt(NamedTuple):
    """Why a model that is listed as loaded may not be loaded yet."""

    why: str
    """:data:`LOADING` where the server says so."""
    worth_waiting: bool = False
    """Whether the answer may become another one: always, unless the server refuses the older list."""

    def __str__(self) -> str:
        return "it is still loading" if self.why == LOADING else f"it is not known whether it is loaded: {self.why}"

    def failure(self, what_is_listed: str, unclear: bool = False) -> Failure:
        """The failure to raise once nothing more is waited for."""
        after = " after load_timeout" if self.worth_waiting else ""
        return Failure("load_unconfirmed", f"{what_is_listed}, but{after} {self}", unclear=unclear)


NO_OLDER_LIST = Doubt(f"this LM Studio has no {LIST_MODELS_V0.path}")


class Client(Requests):
    """A client of one LM Studio: its requests, and what it takes to wait for what comes of them."""

    def __init__(
        self,
        endpoint: Endpoint,
        fetch: Fetch,
        progress: Callable[[str], None] = lambda _line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Only the newer list has instances.
        super().__init__(endpoint._replace(api=V1), fetch)
        self.progress = progress
        self.clock = clock
        self.sleep = sleep

    def list(self) -> Record:
        return ask(self.endpoint, self.fetch, FULL)

    def wait_for_list(self, reached: Callable[[Record], bool] = lambda _record: True, seconds: float = PATIENCE) -> Record:
        """The first list that is `reached`, which any one is by default, or the last answer when the time is over.

        A server that restarts has no list for a while, so without one it waits for :data:`PATIENCE`.
        """
        wait, wait_for_a_list = self.waiter(seconds), self.waiter(max(seconds, PATIENCE))
        while True:
            record = self.list()
            if record["ok"] and reached(record):
                return record
            if not (wait() if record["ok"] else wait_for_a_list()):
                return record

    def doubt(self, record: Record, model: str) -> Doubt | None:
        """Why the listed instances of a model may not be loaded yet, which only the older list shows. None where they are loaded."""
        confirmation = ask_confirmation(self.endpoint, self.fetch)
        if not confirmation.has_older_list:
            return NO_OLDER_LIST
        for entry in record["models"]:
            why = confirmation.doubt(entry) if entry["key"] == model and entry["loaded"] else None
            if why is not None:
                return Doubt(why, not confirmation.is_refused)
        return None

    def load(self, model: str, config: Mapping[str, Any], timeout: float, before: set[str]) -> str:
        """Load one more instance, and return its id. `before` has the ids of those that exist, from a list that was read just now.

        Raises :class:`Failure`, which is unclear where it is not certain that nothing was loaded.
        """
        wait = self.waiter(timeout, tell=True)
        try:
            # The server answers when the load has ended.
            with _reporting(lambda so_far: self._tell(so_far, timeout)):
                return super().load(model, config, timeout, before)
        except Failure as failure:
            if not failure.unclear:
                raise
            self.progress(f"{printable(failure.sentence, 200)}. Reading the list")
            return self._find_loaded(model, before, wait, failure.sentence)

    def _find_loaded(self, model: str, before: set[str], wait: Callable[[], bool], why: str) -> str:
        """The id of an instance that may have been loaded, once it is loaded. It is listed as soon as its load begins."""
        began = False
        while True:
            record = self.list()
            found = ids_of(record, model) - before if record["ok"] else set()
            if len(found) > 1:
                listed = f"{count(len(found), 'new instance')} of it are listed: {format_names(sorted(found))}"
                raise Failure("changed_meanwhile", f"{why}, and {listed}", unclear=True)
            if found:
                began = True
                doubt = self.doubt(record, model)
                if doubt is None:
                    return found.pop()
                if not doubt.worth_waiting or not wait():
                    raise doubt.failure(f"{why}. An instance of it is listed", unclear=True)
            elif began and record["ok"]:
                raise Failure("load_failed", f"{why}, and the instance that was listed is gone")
            elif not wait():
                state = "it is not listed" if record["ok"] else f"its state is not known ({record['status']})"
                raise Failure("load_unconfirmed", f"{why}. After load_timeout {state}", unclear=True)

    def list_without(self, model: str, instance_id: str, failure: Failure | None) -> Record:
        """The list once an unloaded instance is gone. `failure` is why it may be there: its unload did not succeed for sure.

        Raises :class:`Failure`, which is unclear where it may still go.
        """
        name = printable(instance_id)
        unclear = failure is not None and failure.unclear
        # An id that stays listed may be that of a new instance, which a client made at once.
        patience = max(self.endpoint.timeout, PATIENCE / 2) if failure else PATIENCE / 4
        record = self.wait_for_list(lambda record: instance_id not in ids_of(record, model), patience)
        if not record["ok"]:
            raise no_list(record, f"it is not known whether {name} is unloaded: " if failure else NOT_CHECKED, unclear)
        if instance_id not in ids_of(record, model):
            return record
        because = f" ({failure.sentence})" if failure else ""
        raise Failure("still_loaded", f"{name} was to be unloaded, but is listed as loaded{because}", unclear=unclear)

    def waiter(self, seconds: float, tell: bool = False) -> Callable[[], bool]:
        """A function that waits for a moment, each time a little longer. It returns false once the time is over.

        With `tell`, a load is waited for, and it tells for how long.
        """
        ends = self.clock() + seconds
        pause = _FIRST_PAUSE
        next_line = SECONDS_BETWEEN_LINES

        def wait() -> bool:
            nonlocal pause, next_line
            left = ends - self.clock()
            if left <= 0:
                return False
            if tell and seconds - left >= next_line:
                next_line = seconds - left + SECONDS_BETWEEN_LINES
                self._tell(seconds - left, seconds)
            self.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            return True

        return wait

    def _tell(self, so_far: float, seconds: float) -> None:
        self.progress(f"waiting for the load, {so_far:.0f} of at most {seconds:.0f} seconds")


@contextlib.contextmanager
def _reporting(report: Callable[[float], None]) -> Iterator[None]:
    """Call `report` every few seconds with the seconds that have passed."""
    ended = threading.Event()

    def run() -> None:
        seconds = 0.0
        while not ended.wait(SECONDS_BETWEEN_LINES):
            seconds += SECONDS_BETWEEN_LINES
            report(seconds)

    thread = threading.Thread(target=run, daemon=True, name="lmstudio-progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
