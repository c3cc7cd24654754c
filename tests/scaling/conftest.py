# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of twelve, in three slices, and what docs/scaling.md shows, which is what the tests run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, TARGET_PYTHON, start
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator

__all__ = ["start"]

NAMES = [f"gpu{number:02}" for number in range(1, 13)]
# As in AWX, a slice has every third host, so slices are equally long and mixed.
SLICES = {f"slice{number + 1}": NAMES[number::3] for number in range(3)}
# The first eight characters of each occur in no other, and nowhere else.
TOKENS = {name: f"{name[3:]}Zq81xKw0pVt5-of-{name}" for name in NAMES}
STATUS = {**dict.fromkeys(NAMES, "ok"), "gpu05": "refused", "gpu10": "unavailable"}

BLOCK = re.compile(r"```\w+\n(.*?)```", re.DOTALL)


class Page:
    """docs/scaling.md. Its files begin with their names, its commands with ``$``."""

    def __init__(self) -> None:
        self._blocks = BLOCK.findall((ROOT / "docs" / "scaling.md").read_text(encoding="utf-8"))

    def file(self, name: str) -> str:
        (text,) = (block for block in self._blocks if block.startswith(f"# {name}\n"))
        return str(text)

    def commands(self, beginning: str) -> list[str]:
        """The commands of the one block that begins with this text."""
        (block,) = (block for block in self._blocks if block.startswith(f"$ {beginning}"))
        return [line[2:] for line in block.replace("\\\n", "").splitlines()]


class Fleet:
    """Twelve servers, each with a token of its own. One refuses connections, one is unavailable, and one sends back what it receives."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def inventory(self, names: list[str] = NAMES) -> str:
        """An inventory of these hosts with their groups, cut down to a slice as AWX does it."""
        urls = self.simulator.urls
        hosts = {name: {"lmstudio_url": urls[name], "lmstudio_token": TOKENS[name]} for name in names}
        groups: dict[str, Any] = {name: {"hosts": {host: {} for host in members if host in names}} for name, members in SLICES.items()}
        gpu = {"hosts": hosts, "vars": {"ansible_python_interpreter": TARGET_PYTHON, **LOCAL}}
        return str(yaml.safe_dump({"all": {"children": {"gpu": gpu, **groups}}}))

    def asked(self) -> dict[str, int]:
        """How often each server was asked. One that refuses connections cannot tell."""
        return {name: len(self.simulator.requests(name)) for name in NAMES}


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def fleet(start: Callable[[dict[str, Any]], Simulator]) -> Fleet:
    settings: dict[str, dict[str, Any]] = {name: {"token": token} for name, token in TOKENS.items()}
    settings["gpu03"]["fault"] = "echoed_token"
    settings["gpu05"]["fault"] = "refused"
    settings["gpu10"]["fault"] = "unavailable"
    return Fleet(start(settings))


def times(count: int) -> dict[str, int]:
    """What `asked` gives when each host was asked this many times."""
    return {name: 0 if STATUS[name] == "refused" else count for name in NAMES}


def tokens_in(text: str | bytes) -> list[str]:
    """The hosts whose token, or at least its first eight characters, is in a text."""
    data = text.encode() if isinstance(text, str) else text
    return [name for name, token in TOKENS.items() if token[:8].encode() in data]


def tokens_below(folder: Path) -> dict[str, list[str]]:
    """The files of a folder that have a token in them or in their name."""
    found = {str(path): tokens_in(str(path)) + (tokens_in(path.read_bytes()) if path.is_file() else []) for path in folder.rglob("*")}
    return {path: names for path, names in found.items() if names}


def audited(folder: Path) -> list[tuple[str, str]]:
    """Each host of the report of a fleet audit, with its status."""
    report = json.loads((folder / "fleet_audit" / "fleet_audit.json").read_text(encoding="utf-8"))
    return sorted((host["name"], host["status"]) for host in report["hosts"])
