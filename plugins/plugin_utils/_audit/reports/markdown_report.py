# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as Markdown, for a pull request or the summary of a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import format_size, printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.text import headline, loaded_models, problems, warnings

_MAX_ROWS = 200


def as_markdown(audit: Audit) -> str:
    """For a pull request or the summary of a job, both of which limit the size: long lists are cut, and the report says so."""
    summary = audit["summary"]
    lines = ["# LM Studio fleet", "", headline(audit), ""]
    lines += _markdown_table(
        ("hosts", "models listed", "models loaded", "instances", "listed size", "loaded size"),
        [
            (
                summary["hosts"]["total"], summary["models"]["distinct"], summary["models"]["distinct_loaded"],
                summary["models"]["instances"], format_size(summary["size_bytes"]["available"]), format_size(summary["size_bytes"]["loaded"]),
            )
        ],
    )  # fmt: skip
    found = problems(audit)
    for title, messages in (
        ("Violations", found["violations"]),
        ("Hosts without a model list", found["not_ok"]),
        ("Changes since the baseline", found["drift"]),
        ("Warnings", warnings(audit)),
        ("Not compared with the baseline", [entry["message"] for entry in (audit["drift"] or {"not_compared": []})["not_compared"]]),
    ):
        if messages:
            lines += [f"## {title}", "", *(f"- {_code(message)}" for message in messages[:_MAX_ROWS]), ""]
            lines += [f"{len(messages) - _MAX_ROWS} more are in the JSON report.", ""] if len(messages) > _MAX_ROWS else []
    lines += ["## Hosts", ""]
    rows = [
        (_code(host["name"]), _code(host["status"]), len({model["key"] for model in host["models"]}), format_size(host["size_bytes"]["loaded"]),
         " ".join(_code(shown) for shown in loaded_models(host)[:20]))
        for host in audit["hosts"]
    ]  # fmt: skip
    lines += _markdown_table(("host", "status", "listed", "loaded size", "models (context)"), rows)
    lines += [*(f"{_code(note)}\n" for note in audit["notes"]), f"Audited by {audit['generator']}.", f"At {audit['run']['audited_at']}."]
    return "\n".join(lines) + "\n"


def _markdown_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| {} |".format(" | ".join(titles)), "|{}".format(" --- |" * len(titles))]
    lines += ["| {} |".format(" | ".join(str(cell) for cell in row)) for row in rows[:_MAX_ROWS]]
    more = [f"{len(rows) - _MAX_ROWS} more are in the JSON report.", ""] if len(rows) > _MAX_ROWS else []
    return [*lines, "", *more]


def _code(text: str) -> str:
    """As code, where nothing is a link, a mention or HTML. No way to write | in code is right in every renderer of tables."""
    shown = printable(text, 500).replace("`", "'").replace("|", "\u00a6")
    return f"`{shown}`"
