# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plugins return, and where each takes its options from."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import sent_to, vaulted, words

TOKENS = {"gpu01": "token-of-gpu01", "gpu02": "token-of-gpu02"}


@pytest.mark.matrix
def test_records_are_the_same_at_every_plugin_and_follow_the_server(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    play = """
- name: Compare the plugins
  hosts: all
  gather_facts: false
  vars:
    volatile: [asked_at, response_ms, detail, models, instances]
  tasks:
    - name: Target
      gpufleet.lmstudio.model_info:
      register: target
    - name: Controller, in check mode
      gpufleet.lmstudio.model_info:
        via: controller
      check_mode: true
      register: controller
    - name: Target, in check mode
      gpufleet.lmstudio.model_info:
      check_mode: true
      register: checked
    - name: Facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
      register: facts
    - name: Full facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
        detail: full
      register: full_facts
    - name: All are alike
      ansible.builtin.assert:
        that:
          - item.fingerprint == target.lmstudio.fingerprint
          - item.loaded == ['openai/gpt-oss-20b', 'qwen/qwen3-8b']
          - item.available | length == 4
          - "item.counts == {'models': 4, 'llm': 3, 'embedding': 1, 'loaded': 2, 'instances': 3}"
          - item.instances | map(attribute='context_length') == [16384, 4096, 32768]
      loop:
        - "{{ target.lmstudio }}"
        - "{{ checked.lmstudio }}"
        - "{{ controller.lmstudio }}"
        - "{{ ansible_facts.lmstudio }}"
        - "{{ lookup('gpufleet.lmstudio.models', lmstudio_url) }}"
      loop_control: {label: x}
    - name: Their detail is as documented
      ansible.builtin.assert:
        that:
          - target.lmstudio.detail == 'full' and target.lmstudio.models | length == 4
          - controller.lmstudio.detail == 'full' and controller.lmstudio.models | length == 4
          - facts.ansible_facts.lmstudio.detail == 'loaded' and facts.ansible_facts.lmstudio.models | length == 2
          - full_facts.ansible_facts.lmstudio.detail == 'full' and full_facts.ansible_facts.lmstudio.models | length == 4
          - target is not changed and controller is not changed and facts is not changed and checked is not changed
          - facts.ansible_facts | list == ['lmstudio']
          - (facts | list | difference(['ansible_facts', 'changed', 'failed', 'invocation', 'warnings', 'deprecations', 'ansible_parsed'])) == []
          - (controller | list | difference(['lmstudio', 'changed', 'failed'])) == []
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})


def test_a_lookup_gives_one_item_per_term_whatever_it_selects(run, start):
    fleet = start({"a": {"payload": "two_loaded.json"}, "b": {"payload": "empty.json"}, "c": {"payload": "mac.json"}})
    play = """
- name: Select
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Each selection
      ansible.builtin.assert:
        that:
          - query('gpufleet.lmstudio.models', *urls) | map(attribute='url') == urls
          - query('gpufleet.lmstudio.models', *urls, select='record') | map(attribute='detail') | unique == ['full']
          - >-
            query('gpufleet.lmstudio.models', *urls, select='loaded')
            == [['openai/gpt-oss-20b', 'qwen/qwen3-8b'], [], ['qwen/qwen3-8b']]
          - query('gpufleet.lmstudio.models', *urls, select='available') | map('length') == [4, 0, 2]
          - query('gpufleet.lmstudio.models', *urls, select='models') | map('length') == [4, 0, 2]
          - query('gpufleet.lmstudio.models', *urls, select='models', detail='loaded') | map('length') == [2, 0, 1]
          - query('gpufleet.lmstudio.models', urls[2:], urls[1], urls[2], select='loaded') == [['qwen/qwen3-8b'], [], ['qwen/qwen3-8b']]
          - lookup('gpufleet.lmstudio.models', urls[2], select='loaded') == ['qwen/qwen3-8b']
          - lookup('gpufleet.lmstudio.models', urls[1], select='loaded') == []
    - name: As a dictionary by term, which filters over hosts take
      ansible.builtin.assert:
        that:
          - lookup('gpufleet.lmstudio.models', urls, as='dict') | dict2items | map(attribute='value.url') == urls
          - "lookup('gpufleet.lmstudio.models', urls[1], select='loaded', as='dict') == {urls[1]: []}"
          - query('gpufleet.lmstudio.models', urls, as='dict') | map('length') == [3]
          - lookup('gpufleet.lmstudio.models', urls, as='dict') | gpufleet.lmstudio.hosts_serving('qwen/*') == [urls[0], urls[2]]
          - lookup('gpufleet.lmstudio.models', as='dict')[inventory_hostname].url == urls[2]
    - name: No term means the host of the task
      ansible.builtin.assert:
        that: query('gpufleet.lmstudio.models') | map(attribute='url') == [urls[2]]
    - name: As a loop of the old form
      ansible.builtin.debug:
        msg: "{{ item.url }}"
      with_gpufleet.lmstudio.models: "{{ urls }}"
      register: looped
    - name: Has an item for each
      ansible.builtin.assert:
        that: looped.results | map(attribute='item.url') == urls
"""
    urls = list(fleet.urls.values())
    run(play, {"localhost": {"urls": urls, "lmstudio_url": urls[2]}})


def test_a_lookup_of_inventory_hosts_asks_each_with_its_own_variables(run, start):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}, "gpu02": {"token": TOKENS["gpu02"]}, "gpu03": {}, "plain": {}})
    play = """
- name: Ask all hosts of the inventory at once
  hosts: gpu01
  gather_facts: false
  vars:
    lmstudio_token: a variable of the play, which belongs to no host
  tasks:
    - name: Each is asked, in order, and a default goes to hosts that have no token
      ansible.builtin.assert:
        that:
          - query('gpufleet.lmstudio.models', *groups['all'], token='token-of-nobody') | map(attribute='status') | unique == ['ok']
          - query('gpufleet.lmstudio.models', groups['all']) | map(attribute='url') == groups['all'] | map('extract', hostvars, 'lmstudio_url')
          - query('gpufleet.lmstudio.models', plain, 'gpu02', on_error='report') | map(attribute='status') == ['ok', 'ok']
          - query('gpufleet.lmstudio.models', 'nowhere.invalid', on_error='report')[0].url == 'http://nowhere.invalid:1234'
          - query('gpufleet.lmstudio.models', 'nowhere.invalid', port=99, on_error='report')[0].url == 'http://nowhere.invalid:99'
          - query('gpufleet.lmstudio.models', '::1', port=9, on_error='report')[0].url == 'http://[::1]:9'
          - query('gpufleet.lmstudio.models', '[::1]:8', port=9, on_error='report')[0].url == 'http://[::1]:8'
"""
    names = ("gpu01", "gpu02", "gpu03")
    hosts = {name: {"lmstudio_url": fleet.urls[name]} for name in names}
    hosts["gpu01"] |= {"lmstudio_token": TOKENS["gpu01"], "plain": fleet.urls["plain"].partition("//")[2]}
    hosts["gpu02"] |= {"lmstudio_token": "{{ 'token-of-' ~ inventory_hostname }}", "lmstudio_port": ""}
    run(play, hosts, env={"LM_API_TOKEN": "token-of-environment"})
    sent = {name: set(sent_to(fleet, name)) for name in fleet.urls}
    assert sent["gpu01"] == {"Bearer " + TOKENS["gpu01"]}
    assert sent["gpu02"] == {"Bearer " + TOKENS["gpu02"]}
    assert sent["gpu03"] == {"Bearer token-of-nobody", None}
    assert sent["plain"] == {None}


def test_a_lookup_takes_nothing_for_what_it_is_not(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask with what cannot be used
  hosts: all
  gather_facts: false
  tasks:
"""
    wrong = {
        "'all'": "term 1: 'all' is a group and not a host. Give its hosts, groups['all'].",
        "'gpu01', timeout=true": "timeout: true is not a number.",
        "'gpu01', concurrency=false": "concurrency: false is not a number.",
        "'gpu01', validate_certs='ture'": "validate_certs: it is not true or false.",
        "'gpu01', use_proxy=2": "use_proxy: it is not true or false.",
    }
    for terms in wrong:
        play += f"""
    - name: Ask
      ansible.builtin.debug:
        msg: "{{{{ query('gpufleet.lmstudio.models', {terms}) }}}}"
      ignore_errors: true
"""
    output = " ".join(run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}).output.split())
    assert [says for says in wrong.values() if says not in output] == []
    assert not fleet.requests("gpu01")


