# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""One deadline for a whole exchange."""

from __future__ import annotations

import socket
import threading
import time


class Deadline:
    """Ends one exchange, whatever it is waiting for: name, connection, TLS, request, or the last byte of the answer. It knows how far
    the exchange got.

    A read timeout is not a deadline: it starts again at every byte. So the waiting side shuts the connection down from outside.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.connected = False
        """Whether there was a connection, to the server or to a proxy."""
        self.sent = False
        """Whether sending the request had begun."""
        self.ipv6_only = False
        """Whether the name has no IPv4 address."""
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._over = False

    def remaining(self) -> float:
        """Seconds that remain, never zero: for a socket zero means "do not wait at all"."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, sock: socket.socket) -> None:
        """Watch a connection from here on. A handle of our own stays valid when TLS wraps the socket."""
        self.connected = True
        handle = sock.dup()
        with self._lock:
            self._handle = handle
            over = self._over
        if over:
            self.cancel()
            raise socket.timeout("the deadline was already over")

    def cancel(self) -> None:
        """Shut the connection down, if there is one. Whatever still waits on it wakes up at once."""
        with self._lock:
            self._over = True
            handle, self._handle = self._handle, None
        if handle is not None:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            handle.close()
