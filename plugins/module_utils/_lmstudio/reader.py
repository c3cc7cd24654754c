# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The models of a list, and how they are read, one by one.

Nothing a server sends is believed: types are checked, unknown fields pass through, and no text of the server becomes part of a
message unless it is made printable first.
"""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from .._http.errors import ApiError
from .._http.response import MAX_DIGITS
from .._text import printable

Entry = Dict[str, Any]

EMBEDDING_TYPES = ("embedding", "embeddings")
MAX_ENTRIES = 10000
"""More models or loaded instances than this on one host are not accepted."""
MAX_WARNINGS = 20
RESERVED_KEYS = ("__ansible_", "__payload__")
"""Keys that begin like this break Ansible's own serialisation of results."""
FRACTIONS = ("bits_per_weight", "remaining_ttl_seconds")
"""Numbers that need not be whole."""
_MAX_DEPTH = 16
_JSON_TYPES = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}

SETTINGS = {
    "context_length": int,
    "eval_batch_size": int,
    "parallel": int,
    "flash_attention": bool,
    "num_experts": int,
    "offload_kv_cache_to_gpu": bool,
}
"""The settings with which an instance is loaded."""
# The documented fields, each with its expected type. Values of exactly this type are taken as they are, because reading answers is most
# of what a fleet costs. None stands for a list of strings, and a table for an object, which is empty if it is missing.
_Fields = Mapping[str, Any]
_ENTRY: _Fields = {
    "type": str,
    "publisher": str,
    "key": str,
    "display_name": str,
    "architecture": str,
    "size_bytes": int,
    "params_string": str,
    "max_context_length": int,
    "format": str,
    "description": str,
    "variants": None,
    "selected_variant": str,
    "quantization": {"name": str, "bits_per_weight": int},
    "capabilities": {"vision": bool, "trained_for_tool_use": bool, "reasoning": {"allowed_options": None, "default": str}},
}
_INSTANCE: _Fields = {"id": str, "remaining_ttl_seconds": int, "config": SETTINGS}
_ABILITIES = ("vision", "trained_for_tool_use")
"""What a model does not have unless it is said."""
_REQUIRED = ("key", "id")
_STRICT = ("type", "key", "id", "context_length")
"""If one of these has a wrong type, the answer as a whole cannot be trusted."""


class Model(NamedTuple):
    """A model that a server lists."""

    entry: Entry
    """May be shared with other answers, so it must not be changed."""
    text: str
    """As JSON, equal when nothing but the order of variants, options and instances and their remaining TTLs differs."""

    @classmethod
    def from_entry(cls, entry: Entry) -> Model:
        return cls(entry, canonical(_comparable(entry)))


ModelList = Tuple[List[Model], List[str]]
"""The models of an answer, and the warnings about single fields."""

