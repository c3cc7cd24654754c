# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The transport of a target, and of the controller in the clear; and what all transports share: the deadline and the connection.

A plain answer is read here, straight from the socket. TLS, proxies and every other kind of answer are left to ``http.client``, which
most hosts need not load. There is no netrc, no redirect, no cookie, no shared opener and no proxy unless asked for.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Callable

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import MAX_DIGITS, Answer
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import ApiError

CHUNK = 65536
NEVER_READ = (401, 403)
"""HTTP statuses whose bodies quote the token."""
CUT_OFF = "closed the connection before the answer was complete"

# A head that every reader of HTTP understands in the same way. Its names and values are ASCII without control characters.
_PLAIN_HEAD = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9]) [\t -~]*\r\n((?:[A-Za-z0-9-]+:[\t -~]*\r\n){1,64})\r\n")


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
        self.connected = False
        """Whether a connection stood, to the server or to a proxy."""

    @property
    def overdue(self) -> bool:
        return time.monotonic() >= self._end

    @property
    def ended(self) -> bool:
        return self._over

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
        raise timed_out(endpoint, guard)
    if errors:
        raise errors[0]
    return answers[0]


def fetch(endpoint: Endpoint) -> Answer:
    """Ask the endpoint for its models. Raises :class:`ApiError`, or :class:`OptionError` for unusable TLS files."""
    return within_deadline(endpoint, exchange)


def exchange(endpoint: Endpoint, guard: Guard) -> Answer:
    """One request and its answer, in the calling thread; whoever holds the guard ends it at the deadline."""
    if not is_direct(endpoint):
        from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _http_client

        return _http_client.exchange(endpoint, guard)
    try:
        sock = connect(endpoint.host, endpoint.port, guard)
    except (OSError, ValueError) as exc:
        raise failure(exc, endpoint, guard, connecting=True) from None
    with sock:
        try:
            sock.sendall(request_of(endpoint))
            incoming, data, answer = Incoming(endpoint.max_response_bytes), b"", None
            while answer is None:
                data = sock.recv(CHUNK)
                answer = incoming.add(data)
            return answer
        except NotPlain:
            return read_on(endpoint, sock, data, guard)
        except (OSError, ValueError) as exc:
            raise failure(exc, endpoint, guard, connecting=False) from None


def is_direct(endpoint: Endpoint) -> bool:
    """Whether an endpoint is asked in the clear and without a proxy."""
    return endpoint.scheme == "http" and not endpoint.use_proxy


def request_of(endpoint: Endpoint) -> bytes:
    """The request to an endpoint that is asked directly. Its parts were checked when the endpoint was made."""
    lines = [f"GET {endpoint.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in endpoint.request_headers().items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class NotPlain(Exception):
    """An answer that is not of the plain kind, so ``http.client`` has to read it."""


class Incoming:
    """A plain answer while it arrives: its whole head comes first and at once, and says how long the body is."""

    __slots__ = ("_body", "_head", "_length", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head: Answer | None = None
        self._length = 0
        self._body = bytearray()

    def add(self, data: bytes) -> Answer | None:
        """Take what has arrived, nothing at its end. The answer is returned once it is there.

        Raises :class:`NotPlain` when the first that arrives is no plain head, or :class:`ApiError` when the end comes too early.
        """
        if self._head is None:
            self._head, data = self._read_head(data)
        elif not data:
            raise ApiError("disconnected", CUT_OFF)
        self._body += data
        if len(self._body) < self._length:
            return None
        # What follows the declared length is no part of the answer.
        del self._body[self._length :]
        return self._head._replace(body=bytes(self._body))

    def _read_head(self, data: bytes) -> tuple[Answer, bytes]:
        """What the head says, and what has arrived of the body."""
        head = _PLAIN_HEAD.match(data)
        if not head:
            raise NotPlain
        headers: dict[str, str] = {}
        for line in head[2].decode("ascii").splitlines():
            name, _colon, value = line.partition(":")
            if name.lower() in headers:
                raise NotPlain
            headers[name.lower()] = value.strip()
        status, length = int(head[1]), headers.get("content-length", "")
        if status in (204, 304) or "transfer-encoding" in headers or not length.isdecimal() or len(length) > MAX_DIGITS:
            raise NotPlain
        too_large = int(length) > self._limit
        self._length = 0 if too_large or status in NEVER_READ else int(length)
        answer = Answer(
            http_status=status,
            content_type=headers.get("content-type", ""),
            content_encoding=headers.get("content-encoding", ""),
            location=headers.get("location", ""),
            authenticate=headers.get("www-authenticate", ""),
            server=headers.get("server", ""),
            too_large=too_large,
        )
        return answer, data[head.end() :]


def read_on(endpoint: Endpoint, sock: socket.socket, begun: bytes, guard: Guard) -> Answer:
    """The answer that began with these bytes, and is not plain."""
    # Here, because Ansible compiles what a module imports at every task, and most answers are plain.
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _http_client

    return _http_client.read_on(endpoint, sock, begun, guard)


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
            guard.connected = True
            sock.settimeout(guard.left())
            return sock
        except OSError as exc:
            error = exc
            sock.close()
        except BaseException:
            sock.close()
            raise
    if isinstance(error, ConnectionRefusedError) and all(family == socket.AF_INET6 for family, *_rest in addresses):
        raise RefusedOnIPv6
    raise error


class RefusedOnIPv6(ConnectionRefusedError):
    """Nobody listens, and no address was an IPv4 one."""


def timed_out(endpoint: Endpoint, guard: Guard) -> ApiError:
    # Here, because Ansible compiles what a module imports at every task, and most hosts answer.
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _failures

    return _failures.timed_out(endpoint, guard)


def failure(exc: BaseException, endpoint: Endpoint, guard: Guard, connecting: bool) -> ApiError:
    """What an exception of a connection means. `connecting` says whether the request had not been sent yet."""
    if isinstance(exc, ApiError):
        return exc
    # Here, because Ansible compiles what a module imports at every task, and most hosts answer.
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._failures import meaning_of

    return meaning_of(exc, endpoint, guard, connecting)
