# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the time of each plugin goes: py-spy samples every process of a command, and each sample belongs to one part."""

from __future__ import annotations

import subprocess
from collections import Counter

from bench import BINARIES, Bench
from figures import SOURCE, plugins

PER_HOST = 100
"""Hosts for the plugins that run a task on each, and a thousand for the others."""

# The first part with one of these in a stack, from the innermost call outward, has the sample.
PARTS = {
    "reading answers": ("plugins/module_utils/_lmstudio/",),
    "exchanges": ("plugins/module_utils/_http/", "plugins/plugin_utils/_fleet/", "plugins/plugin_utils/_requests.py"),
    "the rest of the collection": ("ansible_collections/gpufleet",),
    "Ansible: templating": ("_internal/_templating", "template/__init__.py", "/jinja2/"),
    "Ansible: inventory and variables": ("ansible/vars/", "ansible/inventory/", "plugins/inventory", "cli/inventory.py"),
    "Ansible: tasks, workers and results": ("ansible/executor/", "plugins/strategy", "plugins/action", "plugins/callback"),
    "starting Python, imports": ("importlib", "runpy", "zipimport"),
}
REST = "other"


def part_of(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        for part, places in PARTS.items():
            if any(place in frame for place in places):
                return part
    return REST


def shares(bench: Bench) -> dict[str, dict[str, float]]:
    """For each plugin, the share of each part, the largest first."""
    (bench.folder / "lmstudio.yml").write_text(SOURCE)
    found = {}
    for plugin, (command, target) in plugins(bench).items():
        per_host = "model_" in plugin
        bench.hosts(PER_HOST if per_host else 1000, target=target)
        path = bench.folder / "samples"
        recording = [BINARIES / "py-spy", "record", "--subprocesses", "--gil", "--full-filenames", "--format", "raw", "--rate", "200"]
        subprocess.run(
            [*recording, "--output", path, "--", BINARIES / command[0], *command[1:]],
            cwd=bench.folder,
            env=bench.env,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        samples: Counter[str] = Counter()
        for line in path.read_text().splitlines():
            stack, _space, number = line.rpartition(" ")
            samples[part_of(stack)] += int(number)
        found[plugin] = {part: number / samples.total() for part, number in samples.most_common()}
    return found
