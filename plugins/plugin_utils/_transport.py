# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The controller's transport for one host over TLS or through a proxy, on ``requests``.

It connects, waits, reads and explains failures as the target's does.
"""

from __future__ import annotations

import functools
import http.client
import logging
import ssl
import threading
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import (
    Guard,
    connect,
    failure,
    within_deadline,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http_client import Response, read_answer, unclear_length
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._route import proxy_of, tls_context

try:
    import requests
    import requests.adapters
    import urllib3.connection
    import urllib3.connectionpool
    import urllib3.exceptions

    # urllib3 1 gives no host name to OpenSSL for an address, which then cannot check it.
    if int(urllib3.__version__.partition(".")[0]) < 2:  # type: ignore[attr-defined]
        raise ImportError(f"urllib3 {urllib3.__version__} is older than 2")  # type: ignore[attr-defined]
except Exception as exc:  # An installation that is broken in any way must not stop those who do without it.
    MISSING: str | None = str(exc)
else:
    MISSING = None

    _current = threading.local()

    class _Silence(logging.Filter):
        """Keeps urllib3 from logging what a server sent, such as headers it cannot parse: Ansible's log would have it raw."""

        def filter(self, record: logging.LogRecord) -> bool:
            return not hasattr(_current, "guard")

    # A filter counts for the very logger it is added to, so each of them gets one.
    for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
        logging.getLogger(f"urllib3.{_name}").addFilter(_Silence())

    class _Guarded:
        """A connection that is made as the target's transport makes it, watched by the guard of the running exchange."""

        def _new_conn(self) -> Any:
            return connect(self._dns_host.replace("%25", "%"), self.port, _current.guard)  # type: ignore[attr-defined]

        def connect(self) -> None:
            try:
                super().connect()  # type: ignore[misc]
            except (OSError, ValueError, http.client.HTTPException) as exc:
                raise failure(exc, _current.endpoint, _current.guard, connecting=True) from None
            # Whether to verify is the user's choice (validate_certs): no warning about it at each request.
            self.is_verified = True

    class _HTTPConnection(_Guarded, urllib3.connection.HTTPConnection):
        response_class = Response

    class _HTTPSConnection(_Guarded, urllib3.connection.HTTPSConnection):
        response_class = Response

    class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = _HTTPConnection

    class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = _HTTPSConnection

    _POOLS = {"http": _HTTPPool, "https": _HTTPSPool}

    class _Session(requests.Session):
        """Knows no redirects. With allow_redirects=False, requests still reads the whole body of one to prepare the next."""

        def get_redirect_target(self, resp: requests.Response) -> None:
            return None

    class _Adapter(requests.adapters.HTTPAdapter):
        """Uses our sockets and one TLS context, whatever CA files the environment names."""

        def __init__(self, context: ssl.SSLContext | None, proxy_headers: dict[str, str]) -> None:
            self._context = context
            self._proxy_headers = proxy_headers
            super().__init__(pool_connections=1, pool_maxsize=1)

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
            self.poolmanager.pool_classes_by_scheme = _POOLS

        def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
            manager.pool_classes_by_scheme = _POOLS
            return manager

        def proxy_headers(self, proxy: Any) -> dict[str, str]:
            return self._proxy_headers

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            conn.cert_reqs = "CERT_REQUIRED" if verify else "CERT_NONE"


def fetch(endpoint: Endpoint) -> Answer:
    """Ask the endpoint for its models, from the controller, and leave it at its deadline.

    Raises ``ApiError``, ``OptionError`` for unusable TLS files, or ``AnsibleError`` when requests is missing.
    """
    need_requests()
    return within_deadline(endpoint, exchange)


def need_requests() -> None:
    """Raise an ``AnsibleError`` when the controller has no usable requests."""
    if MISSING:
        raise AnsibleError(
            f"Asking over TLS or with use_proxy from the controller needs the Python library requests, with urllib3 2 or later ({MISSING}): "
            "pip install --upgrade requests urllib3 into the Python that runs Ansible. (via: target does not need it.)"
        )


def exchange(endpoint: Endpoint, guard: Guard) -> Answer:
    """One request and its answer, in the calling thread; whoever holds the guard ends it at the deadline."""
    proxy = proxy_of(endpoint)
    context = tls_context(endpoint) if endpoint.scheme == "https" else None
    _current.endpoint, _current.guard = endpoint, guard
    with _Session() as session:
        session.trust_env = False
        session.headers.clear()
        session.mount(endpoint.scheme + "://", _Adapter(context, proxy.headers if proxy else {}))
        try:
            with session.get(
                endpoint.models_url,
                headers=endpoint.request_headers(),
                proxies={endpoint.scheme: proxy.url} if proxy else None,
                verify=endpoint.validate_certs,
                allow_redirects=False,
                stream=True,
            ) as response:
                return read_answer(
                    response.status_code,
                    response.headers.get,
                    functools.partial(response.raw.read, decode_content=False),
                    endpoint.max_response_bytes,
                )
        except requests.exceptions.InvalidHeader:
            # What urllib3 says of lengths that contradict one another.
            raise unclear_length() from None
        except (OSError, ValueError, urllib3.exceptions.HTTPError, http.client.HTTPException) as exc:
            raise failure(_cause(exc), endpoint, guard, connecting=False) from None
        finally:
            del _current.endpoint, _current.guard


def _cause(exc: BaseException) -> BaseException:
    """The exception of the system, of OpenSSL or of http.client beneath those that requests and urllib3 put around it."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, (OSError, http.client.HTTPException)) and not isinstance(cause, requests.RequestException):
            return cause
        cause = cause.__cause__ or cause.__context__
    return exc
