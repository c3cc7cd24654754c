# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gate: what it says, from where it asks, and how it waits."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time

import pytest
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in, words

REQUIRED = [{"model": "qwen/qwen3-8b"}]


@pytest.mark.matrix
def test_it_fails_with_every_violation_from_everywhere(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_assert:
      require:
        - name: chat model
          model: qwen/qwen3-8b
          min_context_length: 32768
          quantization: Q8_0
        - model: nothing
        - model: openai/*
          min_instances: 2
          severity: warn
        - model: openai/gpt-oss-20b
      fail_msg: Not ready.
  tasks:
    - name: Gather
      gpufleet.lmstudio.model_info:
      register: answer
    - name: On the target
      gpufleet.lmstudio.model_assert:
      register: target
      ignore_errors: true
    - name: From the controller
      gpufleet.lmstudio.model_assert:
        via: controller
      check_mode: true
      register: controller
      ignore_errors: true
    - name: What was gathered
      gpufleet.lmstudio.model_assert:
        record: "{{ answer }}"
      register: gathered
      ignore_errors: true
    - name: All say the same
      ansible.builtin.assert:
        that:
          - item is failed and item is not changed and not item.met
          - item.msg.splitlines() == said
          - item.violations | map(attribute='severity') == ['fail', 'fail', 'fail', 'fail', 'warn']
          - item.violations == target.violations
          - item.violations[1].expected == 32768 and item.violations[1].actual == 16384
          - item.lmstudio.detail == 'loaded' and item.lmstudio.fingerprint == answer.lmstudio.fingerprint
      vars:
        said:
          - Not ready.
          - "chat model: qwen/qwen3-8b has the quantization Q4_K_M, but Q8_0 is required"
          - "chat model: qwen/qwen3-8b is loaded with a context of 16384, at least 32768 is required"
          - "chat model: qwen/qwen3-8b (instance qwen/qwen3-8b:2) is loaded with a context of 4096, at least 32768 is required"
          - nothing is not listed by this host
          - "(warning) openai/*: 1 loaded instance meets the requirement, at least 2 are required"
      loop: "{{ [target, controller, gathered] }}"
      loop_control: {label: x}
    - name: Asked once, or not at all
      ansible.builtin.assert:
        that: "[target.polls, controller.polls, gathered.polls] == [1, 1, 0]"
"""
    outcome = run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})
    assert words(outcome).count("[WARNING]: gpu01: openai/*: 1 loaded instance") == 1
    assert len(fleet.requests("gpu01")) == 3


@pytest.mark.matrix
@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
def test_a_host_that_is_kept_in_the_play_although_it_cannot_be_reached_does_not_pass(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}
    role = {"import_role": {"name": "gpufleet.lmstudio.require_models"}, "vars": {"require_models_require": REQUIRED}}
    for gate in ({"gpufleet.lmstudio.model_assert": {"require": REQUIRED}}, role):
        deploy = {"name": "Deploy", "debug": {"msg": "deployed {{ inventory_hostname }}"}}
        play = {
            "name": "Gate",
            "hosts": "all",
            "gather_facts": False,
            "ignore_unreachable": True,
            "tasks": [{"name": "Gate", **gate}, deploy],
        }
        outcome = run(json.dumps([play]), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}, "gone": gone}, ends=2)
        assert "deployed gpu01" in outcome.output and "deployed gone" not in outcome.output
        assert re.search(
            "could not check qwen/qwen3-8b: Nothing was gathered from this host: .*connect to host 127.0.0.1 port 9", outcome.output
        )


@pytest.mark.matrix
@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
def test_facts_of_before_are_not_those_of_a_host_that_is_kept_although_it_cannot_be_reached(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    play = """
- name: Gather facts
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
- name: Gate
  hosts: gpu01
  gather_facts: false
  ignore_unreachable: true
  vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 9, ansible_ssh_retries: 0}
  tasks:
    - name: Ask again
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
    - name: Gate
      gpufleet.lmstudio.model_assert:
        record: "{{ ansible_facts.lmstudio }}"
        require: [{type: llm}]
    - name: Deploy
      ansible.builtin.debug:
        msg: deployed
"""
    outcome = run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, ends=2)
    assert "deployed" not in outcome.output
    # Ansible shows the task as ok.
    assert re.search(r"WARNING\]: gpu01: Nothing was gathered from this host: .{0,300}connect to host 127.0.0.1 port 9", words(outcome))
    assert len(fleet.requests("gpu01")) == 1
    outcome = run(play.replace("  ignore_unreachable: true\n", ""), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, ends=4)
    assert "unreachable=1" in outcome.output


@pytest.mark.matrix
def test_facts_of_before_are_not_those_of_a_task_whose_failure_does_not_count(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    no_python = {"ansible_python_interpreter": "/nowhere/python"}
    for options, keywords, why in (
        ({"port": "nonsense"}, {}, "port: it is not a whole number"),
        ({"timeout": -1}, {}, "timeout: -1 is not a usable number of seconds"),
        ({}, {"vars": no_python}, ""),
    ):
        tasks = [
            {"gpufleet.lmstudio.model_facts": {"url": "{{ lmstudio_url }}"}},
            {"gpufleet.lmstudio.model_facts": {"url": "{{ lmstudio_url }}", **options}, "failed_when": False, **keywords},
            {"gpufleet.lmstudio.model_assert": {"record": "{{ ansible_facts.lmstudio }}", "require": REQUIRED}},
        ]
        play = {"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": tasks}
        outcome = run(json.dumps([play]), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, ends=2)
        assert f"could not check qwen/qwen3-8b: Nothing was gathered from this host: {why}" in outcome.output


def test_the_gate_of_a_role_is_for_each_host_even_where_the_play_imports_it_once(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}})
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: Gate
      ansible.builtin.import_role:
        name: gpufleet.lmstudio.ROLE
      run_once: true
    - name: Deploy
      ansible.builtin.debug:
        msg: "deployed {{ inventory_hostname }}"
"""
    roles = {"require_models": {"require_models_require": REQUIRED}, "serve_models": {"serve_models_models": REQUIRED}}
    for role, variables in roles.items():
        hosts = {name: {"lmstudio_url": url, **variables} for name, url in fleet.urls.items()}
        outcome = run(play.replace("ROLE", role), hosts, ends=2)
        assert "deployed gpu01" in outcome.output and "deployed gpu02" not in outcome.output
        assert "qwen/qwen3-8b is not loaded. Loaded: nothing" in outcome.output
    assert not fleet.posts("gpu02")


@pytest.mark.matrix
def test_a_role_that_a_play_has_twice_runs_twice(run, start, tmp_path):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    unload = {"name": "Unload", "gpufleet.lmstudio.model": {"model": "qwen/qwen3-8b", "state": "unloaded"}}
    (tmp_path / "roles" / "unload" / "tasks").mkdir(parents=True)
    (tmp_path / "roles" / "unload" / "tasks" / "main.yml").write_text(json.dumps([unload]))
    audit = {"fleet_audit_policy": {"require": REQUIRED}, "fleet_audit_fail_on": ["violations"]}
    for role, variables, ends in (
        ("require_models", {"require_models_require": REQUIRED}, 2),
        ("serve_models", {"serve_models_models": REQUIRED}, 0),
        ("fleet_audit", audit, 2),
    ):
        name = f"gpufleet.lmstudio.{role}"
        fleet.change("gpu01", payload="two_loaded.json")
        play = {"name": "Gate", "hosts": "all", "gather_facts": False, "roles": [name, "unload", name]}
        run(json.dumps([play]), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **variables}}, ends=ends)
        loaded = [model["key"] for model in fleet.state("gpu01")["models"] if model["loaded_instances"]]
        assert ("qwen/qwen3-8b" in loaded) == (role == "serve_models")


def test_it_passes_with_warnings_of_each_host(run, start):
    fleet = start({name: {"payload": "two_loaded.json"} for name in ("gpu01", "gpu02")})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: Only a warning
      gpufleet.lmstudio.model_assert:
        require: [{model: qwen/qwen3-8b}, {model: nothing, severity: warn}]
        via: "{{ item }}"
      loop: [target, controller]
      register: gate
      no_log: "{{ hidden }}"
    - name: And together
      gpufleet.lmstudio.fleet_assert:
        require: [{model: qwen/qwen3-8b}, {model: nothing, severity: warn}]
      no_log: "{{ hidden }}"
      run_once: true
    - name: Say so
      ansible.builtin.assert:
        that:
          - gate.results | map(attribute='met') | unique == [true]
          - gate.results | map(attribute='msg') | unique == [said]
      vars:
        said: |-
          All requirements are met, with 1 warning:
          (warning) nothing is not listed by this host
"""
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    outcome = run(play, hosts, "-e", '{"hidden": false}')
    hidden = run(play, hosts, "-e", '{"hidden": true}')
    for warning in (*(f"{name}: nothing is not listed by this host" for name in fleet.urls), "0 of 2 hosts serve nothing"):
        assert f"[WARNING]: {warning}" in outcome.output
        assert warning not in hidden.output


def test_one_name_that_several_instances_have_is_met_only_by_all_of_them(run, start):
    def entry(key, *contexts, **more):
        listed = [{"id": "prod", "config": {"context_length": context}} for context in contexts]
        return {"type": "llm", "key": key, "loaded_instances": listed, **more}

    variant = {"variants": ["m@q4"], "selected_variant": "m@q4"}
    payloads = {
        "of-one-entry": [entry("a", 16384, 4096)],
        "of-linked-machines": [entry("a", 16384), entry("a", 4096)],
        "of-two-models": [entry("a", 16384), entry("b", 4096)],
        "of-a-variant": [entry("a", 16384, **variant), entry("b", 4096, **variant)],
    }
    fleet = start({name: {"payload": {"models": models}} for name, models in payloads.items()})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: The instance that serves a request may be the short one
      gpufleet.lmstudio.model_assert:
        require: [{model: "{{ item }}", min_context_length: 8192}]
      loop: "{{ ['m@q4', '*@q4'] if inventory_hostname == 'of-a-variant' else ['prod', 'pro*'] }}"
      register: gate
      ignore_errors: true
    - name: None is met
      ansible.builtin.assert:
        that: item is failed and 'is loaded with a context of 4096, at least 8192 is required' in item.msg
      loop: "{{ gate.results }}"
"""
    run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})


def test_exclusive_leaves_no_model_of_another_kind_to_a_pattern(run, start):
    models = [
        {"type": kind, "key": key, "loaded_instances": [{"id": key, "config": {}}]}
        for kind, key in (("llm", "qwen/chat"), ("embedding", "qwen/vectors"))
    ]
    fleet = start({"gpu01": {"payload": {"models": models}}})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: Nothing else
      gpufleet.lmstudio.model_assert: {require: "{{ [item] }}", exclusive: true}
      loop:
        - {type: llm}
        - {model: "qwen/*", type: llm}
        - {model: ["qwen/*", qwen/chat], type: llm}
        - {model: "qwen/*"}
        - {model: "qwen/*", type: [llm, embedding]}
        - {model: ["qwen/*", qwen/vectors], type: llm}
      register: gate
      ignore_errors: true
    - name: The embedding is something else where only an LLM is required
      ansible.builtin.assert:
        that: gate.results | map(attribute='msg') | map('split', '\\n') | map('first') | list == said
      vars:
        other: qwen/vectors is loaded, and no requirement asks for it (exclusive)
        met: The requirement is met.
        said: ["{{ other }}", "{{ other }}", "{{ other }}", "{{ met }}", "{{ met }}", "{{ met }}"]
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})


def test_a_changed_record_without_an_error_is_judged(run):
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: Judge
      gpufleet.lmstudio.model_assert:
        require: [{model: m, state: absent, severity: warn}]
        exclusive: true
        record: {ok: false, status: refused, error: null, fingerprint: null, instances: [], models: [], detail: full}
      register: gate
      ignore_errors: true
    - name: It is not known
      ansible.builtin.assert:
        that: gate.msg.splitlines() == said
      vars:
        said: ["(warning) could not check m: refused", "could not check what else is loaded: refused"]
"""
    run(play, {"gpu01": {}})


@pytest.mark.once
def test_a_name_with_letters_that_look_alike_is_that_name_where_the_model_must_not_be_there(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    tasks = [{"gpufleet.lmstudio.model_info": {"via": "controller"}, "register": "asked"}]
    # Dashes as programs that write texts put them, and wide letters.
    for name in ("qwen/qwen3\u20138b", "qwen/qwen3\u20118b", "qwen/qwen3\u22128b", "\uff51wen/qwen3-*"):
        gate = {"record": "{{ asked }}", "require": [{"model": name, "state": "unloaded"}]}
        tasks.append({"gpufleet.lmstudio.model_assert": gate, "ignore_errors": True, "register": "gate"})
        tasks.append({"ansible.builtin.assert": {"that": "gate is failed and 'must not be loaded, but is' in gate.msg"}})
    play = {"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": tasks}
    run(json.dumps([play]), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})


def test_a_record_whose_models_were_taken_away_passes_no_gate(run, start):
    fleet = start({"gpu01": {"payload": "workstation.json"}})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  vars:
    require: [{model: qwen/*, state: unloaded}]
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info: {detail: "{{ detail }}"}
      register: asked
    - name: Forget the loaded models, to make it smaller
      ansible.builtin.set_fact:
        smaller: "{{ asked.lmstudio | combine({'models': asked.lmstudio.models | rejectattr('loaded')}) }}"
    - name: Judge a record
      gpufleet.lmstudio.model_assert: {require: "{{ require }}", record: "{{ smaller }}"}
      register: of_one
      ignore_errors: true
    - name: Judge records
      gpufleet.lmstudio.fleet_assert: {require: "{{ require }}", records: "{{ {'gpu01': smaller} }}"}
      run_once: true
      register: of_fleet
      ignore_errors: true
    - name: Report it
      gpufleet.lmstudio.fleet_report: {hosts: "{{ {'gpu01': smaller} }}", policy: {require: "{{ require }}"}, formats: [json]}
      run_once: true
      register: report
      ignore_errors: true
    - name: Judge it in a template
      ansible.builtin.assert: {that: smaller is gpufleet.lmstudio.meets(require)}
      register: template
      ignore_errors: true
    - name: All say it
      ansible.builtin.assert:
        that: item is failed and 'lack ' ~ (asked.lmstudio.loaded | join(', ')) ~ ', which it lists' in item.msg
      loop: "{{ [of_one, of_fleet, report, template] }}"
"""
    for detail in ("full", "loaded"):
        run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, "-e", f"detail={detail}")


def test_how_to_reach_a_host_does_not_matter_to_a_record(run):
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: Judge
      gpufleet.lmstudio.model_assert:
        require: [{model: m, state: absent}]
        record: {ok: true, status: ok, error: null, fingerprint: f, instances: [], models: [], available: [], loaded: [], detail: full}
        via: "{{ item }}"
      loop: [target, controller]
"""
    run(play, {"gpu01": {"lmstudio_url": "http://{{ nowhere }}", "lmstudio_timeout": "long"}})


def test_it_passes_and_says_so(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    play = """
- name: Assert
  hosts: all
  gather_facts: false
  tasks:
    - name: Facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
    - name: Each way
      gpufleet.lmstudio.model_assert: "{{ item }}"
      loop:
        - {require: "{{ wanted }}"}
        - {require: "{{ wanted }}", via: controller, exclusive: true, wait_timeout: 30}
        - {require: "{{ wanted }}", record: "{{ ansible_facts.lmstudio }}", success_msg: Go., quiet: true}
        - {require: "{{ wanted[:1] }}", record: {ansible_facts: "{{ ansible_facts }}"}}
      loop_control: {label: x}
      vars:
        wanted:
          - {model: qwen/qwen3-8b, min_context_length: "{{ 2 ** 12 }}", config: {flash_attention: "{{ true }}"}}
          - {model: openai/*, state: available}
      register: passed
    - name: Say so
      ansible.builtin.assert:
        that:
          - passed.results | map(attribute='met') | unique == [true]
          - passed.results | map(attribute='msg') == said
          - passed.results | map(attribute='polls') == [1, 1, 0, 0]
          - passed.results[0].lmstudio is defined and passed.results[2].lmstudio is not defined
      vars:
        said: [All 2 requirements are met., All 2 requirements are met., Go., The requirement is met.]
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})


RAW = [
    (["qwen/qwen3-8b"], "require[0]: qwen/qwen3-8b is not a requirement. Write keys and values"),
    ({"model": "m"}, "require: it is one requirement. Write a list"),
    ("m", "require: m is not a list of requirements"),
    ([{"model": "m"}, None], "require[1]: null is not a requirement"),
    ([{"model": "m", "min_context_length": None}], "require[0]: min_context_length has no value"),
    ([{"model": "m", "min_parallel": True}], "require[0]: min_parallel: true is not a whole number of 1 or more"),
    ([{"model": "m", "min_context_length": 4096.5}], "require[0]: min_context_length: 4096.5 is not a whole number"),
    ([{"model": 8}], "require[0]: model: 8 is not a string or a list of strings"),
    ([{"model": []}], "require[0]: model has no value"),
    ([{"model": "m", "capabilities": "vision,reasoning"}], "require[0]: capabilities: vision,reasoning is not one or several of vision"),
    ([{"model": "m", "config": "flash_attention=true"}], "require[0]: config: flash_attention=true is not a mapping of settings"),
    ([{"model": "m", "severity": "Warn"}], "require[0]: severity: Warn is not one of fail, warn"),
]
"""What the argument spec of Ansible would change, or refuse in its own words."""
ALONE = """
import sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.argv[1].encode()
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.gpufleet.lmstudio.plugins.modules.model_assert import main
main()
"""


@pytest.mark.parametrize("require, says", RAW)
def test_the_module_alone_judges_what_was_written(tmp_path, require, says):
    record = {"ok": True, "status": "ok", "error": None, "fingerprint": "f", "instances": [], "models": []}
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"require": require, "record": record}})
    done = run_in(tmp_path, ["python", "-c", ALONE, arguments], {"PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]})
    result = json.loads(done.stdout)
    assert result["failed"] and says in result["msg"], done.stderr
    # The newest ansible-core tells it when it is asked to.
    assert "invocation" not in result or result["invocation"]["module_args"]["require"] == require


EMPTY = {
    "error": None,
    "fingerprint": None,
    "detail": "full",
    "counts": {"models": 0},
    "instances": [],
    "models": [],
    "available": [],
    "loaded": [],
}
UNUSABLE = [
    ({"require": []}, "require: it is empty, which would pass on any host"),
    (
        {"require": [{"model": "m", "min_contex_length": 1}]},
        "require[0]: unknown key min_contex_length. Did you mean min_context_length?",
    ),
    ({"require": [{"model": "m"}], "wait_timeout": -1}, "wait_timeout: -1 is not a usable number of seconds"),
    ({"require": [{"model": "m"}], "give_up_on": ["autz"]}, "give_up_on: unknown status autz. Did you mean auth?"),
    ({"require": [{"model": "m"}], "delay": 0}, "delay: 0 is not a usable number of seconds"),
    ({"require": [{"model": "m"}], "record": {"loaded": []}}, "record: it is not a host record. Give ansible_facts.lmstudio"),
    ({"require": [{"model": "m"}], "record": ""}, "record: it is empty. Give what was gathered, or remove the option"),
    ({"require": [{"model": "m"}], "record": None}, "record: it is empty. Give what was gathered, or remove the option"),
    (
        {"require": [{"model": "m"}], "record": {"ok": "False", "status": "", "fingerprint": None, "instances": []}},
        "record: its ok is neither true nor false",
    ),
    (
        {"require": [{"model": "m", "state": "absent"}], "record": {**EMPTY, "ok": True, "status": "refused"}},
        "record: its ok and its status contradict each other",
    ),
    ({"require": [{"model": "m"}], "record": "RECORD", "wait_timeout": 1}, "wait_timeout: a record gathered before"),
    ({"require": [{"type": "llm", "state": "available"}], "record": "RECORD"}, "gather with detail: full"),
    ({"require": [{"model": "m"}], "wait_timout": 1}, "unknown option wait_timout. Did you mean wait_timeout? The options are"),
    ({"exclusive": True}, "missing required arguments: require"),
    *[({"require": require}, says) for require, says in RAW],
]


def test_what_cannot_be_used_fails_before_any_request(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    tasks = [{"name": "Facts", "gpufleet.lmstudio.model_facts": {"url": "{{ lmstudio_url }}"}}]
    that = ["item is failed", "item.violations is not defined", "says in item.msg"]
    for number, (options, says) in enumerate(UNUSABLE):
        wrong = {"gpufleet.lmstudio.model_assert": {**options, "via": "{{ item }}"}, "loop": ["target", "controller"]}
        tasks.append({"name": says, **wrong, "ignore_errors": True, "register": f"wrong{number}"})
        of_both = {"loop": f"{{{{ wrong{number}.results }}}}", "loop_control": {"label": "{{ item.item }}"}}
        tasks.append({"name": "Says so", "ansible.builtin.assert": {"that": that}, "vars": {"says": says}, **of_both})
    play = json.dumps([{"name": "Assert", "hosts": "all", "gather_facts": False, "tasks": tasks}])
    run(play.replace('"RECORD"', '"{{ ansible_facts.lmstudio }}"'), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})
    assert len(fleet.requests("gpu01")) == 1


WAITING = """
- name: Wait
  hosts: all
  gather_facts: false
  tasks:
    - name: Until it is loaded
      gpufleet.lmstudio.model_assert:
        require: [{{model: qwen/qwen3-8b, min_context_length: 12000}}]
        via: {via}
        wait_timeout: {wait}
        delay: 0.5
        timeout: {timeout}
      register: gate
      ignore_errors: true
    - name: Outcome
      ansible.builtin.debug:
        msg: "met {{{{ gate.met }}}}, polls {{{{ gate.polls }}}}, waited {{{{ gate.waited }}}}, {{{{ gate.msg }}}}"
"""


@pytest.mark.nightly
@pytest.mark.parametrize("via", ["target", "controller"])
def test_it_waits_through_a_restart_until_the_model_is_back(run, start, via):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    fleet.fault("gpu01", "refused")
    seen = []

    def restart():
        # Refused, then slow, then there, then loading, then loaded: each as soon as the step before was seen.
        # A refused connection leaves nothing at the server to wait for.
        time.sleep(1.5)
        fleet.fault("gpu01", "silence")
        seen.append(requests_reach(fleet, 1))
        fleet.fault("gpu01", "unavailable")
        seen.append(requests_reach(fleet, 2))
        fleet.fault("gpu01", None)
        seen.append(requests_reach(fleet, 3))
        fleet.load("gpu01", "qwen/qwen3-8b", context_length=16384)
        seen.append(time.monotonic())

    restarting = threading.Thread(target=restart)
    restarting.start()
    outcome = run(WAITING.format(via=via, wait=300, timeout=2), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})
    restarting.join()
    assert all(seen) and "met True" in outcome.output
    # Loaded after the third question was seen, it is met by one of the next: on a busy machine some are under way by then.
    polls, waited = (float(outcome.output.partition(f"{word} ")[2].partition(",")[0]) for word in ("polls", "waited"))
    assert 4 <= len(fleet.requests("gpu01")) <= polls <= 1 + waited / 0.5


def requests_reach(fleet, number):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if len(fleet.requests("gpu01")) >= number:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "fault, says", [(None, "is not loaded. Loaded: nothing"), ("refused", "refused the connection"), ("silence", "did not answer within")]
)
def test_it_gives_up_at_its_deadline_with_the_last_violations(run, start, fault, says):
    fleet = start({"gpu01": {"payload": "none_loaded.json", "fault": fault}})
    outcome = run(
        WAITING.format(via="controller", wait=3, timeout=2 if fault == "silence" else 60), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}
    )
    waited = float(outcome.output.partition("waited ")[2].partition(",")[0])
    assert "met False" in outcome.output and says in outcome.output and 2.9 <= waited < 60  # Without a deadline it never ends.
