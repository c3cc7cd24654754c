# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which hosts of the inventory are meant: by a pattern, or by the batch of a play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager, split_host_pattern
from ansible.parsing.dataloader import DataLoader

from ...module_utils._text import is_pattern
from .._options.host import variables_in_inventory, variables_in_task


def match_pattern(pattern: list[str], groups: Mapping[str, Iterable[str]], loader: DataLoader) -> list[str]:
    """The names that match, as in the ``hosts`` of a play, whatever the play and ``--limit`` are. `groups` holds the hosts of each."""
    inventory = InventoryManager(loader, parse=False)
    for group, names in groups.items():
        inventory.add_group(group)
        for name in names:
            inventory.add_host(name, group=group)
    return [host.name for host in inventory.get_hosts(pattern)]


def names_not_in_inventory(pattern: list[str], groups: Mapping[str, Iterable[str]]) -> list[str]:
    """The plain names in a pattern that no host and no group has. What follows a ! or an & only leaves hosts out."""
    plain = [part for part in split_host_pattern(pattern) if not part.startswith(("!", "&", "~")) and not is_pattern(part)]
    known = {*groups, *constants.LOCALHOST, *(name for names in groups.values() for name in names)}
    return [name for name in plain if name not in known]


def play_hosts(task: Any, task_vars: Mapping[str, Any]) -> set[str]:
    """The hosts of the play of a task, in all its batches. ansible_play_hosts_all has those that its tasks have added, too."""
    inventory, play = task_vars["hostvars"]._inventory, task.get_play()
    # Without serial the batch is the play, and the inventory is restricted to it. A host that is added later may match the pattern.
    return {host.name for host in inventory.get_hosts(play.hosts, ignore_restrictions=any(play.serial))}


def batch_hosts(task_vars: Mapping[str, Any]) -> list[str]:
    """The hosts of the current batch of the play, including those that failed before."""
    # ansible_play_batch leaves out those that failed, and ansible_play_hosts_all ignores batches. The inventory that the
    # play itself uses is restricted to the batch, and has an implicit localhost only where a pattern names it.
    names = task_vars["ansible_play_hosts_all"]
    pattern = ["all", *(name for name in names if name in constants.LOCALHOST)]
    batch = {host.name for host in task_vars["hostvars"]._inventory.get_hosts(pattern)}
    return [name for name in names if name in batch]


def refuse_batches_of_an_audit(task: Any, task_vars: Mapping[str, Any]) -> None:
    """Raise an ``AnsibleError`` in the role ``fleet_audit`` under ``serial``, where each batch would overwrite the reports of the one before."""
    if task_vars.get("ansible_role_name") != "gpufleet.lmstudio.fleet_audit":
        return
    batch, play = batch_hosts(task_vars), play_hosts(task, task_vars)
    if len(batch) < len(play):
        raise AnsibleError(
            f"one run of the role fleet_audit is one audit, but this batch has {len(batch)} of the {len(play)} hosts of the play, and the next "
            "one would overwrite its reports. Do not use the role in a play with serial: audit in a play of its own."
        )


def refuse_other_values(task: Any, task_vars: Mapping[str, Any]) -> None:
    """Raise an ``AnsibleError`` in a role that judges the hosts of the batch with one value of a variable, where one of them has another value.

    The task of the role has two lists in its vars: ROLE_judged_by, the names of such variables, and ROLE_judged_together_if, variables that
    make the role judge all hosts together: a host that has none of them is judged by itself. Values are compared as they are written, so a
    template is one value, even if it evaluates differently on each host.
    """
    role = task_vars.get("ansible_role_name", "").rpartition(".")[2]
    judged_by = task.vars.get(f"{role}_judged_by", [])
    together_if = task.vars.get(f"{role}_judged_together_if", [])
    if not judged_by:
        return
    owner, hostvars = task_vars["inventory_hostname"], task_vars["hostvars"]
    own = variables_in_inventory(owner, hostvars)
    for name in batch_hosts(task_vars):
        others = variables_in_inventory(name, hostvars)
        # A host that the play has lost does not have what tasks have set since.
        variables = [variable for variable in judged_by if variable in others or name in task_vars["ansible_play_hosts"]]
        if all(others.get(variable) == own.get(variable) for variable in variables):
            continue
        # The play, or the include of the role, may set it for all hosts. To know that takes longer.
        written, written_of_owner = (variables_in_task(task, each, task_vars) for each in (name, owner))
        if together_if and not any(variable in written for variable in together_if):
            continue
        for variable in variables:
            if written.get(variable) != written_of_owner.get(variable):
                raise AnsibleError(
                    f"{variable} is not the same for {name} and for {owner}, and the role judges both with one value. "
                    f"Give both the same value, in group_vars or in vars of the role, or take {name} out of the hosts of this play."
                )
