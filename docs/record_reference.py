# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference of the record: the keys and types of the code, each with what the documentation of model_info says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio import reader, record, record_type
from ansible_collections.gpufleet.lmstudio.plugins.modules import model_info
from antsibull_docs_parser.md import to_md
from antsibull_docs_parser.parser import Context, parse

Documented = dict[str, Any]

EXAMPLE = Path(__file__).parents[1] / "tests" / "simulator" / "payloads" / "mac.json"
INTRODUCTION = """# The record

The answer of a host is a record, which is the same from every plugin: `ansible_facts.lmstudio` of
[model_facts](model_facts_module.rst), `lmstudio` in the result of [model_info](model_info_module.rst), each of `hosts` in that of
[fleet_info](fleet_info_module.rst), each answer of the [lookup](models_lookup.rst), and the variable `lmstudio_record` of the
[inventory plugin](lmstudio_inventory.rst).

All keys are always there, except `unreadable` of a model. What a server does not report is null, false or an empty list.
"""
MODEL: dict[str, Any] = {**reader._ENTRY, "loaded_instances": reader._INSTANCE}
"""The fields of a model as it is read from an answer: a table stands for an object."""

Row = tuple[str, str, str]
"""A key with those that it is in, its type, and what it is."""


def page() -> str:
    """The page, in Markdown. Raises ``LookupError`` when the documentation and the code do not have the same keys."""
    tables: dict[str, list[str]] = {}
    for path, kind, text in rows():
        inside, _dot, key = path.rpartition(".")
        tables.setdefault(inside, []).append(f"| `{key}` | {kind} | {text} |")
    lines = [INTRODUCTION]
    for inside, table in tables.items():
        lines += ["", f"## {inside}" if inside else "", "", "| key | type | what it is |", "| --- | --- | --- |", *table]
    return "\n".join([*lines, "", "## An example", "", "```json", json.dumps(example(), indent=2), "```", ""])


def rows() -> list[Row]:
    documented = yaml.safe_load(model_info.RETURN)["lmstudio"]["contains"]
    return list(_of_type(record_type.Record, documented, ""))


def example() -> dict[str, Any]:
    """A record as the code makes it."""
    endpoint = make_endpoint({"url": "http://mac01:1234"}, "")
    poll = record.Poll(response.Response(200, EXAMPLE.read_bytes()), "2026-11-22T20:00:00Z", 12)
    return dict(record.record_of(endpoint, record.parse(endpoint, poll), "loaded"))


def _of_type(kind: Any, documented: Documented, prefix: str) -> Iterator[Row]:
    hints = get_type_hints(kind)
    _same_keys(set(hints), documented, prefix)
    for name, hint in hints.items():
        yield from _of_key(prefix + name, hint, documented[name])


def _of_key(path: str, hint: Any, documented: Documented) -> Iterator[Row]:
    yield _row(path, _told(hint), documented)
    inner = [part for part in (*get_args(hint), hint) if is_typeddict(part)]
    if inner:
        yield from _of_type(inner[0], documented["contains"], path + ".")
    elif path == "models":
        yield from _of_entry(path, MODEL, documented["contains"])


def _of_entry(path: str, fields: Mapping[str, Any], documented: Documented) -> Iterator[Row]:
    """The keys of what is read from an answer, and those of the objects in it."""
    computed = {"loaded", "unreadable"} if path == "models" else set()
    _same_keys(fields.keys() | computed, documented, path + ".")
    for name, said in documented.items():
        kind = f"list of {said['elements']}" if said["type"] == "list" else said["type"]
        field = fields.get(name, {})
        if isinstance(field, Mapping):
            yield _row(f"{path}.{name}", kind, said)
            if field:
                yield from _of_entry(f"{path}.{name}", field, said["contains"])
            continue
        if kind != _of_field(name, field):
            raise LookupError(f"{path}.{name} is {_of_field(name, field)} in the code, and {kind} in the RETURN of model_info")
        nullable = name not in reader._REQUIRED and reader._unknown_value(name, field) is None
        yield _row(f"{path}.{name}", kind + " or null" if nullable else kind, said)


def _of_field(name: str, expected_type: type | None) -> str:
    """What the documentation calls the values of a field."""
    if expected_type is None:
        return "list of str"
    return "float" if name in reader.FRACTIONS else expected_type.__name__


def _same_keys(keys: Set[str], documented: Documented, where: str) -> None:
    different = keys ^ documented.keys()
    if different:
        raise LookupError(f"in {where or 'the record'} either the code or the RETURN of model_info lacks {', '.join(sorted(different))}")


def _row(path: str, kind: str, documented: Documented) -> Row:
    texts = documented["description"]
    text = " ".join([texts] if isinstance(texts, str) else texts)
    return path, kind, to_md(parse(text, Context()))


def _told(hint: Any) -> str:
    """A type in the words of Ansible."""
    if get_origin(hint) is UnionType:
        return " or ".join("null" if part is NoneType else _told(part) for part in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_told(get_args(hint)[0])}"
    return "dict" if is_typeddict(hint) or get_origin(hint) is dict else str(hint.__name__)
