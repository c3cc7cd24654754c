# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A secret goes to the server it belongs to, and to no other; and what is wrong with one is said without showing it."""

from __future__ import annotations

import itertools
import json
import re
import sys

import pytest
import trustme
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, run_in, sent_to, vaulted, words
from ansible_collections.gpufleet.lmstudio.tests.raw_server import Answering, http

SSH = {"ansible_connection": "ssh"}
NAMES = [f"gpu{number:02}" for number in range(4)]
WITHOUT_TOKEN = "gpu02"
ENVIRONMENT = "token-of-environment"


def token_of(name):
    return f"token-of-{name}-0123456789"


UNLOAD = {"model": "qwen/qwen3-8b", "state": "unloaded"}
OWN, OTHER = "{{ own_url }}", "{{ hostvars[other].own_url }}"
KEYWORDS = [
    {},
    {"delegate_to": "localhost"},
    {"delegate_to": "{{ other }}"},
    {"loop": ["localhost", "{{ other }}", "{{ inventory_hostname }}"], "delegate_to": "{{ item }}"},
    {"environment": {"LM_API_TOKEN": ENVIRONMENT}},
    {"run_once": True},
    {"run_once": True, "delegate_to": "{{ other }}"},
]


def query_of(terms):
    return {
        "ansible.builtin.set_fact": {
            "asked": f"{{{{ query('gpufleet.lmstudio.models', {terms}on_error='report') | map(attribute='url') }}}}"
        }
    }


def from_target():
    """What runs a module, in every way that keywords and a URL change it."""
    for keyword, url in itertools.product(KEYWORDS[:5], (None, OWN, OTHER)):
        yield {"gpufleet.lmstudio.model_info": {"on_error": "report", **({"url": url} if url else {})}, **keyword}
    for keyword in KEYWORDS[:3]:
        yield {"gpufleet.lmstudio.model_assert": {"require": [{"type": "llm"}], "quiet": True}, **keyword}
        yield {"gpufleet.lmstudio.model": UNLOAD, **keyword}
        yield {"gpufleet.lmstudio.model_facts": {"token": "{{ lmstudio_token }}", "url": OWN}, **keyword}


def from_controller():
    """The same for what asks one host from the controller, and what asks many."""
    for keyword, url in itertools.product(KEYWORDS, (None, OWN, OTHER)):
        options = {"via": "controller", **({"url": url} if url else {})}
        yield {"gpufleet.lmstudio.model_info": {**options, "on_error": "report"}, **keyword}
        yield {"gpufleet.lmstudio.model_assert": {**options, "require": [{"type": "llm"}], "quiet": True}, **keyword}
        yield {"gpufleet.lmstudio.model": {**options, **UNLOAD}, **keyword}
    yield from of_many()


def in_batches():
    """Some of what asks one host, and all of what asks many, which see a part of them only under `serial`."""
    for keyword in KEYWORDS:
        yield {"gpufleet.lmstudio.model_info": {"via": "controller", "on_error": "report"}, **keyword}
    yield from of_many()


def of_many():
    """What asks many hosts, in a task and in expressions."""
    for keyword in KEYWORDS:
        # Defaults that are templates see the variables of one host.
        for options in ({}, {"hosts": "all"}, {"hosts": "all", "token": "{{ lmstudio_token }}"}):
            yield {"gpufleet.lmstudio.fleet_info": options, **keyword, "run_once": True}
            yield {"gpufleet.lmstudio.fleet_assert": {**options, "require": [{"type": "llm"}]}, **keyword, "run_once": True}
        for terms in ("", "other, inventory_hostname, ", "hostvars[other].own_url, ", "groups['all'], token=lmstudio_token, "):
            yield {**query_of(terms), **keyword}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize("who", ["target", "controller", "serial"])
def test_no_token_is_ever_at_another_server(run, start, tmp_path, who):
    # Nobody is turned away, so that a wrong token would be accepted as well as the right one.
    fleet = start({name: {"listen": f"127.30.0.{number}:0", "payload": "mac.json"} for number, name in enumerate(NAMES, 1)})
    target = who == "target"
    hosts = {}
    for number, name in enumerate(NAMES):
        url = fleet.urls[name]
        address, port = url.rpartition("/")[2].split(":")
        hosts[name] = {"lmstudio_token": token_of(name), "other": NAMES[number - 1], "own_url": url}
        hosts[name] |= {**LOCAL, "lmstudio_url": url} if target else {**SSH, "ansible_host": address, "lmstudio_port": int(port)}
    del hosts[WITHOUT_TOKEN]["lmstudio_token"]
    asking = {"target": from_target, "controller": from_controller, "serial": in_batches}[who]
    tasks = [{"name": "Ask", "ignore_errors": True, **task} for task in asking()]
    # Modules take long, so some of the hosts run them, and all could be asked.
    batch = {"hosts": "gpu00:gpu03"} if target else {"hosts": f"all:!{WITHOUT_TOKEN}"}
    plays = [{"name": "Ask", "gather_facts": False, "tasks": tasks, **batch, **({"serial": 2} if "serial" in who else {})}]
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    outcome = run(yaml.safe_dump(plays, sort_keys=False), hosts, "-i", "lmstudio.yml", connection={})
    for name in NAMES:
        sent = sent_to(fleet, name)
        own = {f"Bearer {token_of(name)}"} if name != WITHOUT_TOKEN else set()
        assert set(sent) <= {None, f"Bearer {ENVIRONMENT}", *own}, name
        assert own <= set(sent)
        assert token_of(name) not in outcome.output
    busy = sent_to(fleet, "gpu00" if target else "gpu01")
    assert busy.count(f"Bearer {token_of('gpu00' if target else 'gpu01')}") >= 10


NUMBER = 123456789012345678
# What the first host has, and the options and keywords that say it for all.
FORMS = [
    ({"lmstudio_token": NUMBER}, '{token: "{{ lmstudio_token }}"}', "token=lmstudio_token"),
    ({"lmstudio_token": NUMBER}, '{headers: {X-Key: "{{ lmstudio_token }}"}}', "headers={'X-Key': lmstudio_token | string}"),
    ({"lmstudio_token": str(NUMBER)}, '{headers: {X-Key: "key={{ lmstudio_token }}"}}', "headers={'X-Key': 'key=' ~ lmstudio_token}"),
    ({"lmstudio_headers": {"X-Key": NUMBER}}, '{headers: "{{ lmstudio_headers }}"}', "headers=lmstudio_headers"),
    ({"lmstudio_headers": json.dumps({"X-Key": str(NUMBER)})}, '{headers: "{{ lmstudio_headers }}"}', "headers=lmstudio_headers"),
    ({"lmstudio_headers": {"X-Key": str(NUMBER)}}, "{token: \"{{ lmstudio_headers['X-Key'] }}\"}", "token=lmstudio_headers['X-Key']"),
]


def test_the_guard_against_the_first_hosts_secret_knows_all_its_forms(run, start):
    """A play for each form, with two hosts of its own."""
    fleet = start({f"{whose}-{number}": {} for number in range(len(FORMS)) for whose in ("first", "other")})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    plays = ""
    for number, (own, options, keywords) in enumerate(FORMS):
        hosts[f"first-{number}"] |= own
        plays += f"""
- name: Ask with defaults that are templates
  hosts: first-{number},other-{number}
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info: {options}
      run_once: true
    - name: Ask in an expression
      ansible.builtin.set_fact:
        asked: "{{{{ query('gpufleet.lmstudio.models', ansible_play_hosts, {keywords}) }}}}"
      run_once: true
"""
    outcome = run(plays, hosts)
    for number, form in enumerate(FORMS):
        first, other = (fleet.requests(f"{whose}-{number}") for whose in ("first", "other"))
        assert len(first) == len(other) == 2, form
        assert all(str(NUMBER) in str(request["headers"]) for request in first), form
        assert not [request for request in other if str(NUMBER) in str(request["headers"])], form
        assert f"so it is not sent to hosts that have none: other-{number}" in words(outcome), form


def test_an_expression_does_not_send_what_a_server_reads_as_the_hosts_secret_to_others(run, start):
    forms = [
        ({"lmstudio_token": str(NUMBER)}, "headers={'Authorization': 'Basic ' ~ ('api:' ~ lmstudio_token) | b64encode}"),
        ({"lmstudio_token": "abc1234"}, "headers={'Authorization': 'Bearer ' ~ lmstudio_token}"),
        ({"lmstudio_headers": {"Authorization": f"Bearer {NUMBER}"}}, "token=lmstudio_headers.Authorization.split()[1]"),
    ]
    fleet = start({f"{whose}-{number}": {} for number in range(len(forms)) for whose in ("first", "other")})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    plays = []
    for number, (own, keywords) in enumerate(forms):
        hosts[f"first-{number}"] |= own
        asking = {"ansible.builtin.set_fact": {"asked": f"{{{{ query('gpufleet.lmstudio.models', ansible_play_hosts, {keywords}) }}}}"}}
        tasks = [{"name": "Ask", "run_once": True, **asking}]
        plays.append({"name": "Ask", "hosts": f"first-{number},other-{number}", "gather_facts": False, "tasks": tasks})
    outcome = words(run(yaml.safe_dump(plays, sort_keys=False), hosts))
    for number, form in enumerate(forms):
        assert sent_to(fleet, f"first-{number}") != [None] and sent_to(fleet, f"other-{number}") == [None], form
        assert f"so it is not sent to hosts that have none: other-{number}." in outcome, form


