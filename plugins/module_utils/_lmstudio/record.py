# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The host record: what one host answered, always with the same keys, whatever the server said."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, cast

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.masking import contains_any, mask_answer, mask_text, secrets_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import (
    EMBEDDING_TYPES,
    LIST_MODELS,
    KnownModels,
    Model,
    canonical,
    may_be_loaded,
    read_models,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Error, Instance, Record

Fetch = Callable[[Endpoint, Request], Response]
"""Sends a request. It raises :class:`ApiError` when there is no answer, and keeps the endpoint's deadline."""

FULL = "full"
NOT_ASKED = "not_asked"
"""The status of a host that nobody could ask. The others are those of :class:`ApiError`, and ok."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""Of ``asked_at``, in UTC."""


class ParsedAnswer:
    """An answer that was read. It has no secret in it of the hosts that gave it, and all of them share it."""

    def __init__(self, models: list[Model], warnings: list[str]) -> None:
        self.models = models
        self.warnings = warnings
        self._facts: dict[str, dict[str, Any]] = {}
        self._texts: tuple[str, str] | None = None

    def facts(self, detail: str) -> dict[str, Any]:
        """What a record says of the answer. Each call gives values of their own, because whoever gets a record may change it."""
        if detail not in self._facts:
            self._facts[detail] = _facts_of(self.models, self.warnings, detail)
        return {name: _copy(value) for name, value in self._facts[detail].items()}

    def mask(self, endpoint: Endpoint) -> ParsedAnswer:
        """The answer without what is sent to this endpoint as a secret: the same one, unless there is some in it."""
        if not endpoint.credential_option:
            return self
        if self._texts is None:
            self._texts = _comparable_text(self.models), canonical(self.warnings)
        secrets = secrets_of(endpoint)
        if not any(contains_any(secrets, text) for text in self._texts):
            return self
        before = [model.entry for model in self.models]
        entries, warnings = mask_answer(secrets, before, self.warnings)
        if entries == before and warnings == self.warnings:
            return self
        return ParsedAnswer([Model.from_entry(entry) for entry in entries], warnings)


class Poll(NamedTuple):
    """What came of asking one endpoint."""

    answer: Response | ApiError | ParsedAnswer
    asked_at: str
    response_ms: int | None
    """Null when there was no answer."""


def ask(endpoint: Endpoint, fetch: Fetch, detail: str) -> Record:
    """Ask one endpoint and return its record. Nothing that a server does raises."""
    started = time.monotonic()
    answer: Response | ApiError
    try:
        answer = fetch(endpoint, LIST_MODELS)
    except ApiError as exc:
        answer = exc
    return record_of(endpoint, poll_after(time.monotonic() - started, answer), detail)


def poll_after(seconds: float, answer: Response | ApiError) -> Poll:
    """What came of a question that was asked so many seconds ago, and is answered now."""
    asked_at = time.strftime(TIME_FORMAT, time.gmtime(time.time() - seconds))
    return Poll(answer, asked_at, None if isinstance(answer, ApiError) else round(seconds * 1000))


def parse(endpoint: Endpoint, poll: Poll, known: KnownModels | None = None) -> Poll:
    """What came of asking, with the answer read: it is a :class:`ParsedAnswer` then, or an :class:`ApiError`.

    Nothing in it is a secret that was sent to the endpoint. `known` is as in :func:`read_models`.
    """
    answer = poll.answer
    try:
        if isinstance(answer, ApiError):
            raise answer
        if isinstance(answer, Response):
            answer = ParsedAnswer(*read_models(answer, endpoint, known))
    except ApiError as exc:
        return poll._replace(
            answer=ApiError(exc.status, mask_text(secrets_of(endpoint), exc.problem), hint=exc.hint, http_status=exc.http_status)
        )
    return poll._replace(answer=answer.mask(endpoint))


def record_of(endpoint: Endpoint, poll: Poll, detail: str) -> Record:
    """The record of an endpoint that was asked."""
    answer = parse(endpoint, poll).answer
    status = "ok"
    error: Error | None = None
    if isinstance(answer, ParsedAnswer):
        facts = answer.facts(detail)
    else:
        failure = cast("ApiError", answer)
        status = failure.status
        error = {"message": f"{endpoint.url} {failure.problem}.", "hint": failure.hint, "http_status": failure.http_status}
        facts = {**_facts_of([], [], detail), "fingerprint": None}
    own = {
        "ok": error is None,
        "status": status,
        "error": error,
        "url": endpoint.url,
        "asked_at": poll.asked_at,
        "response_ms": poll.response_ms,
        "detail": detail,
    }
    return cast("Record", {**own, **facts})


def not_asked_record(message: str, hint: str, detail: str) -> Record:
    """The record of a host that nobody could ask."""
    error = {"message": message, "hint": hint, "http_status": None}
    own = {"ok": False, "status": NOT_ASKED, "error": error, "url": None, "asked_at": None, "response_ms": None, "detail": detail}
    return cast("Record", {**own, **_facts_of([], [], detail), "fingerprint": None})


def _facts_of(models: list[Model], warnings: list[str], detail: str) -> dict[str, Any]:
    """What a record says of an answer, with entries that are not its own."""
    entries = [model.entry for model in models]
    loaded = [entry for entry in entries if entry["loaded"]]
    instances: list[Instance] = [
        {
            "id": instance["id"],
            "model": entry["key"],
            "type": entry["type"],
            "context_length": instance["config"]["context_length"],
            "remaining_ttl_seconds": instance["remaining_ttl_seconds"],
            "config": instance["config"],
        }
        for entry in loaded
        for instance in entry["loaded_instances"]
    ]
    return {
        "models": entries if detail == FULL else [entry for entry in entries if may_be_loaded(entry)],
        "instances": instances,
        "available": sorted({entry["key"] for entry in entries}),
        "loaded": sorted({entry["key"] for entry in loaded}),
        "counts": {
            "models": len(entries),
            "llm": sum(entry["type"] == "llm" for entry in entries),
            "embedding": sum(entry["type"] in EMBEDDING_TYPES for entry in entries),
            "loaded": len(loaded),
            "instances": len(instances),
        },
        "size_bytes": {
            "available": sum(entry["size_bytes"] or 0 for entry in entries),
            "loaded": sum(entry["size_bytes"] or 0 for entry in loaded),
        },
        "fingerprint": "sha256:" + hashlib.sha256(_comparable_text(models).encode("ascii")).hexdigest(),
        "warnings": warnings,
    }


def _copy(value: Any) -> Any:
    """JSON that is not that of another record. With all models of a thousand hosts, ``copy.deepcopy`` takes a second more."""
    if isinstance(value, dict):
        return {name: _copy(item) if isinstance(item, (dict, list)) else item for name, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) if isinstance(item, (dict, list)) else item for item in value]
    return value


def explain(record: Record) -> str:
    """The failure of a record as one text: what happened, to which URL, what to do next."""
    return "{message} {hint}".format(**record["error"]) if record["error"] else ""


def _comparable_text(models: list[Model]) -> str:
    """One text for the whole answer: equal when nothing but order and remaining TTLs differs."""
    texts = [text for _key, text in sorted((entry["key"], text) for entry, text in models)]
    return '["ok",[' + ",".join(texts) + "]]"
