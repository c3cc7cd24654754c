# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as it goes over the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def sent_token(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2]


class Reply(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(status: int, document: Any) -> Reply:
    return Reply(status, json.dumps(document).encode())


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None for what is not HTTP, such as a TLS handshake."""
    first_byte = await reader.readexactly(1)
    if not first_byte.isalpha():
        return None
    head = first_byte + await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        return None
    headers = {}
    for line in lines:
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(words[0], words[1], headers, body)


def head_of(reply: Reply, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {'OK' if reply.status == 200 else 'Answer'}", f"Content-Type: {reply.content_type}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def send(writer: asyncio.StreamWriter, reply: Reply, length: int | None = None) -> None:
    """Send a reply; `length` is what it says of its body's size, if that is a lie."""
    writer.write(head_of(reply, len(reply.body) if length is None else length) + reply.body)
    await writer.drain()
