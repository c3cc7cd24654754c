# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand hosts and each plugin that asks many, and an end when it is wanted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT, settings_in
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE

HOSTS = 1000

pytestmark = pytest.mark.once


@pytest.fixture
def thousand(start, tmp_path):
    """A thousand servers that send 30 KB, each with a model of its own, and some that fail."""
    # For each a socket that keeps its port, one that listens and a connection, and what every program has open.
    needed, allowed = 3 * HOSTS + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        pytest.skip(f"the simulator of {HOSTS} hosts has {needed} files open, and ulimit -Hn allows {allowed}")
    entries = json.loads((ROOT / "tests" / "simulator" / "payloads" / "two_loaded.json").read_text())["models"]
    idle = {**entries[1], "loaded_instances": []}
    shelf = [{**idle, "key": f"shelf/model-{number:02}"} for number in range(60)]
    hosts = {}
    for number in range(HOSTS):
        name = f"gpu{number:04}"
        hosts[name] = {"payload": f"{name}.json"}
        # Each in a file of its own: as YAML they take a quarter of a minute.
        (tmp_path / f"{name}.json").write_text(json.dumps({"models": [{**entries[0], "key": f"own/{name}"}, *shelf]}))
        if number % 100 == 7:
            hosts[name] = {"fault": ["refused", "unauthorized", "silence"][number // 100 % 3]}
    assert 28_000 < (tmp_path / "gpu0000.json").stat().st_size < 40_000
    return start(hosts)


def test_a_thousand_hosts_at_every_plugin_that_asks_many(run, thousand, tmp_path):
    hosts = {name: {"lmstudio_url": url} for name, url in thousand.urls.items()}
    for name in ("gpu0207", "gpu0507", "gpu0807"):
        # The silent ones. The others may be as slow as this machine is.
        hosts[name]["lmstudio_timeout"] = 3
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, timeout: 120, on_error: report}")
    play = """
- name: Ask a thousand
  hosts: all
  gather_facts: false
  tasks:
    - name: In one task
      gpufleet.lmstudio.fleet_info:
        timeout: 120
      run_once: true
      register: fleet
    - name: In one expression
      ansible.builtin.set_fact:
        items: "{{ query('gpufleet.lmstudio.models', groups['all'], timeout=120, detail='loaded', on_error='report') }}"
      run_once: true
    - name: Write all three down
      ansible.builtin.copy:
        content: "{{ {'fleet': fleet, 'items': items, 'inventory': groups['all'] | map('extract', hostvars, 'lmstudio_record')} | to_json }}"
        dest: answers.json
        mode: "0600"
      run_once: true
"""
    run(play, hosts, "-i", "lmstudio.yml")
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert list(answers["fleet"]["hosts"]) == list(thousand.urls)
    for records in (list(answers["fleet"]["hosts"].values()), answers["items"], answers["inventory"]):
        assert [record["url"] for record in records] == list(thousand.urls.values())
        for number, record in enumerate(records):
            expected = ["refused", "auth", "timeout"][number // 100 % 3] if number % 100 == 7 else "ok"
            assert record["status"] == expected, (number, record["error"])
            assert record["loaded"] == ([f"own/gpu{number:04}"] if record["ok"] else [])
    assert answers["fleet"]["summary"]["ok"] == HOSTS - 10
    for number in range(0, HOSTS, 97):
        assert len(thousand.requests(f"gpu{number:04}")) == (0 if number % 300 == 7 else 3)


PLAY = """
- name: Ask a silent server
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      {task}
      run_once: true
"""
LOOKUP = "ansible.builtin.debug: {msg: \"{{ query('gpufleet.lmstudio.models', 'gpu01', timeout={timeout}) }}\"}"
PLUGINS = pytest.mark.parametrize(
    "task, sources",
    [
        pytest.param("gpufleet.lmstudio.fleet_info: {timeout: {timeout}}", ["hosts.yml"], id="fleet_info"),
        pytest.param(LOOKUP, ["hosts.yml"], id="lookup"),
        pytest.param("ansible.builtin.debug:", ["hosts.yml", "lmstudio.yml"], id="inventory"),
    ],
)
# What a shell starts in the background ignores interrupts, and so does all that it starts.
HEEDING_INTERRUPTS = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def play_of(start, tmp_path):
    """Begins a play that asks one silent server. Returns the fleet, and the process."""
    processes = []

    def begin(task, sources, timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        fleet = start({"gpu01": {"fault": "silence"}})
        hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "ansible_connection": "local"}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        (tmp_path / "lmstudio.yml").write_text(f"{{plugin: gpufleet.lmstudio.lmstudio, hosts: all, timeout: {timeout}}}")
        (tmp_path / "play.yml").write_text(PLAY.replace("{task}", task).replace("{timeout}", str(timeout)))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), *[f"-i{source}" for source in sources], "play.yml"]
        process = subprocess.Popen(
            [sys.executable, "-c", HEEDING_INTERRUPTS, *command],
            cwd=tmp_path,
            env=settings_in(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return fleet, process

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@PLUGINS
def test_long_runs_tell_their_progress_at_a_terminal(play_of, task, sources):
    near, far = pty.openpty()
    # Lines and columns.
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    _fleet, process = play_of(task, sources, timeout=100, stdout=far, stderr=far)
    os.close(far)
    told = b""
    # It tells it soon. Otherwise it would end after a hundred seconds, and so would this test.
    while b"gpufleet.lmstudio: 0 of 1 host done, 0 without an answer" not in told:
        assert process.poll() is None, told
        told += os.read(near, 65536)
    os.close(near)


def test_without_a_terminal_no_progress_is_told(play_of):
    fleet, process = play_of("gpufleet.lmstudio.fleet_info: {timeout: {timeout}}", ["hosts.yml"], timeout=3)
    out, err = process.communicate(timeout=PATIENCE)
    assert len(fleet.requests("gpu01")) == 1 and " done, " not in out + err


@PLUGINS
def test_an_interrupt_ends_a_long_run_at_once(play_of, task, sources):
    fleet, process = play_of(task, sources, timeout=100)
    # Not at a line of progress: a worker that ends while it sends one keeps Ansible waiting for the lock of its queue.
    given_up = time.monotonic() + PATIENCE
    while not fleet.requests("gpu01"):
        assert process.poll() is None and time.monotonic() < given_up, "the server was never asked"
        time.sleep(0.05)
    # As a terminal does it: the interrupt goes to all processes of the group.
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert time.monotonic() - began < 50, "the server would have been given 100 seconds"
