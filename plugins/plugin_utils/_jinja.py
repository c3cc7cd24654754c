# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Turns the arguments of tests and filters into requirements and records, and their errors into those of templates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._argspec import is_omitted
from ..module_utils._input_errors import InputError
from ..module_utils._requirements.spec import Requirement, parse

_IMPLIED_KEYS = ("name", "state", "severity")


def template_plugin(function: Callable[..., Any]) -> Callable[..., Any]:
    """A test or a filter: its errors are sentences that begin with its name."""

    judged_until = 2 if hasattr(function, "jinja_pass_arg") else 1
    """After the context of the template, for one that is passed it."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        # What is judged comes from a server. All else comes from a user.
        judged, wanted = args[:judged_until], [None if is_omitted(arg) else _without_omitted(arg) for arg in args[judged_until:]]
        try:
            return function(*judged, *wanted, **_without_omitted(kwargs))
        except InputError as exc:
            raise AnsibleFilterError(f"{function.__name__}: {exc}") from None
        except (KeyError, AttributeError) as exc:
            problem = f"the record is not complete, {exc} is missing. Pass the record unchanged."
            raise AnsibleFilterError(f"{function.__name__}: {problem}") from None
        except TypeError as exc:
            raise AnsibleFilterError(f"{function.__name__}: {str(exc).replace(function.__name__ + '() ', '')}") from None

    return run


def _without_omitted(value: Any) -> Any:
    """A value without what is omitted in it, as Ansible passes the options of a task. Before 2.19 it does so there only."""
    if isinstance(value, Mapping):
        return {name: _without_omitted(item) for name, item in value.items() if not is_omitted(item)}
    if isinstance(value, (list, tuple)):
        return [_without_omitted(item) for item in value if not is_omitted(item)]
    return value


def requirement_from_args(model: Any, state: str, attributes: Mapping[str, Any]) -> Requirement:
    """The requirement for a model in a state, with attributes from the arguments."""
    for name in _IMPLIED_KEYS:
        if name in attributes:
            raise InputError(f"{name} has no meaning here. Remove it.")
    return parse({"model": model, "state": state, **attributes}, "requirement")
