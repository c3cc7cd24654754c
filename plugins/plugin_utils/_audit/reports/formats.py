# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Views of an audit: a report in each format, and the summary for a terminal.

What a server sent is data in all of them: escaped as the format wants it, and without control characters where a person reads.
"""

from __future__ import annotations

import calendar
import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import TIME_FORMAT
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit, violations_in
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.html.page import as_html
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.text import headline, problems, size, warnings

_MAX_LINES = 40
_MAX_ROWS = 200


# For programs.


def as_json(audit: Audit) -> str:
    return json.dumps(audit, indent=1) + "\n"


_CSV_COLUMNS = (
    "host", "status", "model", "state", "times_listed", "instances", "context_lengths", "quantization", "bits_per_weight",
    "selected_variant", "size_bytes", "max_context_length", "type", "format", "architecture", "publisher", "display_name",
    "variants",
)  # fmt: skip


def as_csv(audit: Audit) -> str:
    """One row for each host and model. A host without a model has one row, too."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for host in audit["hosts"]:
        for model in host["models"] or [{}]:
            row = {**model, "host": host["name"], "status": host["status"], "model": model.get("key")}
            row["instances"] = len(model["instances"]) if model else None
            row["variants"] = " ".join(model.get("variants") or [])
            row["context_lengths"] = " ".join(str(instance["context_length"] or "?") for instance in model.get("instances", []))
            writer.writerow([_csv_cell(row.get(name)) for name in _CSV_COLUMNS])
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    """A spreadsheet takes text with such a beginning for a formula."""
    if not isinstance(value, str):
        return value
    shown = printable(value, 1000)
    return "'" + shown if shown.lstrip().startswith(("=", "+", "-", "@")) else shown


