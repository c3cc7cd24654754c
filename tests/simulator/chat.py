# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""POST /v1/chat/completions, as far as it bears on what is loaded: it takes its time, loads what is not there, and is cut off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from api_v1 import body_of
from errors import BrokenError, LeftError
from library import Instance
from loads import Gone, left_first
from wire import Reply, Request, json_reply

if TYPE_CHECKING:
    from host import Host

PATH = "/v1/chat/completions"
KEYS = {"seconds", "held"}
IDLE = 3600
"""Seconds until a model that was loaded just in time unloads."""


async def answer(host: Host, request: Request, gone: Gone) -> Reply:
    asked = body_of(request).get("model")
    instance = await instance_for(host, asked, gone)
    if instance is None:
        message = f"Invalid model identifier '{asked}'. Please specify a valid downloaded model."
        wrong = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return json_reply(400, {"error": wrong})
    if host.chats.get("held") or host.chats.get("seconds"):
        over = host.chats_over.wait() if host.chats.get("held") else asyncio.sleep(float(host.chats["seconds"]))
        if await left_first(over, first_of(gone, instance)):
            raise BrokenError if instance.removed.is_set() else LeftError
    if instance.expires is not None:
        instance.touch(IDLE)
    said = {"role": "assistant", "content": "It is as you say."}
    choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
    return json_reply(200, {"object": "chat.completion", "model": instance.id, "choices": choices})


async def first_of(gone: Gone, instance: Instance) -> None:
    await left_first(instance.removed.wait(), gone())


async def instance_for(host: Host, asked: Any, gone: Gone) -> Instance | None:
    """The instance of that id, else the oldest one of that model, else a new one."""
    found = host.model_library.instance(asked)
    if found:
        return found[1]
    model = host.model_library.find(asked)
    if model and model.instances:
        return model.instances[0]
    if model is None or not host.just_in_time:
        return None
    for other, instance in host.model_library.instances():
        if instance.expires is not None:  # the one before, which was loaded just in time too
            host.model_library.remove(other, instance)
    instance, _config = await host.loads.load(model, {}, gone)
    instance.touch(IDLE)
    host.model_library.forget_answer()
    return instance
