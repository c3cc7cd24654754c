# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many hosts in one task: whom it asks, with what, and what it returns."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import run_in, sent_to, words

TOKENS = {name: f"token-of-{name}" for name in ("gpu01", "gpu02", "gpu03")}


def hosts_of(fleet, tokens=TOKENS):
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    for name, token in tokens.items():
        hosts[name]["lmstudio_token"] = token
    return hosts


def start_three(start, **others):
    return start({**{name: {"payload": "two_loaded.json", "token": token} for name, token in TOKENS.items()}, **others})


@pytest.mark.matrix
def test_it_asks_the_batch_once_and_every_host_has_the_result(run, start):
    fleet = start_three(start, gpu04={"fault": "refused"}, mac01={"payload": "mac.json", "token": "another"})
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  vars:
    lmstudio_token: a variable of the play, which belongs to no host
  tasks:
    - name: One has failed before
      ansible.builtin.fail:
      when: inventory_hostname == 'gpu02'
    - name: Ask them all
      gpufleet.lmstudio.fleet_info:
      run_once: true
      check_mode: "{{ checked | default(false) }}"
      register: fleet
    - name: Every host that is left has it
      ansible.builtin.assert:
        that:
          - fleet is not changed
          - fleet.hosts | list == ['gpu01', 'gpu02', 'gpu03', 'gpu04', 'mac01']
          - fleet.hosts.gpu03.models | map(attribute='key') == ['qwen/qwen3-8b', 'openai/gpt-oss-20b']
          - fleet.hosts.gpu03.detail == 'loaded' and fleet.hosts.gpu03.available | length == 4
          - fleet.hosts.gpu04.error.hint != ''
          - fleet.summary.total == 5 and fleet.summary.ok == 3
          - "fleet.summary.by_status == {'auth': ['mac01'], 'ok': ['gpu01', 'gpu02', 'gpu03'], 'refused': ['gpu04']}"
          - fleet.summary.not_ok == ['gpu04', 'mac01']
          - "fleet.summary.serving == {'openai/gpt-oss-20b': names, 'qwen/qwen3-8b': names}"
          - "fleet.summary.counts == {'models': 12, 'llm': 9, 'embedding': 3, 'loaded': 6, 'instances': 9}"
          - fleet.summary.size_bytes.loaded == fleet.hosts.gpu01.size_bytes.loaded * 3
      vars:
        names: [gpu01, gpu02, gpu03]
"""
    for more in ([], ["-e", "{checked: true}"]):
        outcome = run(play, hosts_of(fleet), *more, ends=2)
        assert outcome.output.count("failed=0") == 4
    for name, token in TOKENS.items():
        assert set(sent_to(fleet, name)) == {"Bearer " + token} and len(fleet.requests(name)) == 2
    assert set(sent_to(fleet, "mac01")) == {None}


def test_under_serial_each_batch_asks_its_own_with_their_own_tokens(run, start):
    fleet = start_three(start)
    play = """
- name: One at a time
  hosts: all
  serial: 1
  gather_facts: false
  tasks:
    - name: Ask the batch
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: It was this host
      ansible.builtin.assert:
        that:
          - fleet.hosts | list == [inventory_hostname]
          - fleet.summary.not_ok == []
    - name: Ask all three by a lookup
      ansible.builtin.assert:
        that: query('gpufleet.lmstudio.models', groups['all']) | map(attribute='ok') | unique == [true]
"""
    run(play, hosts_of(fleet), env={"LM_API_TOKEN": "token-of-environment"})
    for name, token in TOKENS.items():
        assert set(sent_to(fleet, name)) == {"Bearer " + token}
        assert len(fleet.requests(name)) == 1 + 3


def test_the_secret_of_the_first_host_is_no_default_for_others(run, start):
    fleet = start({"gpu01": {"token": "token-of-gpu01"}, "gpu02": {}, "gpu03": {"token": "token-of-gpu03"}})
    hosts = hosts_of(fleet)
    hosts["gpu02"].pop("lmstudio_token", None)
    play = """
- name: Ask with defaults that are templates
  hosts: all
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{ lmstudio_token | default('') }}"
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
      run_once: true
