# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Compare one entry or instance with the attributes of a requirement, a name with a pattern, and a setting with a value."""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

from .._lmstudio.known import is_known, is_older, is_reported
from .._lmstudio.models_v0 import LIST_MODELS_V0, LOADING
from .._lmstudio.reader import EMBEDDING_TYPES, Entry
from .._text import format_any, format_names, format_number, format_size, format_value, is_masked, is_visible, printable
from .messages import one_or_list
from .spec import BOOLEANS, IDENTITY, LOADED, SELECTORS, Requirement

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record

NOT_CONFIRMED = "not confirmed"
"""The state of a model that is listed as loaded, where it is not known whether it is."""
OF_INSTANCE = ("model", "min_context_length", "min_parallel", "config")
"""The checks of an instance in which another one of the same entry may differ. The others are the same for all."""
_DASHES = "[\u2010-\u2015\u2212]"
"""What programs that write texts put in place of a hyphen."""


class Check(NamedTuple):
    """One attribute of one entry or instance."""

    name: str
    expected: Any
    actual: Any
    met: bool | None
    """None when it is not known."""
    message: str
    """Completes a sentence that begins with the model."""


class Candidate(NamedTuple):
    """An entry, or an instance of one, that a requirement may be about."""

    entry: Entry
    instance: Entry | None
    checks: list[Check]

    @property
    def unmet(self) -> list[Check]:
        return [check for check in self.checks if not check.met]

    @property
    def unknown(self) -> list[str]:
        """The names of the checks that are neither met nor not."""
        return [check.name for check in self.checks if check.met is None]

    @property
    def possible(self) -> bool:
        """Whether it may meet the requirement: nothing that is known speaks against it."""
        return all(check.met is not False for check in self.checks)

    @property
    def is_required_kind(self) -> bool:
        """Whether it is of the kind that a requirement without a model describes. What is not known does not count as a match."""
        return all(check.met for check in self.checks if check.name in SELECTORS)

    @property
    def subject(self) -> str:
        key = printable(self.entry["key"])
        if self.instance is None or self.instance["id"] == self.entry["key"]:
            return key
        return f"{key} (instance {printable(self.instance['id'])})"


def make_candidate(record: Record, requirement: Requirement, entry: Entry, instance: Entry | None, variant: str | None = None) -> Candidate:
    """An entry or an instance of a record, with its checks. `variant` is the one by which the requirement named it: of any but the selected
    one, only the name is known.
    """
    checks = list(_entry_checks(record, requirement, entry))
    if instance is None:
        checks += _minimum(requirement, "min_context_length", entry["max_context_length"], "supports a context of {}")
    else:
        checks += _loading_checks(entry)
        of_instance = _instance_checks(requirement, instance["config"])
        checks += map(_unknown_for_older_list, of_instance) if is_older(record) else of_instance
    if variant is not None and variant != entry["selected_variant"]:
        message = f"has the variant {format_value(entry['selected_variant'])} selected, so only the name of {printable(variant)} is known"
        checks = [check._replace(actual=None, met=None, message=message) for check in checks]
        if instance is not None:
            checks.insert(0, Check("model", variant, entry["selected_variant"], None, message))
    return Candidate(entry, instance, checks)


def _entry_checks(record: Record, requirement: Requirement, entry: Entry) -> Iterator[Check]:
    for key in IDENTITY:
        accepted, actual = getattr(requirement, key), entry["quantization"]["name"] if key == "quantization" else entry[key]
        if accepted:
            met = _any([_same_kind(key, actual, item) for item in accepted]) if is_known(actual) else None
            if key == "architecture" and actual is None and entry["type"] in EMBEDDING_TYPES and is_reported(record, entry, key):
                # LM Studio leaves it out for these, so a missing one is no reason for suspicion.
                met = False
            message = f"has the {key} {format_value(actual)}, but {format_any(accepted)} is required"
            yield Check(key, one_or_list(accepted), actual, met, message)
    yield from _minimum(requirement, "min_bits_per_weight", entry["quantization"]["bits_per_weight"], "has {} bits per weight")
    if requirement.max_size is not None:
        yield _size_check(requirement.max_size, entry["size_bytes"])
    for name in requirement.capabilities:
        able = _can_reason(entry["capabilities"]["reasoning"]) if name == "reasoning" else entry["capabilities"][name]
        if not able and not is_reported(record, entry, f"capabilities.{name}"):
            able = None
        wording = "is not known to have" if able is None else "does not have"
        yield Check("capabilities", name, able, able, f"{wording} the capability {name}, which is required")


def _size_check(most: int, size: int | None) -> Check:
    # No model has less than nothing.
    met = None if size is None or size < 0 else size <= most
    shown, allowed = format_value(None) if size is None else format_size(size), format_size(most)
    if shown == allowed:
        shown, allowed = f"{size} B", f"{most} B"
    return Check("max_size", most, size, met, f"has a size of {shown}, at most {allowed} is allowed")


