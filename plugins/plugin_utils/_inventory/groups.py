# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The variables and the groups that a host gets from its record."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from ansible import template
from ansible.plugins.inventory import Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ...module_utils._lmstudio.record_type import Record
from .naming import group_name
from .variables import Variables

_PLUGIN_GROUP = re.compile(r"lmstudio_(ok|not_ok|status_.*|loaded_.*)\Z")


def make_unsafe(value: Any) -> Any:
    """The value, marked so that ansible-core does not treat text in it as a template.

    From 2.19 on, plain text is not a template anyway. Older versions evaluate what an inventory plugin sets, unless it is wrapped.
    """
    return value if hasattr(template, "trust_as_template") else wrap_var(value)


def set_record(inventory: Any, name: str, record: Record, variable: str) -> None:
    """Give a host its record, as this variable, and the groups that follow from it."""
    # Set on the host itself, because the inventory would copy each value to mark where it comes from, or that it may be a template.
    host = inventory.get_host(name)
    host.set_variable(variable, make_unsafe(record))
    # What an earlier source of this plugin found is forgotten, so that no host is both ok and not ok.
    for group in list(host.get_groups()):
        if _PLUGIN_GROUP.match(group.name):
            group.remove_host(host)
    groups = ["lmstudio_ok" if record["ok"] else "lmstudio_not_ok", "lmstudio_status_" + record["status"]]
    for group in groups + [group_name("lmstudio_loaded_" + model) for model in record["loaded"]]:
        # Not add_child, which would add the group of that name if there is one.
        inventory.add_host(name, inventory.add_group(group))


class ConstructedFromRecords(Constructable):
    """The options ``compose``, ``groups`` and ``keyed_groups``, which may use what a server sent.

    List it before ``BaseInventoryPlugin`` among the bases of a plugin, so that its methods win.
    """

    inventory: Any

    _sanitize_group_name = staticmethod(group_name)

    def construct(self, name: str, options: dict[str, Any], variables: Variables) -> None:
        if not any(options[option] for option in ("compose", "groups", "keyed_groups")):
            return
        try:
            seen = variables.of_host(name)
        except Exception:  # Whatever Ansible raises, the record of the host says that its variables cannot be read.
            return
        if options["compose"]:
            self._set_composite_vars(options["compose"], seen, name, strict=options["strict"])
            seen = variables.of_host(name)
        inventory = self.inventory
        # If a group has the name of the host, Ansible's add_child would add that group instead.
        self.inventory = SimpleNamespace(add_group=inventory.add_group, add_child=lambda group, host: inventory.add_host(host, group))
        try:
            self._add_host_to_composed_groups(options["groups"], seen, name, options["strict"], fetch_hostvars=False)
        finally:
            self.inventory = inventory
        self._add_host_to_keyed_groups(options["keyed_groups"], seen, name, options["strict"], fetch_hostvars=False)

    def _compose(self, *args: Any, **kwargs: Any) -> Any:
        # The result of an expression on server text is server text.
        return make_unsafe(super()._compose(*args, **kwargs))
