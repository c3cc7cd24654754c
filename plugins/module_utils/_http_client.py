# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What is left to ``http.client``: exchanges over TLS or through a proxy, and answers that are not plain.

Loaded only where one of them comes.
"""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any, Callable

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import MAX_DIGITS, Answer
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import HINTS, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import CHUNK, CUT_OFF, NEVER_READ, Guard, connect, failure
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._route import proxy_of, tls_context

_NOT_READ = (204, 304, *NEVER_READ)
"""HTTP knows no body for the first two."""


def exchange(endpoint: Endpoint, guard: Guard) -> Answer:
    """One request and its answer, in the calling thread; whoever holds the guard ends it at the deadline."""
    headers = endpoint.request_headers()
    target = endpoint.target
    proxy = proxy_of(endpoint)
    host, port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
    if endpoint.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=tls_context(endpoint))
        if proxy:
            connection.set_tunnel(endpoint.host, endpoint.port, headers=proxy.headers)
    else:
        connection = http.client.HTTPConnection(host, port)
        if proxy:
            target = endpoint.models_url
            headers.update(proxy.headers)
    connection.response_class = Response
    # The one hook of http.client for how it connects: ours tries every address and is watched by the guard.
    connection._create_connection = lambda address, *_args, **_kwargs: connect(address[0], address[1], guard)  # type: ignore[attr-defined]
    try:
        try:
            connection.connect()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise failure(exc, endpoint, guard, connecting=True) from None
        try:
            connection.request("GET", target, headers=headers)
            # The response holds the socket by now, so it is what has to be closed.
            with connection.getresponse() as response:
                return read_answer(response.status, response.getheader, response.read, endpoint.max_response_bytes)
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise failure(exc, endpoint, guard, connecting=False) from None
    finally:
        connection.close()


def read_on(endpoint: Endpoint, sock: socket.socket, begun: bytes, guard: Guard) -> Answer:
    """The answer that began with these bytes."""
    response = Response(_Begun(sock, begun), method="GET")  # type: ignore[arg-type]
    try:
        with response:
            response.begin()
            return read_answer(response.status, response.getheader, response.read, endpoint.max_response_bytes)
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise failure(exc, endpoint, guard, connecting=False) from None


class Response(http.client.HTTPResponse):
    """Reads past every answer that only announces the real one, and believes no size below zero."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # 101 is the last in HTTP. Of the others, http.client knows 100 alone.
        return version, http.client.CONTINUE if 100 <= status < 200 and status != 101 else status, reason

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            # http.client would read to the end, however far that is.
            raise ApiError("invalid", "sent a chunk whose size is below zero", HINTS["invalid: framing"])
        return size


class _Begun(io.RawIOBase):
    """What arrives from a socket, with what has arrived from it before in front."""

    def __init__(self, sock: socket.socket, begun: bytes) -> None:
        self._sock = sock
        self._begun = begun

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As ``http.client`` asks a socket for its file."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._begun:
            return self._sock.recv_into(buffer)
        size = min(len(buffer), len(self._begun))
        buffer[:size], self._begun = self._begun[:size], self._begun[size:]
        return size


def read_answer(
    http_status: int,
    header: Callable[[str], str | None],
    read: Callable[[int], bytes],
    limit: int,
) -> Answer:
    """Read a body up to `limit` bytes, whatever it says of its own length.

    The body of a 401 or a 403 quotes the token and is never read. HTTP knows none for 1xx, 204 and 304.
    """
    declared = _declared_length(header)
    body = b""
    too_large = declared is not None and declared > limit
    if http_status >= 200 and http_status not in _NOT_READ and not too_large:
        body, too_large = _read_body(read, limit, declared)
    return Answer(
        http_status=http_status,
        body=body,
        content_type=header("Content-Type") or "",
        content_encoding=header("Content-Encoding") or "",
        location=header("Location") or "",
        authenticate=header("WWW-Authenticate") or "",
        server=header("Server") or "",
        too_large=too_large,
    )


def _declared_length(header: Callable[[str], str | None]) -> int | None:
    """The bytes that a body says it has, or None where its chunks or its end tell. Several headers are one text with commas.

    Raises :class:`ApiError` where nobody can say where the body ends: libraries guess differently there.
    """
    coding = (header("Transfer-Encoding") or "identity").strip().lower()
    if coding not in ("chunked", "identity"):
        raise ApiError("invalid", "sent an answer in a transfer coding that was not asked for", HINTS["invalid: framing"])
    text = header("Content-Length")
    if text is None or coding == "chunked":
        return None
    lengths = {part.strip() for part in text.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdecimal()):
        raise unclear_length()
    return int(length) if len(length) <= MAX_DIGITS else 10**MAX_DIGITS


def unclear_length() -> ApiError:
    return ApiError("invalid", "sent an answer whose Content-Length is not one number", HINTS["invalid: framing"])


def _read_body(read: Callable[[int], bytes], limit: int, declared: int | None) -> tuple[bytes, bool]:
    """The body, and whether it was longer than `limit` and is not here. What follows the declared length is no part of it."""
    chunks: list[bytes] = []
    size = 0
    while size != declared:
        chunk = read(min(CHUNK, (limit + 1 if declared is None else declared) - size))
        if not chunk:
            if declared is not None:
                raise ApiError("disconnected", CUT_OFF)
            break
        size += len(chunk)
        if size > limit:
            return b"", True
        chunks.append(chunk)
    return b"".join(chunks), False
