# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests and filters in plays."""

from __future__ import annotations

import json

import pytest

GATHER = """
- name: Judge
  hosts: all
  gather_facts: false
  tasks:
    - name: As a result
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: answer
    - name: As facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
    - name: As a fleet
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
"""


def start_two(start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "mac.json"}, "gpu03": {"fault": "refused"}})
    return fleet, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}


@pytest.mark.matrix
def test_tests_are_real_conditionals(run, start):
    _fleet, hosts = start_two(start)
    play = """
    - name: Every form of a record
      ansible.builtin.assert:
        that:
          - item is gpufleet.lmstudio.model_loaded('qwen/*', min_context_length=4096)
          - (item is gpufleet.lmstudio.model_loaded('qwen/*', min_context_length=8192)) is sameas (inventory_hostname != 'gpu01')
          - item is gpufleet.lmstudio.model_loaded(['nothing', 'qwen/qwen3-8b'])
          - item is not gpufleet.lmstudio.model_loaded('qwen/*', min_context_length=99999)
          - item is not gpufleet.lmstudio.model_loaded('nothing')
          - item is gpufleet.lmstudio.model_available('qwen/qwen3-8b', format=['gguf', 'mlx'])
          - item is not gpufleet.lmstudio.model_available('nothing')
          - "item is gpufleet.lmstudio.meets({'model': 'nothing', 'state': 'absent'})"
          - "item is gpufleet.lmstudio.meets([{'model': 'nothing', 'state': 'absent'}, {'type': 'llm'}])"
          - "item is not gpufleet.lmstudio.meets([{'model': 'nothing', 'severity': 'warn'}])"
          - (item is gpufleet.lmstudio.model_loaded('qwen/*')) is sameas true
      loop: "{{ [answer, answer.lmstudio, ansible_facts.lmstudio, {'ansible_facts': ansible_facts}, fleet.hosts[inventory_hostname]] }}"
      loop_control: {label: x}
      when: answer.lmstudio.ok
    - name: A host that is down meets nothing
      ansible.builtin.assert:
        that:
          - answer is not gpufleet.lmstudio.model_loaded('qwen/*')
          - "answer is not gpufleet.lmstudio.meets({'model': 'nothing', 'state': 'absent'})"
          - answer | gpufleet.lmstudio.select_models(type='llm') == []
          - (answer | gpufleet.lmstudio.violations([{'model':'m'}]))[0].check == 'status'
      when: not answer.lmstudio.ok
    - name: Chosen by a condition
      ansible.builtin.debug:
        msg: "{{ inventory_hostname }} is chosen"
      when: answer is gpufleet.lmstudio.model_loaded('openai/*')
"""
    outcome = run(GATHER + play, hosts)
    assert "gpu01 is chosen" in outcome.output and "gpu02 is chosen" not in outcome.output


