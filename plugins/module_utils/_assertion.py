# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An assertion: judge a record, or poll until it is met, and report the outcome. The same on the target and on the controller."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import confirm_spec, connection_spec, via_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import extract_record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL, Fetch, ask, at_detail_loaded
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import is_met, judge
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import FAIL, Violation, count
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import Requirement, parse_all, requirements_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._waiting import (
    LAST_SECONDS,
    Waiting,
    describe_round,
    parse_waiting,
    waiting_spec,
    why_given_up,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record


def assertion_spec(quiet: bool) -> dict[str, Any]:
    """The options of every assertion."""
    return {
        "require": {**requirements_spec(), "required": True},
        **confirm_spec(),
        **waiting_spec(),
        "fail_msg": {"type": "str"},
        "success_msg": {"type": "str"},
        "quiet": {"type": "bool", "default": quiet},
    }


def model_assert_spec(environment: bool = True) -> dict[str, Any]:
    """The options of ``model_assert``: one spec for the module and for its action plugin."""
    return {
        **connection_spec(environment),
        **assertion_spec(quiet=False),
        **via_spec(),
        "exclusive": {"type": "bool", "default": False},
        "record": {"type": "dict"},
    }


class Assertion(NamedTuple):
    """What is asserted. Make it with :func:`parse_assertion`."""

    requirements: list[Requirement]
    waiting: Waiting
    options: Mapping[str, Any]
    """As the argument spec has checked them."""


def parse_assertion(options: Mapping[str, Any]) -> Assertion:
    """The checked options. Raises :class:`InputError`."""
    return Assertion(parse_all(options["require"]), parse_waiting(options), options)


def judge_given(assertion: Assertion, given: Any) -> dict[str, Any]:
    """The result of judging what was gathered before. Raises :class:`InputError`."""
    if assertion.waiting.wait_timeout:
        raise OptionError("wait_timeout", "a record gathered before does not change. Remove one of record and wait_timeout.")
    if assertion.options["confirm_loaded"]:
        raise OptionError("confirm_loaded", "a record gathered before cannot be confirmed. Remove one of record and confirm_loaded.")
    record = extract_record(given)
    try:
        return judge_record(assertion, record)
    except (KeyError, TypeError, AttributeError) as exc:
        # A user may have changed it on the way.
        raise OptionError("record", f"it is not complete, {exc} is missing or wrong. Pass the record unchanged.") from None


def judge_record(assertion: Assertion, record: Record) -> dict[str, Any]:
    """The result for a record that was not queried here, so waiting does not change it."""
    return _result(assertion, record, judge(record, assertion.requirements, assertion.options["exclusive"]), 0, 0.0)


def poll_until_met(
    assertion: Assertion,
    endpoint: Endpoint,
    fetch: Fetch,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """The result of polling until the requirements are met, or until the time is over."""
    waiting = assertion.waiting
    began = clock()
    polls = 0
    hopeless = True
    last: tuple[Record, list[Violation]] | None = None
    while True:
        left = waiting.wait_timeout - (clock() - began)
        allowed = min(endpoint.timeout, max(left, LAST_SECONDS)) if waiting.wait_timeout else endpoint.timeout
        record = ask(endpoint._replace(timeout=allowed, confirm_loaded=assertion.options["confirm_loaded"]), fetch, FULL)
        polls += 1
        violations = judge(record, assertion.requirements, assertion.options["exclusive"])
        # A poll that was cut short by the deadline tells less than the one before.
        if last is None or record["status"] != "timeout" or allowed == endpoint.timeout:
            last = record, violations
        hopeless = hopeless and record["status"] in waiting.give_up_on
        waited = clock() - began
        left = waiting.wait_timeout - waited
        if is_met(violations) or left <= 0:
            return _result(assertion, *last, polls, waited)
        if hopeless and waiting.may_give_up(polls, waited):
            return _result(assertion, *last, polls, waited, gave_up=True)
        pause = min(waiting.delay, left)
        progress(describe_round([violation["message"] for violation in violations if violation["severity"] == FAIL], pause))
        sleep(pause)


def _result(
    assertion: Assertion, record: Record, violations: list[Violation], polls: int, waited: float, gave_up: bool = False
) -> dict[str, Any]:
    error: Mapping[str, Any] = record["error"] or {}
    number = len(assertion.requirements)
    result = conclude(
        assertion,
        violations,
        polls,
        waited,
        success="The requirement is met." if number == 1 else f"All {number} requirements are met.",
        why_not_waiting=why_given_up([record["status"]]) if gave_up else None,
        advice=[printable(str(error.get("hint") or ""), 300)],
    )
    if assertion.options["confirm_loaded"]:
        result["confirmed"] = record.get("confirmed")
    if not assertion.options["quiet"]:
        result["lmstudio"] = at_detail_loaded(record)
    return result


def conclude(
    assertion: Assertion,
    violations: list[Violation],
    polls: int,
    waited: float,
    success: str,
    why_not_waiting: str | None,
    notes: Iterable[str] = (),
    advice: Iterable[str] = (),
) -> dict[str, Any]:
    """The result of any assertion. `success` is the message where nothing is violated, and `why_not_waiting` completes a sentence where the
    wait ended early. `notes` are lines after the violations, and `advice` are the last lines of a failure.
    """
    options, met, seconds = assertion.options, is_met(violations), round(waited, 1)
    lines = [("" if violation["severity"] == FAIL else "(warning) ") + violation["message"] for violation in violations]
    lines += notes
    asked = "once" if polls == 1 else f"{polls} times"
    if met:
        warned = f"All requirements are met, with {count(len(violations), 'warning')}:" if violations else ""
        lines = [options.get("success_msg") or warned or success, *lines]
    else:
        if why_not_waiting:
            lines.append(f"Gave up after {count(seconds, 'second')}, asked {asked}: {why_not_waiting}.")
        elif polls and assertion.waiting.wait_timeout:
            lines.append(f"Waited {count(seconds, 'second')}, asked {asked}.")
        lines = [options.get("fail_msg") or "", *lines, *advice]
    return {
        "changed": False,
        "met": met,
        "failed": not met,
        "violations": violations,
        "polls": polls,
        "waited": seconds,
        "msg": "\n".join(line for line in lines if line),
    }
