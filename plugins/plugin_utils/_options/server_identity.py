# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which server an endpoint is, in a form that can be compared, however its URL is written, and which hosts have the same one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...module_utils._grouping import grouped
from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.ip_addresses import canonical_host, is_this_machine
from ...module_utils._http.option_checks import bracketed


def server_of(endpoint: Endpoint) -> str:
    """The URL of an endpoint in the one spelling that can be compared."""
    host = "localhost" if is_this_machine(endpoint.host) else canonical_host(endpoint.host)
    return f"{endpoint.scheme}://{bracketed(host)}:{endpoint.port}{endpoint.prefix}"


def names_by_server(endpoints: Iterable[tuple[str, Endpoint]]) -> Collection[list[str]]:
    """The names of the hosts of each server."""
    return grouped((server_of(endpoint), name) for name, endpoint in endpoints).values()


def same_server_as(names_of_servers: Iterable[list[str]]) -> dict[str, str]:
    """For each host that comes after another one of the same server, the name of the first one there."""
    return {name: first for first, *others in names_of_servers for name in others}
