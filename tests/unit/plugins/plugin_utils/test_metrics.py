# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics, their documentation, and the files that use them: alerts, dashboard, timer and cron line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import make_audit
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.prometheus_report import METRICS, as_prometheus
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, ROOT
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import MONITORING, service_command
from ansible_collections.gpufleet.lmstudio.tests.unit.plugins.plugin_utils.test__reports import (
    CHAT,
    GOLDEN,
    HOSTILE,
    answering,
    entry,
    failing,
    instance,
)
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.once

ALERTS = MONITORING / "lmstudio-alerts.yml"
ALERT_TESTS = GOLDEN.parent / "alerts.yml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
PANELS = json.loads((MONITORING / "lmstudio-dashboard.json").read_text(encoding="utf-8"))["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
LABELS = {metric.name: set(metric.labels) for metric in METRICS}
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="metrics and alerts with promtool: there is none here. On Debian: apt-get install prometheus"
)


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def samples_of(hosts, policy):
    """Of an audit: the number by the name of the metric and the values of its labels."""
    text = as_prometheus(make_audit(hosts, parse_policies(policy, {"gpu": list(hosts)}), None, "2026-11-23T08:00:00Z"))
    return {
        (sample.name, *sample.labels.values()): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }


def test_the_documentation_has_the_table_of_the_code():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| `lmstudio_\w+` \| gauge", line)
    ]
    assert rows == [
        [f"`{metric.name}`", "gauge", ", ".join(f"`{label}`" for label in metric.labels), metric.unit, metric.help] for metric in METRICS
    ]


def test_what_is_written_is_what_the_table_says():
    families = list(text_string_to_metric_families((GOLDEN / "fleet_audit.prom").read_text(encoding="utf-8")))
    assert [(family.name, family.type, family.documentation) for family in families] == [
        (metric.name, "gauge", metric.help) for metric in METRICS
    ]
    for family in families:
        assert {frozenset(sample.labels) for sample in family.samples} == {frozenset(LABELS[family.name])}
    shown = {sample.labels["model"] for family in families if family.name.endswith("_context_length") for sample in family.samples}
    assert any(name.startswith(HOSTILE[:60]) for name in shown)


def test_labels_are_few_and_never_those_of_the_scrape():
    assert set().union(*LABELS.values()) == {"host", "model", "model_instance", "policy", "requirement", "severity", "status"}


def test_what_is_not_known_has_no_sample():
    hosts = {"up": answering(entry(CHAT, instances=[instance(CHAT, 8192)])), "down": failing("auth", "it requires a token")}
    found = samples_of(hosts, {"require": [{"name": "chat", "model": CHAT}]})
    assert {key for key in found if "down" in key} == {("lmstudio_host_ok", "down"), ("lmstudio_host_status", "down", "auth")}
    rule = ("all hosts", "chat")
    assert found[("lmstudio_requirement_met", "up", *rule)] == 1
    counted = [found[(f"lmstudio_requirement_hosts{kind}", *rule)] for kind in ("", "_met", "_failed")]
    assert counted == [2, 1, 0]
    assert (found["lmstudio_hosts_expected",], found["lmstudio_hosts_answered",]) == (2, 1)

    without_policy = {key[0] for key in samples_of(hosts, {})}
    assert not [name for name in without_policy if re.search("violations|requirement|rule|drift", name)]


def test_a_warning_is_not_met_and_has_not_failed():
    policy = {
        "require": [{"name": "chat", "model": "m", "severity": "warn"}],
        "fleet": [{"require": [{"name": "chat", "model": "m", "severity": "warn"}], "min_hosts": 1}],
    }
    found = samples_of({"gpu": answering()}, policy)
    assert found["lmstudio_requirement_met", "gpu", "all hosts", "chat"] == 0
    assert found["lmstudio_requirement_hosts_failed", "all hosts", "chat"] == 0
    assert (found["lmstudio_fleet_rule_met", "fleet", "chat"], found["lmstudio_fleet_rule_failed", "fleet", "chat"]) == (0, 0)


