# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An HTTP response: how much of it is read, and where it ends. ``http.client`` parses every head."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
from types import SimpleNamespace
from typing import Callable, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import MAX_DIGITS, ApiError

CHUNK = 65536
CUT_OFF = "closed the connection before the answer was complete"
_NO_BODY = (204, 304)
_NEVER_READ = (401, 403)
"""HTTP statuses whose bodies quote the token."""
_MAX_HEAD = 256 * 1024
_MAX_OVERHEAD = 1024 * 1024
"""Bytes by which the sizes and extensions of chunks may be more than the body in them."""
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_ANNOUNCEMENT = re.compile(rb"HTTP/\S*[ \t]+1(?!01)[0-9][0-9]\s")
"""How an answer begins that only announces the real one. 101 is the last in HTTP."""

Header = Callable[[str], "str | None"]
"""Gives the value of a header, or None."""


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
            raise below_zero()
        return size


def read_response(http_status: int, header: Header, read: Callable[[int], bytes], limit: int) -> Response:
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
    if declared is not None and len(body) < declared <= limit:
        raise ApiError("disconnected", CUT_OFF)
    return _response(http_status, header, body, max(len(body), declared or 0) > limit)


def _response(http_status: int, header: Header, body: bytearray, too_large: bool) -> Response:
    names = ("Content-Type", "Content-Encoding", "Location", "WWW-Authenticate", "Server")
    return Response(http_status, b"" if too_large else bytes(body), too_large, *(header(name) or "" for name in names))


def _has_body(http_status: int) -> bool:
    """Whether there is a body that is read."""
    return http_status >= 200 and http_status not in (*_NO_BODY, *_NEVER_READ)


def _declared_length(header: Header) -> int | None:
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
    """A response while it arrives, for a driver that cannot let ``http.client`` wait for the rest of it. That parses the head."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._head: ParsedResponse | None = None
        self._searched = 0
        self._length: int | None = None
        self._body = bytearray()
        # Of a body in chunks: what is left of this one, and of the line end after it; what was no body; whether the last one was there.
        self._left = self._line_end = self._overhead = 0
        self._last = False

    def add(self, data: bytes) -> Response | None:
        """Take what has arrived, nothing at its end. The response is returned once all of it that is read is here.

        Raises what ``http.client`` raises, or :class:`ApiError`.
        """
        self._data += data
        if self._head is None:
            self._head = self._parse_head(ended=not data)
        head = self._head
        if head is None:
            return None
        too_large = _has_body(head.status) and (self._length or 0) > self._limit
        if _has_body(head.status) and not too_large:
            complete = self._take_chunks() if head.chunked else self._take_all()
            too_large = len(self._body) > self._limit
            if not (complete or too_large):
                if data:
                    return None
                if self._length is not None or (head.chunked and not self._last):
                    raise ApiError("disconnected", CUT_OFF)
        return _response(head.status, head.getheader, self._body, too_large)

    def _parse_head(self, ended: bool) -> ParsedResponse | None:
        """The head, once it is here."""
        while True:
            end = _END_OF_HEAD.search(self._data, max(self._searched - 3, 0))
            self._searched = len(self._data)
            if not end or not _ANNOUNCEMENT.match(self._data):
                break
            # Nothing is left behind it, once it is read past.
            with contextlib.suppress(http.client.RemoteDisconnected):
                self._begin(end.end())
        # What is no HTTP may never have the end of a head.
        if not (end or ended or (b"\n" in self._data and not self._data.startswith(b"HTTP/"))):
            if len(self._data) > _MAX_HEAD:
                raise too_many_headers()
            return None
        parsed = self._begin(end.end() if end else len(self._data))
        self._length = _declared_length(parsed.getheader)
        return parsed

    def _begin(self, end: int) -> ParsedResponse:
        """What the bytes until there are as a head."""
        file = io.BytesIO(self._data[:end])
        del self._data[:end]
        self._searched = 0
        # As a socket, which it asks for its file.
        parsed = ParsedResponse(SimpleNamespace(makefile=lambda _mode: file))  # type: ignore[arg-type]
        try:
            parsed.begin()
        finally:
            parsed.fp = None  # type: ignore[assignment]
        return parsed

    def _take_all(self) -> bool:
        self._body += self._data if self._length is None else self._data[: self._length - len(self._body)]
        self._data.clear()
        return len(self._body) == self._length

    def _take_chunks(self) -> bool:
        """Take the chunks that are here out of their framing. Whether the last one is, with what follows it."""
        at, complete = 0, False
        while not complete and at < len(self._data) and len(self._body) <= self._limit:
            if self._left:
                part = self._data[at : at + self._left]
                self._body += part
                self._left -= len(part)
                at += len(part)
            elif self._line_end:
                at += 1
                self._line_end -= 1
            else:
                # The size of a chunk, or after the last one whatever a server has to add.
                end = self._data.find(b"\n", at)
                if (end if end >= 0 else len(self._data)) - at >= CHUNK:
                    raise too_many_headers()
                if end < 0:
                    break
                line = bytes(self._data[at:end])
                at = end + 1
                self._overhead += len(line)
                if self._last:
                    complete = line in (b"", b"\r")
                else:
                    self._left = _chunk_size(line)
                    self._last = not self._left
                    self._line_end = 0 if self._last else 2
        del self._data[:at]
        if self._overhead > len(self._body) + _MAX_OVERHEAD:
            raise ApiError("invalid", "sent an answer in smaller chunks than are believed", "framing")
        return complete


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError:
        raise ApiError("disconnected", CUT_OFF) from None
    if size < 0:
        raise below_zero()
    return size


def below_zero() -> ApiError:
    return ApiError("invalid", "sent a chunk whose size is below zero", "framing")


def too_many_headers() -> ApiError:
    return ApiError("invalid", "sent more HTTP headers, or longer ones, than are believed", "framing")
