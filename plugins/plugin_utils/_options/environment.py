# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The keyword ``environment`` of a task, its blocks and its play, from which a module on a host takes a token."""

from __future__ import annotations

from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import TOKEN_VARIABLE
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host import Host
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host_secrets import secrets_in, source_variable


def environment_of(task: Any) -> list[Any]:
    """What the keyword sets, one item for each place that has it. The last one counts."""
    return task.environment if isinstance(task.environment, list) else [task.environment or {}]


def source_of_token(action: Any, host: Host) -> str | None:
    """The variable of a host whose secret the keyword hands over as the token."""
    environment: dict[str, Any] = {}
    action._compute_environment_string(environment)
    return source_variable("token", environment.get(TOKEN_VARIABLE), secrets_in(host))


def withhold_token(action: Any, host: Host, withheld: list[str]) -> None:
    """Do not hand over a secret of the host as the token of another server. Adds the variable that holds it to those that are `withheld`."""
    variable = source_of_token(action, host)
    if variable:
        action._task.environment = [*environment_of(action._task), {TOKEN_VARIABLE: ""}]
        withheld += [variable] if variable not in withheld else []
