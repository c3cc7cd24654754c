# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether the records of many hosts meet what is required of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Mapping

from .._grouping import grouped
from .._input_errors import InputError
from .._lmstudio.known import is_known, is_older, is_reported, is_unclear, lacks_states
from .._lmstudio.models_v0 import LOADING
from .._lmstudio.reader import Entry
from .._text import SHOWN_OF_MANY, count, format_names, format_size, format_value, printable
from .checks import NOT_CONFIRMED
from .judge import judge_requirement
from .matching import Matches
from .messages import FleetViolation, Violation, make_violation
from .spec import ABSENT, AVAILABLE, LOADED, UNLOADED, VOCABULARY, Requirement, one_of, read_value, whole_number

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record

_ADJECTIVES = ("not loaded", "not listed", "loaded", "listed", "unclear whether loaded", "still loading", "not confirmed", "not known")
_VERBS = {
    LOADED: ("serves {}", "serve {}"),
    AVAILABLE: ("lists {}", "list {}"),
    UNLOADED: ("has {} unloaded", "have {} unloaded"),
    ABSENT: ("does not list {}", "do not list {}"),
}


def parse_fleet_terms(min_hosts: Any, consistent: Any, where: str = "") -> tuple[int | None, tuple[str, ...]]:
    """The other arguments of :func:`judge_fleet`, checked. Raises :class:`InputError`."""
    least = None if min_hosts is None else read_value(whole_number(1), min_hosts, f"{where}min_hosts")
    if consistent is None or isinstance(consistent, str):
        consistent = (consistent,) if consistent else ()
    if not isinstance(consistent, (list, tuple)):
        raise InputError(f"{where}consistent: {format_value(consistent)} is not a list.")
    return least, tuple(read_value(one_of(CONSISTENT), name, f"{where}consistent") for name in consistent)


def judge_fleet(
    records: Mapping[str, Record], requirements: Iterable[Requirement], min_hosts: int | None = None, consistent: tuple[str, ...] = ()
) -> list[FleetViolation]:
    """Every violation over many hosts.

    Without `min_hosts` every host has to meet every requirement; with it, at least that many. `consistent` names what has to
    be the same on all hosts that have the model: some of :data:`CONSISTENT`. Raises :class:`InputError`, also if there
    are neither hosts nor `min_hosts`, because any requirement would be met.
    """
    if not records and min_hosts is None:
        raise InputError("hosts: there are none, so any requirement would be met. Check the pattern, the group or the play.")
    violations: list[FleetViolation] = []
    for requirement in requirements:
        check_comparable(requirement, consistent)
        by_host = {name: judge_requirement(record, requirement) for name, record in records.items()}
        if min_hosts is None:
            for name, found in by_host.items():
                violations += [{**each, "host": name, "message": f"{name}: {each['message']}"} for each in found]
        elif sum(not found for found in by_host.values()) < min_hosts:
            violations.append(_too_few(records, requirement, by_host, min_hosts))
        violations += [violation for attribute in consistent for violation in _judge_consistent(records, requirement, attribute)]
    return violations


def check_comparable(requirement: Requirement, consistent: tuple[str, ...]) -> None:
    """Raise a :class:`InputError` where there is nothing to compare."""
    state = requirement.state
    if consistent and (state in (UNLOADED, ABSENT) or (state == AVAILABLE and "context_length" in consistent)):
        what = "context_length" if state == AVAILABLE else ", ".join(consistent)
        raise InputError(f"consistent: with state: {state} there is no {what} to compare. Remove it, or write state: loaded.")


def _too_few(records: Mapping[str, Record], requirement: Requirement, by_host: Mapping[str, list[Violation]], least: int) -> FleetViolation:
    meeting = [name for name, found in by_host.items() if not found]
    asked = what_is_asked(requirement, 1 if len(records) == 1 else len(meeting))
    message = f"{len(meeting)} of {count(len(records), 'host')} {asked}"
    message += f"; {least} {'is' if least == 1 else 'are'} required"
    first_of = ((name, found[0]) for name, found in by_host.items() if found and records[name]["ok"])
    reasons = _largest_first(grouped((reason(records[name], requirement, first), name) for name, first in first_of))
    for why, names in reasons[:SHOWN_OF_MANY]:
        message += f". {_hosts_with(why, names)}"
    others = sum(len(names) for _why, names in reasons[SHOWN_OF_MANY:])
    message += f". For other reasons: {count(others, 'host')}" if others else ""
    statuses = {name: record["status"] for name, record in records.items() if not record["ok"]}
    message += f". No answer: {_without_answer(statuses)}" if statuses else ""
    return {**make_violation(requirement, "min_hosts", least, len(meeting), message), "host": None}


def _largest_first(hosts_of: Mapping[Any, list[str]]) -> list[tuple[Any, list[str]]]:
    """The hosts of each reason, status or value, the most frequent first."""
    return sorted(hosts_of.items(), key=lambda item: -len(item[1]))


def _hosts_with(why: str, names: list[str]) -> str:
    """Such as "gpu02: not loaded", and for many hosts "380 not loaded: gpu001, gpu002, gpu003, gpu004, gpu005 and 375 more"."""
    if len(names) <= SHOWN_OF_MANY:
        return f"{format_names(names)}: {why}"
    return f"{len(names)} {after_number(why)}: {format_names(names)}"


def after_number(why: str) -> str:
    """A reason as it reads after a number of hosts."""
    return why if why in _ADJECTIVES else f"with {why}"


