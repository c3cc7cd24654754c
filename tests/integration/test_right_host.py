# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An answer counts for the host it came from, and for no other.

The hosts have addresses of 127.0.0.0/8 of their own. Where a wrong machine could be asked, it is there, listens, and would answer.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import sent_to, words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")

SSH = {"ansible_connection": "ssh"}
# Nobody else listens at these addresses, so a port that is in use at 127.0.0.1 is free here. One for each process id.
ONE, TWO = (str(ipaddress.IPv4Address(part) + os.getpid()) for part in ("127.128.0.0", "127.192.0.0"))

# What runs modules on the controller, as the connections of network devices do; and one that leads elsewhere, as containers have.
NETWORK = """
from ansible.plugins.connection.local import Connection as Local
DOCUMENTATION = '''
name: pretend_network
short_description: x
description: [x]
options:
  host:
    description: x
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: ansible_host}]
'''
class Connection(Local):
    transport = "pretend_network"
    _remote_is_local = True
"""


def port_of(url):
    return urlsplit(url).port


@pytest.fixture
def controller(start):
    """The controller's own LM Studio."""
    return start({"controller": {"payload": "two_loaded.json"}})


@pytest.fixture
def fleet(start, controller):
    """Two hosts, each with a token. The first one listens on the port of the controller, which comes first: all other tests listen there."""
    return start(
        {
            "one": {"listen": f"{ONE}:{port_of(controller.urls['controller'])}", "token": "token-of-one", "payload": "two_loaded.json"},
            "two": {"listen": f"{TWO}:0", "token": "token-of-two", "payload": "none_loaded.json"},
        }
    )


def inventory(fleet):
    ports = {name: port_of(url) for name, url in fleet.urls.items()}
    return {
        ONE: {**SSH, "lmstudio_port": ports["one"], "lmstudio_token": "token-of-one", "own_url": fleet.urls["one"]},
        TWO: {**SSH, "lmstudio_port": ports["two"], "lmstudio_token": "token-of-two", "own_url": fleet.urls["two"]},
        # Its server is on 127.0.0.1, as it sees it.
        "named": {
            **SSH,
            "ansible_host": ONE,
            "lmstudio_url": f"http://127.0.0.1:{ports['one']}",
            "lmstudio_token": "token-of-one",
            "own_url": fleet.urls["one"],
        },
        "templated": {
            **SSH,
            "ansible_host": TWO,
            "lmstudio_url": f"http://{{{{ ansible_host }}}}:{ports['two']}",
            "lmstudio_token": "{{ 'token-of-' ~ ('two' if ansible_host == '" + TWO + "' else 'nobody') }}",
            "own_url": fleet.urls["two"],
        },
    }


@pytest.mark.matrix
def test_a_delegated_task_asks_its_own_host_from_the_controller(run, fleet, controller):
    play = f"""
- name: Delegate
  hosts: all
  gather_facts: false
  vars:
    of_the_play: true
  tasks:
    - name: To the controller, to other hosts, to itself
      gpufleet.lmstudio.model_info:
        via: controller
      delegate_to: "{{{{ item }}}}"
      loop: [localhost, "{ONE}", "{TWO}", named, "{{{{ inventory_hostname }}}}"]
      register: answers
    - name: Each time it was its own server
      ansible.builtin.assert:
        that: answers.results | map(attribute='lmstudio.url') | unique == [own_url]
    - name: Once for all, delegated
      gpufleet.lmstudio.fleet_info:
      delegate_to: localhost
      run_once: true
      register: together
    - name: Each host has its own answer
      ansible.builtin.assert:
        that: together.hosts[inventory_hostname].ok and together.hosts[inventory_hostname].url == own_url
    - name: A gate for all, delegated
      gpufleet.lmstudio.fleet_assert:
        require: [{{model: qwen/qwen3-8b}}]
        min_hosts: 1
        quiet: false
      delegate_to: localhost
      run_once: true
      register: gate
    - name: It judged the answer of each host, and a server with two names once
      ansible.builtin.assert:
        that:
          - gate.hosts | list == ["{ONE}", "{TWO}"] and gate.serving['qwen/qwen3-8b'] == ["{ONE}"]
          - inventory_hostname not in gate.hosts or gate.hosts[inventory_hostname].url == own_url
          - inventory_hostname in gate.hosts or 'the same URL as ' in gate.reasons[inventory_hostname]
    - name: An expression in a delegated task
      ansible.builtin.assert:
        that: lookup('gpufleet.lmstudio.models', inventory_hostname).url == own_url
      delegate_to: localhost
"""
    run(play, inventory(fleet), connection={})
    assert set(sent_to(fleet, "one")) == {"Bearer token-of-one"} and set(sent_to(fleet, "two")) == {"Bearer token-of-two"}
    assert controller.requests("controller") == []


@pytest.mark.matrix
def test_a_delegated_gate_is_about_its_own_host(run, fleet, controller):
    # The controller serves what is required, and the second host does not.
    play = """
- name: Gate
  hosts: TWO
  gather_facts: false
  vars:
    required: [{model: qwen/qwen3-8b, min_context_length: 4096}]
  tasks:
    - name: From the controller
      gpufleet.lmstudio.model_assert:
        via: controller
        require: "{{ required }}"
      delegate_to: localhost
      ignore_errors: true
      register: from_controller
    - name: As the role
      block:
        - name: Gate
          ansible.builtin.include_role:
            name: gpufleet.lmstudio.require_models
            apply: {delegate_to: localhost}
          vars: {require_models_require: "{{ required }}"}
        - name: Deploy
          ansible.builtin.debug:
            msg: DEPLOYED
      rescue:
        - name: Stopped
          ansible.builtin.debug:
            msg: stopped
    - name: With a module, which would ask the delegate
      gpufleet.lmstudio.model_info:
      delegate_to: localhost
      ignore_errors: true
      register: on_target
    - name: It was this host, and the module was refused
      ansible.builtin.assert:
        that:
          - from_controller is failed and from_controller.lmstudio.url == own_url
          - on_target is failed and on_target.lmstudio is not defined
          - "'delegated to localhost' in on_target.msg and 'via: controller' in on_target.msg"
""".replace("TWO", TWO)
    outcome = run(play, inventory(fleet), connection={})
    assert "DEPLOYED" not in outcome.output and "stopped" in outcome.output
    assert controller.requests("controller") == []


