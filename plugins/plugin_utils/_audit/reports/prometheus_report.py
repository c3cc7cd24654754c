# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as Prometheus metrics, for the textfile collector of node_exporter. `docs/metrics.md` has the same table.

Unknown values have no sample. No label is called `instance` or `job`: the scrape sets those.
"""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ....module_utils._grouping import grouped
from ....module_utils._lmstudio.known import is_older
from ....module_utils._lmstudio.poll import TIME_FORMAT
from ....module_utils._text import printable
from ..document import Audit, changes_by_host, violations_by_host
from ..policy import NO_ANSWER

_PASSED, _WARNED, _FAILED, _NOT_KNOWN = _OUTCOMES = ("passed", "warned", "failed", "not known")
"""How a check ended, the worst last. It is not known for a host without an answer."""

Samples = Iterator["tuple[str, tuple[str, ...], float | None]"]
"""Each with the name of the metric, the values of its labels, and the number, which is None where it is not known."""


class Metric(NamedTuple):
    """All of them are gauges."""

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str


_HOST, _RULE = ("host",), ("policy", "requirement")

METRICS = (
    Metric("lmstudio_hosts_expected", (), "hosts", "Hosts that should answer."),
    Metric("lmstudio_hosts_answered", (), "hosts", "Hosts that answered."),
    Metric("lmstudio_host_ok", _HOST, "0 or 1", "Whether the host answered with a model list."),
    Metric("lmstudio_host_status", ("host", "status"), "1", "The status of the host."),
    Metric("lmstudio_host_older_api", _HOST, "0 or 1", "Whether the host answered over the older API, which does not report everything."),
    Metric("lmstudio_models_listed", _HOST, "models", "Models that the host lists."),
    Metric("lmstudio_models_loaded", _HOST, "models", "Models that are loaded on the host."),
    Metric("lmstudio_instances", _HOST, "instances", "Loaded instances."),
    Metric("lmstudio_listed_bytes", _HOST, "bytes", "Size of all models that the host lists."),
    Metric("lmstudio_loaded_bytes", _HOST, "bytes", "Size of the models that are loaded on the host."),
    Metric("lmstudio_instance_context_length", ("host", "model", "model_instance"), "tokens", "Context of a loaded instance."),
    Metric("lmstudio_violations", ("severity",), "violations", "Violations of the policy, hosts without an answer included."),
    Metric("lmstudio_host_violations", _HOST, "violations", "Violations of the policy on a host that answered."),
    Metric("lmstudio_requirement_met", ("host", *_RULE), "0 or 1", "Whether a host that answered meets the requirement."),
    Metric("lmstudio_requirement_hosts", _RULE, "hosts", "Hosts that the requirement is about."),
    Metric("lmstudio_requirement_hosts_met", _RULE, "hosts", "Hosts that meet the requirement."),
    Metric(
        "lmstudio_requirement_hosts_failed",
        _RULE,
        "hosts",
        "Hosts that answered and do not meet the requirement, unless its severity is warn.",
    ),
    Metric("lmstudio_fleet_rule_met", _RULE, "0 or 1", "Whether the hosts together meet the rule."),
    Metric("lmstudio_fleet_rule_failed", _RULE, "0 or 1", "Whether the hosts together do not meet the rule, unless its severity is warn."),
    Metric("lmstudio_drift_changes", _HOST, "changes", "Changes since the baseline on a host that was compared with it."),
    Metric("lmstudio_drift_hosts_not_compared", (), "hosts", "Hosts that could not be compared with the baseline."),
    # What differs between any two runs comes last.
    Metric("lmstudio_response_seconds", _HOST, "seconds", "Time until the host answered."),
    Metric("lmstudio_audit_timestamp_seconds", (), "seconds since 1970", "When the fleet was audited."),
)


def as_prometheus(audit: Audit) -> str:
    samples = grouped((name, (values, number)) for name, values, number in _samples(audit) if number is not None)
    lines: list[str] = []
    for metric in METRICS:
        shown: dict[str, float] = {}
        for values, number in samples.get(metric.name, ()):
            # Different names may look the same once they are printable, and a sample that occurs twice makes the whole file invalid.
            sample = _labelled(metric, values)
            shown[sample] = min(number, shown.get(sample, number))
        if shown:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
            lines += [f"{sample} {int(number) if number == int(number) else number}" for sample, number in shown.items()]
    return "\n".join(lines) + "\n"


def _labelled(metric: Metric, values: tuple[str, ...]) -> str:
    escaped = [_shown(text).replace("\\", "\\\\").replace('"', '\\"') for text in values]
    labels = ",".join(f'{label}="{text}"' for label, text in zip(metric.labels, escaped))
    return f"{metric.name}{{{labels}}}" if labels else metric.name


def _shown(text: str) -> str:
    return printable(text, 1000)


def _samples(audit: Audit) -> Samples:
    summary = audit["summary"]
    yield "lmstudio_hosts_expected", (), summary["hosts"]["total"]
    yield "lmstudio_hosts_answered", (), summary["hosts"]["ok"]
    yield "lmstudio_drift_hosts_not_compared", (), summary["not_compared"]
    yield "lmstudio_audit_timestamp_seconds", (), calendar.timegm(time.strptime(audit["run"]["audited_at"], TIME_FORMAT))
    for host in audit["hosts"]:
        yield from _samples_of_host(host)
    for name, times in audit["run"]["hosts"].items():
        yield "lmstudio_response_seconds", (name,), None if times["response_ms"] is None else times["response_ms"] / 1000
    for name, changes in changes_by_host(audit).items():
        yield "lmstudio_drift_changes", (name,), changes
    if audit["checks"]:
        yield from _samples_of_policy(audit)


def _samples_of_host(host: dict[str, Any]) -> Samples:
    of_host = (host["name"],)
    yield "lmstudio_host_ok", of_host, host["ok"]
    yield "lmstudio_host_status", (host["name"], host["status"]), 1
    yield "lmstudio_host_older_api", of_host, is_older(host) if host["api"] else None
    yield "lmstudio_models_listed", of_host, host["counts"]["models"]
    yield "lmstudio_models_loaded", of_host, host["counts"]["loaded"]
    yield "lmstudio_instances", of_host, host["counts"]["instances"]
    yield "lmstudio_listed_bytes", of_host, host["size_bytes"]["available"]
    yield "lmstudio_loaded_bytes", of_host, host["size_bytes"]["loaded"]
    for model in host["models"]:
        for instance in model["instances"]:
            yield "lmstudio_instance_context_length", (host["name"], model["key"], instance["id"]), instance["context_length"]


def _samples_of_policy(audit: Audit) -> Samples:
    for severity, number in audit["summary"]["violations"].items():
        yield "lmstudio_violations", (severity,), number
    violations = violations_by_host(audit)
    for host in audit["hosts"]:
        yield "lmstudio_host_violations", (host["name"],), violations[host["name"]] if host["ok"] else None
    for rule, outcomes in _outcomes(audit).items():
        ended = Counter(outcomes.values())
        if None in outcomes:
            yield "lmstudio_fleet_rule_met", rule, ended[_PASSED]
            yield "lmstudio_fleet_rule_failed", rule, ended[_FAILED]
            continue
        for host, outcome in outcomes.items():
            yield "lmstudio_requirement_met", (str(host), *rule), None if outcome == _NOT_KNOWN else outcome == _PASSED
        yield "lmstudio_requirement_hosts", rule, len(outcomes)
        yield "lmstudio_requirement_hosts_met", rule, ended[_PASSED]
        yield "lmstudio_requirement_hosts_failed", rule, ended[_FAILED]


def _outcomes(audit: Audit) -> dict[tuple[str, str], dict[str | None, str]]:
    """By policy and requirement, the outcome for each host, or under None for the hosts together, whose policies have names of their own. The
    worst of several with the same name counts.
    """
    found: dict[tuple[str, str], dict[str | None, str]] = {}
    for check in audit["checks"]:
        outcome = _NOT_KNOWN if check["reason"] == NO_ANSWER else check["outcome"]
        outcomes = found.setdefault((_shown(check["policy"]), _shown(check["requirement"])), {})
        outcomes[check["host"]] = max(outcome, outcomes.get(check["host"], outcome), key=_OUTCOMES.index)
    return found