def test_a_port_that_is_not_a_number_is_refused_beside_a_url_too(run):
    play = """
- name: Ask with what Ansible would take for the number 1
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info: {url: http://other.invalid, port: true, via: controller}
      ignore_errors: true
      register: answer
    - name: It is refused in plain words
      ansible.builtin.assert:
        that: "answer.msg == 'port: true is not a number.'"
"""
    run(play, {"gpu01": {}})


def test_a_variable_of_a_host_that_cannot_be_used_is_named_with_its_host(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask a host whose variables cannot be used
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Ask
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', 'gpu02', 'gpu01') }}"
"""
    hosts = {"localhost": {}, "gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}
    for asked, (variables, says) in enumerate(
        [
            ({"lmstudio_url": "http://gpu02:1", "lmstudio_port": 2}, "lmstudio_port: lmstudio_url 'http://gpu02:1' already names a port"),
            ({"lmstudio_token": "{{ vault_token }}"}, "its lmstudio_token cannot be templated: 'vault_token' is undefined."),
        ],
        1,
    ):
        outcome = run(play, {**hosts, "gpu02": variables}, ends=2)
        assert f"gpu02: This host was not asked: {says}" in words(outcome)
        # The others are asked before it fails.
        assert len(fleet.requests("gpu01")) == asked


def test_the_state_of_a_server_is_seen_at_the_next_question(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    play = """
- name: Ask before and after
  hosts: all
  gather_facts: false
  tasks:
    - name: Nothing is loaded
      gpufleet.lmstudio.model_info:
      register: before
    - name: Somebody loads a model
      ansible.builtin.uri:
        url: "{{ control }}/hosts/gpu01/load"
        method: POST
        body_format: json
        body: {model: qwen/qwen3-8b, context_length: 12288, ttl: 3600, id: chat}
    - name: It is there
      gpufleet.lmstudio.model_info:
      register: after
    - name: With its effective context
      ansible.builtin.assert:
        that:
          - before.lmstudio.loaded == []
          - after.lmstudio.loaded == ['qwen/qwen3-8b']
          - after.lmstudio.instances[0].id == 'chat'
          - after.lmstudio.instances[0].context_length == 12288
          - 3300 < after.lmstudio.instances[0].remaining_ttl_seconds <= 3600
          - before.lmstudio.fingerprint != after.lmstudio.fingerprint
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "control": fleet.control}})


