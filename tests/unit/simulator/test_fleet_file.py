# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
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
    assert says in refused(tmp_path, document)


def refused(folder, document):
    """The sentence about a fleet file that cannot be used."""
    file = folder / "fleet.yml"
    file.write_text(yaml.safe_dump(document))
    command = [sys.executable, ROOT / "tests" / "simulator", file, "--until-eof"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("simulator: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("heading", "host"),
    [
        ("| key | default | |", {"colour": "red"}),
        ("| key of `loads` | default | |", {"loads": {"colour": "red"}}),
        ("| key of `downloads` | default | |", {"downloads": {"colour": "red"}}),
        ("| key | |", {"fault": {"colour": "red"}}),
        ("| fault | what it does |", {"fault": "red"}),
    ],
)
def test_the_page_has_every_key_and_every_fault_and_no_others(tmp_path, heading, host):
    page = (ROOT / "tests" / "simulator" / "README.md").read_text(encoding="utf-8")
    table = page.partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    documented = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    known = re.search(r"(?:The keys are|Use one of) (.*)\.", refused(tmp_path, {"hosts": {"a": host}}))[1].split(", ")
    assert sorted(documented) == sorted(known)
