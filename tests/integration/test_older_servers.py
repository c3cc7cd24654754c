# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with LM Studio 0.3 in plays, and gates that tell what is loaded from what is still loading."""

from __future__ import annotations

import contextlib
import json
import threading

import pytest
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import words
from ansible_collections.gpufleet.lmstudio.tests.raw_server import Answering, http

CHAT = "qwen/qwen3-8b"
V1, V0 = "/api/v1/models", "/api/v0/models"

EVERY_PLUGIN = """
- name: Ask a fleet of old and new servers
  hosts: all
  gather_facts: false
  tasks:
    - name: From the host
      gpufleet.lmstudio.model_info:
      register: target
    - name: From the controller
      gpufleet.lmstudio.model_info:
        via: controller
      register: controller
    - name: As facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
        api: "{{ lmstudio_api }}"
    - name: All at once
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: In an expression
      ansible.builtin.set_fact:
        looked_up: "{{ lookup('gpufleet.lmstudio.models', inventory_hostname) }}"
    - name: What both lists tell is met
      gpufleet.lmstudio.model_assert:
        require: [{model: qwen/qwen3-8b, type: llm}, {model: openai/gpt-oss-20b, state: unloaded}]
        via: "{{ 'target' if inventory_hostname == 'old' else 'controller' }}"
    - name: What the older one does not tell is not
      gpufleet.lmstudio.model_assert:
        require: [{model: qwen/qwen3-8b, min_context_length: 8192, max_instances: 9}, {model: nobody/has-it, state: absent}]
        exclusive: "{{ inventory_hostname == 'old' }}"
      register: gate
      ignore_errors: true
    - name: Everybody knows which list it was
      ansible.builtin.assert:
        that:
          - item.ok and item.api == api and item.loaded == ['qwen/qwen3-8b', 'text-embedding-harbor-v2']
          - (item.size_bytes.loaded is none) == (api == 'v0') and (item.counts.instances is none) == (api == 'v0')
          - item.instances | map(attribute='context_length') | list == [8192, 2048]
          - item.fingerprint == target.lmstudio.fingerprint
      loop:
        - "{{ target.lmstudio }}"
        - "{{ controller.lmstudio }}"
        - "{{ ansible_facts.lmstudio }}"
        - "{{ fleet.hosts[inventory_hostname] }}"
        - "{{ looked_up }}"
      loop_control:
        label: "{{ item.api }}"
      vars:
        api: "{{ 'v0' if inventory_hostname == 'old' else 'v1' }}"
    - name: The gate was right
      ansible.builtin.assert:
        that:
          - (gate is failed) == (inventory_hostname == 'old')
          - gate.violations | map(attribute='check') | list == (['min_context_length', 'max_instances', 'state', 'exclusive'] if gate is failed else [])
    - name: So was the summary
      ansible.builtin.assert:
        that:
          - "fleet.summary.by_api == {'v0': ['old'], 'v1': ['new']}"
          - fleet.summary.size_bytes.loaded is none and fleet.summary.counts.loaded == 4 and fleet.summary.counts.instances is none
      run_once: true
"""


@pytest.mark.nightly
def test_every_plugin_asks_an_older_server_where_a_host_says_so(run, start):
    fleet = start({"old": {"version": "0.3"}, "new": {}})
    hosts = {name: {"lmstudio_url": url, "lmstudio_api": "auto"} for name, url in fleet.urls.items()}
    run(EVERY_PLUGIN, hosts)
    asked = {name: [request["path"] for request in fleet.requests(name)] for name in fleet.urls}
    assert set(asked["new"]) == {V1} and asked["old"] == [V1, V0] * len(asked["new"])


