# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each plugin does when a server fails, and that nothing of a token is ever seen."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests import transports

TOKEN = "sk-lm-Zq81x7Kw0pVt5"
# Other variants of these faults differ for the transports alone.
_ALIKE = (
    "unexpected_endpoint_404",
    "empty_body",
    "echoed_token",
    "redirect_nowhere",
    "redirect_endless",
    "gzip_bomb",
    "chunked",
    "cut_off_chunk",
)
STATUS_OF_FAULT = {fault: status for fault, status in transports.STATUS_OF_FAULT.items() if fault not in _ALIKE}
FIRST_OF_STATUS = {status: fault for fault, status in reversed(STATUS_OF_FAULT.items())}
UNREACHABLE = {
    "dns": ("http://gpu01.invalid:1234", "dns"),
    "tls": ("https://{authority}", "tls"),
}

EVERY_PLUGIN = """
- name: Ask through every plugin
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
      timeout: "{{ lmstudio_timeout | default(10) }}"
      max_response_bytes: 1000000
    gpufleet.lmstudio.model_info:
      max_response_bytes: 1000000
  tasks:
    - name: From the target, where model_info fails by default, and has the record all the same
      gpufleet.lmstudio.model_info:
      register: target
      ignore_errors: true
    - name: From the controller, which reports
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: controller
    - name: As facts, by a module that asks with the same code, so for each status once
      gpufleet.lmstudio.model_facts:
      when: gives_facts
    - name: From the lookup
      ansible.builtin.set_fact:
        looked_up: >-
          {{ query('gpufleet.lmstudio.models', lmstudio_url, on_error='report', timeout=lmstudio_timeout | default(10), max_response_bytes=1000000) }}
    - name: From the fleet action
      gpufleet.lmstudio.fleet_info:
        max_response_bytes: 1000000
        timeout: 20
      run_once: true
      register: fleet
    - name: From the gate of each host
      gpufleet.lmstudio.model_assert:
        via: controller
        require: [{type: llm, state: unloaded}]
        max_response_bytes: 1000000
      ignore_errors: true
      register: judged
    - name: From the assertion over the fleet
      gpufleet.lmstudio.fleet_assert:
        require: [{type: llm, state: unloaded}]
        max_response_bytes: 1000000
        timeout: 20
        quiet: false
      run_once: true
      ignore_errors: true
      register: gate
    - name: All tell the same
      ansible.builtin.assert:
        that:
          - target.lmstudio.status == expected
          - controller.lmstudio.status == expected
          - not gives_facts or ansible_facts.lmstudio.status == expected
          - looked_up | map(attribute='status') == [expected]
          - fleet.hosts[inventory_hostname].status == expected
          - gate.hosts[inventory_hostname].status == expected and gate.hosts[inventory_hostname].error == fleet.hosts[inventory_hostname].error
          - expected == 'ok' or judged is failed and judged.violations | map(attribute='actual') == [expected]
          - expected == 'ok' or gate is failed and gate.reasons[inventory_hostname] == fleet.hosts[inventory_hostname].error.message
          - lmstudio_record.status == expected
          - target.lmstudio.ok is sameas (expected == 'ok')
          - target.lmstudio.error == controller.lmstudio.error
          # Where a token may come from differs, and so does the next step for it.
          - not gives_facts or (target.lmstudio.error or {}) | combine(next_step) == (ansible_facts.lmstudio.error or {}) | combine(next_step)
          - (target.lmstudio.error or {}) | combine(next_step) == (looked_up[0].error or {}) | combine(next_step)
          - (target.lmstudio.error or {}) | combine(next_step) == (fleet.hosts[inventory_hostname].error or {}) | combine(next_step)
          - (target.lmstudio.error or {}) | combine(next_step) == (lmstudio_record.error or {}) | combine(next_step)
          - expected != 'auth' or gives_facts and 'lmstudio_token counts here only where token is set to it' in ansible_facts.lmstudio.error.hint
          - expected != 'auth' or 'Variables of hosts do not count for a URL' in looked_up[0].error.hint
          - expected != 'auth' or 'LM_API_TOKEN is not used here' in fleet.hosts[inventory_hostname].error.hint
          - expected != 'auth' or lmstudio_record.error.hint == fleet.hosts[inventory_hostname].error.hint
          - target.lmstudio.keys() == lmstudio_record.keys()
          - not gives_facts or target.lmstudio.keys() == ansible_facts.lmstudio.keys()
          - target.lmstudio.url == lmstudio_url
          - target is not changed and controller is not changed
      vars:
        next_step: "{{ {'hint': ''} if expected == 'auth' else {} }}"
    - name: From the controller model_info fails by default, too
      gpufleet.lmstudio.model_info:
        via: controller
      register: failing
      ignore_errors: true
    - name: With one sentence that says all
      ansible.builtin.assert:
        that:
          - (item is failed) is sameas (expected != 'ok')
          - expected == 'ok' or lmstudio_url in item.msg
          - expected == 'ok' or item.msg == target.lmstudio.error.message ~ ' ' ~ target.lmstudio.error.hint
          - item.lmstudio.status == expected
      loop: "{{ [target, failing] }}"
      loop_control: {label: x}
    - name: By default the lookup fails
      ansible.builtin.set_fact:
        unexpected: "{{ lookup('gpufleet.lmstudio.models', lmstudio_url, timeout=lmstudio_timeout | default(10), max_response_bytes=1000000) }}"
      register: failing
      ignore_errors: true
    - name: With the same sentence
      ansible.builtin.assert:
        that:
          - (failing is failed) is sameas (expected != 'ok')
          - expected == 'ok' or target.lmstudio.error.message in failing.msg
          - expected == 'ok' or looked_up[0].error.hint in failing.msg
"""