"""
    outcome = run(play, hosts)
    assert [set(sent_to(fleet, name)) for name in hosts] == [{"Bearer token-of-gpu01"}, {None}, {"Bearer token-of-gpu03"}]
    assert "token is the lmstudio_token of gpu01, so it is not sent to hosts that have none: gpu02." in words(outcome)


def test_no_hosts_are_not_all_hosts(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    play = """
- name: Ask nobody
  hosts: all
  gather_facts: false
  vars:
    empty: "{{ groups['nothing'] | default([]) }}"
  tasks:
    - name: "{{ item.says }}"
      gpufleet.lmstudio.fleet_info:
        hosts: "{{ item.hosts }}"
      loop:
        - {hosts: "{{ empty }}", says: "hosts: it is an empty list. Give a pattern."}
        - {hosts: "{{ empty | join(',') }}", says: "hosts: it has no value. Give a pattern."}
        - {hosts: null, says: "hosts: it has no value. Give a pattern."}
        - {hosts: " ", says: "hosts: it has an empty entry."}
        - {hosts: ["gpu01", "{{ empty | join(',') }}"], says: "hosts: it has an empty entry."}
        - {hosts: "{{ (['gpu01'] + [empty | join(',')]) | join(',') }}", says: "hosts: it has an empty entry."}
        - {hosts: [gpu01, gpu2], says: "hosts: no host or group of the inventory is called gpu2. Did you mean gpu02?"}
        - {hosts: "gpu01:gpu2", says: "hosts: no host or group of the inventory is called gpu2. Did you mean gpu02?"}
        - {hosts: "gpu01:&nothing", says: "hosts: no host of the inventory matches gpu01:&nothing."}
        - {hosts: "x*", says: "hosts: no host of the inventory matches x*."}
      run_once: true
      ignore_errors: true
      register: asked
    - name: Nobody was asked
      ansible.builtin.assert:
        that: item is failed and item.item.says in item.msg
      loop: "{{ asked.results }}"
      loop_control: {label: x}
"""
    run(play, hosts_of(fleet, {}))
    assert fleet.requests("gpu01") == fleet.requests("gpu02") == []


def test_a_pattern_that_is_not_set_means_the_batch(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    play = """
- name: Ask the batch
  hosts: all
  gather_facts: false
  tasks:
    - name: Without a pattern
      gpufleet.lmstudio.fleet_info:
        hosts: "{{ pattern | default(omit) }}"
      run_once: true
    - name: With what leaves nobody out, and with a group that is empty beside one that is not
      gpufleet.lmstudio.fleet_info:
        hosts: [all, "!nobody", ungrouped]
      run_once: true
"""
    run(play, hosts_of(fleet, {}))
    assert len(fleet.requests("gpu01")) == len(fleet.requests("gpu02")) == 2


def test_a_pattern_asks_hosts_outside_of_play_and_limit(run, start):
    fleet = start_three(start, spare={})
    play = """
- name: Ask from a play on one of them
  hosts: all
  gather_facts: false
  tasks:
    - name: A part of the inventory
      gpufleet.lmstudio.fleet_info:
        hosts: "{{ pattern }}"
        token: a-token-for-hosts-without-one
      run_once: true
      register: fleet
    - name: All of it, in order
      ansible.builtin.assert:
        that: fleet.hosts | list == expected
    - name: A pattern without a host
      gpufleet.lmstudio.fleet_info:
        hosts: [gpu1, gpu2]
      run_once: true
      ignore_errors: true
      register: nobody
    - name: Is no success
      ansible.builtin.assert:
        that:
          - nobody is failed
          - "nobody.msg == 'hosts: no host or group of the inventory is called gpu1 or gpu2. Did you mean gpu01 or gpu02?'"

- name: Ask from a play on localhost
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Without a pattern it is the implicit localhost
      gpufleet.lmstudio.fleet_info:
        port: 1
      run_once: true
      register: local
    - name: Which has no server
      ansible.builtin.assert:
        that: local.hosts.localhost.status == 'refused'
"""
    limit = ["--limit", "gpu03,localhost"]
    run(play, hosts_of(fleet), *limit, "-e", json.dumps({"pattern": "gpu*:spare:!gpu02", "expected": ["gpu01", "gpu03", "spare"]}))
    run(play, hosts_of(fleet), *limit, "-e", json.dumps({"pattern": ["gpu02", "spare"], "expected": ["gpu02", "spare"]}))
    assert set(sent_to(fleet, "spare")) == {"Bearer a-token-for-hosts-without-one"}
    assert [set(sent_to(fleet, name)) for name in TOKENS] == [{"Bearer " + token} for token in TOKENS.values()]


def test_without_run_once_it_warns(run, start):
    fleet = start_three(start)
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask them all
      gpufleet.lmstudio.fleet_info:
      register: fleet
"""
    warning = "Set run_once: true on this task"
    outcome = run(play, hosts_of(fleet))
    assert warning in words(outcome)
    assert [len(fleet.requests(name)) for name in TOKENS] == [1, 1, 1]
    assert warning not in words(run(play + "      run_once: true\n", hosts_of(fleet)))
    alone = play.replace("hosts: all", "hosts: localhost").replace("fleet_info:", "fleet_info: {hosts: all}")
    assert warning not in words(run(alone, hosts_of(fleet)))
    assert [len(fleet.requests(name)) for name in TOKENS] == [3, 3, 3]


