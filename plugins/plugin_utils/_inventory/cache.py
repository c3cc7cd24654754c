# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What an inventory cache keeps about hosts, and which entries are still valid.

It keeps whole answers, in which secrets that a server sent back are masked (masking.py), and the fact that a host could not be reached.
Other failures are not kept: asking again is quick, and a changed token or header may have ended them. Nor are answers of hosts that share a
URL and differ in their secrets, which may decide which server answers there.

Everything is one string, because Ansible inspects data piece by piece. Each answer and each model is in it once: most hosts of a
fleet have the same ones.
"""

from __future__ import annotations

import calendar
import contextlib
import functools
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...module_utils._http.endpoint import APIS, AUTO, PUBLIC_OPTIONS, Endpoint
from ...module_utils._http.errors import ApiError
from ...module_utils._http.ip_addresses import is_loopback
from ...module_utils._http.response import Response
from ...module_utils._lmstudio.masking import mask_problem
from ...module_utils._lmstudio.models_v1 import read_models
from ...module_utils._lmstudio.next_steps import STATUSES, hint_of
from ...module_utils._lmstudio.poll import TIME_FORMAT
from ...module_utils._lmstudio.reader import Model, canonical
from ...module_utils._lmstudio.record import ParsedAnswer, ParsedPoll
from .._options.server_identity import names_by_server


def dump_polls(endpoints: Mapping[str, Endpoint], polls: Mapping[str, ParsedPoll]) -> str:
    """What to keep about hosts whose answers are read, without those that are to be asked again."""
    kept = {name: (endpoint, polls[name]) for name, endpoint in _cacheable(endpoints).items()}
    answers = {id(poll.answer): poll.answer for _endpoint, poll in kept.values() if isinstance(poll.answer, ParsedAnswer)}
    # Entries of models that several answers share are the same object, and encoding one takes longer than all the rest.
    entries = {id(model.entry): model.entry for answer in answers.values() for model in answer.models}
    texts = {identity: canonical(entry) for identity, entry in entries.items()}
    models = {text: number for number, text in enumerate(dict.fromkeys(texts.values()))}
    positions = {identity: position for position, identity in enumerate(answers)}
    hosts = {}
    for name, (endpoint, poll) in kept.items():
        entry = {"asked_with": _asked_with(endpoint), "asked_at": poll.asked_at, "response_ms": poll.response_ms}
        answer = poll.answer
        if id(answer) in positions:
            hosts[name] = {**entry, "answer": positions[id(answer)]}
        elif isinstance(answer, ApiError) and answer.http_status is None and not poll.cut_short:
            hosts[name] = {**entry, "status": answer.status, "what": answer.problem, "hint": hint_of(answer)}
    as_lists = [
        {"models": [models[texts[id(model.entry)]] for model in answer.models], "warnings": answer.warnings, "api": answer.api}
        for answer in answers.values()
    ]
    return json.dumps({"hosts": hosts, "answers": as_lists, "models": list(models)})


def load_polls(value: Any, endpoints: Mapping[str, Endpoint], max_age: float) -> dict[str, ParsedPoll]:
    """The polls in a cache, without those that are broken, too old, or made with other options, or that contain a secret of their host.

    `max_age` is in seconds, 0 means that no age is too high. A cache is not trusted: it is read like an answer.
    """
    try:
        cache = json.loads(value)
        hosts, answers, models = cache["hosts"], cache["answers"], cache["models"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}

    @functools.lru_cache(maxsize=None)
    def answer_at(position: int) -> ParsedAnswer:
        answer = answers[position]
        if answer["api"] not in {*APIS} - {AUTO}:
            raise ValueError
        return ParsedAnswer([_read_model(models[number]) for number in answer["models"]], [*map(str, answer["warnings"])], answer["api"])

    polls = {}
    now = time.time()
    for name, endpoint in _cacheable(endpoints).items():
        with contextlib.suppress(ApiError, KeyError, IndexError, TypeError, ValueError):
            entry = hosts[name]
            age = now - _seconds(entry["asked_at"])
            is_of_endpoint = entry["asked_with"] == _asked_with(endpoint) and type(entry["response_ms"]) in (int, type(None))
            if not is_of_endpoint or (max_age and not 0 <= age <= max_age):
                continue
            # What was sent back was masked for the token of that time, and the host may have another one now.
            answer: ParsedAnswer | ApiError
            if "answer" in entry:
                answer = answer_at(entry["answer"])
                if answer.mask(endpoint) is not answer:
                    continue
            elif entry["status"] in STATUSES[1:]:
                answer = mask_problem(endpoint, ApiError(entry["status"], str(entry["what"]), hint=str(entry["hint"])))
            else:
                continue
            polls[name] = ParsedPoll(answer, entry["asked_at"], entry["response_ms"])
    return polls


def _cacheable(endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """The hosts without those that share a server and differ in their secrets: a cache does not know whose answer it has, because it has no secret."""
    known: dict[str, Endpoint] = {}
    for names in names_by_server(endpoints.items()):
        if len({(endpoints[name].token, endpoints[name].headers) for name in names}) == 1:
            known.update({name: endpoints[name] for name in names})
    return known


@functools.lru_cache(maxsize=4096)
def _seconds(asked_at: str) -> int:
    return calendar.timegm(time.strptime(asked_at, TIME_FORMAT))


@functools.lru_cache(maxsize=4096)
def _read_model(text: str) -> Model:
    (model,), _warnings = read_models(Response(200, f'{{"models": [{text}]}}'.encode()))
    return model


def _asked_with(endpoint: Endpoint) -> str:
    """What an answer depends on: the options, without the secret ones, and for a loopback address the machine that asked."""
    options = [getattr(endpoint, name) for name in PUBLIC_OPTIONS]
    # Controllers may share a cache, and this address is another server on each of them.
    return json.dumps([*options, _this_machine()] if is_loopback(endpoint.host) else options)


@functools.lru_cache(maxsize=None)
def _this_machine() -> str:
    """The machine, as loopback addresses distinguish it: containers on one machine differ in their network. Nothing here is a secret."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()} {os.readlink('/proc/self/ns/net')}"
    except OSError:  # No Linux.
        return platform.node()
