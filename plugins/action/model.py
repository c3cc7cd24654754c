# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ..module_utils._http.endpoint import Endpoint
from ..module_utils._lmstudio.record import Fetch
from ..module_utils._lmstudio.record_type import Record
from ..module_utils._model_state.acting import ensure_state
from ..module_utils._model_state.client import Client
from ..module_utils._model_state.results import not_asked_result
from ..module_utils._model_state.spec import MODEL_SPEC, Wanted, check_given, parse_wanted
from ..plugin_utils._action import OneHostAction


class ActionModule(OneHostAction):
    MODULE = "model"
    spec = MODEL_SPEC
    _supports_async = True
    """With ``via: target``."""

    def early_result(self) -> None:
        check_given(self._task.args)

    def parse(self, options: dict[str, Any]) -> Wanted:
        return parse_wanted(options)

    def run_on_controller(self, endpoint: Endpoint, fetch: Fetch, parsed: Wanted) -> dict[str, Any]:
        def show(line: str) -> None:
            if not self._task.no_log:
                self._display.display(f"{self.MODULE}, {endpoint.url}: {line}")

        return ensure_state(parsed, Client(endpoint, fetch, progress=show), self._task.check_mode)

    def result_of(self, record: Record, parsed: Wanted) -> dict[str, Any]:
        return not_asked_result(parsed, record)
