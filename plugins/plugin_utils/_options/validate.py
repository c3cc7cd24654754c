# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Validates options against an argument spec, and keeps secrets out of messages about options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_bool

from ...module_utils._argspec import without_suboptions
from ...module_utils._text import format_value, unknown_names

# A number in YAML may be meant as a text.
_TEXTS = (str, int, float)
_TYPES = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a string",
}


def validate_options(spec: Mapping[str, Any], options: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The options with the types and defaults of an argument spec. `names` has the names under which options were set.

    Raises ``AnsibleError`` without showing a secret.
    """
    unknown = sorted(set(options) - set(spec))
    if unknown:
        raise AnsibleError(unknown_names("option", unknown, sorted(spec)))
    refuse_conversions(spec, options, names)
    known = without_suboptions(spec)
    # Ansible's check would leave these as they are, but copies all that it is given, which takes longer than judging a record.
    as_given = {name: value for name, value in options.items() if _is_not_converted(known[name], value)}
    others = {name: value for name, value in options.items() if name not in as_given}
    result = ArgumentSpecValidator({name: option for name, option in known.items() if name not in as_given}).validate(others)
    if result.error_messages:
        raise AnsibleError("; ".join(_in_plain_words(message, names or {}) for message in result.error_messages))
    return {**result.validated_parameters, **as_given}


def refuse_conversions(spec: Mapping[str, Any], options: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
    """Raise an ``AnsibleError`` for what Ansible would take for another value: true for the number 1, a secret of a wrong type for its text, and among
    the options of a plugin any text that it does not know for false. About a secret, Ansible's own error would quote it.
    """
    for name, value in options.items():
        option = spec.get(name, {})
        kind, shown = option.get("type"), (names or {}).get(name, name)
        if option.get("no_log") and not _is_secret(kind, value):
            raise AnsibleError(f"{shown}: it is not {'a mapping of names and texts' if kind == 'dict' else 'a string'}.")
        if isinstance(value, bool) and kind in ("int", "float"):
            raise AnsibleError(f"{shown}: {format_value(value)} is not a number.")
        if kind in ("bool", "boolean"):
            try:
                check_type_bool(value)
            except TypeError:
                raise AnsibleError(f"{shown}: it is not {_TYPES['bool']}.") from None


def _in_plain_words(message: str, names: Mapping[str, str]) -> str:
    """What Ansible says of an option, under the name with which it was set, and without Ansible's own classes, which mean nothing to users."""
    wrong_type = re.match(r"argument '(\w+)' is of type .*unable to convert to (\w+)", message, re.DOTALL)
    if wrong_type:
        return f"{names.get(wrong_type[1], wrong_type[1])}: it is not {_TYPES[wrong_type[2]]}"
    return re.sub(r"(?<=^value of )\w+(?= must)", lambda option: names.get(option[0], option[0]), message)


def _is_not_converted(option: Mapping[str, Any], value: Any) -> bool:
    """Whether Ansible's check takes a value as it is."""
    return "choices" not in option and (option.get("type") == "raw" or (option.get("type") == "dict" and isinstance(value, dict)))


def _is_secret(kind: Any, value: Any) -> bool:
    """Whether a value can be a secret: a text, or headers. The check of headers says which one has a list or a mapping as its value."""
    if kind == "dict":
        return isinstance(value, Mapping) and all(
            text is None or isinstance(text, (*_TEXTS, list, tuple, Mapping)) for text in value.values()
        )
    return isinstance(value, _TEXTS)
