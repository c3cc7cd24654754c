# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which list of models an endpoint is asked for (the option ``api``), when a second request follows, and which reader an answer gets."""

from __future__ import annotations

import time
from typing import Awaitable, Callable, NamedTuple

from .._http.endpoint import AUTO, V0, V1, Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .documents import read_document
from .models_v0 import LIST_MODELS_V0, read_models_v0
from .models_v1 import LIST_MODELS, ReadModel, read_models
from .reader import ModelList

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How ``asked_at`` is written, in UTC."""
_LEAST_SECONDS = 0.01


class Poll(NamedTuple):
    """The raw answers of one endpoint, not parsed yet. :class:`ParsedPoll` of record.py is the same, parsed."""

    answer: Response | ApiError
    asked_at: str
    response_ms: int | None
    """Null when there was no answer."""
    api: str = V1
    """Which list the answer is."""
    states: Response | ApiError | None = None
    """The older list, where it was requested as well as the newer one."""


def make_poll(seconds: float, answer: Response | ApiError) -> Poll:
    """The poll of an endpoint that was asked `seconds` ago and has just answered."""
    asked_at = time.strftime(TIME_FORMAT, time.gmtime(time.time() - seconds))
    return Poll(answer, asked_at, None if isinstance(answer, ApiError) else round(seconds * 1000))


def read_list(answer: Response, endpoint: Endpoint, api: str, read_model: ReadModel) -> ModelList:
    """The models of an answer to the list `api`. Raises :class:`ApiError`."""
    return read_models_v0(answer, endpoint) if api == V0 else read_models(answer, endpoint, read_model)


async def poll_endpoint(endpoint: Endpoint, fetch: Callable[[Endpoint, Request], Awaitable[Response]]) -> Poll:
    """Send the requests and leave the answers unparsed. The timeout is for all requests together. Nothing that a server does raises."""
    began = time.monotonic()

    async def answer_to(request: Request) -> Response | ApiError:
        try:
            return await fetch(endpoint, request)
        except ApiError as exc:
            # Its traceback and context would keep everything that was received until garbage is collected.
            exc.__context__ = None
            return exc.with_traceback(None)

    async def older_list() -> Response | ApiError:
        left = endpoint.timeout - (time.monotonic() - began)
        return await answer_to(LIST_MODELS_V0._replace(timeout=max(round(left, 2), _LEAST_SECONDS)))

    api = V0 if endpoint.api == V0 else V1
    answer = await answer_to(LIST_MODELS_V0 if api == V0 else LIST_MODELS)
    # Only LM Studio's own words prove that it is an older one: after a refusal or any other error, nothing more is requested.
    if endpoint.api == AUTO and _is_unsupported(answer, endpoint):
        api, answer = V0, await older_list()
    poll = make_poll(time.monotonic() - began, answer)
    is_list = api == V1 and isinstance(answer, Response) and answer.http_status == 200 and not _is_unsupported(answer, endpoint)
    return poll._replace(api=api, states=await older_list() if endpoint.confirm_loaded and is_list else None)


def _is_unsupported(answer: Response | ApiError, endpoint: Endpoint) -> bool:
    # Most answers are long lists, which are read later.
    if not isinstance(answer, Response) or not (answer.content_encoding or b"nexpected endpoint" in answer.body):
        return False
    try:
        read_document(answer, endpoint, LIST_MODELS, lambda _document: None)
    except ApiError as exc:
        return exc.status == "unsupported"
    return False