def _without_answer(statuses: Mapping[str, str]) -> str:
    """Such as "gpu03 (auth)", and for many hosts "30 (20 refused, 10 timeout): gpu003, gpu005, gpu008, gpu010, gpu011 and 25 more"."""
    if len(statuses) <= SHOWN_OF_MANY:
        return format_names([f"{name} ({status})" for name, status in statuses.items()])
    by_status = _largest_first(grouped((status, name) for name, status in statuses.items()))
    counted = ", ".join(f"{len(names)} {status}" for status, names in by_status)
    return f"{len(statuses)} ({counted}): {format_names(list(statuses))}"


def what_is_asked(requirement: Requirement, hosts: int = 1) -> str:
    """What a host that meets a requirement does, such as "serves qwen/* with a context of at least 8192"."""
    return _VERBS[requirement.state][hosts != 1].format(requirement.description)


def reason(record: Record, requirement: Requirement, violation: Violation) -> str:
    """Why a host does not meet a requirement, in a few words."""
    check, expected, actual = violation["check"], violation["expected"], violation["actual"]
    if check == "state":
        return _state_reason(record, requirement, actual)
    if check == "model":
        matching = Matches(record, requirement)
        return "another variant selected" if matching.listed_models() else "not known" if matching.unreadable_names() else "not listed"
    if check in ("min_instances", "max_instances"):
        return "instances not known" if actual is None else count(actual, "instance")
    if check == "capabilities":
        return f"{expected} not known" if actual is None else f"no {expected}"
    name = printable(next(iter(expected))) if check == "config" else VOCABULARY[check].noun or check
    if actual is None:
        return f"{name} not known"
    return f"{name} {format_size(actual) if check == 'max_size' else format_value(actual)}"


def _state_reason(record: Record, requirement: Requirement, actual: str | None) -> str:
    if actual in (LOADING, NOT_CONFIRMED):
        return "still loading" if actual == LOADING else NOT_CONFIRMED
    if requirement.state == LOADED:
        unclear = any(is_unclear(candidate.entry) for candidate in Matches(record, requirement).listed_models())
        return "unclear whether loaded" if actual is None and unclear else "not loaded"
    if actual is not None:
        return "loaded" if requirement.state == UNLOADED else "listed"
    possible = Matches(record, requirement).possible_instances() if requirement.state == UNLOADED else []
    unclear = any(is_unclear(each.entry) for each in possible) and not (is_older(record) or lacks_states(record))
    return "unclear whether loaded" if unclear else "not known"


def _judge_consistent(records: Mapping[str, Record], requirement: Requirement, attribute: str) -> list[FleetViolation]:
    answered = {name: record for name, record in records.items() if record["ok"]}
    found = [(value, name) for name, record in answered.items() for value in _values_on(record, requirement, attribute)]
    found += [(_NOT_KNOWN, name) for name, record in answered.items() for _key in Matches(record, requirement).unlisted_names()]
    # A host may have several models or instances with one value.
    hosts_of = grouped(dict.fromkeys(found))
    # Two unknown values may differ.
    if len(hosts_of) < 2 and sum(value == _NOT_KNOWN for value, _name in found) < 2:
        return []
    may = "has different" if sum(known for known, _value in hosts_of) > 1 else "may have different"
    message = f"{requirement.subject} {may} {attribute.replace('_', ' ')}s: "
    groups = _largest_first(hosts_of)
    message += "; ".join(
        f"{'none' if known and value is None else format_value(value)} on {_hosts(names)}"
        for (known, value), names in groups[:SHOWN_OF_MANY]
    )
    others = {name for _value, names in groups[SHOWN_OF_MANY:] for name in names}
    message += f"; {count(len(groups) - SHOWN_OF_MANY, 'other value')} on {count(len(others), 'host')}" if others else ""
    actual = [{"value": value, "hosts": names} for (_known, value), names in hosts_of.items()]
    return [{**make_violation(requirement, "consistent", attribute, actual, message), "host": None}]


def _values_on(record: Record, requirement: Requirement, attribute: str) -> list[tuple[bool, Any]]:
    """For each model or instance that is meant, whether the value is known, and the value."""
    matching = Matches(record, requirement)
    if requirement.state == AVAILABLE and matching.keys_without_entry():
        matching.need_full()
    loaded = requirement.state == LOADED
    candidates = [candidate for model in matching.loaded_models() for candidate in model] if loaded else matching.listed_models()
    may_have = (matching.may_hide() and not loaded) or bool(matching.unreadable_names())
    if not candidates and not may_have:
        return []
    if attribute == "context_length" and is_older(record):
        # It has one row for all instances of a model, which may differ.
        return [_NOT_KNOWN] * 2
    if not candidates:
        return [_NOT_KNOWN]
    if attribute == "context_length":
        instances = {id(each.instance): each.instance for each in candidates if each.instance}
        contexts = [instance["config"]["context_length"] for instance in instances.values()]
        return [(True, context) if is_known(context) else _NOT_KNOWN for context in contexts]
    entries = {id(each.entry): each.entry for each in candidates}
    return [_value_of(record, entry, attribute) for entry in entries.values()]


def _hosts(names: list[str]) -> str:
    return format_names(names) if len(names) <= SHOWN_OF_MANY else f"{len(names)} hosts ({format_names(names)})"


def _value_of(record: Record, entry: Entry, attribute: str) -> tuple[bool, Any]:
    """Whether the value of an attribute is known, and the value."""
    value = entry["quantization"]["name"] if attribute == "quantization" else entry[attribute]
    # A model without variants has none selected.
    none_selected = value is None and attribute == "selected_variant" and is_reported(record, entry, attribute)
    return (True, value) if is_known(value) or none_selected else _NOT_KNOWN


_NOT_KNOWN = (False, None)
CONSISTENT = ("quantization", "selected_variant", "context_length")
"""What can be compared over hosts."""