def test_a_wrong_api_is_an_error_of_whoever_set_it(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: With an option
      gpufleet.lmstudio.model_info:
        api: v2
        via: "{{ 'target' if inventory_hostname == 'gpu01' else 'controller' }}"
      ignore_errors: true
      register: option
    - name: With a variable
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: In an expression
      ansible.builtin.set_fact:
        looked_up: "{{ lookup('gpufleet.lmstudio.models', 'http://127.0.0.1:9', api='v2') }}"
      ignore_errors: true
      register: looked
    - name: With a record
      gpufleet.lmstudio.model_assert:
        record: "{{ fleet.hosts.gpu01 }}"
        require: [{model: qwen/qwen3-8b}]
        confirm_loaded: true
      ignore_errors: true
      register: gathered
    - name: Each says so
      ansible.builtin.assert:
        that:
          - option is failed and 'v1, v0, auto' in option.msg
          - fleet.hosts.gpu01.ok and fleet.hosts.gpu02.status == 'not_asked' and 'lmstudio_api' in fleet.hosts.gpu02.error.message
          - looked is failed and 'api' in looked.msg
          - gathered is failed and 'a record gathered before cannot be confirmed' in gathered.msg
"""
    run(play, {**hosts, "gpu02": {**hosts["gpu02"], "lmstudio_api": "v7"}})
    assert fleet.requests("gpu02") == []


def test_an_inventory_keeps_which_list_it_was(read_inventory, start):
    fleet = start({"old": {"version": "0.3"}, "new": {}})
    hosts = {name: {"lmstudio_url": url, "ansible_connection": "local"} for name, url in fleet.urls.items()}
    source = {
        "plugin": "gpufleet.lmstudio.lmstudio",
        "hosts": "all",
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": "cache",
        "api": "auto",
    }
    files = {"hosts.yml": {"all": {"hosts": hosts}}, "lmstudio.yml": source}
    records = []
    for _time in range(2):
        variables = read_inventory(files).variables
        records.append({name: variables[name]["lmstudio_record"] for name in fleet.urls})
    assert records[0] == records[1]
    assert {name: (record["api"], record["size_bytes"]["loaded"] is None) for name, record in records[0].items()} == {
        "old": ("v0", True),
        "new": ("v1", False),
    }
    assert [request["path"] for request in fleet.requests("old")] == [V1, V0]
    # Another option asks again.
    read_inventory({**files, "lmstudio.yml": {**source, "api": "v0"}})
    assert [request["path"] for request in fleet.requests("old")] == [V1, V0, V0]
    assert [request["path"] for request in fleet.requests("new")] == [V1, V0]


CONFIRMED = """
- name: Gate one by one
  hosts: gpu01:gpu02
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_assert: &waiting
      require: [{model: qwen/qwen3-8b, min_context_length: 8192}]
      confirm_loaded: true
      wait_timeout: 120
      delay: 0.2
      timeout: 20
  tasks:
    - name: Wait for the end of the load
      gpufleet.lmstudio.model_assert:
        via: "{{ 'target' if inventory_hostname == 'gpu01' else 'controller' }}"
      register: gate
    - name: It has waited
      ansible.builtin.assert:
        that: gate.met and gate.polls > 3 and gate.confirmed

- name: Gate with the role
  hosts: gpu03
  gather_facts: false
  vars:
    require_models_require: [{model: qwen/qwen3-8b}]
    require_models_confirm_loaded: true
    require_models_wait_timeout: 120
    require_models_delay: 0.2
  roles:
    - gpufleet.lmstudio.require_models

- name: Gate together
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.fleet_assert: *waiting
  tasks:
    - name: Wait for all of them
      gpufleet.lmstudio.fleet_assert:
      run_once: true
      register: gate
    - name: It has waited
      ansible.builtin.assert:
        that: gate.met and gate.polls > 3 and gate.unconfirmed == ['without']
      run_once: true
"""


def test_gates_wait_for_the_end_of_a_load_and_warn_once_where_nobody_can_tell(run, start):
    fleet = start(
        {
            **{name: {"payload": "none_loaded.json", "v0_error": True} for name in ("gpu01", "gpu02", "gpu03", "gpu04")},
            "without": {"v0": False},
        }
    )
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    seen: dict[str, int] = {}

    def load_until_asked(name):
        """Hold the load until the older list was asked for three times, which says that it is loading after one error."""
        fleet.wait_for(name, V0, 3)
        seen[name] = sum(request["path"] == V0 for request in fleet.requests(name))
        fleet.release(name)

    threads = []
    for name in ("gpu01", "gpu02", "gpu03", "gpu04"):
        fleet.load(name, CHAT, context_length=8192, held=True)
        threads.append(threading.Thread(target=load_until_asked, args=(name,), daemon=True))
        threads[-1].start()
    outcome = run(CONFIRMED, hosts)
    for thread in threads:
        thread.join(60)
    for name, before in seen.items():
        # Each gate that passed has asked once more after the load had ended.
        assert sum(request["path"] == V0 for request in fleet.requests(name)) > before >= 3
    assert len(seen) == 4
    printed = words(outcome)
    assert printed.count("it is not known whether a model is still loading, because the LM Studio of without has no /api/v0/models") == 1
    assert printed.count("confirm_loaded: ") == 1


def two_lists(v1, v0):
    """A server that answers with these two lists of models. One that is None is an error."""
    answers = {V1: http(json.dumps({"models": v1}).encode()), V0: http(b"<html>", status=b"500 Internal Server Error")}
    if v0 is not None:
        answers[V0] = http(json.dumps({"data": v0}).encode())
    return Answering(lambda _method, path: answers[path])


GONE = """
- name: Gate
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_assert: &confirmed {confirm_loaded: true, timeout: 20}
    gpufleet.lmstudio.fleet_assert: *confirmed
  tasks:
    - name: It is not loaded
      gpufleet.lmstudio.model_assert:
        require: [{model: qwen/qwen3-8b, state: unloaded}]
        via: "{{ 'target' if inventory_hostname == 'loading' else 'controller' }}"
      register: unloaded
      ignore_errors: true
    - name: Nothing else is loaded
      gpufleet.lmstudio.model_assert:
        require: [{model: other, min_instances: 0, max_instances: 9}]
        exclusive: true
      register: alone
      ignore_errors: true
    - name: Few instances are loaded
      gpufleet.lmstudio.model_assert:
        require: [{type: llm, min_instances: 0, max_instances: 1}]
      register: few
      ignore_errors: true
    - name: It is not loaded on this host
      gpufleet.lmstudio.fleet_assert:
        hosts: "{{ item }}"
        require: [{model: qwen/qwen3-8b, state: unloaded}]
      loop: "{{ ansible_play_hosts }}"
      run_once: true
      register: together
      ignore_errors: true
    - name: Outcome
      ansible.builtin.copy:
        content: "{{ [unloaded, alone, few, together.results[index | int]] | map(attribute='msg') | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
      vars:
        index: "{{ ansible_play_hosts.index(inventory_hostname) }}"
"""


def test_what_may_be_loading_is_not_unloaded(run, tmp_path):
    def listed(key, loaded):
        return {"key": key, "type": "llm", "loaded_instances": [{"id": key, "config": {"context_length": 8192}}] if loaded else []}

    def row(key, state):
        return {"id": key, "type": "llm", "state": state}

    v1 = [listed(CHAT, False), listed("other", True)]
    older = {
        "idle": [row(CHAT, "not-loaded"), row("other", "loaded")],
        "hidden": [row("other", "loaded")],
        "loading": [row(CHAT, "loading"), row("other", "loaded")],
        "loaded": [row(CHAT, "loaded"), row("other", "loaded")],
        "error": None,
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(two_lists(v1, v0)) for name, v0 in older.items()}
        servers["unlisted"] = stack.enter_context(two_lists(v1[1:], [row(CHAT, "loading"), row("other", "loaded")]))
        servers["empty"] = stack.enter_context(two_lists([], None))
        run(GONE, {name: {"lmstudio_url": f"http://127.0.0.1:{server.port}"} for name, server in servers.items()})
    said = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in servers}
    met = "The requirement is met."
    unknown = "because /api/v0/models did not say what is still loading"
    assert said["idle"] == said["hidden"] == [met] * 4
    assert said["loading"] == [
        f"{CHAT} must not be loaded, but is still loading",
        f"{CHAT} is still loading, and no requirement asks for it (exclusive)",
        "a model with the type llm: 2 loaded instances may meet the requirement, at most 1 is allowed",
        f"0 of 1 host has {CHAT} unloaded; 1 is required. loading: still loading",
    ]
    assert said["loaded"][0] == f"{CHAT} must not be loaded, but may be, because it has the state loaded"
    assert said["empty"][:3] == [
        f"{CHAT} is not known to be unloaded, {unknown}",
        f"other: it is not known how many loaded instances meet the requirement, {unknown}\n"
        f"it is not known whether anything else is loaded, {unknown} (exclusive)",
        f"a model with the type llm: it is not known how many loaded instances meet the requirement, {unknown}",
    ]
    assert said["error"][:3] == said["empty"][:3] and said["error"][3].endswith("error: not known")
    only = f"because only /api/v0/models lists {CHAT}"
    assert said["unlisted"] == [
        f"{CHAT} is not known to be unloaded, {only}",
        f"it is not known whether anything else is loaded, {only} (exclusive)",
        f"a model with the type llm: it is not known how many loaded instances meet the requirement, {only}",
        f"0 of 1 host has {CHAT} unloaded; 1 is required. unlisted: not known",
    ]
    assert all(met not in texts for name, texts in said.items() if name not in ("idle", "hidden"))
