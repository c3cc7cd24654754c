# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action.normal import ActionModule as NormalAction

from ..module_utils._argspec import only_set
from ..module_utils._http.endpoint import TARGET_URL, Endpoint, connection_options, make_endpoint
from ..module_utils._http.ip_addresses import is_loopback
from ..module_utils._input_errors import OptionError
from ..module_utils._lmstudio.gathered import nothing_gathered
from ..plugin_utils._options.addresses import is_server_of_host
from ..plugin_utils._options.host import SECRETS, Host, connection_of_play, host_of_inventory, host_of_task
from ..plugin_utils._options.host_secrets import PROTECTION, withhold_from_server
from ..plugin_utils._options.precedence import Resolved
from ..plugin_utils._options.validate import refuse_conversions, validate_options
from ..plugin_utils._options.written import WrittenOptions
from ..plugin_utils._options.wrong_machine import check_target, check_task

_ADDRESS_SPEC = {name: connection_options()[name] for name in ("url", "port")}


class ActionModule(NormalAction):
    """Keeps the answer of another machine from becoming facts of this host, and the host's secrets from another server.

    ``gather_facts`` calls the module without this check.
    """

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        name = variables["inventory_hostname"]
        try:
            warnings = self._check(name, variables)
        except (AnsibleError, OptionError) as exc:
            return self._facts_of_failure({"failed": True, "msg": str(exc)})
        for warning in filter(None, warnings):
            self._display.warning(f"{name}: {warning}")
        try:
            return self._facts_of_failure(super().run(tmp, task_vars))
        except AnsibleConnectionFailure as exc:
            # With ignore_unreachable, the facts of before would count as the answer.
            if not self._task.ignore_unreachable:
                raise
            record = nothing_gathered({"msg": str(exc)})
            why = str(record["error"] and record["error"]["message"])
            # A result that is unreachable would have no facts, so Ansible shows this one as ok.
            self._display.warning(f"{name}: {why}")
            return {"changed": False, "msg": why, "ansible_facts": {"lmstudio": record}}

    def _facts_of_failure(self, result: dict[str, Any]) -> dict[str, Any]:
        """With failed_when, which can make an ok of a failure, a failed task has facts as well, so that those of before do not stay."""
        if result.get("failed") and self._task.failed_when:
            return {**result, "ansible_facts": {"lmstudio": nothing_gathered(result)}}
        return result

    def _check(self, name: str, task_vars: dict[str, Any]) -> Sequence[str | None]:
        given = only_set(self._task.args)
        refuse_conversions(connection_options(), given)
        address = validate_options(_ADDRESS_SPEC, {option: given[option] for option in _ADDRESS_SPEC if option in given})
        endpoint = make_endpoint(address, TARGET_URL)
        host = host_of_task(self._task, task_vars, self._templar)
        written = WrittenOptions(self._task, "gpufleet.lmstudio.model_facts")
        resolved = _resolve(given, host)
        if host.delegate and self._task.delegate_facts:
            connection = connection_of_play(self._task, host.delegate, task_vars, self._templar)
            delegate = host_of_inventory(host.delegate, task_vars["hostvars"], self._templar, connection)
            self._check_server_of(delegate, host, endpoint, resolved, written)
            if is_loopback(endpoint.host):
                return [check_target(self._connection, delegate, endpoint, None)]
        if resolved.withheld is not None:
            resolved = withhold_from_server(self, host, resolved, written, written.own(self._templar))
            self._task.args = resolved.options
        return check_task(self, host, endpoint, resolved, written, _resolve)

    def _check_server_of(self, delegate: Host, host: Host, endpoint: Endpoint, resolved: Resolved, written: WrittenOptions) -> None:
        """With delegate_facts the facts are those of the delegate, so the server and the secrets have to be, too."""
        if is_loopback(endpoint.host):
            for option in withhold_from_server(self, host, resolved, written, except_for=PROTECTION).withheld or ():
                raise AnsibleError(
                    f"{option} is that of {host.name}, and with delegate_facts the server is that of {delegate.name}. "
                    f"Set it to that of {delegate.name}, such as hostvars[{delegate.name!r}].{SECRETS.get(option, SECRETS['token'])}."
                )
        elif resolved.withheld is None and not is_server_of_host(resolved.options, delegate, on_controller=False):
            raise AnsibleError(
                f"{endpoint.url} is a server of {host.name}, and with delegate_facts its answer would become facts of {delegate.name}. "
                f"Remove delegate_facts, or set url to a server of {delegate.name}."
            )


def _resolve(options: Mapping[str, Any], host: Host) -> Resolved:
    """What a host is asked with. Its variables do not count."""
    given = only_set(options)
    is_own = "url" not in given or is_server_of_host(given, host, on_controller=False)
    return Resolved(given, {}, TARGET_URL, on_controller=False, withheld=None if is_own else {})
