# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""A summary of the records of many hosts: figures, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils._grouping import grouped
from ...module_utils._lmstudio.known import total
from ...module_utils._lmstudio.reader import RESERVED_KEYS
from ...module_utils._lmstudio.record_type import Counts, Record, Sizes
from ...module_utils._text import count, format_names, printable


def summary_of(records: Mapping[str, Record]) -> dict[str, Any]:
    """Figures over the records of hosts, by name. Names keep their order, models are sorted."""
    by_status = grouped((record["status"], name) for name, record in records.items())
    by_api = grouped((record["api"], name) for name, record in records.items() if record["api"])
    # As keys these would break Ansible's own serialisation.
    serving = grouped(
        (model, name) for name, record in records.items() for model in record["loaded"] if not model.startswith(RESERVED_KEYS)
    )
    return {
        "total": len(records),
        "ok": len(by_status.get("ok", [])),
        "by_status": dict(sorted(by_status.items())),
        "by_api": dict(sorted(by_api.items())),
        "serving": dict(sorted(serving.items())),
        "not_ok": [name for name, record in records.items() if not record["ok"]],
        "counts": _sums([record["counts"] for record in records.values()], Counts),
        "size_bytes": _sums([record["size_bytes"] for record in records.values()], Sizes),
    }


def _sums(parts: Sequence[Any], kind: type) -> dict[str, int | None]:
    return {name: total(part[name] for part in parts) for name in kind.__annotations__}


def failure_lines(records: Mapping[str, Record]) -> list[str]:
    """Sentences about the hosts that did not return a model list: each by name, then what to do next. None when all are ok."""
    unanswered = {name: record["error"] for name, record in records.items() if record["error"]}
    statuses = grouped((error["hint"], records[name]["status"]) for name, error in unanswered.items())
    lines = [f"{name}: {error['message']}" for name, error in unanswered.items()]
    lines += [f"({', '.join(dict.fromkeys(of_hint))}) {hint}" for hint, of_hint in statuses.items()]
    return [_how_many_did_not(records), *lines] if unanswered else []


def failure_warning(records: Mapping[str, Record]) -> str:
    """What went wrong, as one line for each next step, with a host to which it happened. Empty when all are ok."""
    lines = []
    for (status, hint), names in next_steps(records).items():
        error = records[names[0]]["error"]
        all_of_them = "" if len(names) == 1 else f"{len(names)} {status}: {format_names(names)}. "
        lines.append(f"{all_of_them}{printable(names[0])}: {error['message'] if error else ''} {hint}".rstrip())
    return "\n".join([_how_many_did_not(records), *lines]) if lines else ""


def next_steps(records: Mapping[str, Record]) -> dict[tuple[str, str], list[str]]:
    """The hosts that did not return a model list, by their status and next step, the step that helps most hosts first."""
    steps = grouped(((record["status"], record["error"]["hint"]), name) for name, record in records.items() if record["error"])
    return dict(sorted(steps.items(), key=lambda item: -len(item[1])))


def _how_many_did_not(records: Mapping[str, Record]) -> str:
    unanswered = sum(bool(record["error"]) for record in records.values())
    return f"{unanswered} of {count(len(records), 'host')} did not return a model list."
