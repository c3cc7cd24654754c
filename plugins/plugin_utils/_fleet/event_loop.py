# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The driver of fleets: exchanges side by side in one event loop, in the clear or over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import FAILURES, connect, failure, resolve
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import CHUNK, Arriving, Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.tls import tls_context

_NO_THREAD_SECONDS = 0.05
T = TypeVar("T")


async def exchange(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
    """One request and its response; whoever waits for it ends it."""
    try:
        sock = await _connect(endpoint, deadline)
        tls: dict[str, Any] = {}
        if endpoint.scheme == "https":
            # asyncio's own limit of a handshake must not come before the deadline.
            seconds = deadline.remaining() + 1
            tls = {"ssl": tls_context(endpoint), "server_hostname": endpoint.host, "ssl_handshake_timeout": seconds}
        reader, writer = await asyncio.open_connection(sock=sock, **tls)
        try:
            deadline.sent = True
            writer.write(request.encoded(endpoint))
            arriving = Arriving(endpoint.max_response_bytes)
            response = None
            while response is None:
                response = arriving.add(await reader.read(CHUNK))
            return response
        finally:
            writer.transport.abort()
    except FAILURES as exc:
        raise failure(exc, endpoint, deadline) from None


async def _connect(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    host, port = endpoint.host, endpoint.port
    try:
        ((family, kind, protocol, _name, address),) = resolve(host, port, socket.AI_NUMERICHOST)[:1]
    except (socket.gaierror, UnicodeError):
        # A name blocks, and may have several addresses.
        sock = await in_thread(lambda: connect(host, port, deadline))
        sock.setblocking(False)
        return sock
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    deadline.connected = True
    return sock


async def in_thread(work: Callable[[], T]) -> T:
    """Wait for what blocks, in a thread of its own that nobody waits for in the end, as Python would for one of an executor."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return  # It was left.
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # The loop is closed: it was left.
            loop.call_soon_threadsafe(settle, result, error)

    while True:
        try:
            threading.Thread(target=run, daemon=True, name="lmstudio").start()
            break
        except RuntimeError:
            # The system allows no more of them now, as in a container with a limit.
            await asyncio.sleep(_NO_THREAD_SECONDS)
    return await future
