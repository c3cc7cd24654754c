# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether the record of a host meets what is required of it.

The one place where this is decided, for assertions, tests, filters and roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Iterator, Mapping, Sequence

from .._input_errors import InputError
from .._lmstudio.known import is_older, is_unclear, lacks_states, may_be_loaded, unlisted_models
from .._lmstudio.models_v0 import LIST_MODELS_V0, LOADING
from .._lmstudio.reader import Entry
from .._text import SHOWN_OF_MANY, count, did_you_mean, format_names, is_pattern, printable
from .checks import OF_INSTANCE, Candidate, Check
from .matching import Matches, least_unknown
from .messages import FAIL, Violation, could_not_check, labelled_violation, make_violation, one_or_list
from .spec import ABSENT, AVAILABLE, LOADED, UNLOADED, Requirement

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record

_OLDER_LIST = LIST_MODELS_V0.path
"""While just-in-time loading is off, it leaves out models that are not loaded. It never shows how many instances there are."""
_LEFT_OUT = f"because {_OLDER_LIST} may leave out models"
_NO_STATES = f"because {_OLDER_LIST} did not say what is still loading"


def judge(record: Record, requirements: list[Requirement], exclusive: bool = False) -> list[Violation]:
    """Every violation of every requirement, in order. `exclusive` forbids any loaded model that no requirement is about.

    Raises :class:`InputError` when the record does not carry what is to be judged.
    """
    violations = [each for requirement in requirements for each in judge_requirement(record, requirement)]
    if exclusive:
        violations += judge_exclusive(record, requirements)
    return violations


def is_met(violations: Iterable[Violation]) -> bool:
    """Whether no violation fails: the others are warnings."""
    return all(each["severity"] != FAIL for each in violations)


def selected(record: Record, requirement: Requirement) -> list[Entry]:
    """The entries of a record that meet a requirement as it stands, in the server's order."""
    if not record["ok"]:
        return []
    if requirement.state == ABSENT:
        raise InputError("state: absent selects nothing. Use one of loaded, available, unloaded.")
    found = Matches(record, requirement)
    if requirement.state == LOADED:
        met = [candidate.entry for model in found.loaded_models() if _meets(model) for candidate in model]
    else:
        found.need_full()
        met = [candidate.entry for candidate in found.listed_models() if not candidate.unmet]
    idle = requirement.state == UNLOADED
    return [entry for entry in record["models"] if any(entry is other for other in met) and not (idle and may_be_loaded(entry))]


def judge_requirement(record: Record, requirement: Requirement) -> list[Violation]:
    if not record["ok"]:
        return [make_violation(requirement, "status", "ok", record["status"], could_not_check(record, requirement.subject))]
    found = Matches(record, requirement)
    found.need_entries()
    judge_state = {LOADED: _judge_loaded, AVAILABLE: _judge_available, UNLOADED: _judge_unloaded, ABSENT: _judge_absent}
    return list(judge_state[requirement.state](found))


def _judge_loaded(found: Matches) -> Iterator[Violation]:
    requirement, models = found.requirement, found.loaded_models()
    # An instance counts once, even where its id is the key of another model, or an entry lists it twice.
    meeting = len({(id(candidate.entry), (candidate.instance or {}).get("id")) for model in models if _meets(model) for candidate in model})
    least = 1 if requirement.min_instances is None else requirement.min_instances
    if meeting < least:
        yield from _closest(requirement, [model for model in models if not _meets(model)])
        if not models:
            yield _not_loaded(found)
        if least > 1:
            have = f"{count(meeting, 'loaded instance') if meeting else 'no loaded instance'} {'meets' if meeting < 2 else 'meet'}"
            message = f"{have} the requirement, at least {least} are required"
            yield _count_violation(requirement, "min_instances", least, meeting, message)
    if requirement.max_instances is not None:
        yield from _judge_max_instances(found, requirement.max_instances)


def _judge_max_instances(found: Matches, most: int) -> list[Violation]:
    possible = found.possible_instances()
    if len(possible) > most:
        sure = not any(candidate.unmet or candidate.instance is None for candidate in possible)
        have = f"{count(len(possible), 'loaded instance')} {('meets' if len(possible) == 1 else 'meet') if sure else 'may meet'}"
        allowed = {0: "none is", 1: "at most 1 is"}.get(most, f"at most {most} are")
        message = f"{have} the requirement, {allowed} allowed"
        return [_count_violation(found.requirement, "max_instances", most, len(possible), message)]
    if is_older(found.record) and (possible or found.may_hide()):
        why: str | None = f"because {_OLDER_LIST} does not list instances"
    else:
        why = _why_not_known(found)
    message = f"it is not known how many loaded instances meet the requirement, {why}"
    return [_count_violation(found.requirement, "max_instances", most, None, message)] if why else []


