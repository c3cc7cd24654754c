# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Finds a host's secrets in options and in the keyword ``environment``, so that they do not go to another server.

A template such as ``token: "{{ lmstudio_token }}"``, especially in the defaults of a group of modules, sees the variables of the host
that runs the task, whichever host is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import TOKEN_VARIABLE, headers_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import authorizes
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.masking import CREDENTIALS, texts_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import format_names
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host import SECRETS, Host, VariableError, decrypted
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.written import WrittenOptions, value_in, written_environment

_CERTIFICATE = ("client_cert", "client_key")
"""One is of no use without the other."""
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


def take_secrets(options: dict[str, Any], secrets: Mapping[str, Any], among: Iterable[str] = tuple(SECRETS)) -> dict[str, str]:
    """Take what holds a secret of a host out of options, each header for itself. Returns the variables that have it, by option."""
    found = {option: variable for option in among if (variable := _source(option, options.get(option), secrets))}
    for option in found:
        given = options.get(option)
        others = (
            {name: text for name, text in given.items() if not _header_source(name, text, secrets)} if isinstance(given, Mapping) else None
        )
        _leave(options, option, others)
    return found


def take_what_is_made_of_secrets(
    options: dict[str, Any], host: Host, written: WrittenOptions, among: Iterable[str] = tuple(SECRETS)
) -> dict[str, str]:
    """Take what holds a secret of a host out of options, and what a template makes of one, such as the Basic form of its token: without the
    secret, it comes to something else. Returns the variables, by option.
    """
    secrets = secrets_in(host)
    taken = take_secrets(options, secrets, among)
    templates = [option for option in among if written.is_template(option)]
    for variable in secrets:
        without = _without(host, variable)
        for option in templates:
            given = options.get(option)
            common = _common(given, given, headers_of(decrypted(written.value(option, without.template))))
            if given and common != given:
                taken[option] = variable
                _leave(options, option, common)
    return taken


def _without(host: Host, variable: str) -> Host:
    """The host as if it did not have a variable, also where templates read it from ``hostvars`` or ``vars``."""

    def others(variables: Any) -> Any:
        return {name: value for name, value in variables.items() if name != variable} if isinstance(variables, Mapping) else variables

    variables = {name: others(value) if name == "vars" else value for name, value in others(host.variables).items()}
    if "hostvars" in variables:
        hostvars: Any = copy.copy(variables["hostvars"])
        raw_get = variables["hostvars"].raw_get
        # Every look into it begins with this.
        hostvars.raw_get = lambda name: others(raw_get(name)) if name == host.name else raw_get(name)
        variables["hostvars"] = hostvars
    return host._replace(variables=variables)


def _leave(options: dict[str, Any], option: str, value: Any) -> None:
    """Leave this value of an option that held a secret, if there is one."""
    for name in _CERTIFICATE if option in _CERTIFICATE else [option]:
        options.pop(name, None)
    if value:
        options[option] = value
    if options.get("token") == "" and not authorizes(options.get("headers")):
        # It stood beside an Authorization header, which is not left.
        del options["token"]


def source_of_token(action: Any, host: Host, options: Mapping[str, Any]) -> str | None:
    """The variable of a host whose secret a module would take from the keyword ``environment``, because the options have no token.

    The empty token beside an Authorization header keeps it from that.
    """
    environment: dict[str, Any] = {}
    action._compute_environment_string(environment)
    token = environment.get(TOKEN_VARIABLE)
    if "token" in options or not token:
        return None
    secrets = secrets_in(host)
    found = _source("token", token, secrets)
    if found:
        return found
    levels = written_environment(action._task)
    made = value_in(levels, TOKEN_VARIABLE, host.template)
    return next((variable for variable in secrets if value_in(levels, TOKEN_VARIABLE, _without(host, variable).template) != made), None)


def withhold_from_server(action: Any, host: Host, options: dict[str, Any], written: WrittenOptions, withheld: list[str]) -> None:
    """Do not send secrets of the host to another server, unless the task itself has them in its options.

    They may be in ``module_defaults`` and in the keyword ``environment``. Adds the variables that have them to those that are `withheld`.
    """
    own = written.own(action._templar)
    taken = take_what_is_made_of_secrets(options, host, written, [option for option in SECRETS if option not in own])
    in_environment = source_of_token(action, host, options)
    if in_environment:
        # Of these, the last one counts.
        action._task.environment = [*action._task.environment, {TOKEN_VARIABLE: ""}]
        taken[TOKEN_VARIABLE] = in_environment
    withheld += [variable for variable in dict.fromkeys(taken.values()) if variable not in withheld]


def _source(option: str, given: Any, secrets: Mapping[str, Any]) -> str | None:
    """The variable whose secret is in the value of an option."""
    if isinstance(given, Mapping):
        return next((variable for name in given if (variable := _header_source(name, given[name], secrets))), None)
    if option in _CERTIFICATE:
        return SECRETS[option] if given and given == secrets.get(SECRETS[option]) else None
    return _text_source(_text(given), secrets)


def _header_source(name: str, value: Any, secrets: Mapping[str, Any]) -> str | None:
    own = secrets.get(SECRETS["headers"])
    if isinstance(own, Mapping) and any(str(name).lower() == str(mine).lower() and _text(value) == _text(own[mine]) for mine in own):
        return SECRETS["headers"]
    return _text_source(_text(value), secrets)


def _text_source(text: str, secrets: Mapping[str, Any]) -> str | None:
    """The variable whose secret is in a text, or in what the text means to a server as a header: its words, and what HTTP Basic encodes."""
    token, headers = _text(secrets.get(SECRETS["token"])), secrets.get(SECRETS["headers"])
    given = list(texts_of(text))
    if token and (token in given or (len(token) >= _LONG_SECRET and any(token in each for each in given))):
        return SECRETS["token"]
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        held = texts_of(_text(value)) if str(name).lower() in CREDENTIALS else [_text(value)]
        if any(len(each) >= _LONG_SECRET and each in other for each in held for other in given):
            return SECRETS["headers"]
    return None


def _text(value: Any) -> str:
    """A secret as text: a token may be a number in YAML."""
    return "" if value is None else str(value).strip()


def withhold_foreign_secrets(options: dict[str, Any], owner: str, secrets: Mapping[str, Any], hosts: Sequence[Host]) -> list[str]:
    """Do not use a secret of one host, the `owner`, as a default for others. Returns warnings."""
    found = take_secrets(options, secrets)
    if "client_cert" in found:
        found.pop("client_key", None)
    warnings = []
    for option, variable in found.items():
        without = [host.name for host in hosts if host.name != owner and not host.has(SECRETS[option])]
        if without:
            warnings.append(
                f"{option} {'is' if variable == SECRETS[option] else 'holds'} the {variable} of {owner}, so it is not sent to hosts that have "
                f"none: {format_names(without)}. Set it as a variable of those hosts if it is meant for them too."
            )
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
                instead.setdefault(host.name, {}).update(dict.fromkeys(_CERTIFICATE) if option in _CERTIFICATE else {option: common})
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
