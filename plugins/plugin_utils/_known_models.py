# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Models on disk, known by the text that servers send of them.

Most hosts of a fleet have the same ones, and list them in the same order. Decoding and reading them is most of the work.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import JSON, MAX_ENTRIES, Listed, Model, Reader
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._errors import ApiError

MAX_KNOWN = 4096
MAX_CHARACTERS = 4096
"""Of what was said of a model, and of what was read."""
_WHITE_SPACE = re.compile(r"[ \t\n\r]*")


class _Known(NamedTuple):
    said: str
    """Empty if it is to be read again at the next host."""
    model: Model


class KnownModels:
    """Reads the model lists of many hosts, and each model once."""

    def __init__(self) -> None:
        self._by_text: dict[str, _Known] = {}
        # By the text of the model before it, which is empty at the beginning of a list.
        self._followers: dict[str, _Known] = {}

    def listed(self, text: str) -> Listed | None:
        """What a text lists that is a JSON object with a list of models. None if it has to be looked at by itself."""
        found: Listed | None = None
        end = 0
        try:
            at = _after(text, end, "{")
            while at >= 0:
                name, end = JSON.raw_decode(text, at)
                at = _after(text, end, ":")
                if at < 0 or not isinstance(name, str) or (found and name == "models"):
                    return None
                if name == "models":
                    found, end = self._models(text, at)
                else:
                    _value, end = JSON.raw_decode(text, at)
                at = _after(text, end, ",")
        except (ApiError, ValueError, RecursionError):
            return None
        return found if _after(text, end, "}") == len(text) else None

    def _models(self, text: str, at: int) -> tuple[Listed, int]:
        """The models of the list that begins there, and where the text goes on after it.

        A JSON object ends at its own bracket: where a text goes on with the text of a known object, it goes on with that object.
        """
        reader = Reader()
        models: list[Model] = []
        before = between = ""
        at = end = _after(text, at, "[")
        if at < 0:
            raise ValueError
        while at >= 0 and len(models) < MAX_ENTRIES:
            known = self._followers.get(before)
            if known and text.startswith(known.said, at):
                end = at + len(known.said)
            else:
                raw, end = JSON.raw_decode(text, at)
                known = self._by_text.get(text[at:end]) or self._read(reader, raw, len(models), text[at:end])
                if known.said:
                    self._followers[before] = known
            models.append(known.model)
            before = known.said or before
            if between and text.startswith(between, end):
                at = end + len(between)
            else:
                at = _after(text, end, ",")
                between = text[end:at]
        return (models, reader.warnings()), _after(text, end, "]")

    def _read(self, reader: Reader, raw: Any, number: int, said: str) -> _Known:
        """Read a model. It is remembered unless it has instances, which change, or gave a warning, which every host has to say."""
        warned = reader.warned()
        model = reader.read(raw, number)
        if model.entry["loaded"] or reader.warned() != warned or max(len(said), len(model.text)) > MAX_CHARACTERS:
            return _Known("", model)
        if len(self._by_text) >= MAX_KNOWN:
            self._by_text.clear()
            self._followers.clear()
        known = self._by_text[said] = _Known(said, model)
        return known


def _after(text: str, at: int, *signs: str) -> int:
    """Where a JSON text goes on after these signs and the white space around them; -1 if they, or the place, are not there."""
    for sign in ("", *signs):
        if at < 0 or not text.startswith(sign, at):
            return -1
        space = _WHITE_SPACE.match(text, at + len(sign))
        at = space.end() if space else at
    return at