HOSTILE = """
- name: Gather from a hostile server
  hosts: all
  gather_facts: true
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
    sum: "{{ '{{' }} 7 * 7 {{ '}}' }}"
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      url: "{{ lmstudio_url }}"
      detail: full
  tasks:
    - name: Through every plugin
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      register: answers
    - name: As a fact of its own
      ansible.builtin.set_fact:
        kept: "{{ query('gpufleet.lmstudio.models', lmstudio_url) }}"
    - name: The names are text
      ansible.builtin.assert:
        that:
          - item.models | map(attribute='key') == [sum, pipe]
          - item.instances[0].id == pipe
          - item.available == [sum, pipe] | sort
          - item.loaded == [sum]
          - "item.models[1].future_field == {'kept': sum}"
          - item.models[1] | list | select('match', '__') == []
      loop: "{{ [answers.results[0].lmstudio, answers.results[1].lmstudio, ansible_facts.lmstudio, kept[0]] }}"
      loop_control: {label: x}
    - name: A gate that names them
      gpufleet.lmstudio.model_assert:
        via: "{{ item }}"
        detail: "{{ omit }}" # the default of the group, which this module does not have
        require: [{model: "*", type: embedding}, {model: "*", state: unloaded}]
        exclusive: true
      loop: [target, controller]
      register: gates
      ignore_errors: true
    - name: What filters make of them
      ansible.builtin.set_fact:
        judged: "{{ answers.results[0] | gpufleet.lmstudio.violations([{'model': '*', 'type': 'embedding'}]) }}"
        named: "{{ (ansible_facts.lmstudio | gpufleet.lmstudio.select_models(state='available'))[1].key }}"
    - name: Reasons are text too
      ansible.builtin.assert:
        that:
          - item is failed
          - item.violations == gates.results[0].violations
          - item.violations | map(attribute='message') | select('search', 'touch pwned|jinja2') | length > 0
          - shown in item.msg
          - judged | map(attribute='message') | select('in', item.msg) | length == judged | length
          - named == pipe
      loop: "{{ gates.results }}"
      loop_control: {label: x}
    - name: Printing and writing them evaluates nothing
      ansible.builtin.copy:
        content: "{{ item | to_json }}"
        dest: written.json
        mode: "0600"
      loop: "{{ [answers.results[0].lmstudio] }}"
    - name: Print
      ansible.builtin.debug:
        var: ansible_facts.lmstudio.available
    - name: Use one in the arguments of a task
      ansible.builtin.command:
        argv: [echo, "{{ kept[0].available[0] }}", "{{ ansible_facts.lmstudio.instances[0].id }}"]
      changed_when: false
      register: told
    - name: Still text
      ansible.builtin.assert:
        that: told.stdout == kept[0].available[0] ~ ' ' ~ pipe
"""


