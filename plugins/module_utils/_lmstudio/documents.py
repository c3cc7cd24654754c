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
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import MAX_DIGITS, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.coerce import cleaned, decompressed, too_large

_ODD_ESCAPE = r"\\u(?:[dD][89a-fA-F]|00[01789])|\\[bfr]"
"""Where JSON may hold half a character or a control character. Raw ones below a space are no JSON."""


def _decoded(response: Response, limit: int) -> bytes:
    """The body without its content encoding, never longer than `limit`. We do not ask for one, but proxies do as they like."""
    encoding = response.content_encoding.strip().lower()
    return response.body if encoding in ("", "identity") else decompressed(response.body, encoding, limit)


def _not_a_number(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _integer(digits: str) -> Any:
    # A number of a million digits takes minutes to convert; as infinity it fails every type check instead.
    return int(digits) if len(digits.lstrip("-")) <= MAX_DIGITS else math.inf


JSON = json.JSONDecoder(parse_constant=_not_a_number)
# A function of ours for every number doubles what decoding costs.
_JSON_OF_LONG_NUMBERS = json.JSONDecoder(parse_constant=_not_a_number, parse_int=_integer)
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)


def _text_of(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError("invalid", "sent a body that is not UTF-8 text") from None
    # The codec that drops this mark by itself is a file that each process would have to load.
    return text[1:] if text.startswith("\ufeff") else text


def _has_long_number(body: bytes) -> bool:
    return _LONG_NUMBER in body.translate(_DIGITS_AS_ZERO)


def _may_be_odd(body: bytes, text: str) -> bool:
    """Whether there may be half a character or a control character. Most answers have no place for one, which is seen quickly."""
    if b"\x7f" in body or (b"\xc2" in body and re.search(r"[\x80-\x9f]", text)):
        return True
    return b"\\" in body and re.search(_ODD_ESCAPE, text) is not None


def _parse(body: bytes, text: str) -> Any:
    """The JSON document. Raises :class:`ApiError` with status ``invalid``."""
    try:
        document = (_JSON_OF_LONG_NUMBERS if _has_long_number(body) else JSON).decode(text)
        if _may_be_odd(body, text):
            return cleaned(document)
        return document
    except RecursionError:
        raise ApiError("invalid", "sent JSON that is nested too deep") from None
    except ValueError:
        if not body.strip():
            raise ApiError("invalid", "sent an empty body", "empty") from None
        raise ApiError("invalid", "sent a body that is not valid JSON") from None


def read_document(response: Response, endpoint: Endpoint) -> Any:
    """The JSON document of a response with HTTP status 200. Raises :class:`ApiError`, the same for every endpoint of the API."""
    # An unreadable body matters only where the HTTP status does not say enough, so its error waits.
    body = b""
    document: Any = None
    unreadable: ApiError | None = None
    try:
        if response.too_large:
            raise too_large(endpoint.max_response_bytes)
        body = _decoded(response, endpoint.max_response_bytes)
        document = _parse(body, _text_of(body))
    except ApiError as exc:
        unreadable = exc
    if response.http_status == 200 and isinstance(document, dict) and not {"error", "message", "detail"} & document.keys():
        return document
    # Here, because most hosts send what was asked for, and Ansible compiles what a module imports at every task.
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.refusals import classify_response

    why = classify_response(response, endpoint, body, document, unreadable)
    if why:
        raise why
    return document