def test_run_once_is_not_asked_for_where_no_keyword_can_be_set(run, start, tmp_path):
    fleet = start({"gpu01": {}, "gpu02": {}})
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts_of(fleet, {})}}))
    asked = run_in(tmp_path, ["ansible", "-i", "hosts.yml", "all", "-c", "local", "-m", "gpufleet.lmstudio.fleet_info"], {})
    assert not asked.returncode and "WARNING" not in asked.stdout + asked.stderr
    assert len(fleet.requests("gpu01")) == len(fleet.requests("gpu02")) == 1


def test_on_error_says_who_and_why(run, start):
    fleet = start_three(start, gpu04={"fault": "refused"}, gpu05={"fault": "refused"}, gpu06={"fault": "unavailable"})
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask them all
      gpufleet.lmstudio.fleet_info:
        on_error: "{{ wanted }}"
      run_once: true
      register: fleet
      ignore_errors: true
    - name: The records are there whatever happened
      ansible.builtin.assert:
        that:
          - fleet.hosts | length == 6
          - fleet.summary.not_ok == ['gpu04', 'gpu05', 'gpu06']
          - (fleet is failed) is sameas (wanted == 'fail')
"""
    complaints = [
        "3 of 6 hosts did not return a model list.",
        f"gpu04: {fleet.urls['gpu04']} refused the connection.",
        f"gpu05: {fleet.urls['gpu05']} refused the connection.",
        f"gpu06: {fleet.urls['gpu06']} answered HTTP 503",
        "(refused) Start LM Studio's server",
        "(unavailable) A proxy answers like this when LM Studio behind it is not running",
    ]
    counted = [
        complaints[0],
        f"2 refused: gpu04, gpu05. gpu04: {fleet.urls['gpu04']} refused the connection. Start LM Studio's server",
        f"gpu06: {fleet.urls['gpu06']} answered HTTP 503: it is not available now. A proxy answers like this when LM Studio behind it",
    ]
    for wanted, said in (("report", []), ("warn", counted), ("fail", complaints)):
        outcome = run(play, hosts_of(fleet), "-e", f"wanted={wanted}")
        words = " ".join(outcome.output.replace("\\n", " ").split())
        assert all(complaint in words for complaint in said), outcome.output
        assert ("did not return a model list" in words) == (wanted != "report")
        assert ("[WARNING]: 3 of 6" in words) == (wanted == "warn")


def test_quiet_leaves_the_records_out_of_what_is_printed(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"fault": "refused"}})
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
        quiet: "{{ quiet }}"
        on_error: fail
      run_once: true
      register: fleet
      ignore_errors: true
    - name: What is left
      ansible.builtin.assert:
        that:
          - fleet is failed and '1 of 2 hosts did not return a model list' in fleet.msg and fleet.summary.not_ok == ['gpu02']
          - (fleet.hosts is defined) != (quiet | bool)
"""
    printed = {quiet: run(play, hosts_of(fleet, {}), "-e", f"quiet={quiet}").output for quiet in ("true", "false")}
    assert "fingerprint" in printed["false"] and "fingerprint" not in printed["true"]


def test_a_host_with_variables_that_cannot_be_used_is_not_asked_and_the_others_are(run, start):
    fleet = start_three(start)
    hosts = hosts_of(fleet)
    hosts["gpu02"]["lmstudio_timeout"] = "soon"
    hosts["gpu03"]["lmstudio_url"] = "gpu03"
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask them all
      gpufleet.lmstudio.fleet_info: {}
      run_once: true
      ignore_errors: true
      register: fleet
    - name: Both are named
      ansible.builtin.assert:
        that:
          - fleet is not failed
          - "fleet.summary.by_status == {'not_asked': ['gpu02', 'gpu03'], 'ok': ['gpu01']}"
          - fleet.hosts.gpu02.url is none and fleet.hosts.gpu02.asked_at is none and fleet.hosts.gpu02.fingerprint is none
          - fleet.hosts.gpu02 | list | sort == fleet.hosts.gpu01 | list | sort
          - says[0] in fleet.hosts.gpu02.error.message
          - says[1] in fleet.hosts.gpu03.error.message
          - "'gpu0' not in fleet.hosts.gpu02.error.message"
      vars:
        says:
          - "This host was not asked: lmstudio_timeout: it is not a number"
          - "This host was not asked: lmstudio_url: 'gpu03' is not a URL"
