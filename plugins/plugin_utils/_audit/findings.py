# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What is wrong with a fleet, the most important first: each finding once, however many hosts it is true of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from ...module_utils._grouping import grouped
from ...module_utils._text import count, format_names, printable
from .policy import ALL_HOSTS, NO_ANSWER

FLEET, UNANSWERED, REQUIREMENT, DRIFT, WARNING = ("fleet", "no_answer", "requirement", "drift", "warning")


class Kind(NamedTuple):
    """How reports show the findings of a kind."""

    title: str
    one: str
    many: str
    badge: str
    lines: int
    """In the summary for a terminal, at most."""

    def counted(self, number: int, more: str = "") -> str:
        """Such as "2 requirements", or "2 more requirements"."""
        return f"{number} {more}{self.one if number == 1 else self.many}"


FINDING_KINDS = {
    FLEET: Kind("Rules of the fleet that are not met", "rule of the fleet", "rules of the fleet", "not met", 4),
    UNANSWERED: Kind(
        "Hosts without an answer", "finding about hosts without an answer", "findings about hosts without an answer", "no answer", 4
    ),
    REQUIREMENT: Kind("Requirements that are not met", "requirement", "requirements", "not met", 6),
    DRIFT: Kind("Changes since the baseline", "change", "changes", "changed", 3),
    WARNING: Kind("Warnings", "warning", "warnings", "warning", 2),
}
"""The most important first."""
_DRIFT_ORDER = ("removed", "unloaded", "context", "quantization", "variant", "loaded", "added", "just_in_time")


class Cause(TypedDict):
    """Why it was found on some hosts."""

    cause: str
    hosts: list[str]
    example: str
    """The sentence about the first of them."""


class Finding(TypedDict):
    kind: str
    """One of :data:`FINDING_KINDS`."""
    policy: str | None
    requirement: str | None
    message: str
    causes: list[Cause]


def make_findings(hosts: list[dict[str, Any]], checks: list[dict[str, Any]], drift: Mapping[str, Any] | None) -> list[Finding]:
    """The findings. `checks` and `drift` are those of the document."""
    together = [check for check in checks if check["host"] is None]
    of_fleet = [
        _finding(FLEET if check["outcome"] == "failed" else WARNING, f"{check['policy']}: {violation['message']}", [], check)
        for check in together
        for violation in check["violations"]
    ]
    of_hosts = _requirement_findings([check for check in checks if check["host"] is not None])
    found = [*of_fleet, *_without_answer(hosts), *of_hosts, *_drift_findings(drift["changes"] if drift else [])]
    return [finding for kind in FINDING_KINDS for finding in found if finding["kind"] == kind]


def cause_lines(finding: Finding, names: int = 5) -> list[str]:
    """A line with the hosts of each cause, at most `names` of them by name. A cause with one host says what happened there."""
    lines = [
        cause["example"] if len(cause["hosts"]) == 1 and cause["example"] else f"{cause['cause']}: {format_names(cause['hosts'], names)}"
        for cause in finding["causes"]
        # Hosts without an answer are a finding of their own.
        if cause["cause"] != NO_ANSWER
    ]
    # The message of a single change is already that of its host.
    return [line for line in lines if line != finding["message"]]


def _finding(kind: str, message: str, causes: list[Cause], check: Mapping[str, Any] | None = None) -> Finding:
    policy, requirement = (check["policy"], check["requirement"]) if check else (None, None)
    return {"kind": kind, "policy": policy, "requirement": requirement, "message": message, "causes": causes}


def _without_answer(hosts: list[dict[str, Any]]) -> list[Finding]:
    unanswered = [host for host in hosts if not host["ok"]]
    causes = _causes((host["status"], host["name"], f"{host['name']}: {host['error']['message']}") for host in unanswered)
    message = f"{len(unanswered)} of {count(len(hosts), 'host')} gave no answer: {_counted(causes)}"
    return [_finding(UNANSWERED, message, causes)] if unanswered else []


def _requirement_findings(checks: list[dict[str, Any]]) -> list[Finding]:
    """One for each requirement that is not met by a host that answered."""
    found = []
    for group in grouped(((check["policy"], check["number"]), check) for check in checks).values():
        unmet = [check for check in group if check["violations"]]
        causes = _causes((check["reason"], check["host"], f"{check['host']}: {check['violations'][0]['message']}") for check in unmet)
        if any(check["reason"] != NO_ANSWER for check in unmet):
            first = group[0]
            of_policy = "" if first["policy"] == ALL_HOSTS else f" ({printable(first['policy'])})"
            message = (
                f"{printable(first['requirement'])}{of_policy}: not met by {len(unmet)} of {count(len(group), 'host')}: {_counted(causes)}"
            )
            kind = REQUIREMENT if any(check["outcome"] == "failed" for check in unmet) else WARNING
            found.append(_finding(kind, message, causes, first))
    return found


def _drift_findings(changes: list[dict[str, Any]]) -> list[Finding]:
    """One for each change, with all hosts that changed in the same way."""
    groups = grouped(
        ((_DRIFT_ORDER.index(change["change"]), change["model"], change["message"].removeprefix(f"{change['host']}: ")), change)
        for change in changes
    )
    found = []
    for (_order, _model, sentence), group in sorted(groups.items()):
        message = group[0]["message"] if len(group) == 1 else f"{count(len(group), 'host')}: {sentence}"
        found.append(_finding(DRIFT, message, _causes((change["change"], change["host"], change["message"]) for change in group)))
    return found


def _causes(found: Iterable[tuple[str, str, str]]) -> list[Cause]:
    """From a cause, a host and a sentence about it: the hosts of each cause, the most frequent cause first, those without an answer last."""
    causes: list[Cause] = [
        {"cause": cause, "hosts": [host for host, _sentence in of_hosts], "example": of_hosts[0][1]}
        for cause, of_hosts in grouped((cause, (host, sentence)) for cause, host, sentence in found).items()
    ]
    return sorted(causes, key=lambda cause: (cause["cause"] == NO_ANSWER, -len(cause["hosts"]), cause["cause"]))


def _counted(causes: list[Cause]) -> str:
    """Such as "380 not loaded, 36 not listed"."""
    return ", ".join(f"{len(cause['hosts'])} {cause['cause']}" for cause in causes)
