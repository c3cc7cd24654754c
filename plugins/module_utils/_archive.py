# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Imports the files of this collection from the archive that Ansible sends to a target, without compiling each of them twice.

Python's own import from an archive compiles a file once to learn its name, and once more to run it. That was most of what a module
of this collection cost. Each module imports it before all others.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.machinery import ModuleSpec
from typing import Any, Sequence
from zipimport import ZipImportError, zipimporter

_PACKAGE = __name__.rpartition(".")[0] + "."
# One for each folder: to make one, each part of its path is looked up on disk.
_importer_of = lru_cache(maxsize=None)(zipimporter)


class Finder:
    """Finds the files next to this one, and those in the folders next to it."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if not path or not name.startswith(_PACKAGE):
            return None
        try:
            importer = _importer_of(path[0])
            is_package = importer.is_package(name)
        except ZipImportError:
            return None
        spec = ModuleSpec(name, importer, is_package=is_package)  # type: ignore[arg-type,unused-ignore]
        if is_package:
            spec.submodule_search_locations = [f"{path[0]}/{name.rpartition('.')[2]}"]
        return spec


# Where it is imported otherwise, as on the controller, there is bytecode or another loader.
if __spec__ and isinstance(__spec__.loader, zipimporter):
    sys.meta_path.insert(0, Finder())
