# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The audit of a fleet: one document from host records, a policy and a baseline. Every report is a view of that document.

Its JSON Schema is `roles/fleet_audit/files/fleet_audit.schema.json`. No socket, no file, no Ansible object.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import nothing_gathered, record_in
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import (
    FAIL,
    Requirement,
    Violation,
    flag,
    fleet_terms,
    judge,
    judge_fleet,
    parse_all,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

Audit = dict[str, Any]

SCHEMA_VERSION = 1
ALL_HOSTS, FLEET, GROUP = "all hosts", "fleet", "group {}"


# The policy.


class Policy(NamedTuple):
    """Requirements for some hosts. Make it with :func:`policies_of`."""

    name: str
    hosts: frozenset[str] | None
    """None means every host."""
    requirements: list[Requirement]
    exclusive: bool = False
    of_fleet: bool = False
    """Whether the requirements are about the hosts together: `min_hosts` of them, or `consistent` between them."""
    min_hosts: int | None = None
    consistent: tuple[str, ...] = ()


def policies_of(raw: Any, groups: Mapping[str, Iterable[str]]) -> list[Policy]:
    """The checked policy. `groups` holds the host names of each group.

    Raises :class:`OptionError` or :class:`RequirementError`, both of which name the key.
    """
    if not raw:
        return []
    keys = _checked(raw, "policy", ("require", "exclusive", "fleet", "groups"))
    found = _of_hosts(keys, "policy", ALL_HOSTS, None)
    of_groups = keys.get("groups", {})
    if not isinstance(of_groups, Mapping):
        raise OptionError("policy.groups", "it is no mapping of group names to what is required there.")
    for name, part in of_groups.items():
        where = f"policy.groups.{printable(str(name))}"
        if name not in groups:
            raise OptionError(where, "the inventory has no such group. Correct the name, or remove it.")
        found += _of_hosts(_checked(part, where, ("require", "exclusive", "fleet")), where, GROUP.format(name), frozenset(groups[name]))
    return found


def _of_hosts(keys: Mapping[str, Any], where: str, name: str, hosts: frozenset[str] | None) -> list[Policy]:
    found = []
    exclusive = flag(keys.get("exclusive", False), f"{where}.exclusive")
    if "require" in keys:
        found.append(Policy(name, hosts, parse_all(keys["require"], f"{where}.require"), exclusive))
    elif exclusive:
        raise OptionError(f"{where}.exclusive", "it wants require beside it, which says what may be loaded.")
    parts = keys.get("fleet", [])
    if not isinstance(parts, (list, tuple)):
        raise OptionError(f"{where}.fleet", "it is no list. Write a dash before each entry.")
    for number, part in enumerate(parts):
        at = f"{where}.fleet[{number}]"
        part = _checked(part, at, ("require", "min_hosts", "consistent"))
        requirements = parse_all(part.get("require"), f"{at}.require")
        least, consistent = fleet_terms(part.get("min_hosts"), part.get("consistent"), at + ".")
        if least is None and not consistent:
            raise OptionError(at, "give min_hosts or consistent. What each host must meet stands in require, not in fleet.")
        found.append(Policy(FLEET if hosts is None else f"{FLEET} of {name}", hosts, requirements, False, True, least, consistent))
    if not found and not keys.get("groups"):
        raise OptionError(
            where, f"it requires nothing. Give at least one of {'require, fleet and groups' if hosts is None else 'require and fleet'}."
        )
    return found


def _checked(raw: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise OptionError(where, f"{printable(str(raw))} is no mapping. The keys are {', '.join(known)}.")
    for key in raw:
        if key not in known:
            raise OptionError(where, f"unknown key {printable(str(key))}. The keys are {', '.join(known)}.")
    return raw


# The document.


def audit_of(hosts: Mapping[str, Any], policies: Iterable[Policy], baseline: Audit | None, audited_at: str) -> Audit:
    """The document. `hosts` holds what was gathered of each host: a record, a result with one, or nothing usable.

    All that differs between two runs on an unchanged fleet stands under `run`. Raises :class:`RequirementError` when a record
    does not carry what the policy judges, and :class:`OptionError` for a record that was changed on the way.
    """
    policies = list(policies)
    records, described = {}, []
    for name in sorted(hosts, key=_natural):
        try:
            records[name] = _record(hosts[name])
            described.append(_host(name, records[name]))
        except (KeyError, TypeError, AttributeError) as exc:
            problem = f"the record of {name} is not complete, {exc} is missing or wrong. Hand in records as they were gathered."
            raise OptionError("hosts", problem) from None
    checks = [check for policy in policies for check in _checks(policy, policies, records)]
    drift = None if baseline is None else _drift(described, baseline)
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": "gpufleet.lmstudio",
        "run": {
            "audited_at": audited_at,
            "baseline_at": baseline["run"]["audited_at"] if baseline else None,
            "hosts": {name: {"asked_at": record["asked_at"], "response_ms": record["response_ms"]} for name, record in records.items()},
        },
        "summary": _summary(described, checks, drift),
        "hosts": described,
        "models": _models(described),
        "checks": checks,
        "drift": drift,
        "notes": [*_notes_of_policies(policies, records), *_notes_of_duplicates(described)],
    }


def without_times(audit: Audit) -> Audit:
    """The same with other times: where the two differ in a report, there stand times, and nothing else does."""
    never = "1970-01-01T00:00:00Z"
    hosts = {
        # A time of 0 milliseconds is a time.
        name: {"asked_at": never, "response_ms": None if times["response_ms"] is None else -1}
        for name, times in audit["run"]["hosts"].items()
    }
    return {**audit, "run": {"audited_at": never, "baseline_at": audit["run"]["baseline_at"] and never, "hosts": hosts}}


def violations_in(audit: Audit) -> list[Violation]:
    """All violations, in order, each with the policy and the host it is about."""
    return [
        {"policy": check["policy"], "host": check["host"], **violation} for check in audit["checks"] for violation in check["violations"]
    ]


def _record(given: Any) -> Record:
    try:
        return _in_order(record_in(given))
    except OptionError:
        return nothing_gathered(given)


def _in_order(record: Record) -> Record:
    """A record whose entries and instances come in an order that is not that of the server, which may change it."""

    def instances(entry: Mapping[str, Any]) -> list[Any]:
        return sorted(entry["loaded_instances"], key=lambda instance: (instance["id"], instance["config"]["context_length"] or 0))

    models = [{**entry, "loaded_instances": instances(entry)} for entry in record["models"]]
    # An LM Link duplicate differs in some of these, or in nothing.
    models.sort(key=lambda entry: (entry["key"], not entry["loaded"], str(entry["quantization"]), str(entry["selected_variant"])))
    # The number of an entry is its place in the answer.
    warnings = sorted(re.sub(r"^models\[\d+\]", "models", str(text)) for text in record["warnings"])
    error = None if record["ok"] else record["error"] or {"message": f"It is {record['status']}.", "hint": "", "http_status": None}
    return {**record, "models": models, "warnings": warnings, "error": error}


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sorts gpu2 before gpu10."""
    return [(0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in re.split(r"(\d{1,18})", name)]


def _host(name: str, record: Record) -> dict[str, Any]:
    carried = {entry["key"] for entry in record["models"]}
    duplicates = record["counts"]["models"] - len(record["available"])
    times = Counter(entry["key"] for entry in record["models"])
    # At detail loaded, what is listed twice but not loaded is known by its number only.
    told = record["detail"] == FULL or not duplicates
    models = [_model(entry, times[entry["key"]] if told else None) for entry in record["models"]]
    models += [_unknown(key, 1 if told else None) for key in record["available"] if key not in carried]
    models.sort(key=lambda model: model["key"])
    return {
        "name": name,
        "ok": record["ok"],
        "status": record["status"],
        "url": record["url"],
        "error": record["error"],
        "detail": record["detail"],
        "counts": record["counts"],
        "size_bytes": record["size_bytes"],
        "fingerprint": record["fingerprint"],
        "warnings": record["warnings"],
        "duplicates": duplicates,
        "models": models,
    }


def _model(entry: Mapping[str, Any], times: int | None) -> dict[str, Any]:
    instances = [
        {"id": instance["id"], "context_length": instance["config"]["context_length"], "parallel": instance["config"]["parallel"]}
        for instance in entry["loaded_instances"]
    ]
    return {
        "key": entry["key"],
        "state": "loaded" if entry["loaded"] else "available",
        "times_listed": times,
        "type": entry["type"],
        "display_name": entry["display_name"],
        "publisher": entry["publisher"],
        "architecture": entry["architecture"],
        "format": entry["format"],
        "quantization": entry["quantization"]["name"],
        "bits_per_weight": entry["quantization"]["bits_per_weight"],
        "selected_variant": entry["selected_variant"],
        "variants": sorted(set(entry["variants"])),
        "size_bytes": entry["size_bytes"],
        "max_context_length": entry["max_context_length"],
        "instances": instances,
    }


_ATTRIBUTES = (
    "type", "display_name", "publisher", "architecture", "format", "quantization", "bits_per_weight", "selected_variant",
    "variants", "size_bytes", "max_context_length",
)  # fmt: skip


def _unknown(key: str, times: int | None) -> dict[str, Any]:
    """What a record of detail loaded tells of a model that is not loaded."""
    return {"key": key, "state": "available", "times_listed": times, **dict.fromkeys(_ATTRIBUTES), "instances": []}


def _models(hosts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the fleet has of each key. A host counts once, however often it lists the key."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for host in hosts:
        for model in host["models"]:
            found.setdefault(model["key"], []).append((host["name"], model))
    return [
        {
            "key": key,
            "type": next((model["type"] for _name, model in having if model["type"]), None),
            "hosts_listing": len({name for name, _model in having}),
            "hosts_loaded": len({name for name, model in having if model["state"] == "loaded"}),
            "instances": sum(len(model["instances"]) for _name, model in having),
            "context_lengths": _known(instance["context_length"] for _name, model in having for instance in model["instances"]),
            "quantizations": _known(model["quantization"] for _name, model in having),
            "selected_variants": _known(model["selected_variant"] for _name, model in having),
        }
        for key, having in sorted(found.items())
    ]


def _known(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _checks(policy: Policy, policies: Iterable[Policy], records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """One check for each requirement on each host it is about, or one for the hosts together."""
    those = {name: record for name, record in records.items() if policy.hosts is None or name in policy.hosts}
    if policy.of_fleet:
        return [_check(policy, None, requirement, _together(policy, those, requirement)) for requirement in policy.requirements]
    checks = []
    for name, record in those.items():
        checks += [_check(policy, name, requirement, judge(record, [requirement])) for requirement in policy.requirements]
        if policy.exclusive:
            # What any policy of the host asks for may be loaded. The violations of the requirements come first.
            wanted = [
                requirement
                for other in policies
                if not other.of_fleet and (other.hosts is None or name in other.hosts)
                for requirement in other.requirements
            ]
            others = judge(record, wanted, exclusive=True)[len(judge(record, wanted)) :]
            checks.append(_outcome(policy, name, "exclusive", others))
    return checks


def _together(policy: Policy, records: Mapping[str, Record], requirement: Requirement) -> list[Violation]:
    # Zero hosts are always there: then only what they have in common is judged.
    found = judge_fleet(records, [requirement], policy.min_hosts or 0, policy.consistent)
    return [{key: value for key, value in violation.items() if key != "host"} for violation in found]


def _check(policy: Policy, host: str | None, requirement: Requirement, found: list[Violation]) -> dict[str, Any]:
    return _outcome(policy, host, requirement.name or requirement.subject, found)


def _outcome(policy: Policy, host: str | None, label: str, found: list[Violation]) -> dict[str, Any]:
    failed = any(violation["severity"] == FAIL for violation in found)
    return {
        "policy": policy.name,
        "host": host,
        "requirement": label,
        "outcome": "failed" if failed else "warned" if found else "passed",
        "violations": found,
    }


def _summary(hosts: list[dict[str, Any]], checks: list[dict[str, Any]], drift: dict[str, Any] | None) -> dict[str, Any]:
    severities = Counter(violation["severity"] for check in checks for violation in check["violations"])
    return {
        "hosts": {
            "total": len(hosts),
            "ok": sum(host["ok"] for host in hosts),
            "by_status": dict(sorted(Counter(host["status"] for host in hosts).items())),
        },
        "models": {
            "distinct": len({model["key"] for host in hosts for model in host["models"]}),
            "distinct_loaded": len({model["key"] for host in hosts for model in host["models"] if model["state"] == "loaded"}),
            "instances": sum(host["counts"]["instances"] for host in hosts),
        },
        "size_bytes": {name: sum(host["size_bytes"][name] for host in hosts) for name in ("available", "loaded")},
        "checks": {"total": len(checks), "passed": sum(check["outcome"] == "passed" for check in checks)},
        "violations": {"fail": severities["fail"], "warn": severities["warn"]},
        "drift": None if drift is None else len(drift["changes"]),
    }


def _notes_of_policies(policies: Iterable[Policy], records: Mapping[str, Record]) -> list[str]:
    nobody = dict.fromkeys(
        policy.name for policy in policies if policy.hosts is not None and not policy.of_fleet and not policy.hosts.intersection(records)
    )
    return [f"The policy of {name} judged nothing, because no host of this audit is in it." for name in nobody]


def _notes_of_duplicates(hosts: list[dict[str, Any]]) -> list[str]:
    doubled = [host["name"] for host in hosts if host["duplicates"]]
    if not doubled:
        return []
    names = ", ".join(doubled[:5]) + (f" and {len(doubled) - 5} more" if len(doubled) > 5 else "")
    return [
        f"A model is listed more than once on {names}. With LM Link a host lists the models of linked machines as if they were its "
        "own. Such a host counts once among the hosts that list a model, but sums of sizes and instances may count a model twice."
    ]


# Drift.


def baseline_of(document: Any) -> Audit:
    """A document of an earlier run, as far as drift needs it. Raises :class:`OptionError`."""
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if version is None:
        raise OptionError("baseline", "it is no JSON report of fleet_audit. Give a fleet_audit.json of an earlier run.")
    if version != SCHEMA_VERSION:
        raise OptionError(
            "baseline", f"it has schema_version {printable(str(version))}, this collection reads {SCHEMA_VERSION}. Make a new one."
        )
    try:
        str(document["run"]["audited_at"])
        for host in document["hosts"]:
            _compared(host)
            str(host["name"]), bool(host["ok"]), str(host["status"]), str(host["detail"])
    except (KeyError, TypeError, AttributeError):
        raise OptionError("baseline", "it is not complete. Give a fleet_audit.json as an earlier run wrote it.") from None
    return dict(document)


def _drift(hosts: list[dict[str, Any]], baseline: Audit) -> dict[str, Any]:
    before = {host["name"]: host for host in baseline["hosts"]}
    now = {host["name"]: host for host in hosts}
    changes: list[dict[str, Any]] = []
    apart = []
    for name in sorted({*before, *now}, key=_natural):
        if name not in before:
            apart.append({"host": name, "message": f"{name} is not in the baseline"})
        elif name not in now:
            apart.append({"host": name, "message": f"{name} was not audited, the baseline has it"})
        elif not before[name]["ok"] or not now[name]["ok"]:
            when, status = ("now", now[name]["status"]) if before[name]["ok"] else ("in the baseline", before[name]["status"])
            apart.append({"host": name, "message": f"{name} is {printable(str(status))} {when}, so its models cannot be compared"})
        else:
            changes += _changes(now[name], before[name])
    return {"changes": changes, "not_compared": apart}


def _compared(host: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """What counts as drift, for each key. Order and remaining TTLs never count, nor does how often a key is listed."""
    found: dict[str, dict[str, list[Any]]] = {}
    for model in host["models"]:
        if not isinstance(model["key"], str):
            raise TypeError("key")
        names = ("context_length", "variants", "untold", *_KINDS, *(f"loaded {name}" for name in _KINDS))
        has = found.setdefault(model["key"], {name: [] for name in names})
        # A report of an earlier release does not have them, nor has a record of detail loaded where a model is not loaded.
        variants = model.get("variants")
        has["variants"] += [str(name) for name in variants or []]
        has["untold"] += ["variants"] if variants is None else []
        has["context_length"] += [instance["context_length"] or 0 for instance in model["instances"]]
        for name in _KINDS:
            has[name] += [str(model[name])] if model[name] is not None else []
            has[f"loaded {name}"] += [str(model[name])] if model["state"] == "loaded" and model[name] is not None else []
    return {
        key: {name: sorted(values) if name == "context_length" else sorted(set(values)) for name, values in has.items()}
        for key, has in found.items()
    }


def _changes(host: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = []
    name, before, now = host["name"], _compared(earlier), _compared(host)
    # What one of the two does not tell, such as the quantization of a model that was not loaded then, is no change.
    all_told = host["detail"] == earlier["detail"] == FULL
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old is None or new is None:
            changes.append(_change(name, key, "removed" if new is None else "added", None, None))
            continue
        if bool(old["context_length"]) != bool(new["context_length"]):
            changes.append(_change(name, key, "loaded" if new["context_length"] else "unloaded", None, None))
        elif old["context_length"] != new["context_length"]:
            changes.append(_change(name, key, "context_length", old["context_length"], new["context_length"]))
        for kind in _KINDS:
            for which in (f"loaded {kind}", kind) if all_told else (f"loaded {kind}",):
                if old[which] and new[which] and old[which] != new[which]:
                    changes.append(_change(name, key, kind, old[which], new[which]))
                    break
        if old["variants"] != new["variants"] and not (old["untold"] or new["untold"]):
            changes.append(_change(name, key, "variants", old["variants"], new["variants"]))
    return changes


_KINDS = ("quantization", "selected_variant")
_CHANGED = {
    "added": "is listed now and was not before",
    "removed": "is not listed any more",
    "loaded": "is loaded now and was not before",
    "unloaded": "is not loaded any more",
}


def _change(host: str, model: str, what: str, before: list[Any] | None, now: list[Any] | None) -> dict[str, Any]:
    says = _CHANGED.get(what) or "has the {} {}, it was {}".format(
        {"context_length": "context", "selected_variant": "variant"}.get(what, what), _listed(now), _listed(before)
    )
    if what == "variants":
        says = f"has the variants {_listed(now) or 'none'} on disk, it had {_listed(before) or 'none'}"
    return {"host": host, "model": model, "change": what, "before": before, "now": now, "message": f"{host}: {printable(model)} {says}"}


def _listed(values: list[Any] | None) -> str:
    return ", ".join(printable(str(value)) for value in values or [])
