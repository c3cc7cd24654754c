# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What a requirement says: its keys, and the checks that refuse what is wrong, contradicts itself or could never fail."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, TypeVar

from .._input_errors import InputError
from .._text import count, did_you_mean, format_any, format_size, format_value, full_stop, printable, unknown_names
from .messages import FAIL, SEVERITIES

LOADED, AVAILABLE, UNLOADED, ABSENT = STATES = ("loaded", "available", "unloaded", "absent")
CAPABILITIES = ("vision", "trained_for_tool_use", "reasoning")
TYPES = ("llm", "embedding", "embeddings", "drafter", "imageGen", "transcription", "tts")
"""The known types. A server may list others, and a requirement may name others where a wrong word fails the gate."""
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?:([KMGT])(i?))?B\Z", re.IGNORECASE)
Value = TypeVar("Value")
BOOLEANS = {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}


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
    """All of them are required."""
    max_size: int | None = None
    """Bytes."""
    config: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    severity: str = FAIL

    @property
    def label(self) -> str:
        """What it is called: its name, or else what it is about."""
        return self.name or self.subject

    @property
    def subject(self) -> str:
        """What it is about, for messages: the model, or what selects one."""
        return format_any(self.model) if self.model else f"a model with {self.kind}"

    @property
    def kind(self) -> str:
        """What kind of model it is about, such as "the type llm and the capability vision". Empty for any."""
        return " and ".join(self._in_words(SELECTORS))

    @property
    def terms(self) -> list[str]:
        """What it asks for besides a name."""
        return self._in_words(VOCABULARY)

    @property
    def description(self) -> str:
        """All that it asks for, such as "qwen/* with a context of at least 8192"."""
        named = format_any(self.model) if self.model else "a model"
        return f"{named} with {' and '.join(self.terms)}" if self.terms else named

    @property
    def forbids(self) -> bool:
        """Whether it is met where no such model is, so that what is unreadable or written differently must not count as absent."""
        return self.state in (UNLOADED, ABSENT) or self.min_instances == 0

    def _in_words(self, names: Iterable[str]) -> list[str]:
        found = ((VOCABULARY[name].describe, getattr(self, name)) for name in names)
        return [describe(value) for describe, value in found if describe and value not in (None, ())]


KEYS = Requirement._fields
IDENTITY = ("type", "publisher", "architecture", "format", "quantization")
SELECTORS = (*IDENTITY, "capabilities")
"""The keys that say which model is meant, and so can replace its name."""


def parse_all(raw: Any, where: str = "require") -> list[Requirement]:
    """The requirements of a list. Raises :class:`InputError`, also for an empty one, which any host would meet."""
    if raw is None:
        raise InputError(f"{where} has no value. Give a list of requirements.")
    if isinstance(raw, Mapping):
        raise InputError(f"{where}: it is one requirement. Write a list, with a dash before it.")
    if not isinstance(raw, (list, tuple)):
        raise InputError(f"{where}: {format_value(raw)} is not a list of requirements.")
    if not raw:
        raise InputError(f"{where}: it is empty, which would pass on any host. Give at least one requirement.")
    return [parse(item, f"{where}[{number}]") for number, item in enumerate(raw)]


def parse(raw: Any, where: str = "requirement") -> Requirement:
    """One requirement. Raises :class:`InputError` that names the key and the value."""
    if not isinstance(raw, Mapping):
        shown = "null" if raw is None else format_value(raw)
        raise InputError(f"{where}: {shown} is not a requirement. Write keys and values. The keys are {', '.join(KEYS)}.")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in KEYS:
            raise InputError(f"{where}: {unknown_names('key', [key], KEYS)}")
        if (value.strip() if isinstance(value, str) else value) in (None, "", [], (), {}):
            raise InputError(f"{where}: {key} has no value. Give one, or remove the key.")
        values[key] = read_value(VOCABULARY[key].read, value, f"{where}: {key}")
    requirement = Requirement(**values)
    _check_sense(requirement, where)
    return requirement


def _check_sense(requirement: Requirement, where: str) -> None:
    """Refuse what contradicts itself, and what could never fail."""
    if not requirement.model and not requirement.kind:
        keys = ", ".join(("model", *SELECTORS))
        raise InputError(f"{where} does not say which model it is about. Give at least one of {keys}.")
    for name, key in VOCABULARY.items():
        if requirement.state not in key.states and getattr(requirement, name) not in (None, ()):
            raise InputError(f"{where}: {name} contradicts state: {requirement.state}. Remove one of the two.")
    unknown = [name for name in requirement.type if name.lower() not in map(str.lower, TYPES)]
    if unknown and requirement.forbids:
        passing = "min_instances: 0" if requirement.state == LOADED else f"state: {requirement.state}"
        raise InputError(
            f"{where}: type: {format_value(unknown[0])} is not a known type, and {passing} would pass "
            f"with any wrong word.{did_you_mean(unknown[:1], TYPES)} The types are {', '.join(TYPES)}."
        )
    least, default = (1, " (the default)") if requirement.min_instances is None else (requirement.min_instances, "")
    most = requirement.max_instances
    if most is not None and most < least:
        raise InputError(
            f"{where}: max_instances {most} contradicts min_instances {least}{default}. "
            "For a model that must not be loaded, write state: unloaded."
        )
    if least == 0 and most is None:
        raise InputError(f"{where}: min_instances 0 without max_instances can never fail. Remove it, or give max_instances.")


