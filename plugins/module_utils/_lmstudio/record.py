# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The host record: what one host answered, always with the same keys, but for those that confirmation.py adds. :func:`ask` makes one from an
endpoint; where many hosts are asked, :func:`parse` and :func:`record_of` do so in two steps.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, cast

from .._http.endpoint import AUTO, V0, V1, Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .known import may_be_loaded, total
from .masking import mask_answer, mask_problem
from .models_v0 import LIST_MODELS_V0
from .models_v1 import LIST_MODELS, ReadModel
from .next_steps import hint_of
from .poll import Poll, poll_endpoint, read_list
from .reader import EMBEDDING_TYPES, Model, Reader, comparable_text

if TYPE_CHECKING:
    from .record_type import Error, Instance, Record

Fetch = Callable[[Endpoint, Request], Response]
"""Sends a request. It raises :class:`ApiError` when there is no answer, and keeps the endpoint's deadline."""

FULL, LOADED_ONLY = DETAILS = ("full", "loaded")
NOT_ASKED = "not_asked"
"""The status of a host that could not be asked. The others are those of :class:`ApiError`, and ok."""
_CONSTANT_TYPES = {str, int, float, bool, type(None)}
"""The types of JSON whose values cannot be changed."""


class ParsedAnswer:
    """A list of models that was read. All hosts that gave it share it, unless it contains a secret of theirs."""

    def __init__(self, models: list[Model], warnings: list[str], api: str) -> None:
        self.models = models
        self.warnings = warnings
        self.api = api
        """Which list it was."""
        self.facts = _facts_of(models, warnings, api)

    def mask(self, endpoint: Endpoint) -> ParsedAnswer:
        """The answer with the secrets of this endpoint masked: the same object, if it contains none."""
        masked = mask_answer(endpoint, self.models, self.warnings)
        return ParsedAnswer(*masked, self.api) if masked else self


class ParsedPoll(NamedTuple):
    """The result of a poll, with the list of models read and its secrets masked."""

    answer: ParsedAnswer | ApiError
    asked_at: str
    response_ms: int | None
    states: Response | ApiError | None = None
    """The older list, not read yet, where it was requested as well as the newer one."""
    cut_short: bool = False
    """Whether `fleet_timeout` was over before it had answered, which says nothing about the host."""


def ask(endpoint: Endpoint, fetch: Fetch, detail: str) -> Record:
    """Ask one endpoint and return its record. Nothing that a server does raises an exception."""

    async def fetch_now(endpoint: Endpoint, request: Request) -> Response:
        return fetch(endpoint, request)

    try:
        # fetch_now never waits, so this runs to its end without an event loop.
        poll_endpoint(endpoint, fetch_now).send(None)
    except StopIteration as end:
        return record_of(endpoint, parse(endpoint, end.value), detail)
    raise AssertionError("fetch_now has waited")


def read_answer(endpoint: Endpoint, answer: Response, api: str, read_model: ReadModel = Reader.read) -> ParsedAnswer:
    """The list in an answer, as any endpoint gets it: with the secrets in it. Raises :class:`ApiError`."""
    return ParsedAnswer(*read_list(answer, endpoint, api, read_model), api)


def parse(endpoint: Endpoint, poll: Poll, read: Callable[[Endpoint, Response, str], ParsedAnswer] = read_answer) -> ParsedPoll:
    """The result of a poll. The secrets that were sent to the endpoint are masked."""
    answer: ParsedAnswer | ApiError
    try:
        if isinstance(poll.answer, ApiError):
            raise poll.answer
        answer = read(endpoint, poll.answer, poll.api).mask(endpoint)
    except ApiError as exc:
        answer = mask_problem(endpoint, exc)
        if (endpoint.api, poll.api) == (AUTO, V0) and answer.status != "unsupported":
            answer.problem += f" (asked for {LIST_MODELS_V0.path}, because it does not know {LIST_MODELS.path})"
    return ParsedPoll(answer, poll.asked_at, poll.response_ms, poll.states)