def _why_not_known(found: Matches) -> str | None:
    """Why a model that was not found may still be there, as the end of a sentence. None if it cannot be."""
    hidden = found.unreadable_names()
    if hidden:
        return _unreadable(hidden)
    unlisted = found.unlisted_names()
    if unlisted:
        return _only_in_older_list(unlisted)
    if found.requirement.state != ABSENT and lacks_states(found.record):
        return _NO_STATES
    return _LEFT_OUT if found.may_hide() or (found.requirement.state == ABSENT and is_older(found.record)) else None


def _unreadable(names: Sequence[str]) -> str:
    return f"because {format_names(names)} may be it: a name there is masked, as the token and headers are, or has an unexpected type"


def _only_in_older_list(names: Sequence[str]) -> str:
    return f"because only {_OLDER_LIST} lists {format_names(names)}"


def _meets(model: list[Candidate]) -> bool:
    """Whether every instance of a model meets the requirement, because LM Studio chooses the one that serves a request."""
    return all(not candidate.unmet for candidate in model)


def _closest(requirement: Requirement, models: list[list[Candidate]]) -> list[Violation]:
    """What keeps the model that comes closest from meeting a requirement: each instance that falls short, and why."""
    closest: list[Candidate] = min(models, key=lambda model: sum(len(candidate.unmet) for candidate in model), default=[])
    failing = [candidate for candidate in closest if candidate.unmet]
    found: dict[tuple[int, str], Violation] = {}
    for candidate in failing[:SHOWN_OF_MANY]:
        for check in candidate.unmet:
            # What an entry has is the same for all of its instances.
            of = id(candidate.instance if check.name in OF_INSTANCE else candidate.entry)
            found.setdefault((of, check.message), _unmet(requirement, candidate, check))
    violations = list(found.values())
    if len(failing) > SHOWN_OF_MANY:
        violations[-1]["message"] += f" (and {count(len(failing) - SHOWN_OF_MANY, 'instance')} more)"
    return violations


def _judge_available(found: Matches) -> list[Violation]:
    candidates = found.listed_models()
    if any(not candidate.unmet for candidate in candidates) or found.keys_without_entry():
        return []
    if not candidates:
        return [_not_listed(found)]
    closest = min(candidates, key=lambda candidate: len(candidate.unmet))
    return [_unmet(found.requirement, closest, check) for check in closest.unmet]


def _judge_absent(found: Matches) -> list[Violation]:
    names: dict[str, list[str]] = {key: [] for key in found.keys_without_entry()} or found.possible_names()
    return _must_not(found, names, AVAILABLE, "must be absent, but is listed")


def _judge_unloaded(found: Matches) -> list[Violation]:
    possible = found.possible_instances()
    # Whether it is loaded is another question than whether it is of the kind that must not be.
    names = least_unknown((each.entry["key"], [name for name in each.unknown if name != "state"]) for each in possible)
    entries = [entry for entry in found.record["models"] if entry["key"] in names]
    actual: str | None = None
    if any(entry.get("state") == LOADING for entry in entries):
        actual, how = LOADING, "is still loading"
    elif any(entry["loaded"] for entry in entries):
        actual, how = LOADED, "is"
    else:
        how = f"may be, because it {_unclear(entries)}"
    return _must_not(found, names, actual, f"must not be loaded, but {how}")


def _must_not(found: Matches, names: Mapping[str, list[str]], actual: str | None, message: str) -> list[Violation]:
    """The violation of a requirement for absence by these models, each with what of it is not known, or by what may be hidden."""
    requirement = found.requirement
    sure = [name for name, unknown in names.items() if not unknown]
    if sure:
        which = "" if sure == list(requirement.model) else f": {format_names(sure)}"
        return [make_violation(requirement, "state", requirement.state, actual, f"{requirement.subject} {message}{which}")]
    if names:
        unknown = ", ".join(dict.fromkeys("variant" if check == "model" else check for of_name in names.values() for check in of_name))
        why: str | None = f"because {format_names(list(names))} may be it (not known: {unknown})"
    else:
        why = _why_not_known(found)
    message = f"{requirement.description} is not known to be {requirement.state}, {why}"
    return [make_violation(requirement, "state", requirement.state, None, message)] if why else []


