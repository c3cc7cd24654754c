# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plays against the simulator, run by the ansible-core of the Python that runs the tests."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import forked_ansible
import pytest
import target_python
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, ROOT, settings_in
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator

TARGET_PYTHON = target_python.caching(os.environ.get("LMSTUDIO_TARGET_PYTHON", sys.executable))
"""What runs the modules."""


LOCAL = {"ansible_connection": "local"}
MONITORING = ROOT / "roles" / "fleet_audit" / "files" / "monitoring"


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

    It must end with the status `ends`. `connection` holds the variables that say how to reach the hosts. None of the machine's own Ansible settings count.
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
        command = ["ansible-playbook", "-i", "inventory.yml", "-f", "10", "play.yml", *arguments]
        done = run_in(tmp_path, command, env or {})
        output = done.stdout + done.stderr
        assert done.returncode == ends, output
        return Outcome(done.returncode, output, tmp_path)

    return run_play


@functools.lru_cache(maxsize=None)
def imported_in() -> dict[str, str]:
    """The environment in which Ansible is imported for all commands of this process."""
    folder = tempfile.TemporaryDirectory(prefix="ansible-")
    atexit.register(folder.cleanup)
    return settings_in(Path(folder.name))


def run_in(folder: Path, command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python's ansible-core in a folder, which is the home folder too."""
    settings = {**settings_in(folder), **env}
    # These are read when Ansible, and when Python starts.
    if not any(name.startswith(("ANSIBLE_", "PYTHON")) for name in env):
        return forked_ansible.run(command, folder, settings, imported_in())
    try:
        return subprocess.run(
            [str(BINARIES / command[0]), *command[1:]],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        # Bytes, although text is asked for.
        output = b"".join(printed for printed in (exc.stdout, exc.stderr) if printed).decode(errors="replace")
        raise AssertionError(f"{' '.join(command)} has not ended in {PATIENCE} seconds. It printed:\n{output}") from None


def words(outcome: Outcome | Read) -> str:
    """What was printed, without the line breaks of a terminal."""
    return " ".join(outcome.output.split())


def sent_to(fleet: Simulator, name: str) -> list[str | None]:
    """The Authorization of each request that a server got."""
    return [request["headers"].get("authorization") for request in fleet.requests(name)]


def vaulted(folder: Path, text: str) -> str:
    """A text as ansible-vault encrypts it, with the file `password` in that folder."""
    (folder / "password").write_text("the password of the vault")
    command = [BINARIES / "ansible-vault", "encrypt_string", "--vault-password-file", "password", text]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=settings_in(folder)).stdout


def service_command(state: str) -> list[str]:
    """What the service of systemd runs. `state` takes the place of /var/lib."""
    (line,) = re.findall(r"^ExecStart=/usr/bin/(.+)$", (MONITORING / "lmstudio-audit.service").read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(line.replace("%S", state))


READ_INVENTORY = """
import json, sys
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
context.CLIARGS = ImmutableDict(extra_vars=tuple(json.loads(sys.argv[2])))
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
loader = DataLoader()
inventory = InventoryManager(loader, sources=json.loads(sys.argv[1]))
def read():
    variables = VariableManager(loader, inventory)
    return {
        "groups": {name: sorted(hosts) for name, hosts in inventory.get_groups_dict().items()},
        "variables": {host.name: variables.get_vars(host=host, include_hostvars=False) for host in inventory.get_hosts()},
    }
answers = [read()]
if "refresh" in sys.argv[3:]:
    inventory.refresh_inventory()
    answers.append(read())
print("READ " + json.dumps(answers, default=str))
"""


class Read(NamedTuple):
    groups: dict[str, list[str]]
    variables: dict[str, dict[str, Any]]
    output: str
    refreshed: dict[str, Any] | None = None
    """Groups and variables after a refresh."""


@pytest.fixture
def read_inventory(tmp_path: Path) -> Callable[..., Read]:
    """Read sources of an inventory ({file name: text or data}) with Ansible's own InventoryManager."""

    def read(
        files: dict[str, Any], refresh: bool = False, extra_vars: tuple[str, ...] = (), env: dict[str, str] | None = None, ends: int = 0
    ) -> Read:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        sources = [str(tmp_path / name) for name in files if "/" not in name]
        arguments = [json.dumps(sources), json.dumps(extra_vars)] + (["refresh"] if refresh else [])
        done = run_in(tmp_path, ["python", "-c", READ_INVENTORY, *arguments], env or {})
        assert done.returncode == ends, done.stdout + done.stderr
        found = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("READ ")]
        answers = found[0] if found else [{"groups": {}, "variables": {}}]
        return Read(**answers[0], output=done.stdout + done.stderr, refreshed=answers[-1] if refresh else None)

    return read


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a simulated fleet from {name: settings}; it ends with the test."""
    running = []

    def start_fleet(hosts: dict[str, Any]) -> Simulator:
        fleet = tmp_path / "fleet.yml"
        fleet.write_text(yaml.safe_dump({"hosts": hosts}))
        running.append(ForkedSimulator(fleet))
        return running[-1]

    yield start_fleet
    for simulator in running:
        simulator.stop()
