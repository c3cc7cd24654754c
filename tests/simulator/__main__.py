# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look-alike of LM Studio for tests and demonstrations: many hosts, with faults, in one process.

    python tests/simulator FLEET.yml

The README.md beside this file describes the fleet file, the faults and the control endpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import ctypes
import gzip
import json
import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PAYLOADS = Path(__file__).resolve().parent / "payloads"
MODELS_PATH = "/api/v1/models"
HOST_KEYS = {"listen", "namespace", "payload", "token", "prefix", "fault", "tls"}
CLONE_NEWNET = 0x40000000


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class FleetError(Exception):
    """A fleet file or a control request that cannot be used."""


def json_reply(status: int, document: Any) -> Reply:
    return Reply(status, json.dumps(document).encode())


@contextlib.contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """In that network namespace of `ip netns` (Linux, as root). A socket stays in the one that it was made in."""
    if namespace is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as other:
        if libc.setns(other.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"namespace {namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(own.fileno(), CLONE_NEWNET):
                raise RuntimeError("there is no way back from the network namespace")


class Host:
    """One LM Studio: its address, its models, its fault, and the requests it has seen."""

    def __init__(self, name: str, settings: dict[str, Any], folder: Path) -> None:
        unknown = set(settings) - HOST_KEYS
        if unknown:
            raise FleetError(f"host {name}: unknown key {', '.join(sorted(unknown))}. There are {', '.join(sorted(HOST_KEYS))}.")
        self.name = name
        self.token: str | None = settings.get("token")
        self.prefix: str = settings.get("prefix", "").rstrip("/")
        self.models = self._read_payload(settings.get("payload", "workstation.json"), folder)
        self.requests: list[dict[str, Any]] = []
        self._kept: Reply | None = None
        self.fault: str | None = None
        self.interval = 1.0
        self.seconds: float | None = None
        self._healing: asyncio.Task[None] | None = None
        self.set_fault(settings.get("fault"))
        self.context = self._tls_context(settings.get("tls"), folder)
        address, _colon, port = str(settings.get("listen", "127.0.0.1:0")).rpartition(":")
        self.address, self.port = address.strip("[]"), int(port)
        self.namespace: str | None = settings.get("namespace")
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None] | None] = set()

    @property
    def url(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.context else 'http'}://{address}:{self.port}{self.prefix}"

    def set_fault(self, fault: Any) -> None:
        """A name, or an object with name, interval (seconds between two bytes) and seconds (until it is over), or null for none."""
        settings = fault if isinstance(fault, dict) else {"name": fault}
        name = settings.get("name")
        if name is not None and name != "refused" and name not in FAULTS:
            raise FleetError(f"host {self.name}: unknown fault {name}. There are refused, {', '.join(sorted(FAULTS))}.")
        self.fault, self.interval = name, float(settings.get("interval", 1))
        self.seconds = float(settings["seconds"]) if "seconds" in settings else None

    async def listen(self) -> None:
        """Open the port, or only keep it, so that connections are refused. The port stays the same ever after."""
        if self._server:
            self._server.close()
            self._server = None
        if self._reserved:
            self._reserved.close()
        try:
            with inside(self.namespace):
                sock = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        except OSError as exc:
            raise FleetError(f"host {self.name}: cannot listen: {exc.strerror}") from None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.address, self.port))
        except OSError as exc:
            sock.close()
            raise FleetError(f"host {self.name}: cannot listen on {self.address}:{self.port}: {exc.strerror}") from None
        self.port = sock.getsockname()[1]
        if self.fault == "refused":
            self._reserved = sock
        else:
            self._reserved = None
            self._server = await asyncio.start_server(self._serve, sock=sock, ssl=self.context, backlog=512)
        if self._healing and self._healing is not asyncio.current_task():
            self._healing.cancel()
        self._healing = asyncio.create_task(self._heal_after(self.seconds)) if self.seconds is not None else None

    async def _heal_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.set_fault(None)
        await self.listen()

    def load(self, settings: dict[str, Any]) -> None:
        """What just-in-time loading or a person does: one more instance of a model."""
        key = settings.get("model")
        entry = next((entry for entry in self.models if entry["key"] == key), None)
        if entry is None:
            raise FleetError(f"host {self.name}: no model {key}")
        used = {instance["id"] for entry in self.models for instance in entry["loaded_instances"]}
        free = (f"{key}:{number}" if number > 1 else key for number in range(1, len(used) + 2))
        instance = {
            "id": settings.get("id") or next(name for name in free if name not in used),
            "config": {"context_length": settings.get("context_length", 4096), "parallel": 4},
        }
        if "ttl" in settings:
            instance["expires"] = time.monotonic() + settings["ttl"]
        entry["loaded_instances"].append(instance)
        self._kept = None

    def unload(self, instance_id: str) -> None:
        for entry in self.models:
            for instance in entry["loaded_instances"]:
                if instance["id"] == instance_id:
                    entry["loaded_instances"].remove(instance)
                    self._kept = None
                    return
        raise FleetError(f"host {self.name}: no loaded instance {instance_id}")

    def model_list(self) -> dict[str, Any]:
        """The answer now: instances whose time is over are gone, the others tell how much is left."""
        models = copy.deepcopy(self.models)
        for entry in models:
            living = []
            for instance in entry["loaded_instances"]:
                expires = instance.pop("expires", None)
                if expires is not None:
                    instance["remaining_ttl_seconds"] = round(expires - time.monotonic())
                if expires is None or instance["remaining_ttl_seconds"] > 0:
                    living.append(instance)
            entry["loaded_instances"] = living
        return {"models": models}

    def _models_reply(self) -> Reply:
        """The answer now, kept while nothing in it can change."""
        if self._kept is None:
            reply = json_reply(200, self.model_list())
            if any("expires" in instance for entry in self.models for instance in entry["loaded_instances"]):
                return reply
            self._kept = reply
        return self._kept

    def answer(self, request: Request) -> Reply:
        """What LM Studio answers, without a fault."""
        path = request.path.split("?")[0]
        if self.token is not None and not path.endswith("/lmstudio-greeting"):
            scheme, _space, sent = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or sent != self.token:
                return unauthorized(sent)
        if request.method == "GET" and path == self.prefix + MODELS_PATH:
            return self._models_reply()
        if request.method == "GET" and path == self.prefix + "/lmstudio-greeting":
            return json_reply(200, {"lmstudio": True})
        return unexpected_endpoint(request)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio itself holds only weak references to its tasks.
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            while True:
                request = await read_request(reader)
                if request is None:
                    await send(writer, Reply(400, b""))
                    break
                self.requests.append({"method": request.method, "path": request.path, "headers": request.headers})
                if self.fault:
                    await FAULTS[self.fault](self, request, reader, writer)
                    break
                await send(writer, self.answer(request))
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    @staticmethod
    def _read_payload(payload: Any, folder: Path) -> list[dict[str, Any]]:
        if isinstance(payload, str):
            own = folder / payload
            path = own if own.is_file() else PAYLOADS / payload
            try:
                payload = json.loads(path.read_text(encoding="utf-8"))
            except OSError:
                raise FleetError(f"there is no payload {payload}, neither in {folder} nor in {PAYLOADS}") from None
        models: list[dict[str, Any]] = copy.deepcopy(payload["models"] if isinstance(payload, dict) else payload)
        for entry in models:
            entry["loaded_instances"] = entry.get("loaded_instances") or []
        return models

    @staticmethod
    def _tls_context(settings: dict[str, str] | None, folder: Path) -> ssl.SSLContext | None:
        if not settings:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / settings["certificate"], folder / settings["key"])
        if "client_ca" in settings:
            context.load_verify_locations(folder / settings["client_ca"])
            context.verify_mode = ssl.CERT_REQUIRED
        return context


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None for what is no HTTP, such as a TLS handshake."""
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
    """Send a reply; `length` is what it says of its body's size, if that is not the truth."""
    writer.write(head_of(reply, len(reply.body) if length is None else length) + reply.body)
    await writer.drain()