def read_value(read: Callable[[Any], Value], value: Any, where: str) -> Value:
    """What a function of this file reads from a value. Raises :class:`InputError`."""
    try:
        return read(value)
    except ValueError as exc:
        raise InputError(full_stop(f"{where}: {format_value(value)} is not {exc}")) from None


def boolean(value: Any) -> bool:
    found = value if isinstance(value, bool) else BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise ValueError("true or false")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a string")
    return str(value).strip()


def _texts(value: Any) -> tuple[str, ...]:
    try:
        return tuple(map(_text, value if isinstance(value, (list, tuple)) else [value]))
    except ValueError:
        raise ValueError("a string or a list of strings that are not empty") from None


def one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}.{did_you_mean([str(value)], choices)}")
        return str(value)

    return read


def _capabilities(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    unknown = [name for name in names if name not in CAPABILITIES]
    if unknown:
        raise ValueError(f"one or several of {', '.join(CAPABILITIES)}.{did_you_mean(unknown, CAPABILITIES)}")
    return names


def whole_number(least: int) -> Callable[[Any], int]:
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
        raise ValueError("a number above 0 and below 1000")
    return float(value)


def _size(value: Any) -> int:
    number = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if number:
        value, unit, binary = number.groups()
        if unit:
            # Rounded, because 4.1 is a little less as a float.
            value = round(float(value) * (1024 if binary else 1000) ** (1 + "kmgt".index(unit.lower())))
    try:
        return whole_number(1)(value)
    except ValueError:
        raise ValueError("a size. Write bytes, or a string such as 40GB or 40GiB") from None


def _config(value: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("a mapping of settings, such as flash_attention: true")
    settings = []
    for name, accepted in value.items():
        accepted = tuple(accepted) if isinstance(accepted, (list, tuple)) else (accepted,)
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"usable: {format_value(name)} is not the name of a setting")
        if not accepted or not all(isinstance(item, (str, int, float)) for item in accepted):
            raise ValueError(f"usable: {format_value(name)} needs a string, a number, true or false, or a list of them")
        settings.append((str(name).strip(), accepted))
    return tuple(settings)


class Key(NamedTuple):
    """What belongs to a key of a requirement. ``checks.py`` checks it of an instance, ``judge.py`` what is about several, such as their number."""

    read: Callable[[Any], Any]
    """Returns the checked value, or raises ``ValueError`` with what it has to be: the end of the sentence "X is not ..." of :func:`read_value`."""
    spec: dict[str, Any]
    """Its argument spec, for ansible-doc and editors: `read` decides. A key that takes one value or several is a list there."""
    describe: Callable[[Any], str] | None = None
    """What it asks for besides a name, after "a model with"."""
    noun: str = ""
    """What it is about, where its own name does not say it."""
    states: tuple[str, ...] = STATES
    """With which it makes sense."""


def _identity(name: str) -> Key:
    return Key(_texts, _TEXTS, lambda accepted: f"the {name} {format_any(accepted)}")


_TEXTS = {"type": "list", "elements": "str"}
_LISTED = (LOADED, AVAILABLE)
VOCABULARY = {
    "name": Key(_text, {"type": "str"}),
    "model": Key(_texts, _TEXTS),
    "state": Key(one_of(STATES), {"type": "str", "choices": list(STATES), "default": LOADED}),
    "severity": Key(one_of(SEVERITIES), {"type": "str", "choices": list(SEVERITIES), "default": FAIL}),
    # The others in the order in which a description has them.
    **{name: _identity(name) for name in IDENTITY},
    "capabilities": Key(
        _capabilities,
        {**_TEXTS, "choices": list(CAPABILITIES)},
        lambda names: f"the {'capability' if len(names) == 1 else 'capabilities'} {' and '.join(names)}",
    ),
    "min_context_length": Key(whole_number(1), {"type": "int"}, "a context of at least {}".format, "context", _LISTED),
    "min_parallel": Key(whole_number(1), {"type": "int"}, "parallel of at least {}".format, "parallel", (LOADED,)),
    "min_bits_per_weight": Key(_bits, {"type": "float"}, "at least {:g} bits per weight".format, "bits per weight", _LISTED),
    "max_size": Key(_size, {"type": "raw"}, lambda size: f"a size of at most {format_size(size)}", "size", _LISTED),
    "min_instances": Key(whole_number(0), {"type": "int"}, lambda number: f"at least {count(number, 'instance')}", states=(LOADED,)),
    "max_instances": Key(whole_number(0), {"type": "int"}, lambda number: f"at most {count(number, 'instance')}", states=(LOADED,)),
    "config": Key(
        _config,
        {"type": "dict"},
        lambda settings: " and ".join(f"{printable(name)} {format_any(accepted)}" for name, accepted in settings),
        states=(LOADED,),
    ),
}


REQUIRE = {"type": "list", "elements": "dict", "options": {name: VOCABULARY[name].spec for name in KEYS}}
"""The argument spec of a list of requirements. The documentation fragment ``requirements`` describes it."""
