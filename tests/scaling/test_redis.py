# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controllers that share an inventory cache and a fact cache in a real Redis. Run by `nox -s scaling`."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, settings_in
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.ports import Ports
from ansible_collections.gpufleet.lmstudio.tests.scaling.conftest import (
    NAMES,
    SLICES,
    STATUS,
    TOKENS,
    Fleet,
    Page,
    audited,
    times,
    tokens_in,
)
from redis import Redis

PASSWORD = "hunter2-of-redis"
FACTS, INVENTORIES = 0, 1
USE = """
- name: Use the facts, whoever gathered them
  hosts: gpu
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
      token: "{{ lmstudio_token }}"
  tasks:
    - name: Say what each host serves
      ansible.builtin.debug:
        msg: "{{ inventory_hostname }}: {{ ansible_facts.lmstudio.status }}, {{ ansible_facts.lmstudio.loaded }}"
"""


class Server:
    """Debian's redis-server with a password, on a port of loopback, without a file. It ends with :meth:`stop`."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "there is no Redis: apt-get install redis-server"
        self._ports = Ports()
        self.port = self._ports["redis"]
        options = {"port": self.port, "bind": "127.0.0.1", "requirepass": PASSWORD, "save": "", "appendonly": "no", "dir": folder}
        command = [program, *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                break
        else:
            raise RuntimeError(f"redis-server ended: {''.join(said)}")
        # Its later output must not fill the pipe.
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        self._ports.close()

    def database(self, number: int) -> Redis:
        return Redis(port=self.port, db=number, password=PASSWORD)

    def keys(self, number: int, beginning: str) -> list[str]:
        return sorted(key.decode() for key in self.database(number).scan_iter(beginning + "*"))

    def stored(self) -> dict[str, bytes]:
        """All values, by the number of the database and the key."""
        found: dict[str, bytes] = {}
        for number in (FACTS, INVENTORIES):
            database = self.database(number)
            for key in self.keys(number, ""):
                kind = database.type(key)
                names: Any = database.zrange(key, 0, -1) if kind == b"zset" else [database.get(key)]
                found[f"{number}:{key}"] = b" ".join(names)
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def sources(tmp_path: Path, page: Page, fleet: Fleet) -> Path:
    """The inventory, at the same path for all controllers."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "10-hosts.yml").write_text(fleet.inventory())
    (folder / "90-lmstudio.yml").write_text(page.file("90-lmstudio.yml"))
    return folder


class Controller:
    """Stands for a machine: a home, a working folder and an ansible.cfg of its own."""

    def __init__(self, folder: Path, page: Page, server: Server) -> None:
        self.folder = folder
        folder.mkdir()
        self._env = settings_in(folder)
        (folder / "ansible.cfg").write_text(page.file("ansible.cfg"))
        (folder / "gather.yml").write_text(page.file("gather.yml"))
        (folder / "use.yml").write_text(USE)
        for line in page.commands("export ANSIBLE_CACHE_PLUGIN_CONNECTION"):
            name, _separator, value = line.removeprefix("export ").partition("=")
            assert value.startswith("redis.example:6379:") and value.endswith(":PASSWORD"), value
            value = value.replace("redis.example:6379", f"127.0.0.1:{server.port}").replace("PASSWORD", PASSWORD)
            self._env[name] = value
        assert {"ANSIBLE_CACHE_PLUGIN_CONNECTION", "ANSIBLE_INVENTORY_CACHE_CONNECTION"} < set(self._env)

    def start(self, *command: str | Path, **env: str) -> subprocess.Popen[str]:
        words = [str(BINARIES / command[0]), *map(str, command[1:])]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**self._env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str | Path, ends: int = 0, **env: str) -> tuple[str, str]:
        """Standard output and standard error."""
        process = self.start(*command, **env)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == ends, out + err
        return out, err


@pytest.fixture
def controllers(tmp_path: Path, page: Page, server: Server) -> list[Controller]:
    return [Controller(tmp_path / name, page, server) for name in ("first", "second", "third")]


def read(listed: str) -> dict[str, Any]:
    """What ansible-inventory prints, without its marks for text that is not a template."""
    return dict(json.loads(listed, object_hook=lambda entry: entry.get("__ansible_unsafe", entry)))


def statuses(listed: str) -> dict[str, str]:
    variables = read(listed)["_meta"]["hostvars"]
    return {name: variables[name]["lmstudio_record"]["status"] for name in NAMES}


def without_unavailable(listed: str) -> dict[str, Any]:
    """All that an inventory says, except when gpu10 was asked."""
    inventory = read(listed)
    for volatile in ("asked_at", "response_ms"):
        del inventory["_meta"]["hostvars"]["gpu10"]["lmstudio_record"][volatile]
    return inventory


