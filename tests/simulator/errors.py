# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What LM Studio answers when it does not do what was asked for."""

from __future__ import annotations

from typing import Any

from wire import Reply, Request, json_reply

GUARDRAIL = (
    "Model loading was stopped due to insufficient system resources. Under the current settings, this model requires approximately "
    "{gigabytes:.2f} GB of memory, and continuing to load it would likely overload your system and cause it to freeze. If you think this "
    "is incorrect, you can adjust the model loading guardrails in settings."
)
CRASH = "Failed to load model. The model has crashed without additional information. (Exit code: {code})"


class FleetError(Exception):
    """A fleet file or a control request that cannot be used."""


class BrokenError(Exception):
    """The connection breaks instead of an answer."""


class CrashedError(BrokenError):
    """The whole application ends, and is started again."""


class LeftError(Exception):
    """The client has gone, so nobody gets an answer."""


class ApiError(Exception):
    """An error of the v1 API, which is the answer."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.reply = json_reply(status, {"error": {"type": kind, "message": message, **more}})


def invalid_request(message: str, code: str, param: str | None = None) -> ApiError:
    return ApiError(400, "invalid_request", message, code=code, **({} if param is None else {"param": param}))


def unauthorized(sent: str) -> Reply:
    """LM Studio quotes the beginning of the token that it does not accept."""
    message = "An LM Studio API token is required to make requests to this server, but none was provided"
    if sent:
        message = f"Malformed LM Studio API token provided: {sent[:10]}... Ensure you are using a valid token."
    return json_reply(401, {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": message}})


def denied(sent: str, operation: str) -> ApiError:
    message = f"The LM Studio API token {sent[:10]}... does not have permission to {operation} models."
    return ApiError(403, "invalid_request", message, code="insufficient_permissions")


def unexpected_endpoint(request: Request, status: int = 200) -> Reply:
    return json_reply(status, {"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})