KEY = "key-of-the-first-0123456789"
INFO_OF_ALL, DEFAULTS = "gpufleet.lmstudio.fleet_info", "group/gpufleet.lmstudio.lmstudio"
MINE = {"mine": KEY}
# Variables of the first host, the task that asks both, and keywords of its play. Nothing of it may get to the other host.
FOR_ONE = {
    "a variable of any name": (MINE, {INFO_OF_ALL: {"token": "{{ mine }}"}}, {}),
    "with a default": (MINE, {INFO_OF_ALL: {"token": "{{ mine | default('none') }}"}}, {}),
    "by another variable": (MINE, {INFO_OF_ALL: {"token": "{{ any }}"}}, {"vars": {"any": "{{ mine | default('none') }}"}}),
    "of the play": ({}, {INFO_OF_ALL: {"token": "{{ any }}"}}, {"vars": {"any": "key-of-{{ inventory_hostname }}"}}),
    "of a file": ({}, {INFO_OF_ALL: {"token": "{{ any }}"}}, {"vars_files": ["{{ inventory_hostname }}.yml"]}),
    "of a loop": (MINE, {INFO_OF_ALL: {"token": "{{ item }}"}, "loop": ["{{ mine }}"], "loop_control": {"label": "it"}}, {}),
    "defaults of the group": (MINE, {INFO_OF_ALL: None}, {"module_defaults": {DEFAULTS: {"token": "{{ mine }}"}}}),
    "defaults of the module": (MINE, {INFO_OF_ALL: {}}, {"module_defaults": {INFO_OF_ALL: {"headers": {"X-Key": "{{ mine }}"}}}}),
    "defaults of the task": (MINE, {INFO_OF_ALL: None, "module_defaults": {INFO_OF_ALL: {"token": "{{ mine }}"}}}, {}),
    "defaults as a template": (MINE, {INFO_OF_ALL: None}, {"module_defaults": {INFO_OF_ALL: "{{ {'token': mine} }}"}}),
    "defaults that an include applies": (
        MINE,
        {
            "ansible.builtin.include_tasks": {
                "file": "included.yml",
                "apply": {"module_defaults": {DEFAULTS: {"token": "{{ mine | default('') }}"}}},
            }
        },
        {},
    ),
    "variables that an include applies": (
        MINE,
        {"ansible.builtin.include_tasks": {"file": "any.yml", "apply": {"vars": {"any": "{{ mine | default('') }}"}}}},
        {},
    ),
    "the loop of an include": (
        MINE,
        {
            "ansible.builtin.include_tasks": "any.yml",
            "loop": ["{{ mine | default('') }}"],
            "loop_control": {"loop_var": "any", "label": "it"},
        },
        {},
    ),
    "arguments as a template": ({"mine": {"token": KEY}}, {INFO_OF_ALL: "{{ mine }}"}, {}),
    "free form": (MINE, {INFO_OF_ALL: "token={{ mine }}"}, {}),
    "encoded": (
        {"lmstudio_token": KEY},
        {INFO_OF_ALL: {"headers": {"Authorization": "Basic {{ ('api:' ~ lmstudio_token) | b64encode }}"}}},
        {},
    ),
    "a part": (
        {"lmstudio_headers": {"Authorization": f"Bearer {KEY}"}},
        {INFO_OF_ALL: {"token": "{{ lmstudio_headers.Authorization.split()[1] }}"}},
        {},
    ),
    "short": ({"lmstudio_token": "abc1234"}, {INFO_OF_ALL: {"headers": {"Authorization": "Bearer {{ lmstudio_token }}"}}}, {}),
    "an assertion": (MINE, {"gpufleet.lmstudio.fleet_assert": {"token": "{{ mine }}", "require": [{"type": "llm"}]}}, {}),
}


@pytest.mark.matrix
def test_a_template_is_for_all_hosts_only_where_it_comes_to_the_same(run, start, tmp_path):
    """A play for each form, with two hosts of its own."""
    fleet = start({f"{whose}-{number}": {} for number in range(len(FOR_ONE)) for whose in ("first", "other")})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    plays = []
    for number, (own, task, keywords) in enumerate(FOR_ONE.values()):
        hosts[f"first-{number}"] |= own
        tasks = [{"name": "Ask", "run_once": True, **task}]
        plays.append({"name": "Ask", "hosts": f"first-{number},other-{number}", "gather_facts": False, "tasks": tasks, **keywords})
    for name in hosts:
        (tmp_path / f"{name}.yml").write_text(f"any: key-of-{name}\n")
    for name, options in (("included", None), ("any", {"token": "{{ any }}"})):
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump([{"name": "Ask", INFO_OF_ALL: options, "run_once": True}]))
    outcome = words(run(yaml.safe_dump(plays, sort_keys=False), hosts))
    for number, form in enumerate(FOR_ONE):
        (first,), (other,) = (
            [{"authorization", "x-key"} & set(request["headers"]) for request in fleet.requests(f"{whose}-{number}")]
            for whose in ("first", "other")
        )
        assert first and not other, form
        withheld = (f"other-{number}. So it is not sent to them.", f"so it is not sent to hosts that have none: other-{number}. ")
        assert any(each in outcome for each in withheld), form
    assert KEY not in outcome


@pytest.mark.matrix
def test_a_template_that_comes_to_the_same_is_for_all_hosts(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    hosts = {name: {"lmstudio_url": url, "ours": KEY} for name, url in fleet.urls.items()}
    hosts["gpu01"]["mine"] = "of-gpu01-alone-0123456789"
    cases = [
        ({"token": "{{ ours }}"}, {}),
        ({"token": "{{ any }}"}, {"vars": {"any": "{{ ours }}"}}),
        ({"token": "{{ any }}"}, {"vars": {"any": KEY}}),
        ({"token": "{{ lmstudio_token }}"}, {"vars": {"lmstudio_token": "{{ ours }}"}}),
        ({"token": "{{ hostvars.gpu01.ours }}"}, {}),
        ({"token": "{{ lookup('ansible.builtin.env', 'TOKEN_OF_ALL') }}"}, {}),
        (None, {"module_defaults": {DEFAULTS: {"token": "{{ ours }}"}}}),
        ({"token": KEY}, {"module_defaults": {DEFAULTS: {"token": "{{ mine }}"}}}),
        ({"headers": {"Authorization": "Bearer {{ ours }}", "X-Key": "{{ mine }}"}}, {}),
    ]
    plays = [
        {
            "name": "Ask",
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"name": "Ask", "run_once": True, INFO_OF_ALL: options}],
            **keywords,
        }
        for options, keywords in cases
    ]
    outcome = words(run(yaml.safe_dump(plays, sort_keys=False), hosts, env={"TOKEN_OF_ALL": KEY}))
    for name in fleet.urls:
        assert sent_to(fleet, name) == [f"Bearer {KEY}"] * len(cases), name
    assert [request["headers"].get("x-key") for request in fleet.requests("gpu02")] == [None] * len(cases)
    assert outcome.count("is a template that has another value, or none,") == 1


