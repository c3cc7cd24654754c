# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Polls hosts side by side, each at its own pace, and puts what changed into a queue, until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Protocol

from ...module_utils._http.errors import ApiError
from ...module_utils._input_errors import OptionError
from ...module_utils._lmstudio.poll import make_poll, poll_endpoint
from ...module_utils._lmstudio.record import FULL, parse, record_of
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._text import format_names
from .._fleet import event_loop
from .._fleet.answer_cache import AnswerReader
from .._fleet.open_files import allow_open_files
from .._options.server_identity import names_by_server
from .arguments import SOURCE, Arguments, WatchedHost
from .events import Event, State, advance
from .no_template import without_templates

_JITTER = 0.1
"""The part of an interval by which a poll comes earlier or later, so that the hosts are not all asked at once."""
_LOG = logging.getLogger(SOURCE)
_OWN_FAILURE = "This is an error of the event source or of its options, and not of the host. The log of ansible-rulebook has it as well."


class Queue(Protocol):
    async def put(self, item: Any, /) -> None: ...


async def watch(queue: Queue, arguments: Arguments) -> None:
    """Watch all hosts. It ends when it is cancelled, and then leaves nothing behind."""
    for names in names_by_server(arguments.hosts):
        if len(names) > 1:
            _LOG.warning("%s have the same URL: one machine under several names, or several behind one address.", format_names(names))
    reader = AnswerReader()
    with allow_open_files(len(arguments.hosts)) as possible:
        room = asyncio.Semaphore(possible)
        tasks = [asyncio.create_task(_Watcher(host, arguments, reader, room).run(queue)) for host in arguments.hosts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Watcher:
    """Watches one host."""

    def __init__(self, host: WatchedHost, arguments: Arguments, reader: AnswerReader, room: asyncio.Semaphore) -> None:
        self._name, self._endpoint = host
        self._arguments = arguments
        self._reader = reader
        self._room = room
        self._state = State()
        self._logged = ""

    async def run(self, queue: Queue) -> None:
        interval = self._arguments.interval
        loop = asyncio.get_running_loop()
        await asyncio.sleep(interval * random.uniform(0, _JITTER))  # noqa: S311
        while True:
            next_poll = loop.time() + interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            record, events = await self._poll()
            for event in events:
                if event["event"] in self._arguments.events:
                    await self._put(queue, record, event)
            await asyncio.sleep(max(0, next_poll - loop.time()))

    async def _poll(self) -> tuple[Record, list[Event]]:
        """What was found, and what changed with it. Whatever goes wrong counts as a failed poll of this host, and nothing more."""
        rules = self._arguments.rules
        try:
            async with self._room:
                poll = await poll_endpoint(self._endpoint, event_loop.fetch)
            record = record_of(self._endpoint, self._reader.read(self._endpoint, poll), FULL)
            self._state, events = advance(self._state, record, rules)
            self._logged = ""
        except Exception as exc:
            # The text of an unknown exception may come from the server.
            why = str(exc).rstrip(".") if isinstance(exc, OptionError) else type(exc).__name__
            self._log(f"{self._name} could not be polled ({why}).")
            failed = make_poll(0, ApiError("invalid", f"could not be polled ({why})", hint=_OWN_FAILURE))
            record = record_of(self._endpoint, parse(self._endpoint, failed), FULL)
            self._state, events = advance(self._state, record, rules)
        return record, events

    async def _put(self, queue: Queue, record: Record, event: Event) -> None:
        found = {
            "event": event["event"],
            "host": self._name,
            "url": record["url"],
            **event,
            "status": record["status"],
            "at": record["asked_at"],
        }
        try:
            await queue.put(without_templates({"lmstudio": found, "meta": {"hosts": self._name}}))
        except Exception as exc:
            # A filter of the rulebook may fail on an unusual text.
            self._log(
                f"The event {event['event']} of {self._name} is lost, because it could not be put into the queue ({type(exc).__name__})."
            )

    def _log(self, message: str) -> None:
        """Log a message once, and not again at each poll."""
        if message != self._logged:
            self._logged = message
            _LOG.error("%s", message)
