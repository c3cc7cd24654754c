# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ..module_utils._argspec import MODEL_INFO_SPEC
from ..module_utils._http.endpoint import Endpoint
from ..module_utils._lmstudio.record import Fetch, ask, info_result
from ..module_utils._lmstudio.record_type import Record
from ..plugin_utils._action import OneHostAction


class ActionModule(OneHostAction):
    MODULE = "model_info"
    spec = MODEL_INFO_SPEC

    def run_on_controller(self, endpoint: Endpoint, fetch: Fetch, parsed: dict[str, Any]) -> dict[str, Any]:
        return self.result_of(ask(endpoint, fetch, parsed["detail"]), parsed)

    def result_of(self, record: Record, parsed: dict[str, Any]) -> dict[str, Any]:
        return info_result(record, parsed["on_error"])
