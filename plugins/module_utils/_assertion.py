# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An assertion: judge a record, or poll until it is met, and report the outcome. The same on the target and on the controller."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from ._argspec import CONFIRM_LOADED, VIA
from ._http.endpoint import Endpoint, connection_options
from ._http.option_checks import check_seconds
from ._input_errors import OptionError
from ._lmstudio.gathered import extract_record
from ._lmstudio.known import lacks_states
from ._lmstudio.next_steps import STATUSES
from ._lmstudio.record import FULL, NOT_ASKED, Fetch, ask, at_detail_loaded
from ._requirements.judge import is_met, judge
from ._requirements.messages import FAIL, Violation
from ._requirements.spec import REQUIRE, Requirement, parse_all
from ._text import count, full_stop, printable, unknown_names

if TYPE_CHECKING:
    from ._lmstudio.record_type import Record

_NEVER_MET = (NOT_ASKED, *(status for status in STATUSES if status != "ok"))
"""Every status with which a host meets nothing."""
LAST_SECONDS = 0.8
"""How long the last poll may take if it begins when the time is over. Users do not accept a longer delay beyond a deadline."""
_LEAST_POLLS, _LEAST_SECONDS = 2, 30
"""How much is asked and waited before giving up: a server that restarts may refuse its tokens for a moment."""


ASSERTION_SPEC: dict[str, Any] = {
    "require": {**REQUIRE, "required": True},
    "confirm_loaded": CONFIRM_LOADED,
    "wait_timeout": {"type": "float", "default": 0},
    "delay": {"type": "float", "default": 5},
    "give_up_on": {"type": "list", "elements": "str", "default": ["auth", "forbidden", NOT_ASKED]},
    "fail_msg": {"type": "str"},
    "success_msg": {"type": "str"},
}
"""The options of every assertion. Each has ``quiet``, too, with its own default."""
MODEL_ASSERT_SPEC: dict[str, Any] = {
    **connection_options(),
    **ASSERTION_SPEC,
    "via": VIA,
    "exclusive": {"type": "bool", "default": False},
    "record": {"type": "dict"},
    "quiet": {"type": "bool", "default": False},
}
"""The options of ``model_assert``: one spec for the module and for its action plugin."""


class Assertion(NamedTuple):
    """What is asserted. Make it with :func:`parse_assertion`."""

    requirements: list[Requirement]
    options: Mapping[str, Any]
    """As the argument spec has checked them."""


def parse_assertion(options: Mapping[str, Any]) -> Assertion:
    """The checked options. Raises :class:`InputError`."""
    assertion = Assertion(parse_all(options["require"]), options)
    check_seconds("wait_timeout", options["wait_timeout"], least=0)
    check_seconds("delay", options["delay"], least=0.1)
    unknown = [status for status in options["give_up_on"] if status not in _NEVER_MET]
    if unknown:
        raise OptionError("give_up_on", unknown_names("status", unknown, _NEVER_MET))
    return assertion


def judge_given_record(assertion: Assertion) -> dict[str, Any]:
    """The result of judging what was gathered before. Raises :class:`InputError`."""
    for option, problem in (("wait_timeout", "does not change"), ("confirm_loaded", "cannot be confirmed")):
        if assertion.options[option]:
            raise OptionError(option, f"a record gathered before {problem}. Remove one of record and {option}.")
    record = extract_record(assertion.options["record"])
    try:
        return judge_record(assertion, record)
    except (KeyError, TypeError, AttributeError) as exc:
        # A user may have changed it on the way.
        raise OptionError("record", f"it is not complete, {exc} is missing or wrong. Pass the record unchanged.") from None


def judge_record(assertion: Assertion, record: Record) -> dict[str, Any]:
    """The result for a record that was not queried here, so waiting does not change it."""
    return _result(assertion, record, judge(record, assertion.requirements, assertion.options["exclusive"]))


