# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One odd host, or a broken cache, does not keep the others from being asked; and who is meant."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in, vaulted, words

SSH = {"ansible_connection": "ssh"}
PLUGIN = {"plugin": "gpufleet.lmstudio.lmstudio"}

ODD = {
    "gpu vm (03)": ({}, "its address 'gpu vm (03)' is not a valid name or address"),
    "rack/07": ({}, "its address 'rack/07' is not just a name or an address"),
    "user@gpu": ({}, "its address '********@gpu' is not a valid name or address"),
    "user-and-address": ({"ansible_host": "somebody:hunter2hunter2@gpu01"}, "its address '********@gpu01' is not a valid name or address"),
    "wide-at": (
        {"lmstudio_controller_url": "http://somebody:hunter2hunter2\uff20gpu01"},
        "lmstudio_controller_url: a URL with a user name or password in it is refused",
    ),
    "name-in-headers": ({"lmstudio_headers": {"Bearer hunter2hunter2": ""}}, "lmstudio_headers: header 1 does not have a valid name"),
    "undefined-address": (
        {"ansible_host": "{{ addresses[inventory_hostname] }}"},
        "its ansible_host cannot be templated: 'addresses' is undefined",
    ),
    "undefined-connection": (
        {"ansible_connection": "{{ how }}", "lmstudio_url": "http://127.0.0.1"},
        "its ansible_connection cannot be templated",
    ),
    "undefined-address-and-a-url": (
        {"ansible_host": "{{ addresses[inventory_hostname] }}", "lmstudio_controller_url": "http://gpu01.invalid:1234"},
        "its ansible_host cannot be templated: 'addresses' is undefined",
    ),
    "undefined-connection-and-a-loopback-url": (
        {"ansible_host": "gpu01.invalid", "ansible_connection": "{{ how }}", "lmstudio_controller_url": "http://127.0.0.1:9"},
        None,
    ),
    "endless-port": ({"lmstudio_port": float("inf")}, "This host was not asked"),
    "odd-port": ({"lmstudio_port": "many"}, "lmstudio_port: it is not a whole number"),
    "no-port": ({"lmstudio_port": 70000}, "lmstudio_port: 70000 is not a port"),
    "odd-url": ({"lmstudio_url": "gpu01"}, "lmstudio_url: 'gpu01' is not a URL"),
    "userinfo": (
        {"lmstudio_url": "http://somebody:hunter2hunter2@gpu01"},
        "lmstudio_url: a URL with a user name or password in it is refused, because URLs are shown and logged. Remove the part before the @ and "
        "set the secret as token or headers. An @ in a path is written %40.",
    ),
    "odd-timeout": ({"lmstudio_timeout": -1}, "lmstudio_timeout: -1 is not a usable number of seconds"),
    "odd-headers": ({"lmstudio_headers": "hunter2hunter2"}, "lmstudio_headers: it is not a mapping of names and texts"),
    # Ansible before 2.19 takes the first for a set, and leaves the second a text.
    "set-for-headers": ({"lmstudio_headers": "{'hunter2hunter2'}"}, "lmstudio_headers: it is not a mapping of names and texts"),
    "call-for-headers": ({"lmstudio_headers": "{a.hunter2hunter2()}"}, "lmstudio_headers: it is not a mapping of names and texts"),
    "no-file": (
        {"lmstudio_url": "https://gpu01.invalid", "lmstudio_ca_path": "/nowhere.pem"},
        "lmstudio_ca_path: '/nowhere.pem' does not exist on the controller",
    ),
    "no-certificates": ({"lmstudio_url": "https://gpu01.invalid", "lmstudio_ca_path": "play.yml"}, "holds no CA certificates"),
    "half-a-pair": ({"lmstudio_client_cert": "play.yml"}, "lmstudio_client_cert: it needs client_key as well"),
    "undecryptable": ({}, "its lmstudio_token cannot be templated"),
    "gpu-münchen.invalid": ({}, None),
    "addressed vm": ({"ansible_host": "127.0.0.1", "ansible_connection": "local"}, None),
}