def judge_exclusive(record: Record, requirements: list[Requirement]) -> list[Violation]:
    """A violation for each model that is or may be loaded, and that no requirement is about."""
    if not record["ok"]:
        return [labelled_violation("exclusive", "status", "ok", record["status"], FAIL, could_not_check(record, "what else is loaded"))]
    wanted = [requirement for requirement in requirements if requirement.state in (LOADED, AVAILABLE)]
    found: dict[str | None, str] = {}
    for entry in record["models"]:
        if may_be_loaded(entry) and not any(Matches(record, requirement).covers(entry) for requirement in wanted):
            state = "is still loading" if entry.get("state") == LOADING else "is loaded" if entry["loaded"] else "may be loaded"
            found[entry["key"]] = f"{printable(entry['key'])} {state}, and no requirement asks for it (exclusive)"
    unlisted = [name for name in unlisted_models(record) if not any(name in requirement.model for requirement in wanted)]
    if unlisted or (not found and (is_older(record) or lacks_states(record))):
        why = _only_in_older_list(unlisted) if unlisted else _LEFT_OUT if is_older(record) else _NO_STATES
        found[None] = f"it is not known whether anything else is loaded, {why} (exclusive)"
    allowed = [requirement.label for requirement in wanted]
    return [labelled_violation("exclusive", "exclusive", allowed, key, FAIL, message) for key, message in found.items()]


def _count_violation(requirement: Requirement, check: str, expected: int, actual: int | None, message: str) -> Violation:
    """A violation about the number of instances. Its `message` does not name the model yet."""
    return make_violation(requirement, check, expected, actual, message if requirement.name else f"{requirement.subject}: {message}")


def _unmet(requirement: Requirement, candidate: Candidate, check: Check) -> Violation:
    return make_violation(requirement, check.name, check.expected, check.actual, f"{candidate.subject} {check.message}")


def _not_loaded(found: Matches) -> Violation:
    record, requirement = found.record, found.requirement
    listed = found.listed_keys() or [candidate.entry["key"] for candidate in found.listed_models()]
    if not listed and requirement.model:
        return _not_listed(found)
    unclear = [entry for entry in record["models"] if is_unclear(entry) and entry["key"] in listed]
    names = format_names([entry["key"] for entry in unclear])
    actual: str | None = None
    if unclear and all(entry.get("state") == LOADING for entry in unclear):
        actual, message = LOADING, f"{names} {'is' if len(unclear) == 1 else 'are'} still loading"
    elif unclear:
        message = f"{names} {_unclear(unclear)}, so it is not known whether it is loaded"
    else:
        actual = AVAILABLE if listed else None
        has = "is known to have" if found.may_be_of_kind(loaded=True) else "has"
        missing = f"{requirement.subject} is not loaded" if requirement.model else f"no loaded model {has} {requirement.kind}"
        message = f"{missing}. Loaded: {format_names(record['loaded'])}"
    return make_violation(requirement, "state", LOADED, actual, message)


def _not_listed(found: Matches) -> Violation:
    record, requirement = found.record, found.requirement
    is_known = "is known to be" if found.may_be_of_kind(loaded=False) else "is"
    missing = f"{requirement.subject} is not listed" if requirement.model else f"no model with {requirement.kind} {is_known} listed"
    # The listed keys that come closest to its names.
    meant = did_you_mean([name for name in requirement.model if not is_pattern(name)], record["available"], begins="; did")
    message = f"{missing} by this host{meant}"
    hidden = found.unreadable_names()
    if hidden:
        message = f"{requirement.subject} is not known to be listed by this host, {_unreadable(hidden)}"
    if is_older(record) and requirement.state == AVAILABLE:
        message += f" ({_OLDER_LIST} may leave out models)"
    return make_violation(requirement, "model", one_or_list(requirement.model), None, message)


def _unclear(entries: Iterable[Entry]) -> str:
    """What these unclear models report, as the end of a sentence."""
    if any(entry.get("loaded_context_length") is not None for entry in entries):
        return "reports a loaded context but no instance"
    return f"has the state {format_names(sorted({str(entry.get('state')) for entry in entries}))}"
