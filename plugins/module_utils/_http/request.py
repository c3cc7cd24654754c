# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An HTTP request, the same from every driver."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import unquote

from .endpoint import Endpoint


def basic_authorization(userinfo: str) -> str:
    """The header for the user name and the password of a URL."""
    user, _colon, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")).decode("ascii")


class Request(NamedTuple):
    method: str
    path: str
    """Below the base URL of the endpoint."""
    body: bytes = b""
    """JSON."""
    timeout: float | None = None
    """Seconds for the whole exchange. None stands for those of the endpoint."""

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """The headers, the same from every driver."""
        headers = [
            ("Host", endpoint.authority),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "gpufleet.lmstudio"),
            ("Connection", "close"),
        ]
        if endpoint.token:
            headers.append(("Authorization", "Bearer " + endpoint.token))
        headers += endpoint.headers
        if self.body:
            # After those of the options, which apply to every request and so cannot describe this body.
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(self.body)))]
        # A later one replaces an earlier one of the same name.
        return dict({name.lower(): (name, value) for name, value in headers}.values())

    def encoded(self, endpoint: Endpoint) -> bytes:
        """What is sent. Its parts were checked when the endpoint was made."""
        lines = [f"{self.method} {endpoint.prefix}{self.path} HTTP/1.1", *map(": ".join, self.headers(endpoint).items()), "", ""]
        return "\r\n".join(lines).encode("ascii") + self.body