def test_every_row_of_the_error_table_at_every_plugin(run, start, tmp_path):
    fleet = start({**{fault: {"fault": fault} for fault in STATUS_OF_FAULT}, "plain": {}})
    hosts = {
        fault.replace("_", "-"): {
            "lmstudio_url": fleet.urls[fault],
            "lmstudio_timeout": 1 if status == "timeout" else 20,
            "expected": status,
            "gives_facts": FIRST_OF_STATUS[status] == fault,
        }
        for fault, status in STATUS_OF_FAULT.items()
    }
    for name, (url, status) in UNREACHABLE.items():
        url = url.format(authority=fleet.urls["plain"].partition("//")[2])
        hosts[name] = {"lmstudio_url": url, "expected": status, "gives_facts": True}
    source = {"plugin": "gpufleet.lmstudio.lmstudio", "hosts": "all", "max_response_bytes": 1000000, "timeout": 20}
    (tmp_path / "lmstudio.yml").write_text(yaml.safe_dump(source))
    outcome = run(EVERY_PLUGIN, hosts, "-i", "lmstudio.yml")
    recap = re.findall(r"ok=(\d+) .*failed=0 +skipped=(\d)", outcome.output)
    # All are asked for facts, or skipped, and two tasks more are on the host that runs the fleet actions.
    assert sorted({int(ok) + int(skipped) for ok, skipped in recap}) == [10, 12] and len(recap) == len(hosts)
    assert sum(skipped == "0" for _ok, skipped in recap) == len(set(STATUS_OF_FAULT.values()) | set(UNREACHABLE))


SECRETIVE = """
- name: Show as much as Ansible can
  hosts: all
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{ lmstudio_token }}"
  tasks:
    - name: Every plugin
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      ignore_errors: true
      register: answer
    - name: A gate
      gpufleet.lmstudio.model_assert:
        via: "{{ item }}"
        require: [{model: nothing}]
      loop: [target, controller]
      ignore_errors: true
      register: gate
    - name: Facts
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
        detail: full
    - name: Lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=lmstudio_token, on_error='warn') }}"
    - name: The fleet
      gpufleet.lmstudio.fleet_info:
        token: "{{ lmstudio_token }}"
        on_error: fail
      run_once: true
      register: fleet
      ignore_errors: true
    - name: A gate for the fleet
      gpufleet.lmstudio.fleet_assert:
        require: [{model: nothing}]
        quiet: false
      run_once: true
      register: together
      ignore_errors: true
    - name: Options of a wrong type for the fleet
      gpufleet.lmstudio.fleet_info:
        token: "{{ lmstudio_token }}"
        headers: "{{ lmstudio_token }}"
      run_once: true
      ignore_errors: true
    - name: All that the inventory and the fleet tell
      ansible.builtin.debug:
        msg: "{{ [lmstudio_record, ansible_facts.lmstudio, fleet, gate, together] }}"
    - name: A lookup that fails
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=lmstudio_token) }}"
      ignore_errors: true
    - name: All that was returned
      ansible.builtin.debug:
        var: answer

- name: Fail before anything is asked, which is the same at each host
  hosts: healthy
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{ lmstudio_token }}"
  tasks:
    - name: A gate that cannot be used
      gpufleet.lmstudio.model_assert:
        via: "{{ item }}"
        require: [{model: nothing, headers: "{{ lmstudio_token }}"}]
        headers: "{{ lmstudio_token }}"
      loop: [target, controller]
      ignore_errors: true
    - name: Options that cannot be used
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        token: "{{ lmstudio_token }} {{ lmstudio_token }}"
      loop: [target, controller]
      ignore_errors: true
    - name: Options of a wrong type
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        headers: "{{ lmstudio_token }}"
        port: many
      loop: [target, controller]
      ignore_errors: true
    - name: The same in a lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url, **item) }}"
      loop:
        - headers: "{{ lmstudio_token }}"
        - token: ["{{ lmstudio_token }}"]
      loop_control: {label: x}
      ignore_errors: true
"""


