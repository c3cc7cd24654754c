# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make demo` runs: build and install the collection, start a simulated fleet, run the overview and an audit on it.

    python tests/demo/demo.py FOLDER

FOLDER keeps the installed collection and the inventory. With LMSTUDIO_URL in the environment that server is asked instead
of a simulated fleet, with the token of LM_API_TOKEN if there is one. With KEEP=1 the simulated fleet stays until it is interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Of the simulated fleet. The second one is not that of gpu04.
TOKENS = {"gpu03": "demo-token-of-gpu03", "gpu04": "an-old-token-of-gpu04"}
POLICY = {"require": [{"name": "chat", "model": "qwen/*", "min_context_length": 8192}]}
FIRST = """
This fleet is simulated: seven servers on this machine. Some have problems on purpose, to show what that looks like:
an instance on gpu01 has too little context, gpu02 has nothing loaded, gpu04 has a new token, gpu05 is older than LM Studio 0.4,
and gpu06 is down. The audit requires every host to serve a qwen model with a context of 8192, so these five do not meet its policy.
"""
LAST = """
Open {report} in a browser: it is the report of the audit.

What you can do next:

{own_server}  - Install the collection where you run Ansible:
      ansible-galaxy collection install --force {tarball}
      pip install 'requests>=2.31' 'urllib3>=2'     (only for via: controller over TLS or through a proxy)
  - Run the same overview on your own inventory. The hosts are asked over their own connection, so LM Studio
    may stay bound to 127.0.0.1. Put tokens into lmstudio_token, and other addresses into lmstudio_url:
      ansible-playbook -i YOUR_INVENTORY gpufleet.lmstudio.overview
  - Copy {playbook} into your project and change it.
"""
OWN_SERVER = """  - Ask a server that you can reach from here:
      LMSTUDIO_URL=http://gpu01:1234 make demo
  - Try plays of your own on the simulated fleet: make demo KEEP=1
"""
KEPT = """
The simulated fleet keeps running until you press Ctrl-C. To run plays for hosts: gpu on it, use another terminal, in this folder:

  export ANSIBLE_CONFIG={config}
  {ansible_playbook} YOUR_PLAY.yml
"""


def ansible(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def environment(folder: Path) -> dict[str, str]:
    """The caller's environment, without what would make Ansible look elsewhere. The token of a server is not for the simulated ones."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    if not env.get("LMSTUDIO_URL"):
        env.pop("LM_API_TOKEN", None)
    env["ANSIBLE_CONFIG"] = str(folder / "ansible.cfg")
    env["ANSIBLE_HOME"] = str(folder / "home")
    return env


def install(folder: Path) -> Path:
    """Build the tarball and install the collection from it, as a user does."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "collections_path": folder / "collections",
        "inventory": folder / "inventory.json",
        "nocows": "true",
        "display_skipped_hosts": "false",
    }
    (folder / "ansible.cfg").write_text("[defaults]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    for old in folder.glob("gpufleet-lmstudio-*.tar.gz"):
        old.unlink()
    galaxy = [ansible("ansible-galaxy"), "collection"]
    quiet: dict[str, Any] = {"env": environment(folder), "stdout": subprocess.DEVNULL, "cwd": ROOT}
    subprocess.run([*galaxy, "build", "--force", "--output-path", str(folder), str(ROOT)], check=True, **quiet)
    (tarball,) = folder.glob("gpufleet-lmstudio-*.tar.gz")
    subprocess.run([*galaxy, "install", "--force", "--offline", "-p", str(folder / "collections"), str(tarball)], check=True, **quiet)
    return tarball


def write_inventory(path: Path, urls: dict[str, str], tokens: dict[str, str]) -> None:
    hosts = {name: {"lmstudio_url": url, "lmstudio_token": tokens.get(name, "")} for name, url in urls.items()}
    # The simulated hosts are this machine, so there is nobody to log in to.
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    path.write_text(json.dumps({"gpu": {"hosts": hosts, "vars": variables}}, indent=2) + "\n")


def checked_host(url: str, folder: Path) -> str:
    """The host of a URL. Ends with a sentence if nobody could be asked there."""
    sys.path.insert(0, str(folder / "collections"))
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError

    try:
        return make_endpoint({"url": url}, url, {"url": "LMSTUDIO_URL"}).host
    except OptionError as exc:
        sys.exit(str(exc))


def fleet(url: str | None, folder: Path) -> tuple[AbstractContextManager[Any], dict[str, str], dict[str, str]]:
    """The servers to ask, with their tokens: that of a URL, or a simulated fleet from the installed collection."""
    if url:
        host = checked_host(url, folder)
        return nullcontext(), {host: url}, {host: "{{ lookup('env', 'LM_API_TOKEN') }}"}
    sys.path.insert(0, str(folder / "collections" / "ansible_collections" / "gpufleet" / "lmstudio" / "tests" / "simulator"))
    from client import Simulator

    simulator = Simulator(ROOT / "tests" / "demo" / "fleet.yml")
    return simulator, simulator.urls, TOKENS


def playbook(name: str, folder: Path, **variables: Any) -> None:
    """Run a playbook of the collection. Ends with its status unless it succeeds."""
    command = [ansible("ansible-playbook"), f"gpufleet.lmstudio.{name}", "-e", json.dumps(variables)]
    status = subprocess.run(command, check=False, env=environment(folder)).returncode
    if status:
        sys.exit(status)


def main(folder: Path) -> None:
    url = os.environ.get("LMSTUDIO_URL")
    keep = os.environ.get("KEEP", "0") not in ("", "0")
    tarball = install(folder)
    running, urls, tokens = fleet(url, folder)
    with running:
        write_inventory(folder / "inventory.json", urls, tokens)
        if not url:
            print(FIRST, flush=True)
        playbook("overview", folder)
        # A user's own server is not judged by the policy of the demonstration.
        playbook("fleet_audit", folder, fleet_audit_dest=str(folder / "audit"), **({} if url else {"fleet_audit_policy": POLICY}))
        names: dict[str, str | Path] = {
            "tarball": tarball,
            "playbook": ROOT / "playbooks" / "overview.yml",
            "report": folder / "audit" / "fleet_audit.html",
            "config": folder / "ansible.cfg",
            "ansible_playbook": ansible("ansible-playbook"),
        }
        shown = {name: os.path.relpath(path) for name, path in names.items()}
        print(LAST.format(own_server="" if url else OWN_SERVER, **shown), flush=True)
        if keep and not url:
            ended = threading.Event()
            # Even if the process that started this ignores it, as a shell does in the background.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_details: ended.set())
            print(KEPT.format(**shown), flush=True)
            ended.wait()
            print("The simulated fleet has ended.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
