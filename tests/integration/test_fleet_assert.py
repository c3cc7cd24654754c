# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gate for many hosts: what it says, whom it asks, and that it counts what is there at the same time."""

from __future__ import annotations

import json
import threading
import time

import pytest
from ansible.release import __version__ as ansible_version
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import words

WANTED = [{"name": "chat", "model": "qwen/qwen3-8b", "min_context_length": 4096}]


def hosts_of(fleet):
    return {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}


@pytest.mark.matrix
def test_it_says_who_serves_and_why_the_others_do_not(run, start):
    fleet = start(
        {
            "gpu01": {"payload": "two_loaded.json"},
            "gpu02": {"payload": "none_loaded.json"},
            "gpu03": {"token": "another"},
            "gpu04": {"payload": "two_loaded.json"},
            "gpu05": {"fault": "refused"},
        }
    )
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.fleet_assert:
      require: "{{ wanted }}"
    group/gpufleet.lmstudio.lmstudio:
      timeout: 20
  tasks:
    - name: Enough of them
      gpufleet.lmstudio.fleet_assert:
        min_hosts: "{{ 2 }}"
      run_once: true
      check_mode: "{{ checked | default(false) }}"
      register: enough
    - name: Too few of them
      gpufleet.lmstudio.fleet_assert:
        min_percent: 50
        fail_msg: Not yet.
        quiet: false
        wait_timeout: 1
        delay: 0.5
      run_once: true
      ignore_errors: true
      register: few
    - name: What was gathered
      gpufleet.lmstudio.fleet_assert:
        records: "{{ few.hosts }}"
        min_percent: 50
      run_once: true
      ignore_errors: true
      register: gathered
    - name: Every host has the results
      ansible.builtin.assert:
        that:
          - enough is not failed and enough is not changed and enough.met and enough.polls == 1
          - enough.msg == 'The requirement is met on at least 2 of 5 hosts, as required.'
          - "enough.serving == {'chat': ['gpu01', 'gpu04']}"
          - enough.violations == [] and enough.hosts is not defined
          - few is failed and not few.met and few.polls >= 1 and few.waited >= 1
          - few.msg.splitlines()[:2] == ['Not yet.', said]
          - few.msg.splitlines()[2].startswith('Waited ')
          - "'(auth) ' in few.msg and '(refused) ' in few.msg"
          - few.reasons | list == ['gpu02', 'gpu03', 'gpu05']
          - few.reasons.gpu02 is search('qwen/qwen3-8b is not loaded') and 'refused' in few.reasons.gpu05
          - few.hosts | list == ['gpu01', 'gpu02', 'gpu03', 'gpu04', 'gpu05'] and few.hosts.gpu01.detail == 'loaded'
          - few.summary.total == 5 and few.summary.not_ok == ['gpu03', 'gpu05']
          - few.violations[0].check == 'min_hosts' and few.violations[0].expected == 3 and few.violations[0].actual == 2
          - gathered is failed and gathered.polls == 0 and gathered.violations == few.violations and gathered.reasons == few.reasons
      vars:
        said: >-
          chat: 2 of 5 hosts serve qwen/qwen3-8b with a context of at least 4096; 3 are required. gpu02: not loaded. No answer: gpu03 (auth),
          gpu05 (refused)
"""
    for more in ({}, {"checked": True}):
        outcome = run(play, hosts_of(fleet), "-e", json.dumps({"wanted": WANTED, **more}))
        assert outcome.output.count("failed=0") == 5


def test_a_failure_is_that_of_the_batch(run, start):
    fleet = start({name: {"payload": "none_loaded.json" if name == "gpu03" else "two_loaded.json"} for name in ("gpu01", "gpu02", "gpu03")})
    play = """
- name: Roll out
  hosts: all
  gather_facts: false
  KEYWORD
  tasks:
    - name: Gate
      gpufleet.lmstudio.fleet_assert: OPTIONS
      run_once: true
    - name: Deploy
      ansible.builtin.debug:
        msg: "DEPLOYED {{ inventory_hostname }}"
