# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import is_set, model_info_spec, without_secrets
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import OptionError, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import ask, explain
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._endpoint import Host, for_controller, for_target
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._transport import fetch

MODULE = "gpufleet.lmstudio.model_info"


class ActionModule(ActionBase):
    """Adds the host's variables to the options, then asks: with the module on the target, or from here."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        via = self._task.args.get("via")
        host = self._host(task_vars)
        if not is_set(via) or via == "target":
            result.update(self._ask_on_target(host, task_vars))
        else:
            result.update(self._ask_from_here(host))
        return result

    def _host(self, task_vars: dict[str, Any]) -> Host:
        connection = self._templar.template(task_vars.get("ansible_connection")) or self._task.connection
        return Host(
            name=task_vars["inventory_hostname"],
            variables=task_vars,
            template=self._templar.template,
            local=connection in ("local", "ansible.builtin.local", "ansible.legacy.local"),
        )

    def _ask_on_target(self, host: Host, task_vars: dict[str, Any]) -> dict[str, Any]:
        if getattr(self._connection._shell, "_IS_WINDOWS", False):
            raise AnsibleActionFail(
                "model_info cannot run on a Windows host, which has no Python for Ansible modules. Set via: controller, "
                "and start LM Studio there with --bind 0.0.0.0."
            )
        answer: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=for_target(self._task.args, host), task_vars=task_vars
        )
        return answer

    def _ask_from_here(self, host: Host) -> dict[str, Any]:
        resolved = for_controller(self._task.args, host)
        validated = ArgumentSpecValidator(model_info_spec()).validate(resolved.options)
        if validated.error_messages:
            raise AnsibleActionFail(without_secrets("; ".join(validated.error_messages), resolved.options))
        options = validated.validated_parameters
        try:
            endpoint = make_endpoint(options, resolved.default_url, resolved.names)
            warning = endpoint.warning()
            if warning:
                self._display.warning(warning)
            record = ask(endpoint, fetch, options["detail"])
        except OptionError as exc:
            raise AnsibleActionFail(str(exc)) from None
        answer = {"changed": False, "lmstudio": record}
        if options["on_error"] == "fail" and not record["ok"]:
            answer.update(failed=True, msg=explain(record))
        return answer