def unauthorized(sent: str) -> Reply:
    """LM Studio quotes the beginning of the token that it does not accept."""
    message = "An LM Studio API token is required to make requests to this server, but none was provided"
    if sent:
        message = f"Malformed LM Studio API token provided: {sent[:10]}... Ensure you are using a valid token."
    return json_reply(401, {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": message}})


def unexpected_endpoint(request: Request) -> Reply:
    return json_reply(200, {"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})


Fault = Callable[[Host, Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def replies(make: Callable[[Host, Request], Reply]) -> Fault:
    """A fault that is one complete reply."""

    async def fault(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await send(writer, make(host, request))

    return fault


def sent_token(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2]


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


async def drip(host: Host, writer: asyncio.StreamWriter, text: bytes) -> None:
    for number in range(len(text)):
        writer.write(text[number : number + 1])
        await writer.drain()
        await asyncio.sleep(host.interval)


async def slow_headers(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = host.answer(request)
    await drip(host, writer, head_of(reply, len(reply.body)) + reply.body)


async def slow_body(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = host.answer(request)
    writer.write(head_of(reply, len(reply.body)))
    await drip(host, writer, reply.body)


async def cut_off(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = host.answer(request)
    await send(writer, reply._replace(body=reply.body[: len(reply.body) // 2]), length=len(reply.body))


async def cut_off_chunk(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = host.answer(request)
    chunked = reply._replace(headers=(("Transfer-Encoding", "chunked"),))
    writer.write(head_of(chunked, None) + f"{len(reply.body):x}\r\n".encode() + reply.body[: len(reply.body) // 2])
    await writer.drain()


async def chunked(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = host.answer(request)
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
    """A hostile server that puts the token into every part of the head, and into lines that are no headers."""
    token, body = sent_token(request), host.answer(request).body
    lines = [f"HTTP/1.1 200 {token}", f"X-Sent: {token}", f"{token}: {token}", f"Content-Length: {len(body)}", token, f": {token}"]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()


async def not_http(host: Host, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


def compressed(host: Host, request: Request) -> Reply:
    reply = host.answer(request)
    return reply._replace(body=gzip.compress(reply.body), headers=(("Content-Encoding", "gzip"),))


def bomb(host: Host, request: Request) -> Reply:
    return Reply(200, gzip.compress(b" " * 100_000_000, 9), headers=(("Content-Encoding", "gzip"),))


OPENAI_LIST = {"object": "list", "data": [{"id": "qwen3-8b", "object": "model", "owned_by": "somebody"}]}
LLAMACPP_LIST = {"models": [{"name": "qwen3-8b", "model": "qwen3-8b", "type": "model"}], **OPENAI_LIST}
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works</body></html>"

FAULTS: dict[str, Fault] = {
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
    "gzip": replies(compressed),
    "gzip_bomb": replies(bomb),
    "chunked": chunked,
    "cut_off": cut_off,
    "cut_off_chunk": cut_off_chunk,
    "endless": endless,
    "not_http": not_http,
    "reset": reset,
    "silence": silence,
    "slow_body": slow_body,
    "slow_headers": slow_headers,
}


class Fleet:
    """All hosts of a fleet file, and the endpoint that changes them while they run."""

    def __init__(self, hosts: dict[str, Host], control: str = "127.0.0.1") -> None:
        self.hosts = hosts
        self.control_address = control
        self.control_port = 0

    async def start(self) -> None:
        for host in self.hosts.values():
            await host.listen()
        server = await asyncio.start_server(self._serve, self.control_address, 0)
        self.control_port = server.sockets[0].getsockname()[1]

    def addresses(self) -> dict[str, Any]:
        return {
            "control": f"http://{self.control_address}:{self.control_port}",
            "hosts": {name: host.url for name, host in self.hosts.items()},
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            if request is not None:
                await send(writer, await self._control(request))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _control(self, request: Request) -> Reply:
        route = re.fullmatch(r"/hosts/([^/]+)/(load|unload|fault|requests)", request.path)
        if request.path == "/" and request.method == "GET":
            return json_reply(200, self.addresses())
        if not route or route[1] not in self.hosts:
            return json_reply(404, {"error": f"no {request.path} here. Known hosts: {', '.join(self.hosts)}."})
        host, verb = self.hosts[route[1]], route[2]
        try:
            settings = json.loads(request.body or b"{}")
            if verb == "load":
                host.load(settings)
            elif verb == "unload":
                host.unload(settings.get("id"))
            elif verb == "fault":
                host.set_fault(settings.get("fault"))
                await host.listen()
        except (FleetError, ValueError, AttributeError, TypeError) as exc:
            return json_reply(400, {"error": str(exc)})
        return json_reply(200, {"url": host.url, "requests": host.requests, **host.model_list()})


def read_fleet(path: Path) -> Fleet:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        hosts = document["hosts"]
        known = {name: Host(name, settings or {}, path.parent) for name, settings in hosts.items()}
        return Fleet(known, document.get("control", "127.0.0.1"))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as exc:
        raise FleetError(f"{path} is no fleet file (an object with hosts: {{name: settings}}): {exc}") from None


async def run(fleet: Fleet, until_eof: bool) -> None:
    await fleet.start()
    print(json.dumps(fleet.addresses()), flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_eof:
        threading.Thread(target=wait_for_eof, args=(loop, stopped), daemon=True).start()
    await stopped.wait()


def wait_for_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(stopped.set)


def main() -> int:
    parser = argparse.ArgumentParser(description="A look-alike of LM Studio. Prints the addresses as one line of JSON when all are up.")
    parser.add_argument("fleet", type=Path, help="the fleet file (YAML)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input is closed, and so with the process that holds it")
    arguments = parser.parse_args()
    try:
        asyncio.run(run(read_fleet(arguments.fleet), arguments.until_eof))
    except FleetError as exc:
        print(f"simulator: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
