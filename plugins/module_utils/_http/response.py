# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An HTTP response: how much of it is read, and where it ends. ``http.client`` parses every head."""

from __future__ import annotations

import http.client
from typing import Callable, NamedTuple

from .errors import ApiError

_CHUNK = 65536
_MAX_INTERIM_RESPONSES = 100
MAX_DIGITS = 18
"""The most digits of a whole number from a server. One with more is not believed."""
CUT_OFF = "closed the connection before the answer was complete"
_NO_BODY = (*range(200), 204, 304, 401, 403)
"""HTTP statuses whose body is not read: most have none, and LM Studio quotes the token in those of 401 and 403."""

GetHeader = Callable[[str], "str | None"]
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
    """Of a 401: what it requires (``WWW-Authenticate``)."""
    server: str = ""
    """What the program calls itself."""


class ParsedResponse(http.client.HTTPResponse):
    """Skips interim (1xx) responses, and rejects a chunk size below zero."""

    _interim_responses = 0

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # 101 ends HTTP on the connection. http.client itself skips no interim response but 100.
        if 100 <= status < 200 and status != 101:
            status = http.client.CONTINUE
            self._interim_responses += 1
            if self._interim_responses > _MAX_INTERIM_RESPONSES:
                raise ApiError("invalid", "sent too many interim (1xx) responses", "framing")
        return version, status, reason

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            # http.client would read until the connection ends, however much that is.
            raise ApiError("invalid", "sent a chunk whose size is below zero", "framing")
        return size


def read_response(http_status: int, header: GetHeader, read: Callable[[int], bytes], limit: int) -> Response:
    """Read a body up to `limit` bytes, whatever length it declares. What follows the declared length is not part of it."""
    length = declared_length(http_status, header)
    wanted = bytes_to_read(length, limit)
    body = bytearray()
    while len(body) < wanted:
        data = read(min(_CHUNK, wanted - len(body)))
        if not data:
            break
        body += data
    if length is not None and len(body) < length <= limit:
        raise ApiError("disconnected", CUT_OFF)
    too_large = max(len(body), length or 0) > limit
    names = ("Content-Type", "Content-Encoding", "Location", "WWW-Authenticate", "Server")
    return Response(http_status, b"" if too_large else bytes(body), too_large, *(header(name) or "" for name in names))


def bytes_to_read(length: int | None, limit: int) -> int:
    """The most that is read of a body: one byte more than `limit` shows that it is too large."""
    return limit + 1 if length is None else length if length <= limit else 0


def declared_length(http_status: int, header: GetHeader) -> int | None:
    """The declared length of a body, or None where chunks or the end of the connection end it. Several headers are one text with commas.

    Raises :class:`ApiError` where it is unclear where the body ends: libraries guess differently there.
    """
    coding = (header("Transfer-Encoding") or "identity").strip().lower()
    if coding not in ("chunked", "identity"):
        raise ApiError("invalid", "sent an answer in a transfer coding that was not requested", "framing")
    text = header("Content-Length")
    length = None
    if text is not None and coding != "chunked":
        digits, *others = {part.strip() for part in text.split(",")}
        if others or not (digits.isascii() and digits.isdecimal()):
            raise unclear_length()
        length = int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
    return 0 if http_status in _NO_BODY else length


def unclear_length() -> ApiError:
    return ApiError("invalid", "sent an answer whose Content-Length is not one number", "framing")
