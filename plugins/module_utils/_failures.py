# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What it means that a connection fails: the status, a sentence and the next step. Loaded only where one fails."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from urllib.parse import urlsplit

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint, is_loopback, printable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import CUT_OFF, timed_out
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http_client import FRAMING_HINT
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._route import proxy_of

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)
_PLAIN_HTTP_HINT = "Check that this port speaks TLS. LM Studio itself does not: without a proxy before it, write http://."

# OpenSSL's numbers of why a certificate is not trusted (X509_V_ERR_...), with what helps.
_CERTIFICATE_HINTS = {
    9: "Check the clock of the machine that asks, and that of the server which signed the certificate.",
    10: "Renew the certificate on the server. If it is new, check the clock of the machine that asks.",
    18: "Set ca_path to this certificate if you trust it, or have it signed by a CA that you trust.",
    19: "Set ca_path to the CA at the end of the server's chain if you trust it.",
    20: "Set ca_path to the CA that signed it, and check that the server sends its intermediate certificates.",
    21: "Set ca_path to the CA that signed it, and check that the server sends its intermediate certificates.",
    62: "Use the name in the URL that the certificate is for, or get a certificate for this one.",
    64: "Use the name in the URL that the certificate is for: it is not for this address.",
}


def meaning_of(exc: BaseException, endpoint: Endpoint, connecting: bool) -> ApiError:
    """What an exception of a connection means. `connecting` says whether the request had not been sent yet."""
    if isinstance(exc, socket.timeout):
        return timed_out(endpoint)
    if isinstance(exc, ssl.SSLError) and (connecting or not isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))):
        return _tls_failure(exc)
    proxy = proxy_of(endpoint) if connecting else None
    if proxy and isinstance(exc, OSError):
        return ApiError(
            "no_route",
            f"could not be reached through the proxy {proxy.url} ({_reason(exc)})",
            "Check the proxy that the environment names, or set use_proxy to false.",
        )
    if isinstance(exc, ConnectionRefusedError):
        return _refused(endpoint)
    if isinstance(exc, (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
        if connecting and endpoint.scheme == "https":
            return ApiError("tls", "closed the connection during the TLS handshake", _PLAIN_HTTP_HINT)
        return ApiError("disconnected", CUT_OFF)
    if isinstance(exc, OSError):
        return _system_failure(exc, endpoint, connecting)
    if isinstance(exc, http.client.LineTooLong) or str(exc).startswith("got more than"):
        # http.client has no exception of its own for too many headers.
        return ApiError(
            "invalid",
            "sent more HTTP headers, or longer ones, than are believed",
            FRAMING_HINT,
        )
    return ApiError(
        "invalid",
        "did not answer in HTTP",
        "Check url and port: another kind of server listens there. If it speaks TLS, write https://.",
    )


def _refused(endpoint: Endpoint) -> ApiError:
    hint = None
    if urlsplit(endpoint.url).port is None:
        hint = (
            f"The URL names no port, so port {endpoint.port} was asked. "
            "LM Studio listens on 1234 unless told otherwise: write it in the URL."
        )
    elif is_loopback(endpoint.host):
        hint = "Start LM Studio's server on this very host (lms server start), or set url or port to where it listens."
    return ApiError("refused", "refused the connection", hint)


def _system_failure(exc: OSError, endpoint: Endpoint, connecting: bool) -> ApiError:
    if exc.errno == errno.ETIMEDOUT:
        return timed_out(endpoint)
    if exc.errno in _NO_ROUTE or connecting:
        return ApiError("no_route", f"could not be reached ({_reason(exc)})")
    return ApiError("disconnected", f"broke the connection ({_reason(exc)})")


def _reason(exc: OSError) -> str:
    reason = printable(exc.strerror or str(exc)).rstrip(".")
    return reason[:1].lower() + reason[1:]


def _tls_failure(exc: ssl.SSLError) -> ApiError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        reason = printable(getattr(exc, "verify_message", "") or str(exc), 160).rstrip(".")
        return ApiError("tls", f"has a certificate that is not trusted ({reason})", _CERTIFICATE_HINTS.get(getattr(exc, "verify_code", 0)))
    reason = exc.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", ""):
        return ApiError("tls", "did not answer in TLS", _PLAIN_HTTP_HINT)
    hint = None
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        hint = "The server and this Python have no version of TLS in common. Let the server offer TLS 1.2 or later."
    elif "CERTIFICATE" in reason:
        hint = "It wants a client certificate that it accepts: set client_cert and client_key."
    elif "HANDSHAKE" in reason:
        hint = "It may want a client certificate (client_cert, client_key), or have no cipher in common with this Python."
    return ApiError("tls", "broke off the TLS handshake ({})".format(printable(reason.lower().replace("_", " "))), hint)
