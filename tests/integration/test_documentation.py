# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the README and the overview playbook show works as it is written."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT

PLAYS = re.findall(r"```yaml\n(- name: .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_has_plays():
    assert len(PLAYS) >= 4


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.splitlines()[0])
def test_a_play_of_the_readme_works_as_it_is(run, start, play):
    fleet = start({"gpu": {"payload": "two_loaded.json"}})
    hosts = {"gpu": {"lmstudio_url": fleet.urls["gpu"]}}
    outcome = run(play, hosts, "-e", f"server={fleet.urls['gpu']}")
    assert "failed=0" in outcome.output
    assert fleet.requests("gpu")


def test_the_overview_shows_the_fleet_of_the_demonstration(run, start):
    settings = yaml.safe_load((ROOT / "tests" / "demo" / "fleet.yml").read_text(encoding="utf-8"))["hosts"]
    fleet = start(settings)
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu03"]["lmstudio_token"] = settings["gpu03"]["token"]
    hosts["gpu04"]["lmstudio_token"] = "not-the-token-of-gpu04"
    overview = (ROOT / "playbooks" / "overview.yml").read_text(encoding="utf-8")
    words = [re.sub(r"\s+", " ", line) for line in run(overview, hosts).output.splitlines()]
    for row in (
        "HOST STATUS LOADED CONTEXT",
        "gpu01 ok qwen/qwen3-8b 16384",
        "gpu01 ok qwen/qwen3-8b 4096",
        "gpu01 ok openai/gpt-oss-20b 32768",
        "gpu02 ok - -",
        "gpu03 ok qwen/qwen3-8b 8192",
        "gpu04 auth - -",
        "gpu05 unsupported - -",
        "gpu06 refused - -",
        "mac01 ok qwen/qwen3-8b 40960",
    ):
        assert any(row in line for line in words), row
    text = "\n".join(words)
    assert "gpu01 can take long conversations." in text and "gpu02 can take" not in text
    assert "gpu02 is idle and could load" in text
    assert f"{fleet.urls['gpu01']} is ok, loaded: openai/gpt-oss-20b, qwen/qwen3-8b." in text
