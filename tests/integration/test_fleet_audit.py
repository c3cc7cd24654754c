# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook as a user runs it, and its reports as other programs read them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import jsonschema
import junitparser
import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, run_in, service_command, words
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "roles/fleet_audit/files/fleet_audit.schema.json").read_text())
GOLDEN = ROOT / "tests/unit/plugins/plugin_utils/golden"
FORMATS = {"html": "html", "json": "json", "csv": "csv", "markdown": "md", "junit": "xml", "prometheus": "prom"}
TOKEN = "kept-secret-0123456789"
FLEET = {
    "gpu1": {"payload": "two_loaded.json"},
    "gpu2": {"payload": "workstation.json", "token": TOKEN},
    "gpu10": {"payload": "none_loaded.json"},
    "down": {"fault": "refused"},
    "locked": {"fault": "echoed_token"},
    "evil": {"payload": "hostile.json"},
}
POLICY = {
    "require": [{"name": "chat", "model": "qwen/*", "min_context_length": 8192}, {"type": "embedding", "severity": "warn"}],
    "fleet": [{"require": [{"model": "qwen/*"}], "min_hosts": 3, "consistent": ["context_length"]}],
}
PLAYBOOK = "- name: The playbook of the collection\n  ansible.builtin.import_playbook: gpufleet.lmstudio.fleet_audit\n"


def hosts_of(fleet: Simulator):
    return {name: {"lmstudio_url": url, "lmstudio_token": TOKEN if name in ("gpu2", "locked") else ""} for name, url in fleet.urls.items()}


def reports_in(folder: Path) -> dict[str, str]:
    return {name: (folder / f"fleet_audit.{ending}").read_bytes().decode() for name, ending in FORMATS.items()}


@pytest.fixture
def audit(run, tmp_path):
    """Run the playbook with these variables, in the folder of the test."""

    def audit_with(hosts, *arguments, ends=0, playbook=PLAYBOOK, **variables):
        settings = {"fleet_audit_formats": list(FORMATS), "fleet_audit_dest": "audit", **variables}
        return run(playbook, hosts, "-e", json.dumps(settings), *arguments, ends=ends)

    return audit_with


@pytest.mark.matrix
def test_it_reports_in_every_format_and_a_second_run_changes_nothing(audit, start, tmp_path):
    fleet = start(FLEET)
    hosts = hosts_of(fleet)
    first = audit(hosts, fleet_audit_policy=POLICY)
    assert first.output.count("changed: [") == 1
    assert "4 of 6 hosts" not in first.output and "5 of 6 hosts answered" in first.output
    texts = reports_in(tmp_path / "audit")
    for consumer in (by_schema, by_csv, by_junit, by_prometheus):
        consumer(texts)

    second = audit(hosts, fleet_audit_policy=POLICY)
    assert "changed: [" not in second.output
    before, now = json.loads(texts["json"]), json.loads(reports_in(tmp_path / "audit")["json"])
    assert before.pop("run") != now.pop("run")
    assert json.dumps(before) == json.dumps(now)
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert (now["policy"], now["collection_version"], now["limit"]) == (POLICY, version, None)

    # Drift since the first run, whose report was kept elsewhere.
    shutil.copy(tmp_path / "audit" / "fleet_audit.json", tmp_path / "approved.json")
    fleet.load("gpu10", "qwen/qwen3-8b", context_length=8192)
    drifted = audit(hosts, fleet_audit_baseline="approved.json")
    assert drifted.output.count("changed: [") == 1
    assert "gpu10: qwen/qwen3-8b is loaded now, but was not before" in drifted.output
    document = json.loads(reports_in(tmp_path / "audit")["json"])
    assert [(change["host"], change["change"]) for change in document["drift"]["changes"]] == [("gpu10", "loaded")]
    jsonschema.Draft202012Validator(SCHEMA).validate(document)

    for text in [*texts.values(), first.output, second.output, drifted.output]:
        assert TOKEN[:10] not in text
        assert "\x1b" not in text
    assert not list(tmp_path.rglob("pwned"))
    assert not list(tmp_path.rglob("*.unfinished"))


def by_schema(texts):
    document = json.loads(texts["json"])
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    assert document["summary"]["hosts"]["by_status"] == {"ok": 5, "refused": 1}


def by_csv(texts):
    rows = list(csv.DictReader(io.StringIO(texts["csv"], newline=""), strict=True))
    document = json.loads(texts["json"])
    assert {(row["host"], row["model"]) for row in rows if row["model"]} == {
        (host["name"], model["key"]) for host in document["hosts"] for model in host["models"]
    }
    assert [row["status"] for row in rows if row["host"] == "down"] == ["refused"]
    (loaded,) = [row for row in rows if (row["host"], row["model"]) == ("gpu1", "qwen/qwen3-8b")]
    assert (loaded["state"], loaded["context_lengths"], loaded["quantization"]) == ("loaded", "16384 4096", "Q4_K_M")


def by_junit(texts):
    suites = list(junitparser.JUnitXml.fromstring(texts["junit"].encode()))
    document = json.loads(texts["json"])
    cases = {(suite.name, case.classname, case.name): case for suite in suites for case in suite}
    assert {suite.name: (suite.tests, suite.failures) for suite in suites}["hosts answer"] == (6, 1)
    checked = [(check["policy"], check["host"] or "the fleet", check["requirement"]) for check in document["checks"]]
    assert set(checked) <= set(cases)
    silent = {host["name"] for host in document["hosts"] if not host["ok"]}
    for check, name in zip(document["checks"], checked):
        assert cases[name].is_skipped is (check["host"] in silent)
        assert cases[name].is_failure is (check["outcome"] == "failed" and check["host"] not in silent)
    assert len(cases) == sum(suite.tests for suite in suites) == 6 + len(checked)


