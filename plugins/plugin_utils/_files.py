# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Files that are complete at any moment, however a run ends."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def read_text(path: Path) -> str | None:
    """The text of a file, or None if it is missing or cannot be read as text."""
    try:
        # Line endings are not translated, because the text is compared.
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write_all(folder: Path, texts: Mapping[str, str], mode: int | None = None) -> None:
    """Write files by name. All new files are written, in a folder of their own beside the existing ones, before the first is replaced.

    Without a `mode`, an existing file keeps its own.
    Raises ``OSError``. The existing files are then unchanged, unless it happened between two of the final renames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in texts:
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / name))
    with tempfile.TemporaryDirectory(prefix=".", suffix=".unfinished", dir=folder) as unfinished:
        for name, text in texts.items():
            path = folder / name
            with open(Path(unfinished, name), "x", encoding="utf-8", newline="") as file:
                if mode is not None or path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o7777 if mode is None else mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for name in texts:
            os.replace(Path(unfinished, name), folder / name)
