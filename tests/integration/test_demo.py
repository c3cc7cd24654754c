# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration says what is simulated, leaves its fleet running where that is wanted, and does not judge somebody's own server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE

DEMO = [sys.executable, str(Path(__file__).parents[1] / "demo" / "demo.py")]
pytestmark = pytest.mark.once


def demo(folder, **env):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") and name != "LM_API_TOKEN"}
    return subprocess.Popen([*DEMO, str(folder)], env={**kept, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_fleet_stays_until_it_is_interrupted(tmp_path):
    process = demo(tmp_path, KEEP="1")
    told = []
    for line in process.stdout:
        told.append(line)
        if "YOUR_PLAY.yml" in line:
            break
    text = "".join(told)
    assert "gpu04 has a new token" in text and "chat: not met by 5 of 7 hosts" in text
    play = tmp_path / "play.yml"
    play.write_text("- hosts: gpu\n  gather_facts: false\n  tasks: [{gpufleet.lmstudio.fleet_info: , run_once: true}]\n")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(play)]
    outcome = subprocess.run(command, env={**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}, capture_output=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    process.send_signal(signal.SIGINT)
    rest, _nothing = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and rest.endswith("The simulated fleet has ended.\n")


def test_a_url_that_nobody_could_ask_ends_it_with_a_sentence(tmp_path):
    process = demo(tmp_path, LMSTUDIO_URL="http://user:hunter-two@gpu01:1234")
    told, _nothing = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert told.startswith("LMSTUDIO_URL: ") and "hunter-two" not in told and told.count("\n") == 1


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_without_a_python_make_says_so(tmp_path):
    # These tests may themselves be run by make.
    command = ["make", "--no-print-directory", "PYTHON=nothing", f"DEMO={tmp_path}", "demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stdout == "Python 3.10 or later is needed, nothing was not found. Choose another with: make PYTHON=python3.12 ...\n"


def test_somebodys_own_server_is_not_judged(tmp_path, start):
    token = "sk-lm-of-somebody"
    fleet = start({"gpu01": {"payload": "none_loaded.json", "token": token}})
    process = demo(tmp_path, LMSTUDIO_URL=fleet.urls["gpu01"], LM_API_TOKEN=token, KEEP="1")
    told, _nothing = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert '"1 of 1 host answered.' in told and "127.0.0.1  ok" in told, told
    assert "simulated" not in told and "make demo" not in told and "not met" not in told