def by_prometheus(texts):
    families = {family.name: family for family in text_string_to_metric_families(texts["prometheus"])}
    ok = {sample.labels["host"]: sample.value for sample in families["lmstudio_host_ok"].samples}
    assert ok == {name: name != "down" for name in FLEET}
    contexts = {
        (sample.labels["host"], sample.labels["model"], sample.labels["model_instance"]): sample.value
        for sample in families["lmstudio_instance_context_length"].samples
    }
    assert contexts["gpu1", "qwen/qwen3-8b", "qwen/qwen3-8b:2"] == 4096
    assert any("{{ 7 * 7 }}" in model for _host, model, _instance in contexts)
    assert {sample.labels["severity"] for sample in families["lmstudio_violations"].samples} == {"fail", "warn"}


def test_hostile_names_are_text_for_every_consumer():
    """The golden files have worse names than a recorded answer."""
    texts = reports_in(GOLDEN)
    document = json.loads(texts["json"])
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    rows = list(csv.DictReader(io.StringIO(texts["csv"], newline=""), strict=True))
    assert any(row["model"].startswith("<script>") for row in rows)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    names = [case.name for suite in junitparser.JUnitXml.fromstring(texts["junit"].encode()) for case in suite]
    assert len(names) == len(document["checks"]) + len(document["drift"]["changes"]) + len(document["hosts"])
    shown = [sample.labels.get("model", "") for family in text_string_to_metric_families(texts["prometheus"]) for sample in family.samples]
    assert any(name.startswith("<script>") for name in shown)


def test_odd_answers_make_valid_reports(audit, start, tmp_path):
    odd = {"key": "a\ud800b", "type": "llm", "size_bytes": -5, "quantization": {"name": "\udfff"}, "display_name": "\ufffe\x00"}
    odd["loaded_instances"] = [{"id": "\ud800", "config": {"context_length": 10**11, "parallel": -1}}]
    long = {"key": "x" * 100_000, "type": "llm", "size_bytes": 10**30, "loaded_instances": [{"id": "i"}, {"id": "i"}]}
    fleet = start({"gpu1": {"payload": {"models": [odd, long, odd]}}})
    audit(hosts_of(fleet), fleet_audit_policy=POLICY)
    texts = reports_in(tmp_path / "audit")
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(json.loads(texts["json"]))
    assert len(list(csv.DictReader(io.StringIO(texts["csv"], newline=""), strict=True))) == 3
    assert len(list(junitparser.JUnitXml.fromstring(texts["junit"].encode()))) == 3
    assert list(text_string_to_metric_families(texts["prometheus"]))
    # And as a baseline.
    audit(hosts_of(fleet), fleet_audit_baseline="audit/fleet_audit.json", fleet_audit_dest="next", fleet_audit_fail_on=["drift"])


@pytest.mark.parametrize("source", ["controller", "target"])
def test_its_playbook_judges_under_the_tags_of_its_import(audit, start, tmp_path, source):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}})
    settings = {"fleet_audit_policy": POLICY, "fleet_audit_fail_on": ["violations"], "fleet_audit_source": source}
    outcome = audit(hosts_of(fleet), "--tags", "audit", ends=2, playbook=PLAYBOOK + "  tags: [audit]\n", **settings)
    assert "is not loaded" in outcome.output
    assert (tmp_path / "audit" / "fleet_audit.json").exists()


@pytest.mark.matrix
@pytest.mark.parametrize("source", ["controller", "target", "variable"])
def test_its_playbook_does_not_pass_with_what_it_cannot_use(audit, start, tmp_path, source):
    """Ansible checks the variables for one host only, and an end of the play forgets that it failed."""
    fleet = start({"gpu1": {}, "gpu2": {}})
    outcome = audit(hosts_of(fleet), ends=2, fleet_audit_source=source, fleet_audit_fail_on=["violation"], fleet_audit_policy=POLICY)
    assert "value of fleet_audit_fail_on must be one or more of" in outcome.output
    assert not fleet.requests("gpu1") and not (tmp_path / "audit").exists()


def test_no_host_goes_on_where_the_documented_include_cannot_be_used(run, start):
    fleet = start({"gpu1": {}, "gpu2": {}})
    play = (
        (ROOT / "roles/fleet_audit/README.md")
        .read_text()
        .partition("```yaml\n")[2]
        .partition("```")[0]
        .replace("hosts: gpu\n", "hosts: all\n")
    )
    deploy = '    - name: Deploy\n      ansible.builtin.debug:\n        msg: "deployed {{ inventory_hostname }}"\n'
    outcome = run(play.replace("[violations, not_ok]", "[violation]") + deploy, hosts_of(fleet), ends=2)
    assert "value of fleet_audit_fail_on must be one or more of" in outcome.output and "deployed" not in outcome.output


@pytest.mark.matrix
def test_its_playbook_does_not_pass_without_a_host(audit, tmp_path):
    (tmp_path / "groups.yml").write_text("lab:\n")
    for pattern in ("gpus", "lab", ["gpus", "lab"]):
        outcome = audit({"gpu1": {}}, "-i", "groups.yml", ends=4, fleet_audit_hosts=pattern)
        assert "fleet_audit_hosts matches no host of the inventory, so there is nothing to audit." in outcome.output
    for arguments in ([], ["--tags", "nightly"], ["-e", "fleet_audit_hosts=gpus"]):
        outcome = audit({}, *arguments, ends=2)
        assert "The inventory has no hosts, so there is nothing to audit." in outcome.output
    assert not (tmp_path / "audit").exists()
    done = run_in(tmp_path, ["ansible-playbook", "--syntax-check", "gpufleet.lmstudio.fleet_audit"], {})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", ["target", "variable"])
