# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long an audit with every report takes, against `fleet_info` alone on the same hosts, as whole plays in one run.

    python tests/performance/audit.py [HOSTS]

Needs ansible-core beside this Python. Machines are noisy, so only the ratio says something. Ends with 1 if it is above 3.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

conftest = __import__("conftest")  # makes the collection importable
performance = __import__("performance.fleet", fromlist=["payload"])

from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator  # noqa: E402

PLAYS = {
    "empty": [{"ansible.builtin.debug": {"msg": "nothing"}, "run_once": True}],
    "fleet_info": [{"gpufleet.lmstudio.fleet_info": {}, "run_once": True, "register": "fleet"}],
}
AUDIT = {
    "fleet_audit_policy": {
        "require": [{"model": "qwen/*", "min_context_length": 8192}],
        "fleet": [{"require": [{"model": "qwen/*"}], "min_hosts": 2, "consistent": ["quantization"]}],
    },
    "fleet_audit_formats": ["html", "json", "csv", "markdown", "junit", "prometheus"],
    "fleet_audit_dest": "audit",
}


def seconds(folder: Path, *arguments: str) -> float:
    env = {**os.environ, **conftest.settings_in(folder), "ANSIBLE_COLLECTIONS_PATH": str(conftest.collections_path())}
    began = time.monotonic()
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.json", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.monotonic() - began


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    payload = performance.payload()
    print(f"{number} hosts, {len(json.dumps(payload)) / 1000:.0f} KB each, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "payload.json").write_text(json.dumps(payload))
        (folder / "fleet.yml").write_text(json.dumps({"hosts": {f"gpu{n:04}": {"payload": "payload.json"} for n in range(number)}}))
        for play, tasks in PLAYS.items():
            (folder / f"{play}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        with Simulator(folder / "fleet.yml") as simulator:
            hosts = {host: {"lmstudio_controller_url": url} for host, url in simulator.urls.items()}
            (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
            empty, fleet_info = (seconds(folder, f"{play}.yml") for play in PLAYS)
            audit = seconds(folder, "gpufleet.lmstudio.fleet_audit", "-e", json.dumps(AUDIT))
            size = sum(path.stat().st_size for path in (folder / "audit").iterdir())
    print(f"an empty play {empty:.2f} s, fleet_info {fleet_info:.2f} s, audit with {size / 1e6:.0f} MB of reports {audit:.2f} s")
    print(f"audit is {audit / fleet_info:.2f} times fleet_info; at most 3 are wanted")
    return 0 if audit <= 3 * fleet_info else 1


if __name__ == "__main__":
    sys.exit(main())
