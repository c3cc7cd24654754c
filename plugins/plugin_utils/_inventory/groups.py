# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The variable and the groups that a host gets from its record."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.naming import group_name
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._unsafe import make_unsafe

_PLUGIN_GROUP = re.compile(r"lmstudio_(ok|not_ok|status_.*|loaded_.*)\Z")


def add_groups(inventory: Any) -> None:
    for name in ("lmstudio_ok", "lmstudio_not_ok"):
        inventory.add_group(name)


def set_record(inventory: Any, name: str, record: Record, variable: str) -> None:
    # The host itself, because the inventory would copy each value to say where it comes from, or that it may be a template.
    inventory.get_host(name).set_variable(variable, make_unsafe(record))
    _leave_groups(inventory, name)
    groups = ["lmstudio_ok" if record["ok"] else "lmstudio_not_ok", "lmstudio_status_" + record["status"]]
    for group in groups + [group_name("lmstudio_loaded_" + model) for model in record["loaded"]]:
        # Not add_child, which means the group of that name where there is one.
        inventory.add_host(name, inventory.add_group(group))


def _leave_groups(inventory: Any, name: str) -> None:
    """Forget what an earlier source of this plugin found, so that no host is ok and not ok."""
    host = inventory.get_host(name)
    for group in list(host.get_groups()):
        if _PLUGIN_GROUP.match(group.name):
            group.remove_host(host)


class HostsBeforeGroups:
    """An inventory whose groups get hosts only."""

    def __init__(self, inventory: Any) -> None:
        self._inventory = inventory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inventory, name)

    def add_child(self, group: str, host: str) -> None:
        self._inventory.add_host(host, group)
