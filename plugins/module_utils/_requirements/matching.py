# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which models, variants and instances of a record a requirement is about, and which may be hidden or missing in it.

What has to be there must be named exactly, and all that is required of it must be known. What must not be there is found under any spelling, and
also where nothing that is known speaks against it. Besides, a list may hide it: a name is masked or cannot be read, or is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterable, NamedTuple, Sequence

from .._grouping import grouped
from .._input_errors import InputError
from .._lmstudio.known import is_older, is_unreadable, may_be_loaded, unlisted_models
from .._lmstudio.reader import Entry
from .._lmstudio.record import FULL
from .._text import format_names, is_masked, is_pattern, may_be_masked_as
from .checks import Candidate, as_read, make_candidate, matches, may_mean
from .spec import ABSENT, LOADED, SELECTORS, UNLOADED, Requirement

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record


_OF_A_VARIANT = ("quantization", "format")
"""In which the variants of a model differ."""


class _NamedModel(NamedTuple):
    """A model that a requirement names, with all its instances; or the instances with an id that it names, usually a single one."""

    entries: list[Entry]
    instances: list[tuple[Entry, Entry]]
    """Each with its own entry."""
    variant: str | None = None
    """The variant by which it was named."""


class Matches(NamedTuple):
    """The models and instances of a record that a requirement is about."""

    record: Record
    requirement: Requirement

    # What it names

    def loaded_models(self) -> list[list[Candidate]]:
        """The loaded models, each with all its instances."""
        models = [[self._candidate(entry, instance, target.variant) for entry, instance in target.instances] for target in self._targets()]
        # Without a name, its kind says which model is meant.
        return [model for model in models if model and (self.requirement.model or any(candidate.is_required_kind for candidate in model))]

    def listed_models(self) -> list[Candidate]:
        """The entries of models, loaded or not."""
        found = [self._candidate(entry, None, target.variant) for target in self._targets() for entry in target.entries]
        return [candidate for candidate in found if self.requirement.model or candidate.is_required_kind]

    def listed_keys(self) -> list[str]:
        """The listed keys that the requirement names."""
        return [key for key in self.record["available"] if self.requirement.model and self._means([key])]

    def covers(self, entry: Entry) -> bool:
        """Whether the requirement is about a loaded model, or about each of its instances. A pattern is about models of its kind, as no name is."""
        is_required_kind = self._candidate(entry).is_required_kind
        if not self.requirement.model:
            return is_required_kind
        meant = [name for name in self.requirement.model if is_required_kind or not is_pattern(name)]
        ids = [instance["id"] for instance in entry["loaded_instances"]]
        each_is_named = bool(ids) and all(self._means([name], meant) for name in ids)
        return self._means((entry["key"], entry["selected_variant"]), meant) or each_is_named

    # What it may mean, because not everything is known

    def possible_instances(self) -> list[Candidate]:
        """The single instances that may meet the requirement, named by key, variant or id. A model that may be loaded but has no instance
        counts as one.
        """
        found = []
        for entry in self.record["models"]:
            others = _other_variants(entry)
            for instance in entry["loaded_instances"] or ([None] if may_be_loaded(entry) else []):
                names = [entry["key"], entry["selected_variant"], instance and instance["id"]]
                if self._means(name for name in names if name not in others):
                    found.append(self._candidate(entry, instance))
                elif self._means(others):
                    # Of variants that are not selected nothing is known, whichever it is.
                    found.append(self._candidate(entry, instance, others[0]))
        return [candidate for candidate in found if candidate.possible]

    def possible_names(self) -> dict[str, list[str]]:
        """The keys and variants that are listed and may be what the requirement is about, each with what of it is not known."""
        found = []
        for entry in self.record["models"]:
            candidate = self._candidate(entry)
            if candidate.possible and self._means(_names(entry)):
                found.append((entry["key"], candidate.unknown))
                continue
            others = [name for name in _other_variants(entry) if self._means([name])]
            if not self.requirement.model:
                if any(check.met is False and check.name not in _OF_A_VARIANT for check in candidate.checks):
                    continue
                if not others and is_unreadable(entry, "variants"):
                    # Its key stands for those that cannot be read.
                    others = [entry["key"]]
            # Nothing is known about other variants but their names.
            found += [(name, self._candidate(entry, None, name).unknown) for name in others]
        return least_unknown(found)

    def may_be_of_kind(self, loaded: bool) -> bool:
        """Whether it is not known of some model if it is of the required kind."""
        candidates = [self._candidate(entry) for entry in self.record["models"] if may_be_loaded(entry) or not loaded]
        return any(all(check.met is not False for check in each.checks if check.name in SELECTORS) for each in candidates)

    # What the list may hide from it

    def unreadable_names(self) -> list[str]:
        """The keys of models that may have a name of the requirement, because a name of theirs is masked or had an unexpected type. Unless the
        requirement is for absence, a model that it names in a readable form is meant by that name.
        """
        loaded = self.requirement.state in (LOADED, UNLOADED)
        found = [
            entry["key"]
            for entry in self.record["models"]
            if (may_be_loaded(entry) or not loaded)
            and (self.requirement.state == ABSENT or not self._means((entry["key"], entry["selected_variant"])))
            and (
                (self._may_be_one_of(entry, _names(entry), "selected_variant") and self._candidate(entry).possible)
                or self._may_be_one_of(entry, _other_variants(entry), "variants")
            )
        ]
        if not loaded and not self._is_complete:
            found += [key for key in self.record["available"] if any(_may_be_masked(name, [key]) for name in self.requirement.model)]
        return list(dict.fromkeys(found))

    def unlisted_names(self) -> list[str]:
        """The models that only the older list has, that may be loaded, and that may be what the requirement is about."""
        return [
            key
            for key in unlisted_models(self.record)
            # A row may be that of a variant or of an instance: the key of its model, an @ or a colon, and more.
            if self._means([key, re.split("[@:]", key)[0]])
            or any(_may_be_variant(name, key) or _may_be_masked(name, [key]) for name in self.requirement.model)
        ]

    def may_hide(self) -> bool:
        """Whether a model may be meant that the list leaves out, as the older one does. It is not if all names of the requirement are listed."""
        names = set(self.requirement.model)
        return is_older(self.record) and not (names and names <= set(self.record["available"]))

    # What the record lacks

    def keys_without_entry(self) -> list[str]:
        """The keys to judge by, where the record has only the keys of some models. Raises :class:`InputError` where keys are not
        enough.
        """
        if self._is_complete:
            return []
        keys = self.listed_keys()
        if self.requirement.model and not keys:
            available = self.record["available"]
            carried = {entry["key"] for entry in self.record["models"]} if len(available) == self.record["counts"]["models"] else set()
            if not any(_may_be_variant(pattern, key) for key in available if key not in carried for pattern in self.requirement.model):
                return []
        if not keys or self.requirement.terms:
            self.need_full()
        return keys

    def need_entries(self) -> None:
        """Raises :class:`InputError` where a record was changed: it lists a model whose entry has been removed."""
        listed = self.record["available" if self.record["detail"] == FULL else "loaded"]
        lacking = set(listed).difference(entry["key"] for entry in self.record["models"])
        if lacking:
            names = format_names(sorted(lacking))
            raise InputError(f"{self.requirement.label}: the models of the record lack {names}, which it lists. Pass the record unchanged.")

    def need_full(self) -> None:
        if not self._is_complete:
            raise InputError(
                f"{self.requirement.label}: the record has detail: {self.record['detail']}, which has only the keys of models that are "
                f"not loaded. To judge state: {self.requirement.state} with this requirement, gather with detail: full."
            )

    @property
    def _is_complete(self) -> bool:
        return bool(self.record["detail"] == FULL or len(self.record["models"]) == self.record["counts"]["models"])

    def _candidate(self, entry: Entry, instance: Entry | None = None, variant: str | None = None) -> Candidate:
        return make_candidate(self.record, self.requirement, entry, instance, variant)

    def _may_be_one_of(self, entry: Entry, names: Iterable[str], variants: str) -> bool:
        """Whether one of these names of a model is masked and may be meant, or a variant in this field, where it cannot be read."""
        unreadable = is_unreadable(entry, variants)
        return any(_may_be_masked(name, names) or (unreadable and _may_be_variant(name, entry["key"])) for name in self.requirement.model)

    def _means(self, listed: Iterable[str | None], among: Sequence[str] | None = None) -> bool:
        """Whether the requirement, or one of its names, means a listed name. Without a name it means any. What must not be there must not slip
        through because it is written differently.
        """
        same = may_mean if self.requirement.forbids else matches
        wanted = self.requirement.model if among is None else among
        return not self.requirement.model or any(same(pattern, name) for name in listed if name is not None for pattern in wanted)

    def _targets(self) -> list[_NamedModel]:
        """What the requirement names: models, with all their instances, or single instances. Without a name, every model."""
        entries_of = grouped((entry["key"], entry) for entry in self.record["models"])
        if not self.requirement.model:
            return [self._model_of(key, entries) for key, entries in entries_of.items()]
        found: list[_NamedModel] = []
        for name in self.requirement.model:
            models = [self._model_of(key, entries) for key, entries in entries_of.items() if matches(name, key)]
            others = [entry for entry in self.record["models"] if not matches(name, entry["key"])]
            having = grouped((variant, entry) for entry in others for variant in _variants(entry) if matches(name, variant))
            variants = [_NamedModel(entries, _instances(entries), variant) for variant, entries in having.items()]
            named = {entry["key"] for target in variants for entry in target.entries}
            rest = _instances(entry for entry in others if entry["key"] not in named)
            # Any of several instances with one id may serve a request for it.
            having_id = grouped((each["id"], (entry, each)) for entry, each in rest if matches(name, each["id"]))
            instances = [_NamedModel([entry for entry, _each in of_id], of_id) for of_id in having_id.values()]
            # A pattern means all that it matches. Any other name is first a key, then a variant, then the id of an instance.
            found += [*models, *variants, *instances] if is_pattern(name) else models or variants or instances
        return found

    def _model_of(self, key: str, entries: list[Entry]) -> _NamedModel:
        """A model with its instances, and with those of other models whose id is its key: they may serve requests for the key."""
        others = [entry for entry in self.record["models"] if entry["key"] != key]
        return _NamedModel(entries, _instances(entries) + [(entry, each) for entry, each in _instances(others) if each["id"] == key])


