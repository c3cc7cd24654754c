# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The rule that a secret of a host goes to that host's own servers, and to no other, also where a task's options or its ``environment`` contain it.

precedence.py uses the variables of a host for its own servers only. That is not enough: a template such as ``token: "{{ lmstudio_token }}"``,
above all in the defaults of a group of modules, is evaluated with the variables of the host that runs the task, whichever server is asked. So the
evaluated options are searched for the secrets of that host, in two ways:

- by value: an option contains a secret of the host.
- by evaluating it again: without that secret, or with the variables of another host, the template has another value.

What is found is not sent to a server of anybody else. A task with a URL of its own uses :func:`withhold_from_server`, which searches in both ways. Plugins
that ask many hosts use :func:`withhold_foreign_secrets` (by value) and :func:`withhold_differing_secrets` (by evaluating again). Each header is
judged by itself.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from ansible.utils.path import unfrackpath

from ...module_utils._argspec import TOKEN_VARIABLE, headers_of, is_set
from ...module_utils._http.endpoint import authorizes
from ...module_utils._lmstudio.masking import CREDENTIALS, texts_of
from ...module_utils._text import format_names
from .host import SECRETS, VARIABLES, Host, VariableError
from .precedence import Resolved
from .templates import decrypted
from .written import Written, as_written, written_environment

_CERTIFICATE = ("client_cert", "client_key")
"""One is of no use without the other."""
PROTECTION = ("ca_path", "validate_certs", "use_proxy")
"""Options that decide who can read a secret on its way. What a template makes of a variable of one host is not for another server either."""
# A shorter secret may be part of any text.
_LONG_SECRET = 8


def withhold_from_server(action: Any, host: Host, resolved: Resolved, written: Written, except_for: Container[str]) -> Resolved:
    """What a host is asked with, without its secrets, which the keyword ``environment`` does not have any longer either."""
    among = [option for option in (*SECRETS, *PROTECTION) if option not in except_for]
    options = dict(resolved.options)
    taken = _take_what_is_made_of_secrets(options, host, action._task, written, among)
    environment: dict[str, Any] = {}
    action._compute_environment_string(environment)
    if "token" not in options and not authorizes(options.get("headers")) and environment.get(TOKEN_VARIABLE):
        in_environment = _take_what_is_made_of_secrets(environment, host, action._task, written_environment(action._task), [TOKEN_VARIABLE])
        if in_environment:
            # Of these, the last one counts.
            action._task.environment = [*action._task.environment, {TOKEN_VARIABLE: ""}]
        taken.update(in_environment)
    return resolved._replace(options=options, withheld={**(resolved.withheld or {}), **taken})


def withhold_foreign_secrets(
    options: dict[str, Any], owner: Host, hosts: Sequence[Host], variables: Iterable[str] = tuple(SECRETS.values())
) -> list[str]:
    """Do not use a secret of one host, the `owner`, which is in one of these `variables`, as a default for others. Returns warnings."""
    warnings = []
    found = _take_secrets(options, _secrets_in(owner, variables), SECRETS)
    if "client_cert" in found:
        found.pop("client_key", None)
    for option, variable in found.items():
        without = [host.name for host in hosts if host.name != owner.name and not host.has(SECRETS[option])]
        if without:
            warnings.append(
                f"{option} {'is' if variable == SECRETS[option] else 'holds'} the {variable} of {owner.name}, so it is not sent to hosts that have "
                f"none: {format_names(without)}. Set it as a variable of those hosts if it is meant for them too."
            )
    return warnings