@pytest.mark.matrix
def test_filters(run, start):
    _fleet, hosts = start_two(start)
    play = """
    - name: One host
      ansible.builtin.assert:
        that:
          - answer | gpufleet.lmstudio.select_models(type='llm') | map(attribute='key') == ['qwen/qwen3-8b', 'openai/gpt-oss-20b']
          - answer | gpufleet.lmstudio.select_models(type='llm', state='available') | length == 3
          - answer | gpufleet.lmstudio.select_models('qwen/*') | map(attribute='key') == ['qwen/qwen3-8b']
          - answer | gpufleet.lmstudio.select_models(['qwen/*', 'google/*'], state='available') | length == 2
          - answer | gpufleet.lmstudio.select_models(state='loaded') | map(attribute='key') == ['qwen/qwen3-8b', 'openai/gpt-oss-20b']
          - answer | gpufleet.lmstudio.select_models(type='llm', state='unloaded') | map(attribute='key') == ['google/gemma-3-27b']
          - ansible_facts.lmstudio | gpufleet.lmstudio.select_models(type='llm', min_context_length=20000) | map(attribute='key') == ['openai/gpt-oss-20b']
          - answer | gpufleet.lmstudio.violations([wanted]) == []
          - answer | gpufleet.lmstudio.violations([wanted], exclusive=true) | map(attribute='actual') == ['openai/gpt-oss-20b']
          - (answer | gpufleet.lmstudio.violations([wanted | combine({'min_parallel':99})]))[0].message == said
      vars:
        wanted: {name: chat, model: qwen/qwen3-8b}
        said: "chat: qwen/qwen3-8b is loaded with parallel 4, at least 99 is required"
      when: inventory_hostname == 'gpu01'
    - name: Many hosts
      ansible.builtin.assert:
        that:
          - fleet.hosts | gpufleet.lmstudio.hosts_serving('qwen/qwen3-8b') == ['gpu01', 'gpu02']
          - fleet.hosts | gpufleet.lmstudio.hosts_serving('qwen/qwen3-8b', min_context_length=20000) == ['gpu02']
          - fleet.hosts | gpufleet.lmstudio.fleet_violations(chat) | map(attribute='host') == ['gpu03']
          - fleet.hosts | gpufleet.lmstudio.fleet_violations(chat, min_hosts=2) == []
          - fleet.hosts | gpufleet.lmstudio.fleet_violations(chat, min_hosts='3') | map(attribute='message') == few
          - fleet.hosts | gpufleet.lmstudio.fleet_violations(chat, min_hosts=1, consistent='quantization') | map(attribute='message') == mixed
          - (fleet.hosts | gpufleet.lmstudio.fleet_violations(chat, 1, ['quantization', 'context_length', 'selected_variant'])) | length == 3
          - (fleet.hosts | gpufleet.lmstudio.fleet_violations(chat, 1, ['quantization']))[0].actual[1] == {'value':'4bit', 'hosts':['gpu02']}
          - twins | gpufleet.lmstudio.fleet_violations(chat, min_hosts=2) | map(attribute='message') == once
          - twins | gpufleet.lmstudio.fleet_violations(chat) == []
      vars:
        one: "{{ fleet.hosts.gpu01 | combine({'url': 'http://10.0.0.7:1234'}) }}"
        twins: {gpu01: "{{ one }}", twin: "{{ one }}"}
        once: ["chat: 1 of 1 host serves qwen/qwen3-8b; 2 are required"]
        chat: [{name: chat, model: qwen/qwen3-8b}]
        few: ["chat: 2 of 3 hosts serve qwen/qwen3-8b; 3 are required. No answer: gpu03 (refused)"]
        mixed: ["chat: qwen/qwen3-8b has different quantizations: Q4_K_M on gpu01; 4bit on gpu02"]
      run_once: true
"""
    run(GATHER + play, hosts)


@pytest.mark.matrix
def test_what_is_omitted_is_left_out_as_in_a_task(run, start):
    _fleet, hosts = start_two(start)
    play = """
    - name: A requirement with keys that are omitted
      gpufleet.lmstudio.model_assert:
        require: "{{ wanted }}"
        record: "{{ answer }}"
      register: gate
      ignore_errors: true
    - name: Every plugin judges the same
      ansible.builtin.assert:
        that:
          - gate is failed and gate.violations | length == 1
          - answer | gpufleet.lmstudio.violations(wanted) == gate.violations
          - answer is not gpufleet.lmstudio.meets(wanted)
          - answer is not gpufleet.lmstudio.meets(wanted[0])
          - answer is gpufleet.lmstudio.meets(wanted[1:])
          - fleet.hosts | gpufleet.lmstudio.fleet_violations(wanted[:1]) | length > 0
          - answer | gpufleet.lmstudio.select_models(**select) | map(attribute='key') == ['qwen/qwen3-8b']
          - answer is gpufleet.lmstudio.model_loaded('qwen/qwen3-8b', publisher=nothing | default(omit))
          - fleet.hosts | gpufleet.lmstudio.hosts_serving('openai/gpt-oss-20b', publisher=nothing | default(omit)) == ['gpu01']
          - answer | gpufleet.lmstudio.violations(wanted, exclusive=nothing | default(omit)) == gate.violations
      when: inventory_hostname == 'gpu01'
    - name: Whatever cannot be left out
      ansible.builtin.set_fact:
        odd: "{{ answer is gpufleet.lmstudio.model_available(nothing | default(omit)) }}"
      register: odd
      ignore_errors: true
    - name: Is an error
      ansible.builtin.assert:
        that: odd is failed
  vars:
    wanted:
      - {model: qwen/qwen3-8b, publisher: "{{ nothing | default(omit) }}", state: absent}
      - model: [qwen/qwen3-8b, "{{ nothing | default(omit) }}"]
        config: {flash_attention: "{{ nothing | default(omit) }}", parallel: 4}
    select: {model: qwen/qwen3-8b, publisher: "{{ nothing | default(omit) }}"}
"""
    run(GATHER + play, {"gpu01": hosts["gpu01"]})