def test_a_task_that_runs_once_says_that_other_hosts_get_its_answer(run, start):
    fleet = start({name: {"payload": "two_loaded.json"} for name in ("gpu01", "gpu02", "elsewhere")})
    hosts = {name: {"lmstudio_url": fleet.urls[name]} for name in ("gpu01", "gpu02")}
    required = {"require": [{"type": "llm"}]}
    asks = {"model_info": {}, "model_facts": {"url": "{{ lmstudio_url }}"}, "model_assert": required}
    tasks = {module: {f"gpufleet.lmstudio.{module}": options} for module, options in asks.items()}
    warning = "a task with run_once asks this host alone, and Ansible gives its result to gpu02 as well."

    def warnings_of(task, **keywords):
        play = [{"name": "Ask", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Ask", **task}], **keywords}]
        return words(run(json.dumps(play), hosts)).count(warning)

    for module, task in tasks.items():
        assert warnings_of({**task, "run_once": True}) == 1, module
    assert warnings_of(tasks["model_info"]) == warnings_of({**tasks["model_info"], "run_once": True}, serial=1) == 0
    # There, each host is asked, and each answer is registered for all.
    assert warnings_of({**tasks["model_info"], "run_once": True}, strategy="free") == 1
    # A server that the task names is that of nobody.
    assert warnings_of({"gpufleet.lmstudio.model_info": {"url": fleet.urls["elsewhere"]}, "run_once": True}) == 0


@pytest.mark.matrix
def test_a_gate_that_is_included_once_says_that_the_other_hosts_are_not_asked(run, start, tmp_path):
    fleet = start({name: {"payload": "two_loaded.json"} for name in ("gpu01", "gpu02")})
    hosts = {name: {"lmstudio_url": url, "require_models_require": [{"type": "llm"}]} for name, url in fleet.urls.items()}
    (tmp_path / "gate.yml").write_text("[{import_role: {name: gpufleet.lmstudio.require_models}}]")
    role = {"include_role": {"name": "gpufleet.lmstudio.require_models"}}
    warning = "gpu01: an include with run_once is for this host alone, and gpu02 will not be asked."

    def warnings_of(task, **keywords):
        play = [{"name": "Gate", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Gate", **task}], **keywords}]
        return words(run(json.dumps(play), hosts)).count(warning)

    assert warnings_of({**role, "run_once": True}) == 1
    assert warnings_of({"block": [{"include_tasks": "gate.yml"}], "run_once": True}) == 1
    assert warnings_of(role) == warnings_of({**role, "run_once": True}, strategy="ansible.builtin.host_pinned") == 0
    assert warnings_of({**role, "run_once": True, "vars": {"require_models_min_hosts": 2}}) == 0


@pytest.mark.matrix
def test_a_delegated_task_that_passes_on_the_hosts_loopback_url_is_refused(run, start):
    """In the task, or in module_defaults, which is not the task. A loopback address that is the task's own is that of the delegate."""
    fleet = start({"delegate": {"payload": "two_loaded.json"}})
    url = fleet.urls["delegate"]
    port = port_of(url)
    play = f"""
- name: Gate
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: The task passes on the URL of the host
      gpufleet.lmstudio.model_assert: {{url: "{{{{ lmstudio_url }}}}/", require: [{{type: llm}}]}}
      delegate_to: jump
      ignore_errors: true
      register: passed_on
    - name: The same with another module
      gpufleet.lmstudio.model: {{url: "{{{{ lmstudio_url }}}}", model: qwen/qwen3-8b, state: unloaded}}
      delegate_to: jump
      ignore_errors: true
      register: acted
    - name: With defaults
      module_defaults:
        gpufleet.lmstudio.model_assert: {{url: "http://localhost:{port}"}}
        gpufleet.lmstudio.model_facts: {{url: "http://localhost:{port}"}}
      block:
        - name: Gate
          gpufleet.lmstudio.model_assert: {{require: [{{type: llm}}]}}
          delegate_to: jump
          ignore_errors: true
          register: by_default
        - name: Facts
          gpufleet.lmstudio.model_facts:
          delegate_to: jump
          ignore_errors: true
          register: facts
    - name: None of them is about this host
      ansible.builtin.assert:
        that: item is failed and 'delegated to jump' in item.msg
      loop: "{{{{ [passed_on, acted, by_default, facts] }}}}"
    - name: A URL that the task names itself
      gpufleet.lmstudio.model_assert: {{url: "http://localhost:{port}", require: [{{type: llm}}]}}
      delegate_to: jump
"""
    outcome = run(play, {"gpu01": {"lmstudio_url": url}, "jump": {}})
    assert len(fleet.requests("delegate")) == 1
    assert f"gpu01: http://localhost:{port} is a server of jump here, and its answer is not about gpu01." in words(outcome)


def test_a_delegate_may_ask_an_address_that_is_no_loopback(run, fleet):
    # A jump host asks for a host that only it reaches. 127.0.0.0/8 is loopback in a URL, so it takes an address that is not.
    play = f"""
- name: Ask through a jump host
  hosts: far
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        on_error: report
      delegate_to: localhost
      vars: {{ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"}}
      register: answer
    - name: It was asked for there
      ansible.builtin.assert:
        that: answer.lmstudio.status == 'dns' and answer.lmstudio.url == 'http://far.invalid:{port_of(fleet.urls["one"])}'
"""
    run(play, {"far": {**SSH, "lmstudio_url": f"http://far.invalid:{port_of(fleet.urls['one'])}"}}, connection={})


NEEDED = {"model": "model: qwen/qwen3-8b", "model_assert": "require: [{type: llm}]"}


@pytest.mark.parametrize("module", ["model", "model_info", "model_facts", "model_assert"])
def test_modules_do_not_run_on_the_controller_in_place_of_a_network_device(run, start, tmp_path, module):
    fleet = start({"controller": {"payload": "two_loaded.json"}})
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "pretend_network.py").write_text(NETWORK)
    play = f"""
- name: Ask a switch
  hosts: switch
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.{module}:
        port: {port_of(fleet.urls["controller"])}
        {NEEDED.get(module, "")}
"""
    outcome = run(play, {"switch": {"ansible_connection": "pretend_network"}}, connection={}, ends=2)
    assert "the connection pretend_network runs modules on the controller" in words(outcome)
    assert "via: controller" in words(outcome)
    assert fleet.requests("controller") == []


FORWARDED = {
    "vm1": {**SSH, "ansible_host": "127.0.0.1", "ansible_port": 2222},
    "vm2": {**SSH, "ansible_host": "localhost", "ansible_port": 2200},
    "vm3": {"ansible_connection": "winrm", "ansible_winrm_host": "::1"},
    "vm4": {**SSH, "ansible_ssh_host": "127.1"},
    "vm5": {**SSH, "ansible_host": "::ffff:127.0.0.1"},
    "127.0.0.1": {**SSH},
    "localhost": {**SSH, "ansible_port": 2222},
    "tunnel": {**SSH, "ansible_host": "127.0.0.1", "ansible_port": 2201, "lmstudio_url": "http://127.0.0.1:PORT"},
}


@pytest.mark.matrix
def test_a_forwarded_port_is_not_the_host(run, start, tmp_path):
    fleet = start({"controller": {"payload": "two_loaded.json"}, "forwarded": {"payload": "none_loaded.json"}})
    port = port_of(fleet.urls["controller"])
    hosts = {name: {**variables, "lmstudio_port": port} for name, variables in FORWARDED.items()}
    hosts["tunnel"]["lmstudio_url"] = fleet.urls["controller"]
    del hosts["tunnel"]["lmstudio_port"]
    hosts["reached"] = {**FORWARDED["vm1"], "lmstudio_controller_url": fleet.urls["forwarded"]}
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Each host
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: answer
    - name: A gate
      gpufleet.lmstudio.model_assert:
        via: controller
        require: [{model: qwen/qwen3-8b}]
        wait_timeout: 600
      register: gate
      ignore_errors: true
    - name: All hosts
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: A gate for all hosts
      gpufleet.lmstudio.fleet_assert:
        require: [{model: qwen/qwen3-8b}]
        min_hosts: 2
        wait_timeout: 900
        quiet: false
      run_once: true
      register: together
      ignore_errors: true
    - name: The controller's models are nobody's
      ansible.builtin.assert:
        that:
          - item.status == expected
          - item.loaded == []
          - gate is failed
          - together is failed and '0 of 9 hosts serve qwen/qwen3-8b' in together.msg and '8 (8 not_asked)' in together.msg
          - together.polls == 1 and 'only 1 of 9 hosts could still meet it' in together.msg
          - expected == 'ok' or 'lmstudio_controller_url' in item.error.hint and 'via' in item.error.hint
          - expected == 'ok' or item.url is none and item.asked_at is none and 'the controller itself' in item.error.message
          - expected == 'ok' or gate.polls == 0 and 'This host was not asked' in gate.msg
      vars:
        expected: "{{ 'ok' if inventory_hostname == 'reached' else 'not_asked' }}"
      loop:
        - "{{ answer.lmstudio }}"
        - "{{ fleet.hosts[inventory_hostname] }}"
        - "{{ together.hosts[inventory_hostname] }}"
        - "{{ lmstudio_record }}"
        - "{{ lookup('gpufleet.lmstudio.models', inventory_hostname, on_error='report') }}"
      loop_control: {label: x}
"""
    # No host meets the gate that waits, and it is over at once except for the host that can be asked.
    play = play.replace("wait_timeout: 600", "wait_timeout: \"{{ 1 if inventory_hostname == 'reached' else 600 }}\"")
    run(play, hosts, "-i", "lmstudio.yml", connection={})
    assert fleet.requests("controller") == []


# Each is the machine that uses it.
SPELLINGS = [
    *("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "127.0.0.1.", "LOCALHOST", "localhost.localdomain", "ip6-localhost"),
    *("[::1]", "[0:0::1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[::]", "127\u30020\u30020\u30021"),
]


def test_a_loopback_address_in_any_spelling_is_the_host_itself(run, fleet, controller):
    port = port_of(fleet.urls["one"])
    hosts = {
        f"gpu{number}": {**SSH, "ansible_host": ONE, "lmstudio_url": f"http://{host}:{port}", "lmstudio_token": "token-of-one"}
        for number, host in enumerate(SPELLINGS)
    }
    play = f"""
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Each host
      gpufleet.lmstudio.model_info:
        via: controller
      register: answer
    - name: All hosts
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: all
    - name: Their models are those of the host
      ansible.builtin.assert:
        that: item.url == 'http://{ONE}:{port}' and item.ok
      loop:
        - "{{{{ answer.lmstudio }}}}"
        - "{{{{ all.hosts[inventory_hostname] }}}}"
        - "{{{{ lookup('gpufleet.lmstudio.models', inventory_hostname) }}}}"
      loop_control: {{label: x}}
    - name: Ask a server of the delegate in its place
      gpufleet.lmstudio.model_info:
      delegate_to: localhost
      register: refused
      ignore_errors: true
    - name: That is refused
      ansible.builtin.assert:
        that: refused is failed and 'is a server of localhost and not of' in refused.msg
"""
    run(play, hosts, connection={})
    assert controller.requests("controller") == []


def test_a_server_counts_once_in_any_spelling_of_its_address(run, fleet):
    port = port_of(fleet.urls["one"])
    _first, second, third, fourth = numbers = ipaddress.IPv4Address(ONE).packed
    words_of_it = f"::ffff:{0x7F00 + second:x}:{third * 256 + fourth:x}"
    spellings = [
        ONE,
        f"127.{int.from_bytes(numbers[1:], 'big')}",
        f"0x7f.{second}.{third * 256 + fourth}",
        f"::ffff:{ONE}",
        words_of_it,
        f"{ONE}.",
    ]
    hosts = {f"gpu{number}": {**SSH, "ansible_host": host, "lmstudio_port": port} for number, host in enumerate(spellings)}
    hosts["url"] = {**SSH, "lmstudio_controller_url": fleet.urls["one"]}
    play = """
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: Several names of one server
      gpufleet.lmstudio.fleet_assert:
        require: [{model: openai/gpt-oss-20b}]
        min_hosts: 2
        token: token-of-one
      run_once: true
"""
    outcome = words(run(play, hosts, ends=2, connection={}))
    assert "gpu0, gpu1, gpu2, gpu3, gpu4 and 2 more have the same URL" in outcome
    assert "only 1 host counts. Hosts with the same URL count once, so 6 are left out" in outcome


@pytest.mark.matrix
def test_a_host_that_asked_itself_counts_once_under_several_names(run, start, tmp_path):
    url = start({"controller": {"payload": "two_loaded.json"}}).urls["controller"]
    hosts = {
        "192.0.2.7": {},
        "alias": {"ansible_host": "192.0.2.7", "ansible_user": "admin", "ansible_port": 22},
        "also": {"ansible_ssh_host": "::ffff:192.0.2.7"},
        # With another way to get there it may be another machine.
        "forwarded": {"ansible_host": "192.0.2.7", "ansible_port": 2222},
        "behind-a-jump": {"ansible_host": "192.0.2.7", "ansible_ssh_common_args": "-J jump"},
        "pod": {"ansible_host": "192.0.2.7", "ansible_connection": "kubernetes.core.kubectl"},
        "odd": {"ansible_host": "192.0.2.7", "ansible_port": "{{ nothing }}"},
    }
    play = """
- name: Gather on each host
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
      vars: {ansible_connection: local, ansible_port: 22}
      register: answer
- name: Judge
  hosts: all
  gather_facts: false
  vars:
    records: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'answer'))) }}"
  tasks:
    - name: As many as there are machines
      gpufleet.lmstudio.fleet_assert: {records: "{{ records }}", require: [{type: llm}], min_hosts: 5, quiet: false}
      run_once: true
    - name: More
      gpufleet.lmstudio.fleet_assert: {records: "{{ records }}", require: [{type: llm}], min_hosts: 6}
      run_once: true
      ignore_errors: true
    - name: In a condition
      ansible.builtin.assert:
        that:
          - records | gpufleet.lmstudio.fleet_violations(required, min_hosts=5) == []
          - records | gpufleet.lmstudio.fleet_violations(required, min_hosts=6) | map(attribute='actual') == [5]
      vars: {required: [{type: llm}]}
      run_once: true
    - name: Audit
      gpufleet.lmstudio.fleet_report:
        hosts: "{{ records }}"
        policy: {fleet: [{require: [{type: llm}], min_hosts: 6}]}
        formats: [json]
        dest: audit
      run_once: true