def test_the_other_sources_report_the_same(audit, start, tmp_path, source):
    fleet = start({name: FLEET[name] for name in ("gpu1", "gpu2", "down")})
    hosts = hosts_of(fleet)
    audit(hosts, fleet_audit_policy=POLICY)
    asked = [len(fleet.requests(name)) for name in ("gpu1", "gpu2")]
    expected = json.loads(reports_in(tmp_path / "audit")["json"])
    arguments = []
    if source == "variable":
        (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
        arguments = ["-i", "lmstudio.yml"]
    outcome = audit(hosts, *arguments, fleet_audit_policy=POLICY, fleet_audit_source=source, fleet_audit_dest="other")
    found = json.loads(reports_in(tmp_path / "other")["json"])
    expected.pop("run"), found.pop("run")
    for document in (expected, found):
        for host in document["hosts"]:
            # What to do next depends on who asked.
            host["error"] = host["error"] and host["error"]["message"]
    assert found == expected
    assert [len(fleet.requests(name)) for name in ("gpu1", "gpu2")] == [number + 1 for number in asked]
    assert TOKEN[:10] not in outcome.output


def test_an_answer_of_an_earlier_run_is_not_that_of_this_one(run, start, tmp_path):
    fleet = start({"gpu1": {}, "gpu2": {}})
    role = {"name": "Audit", "ansible.builtin.include_role": {"name": "gpufleet.lmstudio.fleet_audit"}}
    settings = {"fleet_audit_source": "target", "fleet_audit_formats": ["json"], "fleet_audit_dest": "audit"}
    gone = {"name": "One leaves", "ansible.builtin.meta": "end_host", "when": "inventory_hostname == 'gpu1'"}
    plays = [{"name": "Audit", "hosts": "all", "gather_facts": False, "vars": settings, "tasks": tasks} for tasks in ([role], [gone, role])]
    run(json.dumps(plays), hosts_of(fleet))
    hosts = json.loads((tmp_path / "audit" / "fleet_audit.json").read_bytes())["hosts"]
    assert [(host["name"], host["status"]) for host in hosts] == [("gpu1", "not_asked"), ("gpu2", "ok")]
    assert [len(fleet.requests(name)) for name in ("gpu1", "gpu2")] == [1, 2]


@pytest.mark.parametrize(
    ("include", "more"),
    [("import_role", {}), ("include_role", {}), ("include_role", {"apply": {"delegate_to": "gpu1", "delegate_facts": True}})],
)
def test_the_answer_of_one_host_is_never_that_of_another(run, start, tmp_path, include, more):
    """Each host asks itself, but the role runs once: here in the first play, and after a run that asked all of them in the second."""
    fleet = start({"gpu1": {"payload": "two_loaded.json"}, "gpu2": {"payload": "two_loaded.json"}})
    role = {"name": "Audit", f"ansible.builtin.{include}": {"name": "gpufleet.lmstudio.fleet_audit"}}
    change = {
        "url": f"{fleet.control}/hosts/gpu2/settings",
        "method": "POST",
        "body_format": "json",
        "body": {"payload": "none_loaded.json"},
    }
    changes = {"name": "It changes", "ansible.builtin.uri": change, "run_once": True, "delegate_to": "localhost"}
    settings = {
        "fleet_audit_source": "target",
        "fleet_audit_formats": ["json"],
        "fleet_audit_dest": "audit",
        "fleet_audit_policy": {"require": [{"model": "qwen/qwen3-8b"}]},
        "fleet_audit_fail_on": ["violations"],
    }
    once = {**role, f"ansible.builtin.{include}": {"name": "gpufleet.lmstudio.fleet_audit", **more}, "run_once": True}
    for tasks in ([changes, once], [role, changes, once]):
        fleet.change("gpu2", payload="two_loaded.json")
        play = [{"name": "Audit", "hosts": "all", "gather_facts": False, "vars": settings, "tasks": tasks}]
        run(json.dumps(play), hosts_of(fleet), ends=2)
        gpu1, gpu2 = json.loads((tmp_path / "audit" / "fleet_audit.json").read_bytes())["hosts"]
        # What is imported is part of the play, so that each host asks. What is included once is for one host.
        assert [gpu1["status"], gpu2["status"]] == ["ok", "ok" if include == "import_role" else "not_asked"]
        assert gpu1["counts"]["loaded"] and not gpu2["counts"]["loaded"]
        assert (
            gpu2["error"] is None
            or "this run of the role did not ask it, as where run_once includes it for one host" in gpu2["error"]["message"]
        )


@pytest.mark.matrix
@pytest.mark.parametrize("source", ["controller", "target"])
def test_it_judges_although_the_role_is_not_for_the_first_host(run, start, tmp_path, source):
    """The tasks of the role run once, and inherit the `when` of an import."""
    fleet = start({"gpu1": {"payload": "two_loaded.json"}, "gpu2": {"payload": "none_loaded.json"}})
    settings = {
        "fleet_audit_source": source,
        "fleet_audit_formats": ["json"],
        "fleet_audit_dest": "audit",
        "fleet_audit_policy": {"require": [{"model": "qwen/qwen3-8b"}]},
        "fleet_audit_fail_on": ["violations"],
    }
    role = {"role": "gpufleet.lmstudio.fleet_audit", "when": "inventory_hostname == 'gpu2'", "tags": ["audit"]}
    play = [{"name": "Audit", "hosts": "all", "gather_facts": False, "vars": settings, "roles": [role]}]
    assert "qwen/qwen3-8b: not met by" in run(json.dumps(play), hosts_of(fleet), "--tags", "audit", ends=2).output
    gpu1, gpu2 = json.loads((tmp_path / "audit" / "fleet_audit.json").read_bytes())["hosts"]
    assert [gpu1["status"], gpu2["status"]] == ["ok" if source == "controller" else "not_asked", "ok"]


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
def test_hosts_without_a_record_are_findings(audit, start, tmp_path):
    fleet = start({"gpu1": {}})
    hosts = {
        "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0},
        "gpu1": {"lmstudio_url": fleet.urls["gpu1"]},
        "wrong": {"lmstudio_url": fleet.urls["gpu1"], "lmstudio_port": "many"},
    }
    audit(hosts, fleet_audit_source="target")
    found = {host["name"]: host for host in json.loads(reports_in(tmp_path / "audit")["json"])["hosts"]}
    assert {name: host["status"] for name, host in found.items()} == {"gone": "not_asked", "gpu1": "ok", "wrong": "not_asked"}
    assert "lmstudio_port" in found["wrong"]["error"]["message"]

    audit(hosts, fleet_audit_source="variable", fleet_audit_variable="not_there")
    found = json.loads(reports_in(tmp_path / "audit")["json"])
    assert found["summary"]["hosts"]["by_status"] == {"not_asked": 3}


@pytest.mark.parametrize(
    "fail_on, message",
    [
        (["violations"], "gpu10: chat: qwen/* is not loaded"),
        (["not_ok"], "down: http://127.0.0.1"),
        ("violations,not_ok", "gpu10: chat: qwen/* is not loaded"),
        ("not_ok", "refused the connection"),
        ([], None),
    ],
)
def test_it_fails_where_it_should_after_the_reports_are_written(audit, start, tmp_path, fail_on, message):
    fleet = start({name: FLEET[name] for name in ("gpu1", "gpu10", "down")})
    outcome = audit(hosts_of(fleet), fleet_audit_policy=POLICY, fleet_audit_fail_on=fail_on, ends=2 if message else 0)
    reports_in(tmp_path / "audit")
    if message:
        assert message in outcome.output.split("Fail on what fleet_audit_fail_on names")[1]


def test_a_question_has_no_full_stop(audit, start):
    payloads = {name: {"payload": {"models": [{"type": "llm", "key": key}]}} for name, key in (("gpu1", "lab/chats"), ("gpu2", "lab/chat"))}
    fleet = start(payloads)
    policy = {"require": [{"model": "lab/chat"}]}
    play = """
- name: Judge
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask
      gpufleet.lmstudio.fleet_assert: {require: "{{ fleet_audit_policy.require }}"}
      run_once: true
      ignore_errors: true
      register: gate
    - name: Say why not
      ansible.builtin.debug: {msg: "REASONS {{ gate.reasons }}"}
"""
    for playbook, ends in ((play, 0), (PLAYBOOK, 2)):
        outcome = audit(hosts_of(fleet), playbook=playbook, fleet_audit_policy=policy, fleet_audit_fail_on="violations", ends=ends)
        assert "did you mean lab/chats?" in outcome.output and "?." not in outcome.output


def test_each_model_is_named_also_where_only_its_capitals_differ(audit, start):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}})
    policy = {"require": [{"model": "lab/Chat"}, {"model": "lab/chat"}]}
    outcome = audit(hosts_of(fleet), fleet_audit_policy=policy, fleet_audit_fail_on="violations", ends=2)
    failure = outcome.output.split("Fail on what fleet_audit_fail_on names")[1]
    assert "lab/Chat is not listed by this host" in failure and "lab/chat is not listed by this host" in failure