@pytest.mark.matrix
def test_an_odd_host_is_not_asked_and_the_others_are(run, start, tmp_path):
    fleet = start({"fine": {"payload": "two_loaded.json"}})
    port = int(fleet.urls["fine"].rpartition(":")[2])
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "undecryptable.yml").write_text(f"lmstudio_token: {vaulted(tmp_path, 'hunter2hunter2')}")
    hosts = {name: {**SSH, **variables} for name, (variables, _problem) in ODD.items()}
    hosts["addressed vm"]["lmstudio_port"] = port
    hosts["fine"] = {**SSH, "lmstudio_controller_url": fleet.urls["fine"]}
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    play = """
- name: Ask
  hosts: fine
  gather_facts: false
  tasks:
    - name: All in one task
      gpufleet.lmstudio.fleet_info:
        hosts: all
        timeout: 20
      run_once: true
      register: fleet
    - name: All in one expression
      ansible.builtin.set_fact:
        looked_up: "{{ dict(groups['all'] | zip(query('gpufleet.lmstudio.models', groups['all'], on_error='report', timeout=20))) }}"
    - name: Keep what each plugin said
      ansible.builtin.copy:
        content: "{{ {'fleet_info': fleet.hosts, 'lookup': looked_up, 'inventory': of_inventory} | to_json }}"
        dest: "{{ playbook_dir }}/said.json"
        mode: "0600"
      delegate_to: localhost
      vars:
        of_inventory: "{{ dict(groups['all'] | zip(groups['all'] | map('extract', hostvars, 'lmstudio_record'))) }}"

- name: Audit
  ansible.builtin.import_playbook: gpufleet.lmstudio.fleet_audit
"""
    outcome = run(play, hosts, "-i", "lmstudio.yml", connection={})
    said = json.loads((tmp_path / "said.json").read_text())
    audited = json.loads((tmp_path / "fleet_audit" / "fleet_audit.json").read_text())
    said["audit"] = {host["name"]: host for host in audited["hosts"]}
    for plugin, records in said.items():
        assert records["fine"]["ok"] and records["addressed vm"]["ok"], plugin
        assert records["gpu-münchen.invalid"]["status"] == "dns", plugin
        assert records["gpu-münchen.invalid"]["url"] == "http://xn--gpu-mnchen-eeb.invalid:1234"
        for name, (_variables, problem) in ODD.items():
            if problem:
                assert (records[name]["status"], records[name]["url"]) == ("not_asked", None), (plugin, name)
                assert (
                    f"This host was not asked: {problem}" in records[name]["error"]["message"]
                    or problem in records[name]["error"]["message"]
                ), plugin
                assert records[name]["error"]["hint"]
                assert records[name]["error"]["message"].count(name) <= 1, (plugin, name)
    # Once by each plugin, also for the other host with that URL.
    assert len(fleet.requests("fine")) == 4
    assert "hunter2" not in outcome.output and "hunter2" not in json.dumps(said)