@pytest.mark.parametrize("source", ["play", "file"])
def test_a_secret_that_the_play_has_for_one_host_is_no_default_for_others(run, start, tmp_path, source):
    fleet = start({"gpu01": {}, "gpu02": {}})
    for name in fleet.urls:
        (tmp_path / f"{name}.yml").write_text(f"lmstudio_token: {token_of(name)}\n")
    whose = {
        "play": "vars: {lmstudio_token: \"{{ 'token-of-' ~ inventory_hostname ~ '-0123456789' }}\"}",
        "file": 'vars_files: ["{{ inventory_hostname }}.yml"]',
    }
    play = f"""
- name: Ask with a token of the play
  hosts: all
  gather_facts: false
  {whose[source]}
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{{{ lmstudio_token | default('') }}}}"
  tasks:
    - name: Ask all
      gpufleet.lmstudio.fleet_info:
      run_once: true
"""
    outcome = run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
    assert sent_to(fleet, "gpu01") == [f"Bearer {token_of('gpu01')}"] and sent_to(fleet, "gpu02") == [None]
    assert "token is a template that has another value, or none, for hosts without lmstudio_token: gpu02. So" in words(outcome)
    # It is one also where it stands in front of a variable of the inventory, or of another one of the play.
    before = {name: len(fleet.requests(name)) for name in fleet.urls}
    of_inventory = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    of_inventory["gpu01"]["lmstudio_token"] = "token-of-the-inventory-01"
    beside = "\n  vars: {lmstudio_token: the-token-of-all-0123}" if source == "file" else ""
    run(play.replace(whose[source], whose[source] + beside), of_inventory)
    assert sent_to(fleet, "gpu02")[before["gpu02"] :] == [None]
    # One for all is one for all.
    constant = play.replace(whose[source], "vars: {lmstudio_token: the-token-of-all-0123}")
    run(constant, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
    assert sent_to(fleet, "gpu02")[2:] == ["Bearer the-token-of-all-0123"]


def test_a_host_outside_of_the_play_whose_variables_there_cannot_be_read_is_asked_without_a_secret(run, start, tmp_path):
    fleet = start({"gpu01": {}, "gpu02": {}})
    (tmp_path / "gpu01.yml").write_text(f"any: {KEY}\n")
    (tmp_path / "gpu02.yml").write_text("any: [\n")
    play = """
- name: Ask all from a play on one
  hosts: gpu01
  gather_facts: false
  vars_files: ["{{ inventory_hostname }}.yml"]
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info: {hosts: all, token: "{{ any }}"}
      run_once: true
"""
    outcome = words(run(play, {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}))
    assert sent_to(fleet, "gpu01") == [f"Bearer {KEY}"] and sent_to(fleet, "gpu02") == [None]
    assert "for hosts without lmstudio_token: gpu02. So it is not sent to them." in outcome


def test_a_default_that_holds_a_secret_of_the_host_does_not_follow_a_url_elsewhere(run, start):
    fleet = start({"gpu01": {}, "other": {}})
    play = """
- name: Ask another server
  hosts: gpu01
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{ lmstudio_token | default('') }}"
      headers: {X-Key: "{{ lmstudio_headers['X-Key'] }}", X-Env: test}
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        url: "{{ other }}"
      loop: [target, controller]
    - name: What the task itself says counts
      gpufleet.lmstudio.model_info:
        url: "{{ other }}"
        token: "{{ lmstudio_token }}"
"""
    own = {"lmstudio_token": token_of("gpu01"), "lmstudio_headers": {"X-Key": "key-of-gpu01-0123456789"}}
    outcome = run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **own, "other": fleet.urls["other"]}})
    seen = [request["headers"] for request in fleet.requests("other")]
    assert [headers.get("authorization") for headers in seen] == [None, None, f"Bearer {token_of('gpu01')}"]
    assert not [headers for headers in seen if "key-of-gpu01" in str(headers)]
    assert [headers.get("x-env") for headers in seen] == ["test"] * 3
    assert f"gpu01: {fleet.urls['other']} is not a server of this host, so lmstudio_token, lmstudio_headers do not apply there" in words(
        outcome
    )


def test_of_defaults_only_what_holds_a_secret_of_the_host_stays_behind(run, start):
    """A header of another value under the same name is nobody's secret, and a token of eight characters is one within any text."""
    fleet = start({"gpu01": {}, "other": {}})
    play = """
- name: Ask another server
  hosts: gpu01
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      headers: {X-Tag: of-abcd1234, X-Tenant: red, X-Zone: blue, X-Same: green}
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        url: "{{ other }}"
"""
    own = {"lmstudio_token": "abcd1234", "lmstudio_headers": {"X-Tenant": "blue", "X-Zone": "red", "X-Same": "green"}}
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **own, "other": fleet.urls["other"]}})
    (request,) = fleet.requests("other")
    sent = {name: text for name, text in request["headers"].items() if name.startswith("x-")}
    assert sent == {"x-tenant": "red", "x-zone": "blue"}


# Defaults that have no secret of the host in them, and are made of one.
MADE_OF_ONE = {
    "encoded": ({"lmstudio_token": KEY}, {"headers": {"Authorization": "Basic {{ ('api:' ~ lmstudio_token) | b64encode }}"}}),
    "a part": ({"lmstudio_headers": {"X-Key": f"key={KEY}"}}, {"token": "{{ lmstudio_headers['X-Key'].split('=')[1] }}"}),
    "short": ({"lmstudio_token": "abc1234"}, {"headers": {"Authorization": "Bearer {{ lmstudio_token }}"}}),
    "by another variable": ({"lmstudio_token": KEY, "mine": "{{ lmstudio_token | reverse }}"}, {"token": "{{ mine }}"}),
    "by hostvars": ({"lmstudio_token": KEY}, {"token": "{{ hostvars[inventory_hostname].lmstudio_token | reverse }}"}),
    "by vars": ({"lmstudio_token": KEY}, {"token": "{{ vars['lmstudio_token'] | reverse }}"}),
}


@pytest.mark.matrix
def test_a_default_that_is_made_of_a_secret_of_the_host_does_not_follow_a_url_elsewhere(run, start):
    """A play for each form, with a host and another server of its own."""
    fleet = start({f"{whose}-{number}": {} for number in range(len(MADE_OF_ONE)) for whose in ("own", "other")})
    plays, hosts = [], {}
    for number, (secrets, defaults) in enumerate(MADE_OF_ONE.values()):
        own, other = (fleet.urls[f"{whose}-{number}"] for whose in ("own", "other"))
        hosts[f"gpu{number}"] = {"lmstudio_url": own, "own": own, "other": other, "ours": "of-all-0123456789", **secrets}
        headers = {**defaults.get("headers", {}), "X-Env": "{{ ours }}"}
        tasks = [
            {"name": "Ask", "gpufleet.lmstudio.model_info": {"via": "{{ item }}", "url": url}, "loop": ["target", "controller"]}
            for url in ("{{ own }}", "{{ other }}")
        ]
        tasks += [{"name": "Facts", "gpufleet.lmstudio.model_facts": {"url": url}} for url in ("{{ own }}", "{{ other }}")]
        group = {"group/gpufleet.lmstudio.lmstudio": {**defaults, "headers": headers}}
        plays.append({"name": "Ask", "hosts": f"gpu{number}", "gather_facts": False, "module_defaults": group, "tasks": tasks})
    outcome = words(run(yaml.safe_dump(plays, sort_keys=False), hosts))
    for number, (form, (secrets, _defaults)) in enumerate(MADE_OF_ONE.items()):
        own, other = ([request["headers"] for request in fleet.requests(f"{whose}-{number}")] for whose in ("own", "other"))
        assert len(own) == len(other) == 3, form
        assert all("authorization" in headers for headers in own) and not [headers for headers in other if "authorization" in headers], form
        assert [headers["x-env"] for headers in other] == ["of-all-0123456789"] * 3, form
        does_not_apply = (
            f"gpu{number}: {fleet.urls[f'other-{number}']} is not a server of this host, so {next(iter(secrets))} does not apply"
        )
        assert does_not_apply in outcome, form


OPTIONS = {"url": "{{ other }}", "token": "{{ lmstudio_token }}"}
TEXT = "url={{ other }} token={{ lmstudio_token }}"
INFO, INFO_FACTS = "gpufleet.lmstudio.model_info", "gpufleet.lmstudio.model_facts"
# Tasks that give a token themselves, and tasks in which the word only occurs.
WITH_TOKEN = [
    {INFO: OPTIONS},
    {INFO: TEXT},
    {INFO: None, "args": OPTIONS},
    {INFO: {"url": "{{ other }}"}, "args": {"token": "{{ lmstudio_token }}"}},
    {INFO: "{{ options }}"},
    {INFO: None, "args": "{{ options }}"},
    {INFO: "{{ item }}", "loop": [OPTIONS]},
    {"action": {"module": INFO, **OPTIONS}},
    {"action": {"module": INFO, "args": OPTIONS}},
    {"action": f"{INFO} {TEXT}"},
    {"local_action": {"module": INFO, **OPTIONS}},
    {"local_action": f"{INFO} {TEXT}"},
    {"model_info": OPTIONS, "collections": ["gpufleet.lmstudio"]},
]
WITHOUT_TOKEN_OF_ITS_OWN = [
    {INFO: {"url": "{{ other }}"}, "loop": [{"token": "unused"}]},
    {INFO: {"url": "{{ other }}"}, "register": "token", "tags": ["token=new"]},
    {INFO: {"url": "{{ other }}", "headers": {"token": "x"}}},
    {INFO: "{{ item }}", "loop": [{"url": "{{ other }}"}]},
    {
        "gpufleet.lmstudio.model_assert": {
            "url": "{{ other }}",
            "require": [{"type": "llm"}],
            "success_msg": "Create a token with: lms token=new",
        }
    },
]


