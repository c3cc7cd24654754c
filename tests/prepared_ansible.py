# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the process that forked_ansible.py forks does before: it reads the table of what Ansible has moved, which each command reads whole."""

from __future__ import annotations

import functools
import gc
from importlib import resources

from ansible.utils.collection_loader import _collection_finder

_collection_finder._meta_yml_to_dict = functools.lru_cache(maxsize=None)(_collection_finder._meta_yml_to_dict)
MOVED = resources.files("ansible").joinpath("config", "ansible_builtin_runtime.yml").read_bytes()
_collection_finder._meta_yml_to_dict(MOVED, ("ansible.builtin", "runtime.yml"))
# A fork that collects garbage would copy all of this to look at it.
gc.freeze()
