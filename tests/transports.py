# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which the collection asks a server. What is promised of one holds for all of them, so they share their tests."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from unittest import mock

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Fetch, ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _requests
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import engine, event_loop

LATE = 10.0
"""Seconds by which a busy machine may miss a deadline. What these tests end at their deadline would go on for much longer, or for ever."""


def _alone(fetch: Fetch, endpoint: Endpoint, detail: str) -> Record:
    return ask(endpoint, fetch, detail)


def _in_fleet(endpoint: Endpoint, detail: str) -> Record:
    (record,) = engine.ask_all([endpoint], detail, 1000, 600, lambda line: None)
    return record


@contextlib.contextmanager
def exchange_in_threads(exchange: blocking.Exchange) -> Iterator[None]:
    """Fleets are asked by `exchange`, which may block, in a thread for each host."""

    async def in_thread(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        return await event_loop.in_thread(lambda: exchange(endpoint, request, deadline))

    with mock.patch.object(event_loop, "exchange", in_thread):
        yield


ASK: dict[str, Callable[[Endpoint, str], Record]] = {
    "target": functools.partial(_alone, blocking.fetch),
    "requests": functools.partial(_alone, _requests.fetch),
    "fleet": _in_fleet,
}

STATUS_OF_FAULT = {
    "refused": "refused",
    "unauthorized": "auth",
    "forbidden": "forbidden",
    "unexpected_endpoint": "unsupported",
    "unexpected_endpoint_404": "unsupported",
    "openai": "not_lmstudio",
    "llamacpp": "not_lmstudio",
    "fastapi": "not_lmstudio",
    "html": "not_lmstudio",
    "broken_json": "invalid",
    "empty_body": "invalid",
    "wrong_types": "invalid",
    "echoed_token": "ok",
    "server_error": "http_error",
    "unavailable": "unavailable",
    "redirect": "redirect",
    "redirect_nowhere": "redirect",
    "redirect_endless": "redirect",
    "gzip": "ok",
    "gzip_bomb": "invalid",
    "chunked": "ok",
    "cut_off": "disconnected",
    "cut_off_chunk": "disconnected",
    "endless": "invalid",
    "not_http": "invalid",
    "reset": "disconnected",
    "silence": "timeout",
    "slow_body": "timeout",
    "slow_headers": "timeout",
}
"""What a record says of each fault of the simulator that concerns the newer list."""