@pytest.mark.matrix
def test_a_token_is_that_of_the_task_only_where_its_own_arguments_have_it(run, start):
    fleet = start({"gpu01": {}, "other": {}})
    tasks = [{"name": "Ask", **task} for task in (*WITH_TOKEN, *WITHOUT_TOKEN_OF_ITS_OWN)]
    defaults = {"group/gpufleet.lmstudio.lmstudio": {"token": "{{ lmstudio_token }}"}}
    play = {"name": "Ask another server", "hosts": "gpu01", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}
    own = {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_token": token_of("gpu01")}
    run(yaml.safe_dump([play]), {"gpu01": {**own, "other": fleet.urls["other"], "options": OPTIONS}})
    assert sent_to(fleet, "other") == [f"Bearer {token_of('gpu01')}"] * len(WITH_TOKEN) + [None] * len(WITHOUT_TOKEN_OF_ITS_OWN)


@pytest.mark.matrix
def test_facts_of_another_server_take_no_secret_of_the_host_from_defaults(run, start):
    fleet = start({"gpu01": {}, "other": {}})
    play = """
- name: Gather facts as the README does
  hosts: gpu01
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url | default('') }}"
      port: "{{ lmstudio_port | default('') }}"
      token: "{{ lmstudio_token }}"
      headers: {X-Key: "{{ lmstudio_headers['X-Key'] }}", X-Env: test}
  tasks:
    - name: Of the host
      gpufleet.lmstudio.model_facts:
    - name: Of another server
      gpufleet.lmstudio.model_facts:
        url: "{{ other }}"
    - name: What the task itself says counts
      gpufleet.lmstudio.model_facts:
        url: "{{ other }}"
        token: "{{ lmstudio_token }}"
    - name: With what Ansible would take for another value
      gpufleet.lmstudio.model_facts: "{{ item }}"
      loop:
        - {url: http://127.0.0.1, port: true}
        - {url: "{{ other }}", timeout: true}
        - {url: "{{ other }}", token: ["{{ lmstudio_token }}"]}
      ignore_errors: true
      register: refused
    - name: It is refused before anything is sent
      ansible.builtin.assert:
        that: refused.results | map(attribute='msg') | list == said
      vars:
        said: ["port: true is not a number.", "timeout: true is not a number.", "token: it is not a string."]
    - name: Of another server through another host, which makes them facts of that one
      gpufleet.lmstudio.model_facts:
        url: "{{ other | replace('127.0.0.1', 'other.invalid') }}"
      delegate_to: jump
      delegate_facts: true
"""
    own = {"lmstudio_token": token_of("gpu01"), "lmstudio_headers": {"X-Key": "key-of-gpu01-0123456789"}}
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **own, "other": fleet.urls["other"]}, "jump": {}}
    outcome = words(run(play, hosts))
    assert sent_to(fleet, "gpu01") == [f"Bearer {token_of('gpu01')}"]
    assert sent_to(fleet, "other") == [None, f"Bearer {token_of('gpu01')}"]
    seen = [request["headers"] for request in fleet.requests("other")]
    assert [(headers.get("x-key"), headers.get("x-env")) for headers in seen] == [(None, "test")] * 2
    for url in (fleet.urls["other"], fleet.urls["other"].replace("127.0.0.1", "other.invalid")):
        assert f"gpu01: {url} is not a server of this host, so lmstudio_token, lmstudio_headers do not apply there" in outcome


@pytest.mark.matrix
def test_the_environment_of_a_play_hands_the_hosts_token_to_no_other_server(run, start):
    fleet = start({"gpu01": {}, "other": {}, "jump": {}})
    hosts = {name: {"lmstudio_url": url, "lmstudio_token": token_of(name)} for name, url in fleet.urls.items()}
    play = """
- name: Ask with a token in the environment
  hosts: gpu01
  gather_facts: false
  environment:
    LM_API_TOKEN: "{{ lmstudio_token }}"
  tasks:
    - name: Its own server
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url }}"
    - name: Another one
      gpufleet.lmstudio.model_info:
        url: "{{ hostvars.other.lmstudio_url }}"
    - name: Facts of another one
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.other.lmstudio_url }}"
    - name: Another token of the task counts
      gpufleet.lmstudio.model_info:
        url: "{{ hostvars.other.lmstudio_url }}"
      environment: {LM_API_TOKEN: "{{ hostvars.other.lmstudio_token }}"}
    - name: Facts of the delegate
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
      delegate_to: jump
      delegate_facts: true
      ignore_errors: true
      register: refused
    - name: Are refused
      ansible.builtin.assert:
        that: refused is failed and "LM_API_TOKEN is that of gpu01" in refused.msg and "hostvars['jump'].lmstudio_token" in refused.msg
    - name: With the token of the delegate
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
        token: "{{ hostvars.jump.lmstudio_token }}"
      delegate_to: jump
      delegate_facts: true
    - name: With a header of the delegate, which replaces what is in the environment
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
        headers: {Authorization: "Bearer {{ hostvars.jump.lmstudio_token }}"}
      delegate_to: jump
      delegate_facts: true
"""
    outcome = run(play, hosts)
    assert sent_to(fleet, "gpu01") == [f"Bearer {token_of('gpu01')}"]
    assert sent_to(fleet, "other") == [None, None, f"Bearer {token_of('other')}"]
    assert sent_to(fleet, "jump") == [f"Bearer {token_of('jump')}"] * 2
    assert f"gpu01: {fleet.urls['other']} is not a server of this host, so lmstudio_token does not apply there" in words(outcome)


