# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The parts of every plugin's argument spec, what counts as an option that is not set, and the token of the environment."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible.module_utils.common.validation import check_type_dict

from ._http.endpoint import authorizes, connection_options
from ._lmstudio.record import DETAILS

TOKEN_VARIABLE = "LM_API_TOKEN"  # noqa: S105 (a name)
OMITTED = "__omit_place_holder__"
DETAIL = {"type": "str", "choices": list(DETAILS)}
VIA = {"type": "str", "choices": ["target", "controller"], "default": "target"}
CONFIRM_LOADED = {"type": "bool", "default": False}
MODEL_INFO_SPEC: dict[str, Any] = {
    **connection_options(),
    "detail": {**DETAIL, "default": "full"},
    "via": VIA,
    "on_error": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
}
"""The options of ``model_info``: one spec for the module and for its action plugin."""


def without_suboptions(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with which Ansible's validator leaves options with suboptions as they were given, because the collection checks them itself.

    The validator drops nulls, splits strings at commas, takes true for a number, and never says which key was meant.
    """
    return {name: _as_raw(option) if "options" in option else option for name, option in spec.items()}


def _as_raw(option: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "raw" if option["type"] == "list" else option["type"], "required": option.get("required", False)}


def is_set(value: Any) -> bool:
    """Whether an option has a value: None, the empty string and what is omitted mean unset."""
    return not (value is None or (isinstance(value, str) and value == "") or is_omitted(value))


def is_omitted(value: Any) -> bool:
    """Whether a value is ``omit`` that ansible-core did not remove itself: a string before 2.19, an object without a public name since."""
    return type(value).__name__ == "_OmitType" or (isinstance(value, str) and value.startswith(OMITTED))


def headers_of(value: Any) -> Any:
    """Headers as a mapping, where they are one or a string that Ansible takes for one, without those that are omitted. Anything else is left to the
    argument spec.
    """
    try:
        headers = check_type_dict(value)
    except (TypeError, ValueError):
        return value
    # Before 2.19, this check makes a set of {'a'} and leaves {a.b()} a string, and would accept both again. It refuses a list.
    return {name: text for name, text in headers.items() if not is_omitted(text)} if isinstance(headers, dict) else [value]


def only_set(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value. Without the others, an argument spec's defaults and types work as usual."""
    given = {name: value for name, value in options.items() if is_set(value)}
    if "headers" in given:
        given["headers"] = headers_of(given["headers"])
    return given


def with_token_of_environment(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the token in the environment of this machine, unless they have a token, or an Authorization header in its place."""
    token = os.environ.get(TOKEN_VARIABLE)
    # The keyword environment may hold omit.
    if is_set(options.get("token")) or authorizes(options.get("headers")) or not is_set(token):
        return dict(options)
    return {**options, "token": token}
