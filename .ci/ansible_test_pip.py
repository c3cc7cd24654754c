# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let ansible-test install pip on a machine that reaches package registries and nothing else.

ansible-test downloads a bootstrap script for the pip version it needs, once, into a cache. A stand-in in that cache
installs the same version from its wheel, which comes from the registry.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path.home() / ".ansible" / "test" / "cache"
VERSIONS = ("21.3.1", "23.1.2", "24.2", "25.2")
"""What the supported ansible-test versions ask for, the one for the oldest Python included."""

STAND_IN = """\
import sys

sys.path.insert(0, {wheel!r})
from pip._internal.cli.main import main

arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--upgrade", "--force-reinstall", *arguments]))
"""


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        script = CACHE / f"get_pip_{version.replace('.', '_')}.py"
        if script.exists():
            continue
        # Moved into the cache when they are whole: another run may be looking there.
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"pip=={version}"]
            subprocess.run(command, check=True)
            (downloaded,) = Path(folder).glob("*.whl")
            wheel = downloaded.replace(CACHE / downloaded.name)
            written = Path(folder) / script.name
            written.write_text(STAND_IN.format(wheel=str(wheel)))
            written.replace(script)


if __name__ == "__main__":
    main()
