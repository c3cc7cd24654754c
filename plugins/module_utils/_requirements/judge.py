# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Whether the record of a host meets what is required of it.

The one place where this is decided, for assertions, tests, filters and roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.confirmation import is_unconfirmed
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import is_unclear, may_be_loaded
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v0 import LIST_MODELS_V0, LOADING
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import Entry
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.checks import Candidate, Check, make_candidate
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.matching import (
    is_named,
    is_older,
    is_pattern,
    listed_candidates,
    listed_keys,
    loaded_models,
    may_be_uncarried,
    may_hide,
    more_than_model,
    need_full,
    possible_instances,
    suspect_names,
    unreadable_names,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import (
    FAIL,
    Violation,
    could_not_check,
    count,
    format_names,
    make_violation,
    one_or_list,
    violation,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import (
    ABSENT,
    AVAILABLE,
    LOADED,
    UNLOADED,
    Requirement,
    RequirementError,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import did_you_mean, printable

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record

_OF_ONE_INSTANCE = ("model", "min_context_length", "min_parallel", "config")
_FAILING_SHOWN = 5
_OLDER_LIST = LIST_MODELS_V0.path
"""It does not list what is not loaded while just-in-time loading is off, and does not tell how many instances there are."""
_UNCONFIRMED = f"because {_OLDER_LIST} did not tell what is still loading"


def judge(record: Record, requirements: Iterable[Requirement], exclusive: bool = False) -> list[Violation]:
    """Every violation of every requirement, in order. `exclusive` forbids any loaded model that no requirement is about.

    Raises :class:`RequirementError` when the record does not carry what is to be judged.
    """
    requirements = list(requirements)
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
        raise RequirementError("state: absent selects nothing. Use one of loaded, available, unloaded.")
    if requirement.state == LOADED:
        met = [
            entry for target in loaded_models(record, requirement) if _meets(target) for entry in (candidate.entry for candidate in target)
        ]
    else:
        need_full(record, requirement)
        met = [candidate.entry for candidate in listed_candidates(record, requirement) if not candidate.unmet]
    idle = requirement.state == UNLOADED
    return [entry for entry in record["models"] if any(entry is other for other in met) and not (idle and may_be_loaded(entry))]


def judge_requirement(record: Record, requirement: Requirement) -> list[Violation]:
    if not record["ok"]:
        return [make_violation(requirement, "status", "ok", record["status"], could_not_check(record, requirement.subject))]
    if requirement.state == LOADED:
        return _judge_loaded(record, requirement)
    if requirement.state == AVAILABLE:
        return _judge_available(record, requirement)
    return _judge_none(record, requirement)


def _judge_loaded(record: Record, requirement: Requirement) -> list[Violation]:
    models = loaded_models(record, requirement)
    # An instance counts once, even where its id is the key of another model, or an entry lists it twice.
    meeting = len({(id(candidate.entry), (candidate.instance or {}).get("id")) for model in models if _meets(model) for candidate in model})
    least = 1 if requirement.min_instances is None else requirement.min_instances
    violations = []
    if meeting < least:
        violations += _closest(requirement, [model for model in models if not _meets(model)])
        if not models:
            violations.append(_not_there(record, requirement))
        if least > 1:
            have = f"{count(meeting, 'loaded instance') if meeting else 'no loaded instance'} {'meets' if meeting < 2 else 'meet'}"
            message = f"{have} the requirement, at least {least} are required"
            violations.append(_of_all(requirement, "min_instances", least, meeting, message))
    if requirement.max_instances is not None:
        possible, most = possible_instances(record, requirement), requirement.max_instances
        if len(possible) > most:
            sure = not any(candidate.unmet for candidate in possible)
            have = f"{count(len(possible), 'loaded instance')} {('meets' if len(possible) == 1 else 'meet') if sure else 'may meet'}"
            allowed = {0: "none is", 1: "at most 1 is"}.get(most, f"at most {most} are")
            violations.append(_of_all(requirement, "max_instances", most, len(possible), f"{have} the requirement, {allowed} allowed"))
        elif is_older(record) and (possible or may_hide(record, requirement)):
            message = f"it is not known how many loaded instances meet the requirement, because {_OLDER_LIST} does not list instances"
            violations.append(_of_all(requirement, "max_instances", most, None, message))
        elif is_unconfirmed(record):
            message = f"it is not known how many loaded instances meet the requirement, {_UNCONFIRMED}"
            violations.append(_of_all(requirement, "max_instances", most, None, message))
        elif hidden := [name for name in unreadable_names(record, requirement, loaded=True) if name not in _counted(possible)]:
            message = f"it is not known how many loaded instances meet the requirement, because {_may_be(hidden)}"
            violations.append(_of_all(requirement, "max_instances", most, None, message))
    return violations


def _counted(candidates: list[Candidate]) -> set[str]:
    """The keys of the entries all of whose instances are among the candidates."""
    entries = [candidate.entry for candidate in candidates]
    return {entry["key"] for entry in entries if len(entry["loaded_instances"]) == sum(other is entry for other in entries)}


def _may_be(hidden: list[str]) -> str:
    """Why a model that is not listed by its name may be one of these, as the end of a sentence."""
    return f"{format_names(hidden)} may be it: a name there is masked, as the token and headers are, or has an unexpected type"


def _meets(model: list[Candidate]) -> bool:
    """Whether every instance of a model meets the requirement, because LM Studio chooses the one that serves a request."""
    return all(not candidate.unmet for candidate in model)


def _closest(requirement: Requirement, models: list[list[Candidate]]) -> list[Violation]:
    """What keeps the model that comes closest from meeting a requirement: each instance that falls short, and why."""
    if not models:
        return []
    closest = min(models, key=lambda model: sum(len(candidate.unmet) for candidate in model))
    failing = [candidate for candidate in closest if candidate.unmet]
    found = []
    reported = set()
    for candidate in failing[:_FAILING_SHOWN]:
        for check in candidate.unmet:
            # What an entry has is the same for all of its instances.
            of = id(candidate.instance if check.name in _OF_ONE_INSTANCE else candidate.entry)
            if (of, check.message) not in reported:
                reported.add((of, check.message))
                found.append(_unmet(requirement, candidate, check))
    if len(failing) > _FAILING_SHOWN:
        found[-1]["message"] += f" (and {count(len(failing) - _FAILING_SHOWN, 'instance')} more)"
    return found


def _judge_available(record: Record, requirement: Requirement) -> list[Violation]:
    candidates = listed_candidates(record, requirement)
    if any(not candidate.unmet for candidate in candidates):
        return []
    if record["detail"] != FULL and not more_than_model(requirement) and listed_keys(record, requirement):
        return []
    if may_be_uncarried(record, requirement):
        need_full(record, requirement)
    if not candidates:
        return [_not_there(record, requirement)]
    closest = min(candidates, key=lambda candidate: len(candidate.unmet))
    return [_unmet(requirement, closest, check) for check in closest.unmet]


def _judge_none(record: Record, requirement: Requirement) -> list[Violation]:
    """For unloaded and absent: nothing may match, not even possibly."""
    absent = requirement.state == ABSENT
    if absent and may_be_uncarried(record, requirement):
        if more_than_model(requirement) or not listed_keys(record, requirement):
            need_full(record, requirement)
        names = listed_keys(record, requirement)
    elif absent:
        names = list(dict.fromkeys(name for entry in record["models"] for name in suspect_names(record, requirement, entry)))
    else:
        names = list(dict.fromkeys(candidate.entry["key"] for candidate in possible_instances(record, requirement)))
    actual: str | None = AVAILABLE if absent else LOADED
    hidden = [] if names else unreadable_names(record, requirement, loaded=not absent)
    if hidden:
        message = f"{requirement.subject} is not known to be {requirement.state}, because {_may_be(hidden)}"
        return [make_violation(requirement, "state", requirement.state, None, message)]
    if not names:
        why = f"because {_OLDER_LIST} may leave out models"
        if not absent and is_unconfirmed(record):
            why = _UNCONFIRMED
        elif not is_older(record) or (not absent and not may_hide(record, requirement)):
            return []
        message = f"{requirement.subject} is not known to be {requirement.state}, {why}"
        return [make_violation(requirement, "state", requirement.state, None, message)]
    message = f"{requirement.subject} must be absent, but is listed" if absent else f"{requirement.subject} must not be loaded, but is"
    if not absent:
        entries = [entry for entry in record["models"] if entry["key"] in names]
        if any(entry.get("state") == LOADING for entry in entries):
            message, actual = f"{message} still loading", LOADING
        elif not any(entry["loaded"] for entry in entries):
            message, actual = f"{requirement.subject} must not be loaded, but may be, because it {_unclear(entries)}", None
    message += "" if names == list(requirement.model) else f": {format_names(names)}"
    return [make_violation(requirement, "state", requirement.state, actual, message)]


def judge_exclusive(record: Record, requirements: list[Requirement]) -> list[Violation]:
    """A violation for each model that is or may be loaded, and that no requirement is about."""
    if not record["ok"]:
        return [violation("exclusive", "status", "ok", record["status"], FAIL, could_not_check(record, "what else is loaded"))]
    wanted = [requirement for requirement in requirements if requirement.state in (LOADED, AVAILABLE)]
    others = [
        entry["key"]
        for entry in record["models"]
        if may_be_loaded(entry) and not any(_covers(requirement, entry) for requirement in wanted)
    ]
    loading = {entry["key"] for entry in record["models"] if entry.get("state") == LOADING}
    found: dict[str | None, str] = {
        key: f"{printable(key)} is {'still loading' if key in loading else 'loaded'}, and no requirement asks for it (exclusive)"
        for key in others
    }
    if not found and (is_older(record) or is_unconfirmed(record)):
        why = f"because {_OLDER_LIST} may leave out models" if is_older(record) else _UNCONFIRMED
        found[None] = f"it is not known whether anything else is loaded, {why} (exclusive)"
    allowed = [requirement.label for requirement in wanted]
    return [violation("exclusive", "exclusive", allowed, key, FAIL, message) for key, message in found.items()]


def _covers(requirement: Requirement, entry: Entry) -> bool:
    """Whether a requirement is about a loaded model, or about each of its instances."""
    if not requirement.model:
        return make_candidate(requirement, entry, None).is_kind
    if any(is_named(requirement, name) for name in (entry["key"], entry["selected_variant"])):
        return True
    ids = [instance["id"] for instance in entry["loaded_instances"]]
    return bool(ids) and all(is_named(requirement, name) for name in ids)


def _of_all(requirement: Requirement, check: str, expected: int, actual: int | None, message: str) -> Violation:
    """A violation about a number, whose sentence does not name a model."""
    return make_violation(requirement, check, expected, actual, message if requirement.name else f"{requirement.subject}: {message}")


def _unmet(requirement: Requirement, candidate: Candidate, check: Check) -> Violation:
    return make_violation(requirement, check.name, check.expected, check.actual, f"{candidate.subject} {check.message}")


def _not_there(record: Record, requirement: Requirement) -> Violation:
    listed = listed_keys(record, requirement) or [candidate.entry["key"] for candidate in listed_candidates(record, requirement)]
    unclear = [entry for entry in record["models"] if is_unclear(entry) and entry["key"] in listed]
    if requirement.state == LOADED and unclear:
        names = format_names([entry["key"] for entry in unclear])
        if all(entry.get("state") == LOADING for entry in unclear):
            message = f"{names} {'is' if len(unclear) == 1 else 'are'} still loading"
            return make_violation(requirement, "state", LOADED, LOADING, message)
        message = f"{names} {_unclear(unclear)}, so it is not known whether it is loaded"
        return make_violation(requirement, "state", LOADED, None, message)
    if requirement.state == LOADED and (listed or not requirement.model):
        missing = f"{requirement.subject} is not loaded" if requirement.model else f"no loaded model has {requirement.kind}"
        message = f"{missing}. Loaded: {format_names(record['loaded'])}"
        return make_violation(requirement, "state", LOADED, AVAILABLE if listed else None, message)
    missing = f"{requirement.subject} is not listed" if requirement.model else f"no model with {requirement.kind} is listed"
    message = f"{missing} by this host{_suggestion(record, requirement)}"
    if is_older(record) and requirement.state == AVAILABLE:
        message += f" ({_OLDER_LIST} may leave out models)"
    return make_violation(requirement, "model", one_or_list(requirement.model), None, message)


def _unclear(entries: Iterable[Entry]) -> str:
    """What these unclear models report, as the end of a sentence."""
    if any(entry.get("loaded_context_length") is not None for entry in entries):
        return "reports a loaded context but no instance"
    return f"has the state {format_names(sorted({str(entry.get('state')) for entry in entries}))}"


def _suggestion(record: Record, requirement: Requirement) -> str:
    """The listed keys that come closest to the names of a requirement."""
    names = [name for name in requirement.model if not is_pattern(name)]
    return did_you_mean(names, record["available"]).replace(" Did", "; did", 1)
