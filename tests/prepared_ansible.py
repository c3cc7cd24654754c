# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the process that forked_ansible.py forks has read before, because each command reads it anew otherwise: the table of what Ansible has
moved, and the documentation of plugins that a play may need."""

from __future__ import annotations

import gc
import importlib

from ansible.plugins.loader import become_loader, callback_loader, connection_loader, init_plugin_loader, inventory_loader, shell_loader
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

init_plugin_loader()
importlib.import_module("ansible_collections.ansible.builtin")
for _loader in (become_loader, callback_loader, connection_loader, inventory_loader, shell_loader):
    list(_loader.all(class_only=True))
# Each command begins with a finder of collections of its own.
_AnsibleCollectionFinder._remove()
# A fork that collects garbage would copy all of this to look at it.
gc.freeze()
