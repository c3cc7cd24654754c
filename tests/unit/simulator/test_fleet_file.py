# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE

LISTEN = "host a: listen must be ADDRESS:PORT, and not "


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            {"hosts": {"a": {}}, "control": "127.0.0.1:99"},
            "control must be an address of this machine, without a port, and not 127.0.0.1:99",
        ),
        ({"hosts": {"a": {"listen": "127.0.0.1"}}}, LISTEN + "127.0.0.1"),
        ({"hosts": {"a": {"listen": 8080}}}, LISTEN + "8080"),
        ({"hosts": {"a": {"listen": "127.0.0.1:http"}}}, LISTEN + "127.0.0.1:http"),
        ({"hosts": {"a": {"listen": "127.0.0.1:70000"}}}, LISTEN + "127.0.0.1:70000"),
        ({"hosts": {"a": {"listen": "192.0.2.1:0"}}}, "host a: cannot listen on 192.0.2.1:0"),
        ({"hosts": {"a": {"colour": "red"}}}, "host a: "),
        ({"fleet": {}}, "is not a fleet file (an object with hosts: {name: settings})"),
    ],
)
def test_a_fleet_file_that_cannot_be_used_is_a_sentence(tmp_path, document, says):
    file = tmp_path / "fleet.yml"
    file.write_text(yaml.safe_dump(document))
    command = [sys.executable, ROOT / "tests" / "simulator", file, "--until-eof"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("simulator: ") and says in done.stderr and done.stderr.count("\n") == 1
