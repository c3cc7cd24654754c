# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What the action plugins that ask one host share: the host's variables, and who asks."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _checks, _failures, _http, _masking, _refusals, _route, _unusual
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import is_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint, OptionError, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import Fetch
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._endpoint import LOCAL_CONNECTIONS, Host, of_nobody, of_task, validated

# Ansible loads this before it forks a worker for each host, and so none of them has to load these.
_LOADED_BEFORE_FORKS = (_http, _checks, _failures, _masking, _refusals, _route, _unusual)


class OneHostAction(ActionBase):
    """Adds the host's variables to the options, then asks: with the module on the target, or from here."""

    TRANSFERS_FILES = False
    MODULE: str
    """The short name of the module."""
    ERRORS: tuple[type[Exception], ...] = (AnsibleError, OptionError)
    """What options that cannot be used raise."""

    def spec(self, environment: bool) -> dict[str, Any]:
        """The argument spec of the module."""
        raise NotImplementedError

    def asks(self) -> bool:
        """Whether a server is asked, so that the variables of its host count."""
        return True

    def without_asking(self, options: dict[str, Any]) -> dict[str, Any] | None:
        """Check the options of this module, and return a result if they need no question."""
        return None

    def from_here(self, endpoint: Endpoint, fetch: Fetch, options: dict[str, Any]) -> dict[str, Any]:
        """The result of asking from the controller."""
        raise NotImplementedError

    def warn_of(self, answer: dict[str, Any], host: str) -> None:
        """Warn of what is in a result. Here, because a module does not know the name of its host, and equal warnings are shown once."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        via = self._task.args.get("via")
        on_controller = is_set(via) and via != "target"
        try:
            args = self._task.args
            resolved = of_task(args, self._host(task_vars), on_controller) if self.asks() else of_nobody(args)
            # What can be checked is checked here for both, because only here it is known where an option was set.
            options = validated(self.spec(environment=on_controller), resolved.options, resolved.names)
            answer = self.without_asking(options)
            if answer is None:
                endpoint = make_endpoint(options, resolved.default_url, resolved.names, files_here=on_controller)
                if on_controller:
                    answer = self._ask_from_here(endpoint, options)
                else:
                    self._need_python()
        except self.ERRORS as exc:
            # Not raised again: Ansible would show where in the code it happened, which helps nobody.
            answer = {"failed": True, "msg": str(exc)}
        if answer is None:
            # Outside of the try, so that a host that cannot be reached stays unreachable.
            answer = self._execute_module(module_name="gpufleet.lmstudio." + self.MODULE, module_args=resolved.options, task_vars=task_vars)
        self.warn_of(answer, task_vars["inventory_hostname"])
        result.update(answer)
        return result

    def _host(self, task_vars: dict[str, Any]) -> Host:
        connection = self._templar.template(task_vars.get("ansible_connection")) or self._task.connection
        return Host(
            name=task_vars["inventory_hostname"],
            variables=task_vars,
            template=self._templar.template,
            local=connection in LOCAL_CONNECTIONS,
        )

    def _need_python(self) -> None:
        if getattr(self._connection._shell, "_IS_WINDOWS", False):
            raise AnsibleError(
                f"{self.MODULE} cannot run on a Windows host, which has no Python for Ansible modules. Set via: controller, "
                "and start LM Studio there with --bind 0.0.0.0."
            )

    def _ask_from_here(self, endpoint: Endpoint, options: dict[str, Any]) -> dict[str, Any]:
        if _http.is_direct(endpoint):
            fetch = _http.fetch
        else:
            # Here, because nobody else needs its libraries, and each worker would have to load them.
            from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._transport import fetch

        warning = _masking.warning_of(endpoint)
        if warning:
            self._display.warning(warning)
        return self.from_here(endpoint, fetch, options)