BRACES = "{{ lookup('pipe', 'touch pwned') }}"
# A text that begins so is a template on every ansible-core, and says itself what its templates look like.
HEADER = "#jinja2:variable_start_string:'[[',variable_end_string:']]'\n[[ lookup('pipe', 'touch pwned') ]]"


@pytest.mark.matrix
@pytest.mark.parametrize("name", [BRACES, HEADER], ids=["braces", "header"])
def test_a_model_whose_name_is_a_template_arrives_as_text(run, start, tmp_path, name):
    text = (Path(__file__).parents[1] / "simulator" / "payloads" / "hostile.json").read_text()
    fleet = start({"gpu01": {"payload": json.loads(text.replace(BRACES, json.dumps(name)[1:-1]))}})
    shown = printable(name)
    (tmp_path / "names.yml").write_text(f"pipe: !unsafe {json.dumps(name)}\nshown: !unsafe {json.dumps(shown)}\n")
    outcome = run(HOSTILE, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, "-e", "@names.yml")
    assert not list(outcome.folder.rglob("pwned"))
    written = json.loads((outcome.folder / "written.json").read_text())
    assert written["available"] == sorted(["{{ 7 * 7 }}", name])
    assert "\x1b" not in outcome.output


@pytest.mark.matrix
def test_what_is_omitted_does_not_count_anywhere(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask with options that are omitted
  hosts: all
  gather_facts: false
  vars:
    lmstudio_token: "{{ no_such_token | default(omit) }}"
    lmstudio_headers: {Authorization: "{{ no_such_token | default(omit) }}"}
  tasks:
    - name: As a host variable, and as an option
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        port: "{{ no_such_port | default(omit) }}"
      loop: [target, controller]
    - name: In the environment of the module
      gpufleet.lmstudio.model_info:
      environment: {LM_API_TOKEN: "{{ no_such_token | default(omit) }}"}
    - name: In a lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=no_such_token | default(omit)) | map(attribute='status') }}"
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})
    assert sent_to(fleet, "gpu01") == [None] * 4


def test_an_authorization_header_stands_in_place_of_the_environment(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask with a header, though the environment has a token
  hosts: all
  gather_facts: false
  vars:
    sent: {Authorization: Basic c29tZWJvZHk6cGFzcw==}
  tasks:
    - name: Through each plugin
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        headers: "{{ sent }}"
      loop: [target, controller]
    - name: As a host variable
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      vars:
        lmstudio_headers: "{{ sent }}"
    - name: In a lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, headers=sent) | map(attribute='status') }}"
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, env={"LM_API_TOKEN": "token-of-environment"})
    assert [request["headers"]["authorization"] for request in fleet.requests("gpu01")] == ["Basic c29tZWJvZHk6cGFzcw=="] * 5