"""
    deployed = {}
    for keyword, options, limit in (
        ("serial: 1", {}, []),
        ("any_errors_fatal: true", {"min_hosts": 3}, []),
        ("ignore_errors: true", {}, []),
        ("max_fail_percentage: 100", {}, []),
        ("serial: 3", {}, ["--limit", "gpu01,gpu02"]),
        ("serial: 3", {"hosts": "all"}, ["--limit", "gpu01,gpu02"]),
    ):
        text = play.replace("KEYWORD", keyword).replace("OPTIONS", json.dumps({"require": WANTED, **options}))
        stops = keyword != "ignore_errors: true" and (limit == [] or options != {})
        outcome = run(text, hosts_of(fleet), *limit, ends=2 if stops else 0)
        deployed[(keyword, *options, *limit)] = [name for name in fleet.urls if f"DEPLOYED {name}" in outcome.output]
        assert "run_once: true" not in outcome.output
    assert list(deployed.values()) == [["gpu01", "gpu02"], [], ["gpu01", "gpu02", "gpu03"], [], ["gpu01", "gpu02"], []]


def test_run_once_forgotten_and_hosts_that_share_a_url_are_warned_of(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}})
    hosts = {**hosts_of(fleet), "twin": {"lmstudio_url": fleet.urls["gpu01"]}}
    play = f"""
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: Twice the same machine is one host
      gpufleet.lmstudio.fleet_assert:
        require: {json.dumps(WANTED)}
        min_hosts: 2
"""
    outcome = run(play, hosts, ends=2)
    assert "fleet_assert asks all hosts once" in words(outcome) and "Set run_once: true on this task" in words(outcome)
    assert "gpu01, twin have the same URL" in words(outcome)
    assert "1 of 2 hosts serves qwen/qwen3-8b" in words(outcome)
    assert "Hosts with the same URL count once: twin (as gpu01)" in words(outcome)
    assert len(fleet.requests("gpu01")) == 1


@pytest.mark.matrix
def test_it_does_not_run_where_its_failure_could_stop_one_host_alone(run, start):
    """Without run_once, in a block with rescue or always, ansible-core 2.16 goes on with the other hosts."""
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "two_loaded.json"}})
    gate = {"name": "Gate", "gpufleet.lmstudio.fleet_assert": {"require": WANTED}}
    deploy, end = ([{"name": word, "ansible.builtin.debug": {"msg": word + " {{ inventory_hostname }}"}}] for word in ("deployed", "ended"))

    def ended(task, ends, **block):
        tasks = [{"name": "Outer", "block": [{"block": [task]}, *deploy], **block}]
        outcome = run(json.dumps([{"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": tasks}]), hosts_of(fleet), ends=ends)
        refused = "Set run_once: true on it" in words(outcome)
        assert ("deployed gpu01" in outcome.output, "deployed gpu02" in outcome.output) == (not refused, not refused)
        return len(fleet.requests("gpu02")), refused

    once = {**gate, "run_once": True}
    assert ended(gate, 2, always=end) == (0, True)
    wrong = {"name": "Gate", "gpufleet.lmstudio.fleet_assert": {"require": "nothing"}}
    assert ended(wrong, 2, always=end) == (0, True)
    assert ended(once, 0, always=end) == (1, False) and ended(once, 0, rescue=end) == (2, False)
    assert ended(gate, 0) == (3, False)


@pytest.mark.matrix
def test_who_goes_on_after_its_failure(run, start):
    """docs/plugins.md says so, because Ansible drops the others without a word."""
    fleet = start({"gpu01": {"payload": "none_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}})
    gate = {"name": "Gate", "gpufleet.lmstudio.fleet_assert": {"require": WANTED}, "run_once": True, "register": "fleet"}
    went_on = {"name": "Go on", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} went on, met: {{ fleet.met }}"}}

    def going_on(*tasks, ends):
        outcome = run(
            json.dumps([{"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": [*tasks, went_on]}]), hosts_of(fleet), ends=ends
        )
        return [name for name in fleet.urls if f"{name} went on, met: False" in outcome.output]

    rescued = {"name": "Rescued", "block": [gate], "rescue": [{"name": "Say so", "ansible.builtin.debug": {"msg": "rescued"}}]}
    oldest = ansible_version.startswith("2.16.")
    assert going_on(rescued, ends=0 if oldest else 2) == (["gpu01", "gpu02"] if oldest else ["gpu01"])
    assert going_on({**gate, "ignore_errors": True}, ends=0) == ["gpu01", "gpu02"]


def test_records_of_one_server_count_once_where_it_is_the_controller(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    url = fleet.urls["gpu01"]
    play = f"""
