# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as metrics of Prometheus."""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import TIME_FORMAT
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit, violations_in

_PER_HOST: tuple[tuple[str, str, Callable[[dict[str, Any]], float | None]], ...] = (
    ("host_ok", "Whether the host answered with a model list.", lambda host: host["ok"]),
    ("models_listed", "Models that the host lists.", lambda host: host["counts"]["models"]),
    ("models_loaded", "Models that are loaded on the host.", lambda host: host["counts"]["loaded"]),
    ("instances", "Loaded instances.", lambda host: host["counts"]["instances"]),
    ("listed_bytes", "Size of all models that the host lists.", lambda host: host["size_bytes"]["available"]),
    ("loaded_bytes", "Size of the models that are loaded on the host.", lambda host: host["size_bytes"]["loaded"]),
)


def as_prometheus(audit: Audit) -> str:
    """For the textfile collector of node_exporter."""
    hosts, summary, run = audit["hosts"], audit["summary"], audit["run"]
    lines: list[str] = []

    def family(name: str, help_text: str, samples: Iterable[tuple[dict[str, str], Any]]) -> None:
        # Different names may look the same once they are printable, and a sample that occurs twice makes the whole file invalid.
        shown = {_labelled(f"lmstudio_{name}", labels): int(value) for labels, value in samples if value is not None}
        if shown:
            lines.extend([f"# HELP lmstudio_{name} {help_text}", f"# TYPE lmstudio_{name} gauge"])
            lines.extend(f"{sample} {value}" for sample, value in shown.items())

    for name, help_text, value_of in _PER_HOST:
        family(name, help_text, [({"host": host["name"]}, value_of(host)) for host in hosts])
    family("host_status", "The status of the host.", [({"host": host["name"], "status": host["status"]}, 1) for host in hosts])
    contexts = {
        (host["name"], model["key"], instance["id"]): instance["context_length"]
        for host in hosts
        for model in host["models"]
        for instance in model["instances"]
    }
    family(
        "instance_context_length",
        "Context of a loaded instance, in tokens.",
        [(dict(zip(("host", "model", "instance"), names)), value) for names, value in contexts.items()],
    )
    family("violations", "Violations of the policy.", [({"severity": name}, number) for name, number in summary["violations"].items()])
    of_host = Counter(violation["host"] for violation in violations_in(audit))
    family("host_violations", "Violations of the policy on the host.", [({"host": host["name"]}, of_host[host["name"]]) for host in hosts])
    family("drift_changes", "Changes since the baseline.", [({}, summary["drift"])])
    # What differs between any two runs comes last.
    durations = [({"host": name}, times["response_ms"]) for name, times in run["hosts"].items()]
    family("response_milliseconds", "Time until the host answered.", durations)
    audited_at = calendar.timegm(time.strptime(run["audited_at"], TIME_FORMAT))
    family("audit_timestamp_seconds", "When the fleet was audited.", [({}, audited_at)])
    return "\n".join(lines) + "\n"


def _labelled(name: str, labels: Mapping[str, str]) -> str:
    def escaped(text: str) -> str:
        return printable(text, 1000).replace("\\", "\\\\").replace('"', '\\"')

    shown = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}}" if shown else name