def test_a_failure_of_options_is_a_sentence_and_not_a_traceback(run):
    play = """
- name: Ask with options that cannot be used
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
        timeout: 0
      ignore_errors: true
      register: answer
    - name: The message is ours
      ansible.builtin.assert:
        that: "answer.msg.startswith('timeout: 0 is not a usable number of seconds')"
"""
    outcome = run(play, {"gpu01": {}}, "-vvv")
    assert "Traceback" not in outcome.output and "OptionError" not in outcome.output


OTHER_FACTS = """
from ansible.module_utils.basic import AnsibleModule

AnsibleModule({}).exit_json(ansible_facts={"other": "gathered"})
"""


@pytest.mark.parametrize(
    "defaults_of, default, parallel",
    [
        ("gpufleet.lmstudio.model_facts", "''", "true"),
        pytest.param("group/gpufleet.lmstudio.lmstudio", "omit", "true", marks=pytest.mark.matrix),
        ("group/gpufleet.lmstudio.lmstudio", "''", "false"),
    ],
)
def test_gather_facts_takes_a_templated_token_from_module_defaults(run, start, tmp_path, default, defaults_of, parallel):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}, "gpu02": {"fault": None}, "gpu03": {"fault": "refused"}})
    # Not `setup`: side by side, Ansible ends that one after five seconds, which a busy machine may need. All others have `gather_timeout`.
    (tmp_path / "other_facts.py").write_text(OTHER_FACTS)
    play = f"""
- name: Gather other facts and ours
  hosts: all
  gather_facts: true
  gather_timeout: 300
  vars:
    ansible_facts_modules: [other_facts, gpufleet.lmstudio.model_facts]
    ansible_facts_parallel: {parallel}
  module_defaults:
    {defaults_of}:
      url: "{{{{ lmstudio_url }}}}"
      token: "{{{{ lmstudio_token | default({default}) }}}}"
      port: "{{{{ lmstudio_port | default({default}) }}}}"
      timeout: "{{{{ lmstudio_timeout | default({default}) }}}}"
  tasks:
    - name: Both are there, and a dead host is still in the play
      ansible.builtin.assert:
        that:
          - ansible_facts.other == 'gathered'
          - ansible_facts.lmstudio.status == expected
          - ansible_facts.lmstudio.detail == 'loaded'
"""
    hosts = {name: {"lmstudio_url": url, "expected": "ok"} for name, url in fleet.urls.items()}
    hosts["gpu01"]["lmstudio_token"] = TOKENS["gpu01"]
    hosts["gpu03"]["expected"] = "refused"
    run(play, hosts, env={"ANSIBLE_LIBRARY": str(tmp_path)})
    assert "authorization" not in fleet.requests("gpu02")[0]["headers"]


def test_a_slow_host_stays_in_the_play_when_facts_are_gathered_one_after_the_other(run, start):
    """Side by side, Ansible ends a facts module after five seconds, and fails the host."""
    fleet = start({"gpu01": {"fault": "silence"}})
    play = """
- name: Gather facts
  hosts: all
  gather_facts: true
  vars:
    ansible_facts_modules: [ansible.legacy.setup, gpufleet.lmstudio.model_facts]
    ansible_facts_parallel: false
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
      timeout: 6
  tasks:
    - name: The host is still there
      ansible.builtin.assert:
        that: ansible_facts.lmstudio.status == 'timeout'
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}})


@pytest.mark.matrix
def test_who_wins(run, start, tmp_path):
    """Task option, module defaults, the host's variables, the environment; never a netrc file or a proxy of the environment."""
    fleet = start({"gpu01": {}, "gpu02": {}})
    play = """
- name: Ask with tokens from everywhere
  hosts: all
  gather_facts: false
  tasks:
    - name: Host variables, and the environment where there is none
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
    - name: The task wins
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        token: token-of-the-task
      loop: [target, controller]
    - name: Module defaults win over host variables
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      module_defaults:
        group/gpufleet.lmstudio.lmstudio:
          token: token-of-defaults
    - name: An empty option is none
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        token: ""
        port: ""
        timeout: ""
      loop: [target, controller]
"""
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu01"]["lmstudio_token"] = "{{ 'token-of-' ~ inventory_hostname }}"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password stolen\n")
    (tmp_path / ".netrc").chmod(0o600)
    run(
        play,
        hosts,
        "-f",
        "1",
        env={"LM_API_TOKEN": "token-of-environment", "http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"},
    )
    sent = {name: [request["headers"].get("authorization", "").partition(" ")[2] for request in fleet.requests(name)] for name in hosts}
    assert sent["gpu01"] == [TOKENS["gpu01"]] * 2 + ["token-of-the-task"] * 2 + ["token-of-defaults"] * 2 + [TOKENS["gpu01"]] * 2
    assert (
        sent["gpu02"] == ["token-of-environment"] * 2 + ["token-of-the-task"] * 2 + ["token-of-defaults"] * 2 + ["token-of-environment"] * 2
    )