@pytest.mark.matrix
def test_a_host_whose_variables_cannot_be_read_is_not_asked_and_the_others_are(run, start, tmp_path):
    """A file of its variables is vaulted as a whole, and the password is missing, or it is not YAML."""
    fleet = start({"fine": {"payload": "two_loaded.json"}})
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "broken.yml").write_text("lmstudio_token: [hunter2hunter2\nlmstudio_port: {")
    vaulted_text = vaulted(tmp_path, "lmstudio_token: hunter2hunter2").partition("\n")[2]
    (tmp_path / "host_vars" / "vaulted.yml").write_text(re.sub("(?m)^ +", "", vaulted_text))
    composed = {"compose": {"serves": "lmstudio_record.loaded"}, "groups": {"serving": "lmstudio_record.ok"}, "strict": True}
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump({**PLUGIN, "hosts": "all", **composed}))
    play = """
- name: Ask
  hosts: fine
  gather_facts: false
  tasks:
    - name: All in one task
      gpufleet.lmstudio.fleet_info: {hosts: all, token: "{{ no_token | default('') }}"}
      run_once: true
      register: fleet
    - name: A gate
      gpufleet.lmstudio.fleet_assert: {hosts: all, require: [{model: qwen/qwen3-8b}], min_hosts: 1, quiet: false}
      run_once: true
      register: gate
    - name: All in one expression
      ansible.builtin.set_fact:
        looked_up: "{{ lookup('gpufleet.lmstudio.models', groups['all'], as='dict', on_error='report') }}"
    - name: Each has its own record
      ansible.builtin.assert:
        that:
          - item.fine.ok and item.vaulted.status == 'not_asked' and item.broken.status == 'not_asked'
          - item.vaulted.error.message is search('not asked. its variables cannot be read. .*vault')
          - "'its variables cannot be read: ansible-inventory --host broken says why' in item.broken.error.message"
      loop: "{{ [fleet.hosts, gate.hosts, looked_up] }}"
      loop_control: {label: x}
    - name: The inventory has said so, too
      ansible.builtin.assert:
        that: groups.lmstudio_status_not_asked | sort == ["broken", "vaulted"] and groups.serving == ["fine"] and serves == lmstudio_record.loaded
"""
    hosts = {"broken": {}, "fine": {"lmstudio_controller_url": fleet.urls["fine"]}, "vaulted": {}}
    outcome = run(play, hosts, "-i", "lmstudio.yml")
    assert "hunter2" not in outcome.output


def test_a_name_that_is_no_address_is_not_asked_by_the_module_either(run):
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Report
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: answer
    - name: It is said
      ansible.builtin.assert:
        that: answer.lmstudio.status == 'not_asked' and 'Set ansible_host' in answer.lmstudio.error.hint
    - name: Fail
      gpufleet.lmstudio.model_info:
        via: controller