def test_a_long_failure_begins_with_what_weighs_most_and_counts_the_rest(audit, start):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}})
    policy = {"require": [{"model": f"m{number}"} for number in range(20)], "fleet": [{"require": [{"model": "together"}], "min_hosts": 1}]}
    outcome = audit(hosts_of(fleet), fleet_audit_policy=policy, fleet_audit_fail_on="violations", ends=2)
    failure = outcome.output.split("Fail on what fleet_audit_fail_on names")[1]
    assert 0 < failure.index("fleet: 0 of 1 host serves together") < failure.index("m0: ") < failure.index("m18: ")
    assert "m19: " not in failure and "... and 1 more in the reports." in failure


WRONG = [
    ({"fleet_audit_policy": {"require": [{"model": "m", "min_contex_length": 1}]}}, "policy.require[0]: unknown key min_contex_length."),
    ({"fleet_audit_policy": {"groups": {"typo": {"require": [{"model": "m"}]}}}}, "policy.groups.typo: the inventory has no such group"),
    ({"fleet_audit_policy": {"require": [{"type": "llm", "state": "available", "format": "x"}]}}, "gather with detail: full"),
    ({"fleet_audit_baseline": "nowhere.json"}, "baseline: nowhere.json cannot be read: No such file or directory."),
    ({"fleet_audit_baseline": "words.txt"}, "baseline: words.txt is not JSON."),
    ({"fleet_audit_baseline": "other.json"}, "baseline: other.json: it is not a JSON report of fleet_audit."),
    ({"fleet_audit_baseline": "types.json"}, "baseline: types.json: ok of gpu1 must be true or false."),
    ({"fleet_audit_dest": "play.yml"}, "cannot be written to"),
    ({"fleet_audit_formats": ["pdf"]}, "value of fleet_audit_formats must be one or more of: html, json, csv, markdown, junit, prometheus"),
    ({"fleet_audit_fail_on": ["violation"]}, "value of fleet_audit_fail_on must be one or more of: violations, not_ok, drift"),
    ({"fleet_audit_fail_on": ["violations"]}, "Without it the audit could never fail."),
    ({"fleet_audit_fail_on": ["violations"], "fleet_audit_policy": "{}"}, "Without it the audit could never fail."),
    ({"fleet_audit_fail_on": "drift"}, "Without it the audit could never fail."),
    ({"fleet_audit_fail_on": "drift", "fleet_audit_baseline": "last", "fleet_audit_drift": []}, "Without it the audit could never fail."),
    ({"fleet_audit_mode": "rw"}, "mode: rw is not the mode of a file. Write octal digits in quotes, such as '0644'."),
    ({"fleet_audit_mode": 440}, "mode: 440 is not the mode of a file."),
    ({"fleet_audit_history": -1}, "history: -1 is not a number of runs from 0 to 10000."),
    ({"fleet_audit_drift": ["context_length"]}, "value of fleet_audit_drift must be one or more of: added, removed, loaded,"),
    ({"fleet_audit_source": "cloud"}, "value of fleet_audit_source must be one of: controller, target, variable"),
]


