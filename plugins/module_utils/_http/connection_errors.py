# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What a failed connection means: the status, a sentence and the next step. Loaded only when a connection fails."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from urllib.parse import urlsplit

from .._text import count, printable
from .deadline import Deadline
from .endpoint import Endpoint
from .errors import ApiError
from .ip_addresses import is_loopback
from .response import CUT_OFF
from .tls import proxy_of

_NO_ROUTE: dict[int | None, str | None] = {
    **dict.fromkeys((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "open files"),
    **dict.fromkeys((errno.ENOBUFS, errno.ENOMEM), "memory"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "not permitted"),
    **dict.fromkeys((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL), "own address"),
}
"""Why the system makes no connection, with the case of each reason. None stands for the network in between."""

# OpenSSL's numbers for why a certificate is not trusted (X509_V_ERR_...), with the case of each.
_CERTIFICATE_CASES = {
    9: "clock",
    10: "expired",
    18: "self-signed",
    19: "own CA",
    20: "unknown CA",
    21: "unknown CA",
    62: "other name",
    64: "other address",
}
_HTTP2_FRAME = re.compile(r"\A\0..[\x04\x07].\0{4}", re.DOTALL)
"""How the answer of a server that speaks only HTTP/2 begins: with a SETTINGS or a GOAWAY frame."""


def classify_exception(exc: BaseException, endpoint: Endpoint, deadline: Deadline) -> ApiError:
    """What an exception raised by an exchange means. The deadline knows how far the exchange got."""
    connecting = not deadline.sent
    # The system's own timeout is the same exception from Python 3.10 on.
    if isinstance(exc, (socket.timeout, TimeoutError)):
        return _timed_out(endpoint, deadline)
    if isinstance(exc, ssl.SSLError) and (connecting or not isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))):
        return _tls_failure(exc, endpoint)
    proxy = proxy_of(endpoint) if connecting else None
    if isinstance(exc, (socket.gaierror, UnicodeError)):
        name = f"the proxy's name {proxy.host}" if proxy else f"the name {endpoint.host}"
        return ApiError("dns", f"could not be reached: {name} does not resolve", "proxy" if proxy else None)
    if proxy and isinstance(exc, OSError):
        return ApiError(
            "no_route", f"could not be reached through the proxy {proxy.url} ({_reason(exc)})", _NO_ROUTE.get(exc.errno) or "proxy"
        )
    if isinstance(exc, ConnectionRefusedError):
        return _refused(endpoint, deadline)
    if isinstance(exc, (http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
        if connecting and endpoint.scheme == "https":
            return _closed_in_handshake()
        # A server that expects TLS may close the connection without a word.
        is_silent = endpoint.scheme == "http" and isinstance(exc, ConnectionError)
        return ApiError("disconnected", CUT_OFF, "without TLS" if is_silent else None)
    if isinstance(exc, OSError) and (connecting or exc.errno in _NO_ROUTE):
        return ApiError("no_route", f"could not be reached ({_reason(exc)})", _NO_ROUTE.get(exc.errno, "other"))
    if isinstance(exc, OSError):
        return ApiError("disconnected", f"broke the connection ({_reason(exc)})")
    if isinstance(exc, http.client.LineTooLong) or str(exc).startswith("got more than"):
        # http.client has no exception of its own for too many headers.
        return ApiError("invalid", "sent more HTTP headers, or longer ones, than are accepted", "framing")
    if isinstance(exc, http.client.BadStatusLine) and _HTTP2_FRAME.match(str(exc.args[0])):
        return ApiError("invalid", "answered with HTTP/2, which was not requested", "HTTP/2")
    return ApiError("invalid", "does not speak HTTP", "not HTTP")


def _timed_out(endpoint: Endpoint, deadline: Deadline) -> ApiError:
    problem = f"did not answer within {count(deadline.seconds, 'second')}"
    proxy = proxy_of(endpoint)
    if not deadline.connected:
        return ApiError("timeout", f"{problem} (no connection was made{' to the proxy' if proxy else ''})", "no proxy" if proxy else None)
    if proxy:
        return ApiError("timeout", f"{problem} (the proxy accepted the connection)", "proxy")
    return ApiError("timeout", f"{problem} (it accepted the connection)", "connected")


def _refused(endpoint: Endpoint, deadline: Deadline) -> ApiError:
    case = None
    if deadline.ipv6_only:
        case = "IPv6"
    elif urlsplit(endpoint.url).port is None:
        case = "no port"
    elif is_loopback(endpoint.host):
        case = "this machine"
    return ApiError("refused", "refused the connection", case)


def _reason(exc: OSError) -> str:
    # The system's own words, which asyncio replaces. A proxy's words may quote what it was sent, so only its status is used.
    refused = re.match(r"Tunnel connection failed: \d+", str(exc))
    reason = printable(os.strerror(exc.errno) if exc.errno else refused[0] if refused else str(exc)).rstrip(".")
    return reason[:1].lower() + reason[1:]


def _closed_in_handshake() -> ApiError:
    return ApiError("tls", "closed the connection during the TLS handshake", "closed")


def _tls_failure(exc: ssl.SSLError, endpoint: Endpoint) -> ApiError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        reason = printable(getattr(exc, "verify_message", "") or str(exc), 160).rstrip(".")
        case = _CERTIFICATE_CASES.get(getattr(exc, "verify_code", 0))
        if endpoint.ca_path and case in ("self-signed", "own CA", "unknown CA"):
            case = "another CA"
        return ApiError("tls", f"has a certificate that is not trusted ({reason})", case)
    reason = exc.reason or ""
    if reason in ("UNEXPECTED_EOF_WHILE_READING", ""):
        return _closed_in_handshake()
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return ApiError("tls", "does not speak TLS", "not TLS")
    cases = {"PROTOCOL_VERSION": "old", "UNSUPPORTED_PROTOCOL": "old", "CERTIFICATE": "client certificate", "HANDSHAKE": "handshake"}
    case = next((case for part, case in cases.items() if part in reason), None)
    return ApiError("tls", "broke off the TLS handshake ({})".format(printable(reason.lower().replace("_", " "))), case)