def as_junit(audit: Audit) -> str:
    """A suite for what each policy requires, a case for each requirement and host. A warning passes, and says so."""
    suites = _Suites()
    for host in audit["hosts"]:
        case = suites.case("hosts answer", host["name"], "answers")
        if not host["ok"]:
            _problem(case, "failure", host["status"], [host["error"]["message"], host["error"]["hint"]])
    for check in audit["checks"]:
        case = suites.case(check["policy"], check["host"] or "the fleet", check["requirement"])
        messages = [violation["message"] for violation in check["violations"]]
        if check["outcome"] == "failed":
            _problem(case, "failure", check["violations"][0]["check"], messages)
        elif messages:
            ElementTree.SubElement(case, "system-out").text = _xml("\n".join(["warning", *messages]))
    for change in (audit["drift"] or {"changes": []})["changes"]:
        _problem(
            suites.case("drift", change["host"], f"{change['model']} {change['change']}"), "failure", change["change"], [change["message"]]
        )
    root = ElementTree.Element("testsuites", name="fleet_audit", timestamp=audit["run"]["audited_at"])
    for name, cases in suites.cases.items():
        failures = sum(case.find("failure") is not None for case in cases)
        counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "skipped": "0"}
        ElementTree.SubElement(root, "testsuite", {"name": _xml(name), **counts}).extend(cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


class _Suites:
    def __init__(self) -> None:
        self.cases: dict[str, list[ElementTree.Element]] = {}
        self._times: Counter[tuple[str, str, str]] = Counter()

    def case(self, suite: str, host: str, name: str) -> ElementTree.Element:
        """A new case. A CI system follows a case by its name, so a second one of a name gets a number."""
        self._times[suite, host, name] += 1
        times = self._times[suite, host, name]
        made = ElementTree.Element("testcase", {"classname": _xml(host), "name": _xml(name) + (f" ({times})" if times > 1 else "")})
        self.cases.setdefault(suite, []).append(made)
        return made


def _problem(case: ElementTree.Element, kind: str, what: str, messages: Sequence[str]) -> None:
    ElementTree.SubElement(case, kind, {"type": _xml(what), "message": _xml(messages[0])}).text = _xml("\n".join(messages))


def _xml(text: str) -> str:
    return "\n".join(printable(line, 1000) for line in text.split("\n"))


_PER_HOST: tuple[tuple[str, str, Callable[[dict[str, Any]], float]], ...] = (
    ("host_ok", "Whether the host gave a model list.", lambda host: host["ok"]),
    ("models_listed", "Models that the host lists.", lambda host: host["counts"]["models"]),
    ("models_loaded", "Models of which the host has an instance.", lambda host: host["counts"]["loaded"]),
    ("instances", "Loaded instances.", lambda host: host["counts"]["instances"]),
    ("listed_bytes", "Size of all models that the host lists.", lambda host: host["size_bytes"]["available"]),
    ("loaded_bytes", "Size of the models of which the host has an instance.", lambda host: host["size_bytes"]["loaded"]),
)


def as_prometheus(audit: Audit) -> str:
    """For the textfile collector of node_exporter."""
    hosts, summary, run = audit["hosts"], audit["summary"], audit["run"]
    lines: list[str] = []

    def family(name: str, help_text: str, samples: Iterable[tuple[dict[str, str], Any]]) -> None:
        # Different names may look the same once they are printable, and a sample that comes twice spoils the whole file.
        shown = {_labelled(f"lmstudio_{name}", labels): int(value) for labels, value in samples if value is not None}
        if shown:
            lines.extend([f"# HELP lmstudio_{name} {help_text}", f"# TYPE lmstudio_{name} gauge"])
            lines.extend(f"{sample} {value}" for sample, value in shown.items())

    for name, help_text, value_of in _PER_HOST:
        family(name, help_text, [({"host": host["name"]}, value_of(host)) for host in hosts])
    family("host_status", "The status of the host.", [({"host": host["name"], "status": host["status"]}, 1) for host in hosts])
    contexts = {
        (host["name"], model["key"], instance["id"]): instance["context_length"]
        for host in hosts
        for model in host["models"]
        for instance in model["instances"]
    }
    family(
        "instance_context_length",
        "Context of a loaded instance, in tokens.",
        [(dict(zip(("host", "model", "instance"), names)), value) for names, value in contexts.items()],
    )
    family("violations", "Violations of the policy.", [({"severity": name}, number) for name, number in summary["violations"].items()])
    of_host = Counter(violation["host"] for violation in violations_in(audit))
    family("host_violations", "Violations of the policy on the host.", [({"host": host["name"]}, of_host[host["name"]]) for host in hosts])
    family("drift_changes", "Changes since the baseline.", [({}, summary["drift"])])
    # What differs between any two runs comes last.
    waited = [({"host": name}, times["response_ms"]) for name, times in run["hosts"].items()]
    family("response_milliseconds", "Time until the host had answered.", waited)
    audited_at = calendar.timegm(time.strptime(run["audited_at"], TIME_FORMAT))
    family("audit_timestamp_seconds", "When the fleet was audited.", [({}, audited_at)])
    return "\n".join(lines) + "\n"


def _labelled(name: str, labels: Mapping[str, str]) -> str:
    def escaped(text: str) -> str:
        return printable(text, 1000).replace("\\", "\\\\").replace('"', '\\"')

    shown = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}}" if shown else name


# For people.


def _loaded(host: Mapping[str, Any]) -> list[str]:
    """Each loaded model with the contexts of its instances."""
    return [
        f"{printable(model['key'])} ({', '.join(_tokens(instance['context_length']) for instance in model['instances'])})"
        for model in host["models"]
        if model["state"] == "loaded"
    ]


def _tokens(number: int | None) -> str:
    return "context not known" if number is None else str(number)


