# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules on every Python that this machine has, and the controller in place of those that are too old."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from ansible.release import __version__ as ansible_version
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in

CORE = tuple(int(part) for part in ansible_version.split(".")[:2])
OLDEST = (3, 9) if CORE >= (2, 20) else (3, 8)
"""What the collection supports, and what this ansible-core does."""


def interpreters() -> dict[tuple[int, int], str]:
    """The Pythons of this machine from 3.6 on, each by its real path."""
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(6, 16):
        done = subprocess.run(
            [shutil.which(f"python3.{minor}") or "false", "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            found[3, minor] = done.stdout.strip()
    return found


PLAY = """
- name: Ask on each Python
  hosts: all
  gather_facts: true
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
    require: [{model: qwen/qwen3-8b, min_context_length: 4096}]
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
  tasks:
    - name: From the target
      gpufleet.lmstudio.model_info:
      register: target
    - name: A gate on the target
      gpufleet.lmstudio.model_assert:
        require: "{{ require }}"
      register: gate
    - name: From the controller
      gpufleet.lmstudio.model_info:
        via: controller
      register: controller
    - name: A state, from the target
      gpufleet.lmstudio.model:
        model: openai/gpt-oss-20b
      register: state
    - name: They are the same
      ansible.builtin.assert:
        that:
          - target.lmstudio.fingerprint == controller.lmstudio.fingerprint
          - ansible_facts.lmstudio.fingerprint == controller.lmstudio.fingerprint
          - gate.met
          - state is not changed and state.instance == 'openai/gpt-oss-20b'
"""

TOO_OLD = """
- name: Ask where Python is too old
  hosts: all
  gather_facts: false
  tasks:
    - name: From the target
      gpufleet.lmstudio.model_info:
      register: target
      ignore_errors: true
    - name: From the controller
      gpufleet.lmstudio.model_info:
        via: controller
      register: controller
    - name: A gate from the controller
      gpufleet.lmstudio.model_assert:
        via: controller
        require: [{model: qwen/qwen3-8b, min_context_length: 4096}]
    - name: Only the controller can
      ansible.builtin.assert:
        that:
          - target is failed
          - controller.lmstudio.ok
"""


def hosts_on(versions, url):
    return {
        f"python{major}-{minor}": {"ansible_python_interpreter": path, "lmstudio_url": url} for (major, minor), path in versions.items()
    }


@pytest.mark.matrix
def test_plays_find_ansible_prepared(tmp_path):
    """They pass without it, too, in twice the time."""
    told = run_in(tmp_path, ["python", "-c", "import sys; print('prepared_ansible' in sys.modules, sys.meta_path)"], {})
    assert told.stdout.startswith("True") and "AnsibleCollectionFinder" not in told.stdout, told


@pytest.mark.matrix
def test_modules_run_on_every_supported_python(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    hosts = hosts_on({version: path for version, path in interpreters().items() if version >= OLDEST}, fleet.urls["gpu01"])
    print("modules ran on", ", ".join(hosts))
    run(PLAY, hosts)


@pytest.mark.matrix
def test_the_controller_serves_a_target_with_python_3_6(run, start):
    path = interpreters().get((3, 6))
    if path is None:
        pytest.skip("there is no Python 3.6 here")
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    run(TOO_OLD, hosts_on({(3, 6): path}, fleet.urls["gpu01"]))
