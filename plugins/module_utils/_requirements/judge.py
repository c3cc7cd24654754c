# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What is required of a host, and whether its record meets it: parse, judge, explain.

The one place where this is decided, for assertions, tests, filters and roles. No socket, no Ansible object.
"""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Mapping, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import EMBEDDING_TYPES, Entry, may_be_loaded
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record

Violation = Dict[str, Any]
"""``{requirement, check, expected, actual, severity, message}``"""

LOADED, AVAILABLE, UNLOADED, ABSENT = STATES = ("loaded", "available", "unloaded", "absent")
FAIL, WARN = SEVERITIES = ("fail", "warn")
CAPABILITIES = ("vision", "trained_for_tool_use", "reasoning")
TYPES = ("llm", "embedding", "embeddings", "drafter", "imageGen", "transcription", "tts")
"""The types that are known. A server may list others, and so may a requirement where a wrong word fails the gate."""
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([KMGT])(i?)B\Z|([0-9]{1,18})\s*B\Z", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_BOOLEANS = {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}
_NAMES_SHOWN = 5


class RequirementError(Exception):
    """A requirement that cannot be used, or not on this record. Its text names the key and says what to write instead."""


class Requirement(NamedTuple):
    """A checked requirement. Make it with :func:`parse`. Attributes are tuples of what is accepted; empty means anything."""

    name: str = ""
    model: tuple[str, ...] = ()
    state: str = LOADED
    type: tuple[str, ...] = ()
    publisher: tuple[str, ...] = ()
    architecture: tuple[str, ...] = ()
    format: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    min_bits_per_weight: float | None = None
    min_context_length: int | None = None
    min_parallel: int | None = None
    min_instances: int | None = None
    max_instances: int | None = None
    capabilities: tuple[str, ...] = ()
    """All of them."""
    max_size: int | None = None
    """Bytes."""
    config: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    severity: str = FAIL

    @property
    def subject(self) -> str:
        """What it is about, for messages: the model, or what selects one."""
        if self.model:
            return _either(self.model)
        selectors = [(name, getattr(self, name)) for name in (*_IDENTITY, "capabilities") if getattr(self, name)]
        return "a model with {}".format(" and ".join(f"{_WORDS.get(name, name)} {_either(values)}" for name, values in selectors))


KEYS = Requirement._fields
# What says which model is meant, and so can stand in for its name.
_IDENTITY = ("type", "publisher", "architecture", "format", "quantization")
_SELECTORS = ("model", *_IDENTITY, "capabilities")
_OF_ONE_INSTANCE = ("model", "min_context_length", "min_parallel", "config")
_OF_INSTANCES = ("min_parallel", "config", "min_instances", "max_instances")
_KINDS = (*_IDENTITY, "capabilities")
_WORDS = {"capabilities": "the capability"}
_FAILING_SHOWN = 5


# Parsing. Numbers may be text, because templates give text on ansible-core before 2.19.


def parse_all(raw: Any, where: str = "require") -> list[Requirement]:
    """The requirements of a list. Raises :class:`RequirementError`, also for an empty one, which would pass anything."""
    if isinstance(raw, Mapping):
        raise RequirementError(f"{where}: it is one requirement. Write a list, with a dash before it.")
    if not isinstance(raw, (list, tuple)):
        raise RequirementError(f"{where}: {_shown(raw)} is no list of requirements.")
    if not raw:
        raise RequirementError(f"{where}: it is empty, which would pass on any host. Give at least one requirement.")
    return [parse(item, f"{where}[{number}]") for number, item in enumerate(raw)]


def parse(raw: Any, where: str = "requirement") -> Requirement:
    """One requirement. Raises :class:`RequirementError` that names the key and the value."""
    if not isinstance(raw, Mapping):
        raise RequirementError(f"{where}: {_shown(raw)} is no requirement. Write keys and values. The keys are {', '.join(KEYS)}.")
    for key in raw:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, 1)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise RequirementError(f"{where}: unknown key {_shown(key)}.{meant} The keys are {', '.join(KEYS)}.")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if value is None:
            raise RequirementError(f"{where}: {key} has no value. Give one, or remove the key.")
        try:
            values[key] = _READERS[key](value)
        except (ValueError, TypeError) as exc:
            raise RequirementError(f"{where}: {key}: {_shown(value)} is not {exc}.") from None
    requirement = Requirement(**values)
    _check_sense(requirement, where)
    return requirement


def _check_sense(requirement: Requirement, where: str) -> None:
    """Refuse what contradicts itself, and what could never fail."""
    state = requirement.state
    if not any(getattr(requirement, key) for key in _SELECTORS):
        raise RequirementError(f"{where}: it says of no model. Give at least one of {', '.join(_SELECTORS)}.")
    refused: Iterable[str] = ()
    if state == AVAILABLE:
        refused = _OF_INSTANCES
    elif state in (UNLOADED, ABSENT):
        refused = (*_OF_INSTANCES, "min_context_length", "min_bits_per_weight", "max_size")
    for key in refused:
        if getattr(requirement, key) not in (None, ()):
            raise RequirementError(f"{where}: {key} contradicts state: {state}. Remove one of the two.")
    least, most = requirement.min_instances, requirement.max_instances
    if state in (UNLOADED, ABSENT) or least == 0:
        known = {name.lower() for name in TYPES}
        for name in requirement.type:
            if name.lower() not in known:
                close = difflib.get_close_matches(name, TYPES, 1)
                raise RequirementError(
                    f"{where}: type: {_shown(name)} is not a known type, and {'min_instances: 0' if least == 0 else f'state: {state}'} would pass "
                    f"for a wrong word.{f' Did you mean {close[0]}?' if close else ''} The types are {', '.join(TYPES)}."
                )
    if most is not None and most < (1 if least is None else least):
        raise RequirementError(
            f"{where}: max_instances {most} contradicts min_instances {1 if least is None else least}"
            f"{' (the default)' if least is None else ''}. For a model that must not be loaded, write state: unloaded."
        )
    if least == 0 and most is None:
        raise RequirementError(f"{where}: min_instances 0 without max_instances can never fail. Remove it, or give max_instances.")


def flag(value: Any, where: str) -> bool:
    """True or false. Raises :class:`RequirementError`."""
    found = value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise RequirementError(f"{where}: {_shown(value)} is not true or false.")
    return found


def fleet_terms(min_hosts: Any, consistent: Any, where: str = "") -> tuple[int | None, tuple[str, ...]]:
    """What :func:`judge_fleet` takes beside the requirements, checked. Raises :class:`RequirementError`."""
    try:
        least = None if min_hosts is None else _whole(1)(min_hosts)
    except ValueError as exc:
        raise RequirementError(f"{where}min_hosts: {_shown(min_hosts)} is not {exc}.") from None
    if consistent is None or isinstance(consistent, str):
        consistent = (consistent,) if consistent else ()
    if not isinstance(consistent, (list, tuple)):
        raise RequirementError(f"{where}consistent: {_shown(consistent)} is no list.")
    for name in consistent:
        if name not in CONSISTENT:
            raise RequirementError(f"{where}consistent: {_shown(name)} is not one of {', '.join(CONSISTENT)}.")
    return least, tuple(str(name) for name in consistent)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return str(value).strip()


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and value:
        return tuple(_text(item) for item in value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text or a list of texts")
    return (str(value).strip(),)


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return read


def _some_of(choices: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        texts = _texts(value)
        if not set(texts) <= set(choices):
            raise ValueError(f"one or several of {', '.join(choices)}")
        return texts

    return read


def _whole(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and re.match(r"[0-9]{1,18}\Z", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number of {least} or more")
        return int(value)

    return read


def _bits(value: Any) -> float:
    if isinstance(value, str) and re.match(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z", value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1000:
        raise ValueError("a number above 0")
    return float(value)


def _size(value: Any) -> int:
    number = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if number and number[2]:
        value = int(float(number[1]) * (1024 if number[3] else 1000) ** _POWERS[number[2].lower()])
    elif number:
        value = number[4]
    try:
        whole: int = _whole(1)(value)
    except ValueError:
        raise ValueError("a size. Write bytes, or a text such as 40GB or 40GiB") from None
    return whole


def _config(value: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("a mapping of settings, such as flash_attention: true")
    settings = []
    for name, accepted in value.items():
        accepted = tuple(accepted) if isinstance(accepted, (list, tuple)) else (accepted,)
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"usable: {_shown(name)} is no name of a setting")
        if not accepted or not all(isinstance(item, (str, int, float)) for item in accepted):
            raise ValueError(f"usable: {_shown(name)} wants a text, a number, true or false, or a list of them")
        settings.append((str(name).strip(), accepted))
    return tuple(settings)


_READERS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "model": _texts,
    "state": _one_of(STATES),
    **dict.fromkeys(_IDENTITY, _texts),
    "min_bits_per_weight": _bits,
    "min_context_length": _whole(1),
    "min_parallel": _whole(1),
    "min_instances": _whole(0),
    "max_instances": _whole(0),
    "capabilities": _some_of(CAPABILITIES),
    "max_size": _size,
    "config": _config,
    "severity": _one_of(SEVERITIES),
}


# Judging.


class Check(NamedTuple):
    """One attribute of one entry or instance."""

    name: str
    expected: Any
    actual: Any
    met: bool | None
    """None when the server does not tell."""
    says: str
    """Completes a sentence that begins with the model."""


class _Candidate(NamedTuple):
    """An entry, or an instance of one, that a requirement may be about."""

    entry: Entry
    instance: Entry | None
    checks: list[Check]

    @property
    def unmet(self) -> list[Check]:
        return [check for check in self.checks if not check.met]

    @property
    def possible(self) -> bool:
        return all(check.met is not False for check in self.checks)

    @property
    def is_kind(self) -> bool:
        """Whether it is of the kind that a requirement without a name says. What is not known is no reason to take it for that."""
        return all(check.met for check in self.checks if check.name in _KINDS)

    @property
    def subject(self) -> str:
        key = printable(self.entry["key"])
        if self.instance is None or self.instance["id"] == self.entry["key"]:
            return key
        return f"{key} (instance {printable(self.instance['id'])})"


class _Target(NamedTuple):
    """A model that a requirement is about, with all its instances; or one instance, where its id names it."""

    entries: list[Entry]
    instances: list[tuple[Entry, Entry]]
    """Each with its own entry."""
    variant: str | None = None
    """The variant that names it."""


def judge(record: Record, requirements: Iterable[Requirement], exclusive: bool = False) -> list[Violation]:
    """Every violation of every requirement, in order. `exclusive` forbids any loaded model that none of them is about.

    Raises :class:`RequirementError` when the record does not carry what is to be judged.
    """
    requirements = list(requirements)
    violations = [violation for requirement in requirements for violation in _judge_one(record, requirement)]
    if exclusive:
        violations += _judge_exclusive(record, requirements)
    return violations


def judge_fleet(
    records: Mapping[str, Record], requirements: Iterable[Requirement], min_hosts: int | None = None, consistent: tuple[str, ...] = ()
) -> list[Violation]:
    """Every violation over many hosts, each with its `host`, or null where it is about all of them.

    Without `min_hosts` every host has to meet every requirement; with it, so many of them. `consistent` names what has to be
    the same on all hosts that have the model: some of :data:`CONSISTENT`. Raises :class:`RequirementError`, also for no host
    at all, which would meet anything.
    """
    if not records and min_hosts is None:
        raise RequirementError("hosts: there are none, which would meet anything. Check the pattern, the group or the play that asked.")
    violations = []
    for requirement in requirements:
        _check_comparable(requirement, consistent)
        by_host = {name: _judge_one(record, requirement) for name, record in records.items()}
        if min_hosts is None:
            violations += [_on_host(name, violation) for name, found in by_host.items() for violation in found]
        elif sum(not found for found in by_host.values()) < min_hosts:
            violations.append(_too_few(records, requirement, by_host, min_hosts))
        violations += [violation for attribute in consistent for violation in _judge_consistent(records, requirement, attribute)]
    return violations


def selected(record: Record, requirement: Requirement) -> list[Entry]:
    """The entries of a record that meet a requirement as it stands, in the order of the server."""
    if not record["ok"]:
        return []
    if requirement.state == ABSENT:
        raise RequirementError("state: absent selects nothing. Use one of loaded, available, unloaded.")
    if requirement.state == LOADED:
        met = [entry for target in _models(record, requirement) if _meets(target) for entry in (candidate.entry for candidate in target)]
    else:
        _need_full(record, requirement)
        met = [candidate.entry for candidate in _listed_candidates(record, requirement) if not candidate.unmet]
    idle = requirement.state == UNLOADED
    return [entry for entry in record["models"] if any(entry is other for other in met) and not (idle and may_be_loaded(entry))]


def _judge_one(record: Record, requirement: Requirement) -> list[Violation]:
    if not record["ok"]:
        label = printable(requirement.name) + ": " if requirement.name else ""
        return [_not_known(record, requirement.name or requirement.subject, label + requirement.subject, requirement.severity)]
    if requirement.state == LOADED:
        return _judge_loaded(record, requirement)
    if requirement.state == AVAILABLE:
        return _judge_available(record, requirement)
    return _judge_none(record, requirement)


def _judge_loaded(record: Record, requirement: Requirement) -> list[Violation]:
    models = _models(record, requirement)
    # An instance counts once, also where its id is the key of another model.
    meeting = len({id(candidate.instance) for model in models if _meets(model) for candidate in model})
    least = 1 if requirement.min_instances is None else requirement.min_instances
    violations = []
    if meeting < least:
        violations += _closest(requirement, [model for model in models if not _meets(model)])
        if not models:
            violations.append(_not_there(record, requirement))
        if least > 1:
            says = f"{requirement.subject} has {_instances(meeting)} as required, at least {least} must be"
            violations.append(_violation(requirement, "min_instances", least, meeting, says))
    if requirement.max_instances is not None:
        possible = len(_possible_instances(record, requirement))
        if possible > requirement.max_instances:
            says = f"{requirement.subject} has {_instances(possible)}, at most {requirement.max_instances} may be"
            violations.append(_violation(requirement, "max_instances", requirement.max_instances, possible, says))
    return violations


def _meets(model: list[_Candidate]) -> bool:
    """Whether every instance of a model meets the requirement, because LM Studio chooses the one that serves a request."""
    return all(not candidate.unmet for candidate in model)


def _closest(requirement: Requirement, models: list[list[_Candidate]]) -> list[Violation]:
    """What keeps the model that comes closest from meeting a requirement: each instance that falls short, and why."""
    if not models:
        return []
    closest = min(models, key=lambda model: sum(len(candidate.unmet) for candidate in model))
    failing = [candidate for candidate in closest if candidate.unmet]
    found = []
    told = set()
    for candidate in failing[:_FAILING_SHOWN]:
        for check in candidate.unmet:
            # What an entry has is the same for all of its instances.
            of = id(candidate.instance if check.name in _OF_ONE_INSTANCE else candidate.entry)
            if (of, check.says) not in told:
                told.add((of, check.says))
                found.append(_unmet(requirement, candidate, check))
    if len(failing) > _FAILING_SHOWN:
        found[-1]["message"] += f" (and {_instances(len(failing) - _FAILING_SHOWN)} more)"
    return found


def _judge_available(record: Record, requirement: Requirement) -> list[Violation]:
    candidates = _listed_candidates(record, requirement)
    if any(not candidate.unmet for candidate in candidates):
        return []
    if record["detail"] != FULL and not _more_than_model(requirement) and _listed(record, requirement):
        return []
    if _may_be_uncarried(record, requirement):
        _need_full(record, requirement)
    if not candidates:
        return [_not_there(record, requirement)]
    closest = min(candidates, key=lambda candidate: len(candidate.unmet))
    return [_unmet(requirement, closest, check) for check in closest.unmet]


def _judge_none(record: Record, requirement: Requirement) -> list[Violation]:
    """Of unloaded and absent: nothing may match, not even perhaps."""
    absent = requirement.state == ABSENT
    if absent and _may_be_uncarried(record, requirement):
        if _more_than_model(requirement) or not _listed(record, requirement):
            _need_full(record, requirement)
        names = _listed(record, requirement)
    elif absent:
        names = list(dict.fromkeys(name for entry in record["models"] for name in _suspect_names(requirement, entry)))
    else:
        names = list(dict.fromkeys(candidate.entry["key"] for candidate in _possible_instances(record, requirement)))
    if not names:
        return []
    actual: str | None = AVAILABLE if absent else LOADED
    says = "{} must be absent, but is listed" if absent else "{} must not be loaded, but is"
    named = "" if names == list(requirement.model) else f": {_names(names)}"
    says = says.format(requirement.subject) + named
    if not absent and not any(entry["loaded"] for entry in record["models"] if entry["key"] in names):
        actual = None
        says += " perhaps, because it tells a loaded context and no instance"
    return [_violation(requirement, "state", requirement.state, actual, says)]


def _judge_exclusive(record: Record, requirements: list[Requirement]) -> list[Violation]:
    if not record["ok"]:
        return [_not_known(record, "exclusive", "what else is loaded", FAIL)]
    wanted = [requirement for requirement in requirements if requirement.state in (LOADED, AVAILABLE)]
    others = [
        entry["key"]
        for entry in record["models"]
        if may_be_loaded(entry) and not any(_asks_for(requirement, entry) for requirement in wanted)
    ]
    return [
        {
            "requirement": "exclusive",
            "check": "exclusive",
            "expected": [requirement.name or requirement.subject for requirement in wanted],
            "actual": key,
            "severity": FAIL,
            "message": f"{printable(key)} is loaded, and no requirement asks for it (exclusive)",
        }
        for key in dict.fromkeys(others)
    ]


def _asks_for(requirement: Requirement, entry: Entry) -> bool:
    """Whether a requirement is about a loaded model, or about each of its instances."""
    if not requirement.model:
        return _candidate(requirement, entry, None).is_kind
    if any(_is_named(requirement, name) for name in (entry["key"], entry["selected_variant"])):
        return True
    ids = [instance["id"] for instance in entry["loaded_instances"]]
    return bool(ids) and all(_is_named(requirement, name) for name in ids)


def _on_host(host: str | None, violation: Violation) -> Violation:
    message = violation["message"] if host is None else f"{host}: {violation['message']}"
    return {**violation, "host": host, "message": message}


def _check_comparable(requirement: Requirement, consistent: tuple[str, ...]) -> None:
    state = requirement.state
    if consistent and (state in (UNLOADED, ABSENT) or (state == AVAILABLE and "context_length" in consistent)):
        what = "context_length" if state == AVAILABLE else ", ".join(consistent)
        raise RequirementError(f"consistent: with state: {state} there is no {what} to compare. Remove it, or write state: loaded.")


def _too_few(records: Mapping[str, Record], requirement: Requirement, by_host: Mapping[str, list[Violation]], least: int) -> Violation:
    meeting = [name for name, found in by_host.items() if not found]
    unknown = [name for name, record in records.items() if not record["ok"]]
    failing = [name for name, found in by_host.items() if found and name not in unknown]
    says = f"{requirement.subject} is as required on {len(meeting)} of {len(records)} hosts, at least {least} are needed"
    for what, names in (("Not as required", failing), ("Not known", unknown)):
        says += f". {what}: {_names(names)}" if names else ""
    return _on_host(None, _violation(requirement, "min_hosts", least, len(meeting), says))


def _judge_consistent(records: Mapping[str, Record], requirement: Requirement, attribute: str) -> list[Violation]:
    hosts_of: dict[Any, list[str]] = {}
    for name, record in records.items():
        if record["ok"] and requirement.state == AVAILABLE and _may_be_uncarried(record, requirement):
            _need_full(record, requirement)
        candidates: list[_Candidate] = []
        if record["ok"] and requirement.state == LOADED:
            candidates = [candidate for model in _models(record, requirement) for candidate in model]
        elif record["ok"]:
            candidates = _listed_candidates(record, requirement)
        for value in dict.fromkeys(_VALUES[attribute](candidate) for candidate in candidates):
            hosts_of.setdefault(value, []).append(name)
    if len(hosts_of) < 2:
        return []
    says = f"{requirement.subject} has not the same {attribute} everywhere: "
    says += "; ".join(f"{_shown(value)} on {_names(names)}" for value, names in hosts_of.items())
    actual = [{"value": value, "hosts": names} for value, names in hosts_of.items()]
    return [_on_host(None, _violation(requirement, "consistent", attribute, actual, says))]


_VALUES: dict[str, Callable[[_Candidate], Any]] = {
    "quantization": lambda candidate: candidate.entry["quantization"]["name"],
    "selected_variant": lambda candidate: candidate.entry["selected_variant"],
    "context_length": lambda candidate: candidate.instance and candidate.instance["config"]["context_length"],
}
CONSISTENT = tuple(_VALUES)
"""What can be compared over hosts."""


def _models(record: Record, requirement: Requirement) -> list[list[_Candidate]]:
    """The loaded models that a requirement is about, each with all its instances."""
    models = []
    for target in _targets(record, requirement):
        model = [_candidate(requirement, entry, instance, target.variant) for entry, instance in target.instances]
        # Without a name, its kind says which model is meant.
        if model and (requirement.model or any(candidate.is_kind for candidate in model)):
            models.append(model)
    return models


def _listed_candidates(record: Record, requirement: Requirement) -> list[_Candidate]:
    """The entries that a requirement is about, loaded or not."""
    found = [_candidate(requirement, entry, None, target.variant) for target in _targets(record, requirement) for entry in target.entries]
    return [candidate for candidate in found if requirement.model or candidate.is_kind]


def _possible_instances(record: Record, requirement: Requirement) -> list[_Candidate]:
    """The instances that may meet a requirement, each by itself: what may be there, however it is named. Of a model that tells a
    loaded context and no instance, the model.
    """
    found = []
    for entry in record["models"]:
        for instance in entry["loaded_instances"] or ([None] if may_be_loaded(entry) else []):
            named = [*_names_of(entry), instance["id"]] if instance else _names_of(entry)
            if not requirement.model or any(_is_named(requirement, name) for name in named):
                known = any(
                    _is_named(requirement, name) for name in named if name not in entry["variants"] or name == entry["selected_variant"]
                )
                found.append(_candidate(requirement, entry, instance, None if known or not requirement.model else ""))
    return [candidate for candidate in found if candidate.possible]


def _suspect_names(requirement: Requirement, entry: Entry) -> list[str]:
    """The names under which an entry may be what must be absent."""
    known = _candidate(requirement, entry, None)
    if not requirement.model:
        return [entry["key"]] if known.possible else []
    ids = [instance["id"] for instance in entry["loaded_instances"]]
    if known.possible and any(_is_named(requirement, name) for name in (entry["key"], entry["selected_variant"], *ids)):
        return [entry["key"]]
    # Of another variant nothing is known but its name.
    return [name for name in entry["variants"] if name != entry["selected_variant"] and _is_named(requirement, name)]


def _targets(record: Record, requirement: Requirement) -> list[_Target]:
    """What a requirement names: models, with all their instances, or single instances. Without a name, every model."""
    entries_of: dict[str, list[Entry]] = {}
    for entry in record["models"]:
        entries_of.setdefault(entry["key"], []).append(entry)
    if not requirement.model:
        return [_model_of(record, key, entries) for key, entries in entries_of.items()]
    found = []
    for name in requirement.model:
        is_pattern = any(letter in name for letter in "*?[")
        if not is_pattern and name in entries_of:
            # A name is first a key, then a variant, then the id of an instance.
            found.append(_model_of(record, name, entries_of[name]))
            continue
        variants: list[_Target] = []
        instances: list[_Target] = []
        for key, entries in entries_of.items():
            if is_pattern and _matches(name, key):
                found.append(_model_of(record, key, entries))
                continue
            named = [_variant_of(entries, variant) for variant in _variants(entries) if _matches(name, variant)]
            variants += named
            if not named:
                instances += [
                    _Target([entry], [(entry, instance)])
                    for entry in entries
                    for instance in entry["loaded_instances"]
                    if _matches(name, instance["id"])
                ]
        found += variants + instances if is_pattern else variants or instances
    return found


def _model_of(record: Record, key: str, entries: list[Entry]) -> _Target:
    """A model with its instances, and with those of others whose id is its key: a request for the key may be theirs."""
    instances = [(entry, instance) for entry in entries for instance in entry["loaded_instances"]]
    for entry in record["models"]:
        if entry["key"] != key:
            instances += [(entry, instance) for instance in entry["loaded_instances"] if instance["id"] == key]
    return _Target(entries, instances)


def _variants(entries: list[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in (entry["selected_variant"], *entry["variants"]) if name))


def _variant_of(entries: list[Entry], variant: str) -> _Target:
    having = [entry for entry in entries if variant == entry["selected_variant"] or variant in entry["variants"]]
    return _Target(having, [(entry, instance) for entry in having for instance in entry["loaded_instances"]], variant)


def _names_of(entry: Entry) -> list[str]:
    return [entry["key"], *_variants([entry])]


def _is_named(requirement: Requirement, name: str | None) -> bool:
    return bool(name) and any(_matches(pattern, str(name)) for pattern in requirement.model)


def _matches(pattern: str, name: str) -> bool:
    return pattern == name or fnmatchcase(name, pattern)


def _candidate(requirement: Requirement, entry: Entry, instance: Entry | None, variant: str | None = None) -> _Candidate:
    """An entry or an instance with its checks. `variant` names it, which says nothing more unless that is the selected one."""
    checks = _entry_checks(requirement, entry)
    if instance is not None:
        checks += _instance_checks(requirement, instance["config"])
    elif requirement.min_context_length is not None:
        supported = entry["max_context_length"]
        checks.append(
            _minimum("min_context_length", requirement.min_context_length, supported, f"supports a context of {_shown(supported)}")
        )
    if variant is not None and variant != entry["selected_variant"]:
        says = f"has the variant {_shown(entry['selected_variant'])} selected, so of {printable(variant)} only the name is known"
        checks = [check._replace(actual=None, met=None, says=says) for check in checks]
        if instance is not None:
            checks.insert(0, Check("model", variant, entry["selected_variant"], None, says))
    return _Candidate(entry, instance, checks)


def _entry_checks(requirement: Requirement, entry: Entry) -> list[Check]:
    actual = {**{key: entry[key] for key in _IDENTITY}, "quantization": entry["quantization"]["name"]}
    checks = [_choice(key, getattr(requirement, key), actual[key]) for key in _IDENTITY if getattr(requirement, key)]
    if entry["type"] in EMBEDDING_TYPES and entry["architecture"] is None:
        # LM Studio leaves it out for these, so it is no reason to suspect one.
        checks = [check._replace(met=False) if check.name == "architecture" else check for check in checks]
    if requirement.min_bits_per_weight is not None:
        bits = entry["quantization"]["bits_per_weight"]
        checks.append(_minimum("min_bits_per_weight", requirement.min_bits_per_weight, bits, f"has bits per weight {_shown(bits)}"))
    if requirement.max_size is not None:
        size = entry["size_bytes"]
        met = None if size is None else size <= requirement.max_size
        says = f"has a size of {_shown_size(size)}, at most {_shown_size(requirement.max_size)} is allowed"
        checks.append(Check("max_size", requirement.max_size, size, met, says))
    abilities = entry["capabilities"]
    for name in requirement.capabilities:
        able = _can_reason(abilities["reasoning"]) if name == "reasoning" else abilities[name]
        checks.append(Check("capabilities", name, able, able, f"does not have the capability {name}, which is required"))
    return checks


def _can_reason(reasoning: Entry) -> bool:
    """Whether it can do more than not reason."""
    return any(option and option.lower() != "off" for option in (*reasoning["allowed_options"], reasoning["default"]))


def _instance_checks(requirement: Requirement, config: Entry) -> list[Check]:
    checks = []
    for key, setting, says in (
        ("min_context_length", "context_length", "a context of"),
        ("min_parallel", "parallel", "parallel"),
    ):
        least = getattr(requirement, key)
        if least is not None:
            actual = config[setting]
            checks.append(_minimum(key, least, actual, f"is loaded with {says} {_shown(actual)}"))
    for setting, accepted in requirement.config:
        actual = config.get(setting)
        same = [_same(actual, item) for item in accepted]
        met = True if True in same else None if None in same else False
        says = f"is loaded with {printable(setting)} {_shown(actual)}, {_either(accepted)} is required"
        if setting not in config:
            says = f"has no setting {printable(setting)}, {_either(accepted)} is required. The settings are {_names(list(config))}"
        checks.append(Check("config", {setting: _single(accepted)}, actual, met, says))
    return checks


def _choice(key: str, accepted: tuple[str, ...], actual: Any) -> Check:
    met = None if actual is None else any(_same_kind(key, actual, item) for item in accepted)
    return Check(key, _single(accepted), actual, met, f"has the {key} {_shown(actual)}, {_either(accepted)} is required")


def _minimum(name: str, least: float, actual: Any, says: str) -> Check:
    met = None if actual is None else actual >= least
    return Check(
        name,
        least,
        actual,
        met,
        f"{says}, at least {least:g} is required" if isinstance(least, float) else f"{says}, at least {least} is required",
    )


def _same_kind(key: str, actual: str, accepted: str) -> bool:
    if key == "type" and {actual, accepted} == {"embedding", "embeddings"}:
        return True
    # What must not be there must not pass for being written in capitals.
    return actual.lower() == accepted.lower()


def _same(actual: Any, accepted: Any) -> bool | None:
    """Whether a setting has a value. None when that cannot be told: the server does not tell it, or it is of another kind.

    A number, true and false may be text, because templates give text on ansible-core before 2.19.
    """
    if actual is None:
        return None
    if isinstance(accepted, str) and not isinstance(actual, str):
        text = accepted.strip().lower()
        if isinstance(actual, bool):
            accepted = _BOOLEANS.get(text)
        elif re.match(r"-?[0-9]{1,18}(\.[0-9]{1,9})?\Z", text):
            accepted = float(text)
    if isinstance(actual, bool) != isinstance(accepted, bool) or isinstance(actual, str) != isinstance(accepted, str):
        return None
    return bool(actual == accepted)


# What a record of detail loaded carries of models that are not loaded: their keys.


def _complete(record: Record) -> bool:
    return bool(record["detail"] == FULL or len(record["models"]) == record["counts"]["models"])


def _listed(record: Record, requirement: Requirement) -> list[str]:
    return [key for key in record["available"] if any(_matches(pattern, key) for pattern in requirement.model)]


def _may_be_listed(record: Record, requirement: Requirement) -> bool:
    """Whether a model that the record does not carry may be the one: by its key, or by its variant, which is the key, an @ and more."""
    if _listed(record, requirement):
        return True
    carried = {entry["key"] for entry in record["models"]} if len(record["available"]) == record["counts"]["models"] else set()
    return any(
        fnmatchcase(key + "@", pattern[:end])
        for key in record["available"]
        if key not in carried
        for pattern in requirement.model
        for end in range(len(pattern))
    )


def _may_be_uncarried(record: Record, requirement: Requirement) -> bool:
    """Whether what is judged may be a model of which the record carries the key only."""
    return not _complete(record) and (not requirement.model or _may_be_listed(record, requirement))


def _more_than_model(requirement: Requirement) -> bool:
    return any(getattr(requirement, key) not in (None, ()) for key in KEYS if key not in ("name", "model", "state", "severity"))


def _need_full(record: Record, requirement: Requirement) -> None:
    if not _complete(record):
        raise RequirementError(
            f"{requirement.name or requirement.subject}: the record has detail: {record['detail']}, which tells of models that are "
            f"not loaded only their keys. To judge state: {requirement.state} with this requirement, gather with detail: full."
        )


# Explaining.


def _unmet(requirement: Requirement, candidate: _Candidate, check: Check) -> Violation:
    return _violation(requirement, check.name, check.expected, check.actual, f"{candidate.subject} {check.says}")


def _not_there(record: Record, requirement: Requirement) -> Violation:
    listed = _listed(record, requirement) or [candidate.entry["key"] for candidate in _listed_candidates(record, requirement)]
    unclear = [entry["key"] for entry in record["models"] if may_be_loaded(entry) and not entry["loaded"] and entry["key"] in listed]
    if requirement.state == LOADED and unclear:
        says = f"{_names(unclear)} tells a loaded context and no instance, so whether it is loaded is not known"
        return _violation(requirement, "state", LOADED, None, says)
    if requirement.state == LOADED and (listed or not requirement.model):
        says = f"{requirement.subject} is not loaded. Loaded: {_names(record['loaded'])}"
        return _violation(requirement, "state", LOADED, AVAILABLE if listed else None, says)
    says = f"{requirement.subject} is not listed by this host{_meant(record, requirement)}"
    return _violation(requirement, "model", _single(requirement.model), None, says)


def _meant(record: Record, requirement: Requirement) -> str:
    """The listed keys that come closest to the names of a requirement."""
    keys = {key.lower(): key for key in record["available"]}
    names = [name.lower() for name in requirement.model if not any(letter in name for letter in "*?[")]
    close = [keys[found] for name in names for found in difflib.get_close_matches(name, keys, 1)]
    return f"; did you mean {' or '.join(printable(key) for key in dict.fromkeys(close))}?" if close else ""


def _not_known(record: Record, label: str, subject: str, severity: str) -> Violation:
    error: Mapping[str, Any] = record["error"] or {}
    why = printable(str(error.get("message") or record["status"]), 300)
    # Within a sentence. (Most messages begin with a URL.)
    message = f"{subject} is not known, because {why.replace('This host', 'this host', 1)}"
    return {
        "requirement": label,
        "check": "status",
        "expected": "ok",
        "actual": record["status"],
        "severity": severity,
        "message": message,
    }


def _violation(requirement: Requirement, check: str, expected: Any, actual: Any, says: str) -> Violation:
    return {
        "requirement": requirement.name or requirement.subject,
        "check": check,
        "expected": expected,
        "actual": actual,
        "severity": requirement.severity,
        "message": f"{printable(requirement.name)}: {says}" if requirement.name else says,
    }


def _names(keys: list[str]) -> str:
    shown = [printable(key) for key in keys[:_NAMES_SHOWN]]
    more = f" and {len(keys) - _NAMES_SHOWN} more" if len(keys) > _NAMES_SHOWN else ""
    return (", ".join(shown) or "nothing") + more


def _instances(number: int) -> str:
    return "1 instance" if number == 1 else f"{number} instances"


def _single(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _either(values: Iterable[Any]) -> str:
    return " or ".join(_shown(value) for value in values)


def _shown(value: Any) -> str:
    if value is None:
        return "(not known)"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def _shown_size(size: int | None) -> str:
    if size is None:
        return "(not known)"
    for unit, number in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= number:
            return f"{size / number:.4g} {unit}"
    return f"{size} bytes"