"""
    outcome = words(run(play, {name: {"lmstudio_url": url, **own} for name, own in hosts.items()}, connection={}))
    assert "6 are required, but only 5 hosts count. Hosts with the same URL count once, so 2 are left out" in outcome
    audit = json.loads((tmp_path / "audit" / "fleet_audit.json").read_text())
    assert "at least 6 of 5 hosts" in str(audit["checks"]) and audit["checks"][0]["outcome"] == "failed"
    assert "count once in the rules of the fleet: alias (as 192.0.2.7), also (as 192.0.2.7)." in str(audit["notes"])


def test_hosts_behind_one_address_are_named(run, read_inventory, start):
    fleet = start({"gateway": {"payload": "two_loaded.json"}, "other": {}})
    port = port_of(fleet.urls["gateway"])
    shared = {**SSH, "ansible_host": "127.0.0.2", "lmstudio_controller_url": fleet.urls["gateway"], "lmstudio_port": port}
    hosts = {"nat1": {**shared, "ansible_port": 2201}, "nat2": {**shared, "ansible_port": 2202}}
    hosts["other"] = {**SSH, "lmstudio_controller_url": fleet.urls["other"]}
    says = (
        f"nat1, nat2 have the same URL, {fleet.urls['gateway']}: one machine under several names, or several machines behind one address."
    )
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
      run_once: true
"""
    lookup = """
- name: Ask
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Hosts, of which one stands there twice
      ansible.builtin.set_fact:
        answers: "{{ query('gpufleet.lmstudio.models', TERMS) }}"
"""
    assert says in words(run(play, hosts, connection={}))
    assert len(fleet.requests("gateway")) == 1
    assert says in words(run(lookup.replace("TERMS", "'nat1', 'nat2', 'other'"), hosts, connection={}))
    assert "have the same URL" not in words(
        run(lookup.replace("TERMS", f"'nat1', 'nat1', '{fleet.urls['gateway']}'"), hosts, connection={})
    )
    source = {"plugin": "gpufleet.lmstudio.lmstudio", "hosts": "all"}
    read = read_inventory({"hosts.yml": {"all": {"hosts": hosts}}, "lmstudio.yml": source})
    assert says in words(read)
    # The same URL with another token is asked for each.
    hosts["nat2"]["lmstudio_token"] = "token-of-nat2"
    asked = len(fleet.requests("gateway"))
    assert says in words(run(play, hosts, connection={}))
    assert len(fleet.requests("gateway")) == asked + 2