- name: Gate
  hosts: all
  gather_facts: false
  vars:
    wanted: {{require: {json.dumps(WANTED)}, min_hosts: 2}}
    answers: "{{{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'answer'))) }}}}"
  tasks:
    - name: Each host asks itself
      gpufleet.lmstudio.model_info:
      connection: local
      register: answer
    - name: Judge that
      gpufleet.lmstudio.fleet_assert:
        require: "{{{{ wanted.require }}}}"
        min_hosts: 2
        records: "{{{{ answers }}}}"
      run_once: true
      register: gate
      ignore_errors: true
    - name: Judge it with a policy
      gpufleet.lmstudio.fleet_report:
        hosts: "{{{{ answers }}}}"
        policy: {{fleet: ["{{{{ wanted }}}}"]}}
        formats: [json]
        dest: "{{{{ playbook_dir }}}}/reports"
      run_once: true
      register: report
    - name: Outcome
      ansible.builtin.debug:
        msg: "GATE {{{{ gate.msg }}}} REPORT {{{{ report.problems.violations }}}}"
      run_once: true
"""
    outcome = words(run(play, {name: {"lmstudio_url": url} for name in ("gpu01", "twin")}))
    assert "GATE min_hosts: 2 are required, but only 1 host counts. Hosts with the same URL count once, so 1 is left out" in outcome
    assert "1 of 1 host serves qwen/qwen3-8b with a context of at least 4096; 2 are required" in outcome
    # Without that variable they may be machines of their own, and the URL that of a server of each.
    outcome = words(run(play, {name: {"lmstudio_url": url} for name in ("gpu01", "gpu02")}, connection={}))
    assert "GATE The requirement is met on all 2 hosts. REPORT []" in outcome


WRONG = [
    ({"require": []}, "require: it is empty, which would pass on any host"),
    ({"require": [{"modle": "m"}]}, "unknown key modle. Did you mean model?"),
    ({"require": WANTED, "min_hosts": 3}, "min_hosts: 3 are required, but only 2 hosts count"),
    ({"require": WANTED, "min_hosts": True}, "min_hosts: true is not a number"),
    ({"require": WANTED, "min_hosts": 1, "min_percent": 50}, "min_percent: it contradicts min_hosts"),
    ({"require": WANTED, "hosts": []}, "hosts: it is an empty list"),
    ({"require": WANTED, "hosts": "{{ groups['gpu'] | default([]) | join(',') }}"}, "hosts: it has no value"),
    ({"require": WANTED, "hosts": None}, "hosts: it has no value"),
    ({"require": WANTED, "hosts": ["gpu01", "gpu2"]}, "hosts: no host or group of the inventory is called gpu2. Did you mean gpu02?"),
    ({"require": WANTED, "hosts": "nobody"}, "hosts: no host or group of the inventory is called nobody"),
    ({"require": WANTED, "records": ""}, "records: it is empty"),
    ({"require": WANTED, "records": None}, "records: it is empty"),
    ({"require": WANTED, "records": {}}, "hosts: there are none, so any requirement would be met"),
    ({"require": WANTED, "records": {"a": {}}}, "records: the record of a cannot be used"),
    ({"require": WANTED, "records": {"a": {}}, "hosts": "all"}, "records: they say which hosts are meant"),
    ({"require": WANTED, "give_up_on": "autz"}, "give_up_on: unknown status autz. Did you mean auth?"),
    ({"require": WANTED, "wait_timout": 1}, "unknown option wait_timout. Did you mean wait_timeout?"),
    ({"min_hosts": 1}, "missing required arguments: require"),
]


def test_what_cannot_be_used_fails_before_any_request(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    tasks = [
        {"name": says, "gpufleet.lmstudio.fleet_assert": options, "run_once": True, "ignore_errors": True, "register": f"wrong{number}"}
        for number, (options, says) in enumerate(WRONG)
    ]
    for number, (_options, says) in enumerate(WRONG):
        that = [f"wrong{number} is failed", f"wrong{number}.violations is not defined", f"says in wrong{number}.msg"]
        tasks.append({"name": "Says so", "ansible.builtin.assert": {"that": that}, "vars": {"says": says}, "run_once": True})
    run(json.dumps([{"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": tasks}]), hosts_of(fleet))
    assert fleet.requests("gpu01") == fleet.requests("gpu02") == []


WAITING = """
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: Wait
      gpufleet.lmstudio.fleet_assert:
        require: [{model: qwen/qwen3-8b}]
        min_hosts: 2
        wait_timeout: "{{ seconds }}"
        delay: 1
        timeout: 20
      run_once: true
      register: gate
      ignore_errors: true
    - name: Outcome
      ansible.builtin.debug:
        msg: "MET {{ gate.met }} polls {{ gate.polls }} {{ gate.serving }}"
      run_once: true
