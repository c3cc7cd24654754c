# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One simulator with many hosts for all tests of a file."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator


class Answer(NamedTuple):
    status: int
    document: Any
    """The body as JSON, or as text."""


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def simulator(request, tmp_path_factory) -> Iterator[Simulator]:
    """The hosts of the file's HOSTS."""
    fleet = tmp_path_factory.mktemp("simulator") / "fleet.yml"
    fleet.write_text(yaml.safe_dump({"hosts": request.module.HOSTS}))
    with ForkedSimulator(fleet) as running:
        yield running


@pytest.fixture
def ask(simulator) -> Ask:
    """Send one request to a host: a GET, or a POST if there is a body."""

    def send(host: str, path: str, body: Any = None, token: str | None = None) -> Answer:
        with contextlib.closing(begin(simulator, host, path, body, token)) as connection:
            response = connection.getresponse()
            text = response.read().decode()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, text)

    return send


@pytest.fixture
def ask_later(ask) -> Iterator[Callable[..., Future[Answer]]]:
    """The same in a thread: what comes back is a future."""
    with ThreadPoolExecutor() as pool:
        yield lambda *arguments, **options: pool.submit(ask, *arguments, **options)


@pytest.fixture
def leave(simulator) -> Callable[[str, str, Any], None]:
    """Send a POST, and close the connection when the host has seen it."""

    def send(host: str, path: str, body: Any) -> None:
        seen = len([one for one in simulator.posts(host) if one[0] == path])
        connection = begin(simulator, host, path, body, None)
        simulator.wait_for(host, path, method="POST", count=seen + 1)
        connection.close()

    return send


def begin(simulator: Simulator, host: str, path: str, body: Any, token: str | None) -> http.client.HTTPConnection:
    url = urlsplit(simulator.urls[host])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    headers = {"Connection": "close", **({"Authorization": f"Bearer {token}"} if token else {})}
    text = body if isinstance(body, (str, type(None))) else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, text, headers)
    return connection
