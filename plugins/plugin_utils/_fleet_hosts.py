# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What the plugins for many hosts share: a record for each host, also for one that nobody can ask, and what to warn of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import headers_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._masking import warning_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._endpoint import VARIABLES
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import ask_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._host import Host, NotAsked, VariableError, record_of_nobody

_NAMES_SHOWN = 5
# What is shorter may be part of any text.
_LONG_SECRET = 8


def ask_hosts(resolved: Sequence[Endpoint | NotAsked], options: Mapping[str, Any]) -> list[Record]:
    """One record for each, in order."""
    endpoints = [endpoint for endpoint in resolved if isinstance(endpoint, Endpoint)]
    records = iter(ask_all(endpoints, options["detail"], options["concurrency"], options["fleet_timeout"]))
    return [next(records) if isinstance(each, Endpoint) else record_of_nobody(each, options["detail"]) for each in resolved]


def warn_of_secrets(resolved: Iterable[Endpoint | NotAsked]) -> list[str]:
    """Warnings about secrets that can be used, but should not."""
    return sorted({warning_of(endpoint) or "" for endpoint in resolved if isinstance(endpoint, Endpoint)} - {""})


def warn_of_sharing(names: Iterable[str], resolved: Iterable[Endpoint | NotAsked]) -> list[str]:
    """Warnings about hosts that come to the same URL, whose answer counts for each of them."""
    sharing: dict[str, dict[str, None]] = {}
    for name, endpoint in zip(names, resolved):
        if isinstance(endpoint, Endpoint):
            sharing.setdefault(endpoint.url, {})[name] = None
    return [
        f"{shown(list(hosts))} have the same URL, {url}: one machine under several names, or several machines behind one address. What "
        "answers there counts for each of them. If they are several machines, give each its own lmstudio_controller_url."
        for url, hosts in sharing.items()
        if len(hosts) > 1
    ]


def withhold_foreign_secrets(options: dict[str, Any], owner: Host, others: Sequence[Host]) -> list[str]:
    """Take an option that holds a secret of one host for no default of others. Returns warnings.

    A template such as ``token: "{{ lmstudio_token }}"``, in the defaults of a group of modules most of all, sees the variables of the
    host that runs the task, and would send its token to every host that has none.
    """
    warnings = []
    for option in ("token", "headers"):
        given = options.get(option)
        variable = _secret_variable_in(given, owner) if given else None
        if not variable:
            continue
        options[option] = None
        without = [host.name for host in others if host.name != owner.name and not host.has(VARIABLES[option])]
        if without:
            warnings.append(
                f"{option} {'is' if variable == VARIABLES[option] else 'holds'} the {variable} of {owner.name}, so it is not sent to hosts "
                f"that have none: {shown(without)}. "
                "Set it as a variable of those hosts if it is meant for them too."
            )
    return warnings


def _secret_variable_in(given: Any, owner: Host) -> str | None:
    """The variable of a host whose secret is in an option."""
    texts = _texts(given)
    for variable in (VARIABLES["token"], VARIABLES["headers"]):
        try:
            value = owner.variable(variable)
        except VariableError:
            continue
        for secret in _texts(headers_of(value) if variable == VARIABLES["headers"] else value):
            if any(secret in text.split() or (len(secret) >= _LONG_SECRET and secret in text) for text in texts):
                return variable
    return None


def _texts(value: Any) -> set[str]:
    """Secrets as texts: a token may be a number in YAML."""
    values = value.values() if isinstance(value, Mapping) else [] if value is None else [value]
    return {str(item).strip() for item in values} - {""}


def shown(names: Sequence[str]) -> str:
    """Names for a message: some of them, and the number of the others."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