@pytest.mark.matrix
def test_a_vaulted_token_works_at_every_plugin(run, start, tmp_path):
    fleet = start({"gpu01": {"token": TOKENS["gpu01"]}})
    token, key = (vaulted(tmp_path, text) for text in (TOKENS["gpu01"], "the-key-of-the-fleet"))
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "gpu01.yml").write_text(f"lmstudio_token: {token}")
    play = """
- name: Ask with a vaulted token
  hosts: all
  gather_facts: false
  tasks:
    - name: As a host variable
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
    - name: As an option
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        token: "{{ lmstudio_token }}"
      loop: [target, controller]
    - name: In facts and in the lookup
      gpufleet.lmstudio.model_facts:
        url: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=lmstudio_token)[0].url }}"
        token: "{{ lmstudio_token }}"
    - name: All were let in
      ansible.builtin.assert:
        that: ansible_facts.lmstudio.ok
    - name: Judge what was gathered, with the token still there
      gpufleet.lmstudio.model_assert:
        record: "{{ ansible_facts.lmstudio }}"
        require: [{type: llm}]
        token: TOKEN
    - name: In the headers of one host
      gpufleet.lmstudio.model_info:
        via: controller
        headers:
          X-Key: KEY
    - name: In the headers of many
      gpufleet.lmstudio.fleet_info:
        headers:
          X-Key: KEY
      run_once: true
    - name: In the headers of the lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=lmstudio_token, headers=fleet_headers) }}"
      vars:
        fleet_headers:
          X-Key: KEY
"""
    # A vaulted text in the play itself is indented a few spaces more.
    for name, encrypted in (("TOKEN", token), ("KEY", key)):
        play = play.replace(f": {name}\n", ": " + encrypted.replace("\n", "\n      ").rstrip() + "\n")
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}
    outcome = run(play, hosts, "--vault-password-file", "password", "-vvvv")
    assert TOKENS["gpu01"] not in outcome.output and "the-key" not in outcome.output
    assert [request["headers"].get("x-key") for request in fleet.requests("gpu01")] == [None] * 6 + ["the-key-of-the-fleet"] * 3


