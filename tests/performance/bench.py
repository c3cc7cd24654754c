# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured: the installed collection, the real command line, real processes; nginx serves the answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trustme

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))
from patience import PATIENCE, until  # noqa: E402
from ports import Ports  # noqa: E402

BINARIES = Path(sys.executable).parent
SIZES = {"2 KB": 2_000, "30 KB": 30_000, "150 KB": 150_000}
"""Of the answers, in bytes."""
OWN = "30 KB, each its own"
"""The kind of a fleet whose hosts all give different answers: their loaded models unload at different times."""
MOST_OWN = 1000
TLS = "30 KB over TLS"
MODELS = "/api/v1/models"
NOTHING_ACTION = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return {"changed": False}
"""
NOTHING_MODULE = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({}, supports_check_mode=True).exit_json(changed=False)
"""
READY_ACTION = """
import json
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        with open(self._task.args["path"]) as file:
            return {"changed": False, **json.load(file)}
"""
PLUGINS = {
    "library/nothing.py": NOTHING_MODULE,
    "library/no_action.py": NOTHING_MODULE,
    "actions/no_action.py": NOTHING_ACTION,
    "library/ready.py": NOTHING_MODULE,
    "actions/ready.py": READY_ACTION,
}
"""To compare with: a module and an action that do nothing, and an action that returns what is ready in a file."""


class Took(NamedTuple):
    seconds: float
    """By the clock, or processor time where that is measured."""
    megabytes: float
    """The peak of the largest process."""


class Row(NamedTuple):
    """A line of the table."""

    figure: str
    what: str
    measured: float
    unit: str
    detail: str
    bound: float | None = None
    """What is promised, or None for a line without a promise."""
    at_least: bool = False

    def within(self, slack: float = 1.0) -> bool:
        """Whether the promise is kept, or missed by no more than this factor."""
        if self.bound is None:
            return True
        return self.measured * slack >= self.bound if self.at_least else self.measured <= self.bound * slack

    def cells(self) -> list[str]:
        bound = "" if self.bound is None else f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"
        reached = "" if self.bound is None else "yes" if self.within() else "**no**"
        return [self.figure, self.what, f"{self.measured:.{0 if self.measured >= 100 else 2}f}{self.unit}", bound, reached, self.detail]


def payload(size: int) -> bytes:
    """A model list of about that many bytes: one model is loaded, the rest is on disk."""
    entries = json.loads((ROOT / "tests" / "simulator" / "payloads" / "two_loaded.json").read_text())["models"]
    models = entries[:1]
    idle = {**entries[1], "loaded_instances": []}
    while len(json.dumps({"models": models})) < size - 600:
        models.append({**idle, "key": f"shelf/model-{len(models):03}"})
    return json.dumps({"models": models}).encode()


def own_payload(number: int) -> bytes:
    """An answer of 30 KB that no other host gives."""
    document = json.loads(payload(SIZES["30 KB"]))
    document["models"][0]["loaded_instances"][0]["remaining_ttl_seconds"] = number
    return json.dumps(document).encode()


