# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Ansible's commands in forks of a process that has imported Ansible.

It saves most of what a small play costs: of 1.2 seconds of processor time for an empty play 0.1 are left, because prepared_ansible.py has
read what is the same for all of them; and an earlier play has packed the modules of a play. There are more than five hundred plays.

What the fork runs is the command's own code. Unlike in a process of its own, the settings are those of the process that was forked, with
its folders for plugins and for temporary files, and nothing that was registered with `atexit` runs. So a command with settings of its own
has to start as usual: `run_in` of the plays decides it. The commands of the pages, the demonstration, and molecule start as they do for users.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from patience import PATIENCE

MODULES = {
    "ansible": "ansible.cli.adhoc",
    "ansible-doc": "ansible.cli.doc",
    "ansible-inventory": "ansible.cli.inventory",
    "ansible-playbook": "ansible.cli.playbook",
}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*MODULES.values(), "prepared_ansible"])


def run(command: list[str], folder: Path, env: dict[str, str], imported_in: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands, or `python -c`, in a folder, with nothing to read, and return what it printed.

    `imported_in` is the environment in which Ansible is imported, if it is not yet.
    """
    if command[0] not in MODULES and command[:2] != ["python", "-c"]:
        raise ValueError(f"{command[0]} is not one of {', '.join(MODULES)}")
    with tempfile.TemporaryDirectory() as outputs:
        printed = [Path(outputs, name) for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_run, args=(command, folder, env, printed))
        # Not all Pythons tell the process that is forked where to look for modules.
        with mock.patch.dict(os.environ, {**imported_in, "PYTHONPATH": str(Path(__file__).parent)}, clear=True):
            process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            output = "".join(path.read_text(encoding="utf-8", errors="replace") for path in printed if path.exists())
            raise AssertionError(f"{' '.join(command)} has not ended in {PATIENCE} seconds. It printed:\n{output}")
        return subprocess.CompletedProcess(command, process.exitcode, *(path.read_text(encoding="utf-8") for path in printed))


def _run(command: list[str], folder: Path, env: dict[str, str], printed: list[Path]) -> None:
    """What the fork does: become the command."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, name, mode in (0, os.devnull, "r"), (1, printed[0], "w"), (2, printed[1], "w"):
        with open(name, mode) as file:
            os.dup2(file.fileno(), number)
    # Without the paths that only the tests have.
    sys.path[:] = [entry for entry in sys.path if entry.startswith((sys.prefix, sys.base_prefix))]
    sys.argv = command
    if command[:2] == ["python", "-c"]:
        sys.argv = command[1:2] + command[3:]
        exec(command[2], {"__name__": "__main__"})
    else:
        importlib.import_module(MODULES[command[0]]).main(command)
