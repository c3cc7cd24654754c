# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What the records of many hosts come to: figures, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import is_reserved
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import Record


def summary_of(records: Mapping[str, Record]) -> dict[str, Any]:
    """Figures over the records of hosts, by name. Names keep their order, models are sorted."""
    by_status: dict[str, list[str]] = {}
    serving: dict[str, list[str]] = {}
    for name, record in records.items():
        by_status.setdefault(record["status"], []).append(name)
        for model in record["loaded"]:
            # As a key it would break Ansible's own serialisation.
            if not is_reserved(model):
                serving.setdefault(model, []).append(name)
    return {
        "total": len(records),
        "ok": len(by_status.get("ok", [])),
        "by_status": dict(sorted(by_status.items())),
        "serving": dict(sorted(serving.items())),
        "not_ok": [name for name, record in records.items() if not record["ok"]],
        "counts": _sums(records, "counts", ("models", "llm", "embedding", "loaded", "instances")),
        "size_bytes": _sums(records, "size_bytes", ("available", "loaded")),
    }


def _sums(records: Mapping[str, Record], what: str, names: tuple[str, ...]) -> dict[str, int]:
    return {name: sum(record[what][name] for record in records.values()) for name in names}


def complaint(records: Mapping[str, Record], at_most: int | None = None) -> list[str]:
    """Sentences about the hosts that gave no model list: each by name, then what to do next. None when all are ok.

    `at_most` bounds how many hosts are named.
    """
    not_ok = {name: record for name, record in records.items() if not record["ok"]}
    if not not_ok:
        return []
    named = list(not_ok.items())[:at_most]
    lines = [f"{len(not_ok)} of {len(records)} hosts gave no model list."]
    lines += [f"{name}: {record['error']['message']}" for name, record in named]
    if len(named) < len(not_ok):
        lines.append(f"And {len(not_ok) - len(named)} more.")
    hints = {record["error"]["hint"]: record["status"] for _name, record in named}
    return lines + [f"({status}) {hint}" for hint, status in hints.items()]