class Bench:
    """A folder with the installed collection, a web server, and hosts by the thousand."""

    def __init__(self, folder: Path, repeats: int, processor_time: bool = False) -> None:
        self.folder = folder
        self.repeats = repeats
        self.processor_time = processor_time
        self.ports: dict[str, int] = {}
        self.env = {
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": f"{BINARIES}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }
        (folder / "ansible.cfg").write_text("[defaults]\nretry_files_enabled = false\nlibrary = library\naction_plugins = actions\n")
        for name, text in PLUGINS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def install(self) -> None:
        """Build the collection and install it, as users do."""
        subprocess.run(
            [BINARIES / "ansible-galaxy", "collection", "build", str(ROOT), "--output-path", self.folder],
            env=self.env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (tarball,) = self.folder.glob("gpufleet-lmstudio-*.tar.gz")
        command = [BINARIES / "ansible-galaxy", "collection", "install", "--offline", str(tarball), "-p", self.folder / "collections"]
        subprocess.run(command, env=self.env, check=True, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """nginx with one port for each size, which answers below any prefix; and a port where nobody answers."""
        nginx = shutil.which("nginx", path=self.env["PATH"])
        if not nginx:
            raise SystemExit("there is no nginx here. On Debian: apt-get install nginx-light")
        servers = ""
        held = Ports()
        for size in SIZES.values():
            (self.folder / f"{size}.json").write_bytes(payload(size))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        tls = f"ssl_certificate {self.folder}/server.pem; ssl_certificate_key {self.folder}/server.pem;"
        kinds = {**{name: f"{size}.json" for name, size in SIZES.items()}, OWN: "own/$1.json", TLS: f"{SIZES['30 KB']}.json"}
        for name, file in kinds.items():
            self.ports[name] = held[name]
            servers += (
                f"server {{ listen 127.0.0.1:{self.ports[name]}{' ssl' if name == TLS else ''} reuseport backlog=4096;"
                f" {tls if name == TLS else ''} default_type application/json;"
                f" location ~ ^/?([0-9]*){MODELS}$ {{ alias {self.folder}/{file}; }} }}\n"
            )
        (self.folder / "own").mkdir()
        for number in range(MOST_OWN):
            (self.folder / "own" / f"{number}.json").write_bytes(own_payload(number))
        config = (
            f"daemon off; master_process off; pid {self.folder}/nginx.pid; error_log stderr notice;\n"
            "events { worker_connections 8192; }\n"
            f"http {{ access_log off; client_body_temp_path {self.folder}/tmp; proxy_temp_path {self.folder}/tmp; fastcgi_temp_path {self.folder}/tmp;"
            f" uwsgi_temp_path {self.folder}/tmp; scgi_temp_path {self.folder}/tmp;\n{servers}}}\n"
        )
        (self.folder / "nginx.conf").write_text(config)
        with open(self.folder / "nginx.log", "w") as log:
            process = subprocess.Popen(
                [nginx, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")], stdin=subprocess.DEVNULL, stderr=log
            )
        silent = socket.create_server(("127.0.0.1", 0), backlog=16384)
        self.ports.update(silent=silent.getsockname()[1], refused=held["refused"])
        try:
            self._wait_for_nginx(process)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)
            silent.close()
            held.close()

    def _wait_for_nginx(self, process: subprocess.Popen[bytes]) -> None:
        log = self.folder / "nginx.log"

        def has_started() -> bool:
            if process.poll() is not None:
                raise SystemExit("nginx does not start:\n" + log.read_text())
            # The last notice of its start: by then it listens on every port.
            return "getrlimit(RLIMIT_NOFILE)" in log.read_text()

        until("the start of nginx", has_started)

    def hosts(self, number: int, kind: Callable[[int], str] | str = "30 KB", target: bool = False, names: bool = False) -> Path:
        """An inventory of that many hosts, each with an address of its own: the port of a kind, and a path. With `names`, that of its
        name, which :meth:`named` makes known."""
        variables = "lmstudio_url" if target else "lmstudio_controller_url"
        hosts = {}
        for index in range(number):
            port = self.ports[kind if isinstance(kind, str) else kind(index)]
            scheme = "https" if kind == TLS else "http"
            hosts[f"gpu{index:05}"] = {variables: f"{scheme}://{f'gpu{index:05}.test' if names else '127.0.0.1'}:{port}/{index}"}
        shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        if kind == TLS:
            shared["lmstudio_ca_path"] = str(self.folder / "ca.pem")
        path = self.folder / "hosts.json"
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
        return path

    def named(self, command: Sequence[str], number: int) -> list[str]:
        """A command for which that many host names resolve, in a mount namespace of its own."""
        names = "".join(f"127.0.0.1 gpu{index:05}.test\n" for index in range(number))
        (self.folder / "names").write_text("127.0.0.1 localhost\n" + names)
        script = f'mount --bind {self.folder}/names /etc/hosts && exec "$@"'
        return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(BINARIES / command[0]), *command[1:]]

    def play(self, *tasks: dict[str, Any], forks: int = 50, **play: Any) -> list[str]:
        """The command that runs these tasks on all hosts."""
        content = json.dumps([{"hosts": "all", "gather_facts": False, "tasks": list(tasks), **play}])
        path = self.folder / f"play{abs(hash(content))}.yml"
        path.write_text(content)
        return ["ansible-playbook", "-i", "hosts.json", "-f", str(forks), str(path)]

    def run(self, command: Sequence[str], ends: int = 0) -> Took:
        """Run a command of ansible-core as a user would, and measure it from outside."""
        with open(self.folder / "output", "w") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [BINARIES / command[0], *command[1:]], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            _pid, status, usage = os.wait4(process.pid, 0)
            took = usage.ru_utime + usage.ru_stime if self.processor_time else time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != ends:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{(self.folder / 'output').read_text()[-3000:]}")
        return Took(took, usage.ru_maxrss / 1024)

    def pairs(self, one: Sequence[str], other: Sequence[str], at_most: int | None = None) -> tuple[float, Took, Took]:
        """The median ratio of one command to another, run in turns, and the median of each. `at_most` bounds the turns of what takes long."""
        taken = [(self.run(one), self.run(other)) for _time in range(min(at_most or self.repeats, self.repeats))]
        ratio = statistics.median(first.seconds / second.seconds for first, second in taken)
        first, second = (Took(*map(statistics.median, zip(*took))) for took in zip(*taken))
        return ratio, first, second
