# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The reports of an audit: each is a view of its document.

What a server sent is data in all of them: escaped as the format requires, and without control characters where a person reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ..document import Audit
from .csv_report import as_csv
from .html_report.page import as_html
from .junit_report import as_junit
from .markdown_report import as_markdown
from .prometheus_report import as_prometheus


def as_json(audit: Audit) -> str:
    """The document, with a line for each entry of its lists. The history is a file of its own."""
    run = {name: value for name, value in audit["run"].items() if name != "history"}
    lines = []
    for key, value in {**audit, "run": run}.items():
        entries = ",\n".join(map(json.dumps, value)) if isinstance(value, list) else ""
        lines.append(f"{json.dumps(key)}: " + (f"[\n{entries}\n]" if entries else json.dumps(value)))
    return "{\n" + ",\n".join(lines) + "\n}\n"


FORMATS: dict[str, tuple[str, Callable[[Audit], str]]] = {
    "html": ("fleet_audit.html", as_html),
    "json": ("fleet_audit.json", as_json),
    "csv": ("fleet_audit.csv", as_csv),
    "markdown": ("fleet_audit.md", as_markdown),
    "junit": ("fleet_audit.xml", as_junit),
    "prometheus": ("fleet_audit.prom", as_prometheus),
}
"""The name of the file and the function that renders it, by the name of the format. What differs between two runs on an unchanged fleet has
lines of its own, because the lines say whether a report has changed."""

DEFAULT_FORMATS = ("html", "json")
