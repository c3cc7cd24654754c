# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts for tests, without containers: each is a network namespace with an OpenSSH server of its own and an LM Studio look-alike.

    python tests/lab up LAB.yml FOLDER
    python tests/lab down LAB.yml

Linux, as root. The README.md beside this file describes the lab file, and what is in the folder afterwards.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

SIMULATOR = Path(__file__).resolve().parent.parent / "simulator"
LAB_KEYS = {"network", "hosts", "vars"}
HOST_KEYS = {"server", "ssh", "python", "groups", "vars"}
NETWORKS = ipaddress.IPv4Network("198.18.0.0/15")
"""Set aside for tests of networks: nobody's own."""
FIRST_HOST = 11
# Where a server listens unless its host says otherwise: only the host itself reaches it.
LISTEN = "127.0.0.1:1234"
SECONDS = 60.0


class LabError(Exception):
    """A lab that cannot be made, as a sentence."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {SECONDS:g} seconds")
        time.sleep(0.02)


def command(*words: str, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError(f"there is no program {words[0]} here. On Debian: apt-get install iproute2 openssh-server") from None
    if done.returncode:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


class Lab:
    """The namespaces, bridge and processes of one lab. All are named after its network, so that they are found again."""

    def __init__(self, file: Path) -> None:
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
            self.network = ipaddress.IPv4Network(document["network"])
            if self.network.prefixlen != 24 or not self.network.subnet_of(NETWORKS):
                raise ValueError(f"network must be a /24 of {NETWORKS}")
            self.hosts: dict[str, dict[str, Any]] = {name: settings or {} for name, settings in document["hosts"].items()}
            self.vars: dict[str, Any] = document.get("vars", {})
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as exc:
            raise LabError(f"{file} is not a lab file (an object with network and hosts: {{name: settings}}): {exc}") from None
        unknown = set(document) - LAB_KEYS
        for settings in self.hosts.values():
            unknown |= set(settings) - HOST_KEYS
        if unknown:
            raise LabError(f"{file}: unknown key {', '.join(sorted(unknown))}")
        self.bridge = f"lab{(int(self.network.network_address) - int(NETWORKS.network_address)) // 256}"

    def address(self, number: int) -> str:
        return str(self.network.network_address + number)

    def namespace(self, name: str) -> str:
        return f"{self.bridge}-{name}"

    def addresses(self) -> Iterator[tuple[str, str]]:
        for number, name in enumerate(self.hosts):
            yield name, self.address(FIRST_HOST + number)

    def up(self, folder: Path) -> None:
        """Make the hosts, wait until they accept connections, and write the inventory."""
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("client_key", "host_key"):
            for old in folder.glob(name + "*"):
                old.unlink()
            command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
        (folder / "simulator.log").write_text("")
        self._make_network()
        for name, address in self.addresses():
            if self.hosts[name].get("ssh", True):
                self._start_sshd(name, address, folder)
        control = self._start_simulator(folder)
        for name, address in self.addresses():
            if self.hosts[name].get("ssh", True):
                wait_until(partial(accepts, address, 22), f"the OpenSSH server of {name} does not accept connections")
        (folder / "inventory.yml").write_text(yaml.safe_dump(self._inventory(folder, control), sort_keys=False))

    def down(self) -> None:
        """End the processes in the namespaces of the lab, and remove those. It is not an error if there are none."""
        names = [line.split()[0] for line in command("ip", "netns", "list").splitlines() if line.startswith(self.bridge + "-")]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes(names):
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    pass
            try:
                wait_until(lambda: not self._processes(names), "processes of the lab do not end")
                break
            except LabError:
                if number == signal.SIGKILL:
                    raise
        for name in names:
            command("ip", "netns", "delete", name)
        if Path("/sys/class/net", self.bridge).exists():
            command("ip", "link", "delete", self.bridge)

    @staticmethod
    def _processes(namespaces: list[str]) -> list[int]:
        return [int(line) for name in namespaces for line in command("ip", "netns", "pids", name).split()]

    def _make_network(self) -> None:
        if Path("/sys/class/net", self.bridge).exists():
            raise LabError(f"a lab in the network {self.network} is up already. End it first: python tests/lab down LAB.yml")
        prefix = self.network.prefixlen
        lines = [
            f"link add {self.bridge} type bridge",
            f"addr add {self.address(1)}/{prefix} dev {self.bridge}",
            f"link set {self.bridge} up",
        ]
        for name, address in [("simulator", self.address(2)), *self.addresses()]:
            namespace, cable = self.namespace(name), f"{self.bridge}-{address.rpartition('.')[2]}"
            lines += [
                f"netns add {namespace}",
                f"link add {cable} type veth peer name eth0 netns {namespace}",
                f"link set {cable} master {self.bridge} up",
            ]
        command("ip", "-batch", "-", stdin="\n".join(lines) + "\n")
        for name, address in [("simulator", self.address(2)), *self.addresses()]:
            inside = ["link set lo up", f"addr add {address}/{prefix} dev eth0", "link set eth0 up"]
            command("ip", "-n", self.namespace(name), "-batch", "-", stdin="\n".join(inside) + "\n")

    def _start_sshd(self, name: str, address: str, folder: Path) -> None:
        settings = [
            f"ListenAddress {address}",
            f"HostKey {folder / 'host_key'}",
            f"AuthorizedKeysFile {folder / 'client_key.pub'}",
            f"PidFile {folder / name}.pid",
            # Who may own and write the folder is not what is tested here.
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "Subsystem sftp internal-sftp",
        ]
        if self.hosts[name].get("python") == "none":
            settings.append(f'ForceCommand exec chroot {self._without_python(folder)} /bin/sh -c "${{SSH_ORIGINAL_COMMAND:-/bin/sh}}"')
        config = folder / f"{name}.sshd_config"
        config.write_text("\n".join(settings) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        script = 'hostname "$0" && exec "$1" -f "$2"'
        words = ["unshare", "--uts", "sh", "-c", script, name, shutil.which("sshd") or "sshd", str(config)]
        # Its output goes to no pipe: the server, which goes on, would hold that open.
        with (folder / f"{name}.log").open("w") as log:
            done = subprocess.run(
                ["ip", "netns", "exec", self.namespace(name), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        if done.returncode:
            raise LabError(f"the OpenSSH server of {name} does not start: {(folder / f'{name}.log').read_text().strip()}")

    @staticmethod
    def _without_python(folder: Path) -> Path:
        """A root folder with a shell, the usual small programs, and no Python."""
        root = folder / "without_python"
        if not root.exists():
            busybox = shutil.which("busybox")
            if not busybox:
                raise LabError("there is no program busybox here. On Debian: apt-get install busybox-static")
            for name in ("bin", "dev", "tmp", "root"):
                (root / name).mkdir(parents=True)
            shutil.copy(busybox, root / "bin" / "busybox")
            command("chroot", str(root), "/bin/busybox", "--install", "-s", "/bin")
        return root

    def _start_simulator(self, folder: Path) -> str:
        """One process with the servers of all hosts, each listening in the namespace of its host. Returns its control address."""
        servers = {}
        for name, _address in self.addresses():
            server = self.hosts[name].get("server", {})
            if server is not None:
                servers[name] = {"listen": LISTEN, **server, "namespace": self.namespace(name)}
        fleet = folder / "fleet.yml"
        fleet.write_text(yaml.safe_dump({"control": self.address(2), "hosts": servers}))
        with (folder / "simulator.log").open("w") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace("simulator"), sys.executable, str(SIMULATOR), str(fleet)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdout.close()
        if not line:
            raise LabError(f"the simulator does not start: {(folder / 'simulator.log').read_text().strip()}")
        return str(json.loads(line)["control"])

    def _inventory(self, folder: Path, control: str) -> dict[str, Any]:
        known_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text("".join(f"{address} {known_key}\n" for _name, address in self.addresses()))
        groups: dict[str, Any] = {"gpu": {"hosts": {}}}
        for name, address in self.addresses():
            settings = self.hosts[name]
            variables = {"ansible_host": address, **settings.get("vars", {})}
            python = settings.get("python")
            if python != "none":
                variables["ansible_python_interpreter"] = python_of(name, python)
            groups["gpu"]["hosts"][name] = variables
            for group in settings.get("groups", []):
                groups.setdefault(group, {"hosts": {}})["hosts"][name] = {}
        options = f"-o UserKnownHostsFile={folder / 'known_hosts'} -o StrictHostKeyChecking=yes -o ConnectTimeout=60"
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(folder / "client_key"),
            "ansible_ssh_common_args": options,
            "ansible_ssh_pipelining": True,
            "ansible_remote_tmp": str(folder / "remote"),
            "lab_control": control,
            "lab_folder": str(folder),
        }
        return {"all": {"vars": {**common, **self.vars}, "children": groups}}


def python_of(host: str, version: str | None) -> str:
    """The interpreter of that version, or the one that runs this, with a line that says so."""
    if version:
        # What is found may be a wrapper that looks at its environment, so it is asked for the real one.
        done = subprocess.run(
            [shutil.which(f"python{version}") or "false", "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            return done.stdout.strip()
        print(f"{host} has Python {sys.version_info[0]}.{sys.version_info[1]}, because there is no python{version} here")
    return sys.executable


def main() -> int:
    parser = argparse.ArgumentParser(description="Hosts for tests: network namespaces with OpenSSH servers and LM Studio look-alikes.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="make the hosts of a lab file, and write an inventory of them into a folder")
    down = verbs.add_parser("down", help="end and remove what `up` made, also after it failed")
    up.add_argument("file", type=Path)
    up.add_argument("folder", type=Path)
    down.add_argument("file", type=Path)
    arguments = parser.parse_args()
    try:
        if os.geteuid() != 0:
            raise LabError("network namespaces need root")
        # Where Debian keeps what an ordinary user's path does not name.
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        lab = Lab(arguments.file)
        if arguments.verb == "down":
            lab.down()
            return 0
        try:
            lab.up(arguments.folder)
        except BaseException:
            lab.down()
            raise
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
