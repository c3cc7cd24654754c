# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Imports the files beside this one from the archive that Ansible sends to a target, without compiling each of them twice.

Python's own import from an archive compiles a file once to learn its name, and once more to run it. That was most of what a module
of this collection cost. Loaded before all others.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any
from zipimport import zipimporter


class Finder:
    """Knows where the files beside this one are: with the loader that loaded it."""

    def __init__(self, loader: zipimporter) -> None:
        self._loader = loader

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self._loader) if name.rpartition(".")[0] == __package__ else None  # type: ignore[arg-type,unused-ignore]


# Whoever imports it otherwise, as the controller does, has bytecode, or a loader of his own.
if __spec__ and isinstance(__spec__.loader, zipimporter):
    sys.meta_path.insert(0, Finder(__spec__.loader))
