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
    models: dict[str, int] = {}
    numbers: dict[int, int] = {}
    answers: list[dict[str, Any]] = []
    positions: dict[int, int] = {}
    hosts = {}

    def number_of(model: Model) -> int:
        # Model entries that several answers share are the same object, and encoding one takes longer than all the rest.
        known = numbers.get(id(model.entry))
        if known is None:
            known = numbers[id(model.entry)] = models.setdefault(canonical(model.entry), len(models))
        return known

    for name, endpoint in _cacheable(endpoints).items():
        poll = polls[name]
        entry = {"asked_with": _asked_with(endpoint), "asked_at": poll.asked_at, "response_ms": poll.response_ms}
        answer = poll.answer
        if isinstance(answer, ParsedAnswer):
            if id(answer) not in positions:
                positions[id(answer)] = len(answers)
                answers.append({"models": list(map(number_of, answer.models)), "warnings": answer.warnings, "api": answer.api})
            hosts[name] = {**entry, "answer": positions[id(answer)]}
        elif isinstance(answer, ApiError) and answer.http_status is None and not poll.cut_short:
            hosts[name] = {**entry, "status": answer.status, "what": answer.problem, "hint": hint_of(answer)}
    return json.dumps({"hosts": hosts, "answers": answers, "models": list(models)})


def load_polls(value: Any, endpoints: Mapping[str, Endpoint], max_age: float) -> dict[str, ParsedPoll]:
    """The polls in a cache, without those that are broken, too old, or made with other options, or that contain a secret of their host.

    `max_age` is in seconds, 0 means that no age is too high. A cache is not trusted: it is read like an answer.
    """
    try:
        cache = json.loads(value)
        hosts, answers, models = cache["hosts"], cache["answers"], cache["models"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    reads: dict[int, ParsedAnswer] = {}

    def answer_of(entry: Any) -> ParsedAnswer | ApiError:
        if "answer" not in entry:
            if entry["status"] not in STATUSES[1:]:
                raise ValueError
            return ApiError(entry["status"], str(entry["what"]), hint=str(entry["hint"]))
        position = entry["answer"]
        if position not in reads:
            answer = answers[position]
            if answer["api"] not in APIS or answer["api"] == AUTO:
                raise ValueError
            reads[position] = ParsedAnswer(
                [_read_model(models[number]) for number in answer["models"]], [str(text) for text in answer["warnings"]], answer["api"]
            )
        return reads[position]

    polls = {}
    now = time.time()
    for name, endpoint in _cacheable(endpoints).items():
        with contextlib.suppress(ApiError, KeyError, IndexError, TypeError, ValueError):
            entry = hosts[name]
            age = now - _seconds(entry["asked_at"])
            if entry["asked_with"] != _asked_with(endpoint) or (max_age and not 0 <= age <= max_age):
                continue
            if type(entry["response_ms"]) not in (int, type(None)):
                continue
            answer = answer_of(entry)
            # It was masked for the token of that time, and the host may have another one now.
            if isinstance(answer, ApiError):
                answer = mask_problem(endpoint, answer)
            elif answer.mask(endpoint) is not answer:
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
