# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One LM Studio: its address, its models, its fault, and the requests it has seen."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import older_api
from errors import FleetError, unauthorized, unexpected_endpoint
from faults import FAULTS
from library import Instance, Library
from settings import check_keys, inside, read_payload, tls_context
from wire import Reply, Request, json_reply, read_request, send

MODELS_PATH = "/api/v1/models"
HOST_KEYS = {"listen", "namespace", "payload", "token", "prefix", "fault", "tls", "version", "v0", "v0_error", "just_in_time"}
NEWEST = {"0.3": (0, 3, 99), "0.4": (0, 4, 99)}
"""What a version without its last number means."""


class Host:
    def __init__(self, name: str, settings: dict[str, Any], folder: Path) -> None:
        check_keys(f"host {name}", settings, HOST_KEYS)
        self.name = name
        self.token: str | None = settings.get("token")
        self.prefix: str = settings.get("prefix", "").rstrip("/")
        self.release = self._release_of(str(settings.get("version", "0.4")))
        self.has_v0 = bool(settings.get("v0", True))
        self.v0_error = bool(settings.get("v0_error", False))
        self.v0_error_due = False
        """The next request for v0 gets the error that a load causes."""
        self.just_in_time = bool(settings.get("just_in_time", True))
        self.library = Library(read_payload(settings.get("payload", "workstation.json"), folder))
        self.requests: list[dict[str, Any]] = []
        self.fault: str | None = None
        self.interval = 1.0
        self.seconds: float | None = None
        self._healing: asyncio.Task[None] | None = None
        self.set_fault(settings.get("fault"))
        self.context = tls_context(settings.get("tls"), folder)
        address, _colon, port = str(settings.get("listen", "127.0.0.1:0")).rpartition(":")
        self.address, self.port = address.strip("[]"), int(port)
        self.namespace: str | None = settings.get("namespace")
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None] | None] = set()

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
        """What just-in-time loading or a person does: one more instance of a model. It is there at once, after some
        seconds, or when it is released."""
        model = self.library.find(settings.get("model"))
        if model is None:
            raise FleetError(f"host {self.name}: no model {settings.get('model')}")
        instance_id = settings.get("id") or self.library.free_id(model.key)
        config = {"context_length": settings.get("context_length", 4096), "parallel": 4}
        instance = Instance({"id": instance_id, "config": config}, settings.get("ttl"))
        seconds = settings.get("seconds")
        if seconds is not None or settings.get("held"):
            instance.is_loading = True
            self.v0_error_due = self.v0_error
            if seconds is not None:
                asyncio.get_running_loop().call_later(float(seconds), self._end_load, instance)
        self.library.add(model, instance)

    def release_loads(self, settings: dict[str, Any]) -> None:
        """The loads end now, or that of one instance."""
        loading = [instance for _model, instance in self.library.instances() if instance.is_loading]
        wanted = [instance for instance in loading if settings.get("id") in (None, instance.id)]
        if not wanted:
            raise FleetError(f"host {self.name}: {settings.get('id') or 'nothing'} is loading")
        for instance in wanted:
            self._end_load(instance)

    def _end_load(self, instance: Instance) -> None:
        instance.is_loading = False
        instance.ended.set()

    def unload(self, instance_id: Any) -> None:
        found = self.library.instance(instance_id)
        if found is None:
            raise FleetError(f"host {self.name}: no loaded instance {instance_id}")
        self.library.remove(*found)

    def state(self) -> dict[str, Any]:
        """What the control address tells."""
        loading = [instance.id for _model, instance in self.library.instances() if instance.is_loading]
        return {"url": self.url, "requests": self.requests, "loading": loading, **self.library.document()}

    async def answer(self, request: Request) -> Reply:
        """What LM Studio answers, without a fault."""
        path = request.path.split("?")[0]
        if self.token is not None and not path.endswith("/lmstudio-greeting"):
            scheme, _space, sent = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or sent != self.token:
                return unauthorized(sent)
        if request.method == "GET" and path.startswith(self.prefix):
            path = path[len(self.prefix) :]
            if path == MODELS_PATH and self.release >= (0, 4):
                return Reply(200, self.library.body())
            if path == "/lmstudio-greeting":
                return json_reply(200, {"lmstudio": True})
            found = older_api.answer(self, path) if self.has_v0 else None
            if found:
                return found
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
                self._note(request)
                if self.fault:
                    await FAULTS[self.fault](self, request, reader, writer)
                    break
                await send(writer, await self.answer(request))
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    def _note(self, request: Request) -> None:
        """Remember a request: the body of a POST as JSON, or as text if it is something else."""
        noted: dict[str, Any] = {"method": request.method, "path": request.path, "headers": request.headers}
        if request.method == "POST":
            try:
                noted["body"] = json.loads(request.body)
            except ValueError:
                noted["body"] = request.body.decode("utf-8", "replace")
        self.requests.append(noted)
