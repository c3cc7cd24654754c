# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which models, variants and instances of a record a requirement is about, and what the record does not carry."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Iterable, NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._grouping import grouped
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import V0
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models import is_unreadable, may_be_loaded
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import Entry
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.checks import Candidate, make_candidate, matches
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import KEYS, Requirement, RequirementError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import is_masked, may_be_masked_as

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record_type import Record


class _Target(NamedTuple):
    """A model that a requirement is about, with all its instances; or one instance, where its id names it."""

    entries: list[Entry]
    instances: list[tuple[Entry, Entry]]
    """Each with its own entry."""
    variant: str | None = None
    """The variant by which it was named."""


def loaded_models(record: Record, requirement: Requirement) -> list[list[Candidate]]:
    """The loaded models that a requirement is about, each with all its instances."""
    models = []
    for target in _targets(record, requirement):
        model = [make_candidate(requirement, entry, instance, target.variant, is_older(record)) for entry, instance in target.instances]
        # Without a name, its kind says which model is meant.
        if model and (requirement.model or any(candidate.is_kind for candidate in model)):
            models.append(model)
    return models


def listed_candidates(record: Record, requirement: Requirement) -> list[Candidate]:
    """The entries that a requirement is about, loaded or not."""
    found = [
        make_candidate(requirement, entry, None, target.variant, is_older(record))
        for target in _targets(record, requirement)
        for entry in target.entries
    ]
    return [candidate for candidate in found if requirement.model or candidate.is_kind]


def possible_instances(record: Record, requirement: Requirement) -> list[Candidate]:
    """The instances that may meet a requirement, each by itself, whatever it is named by. A model that reports a loaded
    context but no instance counts as one.
    """
    found = []
    for entry in record["models"]:
        for instance in entry["loaded_instances"] or ([None] if may_be_loaded(entry) else []):
            named = [*_names_of(entry), instance["id"]] if instance else _names_of(entry)
            if not requirement.model or any(is_named(requirement, name) for name in named):
                known = any(
                    is_named(requirement, name) for name in named if name not in entry["variants"] or name == entry["selected_variant"]
                )
                variant = None if known or not requirement.model else ""
                found.append(make_candidate(requirement, entry, instance, variant, is_older(record)))
    return [candidate for candidate in found if candidate.possible]


def suspect_names(record: Record, requirement: Requirement, entry: Entry) -> list[str]:
    """The names under which an entry may be the model that must be absent."""
    known = make_candidate(requirement, entry, None, older=is_older(record))
    if not requirement.model:
        return [entry["key"]] if known.possible else []
    ids = [instance["id"] for instance in entry["loaded_instances"]]
    if known.possible and any(is_named(requirement, name) for name in (entry["key"], entry["selected_variant"], *ids)):
        return [entry["key"]]
    # Nothing is known about other variants but their names.
    return [name for name in entry["variants"] if name != entry["selected_variant"] and is_named(requirement, name)]


def unreadable_names(record: Record, requirement: Requirement, loaded: bool) -> list[str]:
    """The keys of entries that may have a name which a requirement gives, where that name is masked or of an unexpected type. With
    `loaded`, only of models that may be loaded.
    """

    def may_have(entry: Entry, name: str) -> bool:
        names = [*_names_of(entry), *(instance["id"] for instance in entry["loaded_instances"])]
        if is_unreadable(entry, "variants") or is_unreadable(entry, "selected_variant"):
            return _may_be_masked(name, names) or _may_be_variant(name, entry["key"])
        return _may_be_masked(name, names)

    found = [
        entry["key"]
        for entry in record["models"]
        if (not loaded or may_be_loaded(entry))
        and any(may_have(entry, name) for name in requirement.model)
        and make_candidate(requirement, entry, None, older=is_older(record)).possible
    ]
    if not loaded and not _complete(record):
        found += [key for key in record["available"] if any(_may_be_masked(name, [key]) for name in requirement.model)]
    return list(dict.fromkeys(found))