def test_an_inventory_that_one_controller_read_asks_nobody_at_another(
    fleet: Fleet, server: Server, sources: Path, controllers: list[Controller]
) -> None:
    first, second, third = controllers
    listing = ("ansible-inventory", "-i", sources, "--list")
    cold, said = first.run(*listing)
    assert (
        statuses(cold) == STATUS and said.count("WARNING") == 1 and "2 of 12 hosts did not return a model list." in " ".join(said.split())
    )
    assert fleet.asked() == times(1)
    (key,) = server.keys(INVENTORIES, "ansible_inventory_")
    assert 0 < server.database(INVENTORIES).ttl(key) <= 600
    assert read(cold)["lmstudio_ok"]["hosts"] == [name for name, status in STATUS.items() if status == "ok"]

    # A refused connection is kept as well. A host that answered with an error is asked again, because that is quick.
    fleet.simulator.fault("gpu05", None)
    for count, controller in ((1, first), (2, second)):
        warm, _said = controller.run(*listing)
        assert without_unavailable(warm) == without_unavailable(cold)
        assert fleet.asked() == {**times(1), "gpu10": 1 + count}

    # The key contains the path of the source, so another path is another entry.
    shutil.copytree(sources, sources.with_name("elsewhere"))
    elsewhere, _said = third.run("ansible-inventory", "-i", sources.with_name("elsewhere"), "--list")
    assert statuses(elsewhere) == {**STATUS, "gpu05": "ok"}
    assert fleet.asked() == {**times(2), "gpu05": 1, "gpu10": 4}
    assert len(server.keys(INVENTORIES, "ansible_inventory_")) == 2

    flushed, _said = second.run(*listing, "--flush-cache")
    assert statuses(flushed) == {**STATUS, "gpu05": "ok"}
    assert fleet.asked() == {**times(3), "gpu05": 2, "gpu10": 5}


def test_facts_that_one_controller_gathered_are_there_at_another(
    fleet: Fleet, server: Server, sources: Path, controllers: list[Controller]
) -> None:
    first, second, _third = controllers
    playing = ("ansible-playbook", "-i", sources / "10-hosts.yml", "use.yml")
    gathering, _said = first.run(*playing)
    assert "TASK [Gathering Facts]" in gathering and fleet.asked() == times(1)
    keys = server.keys(FACTS, "ansible_facts")
    assert [key[-5:] for key in keys] == NAMES
    assert all(0 < server.database(FACTS).ttl(key) <= 600 for key in keys)

    using, _said = second.run(*playing)
    assert "TASK [Gathering Facts]" not in using and fleet.asked() == times(1)
    for output in (gathering, using):
        assert [name for name, status in STATUS.items() if f"{name}: {status}, " in output] == NAMES, output

    second.run(*playing, "--flush-cache", "--limit", "gpu01:gpu02")
    assert fleet.asked() == {**times(1), "gpu01": 2, "gpu02": 2}


def test_slices_of_three_controllers_come_together_in_redis(fleet: Fleet, sources: Path, controllers: list[Controller]) -> None:
    playing = ("ansible-playbook", "-i", sources / "10-hosts.yml", "gather.yml", "--limit")
    running = [controller.start(*playing, name) for controller, name in zip(controllers, SLICES)]
    outputs = ["".join(process.communicate(timeout=PATIENCE)) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert fleet.asked() == times(1)

    variables = ("-e", "fleet_audit_source=variable", "-e", "fleet_audit_variable=ansible_facts.lmstudio")
    controllers[0].run("ansible-playbook", "-i", sources / "10-hosts.yml", "gpufleet.lmstudio.fleet_audit", *variables)
    assert audited(controllers[0].folder) == sorted(STATUS.items())
    assert fleet.asked() == times(1)


def test_nothing_of_a_token_is_in_redis(fleet: Fleet, server: Server, sources: Path, controllers: list[Controller]) -> None:
    first, second, _third = controllers
    first.run("ansible-inventory", "-i", sources, "--list")
    second.run("ansible-playbook", "-i", sources, "use.yml")
    first.run("ansible-playbook", "-i", sources, "gather.yml")
    stored = server.stored()
    # Twelve hosts and one source, and each database has the names of its entries in a set.
    assert len(stored) == 12 + 1 + 2
    together = b"\0".join([*map(str.encode, stored), *stored.values()])
    assert b"qwen/qwen3-8b" in together and b"gpu03" in together and b"********" in together
    assert tokens_in(together) == []

    # What is looked for would be found.
    server.database(FACTS).set("another", f"begins as {TOKENS['gpu07'][:8]}")
    assert tokens_in(b"\0".join(server.stored().values())) == ["gpu07"]


def test_without_redis_hosts_are_asked_but_facts_are_an_error(
    fleet: Fleet, server: Server, sources: Path, controllers: list[Controller]
) -> None:
    first, second, _third = controllers
    server.stop()
    settings = {"ANSIBLE_CACHE_PLUGIN": "memory", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    listed, said = first.run("ansible-inventory", "-i", sources, "--list", **settings)
    assert statuses(listed) == STATUS and fleet.asked() == times(1)
    for told in ("be read, so every host is queried again", "be written, so the next run queries every host again"):
        assert f"The inventory cache cannot {told}" in " ".join(said.split())
    _out, said = second.run("ansible-playbook", "-i", sources / "10-hosts.yml", "use.yml", ends=250)
    assert f"connecting to 127.0.0.1:{server.port}" in said and fleet.asked() == times(1)
