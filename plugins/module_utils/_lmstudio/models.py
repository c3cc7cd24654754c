# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The models that a document lists.

Nothing a server sends is believed: types are checked, unknown fields pass through, and no text of the server becomes part of a
message unless it is made printable first.
"""

from __future__ import annotations

import json
import marshal
import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import TARGET_URL, Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.coerce import (
    FRACTIONS,
    RESERVED_KEYS,
    WrongType,
    coerce,
    entry_name,
    invalid_field,
    json_type,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.documents import read_document
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

LIST_MODELS = Request("GET", "/api/v1/models")

Entry = Dict[str, Any]
EMBEDDING_TYPES = ("embedding", "embeddings")

MAX_ENTRIES = 10000
"""More models or loaded instances than this on one host are not accepted."""
_MAX_WARNINGS = 20


class Model(NamedTuple):
    """A model that a server lists."""

    entry: Entry
    """May be shared with other answers, so it is not to be changed."""
    text: str
    """As JSON, equal when nothing but the order of variants, options and instances and their remaining TTLs differs."""

    @classmethod
    def from_entry(cls, entry: Entry) -> Model:
        return cls(entry, canonical(_comparable(entry)))


Listed = Tuple[List[Model], List[str]]
"""The models of an answer, and the warnings about single fields."""
KnownModels = Dict[bytes, Model]
"""Models that were read before, by what was decoded of them: most hosts of a fleet have the same ones."""
_MAX_KNOWN = 4096
_MAX_KNOWN_BYTES = 4096
"""Of what was decoded of a model that is remembered."""

# The documented fields, each with the type that is expected: reading answers is most of what a fleet costs, and values of this very
# type are taken as they are. None stands for a list of strings.
_ENTRY = {
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
}
_QUANTIZATION = {"name": str, "bits_per_weight": int}
_CAPABILITIES = {"vision": bool, "trained_for_tool_use": bool}
_REASONING = {"allowed_options": None, "default": str}
_INSTANCE = {"id": str, "remaining_ttl_seconds": int}
SETTINGS = {
    "context_length": int,
    "eval_batch_size": int,
    "parallel": int,
    "flash_attention": bool,
    "num_experts": int,
    "offload_kv_cache_to_gpu": bool,
}
"""With which an instance is loaded."""
_Fields = Mapping[str, "type | None"]
_REQUIRED = ("key", "id")
_STRICT = ("type", "key", "id", "context_length")
"""With a wrong type, the answer as a whole cannot be trusted."""


def _unknown_value(name: str, expected_type: type | None) -> Any:
    """What stands for a value that is missing, null or refused."""
    return [] if expected_type is None else False if expected_type is bool and name in _CAPABILITIES else None


def _accepted_as_is(value: Any, name: str, expected_type: type | None) -> bool:
    """Whether a value is taken as it is, though it is not of the type that is expected."""
    if expected_type is None:
        return value.__class__ is list and all(item.__class__ is str for item in value)
    if expected_type is object:
        return value is None or value.__class__ in (str, int, bool)
    return name in FRACTIONS and value.__class__ is float and math.isfinite(value) and not value.is_integer()


class Reader:
    """Reads the models of a list, one by one: documented fields by type, then the rest as it is, in the order of its names."""

    __slots__ = ("_found", "_instances_read", "_more", "_number", "_raw")

    def __init__(self) -> None:
        self._raw: Any = None
        self._number = 0
        self._instances_read = 0
        self._found: list[str] = []
        self._more = 0

    def read(self, raw: Any, number: int) -> Model:
        """The model at this place of the list, from 0. Raises :class:`ApiError`, if the list as a whole cannot be trusted."""
        self._raw, self._number = raw, number
        model = Model.from_entry(self._entry(raw))
        self._instances_read += len(model.entry["loaded_instances"])
        if self._instances_read > MAX_ENTRIES:
            raise ApiError("invalid", f"listed more than the {MAX_ENTRIES} loaded instances that are accepted")
        return model

    def _entry(self, raw: Any) -> Entry:
        if not isinstance(raw, dict):
            raise self._invalid("", "an object", raw)
        instances = self._instances(raw.get("loaded_instances"))
        entry = self._fields(raw, "", _ENTRY)
        entry["quantization"] = self._object_fields(self._object(raw, "", "quantization"), ".quantization", _QUANTIZATION)
        entry["capabilities"] = self._capabilities(self._object(raw, "", "capabilities"))
        entry["loaded"] = bool(instances)
        entry["loaded_instances"] = instances
        entry = self._with_unknown_fields(entry, raw, "")
        if not instances and entry.get("loaded_context_length") is not None:
            self._add_warning("", "reports loaded_context_length but no loaded instance, so it is not known whether it is loaded")
        return entry

    def warning_count(self) -> int:
        """How many fields of unexpected type there were."""
        return len(self._found) + self._more

    def warnings(self) -> list[str]:
        """Fields of unexpected type, as sentences; bounded, because a hostile server can have any number of them."""
        return self._found + ([f"{self._more} more fields of unexpected type"] if self._more else [])

    def _capabilities(self, raw: Entry) -> Entry:
        path = ".capabilities"
        capabilities = self._fields(raw, path, _CAPABILITIES)
        # A bare true or false says no more than whether it can.
        reasoning = {"allowed_options": ["on"]} if raw.get("reasoning") is True else self._object(raw, path, "reasoning", absent=False)
        capabilities["reasoning"] = self._object_fields(reasoning, path + ".reasoning", _REASONING)
        return self._with_unknown_fields(capabilities, raw, path)

    def _instances(self, raw_instances: Any) -> list[Entry]:
        if raw_instances is None:
            return []
        if not isinstance(raw_instances, list):
            raise self._invalid(".loaded_instances", "a list", raw_instances)
        return [self._instance(raw, f".loaded_instances[{number}]") for number, raw in enumerate(raw_instances)]

    def _instance(self, raw: Any, path: str) -> Entry:
        if not isinstance(raw, dict):
            raise self._invalid(path, "an object", raw)
        instance = self._fields(raw, path, _INSTANCE)
        instance["config"] = self._object_fields(self._object(raw, path, "config"), path + ".config", SETTINGS)
        return self._with_unknown_fields(instance, raw, path)

    def _object_fields(self, raw: Entry, path: str, fields: _Fields) -> Entry:
        return self._with_unknown_fields(self._fields(raw, path, fields), raw, path)

    def _fields(self, raw: Entry, path: str, fields: _Fields) -> Entry:
        read: Entry = {}
        for name, expected_type in fields.items():
            value = raw.get(name)
            if value.__class__ is expected_type:
                read[name] = value
            elif value is None and name not in _REQUIRED:
                read[name] = _unknown_value(name, expected_type)
            else:
                read[name] = self._coerce(value, path, name, expected_type)
        return read

    def _object(self, raw: Entry, path: str, name: str, absent: Any = None) -> Entry:
        """A container. A missing one, null or `absent`, reads as an empty one."""
        value = raw.get(name)
        if isinstance(value, dict):
            return value
        if value is not None and value is not absent:
            self._warn_type(f"{path}.{name}", "an object", value)
        return {}

    def _with_unknown_fields(self, read: Entry, raw: Entry, path: str) -> Entry:
        """With the fields that are not documented, under their own names."""
        if not raw.keys() <= read.keys():
            for name in sorted(raw.keys() - read.keys()):
                if not name.startswith(RESERVED_KEYS):
                    read[name] = self._coerce(raw[name], path, printable(name), object)
        return read

    def _coerce(self, value: Any, path: str, name: str, expected_type: type | None) -> Any:
        if _accepted_as_is(value, name, expected_type):
            return value
        try:
            return coerce(value, name, expected_type)
        except WrongType as exc:
            if name in _STRICT and expected_type is not object:
                raise self._invalid(f"{path}.{name}", str(exc), value) from None
            self._warn_type(f"{path}.{name}", str(exc), value)
            return _unknown_value(name, expected_type)

    def _warn_type(self, path: str, expected: str, value: Any) -> None:
        self._add_warning(path, f"is {json_type(value)}, but {expected} was expected: treated as unknown")

    def _add_warning(self, path: str, message: str) -> None:
        if len(self._found) < _MAX_WARNINGS:
            self._found.append(f"{entry_name(self._raw, self._number)}{path} {message}")
        else:
            self._more += 1

    def _invalid(self, path: str, expected: str, value: Any) -> ApiError:
        return invalid_field(entry_name(self._raw, self._number) + path, expected, value)


canonical = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""JSON of what was read. The names of an entry are in one order already, and sorting them again would take half of the time."""


