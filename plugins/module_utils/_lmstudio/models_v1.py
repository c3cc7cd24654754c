# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""``GET /api/v1/models``, which the code calls the newer list."""

from __future__ import annotations

from typing import Any, Callable

from .._http.endpoint import TARGET_URL, Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .documents import read_document
from .reader import Model, ModelList, Reader, check_list, invalid_field, json_type

LIST_MODELS = Request("GET", "/api/v1/models")

ReadModel = Callable[[Reader, Any, int], Model]
"""Makes a model of an item of the list, whose number is that in warnings."""


def _list_models(document: Any, read_model: ReadModel) -> ModelList:
    """The models that a document lists. Raises :class:`ApiError`."""
    if not isinstance(document, dict):
        raise ApiError("invalid", f"sent {json_type(document)} instead of a model list")
    models = document.get("models")
    if "data" in document and not (models and isinstance(models, list)):
        raise ApiError("not_lmstudio", "answered like an OpenAI-style server (a list called data)")
    if not isinstance(models, (list, type(None))):
        raise invalid_field("models", "a list", models)
    check_list(document, models)
    if models is None:
        raise ApiError("invalid", "sent an object without models instead of a model list")
    if models and not any(isinstance(raw, dict) and isinstance(raw.get("key"), str) for raw in models):
        raise ApiError("not_lmstudio", "listed models without a key, as llama.cpp and others do")
    reader = Reader()
    return [read_model(reader, raw, number) for number, raw in enumerate(models)], reader.warnings()


NOWHERE = Endpoint(TARGET_URL)
"""For answers that did not come from a server, such as those of a cache."""


def read_models(response: Response, endpoint: Endpoint = NOWHERE, read_model: ReadModel = Reader.read) -> ModelList:
    """The models of an answer and the warnings about single fields. Raises :class:`ApiError`."""
    return read_document(response, endpoint, LIST_MODELS, lambda document: _list_models(document, read_model))
