# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plays against the simulator, run by the ansible-core of the Python that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator

TARGET_PYTHON = os.environ.get("LMSTUDIO_TARGET_PYTHON", sys.executable)
"""The Python that runs the modules."""


LOCAL = {"ansible_connection": "local"}


class Outcome(NamedTuple):
    status: int
    output: str
    """Standard output and standard error."""
    folder: Path
    """Where it ran: the home folder too."""


Run = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Simulator]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a play (YAML text) on hosts ({name: variables}) and return what it printed.

    It must end with the status `ends`. `connection` holds the variables that say how to reach the hosts. Nothing of the machine's own Ansible settings counts.
    """

    def run_play(
        play: str,
        hosts: dict[str, Any],
        *arguments: str,
        ends: int = 0,
        env: dict[str, str] | None = None,
        connection: dict[str, Any] | None = None,
    ) -> Outcome:
        variables = {"ansible_python_interpreter": TARGET_PYTHON, **(LOCAL if connection is None else connection)}
        inventory = {"all": {"hosts": hosts, "vars": variables}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        (tmp_path / "play.yml").write_text(play)
        (tmp_path / "ansible.cfg").write_text("[defaults]\nretry_files_enabled = false\n")
        binaries = Path(sys.executable).parent
        # Not resolve(): that would leave the virtual environment.
        command = [str(binaries / "ansible-playbook"), "-i", "inventory.yml", "-f", "10", "play.yml", *arguments]
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(binaries), "/usr/local/bin", "/usr/bin", "/bin"]),
            **(env or {}),
        }
        done = subprocess.run(
            command, cwd=tmp_path, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == ends, output
        return Outcome(done.returncode, output, tmp_path)

    return run_play


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a simulated fleet from {name: settings}; it ends with the test."""
    running = []

    def start_fleet(hosts: dict[str, Any]) -> Simulator:
        fleet = tmp_path / "fleet.yml"
        fleet.write_text(yaml.safe_dump({"hosts": hosts}))
        running.append(Simulator(fleet))
        return running[-1]

    yield start_fleet
    for simulator in running:
        simulator.stop()