WRONG = [
    ("answer is gpufleet.lmstudio.model_loaded('m', min_contex_length=1)", "unknown key min_contex_length. Did you mean min_context_length?"),
    ("answer is gpufleet.lmstudio.model_loaded('m', state='absent')", "model_loaded: state has no meaning here"),
    ("answer is gpufleet.lmstudio.model_loaded('m', 8192)", "model_loaded: takes"),
    ("answer is gpufleet.lmstudio.model_loaded", "model_loaded: missing 1 required positional argument"),
    ("answer is gpufleet.lmstudio.model_loaded('')", "model_loaded: requirement: model has no value"),
    ("'text' is gpufleet.lmstudio.model_loaded('m')", "model_loaded: record: it is not a host record. Give ansible_facts.lmstudio"),
    ("{'ok': true} is gpufleet.lmstudio.model_available('m')", "model_available: record: it is not a host record"),
    ("answer is gpufleet.lmstudio.meets([])", "meets: requirement: it is empty, which would pass on any host"),
    ("answer is gpufleet.lmstudio.meets('m')", "meets: requirement: m is not a requirement"),
    ("facts is gpufleet.lmstudio.meets({'architecture':'x', 'state':'available'})", "gather with detail: full"),
    ("answer | gpufleet.lmstudio.violations([])", "violations: require: it is empty"),
    ("answer | gpufleet.lmstudio.violations([{'model':'m'}], exclusive='maybe')", "violations: exclusive: maybe is not true or false"),
    ("answer | gpufleet.lmstudio.select_models", "select_models: requirement does not say which model it is about"),
    ("answer | gpufleet.lmstudio.select_models(none)", "select_models: requirement: model has no value"),
    ("answer | gpufleet.lmstudio.select_models('m', 8192)", "select_models: takes"),
    ("answer | gpufleet.lmstudio.select_models(typ='llm')", "select_models: requirement: unknown key typ. Did you mean type?"),
    ("answer | gpufleet.lmstudio.select_models(model='m', min_instances=2)", "select_models: min_instances selects nothing"),
    ("answer | gpufleet.lmstudio.select_models(model='m', state='absent')", "select_models: state: absent selects nothing"),
    ("answer | gpufleet.lmstudio.hosts_serving('m')", "is not a host record. Give the hosts of a registered result of fleet_info"),
    ("[answer] | gpufleet.lmstudio.hosts_serving('m')", "hosts_serving: hosts: must be a mapping"),
    ("{} | gpufleet.lmstudio.fleet_violations([{'model':'m'}])", "fleet_violations: hosts: there are none"),
    ("{'a': answer} | gpufleet.lmstudio.fleet_violations([{'model':'m'}], min_hosts=0)", "fleet_violations: min_hosts: 0 is not a whole number of 1 or more"),
    ("{'a': answer} | gpufleet.lmstudio.fleet_violations([{'model':'m'}], consistent=['size'])", "consistent: size is not one of quantization"),
    ("lookup('gpufleet.lmstudio.models', 'http://127.0.0.1:9', tokn='x')", "unknown option tokn. Did you mean token?"),
    ("answer.lmstudio | combine({'models': [{}]}) is gpufleet.lmstudio.model_loaded('m')", "not complete, 'key' is missing"),
]  # fmt: skip


def test_what_cannot_be_used_is_an_error(run, start):
    _fleet, hosts = start_two(start)
    play = GATHER
    for number, (expression, says) in enumerate(WRONG):
        play += f"""
    - name: Wrong
      ansible.builtin.set_fact:
        unused: "{{{{ {expression} }}}}"
      vars: {{facts: "{{{{ ansible_facts.lmstudio }}}}"}}
      register: wrong
      ignore_errors: true
    - name: Says {number}
      ansible.builtin.assert:
        that:
          - wrong is failed
          - says in wrong.msg
      vars: {{says: {json.dumps(says)}}}
"""
    run(play, {"gpu01": hosts["gpu01"]})
