# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ..plugin_utils._fleet.action import FleetAction
from ..plugin_utils._fleet.records import ask_hosts
from ..plugin_utils._fleet.summary import failure_lines, failure_warning, summary_of
from ..plugin_utils._options.argspec import FLEET_INFO_SPEC


class ActionModule(FleetAction):
    MODULE = "fleet_info"
    spec = FLEET_INFO_SPEC

    def result_of(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        names = self.names_of(options["hosts"], task_vars)
        records = ask_hosts(self.resolve(names, options, task_vars), options)
        result: dict[str, Any] = {"changed": False, "summary": summary_of(records)}
        if not options["quiet"]:
            result["hosts"] = records
        if options["on_error"] == "fail" and result["summary"]["not_ok"]:
            result.update(failed=True, msg="\n".join(failure_lines(records)))
        elif options["on_error"] == "warn" and result["summary"]["not_ok"]:
            self._display.warning(failure_warning(records), formatted=True)
        return result
