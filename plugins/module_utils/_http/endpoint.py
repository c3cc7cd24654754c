# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""One endpoint: where an LM Studio server is, and how it is queried.

Everything here is checked before a request is sent.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple
from urllib.parse import urlsplit

from .._input_errors import OptionError
from .._text import printable
from .option_checks import DEFAULT_PORT, MAX_PORT, bracketed, check_file, check_headers, check_seconds, is_content, is_plain, parts_of_url

CONTROLLER = "the controller"
TARGET = "the host that runs the module"
TARGET_URL = "http://127.0.0.1"
"""The default URL on a target, without a port."""

# Routes that people paste along with the base URL, the longest first.
_PASTED_ROUTES = ("/v1/chat/completions", "/api/v1/models", "/api/v0/models", "/v1/models", "/api/v1", "/api/v0", "/v1")
_FILES = ("ca_path", "client_cert", "client_key")
V1, V0, AUTO = APIS = ("v1", "v0", "auto")
"""The values of the option ``api``: which list of models to request. ``auto`` is v1, and v0 where LM Studio does not know v1."""
PUBLIC_OPTIONS = ("url", "timeout", "validate_certs", *_FILES, "use_proxy", "api")
"""The fields that affect an answer and are not secret: a cached answer is used only while they are the same. `max_response_bytes` is not
among them, because an answer that is too large is not cached."""


class Endpoint(NamedTuple):
    """A checked endpoint. Build it with :func:`make_endpoint`."""

    url: str
    """Normalised base URL, without userinfo, query or trailing slash."""
    token: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    """Seconds for the whole exchange."""
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    use_proxy: bool = False
    max_response_bytes: int = 16 * 1024 * 1024
    api: str = V1
    """One of :data:`APIS`."""
    confirm_loaded: bool = False
    """Whether to request the older list as well, which shows what is still loading."""
    token_advice: str | None = None
    """What to do when the server requires a token, where that differs from the usual hint."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}>"

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def host(self) -> str:
        """As name resolution expects it: without brackets, and with a plain percent sign before a zone index."""
        return (urlsplit(self.url).hostname or "").replace("%25", "%")

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.scheme == "https" else 80)

    @property
    def prefix(self) -> str:
        """The path of the URL, which a proxy may require; empty if it has none."""
        return urlsplit(self.url).path

    @property
    def authority(self) -> str:
        """The host as written in the URL, and the port if it has one."""
        return urlsplit(self.url).netloc

    @property
    def credential_option(self) -> str | None:
        """The option with the credentials, if any: token or headers."""
        return "token" if self.token else "headers" if self.headers else None


def authorizes(headers: Any) -> bool:
    """Whether headers contain an Authorization, which replaces a token."""
    return isinstance(headers, Mapping) and any(str(name).lower() == "authorization" for name in headers)


def normalise_url(url: str, port: int | None = None, option: str = "url", port_option: str = "port") -> str:
    """The base URL to query, or an :class:`OptionError` that names the option.

    `port` fills in the port of a URL that names none.
    """
    scheme, host, own_port, path = parts_of_url(url.strip(), option)
    if port is not None:
        if own_port is not None:
            raise OptionError(
                port_option,
                f"{option} {printable(url)!r} already names a port. Remove one of the two.",
            )
        if not 1 <= port <= MAX_PORT:
            raise OptionError(port_option, f"{port} is not a port. A port is a number from 1 to {MAX_PORT}.")
        own_port = port
    path = path.rstrip("/")
    route = next((route for route in _PASTED_ROUTES if path.endswith(route)), "")
    path = path[: len(path) - len(route)].rstrip("/")
    authority = bracketed(host) if own_port is None else f"{bracketed(host)}:{own_port}"
    return f"{scheme}://{authority}{path}"


def connection_options() -> dict[str, dict[str, Any]]:
    """The options that say which server to query and how, as argument specs. The documentation fragment ``connection`` describes them."""
    default = Endpoint._field_defaults
    return {
        "url": {"type": "str"},
        "port": {"type": "int"},
        "token": {"type": "str", "no_log": True},
        "headers": {"type": "dict", "no_log": True},
        "timeout": {"type": "float", "default": default["timeout"]},
        "validate_certs": {"type": "bool", "default": default["validate_certs"]},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", "no_log": False},
        "use_proxy": {"type": "bool", "default": default["use_proxy"]},
        "max_response_bytes": {"type": "int", "default": default["max_response_bytes"]},
        "api": {"type": "str", "choices": list(APIS), "default": default["api"]},
    }


def make_endpoint(
    options: Mapping[str, Any], default_url: str, names: Mapping[str, str] | None = None, machine: str | None = CONTROLLER
) -> Endpoint:
    """Check the connection options and make the endpoint.

    `options` holds typed values; a missing one and None mean the default. `default_url` has no port. `names` says what an
    option was called where it was set (``lmstudio_port``), for messages. `machine` is what messages about files call this
    machine. It is None if another machine sends the request and has the files. Raises :class:`OptionError`.
    """

    def name(option: str) -> str:
        return (names or {}).get(option, option)

    given = {**Endpoint._field_defaults, **{option: value for option, value in options.items() if value is not None}}
    url, port, url_option = given.get("url"), given.get("port"), name("url")
    if not url:
        url, port, url_option = default_url, DEFAULT_PORT if port is None else port, (names or {}).get("url", "the default URL")
    url = normalise_url(str(url), port, url_option, name("port"))
    timeout = check_seconds(name("timeout"), float(given["timeout"]))
    limit = int(given["max_response_bytes"])
    if limit < 1:
        raise OptionError(name("max_response_bytes"), f"{limit} is not a usable number of bytes. Give 1 or more.")
    for one, other in (("client_cert", "client_key"), ("client_key", "client_cert")):
        if given[one] and not given[other]:
            raise OptionError(name(one), f"it needs {other} as well. If one file holds both, set both options to it.")
    token = str(given["token"] or "").strip()
    if not is_plain(token):
        raise OptionError(name("token"), "it contains spaces or characters that an HTTP header cannot carry.")
    headers = check_headers(given["headers"] or {}, token, name("headers"))
    files: dict[str, Any] = {option: str(given[option]) for option in _FILES if given[option]}
    for option, path in files.items():
        if is_content(path):
            raise OptionError(name(option), "it is the content of a file. Give the path of the file.")
        if machine:
            check_file(path, name(option), machine, folder_too=option == "ca_path")
    return Endpoint(
        url=url,
        token=token or None,
        headers=headers,
        timeout=timeout,
        validate_certs=bool(given["validate_certs"]),
        use_proxy=bool(given["use_proxy"]),
        max_response_bytes=limit,
        api=given["api"],
        **files,
    )
