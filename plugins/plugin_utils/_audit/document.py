# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The audit of a fleet: one document from host records, a policy and a baseline. Every report is a view of that document.

Its JSON Schema is `roles/fleet_audit/files/fleet_audit.schema.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...module_utils._grouping import grouped
from ...module_utils._input_errors import OptionError
from ...module_utils._lmstudio.known import is_older, total
from ...module_utils._lmstudio.models_v0 import LIST_MODELS_V0
from ...module_utils._text import format_names
from .._options.addresses import MachineOf, machine_by_name
from .baseline import SCHEMA_VERSION, Baseline
from .drift import DEFAULT_CHANGE_KINDS, compare_with_baseline
from .findings import FINDING_KINDS, make_findings
from .host_entry import describe_host, load_record, natural_order
from .policy import Policy, check_policies, notes_on_policies

Audit = dict[str, Any]

_COLLECTION = Path(__file__).parents[3]


class Scope(NamedTuple):
    """What was audited, and how, for the document."""

    policy: Mapping[str, Any] | None = None
    """As it was given, or None."""
    limit: str | None = None
    """Of the command line (``--limit``)."""
    inventory: Collection[str] = ()
    """The names of all hosts of the inventory."""
    machine_of: MachineOf = machine_by_name
    """Which machine a host is, to find hosts that are one."""
    collection_version: str | None = None
    history: Sequence[dict[str, Any]] | None = None
    """The figures of the runs before this one, or None where none are kept. The JSON report leaves them out."""
    first_run: bool = False
    """Whether the last run was to be the baseline, and there was none."""
    keep_missing: bool = False
    """Whether a host that the inventory no longer has is carried over, too, and named again at each run."""


_ANYTHING = Scope()


def collection_version() -> str | None:
    """The version of this collection: that of a release, or of a cloned tree."""
    for name in ("MANIFEST.json", "galaxy.yml"):
        try:
            about = yaml.safe_load((_COLLECTION / name).read_bytes())
            return str(about.get("collection_info", about)["version"])
        except (OSError, yaml.YAMLError, AttributeError, LookupError, TypeError):
            continue
    return None


def make_audit(
    hosts: Mapping[str, Any],
    policies: Sequence[Policy],
    baseline: Baseline | None,
    audited_at: str,
    scope: Scope = _ANYTHING,
    drift_kinds: Collection[str] = DEFAULT_CHANGE_KINDS,
) -> Audit:
    """The document. `hosts` holds what was gathered about each host: a record, a result with one, or nothing usable.

    All that differs between two runs on an unchanged fleet is under `run`. Raises :class:`InputError` when a record
    does not carry what the policy judges, and :class:`OptionError` for a record that was changed on the way.
    """
    records, described, times = {}, [], {}
    for name in sorted(hosts, key=natural_order):
        try:
            records[name] = load_record(hosts[name])
            described.append(describe_host(name, records[name]))
            times[name] = {key: records[name][key] for key in ("asked_at", "response_ms")}
        except (KeyError, TypeError, AttributeError) as exc:
            problem = f"the record of {name} is not complete: {exc} is missing or wrong. Pass the records unchanged."
            raise OptionError("hosts", problem) from None
    checks = check_policies(policies, records, scope.machine_of)
    known = baseline.hosts if baseline else {}
    # A host that the inventory has and this run leaves out is not a change.
    before = {name: host for name, host in known.items() if name in records or name not in scope.inventory}
    drift = compare_with_baseline(described, before, drift_kinds) if baseline else None
    changed = {change["host"] for change in drift["changes"]} if drift else set()
    left_out = [{"name": name, **host} for name, host in known.items() if name not in records]
    for host in described:
        host["last_known"] = baseline.still_known(host) if baseline and host["name"] not in changed else None
    audit = {
        "schema_version": SCHEMA_VERSION,
        "generator": "gpufleet.lmstudio",
        "collection_version": scope.collection_version,
        "limit": scope.limit,
        "policy": scope.policy,
        "run": {
            "audited_at": audited_at,
            "baseline_at": baseline.audited_at if baseline else None,
            "first_run": scope.first_run,
            "history": scope.history,
            "hosts": times,
        },
        "summary": {},
        "findings": make_findings(described, checks, drift),
        "hosts": described,
        "models": _models(described),
        "checks": checks,
        "drift": drift,
        "carried_over": [host for host in left_out if scope.keep_missing or host["name"] in scope.inventory],
        "notes": [*notes_on_policies(policies, records, scope.machine_of), *_notes_on_lists(described)],
    }
    return {**audit, "summary": _summary(audit)}


def without_times(audit: Audit) -> Audit:
    """The same document with other times and another history. Reports of the two differ only where they show these."""
    never = "1970-01-01T00:00:00Z"
    hosts = {
        # A time of 0 milliseconds is known, too.
        name: {"asked_at": never, "response_ms": None if times["response_ms"] is None else -1}
        for name, times in audit["run"]["hosts"].items()
    }
    runs = audit["run"]["history"]
    history = None if runs is None else [{"limit": audit["limit"], "requirements": []}, *runs]
    baseline_at = audit["run"]["baseline_at"] and never
    return {**audit, "run": {**audit["run"], "audited_at": never, "baseline_at": baseline_at, "history": history, "hosts": hosts}}


def violations_by_host(audit: Audit) -> Counter[str | None]:
    """How many violations each host has. Those of hosts together are under None."""
    return Counter(check["host"] for check in audit["checks"] for _violation in check["violations"])


def drift_of(audit: Audit) -> Mapping[str, list[dict[str, Any]]]:
    """The changes and the hosts that were not compared. Without a baseline there are none of either."""
    return audit["drift"] or {"changes": [], "not_compared": []}


def changes_by_host(audit: Audit) -> dict[str, int]:
    """How many changes each host has, for the hosts of the run that could be compared with a baseline."""
    changes = Counter(change["host"] for change in drift_of(audit)["changes"])
    not_compared = {entry["host"] for entry in drift_of(audit)["not_compared"]}
    return {host["name"]: changes[host["name"]] for host in audit["hosts"] if audit["drift"] and host["name"] not in not_compared}


def unanswered_first(audit: Audit) -> list[dict[str, Any]]:
    """The hosts, those without an answer first, each part in the order of names."""
    return sorted(audit["hosts"], key=lambda host: bool(host["ok"]))


def _models(hosts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the fleet has for each model key. A host counts once, however often it lists the key."""
    found = grouped((model["key"], (host["name"], model)) for host in hosts for model in host["models"])
    return [_model(key, having) for key, having in sorted(found.items())]


def _model(key: str, having: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    instances = [instance for _name, model in having for instance in model["instances"]]
    return {
        "key": key,
        "type": next((model["type"] for _name, model in having if model["type"]), None),
        "hosts_listing": len({name for name, _model in having}),
        "hosts_loaded": len({name for name, model in having if model["state"] == "loaded"}),
        "instances": len(instances),
        "context_lengths": _known(instance["context_length"] for instance in instances),
        "parallel": total(instance["parallel"] for instance in instances),
        "size_bytes": _known(model["size_bytes"] for _name, model in having),
        "quantizations": _known(model["quantization"] for _name, model in having),
        "selected_variants": _known(model["selected_variant"] for _name, model in having),
    }


def _known(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _summary(audit: Audit) -> dict[str, Any]:
    hosts, models, checks, drift = (audit[name] for name in ("hosts", "models", "checks", "drift"))
    severities = Counter(violation["severity"] for check in checks for violation in check["violations"])
    kinds = Counter(finding["kind"] for finding in audit["findings"])
    answered = any(host["ok"] for host in hosts)
    return {
        "hosts": {
            "total": len(hosts),
            "ok": sum(host["ok"] for host in hosts),
            "by_status": dict(sorted(Counter(host["status"] for host in hosts).items())),
        },
        "models": {
            "distinct": len(models) if answered else None,
            "distinct_loaded": sum(model["hosts_loaded"] > 0 for model in models) if answered else None,
            "instances": _sum_of_known(host["counts"]["instances"] for host in hosts),
        },
        "size_bytes": {name: _sum_of_known(host["size_bytes"][name] for host in hosts) for name in ("available", "loaded")},
        "checks": {"total": len(checks), "passed": sum(check["outcome"] == "passed" for check in checks)},
        "violations": {"fail": severities["fail"], "warn": severities["warn"]},
        "findings": {kind: kinds[kind] for kind in FINDING_KINDS},
        "drift": None if drift is None else len(drift["changes"]),
        "not_compared": None if drift is None else len(drift["not_compared"]),
    }


def _sum_of_known(values: Iterable[int | None]) -> int | None:
    """The sum of the known values. None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _notes_on_lists(hosts: list[dict[str, Any]]) -> list[str]:
    """What the figures of a list of models do not show."""
    notes = []
    doubled = [host["name"] for host in hosts if host["duplicates"]]
    if doubled:
        notes.append(
            f"A model is listed more than once on {format_names(doubled)}. With LM Link a host lists the models of linked machines as if they "
            "were its own. Such a host counts once among the hosts that list a model, but sums of sizes and instances may count a model twice."
        )
    without_sum = [host["name"] for host in hosts if host["ok"] and not is_older(host) and None in host["size_bytes"].values()]
    if without_sum:
        notes.append(f"The size of a model is not known on {format_names(without_sum)}. Sums of sizes with it leave the host out.")
    older = [host["name"] for host in hosts if is_older(host)]
    if older:
        notes.append(
            f"Answered over {LIST_MODELS_V0.path}: {format_names(older)}. This older list has no sizes, variants or settings, nor the number "
            "of instances, so sums leave these hosts out. It may leave out models that are not loaded, so no model is known to be absent there."
        )
    return notes
