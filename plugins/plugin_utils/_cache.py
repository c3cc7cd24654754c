# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What an inventory cache keeps of a host, and what of it still counts.

Kept are the whole answer, without what a server may have sent back of a token, and that a host could not be reached. The other
failures are quickly asked for again, and may be over as soon as a token or a header is changed.
"""

from __future__ import annotations

import calendar
import functools
import json
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import HINTS, Answer, ApiError, Model, canonical, read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import TIME_FORMAT, Outcome, Read, copied, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record_type import Error, Record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import GIVEN_UP_HINT

Entry = dict[str, Any]
"""Of one host. Its models are texts, because Ansible inspects data piece by piece, and most hosts have the same ones."""


def entry_of(endpoint: Endpoint, record: Record) -> Entry | None:
    """What to keep of a record of detail ``full``. None if it is to be asked for again."""
    entry = {"asked_with": _asked_with(endpoint), "asked_at": record["asked_at"], "response_ms": record["response_ms"]}
    error = record["error"]
    if not error:
        return {**entry, "models": [canonical(model) for model in record["models"]], "warnings": record["warnings"]}
    # That time was short for the fleet says nothing of the host.
    if error["http_status"] is None and error["hint"] != GIVEN_UP_HINT:
        return {**entry, "status": record["status"], "error": error}
    return None


def record_from(endpoint: Endpoint, entry: Any, detail: str, max_age: float) -> Record | None:
    """The record of an entry. None if there is none, or if it is broken, too old, or of other options.

    `max_age` is in seconds, 0 means that no age is too high. Nothing in an entry is believed: it is read like an answer.
    """
    try:
        if entry["asked_with"] != _asked_with(endpoint):
            return None
        age = time.time() - calendar.timegm(time.strptime(entry["asked_at"], TIME_FORMAT))
        if max_age and not 0 <= age <= max_age:
            return None
        if "models" in entry:
            answer: Read | ApiError = Read([_own(_read(text)) for text in entry["models"]], [str(text) for text in entry["warnings"]])
        else:
            answer = ApiError(entry["status"], "")
        record = record_of(endpoint, Outcome(answer, entry["asked_at"], entry["response_ms"]), detail)
        if isinstance(answer, ApiError):
            if entry["status"] not in HINTS or entry["error"]["http_status"] is not None:
                return None
            record["error"] = Error(message=str(entry["error"]["message"]), hint=str(entry["error"]["hint"]), http_status=None)
    except (ApiError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return record


def packed(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """The entries of hosts as the cache has them: with the text of each model once."""
    numbers: dict[str, int] = {}
    hosts = {name: dict(entry) for name, entry in entries.items()}
    for entry in hosts.values():
        if "models" in entry:
            entry["models"] = [numbers.setdefault(text, len(numbers)) for text in entry["models"]]
    return {"hosts": hosts, "models": list(numbers)}


def unpacked(value: Any) -> dict[str, Entry]:
    """The entries of hosts in what a cache has, as far as it has any."""
    try:
        texts, hosts = value["models"], value["hosts"]
        return {
            name: {**entry, "models": [texts[number] for number in entry["models"]]} if "models" in entry else entry
            for name, entry in hosts.items()
        }
    except (KeyError, IndexError, TypeError, AttributeError):
        return {}


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> Model:
    (model,), _warnings = read_models(Answer(200, f'{{"models": [{text}]}}'.encode()))
    return model


def _own(model: Model) -> Model:
    """Of a loaded model, one that no other record shares."""
    return Model(copied([model.entry])[0], model.text) if model.entry["loaded"] else model


def _asked_with(endpoint: Endpoint) -> str:
    """The options that decide about an answer, without those that are secret."""
    return json.dumps(endpoint._replace(token=None, headers=(), max_response_bytes=0))
