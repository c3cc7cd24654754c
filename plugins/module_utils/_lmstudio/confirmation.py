# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether a model that is listed as loaded really is. LM Studio 0.4 lists an instance as soon as its load begins, and only its older list
of models shows that it is still loading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, cast

from .._http.endpoint import Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._http.response import Response
from .._text import printable
from .known import is_older
from .masking import mask_problem, mask_text, secrets_of
from .models_v0 import LIST_MODELS_V0, LOADED, LOADING, NOT_LOADED, STATES, read_rows
from .reader import Entry

if TYPE_CHECKING:
    from .record_type import Record


NO_OLDER_LIST_WARNING = f"confirm_loaded: it is not known whether a model is still loading, because {{}} has no {LIST_MODELS_V0.path}."
"""The warning where LM Studio does not have the older list."""


class Confirmation(NamedTuple):
    """The older list, as far as it is needed to confirm the newer one."""

    states: Mapping[str, set[str]]
    """The states of each model, by its name, which the list may have more than once. Secrets are masked."""
    problem: str = ""
    """Why the server sent no such list, as a sentence without its full stop."""
    has_older_list: bool = True
    """Whether the server has the older list at all."""
    is_refused: bool = False
    """Whether the server refuses it, to this token or to everyone. Waiting does not change that."""

    def doubt(self, entry: Entry) -> str | None:
        """Why a model with loaded instances may not be loaded, as a sentence without its full stop. None where it is.

        A row has no instance ids, so one that is loading counts for all instances of its model.
        """
        if self.problem:
            return self.problem
        state = self.state_of(entry["key"], entry["selected_variant"], *(instance["id"] for instance in entry["loaded_instances"]))
        if state is None:
            return f"{LIST_MODELS_V0.path} does not list it"
        if state in (LOADED, LOADING):
            return None if state == LOADED else LOADING
        return f"{LIST_MODELS_V0.path} says that its state is {printable(state)}"

    def added(self, entry: Entry, explained: set[str]) -> dict[str, str]:
        """What the entry of a model gets. `explained` are names under which something is loaded, which may be why this list calls a model
        without an instance loaded.
        """
        if entry["loaded"]:
            doubt = self.doubt(entry)
            return {"state": doubt or LOADED} if doubt in (None, LOADING) else {"unconfirmed": doubt}
        state = self.state_of(entry["key"], entry["selected_variant"], *entry["variants"])
        return {} if state in (None, NOT_LOADED) or (state == LOADED and entry["key"] in explained) else {"state": state}

    def state_of(self, *names: str | None) -> str | None:
        """The state to assume of a model with these names: the least settled that the list has for them. None if it has none."""
        found = {state for name in names if name for state in self.states.get(name, ())}
        if LOADING in found:
            return LOADING
        # Loaded comes before not-loaded.
        return min(found - {LOADED, NOT_LOADED} or found, default=None)


def ask_confirmation(endpoint: Endpoint, fetch: Callable[[Endpoint, Request], Response]) -> Confirmation:
    """Ask an endpoint for the older list alone. Nothing that a server does raises an exception."""
    try:
        return read_confirmation(endpoint, fetch(endpoint, LIST_MODELS_V0))
    except ApiError as exc:
        return read_confirmation(endpoint, exc)


def read_confirmation(endpoint: Endpoint, answer: Response | ApiError) -> Confirmation:
    """What an answer says, or why it says nothing. An error does not mean that there is none: LM Studio may send one as a load starts."""
    try:
        if isinstance(answer, ApiError):
            raise answer
        secrets = secrets_of(endpoint)
        states: dict[str, set[str]] = {}
        for row in read_rows(answer, endpoint):
            # A state that LM Studio does not have is text of the server, which a message may show. So is a name.
            state = row["state"] if row["state"] in STATES else mask_text(secrets, row["state"])
            states.setdefault(mask_text(secrets, row["id"]), set()).add(state)
        return Confirmation(states)
    except ApiError as exc:
        has_older_list = exc.status != "unsupported" and exc.http_status != 404
        problem = f"{endpoint.url}{LIST_MODELS_V0.path} {mask_problem(endpoint, exc).problem}"
        return Confirmation({}, problem, has_older_list=has_older_list, is_refused=exc.status in ("auth", "forbidden"))


def confirm(record: Record, endpoint: Endpoint, answer: Response | ApiError | None) -> Record:
    """The record with what `answer`, the older list, adds. A model that is listed as loaded gets the `state` loaded or loading, or `unconfirmed`
    with the reason why neither is known. A model without an instance gets its `state` in the older list, unless that is not-loaded.
    `unlisted` has the models that only the older list has and may call loaded: the two lists are not of the same moment. `confirmed` is
    true, false where the server has no older list, or null where it gave none. `record` must have all models.
    """
    if is_older(record) or not record["ok"]:
        return cast("Record", {**record, "confirmed": is_older(record) or None})
    found = read_confirmation(endpoint, answer or ApiError("invalid", "was not requested"))
    if not found.has_older_list:
        return cast("Record", {**record, "confirmed": False})
    explained = {*record["loaded"], *(instance["id"] for instance in record["instances"])}
    listed = explained.union(record["available"], *([entry["selected_variant"], *entry["variants"]] for entry in record["models"]))
    unlisted = sorted(name for name, states in found.states.items() if name not in listed and states != {NOT_LOADED})
    models = [{**entry, **found.added(entry, explained)} for entry in record["models"]]
    more = {"confirmed": not found.problem or None, **({"unlisted": unlisted} if unlisted else {})}
    return cast("Record", {**record, "models": models, **more})
