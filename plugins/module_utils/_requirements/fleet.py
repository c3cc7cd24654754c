# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether the records of many hosts meet what is required of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.checks import Candidate
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge_requirement
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.matching import (
    listed_candidates,
    loaded_models,
    may_be_uncarried,
    need_full,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import (
    Violation,
    format_names,
    format_value,
    make_violation,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import (
    ABSENT,
    AVAILABLE,
    LOADED,
    UNLOADED,
    Requirement,
    RequirementError,
    whole_number,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record


def parse_fleet_terms(min_hosts: Any, consistent: Any, where: str = "") -> tuple[int | None, tuple[str, ...]]:
    """What :func:`judge_fleet` takes beside the requirements, checked. Raises :class:`RequirementError`."""
    try:
        least = None if min_hosts is None else whole_number(1)(min_hosts)
    except ValueError as exc:
        raise RequirementError(f"{where}min_hosts: {format_value(min_hosts)} is not {exc}.") from None
    if consistent is None or isinstance(consistent, str):
        consistent = (consistent,) if consistent else ()
    if not isinstance(consistent, (list, tuple)):
        raise RequirementError(f"{where}consistent: {format_value(consistent)} is no list.")
    for name in consistent:
        if name not in CONSISTENT:
            raise RequirementError(f"{where}consistent: {format_value(name)} is not one of {', '.join(CONSISTENT)}.")
    return least, tuple(str(name) for name in consistent)


def judge_fleet(
    records: Mapping[str, Record], requirements: Iterable[Requirement], min_hosts: int | None = None, consistent: tuple[str, ...] = ()
) -> list[Violation]:
    """Every violation over many hosts, each with its `host`, or null where it is about all of them.

    Without `min_hosts` every host has to meet every requirement; with it, so many of them. `consistent` names what has to be
    the same on all hosts that have the model: some of :data:`CONSISTENT`. Raises :class:`RequirementError`, also for no host
    at all, which would meet anything.
    """
    if not records and min_hosts is None:
        raise RequirementError("hosts: there are none, which would meet anything. Check the pattern, the group or the play that asked.")
    violations = []
    for requirement in requirements:
        _check_comparable(requirement, consistent)
        by_host = {name: judge_requirement(record, requirement) for name, record in records.items()}
        if min_hosts is None:
            violations += [_on_host(name, violation) for name, found in by_host.items() for violation in found]
        elif sum(not found for found in by_host.values()) < min_hosts:
            violations.append(_too_few(records, requirement, by_host, min_hosts))
        violations += [violation for attribute in consistent for violation in _judge_consistent(records, requirement, attribute)]
    return violations


def _on_host(host: str | None, violation: Violation) -> Violation:
    message = violation["message"] if host is None else f"{host}: {violation['message']}"
    return {**violation, "host": host, "message": message}


def _check_comparable(requirement: Requirement, consistent: tuple[str, ...]) -> None:
    state = requirement.state
    if consistent and (state in (UNLOADED, ABSENT) or (state == AVAILABLE and "context_length" in consistent)):
        what = "context_length" if state == AVAILABLE else ", ".join(consistent)
        raise RequirementError(f"consistent: with state: {state} there is no {what} to compare. Remove it, or write state: loaded.")


def _too_few(records: Mapping[str, Record], requirement: Requirement, by_host: Mapping[str, list[Violation]], least: int) -> Violation:
    meeting = [name for name, found in by_host.items() if not found]
    unknown = [name for name, record in records.items() if not record["ok"]]
    failing = [name for name, found in by_host.items() if found and name not in unknown]
    message = f"{requirement.subject} is as required on {len(meeting)} of {len(records)} hosts, at least {least} are needed"
    for what, names in (("Not as required", failing), ("Not known", unknown)):
        message += f". {what}: {format_names(names)}" if names else ""
    return _on_host(None, make_violation(requirement, "min_hosts", least, len(meeting), message))


def _judge_consistent(records: Mapping[str, Record], requirement: Requirement, attribute: str) -> list[Violation]:
    hosts_of: dict[Any, list[str]] = {}
    for name, record in records.items():
        if record["ok"] and requirement.state == AVAILABLE and may_be_uncarried(record, requirement):
            need_full(record, requirement)
        candidates: list[Candidate] = []
        if record["ok"] and requirement.state == LOADED:
            candidates = [candidate for model in loaded_models(record, requirement) for candidate in model]
        elif record["ok"]:
            candidates = listed_candidates(record, requirement)
        for value in dict.fromkeys(_VALUES[attribute](candidate) for candidate in candidates):
            hosts_of.setdefault(value, []).append(name)
    if len(hosts_of) < 2:
        return []
    message = f"{requirement.subject} has not the same {attribute} everywhere: "
    message += "; ".join(f"{format_value(value)} on {format_names(names)}" for value, names in hosts_of.items())
    actual = [{"value": value, "hosts": names} for value, names in hosts_of.items()]
    return [_on_host(None, make_violation(requirement, "consistent", attribute, actual, message))]


_VALUES: dict[str, Callable[[Candidate], Any]] = {
    "quantization": lambda candidate: candidate.entry["quantization"]["name"],
    "selected_variant": lambda candidate: candidate.entry["selected_variant"],
    "context_length": lambda candidate: candidate.instance and candidate.instance["config"]["context_length"],
}
CONSISTENT = tuple(_VALUES)
"""What can be compared over hosts."""
