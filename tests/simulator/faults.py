# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a host, beside the models that it has."""

from __future__ import annotations

import asyncio
import functools
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from errors import FleetError, unauthorized, unexpected_endpoint
from settings import check_keys
from wire import Reply, Request, head_of, json_reply, send, sent_token

if TYPE_CHECKING:
    from host import Host

Effect = Callable[["Host", Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def replies(make: Callable[[Host, Request], Reply]) -> Effect:
    """A fault that is one complete reply."""

    async def fault(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await send(writer, make(host, request))

    return fault


def echoed(host: Host, request: Request) -> Reply:
    """A hostile server that puts the token wherever it can."""
    token = sent_token(request)
    entry = {
        "type": "llm",
        "key": token,
        "display_name": f"escaped {token}",
        "size_bytes": token,
        token: token,
        "loaded_instances": [{"id": token, "config": {"context_length": 1, token: [token, {token: token[:10]}]}}],
    }
    return json_reply(200, {"models": [entry]})


def wrong_types(host: Host, request: Request) -> Reply:
    return json_reply(200, {"models": [{"type": "llm", "key": "a", "loaded_instances": [{"id": "a", "config": {"context_length": "8k"}}]}]})


async def silence(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # ends when the client leaves


async def reset(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A linger time of zero makes closing a reset.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def restart(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host.restart()
    await reset(host, request, reader, writer)


async def drip(host: Host, writer: asyncio.StreamWriter, text: bytes) -> None:
    for number in range(len(text)):
        writer.write(text[number : number + 1])
        await writer.drain()
        await asyncio.sleep(host.fault.interval)


async def slow_headers(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    await drip(host, writer, head_of(reply, len(reply.body)) + reply.body)


async def slow_body(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    writer.write(head_of(reply, len(reply.body)))
    await drip(host, writer, reply.body)


async def cut_off(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    await send(writer, reply._replace(body=reply.body[: len(reply.body) // 2]), length=len(reply.body))


async def cut_off_chunk(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    chunked = reply._replace(headers=(("Transfer-Encoding", "chunked"),))
    writer.write(head_of(chunked, None) + f"{len(reply.body):x}\r\n".encode() + reply.body[: len(reply.body) // 2])
    await writer.drain()


async def chunked(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    head = head_of(reply._replace(headers=(("Transfer-Encoding", "chunked"),)), None)
    parts = [reply.body[start : start + 1000] for start in range(0, len(reply.body), 1000)]
    writer.write(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
    await writer.drain()


async def endless_body(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(head + b'{"models": [')
    for _number in range(1024):
        writer.write(b" " * 1048576)
        await writer.drain()


async def endless(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A gigabyte of a model list that never ends."""
    await endless_body(writer, head_of(Reply(200, b""), None))


async def redirect_endless(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endless_body(writer, head_of(Reply(302, b"", headers=(("Location", "/elsewhere"),)), None))


async def echoed_headers(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A hostile server that puts the token into every part of the head, and into lines that are not headers."""
    token, body = sent_token(request), (await host.answer(request)).body
    lines = [f"HTTP/1.1 200 {token}", f"X-Sent: {token}", f"{token}: {token}", f"Content-Length: {len(body)}", token, f": {token}"]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()


async def not_http(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def compressed(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = await host.answer(request)
    await send(writer, reply._replace(body=gzip.compress(reply.body), headers=(("Content-Encoding", "gzip"),)))


@functools.lru_cache(maxsize=None)
def bomb() -> Reply:
    return Reply(200, gzip.compress(b" " * 100_000_000, 9), headers=(("Content-Encoding", "gzip"),))


OPENAI_LIST = {"object": "list", "data": [{"id": "qwen3-8b", "object": "model", "owned_by": "somebody"}]}
LLAMACPP_LIST = {"models": [{"name": "qwen3-8b", "model": "qwen3-8b", "type": "model"}], **OPENAI_LIST}
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works</body></html>"

FAULTS: dict[str, Effect] = {
    "unauthorized": replies(lambda host, request: unauthorized(sent_token(request))),
    "forbidden": replies(lambda host, request: json_reply(403, {"error": {"message": f"{sent_token(request)} may not"}})),
    "unexpected_endpoint": replies(lambda host, request: unexpected_endpoint(request)),
    "unexpected_endpoint_404": replies(lambda host, request: unexpected_endpoint(request)._replace(status=404)),
    "openai": replies(lambda host, request: json_reply(200, OPENAI_LIST)),
    "llamacpp": replies(lambda host, request: json_reply(200, LLAMACPP_LIST)),
    "fastapi": replies(lambda host, request: json_reply(404, {"detail": "Not Found"})),
    "html": replies(lambda host, request: Reply(200, WEB_PAGE, "text/html")),
    "broken_json": replies(lambda host, request: Reply(200, b'{"models": [{"key": ')),
    "empty_body": replies(lambda host, request: Reply(200, b"")),
    "wrong_types": replies(wrong_types),
    "echoed_token": replies(echoed),
    "server_error": replies(lambda host, request: json_reply(500, {"error": {"message": f"boom {sent_token(request)}"}})),
    "unavailable": replies(lambda host, request: json_reply(503, {"error": "starting"})),
    "redirect": replies(lambda host, request: Reply(302, b"", headers=(("Location", f"http://127.0.0.1:9/?{sent_token(request)}"),))),
    "redirect_nowhere": replies(lambda host, request: Reply(302, b"", headers=(("Location", "http://[::1"),))),
    "redirect_endless": redirect_endless,
    "echoed_headers": echoed_headers,
    "gzip": compressed,
    "gzip_bomb": replies(lambda host, request: bomb()),
    "chunked": chunked,
    "cut_off": cut_off,
    "cut_off_chunk": cut_off_chunk,
    "endless": endless,
    "not_http": not_http,
    "reset": reset,
    "restart": restart,
    "silence": silence,
    "slow_body": slow_body,
    "slow_headers": slow_headers,
}


KEYS = {"name", "interval", "seconds", "method", "path", "at", "carried_out"}


class Fault:
    """A fault of one host, or none: what it does, when it strikes, and when it is over."""

    def __init__(self, host: str, settings: Any) -> None:
        settings = settings if isinstance(settings, dict) else {"name": settings}
        check_keys(f"host {host}, fault", settings, KEYS)
        self.name: str | None = settings.get("name")
        if self.name is not None and self.name != "refused" and self.name not in FAULTS:
            raise FleetError(f"host {host}: unknown fault {self.name}. Use one of refused, {', '.join(sorted(FAULTS))}.")
        self.interval = float(settings.get("interval", 1))
        """Seconds between two bytes."""
        self.seconds = float(settings["seconds"]) if "seconds" in settings else None
        """Until it is over."""
        self.carried_out = bool(settings.get("carried_out", False))
        """Whether the request is carried out all the same: only its answer is lost."""
        self._method: str | None = settings.get("method")
        self._path: str = settings.get("path", "*")
        self._at = int(settings["at"]) if "at" in settings else None
        self._met = 0

    def strikes(self, method: str, path: str) -> bool:
        """Whether it strikes this request. Requests that it could strike are counted."""
        if self.name is None or self._method not in (None, method) or not fnmatchcase(path, self._path):
            return False
        self._met += 1
        return self._at in (None, self._met)
