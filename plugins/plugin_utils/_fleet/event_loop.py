# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The driver for fleets: exchanges side by side in one event loop, with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import FAILURES, failure, resolve
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import (
    CHUNK,
    CUT_OFF,
    ParsedResponse,
    Response,
    bytes_to_read,
    chunk_size,
    declared_length,
    make_response,
    too_many_headers,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.tls import proxy_of, tls_context

_NO_THREAD_SECONDS = 0.05
_END_SECONDS = 0.5
"""How long a cancelled exchange may take to end. It should take no time."""
_MAX_HEADS = 256 * 1024
_MAX_FRAMING = 1024 * 1024
"""Bytes by which the sizes and extensions of chunks may exceed the body."""
_LAST_LINES = (b"\r\n", b"\n", b"")
"""How a head or a body in chunks may end. The empty line is the end of the connection."""
T = TypeVar("T")


async def fetch(endpoint: Endpoint, request: Request) -> Response:
    """Send a request, and give up at its deadline. Raises ``ApiError``, or ``OptionError`` for unusable TLS files."""
    deadline = Deadline(request.timeout or endpoint.timeout)
    try:
        return await _within(deadline.remaining(), exchange(endpoint, request, deadline))
    except FAILURES as exc:
        raise failure(exc, endpoint, deadline) from None
    finally:
        deadline.cancel()


async def _within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises ``socket.timeout`` if it takes longer; `work` has ended by then."""
    # Not asyncio.wait_for, which before Python 3.12 may ignore being cancelled.
    task = asyncio.create_task(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise socket.timeout
        return task.result()
    finally:
        if task.cancel():
            await asyncio.wait({task}, timeout=_END_SECONDS)


async def exchange(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
    """One request and its response; the caller ends it at the deadline. Raises what :data:`FAILURES` has, or ``ApiError``."""
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


async def receive(reader: asyncio.StreamReader, limit: int) -> Response:
    """Read a response as :func:`read_response` does. Raises what ``http.client`` raises, or ``ApiError``."""
    head = await _read_head(reader)
    length = declared_length(head.status, head.getheader)
    wanted = bytes_to_read(length, limit)
    body = bytearray()
    if head.chunked and wanted:
        body = await _read_chunks(reader, limit)
    elif wanted:
        await _read_into(body, reader, wanted)
    return make_response(head.status, head.getheader, length, body, limit)


async def _read_head(reader: asyncio.StreamReader) -> ParsedResponse:
    """The head of the answer, after any that only announce it (100 Continue). ``http.client`` interprets them."""
    heads, status_lines, announced = bytearray(), _parser(b""), True
    while announced:
        line = await _read_line(reader)
        status_lines.fp = io.BytesIO(line)  # type: ignore[assignment]
        announced = status_lines._read_status()[1] == http.client.CONTINUE
        heads += line
        while line not in _LAST_LINES:
            line = await _read_line(reader)
            heads += line
            if len(heads) > _MAX_HEADS:
                raise too_many_headers()
    parsed = _parser(heads)
    parsed.begin()
    return parsed


def _parser(data: bytes | bytearray) -> ParsedResponse:
    # http.client asks a socket for its file.
    return ParsedResponse(SimpleNamespace(makefile=lambda _mode: io.BytesIO(data)))  # type: ignore[arg-type]


async def _read_into(body: bytearray, reader: asyncio.StreamReader, size: int) -> bool:
    """Append `size` bytes. False if the connection ends before that. It reads in pieces, so that no second copy is held."""
    while size:
        data = await reader.read(min(CHUNK, size))
        if not data:
            return False
        body += data
        size -= len(data)
    return True


async def _read_chunks(reader: asyncio.StreamReader, limit: int) -> bytearray:
    """The content of a body in chunks, up to one byte beyond `limit`."""
    body, framing, last = bytearray(), 0, False
    while len(body) <= limit:
        # The size of a chunk, or a trailer after the last one.
        line = await _read_line(reader)
        framing += len(line)
        if framing > len(body) + _MAX_FRAMING:
            raise ApiError("invalid", "sent an answer in smaller chunks than are accepted", "framing")
        if last and line in _LAST_LINES:
            break
        if not last:
            try:
                size = chunk_size(int(line.partition(b";")[0], 16))
                if not await _read_into(body, reader, min(size, limit + 1 - len(body))):
                    raise ApiError("disconnected", CUT_OFF)
                if size and len(body) <= limit:
                    await reader.readexactly(len(b"\r\n"))
            except (ValueError, asyncio.IncompleteReadError):
                raise ApiError("disconnected", CUT_OFF) from None
            last = not size
    return body


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """A line with its ending, or the part of it that came before the connection ended."""
    try:
        return await reader.readline()
    except ValueError:
        raise too_many_headers() from None


async def _connect(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """Connect as the blocking driver does: to the first address that accepts, each with its share of the remaining time."""
    host, port = endpoint.host, endpoint.port
    try:
        addresses = resolve(host, port, deadline, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        addresses = await in_thread(lambda: resolve(host, port, deadline))
    error: OSError = OSError("the name has no address")
    for number, address in enumerate(addresses):
        untried = len(addresses) - number
        connecting = _connect_to(*address)
        try:
            sock = await (_within(deadline.remaining() / untried, connecting) if untried > 1 else connecting)
        except OSError as exc:
            error = exc
        else:
            deadline.connected = True
            return sock
    raise error


async def _connect_to(family: int, kind: int, protocol: int, _name: str, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def in_thread(work: Callable[[], T]) -> T:
    """Wait for blocking work in a thread of its own. Unlike the thread of an executor, it does not keep Python from exiting."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(take: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            take(outcome)

    def run() -> None:
        done: tuple[Callable[[Any], None], Any]
        try:
            done = future.set_result, work()
        except BaseException as exc:
            done = future.set_exception, exc
        with contextlib.suppress(RuntimeError):  # The loop is closed: the result is no longer needed.
            loop.call_soon_threadsafe(settle, *done)

    while True:
        try:
            threading.Thread(target=run, daemon=True, name="lmstudio").start()
            break
        except RuntimeError:
            # The system allows no more threads now, as in a container with a limit.
            await asyncio.sleep(_NO_THREAD_SECONDS)
    return await future
