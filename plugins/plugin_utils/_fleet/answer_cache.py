# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Answers that hosts of a fleet have in common are read once."""

from __future__ import annotations

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import ModelCache
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.poll import Poll
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import (
    ParsedAnswer,
    ParsedPoll,
    parse,
    read_answer,
    with_answer,
)

_MAX_ANSWERS, _MAX_ANSWER_BYTES = 64, 256 * 1024
"""How many answers are remembered, and the size of the largest."""
_MODELS: ModelCache = {}


class AnswerReader:
    """Reads the answers of a fleet, and remembers them."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Response, int, str], ParsedAnswer] = {}

    def read(self, endpoint: Endpoint, poll: Poll) -> ParsedPoll:
        """The result of a poll. Hosts that are set up alike often send the very same answer, which is then read once."""
        if isinstance(poll.answer, ApiError) or poll.answer.http_status != 200:
            return parse(endpoint, poll)
        key = poll.answer, endpoint.max_response_bytes, poll.api
        answer = self._answers.get(key)
        if answer is None:
            # Without the endpoint's secrets: they are looked for separately for each host that sends this answer.
            without_secrets = endpoint._replace(token=None, headers=(), use_proxy=False)
            try:
                answer = read_answer(without_secrets, poll, _MODELS)
            except ApiError:
                return parse(endpoint, poll)
            if len(poll.answer.body) <= _MAX_ANSWER_BYTES:
                if len(self._answers) >= _MAX_ANSWERS:
                    self._answers.clear()
                self._answers[key] = answer
        return with_answer(endpoint, poll, answer)