canonical = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""Compact JSON. Entries always have their names in the same order, so they are not sorted again: that would take half of the time."""


def comparable_text(models: list[Model]) -> str:
    """One text for a whole answer: equal when nothing but order and remaining TTLs differs."""
    texts = [text for _key, text in sorted((entry["key"], text) for entry, text in models)]
    return '["ok",[' + ",".join(texts) + "]]"


def _comparable(entry: Entry) -> Entry:
    """The entry in an order of its own, and without remaining TTLs."""
    reasoning = entry["capabilities"]["reasoning"]
    if len(entry["variants"]) < 2 and len(reasoning["allowed_options"]) < 2 and not entry["loaded"]:
        return entry
    lasting = [
        {name: value for name, value in instance.items() if name != "remaining_ttl_seconds"} for instance in entry["loaded_instances"]
    ]
    return {
        **entry,
        "variants": sorted(entry["variants"]),
        "capabilities": {
            **entry["capabilities"],
            "reasoning": {**reasoning, "allowed_options": sorted(reasoning["allowed_options"])},
        },
        "loaded_instances": sorted(lasting, key=canonical),
    }


class WrongType(Exception):
    """A value of a type that the field cannot have. Its text says what was expected."""


def _anything(value: Any, depth: int = 0) -> Any:
    """A value of an undocumented field: kept as it is, sorted by name, without what breaks Ansible's own serialisation."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= _MAX_DEPTH and isinstance(value, (dict, list)):
        raise WrongType(f"fewer than {_MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_anything(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _anything(value[key], depth + 1) for key in sorted(value) if not key.startswith(RESERVED_KEYS)}
    return value


def coerce(value: Any, name: str, expected_type: type | None) -> Any:
    """The value of a field, by its expected type: None means a list of strings, object an undocumented field.

    Raises :class:`WrongType`.
    """
    if expected_type is object:
        return _anything(value)
    if expected_type is int:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            if float(value).is_integer() and abs(value) < 10**MAX_DIGITS:
                return int(value)
            if name in FRACTIONS:
                return value
        raise WrongType("a number" if name in FRACTIONS else "a whole number")
    kind: Any = expected_type or list
    if isinstance(value, kind) and (expected_type or all(isinstance(item, str) for item in value)):
        return value
    raise WrongType(_JSON_TYPES[expected_type] if expected_type else "a list of strings")


def json_type(value: Any) -> str:
    return _JSON_TYPES[type(value)]


def believable(value: Any) -> float | None:
    """A count or a number of bytes, or None for a value that cannot be one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**MAX_DIGITS:
        return value
    return None


def invalid_field(where: str, expected: str, value: Any) -> ApiError:
    return ApiError("invalid", f"sent a model list in which {where} is {json_type(value)}, not {expected}")


def check_list(document: Mapping[str, Any], listed: list[Any] | None) -> None:
    """Raises :class:`ApiError` where a document reports an error, so that its list may be incomplete, or lists too many models."""
    if document.get("error") not in (None, False, ""):
        raise ApiError(
            "invalid", f"sent an error {'beside a model list, which may be incomplete' if listed else 'instead of a model list'}"
        )
    if not listed and document.get("detail") is not None:
        raise ApiError("invalid", "sent a problem document instead of a model list")
    if listed and len(listed) > MAX_ENTRIES:
        raise ApiError("invalid", f"listed {len(listed)} models, more than the {MAX_ENTRIES} that are accepted")


def _unknown_value(name: str, expected_type: type | None) -> Any:
    """What replaces a value that is missing, null or refused."""
    return [] if expected_type is None else False if expected_type is bool and name in _ABILITIES else None


class Reader:
    """Reads the models of a list, one by one: documented fields by type, then the rest as it is, sorted by name."""

    def __init__(self) -> None:
        self._name = ""
        """What messages call the model that is being read."""
        self._instances_read = 0
        self.warned = 0
        """How many warnings there were: all of them, not only those that are kept."""
        self._warnings: list[str] = []
        self._unreadable: list[str] = []

    def read(self, raw: Any, number: int) -> Model:
        """The model at this place of the list, from 0. Raises :class:`ApiError`, if the list as a whole cannot be trusted."""
        self._name, self._unreadable = f"models[{number}]", []
        self._check(raw, dict)
        if isinstance(raw.get("key"), str):
            self._name += f" ({printable(raw['key'])})"
        instances = self._instances(raw.get("loaded_instances"))
        entry = self._object(raw, "", _ENTRY, loaded=bool(instances), loaded_instances=instances)
        if not instances and entry.get("loaded_context_length") is not None:
            self._add_warning("", "reports loaded_context_length but no loaded instance, so it is not known whether it is loaded")
        # A model that a cache has kept brings its own.
        kept = entry.pop("unreadable", None)
        unreadable = self._unreadable + [str(path) for path in (kept if isinstance(kept, list) else ())]
        if unreadable:
            entry["unreadable"] = unreadable
        self._instances_read += len(instances)
        if self._instances_read > MAX_ENTRIES:
            raise ApiError("invalid", f"listed more than the {MAX_ENTRIES} loaded instances that are accepted")
        return Model.from_entry(entry)

    def warnings(self) -> list[str]:
        """Fields of unexpected type, as sentences; bounded, because a hostile server can have any number of them."""
        more = self.warned - len(self._warnings)
        return self._warnings + ([f"{more} more fields of unexpected type"] if more else [])

    def _instances(self, listed: Any) -> list[Entry]:
        if listed is None:
            return []
        self._check(listed, list, ".loaded_instances")
        instances = []
        for number, raw in enumerate(listed):
            path = f".loaded_instances[{number}]"
            self._check(raw, dict, path)
            instances.append(self._object(raw, path, _INSTANCE))
        return instances

    def _check(self, value: Any, kind: type, path: str = "") -> None:
        if not isinstance(value, kind):
            raise invalid_field(self._name + path, _JSON_TYPES[kind], value)

    def _object(self, raw: Entry, path: str, fields: _Fields, **more: Any) -> Entry:
        """The documented fields, `more`, and the fields that are not documented, under their own names."""
        read: Entry = {}
        for name, expected_type in fields.items():
            value = raw.get(name)
            if value.__class__ is expected_type:
                read[name] = value
            elif isinstance(expected_type, dict):
                read[name] = self._object(self._contained(value, f"{path}.{name}"), f"{path}.{name}", expected_type)
            elif value is None and name not in _REQUIRED:
                read[name] = _unknown_value(name, expected_type)
            else:
                read[name] = self._coerce(value, path, name, expected_type)
        read.update(more)
        for name in sorted(raw.keys() - read.keys()):
            if not name.startswith(RESERVED_KEYS):
                read[name] = self._coerce(raw[name], path, printable(name), object)
        return read

    def _contained(self, value: Any, path: str) -> Entry:
        """The fields of an object within a model."""
        if isinstance(value, dict):
            return value
        if path == ".capabilities.reasoning" and isinstance(value, bool):
            # A bare true or false says only whether it can.
            return {"allowed_options": ["on"]} if value else {}
        if value is not None:
            self._warn_type(path, "an object", value)
        return {}

    def _coerce(self, value: Any, path: str, name: str, expected_type: type | None) -> Any:
        try:
            return coerce(value, name, expected_type)
        except WrongType as exc:
            if name in _STRICT and expected_type is not object:
                raise invalid_field(f"{self._name}{path}.{name}", str(exc), value) from None
            self._warn_type(f"{path}.{name}", str(exc), value)
            return _unknown_value(name, expected_type)

    def _warn_type(self, path: str, expected: str, value: Any) -> None:
        self._unreadable.append(path[1:])
        self._add_warning(path, f"is {json_type(value)}, but {expected} was expected: treated as unknown")

    def _add_warning(self, path: str, message: str) -> None:
        self.warned += 1
        if self.warned <= MAX_WARNINGS:
            self._warnings.append(f"{self._name}{path} {message}")
