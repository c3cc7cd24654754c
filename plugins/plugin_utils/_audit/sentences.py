# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The sentences that all reports share, and the rows of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any

from ...module_utils._grouping import grouped
from ...module_utils._text import count, format_size, full_stop, printable
from .document import Audit, changes_by_host
from .findings import DRIFT, FINDING_KINDS, FLEET, REQUIREMENT, UNANSWERED, WARNING, Finding, cause_lines
from .policy import NO_ANSWER


def headline(audit: Audit) -> str:
    """The outcome in one sentence."""
    summary, found = audit["summary"], audit["summary"]["findings"]
    parts = [f"{summary['hosts']['ok']} of {count(summary['hosts']['total'], 'host')} answered"]
    if summary["checks"]["total"]:
        unmet = [FINDING_KINDS[kind].counted(found[kind]) for kind in (FLEET, REQUIREMENT) if found[kind]]
        not_checked = any(check["reason"] == NO_ANSWER for check in audit["checks"])
        parts.append(
            f"{' and '.join(unmet)} not met" if unmet else "not all of the policy could be checked" if not_checked else "the policy is met"
        )
        if found[WARNING]:
            parts.append(FINDING_KINDS[WARNING].counted(found[WARNING]))
    if audit["policy"] and not summary["checks"]["total"]:
        parts.append("the policy judged nothing")
    if audit["run"]["first_run"]:
        parts.append("this is the first run, so there is nothing to compare with")
    if summary["drift"] is not None:
        parts.append(count(summary["drift"], "change") + " since the baseline")
    if summary["not_compared"]:
        parts.append(f"{count(summary['not_compared'], 'host')} not compared with it")
    if audit["carried_over"]:
        parts.append(f"{count(len(audit['carried_over']), 'host')} of the baseline not in this run")
    return ", ".join(parts) + "."


def findings_of(audit: Audit) -> dict[str, list[Finding]]:
    """By kind, the most important first. A kind without a finding is left out."""
    return grouped((finding["kind"], finding) for finding in audit["findings"])


def problems(audit: Audit) -> dict[str, list[str]]:
    """What is wrong, a sentence for each finding, by the name that `fleet_audit_fail_on` has for it."""
    found = findings_of(audit)
    # A host without an answer violates what is required of it, because it could not be checked.
    unchecked = any(check["reason"] == NO_ANSWER and check["outcome"] == "failed" for check in audit["checks"])
    violations = [*found.get(FLEET, []), *(found.get(UNANSWERED, []) if unchecked else []), *found.get(REQUIREMENT, [])]
    return {
        "violations": [*nothing_judged(audit), *_lines(violations)],
        "not_ok": _lines(found.get(UNANSWERED, [])),
        "drift": [*nothing_compared(audit), *_lines(found.get(DRIFT, []))],
    }


def nothing_judged(audit: Audit) -> list[str]:
    """A sentence if there is a policy that judged no host, with which a gate must not pass."""
    return ["The policy judged nothing: no host of this audit is in its groups."] if audit["policy"] and not audit["checks"] else []


def nothing_compared(audit: Audit) -> list[str]:
    """A sentence if no host at all could be compared, with which a gate on drift must not pass."""
    return ["No host could be compared with the baseline."] if audit["drift"] and not changes_by_host(audit) else []


def _lines(findings: Iterable[Finding]) -> list[str]:
    """One for each finding, with its causes side by side."""
    parts = [[finding["message"], *cause_lines(finding)] for finding in findings]
    return [printable(" ".join([*map(full_stop, before), last]), 5000) for *before, last in parts]


def left_out(found: Sized, most: int, one: str = "", many: str = "") -> str:
    """What to say where a report shows only so many of them, such as "1 more host is in the JSON report.". Empty where it shows all."""
    more = len(found) - most
    noun = one if more == 1 else many
    return f"{more} more{noun and ' '}{noun} {'is' if more == 1 else 'are'} in the JSON report." if more > 0 else ""


def what_was_checked(audit: Audit) -> list[dict[str, Any]]:
    """What each requirement asked, and how many hosts meet it: `{policy, requirement, asked, met, of, outcome}`. `of` is null for a rule of
    the fleet."""
    passed_by = grouped(
        ((check["policy"], check["number"], check["host"] is None, check["requirement"], check["asked"]), check["outcome"] == "passed")
        for check in audit["checks"]
    )
    rows = []
    for (policy, _number, together, requirement, asked), passed in passed_by.items():
        met, of = sum(passed), None if together else len(passed)
        outcome = f"met by {met} of {count(of, 'host')}" if of is not None else "met" if met else "not met"
        rows.append({"policy": policy, "requirement": requirement, "asked": asked, "met": met, "of": of, "outcome": outcome})
    return rows


def without_models(audit: Audit) -> str:
    """What to say in place of a table without a model."""
    return "No host lists a model." if audit["summary"]["hosts"]["ok"] else "Not known, because no host answered."


def models_by_use(audit: Audit) -> list[dict[str, Any]]:
    """The models, those that most hosts serve first, each with the names of these hosts and the texts for its table."""
    loaded = [(model["key"], host["name"]) for host in audit["hosts"] for model in host["models"] if model["state"] == "loaded"]
    # A host that lists a key twice serves it once.
    serving = grouped(dict.fromkeys(loaded))
    return [
        {
            **model,
            "served_by": serving.get(model["key"], []),
            "contexts": (", ".join(map(str, model["context_lengths"])) or "not known") if model["instances"] else "-",
            "slots": figure(model["parallel"]) if model["instances"] else "-",
            "size": _from_to([format_size(number) for number in model["size_bytes"]]),
        }
        for model in sorted(audit["models"], key=lambda model: (-model["hosts_loaded"], -model["hosts_listing"], model["key"]))
    ]


def _from_to(sizes: list[str]) -> str:
    return "not known" if not sizes else sizes[0] if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"


def figure(number: int | None) -> str:
    return "not known" if number is None else str(number)


def size(number: int | None) -> str:
    return "not known" if number is None else format_size(number)


def number_listed(host: Mapping[str, Any]) -> str:
    """How many models a host lists, in a table. One that it lists twice counts twice, as everywhere."""
    return "-" if host["counts"]["models"] is None else str(host["counts"]["models"])


def loaded_size(host: Mapping[str, Any]) -> str:
    return size(host["size_bytes"]["loaded"]) if host["ok"] else "-"


def loaded_models(host: Mapping[str, Any]) -> list[str]:
    """Each loaded model with the contexts of its instances."""
    return [
        f"{printable(model['key'])} ({', '.join(_tokens(instance['context_length']) for instance in model['instances'])})"
        for model in host["models"]
        if model["state"] == "loaded"
    ]


def _tokens(number: int | None) -> str:
    return "context not known" if number is None else str(number)
