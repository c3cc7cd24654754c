# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Errors and warnings, before a request is sent, about a server that may not be that of the host: because a module runs on another machine,
because a URL is of another one, or because one result counts for several hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ...module_utils._argspec import is_set
from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.ip_addresses import is_loopback, is_this_machine
from ...module_utils._http.option_checks import without_userinfo
from ...module_utils._text import format_names
from .addresses import leads_to
from .host import CONTROLLER_URL, VARIABLES, Host, VariableError, connection_of_play, variables_in_task
from .precedence import Resolved
from .written import WrittenOptions, includes_around

_SET_URL = "set lmstudio_controller_url to a URL of it"
_FROM_CONTROLLER = "query it from the controller, with model_info or model_assert and via: controller"
_WHERE = ("url", "port", "via")
"""The options that decide which server is asked."""


def check_task(
    action: Any,
    host: Host,
    endpoint: Endpoint,
    resolved: Resolved,
    written: WrittenOptions,
    resolve: Callable[[Mapping[str, Any], Host], Resolved],
) -> list[str]:
    """Warnings about the server that a task asks for its host. Raises an ``AnsibleError`` where it would be that of another one.

    `resolve` says what a host is asked with, from the options that the task has on it.
    """
    task = action._task
    # That of module_defaults is not the task's own.
    named_url = task.args.get("url") if "url" in written.own(action._templar) else None
    warnings = [
        loopback_warning([(host, endpoint)]) if resolved.on_controller else check_target(action._connection, host, endpoint, named_url),
        None if is_set(named_url) else _one_server_warning(task, host, endpoint, resolved.on_controller, written, resolve),
        _run_once_warning(task, host) if resolved.withheld is None else foreign_url_warning(endpoint, resolved, host),
    ]
    return [warning for warning in warnings if warning]


def check_target(connection: Any, host: Host, endpoint: Endpoint, named_url: Any) -> str | None:
    """Raise an ``AnsibleError`` where a module would query a machine other than its host. Returns a warning where it may.

    `connection` is the one that runs the module, on the host or on its delegate. `named_url` is the URL that the task itself gives, if
    it does: there, a loopback address means the machine that the module runs on.
    """
    if getattr(connection, "_remote_is_local", False):
        raise AnsibleError(
            f"the connection {connection.transport} runs modules on the controller, whose LM Studio would answer in place of the one on "
            f"{host.name}. Instead, {_FROM_CONTROLLER}."
        )
    if not is_loopback(endpoint.host):
        return None
    # A loopback address in the URL of the host means the host alone, even where the task passes it on.
    if host.delegate and (not is_set(named_url) or _base(named_url) == _base(host.variable(VARIABLES["url"]))):
        raise AnsibleError(
            f"the task is delegated to {host.delegate}, where {endpoint.url} is a server of {host.delegate} and not of {host.name}. Remove "
            f"delegate_to, or set lmstudio_url to an address of {host.name} that {host.delegate} reaches. Or query it from the controller: via: controller."
        )
    if host.delegate or connection.transport != "local" or (host.is_local and not _has_other_address(host)):
        return None
    what, value = ("address", without_userinfo(host.address)) if host.is_local else ("connection", host.connection)
    needs_url = host.is_local and host.has(VARIABLES["url"]) and not host.has(CONTROLLER_URL)
    return (
        f"the connection is local, so the controller answers for itself, although the {what} of {host.name} is {value}. "
        f"If {host.name} is another machine: {_SET_URL + ', and ' if needs_url else ''}{_FROM_CONTROLLER}."
    )


def _has_other_address(host: Host) -> bool:
    """Whether the inventory has an address or a port for a host that the controller itself does not need."""
    return host.has_port() if is_this_machine(host.address) else host.address != host.name


def _may_be_another_machine(host: Host) -> bool:
    """Whether the controller may answer in place of a host, because its connection is local."""
    try:
        return host.is_local and _has_other_address(host) and not host.has(CONTROLLER_URL)
    except VariableError:  # The connection was not needed, so it may be unusable.
        return False