@pytest.mark.matrix
def test_no_output_holds_a_token_or_its_beginning(run, start, tmp_path):
    faults = ["unauthorized", "echoed_token", "echoed_headers", "forbidden", "server_error", "redirect", "unavailable"]
    fleet = start({**{fault: {"fault": fault} for fault in faults}, "healthy": {"token": TOKEN}, "other": {"token": "another"}})
    hosts = {name.replace("_", "-"): {"lmstudio_url": url, "lmstudio_token": TOKEN} for name, url in fleet.urls.items()}
    (tmp_path / "lmstudio.yml").write_text(f"{{plugin: gpufleet.lmstudio.lmstudio, hosts: all, cache: true, token: {TOKEN}}}")
    outcome = run(
        SECRETIVE,
        hosts,
        "-vvvv",  # which shows all that -v does, and more
        "-i",
        "lmstudio.yml",
        env={
            "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts"),
        },
    )
    assert "does not accept the token" in outcome.output
    written = [outcome.output, (tmp_path / "ansible.log").read_text()]
    cached = [path.read_text() for path in (tmp_path / "facts").iterdir()]
    # A file of facts for each host, and one of the inventory.
    assert len(cached) == len(hosts) + 1
    for text in written + cached:
        assert TOKEN[:10] not in text
    for name, url in fleet.urls.items():
        authority = {request["headers"].get("authorization") for request in fleet.requests(name)}
        assert authority == {"Bearer " + TOKEN}, url


def test_a_token_of_the_environment_is_as_secret(run, start):
    fleet = start({"gpu01": {"fault": "echoed_token"}})
    play = """
- name: Ask with the token of the environment
  hosts: all
  gather_facts: false
  tasks:
    - name: The module on the target, the action, and the lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url) }}"
    - name: Both ways
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
"""
    outcome = run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, "-vvvv", env={"LM_API_TOKEN": TOKEN})
    assert TOKEN[:10] not in outcome.output
    assert [request["headers"]["authorization"] for request in fleet.requests("gpu01")] == ["Bearer " + TOKEN] * 3


