# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which hosts of the inventory are meant: by a pattern, or by the batch of a play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader


def match_pattern(pattern: list[str], groups: Mapping[str, Iterable[str]], loader: DataLoader) -> list[str]:
    """The names that match, as in the ``hosts`` of a play, whatever the play and ``--limit`` are. `groups` holds the hosts of each."""
    inventory = InventoryManager(loader, parse=False)
    for group, names in groups.items():
        inventory.add_group(group)
        for name in names:
            inventory.add_host(name, group=group)
    return [host.name for host in inventory.get_hosts(pattern)]


def batch_hosts(task_vars: Mapping[str, Any]) -> list[str]:
    """The hosts of the current batch of the play, including those that failed before."""
    # ansible_play_batch leaves out those that failed, and ansible_play_hosts_all ignores batches. The inventory that the
    # play itself uses is restricted to the batch.
    batch = {host.name for host in task_vars["hostvars"]._inventory.get_hosts()}
    # An implicit localhost is not a host of the inventory.
    return [name for name in task_vars["ansible_play_hosts_all"] if name in batch] or list(task_vars["ansible_play_batch"])


def refuse_batches_of_an_audit(task_vars: Mapping[str, Any]) -> None:
    """Raise an ``AnsibleError`` in the role ``fleet_audit`` under ``serial``, where each batch would overwrite the reports of the one before."""
    if task_vars.get("ansible_role_name") != "gpufleet.lmstudio.fleet_audit":
        return
    # The implicit localhost is in no batch.
    batch, play = batch_hosts(task_vars), set(task_vars["ansible_play_hosts_all"]).intersection(task_vars["groups"]["all"])
    if not play.issubset(batch):
        raise AnsibleError(
            f"one run of the role fleet_audit is one audit, but this batch has {len(batch)} of the {len(play)} hosts of the play, and the next "
            "one would overwrite its reports. Do not use the role in a play with serial: audit in a play of its own."
        )
