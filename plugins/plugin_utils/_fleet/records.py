# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Shared by the plugins for many hosts: a record for each host, even for one that cannot be asked, and warnings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.utils.display import Display

from ...module_utils._http.endpoint import Endpoint
from ...module_utils._lmstudio.masking import short_secret_warning
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._text import format_names
from .._options.host import Host, NotAsked
from .._options.server_identity import names_by_server
from .._options.wrong_machine import loopback_warning
from .engine import ask_all

# Evaluated at import, because Ansible loads action and inventory plugins before it starts its workers, which have no terminal. The
# terminal's width, as Ansible knows it, reaches a lookup as well.
_AT_TERMINAL = sys.stderr.isatty() or Display().columns > 79


def ask_hosts(resolved: Mapping[str, Endpoint | NotAsked], options: Mapping[str, Any]) -> dict[str, Record]:
    """The record of each host."""
    endpoints = [endpoint for endpoint in resolved.values() if isinstance(endpoint, Endpoint)]
    records = iter(ask_all(endpoints, options["detail"], options["concurrency"], options["fleet_timeout"], show_progress))
    return {name: next(records) if isinstance(each, Endpoint) else each.record(options["detail"]) for name, each in resolved.items()}


def show_progress(line: str) -> None:
    """Show a line to people at a terminal. It goes to stderr, because a program may read standard output."""
    if _AT_TERMINAL:
        Display().display(f"gpufleet.lmstudio: {line}", stderr=True)


def endpoint_warnings(hosts: Iterable[Host], resolved: Mapping[str, Endpoint | NotAsked]) -> list[str]:
    """Warnings about secrets that can be used, but should not, about hosts for which another machine may answer, and about those with the same
    URL, whose answer is used for each of them. What is resolved may have servers besides the hosts.
    """
    endpoints = {name: endpoint for name, endpoint in resolved.items() if isinstance(endpoint, Endpoint)}
    asked = [(host, endpoints[host.name]) for host in hosts if host.name in endpoints]
    warnings = [*sorted({short_secret_warning(endpoint) or "" for endpoint in endpoints.values()}), loopback_warning(asked)]
    for names in names_by_server((host.name, endpoint) for host, endpoint in asked):
        if len(names) > 1:
            warnings.append(
                f"{format_names(names)} have the same URL, {endpoints[names[0]].url}: one machine under several names, or several machines behind one "
                "address. The answer from there is used for each of them. If they are several machines, give each its own lmstudio_controller_url."
            )
    return [warning for warning in warnings if warning]
