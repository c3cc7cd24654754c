# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""``GET /api/v1/models``, which the code calls the newer list."""

from __future__ import annotations

import marshal
from typing import Any, Dict

from .._http.endpoint import TARGET_URL, Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .documents import read_document
from .models import Model, ModelList
from .reader import Reader, check_list, invalid_field, json_type

LIST_MODELS = Request("GET", "/api/v1/models")

ModelCache = Dict[bytes, Model]
"""Models that were read before, by their decoded JSON as bytes: most hosts of a fleet have the same ones."""
_MAX_MODELS = 4096
_MAX_MODEL_BYTES = 4096
"""How many models are remembered, and the most bytes that the decoded JSON of one may have."""


def _list_models(document: Any, cache: ModelCache | None) -> ModelList:
    """The models that a document lists. Raises :class:`ApiError`."""
    if not isinstance(document, dict):
        raise ApiError("invalid", f"sent {json_type(document)} instead of a model list")
    models = document.get("models")
    if "data" in document and not (models and isinstance(models, list)):
        raise ApiError("not_lmstudio", "is not LM Studio: it answered like an OpenAI-style server (a list called data)")
    if not isinstance(models, (list, type(None))):
        raise invalid_field("models", "a list", models)
    check_list(document, models)
    if models is None:
        raise ApiError("invalid", "sent an object without models instead of a model list")
    if models and not any(isinstance(raw, dict) and isinstance(raw.get("key"), str) for raw in models):
        raise ApiError("not_lmstudio", "is not LM Studio: it listed models without a key, as llama.cpp and others do")
    reader = Reader()
    cache = {} if cache is None else cache
    return [_read_unless_cached(reader, raw, number, cache) for number, raw in enumerate(models)], reader.warnings()


def _read_unless_cached(reader: Reader, raw: Any, number: int, cache: ModelCache) -> Model:
    """A model, from `cache` if it was read before. Not kept there: models with instances, which change, and those with warnings, which each
    host must get.
    """
    try:
        # Different values never give equal bytes. Equal ones nearly always do, but marshal notes which strings are one object.
        key = marshal.dumps(raw)
    except ValueError:
        return Model.from_entry(reader.read(raw, number))
    model = cache.get(key)
    if model:
        return model
    warned = reader.warned
    model = Model.from_entry(reader.read(raw, number))
    if len(key) <= _MAX_MODEL_BYTES and not model.entry["loaded"] and reader.warned == warned:
        if len(cache) >= _MAX_MODELS:
            cache.clear()
        cache[key] = model
    return model


NOWHERE = Endpoint(TARGET_URL)
"""For answers that did not come from a server, such as those of a cache."""


def read_models(response: Response, endpoint: Endpoint = NOWHERE, cache: ModelCache | None = None) -> ModelList:
    """The models of an answer and the warnings about single fields. Raises :class:`ApiError`. `cache` is looked up, and added to."""
    return read_document(response, endpoint, LIST_MODELS, lambda document: _list_models(document, cache))