"""


def wait_for_requests(fleet, name, number):
    deadline = time.monotonic() + 120
    while len(fleet.requests(name)) < number and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_model_that_leaves_at_the_worst_moment_is_not_counted(run, start, comes_back):
    fleet = start(
        {"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}, "gpu03": {"payload": "none_loaded.json"}}
    )

    def change():
        # It leaves the first host when that has been seen, and comes to the second one after that.
        wait_for_requests(fleet, "gpu02", 2)
        for instance in ("qwen/qwen3-8b", "qwen/qwen3-8b:2"):
            fleet.unload("gpu01", instance)
        fleet.load("gpu02", "qwen/qwen3-8b")
        if comes_back:
            wait_for_requests(fleet, "gpu01", 2)
            fleet.load("gpu01", "qwen/qwen3-8b")

    changing = threading.Thread(target=change)
    changing.start()
    outcome = run(WAITING, hosts_of(fleet), "-e", json.dumps({"seconds": 300 if comes_back else 12}))
    changing.join()
    assert f"MET {comes_back}" in outcome.output
    # The first one was asked when it seemed to be enough, and not while only the others were missing.
    assert len(fleet.requests("gpu01")) < len(fleet.requests("gpu03"))


def test_each_round_says_what_it_waits_for_if_it_is_to_be_told(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json", "token": "token-of-gpu01"}})
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_token": "token-of-gpu01"}}
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.fleet_assert: &waiting
      require: [{model: qwen/qwen3-8b}]
      wait_timeout: "{{ 6 if told else 1 }}" # in which a slow machine asks once and has time left
      delay: 0.5
    gpufleet.lmstudio.model_assert:
      <<: *waiting
      via: controller
  tasks:
    - name: Wait for all
      gpufleet.lmstudio.fleet_assert:
      run_once: true
      ignore_errors: true
      no_log: "{{ hidden }}"
    - name: Wait for each
      gpufleet.lmstudio.model_assert:
      ignore_errors: true
      no_log: "{{ hidden }}"
"""
    for arguments, told in ((["-v", "-e", "hidden=false"], True), (["-e", "hidden=false"], False), (["-v", "-e", "hidden=true"], False)):
        outcome = words(run(play, hosts, *arguments, "-e", json.dumps({"told": told})))
        for line in (
            "fleet_assert: 0 of 1 host serves qwen/qwen3-8b; 1 is required. gpu01: not loaded. Asking again in ",
            f"model_assert, {fleet.urls['gpu01']}: qwen/qwen3-8b is not loaded. Loaded: nothing. Asking again in ",
        ):
            assert (line in outcome) is told, arguments
        assert "token-of-gpu01" not in outcome


