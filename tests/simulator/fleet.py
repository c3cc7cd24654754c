# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All hosts of a fleet file, and the control address."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from errors import FleetError
from host import Host
from settings import check_keys
from wire import Reply, Request, json_reply, read_request, send

WAIT_SECONDS = 300


class Fleet:
    """All hosts of a fleet file, and the endpoint that changes them while they run."""

    def __init__(self, hosts: dict[str, Host], control: str = "127.0.0.1") -> None:
        self.hosts = hosts
        self.control_address = control
        self.control_port = 0

    async def start(self) -> None:
        for host in self.hosts.values():
            await host.listen()
        try:
            server = await asyncio.start_server(self._serve, self.control_address, 0)
        except OSError as exc:
            raise FleetError(
                f"control must be an address of this machine, without a port, and not {self.control_address}: {exc.strerror}"
            ) from None
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
        route = re.fullmatch(r"/hosts/([^/]+)/([a-z]+)", request.path)
        if request.path == "/" and request.method == "GET":
            return json_reply(200, self.addresses())
        if not route or route[1] not in self.hosts or route[2] not in VERBS:
            return json_reply(404, {"error": f"no {request.path} here. Known hosts: {', '.join(self.hosts)}."})
        host, verb = self.hosts[route[1]], VERBS[route[2]]
        try:
            await verb(host, json.loads(request.body or b"{}"))
        except (FleetError, ValueError, AttributeError, TypeError) as exc:
            return json_reply(400, {"error": str(exc)})
        return json_reply(200, host.state())


async def load(host: Host, settings: dict[str, Any]) -> None:
    host.load(settings)


async def unload(host: Host, settings: dict[str, Any]) -> None:
    host.unload(settings.get("id"))


async def release(host: Host, settings: dict[str, Any]) -> None:
    host.end_waits(settings.get("id"))


async def download(host: Host, settings: dict[str, Any]) -> None:
    host.downloads.step(settings)


async def change(host: Host, settings: dict[str, Any]) -> None:
    host.change(settings)


async def fault(host: Host, settings: dict[str, Any]) -> None:
    await host.set_fault(settings.get("fault"))


async def wait(host: Host, settings: dict[str, Any]) -> None:
    """Wait until the host has seen that many requests of this kind."""
    check_keys(f"host {host.name}, wait", settings, {"method", "path", "count"})
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS

    def seen() -> int:
        matching = (one for one in host.requests if settings.get("method") in (None, one["method"]))
        return sum(fnmatchcase(one["path"], settings.get("path", "*")) for one in matching)

    while seen() < settings.get("count", 1):
        try:
            await asyncio.wait_for(host.noted.wait(), deadline - asyncio.get_running_loop().time())
        except asyncio.TimeoutError:
            raise FleetError(f"host {host.name}: {seen()} such requests after {WAIT_SECONDS} seconds") from None


async def nothing(host: Host, settings: dict[str, Any]) -> None:
    """For a request that changes nothing."""


VERBS: dict[str, Callable[[Host, dict[str, Any]], Awaitable[None]]] = {
    "load": load,
    "unload": unload,
    "release": release,
    "download": download,
    "settings": change,
    "fault": fault,
    "wait": wait,
    "requests": nothing,
}


def read_fleet(path: Path) -> Fleet:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            # It takes a tenth of the time.
            document = yaml.load(text, yaml.CSafeLoader)
        except (AttributeError, yaml.YAMLError):
            # It may be missing, and refuses half a character, which a hostile answer may have. And these messages are clearer.
            document = yaml.safe_load(text)
        hosts = document["hosts"]
        known = {name: Host(name, settings or {}, path.parent) for name, settings in hosts.items()}
        return Fleet(known, document.get("control", "127.0.0.1"))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as exc:
        raise FleetError(f"{path} is not a fleet file (an object with hosts: {{name: settings}}): {exc}") from None