def test_where_a_header_of_the_host_is_taken_away_its_token_in_the_environment_is_not_read_instead(run, start):
    fleet = start({"gpu01": {}, "other": {}})
    play = """
- name: Ask with a token in the environment and in a header of the defaults
  hosts: gpu01
  gather_facts: false
  environment:
    LM_API_TOKEN: "{{ lmstudio_token }}"
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      headers: {Authorization: "Bearer {{ lmstudio_token }}"}
  tasks:
    - name: Another server
      gpufleet.lmstudio.model_info:
        url: "{{ other }}"
    - name: Facts of another server
      gpufleet.lmstudio.model_facts:
        url: "{{ other }}"
    - name: From the controller, whose own token is for such a server
      gpufleet.lmstudio.model_info:
        url: "{{ other }}"
        via: controller
"""
    own = {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_token": token_of("gpu01"), "other": fleet.urls["other"]}
    run(play, {"gpu01": own}, env={"LM_API_TOKEN": "of-the-controller-0123456789"})
    assert sent_to(fleet, "other") == [None, None, "Bearer of-the-controller-0123456789"]


# What a host has, and the token in the keyword environment that is made of it.
IN_ENVIRONMENT = {
    "a part": ({"lmstudio_token": f"key={KEY}"}, "{{ lmstudio_token.split('=')[1] }}"),
    "a part of a header": ({"lmstudio_headers": {"X-Key": f"user={KEY}"}}, "{{ lmstudio_headers['X-Key'].split('=')[1] }}"),
    "a short header": ({"lmstudio_headers": {"X-Key": "abc1234"}}, "{{ lmstudio_headers['X-Key'] }}"),
    "by hostvars": ({"lmstudio_token": KEY}, "{{ hostvars[inventory_hostname].lmstudio_token | reverse }}"),
    "a fact": ({"lmstudio_token": KEY}, "{{ ansible_facts.lmstudio_token | reverse }}"),
    "a fact by hostvars": ({"lmstudio_token": KEY}, "{{ hostvars[inventory_hostname].ansible_facts.lmstudio_token | reverse }}"),
}


@pytest.mark.matrix
def test_what_the_environment_makes_of_a_secret_of_the_host_does_not_follow_a_url_elsewhere(run, start):
    """A play for each form, with a host and another server of its own."""
    fleet = start({f"{whose}-{number}": {} for number in range(len(IN_ENVIRONMENT)) for whose in ("own", "other")})
    keep = {"ansible.builtin.set_fact": {"lmstudio_token": "{{ lmstudio_token | default('') }}", "cacheable": True}}
    plays = [{"name": "Keep", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Keep a token as a fact", **keep}]}]
    hosts = {}
    for number, (secrets, token) in enumerate(IN_ENVIRONMENT.values()):
        own, other = (fleet.urls[f"{whose}-{number}"] for whose in ("own", "other"))
        hosts[f"gpu{number}"] = {"lmstudio_url": own, "own": own, "other": other, "ours": "of-all-0123456789", **secrets}
        tasks = [
            {"name": "Ask", module: {"url": url}}
            for module in (INFO, "gpufleet.lmstudio.model_facts")
            for url in ("{{ own }}", "{{ other }}")
        ]
        # One that the host does not make is for the other server as well, whatever stands beside it.
        tasks.append({"name": "Ask", INFO: {"url": "{{ other }}"}, "environment": {"LM_API_TOKEN": "{{ ours }}", "ANOTHER": token}})
        environment = {"LM_API_TOKEN": token}
        plays.append({"name": "Ask", "hosts": f"gpu{number}", "gather_facts": False, "environment": environment, "tasks": tasks})
    outcome = words(run(yaml.safe_dump(plays, sort_keys=False), hosts))
    for number, (form, (secrets, _token)) in enumerate(IN_ENVIRONMENT.items()):
        assert None not in sent_to(fleet, f"own-{number}") and len(sent_to(fleet, f"own-{number}")) == 2, form
        assert sent_to(fleet, f"other-{number}") == [None, None, "Bearer of-all-0123456789"], form
        other = fleet.urls[f"other-{number}"]
        assert f"gpu{number}: {other} is not a server of this host, so {next(iter(secrets))} does not apply" in outcome, form


@pytest.mark.matrix
def test_what_an_include_applies_is_judged_as_it_is_written(run, start, tmp_path):
    fleet = start({"gpu01": {}, "other": {}})
    tasks = [{"name": "Ask", module: {"url": "{{ item }}"}, "loop": ["{{ own }}", "{{ other }}"]} for module in (INFO, INFO_FACTS)]
    for path in ("included.yml", "roles/included/tasks/main.yml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(yaml.safe_dump(tasks))
    token = "{{ lmstudio_token.split('=')[1] }}"
    includes = [
        {f"ansible.builtin.{kind}": {**what, "apply": keywords}}
        for kind, what in (("include_tasks", {"file": "included.yml"}), ("include_role", {"name": "included"}))
        for keywords in ({"module_defaults": {DEFAULTS: {"token": token}}}, {"environment": {"LM_API_TOKEN": token}})
    ]
    play = {"name": "Ask", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Include", **include} for include in includes]}
    own, other = fleet.urls["gpu01"], fleet.urls["other"]
    run(yaml.safe_dump([play]), {"gpu01": {"lmstudio_url": own, "lmstudio_token": f"key={KEY}", "own": own, "other": other}})
    assert sent_to(fleet, "other") == [None] * 8
    assert sent_to(fleet, "gpu01").count(f"Bearer {KEY}") == 6


@pytest.mark.matrix
def test_what_an_include_makes_of_a_secret_in_a_variable_does_not_follow_a_url_elsewhere(run, start, tmp_path):
    fleet = start({"gpu01": {}, "other": {}})
    tasks = [{"name": "Ask another server", module: {"url": "{{ other }}"}} for module in (INFO, INFO_FACTS)]
    (tmp_path / "included.yml").write_text(yaml.safe_dump(tasks))
    made = "{{ lmstudio_token | reverse }}"
    includes = [
        {"ansible.builtin.include_tasks": {"file": "included.yml", "apply": {"vars": {"any": made}}}},
        {"ansible.builtin.include_tasks": "included.yml", "loop": [made], "loop_control": {"loop_var": "any", "label": "it"}},
        {"ansible.builtin.include_tasks": "included.yml", "loop": ["of-all-0123456789"], "loop_control": {"loop_var": "any"}},
    ]
    play = {"name": "Ask", "hosts": "all", "gather_facts": False, "module_defaults": {DEFAULTS: {"token": "{{ any }}"}}}
    play["tasks"] = [{"name": "Include", **include} for include in includes]
    run(yaml.safe_dump([play]), {"gpu01": {"lmstudio_token": KEY, "other": fleet.urls["other"]}})
    assert sent_to(fleet, "other") == [None] * 4 + ["Bearer of-all-0123456789"] * 2


@pytest.mark.matrix
def test_a_loop_that_is_the_same_for_all_hosts_gives_all_of_them_its_token(run, start, tmp_path):
    fleet = start({"gpu01": {}, "gpu02": {}})
    ask = {"name": "Ask", INFO_OF_ALL: {"token": "{{ item }}"}, "run_once": True}
    (tmp_path / "included.yml").write_text(yaml.safe_dump([ask]))
    loops = [{"loop": "{{ ours }}"}, {"with_items": "{{ ours }}"}, {"loop": ["{{ ours[0] }}", "literal"]}, {"loop": ["{{ mine }}"]}]
    include = {"name": "Include", "ansible.builtin.include_tasks": "included.yml"}
    tasks = [{**task, **loop} for task in (ask, include) for loop in loops]
    play = {"name": "Ask", "hosts": "all", "gather_facts": False, "vars": {"ours": ["one", "two"]}, "tasks": tasks}
    run(yaml.safe_dump([play]), {name: {"lmstudio_url": url, "mine": f"of-{name}"} for name, url in fleet.urls.items()})
    for_all = [f"Bearer {token}" for token in ("one", "two", "one", "two", "one", "literal")]
    first, second = sent_to(fleet, "gpu01"), sent_to(fleet, "gpu02")
    assert first[:-2] == [*for_all, "Bearer of-gpu01", *for_all]
    assert second[:-2] == [*for_all, None, *for_all]
    # An include with a loop of its own for each host is carried out for each, in any order.
    assert set(zip(first[-2:], second[-2:])) == {("Bearer of-gpu01", None), (None, "Bearer of-gpu02")}


@pytest.mark.parametrize("path", ["/nowhere", "nowhere", "~/nowhere", "$HOME/nowhere"])
def test_a_client_certificate_of_the_first_host_is_no_default_for_others(run, start, path):
    fleet = start({"gpu01": {}, "gpu02": {}})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu01"] |= {"lmstudio_client_cert": f"{path}.pem", "lmstudio_client_key": f"{path}.key"}
    play = """
- name: Ask with a certificate of the first host
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask all
      gpufleet.lmstudio.fleet_info:
        client_cert: "{{ lmstudio_client_cert }}"
        client_key: "{{ lmstudio_client_key }}"
      run_once: true
      register: fleet
    - name: Ask all in an expression
      ansible.builtin.set_fact:
        asked: "{{ query('gpufleet.lmstudio.models', groups['all'], on_error='report',
          client_cert=lmstudio_client_cert, client_key=lmstudio_client_key) }}"
      run_once: true
    - name: It was for the first host only, where the file is missing
      ansible.builtin.assert:
        that:
          - "fleet.summary.by_status == {'not_asked': ['gpu01'], 'ok': ['gpu02']}"
          - "asked | map(attribute='status') == ['not_asked', 'ok']"
      run_once: true
"""
    assert "client_cert is the lmstudio_client_cert of gpu01" in words(run(play, hosts))


ON_THE_WAY = """
- name: Ask with defaults that are made of variables of a host
  hosts: all
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      validate_certs: "{{ lmstudio_validate_certs | default(true) }}"
      use_proxy: "{{ lmstudio_use_proxy | default(omit) }}"
      ca_path: "{{ lmstudio_ca_path | default('') }}"
  tasks:
    - name: Ask all
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Ask their servers for the first host
      gpufleet.lmstudio.model_info:
        url: "{{ hostvars[item.0].lmstudio_url }}"
        token: "{{ hostvars[item.0].lmstudio_token }}"
        via: "{{ item.1 }}"
        on_error: report
      loop: "{{ ['untrusted', 'proxied'] | product(['target', 'controller']) }}"
      register: answers
      run_once: true
    - name: Gather their models as facts of the first host
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars[item].lmstudio_url }}"
        token: "{{ hostvars[item].lmstudio_token }}"
      loop: [untrusted, proxied]
      register: facts
      run_once: true
    - name: What the first host trusts does not concern the others
      ansible.builtin.assert:
        that:
          - "fleet.summary.by_status == {'ok': ['first'], 'tls': ['untrusted'], 'dns': ['proxied']}"
          - answers.results | map(attribute='lmstudio.status') == ['tls', 'tls', 'dns', 'dns']
          - facts.results | map(attribute='ansible_facts.lmstudio.status') == ['tls', 'dns']
      run_once: true
    - name: What the task itself says counts
      gpufleet.lmstudio.model_info:
        url: "{{ hostvars.untrusted.lmstudio_url }}"
        token: "{{ hostvars.untrusted.lmstudio_token }}"
        validate_certs: "{{ lmstudio_validate_certs }}"
      run_once: true
"""


@pytest.mark.matrix
def test_what_protects_a_secret_on_its_way_is_not_that_of_the_first_host(run, start, tmp_path):
    certificate = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    fleet = start({"first": {}, "untrusted": {"tls": {"certificate": str(certificate), "key": str(certificate)}}})
    urls = {**fleet.urls, "proxied": "http://gpu.invalid:1234"}
    hosts = {name: {"lmstudio_url": url, "lmstudio_token": token_of(name)} for name, url in urls.items()}
    hosts["first"] |= {"lmstudio_validate_certs": False, "lmstudio_use_proxy": True, "lmstudio_ca_path": str(certificate)}
    with Answering(lambda *_request: http(b'{"models": []}')) as proxy:
        outcome = words(run(ON_THE_WAY, hosts, env={"http_proxy": f"http://127.0.0.1:{proxy.port}"}))
    assert not proxy.asked
    assert sent_to(fleet, "untrusted") == [f"Bearer {token_of('untrusted')}"]
    for name in ("validate_certs", "use_proxy", "ca_path"):
        assert f"for hosts without lmstudio_{name}: proxied, untrusted. So it does not apply to them." in outcome
    withheld = "so lmstudio_ca_path, lmstudio_validate_certs, lmstudio_use_proxy do not apply there"
    assert all(f"first: {urls[name]} is not a server of this host, {withheld}" in outcome for name in ("untrusted", "proxied"))


@pytest.mark.matrix
def test_the_port_that_a_template_makes_for_the_first_host_is_not_that_of_others(run, start):
    """Another server may listen there, which would get the token."""
    fleet = start({"gpu01": {}})
    local = {"ansible_host": "127.0.0.1", "ansible_connection": "local"}
    hosts = {name: {**local, "lmstudio_token": token_of(name)} for name in ("gpu01", "gpu02")}
    hosts["gpu01"]["lmstudio_port"] = int(fleet.urls["gpu01"].rpartition(":")[2])
    play = """
- name: Ask all at the port of the first
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_info:
        port: "{{ lmstudio_port }}"
      run_once: true
"""
    outcome = words(run(play, hosts))
    assert (
        "port is a template that has another value, or none, for hosts without lmstudio_port: gpu02. So it does not apply to them."
        in outcome
    )
    assert sent_to(fleet, "gpu01") == [f"Bearer {token_of('gpu01')}"]
    # A number and a text are one port.
    port = hosts["gpu01"].pop("lmstudio_port")
    hosts["gpu01"]["our_port"], hosts["gpu02"]["our_port"] = port, str(port)
    assert "port is a template" not in words(run(play.replace("lmstudio_port", "our_port"), hosts))
    assert sorted(sent_to(fleet, "gpu01")[1:]) == [f"Bearer {token_of(name)}" for name in sorted(hosts)]


def test_a_default_that_ends_like_base64_is_not_taken_for_one_that_is_made_of_a_secret(run, start):
    fleet = start({"other": {}})
    play = """
- name: Ask another server
  hosts: gpu01
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      token: "{{ for_others }}"
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        url: "{{ other }}"
"""
    run(play, {"gpu01": {"lmstudio_token": token_of("gpu01"), "for_others": "a2V5LW9mLW90aGVycw==", "other": fleet.urls["other"]}})
    assert sent_to(fleet, "other") == ["Bearer a2V5LW9mLW90aGVycw=="]


def test_a_header_of_the_whole_fleet_goes_to_the_whole_fleet(run, start):
    fleet = start({"gpu01": {}, "gpu02": {}})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu01"]["lmstudio_headers"] = {"X-Env": "prod", "X-Key": "key-of-gpu01-0123456789", "X-Kind": "Bearer"}
    play = """
- name: Ask with headers
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask all
      gpufleet.lmstudio.fleet_info:
        headers: {X-Key: "{{ lmstudio_headers['X-Key'] }}", Authorization: Bearer of-the-fleet, X-Stage: prod}
      run_once: true
"""
    run(play, hosts)
    (other,) = (request["headers"] for request in fleet.requests("gpu02"))
    assert (other.get("x-key"), other["authorization"], other["x-stage"]) == (None, "Bearer of-the-fleet", "prod")


def test_facts_that_are_delegated_need_the_token_of_the_delegate(run, start):
    fleet = start({"gpu01": {}, "jump": {}})
    hosts = {name: {**LOCAL, "lmstudio_url": url, "lmstudio_token": token_of(name)} for name, url in fleet.urls.items()}
    play = """
- name: Gather facts of another host
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: With its own token
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
        token: "{{ lmstudio_token }}"
      delegate_to: jump
      delegate_facts: true
      ignore_errors: true
      register: refused
    - name: Is refused
      ansible.builtin.assert:
        that: refused is failed and "hostvars['jump'].lmstudio_token" in refused.msg
    - name: With what is made of its own token
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
        headers: {Authorization: "Basic {{ ('api:' ~ lmstudio_token) | b64encode }}"}
      delegate_to: jump
      delegate_facts: true
      ignore_errors: true
      register: refused
    - name: Is refused, too
      ansible.builtin.assert:
        that: refused is failed and "headers is that of gpu01" in refused.msg
    - name: With that of the delegate
      gpufleet.lmstudio.model_facts:
        url: "{{ hostvars.jump.lmstudio_url }}"
        token: "{{ hostvars.jump.lmstudio_token }}"
      delegate_to: jump
      delegate_facts: true
"""
    run(play, hosts)
    assert sent_to(fleet, "jump") == [f"Bearer {token_of('jump')}"]


def test_a_url_of_the_task_that_is_not_the_hosts_gets_nothing_of_the_host(run, start):
    fleet = start({"own": {}, "other": {}})
    url, other = fleet.urls["own"], fleet.urls["other"]
    port = int(url.rpartition(":")[2])
    cases = [
        (True, url, {"lmstudio_url": url}),
        (True, f"{url}/api/v1", {"lmstudio_url": url}),
        (True, url.replace("127.0.0.1", "localhost"), {"lmstudio_url": url}),
        (True, url, {"lmstudio_url": "http://127.0.0.1", "lmstudio_port": port}),
        (True, url, {"lmstudio_port": port}),
        (True, url, {"lmstudio_url": "http://nowhere.invalid", "lmstudio_controller_url": url}),
        (False, other, {"lmstudio_url": url}),
        (False, url, {"lmstudio_url": f"{url}/lm"}),
        (False, url, {}),
        (False, url, {"lmstudio_url": url.replace("http://", "https://")}),
        (False, url, {"lmstudio_url": "http://nowhere.invalid", "lmstudio_port": port}),
    ]
    hosts = {
        f"case{number}": {
            "lmstudio_token": token_of(f"case{number}"),
            "lmstudio_headers": {"X-Key": f"key-of-case{number}-0123456789"},
            "lmstudio_timeout": 7,
            **variables,
            "url": asked,
        }
        for number, (_is_own, asked, variables) in enumerate(cases)
    }
    # What a task names counts, and a host without anything to withhold is not warned of.
    hosts["plain"] = {"lmstudio_url": url, "url": other, "named": "named-by-the-task"}
    play = """
- name: Ask a URL
  hosts: all
  gather_facts: false
  tasks:
    - name: From both sides
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        url: "{{ url }}"
        token: "{{ named | default(omit) }}"
      loop: [target, controller]
"""
    outcome = run(play, hosts, env={"LM_API_TOKEN": ENVIRONMENT})
    seen = [str(request["headers"]) for name in fleet.urls for request in fleet.requests(name)]
    withheld = "is not a server of this host, so lmstudio_token, lmstudio_headers, lmstudio_timeout do not apply there."
    for number, (is_own, asked, _variables) in enumerate(cases):
        counts = [sum(secret in headers for headers in seen) for secret in (token_of(f"case{number}"), f"key-of-case{number}-0123456789")]
        assert counts == ([2, 2] if is_own else [0, 0]), cases[number]
        assert (f"case{number}: {asked.removesuffix('/api/v1')} {withheld}" in words(outcome)) is not is_own, cases[number]
    assert sum(ENVIRONMENT in headers for headers in seen) == 2 * sum(not is_own for is_own, _asked, _variables in cases)
    assert sent_to(fleet, "other").count("Bearer named-by-the-task") == 2
    assert "plain: " not in words(outcome)


def test_in_any_spelling_of_its_port_a_url_is_the_hosts_or_is_not(run, start):
    fleet = start({"own": {}, "other": {}})
    spellings = []
    for url in fleet.urls.values():
        address, _colon, port = url.rpartition(":")
        spellings += [[address, port], [address, f"{port}.0"]]
    play = f"""
- name: Ask the server of the host and another one
  hosts: gpu01
  gather_facts: false
  module_defaults:
    group/gpufleet.lmstudio.lmstudio:
      url: "{{{{ item[0] }}}}"
      port: "{{{{ item[1] }}}}"
  vars:
    spellings: {spellings}
  tasks:
    - name: Ask for the models
      gpufleet.lmstudio.model_info:
        via: "{{{{ via }}}}"
      loop: "{{{{ spellings }}}}"
      ignore_errors: true
    - name: Gather facts
      gpufleet.lmstudio.model_facts:
      loop: "{{{{ spellings }}}}"
      ignore_errors: true
      module_defaults:
        gpufleet.lmstudio.model_facts:
          token: "{{{{ lmstudio_token }}}}"
"""
    for via in ("target", "controller"):
        run(play, {"gpu01": {"lmstudio_url": fleet.urls["own"], "lmstudio_token": token_of("gpu01"), "via": via}})
    # ansible-core before 2.17 refuses the second one.
    assert len(sent_to(fleet, "own")) in (4, 8) and set(sent_to(fleet, "own")) == {f"Bearer {token_of('gpu01')}"}
    assert len(sent_to(fleet, "other")) in (4, 8) and set(sent_to(fleet, "other")) == {None}


def test_files_of_the_host_do_not_count_for_a_url_that_is_not_the_hosts(run, start):
    fleet = start({"other": {}})
    play = """
- name: Ask a URL
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: From both sides
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        url: "{{ url }}"
      loop: [target, controller]
"""
    # Each of these would fail the task if it counted.
    wrong = {
        "lmstudio_ca_path": "/nowhere.pem",
        "lmstudio_client_cert": "/nowhere.pem",
        "lmstudio_timeout": "soon",
        "lmstudio_token": "{{ nobody_defines_it }}",
        "lmstudio_use_proxy": True,
    }
    env = {"http_proxy": "http://127.0.0.1:9"}
    run(play, {"gpu01": {"lmstudio_url": "http://gpu01.invalid", **wrong, "url": fleet.urls["other"]}}, env=env)
    assert sent_to(fleet, "other") == [None, None]


def test_under_delegate_to_a_loopback_url_is_not_the_hosts(run, start):
    fleet = start({"gpu01": {}})
    hosts = {name: {**LOCAL, "lmstudio_url": fleet.urls["gpu01"], "lmstudio_token": token_of(name)} for name in ("gpu01", "jump")}
    play = """
- name: Ask a URL through another host
  hosts: gpu01
  gather_facts: false
  tasks:
    - name: From both sides
      gpufleet.lmstudio.model_info:
        via: "{{ item }}"
        url: "{{ lmstudio_url | replace('127.0.0.1', 'localhost') }}"
      delegate_to: jump
      loop: [target, controller]
"""
    outcome = run(play, hosts)
    assert sent_to(fleet, "gpu01") == [None, None]
    for who in ("jump", "the controller"):
        assert (
            f"gpu01: {fleet.urls['gpu01'].replace('127.0.0.1', 'localhost')} is a server of {who} here, and its answer is not about gpu01"
            in words(outcome)
        )


def test_headers_as_json_text_stand_in_place_of_the_environment(run, start, tmp_path):
    fleet = start({"gpu01": {}})
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"gpu01": {**LOCAL, "lmstudio_url": fleet.urls["gpu01"]}}}}))
    for via, text in itertools.product(
        ("target", "controller"),
        ('{"headers": {"Authorization": "Basic eDp5"}, "via": "VIA"}', 'headers=\'{"authorization": "Basic eDp5"}\' via=VIA'),
    ):
        command = ["ansible", "-i", "hosts.yml", "gpu01", "-m", "gpufleet.lmstudio.model_info", "-a", text.replace("VIA", via)]
        python = ["-e", f"ansible_python_interpreter={sys.executable}"]
        done = run_in(tmp_path, [*command, *python], {"LM_API_TOKEN": ENVIRONMENT})
        assert done.returncode == 0, done.stdout + done.stderr
    assert sent_to(fleet, "gpu01") == ["Basic eDp5"] * 4
    # As a variable, too.
    play = (
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - gpufleet.lmstudio.fleet_info: {token: t-0123456789}\n      run_once: true\n"
    )
    run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "lmstudio_headers": '{"Authorization": "Basic eDp5"}'}})
    assert sent_to(fleet, "gpu01")[4:] == ["Basic eDp5"]


