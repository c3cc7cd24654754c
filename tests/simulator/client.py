# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start the simulator from Python, and change its hosts while it runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 600
"""In seconds: a simulator that takes longer to answer, or to end, hangs, also on a machine that is busy with other things."""


class Simulator:
    """The simulator as a process of its own. Use it as a context manager, or call :meth:`stop`."""

    def __init__(self, fleet: Path) -> None:
        addresses = json.loads(self._start(fleet))
        self.control: str = addresses["control"]
        self.urls: dict[str, str] = addresses["hosts"]

    def _start(self, fleet: Path) -> str:
        """Start it, set `pid`, and return what it prints when it is ready. Tests start it in another way."""
        # Its standard input closes at the latest when this process ends, however it ends, and the simulator ends with it.
        command = [sys.executable, str(Path(__file__).parent), "--until-eof", str(fleet)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdin is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator ended with status {self._process.wait()} before it was ready")
        return line

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def load(self, host: str, model: str, **settings: Any) -> dict[str, Any]:
        """Load one more instance. Settings: id, context_length (tokens), ttl (seconds); seconds (that the load takes),
        or held=True (until it is released). Returns the state of the host as the load begins."""
        state: dict[str, Any] = self._post(host, "load", {"model": model, **settings})
        return state

    def release(self, host: str, instance_id: str | None = None) -> None:
        """End the load of one instance, or all loads and chats of a host."""
        self._post(host, "release", {"id": instance_id})

    def unload(self, host: str, instance_id: str) -> None:
        self._post(host, "unload", {"id": instance_id})

    def download(self, host: str, **progress: Any) -> None:
        """Let downloads move on: bytes (that many more), status, job_id (all that run, if it is not given)."""
        self._post(host, "download", progress)

    def change(self, host: str, **settings: Any) -> None:
        """Change what the fleet file says: payload, loads, downloads, chats, denied, version, v0, v0_error, just_in_time. Of loads and
        downloads only the given keys are changed. A payload starts everything over: nothing is under way any more."""
        self._post(host, "settings", settings)

    def fault(self, host: str, fault: str | dict[str, Any] | None) -> None:
        """Set a fault, or none."""
        self._post(host, "fault", {"fault": fault})

    def wait_for(self, host: str, path: str = "*", count: int = 1, method: str | None = None) -> None:
        """Wait until a host has seen that many requests of this kind since it started. The path may be a pattern."""
        self._post(host, "wait", {"path": path, "count": count, "method": method})

    def state(self, host: str) -> dict[str, Any]:
        """What a host has: models, loading (ids of instances), jobs, requests."""
        state: dict[str, Any] = self._post(host, "requests", {})
        return state

    def requests(self, host: str) -> list[dict[str, Any]]:
        """The requests a host has seen, in their order: method, path, headers, and the body of a POST."""
        seen: list[dict[str, Any]] = self.state(host)["requests"]
        return seen

    def posts(self, host: str) -> list[tuple[str, Any]]:
        """The path and the body of each POST, in their order: what was asked to change something."""
        return [(one["path"], one["body"]) for one in self.requests(host) if one["method"] == "POST"]

    def _post(self, host: str, verb: str, settings: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self.control.removeprefix("http://"), timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", f"/hosts/{host}/{verb}", json.dumps(settings))
            response = connection.getresponse()
            answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{host}, {verb}: {answer.decode()}")
        return json.loads(answer)