def as_markdown(audit: Audit) -> str:
    """For a pull request or the summary of a job, both of which limit the size: long lists are cut, and say so."""
    summary = audit["summary"]
    lines = ["# LM Studio fleet", "", headline(audit), ""]
    lines += _markdown_table(
        ("hosts", "models listed", "models loaded", "instances", "listed", "loaded"),
        [
            (
                summary["hosts"]["total"], summary["models"]["distinct"], summary["models"]["distinct_loaded"],
                summary["models"]["instances"], size(summary["size_bytes"]["available"]), size(summary["size_bytes"]["loaded"]),
            )
        ],
    )  # fmt: skip
    found = problems(audit)
    for title, messages in (
        ("Violations", found["violations"]),
        ("Hosts that gave no model list", found["not_ok"]),
        ("Changes since the baseline", found["drift"]),
        ("Warnings", warnings(audit)),
        ("Not compared with the baseline", [entry["message"] for entry in (audit["drift"] or {"not_compared": []})["not_compared"]]),
    ):
        if messages:
            lines += [f"## {title}", "", *(f"- {_code(message)}" for message in messages[:_MAX_ROWS]), ""]
            lines += [f"{len(messages) - _MAX_ROWS} more are in the JSON report.", ""] if len(messages) > _MAX_ROWS else []
    lines += ["## Hosts", ""]
    rows = [
        (_code(host["name"]), _code(host["status"]), len({model["key"] for model in host["models"]}), size(host["size_bytes"]["loaded"]),
         " ".join(_code(shown) for shown in _loaded(host)[:20]))
        for host in audit["hosts"]
    ]  # fmt: skip
    lines += _markdown_table(("host", "status", "lists", "loaded", "models (context)"), rows)
    lines += [*(f"{_code(note)}\n" for note in audit["notes"]), f"Audited by {audit['generator']}.", f"At {audit['run']['audited_at']}."]
    return "\n".join(lines) + "\n"


def _markdown_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| {} |".format(" | ".join(titles)), "|{}".format(" --- |" * len(titles))]
    lines += ["| {} |".format(" | ".join(str(cell) for cell in row)) for row in rows[:_MAX_ROWS]]
    more = [f"{len(rows) - _MAX_ROWS} more are in the JSON report.", ""] if len(rows) > _MAX_ROWS else []
    return [*lines, "", *more]


def _code(text: str) -> str:
    """As code, where nothing is a link, a mention or HTML. There is no way to write | in it that is right in every table."""
    shown = printable(text, 500).replace("`", "'").replace("|", "\u00a6")
    return f"`{shown}`"


def as_lines(audit: Audit, paths: Mapping[str, str], written: bool = True) -> list[str]:
    """The summary for a terminal: at most 40 lines, what is wrong first, and where the reports are."""
    found = problems(audit)
    lines = [headline(audit)]
    for title, messages, room in (
        ("Violations", found["violations"], 8),
        ("Changes since the baseline", found["drift"], 5),
        ("Warnings", warnings(audit), 3),
    ):
        if messages:
            lines += [f"{title}:", *_cut([f"  {printable(message, 160)}" for message in messages], room)]
    where = [f"  {name:<10} {path}" for name, path in paths.items()]
    left = _MAX_LINES - len(lines) - len(where) - 3 - bool(audit["notes"])
    # Those that are not ok come first; the sort keeps the order of names.
    hosts = sorted(audit["hosts"], key=lambda host: bool(host["ok"]))
    width = min(max([len(host["name"]) for host in hosts] + [4]), 40)
    lines.append(f"{'HOST':<{width}}  {'STATUS':<12}  {'LISTS':>5}  {'LOADED':>9}  MODELS (CONTEXT)")
    rows = [
        f"{printable(host['name'], width):<{width}}  {printable(host['status']):<12}  {host['counts']['models']:>5}  "
        f"{size(host['size_bytes']['loaded']):>9}  {printable(', '.join(_loaded(host)) if host['ok'] else host['error']['message'], 110) or '-'}"
        for host in hosts
    ]
    lines += _cut(rows, left)
    if audit["notes"]:
        lines.append(printable(audit["notes"][0], 200))
    return [*lines, "Reports:" if written else "Reports, not written in check mode:", *where] if where else lines


def _cut(lines: list[str], room: int) -> list[str]:
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"  ... and {len(lines) - room + 1} more"]


FORMATS: dict[str, tuple[str, Callable[[Audit], str]]] = {
    "html": ("fleet_audit.html", as_html),
    "json": ("fleet_audit.json", as_json),
    "csv": ("fleet_audit.csv", as_csv),
    "markdown": ("fleet_audit.md", as_markdown),
    "junit": ("fleet_audit.xml", as_junit),
    "prometheus": ("fleet_audit.prom", as_prometheus),
}
"""The name of the file and the function that renders it, by the name of the format."""
