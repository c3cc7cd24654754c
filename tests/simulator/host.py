# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One LM Studio: its address, its models, its fault, and the requests it has seen."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import api_v0
import api_v1
import chat
from downloads import Downloads
from errors import ApiError, BrokenError, CrashedError, FleetError, LeftError, unauthorized, unexpected_endpoint
from faults import FAULTS, Fault, reset
from library import Instance, Library
from loads import Gone, Loads
from settings import check_keys, inside, read_payload, tls_context
from wire import Reply, Request, json_reply, read_request, send, sent_token

CHANGEABLE = {"payload", "version", "v0", "v0_error", "just_in_time", "denied", "loads", "downloads", "chats"}
HOST_KEYS = {"listen", "namespace", "token", "prefix", "fault", "tls", *CHANGEABLE}
GREETING = "/lmstudio-greeting"
DENIABLE = {"load", "unload", "download"}
NEWEST: dict[str, tuple[int, ...]] = {"0.3": (0, 3, 99), "0.4": (0, 4, 99)}
"""What a version without its last number means."""


async def never() -> None:
    """A client that does not go."""
    await asyncio.Event().wait()


class Host:
    def __init__(self, name: str, settings: dict[str, Any], folder: Path) -> None:
        check_keys(f"host {name}", settings, HOST_KEYS)
        self.name = name
        self.token: str | None = settings.get("token")
        self.prefix: str = settings.get("prefix", "").rstrip("/")
        self.folder = folder
        self.model_library = Library()
        self.loads = Loads(name, self.model_library, {})
        self.downloads = Downloads(name, self.model_library, {})
        self.release, self.has_v0, self.v0_error, self.just_in_time = NEWEST["0.4"], True, False, True
        self.denied: set[str] = set()
        self.chats: dict[str, Any] = {}
        self.chats_over = asyncio.Event()
        self.change({"payload": "workstation.json", **{key: value for key, value in settings.items() if key in CHANGEABLE}})
        self.requests: list[dict[str, Any]] = []
        self.noted = asyncio.Event()
        """Set, and replaced, at each request."""
        self.fault = Fault(name, settings.get("fault"))
        self._healing: asyncio.Task[None] | None = None
        self.context = tls_context(settings.get("tls"), folder)
        listen = str(settings.get("listen", "127.0.0.1:0"))
        address, _colon, port = listen.rpartition(":")
        if not address or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise FleetError(f"host {name}: listen must be ADDRESS:PORT, and not {listen}")
        self.address, self.port = address.strip("[]"), int(port)
        self.namespace: str | None = settings.get("namespace")
        self._held: socket.socket | None = None
        """Keeps the port, and never listens."""
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any] | None] = set()

    def change(self, settings: dict[str, Any]) -> None:
        """What the fleet file may say, and what may be changed while it runs."""
        check_keys(f"host {self.name}", settings, CHANGEABLE)
        if "payload" in settings:
            self.restart()
            self.model_library.replace(read_payload(settings["payload"], self.folder))
        if "version" in settings:
            self.release = self._release_of(str(settings["version"]))
        self.has_v0 = bool(settings.get("v0", self.has_v0))
        self.v0_error = bool(settings.get("v0_error", self.v0_error))
        self.just_in_time = bool(settings.get("just_in_time", self.just_in_time))
        self.denied = set(settings.get("denied", self.denied))
        if self.denied - DENIABLE:
            raise FleetError(
                f"host {self.name}: denied names {', '.join(sorted(self.denied - DENIABLE))}. Use {', '.join(sorted(DENIABLE))}."
            )
        self.loads.change(settings.get("loads") or {})
        self.downloads.change(settings.get("downloads") or {})
        if "chats" in settings:
            check_keys(f"host {self.name}, chats", settings["chats"], chat.KEYS)
            self.chats = settings["chats"]

    def _release_of(self, version: str) -> tuple[int, ...]:
        try:
            release = NEWEST.get(version) or tuple(int(number) for number in version.split("."))
        except ValueError:
            release = ()
        if len(release) != 3 or release[:2] not in ((0, 3), (0, 4)):
            raise FleetError(f"host {self.name}: version must be 0.3 or 0.4, with a third number or without, and not {version}")
        return release

    @property
    def url(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.context else 'http'}://{address}:{self.port}{self.prefix}"

    async def set_fault(self, fault: Any) -> None:
        self.fault = Fault(self.name, fault)
        await self.listen()

    async def listen(self) -> None:
        """Listen on the port, or let connections be refused. The port stays the same from then on, and on Linux nobody else gets it."""
        if self._server:
            self._server.close()
            self._server = None
        if self._held is None:
            self._held = self._bind()
        if self.fault.name != "refused":
            if sys.platform == "linux":
                sock = self._bind()
            else:  # One socket cannot listen beside another that holds the port.
                sock, self._held = self._held, None
            self._server = await asyncio.start_server(self._serve, sock=sock, ssl=self.context, backlog=512)
        if self._healing and self._healing is not asyncio.current_task():
            self._healing.cancel()
        seconds = self.fault.seconds
        self._healing = None if seconds is None else asyncio.create_task(self._heal_after(seconds))

    def _bind(self) -> socket.socket:
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
        return sock

    async def _heal_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.set_fault(None)

    def load(self, settings: dict[str, Any]) -> None:
        """What just-in-time loading or a person does: one more instance of a model. It is there at once, after some
        seconds, or when it is released."""
        model = self.model_library.find(settings.get("model"))
        if model is None:
            raise FleetError(f"host {self.name}: no model {settings.get('model')}")
        instance_id = settings.get("id") or self.model_library.free_id(model.key)
        config = {"context_length": settings.get("context_length", 4096), "parallel": 4}
        instance = Instance({"id": instance_id, "config": config}, settings.get("ttl"), is_loading=True)
        self.loads.begin(model, instance, settings)

    def end_waits(self, instance_id: Any = None) -> None:
        """End all loads now, or that of one instance; without an id, chats too."""
        released = self.loads.release(instance_id)
        if instance_id is None:
            self.chats_over.set()
            self.chats_over = asyncio.Event()
        elif not released:
            raise FleetError(f"host {self.name}: {instance_id} is not loading")

    def restart(self) -> None:
        """LM Studio ends and is started again: nothing is loaded, and jobs are unknown."""
        self.loads.unload_all("restart")
        self.downloads.forget()

    def unload(self, instance_id: Any) -> None:
        found = self.model_library.instance(instance_id)
        if found is None:
            raise FleetError(f"host {self.name}: no loaded instance {instance_id}")
        self.model_library.remove(*found)

    def state(self) -> dict[str, Any]:
        """What the control address tells."""
        self.downloads.settle()
        loading = [instance.id for _model, instance in self.model_library.instances() if instance.is_loading]
        jobs = [job.progress() for job in self.downloads.jobs.values()]
        return {"url": self.url, "requests": self.requests, "loading": loading, "jobs": jobs, **self.model_library.document()}

    def path_of(self, request: Request) -> str:
        """Without the prefix and the query."""
        path = request.path.split("?")[0]
        return path[len(self.prefix) :] if path.startswith(self.prefix) else ""

    async def answer(self, request: Request, gone: Gone = never) -> Reply:
        """What LM Studio answers, without a fault. `gone` ends when the client has left."""
        if self.token is not None and not request.path.split("?")[0].endswith(GREETING):
            scheme, _space, sent = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or sent != self.token:
                return unauthorized(sent)
        try:
            return await self._route(request, self.path_of(request), gone) or unexpected_endpoint(request)
        except ApiError as exc:
            return exc.reply

    async def _route(self, request: Request, path: str, gone: Gone) -> Reply | None:
        found = await api_v1.answer(self, request, path, gone) if self.release >= (0, 4) else None
        if found is None and self.has_v0 and request.method == "GET":
            found = api_v0.answer(self, path)
        if found is None and (request.method, path) == ("POST", chat.PATH):
            found = await chat.answer(self, request, gone)
        if found is None and (request.method, path) == ("GET", GREETING):
            found = json_reply(200, {"lmstudio": True})
        return found

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
                self._note(request)
                if self.fault.strikes(request.method, self.path_of(request)):
                    await self._strike(self.fault, request, reader, writer)
                    break
                try:
                    await self._reply(request, reader_gone(reader), writer)
                except BrokenError as exc:
                    if isinstance(exc, CrashedError):
                        self.restart()
                    await reset(self, request, reader, writer)
                    break
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, LeftError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    async def _reply(self, request: Request, gone: Gone, writer: asyncio.StreamWriter) -> None:
        if request.method == "HEAD":
            reply = await self.answer(request._replace(method="GET"), gone)
            await send(writer, reply._replace(body=b""), length=len(reply.body))
        else:
            await send(writer, await self.answer(request, gone))

    async def _strike(self, fault: Fault, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = asyncio.Event()
        if fault.carried_out:
            task = asyncio.create_task(self._carry_out(request, left.wait))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            await asyncio.sleep(0)  # as far as it comes without waiting for anything
        try:
            # What was accepted before its port began to refuse is reset.
            await FAULTS.get(str(fault.name), reset)(self, request, reader, writer)
        finally:
            left.set()

    async def _carry_out(self, request: Request, gone: Gone) -> None:
        try:
            await self.answer(request, gone)
        except (BrokenError, LeftError):
            pass

    def _note(self, request: Request) -> None:
        """Remember a request: the body of a POST as JSON, or as text if it is something else. A token in the body is masked."""
        noted: dict[str, Any] = {"method": request.method, "path": request.path, "headers": request.headers}
        if request.method == "POST":
            text, token = request.body.decode("utf-8", "replace"), sent_token(request)
            text = text.replace(token, "(the token)") if token else text
            try:
                noted["body"] = json.loads(text)
            except ValueError:
                noted["body"] = text
        self.requests.append(noted)
        self.noted.set()
        self.noted = asyncio.Event()


def reader_gone(reader: asyncio.StreamReader) -> Gone:
    async def gone() -> None:
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass

    return gone
