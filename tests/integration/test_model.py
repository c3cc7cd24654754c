# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module model in plays. What it does when something goes wrong is tried in unit tests, at each request."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.tests.clockwork import ClockworkServer, error, listening

TOKEN = "sk-lm-token-of-the-fleet"

STATES = """
- name: Bring a model into states
  hosts: gpu01:gpu02
  gather_facts: false
  tasks:
    - name: Tell what it takes
      gpufleet.lmstudio.model: {model: qwen/qwen3-8b, config: {context_length: 8192}}
      check_mode: true
      register: told
    - name: Load it
      gpufleet.lmstudio.model: {model: qwen/qwen3-8b, config: {context_length: "{{ 8192 }}"}}
      register: loaded
    - name: Load it again
      gpufleet.lmstudio.model: {model: qwen/qwen3-8b, config: {context_length: 8192}}
      register: again
    - name: Another spelling
      gpufleet.lmstudio.model: {model: qwen/Qwen3-8B, state: unloaded}
      register: misspelt
      ignore_errors: true
    - name: That is too small
      gpufleet.lmstudio.model: {model: qwen/qwen3-8b, config: {context_length: 16384, flash_attention: "{{ true }}"}, reload: never}
      register: never
      ignore_errors: true
    - name: Make it larger, in secret
      gpufleet.lmstudio.model: {model: qwen/qwen3-8b, config: {context_length: 16384}, confirm_loaded: true}
      register: reloaded
      no_log: true
    - name: Another one in its place, which has to be downloaded
      gpufleet.lmstudio.model: {model: lab/new, download: true, exclusive: true, keep: ["text-*"]}
      register: other
    - name: Unload it
      gpufleet.lmstudio.model: {model: lab/new, state: unloaded}
      register: unloaded
    - name: A model that is not there
      gpufleet.lmstudio.model: {model: qwen/qwen3-9b}
      register: unknown
      ignore_errors: true
    - name: An option that cannot be used
      gpufleet.lmstudio.model: {model: qwen/*}
      register: pattern
      ignore_errors: true
    - name: All as it should be
      ansible.builtin.assert:
        that:
          - told is changed and told.actions | map(attribute='action') == ['load'] and told.instance is none
          - loaded is changed and loaded.instance == 'qwen/qwen3-8b' and loaded.lmstudio.loaded == ['qwen/qwen3-8b']
          - again is not changed and again.actions == [] and again.msg == 'qwen/qwen3-8b is loaded as qwen/qwen3-8b, with a context of 8192.'
          - never is failed and never.reason == 'effective_config_differs' and never.differences | map(attribute='setting') == ['context_length']
          - reloaded.actions | map(attribute='action') == ['unload', 'load'] and 'cut off' in reloaded.actions[0].note
          - reloaded.differences | map(attribute='actual') == [8192] and reloaded.confirmed
          - other.actions | map(attribute='action') == ['download', 'unload', 'load']
          - unloaded is changed and unloaded.instance is none and unloaded.lmstudio.loaded == []
          - unknown is failed and unknown.reason == 'model_unknown' and 'did you mean qwen/qwen3-8b?' in unknown.msg
          - misspelt is failed and 'did you mean qwen/qwen3-8b?' in misspelt.msg
          - misspelt.msg is search('To load a model that is not on this host yet, set download')
          - pattern is failed and 'is not the key of one model' in pattern.msg
"""


@pytest.mark.nightly
def test_a_model_is_brought_into_its_states_from_both_sides(run, start):
    settings = {"payload": "none_loaded.json", "token": TOKEN, "downloads": {"catalogue": {"lab/new": {"size_bytes": 1000}}}}
    fleet = start({"gpu01": settings, "gpu02": settings})
    hosts = {name: {"lmstudio_url": url, "lmstudio_token": TOKEN} for name, url in fleet.urls.items()}
    hosts["gpu02"]["lmstudio_via"] = "controller"
    outcome = run(STATES, hosts, "-vvvv", "--diff")
    assert TOKEN[:10] not in outcome.output
    assert re.search(r'\+ +"qwen/qwen3-8b": \{\n\+ +"context_length": 8192', outcome.output)
    # With no_log nothing is shown, not even the progress.
    in_secret = outcome.output.partition("TASK [Make it larger")[2].partition("TASK [Another one")[0]
    assert "16384" not in in_secret and "model, http" not in in_secret
    assert f"model, {fleet.urls['gpu02']}: lab/new: loading" in outcome.output
    for name in hosts:
        assert [(path.rpartition("/")[2], *body.values()) for path, body in fleet.posts(name)] == [
            ("load", "qwen/qwen3-8b", 8192),
            ("unload", "qwen/qwen3-8b"),
            ("load", "qwen/qwen3-8b", 16384),
            ("download", "lab/new"),
            ("unload", "qwen/qwen3-8b"),
            ("load", "lab/new"),
            ("unload", "lab/new"),
        ]
        for request in fleet.requests(name):
            if request["method"] == "POST":
                assert request["headers"]["content-type"] == "application/json"


