# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One simulator with many hosts for all tests of a file."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml
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
    with Simulator(fleet) as running:
        yield running


@pytest.fixture
def ask(simulator) -> Ask:
    """Send one request to a host: a GET, or a POST if there is a body."""

    def send(host: str, path: str, body: Any = None, token: str | None = None) -> Answer:
        url = urlsplit(simulator.urls[host])
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
        headers = {"Connection": "close", **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, text)

    return send
