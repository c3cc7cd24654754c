# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native API of LM Studio 0.4: the list, and what changes it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from errors import ApiError, denied, invalid_request, unexpected_endpoint
from loads import Gone
from wire import Reply, Request, json_reply, sent_token

if TYPE_CHECKING:
    from host import Host

ROOT = "/api/v1/"
LIST = "/api/v1/models"
JOB = "/api/v1/models/download/status/"
NUMBERS = {"context_length", "eval_batch_size", "num_experts", "parallel"}
FLAGS = {"flash_attention", "offload_kv_cache_to_gpu", "echo_load_config"}
TEXTS = {"model", "instance_id", "quantization"}
LOAD_KEYS = {"model", "context_length", "eval_batch_size", "num_experts", *FLAGS}


async def answer(host: Host, request: Request, path: str, gone: Gone) -> Reply | None:
    """The answer, or None if the path belongs to another API."""
    if path == LIST and request.method == "GET":
        host.downloads.settle(listing=True)
        return Reply(200, host.model_library.body())
    if not path.startswith(ROOT):
        return None
    if path.startswith(JOB) and request.method == "GET":
        return json_reply(200, host.downloads.status(path[len(JOB) :]))
    operation = OPERATIONS.get(path) if request.method == "POST" else None
    if operation is None:
        return unexpected_endpoint(request, 404)
    name = path.rpartition("/")[2]
    if name in host.denied:
        raise denied(sent_token(request), name)
    return json_reply(200, await operation(host, body_of(request), gone))


def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        message = "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON"
        raise invalid_request(message, "invalid_json") from None
    if not isinstance(body, dict):
        raise invalid_request("Expected object", "invalid_type")
    return body


def check_body(body: dict[str, Any], required: str, known: set[str]) -> str:
    """Refuse unknown keys, and then wrong values, before anything is looked up."""
    unknown = [f"'{key}'" for key in body if key not in known]
    if unknown:
        raise invalid_request(f"Unrecognized key(s) in object: {', '.join(unknown)}", "unrecognized_keys")
    if required not in body:
        raise invalid_request(f"Missing required field {required}", "missing_required_parameter", required)
    for key, value in body.items():
        check_type(key, value)
    return str(body[required])


def check_type(key: str, value: Any) -> None:
    expected: type = int if key in NUMBERS else bool if key in FLAGS else str if key in TEXTS else object
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        names = {int: "number", bool: "boolean", str: "string"}
        raise invalid_request(f"Invalid type for '{key}': expected {names[expected]}", "invalid_type", key)
    if isinstance(value, int) and key in NUMBERS and value < (0 if key == "num_experts" else 1):
        raise invalid_request(f"'{key}' is too small", "too_small", key)


async def load(host: Host, body: dict[str, Any], gone: Gone) -> dict[str, Any]:
    key = check_body(body, "model", LOAD_KEYS | host.loads.accepts)
    model = host.model_library.find(key)
    if model is None:  # also a name with a variant
        raise ApiError(404, "model_not_found", f"Model {key} not found in downloaded models")
    began = time.monotonic()
    asked = {name: value for name, value in body.items() if name not in ("model", "echo_load_config")}
    instance, config = await host.loads.load(model, asked, gone)
    seconds = round(time.monotonic() - began, 3)
    loaded = {"type": model.listed.get("type"), "instance_id": instance.id, "load_time_seconds": seconds, "status": "loaded"}
    return {**loaded, "load_config": config} if body.get("echo_load_config") else loaded


async def unload(host: Host, body: dict[str, Any], gone: Gone) -> dict[str, Any]:
    instance_id = check_body(body, "instance_id", {"instance_id"})
    found = host.model_library.instance(instance_id)
    if found is None:
        raise ApiError(404, "model_not_found", f"Model with instance identifier '{instance_id}' is not loaded.")
    host.model_library.remove(*found)
    return {"instance_id": instance_id}


async def download(host: Host, body: dict[str, Any], gone: Gone) -> dict[str, Any]:
    model = check_body(body, "model", {"model", "quantization"})
    return host.downloads.start(model, body.get("quantization"))


OPERATIONS: dict[str, Callable[[Host, dict[str, Any], Gone], Awaitable[dict[str, Any]]]] = {
    "/api/v1/models/load": load,
    "/api/v1/models/unload": unload,
    "/api/v1/models/download": download,
}
