#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_info
short_description: Ask the LM Studio of many hosts at once, in one task
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Sends C(GET /api/v1/models) to many hosts at once from the controller, and returns a record for each and a summary.
  - Each host is asked with its own variables, as by M(gpufleet.lmstudio.model_info) with C(via=controller). The connection options
    are defaults for hosts that set none of their own. There is no C(url), because every host has its own.
  - A thousand hosts take seconds, because no host needs a process or a login. The servers must listen on the
    network. Nothing is needed on the hosts, and only Python on the controller.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.fleet
  - gpufleet.lmstudio.connection.fleet_task
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.fleet
options:
  detail:
    description:
      - Whether C(models) of each record has only the entries of loaded models (V(loaded)), or those of all models (V(full)).
      - The rest of a record is the same with either. Every entry costs time and memory again in each task that uses the
        result, so ask for V(full) only if the fleet is small or the entries are needed.
    type: str
    choices: [full, loaded]
    default: loaded
  on_error:
    description:
      - What happens if a host does not return a model list, whatever the reason. Options that cannot be used always fail the task. A host whose
        own variables or address cannot be used has the status V(not_asked), and the others are asked.
      - V(report) returns its record as data. V(warn) also warns. V(fail) fails the task for all hosts, names each host without
        a model list, and still returns the records. Ansible then prints them, some 2 MB for 500 hosts, unless O(quiet=true) is set.
    type: str
    choices: [fail, warn, report]
    default: report
  quiet:
    description:
      - Leave RV(hosts) out of the result.
    version_added: 2.0.0
    type: bool
    default: false
notes:
  - C(delegate_to) has no effect. A warning names hosts that have the same URL, because one answer is then used for all of them.
seealso:
  - module: gpufleet.lmstudio.model_info
  - module: gpufleet.lmstudio.fleet_assert
  - plugin: gpufleet.lmstudio.models
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Ask all hosts of the play
  gpufleet.lmstudio.fleet_info:
  run_once: true
  register: fleet

- name: Say which hosts serve a model
  ansible.builtin.debug:
    msg: "{{ fleet.summary.serving['qwen/qwen3-8b'] | default([]) | join(', ') }}"
  run_once: true

- name: Each host uses its own record
  ansible.builtin.debug:
    msg: "{{ inventory_hostname }}: {{ fleet.hosts[inventory_hostname].status }}"

- name: Ask the hosts that are left, without those that failed or that meta end_host removed
  gpufleet.lmstudio.fleet_info:
    hosts: "{{ ansible_play_hosts }}"
  run_once: true
  register: left

- name: Ask a part of the inventory, regardless of the play, and stop unless all answer
  gpufleet.lmstudio.fleet_info:
    hosts: gpu:!gpu_spare
    timeout: 5
    on_error: fail
    quiet: true
  run_once: true
  register: production
"""

RETURN = r"""
hosts:
  description:
    - The record of each host, by its name in the inventory and in the order of the inventory.
    - Each is what RV(gpufleet.lmstudio.model_info#module:lmstudio) describes.
  returned: unless O(quiet) is set or options cannot be used
  type: dict
summary:
  description: Sums and names over all records.
  returned: always, unless options cannot be used
  type: dict
  contains:
    total:
      description: How many hosts were asked.
      type: int
      sample: 40
    ok:
      description: How many returned a model list.
      type: int
      sample: 38
    by_status:
      description: The names of the hosts by their status. There is no key for a status that no host has.
      type: dict
      sample: {"ok": ["gpu01", "gpu02"], "refused": ["gpu03"]}
    by_api:
      description:
        - The names of the hosts by the list of models that they answered with, V(v1) or V(v0), as
          RV(gpufleet.lmstudio.model_info#module:lmstudio.api) describes it. There is no key for a list that no host answered with.
      version_added: 2.0.0
      type: dict
      sample: {"v1": ["gpu01"], "v0": ["gpu02"]}
    not_ok:
      description: The names of the hosts without a model list.
      type: list
      elements: str
      sample: ["gpu03"]
    serving:
      description: The names of the hosts that have a loaded instance of a model, by the key of the model.
      type: dict
      sample: {"qwen/qwen3-8b": ["gpu01", "gpu02"]}
    counts:
      description: The C(counts) of the records, summed over all hosts. A sum is null if it is null in one of the records.
      type: dict
    size_bytes:
      description:
        - The C(size_bytes) of the records, summed over all hosts, in bytes. A sum is null if it is null in one of the records.
        - If a server lists the models of linked machines, those count, too.
      type: dict
"""