def test_every_plugin_asks_one_host_at_one_address(run, start, tmp_path):
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "pretend_network.py").write_text(NETWORK)
    fleet = start({"host": {"listen": f"{ONE}:0", "payload": "two_loaded.json"}})
    port = port_of(fleet.urls["host"])
    wrong = {"ansible_winrm_host": "127.0.0.9", "ansible_psrp_host": "127.0.0.9", "ansible_ssh_host": "127.0.0.9"}
    hosts = {
        "ssh": {**wrong, **SSH, "ansible_ssh_host": ONE},
        "default": {**wrong, "ansible_ssh_host": ONE},
        "winrm": {**wrong, "ansible_connection": "ansible.builtin.winrm", "ansible_winrm_host": ONE},
        "psrp": {**wrong, "ansible_connection": "psrp", "ansible_psrp_host": ONE},
        "both": {**wrong, **SSH, "ansible_host": ONE},
        "local": {"ansible_connection": "local", "ansible_ssh_host": ONE},
        # The API server is not the pod.
        "pod": {"ansible_connection": "pretend_network", "ansible_pretend_network_host": "127.0.0.9", "ansible_host": ONE},
        ONE: {**SSH},
    }
    hosts = {name: {**variables, "lmstudio_port": port} for name, variables in hosts.items()}
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Each host
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: answer
    - name: Each host, delegated
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: delegated
      delegate_to: localhost
    - name: All hosts
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: A gate for all hosts
      gpufleet.lmstudio.fleet_assert:
        require: [{model: qwen/qwen3-8b}]
        quiet: false
      run_once: true
      register: gate
    - name: It asked that address, and counts it once
      ansible.builtin.assert:
        that:
          - gate.hosts | dict2items | map(attribute='value.url') == ['OWN']
          - gate.reasons | length == ansible_play_hosts | length - 1
      run_once: true
    - name: All ask the same
      ansible.builtin.assert:
        that: item == own_url
        fail_msg: "{{ inventory_hostname }}: {{ item }}"
      loop:
        - "{{ answer.lmstudio.url }}"
        - "{{ delegated.lmstudio.url }}"
        - "{{ fleet.hosts[inventory_hostname].url }}"
        - "{{ lmstudio_record.url }}"
        - "{{ lookup('gpufleet.lmstudio.models', inventory_hostname, on_error='report').url }}"
      vars:
        own_url: OWN