def poll_until_met(
    assertion: Assertion,
    endpoint: Endpoint,
    fetch: Fetch,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """The result of polling until the requirements are met, or until the time is over."""
    options, wait_timeout = assertion.options, assertion.options["wait_timeout"]
    began = clock()
    polls = 0
    hopeless = True
    last: tuple[Record, list[Violation]] | None = None
    while True:
        left = wait_timeout - (clock() - began)
        allowed = min(endpoint.timeout, max(left, LAST_SECONDS)) if wait_timeout else endpoint.timeout
        record = ask(endpoint._replace(timeout=allowed, confirm_loaded=options["confirm_loaded"]), fetch, FULL)
        polls += 1
        violations = judge(record, assertion.requirements, options["exclusive"])
        # A poll that was cut short by the deadline, even if only its second list was, says less than the one before.
        cut_short = allowed < endpoint.timeout and (record["status"] == "timeout" or lacks_states(record))
        if last is None or not cut_short or is_met(violations):
            last = record, violations
        hopeless = hopeless and record["status"] in options["give_up_on"]
        waited = clock() - began
        left = wait_timeout - waited
        ended = is_met(violations) or left <= 0
        if ended or (hopeless and may_give_up(polls, waited)):
            return _result(assertion, *last, polls, waited, gave_up=not ended)
        pause = min(options["delay"], left)
        progress(describe_round([violation["message"] for violation in violations if violation["severity"] == FAIL], pause))
        sleep(pause)


def _result(
    assertion: Assertion, record: Record, violations: list[Violation], polls: int = 0, waited: float = 0.0, gave_up: bool = False
) -> dict[str, Any]:
    error: Mapping[str, Any] = record["error"] or {}
    why = why_given_up([record["status"]]) if gave_up else None
    result = conclude(assertion, violations, polls, waited, why, advice=[printable(str(error.get("hint") or ""), 300)])
    if assertion.options["confirm_loaded"]:
        result["confirmed"] = record.get("confirmed")
    if not assertion.options["quiet"]:
        result["lmstudio"] = at_detail_loaded(record)
    return result


def conclude(
    assertion: Assertion,
    violations: Sequence[Violation],
    polls: int,
    waited: float,
    why_gave_up: str | None,
    where: str = "",
    notes: Iterable[str] = (),
    advice: Iterable[str] = (),
) -> dict[str, Any]:
    """The result of any assertion. `where` completes the sentence of one that is met, and `why_gave_up` that of a wait that ended early.
    `notes` are lines after the violations, and `advice` are the last lines of a failure.
    """
    options, met, seconds = assertion.options, is_met(violations), round(waited, 1)
    lines = [("" if violation["severity"] == FAIL else "(warning) ") + violation["message"] for violation in violations]
    lines += notes
    asked = "once" if polls == 1 else f"{polls} times"
    if met:
        number = len(assertion.requirements)
        success = f"{'The requirement is' if number == 1 else f'All {number} requirements are'} met{where}."
        warned = f"All requirements are met, with {count(len(violations), 'warning')}:" if violations else ""
        lines = [options.get("success_msg") or warned or success, *lines]
    else:
        if why_gave_up:
            lines.append(f"Gave up after {count(seconds, 'second')}, asked {asked}: {why_gave_up}.")
        elif polls and options["wait_timeout"]:
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


def may_give_up(polls: int, waited: float) -> bool:
    """Whether enough time has passed to believe that a status will stay."""
    return polls >= _LEAST_POLLS and waited >= _LEAST_SECONDS


def describe_round(messages: Sequence[str], pause: float) -> str:
    """A line about what is missing, and when the next poll is."""
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"{full_stop(messages[0].rstrip('.') + more)} Asking again in {count(round(max(pause, 0), 1), 'second')}."


def why_given_up(statuses: Iterable[str]) -> str:
    """Why a wait ended early, as the end of a sentence."""
    names = " or ".join(statuses)
    return f"waiting does not change the status {names}. Correct its cause, or remove {names} from give_up_on to wait longer"