def test_what_cannot_be_used_is_named_and_loses_no_report(run, start, tmp_path):
    fleet = start({"gpu1": {}})
    (tmp_path / "other.json").write_text("[]")
    edited = {"schema_version": 2, "run": {"audited_at": ""}, "hosts": [{"name": "gpu1", "ok": "no"}]}
    (tmp_path / "types.json").write_text(json.dumps(edited))
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "audit").mkdir()
    for ending in FORMATS.values():
        (tmp_path / "audit" / f"fleet_audit.{ending}").write_text("earlier")
    tasks = []
    for number, (variables, message) in enumerate(WRONG):
        settings = {"fleet_audit_formats": list(FORMATS), "fleet_audit_dest": "audit", **variables}
        role = {"name": "Audit", "ansible.builtin.include_role": {"name": "gpufleet.lmstudio.fleet_audit"}, "vars": settings}
        # A mistake in the arguments of the role has a message for each of them.
        said = "{{ ([ansible_failed_result.msg] + ansible_failed_result.argument_errors | default([])) | join(' ') | split | join(' ') }}"
        rescue = {"name": "Says so", "ansible.builtin.assert": {"that": ["says in said"]}, "vars": {"says": message, "said": said}}
        rescued = {"name": "Remember it", "ansible.builtin.set_fact": {"rescued": "{{ rescued | default([]) + [number] }}"}}
        tasks.append({"name": "Wrong", "block": [role], "rescue": [rescue, {**rescued, "vars": {"number": number}}]})
    tasks.append({"name": "Every one was an error", "ansible.builtin.assert": {"that": [f"rescued | length == {len(WRONG)}"]}})
    run(json.dumps([{"name": "Audit wrongly", "hosts": "all", "gather_facts": False, "tasks": tasks}]), hosts_of(fleet))
    assert set(reports_in(tmp_path / "audit").values()) == {"earlier"}


@pytest.mark.once
def test_drift_fails_again_until_it_is_accepted(audit, start, tmp_path):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}, "gpu2": {"payload": "none_loaded.json"}})
    hosts, last = hosts_of(fleet), tmp_path / "audit" / "fleet_audit.last.json"
    gate = {"fleet_audit_baseline": "last", "fleet_audit_fail_on": "drift", "fleet_audit_formats": ["json"], "fleet_audit_history": 3}
    # A first run that fails for something else has no changes to accept.
    early = {**gate, "fleet_audit_dest": "early", "fleet_audit_policy": POLICY, "fleet_audit_fail_on": "violations,drift"}
    failed = audit(hosts, ends=2, **early).output.split("Fail on what")[1]
    assert "not met by 2 of 2 hosts" in failed and "fleet_audit_accept" not in failed
    first = audit(hosts, **gate)
    assert "this is the first run, so there is nothing to compare with" in first.output
    figures = tmp_path / "audit" / "fleet_audit.history.json"

    fleet.load("gpu1", "qwen/qwen3-8b", context_length=8192)
    before = last.read_bytes()
    for _time in range(2):
        failed = audit(hosts, ends=2, **gate).output
        assert "gpu1: qwen/qwen3-8b is loaded now, but was not before" in failed
        assert "If they are wanted, run it once with -e fleet_audit_accept=true." in failed
    # What was not accepted is not lost by a run that does not see the host.
    audit(hosts, "--limit", "gpu2", **gate)
    assert "is loaded now" in audit(hosts, ends=2, **gate).output
    assert json.loads(before)["hosts"][0]["counts"]["loaded"] == 0

    # A file of somebody's own is not accepted by a variable, and the end of the run says so.
    (tmp_path / "approved.json").write_bytes(before)
    own = audit(
        hosts, "-e", "fleet_audit_accept=true", ends=2, **{**gate, "fleet_audit_baseline": "approved.json", "fleet_audit_dest": "own"}
    )
    assert "If they are wanted, replace approved.json with the fleet_audit.json of this run." in own.output
    assert (tmp_path / "approved.json").read_bytes() == before
    own = audit(hosts, ends=2, **{**gate, "fleet_audit_baseline": "approved.json", "fleet_audit_formats": ["csv"]})
    assert "with the fleet_audit.json of this run, which needs json in fleet_audit_formats." in own.output

    accepted = audit(hosts, "-e", "fleet_audit_accept=true", ends=2, **gate).output
    assert "is loaded now" in accepted and "fleet_audit_accept" not in accepted.split("Fail on what")[1]
    audit(hosts, **gate)

    # Behind an outage, and outside of a limit.
    fleet.fault("gpu1", "refused")
    outage = audit(hosts, **gate).output
    assert "0 changes since the baseline, 1 host not compared with it." in outage
    audit(hosts, "--limit", "gpu2", **gate)
    limited = json.loads(last.read_bytes())
    assert limited["limit"] == "gpu2"
    (carried,) = limited["carried_over"]
    assert (carried["name"], carried["models"] != []) == ("gpu1", True)
    fleet.fault("gpu1", None)
    fleet.unload("gpu1", "qwen/qwen3-8b")
    assert "gpu1: qwen/qwen3-8b is no longer loaded" in audit(hosts, ends=2, **gate).output

    runs = json.loads(figures.read_bytes())["runs"]
    assert [run["hosts"] for run in runs] == [2, 1, 2] and [run["drift"] for run in runs] == [0, 0, 1]
    for document in (json.loads(last.read_bytes()), json.loads((tmp_path / "audit" / "fleet_audit.json").read_bytes())):
        jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)


