# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The target's transport, on ``http.client`` alone, and what both transports share: the deadline, the connection and the
bounded reading.

There is no netrc, no redirect, no cookie, no shared opener and no proxy unless asked for.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import Callable
from urllib.parse import urlsplit

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import (
    Endpoint,
)

_CHUNK = 65536
_MAX_DIGITS = 18
FRAMING_HINT = "Look at the proxy between, or check url and port: something else may answer there."
CUT_OFF = "closed the connection before the answer was complete"


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
    headers = endpoint.request_headers()
    target = urlsplit(endpoint.models_url).path
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    if endpoint.use_proxy or endpoint.scheme == "https":
        from ansible_collections.gpufleet.lmstudio.plugins.module_utils._route import proxy_of, tls_context

        proxy = proxy_of(endpoint)
        host, port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
        if endpoint.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, context=tls_context(endpoint))
            if proxy:
                connection.set_tunnel(endpoint.host, endpoint.port, headers=proxy.headers)
        elif proxy:
            connection = http.client.HTTPConnection(host, port)
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
        raise ApiError("invalid", "sent an answer in a transfer coding that was not asked for", FRAMING_HINT)
    text = header("Content-Length")
    if text is None or coding == "chunked":
        return None
    lengths = {part.strip() for part in text.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdecimal()):
        raise unclear_length()
    return int(length) if len(length) <= _MAX_DIGITS else 10**_MAX_DIGITS


def unclear_length() -> ApiError:
    return ApiError("invalid", "sent an answer whose Content-Length is not one number", FRAMING_HINT)


def _read_body(read: Callable[[int], bytes], limit: int, declared: int | None) -> tuple[bytes, bool]:
    """The body, and whether it was longer than `limit` and is not here. What follows the declared length is no part of it."""
    chunks: list[bytes] = []
    size = 0
    while size != declared:
        chunk = read(min(_CHUNK, (limit + 1 if declared is None else declared) - size))
        if not chunk:
            if declared is not None:
                raise ApiError("disconnected", CUT_OFF)
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
    # Here, because Ansible compiles what a module imports at every task, and most hosts answer.
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._failures import meaning_of

    return meaning_of(exc, endpoint, connecting)
