# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard against the types that Grafana publishes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import MONITORING
from ansible_collections.gpufleet.lmstudio.tests.monitoring.grafana import PACKAGES, needs_grafana
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE

DASHBOARD = (MONITORING / "lmstudio-dashboard.json").read_text(encoding="utf-8")
TYPES = Path(__file__).with_name("dashboard_types.ts").read_text(encoding="utf-8")
OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--module", "node16", "--moduleResolution", "node16"]


def typescript(folder: Path, dashboard: str) -> str:
    """What TypeScript says of a dashboard."""
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "dashboard.ts").write_text(f"{TYPES}\nexport const dashboard: Dashboard = {dashboard};\n", encoding="utf-8")
    command = [f"{PACKAGES}/.bin/tsc", *OPTIONS, "dashboard.ts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout


@needs_grafana
def test_the_dashboard_has_the_types_of_grafana(tmp_path: Path) -> None:
    assert typescript(tmp_path, DASHBOARD) == ""


@needs_grafana
@pytest.mark.parametrize(
    ("there", "wrong"),
    [('"graphMode"', '"graphStyle"'), ('"sm"', '"small"'), ('"stepAfter"', '"steps"'), ('"type": "stat"', '"type": "singlestat"')],
)
def test_typescript_finds_what_grafana_does_not_have(tmp_path: Path, there: str, wrong: str) -> None:
    assert there in DASHBOARD
    assert "error TS2" in typescript(tmp_path, DASHBOARD.replace(there, wrong))
