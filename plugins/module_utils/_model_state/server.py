# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The server, as code that changes something on it sees it: list, send, wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import V1, Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.confirmation import ask_confirmation
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v0 import LIST_MODELS_V0, LOADING
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL, Fetch, ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.write_requests import send
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import Failure, unsuccessful

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record

PATIENCE = 60.0
"""Seconds for a server that restarts, and for a list that lags behind."""
SECONDS_BETWEEN_LINES = 15.0
"""Between progress lines."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Doubt(NamedTuple):
    """Why a model that is listed as loaded may not be loaded yet."""

    why: str
    is_loading: bool = False
    """Whether the server says so."""
    may_pass: bool = False

    def __str__(self) -> str:
        return "it is still loading" if self.is_loading else f"it is not known whether it is loaded: {self.why}"


CANNOT_TELL = Doubt(f"this LM Studio has no {LIST_MODELS_V0.path}")


class Server:
    """One LM Studio."""

    def __init__(
        self,
        endpoint: Endpoint,
        fetch: Fetch,
        progress: Callable[[str], None] = lambda _line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Only the newer list has instances.
        self.endpoint = endpoint._replace(api=V1)
        self.fetch = fetch
        self.progress = progress
        self.clock = clock
        self.sleep = sleep

    def list(self) -> Record:
        return ask(self.endpoint, self.fetch, FULL)

    def list_until(self, reached: Callable[[Record], bool], seconds: float) -> Record:
        """The first list that is `reached`, or the last answer when the time is over."""
        pauses = self.pauses(seconds)
        while True:
            record = self.list()
            if (record["ok"] and reached(record)) or not pauses():
                return record

    def first_list(self) -> Record:
        """The first list that the server gives. A server that restarts has none for a while."""
        return self.list_until(lambda _record: True, PATIENCE)

    def send(self, request: Request) -> dict[str, Any]:
        """Raises :class:`ApiError`."""
        return send(self.endpoint, self.fetch, request)

    def doubt(self, record: Record, model: str) -> Doubt | None:
        """Why the listed instances of a model may not be loaded yet, which only the older list tells. None where they are."""
        confirmation = ask_confirmation(self.endpoint, self.fetch)
        if not confirmation.is_there:
            return CANNOT_TELL
        for entry in record["models"]:
            why = confirmation.doubt(entry) if entry["key"] == model and entry["loaded"] else None
            if why is not None:
                return Doubt(why, why == LOADING, not confirmation.is_refused)
        return None

    def failure(self, error: ApiError, request: Request, doing: str, default_reason: str) -> Failure:
        return unsuccessful(error, self.endpoint, request, doing, default_reason)

    def pauses(self, seconds: float) -> Callable[[], bool]:
        """A function that waits for a moment, each time a little longer. It returns false once the time is over."""
        ends = self.clock() + seconds
        pause = _FIRST_PAUSE

        def wait() -> bool:
            nonlocal pause
            left = ends - self.clock()
            if left <= 0:
                return False
            self.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            return True

        return wait
