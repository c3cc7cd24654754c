# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""TLS and proxies. Loaded only where an endpoint is not reached directly and in the clear."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import ssl
from typing import Iterable, Mapping, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from .._input_errors import OptionError
from .._text import printable
from .endpoint import Endpoint
from .ip_addresses import canonical_host, is_loopback
from .option_checks import bracketed
from .request import basic_authorization


class ProxyVariableError(OptionError):
    """An environment variable that ``use_proxy`` reads, and that does not name a proxy as it should."""


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS context of an endpoint. Raises :class:`OptionError` for files that hold something else.

    Equal options share a context, because reading the CA certificates of a system takes longer than an exchange.
    """
    return _tls_context(endpoint.validate_certs, endpoint.ca_path, endpoint.client_cert, endpoint.client_key)


@functools.lru_cache(maxsize=None)
def _tls_context(validate_certs: bool, ca_path: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    folder = ca_path is not None and os.path.isdir(ca_path)
    try:
        context = ssl.create_default_context(cafile=None if folder else ca_path, capath=ca_path if folder else None)
    except (OSError, ValueError):
        raise OptionError("ca_path", f"{printable(str(ca_path))!r} holds no CA certificates in PEM form.") from None
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
                "are not a certificate and its key in PEM form without a password.",
            ) from None
    return context


def check_routes(endpoints: Iterable[Endpoint]) -> None:
    """Read the TLS files and the environment's proxies again, before many endpoints are queried. Raises :class:`OptionError`."""
    _tls_context.cache_clear()
    for endpoint in endpoints:
        check_route(endpoint)


def check_route(endpoint: Endpoint) -> None:
    """Read the TLS files and the environment's proxies. Raises :class:`OptionError`."""
    proxy_of(endpoint)
    if endpoint.scheme == "https":
        tls_context(endpoint)


class Proxy(NamedTuple):
    host: str
    port: int
    headers: dict[str, str]
    """For the proxy itself: its credentials."""
    url: str
    """Without credentials."""


def proxy_of(endpoint: Endpoint) -> Proxy | None:
    """The proxy that the usual variables name for an endpoint, if the options allow one. Loopback never has one."""
    if not endpoint.use_proxy or is_loopback(endpoint.host):
        return None
    proxies = getproxies_environment()
    kind = endpoint.scheme if proxies.get(endpoint.scheme) else "all"
    url = proxies.get(kind)
    if not url or _is_in_no_proxy(endpoint, proxies):
        return None
    try:
        parts = urlsplit(url if "://" in url else "http://" + url)
        # An @ after the first slash means that the slash belongs to a password, and what seems to be the host does, too.
        host, port = None if "@" in parts.path + parts.query + parts.fragment else parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise ProxyVariableError("use_proxy", f"the environment variable {kind}_proxy is not a URL of the form http://HOST:PORT.")
    headers = {}
    if parts.username is not None:
        headers["Proxy-Authorization"] = basic_authorization(parts.netloc.rpartition("@")[0])
    return Proxy(host, port, headers, f"http://{bracketed(host)}:{port}")


def _is_in_no_proxy(endpoint: Endpoint, proxies: Mapping[str, str]) -> bool:
    # With a dot at its end or without, a name is the same host. An entry may have a port.
    entries = re.sub(r"\.+(?=(:\d+)?\s*(,|\Z))", "", proxies.get("no", ""))
    if proxy_bypass_environment(f"{endpoint.host.rstrip('.')}:{endpoint.port}", {"no": entries}):
        return True
    # Python compares texts, and knows no networks.
    address = canonical_host(endpoint.host).partition("%")[0]
    for entry in entries.split(","):
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(entry.strip(" []"), strict=False):
                return True
        except ValueError:  # One of them is a name.
            pass
    return False
