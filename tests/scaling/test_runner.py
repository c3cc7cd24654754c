# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet in three slices, each a job of ``ansible-runner transmit | worker | process``. Run by `nox -s scaling`."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT, collections_path, settings_in
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.scaling.conftest import (
    NAMES,
    SLICES,
    STATUS,
    Fleet,
    Page,
    audited,
    times,
    tokens_below,
    tokens_in,
)

Make = Callable[[str, str], Path]

GATHER_ON_HOSTS = """
- name: Let each host of this slice ask
  hosts: gpu
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
        token: "{{ lmstudio_token }}"
"""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a machine without the collection, which comes with the project."""
    settings = settings_in(folder)
    del settings["ANSIBLE_COLLECTIONS_PATH"], settings["ANSIBLE_CONFIG"]
    return {**settings, **more}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``collections`` with this collection, installed from a checkout."""
    folder = tmp_path_factory.mktemp("project")
    # Without the collection in the environment, which would count as installed.
    env = {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")}
    done = run_in(folder, ["ansible-galaxy", "collection", "install", "--offline", str(ROOT), "-p", "collections"], env)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "collections"


@pytest.fixture
def private_data_dir(tmp_path: Path, page: Page, collection: Path) -> Make:
    """Make a private data directory with an inventory, the playbooks of the page and the collection."""

    def make(name: str, inventory: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(collection, folder / "project" / "collections")
        (folder / "project" / "gather.yml").write_text(page.file("gather.yml"))
        (folder / "project" / "gather_on_hosts.yml").write_text(GATHER_ON_HOSTS)
        (folder / "inventory").mkdir()
        (folder / "inventory" / "hosts.yml").write_text(inventory)
        return folder

    return make


def events_of(artifacts: Path, kind: str) -> list[dict[str, Any]]:
    events = (json.loads(path.read_text()) for path in (artifacts / "job_events").iterdir())
    return [event["event_data"] for event in events if event["event"] == kind]


@pytest.mark.parametrize("playbook, cut", [("gather.yml", "inventories"), ("gather.yml", "limits"), ("gather_on_hosts.yml", "inventories")])
def test_the_slices_of_a_fleet_come_together_again(
    fleet: Fleet, page: Page, private_data_dir: Make, tmp_path: Path, playbook: str, cut: str
) -> None:
    for name, members in SLICES.items():
        private_data_dir(name, fleet.inventory(members if cut == "inventories" else NAMES))
    (tmp_path / "inventory.yml").write_text(fleet.inventory())
    (command,) = page.commands("ansible-runner transmit")
    assert command.count("slice1") == 2 and " -p gather.yml" in command
    command = command.replace("gather.yml", playbook)
    if cut == "limits":
        command = command.replace("transmit slice1", "transmit slice1 --limit slice1")

    # All three at once, as on three controllers.
    env = environment(tmp_path)
    jobs = [
        subprocess.Popen(["sh", "-c", command.replace("slice1", name)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
        for name in SLICES
    ]
    said = [job.communicate(timeout=PATIENCE)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], said

    asked_by_slices = []
    for name, members in SLICES.items():
        artifacts = tmp_path / name / "artifacts"
        assert [(artifacts / what).read_text() for what in ("status", "rc")] == ["successful", "0"], said
        assert sorted(next(iter(events_of(artifacts, "playbook_on_stats")))["ok"]) == members
        for result in (event["res"] for event in events_of(artifacts, "runner_on_ok")):
            asked_by_slices += list(result["hosts"]) if "summary" in result else []
        assert sorted(path.name[-5:] for path in (artifacts / "fact_cache").iterdir()) == members
    assert fleet.asked() == times(1)
    if playbook == "gather.yml":
        assert sorted(asked_by_slices) == NAMES

    # One more job for the whole fleet, which asks no host.
    done = subprocess.run(
        ["sh", "-ec", "\n".join(page.commands("mkdir -p facts"))],
        cwd=tmp_path,
        env={**env, "ANSIBLE_COLLECTIONS_PATH": str(collections_path())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert audited(tmp_path) == sorted(STATUS.items())
    assert "10 of 12 hosts answered." in done.stdout
    assert fleet.asked() == times(1)


def unpacked(stream: bytes) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The lines and the files that two of the three send each other."""
    source = io.BytesIO(stream)
    lines: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    while line := source.readline():
        lines.append(json.loads(line))
        if size := lines[-1].get("zipfile"):
            archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(source.read((size + 2) // 3 * 4))))
            files.update((name, archive.read(name)) for name in archive.namelist() if not name.endswith("/"))
    return lines, files


@pytest.mark.parametrize("playbook", ["gather.yml", "gather_on_hosts.yml"])
def test_a_token_is_sent_in_the_inventory_and_comes_back_nowhere(
    fleet: Fleet, private_data_dir: Make, tmp_path: Path, playbook: str
) -> None:
    members = SLICES["slice3"]
    assert "gpu03" in members  # It sends back what it gets.
    given = private_data_dir("given", fleet.inventory(members))
    (given / "artifacts").mkdir()
    (given / "artifacts" / "status").write_text("of an earlier run")
    before = {str(path.relative_to(given)): path.read_bytes() for path in given.rglob("*") if path.is_file()}
    sender, worker, processor = (tmp_path / name for name in ("sender", "worker", "processor"))
    (worker / "tmp").mkdir(parents=True)

    def stage(stdin: bytes, *arguments: str | Path, home: Path, **more: str) -> bytes:
        home.mkdir(exist_ok=True)
        command = ["ansible-runner", *map(str, arguments)]
        env = environment(home, **more)
        return subprocess.run(command, cwd=home, env=env, input=stdin, stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout

    sent = stage(b"", "transmit", given, "-p", playbook, "-vvv", home=sender)
    came = stage(sent, "worker", home=worker, TMPDIR=str(worker / "tmp"), OF_THE_WORKER="what the worker has in its environment")
    said = stage(came, "process", processor, home=processor)

    lines, files = unpacked(sent)
    assert files == before and tokens_in(files["inventory/hosts.yml"]) == members
    assert tokens_in(json.dumps(lines)) == []

    lines, files = unpacked(came)
    assert {"status", "rc", "stdout", "command"} < set(files) and files["status"] == b"successful"
    assert f"{playbook}:" in files["stdout"].decode()  # At -vvv Ansible names the line of each task.
    results = [line["event_data"]["res"] for line in lines if line.get("event") == "runner_on_ok"]
    if playbook == "gather.yml":
        (fleet_result,) = [result for result in results if "summary" in result]
        assert list(fleet_result["hosts"]) == members and fleet_result["summary"]["ok"] == len(members)
    else:
        assert [result["ansible_facts"]["lmstudio"]["status"] for result in results] == ["ok"] * len(members)
    assert {name: data for name, data in files.items() if tokens_in(data)} == {}
    assert tokens_in(json.dumps(lines)) == [] == tokens_in(said)
    assert set(tokens_below(given)) == {str(given / "inventory" / "hosts.yml")}
    assert {**tokens_below(sender), **tokens_below(worker), **tokens_below(processor)} == {}
    assert (processor / "artifacts" / "stdout").read_bytes() == files["stdout"]
    # What is in the environment is kept, so a token has no place there. The fact cache is one of the job.
    kept = json.loads(files["command"])["env"]
    assert kept["OF_THE_WORKER"] == "what the worker has in its environment"
    assert kept["ANSIBLE_CACHE_PLUGIN"] == "jsonfile" and kept["ANSIBLE_CACHE_PLUGIN_CONNECTION"].endswith("/fact_cache")
