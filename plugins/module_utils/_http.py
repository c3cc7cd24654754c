# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The target's transport, on ``http.client`` alone, and what both transports share: the deadline, the connection, the
TLS options, the choice of a proxy, the bounded reading, and what a failure of any of them means.

There is no netrc, no redirect, no cookie, no shared opener and no proxy unless asked for.
"""

from __future__ import annotations

import base64
import errno
import functools
import http.client
import os
import socket
import ssl
import threading
import time
from typing import Callable, Iterable, NamedTuple
from urllib.parse import unquote, urlsplit

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import (
    Endpoint,
    OptionError,
    bracketed,
    is_loopback,
    printable,
)

_CHUNK = 65536
_MAX_DIGITS = 18
_FRAMING_HINT = "Look at the proxy between, or check url and port: something else may answer there."
_CUT_OFF = "closed the connection before the answer was complete"
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


class Guard:
    """Ends one exchange at its deadline, whatever the exchange is waiting for.

    A read timeout is no deadline: it starts again at every byte. So the waiting side shuts the connection from outside.
    """

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._end = self._began + seconds
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._over = False

    @property
    def overdue(self) -> bool:
        return time.monotonic() >= self._end

    def age(self) -> float:
        """Seconds since the exchange began."""
        return time.monotonic() - self._began

    def left(self) -> float:
        """Seconds that remain, never zero: for a socket zero means "do not wait at all"."""
        return max(self._end - time.monotonic(), 0.001)

    def hold(self, sock: socket.socket) -> None:
        """Watch this socket, in place of the one before. The handle of our own outlives a wrapping in TLS."""
        handle = sock.dup()
        with self._lock:
            before, self._handle = self._handle, handle
            over = self._over
        if before is not None:
            before.close()
        if over:
            self.end()
            raise ApiError("timeout", "did not answer in time")

    def end(self) -> None:
        """Shut the connection, if there is one. What still waits on it wakes up at once."""
        with self._lock:
            self._over = True
            handle, self._handle = self._handle, None
        if handle is not None:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            handle.close()


Exchange = Callable[[Endpoint, Guard], Answer]


def within_deadline(endpoint: Endpoint, run_exchange: Exchange) -> Answer:
    """Run an exchange and leave it at the endpoint's deadline, name resolution included.

    The exchange has a thread of its own, because nothing else can leave a name resolution that hangs.
    """
    guard = Guard(endpoint.timeout)
    answers: list[Answer] = []
    errors: list[BaseException] = []
    finished = threading.Event()

    def run() -> None:
        try:
            answers.append(run_exchange(endpoint, guard))
        except BaseException as exc:
            errors.append(exc)
        finally:
            finished.set()

    threading.Thread(target=run, daemon=True, name="lmstudio").start()
    try:
        in_time = finished.wait(guard.left())
    finally:
        guard.end()
    if not in_time:
        raise timed_out(endpoint)
    if errors:
        raise errors[0]
    return answers[0]


def fetch(endpoint: Endpoint) -> Answer:
    """Ask the endpoint for its models. Raises :class:`ApiError`, or :class:`OptionError` for unusable TLS files."""
    return within_deadline(endpoint, exchange)


def exchange(endpoint: Endpoint, guard: Guard) -> Answer:
    """One request and its answer, in the calling thread; whoever holds the guard ends it at the deadline."""
    proxy = proxy_of(endpoint)
    context = tls_context(endpoint) if endpoint.scheme == "https" else None
    headers = endpoint.request_headers()
    target = urlsplit(endpoint.models_url).path
    via = proxy or Proxy(endpoint.host, endpoint.port, {}, "")
    connection: http.client.HTTPConnection
    if context is not None:
        connection = http.client.HTTPSConnection(via.host, via.port, context=context)
        if proxy:
            connection.set_tunnel(endpoint.host, endpoint.port, headers=proxy.headers)
    else:
        connection = http.client.HTTPConnection(via.host, via.port)
        if proxy:
            target = endpoint.models_url
            headers.update(proxy.headers)
    # The one hook of http.client for how it connects: ours tries every address and is watched by the guard.
    connection._create_connection = lambda address, *_args, **_kwargs: connect(address[0], address[1], guard)  # type: ignore[attr-defined]
    try:
        try:
            connection.connect()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise failure(exc, endpoint, connecting=True) from None
        try:
            connection.request("GET", target, headers=headers)
            # The response holds the socket by now, so it is what has to be closed.
            with connection.getresponse() as response:
                return read_answer(response.status, response.getheader, response.read, endpoint.max_response_bytes)
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise failure(exc, endpoint, connecting=False) from None
    finally:
        connection.close()


def connect(host: str, port: int, guard: Guard) -> socket.socket:
    """A connection to the first address of a name that accepts one, each with its share of the time that is left."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise ApiError("dns", f"could not be asked: the name {host} does not resolve") from None
    error: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as exc:
            error = exc
            continue
        try:
            guard.hold(sock)
            sock.settimeout(guard.left() / (len(addresses) - number))
            sock.connect(address)
            sock.settimeout(guard.left())
            return sock
        except OSError as exc:
            error = exc
            sock.close()
        except BaseException:
            sock.close()
            raise
    raise error


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS options of an endpoint. Raises :class:`OptionError` for files that hold something else.

    Equal options share one, because reading the CA certificates of a system takes longer than an exchange.
    """
    return _tls_context(endpoint.validate_certs, endpoint.ca_path, endpoint.client_cert, endpoint.client_key)


@functools.lru_cache(maxsize=None)
def _tls_context(validate_certs: bool, ca_path: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    folder = ca_path is not None and os.path.isdir(ca_path)
    try:
        context = ssl.create_default_context(cafile=None if folder else ca_path, capath=ca_path if folder else None)
    except (OSError, ValueError):
        raise OptionError("ca_path", f"the file {printable(str(ca_path))!r} holds no CA certificates in PEM form.") from None
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert and client_key:
        try:
            # The empty password keeps OpenSSL from asking the terminal for one.
            context.load_cert_chain(client_cert, client_key, password="")
        except (OSError, ValueError):
            raise OptionError(
                "client_cert",
                f"{printable(client_cert)!r} and client_key {printable(client_key)!r} "
                "are no certificate and matching key in PEM form without a password.",
            ) from None
    return context


def check_files(endpoints: Iterable[Endpoint]) -> None:
    """Read what the TLS options and the environment's proxies say, anew, before many are asked. Raises :class:`OptionError`."""
    _tls_context.cache_clear()
    for endpoint in endpoints:
        proxy_of(endpoint)
        if endpoint.scheme == "https":
            tls_context(endpoint)


