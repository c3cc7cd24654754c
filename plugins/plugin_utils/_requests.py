# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The driver for `via: controller` over TLS or through a proxy, on ``requests``.

It connects, reads and explains failures as the driver on the target does.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils._http import blocking
from ..module_utils._http.blocking import EXCHANGE_ERRORS, connect
from ..module_utils._http.deadline import Deadline
from ..module_utils._http.endpoint import Endpoint
from ..module_utils._http.request import Request
from ..module_utils._http.response import ParsedResponse, Response, read_response, unclear_length
from ..module_utils._http.tls import proxy_of, tls_context

try:
    import requests
    import requests.adapters
    import urllib3.exceptions

    # urllib3 1 does not pass an IP address to OpenSSL as the host name, so the certificate is not checked for it.
    if int(urllib3.__version__.partition(".")[0]) < 2:  # type: ignore[attr-defined]
        raise ImportError(f"urllib3 {urllib3.__version__} is older than 2")  # type: ignore[attr-defined]
except Exception as exc:  # A broken installation, whatever is wrong with it, must not stop those who do not need it.
    MISSING: str | None = str(exc)
else:
    MISSING = None

    # Ansible's log would show what a server sent, such as headers that urllib3 cannot parse. This process runs one task.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

    class _Watched:
        """A connection made as the driver on the target makes it, watched by the deadline of the exchange."""

        deadline: Deadline
        response_class = ParsedResponse

        def _new_conn(self) -> Any:
            try:
                return connect(self._dns_host.replace("%25", "%"), self.port, self.deadline)  # type: ignore[attr-defined]
            except OSError as exc:
                # After some of these errors, urllib3 would go on as if there were a connection.
                raise urllib3.exceptions.NewConnectionError(self, str(exc)) from exc  # type: ignore[arg-type]

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.deadline.sent = True
            # Whether to verify is the user's choice (validate_certs): no warning about it at each request.
            self.is_verified = True

    class _Adapter(requests.adapters.HTTPAdapter):
        """Watches its connections and uses one TLS context, whatever CA files the environment names."""

        def __init__(self, endpoint: Endpoint, proxy_headers: dict[str, str], deadline: Deadline) -> None:
            super().__init__(pool_connections=1, pool_maxsize=1)
            self._endpoint = endpoint
            self._proxy_headers = proxy_headers
            self._deadline = deadline

        def proxy_headers(self, proxy: Any) -> dict[str, str]:
            return self._proxy_headers

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            # Called with the pool that makes the connection, before it does.
            conn.ConnectionCls = type("WatchedConnection", (_Watched, conn.ConnectionCls), {"deadline": self._deadline})
            if conn.scheme == "https":
                conn.cert_reqs = "CERT_REQUIRED" if verify else "CERT_NONE"
                conn.conn_kw["ssl_context"] = tls_context(self._endpoint)


def fetch(endpoint: Endpoint, request: Request) -> Response:
    """Send a request from the controller, and give up at its deadline.

    Raises ``ApiError``, ``OptionError`` for unusable TLS files, or ``AnsibleError`` when requests is missing.
    """
    if MISSING:
        raise AnsibleError(
            f"To ask over TLS or with use_proxy, the controller needs the Python library requests with urllib3 2 or later ({MISSING}). "
            "Install both into the Python that runs Ansible: pip install --upgrade requests urllib3. (via: target does not need them.)"
        )
    return blocking.fetch(endpoint, request, exchange)


def exchange(endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
    """The same as that of the driver on the target."""
    proxy = proxy_of(endpoint)
    url, headers = endpoint.url + request.path, request.headers(endpoint)
    proxies = {endpoint.scheme: proxy.url} if proxy else None
    # Without a session, which would read the body of a redirect.
    with contextlib.closing(_Adapter(endpoint, proxy.headers if proxy else {}, deadline)) as adapter:
        try:
            message = requests.Request(request.method, url, headers, data=request.body or None).prepare()
            with adapter.send(message, stream=True, verify=endpoint.validate_certs, proxies=proxies) as answer:
                read = functools.partial(answer.raw.read, decode_content=False)
                return read_response(answer.status_code, answer.headers.get, read, endpoint.max_response_bytes)
        except requests.exceptions.InvalidHeader:
            # Raised by urllib3 for contradictory lengths.
            raise unclear_length() from None
        except (*EXCHANGE_ERRORS, urllib3.exceptions.HTTPError) as exc:
            raise _cause(exc) from None


def _cause(exc: BaseException) -> BaseException:
    """The exception of the system, OpenSSL or http.client that requests and urllib3 have wrapped. One of urllib3's own is about what a server sent."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, (OSError, http.client.HTTPException)) and not isinstance(cause, requests.RequestException):
            return cause
        cause = cause.__cause__ or cause.__context__
    # Such as that of a name that cannot be encoded, or of an address that requests does not take.
    return exc if isinstance(exc, EXCHANGE_ERRORS) else http.client.HTTPException()
