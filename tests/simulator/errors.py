# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What LM Studio answers when it does not do what was asked for."""

from __future__ import annotations

from typing import Any

from wire import Reply, Request, json_reply


class FleetError(Exception):
    """A fleet file or a control request that cannot be used."""


def unauthorized(sent: str) -> Reply:
    """LM Studio quotes the beginning of the token that it does not accept."""
    message = "An LM Studio API token is required to make requests to this server, but none was provided"
    if sent:
        message = f"Malformed LM Studio API token provided: {sent[:10]}... Ensure you are using a valid token."
    return json_reply(401, {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": message}})


def unexpected_endpoint(request: Request) -> Reply:
    return json_reply(200, {"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})


def error(status: int, kind: str, message: str, **more: Any) -> Reply:
    """An error of the v1 API: `more` is its code and its param."""
    return json_reply(status, {"error": {"type": kind, "message": message, **more}})
