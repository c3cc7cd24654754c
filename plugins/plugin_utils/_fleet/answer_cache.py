# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Answers that hosts of a fleet have in common are read once."""

from __future__ import annotations

from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.response import Response
from ...module_utils._lmstudio.models_v1 import ModelCache
from ...module_utils._lmstudio.poll import Poll
from ...module_utils._lmstudio.record import ParsedAnswer, ParsedPoll, parse, read_answer

_MAX_ANSWERS, _MAX_ANSWER_BYTES = 64, 256 * 1024
"""How many answers are remembered, and the size of the largest."""
_MODELS: ModelCache = {}


class AnswerReader:
    """Reads the answers of a fleet, and remembers them."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Response, int, str], ParsedAnswer] = {}

    def read(self, endpoint: Endpoint, poll: Poll) -> ParsedPoll:
        """The result of a poll. Hosts that are set up alike often send the very same answer, which is then read once."""
        return parse(endpoint, poll, self._read)

    def _read(self, endpoint: Endpoint, answer: Response, api: str) -> ParsedAnswer:
        # A list is the same for every endpoint: secrets are looked for separately in that of each host. An error, which depends on what was
        # sent, is raised.
        key = answer, endpoint.max_response_bytes, api
        found = self._answers.get(key)
        if found is None:
            found = read_answer(endpoint, answer, api, _MODELS)
            if len(answer.body) <= _MAX_ANSWER_BYTES:
                if len(self._answers) >= _MAX_ANSWERS:
                    self._answers.clear()
                self._answers[key] = found
        return found
