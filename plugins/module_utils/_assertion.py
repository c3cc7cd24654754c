# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An assertion: judge a record, or poll until it is met, and report the outcome. The same on the target and on the controller."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import confirm_spec, connection_spec, via_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import extract_record
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL, Fetch, ask, at_detail_loaded
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import is_met, judge
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import FAIL, Violation, met_with_warnings
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import Requirement, parse_all, requirements_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._waiting import (
    LAST_SECONDS,
    Waiting,
    describe_giving_up,
    describe_round,
    describe_wait,
    parse_waiting,
    waiting_spec,
    why_given_up,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record


def model_assert_spec(environment: bool = True) -> dict[str, Any]:
    """The options of ``model_assert``: one spec for the module and for its action plugin."""
    return {
        **connection_spec(environment),
        "require": {**requirements_spec(), "required": True},
        "exclusive": {"type": "bool", "default": False},
        "record": {"type": "dict"},
        **confirm_spec(),
        **via_spec(),
        **waiting_spec(),
        "fail_msg": {"type": "str"},
        "success_msg": {"type": "str"},
        "quiet": {"type": "bool", "default": False},
    }


class Assertion(NamedTuple):
    """What is asserted. Make it with :func:`parse_assertion`."""

    requirements: list[Requirement]
    exclusive: bool
    confirm_loaded: bool
    waiting: Waiting
    fail_msg: str | None
    success_msg: str | None
    quiet: bool


def parse_assertion(options: Mapping[str, Any]) -> Assertion:
    """The checked options. Raises :class:`InputError`."""
    return Assertion(
        requirements=parse_all(options["require"]),
        exclusive=options["exclusive"],
        confirm_loaded=options["confirm_loaded"],
        waiting=parse_waiting(options),
        fail_msg=options.get("fail_msg"),
        success_msg=options.get("success_msg"),
        quiet=options["quiet"],
    )


def judge_given(assertion: Assertion, given: Any) -> dict[str, Any]:
    """The result of judging what was gathered before. Raises :class:`InputError`."""
    if assertion.waiting.wait_timeout:
        raise OptionError("wait_timeout", "a record gathered before does not change. Remove one of record and wait_timeout.")
    if assertion.confirm_loaded:
        raise OptionError("confirm_loaded", "a record gathered before cannot be confirmed. Remove one of record and confirm_loaded.")
    record = extract_record(given)
    try:
        return judge_record(assertion, record)
    except (KeyError, TypeError, AttributeError) as exc:
        # A user may have changed it on the way.
        raise OptionError("record", f"it is not complete, {exc} is missing or wrong. Pass the record unchanged.") from None


def judge_record(assertion: Assertion, record: Record) -> dict[str, Any]:
    """The result for a record that was not queried here, so waiting does not change it."""
    return _result(assertion, record, judge(record, assertion.requirements, assertion.exclusive), 0, 0.0)


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
        record = ask(endpoint._replace(timeout=allowed, confirm_loaded=assertion.confirm_loaded), fetch, FULL)
        polls += 1
        violations = judge(record, assertion.requirements, assertion.exclusive)
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
    result: dict[str, Any] = {
        "changed": False,
        "met": is_met(violations),
        "failed": not is_met(violations),
        "violations": violations,
        "polls": polls,
        "waited": round(waited, 1),
    }
    if assertion.confirm_loaded:
        result["confirmed"] = record.get("confirmed")
    if not assertion.quiet:
        result["lmstudio"] = at_detail_loaded(record)
    lines = [_line(violation) for violation in violations]
    if result["met"]:
        result["msg"] = "\n".join([assertion.success_msg or _success_message(len(assertion.requirements), len(violations)), *lines])
        return result
    if gave_up:
        lines.append(describe_giving_up(result["waited"], polls, why_given_up([record["status"]])))
    elif polls and assertion.waiting.wait_timeout:
        lines.append(describe_wait(result["waited"], polls))
    if not record["ok"]:
        error: Mapping[str, Any] = record["error"] or {}
        lines.append(printable(str(error.get("hint") or ""), 300))
    result["msg"] = "\n".join(([assertion.fail_msg] if assertion.fail_msg else []) + [line for line in lines if line])
    return result


def _success_message(number: int, warnings: int) -> str:
    if warnings:
        return met_with_warnings(warnings)
    return "The requirement is met." if number == 1 else f"All {number} requirements are met."


def _line(violation: Violation) -> str:
    return violation["message"] if violation["severity"] == FAIL else "(warning) {}".format(violation["message"])
