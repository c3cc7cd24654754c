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
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from .....module_utils._grouping import grouped
from .....module_utils._lmstudio.reader import believable
from .....module_utils._text import count, format_names, format_size, printable
from ... import sentences
from ...document import Audit, changes_by_host, unanswered_first, violations_by_host
from ...findings import FINDING_KINDS, cause_lines
from ...history import Run, all_runs
from ...policy import ALL_HOSTS

_FOLDER = Path(__file__).parent
_BREAKS = re.compile(r"(?<=[\w.][/_-])")
"""Where the name of a model may be wrapped."""
_UNANSWERED_NAMES = 20
_PLAIN_MODELS = 3
_MAX_BARS = _MAX_LINES = 20
"""Of each bar chart, and of the history."""
_NAME = 300


def as_html(audit: Audit) -> str:
    """The report. It grows with the fleet, but its lists of what is wrong are cut at 500, and say so."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=_shown, parts=_parts, names=format_names, plain=_plain, causes=cause_lines, sha256=_sha256)
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    models = sentences.models_by_use(audit)
    runs = all_runs(audit)
    return environment.from_string((_FOLDER / "report.html.j2").read_text(encoding="utf-8")).render(
        audit=audit,
        sentences=sentences,
        passed=not any(sentences.problems(audit).values()),
        kinds=FINDING_KINDS,
        models=models,
        compared=bool(changes_by_host(audit)),
        runs=runs,
        history=_history([run for run in runs if run.get("limit") == audit["limit"]]),
        unanswered=_unanswered(audit),
        hosts=unanswered_first(audit),
        charts=_charts(audit),
        data=_data(audit, models),
        script=script,
        style=style,
        longest_name=_NAME,
    )


def _shown(value: Any, most: int = 1000) -> str:
    return printable(str(value), most)


def _parts(value: Any) -> list[str]:
    """Text in parts between which it may be wrapped."""
    return _BREAKS.split(_shown(value))


def _unanswered(audit: Audit) -> list[dict[str, Any]]:
    """The hosts without a model list, grouped by what to do."""
    found = grouped(((host["status"], host["error"]["hint"]), host) for host in audit["hosts"] if not host["ok"])
    return [
        {
            "hosts": format_names([host["name"] for host in hosts], _UNANSWERED_NAMES),
            "status": status,
            "happened": hosts[0]["error"]["message"],
            "more": count(len(hosts) - 1, "other host") if len(hosts) > 1 else "",
            "hint": hint,
        }
        for (status, hint), hosts in found.items()
    ]


def _plain(host: Mapping[str, Any]) -> str:
    """What is loaded, for paper and for readers without a script."""
    if not host["ok"]:
        return str(host["error"]["message"])
    loaded = sentences.loaded_models(host)
    more = f" and {len(loaded) - _PLAIN_MODELS} more" if len(loaded) > _PLAIN_MODELS else ""
    return ", ".join(loaded[:_PLAIN_MODELS]) + more or "nothing"


def _history(runs: list[Run]) -> list[dict[str, str]]:
    """A line chart for each figure: its title, its points, its current value, and a sentence for who does not see the line."""
    figures = [
        ("Hosts that answer", [run.get("hosts_ok") for run in runs]),
        ("Violations", [run.get("violations") for run in runs]),
        ("Changes since the baseline", [run.get("drift") for run in runs]),
        ("Loaded bytes", [run.get("loaded_bytes") for run in runs]),
    ]
    for row in runs[-1]["requirements"] if runs else []:
        if row["of"] is not None:
            name = f"Hosts that meet {row['requirement']}" + ("" if row["policy"] == ALL_HOSTS else f" ({row['policy']})")
            figures.append((name, [_hosts_that_met(row, run) for run in runs]))
    return [line for title, values in figures[:_MAX_LINES] if (line := _line(title, values))]


def _hosts_that_met(row: Mapping[str, Any], run: Run) -> Any:
    """In another run, whose figures anybody may have changed in the file."""
    same = [other for other in run["requirements"] if all(other.get(name) == row[name] for name in ("policy", "requirement"))]
    return same[0].get("met") if same else None


def _line(title: str, values: list[Any]) -> dict[str, str] | None:
    """A line chart, or None where fewer than two values are known, or the last one is not."""
    known = [(place, number) for place, value in enumerate(values) if (number := believable(value)) is not None]
    last = len(values) - 1
    if len(known) < 2 or known[-1][0] != last:
        return None
    most = max(number for _place, number in known) or 1
    points = " ".join(f"{300 * place / last:.1f},{38 - 36 * number / most:.1f}" for place, number in known)
    shown = [format_size(int(number)) if title == "Loaded bytes" else f"{number:.0f}" for _place, number in known]
    return {"title": title, "points": points, "now": shown[-1], "said": f"{shown[0]} at first, {shown[-1]} now"}


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _data(audit: Audit, models: list[dict[str, Any]]) -> str:
    """What the matrix shows, in a form that stays small with a hundred thousand cells. No character can end the block that contains it."""
    column = {model["key"]: number for number, model in enumerate(models)}
    wrong, changed = violations_by_host(audit), changes_by_host(audit)
    texts: dict[str, int] = {}
    text = json.dumps(
        {
            "models": [[printable(model["key"], _NAME), model["hosts_loaded"], model["hosts_listing"]] for model in models],
            "hosts": [
                {
                    "name": printable(host["name"], _NAME),
                    "status": printable(host["status"]),
                    "why": printable(host["error"]["message"], 1000) if host["error"] else "",
                    "wrong": wrong[host["name"]] if audit["checks"] else None,
                    "changed": changed.get(host["name"]),
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
    cells = []
    for number, models in grouped((column[model["key"]], model) for model in host["models"]).items():
        loaded = [model for model in models if model["state"] == "loaded"]
        contexts = [instance["context_length"] for model in loaded for instance in model["instances"]]
        details = "; ".join(filter(None, map(_details, models)))
        times = max(model["times_listed"] or 1 for model in models)
        cells.append([number, contexts if loaded else None, texts.setdefault(details, len(texts)), *([times] if times > 1 else [])])
    return cells


def _details(model: Mapping[str, Any]) -> str:
    details = [printable(str(model[name])) for name in ("quantization", "selected_variant") if model[name] is not None]
    if model["state"] == "loading":
        details.append("still loading")
    others = [printable(name) for name in model["variants"] or [] if name != model["selected_variant"]]
    if others:
        details.append(f"also on disk: {', '.join(others)}")
    return ", ".join(details)


def _charts(audit: Audit) -> list[dict[str, Any]]:
    """Bar charts: a title, for each bar a label, its number for people and its length in percent, and how many bars are left out."""
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
        "bars": [{"label": label, "shown": shown, "width": round(100 * number / longest, 1)} for label, number, shown in bars[:_MAX_BARS]],
        "more": max(0, len(bars) - _MAX_BARS),
    }
