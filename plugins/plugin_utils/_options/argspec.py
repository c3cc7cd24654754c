# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The argument specs of the plugins that ask many hosts."""

from __future__ import annotations

from typing import Any

from ...module_utils._argspec import DETAIL
from ...module_utils._http.endpoint import connection_options

FLEET_SPEC: dict[str, Any] = {
    **{name: option for name, option in connection_options().items() if name != "url"},
    "concurrency": {"type": "int", "default": 1000},
    "fleet_timeout": {"type": "float", "default": 600},
}
"""The options of all plugins that ask many servers. Each host has its own URL."""
FLEET_INFO_SPEC: dict[str, Any] = {
    **FLEET_SPEC,
    "detail": {**DETAIL, "default": "loaded"},
    "on_error": {"type": "str", "choices": ["fail", "warn", "report"], "default": "report"},
    "hosts": {"type": "list", "elements": "str"},
    "quiet": {"type": "bool", "default": False},
}
"""The options of ``fleet_info``."""