""".replace("OWN", fleet.urls["host"])
    run(play, hosts, "-i", "lmstudio.yml", connection={})


@pytest.mark.matrix
def test_a_host_with_the_name_of_a_group_is_still_a_host(run, read_inventory, start, tmp_path):
    fleet = start({"gpu": {"payload": "two_loaded.json"}, "gpu2": {"fault": "refused"}, "gpu3": {"payload": "none_loaded.json"}})
    hosts = {"gpu": {"hosts": {name: {"lmstudio_controller_url": url} for name, url in fleet.urls.items()}}}
    source = {
        "plugin": "gpufleet.lmstudio.lmstudio",
        "hosts": "all",
        "groups": {"serving": "lmstudio_record.counts.loaded > 0"},
        "keyed_groups": [{"key": "lmstudio_record.status", "prefix": "state", "parent_group": "states"}],
        "strict": True,
    }
    for once in (False, True):
        read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": source}, refresh=once)
        groups = read.refreshed["groups"] if once else read.groups
        assert groups["lmstudio_loaded_qwen_qwen3_8b"] == groups["serving"] == ["gpu"]
        assert groups["lmstudio_ok"] == groups["lmstudio_status_ok"] == groups["state_ok"] == ["gpu", "gpu3"]
        assert groups["lmstudio_not_ok"] == groups["lmstudio_status_refused"] == groups["state_refused"] == ["gpu2"]
        assert groups["states"] == ["gpu", "gpu2", "gpu3"]
    (tmp_path / "groups.yml").write_text(yaml.safe_dump(hosts))
    play = """
- name: Work where it is loaded
  hosts: lmstudio_loaded_qwen_qwen3_8b
  gather_facts: false
  tasks:
    - name: Work
      ansible.builtin.debug:
        msg: "work on {{ inventory_hostname }}"
"""
    outcome = run(play, {}, "-i", "groups.yml", "-i", "lmstudio.yml")
    assert outcome.output.count("work on ") == 1 and 'work on gpu"' in outcome.output


@pytest.mark.matrix
def test_a_cached_fact_does_not_stand_in_front_of_the_inventory(run, start, tmp_path):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_controller_url": fleet.urls["gpu01"]}}
    env = {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts")}
    yesterday = """
- name: Gather facts
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
"""
    run(yesterday, hosts, env=env)
    for instance in ("qwen/qwen3-8b", "qwen/qwen3-8b:2", "openai/gpt-oss-20b"):
        fleet.unload("gpu01", instance)
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    today = """
- name: Gate
  hosts: all
  gather_facts: false
  tasks:
    - name: The fact is that of yesterday
      ansible.builtin.assert:
        that: ansible_facts.lmstudio.loaded | length == 2
    - name: Judge what the inventory asked today
      gpufleet.lmstudio.model_assert:
        record: "{{ lmstudio_record }}"
        require: [{model: qwen/qwen3-8b}]
      ignore_errors: true
      register: gate
    - name: It is not met
      ansible.builtin.assert:
        that: gate is failed and gate.lmstudio.loaded == []

- name: The audit takes it too
  ansible.builtin.import_playbook: gpufleet.lmstudio.fleet_audit
  vars:
    fleet_audit_source: variable
"""
    run(today, hosts, "-i", "lmstudio.yml", env=env)
    (host,) = json.loads((tmp_path / "fleet_audit" / "fleet_audit.json").read_text())["hosts"]
    assert host["counts"]["loaded"] == 0
    refused = run(
        today.replace("fleet_audit_source: variable", "{fleet_audit_source: variable, fleet_audit_variable: lmstudio}"),
        hosts,
        "-i",
        "lmstudio.yml",
        env=env,
        ends=2,
    )
    assert "fleet_audit_variable cannot be lmstudio" in words(refused)
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, variable: lmstudio}")
    assert "variable: lmstudio is the name of the facts" in words(run(yesterday, hosts, "-i", "lmstudio.yml"))


@pytest.mark.matrix
def test_facts_of_another_machine_are_refused(run, start, tmp_path):
    fleet = start({"controller": {"payload": "two_loaded.json"}})
    port = port_of(fleet.urls["controller"])
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "pretend_network.py").write_text(NETWORK)
    hosts = {
        "gpu01": {**SSH, "lmstudio_url": f"http://127.0.0.1:{port}"},
        "jump": {"ansible_connection": "local"},
        "switch": {"ansible_connection": "pretend_network"},
        "away": {"ansible_connection": "local", "ansible_host": "gpu99.example"},
    }
    play = f"""
