# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference of the JSON report of an audit: its JSON Schema as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

SCHEMA = Path(__file__).parents[1] / "roles" / "fleet_audit" / "files" / "fleet_audit.schema.json"
INTRODUCTION = """# The JSON report

An [audit](../audit.md) writes this document as `fleet_audit.json`. All other reports are views of it, and it can be the baseline of a
later audit. The table is made from its JSON Schema, `roles/fleet_audit/files/fleet_audit.schema.json` in the
collection, which can check a report. `*` stands for any name, `[]` for each entry of a list.

| key | type | what it is |
| --- | --- | --- |
"""


def page() -> str:
    """The page, in Markdown."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return INTRODUCTION + "".join(f"| `{path}` | {kind} | {text} |\n" for path, kind, text in _rows(schema, ""))


def _rows(schema: Schema, path: str) -> Iterator[tuple[str, str, str]]:
    if path:
        yield path.lstrip("."), _kind(schema), str(schema.get("description", ""))
    for name, inner in schema.get("properties", {}).items():
        # True is a schema that everything meets.
        yield from _rows({} if inner is True else inner, f"{path}.{name}")
    if schema.get("additionalProperties"):
        yield from _rows(schema["additionalProperties"], f"{path}.*")
    inner = [(choice, path) for choice in schema.get("oneOf", [])] + ([(schema["items"], f"{path}[]")] if "items" in schema else [])
    for part, where in inner:
        # Its own row would say what that of the list or of the choice says.
        _own, *below = _rows(part, where)
        yield from below


def _kind(schema: Schema) -> str:
    if "const" in schema:
        return f"always {json.dumps(schema['const'])}"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "oneOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["oneOf"])
    kinds = schema.get("type", "anything")
    told = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return f"{told} of {_kind(schema['items'])}" if "items" in schema else told
