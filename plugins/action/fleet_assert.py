# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.release import __version__

from ..module_utils._http.endpoint import Endpoint
from ..module_utils._input_errors import OptionError
from ..module_utils._lmstudio.gathered import extract_records
from ..module_utils._lmstudio.record_type import Record
from ..module_utils._requirements.messages import warnings_of
from ..plugin_utils._fleet.action import FleetAction
from ..plugin_utils._fleet.assertion import (
    FLEET_ASSERT_SPEC,
    FleetAssertion,
    ask_fleet_until_met,
    judge_given_records,
    parse_fleet_assertion,
)
from ..plugin_utils._fleet.records import ask_hosts
from ..plugin_utils._fleet.selection import refuse_other_values
from ..plugin_utils._options.addresses import machine_by_variables, same_server_by_records
from ..plugin_utils._options.server_identity import names_by_server, same_server_as

_GRACE_SECONDS = 0.5
"""A host whose own timeout ends together with its round reports its own failure, not that the round was over."""
_WITHOUT_RUN_ONCE = (
    "in a block with rescue or always, a task without run_once: true may stop the first host alone. Set run_once: true on it."
)


class ActionModule(FleetAction):
    MODULE = "fleet_assert"
    spec = FLEET_ASSERT_SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        if not self._task.run_once and _is_in_block_with_rescue_or_always(self._task):
            # After any failure, ansible-core 2.16 would go on with the others. If the host of the task is unreachable, it stops them all.
            how = "unreachable" if __version__.startswith("2.16.") else "failed"
            return {how: True, "msg": _WITHOUT_RUN_ONCE}
        return super().run(tmp, task_vars)

    def result_of(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        refuse_other_values(self._task, task_vars)
        if self._task.args.get("records", self) in ("", None):
            raise OptionError("records", "it is empty. Give what was gathered, or remove the option to ask the hosts.")
        assertion = parse_fleet_assertion(options)
        result = (
            self._ask(assertion, options, task_vars) if options["records"] is None else self._judge_given(assertion, options, task_vars)
        )
        for warning in [] if self._task.no_log else warnings_of(result):
            self._display.warning(warning)
        return result

    def _judge_given(self, assertion: FleetAssertion, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if options["hosts"] is not None:
            raise OptionError("records", "they say which hosts are meant. Remove one of records and hosts.")
        records = extract_records(options["records"], "records")
        shared = same_server_by_records(records, machine_by_variables(task_vars["hostvars"], self._templar))
        return judge_given_records(assertion, records, shared)

    def _ask(self, assertion: FleetAssertion, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        names = self.names_of(options["hosts"], task_vars)
        resolved, confirm = self.resolve(names, options, task_vars), options["confirm_loaded"]
        endpoints = {name: each._replace(confirm_loaded=confirm) for name, each in resolved.items() if isinstance(each, Endpoint)}
        resolved.update(endpoints)
        timeout = max((endpoint.timeout for endpoint in endpoints.values()), default=0.0)

        def ask(asked: Sequence[str], seconds: float) -> dict[str, Record]:
            of_round = {**options, "detail": assertion.detail, "fleet_timeout": min(options["fleet_timeout"], seconds + _GRACE_SECONDS)}
            return ask_hosts({name: resolved[name] for name in asked}, of_round)

        shared = same_server_as(names_by_server(endpoints.items()))
        return ask_fleet_until_met(assertion, names, shared, timeout, ask, progress=self._show_progress)

    def _show_progress(self, line: str) -> None:
        if not self._task.no_log:
            self._display.v(f"{self.MODULE}: {line}")


def _is_in_block_with_rescue_or_always(task: Any) -> bool:
    """Whether any block around a task has one of them."""
    around = task._parent
    while around:
        if getattr(around, "rescue", None) or getattr(around, "always", None):
            return True
        around = around._parent
    return False