- name: Delegate facts
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: Refused
      gpufleet.lmstudio.model_facts: "{{{{ item }}}}"
      delegate_to: jump
      loop:
        - {{port: {port}}}
        - {{port: "{port}"}}
        - {{url: "{{{{ lmstudio_url }}}}"}}
        - {{}}
      ignore_errors: true
      register: refused
    - name: Nothing became a fact
      ansible.builtin.assert:
        that:
          - refused.results | map(attribute='failed') | list == [true, true, true, true]
          - refused.results | map(attribute='msg') | select('search', 'delegated to jump') | length == 4
          - ansible_facts.lmstudio is not defined
    - name: Facts of the delegate are the delegate's
      gpufleet.lmstudio.model_facts:
        port: {port}
      delegate_to: "{{{{ item }}}}"
      delegate_facts: true
      loop: [jump, away]
    - name: They are there
      ansible.builtin.assert:
        that: hostvars.jump.ansible_facts.lmstudio.ok and ansible_facts.lmstudio is not defined
- name: On a network device
  hosts: switch
  gather_facts: false
  tasks:
    - name: Refused
      gpufleet.lmstudio.model_facts:
        port: {port}
      ignore_errors: true
      register: refused
    - name: It says why
      ansible.builtin.assert:
        that: refused is failed and 'pretend_network' in refused.msg and ansible_facts.lmstudio is not defined
- name: With a local connection to another machine
  hosts: away
  gather_facts: false
  tasks:
    - name: It warns
      gpufleet.lmstudio.model_facts:
        port: {port}
    - name: And so does every module
      gpufleet.lmstudio.model_info:
        port: {port}
"""
    outcome = words(run(play, hosts))
    # Whose task it was, and whose facts the answer became.
    for name in ("gpu01", "away"):
        whose = f"{name}: the connection is local, so the controller answers for itself, although the address of away is gpu99.example"
        assert whose in outcome
    assert "although the connection of gpu01" not in outcome
    assert len(fleet.requests("controller")) == 4


@pytest.mark.matrix
def test_facts_of_the_delegate_are_not_of_the_tasks_hosts_server(run):
    # It takes URLs that are not loopback addresses. Names that do not resolve are such, and the facts say who was asked.
    play = """
- name: Gather facts of all hosts from one
  hosts: gpu01
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url | default('') }}"
  tasks:
    - name: Of the server of this host
      gpufleet.lmstudio.model_facts:
      delegate_to: "{{ item }}"
      delegate_facts: true
      loop: [gpu02, jump]
      ignore_errors: true
      register: refused
    - name: Is refused
      ansible.builtin.assert:
        that:
          - refused.results | map(attribute='failed') | list == [true, true]
          - "'http://gpu01.invalid:1234 is a server of gpu01, and with delegate_facts' in refused.results[1].msg"
          - hostvars.gpu02.ansible_facts.lmstudio is not defined and hostvars.jump.ansible_facts.lmstudio is not defined
    - name: Of their own servers, and of one that they share
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars[item].lmstudio_url }}"
      delegate_to: "{{ item }}"
      delegate_facts: true
      loop: [gpu02, twin]
    - name: They are there
      ansible.builtin.assert:
        that:
          - hostvars.gpu02.ansible_facts.lmstudio.url == 'http://gpu02.invalid:1234'
          - hostvars.twin.ansible_facts.lmstudio.url == 'http://gpu01.invalid:1234'
          - ansible_facts.lmstudio is not defined
"""
    of_gpu01 = {"lmstudio_url": "http://gpu01.invalid:1234"}
    run(play, {"gpu01": of_gpu01, "twin": of_gpu01, "gpu02": {"lmstudio_url": "http://gpu02.invalid:1234"}, "jump": {}})


@pytest.mark.matrix
def test_the_controller_does_not_answer_in_silence_for_a_host_with_another_address(run, start, tmp_path):
    url = start({"controller": {"payload": "two_loaded.json"}}).urls["controller"]
    hosts = {
        "away": {"lmstudio_url": url, "ansible_host": "192.0.2.7"},
        "forwarded": {"lmstudio_url": url, "ansible_host": "127.0.0.1", "ansible_port": 2222},
        # Nothing says that these are other machines.
        "named": {"lmstudio_url": url, "ansible_host": "192.0.2.7", "lmstudio_controller_url": url},
        "itself": {"lmstudio_url": url},
        "on-loopback": {"lmstudio_url": url, "ansible_host": "127.0.0.1"},
    }
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    of_many = {
        "action": "gpufleet.lmstudio.fleet_info: {}",
        "assertion": "gpufleet.lmstudio.fleet_assert: {require: [{type: llm}]}",
        "lookup": "ansible.builtin.set_fact: {asked: \"{{ query('gpufleet.lmstudio.models', ansible_play_hosts) }}\"}",
        "inventory": "ansible.builtin.debug:",
    }
    for task in of_many.values():
        play = f"""
- name: Ask all
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      {task}
      run_once: true
"""
        outcome = words(run(play, hosts, *(["-i", "lmstudio.yml"] if "debug" in task else [])))
        assert "[WARNING]: the connection of away, forwarded is local, so at a loopback URL the controller answers for itself" in outcome, (
            task
        )
        assert "If that is another machine: set lmstudio_controller_url to a URL of it." in outcome
    play = """
- name: Ask each
  hosts: all
  gather_facts: false
  tasks:
    - name: From the controller
      gpufleet.lmstudio.model_info: {via: controller}
    - name: Gate
      gpufleet.lmstudio.model_assert: {via: controller, require: [{type: llm}]}
    - name: On the host, as a task says
      gpufleet.lmstudio.model_info:
"""
    outcome = words(run(play, hosts))
    for name in hosts:
        warned = name in ("away", "forwarded")
        assert outcome.count(f"[WARNING]: {name}: the connection of {name} is local, so at a loopback URL") == warned, name
        # What it advises has to help.
        assert outcome.count(f"If {name} is another machine: set lmstudio_controller_url to a URL of it, and query it from") == warned, name


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("hosts", "inventory"), [("localhost", {}), ("{{ play_on }}", {}), ("all", {"localhost": {"fleet_audit_dest": "audit"}})]
)
def test_a_host_that_a_play_adds_is_not_one_of_its_hosts(run, fleet, controller, hosts, inventory):
    port = port_of(fleet.urls["one"])
    play = f"""
