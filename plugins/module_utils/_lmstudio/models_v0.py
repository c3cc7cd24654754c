# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""``GET /api/v0/models``, which the code calls the older list: LM Studio 0.3 has only this one, and 0.4 still has it. It has a row for each
model, with a state and without instances.

Rows become entries like those of the newer list; what they lack is unknown there. While just-in-time loading is off, models that are not
loaded are left out, so a model that is not listed may still exist.
"""

from __future__ import annotations

from typing import Any

from .._http.endpoint import Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .._text import printable
from .documents import read_document
from .reader import MAX_WARNINGS, Entry, ModelList, Reader, WrongType, check_list, coerce, invalid_field, json_type

LIST_MODELS_V0 = Request("GET", "/api/v0/models")
LOADED, NOT_LOADED, LOADING = STATES = ("loaded", "not-loaded", "loading")
"""The states of a row."""

_TYPES = {"vlm": "llm", "embeddings": "embedding"}
"""What the newer API calls these types."""
# The fields of a row that are translated or dropped. The rest keep their names.
_TRANSLATED = ("id", "object", "arch", "compatibility_type", "loaded_context_length")


def read_models_v0(response: Response, endpoint: Endpoint) -> ModelList:
    """The models of an answer, and the warnings about single fields. Raises :class:`ApiError`."""
    rows = read_rows(response, endpoint)
    reader = Reader()
    models = [reader.read(_entry(row), number) for number, row in enumerate(rows)]
    odd = [
        f"data[{number}] ({printable(row['id'])}) has the state {printable(row['state'])}, so it is not known whether it is loaded"
        for number, row in enumerate(rows)
        if row["state"] not in STATES
    ]
    return models, reader.warnings() + odd[:MAX_WARNINGS]


def read_rows(response: Response, endpoint: Endpoint) -> list[Entry]:
    """The rows of an answer, in which every field that a decision rests on has the expected type. Raises :class:`ApiError`."""
    return read_document(response, endpoint, LIST_MODELS_V0, _checked)


def _checked(document: Any) -> list[Entry]:
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        what = "an object without data" if isinstance(document, dict) else json_type(document)
        raise ApiError("invalid", f"sent {what} instead of a model list")
    check_list(document, rows)
    if rows and not any(isinstance(row, dict) and "state" in row for row in rows):
        raise ApiError("not_lmstudio", "answered like an OpenAI-style server (a list of models without a state)")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid_field(f"data[{number}]", "an object", row)
        name = f"data[{number}]" + (f" ({printable(row['id'])})" if isinstance(row.get("id"), str) else "")
        for field, expected in (("id", str), ("state", str), ("type", str), ("loaded_context_length", int)):
            if row.get(field) is None and field in ("type", "loaded_context_length"):
                continue
            try:
                coerce(row.get(field), field, expected)
            except WrongType as exc:
                raise invalid_field(f"{name}.{field}", str(exc), row.get(field)) from None
    return rows


def _entry(row: Entry) -> Entry:
    """A row as the newer list would have it. The id of its one instance is the name that requests use: the row has no other."""
    entry = {name: value for name, value in row.items() if name not in _TRANSLATED}
    loaded, context = row["state"] == LOADED, row.get("loaded_context_length")
    entry.update(
        key=row["id"],
        type=_TYPES.get(row.get("type", ""), row.get("type")),
        architecture=row.get("arch"),
        format=row.get("compatibility_type"),
        loaded_instances=[{"id": row["id"], "config": {"context_length": context}}] if loaded else [],
    )
    if row["state"] == NOT_LOADED and context is not None:
        entry["loaded_context_length"] = context
    if isinstance(row.get("quantization"), str):
        entry["quantization"] = {"name": row["quantization"]}
    abilities = row.get("capabilities")
    if abilities is None or isinstance(abilities, list):
        abilities = abilities or []
        entry["capabilities"] = {
            "vision": row.get("type") == "vlm" or "vision" in abilities,
            "trained_for_tool_use": "tool_use" in abilities,
        }
    return entry