"""
    outcome = run(play, {"gpu vm (03)": {**SSH}}, connection={}, ends=2)
    assert "This host was not asked: its address 'gpu vm (03)' is not a valid name or address. Set ansible_host" in words(outcome)


@pytest.mark.parametrize(
    "cache",
    [
        {"cache_plugin": "ansible.builtin.jsonfile", "cache_connection": "FOLDER/hosts.yml/below-a-file"},
        {"cache_plugin": "community.nowhere.redis", "cache_connection": "localhost:1:0"},
        {"cache_plugin": "nowhere"},
        {"cache_plugin": "ansible.builtin.jsonfile"},
    ],
)
@pytest.mark.matrix
def test_a_cache_that_cannot_be_used_is_a_warning(read_inventory, start, tmp_path, cache):
    fleet = start({"gpu01": {}})
    hosts = {"gpu": {"hosts": {"gpu01": {"lmstudio_controller_url": fleet.urls["gpu01"]}}}}
    source = {**PLUGIN, "hosts": "gpu", "cache": True, **{name: value.replace("FOLDER", str(tmp_path)) for name, value in cache.items()}}
    for asked in (1, 2):
        read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": source})
        assert read.groups["lmstudio_ok"] == ["gpu01"], read.output
        assert len(fleet.requests("gpu01")) == asked
        assert "The inventory cache cannot be used, so every host is queried, and no answer is kept" in words(read)


def test_a_wrong_option_beside_a_broken_cache_still_fails_the_source(read_inventory):
    source = {**PLUGIN, "hosts": "gpu", "cache": True, "cache_plugin": "nowhere", "timeout": "soon"}
    read = read_inventory({"hosts.yml": {"gpu": {"hosts": {"gpu01": {}}}}, "lmstudio.yml": source})
    assert "lmstudio_ok" not in read.groups and "timeout" in read.output


@pytest.mark.matrix
def test_a_result_without_a_record_is_not_asked(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  vars:
    answers: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'answer'))) }}"
    required: [{model: qwen/qwen3-8b}]
    forbidden: [{model: "*-uncensored", state: absent}]
  tasks:
    - name: Ask each
      gpufleet.lmstudio.model_info:
        port: "{{ 'many' if inventory_hostname == 'wrong' else omit }}"
      register: answer
      ignore_unreachable: true
      ignore_errors: true
      when: inventory_hostname != 'skipped'
    - name: The fleet is judged
      ansible.builtin.assert:
        that:
          - answers | gpufleet.lmstudio.hosts_serving('qwen/qwen3-8b') == ['gpu01']
          - answers | gpufleet.lmstudio.fleet_violations(required, min_hosts=1) == []
          - answers | gpufleet.lmstudio.fleet_violations(required, min_hosts=2) | length == 1
          - answers[item] is not gpufleet.lmstudio.model_loaded('qwen/qwen3-8b')
          - answers[item] is not gpufleet.lmstudio.model_available('qwen/qwen3-8b')
          - answers[item] is not gpufleet.lmstudio.meets(forbidden)
          - answers[item] | gpufleet.lmstudio.violations(forbidden) | map(attribute='actual') == ['not_asked']
          - answers[item] | gpufleet.lmstudio.select_models(type='llm') == []
          - "'Nothing was gathered from this host' in (answers[item] | gpufleet.lmstudio.violations(required) | first).message"
      loop: [away, wrong, skipped]
      run_once: true
    - name: A gate is violated
      gpufleet.lmstudio.model_assert:
        record: "{{ answers[item] }}"
        require: "{{ forbidden }}"
      loop: [away, wrong, skipped]
      run_once: true
      ignore_errors: true
      register: gates
    - name: By each
      ansible.builtin.assert:
        that:
          - gates.results | map(attribute='met') | list == [false, false, false]
          - gates.results | map(attribute='msg') | select('search', 'Nothing was gathered from this host') | length == 3
      run_once: true
    - name: What is not a result is still an error
      ansible.builtin.set_fact:
        wrong: "{{ {'gpu01': {'msg': 'done'}} | gpufleet.lmstudio.hosts_serving('qwen/qwen3-8b') }}"
      run_once: true
      ignore_errors: true
      register: wrong
    - name: Each is
      ansible.builtin.assert:
        that: wrong is failed
      run_once: true
"""
    hosts = {
        "gpu01": {"ansible_connection": "local", "lmstudio_url": fleet.urls["gpu01"]},
        "away": {**SSH, "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0},
        "wrong": {"ansible_connection": "local"},
        "skipped": {"ansible_connection": "local"},
    }
    run(play, hosts, connection={})


def test_hosts_that_were_taken_out_are_asked_unless_the_hosts_are_named(run, start):
    fleet = start({"ended": {}, "gpu01": {}})
    play = """
- name: Take one out
  hosts: all
  gather_facts: false
  tasks:
    - name: Leave
      ansible.builtin.meta: end_host
      when: inventory_hostname == 'ended'
    - name: Ask the hosts of the batch
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: batch
    - name: Ask those that are left
      gpufleet.lmstudio.fleet_info:
        hosts: "{{ ansible_play_hosts }}"
      run_once: true
      register: left
    - name: As documented
      ansible.builtin.assert:
        that:
          - batch.hosts | list == ['ended', 'gpu01']
          - left.hosts | list == ['gpu01']
"""
    run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})


