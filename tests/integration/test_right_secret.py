# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A secret goes to the server it belongs to, and to no other; and what is wrong with one is said without showing it."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, settings_in
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, run_in

SSH = {"ansible_connection": "ssh"}
NAMES = [f"gpu{number:02}" for number in range(10)]
ENVIRONMENT = "token-of-environment"


def token_of(name):
    return f"token-of-{name}-0123456789"


def sent_to(fleet, name):
    return [request["headers"].get("authorization") for request in fleet.requests(name)]


def words(outcome):
    return " ".join(outcome.output.split())


def ways(vias):
    """Every plugin, in every way that a task can be changed by keywords."""
    require = [{"type": "llm"}]
    own, other = "{{ own_url }}", "{{ hostvars[other].own_url }}"
    plugins = [
        *({"gpufleet.lmstudio.model_info": {"via": via, "on_error": "report", "detail": "loaded"}} for via in vias),
        *({"gpufleet.lmstudio.model_assert": {"via": via, "require": require, "quiet": True}} for via in vias),
        *([{"gpufleet.lmstudio.model_facts": {"token": "{{ lmstudio_token }}", "url": own}}] if "target" in vias else []),
        {"gpufleet.lmstudio.fleet_info": {"hosts": "all"}},
        {"gpufleet.lmstudio.fleet_info": {}},
        {"ansible.builtin.set_fact": {"asked": "{{ query('gpufleet.lmstudio.models', other, inventory_hostname, on_error='report') }}"}},
        {"ansible.builtin.set_fact": {"asked": "{{ query('gpufleet.lmstudio.models', hostvars[other].own_url, on_error='report') }}"}},
        {"ansible.builtin.set_fact": {"asked": "{{ query('gpufleet.lmstudio.models', on_error='report') }}"}},
    ]
    keywords = [
        {},
        {"delegate_to": "localhost"},
        {"delegate_to": "{{ other }}"},
        {"loop": ["localhost", "{{ other }}", "{{ inventory_hostname }}"], "delegate_to": "{{ item }}"},
        {"environment": {"LM_API_TOKEN": ENVIRONMENT}},
        {"run_once": True},
        {"run_once": True, "delegate_to": "{{ other }}"},
    ]
    for plugin, keyword in itertools.product(plugins, keywords):
        ((name, options),) = plugin.items()
        if name.endswith("fleet_info"):
            # Without run_once it only warns; under free it would fail.
            yield {"name": "Ask", **plugin, "ignore_errors": True, **keyword, "run_once": True}
            continue
        yield {"name": "Ask", **plugin, "ignore_errors": True, **keyword}
        if name.endswith(("model_info", "model_assert")):
            for url in (own, other):
                yield {"name": "Ask a URL", name: {**options, "url": url}, "ignore_errors": True, **keyword}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("kind", ["local", "remote"])
def test_no_token_is_ever_at_another_server(run, start, tmp_path, serial, kind):
    # Nobody is turned away, so that a wrong token would be accepted as well as the right one.
    fleet = start({name: {"listen": f"127.30.0.{number}:0", "payload": "mac.json"} for number, name in enumerate(NAMES, 1)})
    hosts = {}
    for number, name in enumerate(NAMES):
        url = fleet.urls[name]
        port = int(url.rpartition(":")[2])
        hosts[name] = {"lmstudio_token": token_of(name), "other": NAMES[number - 1], "own_url": url}
        if kind == "local":
            hosts[name] |= {**LOCAL, "lmstudio_url": url}
        else:
            hosts[name] |= {**SSH, "ansible_host": url.split("/")[2].partition(":")[0], "lmstudio_port": port}
    vias = ["target", "controller"] if kind == "local" else ["controller"]
    tasks = list(ways(vias))
    plays = [
        {"name": "Ask", "hosts": ",".join(NAMES), "gather_facts": False, "tasks": tasks, **({"serial": 5} if serial else {})},
        {"name": "Ask the inventory", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Ask", "ansible.builtin.meta": "refresh_inventory"}]},
    ]
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    outcome = run(yaml.safe_dump(plays, sort_keys=False), hosts, "-i", "lmstudio.yml", "-f", "2", connection={})
    for name in NAMES:
        sent = sent_to(fleet, name)
        assert set(sent) <= {None, f"Bearer {token_of(name)}", f"Bearer {ENVIRONMENT}"}, name
        assert sent.count(f"Bearer {token_of(name)}") > 20
        assert token_of(name) not in outcome.output