EVIL = "m\x1b]0;owned\x07\x1b[2J {{ lookup('pipe', 'touch pwned') }}"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HOSTILE = """
- name: Load on servers that answer anything
  hosts: all
  gather_facts: false
  tasks:
    - name: Tell
      gpufleet.lmstudio.model: {model: qwen, exclusive: true, via: "{{ item }}"}
      check_mode: true
      loop: [target, controller]
      register: told
      when: lists # which the others do in the same way, because they fail where something is sent
    - name: Load
      gpufleet.lmstudio.model: {model: qwen, via: "{{ item }}", load_timeout: 1, timeout: 1, headers: {content-type: text/plain}}
      loop: [target, controller]
      register: answer
      ignore_errors: true
    - name: Show
      ansible.builtin.debug:
        msg: "{{ [told, answer] }}"
    - name: In the background the controller cannot
      gpufleet.lmstudio.model: {model: qwen, via: controller}
      async: 60
      poll: 1
      register: background
      ignore_errors: true
      run_once: true
    - name: It says so
      ansible.builtin.assert:
        that: "'cannot run in the background' in background.msg"
      run_once: true
"""


def model(key, *ids):
    return {"type": "llm", "key": key, "loaded_instances": [{"id": name, "config": {"context_length": 4096, EVIL: EVIL}} for name in ids]}


def test_nothing_of_a_hostile_server_and_no_token_is_shown(run, start):
    faults = ["echoed_token", "server_error", "forbidden", "unauthorized", "redirect", "echoed_headers"]
    payload = {"models": [model("qwen"), model(EVIL, EVIL)]}
    fleet = start({fault.replace("_", "-"): {"payload": payload, "fault": {"name": fault, "method": "POST"}} for fault in faults})
    hosts = {name: {"lmstudio_url": url, "lmstudio_token": TOKEN, "lists": name == "echoed-token"} for name, url in fleet.urls.items()}
    outcome = run(HOSTILE, hosts, "-vvvv", "--diff")
    assert TOKEN[:10] not in outcome.output
    assert not RAW.search(outcome.output)
    assert not (outcome.folder / "pwned").exists()
    for name in hosts:
        (first, *_others) = [request for request in fleet.requests(name) if request["method"] == "POST"]
        assert first["body"] == {"model": "qwen"}
        assert first["headers"]["content-type"] == "application/json"


ACT = """
- name: Bring a model of each host into its state
  hosts: all
  gather_facts: false
  tasks:
    - name: Act
      gpufleet.lmstudio.model: "{{ options }}"
      register: result
      ignore_errors: true
    - name: Keep the result
      ansible.builtin.copy:
        content: "{{ result | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
"""


def act(run, servers):
    """The results on these hosts ({name: (server, options, and variables of the host)})."""
    with contextlib.ExitStack() as stack:
        hosts = {}
        for name, (server, options, *variables) in servers.items():
            url = stack.enter_context(listening(server))
            options = {"load_timeout": 600, "timeout": 60, **options}
            hosts[name] = {"lmstudio_url": url, "lmstudio_via": "controller", "options": options, **dict(*variables)}
        folder = run(ACT, hosts).folder
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in servers}


def instance(name, context_length=4096, **more):
    return {"id": name, "config": {"context_length": context_length}, **more}


def listed(key, *instances, **more):
    return {"type": "llm", "key": key, "loaded_instances": list(instances), **more}


def sent(server):
    return [(path.rpartition("/")[2], body.get("model", body.get("instance_id"))) for path, body in server.posts()]


