# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An assertion about many hosts together: judge their records, or ask until enough of them meet it at the same time.

The function that asks and the clock are passed in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ...module_utils._assertion import (
    ASSERTION_SPEC,
    LAST_SECONDS,
    Assertion,
    conclude,
    describe_round,
    may_give_up,
    parse_assertion,
    why_given_up,
)
from ...module_utils._input_errors import OptionError
from ...module_utils._lmstudio.record import FULL, LOADED_ONLY, NOT_ASKED, at_detail_loaded
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._requirements.fleet import CONSISTENT, check_comparable, judge_fleet, parse_fleet_terms
from ...module_utils._requirements.judge import is_met, judge
from ...module_utils._requirements.messages import FAIL, FleetViolation
from ...module_utils._requirements.spec import ABSENT, AVAILABLE
from ...module_utils._text import SHOWN_OF_MANY, count, format_names, full_stop, printable
from .._options.argspec import FLEET_SPEC
from .summary import next_steps, summary_of

Records = Mapping[str, Record]
Ask = Callable[[Sequence[str], float], Records]
"""Asks these hosts at once, for at most this many seconds."""
_LEAST_SECONDS = 0.1
"""The least time that a round before the last one is given, however late it begins."""
FLEET_ASSERT_SPEC: dict[str, Any] = {
    **FLEET_SPEC,
    **ASSERTION_SPEC,
    "hosts": {"type": "list", "elements": "str"},
    "records": {"type": "dict"},
    "min_hosts": {"type": "int"},
    "min_percent": {"type": "float"},
    "consistent": {"type": "list", "elements": "str", "choices": list(CONSISTENT)},
    "quiet": {"type": "bool", "default": True},
}
"""The options of ``fleet_assert``."""


class FleetAssertion(Assertion):
    """What is asserted of hosts together. Make it with :func:`parse_fleet_assertion`."""

    @property
    def detail(self) -> str:
        """The detail that records need to be judged."""
        return FULL if any(requirement.state in (AVAILABLE, ABSENT) for requirement in self.requirements) else LOADED_ONLY

    def required_of(self, hosts: int, shared: int = 0) -> int:
        """How many of so many `hosts` must meet each requirement. Another `shared` hosts do not count. Raises :class:`OptionError`."""
        if not hosts:
            raise OptionError("hosts", "there are none, so any requirement would be met. Check the pattern, the group or the records.")
        min_hosts, min_percent = self.options["min_hosts"], self.options["min_percent"]
        if min_percent is not None:
            return math.ceil(hosts * Fraction(str(min_percent)) / 100)
        if min_hosts is not None and min_hosts > hosts:
            only = "only 1 host counts" if hosts == 1 else f"only {hosts} hosts count"
            why = "Check the pattern, the batch (serial, --limit) or the records."
            if shared:
                why = f"Hosts with the same URL count once, so {shared} {'is' if shared == 1 else 'are'} left out."
            raise OptionError("min_hosts", f"{min_hosts} are required, but {only}. {why}")
        return hosts if min_hosts is None else int(min_hosts)

    def judge(self, records: Records, required: int) -> list[FleetViolation]:
        return judge_fleet(records, self.requirements, required, self.options["consistent"])


def parse_fleet_assertion(options: Mapping[str, Any]) -> FleetAssertion:
    """The checked options. Raises :class:`InputError`."""
    min_hosts, min_percent = options["min_hosts"], options["min_percent"]
    if min_hosts is not None and min_percent is not None:
        raise OptionError("min_percent", "it contradicts min_hosts. Remove one of the two.")
    if min_percent is not None and not 0 < min_percent <= 100:
        raise OptionError("min_percent", f"{min_percent:g} is not a usable percentage. Give more than 0 and at most 100.")
    least, consistent = parse_fleet_terms(min_hosts, options["consistent"])
    assertion = FleetAssertion(*parse_assertion({**options, "min_hosts": least, "consistent": consistent}))
    for requirement in assertion.requirements:
        check_comparable(requirement, consistent)
    return assertion


def judge_given_records(assertion: FleetAssertion, records: Records, shared: Mapping[str, str]) -> dict[str, Any]:
    """The result of judging records that were gathered before. Raises :class:`InputError`."""
    if assertion.options["wait_timeout"]:
        raise OptionError("wait_timeout", "records gathered before do not change. Remove one of records and wait_timeout.")
    if assertion.options["confirm_loaded"]:
        raise OptionError("confirm_loaded", "records gathered before cannot be confirmed. Remove one of records and confirm_loaded.")
    counted = {name: record for name, record in records.items() if name not in shared}
    try:
        return _result(assertion, counted, shared, 0, 0.0)
    except (KeyError, TypeError, AttributeError) as exc:
        raise OptionError("records", f"one is not complete, {exc} is missing or wrong. Pass the records unchanged.") from None


