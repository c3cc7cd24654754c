# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The argument specs of what only the controller runs, and messages about options that hold secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import connection_spec, detail_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import MASK


def fleet_info_spec() -> dict[str, Any]:
    """The options of ``fleet_info``. Each host has its own URL, and the environment's token is for one server, not for a fleet."""
    spec = connection_spec(environment=False)
    del spec["url"]
    return {
        **spec,
        **detail_spec("loaded"),
        "hosts": {"type": "list", "elements": "str"},
        "on_error": {"type": "str", "choices": ["fail", "warn", "report"], "default": "report"},
        "concurrency": {"type": "int", "default": 1000},
        "fleet_timeout": {"type": "float", "default": 600},
    }


def fleet_report_spec(formats: Iterable[str], default_formats: Iterable[str]) -> dict[str, Any]:
    """The options of ``fleet_report``, which asks nobody and has these formats of reports."""
    return {
        "hosts": {"type": "dict", "required": True},
        "policy": {"type": "dict"},
        "baseline": {"type": "path"},
        "formats": {
            "type": "list",
            "elements": "str",
            "choices": list(formats),
            "default": list(default_formats),
        },
        "dest": {"type": "path", "default": "fleet_audit"},
    }


def without_secrets(message: str, options: Mapping[str, Any]) -> str:
    """A message about raw options, which may quote one, without the values that must not be shown."""
    spec = connection_spec()
    for name, value in options.items():
        if spec.get(name, {}).get("no_log"):
            for secret in sorted(_texts_in(value), key=len, reverse=True):
                message = message.replace(secret, MASK)
    return message


def _texts_in(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        return set().union(*(_texts_in(item) for item in value))
    return {str(value)} if str(value) else set()
