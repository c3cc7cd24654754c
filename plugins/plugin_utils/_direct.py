# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Exchanges with many addresses side by side in one thread: the usual fleet, which is asked in the clear and answers plainly.

Names that have to be resolved, TLS and proxies are not for here: they can block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import (
    CHUNK,
    Guard,
    Incoming,
    NotPlain,
    failure,
    is_direct,
    request_of,
)


class Address(NamedTuple):
    """Where a socket connects to."""

    family: int
    kind: int
    protocol: int
    address: Any


class Begun(NamedTuple):
    """An answer that is not plain, with what has arrived of it. Whoever takes it has to close the socket."""

    sock: socket.socket
    data: bytes


def address_of(endpoint: Endpoint) -> Address | None:
    """The address of an endpoint that is asked directly, if its URL has one and no name."""
    if not is_direct(endpoint):
        return None
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    family, kind, protocol, _name, address = found[0]
    return Address(family, kind, protocol, address)


class _Exchange:
    """One of them. It first waits until it is connected, to send its request, then for its answer."""

    __slots__ = ("endpoint", "guard", "incoming", "number", "sock", "unsent")

    def __init__(self, number: int, endpoint: Endpoint, guard: Guard, sock: socket.socket) -> None:
        self.number = number
        self.endpoint = endpoint
        self.guard = guard
        self.sock = sock
        self.unsent = b""
        self.incoming: Incoming | None = None


class Exchanges:
    """Those that run now."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._running: set[_Exchange] = set()
        self._alarm, self._waker = socket.socketpair()
        for sock in (self._alarm, self._waker):
            sock.setblocking(False)
        self._selector.register(self._alarm, selectors.EVENT_READ)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, number: int, endpoint: Endpoint, address: Address, guard: Guard) -> ApiError | None:
        """Begin to ask. Returns why that is not possible."""
        try:
            sock = socket.socket(address.family, address.kind, address.protocol)
        except OSError as exc:
            return failure(exc, endpoint, guard, connecting=True)
        try:
            sock.setblocking(False)
            self._connect(sock, address)
            exchange = _Exchange(number, endpoint, guard, sock)
            self._selector.register(sock, selectors.EVENT_WRITE, exchange)
        except OSError as exc:
            sock.close()
            return failure(exc, endpoint, guard, connecting=True)
        self._running.add(exchange)
        return None

    def wake(self) -> None:
        """End the waiting of the thread that waits. For any other thread."""
        with contextlib.suppress(OSError):  # It is awake, or has nothing left to do.
            self._waker.send(b"!")

    def wait(self, seconds: float) -> Iterator[tuple[int, Answer | ApiError | Begun]]:
        """Wait until something happens, at most so long, and give what has ended."""
        for key, _events in self._selector.select(seconds):
            if key.fileobj is self._alarm:
                self._alarm.recv(CHUNK)
                self.leave_ended()
                continue
            exchange = key.data
            if exchange not in self._running:
                continue  # It was left just now, for the alarm that came together with this.
            ended: Answer | ApiError | Begun | None
            try:
                ended = self._go_on(exchange)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, ApiError) as exc:
                ended = failure(exc, exchange.endpoint, exchange.guard, connecting=exchange.incoming is None)
            if ended is not None:
                self._forget(exchange, close=not isinstance(ended, Begun))
                yield exchange.number, ended

    def leave_ended(self) -> None:
        """Forget those that are to end. Their guards hold no socket, because that would cost as much as sending the request."""
        for exchange in [exchange for exchange in self._running if exchange.guard.ended]:
            self._forget(exchange, close=True)

    def close(self) -> None:
        for exchange in list(self._running):
            self._forget(exchange, close=True)
        self._selector.close()
        self._alarm.close()
        self._waker.close()

    @staticmethod
    def _connect(sock: socket.socket, address: Address) -> None:
        code = sock.connect_ex(address.address)
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise OSError(code, os.strerror(code))

    def _go_on(self, exchange: _Exchange) -> Answer | Begun | None:
        if exchange.incoming is None:
            code = exchange.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            exchange.guard.connected = True
            exchange.unsent = request_of(exchange.endpoint)
            exchange.incoming = Incoming(exchange.endpoint.max_response_bytes)
        if exchange.unsent:
            exchange.unsent = exchange.unsent[exchange.sock.send(exchange.unsent) :]
            if not exchange.unsent:
                self._selector.modify(exchange.sock, selectors.EVENT_READ, exchange)
            return None
        data = exchange.sock.recv(CHUNK)
        try:
            return exchange.incoming.add(data)
        except NotPlain:
            return Begun(exchange.sock, data)

    def _forget(self, exchange: _Exchange, close: bool) -> None:
        self._running.discard(exchange)
        with contextlib.suppress(KeyError):  # The selector has forgotten it by itself when it could not change it.
            self._selector.unregister(exchange.sock)
        if close:
            exchange.sock.close()
