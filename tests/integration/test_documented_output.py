# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation shows what its plays really print and write."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import fetch
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL, ask
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.integration.test_documentation import grouped

pytestmark = pytest.mark.once

PLAY_AND_OUTPUT = re.compile(r"```yaml\n(- name: (?:(?!```).)*)```(?:(?!```yaml|# ).)*?```text\n(.*?)```", re.DOTALL)
SHOWN = {
    (str(page.relative_to(ROOT)), output): play
    for page in sorted(ROOT.glob("docs/*.md"))
    for play, output in PLAY_AND_OUTPUT.findall(page.read_text(encoding="utf-8"))
}
TWO, NONE = {"payload": "two_loaded.json"}, {"payload": "none_loaded.json"}


class Case(NamedTuple):
    """On which fleet a page shows a play."""

    fleet: dict[str, dict[str, Any]]
    ends: int = 0
    arguments: tuple[str, ...] = ()
    loaded: tuple[tuple[str, int], ...] = ()
    """Where the chat model is loaded first, and its context."""
    loaded_later: str = ""
    """Where it is loaded after a first run."""


CASES = {
    "docs/gate.md": [
        Case({"gpu01": NONE, "gpu02": {"token": "a-token-of-gpu02"}}, 2, loaded=(("gpu01", 4096),)),
        Case({"gpu01": NONE, "gpu02": NONE, "gpu03": {"token": "a-token-of-gpu03"}}, 2, loaded=(("gpu01", 8192),)),
    ],
    "docs/check_mode.md": [Case({"gpu01": NONE, "gpu02": NONE}, arguments=("--check",), loaded=(("gpu02", 8192),))],
    "docs/drift.md": [Case({"gpu01": TWO, "gpu02": NONE}, 2, loaded_later="gpu02")],
    "docs/metrics.md": [Case({"gpu01": TWO, "gpu02": {"token": "a-token-of-gpu02"}})],
    "docs/quickstart.md": [Case({"gpu01": TWO, "gpu02": {"fault": "refused"}})],
    "docs/upstreams.md": [Case({"gpu01": NONE, "gpu02": NONE, "gpu03": NONE}, loaded=(("gpu01", 8192), ("gpu02", 8192)))],
}


def numbered():
    for page in {page: None for page, _output in SHOWN}:
        for number, output in enumerate(output for of, output in SHOWN if of == page):
            yield pytest.param(page, number, output, id=f"{page} {number}")


@pytest.mark.parametrize("page, number, output", list(numbered()))
def test_a_play_of_the_documentation_prints_what_is_shown(run, start, page, number, output):
    case = CASES[page][number]
    fleet = start(case.fleet)
    for name, context in case.loaded:
        fleet.load(name, "qwen/qwen3-8b", context_length=context)
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    play = grouped(re.sub(r"wait_timeout: \d+", "wait_timeout: 1", SHOWN[page, output]))
    if case.loaded_later:
        run(play, hosts, *case.arguments)
        fleet.load(case.loaded_later, "qwen/qwen3-8b", context_length=8192)
    outcome = run(play, hosts, *case.arguments, ends=case.ends)
    told = outcome.output.replace(r"\n", " ").replace(r"\"", '"')
    written = [path.read_text(encoding="utf-8") for suffix in ("prom", "conf") for path in outcome.folder.rglob(f"*.{suffix}")]
    seen = " ".join(" ".join([told, *written]).split())
    for name, url in fleet.urls.items():
        seen = seen.replace(url, f"http://{name}:1234").replace(url.removeprefix("http://"), f"{name}:1234")
    seen += seen.replace("//gpu02:1234", "//127.0.0.1:1234")
    missing = [line for line in output.splitlines() if " ".join(line.removesuffix("...").split()) not in seen]
    assert not missing, outcome.output


def test_every_output_has_a_fleet():
    assert {page: len([key for key in SHOWN if key[0] == page]) for page, _output in SHOWN} == {page: len(CASES[page]) for page in CASES}


def test_the_record_of_the_quickstart_is_that_of_a_simulated_host(start):
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    (shown,) = [yaml.safe_load(text) for text in re.findall(r"```text\n(ok: .*?)```", page, re.DOTALL) if "counts:" in text]
    fleet = start({"gpu01": TWO})
    record = ask(make_endpoint({"url": fleet.urls["gpu01"]}, ""), fetch, FULL)
    assert shown.pop("url") == record["url"].replace(fleet.urls["gpu01"], "http://127.0.0.1:1234")
    for instance, real in zip(shown.pop("instances"), record["instances"], strict=True):
        assert instance.pop("...", None) is None
        assert instance == {name: real[name] for name in instance}
    assert shown == {name: record[name] for name in shown}
