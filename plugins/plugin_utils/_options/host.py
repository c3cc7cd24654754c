# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""A host of the inventory: its variables, its connection, and the address at which the controller reaches it.

A task that is not delegated sees its host in its own variables. Under ``delegate_to``, Ansible puts the address and the connection of
the delegate there, so these two are then read from the inventory. Where many hosts are queried at once, all variables are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible import constants, context, errors
from ansible.errors import AnsibleError

from ...module_utils._argspec import is_set
from ...module_utils._http.endpoint import connection_options
from ...module_utils._http.ip_addresses import canonical_host
from ...module_utils._lmstudio.record import not_asked_record
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._text import printable
from .templates import decrypted, explain_template, explain_unreadable, is_template

CONTROLLER_URL = "lmstudio_controller_url"
VARIABLES = {option: f"lmstudio_{option}" for option in connection_options() if option != "max_response_bytes"}
"""The host variable of each option that has one. The limit of bytes protects the controller, so no host variable sets it."""
SECRETS = {option: VARIABLES[option] for option in ("token", "headers", "client_cert", "client_key")}
"""The host variable of each option that identifies who asks."""
VIA = "lmstudio_via"
"""Which machine sends the request, for plugins that ask one host and leave the choice."""
# A URL, or a path to a key, may be made of a secret.
_NEVER_QUOTED = (*SECRETS.values(), VARIABLES["url"], CONTROLLER_URL)
_LOCAL_CONNECTIONS = ("local", "ansible.builtin.local", "ansible.legacy.local")
# Connection plugins with variables of their own for the host and the port, and how these variables begin. With others, such as kubectl,
# the host may be that of something else.
_PREFIXES = {"ssh": "ssh", "smart": "ssh", "paramiko": "ssh", "paramiko_ssh": "ssh", "local": "ssh", "winrm": "winrm", "psrp": "psrp"}
# With these, one address may be that of several machines.
_JUMP_HOST_VARIABLES = (
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_ssh_args",
    "ansible_paramiko_proxy_command",
    "ansible_psrp_proxy",
)
# Raised since ansible-core 2.19 by a template whose result is omit.
_OMITTED_ERROR: Any = getattr(errors, "AnsibleValueOmittedError", ())


class NotAsked(NamedTuple):
    """Why a host cannot be queried."""

    reason: str
    """Completes a sentence that begins with "This host was not asked: "."""
    hint: str
    """What to do next."""

    def record(self, detail: str) -> Record:
        return not_asked_record(f"This host was not asked: {self.reason}.", self.hint, detail)


class VariableError(AnsibleError):
    """A variable of a host that cannot be templated or decrypted, or variables that cannot be read at all."""

    def __init__(self, variable: str, host: str, problem: str, cannot_be: str = "templated") -> None:
        problem = f"cannot be {cannot_be}: {printable(problem, 300)}"
        super().__init__(f"{variable} of host {host} {problem}")
        self.reason = f"its {variable} {problem}"


class _Unreadable(Mapping[str, Any]):
    """In place of the variables of a host that Ansible cannot read, as from a file that cannot be decrypted. Whoever needs one gets the error."""

    def __init__(self, error: VariableError) -> None:
        self._error = error

    def _raise(self, *_args: Any) -> Any:
        raise self._error

    __getitem__ = __iter__ = __len__ = _raise


