# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that answers with any bytes, HTTP or not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

EMPTY = b'{"models": []}'


class Server(threading.Thread):
    """Answers every request, each in a thread of its own, with the same bytes, or one byte at a time without end, and counts the requests."""

    def __init__(self, first: bytes, forever: bytes = b"", context: ssl.SSLContext | None = None):
        super().__init__(daemon=True)
        self.first, self.forever, self.context = first, forever, context
        self.asked, self.lock = 0, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        try:
            with client:
                self.answer(client)
        except (OSError, ValueError, IndexError):
            pass  # The client has heard enough, or has not asked.

    def answer(self, client):
        if self.context:
            client = self.context.wrap_socket(client, server_side=True)
        client.recv(65536)
        self.send(client, self.first)

    def send(self, client, first: bytes):
        with self.lock:
            self.asked += 1
        client.sendall(first)
        while self.forever:
            for byte in self.forever:
                client.sendall(bytes([byte]))
                time.sleep(0.01)  # The drip is the attack.
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        # So that whoever waits for a connection wakes up. Not every system can do it.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Answering(Server):
    """Answers each request with what a function of its method and its path returns."""

    def __init__(self, answer: Callable[[str, str], bytes]):
        self.answer_to = answer
        super().__init__(b"")

    def answer(self, client):
        method, path, *_rest = client.recv(65536).decode().split(" ")
        self.send(client, self.answer_to(method, path))


def http(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body])


def framed(*headers: bytes, body: bytes = EMPTY) -> bytes:
    """An answer with these headers and no others, which need not tell the length of the body."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body])


def chunks(body: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n0\r\n%s\r\n" % (len(body), extension, body, trailer)