def test_a_local_connection_of_the_play_counts(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask the loopback address of this very machine
  hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
"""
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "ansible_host": "gpu01.invalid"}}, connection={})
    assert len(fleet.requests("gpu01")) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_the_controller_asks_the_host_where_its_url_is_loopback(run, start):
    fleet = start({"outside": {"listen": "127.0.0.2:0"}, "prefixed": {"listen": "127.0.0.2:0", "prefix": "/lm"}, "gateway": {}})
    port = {name: int(url.rpartition(":")[2].partition("/")[0]) for name, url in fleet.urls.items()}
    play = """
- name: Ask from the controller; no connection to the host is ever made
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: answer
    - name: Where it asked
      ansible.builtin.assert:
        that:
          - answer.lmstudio.url == expected_url
          - answer.lmstudio.status == expected
        fail_msg: "{{ answer.lmstudio.url }} {{ answer.lmstudio.status }}"
"""
    remote = {"ansible_connection": "ssh", "ansible_host": "127.0.0.2", "ansible_port": 9, "expected": "ok"}
    hosts = {
        "by-address": {**remote, "lmstudio_port": port["outside"], "expected_url": fleet.urls["outside"]},
        "loopback": {**remote, "lmstudio_url": f"http://127.0.0.1:{port['outside']}", "expected_url": fleet.urls["outside"]},
        "loopback-port": {
            **remote,
            "lmstudio_url": "http://localhost",
            "lmstudio_port": port["outside"],
            "expected_url": fleet.urls["outside"],
        },
        "loopback-prefix": {**remote, "lmstudio_url": f"http://[::1]:{port['prefixed']}/lm/v1", "expected_url": fleet.urls["prefixed"]},
        "overridden": {
            **remote,
            "lmstudio_url": "http://127.0.0.1:1",
            "lmstudio_port": 2,
            "lmstudio_controller_url": fleet.urls["gateway"],
            "expected_url": fleet.urls["gateway"],
        },
        "127.0.0.2": {
            **remote,
            "ansible_host": "",
            "lmstudio_port": port["outside"],
            "expected_url": fleet.urls["outside"],
        },
        "::1": {"ansible_connection": "ssh", "expected": "not_asked", "lmstudio_port": 9, "expected_url": None},
        "local": {"lmstudio_url": fleet.urls["gateway"], "expected": "ok", "expected_url": fleet.urls["gateway"]},
        "windows": {
            **remote,
            "ansible_connection": "winrm",
            "lmstudio_port": port["outside"],
            "expected_url": fleet.urls["outside"],
        },
    }
    run(play, hosts)


def test_a_url_of_the_task_replaces_url_and_port_of_the_host(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask another server
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        url: "{{ other }}"
      loop: [target, controller]
"""
    run(play, {"gpu01": {"lmstudio_port": 9, "lmstudio_url": "http://127.0.0.1", "other": fleet.urls["gpu01"]}})
    assert len(fleet.requests("gpu01")) == 2


def test_contradicting_host_variables_are_named(run):
    play = """
- name: Ask with a port too many
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      ignore_errors: true
      register: answers
    - name: Both are named
      ansible.builtin.assert:
        that:
          - item is failed
          - says in item.msg
      vars: {says: "lmstudio_port: lmstudio_url 'http://gpu01:1' already names a port"}
      loop: "{{ answers.results }}"
"""
    run(play, {"gpu01": {"lmstudio_url": "http://gpu01:1", "lmstudio_port": 2}})


def test_a_host_variable_that_cannot_be_templated_is_named(run):
    play = """
- name: Ask with a token that is not there
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
"""
    outcome = run(play, {"gpu01": {"lmstudio_token": "{{ vault_token }}"}}, ends=2)
    assert "lmstudio_token of host gpu01 cannot be templated" in outcome.output
    assert "vault_token" in outcome.output


def test_a_windows_host_is_told_to_ask_from_the_controller(run):
    play = """
- name: Ask a Windows host
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
"""
    outcome = run(play, {"win01": {"ansible_connection": "winrm", "ansible_host": "127.0.0.1"}}, ends=2)
    assert "Set via: controller" in outcome.output and "Let it require a token" in outcome.output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_who_asks_for_a_host_is_a_variable_of_it_unless_the_task_says(run, start):
    fleet = start({"win01": {"listen": "127.0.0.2:0"}, "gpu01": {}})
    play = """
- name: Ask each host in its way
  hosts: all
  gather_facts: false
  tasks:
    - name: The task says nothing
      gpufleet.lmstudio.model_info:
        via: "{{ unset | default('') }}"
      register: answer
      ignore_errors: true
    - name: What is not a choice is named by its variable
      ansible.builtin.assert:
        that:
          - (answer is failed) == (inventory_hostname == 'odd')
          - inventory_hostname != 'odd' or 'value of lmstudio_via must be one of' in answer.msg
        fail_msg: "{{ answer.msg | default('no failure') }}"
    - name: Gates
      when: inventory_hostname != 'odd'
      block:
        - name: In a task
          gpufleet.lmstudio.model_assert:
            require: [{model: "*"}]
        - name: In the role
          ansible.builtin.include_role:
            name: gpufleet.lmstudio.require_models
          vars:
            require_models_require: [{model: "*"}]
    - name: The task says who
      gpufleet.lmstudio.model_info:
        via: target
      when: inventory_hostname == 'gpu01'
"""
    windows = {"ansible_connection": "winrm", "ansible_host": "127.0.0.2", "lmstudio_port": int(fleet.urls["win01"].rpartition(":")[2])}
    hosts = {
        "win01": {**windows, "lmstudio_via": "controller"},
        # Nothing listens where the controller would ask.
        "gpu01": {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_controller_url": "http://127.0.0.1:9", "lmstudio_via": "target"},
        "odd": {"lmstudio_via": "nobody"},
    }
    run(play, hosts)
    assert (len(fleet.requests("win01")), len(fleet.requests("gpu01"))) == (3, 4)
    hosts["gpu01"]["lmstudio_via"] = "controller"
    outcome = run(play, {"gpu01": hosts["gpu01"]}, ends=2)
    assert "http://127.0.0.1:9 refused" in outcome.output


def test_a_short_token_gets_a_warning_at_every_plugin(run, start, tmp_path):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask with a short token
  hosts: all
  gather_facts: false
  tasks:
    - name: The plugin
      {task}
"""
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, token: tiny}")
    for task, *sources in (
        ("gpufleet.lmstudio.model_info: {token: tiny}",),
        ("gpufleet.lmstudio.model_info: {token: tiny, via: controller}",),
        ('gpufleet.lmstudio.model_facts: {token: tiny, url: "{{ lmstudio_url }}"}',),
        ("ansible.builtin.debug: {msg: \"{{ query('gpufleet.lmstudio.models', lmstudio_url, token='tiny') }}\"}",),
        ("gpufleet.lmstudio.fleet_info: {token: tiny}\n      run_once: true",),
        ("ansible.builtin.debug: {msg: by the inventory}", "-i", "lmstudio.yml"),
    ):
        outcome = run(play.replace("{task}", task), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, *sources)
        assert "value of token is short" in words(outcome)


@pytest.mark.parametrize("indirect", ["https", "proxy"])
def test_only_tls_and_proxies_need_requests_and_nobody_else_loads_it(run, start, tmp_path, indirect):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask in every way
  hosts: all
  gather_facts: false
  tasks:
    - name: The target needs no library
      gpufleet.lmstudio.model_info:
    - name: Nor does the controller in the clear
      gpufleet.lmstudio.model_info:
        via: controller
    - name: So far nobody has loaded it
      ansible.builtin.assert:
        that: noted is not exists
    - name: This does
      gpufleet.lmstudio.model_info:
        via: controller
        url: "{{ indirect_url }}"
        use_proxy: "{{ indirect_proxy }}"
      ignore_errors: true
      register: answer
    - name: It says which
      ansible.builtin.assert:
        that:
          - answer is failed
          - "'into the Python that runs Ansible: pip install --upgrade requests urllib3' in answer.msg"
"""
    (tmp_path / "blocked").mkdir()
    noted = tmp_path / "imported"
    (tmp_path / "blocked" / "requests.py").write_text(f"open({str(noted)!r}, 'w').close()\nraise ImportError('blocked by a test')\n")
    url = fleet.urls["gpu01"]
    hosts = {
        "gpu01": {
            "lmstudio_url": url,
            "indirect_url": url.replace("http://", "https://") if indirect == "https" else url,
            "indirect_proxy": indirect == "proxy",
            "noted": str(noted),
        }
    }
    run(play, hosts, env={"PYTHONPATH": str(tmp_path / "blocked")})
    assert noted.exists()


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
def test_a_host_that_cannot_be_reached_is_unreachable(run):
    play = """
- name: Ask a host that is down
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
"""
    down = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    outcome = run(play, {"gpu01": down}, ends=4)
    assert "unreachable=1" in outcome.output