@pytest.mark.parametrize("order", [1, -1])
def test_of_requirements_with_the_same_name_the_worst_counts(order):
    met, unmet = {"name": "m\u202e", "model": "m"}, {"name": "m\\u202e", "model": "other"}
    both = [met, unmet][::order]
    policy = {"require": both, "fleet": [{"require": [requirement], "min_hosts": 1} for requirement in both]}
    found = samples_of({"gpu": answering(entry("m", instances=[instance("m", 1)]))}, policy)
    name = "m\\u202e"
    assert found["lmstudio_requirement_met", "gpu", "all hosts", name] == 0
    counted = [found[f"lmstudio_requirement_hosts{kind}", "all hosts", name] for kind in ("", "_met", "_failed")]
    assert counted == [1, 0, 1]
    assert (found["lmstudio_fleet_rule_met", "fleet", name], found["lmstudio_fleet_rule_failed", "fleet", name]) == (0, 1)


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_alerts_and_dashboard_name_metrics_and_labels_that_there_are(expression):
    names = set(re.findall(r"lmstudio_\w+", expression))
    assert names and names <= set(LABELS)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    labels |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    assert labels <= set.union(*(LABELS[name] for name in names))


def test_alerts_show_labels_that_their_metrics_have():
    for rule in RULES:
        of_metric = set.union(*(LABELS[name] for name in re.findall(r"lmstudio_\w+", rule["expr"])))
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= of_metric


def test_every_alert_is_documented_and_has_a_test_in_which_it_fires_and_is_over():
    documented = re.findall(r"^\| `(Lmstudio\w+)` \|.*\| (\w+) \|$", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in RULES)
    tests = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    for rule in RULES:
        of_alert = [[bool(at["exp_alerts"]) for at in test["alert_rule_test"] if at["alertname"] == rule["alert"]] for test in tests]
        assert any(fires[0] is False and True in fires and fires[-1] is False for fires in of_alert if fires)


def test_the_panels_of_the_dashboard_do_not_overlap():
    places = [panel["gridPos"] for panel in PANELS]
    cells = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _y in cells) == 23
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {"${datasource}"}


def test_a_number_that_is_not_known_does_not_get_the_colour_of_a_good_one():
    for panel in PANELS:
        if panel["type"] == "stat":
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["noValue"] == "not known"
            # Without a number, Grafana takes the first colour.
            first, good, *bad = defaults["thresholds"]["steps"]
            assert first == {"color": "text", "value": None} and good == {"color": "green", "value": 0} and bad


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_metrics():
    assert promtool("check", "metrics", text=(GOLDEN / "fleet_audit.prom").read_text(encoding="utf-8")) == ""


@needs_promtool
def test_each_alert_fires_and_is_over():
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(ALERT_TESTS))


@needs_promtool
def test_the_queries_of_the_dashboard_are_sound(tmp_path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", str(path))


# The files for the controller


def test_cron_runs_what_the_service_runs():
    (line,) = re.findall(r"^\d.+$", (MONITORING / "lmstudio-audit.cron").read_text(encoding="utf-8"), re.MULTILINE)
    assert "%" not in line
    _minute, *_times, user, command = line.split(" ", 6)
    words = shlex.split(command.partition(">")[0])
    assert user == "lmstudio-audit" and words[words.index("ansible-playbook") + 1 :] == service_command("/var/lib")[1:]


def test_every_file_is_in_the_guide():
    guide = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\(\.\./roles/fleet_audit/files/monitoring/([^)]+)\)", guide))
    assert linked == {path.name for path in MONITORING.iterdir()}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="the units of systemd: there is no systemd here")
@pytest.mark.parametrize("name", ["lmstudio-audit.service", "lmstudio-audit.timer"])
def test_systemd_takes_the_units(tmp_path, name):
    for unit in MONITORING.glob("lmstudio-audit.*"):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/ansible-playbook", str(BINARIES / "ansible-playbook"))
        (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", f"./{name}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    # It may complain about other units of the machine.
    told = [line for line in (done.stdout + done.stderr).splitlines() if "lmstudio" in line]
    assert (done.returncode, told) == (0, [])
