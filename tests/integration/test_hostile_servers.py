# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a hostile server can do to a terminal, whatever plugin asks it: nothing."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in

# Sets the title of a window, clears the screen (in both ways to write it), goes back to the start of the line, and ends a string.
EVIL = "m\x1b]0;owned\x07\x1b[2J\x9b2J\r\x00\x7f\x85 {{ lookup('pipe', 'touch pwned') }}"
INSTANCE = {"id": EVIL, "config": {"context_length": 4096, EVIL: EVIL}}
ENTRY = {"type": EVIL, "key": EVIL, "display_name": EVIL, "size_bytes": EVIL, "loaded_instances": [INSTANCE], EVIL: {EVIL: [EVIL]}}
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

PLAY = """
- name: Print all there is to print
  hosts: lmstudio_ok
  gather_facts: true
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
      detail: full
  tasks:
    - name: Every plugin
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      register: answers
    - name: The fleet
      gpufleet.lmstudio.fleet_info:
        detail: full
      run_once: true
      register: fleet
    - name: Print
      ansible.builtin.debug:
        msg: "{{ [answers, fleet, ansible_facts.lmstudio, lmstudio, query('gpufleet.lmstudio.models', lmstudio_url), group_names] }}"
    - name: A gate
      gpufleet.lmstudio.model_assert:
        via: "{{ item }}"
        require: [{model: "m*", min_context_length: 8192, format: gguf}]
        exclusive: true
      loop: [target, controller]
      ignore_errors: true
    - name: A sentence with a name in it
      ansible.builtin.fail:
        msg: "{{ ansible_facts.lmstudio.loaded | first }} is not what is wanted"
      ignore_errors: true
    - name: A name as the label of a loop
      ansible.builtin.debug:
        msg: "{{ item }}"
      loop: "{{ lmstudio_record.loaded }}"

- name: Audit
  hosts: lmstudio_ok
  gather_facts: false
  tasks:
    - name: Print the summary
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.fleet_audit
      vars:
        fleet_audit_dest: audit
        fleet_audit_policy: {exclusive: true, require: [{model: qwen/qwen3-8b}]}
      run_once: true
"""


@pytest.mark.matrix
def test_no_name_of_a_model_does_anything_to_a_terminal(run, start, tmp_path):
    fleet = start({"gpu01": {"payload": {"models": [ENTRY]}}})
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump({"plugin": "gpufleet.lmstudio.lmstudio", "hosts": "all", "on_error": "warn"}))
    log = tmp_path / "ansible.log"
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}
    outcome = run(PLAY, hosts, "-i", "lmstudio.yml", "-v", env={"ANSIBLE_LOG_PATH": str(log)})
    listed = run_in(tmp_path, ["ansible-inventory", "-i", "inventory.yml", "-i", "lmstudio.yml", "--list"], {})
    graph = run_in(tmp_path, ["ansible-inventory", "-i", "inventory.yml", "-i", "lmstudio.yml", "--graph", "--vars"], {})
    assert "is not what is wanted" in outcome.output and "owned" in listed.stdout and "lmstudio_ok" in graph.stdout
    for text in (outcome.output, log.read_text(), listed.stdout + listed.stderr, graph.stdout + graph.stderr):
        assert not RAW.search(text), RAW.findall(text)
    assert not list(tmp_path.rglob("pwned"))