def withhold_differing_secrets(
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    written: Written,
    hosts: Iterable[Host],
    variables_of: Callable[[Host], Mapping[str, Any]],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What takes the place of secrets in `options`, of what protects them, and of the port to which they are sent, that a template makes for one
    host and would not make for another one.

    `arguments` are the options as they were evaluated for the host of the task, and `variables_of` has the variables that the task would have on
    another host. A value is sent to another host only if the template has the same value there. Returns the options by host, and warnings.
    """
    among = (*SECRETS, *PROTECTION, "port")
    given = [option for option in among if is_set(arguments.get(option)) and options.get(option) not in (None, {})]
    templates = [option for option in given if written.is_template(option)]
    instead: dict[str, dict[str, Any]] = {}
    without: dict[str, list[str]] = {}
    for host in hosts:
        needed = [option for option in templates if not host.has(VARIABLES[option])]
        of_task = host._replace(variables=variables_of(host) if needed else {})
        for option in needed:
            parts, there = _parts(option, options[option]), _parts(option, written.value(option, of_task.template))
            left = _common(parts, _parts(option, arguments[option]), there)
            if left != parts:
                without.setdefault(option, []).append(host.name)
                instead.setdefault(host.name, {}).update(dict.fromkeys(_together(option), left or None))
    return instead, [
        f"{option} is a template that has another value, or none, for hosts without {VARIABLES[option]}: {format_names(names)}. So it "
        f"{'is not sent' if option in SECRETS else 'does not apply'} to them. Set {VARIABLES[option]} as a variable of those hosts. "
        "If one value is for all, such as that of a lookup, save it in an earlier task, with set_fact and run_once: true. "
        "In a play on localhost, use what was saved as hostvars.localhost.NAME."
        for option, names in without.items()
    ]


def _secrets_in(host: Host, variables: Iterable[str] = tuple(SECRETS.values())) -> dict[str, Any]:
    """The secrets of a host, by variable. One that cannot be used is left out: it cannot be in an option either."""
    found = {}
    for variable in variables:
        with contextlib.suppress(VariableError):
            value = host.variable(variable)
            if value is not None:
                found[variable] = _parts("headers", value) if variable == SECRETS["headers"] else value
    return found


def _take_what_is_made_of_secrets(options: dict[str, Any], host: Host, task: Any, written: Written, among: Iterable[str]) -> dict[str, str]:
    """Take out of options what contains a secret of a host, and what a template makes of one, such as the Basic form of its token, or of what
    protects it: without that variable, the template has another value. Returns the variables, by option.
    """
    secrets = _secrets_in(host)
    taken = _take_secrets(options, secrets, among)
    templates = [option for option in among if written.is_template(option)]
    if not templates:
        return taken
    for variable in [*secrets, *(VARIABLES[option] for option in PROTECTION if host.has(VARIABLES[option]))]:
        without = as_written(task, host, _without(host, variable))
        for option in templates:
            parts = _parts(option, options.get(option))
            left = _common(parts, parts, _parts(option, written.value(option, without.template)))
            if option in options and left != parts:
                taken[option] = variable
                _leave(options, option, left)
    return taken


def _take_secrets(options: dict[str, Any], secrets: Mapping[str, Any], among: Iterable[str]) -> dict[str, str]:
    """Take what holds a secret of a host out of options. Returns the variables that have it, by option."""
    given = {option: _parts(option, options[option]) for option in among if option in options}
    found = {}
    for option, parts in given.items():
        held = {name: variable for name, value in parts.items() if (variable := _source(option, name, value, secrets))}
        if held:
            found[option] = next(iter(held.values()))
            _leave(options, option, {name: value for name, value in parts.items() if name not in held})
    return found


def _leave(options: dict[str, Any], option: str, parts: Mapping[str, Any]) -> None:
    """Leave these parts of an option that held a secret, if there are any: headers."""
    for name in _together(option):
        options.pop(name, None)
    if parts:
        options[option] = parts


def _without(host: Host, variable: str) -> Host:
    """The host as if it did not have a variable, also where templates read it from ``hostvars``, ``vars`` or ``ansible_facts``."""

    def others(variables: Any) -> Any:
        if not isinstance(variables, Mapping):
            return variables
        return {
            name: others(value) if name in ("vars", "ansible_facts") else value for name, value in variables.items() if name != variable
        }

    variables = others(host.variables)
    if "hostvars" in variables:
        hostvars: Any = copy.copy(variables["hostvars"])
        raw_get = variables["hostvars"].raw_get
        # All lookups in hostvars go through it.
        hostvars.raw_get = lambda name: others(raw_get(name)) if name == host.name else raw_get(name)
        variables["hostvars"] = hostvars
    return host._replace(variables=variables)


def _parts(option: str, raw: Any) -> Mapping[str, Any]:
    """What of an option is judged by itself: each header, or the value of another option, which has no name."""
    value = headers_of(decrypted(raw)) if option == "headers" else decrypted(raw)
    return value if isinstance(value, Mapping) else {"": value}


def _common(parts: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are the same in one value of an option and in another one."""
    return {name: part for name, part in parts.items() if name in one and name in other and _text(one[name]) == _text(other[name])}


def _together(option: str) -> tuple[str, ...]:
    """The options that are of no use without this one."""
    return _CERTIFICATE if option in _CERTIFICATE else (option,)


def _source(option: str, name: str, value: Any, secrets: Mapping[str, Any]) -> str | None:
    """The variable whose secret is in the value of an option, or in that of one of its headers, which has this name."""
    if option in _CERTIFICATE:
        own_file = secrets.get(SECRETS[option])
        return SECRETS[option] if value and own_file and _path(value) == _path(own_file) else None
    headers = secrets.get(SECRETS["headers"], {})
    if any(str(name).lower() == str(mine).lower() and _text(value) == _text(headers[mine]) for mine in headers):
        return SECRETS["headers"]
    # What the value means to a server as a header: its words, and what HTTP Basic encodes.
    given = list(texts_of(_text(value)))
    token = _text(secrets.get(SECRETS["token"]))
    if token and (token in given or (len(token) >= _LONG_SECRET and any(token in each for each in given))):
        return SECRETS["token"]
    for mine, secret in headers.items():
        held = texts_of(_text(secret)) if str(mine).lower() in CREDENTIALS else [_text(secret)]
        if any(len(each) >= _LONG_SECRET and each in other for each in held for other in given):
            return SECRETS["headers"]
    return None


def _path(value: Any) -> str:
    """A file in one spelling: the check of an option puts in what ``~`` and ``$NAME`` stand for."""
    return str(unfrackpath(str(value), follow=False))


def _text(value: Any) -> str:
    """A secret as text: a token may be a number in YAML."""
    return "" if value is None else str(value).strip()