def variables_or_error(name: str, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The variables of one host among many."""
    try:
        return read()
    except Exception as exc:  # Whatever Ansible raises, it is about this host alone.
        return _Unreadable(VariableError("variables", name, explain_unreadable(exc, name), "read"))


class Host(NamedTuple):
    """A host as the inventory knows it. Reading a variable that cannot be used raises :class:`VariableError`."""

    name: str
    variables: Mapping[str, Any]
    """As they are written."""
    templar: Any
    default_connection: str
    """Its connection where no variable sets one."""
    in_inventory: Mapping[str, Any]
    """Its variables in the inventory, as they are written. Empty for a host that is not in it."""
    delegate: str | None = None
    """The host that runs a task of it in its place."""

    def variable(self, name: str) -> Any:
        """A variable's value, or None when it is not set or empty."""
        raw = self.variables.get(name)
        if raw is None or (isinstance(raw, str) and not is_template(raw)):
            # Shortcut: for a thousand hosts, templating takes a twentieth of what asking them takes.
            return raw if is_set(raw) else None
        try:
            value = decrypted(self.template(raw))
        except _OMITTED_ERROR:
            return None
        except Exception as exc:  # Whatever a template raises, it is about this host alone.
            raise VariableError(name, self.name, explain_template(exc, raw, secret=name in _NEVER_QUOTED)) from None
        return value if is_set(value) else None

    def template(self, value: Any) -> Any:
        """A value whose templates see the variables of the host."""
        before = self.templar.available_variables
        self.templar.available_variables = self.variables
        try:
            return self.templar.template(value)
        finally:
            self.templar.available_variables = before

    def has(self, name: str) -> bool:
        """Whether a variable is set, even to a value that cannot be used."""
        try:
            return self.variable(name) is not None
        except VariableError:
            return True

    @property
    def connection(self) -> str:
        return str(self.variable("ansible_connection") or self.default_connection)

    @property
    def is_local(self) -> bool:
        """Whether its connection is local: then the controller is the host itself."""
        return self.connection in _LOCAL_CONNECTIONS

    def sends_request(self, on_controller: bool) -> bool:
        """Whether the machine that sends the request is the host itself: only then are loopback addresses those of the host."""
        return not self.delegate and (self.is_local or not on_controller)

    @property
    def address(self) -> str:
        """The name or address at which the controller reaches it."""
        return str(self.variable("ansible_host") or self.variable(self._connection_variable("host")) or self.name)

    def _connection_variable(self, what: str) -> str:
        """The connection plugin's own variable for the host or the port, besides ``ansible_host`` and ``ansible_port``."""
        return f"ansible_{_PREFIXES.get(self.connection.rpartition('.')[2], '')}_{what}"

    def has_port(self) -> bool:
        """Whether the inventory gives its connection a port."""
        return any(is_set(self.in_inventory.get(name)) for name in ("ansible_port", self._connection_variable("port")))

    def machine(self) -> tuple[str, ...]:
        """Which machine it is: equal for hosts that are logged in to in the same way, and empty for the controller."""
        if self.is_local:
            return ()
        if self.connection.rpartition(".")[2] not in _PREFIXES:
            return (self.name,)
        port = self.variable("ansible_port") or self.variable(self._connection_variable("port")) or 22
        return (canonical_host(self.address), str(port), *(str(self.variable(name)) for name in _JUMP_HOST_VARIABLES))


def host_of_task(task: Any, task_vars: Mapping[str, Any], templar: Any) -> Host:
    """The host of a task, wherever the task is delegated to."""
    name = task_vars["inventory_hostname"]
    own = variables_in_inventory(name, task_vars["hostvars"])
    connection = connection_of_play(task, name, task_vars, templar)
    delegate = str(task.delegate_to) if is_set(task.delegate_to) and task.delegate_to != name else None
    variables: Any = _without_delegate(task_vars, own) if delegate else _without_keyword(task, task_vars, connection, own)
    host = Host(name, variables, templar, connection, own, delegate=delegate)
    if delegate:
        # Ansible fills it in for a host without one, and a template may use it.
        variables.setdefault("ansible_host", host.address)
    return host


def host_of_inventory(name: str, hostvars: Mapping[str, Any], templar: Any, default_connection: str) -> Host:
    """A host of the inventory, with the variables that are its own: those of the inventory, facts and extra variables."""
    variables = variables_or_error(name, lambda: variables_in_inventory(name, hostvars))
    return Host(name, variables, templar, default_connection, variables)


def variables_in_inventory(name: str, hostvars: Any) -> Mapping[str, Any]:
    found = hostvars.raw_get(name)
    return {**found, "hostvars": hostvars} if isinstance(found, Mapping) else {}


def variables_in_task(task: Any, name: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with which Ansible would run a task on a host, as users wrote them: those of the play and its roles, too."""
    hostvars: Any = task_vars["hostvars"]
    found = hostvars._variable_manager.get_vars(
        play=task.get_play(),
        host=hostvars._inventory.get_host(name),
        task=task,
        include_hostvars=False,
        # Ansible would look for them again.
        _hosts=task_vars["ansible_play_hosts"],
        _hosts_all=task_vars["ansible_play_hosts_all"],
    )
    return {**found, "hostvars": hostvars}


def _without_keyword(task: Any, task_vars: Mapping[str, Any], connection: str, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables of a task as users wrote them, without the connection that Ansible fills in from the keyword of a task.

    That keyword says how a module gets to the host, or that it does not go there at all, but not which machine the host is.
    """
    if task_vars.get("ansible_connection") == connection or "ansible_connection" in own:
        return task_vars
    written = variables_in_task(task, task_vars["inventory_hostname"], task_vars)
    return {name: value for name, value in task_vars.items() if name != "ansible_connection" or name in written}


def _without_delegate(task_vars: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a delegated task, with those of the connection as the inventory has them (`own`) in place of the delegate's."""
    of_connection = set(constants.COMMON_CONNECTION_VARS).union(*constants.MAGIC_VARIABLE_MAPPING.values())
    variables = {variable: value for variable, value in task_vars.items() if variable not in of_connection}
    return {**variables, **{variable: own[variable] for variable in of_connection if variable in own}}


def connection_of_play(task: Any, name: str, task_vars: Mapping[str, Any], templar: Any) -> str:
    """The connection of a host of a play where no variable sets one: the play's keyword, or else the command line's."""
    keyword = task.get_play().connection
    if not is_template(keyword):
        return str(keyword)
    try:
        variables = variables_in_task(task, name, task_vars)
        return str(Host(name, variables, templar, "", variables).template(keyword))
    except Exception:  # Whatever Ansible raises: a connection that is not known is not a local one.
        return str(keyword)


def connection_of_command_line() -> str:
    """The connection of hosts where no variable sets one, and the keyword of a play cannot be seen."""
    return str(context.CLIARGS.get("connection") or constants.DEFAULT_TRANSPORT)