def record_of(endpoint: Endpoint, poll: ParsedPoll, detail: str) -> Record:
    """The record of an endpoint that was asked."""
    asked = {"url": endpoint.url, "asked_at": poll.asked_at, "response_ms": poll.response_ms}
    answer = poll.answer
    if isinstance(answer, ParsedAnswer):
        record = _make_record("ok", None, {**asked, "api": answer.api}, FULL, answer.facts)
    else:
        # Said of the list that a host is asked for, and not where a server that has sent one answers another request like this.
        conclusion = "is not LM Studio: it " if answer.status == "not_lmstudio" else ""
        error: Error = {
            "message": f"{endpoint.url} {conclusion}{answer.problem}.",
            "hint": hint_of(answer),
            "http_status": answer.http_status,
        }
        record = _make_record(answer.status, error, asked, FULL)
    if endpoint.confirm_loaded:
        # Imported here, because most tasks do not ask for it, and Ansible compiles what a module imports for every task.
        from .confirmation import confirm

        # All models: one that is still loading need not be listed as loaded.
        record = confirm(record, endpoint, poll.states)
    # A copy, because hosts share an answer, and users may change a record.
    return cast("Record", _copy(at_detail_loaded(record) if detail == LOADED_ONLY else record))


def at_detail_loaded(record: Record) -> Record:
    """A record with the entries of those models only that are or may be loaded."""
    if record["detail"] == LOADED_ONLY:
        return record
    return {**record, "detail": LOADED_ONLY, "models": [entry for entry in record["models"] if may_be_loaded(entry)]}


def not_asked_record(message: str, hint: str, detail: str) -> Record:
    """The record of a host that could not be asked."""
    return _make_record(NOT_ASKED, {"message": message, "hint": hint, "http_status": None}, {}, detail)


def _make_record(status: str, error: Error | None, asked: Mapping[str, Any], detail: str, facts: dict[str, Any] | None = None) -> Record:
    """A record with all its keys, in their order. Unknown values are null or empty."""
    asked = {**dict.fromkeys(("url", "api", "asked_at", "response_ms")), **asked}
    facts = facts or {**_facts_of([], []), "fingerprint": None}
    return cast("Record", {"ok": error is None, "status": status, "error": error, **asked, "detail": detail, **facts})


def _facts_of(models: list[Model], warnings: list[str], api: str = V1) -> dict[str, Any]:
    """The keys of a record that come from the list of models. Its entries are shared with other records."""
    older = api == V0
    entries = [model.entry for model in models]
    types = [entry["type"] for entry in entries]
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
        "models": entries,
        "instances": instances,
        "available": sorted({entry["key"] for entry in entries}),
        "loaded": sorted({entry["key"] for entry in loaded}),
        "counts": {
            "models": len(entries),
            "llm": types.count("llm"),
            "embedding": sum(map(types.count, EMBEDDING_TYPES)),
            "loaded": len(loaded),
            "instances": None if older else len(instances),
        },
        "size_bytes": {
            "available": None if older else total(entry["size_bytes"] for entry in entries),
            "loaded": None if older else total(entry["size_bytes"] for entry in loaded),
        },
        "fingerprint": "sha256:" + hashlib.sha256(comparable_text(models).encode("ascii")).hexdigest(),
        "warnings": warnings,
    }


def _copy(value: Any) -> Any:
    """A copy of JSON, so that records share nothing. With all models of a thousand hosts, ``copy.deepcopy`` takes a second more."""
    if isinstance(value, dict):
        return {name: item if item.__class__ in _CONSTANT_TYPES else _copy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [item if item.__class__ in _CONSTANT_TYPES else _copy(item) for item in value]
    return value


def explain(record: Record) -> str:
    """The failure of a record as one text: what happened, to which URL, what to do next."""
    return "{message} {hint}".format(**record["error"]) if record["error"] else ""


def info_result(record: Record, on_error: str) -> dict[str, Any]:
    """The result of ``model_info``."""
    failure = {"failed": True, "msg": explain(record)} if on_error == "fail" and not record["ok"] else {}
    return {"changed": False, "lmstudio": record, **failure}