WRONG = ("vault", "lookup", "undefined", "syntax", "filter", "pipe", "path", "hint", "name", "key")


@pytest.mark.matrix
def test_what_is_wrong_with_a_secret_is_what_ansible_says_of_it(run, start, tmp_path):
    fleet = start({f"gpu-{name}": {} for name in (*WRONG, "fine")})
    folder = tmp_path / "host_vars"
    folder.mkdir()
    (folder / "gpu-vault.yml").write_text(f"lmstudio_token: {vaulted(tmp_path, 'hunter2hunter2')}")
    texts = {
        "gpu-lookup": "hunter2hunter2{{ lookup('ansible.builtin.file', '/nowhere/token') }}",
        "gpu-undefined": "hunter2hunter2{{ vault_token }}",
        "gpu-syntax": "hunter2hunter2{{ hunter3 hunter4",
        "gpu-filter": "hunter2hunter2{{ 'hunter3' | nowhere.at_all }}",
        "gpu-pipe": "{{ lookup('ansible.builtin.pipe', 'false --key=' ~ master) }}",
        "gpu-path": "{{ lookup('ansible.builtin.file', '/nowhere/' ~ master) }}",
        "gpu-hint": "{{ undef(hint=master) }}",
        "gpu-name": "{{ lookup('ansible.builtin.vars', master) }}",
        "gpu-key": "{{ {}[master] }}",
    }
    says = {
        "gpu-vault": "no vault secrets",
        "gpu-lookup": "/nowhere/token",
        "gpu-undefined": "'vault_token' is undefined",
        "gpu-syntax": "Mark text that has {{ or {% in it literally with !unsafe",
        "gpu-filter": "the filter, test or lookup nowhere.at_all was not found",
        "gpu-pipe": " fail",
        "gpu-path": " fail",
        "gpu-hint": " fail",
        "gpu-name": " fail",
        "gpu-key": " fail",
    }
    hosts = {name: {"lmstudio_url": url, **({"lmstudio_token": texts[name]} if name in texts else {})} for name, url in fleet.urls.items()}
    for variables in hosts.values():
        variables["master"] = "hunter5hunter5"
    hosts["gpu-fine"]["lmstudio_token"] = token_of("gpu-fine")
    one = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.model_info:
        via: controller
      ignore_errors: true
      register: answer
    - name: It is said
      ansible.builtin.debug:
        msg: "SAID {{ inventory_hostname }}: {{ answer.msg | default('') }}"