def ask_fleet_until_met(
    assertion: FleetAssertion,
    names: Sequence[str],
    shared: Mapping[str, str],
    timeout: float,
    ask: Ask,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """The result of asking until enough hosts meet the requirements in one round, or until time is up.

    A round asks several hosts at once. Only a round over all of them can pass or fail, because what one host said some rounds ago may have
    changed since. `timeout` is the longest that one host takes.
    """
    wait_timeout, delay, give_up_on = (assertion.options[name] for name in ("wait_timeout", "delay", "give_up_on"))
    counted = [name for name in names if name not in shared]
    required = assertion.required_of(len(counted), len(shared))
    began, polls = clock(), 0
    records: dict[str, Record] = {}
    hopeless = set(counted)
    asked: Sequence[str] = counted
    while True:
        left = wait_timeout - (clock() - began)
        complete = len(asked) == len(counted)
        seconds = max(left + timeout, LAST_SECONDS) if complete else max(left, _LEAST_SECONDS)
        records.update(ask(asked, seconds if wait_timeout else math.inf))
        polls += 1
        hopeless.difference_update([name for name in asked if records[name]["status"] not in give_up_on])
        violations = assertion.judge(records, required)
        met = is_met(violations)
        waited = clock() - began
        left = wait_timeout - waited
        if complete and (met or left <= 0):
            return _result(assertion, records, shared, polls, waited)
        # A host with the status not_asked will not be asked later either, so it is known at once that it is lost.
        lost = hopeless if may_give_up(polls, waited) else {name for name in hopeless if records[name]["status"] == NOT_ASKED}
        if len(counted) - len(lost) < required:
            return _result(assertion, records, shared, polls, waited, lost)
        # The last round begins at the deadline, and at least a delay after the one before.
        pause = left if left < 2 * delay else delay
        missing = [violation["message"] for violation in violations if violation["severity"] == FAIL]
        progress(describe_round(missing or ["Enough hosts meet it; one round over all hosts has to confirm it"], pause))
        if pause > 0:
            sleep(pause)
        inconsistent = any(violation["check"] == "consistent" for violation in violations)
        # Giving up is a verdict, too.
        may_be_lost = len(counted) - len(hopeless) < required
        # A sleep may last longer than intended.
        everyone = met or inconsistent or may_be_lost or left <= pause or clock() - began >= wait_timeout
        asked = [name for name in counted if everyone or not is_met(judge(records[name], assertion.requirements))]


def _result(
    assertion: FleetAssertion, records: Records, shared: Mapping[str, str], polls: int, waited: float, lost: set[str] | None = None
) -> dict[str, Any]:
    required = assertion.required_of(len(records), len(shared))
    found = {name: judge(record, assertion.requirements) for name, record in records.items()}
    # The next steps are in the message, once for all hosts.
    reasons = {
        name: _seen(records[name]) or full_stop("; ".join(each["message"] for each in of_host))
        for name, of_host in found.items()
        if of_host
    }
    reasons |= {name: f"It has the same URL as {first}, so the two count once." for name, first in shared.items()}
    lacking = {(each["requirement"], name) for name, of_host in found.items() for each in of_host}
    serving = {each.label: [name for name in records if (each.label, name) not in lacking] for each in assertion.requirements}
    pairs = [f"{name} (as {first})" for name, first in shared.items()]
    result = conclude(
        assertion,
        assertion.judge(records, required),
        polls,
        waited,
        why_gave_up=None if lost is None else _why_lost(records, lost, required),
        where=_where_met(assertion, required, len(records)),
        notes=[f"Hosts with the same URL count once: {format_names(pairs)}."] if shared else [],
        advice=_next_step_lines(records),
    )
    result.update(reasons=reasons, serving=serving, summary=summary_of(records))
    if assertion.options["confirm_loaded"]:
        result["unconfirmed"] = [name for name, record in records.items() if record.get("confirmed") is False]
    if not assertion.options["quiet"]:
        result["hosts"] = {name: at_detail_loaded(record) for name, record in records.items()}
    return result


def _where_met(assertion: FleetAssertion, required: int, hosts: int) -> str:
    """The end of a sentence that says that it is met."""
    if hosts == required:
        return f" on all {hosts} hosts" if hosts > 1 else ""
    return f" on at least {required} of {hosts} hosts{', as required' if len(assertion.requirements) == 1 else ' each'}"


def _why_lost(records: Records, lost: set[str], required: int) -> str:
    statuses = dict.fromkeys(record["status"] for name, record in records.items() if name in lost)
    could = len(records) - len(lost)
    return (
        f"{f'only {could}' if could else 'none'} of {count(len(records), 'host')} could still meet it, {required} {'is' if required == 1 else 'are'} required, "
        f"and {why_given_up(statuses)}"
    )


def _next_step_lines(records: Records) -> list[str]:
    """What to do about hosts that did not answer: each step once, with what was seen on one of its hosts, and first what helps most hosts."""
    steps = next_steps(records)
    lines = []
    for (status, hint), names in list(steps.items())[:SHOWN_OF_MANY]:
        such_as = "such as " if len(names) > 1 else ""
        lines.append(f"({status}) {such_as}{printable(names[0])}: {_seen(records[names[0]])} {printable(hint, 300)}")
    left = len(steps) - len(lines)
    return [*lines, f"{count(left, 'other next step')}: with quiet: false each record has its hint."] if left > 0 else lines


def _seen(record: Record) -> str:
    """What happened where a host gave no answer. Empty for one that answered."""
    return printable(record["error"]["message"], 300) if record["error"] else ""
