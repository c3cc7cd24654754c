# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API before v1, derived from the same models: GET /api/v0/models and /api/v0/models/ID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from library import Model
from wire import Reply, json_reply

if TYPE_CHECKING:
    from host import Host

LIST = "/api/v0/models"
ERROR_PAGE = (
    b'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n</head>\n'
    b"<body>\n<pre>Internal Server Error</pre>\n</body>\n</html>\n"
)
SAYS_CONTEXT = (0, 3, 17)
SAYS_TOOL_USE = (0, 3, 16)


def answer(host: Host, path: str) -> Reply | None:
    """The answer to a GET, or None if this is not an endpoint."""
    if path != LIST and not path.startswith(LIST + "/"):
        return None
    is_due, host.loads.v0_error_due = host.loads.v0_error_due, False
    if is_due and host.v0_error:
        return Reply(500, ERROR_PAGE, "text/html; charset=utf-8")
    host.downloads.settle(listing=True)
    # What is not loaded is not there for a client, unless a request for it would load it.
    models = [model for model in host.model_library.models if host.just_in_time or state_of(model) != "not-loaded"]
    if path == LIST:
        return json_reply(200, {"data": [row(host, model) for model in models], "object": "list"})
    key = unquote(path[len(LIST) + 1 :])
    found = next((model for model in models if model.key == key), None)
    return json_reply(200, row(host, found)) if found else json_reply(404, {"error": f"Model '{key}' not found"})


def state_of(model: Model) -> str:
    """One state for each model: these rows have no instances."""
    if any(instance.is_loading for instance in model.instances):
        return "loading"
    return "loaded" if model.instances else "not-loaded"


def row(host: Host, model: Model) -> dict[str, Any]:
    listed, state = model.listed, state_of(model)
    capabilities = listed.get("capabilities") or {}
    kind = str(listed.get("type"))
    found = {
        "id": model.key,
        "object": "model",
        "type": {"embedding": "embeddings"}.get(kind, "vlm" if kind == "llm" and capabilities.get("vision") else kind),
        "publisher": listed.get("publisher"),
        "arch": listed.get("architecture"),
        "compatibility_type": listed.get("format"),
        "quantization": (listed.get("quantization") or {}).get("name"),
        "state": state,
        "max_context_length": listed.get("max_context_length"),
    }
    if state == "loaded" and host.release >= SAYS_CONTEXT:
        found["loaded_context_length"] = model.instances[0].listed.get("config", {}).get("context_length")
    if capabilities.get("trained_for_tool_use") and host.release >= SAYS_TOOL_USE:
        found["capabilities"] = ["tool_use"]
    return found
