# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the process that forked_ansible.py forks reads in advance, because otherwise each command, or each of its workers, reads it: the
table of what Ansible has moved, the documentation of plugins that a play may need, and what Jinja needs for its first template. And what
they import of the collection is not compiled again."""

from __future__ import annotations

import gc
import importlib
from importlib.machinery import SourceFileLoader
from types import CodeType

import ansible.template
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader
from ansible.utils.collection_loader import _collection_finder


def _compiled(source: bytes, filename: str, **options: object) -> CodeType:
    """As Python itself imports a file: from its .pyc. Ansible compiles each file of a collection in each process that imports it."""
    return SourceFileLoader(filename, filename).get_code(filename)


_collection_finder.compile = _compiled
loader.init_plugin_loader()
try:
    importlib.import_module("ansible_collections.ansible.builtin")
    for _kind in ("action", "become", "callback", "connection", "filter", "inventory", "shell", "strategy", "test"):
        list(getattr(loader, f"{_kind}_loader").all(class_only=True))
    _trusted = getattr(ansible.template, "trust_as_template", str)
    ansible.template.Templar(DataLoader(), {}).template(_trusted("{{ {} | combine({'numbers': [1] | map('int') | list}) is search('x') }}"))
finally:
    # Each command begins with a finder of collections of its own.
    _collection_finder._AnsibleCollectionFinder._remove()
# A fork that collects garbage would copy all of this to look at it.
gc.freeze()