class Proxy(NamedTuple):
    host: str
    port: int
    headers: dict[str, str]
    """What the proxy itself wants to see: its credentials."""
    url: str
    """Without credentials."""


def proxy_of(endpoint: Endpoint) -> Proxy | None:
    """The proxy that the usual variables name for an endpoint, when the options allow one. Loopback never has one."""
    if not endpoint.use_proxy or is_loopback(endpoint.host):
        return None
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    proxies = getproxies_environment()
    kind = endpoint.scheme if proxies.get(endpoint.scheme) else "all"
    url = proxies.get(kind)
    if not url or proxy_bypass_environment(f"{endpoint.host}:{endpoint.port}", proxies):
        return None
    try:
        parts = urlsplit(url if "://" in url else "http://" + url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise OptionError("use_proxy", f"the environment variable {kind}_proxy is not a URL of the form http://HOST:PORT.")
    headers = {}
    if parts.username is not None:
        credentials = "{}:{}".format(unquote(parts.username), unquote(parts.password or ""))
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(credentials.encode("utf-8")).decode("ascii")
    return Proxy(host, port, headers, f"http://{bracketed(host)}:{port}")


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
    if http_status >= 200 and http_status not in (204, 304, 401, 403) and not too_large:
        body, too_large = _read_body(read, limit, declared)
    return Answer(
        http_status=http_status,
        body=body,
        content_type=header("Content-Type") or "",
        content_encoding=header("Content-Encoding") or "",
        location=header("Location") or "",
        too_large=too_large,
    )


def _declared_length(header: Callable[[str], str | None]) -> int | None:
    """The bytes that a body says it has, or None where its chunks or its end tell. Several headers are one text with commas.

    Raises :class:`ApiError` where nobody can say where the body ends: libraries guess differently there.
    """
    coding = (header("Transfer-Encoding") or "identity").strip().lower()
    if coding not in ("chunked", "identity"):
        raise ApiError("invalid", "sent an answer in a transfer coding that was not asked for", _FRAMING_HINT)
    text = header("Content-Length")
    if text is None or coding == "chunked":
        return None
    lengths = {part.strip() for part in text.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdecimal()):
        raise unclear_length()
    return int(length) if len(length) <= _MAX_DIGITS else 10**_MAX_DIGITS


def unclear_length() -> ApiError:
    return ApiError("invalid", "sent an answer whose Content-Length is not one number", _FRAMING_HINT)


def _read_body(read: Callable[[int], bytes], limit: int, declared: int | None) -> tuple[bytes, bool]:
    """The body, and whether it was longer than `limit` and is not here. What follows the declared length is no part of it."""
    chunks: list[bytes] = []
    size = 0
    while size != declared:
        chunk = read(min(_CHUNK, (limit + 1 if declared is None else declared) - size))
        if not chunk:
            if declared is not None:
                raise ApiError("disconnected", _CUT_OFF)
            break
        size += len(chunk)
        if size > limit:
            return b"", True
        chunks.append(chunk)
    return b"".join(chunks), False


def timed_out(endpoint: Endpoint) -> ApiError:
    return ApiError("timeout", f"did not answer within {endpoint.timeout:g} seconds")


def failure(exc: BaseException, endpoint: Endpoint, connecting: bool) -> ApiError:
    """What an exception of a connection means. `connecting` says whether the request had not been sent yet."""
    if isinstance(exc, ApiError):
        return exc
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
        return ApiError("disconnected", _CUT_OFF)
    if isinstance(exc, OSError):
        return _system_failure(exc, endpoint, connecting)
    if isinstance(exc, http.client.LineTooLong) or str(exc).startswith("got more than"):
        # http.client has no exception of its own for too many headers.
        return ApiError(
            "invalid",
            "sent more HTTP headers, or longer ones, than are believed",
            _FRAMING_HINT,
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
