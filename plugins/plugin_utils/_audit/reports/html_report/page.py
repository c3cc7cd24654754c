# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The HTML report of an audit: one file that needs nothing else, and runs no code but its own.

Text is escaped by Jinja2. What the script shows comes from a JSON block and is only ever set as text, and a content security
policy with the hash of the script lets no other one run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import format_size, printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit, violations_in
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.findings import (
    DRIFT,
    FLEET,
    REQUIREMENT,
    UNANSWERED,
    WARNING,
    cause_lines,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.text import (
    TITLES,
    called,
    findings_of,
    headline,
    met,
    problems,
    size,
    what_was_checked,
)

_FOLDER = Path(__file__).parent
_MAX_ROWS = 500
_MAX_BARS = 20
_MAX_NAMES = 100
_BADGES = {FLEET: "not met", UNANSWERED: "no answer", REQUIREMENT: "not met", DRIFT: "changed", WARNING: "warning"}
_NAME = 300


def as_html(audit: Audit) -> str:
    """The report. It is as long as the fleet is large, but its lists of what is wrong are cut at 500, and say so."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shown"] = lambda value: printable(str(value), 1000)
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    not_ok = [host for host in audit["hosts"] if not host["ok"]]
    drift = audit["drift"] or {"changes": [], "not_compared": []}
    return environment.from_string((_FOLDER / "report.html.j2").read_text(encoding="utf-8")).render(
        audit=audit,
        headline=headline(audit),
        passed=not any(problems(audit).values()),
        loaded=size(audit["summary"]["size_bytes"]["loaded"]),
        listed=size(audit["summary"]["size_bytes"]["available"]),
        not_met=sum(audit["summary"]["findings"][kind] for kind in (FLEET, REQUIREMENT)),
        findings=_findings(audit),
        checked=[{**row, "outcome": met(row)} for row in what_was_checked(audit)],
        changes=drift["changes"][:_MAX_ROWS],
        more_changes=max(0, len(drift["changes"]) - _MAX_ROWS),
        not_compared=drift["not_compared"][:_MAX_ROWS],
        more_not_compared=max(0, len(drift["not_compared"]) - _MAX_ROWS),
        not_ok=not_ok[:_MAX_ROWS],
        more_not_ok=max(0, len(not_ok) - _MAX_ROWS),
        charts=_charts(audit),
        data=_data(audit),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _findings(audit: Audit) -> list[dict[str, Any]]:
    """Each kind that there is, with its title and its findings."""
    return [
        {
            "title": TITLES[kind][0],
            "badge": "warn" if kind == WARNING else "bad",
            "word": _BADGES[kind],
            "findings": [
                {"message": finding["message"], "causes": [line for line in cause_lines(finding, _MAX_NAMES) if line != finding["message"]]}
                for finding in findings[:_MAX_ROWS]
            ],
            "more": called(kind, len(findings) - _MAX_ROWS, "more ") if len(findings) > _MAX_ROWS else "",
        }
        for kind, findings in findings_of(audit).items()
    ]


def _data(audit: Audit) -> str:
    """What the matrix shows, in a form that is small at a hundred thousand cells. No character can end the block that contains it."""
    keys = [model["key"] for model in audit["models"]]
    column = {key: number for number, key in enumerate(keys)}
    wrong = Counter(violation["host"] for violation in violations_in(audit))
    changed = Counter(change["host"] for change in (audit["drift"] or {"changes": []})["changes"])
    text = json.dumps(
        {
            "models": [[printable(model["key"], _NAME), model["hosts_loaded"], model["hosts_listing"]] for model in audit["models"]],
            "hosts": [
                {
                    "name": printable(host["name"], _NAME),
                    "status": printable(host["status"]),
                    "why": printable(host["error"]["message"], 1000) if host["error"] else "",
                    "wrong": wrong[host["name"]],
                    "changed": changed[host["name"]],
                    "bytes": host["size_bytes"]["loaded"],
                    "size": size(host["size_bytes"]["loaded"]) if host["ok"] else "-",
                    "has": _cells(host, column),
                }
                for host in audit["hosts"]
            ],
        },
        separators=(",", ":"),
    )
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _cells(host: Mapping[str, Any], column: Mapping[str, int]) -> list[list[Any]]:
    """`[column, contexts of the instances, or null if it is not loaded, details, how often it is listed]` for each key that a host lists."""
    cells: dict[int, list[Any]] = {}
    for model in host["models"]:
        cell = cells.setdefault(column[model["key"]], [column[model["key"]], None, "", 1])
        if model["state"] == "loaded":
            cell[1] = (cell[1] or []) + [instance["context_length"] for instance in model["instances"]]
        details = ", ".join(printable(str(model[name])) for name in ("quantization", "selected_variant") if model[name] is not None)
        others = [printable(name) for name in model["variants"] or [] if name != model["selected_variant"]]
        details += f"{', ' if details else ''}also on disk: {', '.join(others)}" if others else ""
        cell[2] = "; ".join(part for part in (cell[2], details) if part)
        cell[3] = max(cell[3], model["times_listed"] or 1)
    return list(cells.values())


def _charts(audit: Audit) -> list[dict[str, Any]]:
    """Bars: a title, and for each a label, a number, the number for people, and its length in percent."""
    by_size = sorted((host for host in audit["hosts"] if host["size_bytes"]["loaded"]), key=lambda host: -host["size_bytes"]["loaded"])
    quantizations = Counter(
        printable(str(model["quantization"] or "not known"))
        for host in audit["hosts"]
        for model in host["models"]
        for _instance in model["instances"]
    )
    most_used = sorted(quantizations.items(), key=lambda item: (-item[1], item[0]))
    charts = [
        ("Hosts by status", [(status, number, str(number)) for status, number in audit["summary"]["hosts"]["by_status"].items()]),
        (
            "Loaded size per host",
            [(printable(host["name"], 40), host["size_bytes"]["loaded"], format_size(host["size_bytes"]["loaded"])) for host in by_size],
        ),
        ("Quantization of loaded instances", [(name, number, str(number)) for name, number in most_used]),
    ]
    return [_chart(title, bars) for title, bars in charts]


def _chart(title: str, bars: list[tuple[str, int, str]]) -> dict[str, Any]:
    longest = max([number for _label, number, _shown in bars] + [1])
    return {
        "title": title,
        "bars": [
            {"label": label, "shown": shown, "width": round(100 * number / longest, 1), "status": label}
            for label, number, shown in bars[:_MAX_BARS]
        ],
        "more": max(0, len(bars) - _MAX_BARS),
    }
