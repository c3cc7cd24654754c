# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Where the controller reaches a host, which URLs are those of its own servers, and which hosts have the same server by their records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.validation import check_type_int

from ...module_utils._grouping import grouped
from ...module_utils._http.endpoint import TARGET_URL, Endpoint, normalise_url
from ...module_utils._http.ip_addresses import is_loopback, is_this_machine
from ...module_utils._http.option_checks import DEFAULT_PORT, bracketed, parts_of_url, without_userinfo
from ...module_utils._input_errors import OptionError
from ...module_utils._text import printable
from .host import CONTROLLER_URL, VARIABLES, Host, NotAsked, VariableError, host_of_inventory
from .server_identity import same_server_as, server_of

MachineOf = Callable[[str], tuple[str, ...]]
"""Which machine the host of a name is: equal for hosts that are one, empty for the controller."""


def reason_not_asked(host: Host, address: str) -> NotAsked | None:
    """Why the controller cannot query a host at its address."""
    try:
        _scheme, _name, port, path = parts_of_url(address_url(address), "")
        problem = "is not just a name or an address" if path or port is not None else None
    except OptionError:
        problem = "is not a valid name or address"
    if problem:
        return NotAsked(
            f"its address {printable(without_userinfo(address))!r} {problem}",
            "Set ansible_host to a name or an address, or lmstudio_controller_url to a URL.",
        )
    # Plain localhost is the controller. A host that is not in the inventory is a server that the user named.
    is_plain_localhost = host.name == address == "localhost" and not host.has_port()
    if is_this_machine(address) and host.in_inventory and not host.is_local and not is_plain_localhost:
        return NotAsked(
            f"its address is {printable(address)}, the controller itself, although its connection ({printable(host.connection)}) is not "
            "local, as with a forwarded port",
            "Set lmstudio_controller_url to a URL at which the controller reaches LM Studio on this host, or, unless it runs Windows, query it "
            "on the host itself (model_info or model_assert with via: target).",
        )
    return None


def is_server_of_host(overrides: Mapping[str, Any], host: Host, on_controller: bool) -> bool:
    """Whether the URL of a task names a server of its host, as seen from the machine that sends the request."""
    url, port = host.variable(VARIABLES["url"]), host.variable(VARIABLES["port"])
    # A port given with a URL belongs to that URL.
    default_port = DEFAULT_PORT if port is None or url is not None else port
    own = [(TARGET_URL, default_port), (address_url(host.address), default_port), (host.variable(CONTROLLER_URL), None)]
    if url is not None:
        own += [(url, port), (with_host(str(url), host.address), port)]
    asked = _server(overrides["url"], overrides.get("port"))
    if not asked or (is_this_machine(Endpoint(asked).host) and not host.sends_request(on_controller)):
        return False
    return any(_server(*server) == asked for server in own)


def leads_to(url: str, options: Mapping[str, Any], default_url: str) -> bool:
    """Whether the URL and the port in options, or the default URL, name the server of this URL."""
    own, port = options.get("url"), options.get("port")
    default_port = DEFAULT_PORT if own is None and port is None else port
    return _server(own or default_url, default_port) == _server(url, None)


def _server(url: Any, port: Any) -> str | None:
    """What a URL names, in the one spelling that can be compared. None for one that cannot be used."""
    try:
        return server_of(Endpoint(normalise_url(str(url), None if port is None else check_type_int(port))))
    except (OptionError, OverflowError, TypeError, ValueError):
        return None


def machine_by_variables(hostvars: Mapping[str, Any], templar: Any) -> MachineOf:
    """Which machine a host is, as its own variables say. The keyword of a play does not count, because records may have been gathered in
    another play.
    """

    @functools.lru_cache(maxsize=None)
    def machine_of(name: str) -> tuple[str, ...]:
        try:
            return host_of_inventory(name, hostvars, templar, "ssh").machine()
        except VariableError:
            return (name,)

    return machine_of


def machine_by_name(name: str) -> tuple[str, ...]:
    return (name,)


def same_server_by_records(records: Mapping[str, Any], machine_of: MachineOf = machine_by_name) -> dict[str, str]:
    """For each host whose record is of the server of an earlier host, the name of that earlier host. A loopback URL means the machine of its host."""
    urls = {name: record["url"] for name, record in records.items() if record.get("url") is not None}

    def server(name: str, url: str) -> tuple[Any, ...]:
        return (_server(url, None) or str(url), *(machine_of(name) if is_loopback_url(url) else ()))

    return same_server_as(grouped((server(name, url), name) for name, url in urls.items()).values())


def address_url(address: str) -> str:
    return "http://" + bracketed(address)


def is_loopback_url(url: Any) -> bool:
    """Whether a URL means the host itself. One that cannot be used is refused later."""
    try:
        return is_loopback(parts_of_url(str(url).strip(), "")[1])
    except OptionError:
        return False


def with_host(url: str, address: str) -> str:
    """A URL with the address of a host in place of its own: the same scheme, port and path."""
    try:
        parts = urlsplit(url.strip())
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return url
    return parts._replace(netloc=bracketed(address) + port).geturl()
