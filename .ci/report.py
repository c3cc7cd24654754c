# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print which gates ran and which were skipped, from nox's report."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(report: Path) -> None:
    sessions = json.loads(report.read_text())["sessions"]
    for session in sessions:
        why = "" if session["result"] != "skipped" else ": the machine has none of its Pythons (noxfile.py, CORES)"
        print(f"{session['result'].upper():8} {session['signature']}{why}")
    counts = {result: sum(session["result"] == result for session in sessions) for result in ("success", "failed", "skipped")}
    print(f"{counts['success']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
