# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ..module_utils._argspec import is_set
from ..module_utils._assertion import MODEL_ASSERT_SPEC, Assertion, judge_given_record, judge_record, parse_assertion, poll_until_met
from ..module_utils._http.endpoint import Endpoint
from ..module_utils._input_errors import OptionError
from ..module_utils._lmstudio.gathered import nothing_gathered
from ..module_utils._lmstudio.record import Fetch
from ..module_utils._lmstudio.record_type import Record
from ..plugin_utils._action import OneHostAction
from ..plugin_utils._options.precedence import given_options
from ..plugin_utils._options.validate import validate_options


class ActionModule(OneHostAction):
    MODULE = "model_assert"
    spec = MODEL_ASSERT_SPEC

    def _execute_module(self, **given: Any) -> dict[str, Any]:
        try:
            return dict(super()._execute_module(**given))
        except AnsibleConnectionFailure as exc:
            # With ignore_unreachable, a host that cannot be reached would count as passed.
            if not self._task.ignore_unreachable:
                raise
            return judge_record(self._parse_args(), nothing_gathered({"msg": str(exc)}))

    def early_result(self) -> dict[str, Any] | None:
        args = self._task.args
        if args.get("record", self) in ("", None):
            raise OptionError("record", "it is empty. Give what was gathered, or remove the option to ask the server.")
        return judge_given_record(self._parse_args()) if is_set(args.get("record")) else None

    def _parse_args(self) -> Assertion:
        return self.parse(validate_options(self.spec, given_options(self._task.args)))

    def parse(self, options: dict[str, Any]) -> Assertion:
        return parse_assertion(options)

    def result_of(self, record: Record, parsed: Assertion) -> dict[str, Any]:
        return judge_record(parsed, record)

    def run_on_controller(self, endpoint: Endpoint, fetch: Fetch, parsed: Assertion) -> dict[str, Any]:
        def show_progress(line: str) -> None:
            if not self._task.no_log:
                self._display.v(f"{self.MODULE}, {endpoint.url}: {line}")

        return poll_until_met(parsed, endpoint, fetch, progress=show_progress)
