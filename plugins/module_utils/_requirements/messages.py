# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Values and violations in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import Requirement

Violation = Dict[str, Any]
"""``{requirement, check, expected, actual, severity, message}``"""
_NAMES_SHOWN = 5


def not_known_violation(record: Record, label: str, subject: str, severity: str) -> Violation:
    error: Mapping[str, Any] = record["error"] or {}
    why = printable(str(error.get("message") or record["status"]), 300)
    # Within a sentence. (Most messages begin with a URL.)
    message = f"{subject} is not known, because {why.replace('This host', 'this host', 1)}"
    return {
        "requirement": label,
        "check": "status",
        "expected": "ok",
        "actual": record["status"],
        "severity": severity,
        "message": message,
    }


def make_violation(requirement: Requirement, check: str, expected: Any, actual: Any, message: str) -> Violation:
    return {
        "requirement": requirement.name or requirement.subject,
        "check": check,
        "expected": expected,
        "actual": actual,
        "severity": requirement.severity,
        "message": f"{printable(requirement.name)}: {message}" if requirement.name else message,
    }


def format_names(keys: list[str]) -> str:
    shown = [printable(key) for key in keys[:_NAMES_SHOWN]]
    more = f" and {len(keys) - _NAMES_SHOWN} more" if len(keys) > _NAMES_SHOWN else ""
    return (", ".join(shown) or "nothing") + more


def count_instances(number: int) -> str:
    return "1 instance" if number == 1 else f"{number} instances"


def one_or_list(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def format_any(values: Iterable[Any]) -> str:
    return " or ".join(format_value(value) for value in values)


def format_value(value: Any) -> str:
    if value is None:
        return "(not known)"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def shown_size(size: int | None) -> str:
    if size is None:
        return "(not known)"
    for unit, number in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= number:
            return f"{size / number:.4g} {unit}"
    return f"{size} bytes"
