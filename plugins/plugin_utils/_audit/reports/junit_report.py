# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as JUnit XML, for a CI system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from ....module_utils._lmstudio.known import is_older
from ....module_utils._lmstudio.models_v0 import LIST_MODELS_V0
from ....module_utils._text import printable
from .. import sentences
from ..document import Audit, drift_of
from ..policy import NO_ANSWER

Case = tuple[str, str, str, "list[ElementTree.Element]"]
"""The suite, the host, the name, and what the case contains."""


def as_junit(audit: Audit) -> str:
    """A suite for what each policy requires, a case for each requirement and host. A warning passes, with its message as output.

    A host without an answer fails once, and what is required of it is skipped.
    """
    root = ElementTree.Element("testsuites", name="fleet_audit", timestamp=audit["run"]["audited_at"])
    suites: dict[str, ElementTree.Element] = {}
    times: Counter[tuple[str, str, str]] = Counter()
    for suite, host, name, contents in _cases(audit):
        suite, host, name = _printable(suite), _printable(host), _printable(name)
        # A CI system follows a case by its name, so a second one whose name looks the same gets a number.
        times[suite, host, name] += 1
        number = f" ({times[suite, host, name]})" if times[suite, host, name] > 1 else ""
        if suite not in suites:
            suites[suite] = ElementTree.SubElement(root, "testsuite", name=suite)
        ElementTree.SubElement(suites[suite], "testcase", classname=host, name=name + number).extend(contents)
    for made in suites.values():
        failures, skipped = (len(made.findall(f"testcase/{tag}")) for tag in ("failure", "skipped"))
        made.attrib.update(tests=str(len(made)), failures=str(failures), errors="0", skipped=str(skipped))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(audit: Audit) -> Iterator[Case]:
    for message in sentences.nothing_judged(audit):
        yield "policy", "the fleet", "judges a host", [_failure("nothing judged", message)]
    yield from (_judged(check) for check in audit["checks"] if check["host"] is None)
    for host in audit["hosts"]:
        contents = []
        if not host["ok"]:
            contents = [_failure(host["status"], host["error"]["message"], host["error"]["hint"])]
        elif is_older(host):
            contents = [_output(f"answered over {LIST_MODELS_V0.path}, which does not report everything")]
        yield "hosts answer", host["name"], "answers", contents
    yield from (_judged(check) for check in audit["checks"] if check["host"] is not None)
    for message in sentences.nothing_compared(audit):
        yield "drift", "the fleet", "compares a host", [_failure("nothing compared", message)]
    for change in drift_of(audit)["changes"]:
        yield "drift", change["host"], f"{change['model']} {change['change']}", [_failure(change["change"], change["message"])]


def _judged(check: Mapping[str, Any]) -> Case:
    """A case that says what was asked, or why it could not be judged."""
    messages = [violation["message"] for violation in check["violations"]]
    if check["reason"] == NO_ANSWER:
        status = check["violations"][0]["actual"]
        contents = [ElementTree.Element("skipped", message=_printable(f"{NO_ANSWER} ({status})"))]
    elif check["outcome"] == "failed":
        contents = [_failure(check["violations"][0]["check"], *messages), _output(f"asked: {check['asked']}")]
    else:
        contents = [_output("\n".join([f"asked: {check['asked']}", *(["warning", *messages] if messages else [])]))]
    return check["policy"], check["host"] or "the fleet", check["requirement"], contents


def _failure(what: str, *messages: str) -> ElementTree.Element:
    failure = ElementTree.Element("failure", type=_printable(what), message=_printable(messages[0]))
    failure.text = _printable("\n".join(messages))
    return failure


def _output(text: str) -> ElementTree.Element:
    output = ElementTree.Element("system-out")
    output.text = _printable(text)
    return output


def _printable(text: str) -> str:
    return "\n".join(printable(line, 1000) for line in text.split("\n"))
