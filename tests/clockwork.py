# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An LM Studio without a socket, whose time passes only when somebody waits: loads of ten minutes and deadlines take no time in tests.

The simulator is the one to run plays against. This one is for trying each fault at each request of each plan. Where a play needs an answer that
the simulator does not give, it can listen.
"""

from __future__ import annotations

import contextlib
import copy
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.acting import ensure_state
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.client import Client
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import MODEL_SPEC, Wanted, parse_wanted

ENDPOINT = make_endpoint({"token": "sk-lm-secret-of-gpu01"}, "http://gpu01")


def parse_options(model: str, **options: Any) -> Wanted:
    defaults = {option: spec.get("default") for option, spec in MODEL_SPEC.items()}
    return parse_wanted({**defaults, "model": model, **options})


def error(status: int, kind: str, message: str) -> Response:
    return Response(status, json.dumps({"error": {"type": kind, "message": message}}).encode())


class ClockworkServer:
    """Answers as LM Studio does. `faults` has what happens to the n-th request from now on."""

    def __init__(self, models: list[dict[str, Any]], seconds_to_load: float = 40.0, has_v0: bool = True) -> None:
        self.models = copy.deepcopy(models)
        self.seconds_to_load = seconds_to_load
        self.has_v0 = has_v0
        self.now = 0.0
        self.requests: list[tuple[str, Any]] = []
        self.unloaded: list[str] = []
        self.loads = 0
        self.catalogue: dict[str, float] = {}
        """What can be downloaded, and how many bytes it has."""
        self.jobs: dict[str, tuple[str, float]] = {}
        self.no_such_job = error(404, "not_found", "There is no such job")
        self.bytes_per_second = 10e6
        self.most_instances: dict[str, int] = {}
        self.faults: dict[int, Callable[[Request], Response | None]] = {}
        self.effective: Callable[[dict[str, Any]], dict[str, Any]] = dict
        """The settings with which a model is really loaded."""
        self.refusal: Callable[[dict[str, Any]], Response | None] = lambda body: None
        """Why a load fails."""
        self.hooks: list[Callable[[Request], None]] = []
        """Called before each request is answered: somebody else who acts."""

    def run(self, wanted: Wanted, check_mode: bool = False, endpoint: Endpoint = ENDPOINT, **server: Any) -> dict[str, Any]:
        return ensure_state(wanted, Client(endpoint, self.fetch, clock=lambda: self.now, sleep=self.pass_time, **server), check_mode)

    def pass_time(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def record(self) -> Any:
        return ask(ENDPOINT, lambda endpoint, request: self._list(), "full")

    def posts(self) -> list[tuple[str, Any]]:
        return [(path, body) for path, body in self.requests if body is not None]

    # What happens to a request

    def fetch(self, endpoint: Endpoint, request: Request) -> Response:
        number = len(self.requests)
        self.requests.append((request.path, json.loads(request.body) if request.body else None))
        for hook in self.hooks:
            hook(request)
        fault = self.faults.get(number)
        answer = fault(request) if fault else None
        return self.answer(request) if answer is None else answer

    def answer(self, request: Request) -> Response:
        self.now += 0.01
        route = request.path.replace("/api/v1/models", "", 1)
        if request.path == "/api/v0/models":
            return self._older_list()
        if not route:
            return self._list()
        if route.startswith("/download/status/"):
            return self._status(route.rpartition("/")[2])
        body = json.loads(request.body)
        return {"/load": self._load, "/unload": self._unload, "/download": self._download}[route](body, request)

    def _instances(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(model, instance) for model in self.models for instance in model["loaded_instances"]]

    def _list(self) -> Response:
        def listed(instance: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in instance.items() if name != "loaded_at"}

        models = [{**model, "loaded_instances": list(map(listed, model["loaded_instances"]))} for model in self.models]
        return Response(200, json.dumps({"models": models}).encode())

    def _older_list(self) -> Response:
        if not self.has_v0:
            return Response(200, b'{"error": "Unexpected endpoint or method. (GET /api/v0/models)"}')
        rows = []
        for model in self.models:
            states = [instance.get("loaded_at", 0) > self.now for instance in model["loaded_instances"]]
            state = "not-loaded" if not states else "loading" if any(states) else "loaded"
            rows.append({"id": model["key"], "object": "model", "type": "llm", "state": state, "max_context_length": 4096})
        return Response(200, json.dumps({"object": "list", "data": rows}).encode())

    def _load(self, body: dict[str, Any], request: Request) -> Response:
        body = dict(body)
        model = next((model for model in self.models if model["key"] == body["model"]), None)
        if model is None:
            return error(404, "model_not_found", "Model not found")
        refused = self.refusal(body)
        if refused:
            return refused
        key = body.pop("model")
        used = {instance["id"] for _model, instance in self._instances()}
        instance_id = next(name for name in (key, *(f"{key}:{number}" for number in range(2, 99))) if name not in used)
        instance = {
            "id": instance_id,
            "config": self.effective({"context_length": 4096, **body}),
            "loaded_at": self.now + self.seconds_to_load,
        }
        model["loaded_instances"].append(instance)
        self.loads += 1
        self.most_instances[key] = max(self.most_instances.get(key, 0), len(model["loaded_instances"]))
        assert request.timeout is not None
        if request.timeout < self.seconds_to_load:
            self.now += request.timeout
            raise ApiError("timeout", "did not answer in time", "connected")
        self.now += self.seconds_to_load
        return Response(200, json.dumps({"type": "llm", "instance_id": instance_id, "status": "loaded"}).encode())

    def _unload(self, body: dict[str, Any], request: Request) -> Response:
        for model, instance in self._instances():
            if instance["id"] == body["instance_id"]:
                model["loaded_instances"].remove(instance)
                self.unloaded.append(instance["id"])
                return Response(200, json.dumps(body).encode())
        return error(404, "model_not_found", f"Model with instance identifier '{body['instance_id']}' is not loaded.")

    def _download(self, body: dict[str, Any], request: Request) -> Response:
        name = body["model"]
        if any(model["key"] == name for model in self.models):
            return Response(200, b'{"status": "already_downloaded"}')
        if name not in self.catalogue:
            return error(404, "not_found", "No compatible download options found")
        job = f"job {name}"
        self.jobs.setdefault(job, (name, self.now))
        return self._status(job, started=True)

    def _status(self, job: str, started: bool = False) -> Response:
        job = job.replace("%20", " ").replace("%2F", "/")
        if job not in self.jobs:
            return self.no_such_job
        name, began = self.jobs[job]
        total = self.catalogue[name]
        done = min((self.now - began) * self.bytes_per_second, total)
        if done >= total and not any(model["key"] == name for model in self.models):
            self.models.append({"type": "llm", "key": name, "loaded_instances": []})
        status = "completed" if done >= total else "downloading"
        told = {"job_id": job, "status": status, "total_size_bytes": total}
        return Response(200, json.dumps(told if started else {**told, "downloaded_bytes": done, "bytes_per_second": 1.5e6}).encode())

    # Faults

    def dropped(self, request: Request) -> Response:
        """The connection breaks before the server has done anything."""
        raise ApiError("disconnected", "closed the connection before the answer was complete")

    def answer_lost(self, request: Request) -> Response:
        """The connection breaks after it has."""
        self.answer(request)
        raise ApiError("disconnected", "closed the connection before the answer was complete")

    def gives_up_early(self, request: Request) -> Response:
        """A proxy waits for a second. What was begun goes on."""
        before = self.now
        try:
            self.answer(request)
        except ApiError:
            pass
        self.now = before + 1
        return Response(504, b"<html>Gateway Time-out</html>", content_type="text/html")

    def gateway_error(self, request: Request) -> Response:
        """The same, but the proxy's error has the form of LM Studio's."""
        self.gives_up_early(request)
        return error(500, "timeout_error", "upstream request timed out")

    def redirects(self, request: Request) -> Response:
        """The same, but the proxy sends on to another page."""
        self.gives_up_early(request)
        return Response(302, location="http://gpu01:1234/login")

    def refused(self, request: Request) -> Response:
        failure = ApiError("refused", "refused the connection")
        failure.sent = False
        raise failure

    def silent(self, request: Request) -> Response:
        """Nothing is done, and nobody answers."""
        self.now += request.timeout or 10
        raise ApiError("timeout", "did not answer within 10 seconds", "connected")

    def restarts(self, request: Request) -> Response:
        """All that was loaded is gone, and nobody is there for a few requests."""
        for model in self.models:
            model["loaded_instances"] = []
        for number in range(len(self.requests), len(self.requests) + 3):
            self.faults[number] = self.refused
        raise ApiError("disconnected", "closed the connection before the answer was complete")

    def crashes(self, request: Request) -> Response:
        return error(500, "model_load_failed", "The engine has crashed. sk-lm-secret-of-gpu01 \x1b[2J")

    def html_error(self, request: Request) -> Response:
        return Response(500, b"<html>Internal Server Error</html>", content_type="text/html")

    def forbidden(self, request: Request) -> Response:
        return Response(403)


@contextlib.contextmanager
def listening(server: ClockworkServer) -> Iterator[str]:
    """The URL of a server that listens. Its time passes only with answers and loads."""
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                answer = server.fetch(ENDPOINT, Request(self.command, self.path, body, timeout=600))
            self.send_response(answer.http_status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815 (the name that the base class looks for)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}"
        finally:
            listener.shutdown()