def test_an_endpoint_is_called_as_it_is_written(run, read_inventory, start, tmp_path):
    fleet = start({"lab": {"listen": "127.0.0.1:0", "token": "token-of-the-lab"}})
    port = fleet.urls["lab"].rpartition(":")[2]
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "LocalHost.yml").write_text("lmstudio_token: token-of-the-lab\n")
    endpoints = [f"LocalHost:{port}", "GPU-Lab.invalid", "http://Rack[1:2].Invalid:7/lm", "gpu-Münc\u0308hen.invalid"]
    read = read_inventory({"lmstudio.yml": {**PLUGIN, "endpoints": endpoints, "on_error": "report"}})
    assert set(read.variables) == {"LocalHost", "GPU-Lab.invalid", "Rack1.Invalid", "Rack2.Invalid", "gpu-Münc\u0308hen.invalid"}
    assert read.groups["lmstudio_ok"] == ["LocalHost"]
    play = """
- name: Limit
  hosts: all
  gather_facts: false
  tasks:
    - name: Say who
      ansible.builtin.debug:
        msg: "this is {{ inventory_hostname }}"
"""
    outcome = run(play, {}, "-i", "lmstudio.yml", "--limit", "GPU-Lab.invalid")
    assert outcome.output.count("this is ") == 1 and "this is GPU-Lab.invalid" in outcome.output
    # In the capitals of the inventory, where it is there.
    (tmp_path / "host_vars" / "LocalHost.yml").unlink()
    hosts = {"gpu": {"hosts": {"localhost": {"lmstudio_token": "token-of-the-lab"}}}}
    read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**PLUGIN, "endpoints": [f"LOCALHOST:{port}"], "on_error": "report"}})
    assert list(read.variables) == ["localhost"] and read.groups["lmstudio_ok"] == ["localhost"]
    # The very name comes first, where it is there in two ways.
    hosts["gpu"]["hosts"]["LOCALHOST"] = {}
    read = read_inventory({"hosts.yml": hosts, "lmstudio.yml": {**PLUGIN, "endpoints": [f"LOCALHOST:{port}"], "on_error": "report"}})
    assert "lmstudio_record" in read.variables["LOCALHOST"] and "lmstudio_record" not in read.variables["localhost"]


@pytest.mark.matrix
def test_a_lookup_works_in_a_variable_that_another_host_reads(run, start, tmp_path):
    fleet = start({"gpu01": {"payload": "two_loaded.json", "token": "token-of-gpu01"}, "gpu02": {"payload": "none_loaded.json"}})
    hosts = {
        name: {
            "lmstudio_controller_url": url,
            "loaded_models": "{{ lookup('gpufleet.lmstudio.models', inventory_hostname, select='loaded') }}",
            "loaded_here": "{{ lookup('gpufleet.lmstudio.models', select='loaded') }}",
            "of_the_other": "{{ lookup('gpufleet.lmstudio.models', 'gpu01', select='loaded') }}",
        }
        for name, url in fleet.urls.items()
    }
    hosts["gpu01"]["lmstudio_token"] = "token-of-gpu01"
    play = """
- name: Read variables of other hosts
  hosts: all
  gather_facts: false
  tasks:
    - name: Each says its own
      ansible.builtin.assert:
        that:
          - hostvars.gpu01.loaded_models == ['openai/gpt-oss-20b', 'qwen/qwen3-8b']
          - hostvars.gpu01.loaded_here == hostvars.gpu01.loaded_models
          - hostvars.gpu02.loaded_models == [] and hostvars.gpu02.loaded_here == []
          - of_the_other == hostvars.gpu01.loaded_models
    - name: Variables of a third one cannot be seen there
      ansible.builtin.debug:
        msg: "{{ hostvars.gpu02.of_the_other }}"
      ignore_errors: true
"""
    outcome = run(play, hosts)
    assert "the variables of host gpu01 are not available here" in words(outcome)
    assert "KeyError" not in outcome.output and "Traceback" not in outcome.output
    first = """
- name: Choose hosts by what they have
  hosts: "{{ query('gpufleet.lmstudio.models', TERM, on_error='report') | map(attribute='ok') | select | map('ternary', 'gpu01', 'gpu02') | list }}"
  gather_facts: false
  tasks:
    - name: Say who
      ansible.builtin.debug:
        msg: "this is {{ inventory_hostname }}"
"""

    def refused(play):
        (tmp_path / "play.yml").write_text(play)
        done = run_in(tmp_path, ["ansible-playbook", "-i", "inventory.yml", "play.yml"], {})
        assert done.returncode != 0 and "Traceback" not in done.stderr
        return " ".join((done.stdout + done.stderr).split())

    outcome = run(first.replace("TERM", f"'{fleet.urls['gpu02']}'"), hosts)
    assert "this is gpu01" in outcome.output
    for term in ("'gpu01'", "groups['all']"):
        said = refused(first.replace("TERM", term))
        assert "the variables of host gpu01 are not available here" in said and "Name its URL" in said
    assert "no term is given, and there is no host of a task" in refused(first.replace("TERM, ", ""))