"""
    many = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask all
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: The others are asked
      ansible.builtin.assert:
        that: "fleet.summary.by_status == {'not_asked': wrong, 'ok': ['gpu-fine']}"
      run_once: true
      vars: {wrong: "{{ groups['all'] | reject('eq', 'gpu-fine') | list }}"}
    - name: It is said
      ansible.builtin.debug:
        msg: "SAID {{ inventory_hostname }}: {{ fleet.hosts[inventory_hostname].error.message | default('') }}"
    - name: In an expression, too
      ansible.builtin.debug:
        msg: "SAID {{ inventory_hostname }}: {{ lookup('gpufleet.lmstudio.models', inventory_hostname, on_error='report').error.message | default('') }}"
"""
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    for play, more in ((one, []), (many, ["-i", "lmstudio.yml"])):
        outcome = run(play, hosts, *more)
        for name, problem in says.items():
            said = re.findall(rf'SAID {name}: (.*)"', outcome.output)
            assert said and all(problem in line for line in said), (name, said)
            assert more == [] or not [line for line in said if name in line]
        assert "hunter" not in outcome.output
    assert [len(fleet.requests(name)) for name in says] == [0] * len(WRONG) and len(fleet.requests("gpu-fine")) == 4


# What is given in place of a token and of headers, in forms that a message may quote in another way.
NO_SECRETS = [
    "hunter2hunter2\\d\"e'f",
    "X-Key: hunter2hunter2\\d",
    '{"X-Key": "hunter2hunter2\\q"',
    "hunter2hunter2\nX: y",
    "hunter2hunter2\u00e9",
    ["hunter2hunter2\\d"],
    [["hunter2hunter2"]],
    [{"X-Key": "hunter2hunter2\\n'\""}],
    {"value": "hunter2hunter2\\d\"'\n"},
    {"hunter2 hunter2": "hunter2hunter2"},
    {"Bearer hunter2": None},
]
FAILING_TEMPLATES = [
    "hunter2hunter2{{ 1/0 }}",
    "hunter2hunter2{{ 'hunter2' | nowhere.at_all }}",
    "{{ lookup('ansible.builtin.pipe', 'false --key=' ~ master) }}",
    "{{ lookup('ansible.builtin.file', '/nowhere/' ~ master) }}",
    "{{ master | ansible.builtin.to_datetime }}",
    "{{ undef(hint=master) }}",
]
EVERYWHERE = """
- name: Ask with what is not a secret
  hosts: all
  gather_facts: false
  tasks:
    - name: With defaults
      ansible.builtin.set_fact: {asked: "{{ query('gpufleet.lmstudio.models', lmstudio_url, token=lmstudio_token, on_error='report') }}"}
      when: lmstudio_token is defined
      ignore_errors: true
    - name: With defaults for headers
      ansible.builtin.set_fact: {asked: "{{ query('gpufleet.lmstudio.models', lmstudio_url, headers=lmstudio_headers, on_error='report') }}"}
      when: lmstudio_headers is defined
      ignore_errors: true
    - name: From both sides
      gpufleet.lmstudio.model_info: {via: "{{ item }}"}
      loop: [controller, target]
      ignore_errors: true
    - name: A change
      gpufleet.lmstudio.model: {model: m, state: unloaded}
      ignore_errors: true
    - name: All
      gpufleet.lmstudio.fleet_info:
      run_once: true
"""


@pytest.mark.matrix
def test_a_secret_in_any_wrong_form_is_not_quoted(run, start):
    fleet = start({"gpu01": {}})
    hosts = {
        f"gpu{number:02}": {"lmstudio_url": fleet.urls["gpu01"], f"lmstudio_{option}": given}
        for number, (option, given) in enumerate(itertools.product(("token", "headers"), NO_SECRETS))
    }
    outcome = run(EVERYWHERE, hosts, "-v")
    assert "lmstudio_headers: it is not a mapping of names and texts." in outcome.output
    assert "lmstudio_token: it is not a string." in outcome.output
    assert "hunter2" not in outcome.output


@pytest.mark.matrix
def test_a_secret_of_an_inventory_source_is_not_quoted(start, tmp_path):
    fleet = start({"gpu01": {}})
    given = [*itertools.product(("token", "headers"), NO_SECRETS), ("headers", "X-Key=hunter2hunter2")]
    given += itertools.product(("token",), FAILING_TEMPLATES)
    given += [("headers", {"X-Key": template}) for template in FAILING_TEMPLATES]
    given += [("endpoints", [f"http://{{{{ lookup('ansible.builtin.pipe', 'false ' ~ master) }}}}:x@{fleet.urls['gpu01'][7:]}"])]
    arguments = []
    for number, (option, value) in enumerate(given):
        source = {"plugin": "gpufleet.lmstudio.lmstudio", "endpoints": [fleet.urls["gpu01"]], option: value}
        (tmp_path / f"{number:02}.lmstudio.yml").write_text(yaml.safe_dump(source))
        arguments += ["-i", f"{number:02}.lmstudio.yml"]
    (tmp_path / "master.yml").write_text("master: hunter2hunter2\n")
    done = run_in(tmp_path, ["ansible-inventory", *arguments, "--graph", "-e", "@master.yml"], {})
    said = " ".join((done.stdout + done.stderr).split())
    assert said.count("its template cannot be used: ") >= 2 * len(FAILING_TEMPLATES)
    assert "headers: it is not a mapping of names and texts." in said
    assert "hunter2" not in said


