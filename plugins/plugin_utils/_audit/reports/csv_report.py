# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

from ....module_utils._text import printable
from ..document import Audit

_CSV_COLUMNS = (
    "host", "status", "model", "state", "times_listed", "instances", "context_lengths", "quantization", "bits_per_weight",
    "selected_variant", "size_bytes", "max_context_length", "type", "format", "architecture", "publisher", "display_name",
    "variants", "api",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula begins. Some spreadsheets take the same characters in full width, too."""


def as_csv(audit: Audit) -> str:
    """One row for each host and model. A host without a model has one row, too."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for host in audit["hosts"]:
        for model in host["models"] or [{}]:
            row = {**model, "host": host["name"], "status": host["status"], "api": host["api"], "model": model.get("key")}
            row["instances"] = len(model["instances"]) if model else None
            row["variants"] = " ".join(model.get("variants") or [])
            row["context_lengths"] = " ".join(str(instance["context_length"] or "?") for instance in model.get("instances", []))
            writer.writerow([_csv_cell(row.get(name)) for name in _CSV_COLUMNS])
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    shown = printable(value, 1000)
    return "'" + shown if shown.lstrip().startswith(_FORMULA) else shown
