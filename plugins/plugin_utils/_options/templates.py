# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Values that may be templates or vaulted, and what may be said of one that cannot be evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

# Errors of ansible-core about a value, as its releases word them.
_MISSING = re.compile(r"(?:No (?:filter|test) named|Could not load) ['\"]([\w.]+)['\"]|lookup plugin \(?'?([\w.]+)'?\)? (?:was )?not found")
_VAULT = re.compile(
    r"^(?:Error rendering template: )?(?:Attempt to use undecryptable|Attempting to decrypt|Decryption failed|.*vault secrets)", re.DOTALL
)
_FILE = re.compile(r"(?:access|accessing|locate|find|read) (?:the )?file:? ['\"]?([^'\"\s]+)['\"]?", re.IGNORECASE)
_LOOKUP = re.compile(r"(?:lookup plugin '|The ')([\w.]+)(?:' failed|'\. Error was|' lookup)")
_UNDEFINED = re.compile(r"'[A-Za-z_][A-Za-z0-9_.]*' is undefined")


def decrypted(value: Any) -> Any:
    """Plain text in place of the vaulted strings of ansible-core before 2.19, which argument specs do not accept."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {name: decrypted(item) for name, item in value.items()}
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value


def is_template(value: Any) -> bool:
    """Whether Ansible would take a value, or something in it, for a template."""
    if isinstance(value, (Mapping, list, tuple)):
        return any(map(is_template, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and (any(begin in value for begin in ("{{", "{%", "{#")) or value.startswith("#jinja2:"))


def explain_template(exc: BaseException, raw: Any, secret: bool) -> str:
    """What Ansible says about a value that cannot be templated.

    About a secret, only what cannot quote it: an error of a filter or a lookup may contain any part of its input.
    """
    problem = str(exc)
    if found := _UNDEFINED.search(problem):
        return found[0]
    if not secret:
        return problem
    if (found := _MISSING.search(problem)) and (missing := found[1] or found[2]) in str(raw):
        return f"the filter, test or lookup {missing} was not found"
    if _VAULT.search(problem):
        return problem.rstrip(".")
    if (found := _FILE.search(problem)) and found[1] in str(raw):
        return f"unable to access the file {found[1]!r}"
    if found := _LOOKUP.search(problem):
        return f"the lookup {found[1]} failed"
    cause: BaseException | None = exc
    while cause:
        if isinstance(cause, jinja2.TemplateSyntaxError):
            return "it is not a valid template. Mark text that has {{ or {% in it literally with !unsafe"
        cause = cause.__cause__ or getattr(cause, "orig_exc", None) or cause.__context__
    return f"a template in it fails ({type(exc).__name__})"


def explain_unreadable(exc: BaseException, name: str) -> str:
    """What Ansible says about variables of a host that it cannot read. An error about another file than a vaulted one may quote it."""
    problem = str(exc)
    return problem.rstrip(".") if _VAULT.search(problem) else f"ansible-inventory --host {name} says why"
