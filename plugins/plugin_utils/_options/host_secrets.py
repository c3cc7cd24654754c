# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Finds a host's secrets in an option, so that they do not go to another server.

A template such as ``token: "{{ lmstudio_token }}"``, especially in the defaults of a group of modules, sees the variables of the host
that runs the task, whichever host is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import headers_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import format_names
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host import VARIABLES, Host, VariableError, decrypted

SECRETS = {option: VARIABLES[option] for option in ("token", "headers", "client_cert", "client_key")}
"""The host variable of each option that identifies who asks."""
# A shorter secret may be part of any text.
_LONG_SECRET = 8


def secrets_in(host: Host, variables: Iterable[str] = tuple(SECRETS.values())) -> dict[str, Any]:
    """The secrets of a host, by variable. One that cannot be used is left out: it cannot be in an option either."""
    found = {}
    for variable in variables:
        try:
            value = host.variable(variable)
        except VariableError:
            continue
        if value is not None:
            found[variable] = headers_of(value) if variable == SECRETS["headers"] else value
    return found


def source_variable(option: str, given: Any, secrets: Mapping[str, Any]) -> str | None:
    """The variable whose secret is in the value of an option."""
    if option == "headers" and isinstance(given, Mapping):
        held = (_header_source(name, text, secrets) for name, text in given.items())
        return next((variable for variable in held if variable), None)
    if option in ("client_cert", "client_key"):
        return SECRETS[option] if given and given == secrets.get(SECRETS[option]) else None
    return _text_source(_text(given), secrets)


def drop_secret_headers(given: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, Any]:
    """Headers without those that hold a secret of a host."""
    return {name: value for name, value in given.items() if not _header_source(name, value, secrets)}


def _header_source(name: str, value: Any, secrets: Mapping[str, Any]) -> str | None:
    own = secrets.get(SECRETS["headers"])
    if isinstance(own, Mapping) and any(str(name).lower() == str(mine).lower() and _text(value) == _text(own[mine]) for mine in own):
        return SECRETS["headers"]
    return _text_source(_text(value), secrets)


def _text_source(text: str, secrets: Mapping[str, Any]) -> str | None:
    token, headers = _text(secrets.get(SECRETS["token"])), secrets.get(SECRETS["headers"])
    if token and (token == text or (len(token) >= _LONG_SECRET and token in text)):
        return SECRETS["token"]
    if isinstance(headers, Mapping) and any(len(_text(value)) >= _LONG_SECRET and _text(value) in text for value in headers.values()):
        return SECRETS["headers"]
    return None


def _text(value: Any) -> str:
    """A secret as text: a token may be a number in YAML."""
    return "" if value is None else str(value).strip()


def withhold_foreign_secrets(options: dict[str, Any], owner: str, secrets: Mapping[str, Any], hosts: Sequence[Host]) -> list[str]:
    """Do not use a secret of one host, the `owner`, as a default for others. Returns warnings."""
    warnings = []
    for option, own in SECRETS.items():
        given = options.get(option)
        variable = source_variable(option, given, secrets) if given else None
        if not variable:
            continue
        options[option] = drop_secret_headers(given, secrets) or None if option == "headers" and isinstance(given, Mapping) else None
        without = [host.name for host in hosts if host.name != owner and not host.has(own)]
        if without:
            warnings.append(
                f"{option} {'is' if variable == own else 'holds'} the {variable} of {owner}, so it is not sent to hosts that have none: "
                f"{format_names(without)}. Set it as a variable of those hosts if it is meant for them too."
            )
        if option in ("client_cert", "client_key"):
            # One is of no use without the other.
            options.update(client_cert=None, client_key=None)
    return warnings


def withhold_differing_secrets(
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    hosts: Iterable[Host],
    values_for: Callable[[Host, Sequence[str]], Sequence[Any]],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What takes the place of secrets in `options` that a template makes for one host and would not make for another one.

    `arguments` are these options as they were evaluated for the host of the task, and `values_for` evaluates some for another host. Whatever
    a template is made of, what it comes to is for all only where it comes to the same. Returns the options by host, and warnings.
    """
    instead: dict[str, dict[str, Any]] = {}
    without: dict[str, list[str]] = {}
    for host in hosts:
        needed = [option for option in options if not host.has(SECRETS[option])]
        for option, value in zip(needed, values_for(host, needed)):
            common = _common(options[option], headers_of(decrypted(arguments[option])), headers_of(decrypted(value)))
            if common != options[option]:
                without.setdefault(option, []).append(host.name)
                # A certificate is of no use without its key.
                pair = ("client_cert", "client_key")
                instead.setdefault(host.name, {}).update(dict.fromkeys(pair) if option in pair else {option: common})
    return instead, [
        f"{option} is a template that has another value, or none, for hosts without {SECRETS[option]}: {format_names(names)}. So it is not sent "
        f"to them. Set {SECRETS[option]} as a variable of those hosts. If one value is for all, such as that of a lookup, save it in an earlier "
        "task, with set_fact and run_once: true."
        for option, names in without.items()
    ]


def _common(given: Any, one: Any, other: Any) -> Any:
    """What is `given` of an option whose value is `one` for one host and `other` for another. Each header counts for itself."""
    if isinstance(given, Mapping) and isinstance(one, Mapping) and isinstance(other, Mapping):
        return {
            name: text for name, text in given.items() if name in one and name in other and _text(one[name]) == _text(other[name])
        } or None
    return given if one == other else None
