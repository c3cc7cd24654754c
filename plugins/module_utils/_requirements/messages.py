# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Violations and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, TypedDict

from .._lmstudio.confirmation import NO_OLDER_LIST_WARNING
from .._text import format_names, printable

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record
    from .spec import Requirement

FAIL, WARN = SEVERITIES = ("fail", "warn")


class Violation(TypedDict):
    requirement: str
    """Its label."""
    check: str
    """The key of the requirement that is not met, or status where there was no answer."""
    expected: Any
    actual: Any
    severity: str
    message: str


class FleetViolation(Violation):
    """One over many hosts."""

    host: str | None
    """Null where it is about all of them."""


def labelled_violation(label: str, check: str, expected: Any, actual: Any, severity: str, message: str) -> Violation:
    """A violation under this label. It need not be of a requirement: ``exclusive`` has violations of its own."""
    return {"requirement": label, "check": check, "expected": expected, "actual": actual, "severity": severity, "message": message}


def make_violation(requirement: Requirement, check: str, expected: Any, actual: Any, message: str) -> Violation:
    """A violation of a requirement, whose name, if it has one, precedes the message."""
    named = f"{printable(requirement.name)}: {message}" if requirement.name else message
    return labelled_violation(requirement.label, check, expected, actual, requirement.severity, named)


def could_not_check(record: Record, what: str) -> str:
    """The message for a host that did not answer, so that nothing is known."""
    error: Mapping[str, Any] = record["error"] or {}
    return f"could not check {what}: {printable(str(error.get('message') or record['status']), 300)}"


def warnings_of(result: Mapping[str, Any]) -> list[str]:
    """The warnings of a result: the violations that do not fail the task, and what could not be confirmed, of one host or of several."""
    found = [violation["message"] for violation in result.get("violations", []) if violation["severity"] != FAIL]
    if result.get("confirmed") is False:
        found.append(NO_OLDER_LIST_WARNING.format("this host's LM Studio"))
    if result.get("unconfirmed"):
        found.append(NO_OLDER_LIST_WARNING.format(f"the LM Studio of {format_names(result['unconfirmed'])}"))
    return found


def one_or_list(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)