def _may_be_masked(name: str, listed: Iterable[str]) -> bool:
    """Whether one of the listed names is masked and may be this one, or match this pattern."""
    return any(is_masked(other) and (is_pattern(name) or may_be_masked_as(name, other)) for other in listed)


def _may_be_variant(pattern: str, key: str) -> bool:
    """Whether a pattern may match a variant of a model, which is its key, an @ and more."""
    return any(fnmatchcase(key + "@", pattern[:end]) for end in range(len(pattern)))


def is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def is_older(record: Record) -> bool:
    """Whether it is from the older list, which does not tell everything, and may leave out models that are not loaded."""
    return record.get("api") == V0


def may_hide(record: Record, requirement: Requirement) -> bool:
    """Whether a model that is not listed may be meant: yes, unless the requirement names only models that are listed."""
    return is_older(record) and not (requirement.model and set(requirement.model) <= set(record["available"]))


def _targets(record: Record, requirement: Requirement) -> list[_Target]:
    """What a requirement names: models, with all their instances, or single instances. Without a name, every model."""
    entries_of = grouped((entry["key"], entry) for entry in record["models"])
    if not requirement.model:
        return [_model_of(record, key, entries) for key, entries in entries_of.items()]
    found = []
    for name in requirement.model:
        if not is_pattern(name) and name in entries_of:
            # A name is first a key, then a variant, then the id of an instance.
            found.append(_model_of(record, name, entries_of[name]))
            continue
        variants: list[_Target] = []
        instances: list[_Target] = []
        for key, entries in entries_of.items():
            if is_pattern(name) and matches(name, key):
                found.append(_model_of(record, key, entries))
                continue
            named = [_variant_of(entries, variant) for variant in _variants(entries) if matches(name, variant)]
            variants += named
            if not named:
                instances += [
                    _Target([entry], [(entry, instance)])
                    for entry in entries
                    for instance in entry["loaded_instances"]
                    if matches(name, instance["id"])
                ]
        found += variants + instances if is_pattern(name) else variants or instances
    return found


def _model_of(record: Record, key: str, entries: list[Entry]) -> _Target:
    """A model with its instances, and with those of other models whose id is its key: they may serve requests for the key."""
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


def is_named(requirement: Requirement, name: str | None) -> bool:
    return bool(name) and any(matches(pattern, str(name)) for pattern in requirement.model)


def _complete(record: Record) -> bool:
    return bool(record["detail"] == FULL or len(record["models"]) == record["counts"]["models"])


def listed_keys(record: Record, requirement: Requirement) -> list[str]:
    return [key for key in record["available"] if any(matches(pattern, key) for pattern in requirement.model)]


def _may_be_listed(record: Record, requirement: Requirement) -> bool:
    """Whether a model that the record does not carry may be meant: by its key, or by its variant, which is the key, an @ and more."""
    if listed_keys(record, requirement):
        return True
    carried = {entry["key"] for entry in record["models"]} if len(record["available"]) == record["counts"]["models"] else set()
    return any(_may_be_variant(pattern, key) for key in record["available"] if key not in carried for pattern in requirement.model)


def may_be_uncarried(record: Record, requirement: Requirement) -> bool:
    """Whether what is judged may be a model of which the record carries only the key."""
    return not _complete(record) and (not requirement.model or _may_be_listed(record, requirement))


def more_than_model(requirement: Requirement) -> bool:
    return any(getattr(requirement, key) not in (None, ()) for key in KEYS if key not in ("name", "model", "state", "severity"))


def need_full(record: Record, requirement: Requirement) -> None:
    if not _complete(record):
        raise RequirementError(
            f"{requirement.label}: the record has detail: {record['detail']}, which has only the keys of models that are "
            f"not loaded. To judge state: {requirement.state} with this requirement, gather with detail: full."
        )