"""
    run(play, hosts)
    assert [len(fleet.requests(name)) for name in TOKENS] == [1, 0, 0]


def test_an_option_that_cannot_be_used_fails_before_any_request(run, start):
    fleet = start_three(start)
    wrong = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Use options that there are not
      gpufleet.lmstudio.fleet_info: "{{ item }}"
      loop:
        - {url: "http://gpu01"}
        - {concurency: 1}
        - {concurrency: 0}
        - {fleet_timeout: -1}
        - {detail: all}
        - {port: 70000}
        - {timeout: 0}
        - {token: "two words"}
        - {ca_path: /nowhere.pem}
        - {client_key: /nowhere.pem}
      run_once: true
      ignore_errors: true
      register: wrong
    - name: Each is named
      ansible.builtin.assert:
        that:
          - item is failed and item.hosts is not defined
          - item.item | list | first in item.msg
      loop: "{{ wrong.results }}"
"""
    run(wrong, hosts_of(fleet))
    assert [fleet.requests(name) for name in TOKENS] == [[], [], []]


def test_a_template_that_says_where_a_host_is_is_evaluated_once_for_it(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "two_loaded.json"}})

    def noted(value):
        return "{{ lookup('ansible.builtin.pipe', 'echo ' ~ inventory_hostname ~ ' >> evaluated; echo VALUE') }}".replace("VALUE", value)

    hosts = {
        "gpu01": {"lmstudio_url": fleet.urls["gpu01"]},
        "gpu02": {"lmstudio_controller_url": noted(fleet.urls["gpu02"])},
        "gpu03": {"ansible_host": noted("127.0.0.2"), "ansible_connection": "ssh"},
    }
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask them all
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Each was asked there
      ansible.builtin.assert:
        that:
          - fleet.hosts.gpu02.ok
          - fleet.hosts.gpu03.url == 'http://127.0.0.2:1234'
      run_once: true
"""
    outcome = run(play, hosts)
    assert sorted((outcome.folder / "evaluated").read_text().split()) == ["gpu02", "gpu03"]


@pytest.mark.matrix
def test_what_a_server_sends_is_text(run, start):
    header = "#jinja2:variable_start_string:'[[',variable_end_string:']]'\n[[ lookup('pipe', 'touch pwned') ]]"
    entry = {"key": header, "type": "llm", "loaded_instances": [{"id": header, "config": {"context_length": 4096}}]}
    fleet = start({"gpu01": {"payload": "hostile.json"}, "gpu02": {"payload": {"models": [entry]}}})
    play = """
- name: Audit
  hosts: all
  gather_facts: false
  vars:
    sum: "{{ '{{' }} 7 * 7 {{ '}}' }}"
  tasks:
    - name: Ask a hostile server
      gpufleet.lmstudio.fleet_info:
        detail: full
      run_once: true
      register: fleet
    - name: Keep it
      ansible.builtin.set_fact:
        kept: "{{ fleet }}"
    - name: Names are text, as keys too
      ansible.builtin.assert:
        that:
          - kept.summary.serving | list | sort == [kept.hosts.gpu02.loaded[0], sum] | sort
          - kept.hosts.gpu02.loaded[0] is search('touch pwned') and kept.hosts.gpu02.loaded[0] is match('.jinja2:')
          - kept.hosts.gpu01.available | first == sum
          - kept.hosts.gpu01.models | map(attribute='key') | first == sum
    - name: Print it
      ansible.builtin.debug:
        var: kept.summary
"""
    outcome = run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
    assert not list(outcome.folder.rglob("pwned"))
    assert "\x1b" not in outcome.output


def test_the_free_strategy_says_that_it_cannot_run_it(run, start):
    fleet = start_three(start)
    play = """
- name: Audit
  hosts: all
  strategy: ansible.builtin.free
  gather_facts: false
  tasks:
    - name: Ask them all
      gpufleet.lmstudio.fleet_info:
      run_once: true
"""
    assert "bypass" in run(play, hosts_of(fleet), ends=1).output