def may_be_loaded(entry: Entry) -> bool:
    """Whether a model is loaded, or may be: some servers tell the context of a loaded model, and no instance. The older API tells a state,
    which need not be one of these two.
    """
    unsettled = entry.get("state") not in (None, "loaded", "not-loaded")
    return bool(entry["loaded"] or entry.get("loaded_context_length") is not None or unsettled)


def _comparable(entry: Entry) -> Entry:
    reasoning = entry["capabilities"]["reasoning"]
    if len(entry["variants"]) < 2 and len(reasoning["allowed_options"]) < 2 and not entry["loaded"]:
        return entry
    comparable = {
        **entry,
        "variants": sorted(entry["variants"]),
        "capabilities": {
            **entry["capabilities"],
            "reasoning": {**reasoning, "allowed_options": sorted(reasoning["allowed_options"])},
        },
    }
    if entry["loaded"]:
        lasting = [
            {name: value for name, value in instance.items() if name != "remaining_ttl_seconds"} for instance in entry["loaded_instances"]
        ]
        comparable["loaded_instances"] = sorted(lasting, key=canonical)
    return comparable


def list_models(document: Any, known: KnownModels | None = None) -> Listed:
    """The models that a document lists. Raises :class:`ApiError`. `known` is looked in, and remembers."""
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, list) or (not models and "data" in document):
        raise _no_list(document)
    if len(models) > MAX_ENTRIES:
        raise ApiError("invalid", f"listed {len(models)} models, more than the {MAX_ENTRIES} that are accepted")
    if models and not any(isinstance(raw, dict) and isinstance(raw.get("key"), str) for raw in models):
        raise ApiError("not_lmstudio", "is not LM Studio: it listed models without a key, as llama.cpp and others do")
    reader = Reader()
    if known is None:
        return [reader.read(raw, number) for number, raw in enumerate(models)], reader.warnings()
    return [_read_unless_known(reader, raw, number, known) for number, raw in enumerate(models)], reader.warnings()


