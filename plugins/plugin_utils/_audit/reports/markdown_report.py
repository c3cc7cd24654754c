# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as Markdown, for a pull request or the summary of a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....module_utils._text import printable
from .. import sentences
from ..document import Audit, drift_of, unanswered_first
from ..findings import FINDING_KINDS, cause_lines

_MAX_ROWS = 200


def as_markdown(audit: Audit) -> str:
    """The report. Pull requests and job summaries limit its size, so long lists are cut, and the report says so."""
    summary = audit["summary"]
    lines = ["# LM Studio fleet", "", sentences.headline(audit), ""]
    for kind, findings in sentences.findings_of(audit).items():
        lines += [f"## {FINDING_KINDS[kind].title}", ""]
        for finding in findings[:_MAX_ROWS]:
            lines += [f"- {_code(finding['message'])}", *(f"  - {_code(line)}" for line in cause_lines(finding))]
        lines += ["", *_left_out(findings, FINDING_KINDS[kind].one, FINDING_KINDS[kind].many)]
    if audit["carried_over"]:
        names = _names([host["name"] for host in audit["carried_over"]], _MAX_ROWS)
        lines += ["## Hosts of the baseline that are not in this run", "", names, ""]
    not_compared = [entry["message"] for entry in drift_of(audit)["not_compared"]]
    if not_compared:
        lines += ["## Not compared with the baseline", "", *(f"- {_code(message)}" for message in not_compared[:_MAX_ROWS]), ""]
        lines += _left_out(not_compared, "host", "hosts")
    lines += ["## What was checked", ""]
    checked = [
        (_code(row["policy"]), _code(row["requirement"]), _code(row["asked"]), row["outcome"]) for row in sentences.what_was_checked(audit)
    ]
    lines += _table(("policy", "requirement", "what is asked", "outcome"), checked, "Nothing: there is no policy for these hosts.")
    shown = ("hosts_loaded", "hosts_listing", "instances", "contexts", "slots", "size")
    models = [
        (_code(model["key"]), *(model[name] for name in shown), _names(model["served_by"])) for model in sentences.models_by_use(audit)
    ]
    titles = ("model", "served by", "listed by", "instances", "contexts", "slots", "size", "hosts that serve it")
    lines += ["## Models", "", *_table(titles, models, sentences.without_models(audit)), "## Hosts", ""]
    numbers = [sentences.figure(summary["models"][name]) for name in ("distinct", "distinct_loaded", "instances")]
    sizes = [sentences.size(summary["size_bytes"][name]) for name in ("available", "loaded")]
    of_sums = ("hosts", "models listed", "models loaded", "instances", "listed size", "loaded size")
    lines += _table(of_sums, [(summary["hosts"]["total"], *numbers, *sizes)])
    rows = [
        (_code(host["name"]), _code(host["status"]), sentences.number_listed(host), sentences.loaded_size(host),
         _names(sentences.loaded_models(host), 20))
        for host in unanswered_first(audit)
    ]  # fmt: skip
    lines += _table(("host", "status", "listed", "loaded size", "models (context)"), rows)
    version = f" {audit['collection_version']}" if audit["collection_version"] else ""
    limit = f", limited to {_code(audit['limit'])}" if audit["limit"] else ""
    lines += [*(f"{_code(note)}\n" for note in audit["notes"]), f"Audited by {audit['generator']}{version}{limit}."]
    return "\n".join([*lines, f"At {audit['run']['audited_at']}."]) + "\n"


def _names(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " ".join(map(_code, names[:most])) + more


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]], without: str = "") -> list[str]:
    if not rows:
        return [without, ""]
    lines = ["| {} |".format(" | ".join(titles)), "|{}".format(" --- |" * len(titles))]
    lines += ["| {} |".format(" | ".join(str(cell) for cell in row)) for row in rows[:_MAX_ROWS]]
    return [*lines, "", *_left_out(rows)]


def _left_out(found: Sequence[Any], one: str = "", many: str = "") -> list[str]:
    said = sentences.left_out(found, _MAX_ROWS, one, many)
    return [said, ""] if said else []


def _code(text: str) -> str:
    """As code, where nothing is a link, a mention or HTML. No way to write | inside code works in every renderer of tables."""
    shown = printable(text, 500).replace("`", "'").replace("|", "\u00a6")
    return f"`{shown}`"