def test_what_it_judges_by_is_the_same_for_all_hosts(audit, run, start, tmp_path):
    """The role runs once, with the variables of the first host."""
    fleet = start({"bastion": {"payload": "none_loaded.json"}, "gpu1": {"payload": "none_loaded.json"}})
    chat = {"require": [{"model": "qwen/qwen3-8b"}]}
    own = {"fleet_audit_policy": chat, "fleet_audit_fail_on": ["violations"]}

    def hosts(**of_gpu1):
        return {name: {**variables, **(of_gpu1 if name == "gpu1" else {})} for name, variables in hosts_of(fleet).items()}

    def refused(name, hosts, *arguments, **variables):
        said = words(audit(hosts, *arguments, ends=2, **variables))
        assert f"{name} is not the same for gpu1 and for bastion, and the role judges both with one value." in said
        assert "Give both the same value, in group_vars or in vars of the role, or take " in said
        assert not (tmp_path / "audit").exists()

    for source in ("controller", "target", "variable"):
        refused("fleet_audit_policy", hosts(**own), fleet_audit_source=source)
    refused("fleet_audit_policy", hosts(**own), "--check")
    refused("fleet_audit_fail_on", hosts(**own), fleet_audit_policy=chat)
    own_values = {
        "baseline": "last",
        "drift": ["loaded"],
        "accept": True,
        "dest": "elsewhere",
        "source": "variable",
        "variable": "asked_now",
    }
    for name, value in own_values.items():
        # What is given on the command line is for all hosts, so it is not given here.
        play = [{"name": "Audit", "hosts": "all", "gather_facts": False, "roles": ["gpufleet.lmstudio.fleet_audit"]}]
        said = run(json.dumps(play), hosts(**{f"fleet_audit_{name}": value}), ends=2).output
        assert f"fleet_audit_{name} is not the same for gpu1 and for bastion" in " ".join(said.split())
    assert not (tmp_path / "fleet_audit").exists()

    # The same for both, wherever it is from.
    assert "qwen/qwen3-8b: not met by" in audit({name: {**each, **own} for name, each in hosts().items()}, ends=2).output
    assert "qwen/qwen3-8b: not met by" in audit(hosts(**{**own, "fleet_audit_policy": {}}), ends=2, **own).output
    role = {"name": "Audit", "ansible.builtin.include_role": {"name": "gpufleet.lmstudio.fleet_audit"}, "run_once": True}
    for play in ({"vars": own, "tasks": [role]}, {"tasks": [{**role, "vars": own}]}):
        plays = [{"name": "Audit", "hosts": "all", "gather_facts": False, **play}]
        failed = run(json.dumps(plays), hosts(fleet_audit_policy={}, fleet_audit_fail_on=["not_ok"], fleet_audit_timeout=60), ends=2)
        assert "qwen/qwen3-8b: not met by" in failed.output
    # A host that the play has lost does not have what a task has set since.
    leaves = {"name": "One leaves", "ansible.builtin.meta": "end_host", "when": "inventory_hostname == 'gpu1'"}
    sets = {"name": "Set it", "ansible.builtin.set_fact": own}
    plays = [{"name": "Audit", "hosts": "all", "gather_facts": False, "tasks": [leaves, sets, role]}]
    assert "qwen/qwen3-8b: not met by 2 of 2 hosts" in run(json.dumps(plays), hosts(), ends=2).output
    plays[0]["tasks"].remove(sets)
    assert "fleet_audit_fail_on is not the same" in run(json.dumps(plays), hosts(fleet_audit_fail_on=["not_ok"]), ends=2).output
    # One host alone.
    assert "qwen/qwen3-8b: not met by" in audit(hosts(**own), "--limit", "gpu1", ends=2).output


GATE = {"fleet_audit_baseline": "last", "fleet_audit_fail_on": "drift", "fleet_audit_formats": ["json"]}
NOTHING_COMPARED = "No host could be compared with the baseline."