def test_a_url_with_userinfo_is_refused_and_not_shown(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Ask with a password in the URL
  hosts: all
  gather_facts: false
  tasks:
    - name: The module
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
      loop: [target, controller]
      ignore_errors: true
      register: answers
    - name: The facts module
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
      ignore_errors: true
      register: facts
    - name: The lookup
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', lmstudio_url) }}"
      ignore_errors: true
      register: looked_up
    - name: Each says what to do
      ansible.builtin.assert:
        that:
          - item is failed
          - "'Remove the part before the @' in item.msg"
      loop: "{{ answers.results + [facts, looked_up] }}"
"""
    url = fleet.urls["gpu01"].replace("//", "//somebody:hunter2hunter2@")
    outcome = run(play, {"gpu01": {"lmstudio_url": url}}, "-vvvv")
    assert "hunter2" not in outcome.output
    assert fleet.requests("gpu01") == []


BAD_OPTIONS = [
    ({"url": "ftp://127.0.0.1"}, "url: 'ftp://127.0.0.1' has an unknown scheme"),
    ({"url": "127.0.0.1:1234"}, "url: '127.0.0.1:1234' is not a URL"),
    ({"url": "URL", "port": 4321}, "port: url 'http"),
    ({"url": "", "port": 0}, "port: 0 is not a port"),
    ({"url": "URL", "timeout": 0}, "timeout: 0 is not a usable number of seconds"),
    ({"url": "URL", "ca_path": "/no/such/file.pem"}, "ca_path: '/no/such/file.pem' does not exist on "),
    ({"url": "URL", "client_cert": "/no/such/file.pem"}, "client_cert: it needs client_key"),
    ({"url": "URL", "headers": {"a b": 1}}, "headers: header 1 does not have a valid name"),
    ({"url": "URL", "max_response_bytes": -1}, "max_response_bytes: -1 is not"),
    ({"url": "URL", "timeout": "soon"}, "timeout"),
    ({"url": "URL", "detail": "some"}, "detail"),
    ({"url": "URL", "tokn": "x"}, "tokn"),
    ({"url": "URL", "concurrency": 0}, "concurrency"),
]
# The module has the options of model_info and checks them with the same code: one of each kind.
ASKED_OF_FACTS = {
    "port: 0 is not a port",
    "timeout: 0 is not a usable number of seconds",
    "ca_path: '/no/such/file.pem' does not exist on ",
    "timeout",
    "detail",
    "tokn",
}
FACTS = """
    - gpufleet.lmstudio.model_facts: {options}
      ignore_errors: true
      register: facts{number}
"""


def test_options_that_cannot_be_used_fail_by_name_before_any_request(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Use options that cannot be used
  hosts: all
  gather_facts: false
  tasks:
"""
    assert {says for _options, says in BAD_OPTIONS} >= ASKED_OF_FACTS
    for number, (options, says) in enumerate(BAD_OPTIONS):
        failing = ["target", "controller", *(["facts"] if says in ASKED_OF_FACTS else [])]
        options = {name: fleet.urls["gpu01"] if value == "URL" else value for name, value in options.items()}
        lookup = {name: value for name, value in options.items() if name != "url"}
        play += f"""
    - gpufleet.lmstudio.model_info: {options | {"via": "target", "on_error": "report"}}
      ignore_errors: true
      register: target{number}
    - gpufleet.lmstudio.model_info: {options | {"via": "controller", "on_error": "report"}}
      ignore_errors: true
      register: controller{number}
{FACTS.format(options=options, number=number) if "facts" in failing else ""}
    - ansible.builtin.debug:
        msg: "{{{{ query('gpufleet.lmstudio.models', url, **options) }}}}"
      vars: {{url: "{options["url"] or fleet.urls["gpu01"]}", options: {lookup}}}
      ignore_errors: true
      register: lookup{number}
    - ansible.builtin.assert:
        that:
          - item is failed
          - says in item.msg
          - item.lmstudio is not defined
        quiet: true
      vars:
        says: "{says}"
      loop: {json.dumps([f"{{{{ {name}{number} }}}}" for name in failing])}
      loop_control: {{label: "{says}"}}
"""
        if options["url"] != "127.0.0.1:1234":  # For a lookup that is a name with a port.
            play += f"""
    - ansible.builtin.assert:
        that:
          - lookup{number} is failed
          - says in lookup{number}.msg
      vars:
        says: "{says.partition(":")[0] if "url" not in says else "port" if "beside" in says else "term 1"}"
"""
    run(play, {"gpu01": {}})
    assert fleet.requests("gpu01") == []


def test_terms_that_cannot_be_asked_are_named(run, start):
    fleet = start({"gpu01": {}})
    play = """
- name: Name terms that cannot be asked
  hosts: localhost
  gather_facts: false
  tasks:
"""
    for number, term in enumerate(['""', "gpu 01", "ftp://gpu01", '"gpu01:0"', "{a: b}", "http://a:b@gpu01"]):
        play += f"""
    - ansible.builtin.debug:
        msg: "{{{{ query('gpufleet.lmstudio.models', url, term) }}}}"
      vars:
        url: {fleet.urls["gpu01"]}
        term: {term}
      ignore_errors: true
      register: answer{number}
    - ansible.builtin.assert:
        that:
          - answer{number} is failed
          - "'term 2: ' in answer{number}.msg"
"""
    run(play, {"localhost": {}})
    assert fleet.requests("gpu01") == []


def test_a_lookup_names_every_server_that_failed(run, start):
    fleet = start({"a": {"fault": "refused"}, "b": {}, "c": {"fault": "unavailable"}})
    play = """
- name: Ask three servers of which two fail
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Warn, and have three records in order
      ansible.builtin.set_fact:
        answers: "{{ query('gpufleet.lmstudio.models', *urls, on_error='warn') }}"
    - name: In order
      ansible.builtin.assert:
        that: answers | map(attribute='status') == ['refused', 'ok', 'unavailable']
    - name: Fail
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', urls) }}"
      ignore_errors: true
      register: answer
    - name: Both are named
      ansible.builtin.assert:
        that:
          - answer is failed
          - urls[0] ~ ' refused' in answer.msg
          - urls[2] ~ ' answered HTTP 503' in answer.msg
"""
    outcome = run(play, {"localhost": {"urls": list(fleet.urls.values())}})
    warnings = re.findall(r"WARNING\]: +(?:[^\n]|\n(?!\[))*", outcome.output)
    assert any(fleet.urls["a"] in text for text in warnings) and any(fleet.urls["c"] in text for text in warnings)


def test_a_lookup_names_every_host_that_failed(run, start):
    fleet = start({"a": {"fault": "refused"}, "b": {}, "c": {"fault": "unavailable"}})
    play = """
- name: Ask three hosts of which two fail
  hosts: a
  gather_facts: false
  tasks:
    - name: Ask
      ansible.builtin.debug:
        msg: "{{ query('gpufleet.lmstudio.models', groups['all']) }}"
      ignore_errors: true
      register: answer
    - name: Each is named beside its URL
      ansible.builtin.assert:
        that:
          - answer is failed
          - "('a: ' ~ hostvars.a.lmstudio_url ~ ' refused') in answer.msg"
          - "('c: ' ~ hostvars.c.lmstudio_url ~ ' answered HTTP 503') in answer.msg"
"""
    run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