@pytest.mark.parametrize("answer", [error(500, "timeout_error", "upstream request timed out"), Response(302), Response(307)])
def test_a_gateway_that_does_not_tell_what_came_of_a_load_does_not_cause_a_second_one(run, answer):
    server = ClockworkServer([listed("qwen", instance("qwen"))])

    def give_up(body):
        if body["context_length"] != 8192:
            return None
        lists = []

        def list_it_later(request):
            lists.append(request)
            if len(lists) == 3:
                server.models[0]["loaded_instances"].append(instance("qwen", 8192))

        server.hooks.append(list_it_later)
        return answer

    server.refusal = give_up
    result = act(run, {"gpu01": (server, {"model": "qwen", "config": {"context_length": 8192}})})["gpu01"]
    assert sent(server) == [("unload", "qwen"), ("load", "qwen")]
    assert not result["failed"] and result["instance"] == "qwen", result["msg"]


def test_what_two_models_call_their_instance_is_not_unloaded(run):
    names = ("exclusive", "reloaded", "unloaded", "satisfied")
    servers = {name: ClockworkServer([listed("qwen", instance("chat")), listed("gemma", instance("chat", 2048))]) for name in names}
    options = {"exclusive": {"exclusive": True}, "reloaded": {"config": {"context_length": 8192}}, "unloaded": {"state": "unloaded"}}
    results = act(run, {name: (servers[name], {"model": "qwen", **options.get(name, {})}) for name in names})
    for name in options:
        assert (
            results[name]["reason"] == "shared_identifier"
            and not results[name]["changed"]
            and "chat would be unloaded" in results[name]["msg"]
        )
    assert results["satisfied"]["instance"] == "chat" and not results["satisfied"]["failed"]
    assert not any(map(sent, servers.values()))


def test_what_changes_while_the_end_of_a_load_is_waited_for_is_noticed(run):
    server = ClockworkServer([listed("qwen")])

    def change(request):
        if request.path == "/api/v0/models":
            server.hooks.clear()
            server.models[0]["loaded_instances"] = [instance("qwen", 2048, loaded_at=server.now + 0.015)]

    server.hooks.append(change)
    result = act(run, {"gpu01": (server, {"model": "qwen", "config": {"context_length": 8192}, "confirm_loaded": True})})["gpu01"]
    assert result["reason"] == "effective_config_differs" and "context_length 2048, at least 8192 is required" in result["msg"]
    assert sent(server) == [("load", "qwen")]


def test_what_changes_during_a_load_or_an_unload_is_noticed_before_more_is_cut_off(run):
    reloaded = ClockworkServer([listed("qwen", instance("qwen"), instance("qwen:2"))])
    # A tool of somebody else gives an identifier again, to a model that is to be kept.
    reused = ClockworkServer([listed("qwen"), listed("old", instance("old")), listed("other", instance("chat")), listed("kept")])
    lost = ClockworkServer([listed("qwen", instance("qwen")), listed("old", instance("old")), listed("other", instance("other"))])

    def load_another(request):
        if request.path.endswith("/load"):
            reloaded.hooks.clear()
            reloaded.models[0]["loaded_instances"].append(instance("theirs", 8192))

    def give_again(request):
        if request.path.endswith("/unload"):
            reused.hooks.clear()
            reused.models[3]["loaded_instances"].append(reused.models[2]["loaded_instances"].pop())

    def unload_it(request):
        if request.path.endswith("/unload"):
            lost.hooks.clear()
            lost.models[0]["loaded_instances"].clear()

    reloaded.hooks.append(load_another)
    reused.hooks.append(give_again)
    lost.hooks.append(unload_it)
    results = act(
        run,
        {
            "reloaded": (reloaded, {"model": "qwen", "config": {"context_length": 8192}}),
            "reused": (reused, {"model": "qwen", "exclusive": True, "keep": ["kept"]}),
            "lost": (lost, {"model": "qwen", "exclusive": True}),
        },
    )
    assert {result["reason"] for result in results.values()} == {"changed_meanwhile"}
    assert "chat is an instance of kept now, and was one of other" in results["reused"]["msg"]
    assert sent(reloaded) == [("unload", "qwen"), ("load", "qwen")] and sent(reused) == sent(lost) == [("unload", "old")]


def test_what_is_written_differently_in_keep_is_not_unloaded(run):
    server = ClockworkServer([listed("qwen"), listed("text-embedding-nomic", instance("text-embedding-nomic"))])
    act(run, {"gpu01": (server, {"model": "qwen", "exclusive": True, "keep": ["Text-Embedding-*"]})})
    assert sent(server) == [("load", "qwen")]


