# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Shared by the action plugins that ask one host: the host's variables, and which machine sends the request."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._argspec import TOKEN_VARIABLE, with_token_of_environment
from ..module_utils._http import blocking
from ..module_utils._http.endpoint import CONTROLLER, Endpoint, make_endpoint
from ..module_utils._input_errors import InputError
from ..module_utils._lmstudio.masking import short_secret_warning
from ..module_utils._lmstudio.record import FULL, Fetch
from ..module_utils._lmstudio.record_type import Record
from ..module_utils._requirements.messages import warnings_of
from ._options.host import host_of_task
from ._options.host_secrets import withhold_from_server
from ._options.precedence import resolve_task
from ._options.validate import validate_options
from ._options.written import WrittenOptions
from ._options.wrong_machine import check_task

_ENVIRONMENT_ADVICE = (
    f"{TOKEN_VARIABLE} in the keyword environment applies to modules that run on hosts. With via: controller, give token or "
    f"lmstudio_token, or set {TOKEN_VARIABLE} where Ansible itself is started. "
    "If a proxy in front of the server requires other credentials, set headers."
)


class OneHostAction(ActionBase):
    """Adds the host's variables to the options, then asks: with the module on the target, or from the controller."""

    TRANSFERS_FILES = False
    MODULE: str
    """The short name of the module."""
    spec: dict[str, Any]
    """The argument spec of the module."""

    def early_result(self) -> dict[str, Any] | None:
        """The result where no server has to be asked, or None. Raises an ``InputError`` for options that Ansible's own check would take for others."""
        return None

    def parse(self, options: dict[str, Any]) -> Any:
        """What the options of this module come to. Raises an ``InputError`` before any request."""
        return options

    def run_on_controller(self, endpoint: Endpoint, fetch: Fetch, parsed: Any) -> dict[str, Any]:
        """The result of asking from the controller."""
        raise NotImplementedError

    def result_of(self, record: Record, parsed: Any) -> dict[str, Any]:
        """The result for a record that was made without asking."""
        raise NotImplementedError

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            answer = self.early_result()
            if answer is None:
                answer, args = self._ask(task_vars)
        except (AnsibleError, InputError) as exc:
            # Not raised again: Ansible would show where in the code it happened, which helps nobody.
            answer = {"failed": True, "msg": str(exc)}
        if answer is None:
            # Outside of the try, so that a host that cannot be reached stays unreachable.
            in_background = bool(self._task.async_val) and not self._connection.has_native_async
            answer = self._execute_module(
                module_name="gpufleet.lmstudio." + self.MODULE, module_args=args, task_vars=task_vars, wrap_async=in_background
            )
        # Here, because a module does not know the name of its host, and equal warnings are shown once.
        for warning in [] if self._task.no_log else warnings_of(answer):
            self._display.warning(f"{task_vars['inventory_hostname']}: {warning}")
        result.update(answer)
        return result

    def _ask(self, task_vars: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The result, or None and the module's arguments where the module is to ask."""
        host = host_of_task(self._task, task_vars, self._templar)
        written = WrittenOptions(self._task, "gpufleet.lmstudio." + self.MODULE)
        resolved = resolve_task(self._task.args, host)
        if resolved.withheld is not None:
            resolved = withhold_from_server(self, host, resolved, written, written.own(self._templar))
        given = with_token_of_environment(resolved.options) if resolved.on_controller else resolved.options
        # Checked for modules, too, because only here is it known where an option was set.
        options = validate_options(self.spec, given, resolved.names)
        parsed = self.parse(options)
        if resolved.not_asked:
            return self.result_of(resolved.not_asked.record(options.get("detail", FULL)), parsed), {}
        self._check_via(resolved.on_controller)
        endpoint = make_endpoint(options, resolved.default_url, resolved.names, machine=CONTROLLER if resolved.on_controller else None)
        for warning in check_task(self, host, endpoint, resolved, written, resolve_task):
            self._display.warning(f"{host.name}: {warning}")
        if resolved.on_controller:
            return self._query_from_controller(endpoint, parsed), {}
        return None, resolved.options

    def _check_via(self, on_controller: bool) -> None:
        """Raise an ``AnsibleError`` where that machine cannot ask."""
        if on_controller and self._task.async_val:
            raise AnsibleError(
                "via: controller asks from Ansible's own process, which cannot run in the background. Remove async, or set via: target."
            )
        if not on_controller and getattr(self._connection._shell, "_IS_WINDOWS", False):
            raise AnsibleError(
                f"{self.MODULE} cannot run on a Windows host, which has no Python for Ansible modules. Set via: controller, or lmstudio_via "
                "for all such hosts, and start LM Studio there with --bind 0.0.0.0. Let it require a token: the network can reach it then."
            )

    def _query_from_controller(self, endpoint: Endpoint, parsed: Any) -> dict[str, Any]:
        fetch: Fetch = blocking.fetch
        if not blocking.is_direct(endpoint):
            # Imported here, because nothing else needs its libraries, and each worker would have to load them.
            from ._requests import fetch

        warning = short_secret_warning(endpoint)
        if warning:
            self._display.warning(warning)
        if not endpoint.token and any(TOKEN_VARIABLE in part for part in self._task.environment):
            endpoint = endpoint._replace(token_advice=_ENVIRONMENT_ADVICE)
        return self.run_on_controller(endpoint, fetch, parsed)