- name: A play on the controller adds hosts
  hosts: "{hosts}"
  connection: local
  gather_facts: false
  tasks:
    - name: Add
      ansible.builtin.add_host:
        name: "{{{{ item }}}}"
        groups: added
        ansible_host: "{{{{ {{'one': '{ONE}', 'vm1': '127.0.0.1'}}[item] }}}}"
        lmstudio_url: http://127.0.0.1:{port}
        lmstudio_token: token-of-{{{{ item }}}}
      loop: [one, vm1]
    - name: Ask
      gpufleet.lmstudio.fleet_info:
        hosts: added
      run_once: true
      register: answers
    - name: Each at its own address
      ansible.builtin.assert:
        that:
          - answers.hosts.one.url == '{fleet.urls["one"]}'
          - answers.hosts.vm1.status == 'not_asked'
    - name: Ask the hosts of the play
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: answers
    - name: It is one
      ansible.builtin.assert:
        that: answers.hosts | list == ['localhost']
    - name: Audit them
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.fleet_audit
"""
    run(play, inventory, "-e", "play_on=localhost", connection={})
    assert sent_to(fleet, "one") == ["Bearer token-of-one"] and controller.requests("controller") == []


@pytest.mark.matrix
def test_the_connection_of_a_play_is_that_of_its_hosts_and_that_of_a_task_of_nobody(run, start):
    controller = start({"controller": {"payload": "two_loaded.json"}})
    port = port_of(controller.urls["controller"])
    fleet = start({"one": {"listen": f"{ONE}:{port}", "payload": "none_loaded.json"}})
    url = f"http://127.0.0.1:{port}"
    hosts = {
        "one": {"ansible_host": ONE, "lmstudio_url": url, "own_url": fleet.urls["one"]},
        "vm1": {"ansible_host": "127.0.0.1", "ansible_port": 2222, "lmstudio_port": port, "own_url": None},
    }
    play = """
- name: A play on the controller asks hosts outside of it
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
        hosts: one:vm1
      run_once: true
      register: fleet
    - name: Each at its own address
      ansible.builtin.assert:
        that: fleet.hosts[item].url == hostvars[item].own_url
      loop: [one, vm1]

- name: The keyword of a task says how a module gets there
  hosts: one:vm1
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      connection: local
      register: answer
    - name: In a block
      connection: local
      block:
        - name: Gate
          gpufleet.lmstudio.model_assert:
            via: controller
            require: [{model: qwen/qwen3-8b}]
          ignore_errors: true
          register: gate
    - name: And not where
      ansible.builtin.assert:
        that: answer.lmstudio.url == own_url and gate is failed
    - name: With a module it is the controller that answers
      gpufleet.lmstudio.model_info:
        url: CONTROLLER
      connection: local

- name: A variable of the play counts
  hosts: one
  gather_facts: false
  vars: {ansible_connection: local}
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
      register: answer
    - name: It was the loopback address
      ansible.builtin.assert:
        that: answer.lmstudio.url == 'CONTROLLER'

- name: A keyword may be a template
  hosts: one
  connection: "{{ how }}"
  gather_facts: false
  vars: {how: local}
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: It was the loopback address
      ansible.builtin.assert:
        that: fleet.hosts.one.url == 'CONTROLLER'
""".replace("CONTROLLER", url)
    outcome = run(play, hosts, connection={})
    for name in hosts:
        assert f"{name}: the connection is local, so the controller answers for itself, although the connection of {name}" in words(outcome)
    # The modules of the second play, the lookup of the third, and the fleet of the fourth.
    assert len(controller.requests("controller")) == 4


@pytest.mark.matrix
def test_a_template_for_the_connection_of_a_play_is_evaluated_for_each_host(run, start):
    controller = start({"controller": {}})
    port = port_of(controller.urls["controller"])
    fleet = start({"one": {"listen": f"{ONE}:{port}"}})
    url = controller.urls["controller"]
    forwarded = {"ansible_host": "127.0.0.1", "ansible_port": 2222, "lmstudio_port": port}
    hosts = {
        "here": {"how": "local", "lmstudio_url": url},
        "odd": {"how": "{{ nothing }}", **forwarded},
        "one": {"how": "remote", "lmstudio_url": url, "ansible_host": ONE},
        "vm1": {"how": "remote", **forwarded},
    }
    play = f"""
- name: Each has its own connection
  hosts: all
  connection: "{{{{ plugins[how] }}}}"
  gather_facts: false
  vars: {{plugins: {{local: local, remote: ssh}}}}
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Only the first one is the controller
      ansible.builtin.assert:
        that:
          - fleet.hosts.here.url == '{url}' and fleet.hosts.one.url == '{fleet.urls["one"]}'
          - fleet.hosts.odd.status == 'not_asked' and fleet.hosts.vm1.status == 'not_asked'
      run_once: true
    - name: Ask one
      gpufleet.lmstudio.model_info:
      when: inventory_hostname == 'here'
"""
    outcome = run(play, {name: {**own, "lmstudio_token": f"token-of-{name}"} for name, own in hosts.items()}, connection={})
    assert sent_to(controller, "controller") == ["Bearer token-of-here"] * 2
    assert sent_to(fleet, "one") == ["Bearer token-of-one"]
    assert "WARNING" not in outcome.output


@pytest.mark.parametrize("how", ["play", "command line", "variable", "facts"])
def test_several_hosts_with_a_local_connection_are_one_machine(run, start, how):
    controller = start({"controller": {}})
    port = port_of(controller.urls["controller"])
    hosts = {"gpu01": {"lmstudio_port": port}, "gpu02": {"lmstudio_port": port}, "gpu03": {"lmstudio_port": port + 1}}
    task = "model_facts: {port: '{{ lmstudio_port }}'}" if how == "facts" else "model_assert: {require: [{model: qwen/qwen3-8b}]}"
    play = f"""
- name: A local connection is that of the controller
  hosts: all
  gather_facts: false
  {"connection: local" if how in ("play", "facts") else "vars: {}"}
  tasks:
    - name: Ask
      gpufleet.lmstudio.{task}
      ignore_errors: true