def loopback_warning(asked: Iterable[tuple[Host, Endpoint]]) -> str | None:
    """A warning that the controller itself answers for hosts whose connection is local, although they may be other machines."""
    names = [host.name for host, endpoint in asked if is_this_machine(endpoint.host) and _may_be_another_machine(host)]
    if not names:
        return None
    return (
        f"the connection of {format_names(names)} is local, so at a loopback URL the controller answers for itself, although the inventory has "
        f"another address, or a port, to log in to. If that is another machine: {_SET_URL}."
    )


def foreign_url_warning(endpoint: Endpoint, resolved: Resolved, host: Host) -> str | None:
    """A warning that the URL of a task is not one of the host's servers, where that matters."""
    names = list(dict.fromkeys((resolved.withheld or {}).values()))
    do_not_apply = f", so {', '.join(names)} {'does' if len(names) == 1 else 'do'} not apply there" if names else ""
    if is_this_machine(endpoint.host) and not host.sends_request(resolved.on_controller):
        who = "the controller" if resolved.on_controller else host.delegate
        return f"{endpoint.url} is a server of {who} here, and its answer is not about {host.name}{do_not_apply}."
    if not names:
        return None
    return (
        f"{endpoint.url} is not a server of this host{do_not_apply}. If it is one, put it into lmstudio_url. "
        "If not, give the task what that server needs, such as token."
    )


def _one_server_warning(
    task: Any,
    host: Host,
    endpoint: Endpoint,
    on_controller: bool,
    written: WrittenOptions,
    resolve: Callable[[Mapping[str, Any], Host], Resolved],
) -> str | None:
    """A warning that one server of the controller answers for several hosts of the play, because their connection is local.

    The first host says it for all: if each looked at the others, a task would take time that grows with the square of their number.
    """
    batch = host.variables["ansible_play_batch"]
    if host.name not in batch[:1] or task.run_once or host.delegate or not is_loopback(endpoint.host):
        return None
    if (on_controller and host.has(CONTROLLER_URL)) or not host.is_local:
        return None

    def is_asked_there(name: str) -> bool:
        other = host._replace(
            name=name,
            variables=variables_in_task(task, name, host.variables),
            default_connection=connection_of_play(task, name, host.variables, host.templar),
        )
        options = {option: written.value(option, other.template) for option in _WHERE}
        if any(value is None and option in task.args for option, value in options.items()):
            return False  # It cannot be told, as where it is made of the variable of a loop.
        try:
            resolved = resolve(options, other)
            return other.is_local and leads_to(endpoint.url, resolved.options, resolved.default_url)
        except VariableError:
            return False  # Its own task says so.

    names = [name for name in batch[1:] if is_asked_there(name)]
    if not names:
        return None
    ways = [f"{_SET_URL} for each"] if on_controller or host.has(VARIABLES["url"]) else []
    ways += [] if on_controller else [_FROM_CONTROLLER]
    return (
        f"the connection of {format_names([host.name, *names])} is local, so one server of the controller, {endpoint.url}, answers for each of them. "
        f"If they are other machines: {', and '.join(ways)}."
    )


def _run_once_warning(task: Any, host: Host) -> str | None:
    """A warning that a task asks a server of this host alone: others get its result, or go on without."""
    others = [name for name in host.variables["ansible_play_batch"] if name != host.name]
    if others and task.run_once:
        alone = f"a task with run_once asks this host alone, and Ansible gives its result to {format_names(others)} as well."
    elif others and _is_included_once(task):
        alone = f"an include with run_once is for this host alone, and {format_names(others)} will not be asked."
    else:
        return None
    return f"{alone} Remove run_once, or use fleet_info or fleet_assert, which ask all hosts at once."


def _is_included_once(task: Any) -> bool:
    """Whether an include around a task is carried out for one host. With some strategies it is for each, as Ansible warns."""
    once = any(include.run_once is True for include in includes_around(task))
    return once and str(task.get_play().strategy).rpartition(".")[2] not in ("free", "host_pinned")


def _base(url: Any) -> str:
    return str(url).strip().rstrip("/")