@pytest.mark.matrix
def test_an_implicit_localhost_among_the_hosts_of_a_play_is_one_of_them(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "localhost": {"payload": "none_loaded.json"}})
    play = """
- name: Gate
  hosts: HOSTS
  gather_facts: false
  serial: SERIAL
  tasks:
    - name: Say where it is
      ansible.builtin.set_fact:
        lmstudio_controller_url: "{{ urls[inventory_hostname] }}"
    - name: Gate
      gpufleet.lmstudio.fleet_assert:
        require: [{model: qwen/qwen3-8b}]
      run_once: true
    - name: Deploy
      ansible.builtin.debug:
        msg: "deployed {{ inventory_hostname }}"
"""
    urls = json.dumps({"urls": fleet.urls})
    for hosts, serial, deployed in (
        ("localhost,gpu01", "0", set()),
        ("gpu01,localhost", "0", set()),
        ("gpu01,localhost", "1", {"gpu01"}),
        ("localhost", "0", set()),
    ):
        outcome = run(play.replace("HOSTS", hosts).replace("SERIAL", serial), {"gpu01": {}}, "-e", urls, ends=2)
        assert set(re.findall(r"deployed (\w+)", outcome.output)) == deployed, (hosts, serial)
        assert "qwen/qwen3-8b is not loaded" in words(outcome)


@pytest.mark.parametrize("source", ["controller", "target", "variable"])
def test_an_audit_refuses_to_run_under_serial(run, start, tmp_path, source):
    fleet = start({"gpu01": {}, "gpu02": {}, "gpu03": {}})
    hosts = {name: {"lmstudio_url": url, "lmstudio_controller_url": url} for name, url in fleet.urls.items()}
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    play = f"""
- name: Audit in batches
  hosts: all
  gather_facts: false
  serial: SERIAL
  tasks:
    - name: Some leave
      ansible.builtin.meta: end_host
      when: inventory_hostname in leave | default([])
    - name: Audit
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.fleet_audit
      vars: {{fleet_audit_source: {source}}}
"""
    for serial, leave in (("2", []), ("1", ["gpu01", "gpu02"])):
        outcome = run(play.replace("SERIAL", serial), hosts, "-i", "lmstudio.yml", "-e", json.dumps({"leave": leave}), ends=2)
        assert "one run of the role fleet_audit is one audit" in words(outcome)
        assert not (tmp_path / "fleet_audit").exists()
    # All hosts in one batch are one audit, the implicit localhost among them.
    (tmp_path / "first.yml").write_text(play.replace("hosts: all", "hosts: localhost,all").replace("serial: SERIAL", "serial: 0"))
    first = run_in(tmp_path, ["ansible-playbook", "-i", "inventory.yml", "-i", "lmstudio.yml", "first.yml"], {})
    assert "is one audit" not in first.stdout + first.stderr
    run(play.replace("SERIAL", '"100%"'), hosts, "-i", "lmstudio.yml")
    assert (tmp_path / "fleet_audit" / "fleet_audit.json").exists()


@pytest.mark.matrix
def test_an_inventory_that_is_written_out_as_json_is_safe_to_read_again(start, tmp_path):
    """As YAML it is not: Ansible takes every text of a YAML source for a template. The threat model says so."""
    fleet = start({"gpu01": {"payload": "hostile.json"}})
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"gpu": {"hosts": {"gpu01": {"lmstudio_controller_url": fleet.urls["gpu01"]}}}}))
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: gpu}")
    listed = run_in(tmp_path, ["ansible-inventory", "-i", "hosts.yml", "-i", "lmstudio.yml", "--list"], {})
    assert listed.returncode == 0, listed.stderr
    (tmp_path / "listed.json").write_text(listed.stdout)
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\ncat "$(dirname "$0")/listed.json"\n')
    script.chmod(0o700)
    shown = run_in(tmp_path, ["ansible", "-i", "again", "gpu01", "-c", "local", "-m", "debug", "-a", "var=lmstudio_record.available"], {})
    assert "7 * 7" in shown.stdout and "49" not in shown.stdout, shown.stdout + shown.stderr
    assert not list(tmp_path.rglob("pwned"))