def test_the_last_round_ends_in_time_and_says_what_was_seen_of_each_host(run, start):
    fleet = start({f"gpu{number:02}": {"fault": "silence"} for number in range(20)})
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.fleet_assert:
      require: [{model: qwen/qwen3-8b}]
      timeout: 2
      delay: 1
  tasks:
    - name: One after the other takes longer than there is
      gpufleet.lmstudio.fleet_assert:
        wait_timeout: 1
        concurrency: 1
      run_once: true
      ignore_errors: true
      register: slow
    - name: A last round that begins at the deadline
      gpufleet.lmstudio.fleet_assert:
        wait_timeout: 3.5
      run_once: true
      ignore_errors: true
      register: silent
    - name: Each round ended in time
      ansible.builtin.assert:
        that:
          - slow is failed and slow.waited < 30 and 'within the time for all hosts (3.5 s)' in slow.reasons.gpu19
          - silent is failed and silent.waited >= 3.5
          - silent.reasons.gpu00 is search('did not answer within 2 seconds') and 'the time for all hosts' not in silent.msg
      run_once: true
"""
    run(play, hosts_of(fleet))


def test_the_role_gates_the_batch_once(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}, "gpu03": {"fault": "refused"}})
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: Enough
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.require_models
      vars:
        require_models_require: [{model: qwen/qwen3-8b}]
        require_models_min_hosts: 1
    - name: Every host has the result
      ansible.builtin.assert:
        that: require_models_fleet_result.met and require_models_fleet_result.serving['qwen/qwen3-8b'] == ['gpu01']
    - name: Too few
      ansible.builtin.import_role:
        name: gpufleet.lmstudio.require_models
      vars:
        require_models_require: [{model: qwen/qwen3-8b}]
        require_models_min_percent: 50
        require_models_fail_msg: The rollout stops here.
"""
    outcome = run(play, hosts_of(fleet), ends=2)
    assert "The rollout stops here." in outcome.output and "1 of 3 hosts serves qwen/qwen3-8b; 2 are required" in outcome.output
    assert "qwen/qwen3-8b: gpu01. The requirement is met on at least 1 of 3 hosts" in outcome.output
    assert len(fleet.requests("gpu01")) == 2
    exclusive = run(
        play.replace("require_models_min_hosts: 1", "require_models_min_hosts: 1\n        require_models_exclusive: true"),
        hosts_of(fleet),
        ends=2,
    )
    assert "require_models_exclusive" in exclusive.output and len(fleet.requests("gpu01")) == 2
    never = run(
        play.replace("require_models_min_hosts: 1", "require_models_min_hosts: 1\n        require_models_give_up_on: [autz]"),
        hosts_of(fleet),
        ends=2,
    )
    assert "give_up_on: unknown status autz" in never.output and len(fleet.requests("gpu01")) == 2


def test_the_role_gates_every_host_where_only_some_say_how_many_are_enough(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}})
    hosts = hosts_of(fleet)
    play = """
- name: Gate a batch
  hosts: all
  gather_facts: false
  tasks:
    - name: Gate
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.require_models
      vars:
        require_models_require: [{model: qwen/qwen3-8b}]
    - name: Deploy
      ansible.builtin.debug:
        msg: "deployed {{ inventory_hostname }}"
"""
    for alone in hosts:
        said = {name: {**variables, **({"require_models_min_hosts": 1} if name == alone else {})} for name, variables in hosts.items()}
        outcome = run(play, said, ends=0 if alone == "gpu02" else 2)
        assert ("deployed gpu02" in outcome.output) == (alone == "gpu02"), "1 of 2 hosts is enough for whom that is said"
        assert "deployed gpu01" in outcome.output


