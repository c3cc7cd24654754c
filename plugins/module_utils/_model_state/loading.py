# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Load and unload, each with one request, and find out what became of it where the answer does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.write_requests import (
    MODEL_NOT_FOUND,
    check_unloaded,
    load_request,
    read_loaded,
    refusal_of,
    unload_request,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import (
    NOT_TOLD,
    UNUSABLE_ID,
    Failure,
    no_list,
    what_came,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.plan import ids_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.server import PATIENCE, Doubt, Server
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import count, format_names
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record


ANSWERED, UNANSWERED, UNKNOWN = "answered", "unanswered", "unknown"


class Unload(NamedTuple):
    """What became of a request to unload an instance."""

    answer: str
    """It is done, no answer came, or there is no such instance."""
    failure: Failure | None = None
    """What was wrong with it."""


def load(server: Server, model: str, config: Mapping[str, Any], before: set[str], seconds: float) -> str:
    """Load one more instance, and return its id. `before` has the ids of those that exist, from a list that was read just now.

    Raises :class:`Failure`, which is unclear where it is not certain that nothing was loaded.
    """
    ends = server.clock() + seconds
    request = load_request(model, config, seconds)
    try:
        return read_loaded(server.send(request), server.endpoint, before)
    except ApiError as exc:
        failure = server.failure(exc, request, f"{printable(model)} was not loaded", "load_failed")
        if not failure.unclear:
            raise failure from None
        server.progress(f"{printable(model)}: the answer to the load is missing ({printable(exc.problem)}). Reading the list")
        return _find(server, model, before, max(ends - server.clock(), 0), exc)


def _find(server: Server, model: str, before: set[str], seconds: float, unclear: ApiError) -> str:
    """The id of an instance that may have been loaded, once it is loaded. It is listed as soon as its load begins."""
    name = printable(model)
    why = f"the answer to the load of {name} is missing: {what_came(unclear, server.endpoint)}"
    pauses = server.pauses(seconds)
    began = False
    doubt: Doubt | None = None
    while True:
        record = server.list()
        found = ids_of(record, model) - before if record["ok"] else set()
        if len(found) > 1:
            listed = f"{count(len(found), 'new instance')} of it are listed: {format_names(sorted(found))}"
            raise Failure("changed_meanwhile", f"{why}, and {listed}", unclear=True)
        if found:
            began = True
            doubt = server.doubt(record, model)
            if doubt is None:
                return found.pop()
            if not doubt.is_loading and not doubt.may_pass:
                raise Failure("load_unconfirmed", f"{why}. An instance of it is listed, but {doubt}", NOT_TOLD, unclear=True)
        elif began and record["ok"]:
            raise Failure("load_failed", f"{why}, and the instance that was listed is gone")
        if not pauses():
            if found and doubt:
                next_step = None if doubt.is_loading else NOT_TOLD
                raise Failure(
                    "load_unconfirmed", f"{why}. An instance of it is listed, but after load_timeout {doubt}", next_step, unclear=True
                )
            state = "it is not listed" if record["ok"] else f"its state is not known ({record['status']})"
            raise Failure("load_unconfirmed", f"{why}. After load_timeout {state}", unclear=True)


def unload(server: Server, instance_id: str) -> Unload:
    """Unload an instance. Raises :class:`Failure` where it is certain that this was not done."""
    request = unload_request(instance_id)
    try:
        check_unloaded(server.send(request), instance_id)
    except ApiError as exc:
        failure = server.failure(exc, request, f"{printable(instance_id)} was not unloaded", "still_loaded")
        if failure.unclear:
            return Unload(UNANSWERED, failure)
        refusal = refusal_of(exc, server.endpoint)
        if refusal is not None and MODEL_NOT_FOUND in refusal.kinds:
            return Unload(UNKNOWN, failure)
        raise failure from None
    return Unload(ANSWERED)


def list_without(server: Server, model: str, instance_id: str, unload: Unload) -> Record:
    """The list once an unloaded instance is gone. Raises :class:`Failure`, which is unclear where it may still go."""
    name = printable(instance_id)
    unclear = unload.answer == UNANSWERED
    # An id that stays listed may be that of a new instance, which a client made at once.
    patience = PATIENCE / 4 if unload.answer == ANSWERED else max(server.endpoint.timeout, PATIENCE / 2)
    record = server.list_until(lambda record: instance_id not in ids_of(record, model), patience)
    if not record["ok"]:
        raise no_list(record, f"it is not known whether {name} is unloaded: ", unclear)
    if instance_id in ids_of(record, model):
        if unload.answer == UNKNOWN:
            raise Failure("still_loaded", f"{name} is listed as loaded, but LM Studio says that it is not", UNUSABLE_ID)
        because = f" ({unload.failure.sentence})" if unload.failure else ""
        raise Failure("still_loaded", f"{name} was to be unloaded, but is listed as loaded{because}", unclear=unclear)
    return record
