# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The driver for fleets: exchanges side by side in one event loop, with or without TLS."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import io
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from ...module_utils._http import blocking
from ...module_utils._http.blocking import EXCHANGE_ERRORS, as_api_error, connect, resolve
from ...module_utils._http.deadline import Deadline
from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.errors import ApiError
from ...module_utils._http.request import Request
from ...module_utils._http.response import CUT_OFF, ParsedResponse, Response, bytes_to_read, declared_length, read_response
from ...module_utils._http.tls import proxy_of, tls_context

_NO_THREAD_SECONDS = 0.05
_MAX_HEAD = 256 * 1024
_MAX_FRAMING = 1024 * 1024
"""Bytes by which the sizes and extensions of chunks may exceed the body."""
_LAST_LINES = (b"\r\n", b"\n", b"")
"""How a head or a body in chunks may end. The empty line is the end of the connection."""
T = TypeVar("T")


async def fetch(endpoint: Endpoint, request: Request) -> Response:
    """Send a request, and give up at its deadline. Raises ``ApiError``, or ``OptionError`` for unusable TLS files."""
    deadline = Deadline(request.timeout or endpoint.timeout)
    # Not asyncio.wait_for, which before Python 3.12 may ignore being cancelled.
    task = asyncio.create_task(exchange(endpoint, request, deadline))
    try:
        await asyncio.wait({task}, timeout=deadline.remaining())
        if not task.done():
            raise socket.timeout
        return task.result()
    except EXCHANGE_ERRORS as exc:
        raise as_api_error(exc, endpoint, deadline) from None
    finally:
        deadline.cancel()
        task.cancel()
        # It ends at once, and leaves no exception that asyncio would log.
        await asyncio.gather(task, return_exceptions=True)


async def exchange(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
    """One request and its response; the caller ends it at the deadline. Raises what :data:`EXCHANGE_ERRORS` has, or ``ApiError``."""
    if proxy_of(endpoint):
        # The proxy has to be asked for the connection first, which asyncio cannot do.
        return await in_thread(lambda: blocking.exchange(endpoint, request, deadline))
    sock = await _connect(endpoint, deadline)
    tls: dict[str, Any] = {}
    if endpoint.scheme == "https":
        # asyncio's own limit for a handshake must not come before the deadline.
        seconds = deadline.remaining() + 1
        tls = {"ssl": tls_context(endpoint), "server_hostname": endpoint.host, "ssl_handshake_timeout": seconds}
    reader, writer = await asyncio.open_connection(sock=sock, **tls)
    try:
        deadline.sent = True
        writer.write(request.encoded(endpoint))
        return await receive(reader, endpoint.max_response_bytes)
    finally:
        writer.transport.abort()


async def _connect(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """A connection. To a name it is made in a thread, because it may take long to resolve and have several addresses."""
    try:
        *kind, _name, address = resolve(endpoint.host, endpoint.port, deadline, socket.AI_NUMERICHOST)[0]
    except (socket.gaierror, UnicodeError):
        return await in_thread(lambda: connect(endpoint.host, endpoint.port, deadline))
    sock = socket.socket(*kind)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    deadline.connected = True
    return sock


async def in_thread(work: Callable[[], T]) -> T:
    """Wait for blocking work in a thread of its own. Unlike the thread of an executor, it does not keep Python from exiting."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    # From here on, whoever no longer waits for the result cannot cancel it.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:
            future.set_exception(exc)

    while True:
        try:
            threading.Thread(target=run, daemon=True, name="lmstudio").start()
            break
        except RuntimeError:
            # The system allows no more threads now, as in a container with a limit.
            await asyncio.sleep(_NO_THREAD_SECONDS)
    return await asyncio.wrap_future(future)


async def receive(reader: asyncio.StreamReader, limit: int) -> Response:
    """Wait for as much of a response as :func:`read_response` reads. Raises what ``http.client`` raises, or ``ApiError``."""
    try:
        head = await _read_head(reader)
        wanted = bytes_to_read(declared_length(head.status, head.getheader), limit)
        body = await (_read_chunks(reader, head, limit) if head.chunked and wanted else _read(reader, wanted))
    except ValueError:  # asyncio's own, for a line beyond its limit.
        raise http.client.LineTooLong("line") from None
    return read_response(head.status, head.getheader, io.BytesIO(body).read, limit)


async def _read_head(reader: asyncio.StreamReader) -> ParsedResponse:
    """The head of the answer, after any that only announce it (100 Continue). ``http.client`` interprets them."""
    # http.client asks a socket for its file.
    parsed = ParsedResponse(SimpleNamespace(makefile=lambda _mode: None))  # type: ignore[arg-type]
    head = bytearray()
    while True:
        line = await reader.readline()
        head += line
        if len(head) > _MAX_HEAD:
            raise http.client.LineTooLong("head")
        if line not in _LAST_LINES:
            continue
        parsed.fp = io.BytesIO(head)  # type: ignore[assignment]
        try:
            parsed.begin()
            return parsed
        except http.client.RemoteDisconnected:
            # There is nothing after an announcement yet, or nothing will come.
            if not line:
                raise
            head.clear()


async def _read(reader: asyncio.StreamReader, size: int) -> bytes:
    """So many bytes, or those that came before the connection ended."""
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as exc:
        return exc.partial


async def _read_chunks(reader: asyncio.StreamReader, head: ParsedResponse, limit: int) -> bytearray:
    """The content of a body in chunks, up to one byte beyond `limit`. ``http.client`` interprets their sizes."""
    body, framing, last = bytearray(), 0, False
    while len(body) <= limit:
        # The size of a chunk, or a trailer after the last one.
        line = await reader.readline()
        framing += len(line)
        if framing > len(body) + _MAX_FRAMING:
            raise ApiError("invalid", "sent an answer in smaller chunks than are accepted", "framing")
        if last and line in _LAST_LINES:
            break
        if not last:
            head.fp = io.BytesIO(line)  # type: ignore[assignment]
            try:
                size = head._read_next_chunk_size()
                body += await reader.readexactly(min(size, limit + 1 - len(body)))
                if size and len(body) <= limit:
                    await reader.readexactly(len(b"\r\n"))
            except (ValueError, asyncio.IncompleteReadError):
                raise ApiError("disconnected", CUT_OFF) from None
            last = not size
    return body
