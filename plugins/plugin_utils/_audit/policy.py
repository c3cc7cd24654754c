# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The policy of an audit: what is required of which hosts, and whether they meet it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ...module_utils._input_errors import InputError, OptionError
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._requirements.fleet import CONSISTENT, after_number, judge_fleet, parse_fleet_terms, reason, what_is_asked
from ...module_utils._requirements.judge import judge_exclusive, judge_requirement
from ...module_utils._requirements.messages import FAIL, Violation, make_violation
from ...module_utils._requirements.spec import Requirement, boolean, parse_all, read_value
from ...module_utils._text import count, format_names, printable, unknown_names
from .._options.addresses import MachineOf, same_server_by_records

ALL_HOSTS, FLEET = "all hosts", "fleet"
NO_ANSWER = "gave no answer"
"""The reason why a host does not meet a requirement that could not be checked."""
_REQUIRE = {"type": "list", "elements": "dict"}
_OF_FLEET = {
    "require": {**_REQUIRE, "required": True},
    "min_hosts": {"type": "int"},
    "consistent": {"type": "list", "elements": "str", "choices": list(CONSISTENT)},
}
_OF_GROUP = {
    "require": _REQUIRE,
    "exclusive": {"type": "bool", "default": False},
    "fleet": {"type": "list", "elements": "dict", "options": _OF_FLEET},
}
POLICY = {**_OF_GROUP, "groups": {"type": "dict"}}
_EXCLUSIVE = "has nothing loaded except what a requirement asks for"


class Policy(NamedTuple):
    """A part of the policy that a user gives: requirements for some hosts, with the name that reports show. Made by :func:`parse_policies`."""

    name: str
    hosts: frozenset[str] | None
    """None means every host."""
    requirements: list[Requirement]
    exclusive: bool = False
    min_hosts: int | None = None
    consistent: tuple[str, ...] = ()

    def is_about(self, host: str) -> bool:
        return self.hosts is None or host in self.hosts

    @property
    def for_fleet(self) -> bool:
        """Whether the requirements are about the hosts together: `min_hosts` of them, or `consistent` between them."""
        return self.min_hosts is not None or bool(self.consistent)


def parse_policies(raw: Any, groups: Mapping[str, Iterable[str]]) -> list[Policy]:
    """The parts of the checked policy. `groups` holds the host names of each group.

    Raises :class:`InputError` that names the key.
    """
    if not raw:
        return []
    found = _parse_part(raw, "policy", ALL_HOSTS, None)
    of_groups = raw.get("groups", {})
    if not isinstance(of_groups, Mapping):
        raise OptionError("policy.groups", "must be a mapping of group names to what is required there.")
    for name, part in of_groups.items():
        where = f"policy.groups.{printable(str(name))}"
        if name not in groups:
            raise OptionError(where, "the inventory has no such group. Correct the name, or remove it.")
        found += _parse_part(part, where, f"group {name}", frozenset(groups[name]))
    return found


def _parse_part(raw: Any, where: str, name: str, hosts: frozenset[str] | None) -> list[Policy]:
    """What is required of all hosts, or of those of a group."""
    keys = _check_keys(raw, where, POLICY if hosts is None else _OF_GROUP)
    found = []
    exclusive = read_value(boolean, keys.get("exclusive", False), f"{where}.exclusive")
    if "require" in keys:
        found.append(Policy(name, hosts, parse_all(keys["require"], f"{where}.require"), exclusive))
    elif exclusive:
        raise InputError(f"{where}.exclusive needs a require next to it, which says what may be loaded.")
    parts = keys.get("fleet", [])
    if not isinstance(parts, (list, tuple)):
        raise OptionError(f"{where}.fleet", "must be a list. Write a dash before each entry.")
    for number, part in enumerate(parts):
        at = f"{where}.fleet[{number}]"
        part = _check_keys(part, at, _OF_FLEET)
        requirements = parse_all(part.get("require"), f"{at}.require")
        least, consistent = parse_fleet_terms(part.get("min_hosts"), part.get("consistent"), at + ".")
        if least is None and not consistent:
            raise OptionError(at, "give min_hosts or consistent. What each host must meet belongs in require, not in fleet.")
        found.append(Policy(FLEET if hosts is None else f"{FLEET} of {name}", hosts, requirements, False, least, consistent))
    if not found and not keys.get("groups"):
        possible = "require, fleet and groups" if hosts is None else "require and fleet"
        raise OptionError(where, f"it requires nothing. Give at least one of {possible}.")
    return found


