# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""install.py PYTHON PACKAGE...: install packages for a Python, with the pins of requirements-dev.txt.

With uv, which needs seconds where pip needs minutes. With pip where uv does not find the packages, and where pip is set up for another
index, which uv would not ask.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ["-m", "pip", "--disable-pip-version-check"]
PINS = ["--quiet", "-c", "requirements-dev.txt"]


def installed_with_uv(python: str, packages: list[str]) -> bool:
    settings = subprocess.run([sys.executable, *PIP, "config", "list"], check=False, capture_output=True, text=True).stdout
    if re.search(r"(?m)^[^=]*\.index-url=", settings):
        return False
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists() and subprocess.run([sys.executable, *PIP, "install", *PINS, "uv"], cwd=ROOT, check=False).returncode:
        return False
    return not subprocess.run([uv, "pip", "install", *PINS, "--python", python, *packages], cwd=ROOT, check=False).returncode


def main(python: str, *packages: str) -> int:
    if installed_with_uv(python, list(packages)):
        return 0
    return subprocess.run([python, *PIP, "install", *PINS, *packages], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
