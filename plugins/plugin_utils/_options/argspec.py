# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The argument specs of the plugins that ask many hosts."""

from __future__ import annotations

from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import detail_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import connection_options


def fleet_spec() -> dict[str, Any]:
    """The options of all plugins that ask many servers. Each host has its own URL."""
    spec = connection_options()
    del spec["url"]
    return {**spec, "concurrency": {"type": "int", "default": 1000}, "fleet_timeout": {"type": "float", "default": 600}}


def records_spec(detail: str, on_error: str) -> dict[str, Any]:
    """The options of plugins that return the records, with these defaults."""
    return {**detail_spec(detail), "on_error": {"type": "str", "choices": ["fail", "warn", "report"], "default": on_error}}


def fleet_info_spec() -> dict[str, Any]:
    """The options of ``fleet_info``."""
    return {
        **fleet_spec(),
        **records_spec("loaded", "report"),
        "hosts": {"type": "list", "elements": "str"},
        "quiet": {"type": "bool", "default": False},
    }
