# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The variables of hosts while sources of the inventory are still being read."""

from __future__ import annotations

from typing import Any

from ansible.inventory.helpers import get_group_vars, sort_groups
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources


class Variables:
    """The variables of hosts that the inventory has so far, as ``ansible.builtin.constructed`` reads them.

    `sources` are those next to which vars plugins look for files. If there are none, these files are not read.
    """

    def __init__(self, inventory: Any, loader: Any, sources: list[str]) -> None:
        self._inventory = inventory
        self._loader = loader
        self._sources = sources
        self._group_variables: dict[tuple[str, ...], dict[str, Any]] = {}

    def of_host(self, name: str) -> dict[str, Any]:
        host = self._inventory.get_host(name)
        # Ansible puts every host into all, and some into ungrouped, when all sources are read.
        groups = {group.name: group for group in [self._inventory.groups["all"], *host.get_groups()]}
        key = tuple(sorted(groups))
        if key not in self._group_variables:
            ordered = sort_groups(groups.values())
            self._group_variables[key] = combine_vars(get_group_vars(ordered), self._of_plugins(ordered))
        return dict(combine_vars(self._group_variables[key], combine_vars(host.get_vars(), self._of_plugins([host]))))

    def _of_plugins(self, entities: list[Any]) -> dict[str, Any]:
        variables: dict[str, Any] = get_vars_from_inventory_sources(self._loader, self._sources, entities, "all")
        return variables