@pytest.mark.parametrize("how", ["import_role", "include_role"])
def test_under_an_inherited_run_once_the_role_gates_every_host_where_only_some_say_how_many_are_enough(run, start, how):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "none_loaded.json"}})
    role = {"name": "gpufleet.lmstudio.require_models"}
    gate = {"import_role": role, "run_once": True} if how == "import_role" else {"include_role": {**role, "apply": {"run_once": True}}}
    tasks = [{"name": "Gate", **gate}, {"name": "Deploy", "debug": {"msg": "deployed {{ inventory_hostname }}"}}]
    variables = {"require_models_require": [{"model": "qwen/qwen3-8b"}]}
    play = json.dumps([{"name": "Gate", "hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}])
    hosts = hosts_of(fleet)
    for alone in hosts:
        said = {name: {**one, **({"require_models_min_hosts": 2} if name == alone else {})} for name, one in hosts.items()}
        outcome = run(play, said, ends=2)
        assert "deployed gpu02" not in outcome.output, f"{alone} requires 2 hosts"
    both = {name: {**one, "require_models_min_hosts": 1} for name, one in hosts.items()}
    both["gpu02"]["require_models_exclusive"] = True
    outcome = run(play, both, ends=2)
    assert "require_models_exclusive is about one host." in words(outcome)
    assert "deployed gpu01" in outcome.output and "deployed gpu02" not in outcome.output


def test_the_role_gates_no_host_with_what_another_one_requires(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "two_loaded.json"}})
    play = [{"name": "Gate", "hosts": "all", "gather_facts": False, "roles": ["gpufleet.lmstudio.require_models"]}]
    chat = {"require_models_require": [{"model": "qwen/qwen3-8b"}], "require_models_min_hosts": 1}

    def gate(of_gpu02, ends, play=play, of_gpu01=chat):
        hosts = hosts_of(fleet)
        hosts = {"gpu01": {**hosts["gpu01"], **of_gpu01}, "gpu02": {**hosts["gpu02"], **of_gpu02}}
        return words(run(json.dumps(play), hosts, ends=ends))

    other = [{"model": "nonexistent/model"}]
    for name, value in {"require": other, "min_hosts": 2, "min_percent": 100, "confirm_loaded": True}.items():
        said = gate({**chat, f"require_models_{name}": value}, 2)
        assert f"require_models_{name} is not the same for gpu02 and for gpu01, and the role judges both with one value." in said
    assert not fleet.requests("gpu01")
    gate(chat, 0)
    gate({**chat, "require_models_wait_timeout": 1}, 0)
    # What the play says is for both, whatever the inventory has.
    gate({**chat, "require_models_require": other}, 0, play=[{**play[0], "vars": chat}])
    # In a batch of its own, or without a number of hosts, each is judged by what it requires itself.
    for alone in ({"play": [{**play[0], "serial": 1}]}, {"of_gpu01": {"require_models_require": chat["require_models_require"]}}):
        assert "nonexistent/model" in gate({**chat, "require_models_require": other}, 2, **alone)
    gate({"require_models_require": [{"model": "openai/gpt-oss-20b"}]}, 0)


def test_the_role_gates_under_tags_and_with_the_strategy_free(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  strategy: STRATEGY
  tasks:
    - name: Gate
      ansible.builtin.import_role:
        name: gpufleet.lmstudio.require_models
      vars: {require_models_require: [{model: qwen/qwen3-8b}], MORE}
      tags: [deploy]
    - name: Deploy
      ansible.builtin.debug:
        msg: deployed
      tags: [deploy]
"""
    for strategy, more in (("linear", "require_models_min_hosts: 1"), ("free", "require_models_wait_timeout: 0")):
        outcome = run(play.replace("STRATEGY", strategy).replace("MORE", more), hosts_of(fleet), "--tags", "deploy", ends=2)
        assert "qwen/qwen3-8b" in outcome.output and "deployed" not in outcome.output