@pytest.mark.once
def test_where_no_host_could_be_compared_it_fails_until_that_is_accepted(audit, start, tmp_path):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}})
    url, last = fleet.urls["gpu1"], tmp_path / "audit" / "fleet_audit.last.json"

    def fails(hosts, *arguments, advice=True):
        before = last.read_bytes()
        for _time in range(2):
            failed = audit(hosts, *arguments, ends=2, **GATE).output.split("Fail on what")[1]
            assert NOTHING_COMPARED in failed
            assert ("To compare with this run instead, run it once with -e fleet_audit_accept=true." in failed) is advice
            assert "The next run will fail again, unless a host can then be compared." in failed
        assert last.read_bytes() == before

    def accepted(hosts, *arguments):
        failed = audit(hosts, *arguments, "-e", "fleet_audit_accept=true", ends=2, **GATE).output.split("Fail on what")[1]
        assert NOTHING_COMPARED in failed and "fleet_audit_accept" not in failed
        audit(hosts, *arguments, **GATE)

    # A host that was renamed, and has changed.
    audit({"gpu1": {"lmstudio_url": url}}, **GATE)
    fleet.load("gpu1", "qwen/qwen3-8b", context_length=8192)
    renamed = {"gpu2": {"lmstudio_url": url}}
    fails(renamed)
    # What its old name had is not lost.
    assert "gpu1: qwen/qwen3-8b is loaded now" in audit({"gpu1": {"lmstudio_url": url}}, ends=2, **GATE).output
    accepted(renamed)

    # One that is down keeps what it had, so there is nothing to accept.
    fleet.fault("gpu1", "refused")
    fails(renamed, advice=False)
    fleet.fault("gpu1", None)
    audit(renamed, **GATE)

    # One that is new, and alone in a run.
    both = {**renamed, "gpu3": {"lmstudio_url": url}}
    fails(both, "--limit", "gpu3")
    accepted(both, "--limit", "gpu3")
    fleet.unload("gpu1", "qwen/qwen3-8b")
    assert "2 hosts: qwen/qwen3-8b is no longer loaded" in audit(both, ends=2, **GATE).output

    # One that was down in the first run.
    last.unlink()
    fleet.fault("gpu1", "refused")
    audit(renamed, **GATE)
    fleet.fault("gpu1", None)
    fails(renamed)
    # With a file of somebody's own, and without the gate, as before.
    (tmp_path / "approved.json").write_bytes(last.read_bytes())
    own = audit(renamed, ends=2, **{**GATE, "fleet_audit_baseline": "approved.json", "fleet_audit_dest": "own"}).output
    assert "To compare with this run instead, replace approved.json with the fleet_audit.json of this run." in own
    audit(renamed, **{**GATE, "fleet_audit_fail_on": []})
    audit(renamed, **GATE)


@pytest.mark.once
def test_what_was_approved_is_not_lost_by_an_answer_that_tells_less(audit, start, tmp_path):
    entry = {"key": "m", "type": "llm", "loaded_instances": []}

    def listing(quantization, *contexts):
        instances = [{"id": f"n:{number}", "config": {"context_length": context}} for number, context in enumerate(contexts)]
        quantized = {**entry, "quantization": {"name": quantization, "bits_per_weight": 4}}
        return {"payload": {"models": [quantized, {**quantized, "key": "n", "quantization": None, "loaded_instances": instances}]}}

    fleet = start({"gpu1": listing("Q4_K_M", 8192, 4096)})
    newer = {"gpu1": {"lmstudio_url": fleet.urls["gpu1"]}}
    older = {"gpu1": {**newer["gpu1"], "lmstudio_api": "v0"}}
    audit(newer, fleet_audit_detail="full", **GATE)
    fleet.change("gpu1", **listing("Q4_K_M", 8192))
    # The older list has one instance of each loaded model.
    for _time in range(2):
        audit(older, fleet_audit_detail="full", **GATE)
    assert "n now has the context 8192 instead of 4096, 8192" in audit(newer, ends=2, **GATE).output
    fleet.change("gpu1", **listing("Q8_0", 8192, 4096))
    # At detail loaded, a model that is not loaded has no quantization.
    for _time in range(2):
        audit(newer, fleet_audit_detail="loaded", **GATE)
    changed = audit(newer, fleet_audit_detail="full", ends=2, **GATE).output
    assert "m now has the quantization Q8_0 instead of Q4_K_M" in changed
    document = json.loads((tmp_path / "audit" / "fleet_audit.last.json").read_bytes())
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    # An accepted change is, also with an answer that tells less.
    audit(newer, "-e", "fleet_audit_accept=true", fleet_audit_detail="full", ends=2, **GATE)
    audit(newer, fleet_audit_detail="full", **GATE)
    fleet.change("gpu1", **listing("Q8_0"))
    audit(older, "-e", "fleet_audit_accept=true", ends=2, **GATE)
    audit(older, **GATE)
    audit(newer, fleet_audit_detail="full", **GATE)


