# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What one endpoint is asked, request by request: its list of models, and what follows from the answer."""

from __future__ import annotations

import time

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import AUTO, V0, V1, Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.documents import read_document
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import LIST_MODELS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v0 import LIST_MODELS_V0

_LEAST_SECONDS = 0.01


class Question:
    """A driver sends `request` and passes its result to `take`, until `request` is None. The timeout of the endpoint is for all of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._began = time.monotonic()
        self.api = V0 if endpoint.api == V0 else V1
        """Which list `answer` is."""
        self.request: Request | None = LIST_MODELS_V0 if endpoint.api == V0 else LIST_MODELS
        self.answer: Response | ApiError | None = None
        self.seconds = 0.0
        """Until the list had arrived."""
        self.states: Response | ApiError | None = None
        """The older list, where it was requested as well as the newer one."""

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def take(self, answer: Response | ApiError) -> None:
        """Note the result of the request, and decide what to request next."""
        if self.answer is not None:
            self.states, self.request = answer, None
            return
        # Only LM Studio's own words prove that it is an older one: after a refusal or any other error, nothing more is requested.
        if self._endpoint.api == AUTO and self.api == V1 and self._is_unsupported(answer):
            self.api, self.request = V0, self._older_list()
            return
        self.answer, self.seconds, self.request = answer, self.elapsed(), None
        if self._endpoint.confirm_loaded and self.api == V1 and isinstance(answer, Response) and answer.http_status == 200:
            self.request = None if self._is_unsupported(answer) else self._older_list()

    def _older_list(self) -> Request:
        left = self._endpoint.timeout - self.elapsed()
        return LIST_MODELS_V0._replace(timeout=max(round(left, 2), _LEAST_SECONDS))

    def _is_unsupported(self, answer: Response | ApiError) -> bool:
        # Most answers are long lists, which are read later.
        if not isinstance(answer, Response) or not (answer.content_encoding or b"nexpected endpoint" in answer.body):
            return False
        try:
            read_document(answer, self._endpoint, LIST_MODELS, lambda _document: None)
        except ApiError as exc:
            return exc.status == "unsupported"
        return False
