# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make demo` runs: build and install the collection, start a simulated fleet, run the overview on it.

    python tests/demo/demo.py FOLDER

FOLDER keeps the installed collection and the inventory. With LMSTUDIO_URL in the environment that server is asked instead
of a simulated fleet, with the token of LM_API_TOKEN if there is one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
# The second token is not the one that gpu04 wants.
TOKENS = {"gpu03": "demo-token-of-gpu03", "gpu04": "an-old-token-of-gpu04"}
AUDIT = {"fleet_audit_policy": {"require": [{"name": "chat", "model": "qwen/*", "min_context_length": 8192}]}}
NEXT = """
Open {report} in a browser: the report of the audit.

Next, with a host of your own:

  1. Ask a server that you can reach from here:
       LMSTUDIO_URL=http://gpu01:1234 make demo
  2. Install the collection where you run Ansible:
       ansible-galaxy collection install {tarball}
       pip install 'requests>=2.31' 'urllib3>=2'     (only for tasks with via: controller)
  3. Run the same overview on your inventory. The hosts are asked over their own connection, so LM Studio
     may stay bound to 127.0.0.1. Put tokens into lmstudio_token, other addresses into lmstudio_url:
       ansible-playbook -i YOUR_INVENTORY gpufleet.lmstudio.overview
  4. Copy {playbook} into your project and change it.
"""


def ansible(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def environment(folder: Path) -> dict[str, str]:
    """The caller's, without what would make Ansible look elsewhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env["ANSIBLE_COLLECTIONS_PATH"] = str(folder / "collections")
    env["ANSIBLE_CONFIG"] = str(folder / "ansible.cfg")
    env["ANSIBLE_HOME"] = str(folder / "home")
    return env


def install(folder: Path) -> Path:
    """Build the tarball and install the collection from it, as a user does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ansible.cfg").write_text("[defaults]\nnocows = true\ndisplay_skipped_hosts = false\n")
    for old in folder.glob("gpufleet-lmstudio-*.tar.gz"):
        old.unlink()
    galaxy = [ansible("ansible-galaxy"), "collection"]
    quiet: dict[str, Any] = {"env": environment(folder), "stdout": subprocess.DEVNULL, "cwd": ROOT}
    subprocess.run([*galaxy, "build", "--force", "--output-path", str(folder), str(ROOT)], check=True, **quiet)
    (tarball,) = folder.glob("gpufleet-lmstudio-*.tar.gz")
    subprocess.run([*galaxy, "install", "--force", "--offline", "-p", str(folder / "collections"), str(tarball)], check=True, **quiet)
    return tarball


def write_inventory(path: Path, urls: dict[str, str]) -> None:
    hosts: dict[str, dict[str, str]] = {name: {"lmstudio_url": url} for name, url in urls.items()}
    for name, host in hosts.items():
        host["lmstudio_token"] = TOKENS.get(name, "{{ lookup('env', 'LM_API_TOKEN') }}")
    # The simulated hosts are this machine, so there is nobody to log in to.
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}, indent=2) + "\n")


def host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or "lmstudio"
    except ValueError:
        return "lmstudio"


def fleet(installed: Path) -> tuple[AbstractContextManager[Any], dict[str, str]]:
    """The servers to ask: that of LMSTUDIO_URL, or a simulated fleet from the installed collection."""
    url = os.environ.get("LMSTUDIO_URL")
    if url:
        return nullcontext(), {host_name(url): url}
    sys.path.insert(0, str(installed / "tests" / "simulator"))
    from client import Simulator

    simulator = Simulator(ROOT / "tests" / "demo" / "fleet.yml")
    return simulator, simulator.urls


def main(folder: Path) -> int:
    tarball = install(folder)
    installed = folder / "collections" / "ansible_collections" / "gpufleet" / "lmstudio"
    inventory = folder / "inventory.json"
    running, urls = fleet(installed)
    with running:
        write_inventory(inventory, urls)
        status = 0
        for playbook, *arguments in (["overview"], ["fleet_audit", "-e", json.dumps({**AUDIT, "fleet_audit_dest": str(folder / "audit")})]):
            command = [ansible("ansible-playbook"), "-i", str(inventory), "gpufleet.lmstudio." + playbook, *arguments]
            status = status or subprocess.run(command, check=False, env=environment(folder)).returncode
    if status == 0:
        names = {"tarball": tarball, "playbook": ROOT / "playbooks" / "overview.yml", "report": folder / "audit" / "fleet_audit.html"}
        print(NEXT.format(**{name: os.path.relpath(path) for name, path in names.items()}))
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
