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
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ....module_utils._lmstudio.known import is_older
from ....module_utils._lmstudio.poll import TIME_FORMAT
from ....module_utils._text import printable
from ..document import Audit, drift_of, hosts_compared, violations_by_host
from ..policy import NO_ANSWER

_LABEL_LENGTH = 1000
_PASSED, _WARNED, _FAILED, _NOT_KNOWN = _OUTCOMES = ("passed", "warned", "failed", "not known")
"""How a check ended, the worst last. It is not known for a host without an answer."""

Samples = Iterable["tuple[tuple[str, ...], float | None]"]
"""The values of the labels, and the number, which is None where it is not known."""


class Metric(NamedTuple):
    """All of them are gauges."""

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    samples: Callable[[Audit], Samples]


def as_prometheus(audit: Audit) -> str:
    lines: list[str] = []
    for metric in METRICS:
        shown: dict[str, float] = {}
        for values, number in metric.samples(audit):
            if number is not None:
                # Different names may look the same once they are printable, and a sample that occurs twice makes the whole file invalid.
                sample = _labelled(metric, values)
                shown[sample] = min(number, shown.get(sample, number))
        if shown:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
            lines += [f"{sample} {int(number) if number == int(number) else number}" for sample, number in shown.items()]
    return "\n".join(lines) + "\n"


def _labelled(metric: Metric, values: tuple[str, ...]) -> str:
    labels = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(metric.labels, values))
    return f"{metric.name}{{{labels}}}" if labels else metric.name


def _escaped(text: str) -> str:
    return _shown(text).replace("\\", "\\\\").replace('"', '\\"')


def _shown(text: str) -> str:
    return printable(text, _LABEL_LENGTH)


def _contexts(audit: Audit) -> Samples:
    for host in audit["hosts"]:
        for model in host["models"]:
            for instance in model["instances"]:
                yield (host["name"], model["key"], instance["id"]), instance["context_length"]


def _host_violations(audit: Audit) -> Samples:
    of_host = violations_by_host(audit)
    return [((host["name"],), of_host[host["name"]]) for host in audit["hosts"] if host["ok"] and audit["checks"]]


def _drift_changes(audit: Audit) -> Samples:
    of_host = Counter(change["host"] for change in drift_of(audit)["changes"])
    return [((name,), of_host[name]) for name in hosts_compared(audit)]


def _outcomes(audit: Audit, of_fleet: bool) -> dict[tuple[str, str], dict[str | None, str]]:
    """The outcome for each host, or for the hosts together, by policy and requirement. The worst of several with the same name counts."""
    found: dict[tuple[str, str], dict[str | None, str]] = {}
    for check in audit["checks"]:
        host = check["host"]
        if (host is None) is of_fleet:
            outcomes = found.setdefault((_shown(check["policy"]), _shown(check["requirement"])), {})
            outcome = _NOT_KNOWN if check["reason"] == NO_ANSWER else check["outcome"]
            outcomes[host] = max(outcome, outcomes.get(host, outcome), key=_OUTCOMES.index)
    return found


def _requirement_met(audit: Audit) -> Samples:
    for (policy, requirement), outcomes in _outcomes(audit, of_fleet=False).items():
        for host, outcome in outcomes.items():
            yield (str(host), policy, requirement), None if outcome == _NOT_KNOWN else outcome == _PASSED


def _response_seconds(audit: Audit) -> Samples:
    for name, times in audit["run"]["hosts"].items():
        yield (name,), None if times["response_ms"] is None else times["response_ms"] / 1000


def _audited_at(audit: Audit) -> float:
    return calendar.timegm(time.strptime(audit["run"]["audited_at"], TIME_FORMAT))


def _fleet_gauge(name: str, unit: str, text: str, value_of: Callable[[Audit], float | None]) -> Metric:
    return Metric(name, (), unit, text, lambda audit: [((), value_of(audit))])


def _host_gauge(name: str, unit: str, text: str, value_of: Callable[[dict[str, Any]], float | None]) -> Metric:
    return Metric(name, ("host",), unit, text, lambda audit: [((host["name"],), value_of(host)) for host in audit["hosts"]])