def test_a_model_that_may_be_loaded_is_not_said_to_be_unloaded(run):
    servers = {
        name: ClockworkServer([listed("qwen", instance("qwen")), listed("gemma", loaded_context_length=4096)])
        for name in ("others", "kept")
    }
    options = {"others": {}, "kept": {"keep": ["Gemma"]}}
    results = act(run, {name: (servers[name], {"model": "qwen", "exclusive": True, **options[name]}) for name in servers})
    assert (
        results["others"]["reason"] == "still_loaded"
        and "so there is no instance to unload. Unload it in LM Studio" in results["others"]["msg"]
    )
    assert not results["kept"].get("failed") and [sent(server) for server in servers.values()] == [[], []]


def test_what_is_not_a_name_is_refused_before_any_request(run):
    wrong = {
        "blank": {"keep": ["{{ embedding | default('') }}"]},
        "null": {"keep": ["gemma", None]},
        "number": {"keep": [1]},
        "list": {"model": ["qwen"], "state": "unloaded"},
        "misspelt": {"config": {"contex_length": 65536}, "state": "loaded"},
        "camels": {"config": {"contextLength": 65536}, "state": "loaded"},
    }
    server = ClockworkServer([listed("qwen", instance("qwen")), listed("embedding", instance("embedding"))])
    results = act(
        run,
        {
            name: (server, {"model": "qwen", **({} if "state" in options else {"exclusive": True}), **options})
            for name, options in wrong.items()
        },
    )
    assert {name: result["msg"].partition(". Give")[0].rstrip(".") for name, result in results.items()} == {
        "blank": "keep: it is empty",
        "null": "keep: null is not a string",
        "number": "keep: 1 is not a string",
        "list": "model: ['qwen'] is not a string",
        "misspelt": "config: contex_length is not a setting of an instance. Did you mean context_length?",
        "camels": "config: contextLength is not a setting of an instance. Did you mean context_length?",
    }
    assert server.requests == []


def test_a_misspelt_key_is_not_said_to_be_unloaded(run):
    server = ClockworkServer([listed("qwen", instance("qwen")), listed("gemma")])
    names = {"key": "gemma", "misspelt": "qwenn", "instance": "qwen:2"}
    results = act(run, {host: (server, {"model": name, "state": "unloaded"}) for host, name in names.items()})
    assert {host: result["msg"] for host, result in results.items()} == {
        "key": "gemma is unloaded.",
        "misspelt": "qwenn is not loaded, and this host lists no model with that key.",
        "instance": "qwen:2 is not loaded, and this host lists no model with that key.",
    }
    assert sent(server) == [] and not any(result["changed"] for result in results.values())


def test_only_an_answer_with_what_was_requested_counts(run):
    confused = ClockworkServer([listed("qwen", instance("qwen"), instance("qwen:2", 8192))])
    confused.refusal = lambda body: Response(200, b'{"instance_id": "qwen:2", "status": "loaded"}')
    results = act(
        run,
        {
            # It waits for that load to be confirmed until the end.
            "confused": (confused, {"model": "qwen", "config": {"context_length": 8192}, "load_timeout": 10}),
            "true": (confused, {"model": "qwen", "load_timeout": True}),
        },
    )
    assert results["confused"]["reason"] == "load_unconfirmed" and "named an instance that existed before" in results["confused"]["msg"]
    assert sent(confused) == [("unload", "qwen"), ("load", "qwen")]
    assert results["true"]["msg"] == "load_timeout: true is not a number."


def test_names_that_are_masked_are_not_taken_for_others(run):
    key = "lmstudio-community/qwen3-8b-gguf"
    token = {"lmstudio_token": "lmstudio-cluster-2026-7f3a9c"}
    cases = {
        "unloaded": ({"model": key, "state": "unloaded"}, token),
        "loaded": ({"model": key}, token),
        "exclusive": ({"model": "gemma", "exclusive": True}, token),
        "header": ({"model": key, "state": "unloaded", "headers": {"X-Route": key}}, {}),
        "satisfied": ({"model": "nomic"}, token),
    }
    servers = {name: ClockworkServer([listed(key, instance(key)), listed("gemma"), listed("nomic", instance("nomic"))]) for name in cases}
    results = act(run, {name: (servers[name], *case) for name, case in cases.items()})
    assert not results.pop("satisfied")["failed"]
    for result in results.values():
        assert result["reason"] == "masked_names" and not result["changed"] and "names in its list are masked" in result["msg"]
    assert not any(map(sent, servers.values()))
