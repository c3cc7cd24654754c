#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_assert
short_description: Stop unless enough hosts serve what is required
version_added: 2.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Judges the models of many hosts together, and fails with one message that gives a reason for each host that falls short.
  - It asks all hosts at once from the controller, as M(gpufleet.lmstudio.fleet_info) does and with the variables of each host, once or
    until enough of them meet the requirements. Or it judges records that were gathered before, with O(records).
  - It never adds up answers from different times. While it waits, the hosts that do not meet everything are asked again. Before it
    passes or fails, all hosts are asked once more in one round, and only that round counts.
  - A host that does not answer meets no requirement, not even that a model is absent.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.fleet
  - gpufleet.lmstudio.connection.fleet_task
  - gpufleet.lmstudio.requirements
  - gpufleet.lmstudio.requirements.assertion
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.fleet
options:
  records:
    description:
      - Judge these records instead of asking the servers. A mapping of host names to records, such as
        RV(gpufleet.lmstudio.fleet_info#module:hosts), or to anything that O(gpufleet.lmstudio.model_assert#module:record) takes.
      - The connection options are then not used. An empty string and null are errors here, although they mean unset elsewhere.
    type: dict
  min_hosts:
    description:
      - How many hosts have to meet each requirement, at least. Each requirement is counted by itself, so different hosts may meet different
        ones.
      - Unset means every host, unless O(min_percent) is set. Requiring more hosts than there are is an error, and no server is asked.
    type: int
  min_percent:
    description:
      - The same as a percentage of all selected hosts, including those that do not answer, rounded up.
    type: float
  consistent:
    description:
      - What has to be the same on all hosts that have the model.
    type: list
    elements: str
    choices: [quantization, selected_variant, context_length]
  wait_timeout:
    description:
      - Seconds to keep asking until enough hosts meet the requirements. Errors do not end the wait, even if servers are down. With
        C(-v) each round says what is still missing.
      - The last round begins no later than the end of this time, and takes at most half a second more than the longest O(timeout) of a
        host. V(0) asks once.
    type: float
    default: 0
  delay:
    description:
      - Seconds between the end of a round and the start of the next. No host is asked more often.
    type: float
    default: 5
  give_up_on:
    description:
      - Statuses that waiting does not change. A host is given up if it has had only these statuses since the wait began,
        after at least two rounds and 30 seconds, and at once if it cannot be asked (V(not_asked)).
      - The wait ends early if too few hosts are left that could still meet the requirements. With an empty list no host is given up.
    type: list
    elements: str
    default: [auth, forbidden, not_asked]
  quiet:
    description:
      - Leave RV(hosts) out of the result. Ansible prints the whole result of a task that fails, which is some 2 MB with the records of
        500 hosts.
    type: bool
    default: true
notes:
  - Hosts with the same URL count once, as the first of them, because they may be one machine. A warning names them. Records with a
    loopback URL are taken to come from hosts that asked themselves, so each of them counts. But hosts whose variable C(ansible_connection) is
    V(local) are the controller and count once, and so do hosts with the same address, port and SSH arguments.
  - O(fleet_timeout) applies to each round.
  - C(delegate_to) has no effect.
seealso:
  - module: gpufleet.lmstudio.fleet_info
  - module: gpufleet.lmstudio.model_assert
  - plugin: gpufleet.lmstudio.fleet_violations
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Wait up to five minutes until at least two hosts of the group serve the model with enough context
  gpufleet.lmstudio.fleet_assert:
    hosts: gpu
    require:
      - name: chat model
        model: qwen/qwen3-8b
        min_context_length: 8192
    min_hosts: 2
    wait_timeout: 300
    timeout: 5
  run_once: true

- name: Stop unless four of five hosts of this batch serve it, all in the same quantization
  gpufleet.lmstudio.fleet_assert:
    require:
      - model: qwen/qwen3-8b
    min_percent: 80
    consistent: [quantization]
    fail_msg: The release stops here.
  run_once: true
  register: gate

- name: Say which hosts serve it
  ansible.builtin.debug:
    msg: "{{ gate.serving['qwen/qwen3-8b'] | join(', ') }}"
  run_once: true

- name: Ask once
  gpufleet.lmstudio.fleet_info:
  run_once: true
  register: fleet

- name: Judge what was gathered
  gpufleet.lmstudio.fleet_assert:
    records: "{{ fleet.hosts }}"
    require:
      - model: qwen/*
    min_hosts: 1
  run_once: true
"""

RETURN = r"""
met:
  description: Whether nothing of severity V(fail) is violated.
  returned: when the requirements were judged
  type: bool
violations:
  description:
    - What is violated, in the order of the requirements. One entry for each requirement that too few hosts meet, and one for each attribute
      that is not O(consistent).
    - Each has the keys of RV(gpufleet.lmstudio.model_assert#module:violations), and C(host), which is null.
  returned: when the requirements were judged
  type: list
  elements: dict
reasons:
  description: By the name of the host, a sentence that says why it does not meet everything, or does not count.
  returned: when the requirements were judged
  type: dict
  sample: {"gpu03": "http://gpu03:1234 refused the connection."}
serving:
  description: By the C(name) of the requirement, or else by what it is about, the names of the hosts that meet it.
  returned: when the requirements were judged
  type: dict
  sample: {"chat model": ["gpu01", "gpu02"]}
summary:
  description: The summary of the records of the hosts that count, as RV(gpufleet.lmstudio.fleet_info#module:summary) describes it.
  returned: when the requirements were judged
  type: dict
unconfirmed:
  description: The names of the hosts whose LM Studio has no C(/api/v0/models), so it is not known what is still loading there.
  returned: when the requirements were judged, and O(confirm_loaded=true)
  type: list
  elements: str
polls:
  description: How many rounds there were. Zero with O(records).
  returned: when the requirements were judged
  type: int
waited:
  description: Seconds from the first request to the end.
  returned: when the requirements were judged
  type: float
hosts:
  description: The records that were judged, by the name of their host, with the entries of loaded models only.
  returned: when the requirements were judged, and O(quiet=false)
  type: dict
msg:
  description:
    - All violations, one per line, and what to do next, or a sentence which says that all requirements are met.
    - With many hosts, a line counts those that have the same reason, and names some of them. RV(reasons) has every host.
  returned: always
  type: str
"""
