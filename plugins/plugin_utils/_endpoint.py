# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which URL, token and TLS options belong to a host: who wins between an option and a host variable.

One-host doors: the task's option, then the host's variable, then the environment of the machine that asks, then the
default. The environment and the defaults are those of the argument spec, so they are not named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.errors import AnsibleError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import is_set, only_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import bracketed, is_loopback, names_port

CONTROLLER_URL = "lmstudio_controller_url"
VARIABLES = {
    option: "lmstudio_" + option
    for option in (
        "url",
        "port",
        "token",
        "headers",
        "timeout",
        "validate_certs",
        "ca_path",
        "client_cert",
        "client_key",
        "use_proxy",
    )
}
"""The host variable of each option that has one."""


class Host(NamedTuple):
    """A host as the inventory knows it, with a function that templates one of its variables."""

    name: str
    variables: Mapping[str, Any]
    template: Callable[[Any], Any]
    local: bool
    """Whether its connection is local: then the controller is the host itself."""

    def variable(self, name: str) -> Any:
        """A variable's value, or None when it is not set or empty."""
        if name not in self.variables:
            return None
        try:
            value = self.template(self.variables[name])
        except AnsibleError as exc:
            raise AnsibleError(f"{name} of host {self.name} cannot be templated: {exc}") from None
        return value if is_set(value) else None

    def address(self) -> str:
        """What the controller calls it."""
        return str(self.variable("ansible_host") or self.name)


class Resolved(NamedTuple):
    options: dict[str, Any]
    """Raw options for an argument spec: those that were set somewhere."""
    names: dict[str, str]
    """How the option was called where it was set, where that is not its own name."""
    default_url: str
    """Without a port."""


def for_target(task_options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """The options for a module that runs on the host."""
    return _merged(task_options, host, _url_variables(host, on_controller=False)).options


def for_controller(task_options: Mapping[str, Any], host: Host) -> Resolved:
    """The options for asking the host from the controller."""
    return _merged(task_options, host, _url_variables(host, on_controller=True))


def _merged(task_options: Mapping[str, Any], host: Host, url_variables: dict[str, tuple[str, Any]]) -> Resolved:
    options = only_set(task_options)
    names = {}
    inherited = dict(url_variables)
    for option, name in VARIABLES.items():
        if option not in ("url", "port"):
            inherited[option] = (name, host.variable(name))
    if "url" in options and ("port" in options or names_port(str(options["url"]))):
        # A URL of the task is whole: the host's port belonged to the URL it replaces.
        inherited.pop("port", None)
    for option, (name, value) in inherited.items():
        if option not in options and value is not None:
            options[option] = value
            names[option] = name
    return Resolved({option: _decrypted(value) for option, value in options.items()}, names, "http://" + bracketed(host.address()))


def _decrypted(value: Any) -> Any:
    """Plain text in place of the vaulted strings of ansible-core before 2.19, which argument specs do not take."""
    if isinstance(value, Mapping):
        return {name: _decrypted(item) for name, item in value.items()}
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value


def _url_variables(host: Host, on_controller: bool) -> dict[str, tuple[str, Any]]:
    """The host variables that say where its server is, as the asking machine sees it."""
    if on_controller:
        controller_url = host.variable(CONTROLLER_URL)
        if controller_url is not None:
            return {"url": (CONTROLLER_URL, controller_url)}
    url = host.variable(VARIABLES["url"])
    if on_controller and url is not None and not host.local:
        url = _seen_from_outside(str(url), host.address())
    return {"url": (VARIABLES["url"], url), "port": (VARIABLES["port"], host.variable(VARIABLES["port"]))}


def _seen_from_outside(url: str, address: str) -> str:
    """A loopback URL means the host itself: ask the host instead, with the same scheme, port and path."""
    try:
        parts = urlsplit(url.strip())
        if not is_loopback(parts.hostname or "") or "@" in parts.netloc:
            return url
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return url
    return parts._replace(netloc=bracketed(address) + port).geturl()