def least_unknown(found: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """For each name what is not known of it, where that is least."""
    return {name: min(unknown, key=len) for name, unknown in grouped(found).items()}


def _may_be_masked(name: str, listed: Iterable[str]) -> bool:
    """Whether one of the listed names is masked and may be this one, or match this pattern."""
    return any(
        is_masked(other) and (is_pattern(name) or may_be_masked_as(name, other) or may_be_masked_as(as_read(name), as_read(other)))
        for other in listed
    )


def _may_be_variant(pattern: str, key: str) -> bool:
    """Whether a pattern may match a variant of a model, which is its key, an @ and more."""
    spellings = ((pattern, key), (as_read(pattern), as_read(key)))
    return any(matches(name[:end], f"{listed}@") for name, listed in spellings for end in range(len(name) + 1))


def _instances(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    return [(entry, instance) for entry in entries for instance in entry["loaded_instances"]]


def _names(entry: Entry) -> list[str]:
    """The names by which a model as it is selected may be meant, and its instances."""
    return [entry["key"], *filter(None, [entry["selected_variant"]]), *(instance["id"] for instance in entry["loaded_instances"])]


def _variants(entry: Entry) -> list[str]:
    return list(dict.fromkeys(name for name in (entry["selected_variant"], *entry["variants"]) if name))


def _other_variants(entry: Entry) -> list[str]:
    return [name for name in entry["variants"] if name != entry["selected_variant"]]
