# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The blocking driver: one exchange in a thread, with ``http.client``, in the clear, over TLS or through a proxy. Targets always use it, and the
controller where it asks one host in the clear. (The other drivers are ``_requests.py`` and ``_fleet/event_loop.py`` in ``plugin_utils``.)

There is no netrc, no redirect, no cookie, no shared opener and no proxy unless asked for.
"""

from __future__ import annotations

import http.client
import socket
import threading
from typing import Any, Callable

from .deadline import Deadline
from .endpoint import Endpoint
from .errors import ApiError
from .request import Request
from .response import ParsedResponse, Response, read_response

EXCHANGE_ERRORS = (OSError, ValueError, http.client.HTTPException)
"""What a failed exchange raises. :func:`as_api_error` says what it means."""
_IMPORTING = threading.Lock()
"""Before Python 3.10, the thread that waits for the deadline can see a file of an archive half loaded while the exchange loads it."""


Exchange = Callable[[Endpoint, Request, Deadline], Response]
"""How a driver sends a request."""


def exchange(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
    """One request and its response, in the calling thread; the holder of the deadline ends it. Raises what :data:`EXCHANGE_ERRORS` has, or
    :class:`ApiError`.
    """
    connection, target, headers = _connection(endpoint, request)
    # The only hook of http.client for how it connects: ours tries every address, and is watched.
    connection._create_connection = lambda address, *_args, **_kwargs: connect(address[0], address[1], deadline)  # type: ignore[attr-defined]
    connection.response_class = ParsedResponse
    try:
        connection.connect()
        deadline.sent = True
        connection.request(request.method, target, request.body or None, headers)
        # The response holds the socket by now, so it is what has to be closed.
        with connection.getresponse() as parsed:
            return read_response(parsed.status, parsed.getheader, parsed.read, endpoint.max_response_bytes)
    finally:
        connection.close()


def fetch(endpoint: Endpoint, request: Request, exchange: Exchange = exchange) -> Response:
    """Send a request, and abandon it at its deadline. Raises :class:`ApiError`, or :class:`OptionError` for unusable TLS files.

    The exchange has a thread of its own, because a name resolution that hangs cannot be abandoned otherwise.
    """
    deadline = Deadline(request.timeout or endpoint.timeout)
    ended: list[Response | BaseException] = []

    def run() -> None:
        try:
            ended.append(exchange(endpoint, request, deadline))
        except BaseException as exc:
            ended.append(exc)

    thread = threading.Thread(target=run, daemon=True, name="lmstudio")
    thread.start()
    try:
        thread.join(deadline.remaining())
        # Judged before the socket is shut, which ends the exchange with another error.
        result = ended[0] if ended else socket.timeout()
    finally:
        deadline.cancel()
    if isinstance(result, EXCHANGE_ERRORS):
        raise as_api_error(result, endpoint, deadline)
    if isinstance(result, BaseException):
        raise result
    return result


def is_direct(endpoint: Endpoint) -> bool:
    """Whether an endpoint is asked in the clear and without a proxy."""
    return endpoint.scheme == "http" and not endpoint.use_proxy


def _connection(endpoint: Endpoint, request: Request) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """A connection that is not open yet, the request target, and the headers."""
    target, headers = endpoint.prefix + request.path, request.headers(endpoint)
    if is_direct(endpoint):
        return http.client.HTTPConnection(endpoint.host, endpoint.port), target, headers
    with _IMPORTING:
        # Imported here, because most hosts are queried in the clear, and Ansible compiles what a module imports for every task.
        from . import tls

    proxy = tls.proxy_of(endpoint)
    address = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
    if endpoint.scheme == "http":
        if proxy:
            target, headers = endpoint.url + request.path, {**headers, **proxy.headers}
        return http.client.HTTPConnection(*address), target, headers
    connection = http.client.HTTPSConnection(*address, context=tls.tls_context(endpoint))
    if proxy:
        connection.set_tunnel(endpoint.host, endpoint.port, headers=proxy.headers)
    return connection, target, headers


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of a host that accepts one. Each gets its share of the time that is left."""
    addresses = resolve(host, port, deadline)
    error: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(deadline.remaining() / (len(addresses) - number))
            sock.connect(address)
            deadline.watch(sock)
            sock.settimeout(deadline.remaining())
            return sock
        except OSError as exc:
            error = exc
            if sock:
                sock.close()
    raise error


def resolve(host: str, port: int, deadline: Deadline, flags: int = 0) -> list[Any]:
    """The addresses of a name. Notes in the deadline whether all of them are IPv6."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    deadline.ipv6_only = all(family == socket.AF_INET6 for family, *_rest in addresses)
    return addresses


def as_api_error(exc: BaseException, endpoint: Endpoint, deadline: Deadline) -> ApiError:
    """What an exception raised by an exchange means."""
    with _IMPORTING:
        # Imported here, because most hosts answer, and Ansible compiles what a module imports for every task.
        from .connection_errors import classify_exception

    error = classify_exception(exc, endpoint, deadline)
    error.sent = deadline.sent
    return error
