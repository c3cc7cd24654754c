# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The figures of the last runs: how many hosts answered, what was wrong, what was loaded, and how many met each requirement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .document import Audit, changes_by_host
from .sentences import what_was_checked

FILE = "fleet_audit.history.json"
MAX_RUNS = 10_000

Run = dict[str, Any]


def read_history(text: str) -> list[Run]:
    """The runs of a history, the oldest first. Raises ``ValueError``, ``LookupError`` or ``TypeError`` for anything else."""
    runs = json.loads(text)["runs"]
    if not isinstance(runs, list) or not all(isinstance(row, Mapping) for run in runs for row in run["requirements"]):
        raise ValueError("runs is not a list of runs")
    return runs


def all_runs(audit: Audit) -> list[Run]:
    """The earlier runs, and the run that a document is about. There are none where no history is kept."""
    return [] if audit["run"]["history"] is None else [*audit["run"]["history"], _figures(audit)]


def history_with(audit: Audit) -> str:
    """The text of the history file, with the run of a document added."""
    return json.dumps({"runs": all_runs(audit)}, indent=1) + "\n"


def _figures(audit: Audit) -> Run:
    summary = audit["summary"]
    return {
        "audited_at": audit["run"]["audited_at"],
        "limit": audit["limit"],
        "hosts": summary["hosts"]["total"],
        "hosts_ok": summary["hosts"]["ok"],
        "violations": summary["violations"]["fail"] if audit["checks"] else None,
        "warnings": summary["violations"]["warn"] if audit["checks"] else None,
        "drift": summary["drift"] if changes_by_host(audit) else None,
        "instances": summary["models"]["instances"],
        "loaded_bytes": summary["size_bytes"]["loaded"],
        "requirements": [{key: row[key] for key in ("policy", "requirement", "met", "of")} for row in what_was_checked(audit)],
    }
