# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grafana's own code and types, as far as npm has them: its server is not a package."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGES = os.environ.get("LMSTUDIO_GRAFANA", "")
"""The node_modules with @grafana/data, @grafana/schema and typescript, which `nox -s monitoring` installs."""
needs_grafana = pytest.mark.skipif(not PACKAGES, reason="panels with Grafana's code: nox -s monitoring installs it where there is npm")


def shown(panels: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """What panels show, by their titles: see panels.cjs."""
    command = ["node", str(Path(__file__).with_name("panels.cjs"))]
    env = {**os.environ, "NODE_PATH": PACKAGES}
    done = subprocess.run(command, input=json.dumps(panels), capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