def _loading_checks(entry: Entry) -> list[Check]:
    """Whether what is listed as loaded really is. If not, the check is unknown, not unmet: the load may still succeed."""
    if entry.get("state") == LOADING:
        return [Check("state", LOADED, LOADING, None, "is still loading")]
    if entry.get("unconfirmed"):
        why = printable(str(entry["unconfirmed"]), 300)
        return [Check("state", LOADED, NOT_CONFIRMED, None, f"is listed as loaded, which is not confirmed: {why}")]
    return []


def _can_reason(reasoning: Entry) -> bool | None:
    """Whether there is any option other than off. None where one is masked, and none is known."""
    options = [option for option in (*reasoning["allowed_options"], reasoning["default"]) if option and option.lower() != "off"]
    return None if options and all(is_masked(option) for option in options) else bool(options)


def _instance_checks(requirement: Requirement, config: Entry) -> Iterator[Check]:
    yield from _minimum(requirement, "min_context_length", config["context_length"], "is loaded with a context of {}")
    yield from _minimum(requirement, "min_parallel", config["parallel"], "is loaded with parallel {}")
    for setting, accepted in requirement.config:
        actual = config.get(setting)
        met = _any([same_setting(actual, item) for item in accepted])
        message = f"is loaded with {printable(setting)} {format_value(actual)}, but {format_any(accepted)} is required"
        if setting not in config:
            message = f"has no setting {printable(setting)}, but {format_any(accepted)} is required. The settings are {format_names(list(config))}"
        yield Check("config", {setting: one_or_list(accepted)}, actual, met, message)


def _unknown_for_older_list(check: Check) -> Check:
    """A setting from the older list, which has one row for all instances of a model: those of the other instances are not known."""
    if not check.met:
        return check._replace(met=None)
    setting, wanted = "a context of", f"at least {check.expected}"
    if check.name == "config":
        ((setting, accepted),) = check.expected.items()
        wanted = format_any(accepted if isinstance(accepted, list) else [accepted])
    message = (
        f"is loaded with {printable(setting)} {format_value(check.actual)} according to {LIST_MODELS_V0.path}, which has one row for all "
        f"instances, so it is not known whether each has {printable(setting)} {wanted}. Remove that from the requirement, or update "
        "LM Studio to 0.4, which reports it"
    )
    return check._replace(actual=None, met=None, message=message)


def _minimum(requirement: Requirement, key: str, actual: Any, begins: str) -> list[Check]:
    """The check of a minimum, if it is required: what is there, and how a sentence about that begins."""
    least = getattr(requirement, key)
    if least is None:
        return []
    message = f"{begins.format(format_value(actual))}, at least {format_number(least)} is required"
    return [Check(key, least, actual, None if actual is None else actual >= least, message)]


def _any(found: list[bool | None]) -> bool | None:
    """Whether one of them is true. None where that is not known."""
    return True if True in found else None if None in found else False


def _same_kind(key: str, actual: str, accepted: str) -> bool | None:
    """Whether a model is of the kind that is accepted. None where the two words only look alike: it does not count as that kind then, and no
    model of that kind is known to be absent.
    """
    kinds = {actual.lower(), accepted.lower()}
    if len(kinds) == 1 or (key == "type" and kinds == set(EMBEDDING_TYPES)):
        return True
    return None if as_read(actual) == as_read(accepted) else False


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern is this name, or a shell pattern that matches it."""
    return pattern == name or fnmatchcase(name, pattern)


def may_mean(pattern: str, name: str) -> bool:
    """Whether a pattern matches this name, or one that looks like it."""
    return matches(pattern, name) or matches(as_read(pattern), as_read(name))


def as_read(text: str) -> str:
    """A text without what a reader may overlook: capitals, needless spaces, characters that cannot be seen, and how a letter or a dash is encoded."""
    seen = text if is_visible(text) else "".join(letter for letter in text if is_visible(letter) or letter.isspace())
    folded = unicodedata.normalize("NFKC", " ".join(seen.split())).casefold()
    # Small letters may be encoded in two ways again.
    return re.sub(_DASHES, "-", unicodedata.normalize("NFC", folded))


def same_setting(actual: Any, accepted: Any) -> bool | None:
    """Whether a setting has this value. None when that is not known: the server does not report it, or it is of another type.

    Numbers and booleans may be text, because templates give text on ansible-core before 2.19.
    """
    if not is_known(actual):
        return None
    if isinstance(accepted, str) and not isinstance(actual, str):
        text = accepted.strip().lower()
        if isinstance(actual, bool):
            accepted = BOOLEANS.get(text)
        elif re.match(r"-?[0-9]{1,18}(\.[0-9]{1,9})?\Z", text):
            accepted = float(text)
    if isinstance(actual, bool) != isinstance(accepted, bool) or isinstance(actual, str) != isinstance(accepted, str):
        return None
    return bool(actual == accepted)