def _read_unless_known(reader: Reader, raw: Any, number: int, known: KnownModels) -> Model:
    """A model, read unless it is known. One with instances, which change, or with a warning, which every host has to say, never is."""
    try:
        key = marshal.dumps(raw, 2)  # The last version in which equal values give equal bytes.
    except ValueError:
        return reader.read(raw, number)
    if key in known:
        return known[key]
    warned = reader.warning_count()
    model = reader.read(raw, number)
    if len(key) <= _MAX_KNOWN_BYTES and not model.entry["loaded"] and reader.warning_count() == warned:
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[key] = model
    return model


def _no_list(document: Any) -> ApiError:
    """Why a document has no list of models."""
    if not isinstance(document, dict):
        return ApiError("invalid", f"sent {json_type(document)} instead of a model list")
    if "data" in document:
        return ApiError("not_lmstudio", "is not LM Studio: it answered in the shape of an OpenAI-style server (a list called data)")
    if document.get("models") is not None:
        return invalid_field("models", "a list", document["models"])
    if "error" in document:
        return ApiError("invalid", "sent an error instead of a model list")
    return ApiError(
        "invalid", f"sent {'a problem document' if 'detail' in document else 'an object without models'} instead of a model list"
    )


NOWHERE = Endpoint(TARGET_URL)
"""For answers that came from no server, such as those of a cache."""


def read_models(response: Response, endpoint: Endpoint = NOWHERE, known: KnownModels | None = None) -> Listed:
    """The models of an answer and the warnings about single fields. Raises :class:`ApiError`. `known` is as in :func:`list_models`."""
    try:
        return list_models(read_document(response, endpoint, LIST_MODELS), known)
    except ApiError as exc:
        exc.http_status = response.http_status
        raise
