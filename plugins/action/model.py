# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Fetch
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.acting import bring_about
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.results import not_asked_result
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.server import SECONDS_BETWEEN_LINES, Server
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import Wanted, check_given, model_spec, parse_wanted
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._action import OneHostAction


class ActionModule(OneHostAction):
    MODULE = "model"
    spec = staticmethod(model_spec)
    _supports_async = True
    """With ``via: target``."""

    def _ask(self, task_vars: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        check_given(self._task.args)
        return super()._ask(task_vars)

    def parse(self, options: dict[str, Any]) -> Wanted:
        return parse_wanted(options)

    def run_on_controller(self, endpoint: Endpoint, fetch: Fetch, wanted: Wanted) -> dict[str, Any]:
        def show(line: str) -> None:
            if not self._task.no_log:
                self._display.display(f"{self.MODULE}, {endpoint.url}: {line}")

        def fetch_and_tell(endpoint: Endpoint, request: Request) -> Response:
            # Only a load has a deadline of its own. The server answers when the load has ended.
            if request.timeout is None:
                return fetch(endpoint, request)
            with _telling(lambda seconds: show(f"still loading, {seconds:.0f} of at most {request.timeout:.0f} seconds")):
                return fetch(endpoint, request)

        return bring_about(wanted, Server(endpoint, fetch_and_tell, progress=show), self._task.check_mode)

    def result_of(self, record: Record, wanted: Wanted) -> dict[str, Any]:
        return not_asked_result(wanted, record)


@contextlib.contextmanager
def _telling(tell: Any) -> Iterator[None]:
    """Tell every few seconds how long it has taken so far."""
    ended = threading.Event()

    def run() -> None:
        seconds = 0.0
        while not ended.wait(SECONDS_BETWEEN_LINES):
            seconds += SECONDS_BETWEEN_LINES
            tell(seconds)

    thread = threading.Thread(target=run, daemon=True, name="lmstudio-progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
