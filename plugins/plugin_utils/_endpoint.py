# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which URL, token and TLS options belong to a host: who wins between an option and a host variable.

One-host doors: the task's option, then the host's variable, then the environment of the machine that asks, then the
default. Many-host doors: the host's own variable, then the option, then the default; never the environment, because one
token must not go to the fleet. The environment and the defaults are those of the argument spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible import errors
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import connection_spec, is_set, only_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import (
    TARGET_URL,
    Endpoint,
    OptionError,
    authorizes,
    bracketed,
    is_loopback,
    make_endpoint,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options import without_secrets

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

LOCAL_CONNECTIONS = ("local", "ansible.builtin.local", "ansible.legacy.local")


# What a template that comes to omit raises since ansible-core 2.19.
_OMITTED_ERROR: Any = getattr(errors, "AnsibleValueOmittedError", ())


_SECRET = (VARIABLES["token"], VARIABLES["headers"])


class Host(NamedTuple):
    """A host as the inventory knows it, with a function that templates one of its variables."""

    name: str
    variables: Mapping[str, Any]
    template: Callable[[Any], Any]
    local: bool
    """Whether its connection is local: then the controller is the host itself."""
    spelled: str = ""
    """The URL or the ``NAME:PORT`` by which the user asks for it, if that says more than its name."""

    def variable(self, name: str) -> Any:
        """A variable's value, or None when it is not set or empty."""
        try:
            if name not in self.variables:
                return None
            value = _decrypted(self.template(self.variables[name]))
        except _OMITTED_ERROR:
            return None
        except AnsibleError as exc:
            problem = str(exc)
            if name in _SECRET:
                # Before ansible-core 2.19 the error shows the text.
                undefined = re.search(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined", problem)
                problem = f"{undefined[1]} is not defined" if undefined else "a text with {{ or {% in it that is no template needs !unsafe"
            raise AnsibleError(f"{name} of host {self.name} cannot be templated: {problem}") from None
        if isinstance(value, str) and "{{" in value:
            # Before ansible-core 2.19, hostvars hand over a template as it is when a variable in it is undefined.
            raise AnsibleError(f"{name} of host {self.name} cannot be templated: a variable in it is not defined")
        return value if is_set(value) else None

    def address(self) -> str:
        """What the controller calls it."""
        return str(self.variable("ansible_host") or self.name)


def host_of(name: str, hostvars: Mapping[str, Any]) -> Host:
    """A host of the inventory, with the variables that are its own: those of the inventory, facts and extra variables."""
    variables = hostvars[name]
    plain = Host(name, variables, lambda value: value, local=False)
    return plain._replace(local=plain.variable("ansible_connection") in LOCAL_CONNECTIONS)


class Resolved(NamedTuple):
    options: dict[str, Any]
    """Raw options for an argument spec: those that were set somewhere."""
    names: dict[str, str]
    """How the option was called where it was set, where that is not its own name."""
    default_url: str
    """Without a port."""


def of_task(task_options: Mapping[str, Any], host: Host, on_controller: bool) -> Resolved:
    """The options of a task that asks one host, from the host itself or from the controller."""
    own, names = _own_options(host, on_controller)
    strong = only_set(task_options)
    names = {option: name for option, name in names.items() if option not in strong}
    return Resolved(_combined(strong, own), names, _address_url(host) if on_controller else TARGET_URL)


def of_nobody(task_options: Mapping[str, Any]) -> Resolved:
    """The options of a task that asks no host."""
    return Resolved(_combined(dict(task_options), {}), {}, "")


def in_fleet(options: Mapping[str, Any], hosts: Iterable[Host]) -> list[Endpoint]:
    """The endpoint of each host among many. `options` are defaults for hosts that have none of their own, and so is how a host
    is spelled.

    Raises ``AnsibleError`` that names every host with variables that cannot be used.
    """
    spec = connection_spec(environment=False)
    weak = only_set({option: value for option, value in options.items() if option in spec})
    # Most hosts differ in their URL alone, and checking an argument spec takes longer than all the rest.
    checked: dict[str, dict[str, Any]] = {}
    endpoints, problems = [], []
    for host in hosts:
        try:
            own, names = _own_options(host, on_controller=True)
            if names_port(host.spelled):
                # The port of the endpoint is that of the endpoint, whatever the port of the group is.
                own.pop("port", None)
            raw = _combined(own, spelled_out(weak, host.spelled))
            url = raw.pop("url") if isinstance(raw.get("url"), str) else None
            key = repr(raw)
            typed = checked.get(key) or checked.setdefault(key, validated(spec, raw, names))
            endpoints.append(make_endpoint({**typed, "url": url or typed["url"]}, _address_url(host), names))
        except (AnsibleError, OptionError) as exc:
            problems.append(f"host {host.name}: {exc}")
    if problems:
        raise AnsibleError("\n".join(problems))
    return endpoints


def spelled_out(options: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The options for a URL, a ``NAME:PORT``, or a plain name or address, which adds nothing to them."""
    if "://" in text:
        return {**options, "url": text}
    if names_port(text):
        return {**options, "url": f"http://{text}", "port": None}
    return dict(options)


def names_port(text: str) -> bool:
    """Whether a ``NAME:PORT`` has a port."""
    return "://" not in text and (text.count(":") == 1 or "]:" in text)


def validated(spec: Mapping[str, Any], options: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The options with the types and defaults of an argument spec. `names` says how an option was called where it was set.

    Raises ``AnsibleError`` without showing a secret.
    """
    unknown = sorted(set(options) - set(spec))
    if unknown:
        raise AnsibleError(f"unknown option {', '.join(unknown)}. The options are {', '.join(sorted(spec))}.")
    result = ArgumentSpecValidator(spec).validate(options)
    if result.error_messages:
        # Ansible puts names of its own classes between, which tell nobody anything.
        message = "; ".join(
            re.sub(r" is of type .*unable to convert to (\w+).*", r" cannot be converted to \1", message)
            for message in result.error_messages
        )
        for option, name in (names or {}).items():
            message = message.replace(f"'{option}'", f"'{name}'")
        raise AnsibleError(without_secrets(message, options))
    return dict(result.validated_parameters)


def _address_url(host: Host) -> str:
    return "http://" + bracketed(host.address())


def _combined(strong: dict[str, Any], weak: dict[str, Any]) -> dict[str, Any]:
    """Both, where the strong options win. What only makes sense together comes from one side."""
    weak = dict(weak)
    if "url" in strong:
        weak.pop("port", None)
    if "client_cert" in strong or "client_key" in strong:
        weak.pop("client_cert", None)
        weak.pop("client_key", None)
    if authorizes(strong.get("headers")):
        weak.pop("token", None)
    if "token" in strong and authorizes(weak.get("headers")):
        weak["headers"] = {name: value for name, value in weak["headers"].items() if not authorizes({name: value})}
    return only_set({option: _decrypted(value) for option, value in {**weak, **strong}.items()})


def _own_options(host: Host, on_controller: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that the host's variables set, and the names of those variables."""
    names = dict(VARIABLES)
    for_controller = host.variable(CONTROLLER_URL) if on_controller else None
    if for_controller is not None:
        # The port of the host belongs to the URL that this one replaces.
        del names["url"], names["port"]
    own = {option: value for option, name in names.items() if (value := host.variable(name)) is not None}
    if for_controller is not None:
        names["url"], own["url"] = CONTROLLER_URL, for_controller
    elif on_controller and "url" in own and not host.local:
        own["url"] = _seen_from_outside(str(own["url"]), host.address())
    return own, {option: names[option] for option in own}


def _decrypted(value: Any) -> Any:
    """Plain text in place of the vaulted strings of ansible-core before 2.19, which argument specs do not take."""
    if isinstance(value, Mapping):
        return {name: _decrypted(item) for name, item in value.items()}
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value


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
