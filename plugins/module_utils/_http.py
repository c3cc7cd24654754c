# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""HTTP: a request, a response, how much of a response is read, and where it ends. ``http.client`` parses all of them."""

from __future__ import annotations

import http.client
import io
import re
from types import SimpleNamespace
from typing import Callable, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import MODELS_PATH, Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import MAX_DIGITS, ApiError

CHUNK = 65536
CUT_OFF = "closed the connection before the answer was complete"
_NO_BODY = (204, 304)
_NEVER_READ = (401, 403)
"""HTTP statuses whose bodies quote the token."""
_MAX_HEAD = 256 * 1024
_MAX_OVERHEAD = 8
"""How many times the limit of a body its chunks may take, sizes and extensions included."""
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_ANNOUNCEMENT = re.compile(rb"HTTP/[0-9]\.[0-9] 1(?!01)[0-9][0-9]\b")
"""How an answer begins that only announces the real one. 101 is the last in HTTP."""


class Request(NamedTuple):
    method: str
    path: str
    """Below the base URL of the endpoint."""
    body: bytes = b""
    """JSON."""
    timeout: float | None = None
    """Seconds for the whole exchange. None stands for those of the endpoint."""

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The headers, the same from every driver."""
        own = {"Content-Type": "application/json", "Content-Length": str(len(self.body))} if self.body else {}
        return {**endpoint.request_headers(), **own}

    def encoded(self, endpoint: Endpoint) -> bytes:
        """What is sent. Its parts were checked when the endpoint was made."""
        lines = [f"{self.method} {endpoint.prefix}{self.path} HTTP/1.1", *map(": ".join, self.headers(endpoint).items()), "", ""]
        return "\r\n".join(lines).encode("ascii") + self.body


LIST_MODELS = Request("GET", MODELS_PATH)


class Response(NamedTuple):
    """An HTTP answer, as a driver read it."""

    http_status: int
    body: bytes = b""
    too_large: bool = False
    """The body was longer than the limit, and is not here."""
    content_type: str = ""
    content_encoding: str = ""
    location: str = ""
    authenticate: str = ""
    """Of a 401: what it wants (``WWW-Authenticate``)."""
    server: str = ""
    """What the program calls itself."""


class ParsedResponse(http.client.HTTPResponse):
    """Reads past every answer that only announces the real one, and believes no size below zero."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # Of the announcements, http.client knows 100 alone.
        return version, http.client.CONTINUE if 100 <= status < 200 and status != 101 else status, reason

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            # http.client would read to the end, however far that is.
            raise ApiError("invalid", "sent a chunk whose size is below zero", "framing")
        return size


def read_response(http_status: int, header: Callable[[str], str | None], read: Callable[[int], bytes], limit: int) -> Response:
    """Read a body up to `limit` bytes, whatever it says of its own length. What follows the declared length is no part of it."""
    declared = _declared_length(header)
    if not _has_body(http_status):
        declared = 0
    body = bytearray()
    end = limit + 1 if declared is None else declared
    while len(body) < end <= limit + 1:
        chunk = read(min(CHUNK, end - len(body)))
        if not chunk:
            break
        body += chunk
    too_large = max(len(body), declared or 0) > limit
    if declared is not None and len(body) < declared and not too_large:
        raise ApiError("disconnected", CUT_OFF)
    names = ("Content-Type", "Content-Encoding", "Location", "WWW-Authenticate", "Server")
    return Response(http_status, b"" if too_large else bytes(body), too_large, *(header(name) or "" for name in names))


def _has_body(http_status: int) -> bool:
    """Whether there is a body that is read."""
    return http_status >= 200 and http_status not in (*_NO_BODY, *_NEVER_READ)


def _declared_length(header: Callable[[str], str | None]) -> int | None:
    """The bytes that a body says it has, or None where its chunks or its end tell. Several headers are one text with commas.

    Raises :class:`ApiError` where nobody can say where the body ends: libraries guess differently there.
    """
    coding = (header("Transfer-Encoding") or "identity").strip().lower()
    if coding not in ("chunked", "identity"):
        raise ApiError("invalid", "sent an answer in a transfer coding that was not asked for", "framing")
    text = header("Content-Length")
    if text is None or coding == "chunked":
        return None
    lengths = {part.strip() for part in text.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdecimal()):
        raise unclear_length()
    return int(length) if len(length) <= MAX_DIGITS else 10**MAX_DIGITS


def unclear_length() -> ApiError:
    return ApiError("invalid", "sent an answer whose Content-Length is not one number", "framing")


class Arriving:
    """A response while it arrives, for a driver that cannot let ``http.client`` wait for the rest of it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._parsed: ParsedResponse | None = None
        self._length: int | None = None
        # Of a body in chunks: where the next chunk begins, and how many bytes the ones before have.
        self._chunk = 0
        self._size = 0

    def add(self, data: bytes) -> Response | None:
        """Take what has arrived, nothing at its end. The response is returned once all of it that is read is here.

        Raises what ``http.client`` raises, or :class:`ApiError`.
        """
        self._data += data
        if self._parsed is None:
            self._parsed = self._head(ended=not data)
            if self._parsed is None:
                return None
        if data and not self._is_complete(self._parsed):
            return None
        self._parsed.fp = io.BufferedReader(io.BytesIO(self._data))
        with self._parsed as parsed:
            return read_response(parsed.status, parsed.getheader, parsed.read, self._limit)

    def _head(self, ended: bool) -> ParsedResponse | None:
        """The head, once it is here."""
        while _ANNOUNCEMENT.match(self._data):
            end = _END_OF_HEAD.search(self._data)
            if not end:
                break
            del self._data[: end.end()]
        end = _END_OF_HEAD.search(self._data)
        # What is no HTTP may never have the end of a head.
        if not (end or ended or (b"\n" in self._data and not self._data.startswith(b"HTTP/"))):
            if len(self._data) > _MAX_HEAD:
                raise ApiError("invalid", "sent more HTTP headers, or longer ones, than are believed", "framing")
            return None
        at = end.end() if end else len(self._data)
        head = io.BytesIO(self._data[:at])
        # As a socket, which it asks for its file.
        parsed = ParsedResponse(SimpleNamespace(makefile=lambda _mode: head))  # type: ignore[arg-type]
        del self._data[:at]
        try:
            parsed.begin()
        finally:
            parsed.fp = None  # type: ignore[assignment]
        self._length = _declared_length(parsed.getheader)
        return parsed

    def _is_complete(self, parsed: ParsedResponse) -> bool:
        if not _has_body(parsed.status) or (self._length is not None and self._length > self._limit):
            return True
        if parsed.chunked:
            return self._last_chunk_is_here()
        return len(self._data) >= (self._limit + 1 if self._length is None else self._length)

    def _last_chunk_is_here(self) -> bool:
        """Whether ``http.client`` can read to the end, or to where it finds a fault, without waiting."""
        while True:
            line = self._data.find(b"\n", self._chunk)
            if line < 0:
                return len(self._data) - self._chunk > CHUNK
            try:
                size = int(bytes(self._data[self._chunk : line]).partition(b";")[0], 16)
            except ValueError:
                return True
            if size < 0:
                return True
            if size == 0:
                return bool(_END_OF_HEAD.search(self._data, line)) or len(self._data) - line > _MAX_HEAD
            arrived = len(self._data) - line - 1
            if self._size + min(size, arrived) > self._limit or len(self._data) > _MAX_OVERHEAD * self._limit + _MAX_HEAD:
                return True
            if arrived < size + 2:
                return False
            self._chunk = line + 1 + size + 2
            self._size += size
