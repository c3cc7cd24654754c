# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory cache keeps of an endpoint."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import PUBLIC_OPTIONS, Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.poll import make_poll
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import parse
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory import cache
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._inventory.cache import dump_polls, load_polls

# What is secret, or what changes nothing of an answer that is whole.
LEFT_OUT = ("token", "headers", "max_response_bytes", "token_advice", "confirm_loaded")


REFUSED = parse(Endpoint("http://gpu01:1234"), make_poll(0, ApiError("refused", "refused the connection")))


def test_somebody_decided_about_every_field_of_an_endpoint():
    assert sorted((*PUBLIC_OPTIONS, *LEFT_OUT)) == sorted(Endpoint._fields)


def test_a_field_that_nobody_decided_about_is_not_kept():
    fields = {**Endpoint.__annotations__, "password": str}
    properties = {name: value for name, value in vars(Endpoint).items() if isinstance(value, property)}
    newer = type("newer", (NamedTuple("fields", fields.items()),), properties)
    secrets = {"token": "hunter2-token", "headers": (("X-Key", "hunter2-header"),), "password": "hunter2-password"}
    endpoint = newer(**{**Endpoint("http://gpu01:1234")._asdict(), **secrets})
    assert "hunter2" not in dump_polls({"gpu01": endpoint}, {"gpu01": REFUSED})


def test_what_was_asked_with_other_options_does_not_count():
    endpoint = Endpoint("http://gpu01:1234", token="of-then")
    cached = dump_polls({"gpu01": endpoint}, {"gpu01": REFUSED})
    assert load_polls(cached, {"gpu01": endpoint._replace(token="of-now")}, 0)
    others = {"url": "https://gpu01", "timeout": 5.0, "validate_certs": False, "use_proxy": True, "api": "v0"}
    others |= dict.fromkeys(("ca_path", "client_cert", "client_key"), "file.pem")
    assert set(others) == set(PUBLIC_OPTIONS)
    for name, value in others.items():
        assert not load_polls(cached, {"gpu01": endpoint._replace(**{name: value})}, 0), name


@pytest.mark.parametrize(
    ("host", "is_shared"), [("gpu01", True), ("10.0.0.1", True), ("127.0.0.1", False), ("localhost", False), ("[::1]", False)]
)
def test_a_loopback_address_is_another_server_on_another_machine(monkeypatch, host, is_shared):
    endpoints = {"gpu01": Endpoint(f"http://{host}:1234")}
    cached = dump_polls(endpoints, {"gpu01": REFUSED})
    assert load_polls(cached, endpoints, 0)
    monkeypatch.setattr(cache, "_this_machine", lambda: "another")
    assert bool(load_polls(cached, endpoints, 0)) is is_shared
