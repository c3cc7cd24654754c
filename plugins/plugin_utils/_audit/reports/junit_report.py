# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as JUnit XML, for a CI system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from ....module_utils._lmstudio.known import is_older
from ....module_utils._lmstudio.models_v0 import LIST_MODELS_V0
from ....module_utils._text import printable
from .. import sentences
from ..document import Audit, drift_of
from ..policy import NO_ANSWER


def as_junit(audit: Audit) -> str:
    """A suite for what each policy requires, a case for each requirement and host. A warning passes, with its message as output.

    A host without an answer fails once, and what is required of it is skipped.
    """
    suites = _Suites()
    for message in sentences.nothing_judged(audit):
        _fail(suites.case("policy", "the fleet", "judges a host"), "nothing judged", [message])
    for check in audit["checks"]:
        if check["host"] is None:
            _judged(suites, check)
    for host in audit["hosts"]:
        case = suites.case("hosts answer", host["name"], "answers")
        if not host["ok"]:
            _fail(case, host["status"], [host["error"]["message"], host["error"]["hint"]])
        elif is_older(host):
            ElementTree.SubElement(case, "system-out").text = f"answered over {LIST_MODELS_V0.path}, which does not report everything"
    for check in audit["checks"]:
        if check["host"] is not None:
            _judged(suites, check)
    for message in sentences.nothing_compared(audit):
        _fail(suites.case("drift", "the fleet", "compares a host"), "nothing compared", [message])
    for change in drift_of(audit)["changes"]:
        case = suites.case("drift", change["host"], f"{change['model']} {change['change']}")
        _fail(case, change["change"], [change["message"]])
    root = ElementTree.Element("testsuites", name="fleet_audit", timestamp=audit["run"]["audited_at"])
    for name, cases in suites.cases.items():
        failures = sum(case.find("failure") is not None for case in cases)
        skipped = sum(case.find("skipped") is not None for case in cases)
        counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
        ElementTree.SubElement(root, "testsuite", {"name": name, **counts}).extend(cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _judged(suites: _Suites, check: Mapping[str, Any]) -> None:
    """Add a case that says what was asked, or why it could not be judged."""
    case = suites.case(check["policy"], check["host"] or "the fleet", check["requirement"])
    if check["reason"] == NO_ANSWER:
        status = check["violations"][0]["actual"]
        ElementTree.SubElement(case, "skipped", {"message": _printable(f"{NO_ANSWER} ({status})")})
        return
    messages = [violation["message"] for violation in check["violations"]]
    if check["outcome"] == "failed":
        _fail(case, check["violations"][0]["check"], messages)
    warning = ["warning", *messages] if check["outcome"] == "warned" else []
    ElementTree.SubElement(case, "system-out").text = _printable("\n".join([f"asked: {check['asked']}", *warning]))


class _Suites:
    def __init__(self) -> None:
        self.cases: dict[str, list[ElementTree.Element]] = {}
        self._times: Counter[tuple[str, str, str]] = Counter()

    def case(self, suite: str, host: str, name: str) -> ElementTree.Element:
        """A new case. A CI system follows a case by its name, so a second one whose name looks the same gets a number."""
        suite, host, name = _printable(suite), _printable(host), _printable(name)
        self._times[suite, host, name] += 1
        times = self._times[suite, host, name]
        made = ElementTree.Element("testcase", {"classname": host, "name": name + (f" ({times})" if times > 1 else "")})
        self.cases.setdefault(suite, []).append(made)
        return made


def _fail(case: ElementTree.Element, what: str, messages: Sequence[str]) -> None:
    failure = ElementTree.SubElement(case, "failure", {"type": _printable(what), "message": _printable(messages[0])})
    failure.text = _printable("\n".join(messages))


def _printable(text: str) -> str:
    return "\n".join(printable(line, 1000) for line in text.split("\n"))