def _check_keys(raw: Any, where: str, known: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise OptionError(where, f"{printable(str(raw))} is not a mapping. The keys are {', '.join(known)}.")
    for key in raw:
        if key not in known:
            raise OptionError(where, unknown_names("key", [key], known))
    return raw


def check_policies(policies: Sequence[Policy], records: Mapping[str, Record], machine_of: MachineOf) -> list[dict[str, Any]]:
    """One check for each requirement on each host it is about, or one for the hosts together."""
    checks = []
    for policy in policies:
        in_scope = {name: record for name, record in records.items() if policy.is_about(name)}
        if not policy.for_fleet:
            checks += [check for name, record in in_scope.items() for check in _check_host(policy, policies, name, record)]
        # Without hosts and without min_hosts there is nothing to judge. A note says so.
        elif in_scope or policy.min_hosts is not None:
            # Several names of one server are one host.
            shared = same_server_by_records(in_scope, machine_of)
            servers = {name: record for name, record in in_scope.items() if name not in shared}
            checks += [_check_together(policy, number, servers) for number in range(len(policy.requirements))]
    return checks


def _check_host(policy: Policy, policies: Iterable[Policy], name: str, record: Record) -> Iterator[dict[str, Any]]:
    for number, requirement in enumerate(policy.requirements):
        found = judge_requirement(record, requirement)
        why = after_number(reason(record, requirement, found[0])) if found and record["ok"] else NO_ANSWER
        yield _check(policy, number, name, requirement.label, what_is_asked(requirement), found, why)
    if policy.exclusive:
        # Whatever any policy of the host requires may be loaded.
        others = [other for other in policies if not other.for_fleet and other.is_about(name)]
        found = judge_exclusive(record, [requirement for other in others for requirement in other.requirements])
        loaded = found[0]["actual"] if found else None
        why = NO_ANSWER if not record["ok"] else "not known" if loaded is None else f"with {printable(loaded)} loaded"
        yield _check(policy, len(policy.requirements), name, "exclusive", _EXCLUSIVE, found, why)


def _check_together(policy: Policy, number: int, records: Mapping[str, Record]) -> dict[str, Any]:
    requirement = policy.requirements[number]
    # Without min_hosts, only the consistency is judged: 0 is always met.
    found = judge_fleet(records, [requirement], policy.min_hosts or 0, policy.consistent)
    violations = [cast(Violation, {key: value for key, value in violation.items() if key != "host"}) for violation in found]
    if not violations and not any(record["ok"] for record in records.values()):
        message = f"could not check {requirement.subject}: none of {count(len(records), 'host')} gave an answer"
        violations = [make_violation(requirement, "status", "ok", None, message)]
    least = policy.min_hosts
    asked = [f"at least {least} of {count(len(records), 'host')} {what_is_asked(requirement, least)}"] if least else []
    same = " and ".join(name.replace("_", " ") for name in policy.consistent)
    asked += [f"the same {same} of {requirement.subject} on all hosts that have it"] if same else []
    return _check(policy, number, None, requirement.label, " and ".join(asked), violations, None)


def _check(
    policy: Policy, number: int, host: str | None, label: str, asked: str, found: list[Violation], why: str | None
) -> dict[str, Any]:
    failed = any(violation["severity"] == FAIL for violation in found)
    return {
        "policy": policy.name,
        "number": number,
        "host": host,
        "requirement": label,
        "asked": asked,
        "outcome": "failed" if failed else "warned" if found else "passed",
        "reason": why if found else None,
        "violations": found,
    }


def notes_on_policies(policies: Iterable[Policy], records: Mapping[str, Record], machine_of: MachineOf) -> list[str]:
    without_hosts = dict.fromkeys(
        policy.name
        for policy in policies
        if policy.hosts is not None and policy.min_hosts is None and not policy.hosts.intersection(records)
    )
    notes = [f"The policy of {name} judged nothing, because no host of this audit is in it." for name in without_hosts]
    shared = same_server_by_records(records, machine_of) if any(policy.for_fleet for policy in policies) else {}
    if shared:
        pairs = format_names([f"{name} (as {first})" for name, first in shared.items()])
        notes.append(f"Hosts with the same URL count once in the rules of the fleet: {pairs}.")
    return notes
