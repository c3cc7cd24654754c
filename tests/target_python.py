# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python that runs the modules of plays: it keeps what it compiles of a module's archive, which is half of what a module costs."""

from __future__ import annotations

import atexit
import functools
import shlex
import shutil
import tempfile
from pathlib import Path


@functools.lru_cache(maxsize=None)
def caching(python: str) -> str:
    """A command that runs this Python, with a cache for what it compiles until the tests of this process have ended."""
    folder = tempfile.TemporaryDirectory(prefix="target-")
    atexit.register(folder.cleanup)
    shutil.copy(Path(__file__).parent / "target_site" / "sitecustomize.py", folder.name)
    Path(folder.name, "compiled").mkdir()
    command = Path(folder.name, "python")
    command.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(folder.name)}"${{PYTHONPATH:+:$PYTHONPATH}}" exec {shlex.quote(python)} "$@"\n')
    command.chmod(0o755)
    return str(command)