def _rule_gauge(name: str, text: str, *counted: str, of_fleet: bool = False) -> Metric:
    """For each requirement, how many hosts have one of these outcomes. For each rule of the fleet, whether the hosts together have it."""

    def samples(audit: Audit) -> Samples:
        for names, outcomes in _outcomes(audit, of_fleet).items():
            yield names, sum(outcome in counted for outcome in outcomes.values())

    return Metric(name, _RULE, "0 or 1" if of_fleet else "hosts", text, samples)


_RULE = ("policy", "requirement")

METRICS = (
    _fleet_gauge("lmstudio_hosts_expected", "hosts", "Hosts that should answer.", lambda audit: audit["summary"]["hosts"]["total"]),
    _fleet_gauge("lmstudio_hosts_answered", "hosts", "Hosts that answered.", lambda audit: audit["summary"]["hosts"]["ok"]),
    _host_gauge("lmstudio_host_ok", "0 or 1", "Whether the host answered with a model list.", lambda host: host["ok"]),
    Metric(
        "lmstudio_host_status",
        ("host", "status"),
        "1",
        "The status of the host.",
        lambda audit: [((host["name"], host["status"]), 1) for host in audit["hosts"]],
    ),
    _host_gauge(
        "lmstudio_host_older_api",
        "0 or 1",
        "Whether the host answered over the older API, which does not report everything.",
        lambda host: is_older(host) if host["api"] else None,
    ),
    _host_gauge("lmstudio_models_listed", "models", "Models that the host lists.", lambda host: host["counts"]["models"]),
    _host_gauge("lmstudio_models_loaded", "models", "Models that are loaded on the host.", lambda host: host["counts"]["loaded"]),
    _host_gauge("lmstudio_instances", "instances", "Loaded instances.", lambda host: host["counts"]["instances"]),
    _host_gauge("lmstudio_listed_bytes", "bytes", "Size of all models that the host lists.", lambda host: host["size_bytes"]["available"]),
    _host_gauge(
        "lmstudio_loaded_bytes", "bytes", "Size of the models that are loaded on the host.", lambda host: host["size_bytes"]["loaded"]
    ),
    Metric("lmstudio_instance_context_length", ("host", "model", "model_instance"), "tokens", "Context of a loaded instance.", _contexts),
    Metric(
        "lmstudio_violations",
        ("severity",),
        "violations",
        "Violations of the policy, hosts without an answer included.",
        lambda audit: [((severity,), number) for severity, number in audit["summary"]["violations"].items() if audit["checks"]],
    ),
    Metric("lmstudio_host_violations", ("host",), "violations", "Violations of the policy on a host that answered.", _host_violations),
    Metric("lmstudio_requirement_met", ("host", *_RULE), "0 or 1", "Whether a host that answered meets the requirement.", _requirement_met),
    _rule_gauge("lmstudio_requirement_hosts", "Hosts that the requirement is about.", *_OUTCOMES),
    _rule_gauge("lmstudio_requirement_hosts_met", "Hosts that meet the requirement.", _PASSED),
    _rule_gauge(
        "lmstudio_requirement_hosts_failed", "Hosts that answered and do not meet the requirement, unless its severity is warn.", _FAILED
    ),
    _rule_gauge("lmstudio_fleet_rule_met", "Whether the hosts together meet the rule.", _PASSED, of_fleet=True),
    _rule_gauge(
        "lmstudio_fleet_rule_failed",
        "Whether the hosts together do not meet the rule, unless its severity is warn.",
        _FAILED,
        of_fleet=True,
    ),
    Metric(
        "lmstudio_drift_changes", ("host",), "changes", "Changes since the baseline on a host that was compared with it.", _drift_changes
    ),
    _fleet_gauge(
        "lmstudio_drift_hosts_not_compared",
        "hosts",
        "Hosts that could not be compared with the baseline.",
        lambda audit: audit["summary"]["not_compared"],
    ),
    # What differs between any two runs comes last.
    Metric("lmstudio_response_seconds", ("host",), "seconds", "Time until the host answered.", _response_seconds),
    _fleet_gauge("lmstudio_audit_timestamp_seconds", "seconds since 1970", "When the fleet was audited.", _audited_at),
)
