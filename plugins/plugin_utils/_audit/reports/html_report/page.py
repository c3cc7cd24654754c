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
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._grouping import grouped
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.coerce import believable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import count, format_names
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import format_size, printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit import sentences
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit, drift_of, silent_first, violations_by_host
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.findings import KINDS, WARNING, cause_lines
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.history import Run, figures
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import ALL_HOSTS

_FOLDER = Path(__file__).parent
_BREAKS = re.compile(r"(?<=[\w.][/_-])")
"""Where the name of a model may be wrapped."""
_SILENT_NAMES = 20
_PLAIN_MODELS = 3
_PRINTED = 200
"""Hosts on paper."""
_MAX_ROWS = 500
_MAX_BARS = 20
_MAX_NAMES = 100
_NAME = 300


def as_html(audit: Audit) -> str:
    """The report. It grows with the fleet, but its lists of what is wrong are cut at 500, and say so."""
    runs = None if audit["run"]["history"] is None else [*audit["run"]["history"], figures(audit)]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=_shown, parts=_parts)
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    models = sentences.models_by_use(audit)
    drift = drift_of(audit)
    return environment.from_string((_FOLDER / "report.html.j2").read_text(encoding="utf-8")).render(
        audit=audit,
        headline=sentences.headline(audit),
        passed=not any(sentences.problems(audit).values()),
        loaded=sentences.size(audit["summary"]["size_bytes"]["loaded"]),
        listed=sentences.size(audit["summary"]["size_bytes"]["available"]),
        findings=_findings(audit),
        checked=sentences.what_was_checked(audit),
        carried_over=format_names([host["name"] for host in audit["carried_over"]], _MAX_NAMES),
        changes=drift["changes"][:_MAX_ROWS],
        more_changes=max(0, len(drift["changes"]) - _MAX_ROWS),
        not_compared=drift["not_compared"][:_MAX_ROWS],
        more_not_compared=max(0, len(drift["not_compared"]) - _MAX_ROWS),
        silent=_silent(audit)[:_MAX_ROWS],
        models=[{**model, "served": _fragment(model, state="loaded"), "listed": _fragment(model)} for model in models[:_MAX_ROWS]],
        more_models=max(0, len(models) - _MAX_ROWS),
        runs=runs and len(runs),
        history=_history([run for run in runs if run.get("limit") == audit["limit"]]) if runs else [],
        plain=_plain(audit),
        printed=_PRINTED,
        charts=_charts(audit),
        data=_data(audit),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _shown(value: Any) -> str:
    return printable(str(value), 1000)


def _parts(value: Any) -> list[str]:
    """Text in parts between which it may be wrapped."""
    return _BREAKS.split(_shown(value))


def _fragment(model: Mapping[str, Any], **more: str) -> str:
    """A fragment of the URL, which sets the filters of the matrix."""
    return urlencode({"model": f"={printable(model['key'], _NAME)}", **more})


def _silent(audit: Audit) -> list[dict[str, Any]]:
    """The hosts without a model list, grouped by what to do."""
    found = grouped(((host["status"], host["error"]["hint"]), host) for host in audit["hosts"] if not host["ok"])
    return [
        {
            "hosts": format_names([host["name"] for host in hosts], _SILENT_NAMES),
            "status": status,
            "fragment": urlencode({"status": status}),
            "happened": hosts[0]["error"]["message"],
            "more": count(len(hosts) - 1, "other host") if len(hosts) > 1 else "",
            "hint": hint,
        }
        for (status, hint), hosts in found.items()
    ]


def _plain(audit: Audit) -> list[dict[str, str]]:
    """The hosts for paper and for readers without a script, those without an answer first."""
    rows = []
    for host in silent_first(audit):
        loaded = sentences.loaded_models(host)
        more = f" and {len(loaded) - _PLAIN_MODELS} more" if len(loaded) > _PLAIN_MODELS else ""
        shown = ", ".join(loaded[:_PLAIN_MODELS]) + more or "nothing"
        rows.append(
            {
                "name": host["name"],
                "status": host["status"],
                "loaded": shown if host["ok"] else host["error"]["message"],
                "size": sentences.loaded_size(host),
            }
        )
    return rows


def _history(runs: list[Run]) -> list[dict[str, str]]:
    """A line for each figure: its title, its points, and its first and current values."""
    of_hosts: list[tuple[str, Callable[[Run], Any]]] = [
        ("Hosts that answer", lambda run: run["hosts_ok"]),
        ("Violations", lambda run: run["violations"]),
        ("Changes since the baseline", lambda run: run["drift"]),
        ("Loaded bytes", lambda run: run["loaded_bytes"]),
    ]
    for row in runs[-1]["requirements"]:
        if row["of"] is not None:
            name = f"Hosts that meet {row['requirement']}" + ("" if row["policy"] == ALL_HOSTS else f" ({row['policy']})")
            of_hosts.append((name, functools.partial(_hosts_that_met, row["policy"], row["requirement"])))
    return [line for title, of_run in of_hosts[:_MAX_BARS] if (line := _line(title, [_number(of_run, run) for run in runs]))]


def _hosts_that_met(policy: str, requirement: str, run: Run) -> Any:
    return next((row["met"] for row in run["requirements"] if (row["policy"], row["requirement"]) == (policy, requirement)), None)


def _number(of_run: Callable[[Run], Any], run: Run) -> float | None:
    """A figure of a run, unless it has none. Anybody may have changed the file."""
    try:
        return believable(of_run(run))
    except (LookupError, TypeError):
        return None


def _line(title: str, values: list[float | None]) -> dict[str, str] | None:
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2 or values[-1] is None:
        return None
    most, last = max(value for _place, value in known) or 1, len(values) - 1
    points = " ".join(f"{300 * place / last:.1f},{38 - 36 * value / most:.1f}" for place, value in known)
    shown = [format_size(int(value)) if title == "Loaded bytes" else f"{value:.0f}" for _place, value in known]
    return {"title": title, "points": points, "now": shown[-1], "said": f"{shown[0]} at first, {shown[-1]} now"}


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _findings(audit: Audit) -> list[dict[str, Any]]:
    """Each kind that has findings, with its title."""
    return [
        {
            "title": KINDS[kind].title,
            "badge": "warn" if kind == WARNING else "bad",
            "word": KINDS[kind].badge,
            "findings": [{"message": finding["message"], "causes": cause_lines(finding, _MAX_NAMES)} for finding in findings[:_MAX_ROWS]],
            "more": KINDS[kind].counted(len(findings) - _MAX_ROWS, "more ") if len(findings) > _MAX_ROWS else "",
        }
        for kind, findings in sentences.findings_of(audit).items()
    ]


def _data(audit: Audit) -> str:
    """What the matrix shows, in a form that stays small with a hundred thousand cells. No character can end the block that contains it."""
    models = sentences.models_by_use(audit)
    column = {model["key"]: number for number, model in enumerate(models)}
    wrong = violations_by_host(audit)
    changed = Counter(change["host"] for change in drift_of(audit)["changes"])
    texts: dict[str, int] = {}
    text = json.dumps(
        {
            "models": [[printable(model["key"], _NAME), model["hosts_loaded"], model["hosts_listing"]] for model in models],
            "hosts": [
                {
                    "name": printable(host["name"], _NAME),
                    "status": printable(host["status"]),
                    "why": printable(host["error"]["message"], 1000) if host["error"] else "",
                    "wrong": wrong[host["name"]],
                    "changed": changed[host["name"]],
                    "bytes": host["size_bytes"]["loaded"],
                    "size": sentences.loaded_size(host),
                    "has": _cells(host, column, texts),
                }
                for host in audit["hosts"]
            ],
            "texts": list(texts),
        },
        separators=(",", ":"),
    )
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _cells(host: Mapping[str, Any], column: Mapping[str, int], texts: dict[str, int]) -> list[list[Any]]:
    """`[column, contexts of the instances, or null if it is not loaded, number of its details, how often it is listed]` for each key that a
    host lists. `texts` numbers the details, which most hosts share. The last number is left out if it is 1."""
    cells: dict[int, list[Any]] = {}
    details_of: dict[int, list[str]] = {}
    for model in host["models"]:
        number = column[model["key"]]
        cell = cells.setdefault(number, [number, None, 0, 1])
        if model["state"] == "loaded":
            cell[1] = (cell[1] or []) + [instance["context_length"] for instance in model["instances"]]
        details = ", ".join(printable(str(model[name])) for name in ("quantization", "selected_variant") if model[name] is not None)
        details += f"{', ' if details else ''}still loading" if model["state"] == "loading" else ""
        others = [printable(name) for name in model["variants"] or [] if name != model["selected_variant"]]
        details += f"{', ' if details else ''}also on disk: {', '.join(others)}" if others else ""
        details_of.setdefault(number, []).extend([details] if details else [])
        cell[3] = max(cell[3], model["times_listed"] or 1)
    for number, cell in cells.items():
        cell[2] = texts.setdefault("; ".join(details_of[number]), len(texts))
    return [cell if cell[3] > 1 else cell[:3] for cell in cells.values()]


def _charts(audit: Audit) -> list[dict[str, Any]]:
    """Bar charts: a title, and for each bar a label, a number, the number for people, and the length in percent."""
    by_size = sorted((host for host in audit["hosts"] if host["size_bytes"]["loaded"]), key=lambda host: -host["size_bytes"]["loaded"])
    quantizations = Counter(
        printable(str(model["quantization"] or "not known"))
        for host in audit["hosts"]
        for model in host["models"]
        for _instance in model["instances"]
    )
    most_used = sorted(quantizations.items(), key=lambda item: (-item[1], item[0]))
    by_status = audit["summary"]["hosts"]["by_status"].items()
    return [
        _chart("Hosts by status", [(printable(status), number, str(number)) for status, number in by_status]),
        _chart(
            "Loaded size per host",
            [(printable(host["name"], 40), host["size_bytes"]["loaded"], sentences.loaded_size(host)) for host in by_size],
        ),
        _chart("Quantization of loaded instances", [(name, number, str(number)) for name, number in most_used]),
    ]


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