PEM = "-----BEGIN PRIVATE KEY-----\nhunter2hunter2hunter2\n-----END PRIVATE KEY-----\n"
# Variables of a host that is then not asked, and what is said of them.
MISPLACED = {
    "key": ({"lmstudio_client_key": PEM, "lmstudio_client_cert": __file__}, "lmstudio_client_key: it is the content of a file"),
    "line": (
        {"lmstudio_client_key": PEM.replace("\n", ""), "lmstudio_client_cert": __file__},
        "lmstudio_client_key: it is the content of a file",
    ),
    "list": ({"lmstudio_client_key": [PEM], "lmstudio_client_cert": __file__}, "lmstudio_client_key: it is the content of a file"),
    "cert": ({"lmstudio_client_cert": PEM, "lmstudio_client_key": PEM}, "lmstudio_client_cert: it is the content of a file"),
    "pipe": (
        {"lmstudio_client_key": "{{ lookup('ansible.builtin.pipe', 'false --key=' ~ master) }}", "lmstudio_client_cert": "/nowhere"},
        "lmstudio_client_key cannot be templated: ",
    ),
    "url": ({"lmstudio_url": "http://{{ master | ansible.builtin.to_datetime }}:1"}, "lmstudio_url cannot be templated: "),
    "controller-url": (
        {"lmstudio_controller_url": "http://{{ lookup('ansible.builtin.file', '/nowhere/' ~ master) }}:1"},
        "lmstudio_controller_url cannot be templated: ",
    ),
    "headers": ({"lmstudio_headers": {"X-Key": ["hunter2hunter2"]}}, "lmstudio_headers: the value of X-Key is not a string"),
}


def test_a_key_in_place_of_its_path_and_a_secret_in_a_url_are_not_quoted(run, tmp_path):
    hosts = {
        name: {**SSH, "ansible_host": "192.0.2.7", "lmstudio_url": "https://gpu01.invalid", "master": "hunter2hunter2", **variables}
        for name, (variables, _says) in MISPLACED.items()
    }
    play = """
- name: Ask
  hosts: all
  gather_facts: false
  tasks:
    - name: One
      gpufleet.lmstudio.model_info: {via: controller}
      ignore_errors: true
    - name: From the host, which is not reached
      gpufleet.lmstudio.model_info:
      when: inventory_hostname in ['key', 'line', 'list', 'cert']
      ignore_errors: true
    - name: A change
      gpufleet.lmstudio.model: {model: m, state: unloaded, via: controller}
      ignore_errors: true
    - name: In an expression
      ansible.builtin.set_fact:
        asked: "{{ query('gpufleet.lmstudio.models', 'http://127.0.0.1:9', client_key=[lmstudio_client_key], client_cert='/nowhere') }}"
      when: inventory_hostname == 'key'
      ignore_errors: true
    - name: All
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: It is said
      ansible.builtin.debug:
        msg: "SAID {{ inventory_hostname }}: {{ fleet.hosts[inventory_hostname].error.message }}"
"""
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    outcome = run(play, hosts, "-vvv", "-i", "lmstudio.yml", connection={})
    for name, (_variables, says) in MISPLACED.items():
        assert re.search(rf"SAID {name}: [^\n]*{says}", outcome.output), name
    # Before 2.19, Ansible itself prints this at that verbosity.
    of_ansible = "ansible.errors.AnsibleError: lookup_plugin.pipe("
    assert [line for line in outcome.output.splitlines() if "hunter2" in line and not line.startswith(of_ansible)] == []


def test_a_key_that_a_module_itself_is_given_is_not_noted(run, start):
    fleet = start({"gpu01": {}})
    play = f"""
- name: Gather
  hosts: all
  gather_facts: true
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
  ignore_errors: true
  module_defaults:
    gpufleet.lmstudio.model_facts: {{url: "{fleet.urls["gpu01"]}", client_key: {json.dumps(PEM)}, client_cert: {json.dumps(PEM)}}}
"""
    outcome = run(play, {"gpu01": {}}, "-vvv")
    assert "client_cert: it is the content of a file" in outcome.output
    assert "hunter2" not in outcome.output and not fleet.requests("gpu01")


NOTED = {
    "query": ({"url": "http://127.0.0.1:1/?key=hunter2"}, "has a query or a fragment"),
    "fragment": ({"url": "http://127.0.0.1:1#hunter2"}, "has a query or a fragment"),
    "name of a header": ({"headers": {"X-Key:hunter2": None}}, "header 1 does not have a valid name"),
    "unknown option": ({"tokn": "hunter2"}, "Unsupported parameters"),
}


@pytest.mark.matrix
def test_a_secret_in_the_wrong_place_of_what_a_module_is_given_is_not_noted(run):
    play = """
- name: Gather
  hosts: all
  gather_facts: true
  vars:
    ansible_facts_modules: [gpufleet.lmstudio.model_facts]
  ignore_errors: true
  module_defaults:
    gpufleet.lmstudio.model_facts: "{{ options }}"
  tasks:
    - name: Gather in a task
      gpufleet.lmstudio.model_facts: "{{ options }}"
      register: found
    - name: Show what was wrong
      ansible.builtin.debug:
        msg: "SAID {{ inventory_hostname }}: {{ found.msg }}"
"""
    hosts = {name: {"options": given} for name, (given, _says) in NOTED.items()}
    # Since 2.20, the options are in a result only with this setting.
    outcome = run(play, hosts, "-vvv", env={"ANSIBLE_INJECT_INVOCATION": "1"})
    for name, (_given, says) in NOTED.items():
        assert re.search(rf"SAID {name}: .*{says}", outcome.output), name
    assert outcome.output.count('"module_args"') >= len(NOTED) and "hunter2" not in outcome.output


def looked_up(term):
    return f"ansible.builtin.set_fact: {{asked: \"{{{{ lookup('gpufleet.lmstudio.models', {term}, on_error='report') }}}}\"}}"


OF_ONE, OF_ALL, ALL = "answer.lmstudio", "answer.hosts.gpu01", "gpufleet.lmstudio.fleet_info: {}\n      run_once: true"
OF_THE_PLAY = "lmstudio_token: of-the-play-0123456789"
# The task, the variables of the play, where the record is, and what its hint says, and does not say.
HINTS = [
    ("gpufleet.lmstudio.model_info: {on_error: report, token: wrong-0123456789}", "", OF_ONE, ["LM_API_TOKEN in the environment"], []),
    (
        "gpufleet.lmstudio.model_info: {on_error: report, via: controller}",
        "",
        OF_ONE,
        ["With via: controller", "where Ansible itself is started"],
        [],
    ),
    ("gpufleet.lmstudio.model_assert: {require: [{type: llm}], via: controller}", "", OF_ONE, ["With via: controller"], []),
    (looked_up("lmstudio_url"), "", "asked", ["LM_API_TOKEN in the environment of the controller"], ["lmstudio_token"]),
    (looked_up("(lmstudio_url | urlsplit).netloc"), "", "asked", ["LM_API_TOKEN counts for terms that are URLs"], ["lmstudio_token"]),
    (
        "gpufleet.lmstudio.model_facts: {url: '{{ lmstudio_url }}'}",
        "",
        "ansible_facts.lmstudio",
        ["lmstudio_token counts here only where token is set to it"],
        [],
    ),
    (ALL, "", OF_ALL, ["LM_API_TOKEN is not used here"], []),
    (ALL, OF_THE_PLAY, OF_ALL, ["lmstudio_token is set in the play", "host_vars"], []),
    (looked_up("inventory_hostname"), "", "asked", ["LM_API_TOKEN is not used here"], []),
    (looked_up("inventory_hostname"), OF_THE_PLAY, "asked", ["lmstudio_token is set in the play", "host_vars"], []),
    ("ansible.builtin.debug: {msg: by the inventory}", "", "lmstudio_record", ["LM_API_TOKEN is not used here"], []),
]


def test_the_hint_of_auth_names_what_counts(run, start, tmp_path):
    fleet = start({"gpu01": {"token": token_of("gpu01")}})
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    plays = ""
    for number, (task, variables, record, _says, _does_not_say) in enumerate(HINTS):
        plays += f"""
- name: Ask where a token is wanted
  hosts: gpu01
  gather_facts: false
  vars: {{{variables}}}
  tasks:
    - name: Ask
      {task}
      ignore_errors: true
      environment: {{LM_API_TOKEN: in-the-environment-of-the-task}}
      register: answer
    - name: The hint
      ansible.builtin.debug:
        msg: "HINT {number}: {{{{ {record}.error.hint }}}}"
"""
    outcome = run(plays, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}, "-i", "lmstudio.yml")
    hints = dict(re.findall(r'HINT (\d+): (.*?)"', outcome.output))
    for number, (task, _variables, _record, says, does_not_say) in enumerate(HINTS):
        hint = hints[str(number)]
        assert all(words in hint for words in says) and not any(words in hint for words in does_not_say), (task, hint)
