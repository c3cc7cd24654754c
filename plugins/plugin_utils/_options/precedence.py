# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which URL, token and TLS options belong to a host: whether an option or a host variable wins.

Plugins for one host: the task's option, then the host's variable, then the environment of the machine that sends the request, then the default.
Plugins for many hosts: the host's own variable, then the option, then the default; never the environment, because one token must not
go to the fleet. ``with_token_of_environment`` adds the token of the environment, and the argument spec has the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...module_utils._argspec import only_set
from ...module_utils._http.endpoint import TARGET_URL, Endpoint, connection_options, make_endpoint
from ...module_utils._http.tls import ProxyVariableError, check_route, tls_context
from ...module_utils._input_errors import OptionError
from ...module_utils._text import printable
from .addresses import address_url, is_loopback_url, is_server_of_host, reason_not_asked, with_host
from .combine import combine
from .host import CONTROLLER_URL, VARIABLES, VIA, Host, NotAsked, VariableError
from .templates import decrypted
from .validate import validate_options

_ADVICE_FOR_MANY = (
    "Set lmstudio_token of that host in the inventory, or the option token for all hosts without one, to an API token that is valid on that "
    "server. LM_API_TOKEN is not used here. If a proxy in front of the server requires other credentials, set lmstudio_headers."
)
_ADVICE_IF_NOT_VISIBLE = (
    "lmstudio_token is set in the play, the task or a role, where it does not apply when many hosts are asked: set it in the inventory "
    "(host_vars, group_vars), or give the option token. LM_API_TOKEN is not used here. "
    "If a proxy in front of the server requires other credentials, set lmstudio_headers."
)


class Resolved(NamedTuple):
    """What a host is asked with: what its variables set, or that and the options of a task."""

    options: dict[str, Any]
    """Raw options for an argument spec: those that were set somewhere."""
    names: dict[str, str]
    """The name under which an option was set, where that is not its own name."""
    default_url: str
    """Without a port."""
    on_controller: bool
    """Whether the controller sends the request."""
    not_asked: NotAsked | None = None
    """Why the host cannot be queried."""
    withheld: dict[str, str] | None = None
    """The variables of the host that do not apply at the task's own URL, by option. None where that is one of the host's servers."""


def resolve_task(task_options: Mapping[str, Any], host: Host) -> Resolved:
    """The options of a task that queries one host, from the machine that runs it or from the controller."""
    overrides, names = given_options(task_options), {}
    # Which machine can ask depends on the host, whichever server the task names.
    if "via" not in overrides and (via := host.variable(VIA)) is not None:
        overrides["via"], names["via"] = via, VIA
    on_controller = overrides.get("via", "target") != "target"
    if "url" in overrides and not is_server_of_host(overrides, host, on_controller):
        # Those that would apply at one of the host's servers.
        withheld = {option: name for option, name in combine(overrides, VARIABLES).items() if option not in overrides and host.has(name)}
        return Resolved(overrides, names, TARGET_URL, on_controller, withheld=withheld)
    own = _of_host(host, on_controller)
    names |= {option: name for option, name in own.names.items() if option not in overrides}
    not_asked = None if "url" in overrides else own.not_asked
    return own._replace(options=combine(overrides, own.options), names=names, not_asked=not_asked)


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set, as an argument spec takes them."""
    return only_set({option: decrypted(value) for option, value in options.items()})


def resolve_fleet(
    options: Mapping[str, Any],
    hosts: Iterable[Host],
    task_vars: Mapping[str, Any] | None = None,
    defaults_of: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Endpoint | NotAsked]:
    """The endpoint of each host among many, or why it has none, by its name.

    `options` are the defaults of hosts that have none of their own, and `defaults_of` has others for some hosts, by name. `task_vars` do not
    count; if they have a token, the advice says so.

    Raises ``AnsibleError`` or :class:`OptionError` for options that cannot be used. An error of one host only affects that host.
    """
    spec = connection_options()
    defaults = given_options({option: value for option, value in options.items() if option in spec})
    # Checked first, so that a later error of a host is an error in its variables, and not in the options.
    for_all = make_endpoint(validate_options(spec, defaults), TARGET_URL)
    if for_all.ca_path or for_all.client_cert:
        tls_context(for_all)
    # Most hosts differ in their URL alone, and checking an argument spec takes longer than all the rest.
    checked: dict[str, dict[str, Any]] = {}

    def endpoint_of(host: Host) -> Endpoint | NotAsked:
        own = _of_host(host, on_controller=True)
        of_host = {**defaults, **(defaults_of or {}).get(host.name, {})}
        if "port" in of_host and of_host["port"] is None:
            # Its URL names the port, whatever the port of the group is.
            own.options.pop("port", None)
        raw = only_set(combine(own.options, of_host))
        if own.not_asked and ("url" in own.options or not raw.get("url")):
            return own.not_asked
        url = str(raw.pop("url", ""))
        key = repr(raw)
        typed = checked.get(key) or checked.setdefault(key, validate_options(spec, raw, own.names))
        endpoint = make_endpoint({**typed, "url": url}, own.default_url, own.names)
        try:
            check_route(endpoint)
        except OptionError as exc:
            raise type(exc)(own.names.get(exc.option, exc.option), exc.problem) from None
        unseen = not endpoint.token and VARIABLES["token"] in (task_vars or {}) and VARIABLES["token"] not in host.variables
        return endpoint._replace(token_advice=_ADVICE_IF_NOT_VISIBLE if unseen else _ADVICE_FOR_MANY)

    found: dict[str, Endpoint | NotAsked] = {}
    for host in hosts:
        try:
            found[host.name] = endpoint_of(host)
        except VariableError as exc:
            found[host.name] = NotAsked(exc.reason, "Correct the variables of the host.")
        except ProxyVariableError as exc:
            hint = f"Correct that variable in the environment of the controller, or set {exc.option} to false."
            found[host.name] = NotAsked(str(exc).rstrip("."), hint)
        except Exception as exc:  # Whatever is wrong with the variables of one host, the others are asked.
            found[host.name] = NotAsked(printable(str(exc).rstrip("."), 300), "Correct the variables of the host.")
    return found


def _of_host(host: Host, on_controller: bool) -> Resolved:
    """What the host's variables set. Each may be a template, which takes longer than all else here, so it is evaluated once."""
    names = dict(VARIABLES)
    controller_url = host.variable(CONTROLLER_URL) if on_controller else None
    if controller_url is not None:
        names["url"] = CONTROLLER_URL
        # The port of the host belongs to the URL that this one replaces.
        del names["port"]
    own = only_set({option: controller_url if name == CONTROLLER_URL else host.variable(name) for option, name in names.items()})
    names = {option: names[option] for option in own}
    if not on_controller:
        return Resolved(own, names, TARGET_URL, on_controller)
    address = host.address
    at_address = "url" not in own
    if controller_url is None and "url" in own and not host.is_local and is_loopback_url(own["url"]):
        own["url"] = with_host(str(own["url"]), address)
        at_address = True
    return Resolved(own, names, address_url(address), on_controller, reason_not_asked(host, address) if at_address else None)