@pytest.mark.once
def test_a_run_is_never_compared_with_a_file_that_it_writes_itself(audit, start, tmp_path):
    fleet = start({"gpu1": {"payload": "none_loaded.json"}})
    hosts, folder = hosts_of(fleet), tmp_path / "audit"
    audit(hosts, fleet_audit_baseline="last", fleet_audit_history=3, fleet_audit_formats=["json", "html"])
    fleet.load("gpu1", "qwen/qwen3-8b", context_length=8192)
    (tmp_path / "link.json").symlink_to("audit/fleet_audit.json")
    (tmp_path / "alias").symlink_to("audit")
    (tmp_path / "play").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    gate = {"fleet_audit_fail_on": ["drift"], "fleet_audit_formats": ["json", "html"]}

    def refused(baseline, *arguments):
        said = words(audit(hosts, *arguments, ends=2, **gate, fleet_audit_baseline=baseline))
        assert f"baseline: {baseline} is a file that the audit itself may write" in said
        assert "Copy it elsewhere and give the copy, or write last" in said

    for path in (str(folder / "fleet_audit.json"), "play/../audit/fleet_audit.json", "link.json", "alias/fleet_audit.json"):
        refused(path)
    for name in ("last.json", "history.json", "html"):
        refused(f"audit/fleet_audit.{name}")
    for argument in ("fleet_audit_accept=true", "fleet_audit_dest=alias"):
        refused("audit/fleet_audit.json", "-e", argument)
    refused("audit/fleet_audit.json", "--check")
    # A file that is not there yet will be one that the run has written.
    refused("new/fleet_audit.json", "-e", "fleet_audit_dest=new")
    # Without a gate, too: the next run may be one.
    audit(hosts, ends=2, fleet_audit_baseline="audit/fleet_audit.json", fleet_audit_formats=["csv"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    # A copy fails as often as it is asked.
    shutil.copy(folder / "fleet_audit.json", tmp_path / "approved.json")
    for _time in range(2):
        assert "gpu1: qwen/qwen3-8b is loaded now" in audit(hosts, ends=2, **gate, fleet_audit_baseline="approved.json").output


@pytest.mark.once
@pytest.mark.parametrize("arguments", [(), ("--limit", "gpu2")], ids=["all hosts", "some hosts"])
def test_the_files_of_a_run_have_their_mode_and_history(audit, start, tmp_path, arguments):
    hosts = hosts_of(start({"gpu2": {"token": TOKEN}}))
    folder = tmp_path / "audit"
    settings = {
        "fleet_audit_baseline": "last",
        "fleet_audit_history": 3,
        "fleet_audit_formats": ["json", "html"],
        "fleet_audit_policy": POLICY,
    }
    for number in range(4):
        outcome = audit(hosts, *arguments, fleet_audit_mode="0640" if number else "0604", **settings)
        # The second run is the first one with a baseline. The history alone is not a change.
        assert ("changed: [" in outcome.output) is (number < 2)
    names = ["fleet_audit.history.json", "fleet_audit.html", "fleet_audit.json", "fleet_audit.last.json"]
    assert sorted(os.listdir(folder)) == names
    assert {(folder / name).stat().st_mode & 0o777 for name in names} == {0o640}
    assert len(json.loads((folder / "fleet_audit.history.json").read_bytes())["runs"]) == 3
    assert not [name for name in names if TOKEN[:10] in (folder / name).read_text()]
    assert json.loads((folder / "fleet_audit.json").read_bytes())["hosts"][0]["ok"]
    assert "<p>The last 3 runs.</p>" in (folder / "fleet_audit.html").read_text()

    for broken in ("[]", '{"runs": 1}', '{"runs": [{"requirements": [1]}]}', "[" * 10_000, "\x00"):
        (folder / "fleet_audit.history.json").write_text(broken)
        outcome = audit(hosts, **settings)
        assert "so the history starts over with this run" in words(outcome)
        assert len(json.loads((folder / "fleet_audit.history.json").read_bytes())["runs"]) == 1


@pytest.mark.parametrize("broken", ["[]", "{", '{"schema_version": 2}', '{"schema_version": 3}'])
def test_a_last_run_that_cannot_be_read_never_passes_for_a_first_one(audit, start, tmp_path, broken):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "fleet_audit.last.json").write_text(broken)
    outcome = audit(hosts_of(start({"gpu1": {}})), fleet_audit_baseline="last", fleet_audit_fail_on=["drift"], ends=2)
    assert "Restore it, or delete it to start over." in words(outcome)
    assert (tmp_path / "audit" / "fleet_audit.last.json").read_text() == broken


def test_its_variables_reach_who_asks(audit, start, tmp_path):
    fleet = start({"gpu1": {"fault": "silence"}})
    for source in ("controller", "target"):
        more = {"fleet_audit_concurrency": 1} if source == "controller" else {}
        audit(hosts_of(fleet), fleet_audit_timeout=0.5, fleet_audit_source=source, **more)
        (host,) = json.loads((tmp_path / "audit" / "fleet_audit.json").read_bytes())["hosts"]
        assert host["status"] == "timeout" and "within 0.5 seconds" in host["error"]["message"]


def test_check_mode_writes_nothing_and_tells_what_would_change(audit, start, tmp_path):
    hosts = hosts_of(start({"gpu1": {}}))
    assert audit(hosts, "--check").output.count("changed: [") == 1
    assert not (tmp_path / "audit").exists()
    audit(hosts)
    written = reports_in(tmp_path / "audit")
    assert "changed: [" not in audit(hosts, "--check").output
    assert reports_in(tmp_path / "audit") == written


def test_an_interrupted_run_leaves_the_earlier_reports_whole(audit, start, tmp_path):
    """The second file cannot be written, as on a disk that is full after the first."""
    hosts = hosts_of(start({"gpu1": {}}))
    audit(hosts)
    written = reports_in(tmp_path / "audit")
    (tmp_path / "audit" / "fleet_audit.html").chmod(0o640)
    from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _files

    class Full(Exception):
        pass

    synced = []

    def fsync(number):
        synced.append(number)
        if len(synced) == 2:
            raise Full

    real, _files.os.fsync = _files.os.fsync, fsync
    try:
        with pytest.raises(Full):
            _files.write_all(tmp_path / "audit", {"fleet_audit.html": "new", "fleet_audit.json": "new"})
    finally:
        _files.os.fsync = real
    assert reports_in(tmp_path / "audit") == written
    assert sorted(os.listdir(tmp_path / "audit")) == sorted(f"fleet_audit.{ending}" for ending in FORMATS.values())
    _files.write_all(tmp_path / "audit", {"fleet_audit.html": "new"})
    assert (tmp_path / "audit" / "fleet_audit.html").stat().st_mode & 0o777 == 0o640


@pytest.mark.once
def test_the_service_of_systemd_writes_metrics_that_node_exporter_may_read(start, tmp_path):
    fleet = start({"gpu1": {"payload": "two_loaded.json"}})
    hosts = {"gpu1": {"lmstudio_url": fleet.urls["gpu1"], **LOCAL}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (tmp_path / "audit.yml").write_text(yaml.safe_dump({"fleet_audit_policy": POLICY, "fleet_audit_dest": "elsewhere"}))
    done = run_in(tmp_path, service_command(str(tmp_path / "state")), {})
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state" / "lmstudio-audit").iterdir()}
    assert written == {f"fleet_audit.{ending}": 0o644 for ending in ("html", "json", "prom")}
