# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that strike one request, before or after it is carried out."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from ansible_collections.gpufleet.lmstudio.tests.patience import until

V1, LOAD, UNLOAD = "/api/v1/models", "/api/v1/models/load", "/api/v1/models/unload"
CHAT = "qwen/qwen3-8b"
FRESH = {"payload": "none_loaded.json"}
HOSTS = dict.fromkeys(("third", "path", "lost", "before", "silent", "following", "wrong"), FRESH)


@pytest.fixture
def loaded(simulator):
    return lambda host: [one["id"] for entry in simulator.state(host)["models"] for one in entry["loaded_instances"]]


def test_the_third_request_is_struck_and_no_other(ask, simulator):
    simulator.fault("third", {"name": "server_error", "at": 3})
    assert [ask("third", V1).status for _number in range(5)] == [200, 200, 500, 200, 200]


def test_requests_of_a_path_and_a_method_are_counted(ask, simulator):
    simulator.fault("path", {"name": "server_error", "path": "/api/v1/models/*", "method": "POST", "at": 2})
    asked = [ask("path", V1), ask("path", LOAD, {"model": CHAT}), ask("path", V1), ask("path", UNLOAD, {"instance_id": CHAT})]
    assert [one.status for one in asked] == [200, 200, 200, 500]


def test_an_answer_that_is_lost(ask, simulator, loaded):
    simulator.fault("lost", {"name": "reset", "path": LOAD, "carried_out": True})
    with pytest.raises(ConnectionError):
        ask("lost", LOAD, {"model": CHAT})
    assert loaded("lost") == [CHAT]


def test_a_request_that_never_came(ask, simulator, loaded):
    simulator.fault("before", {"name": "reset", "path": LOAD})
    with pytest.raises(ConnectionError):
        ask("before", LOAD, {"model": CHAT})
    assert loaded("before") == []


def test_silence_while_the_load_goes_on(simulator, loaded):
    simulator.change("silent", loads={"held": True})
    simulator.fault("silent", {"name": "silence", "path": LOAD, "carried_out": True})
    with send(simulator, "silent"):
        simulator.wait_for("silent", LOAD)
        assert simulator.state("silent")["loading"] == [CHAT]
    simulator.release("silent")
    assert loaded("silent") == [CHAT]


def test_a_load_that_ends_with_its_client_ends_with_a_reset(simulator, loaded):
    simulator.change("following", loads={"held": True, "survives": False})
    simulator.fault("following", {"name": "reset", "path": LOAD, "carried_out": True})
    with send(simulator, "following"):
        simulator.wait_for("following", LOAD)
    until("the end of the load", lambda: not loaded("following"))


def send(simulator, host):
    """A load, and a connection on which nothing has come back yet."""
    url = urlsplit(simulator.urls[host])
    connection = socket.create_connection((url.hostname, url.port))
    body = f'{{"model": "{CHAT}"}}'
    connection.sendall(f"POST {LOAD} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


@pytest.mark.parametrize(
    ("verb", "settings"),
    [
        ("fault", {"fault": {"name": "reset", "when": 3}}),
        ("fault", {"fault": "nothing"}),
        ("settings", {"loads": {"slow": True}}),
        ("settings", {"loads": {"fails": {"*": "fire"}}}),
        ("settings", {"downloads": {"speed": 1}}),
        ("settings", {"denied": ["read"]}),
        ("settings", {"version": "1.0"}),
        ("download", {"bytes": 1}),
        ("release", {"id": CHAT}),
        ("unload", {"id": CHAT}),
        ("load", {"model": "nothing"}),
    ],
)
def test_a_control_request_that_cannot_be_is_refused(simulator, verb, settings):
    with pytest.raises(RuntimeError, match=f"wrong, {verb}: .*error"):
        simulator._post("wrong", verb, settings)
