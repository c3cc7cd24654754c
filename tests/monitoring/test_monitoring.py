# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Prometheus, which scrapes audits of a simulated fleet through a real node_exporter. Run by `nox -s monitoring`."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import (
    LOCAL,
    MONITORING,
    TARGET_PYTHON,
    run_in,
    service_command,
    start,
)
from ansible_collections.gpufleet.lmstudio.tests.monitoring.grafana import needs_grafana, shown
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE, until
from ansible_collections.gpufleet.lmstudio.tests.ports import Ports
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["start"]

CHAT = "qwen/qwen3-8b"
POLICY = {
    "groups": {"gpu": {"require": [{"name": "chat", "model": CHAT}]}},
    "fleet": [{"require": [{"name": "chat on two", "model": CHAT}], "min_hosts": 2}],
}
# "evil" is there for the names of its models, and not in the group of the policy.
GPU = ("gpu1", "gpu2")
FLEET = {name: {"payload": "none_loaded.json"} for name in GPU} | {"evil": {"payload": "hostile.json"}}
PANELS = json.loads((MONITORING / "lmstudio-dashboard.json").read_text(encoding="utf-8"))["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
# As on a real controller, node_exporter runs as a user without any rights.
NOBODY = pwd.getpwnam("nobody")
READER: dict[str, Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Wait as `until` does, but for two minutes only: alerts are evaluated every second."""
    return until(what, condition, 120)


class Monitoring:
    """node_exporter and Prometheus on ports of their own, with the rules of the role."""

    def __init__(self, folder: Path) -> None:
        self.textfiles = folder / "textfiles"
        self.state = folder / "state"
        self._data = folder / "data"
        for path in (self.textfiles, self.state, self._data):
            path.mkdir()
        self._link = self.textfiles / "fleet_audit.prom"
        self.metrics = self.state / "lmstudio-audit" / "fleet_audit.prom"
        self._ports = Ports()
        exporter, self._port = self._ports["node_exporter"], self._ports["prometheus"]
        # Tests cannot wait for ten minutes.
        rules, waits = re.subn(r"for: 10m", "for: 1s", (MONITORING / "lmstudio-alerts.yml").read_text(encoding="utf-8"))
        assert waits == 1
        (folder / "alerts.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._running: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "log.txt").open("wb")
        textfile = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={self.textfiles}"]
        self._start("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}", *textfile, **READER)
        paths = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={self._data}"]
        self._start("prometheus", f"--web.listen-address=127.0.0.1:{self._port}", *paths)

    def _start(self, *command: str, **options: Any) -> None:
        self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, **options))

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(timeout=PATIENCE)
        self._ports.close()
        self._log.close()

    def link(self) -> None:
        self._link.symlink_to(self.metrics)

    def unlink(self) -> None:
        self._link.unlink()

    def api(self, path: str, **arguments: str) -> Any:
        """The data of an answer, or None until there is any."""
        assert [process.poll() for process in self._running] == [None, None], Path(self._log.name).read_text()
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=PATIENCE) as answer:
                document = json.load(answer)
        except ConnectionError:
            return None
        except urllib.error.HTTPError as exc:
            # It has not read its data yet.
            if exc.code == 503:
                return None
            raise AssertionError(exc.read()) from None
        except urllib.error.URLError as exc:
            if isinstance(exc.reason, ConnectionError):
                return None
            raise
        assert document["status"] == "success"
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found = self.api("query", query=expression)
        return found["result"] if found else []

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def panels(self) -> dict[str, list[list[str]]]:
        """What each panel of the dashboard shows, by its title: texts with their colours, rows of a table, or series with their last values."""
        end = time.time()

        def answer(target: dict[str, Any]) -> list[dict[str, Any]]:
            if not target["range"]:
                return self.query(target["expr"])
            found = self.api("query_range", query=target["expr"], start=str(end - 10), end=str(end), step="1")
            return found["result"] if found else []

        return shown([{"panel": panel, "answers": [answer(target) for target in panel["targets"]]} for panel in PANELS])

    def in_file(self) -> float:
        """When the audit in the file ran."""
        (line,) = re.findall(r"^lmstudio_audit_timestamp_seconds (\d+)$", self.metrics.read_text(encoding="utf-8"), re.MULTILINE)
        return float(line)

    def wait_until_it_has_judged_the_file(self) -> None:
        wait_for("the scrape", lambda: self.value("lmstudio_audit_timestamp_seconds") == self.in_file())
        self.wait_for_rules()

    def wait_for_rules(self) -> None:
        """Wait until the rules have been evaluated with the current data."""
        seen = datetime.now(timezone.utc)

        def evaluated() -> bool:
            groups = (self.api("rules") or {"groups": []})["groups"]
            # Python before 3.11 cannot read nanoseconds.
            times = [re.sub(r"\.\d+", "", group["lastEvaluation"]).replace("Z", "+00:00") for group in groups]
            return bool(times) and all(datetime.fromisoformat(text) > seen for text in times)

        wait_for("the rules", evaluated)

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with its host."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("host") or alert["labels"].get("requirement") or "")
            for alert in self.api("alerts")["alerts"]
            if alert["state"] == "firing"
        }


@pytest.fixture
def monitoring() -> Iterator[Monitoring]:
    # Not in the folder of the test, which only its owner can read.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        running = Monitoring(Path(name))
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def fleet(start: Callable[[dict[str, Any]], Simulator]) -> Simulator:
    fleet = start(FLEET)
    for name in GPU:
        fleet.load(name, CHAT, context_length=8192)
    return fleet


@pytest.fixture
def audit(fleet: Simulator, monitoring: Monitoring, tmp_path: Path) -> Callable[..., None]:
    """Run what the service runs, and wait until Prometheus has the result."""
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    variables = {"ansible_python_interpreter": TARGET_PYTHON, **LOCAL}
    (tmp_path / "inventory.yml").write_text(
        yaml.safe_dump({"all": {"hosts": hosts, "vars": variables, "children": {"gpu": {"hosts": dict.fromkeys(GPU)}}}})
    )
    settings = {"fleet_audit_policy": POLICY, "fleet_audit_baseline": "last"}

    def run_audit(**more: Any) -> None:
        (tmp_path / "audit.yml").write_text(yaml.safe_dump({**settings, **more}))
        done = run_in(tmp_path, service_command(str(monitoring.state)), {})
        assert done.returncode == 0, done.stdout + done.stderr

    return run_audit


def rewritten(path: Path, text: str) -> None:
    """Replace the file as the audit does."""
    beside = path.with_name(".beside")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)


def test_each_alert_fires_and_is_over_in_a_real_prometheus(fleet: Simulator, monitoring: Monitoring, audit: Callable[..., None]) -> None:
    wait_for("Prometheus", lambda: monitoring.api("status/buildinfo"))
    wait_for("the alert about metrics that are missing", lambda: monitoring.firing() == {("LmstudioAuditMissing", "")})

    audit()
    monitoring.link()
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.firing() == set()

    fleet.fault("gpu1", "refused")
    fleet.unload("gpu2", CHAT)
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.firing() == {
        ("LmstudioHostWithoutAnswer", "gpu1"),
        ("LmstudioRequirementNotMet", "chat"),
        ("LmstudioFleetRuleNotMet", "chat on two"),
        ("LmstudioDrift", "gpu2"),
    }
    # From here on, every panel has something to show.
    assert [query for query in QUERIES if not monitoring.query(query)] == []

    fleet.fault("gpu1", None)
    fleet.load("gpu2", CHAT, context_length=8192)
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    # Coming back is a change, too, until the next run.
    assert monitoring.firing() == {("LmstudioDrift", "gpu2")}
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.firing() == set()

    # There was no audit for three hours.
    text = monitoring.metrics.read_text(encoding="utf-8")
    rewritten(monitoring.metrics, text.replace(f"{monitoring.in_file():.0f}", f"{monitoring.in_file() - 3 * 3600:.0f}"))
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.firing() == {("LmstudioAuditOld", "")}
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.firing() == set()

    monitoring.unlink()
    wait_for("the alert about metrics that are gone", lambda: monitoring.firing() == {("LmstudioAuditMissing", "")})
    monitoring.link()
    wait_for("its end", lambda: monitoring.firing() == set())


@needs_grafana
def test_the_panels_show_what_is_wrong_in_red_and_what_is_not_known_as_such(
    fleet: Simulator, monitoring: Monitoring, audit: Callable[..., None]
) -> None:
    first_row = [panel["title"] for panel in PANELS if panel["type"] == "stat"]
    wait_for("Prometheus", lambda: monitoring.api("status/buildinfo"))
    assert monitoring.panels() == {panel["title"]: [["not known", "text"]] if panel["title"] in first_row else [] for panel in PANELS}

    audit()
    monitoring.link()
    monitoring.wait_until_it_has_judged_the_file()
    panels = monitoring.panels()
    age, *numbers = [panels[title] for title in first_row]
    assert age[0][1] == "green"
    # The first audit has nothing to be compared with.
    assert numbers == [[["0", "green"]]] * 3 + [[["not known", "text"]]] * 2
    assert panels["Hosts that answer"] == [["expected", "3"], ["answered", "3"]]
    instances = [["gpu1", CHAT, CHAT, "8192"], ["gpu2", CHAT, CHAT, "8192"]]
    assert panels["Loaded instances"][0] == ["host", "model", "instance", "context"]
    assert sorted(row for row in panels["Loaded instances"] if row[0] in GPU) == instances

    fleet.fault("gpu1", "refused")
    fleet.unload("gpu2", CHAT)
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    panels = monitoring.panels()
    assert [panels[title] for title in first_row][1:] == [
        [["1", "red"]],
        [["3", "red"]],
        [["1", "red"]],
        [["1", "yellow"]],
        [["1", "yellow"]],
    ]
    assert panels["Status of the hosts without an answer"] == [["host", "status"], ["gpu1", "refused"]]
    assert panels["Requirements that hosts do not meet"] == [["host", "requirement", "policy"], ["gpu2", "chat", "group gpu"]]
    assert panels["Rules of the fleet that are not met"] == [["requirement", "policy"], ["chat on two", "fleet"]]
    assert panels["Hosts that changed"] == [["host", "changes"], ["gpu2", "1"]]
    assert panels["Hosts that meet each requirement"] == [["chat (group gpu)", "0"]]
    assert all(panels.values())

    # No host answers: what is not known is not green.
    for name in FLEET:
        fleet.fault(name, "refused")
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    panels = monitoring.panels()
    age, without_answer, violations, rules, changes, not_compared = [panels[title] for title in first_row]
    assert without_answer == [["3", "red"]] and violations[0][1] == "red" and rules[0][1] == "red"
    assert changes == [["not known", "text"]] and not_compared == [["3", "yellow"]]
    assert panels["Requirements that hosts do not meet"] == panels["Loaded instances"] == panels["Hosts that changed"] == []

    # There was no audit for three hours.
    text = monitoring.metrics.read_text(encoding="utf-8")
    rewritten(monitoring.metrics, text.replace(f"{monitoring.in_file():.0f}", f"{monitoring.in_file() - 3 * 3600:.0f}"))
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.panels()["Age of the audit"] == [["3.00 hours", "red"]]


def test_every_sample_arrives_and_hostile_names_are_text(monitoring: Monitoring, audit: Callable[..., None]) -> None:
    audit()
    monitoring.link()
    monitoring.wait_until_it_has_judged_the_file()
    families = list(text_string_to_metric_families(monitoring.metrics.read_text(encoding="utf-8")))
    written = {(sample.name, frozenset(sample.labels.items()), float(sample.value)) for family in families for sample in family.samples}
    of_scrape = {"__name__", "instance", "job"}
    arrived = set()
    for series in monitoring.query('{__name__=~"lmstudio_.+"}'):
        labels = frozenset((name, value) for name, value in series["metric"].items() if name not in of_scrape)
        arrived.add((series["metric"]["__name__"], labels, float(series["value"][1])))
    assert arrived == written
    assert any("{{ 7 * 7 }}" in value for _name, labels, _value in arrived for _label, value in labels)
    assert monitoring.value("node_textfile_scrape_error") == 0


@pytest.mark.skipif(not READER, reason="whom a mode keeps out: node_exporter runs as another user only where root starts it")
def test_node_exporter_reports_a_file_that_it_may_not_read(monitoring: Monitoring, audit: Callable[..., None]) -> None:
    audit(fleet_audit_mode="0640")
    monitoring.link()
    wait_for("an error of node_exporter", lambda: monitoring.value("node_textfile_scrape_error") == 1)
    audit()
    monitoring.wait_until_it_has_judged_the_file()
    assert monitoring.value("node_textfile_scrape_error") == 0
