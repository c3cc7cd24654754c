# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The JSON document of a response, or a typed error: the same for every endpoint of the API.

Nothing a server sends is believed: size, encoding, depth and numbers are checked.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any, Callable, TypeVar

from .._http.endpoint import Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import MAX_DIGITS, Response
from .._text import printable

Read = TypeVar("Read")
_ODD = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
"""A control character other than tab and line feed, or half a character, as an escape may have it."""
_MAY_BE_ODD = (b"\\", b"\x7f", b"\xc2")
"""Most documents have none of these, and so no such character: raw ones below a space are not JSON."""


def _integer(digits: str) -> Any:
    # A number of a million digits takes minutes to convert; as infinity it fails every type check instead.
    return int(digits) if len(digits.lstrip("-")) <= MAX_DIGITS else math.inf


# NaN and Infinity are not JSON, and int raises ValueError for them.
_JSON = json.JSONDecoder(parse_constant=int, parse_int=_integer)


def _parse(body: bytes) -> Any:
    """The JSON document. Raises :class:`ApiError` with status ``invalid``."""
    try:
        # The codec that drops this mark by itself is a file that each process would have to load.
        document = _JSON.decode(body.decode("utf-8").lstrip("\ufeff"))
        return _clean(document) if any(sign in body for sign in _MAY_BE_ODD) else document
    except RecursionError:
        raise ApiError("invalid", "sent JSON that is nested too deeply") from None
    except UnicodeDecodeError:
        raise ApiError("invalid", "sent a body that is not UTF-8 text") from None
    except ValueError:
        if not body.strip():
            raise ApiError("invalid", "sent an empty body", "empty") from None
        raise ApiError("invalid", "sent a body that is not valid JSON") from None


def _too_large(limit: int) -> ApiError:
    return ApiError("invalid", f"sent more than the {limit} bytes that are allowed", "size")


def _content(response: Response, limit: int) -> bytes:
    """The body without its content encoding, never longer than `limit`. We do not ask for one, but proxies do as they like."""
    encoding = response.content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return response.body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ApiError("invalid", f"sent a body in an encoding that was not requested ({printable(encoding, 20)})", "compressed")
    try:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        plain = decoder.decompress(response.body, limit + 1)
    except zlib.error:
        raise ApiError("invalid", f"sent a body that claims to be {encoding} but is not", "compressed") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not decoder.eof:
        raise ApiError("invalid", f"sent a {encoding} body that ends too early", "compressed")
    return plain


def _clean(value: Any) -> Any:
    """The document with text that can be encoded, and shown on a terminal: what cannot becomes the replacement character."""
    if isinstance(value, str):
        return value if value.isprintable() else re.sub(_ODD, "\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def read_document(response: Response, endpoint: Endpoint, request: Request, read: Callable[[Any], Read]) -> Read:
    """What `read` makes of the JSON document of a response with HTTP status 200. Raises :class:`ApiError`, as `read` may do."""
    # An unreadable body matters only where the HTTP status does not say enough, so its error waits.
    body = b""
    document: Any = None
    unreadable: ApiError | None = None
    try:
        if response.too_large:
            raise _too_large(endpoint.max_response_bytes)
        body = _content(response, endpoint.max_response_bytes)
        document = _parse(body)
    except ApiError as exc:
        unreadable = exc
    try:
        if response.http_status != 200 or not isinstance(document, dict) or {"error", "message", "detail"} & document.keys():
            # Imported here, because most hosts send what was requested, and Ansible compiles what a module imports for every task.
            from .response_errors import classify_response

            why = classify_response(response, endpoint, request, body, document, unreadable)
            if why:
                why.document = document
                raise why
        return read(document)
    except ApiError as exc:
        exc.http_status = response.http_status
        raise
