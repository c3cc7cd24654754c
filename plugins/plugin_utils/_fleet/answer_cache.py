# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Answers and models that hosts of a fleet have in common are read once."""

from __future__ import annotations

import marshal
from typing import Any

from ...module_utils._http.endpoint import Endpoint
from ...module_utils._http.response import Response
from ...module_utils._lmstudio.poll import Poll
from ...module_utils._lmstudio.reader import Model, Reader
from ...module_utils._lmstudio.record import ParsedAnswer, ParsedPoll, parse, read_answer

_MAX_ANSWERS, _MAX_ANSWER_BYTES = 64, 256 * 1024
"""How many answers are remembered, and the size of the largest."""
_MAX_MODELS, _MAX_MODEL_BYTES = 4096, 4096
"""How many models are remembered, and the most bytes that the decoded JSON of one may have."""


class KnownModels(dict[bytes, Model]):
    """Models that were read before, by their decoded JSON as bytes: most hosts of a fleet have the same ones on disk."""

    def read(self, reader: Reader, raw: Any, number: int) -> Model:
        """Like :meth:`Reader.read`. Not remembered: models with instances, which change, and those with warnings, which each host must get."""
        try:
            # Different values never give equal bytes. Equal ones nearly always do, but marshal notes which strings are one object.
            key = marshal.dumps(raw)
        except ValueError:
            return reader.read(raw, number)
        model = self.get(key)
        if model:
            return model
        warned = reader.warned
        model = reader.read(raw, number)
        if len(key) <= _MAX_MODEL_BYTES and not model.entry["loaded"] and reader.warned == warned:
            if len(self) >= _MAX_MODELS:
                self.clear()
            self[key] = model
        return model


_MODELS = KnownModels()


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
            found = read_answer(endpoint, answer, api, _MODELS.read)
            if len(answer.body) <= _MAX_ANSWER_BYTES:
                if len(self._answers) >= _MAX_ANSWERS:
                    self._answers.clear()
                self._answers[key] = found
        return found
