# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether the server that is queried is that of the host, or another one, such as that of the machine that runs a module in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import is_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.hosts import is_loopback, is_this_machine
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import without_userinfo
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host import VARIABLES, Host

_FROM_CONTROLLER = "Query it from the controller, with model_info or model_assert and via: controller."


def check_target(connection: Any, host: Host, endpoint: Endpoint, named_url: Any) -> str | None:
    """Raise an ``AnsibleError`` where a module would query a machine other than its host. Returns a warning where it may.

    `connection` is the one that runs the module, on the host or on its delegate. `named_url` is the URL that the task itself gives, if
    it does: there, a loopback address means the machine that the module runs on.
    """
    if getattr(connection, "_remote_is_local", False):
        raise AnsibleError(
            f"the connection {connection.transport} runs modules on the controller, whose LM Studio would answer in place of the one on "
            f"{host.name}. {_FROM_CONTROLLER}"
        )
    if not is_loopback(endpoint.host):
        return None
    # A loopback address in the URL of the host means the host alone, even where the task passes it on.
    if host.delegate and (not is_set(named_url) or _base(named_url) == _base(host.variable(VARIABLES["url"]))):
        raise AnsibleError(
            f"the task is delegated to {host.delegate}, where {endpoint.url} is a server of {host.delegate} and not of {host.name}. Remove "
            f"delegate_to, or set lmstudio_url to an address of {host.name} that {host.delegate} reaches. Or query it from the controller: via: controller."
        )
    if host.delegate or connection.transport != "local":
        return None
    address = host.address
    if not host.is_local:
        why = f"the connection of {host.name} is {host.connection}"
    elif host.has_port() if is_this_machine(address) else address != host.name:
        why = f"the address of {host.name} is {without_userinfo(address)}"
    else:
        return None
    return (
        f"the connection is local, so the controller answers for itself, although {why}. "
        f"If {host.name} is another machine: {_FROM_CONTROLLER[0].lower()}{_FROM_CONTROLLER[1:]}"
    )


def foreign_url_warning(endpoint: Endpoint, withheld: Sequence[str], host: Host, on_controller: bool) -> str | None:
    """A warning that the URL of a task is not one of the host's servers, where that matters."""
    do_not_apply = f", so {', '.join(withheld)} {'does' if len(withheld) == 1 else 'do'} not apply there" if withheld else ""
    if is_this_machine(endpoint.host) and not host.sends_request(on_controller):
        who = "the controller" if on_controller else host.delegate
        return f"{endpoint.url} is a server of {who} here, and its answer is not about {host.name}{do_not_apply}."
    if not withheld:
        return None
    return (
        f"{endpoint.url} is not a server of this host{do_not_apply}. If it is one, put it into lmstudio_url. "
        "If not, give the task what that server needs, such as token."
    )


def _base(url: Any) -> str:
    return str(url).strip().rstrip("/")
