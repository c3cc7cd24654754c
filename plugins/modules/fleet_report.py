#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Judge the records of a fleet, and write reports
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Takes host records that were gathered before, judges them by a policy, compares them with a baseline, and writes reports on the
    controller. It asks no server.
  - The role C(gpufleet.lmstudio.fleet_audit) gathers the records, calls this module, prints the summary and fails on what you choose.
  - All reports are views of one document, which is the JSON report. Its JSON Schema is C(files/fleet_audit.schema.json) in that
    role.
extends_documentation_fragment:
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.fleet
attributes:
  check_mode:
    details: In check mode no file is written. RV(ignore:changed) says whether one would change.
  diff_mode:
    support: none
    details: The reports can be long. Compare the files themselves.
  idempotent:
    details: >-
      A report that differs from the last one only in its times is written, but does not count as a change. Nor does the file of O(history).
  action_group:
    support: none
    details: It asks no server, so connection options do not apply to it.
    membership: []
  bypass_host_loop:
    details: Set C(run_once=true), so that the result is registered for every host.
options:
  hosts:
    description:
      - The records, by the name of the host. Either C(hosts) of a registered result of M(gpufleet.lmstudio.fleet_info), or a mapping of
        names to records or to registered results of M(gpufleet.lmstudio.model_info).
      - A host without a record is reported with the status V(not_asked).
    type: dict
    required: true
  policy:
    description:
      - What is required of the fleet. Unknown keys and wrong values are errors, and so is a policy that requires nothing.
    type: dict
    suboptions:
      require:
        description:
          - Requirements that every host has to meet, as O(gpufleet.lmstudio.model_assert#module:require) describes them.
        type: list
        elements: dict
      exclusive:
        description:
          - Whether any other loaded model is a violation. A model may be loaded if any part of the policy that applies to the host requires it.
        type: bool
        default: false
      fleet:
        description:
          - What the hosts have to meet together. Each entry needs O(policy.fleet[].min_hosts) or O(policy.fleet[].consistent).
        type: list
        elements: dict
        suboptions:
          require:
            description:
              - Requirements, as O(gpufleet.lmstudio.model_assert#module:require) describes them.
            type: list
            elements: dict
            required: true
          min_hosts:
            description:
              - How many hosts have to meet each of the requirements.
            type: int
          consistent:
            description:
              - What must be the same on all hosts that have the model.
            type: list
            elements: str
            choices: [quantization, selected_variant, context_length]
      groups:
        description:
          - By the name of an inventory group, O(policy.require), O(policy.exclusive) and O(policy.fleet) for the hosts of that
            group. A group that the inventory does not have is an error.
        type: dict
  baseline:
    description:
      - The path of a JSON report of an earlier run, or the word V(last), which means what the last run left as C(fleet_audit.last.json)
        in O(dest). For a file called C(last), write C(./last).
      - With V(last), the first run has nothing to compare with, and says so. A host without an answer keeps its previous state. So do hosts of the
        inventory that are not in this run, and hosts whose answer shows no change but leaves out what was known, such as one with the older
        list. So no change is missed because of an outage or C(--limit).
      - It cannot be one of the files that are written into O(dest), because a run that fails because of drift would then be the baseline of the
        next one. Give a copy, or V(last).
    type: path
  drift:
    description:
      - Which changes since the baseline count. V(added) and V(removed) are about what a host lists, V(loaded), V(unloaded) and
        V(context) about its instances, V(quantization) about the weights, V(variant) about the selected variant and those on disk.
      - V(quantization) and V(variant) of a model that is not loaded are only known in records with C(detail=full).
      - V(just_in_time) is about instances that unload when idle. They come and go by themselves, so it is not in the default.
      - Order, remaining TTLs and how often a key is listed never count.
    version_added: 2.0.0
    type: list
    elements: str
    choices: [added, removed, loaded, unloaded, context, quantization, variant, just_in_time]
    default: [added, removed, loaded, unloaded, context, quantization, variant]
  accept:
    description:
      - Whether this run becomes what O(baseline=last) compares with even if it found changes or could compare no host. Any other run
        always does. With V(false), the same changes are found again until a run accepts them.
    version_added: 2.0.0
    type: bool
    default: true
  history:
    description:
      - How many runs to keep with their figures in C(fleet_audit.history.json) in O(dest), including this one. V(0) writes no history.
      - The history does not affect RV(changed). If it cannot be read, a warning says so, and a new one is started.
    version_added: 2.0.0
    type: int
    default: 0
  formats:
    description:
      - Which reports to write. V(html) is for people, V(markdown) for a pull request or a job summary, V(csv) for a
        spreadsheet, V(junit) for a CI system, V(prometheus) for the textfile collector of node_exporter, V(json) for everything
        else and as a baseline.
    type: list
    elements: str
    choices: [html, json, csv, markdown, junit, prometheus]
    default: [html, json]
  dest:
    description:
      - The folder for the reports, on the controller. It is created if it does not exist. A relative path starts where Ansible was
        started.
      - The files are called C(fleet_audit) with C(.html), C(.json), C(.csv), C(.md), C(.xml) and C(.prom). None is ever incomplete,
        however the run ends.
    type: path
    default: fleet_audit
  mode:
    description:
      - The mode of the files, as octal digits in quotes, such as V('0640'). Without it, an existing file keeps its own.
    version_added: 2.0.0
    type: raw
seealso:
  - module: gpufleet.lmstudio.fleet_info
  - module: gpufleet.lmstudio.model_assert
"""

EXAMPLES = r"""
- name: Ask the whole fleet
  gpufleet.lmstudio.fleet_info:
  register: fleet
  run_once: true

- name: Judge it, and write reports
  gpufleet.lmstudio.fleet_report:
    hosts: "{{ fleet.hosts }}"
    policy:
      require:
        - name: embeddings
          type: embedding
          severity: warn
      groups:
        gpu:
          require: [{model: qwen/*}]
      fleet:
        - require: [{name: chat, model: qwen/*, min_context_length: 8192}]
          min_hosts: 2
          consistent: [quantization]
    formats: [html, json, junit]
    dest: audit
  register: report
  run_once: true

- name: Stop where something is wrong
  ansible.builtin.assert:
    that: report.summary.violations.fail == 0
    fail_msg: "{{ report.problems.violations }}"
  run_once: true
"""

RETURN = r"""
changed:
  description:
    - Whether a report is new, or has changed in more than its times.
  returned: always
  type: bool
msg:
  description: The outcome in one sentence.
  returned: always
  type: str
  sample: 5 of 6 hosts answered, 1 rule of the fleet and 2 requirements not met, 3 changes since the baseline.
reports:
  description: The path of each report, by its format.
  returned: success
  type: dict
  sample: {"html": "/home/me/audit/fleet_audit.html"}
summary:
  description: The figures of the document, as its JSON Schema describes them.
  returned: success
  type: dict
problems:
  description: What is wrong, with one sentence for each finding, the most important first.
  returned: success
  type: dict
  contains:
    violations:
      description:
        - Rules of the fleet and requirements of severity V(fail) that are not met, and hosts without an answer for which there are
          requirements.
      type: list
      elements: str
    not_ok:
      description: The hosts without a model list, in one sentence.
      type: list
      elements: str
    drift:
      description:
        - Changes since the baseline. Hosts with the same change share a sentence. If no host could be compared with it, a
          sentence says so.
      type: list
      elements: str
lines:
  description: The summary for a terminal, at most 40 lines.
  returned: success
  type: list
  elements: str
"""