"""
    arguments = ["-c", "local"] if how == "command line" else []
    outcome = run(play, hosts, *arguments, connection={"ansible_connection": "local"} if how == "variable" else {})
    shared = f"the connection of gpu01, gpu02 is local, so one server of the controller, {controller.urls['controller']}, answers for each of them"
    assert words(outcome).count(shared) == 1
    assert "gpu03 is local" not in words(outcome)
    assert len(controller.requests("controller")) == 2


@pytest.mark.parametrize(
    ("task", "first", "second", "shared"),
    [
        ("model_info: {}", {}, {"lmstudio_via": "controller", "ansible_host": TWO}, False),
        ("model_info: {via: controller}", {"ansible_host": "127.0.0.1"}, {"ansible_host": TWO}, False),
        ("model_info: {via: controller}", {"ansible_host": "127.0.0.1"}, {"ansible_host": "127.0.0.1"}, True),
        ("model_info: {port: '{{ another }}'}", {"another": 5}, {"another": 6}, False),
        ("model_info: {port: '{{ item }}'}\n      loop: [5]", {}, {}, False),
        ("model_info: {port: 5}", {}, {}, True),
        ("model_facts: {port: 5}", {}, {"lmstudio_port": 6}, True),
    ],
)
def test_which_hosts_share_a_server_is_what_the_task_asks_on_each(run, task, first, second, shared):
    play = f"""
- name: A local connection is that of the controller
  hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Ask
      gpufleet.lmstudio.{task}
      ignore_errors: true
"""
    hosts = {"gpu01": {"lmstudio_port": 5, **first}, "gpu02": {"lmstudio_port": 5, **second}}
    said = words(run(play, hosts, connection={}))
    assert ("the connection of gpu01, gpu02 is local" in said) is shared
    if "via" in task:
        assert "query it from the controller" not in said


KEPT = """
- name: What was right stays right
  hosts: all
  gather_facts: false
  CONNECTION
  tasks:
    - name: Each host, from both sides
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: "{{ vias | default(['target', 'controller']) }}"
      register: answers
    - name: All hosts
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url | default(omit) }}"
        port: "{{ lmstudio_port | default(omit) }}"
      when: vias is not defined
    - name: All have answered
      ansible.builtin.assert:
        that:
          - answers.results | map(attribute='lmstudio.ok') | unique == [true]
          - fleet.hosts[inventory_hostname].ok
          # A lookup does not see the keyword of a play. The implicit localhost has its own variables there, too.
          - inventory_hostname in groups['all'] or lookup('gpufleet.lmstudio.models').ok
"""


@pytest.mark.parametrize(
    "how", [pytest.param("variable", marks=pytest.mark.matrix), "play", "command line", "listed localhost", "implicit localhost"]
)
def test_local_connections_stay_as_they_were(run, start, how):
    fleet = start({"gpu01": {}})
    port = port_of(fleet.urls["gpu01"])
    play = KEPT.replace("CONNECTION", "connection: local" if how == "play" else "vars: {}")
    name = "localhost" if "localhost" in how else "gpu01"
    variables = {"lmstudio_port": port} if "localhost" in how else {"lmstudio_url": fleet.urls["gpu01"]}
    if how == "implicit localhost":
        run(play.replace("hosts: all", "hosts: localhost"), {}, "-e", f"lmstudio_port={port}", connection={})
    elif how == "listed localhost":
        # Listed, it has a connection over SSH, and the controller asks itself all the same.
        run(play, {name: {**SSH, **variables, "vias": ["controller"]}}, connection={})
        run(play, {name: {"ansible_connection": "local", **variables}}, connection={})
    else:
        arguments = ["-c", "local"] if how == "command line" else []
        run(play, {name: variables}, *arguments, connection={"ansible_connection": "local"} if how == "variable" else {})
    assert fleet.requests("gpu01")


def test_a_local_connection_of_the_command_line_counts_where_no_keyword_of_a_play_can_be_seen(run, start, tmp_path):
    fleet = start({"gpu01": {}})
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, timeout: 20}")
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: By the inventory and in an expression
      ansible.builtin.assert:
        that:
          - lmstudio_record.status == expected
          - lookup('gpufleet.lmstudio.models', inventory_hostname, on_error='report', timeout=20).status == expected
"""
    hosts = {"gpu01.invalid": {"lmstudio_url": fleet.urls["gpu01"]}}
    for arguments, expected in (["-c", "local"], "ok"), ([], "dns"):
        run(play, hosts, "-i", "lmstudio.yml", "-e", f"expected={expected}", *arguments, connection={})


CONTAINER = """
from ansible.plugins.connection.local import Connection as Local
DOCUMENTATION = '''
name: NAME
short_description: x
description: [x]
options:
  remote_addr:
    description: x
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: ansible_host}, {name: ansible_NAME_host}]
'''
class Connection(Local):
    transport = "FULL"
"""


@pytest.mark.parametrize("full", ["community.docker.docker", "containers.podman.podman", "kubernetes.core.kubectl"])
def test_connections_to_containers_stay_as_they_were(run, start, tmp_path, full):
    namespace, collection, name = full.split(".")
    folder = tmp_path / ".ansible" / "collections" / "ansible_collections" / namespace / collection / "plugins" / "connection"
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(CONTAINER.replace("NAME", name).replace("FULL", full))
    fleet = start({"box": {}, "outside": {"listen": f"{ONE}:0"}})
    paths = os.pathsep.join([os.environ["ANSIBLE_COLLECTIONS_PATH"], str(tmp_path / ".ansible" / "collections")])
    play = """
- name: Ask a container
  hosts: box
  gather_facts: false
  tasks:
    - name: In it
      gpufleet.lmstudio.model_info:
      register: inside
    - name: From outside
      gpufleet.lmstudio.model_info:
        via: controller
      register: outside
    - name: All from outside
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Each as ever
      ansible.builtin.assert:
        that:
          - inside.lmstudio.url == lmstudio_url
          - outside.lmstudio.url == lmstudio_controller_url and fleet.hosts.box.url == lmstudio_controller_url
"""
    hosts = {
        "box": {
            "ansible_connection": full,
            "ansible_host": "name-of-the-container",
            "lmstudio_url": fleet.urls["box"],
            "lmstudio_controller_url": fleet.urls["outside"],
        }
    }
    run(play, hosts, connection={}, env={"ANSIBLE_COLLECTIONS_PATH": paths})
