# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Values of an unexpected type, undocumented fields, and the messages about them."""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import MAX_DIGITS, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

RESERVED_KEYS = ("__ansible_", "__payload__")
"""Keys that begin like this break Ansible's own serialisation of results."""
FRACTIONS = ("bits_per_weight", "remaining_ttl_seconds")
"""Numbers that need not be whole."""
_MAX_DEPTH = 16


class WrongType(Exception):
    """A value of a type that the field cannot have. Its text says what was expected."""


def _whole_number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**MAX_DIGITS:
        return int(value)
    raise WrongType("a whole number")


def _number(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return int(value) if float(value).is_integer() and abs(value) < 10**MAX_DIGITS else value
    raise WrongType("a number")


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


_EXPECTED: dict[type | None, str] = {str: "a string", bool: "true or false", None: "a list of strings"}


def coerce(value: Any, name: str, expected_type: type | None) -> Any:
    """The value of a field, by its expected type: None means a list of strings, object an undocumented field.

    Raises :class:`WrongType`.
    """
    if expected_type is object:
        return _anything(value)
    if expected_type is int:
        return _number(value) if name in FRACTIONS else _whole_number(value)
    kind: Any = expected_type or list
    if isinstance(value, kind) and (expected_type or all(isinstance(item, str) for item in value)):
        return value
    raise WrongType(_EXPECTED[expected_type])


def believable(value: Any) -> float | None:
    """A count or a number of bytes, or None for a value that cannot be one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**MAX_DIGITS:
        return value
    return None


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def entry_name(raw: Any, number: int) -> str:
    """A model of the list as messages call it."""
    key = raw.get("key") if isinstance(raw, dict) else None
    return f"models[{number}]" + (f" ({printable(key)})" if isinstance(key, str) else "")


def invalid_field(where: str, expected: str, value: Any) -> ApiError:
    return ApiError("invalid", f"sent a model list in which {where} is {json_type(value)}, not {expected}")
