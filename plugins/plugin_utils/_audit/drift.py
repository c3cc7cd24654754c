# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What changed on each host since a baseline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...module_utils._grouping import grouped
from ...module_utils._lmstudio.known import is_older
from ...module_utils._lmstudio.record import FULL
from ...module_utils._text import printable
from .host_entry import natural_order

JUST_IN_TIME = "just_in_time"
CHANGE_KINDS = ("added", "removed", "loaded", "unloaded", "context", "quantization", "variant", JUST_IN_TIME)
DEFAULT_CHANGE_KINDS = tuple(kind for kind in CHANGE_KINDS if kind != JUST_IN_TIME)
"""Instances that unload when idle come and go by themselves."""
_ATTRIBUTES = {"quantization": "quantization", "selected_variant": "variant"}
"""Attributes of a model, with the kind of change."""


class Change(NamedTuple):
    """As the document has it, without the host."""

    model: str
    change: str
    before: list[Any] | None
    now: list[Any] | None
    message: str
    """What happened to the model, without its name."""


def compare_with_baseline(
    hosts: Iterable[Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]], kinds: Collection[str] = DEFAULT_CHANGE_KINDS
) -> dict[str, Any]:
    """The changes of these kinds, and the hosts that could not be compared. `before` is what the baseline knows of each host."""
    changes: list[dict[str, Any]] = []
    not_compared = []
    now = {host["name"]: host for host in hosts}
    for name in sorted({*before, *now}, key=natural_order):
        why = _why_not_compared(before.get(name), now.get(name))
        if why:
            not_compared.append({"host": name, "message": f"{name} {why}"})
            continue
        for change in _changes(before[name], now[name], kinds):
            if change.change in kinds:
                message = f"{name}: {printable(change.model)} {change.message}"
                changes.append({"host": name, **change._asdict(), "message": message})
    return {"kinds": [kind for kind in CHANGE_KINDS if kind in kinds], "changes": changes, "not_compared": not_compared}


def _why_not_compared(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Why a host cannot be compared, as the end of a sentence. Empty where it can."""
    if before is None:
        return "is not in the baseline"
    if now is None:
        return "is in the baseline, but was not audited"
    if not before["ok"]:
        return f"had the status {printable(str(before['status']))} in the baseline, so its models cannot be compared"
    if not now["ok"]:
        return f"has the status {printable(str(now['status']))}, so its models cannot be compared"
    return ""


class ModelSnapshot:
    """What a host has for one model key, as far as it counts as drift. Order never counts, nor does how often a key is listed."""

    def __init__(self, entries: Sequence[Mapping[str, Any]] = ()) -> None:
        instances = [instance for entry in entries for instance in entry["instances"]]
        # A report of schema_version 1 does not say.
        self.reports_idle = all(instance.get("unloads_when_idle") is not None for instance in instances)
        self.contexts = _contexts(instances)
        self.idle = _contexts(instance for instance in instances if instance.get("unloads_when_idle"))
        """The contexts of those instances that unload when idle."""
        self.pinned = _contexts(instance for instance in instances if not instance.get("unloads_when_idle"))
        self.attributes = _attributes(entries)
        self.loaded_attributes = _attributes([entry for entry in entries if entry["state"] == "loaded"])
        # Not known in a report of an earlier release, for a model that is not loaded at detail loaded, and where they are unreadable.
        variants: list[Any] = [entry.get("variants") for entry in entries]
        self.variants = None if None in variants else {str(name) for names in variants for name in names}

    def unknown(self) -> set[str]:
        """What is not known of it while it is loaded."""
        known = {"context": None not in self.contexts, "variants": self.variants is not None, **self.loaded_attributes}
        return {name for name, is_known in known.items() if not is_known}


def _contexts(instances: Iterable[Mapping[str, Any]]) -> list[int | None]:
    """In order, with None at the end for each that is not known."""
    contexts = [instance["context_length"] for instance in instances]
    return [*sorted(int(context) for context in contexts if context is not None), *(None for context in contexts if context is None)]


def _attributes(entries: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    return {name: {str(entry[name]) for entry in entries if entry[name] is not None} for name in _ATTRIBUTES}


def snapshots_of(host: Mapping[str, Any]) -> dict[str, ModelSnapshot]:
    """What a host has, by model key. Raises whatever Python raises if something is missing."""
    if not all(isinstance(entry["key"], str) for entry in host["models"]):
        raise TypeError("a key is not a string")
    of_key = grouped((entry["key"], entry) for entry in host["models"])
    return {key: ModelSnapshot(entries) for key, entries in of_key.items()}


def reports_less(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an answer leaves out what was known of a host, so that a later change of that would go unnoticed."""
    if _only_older(now, before) or (before["detail"] == FULL and now["detail"] != FULL):
        return True
    old, new = snapshots_of(before), snapshots_of(now)
    return any(new[key].contexts and new[key].unknown() - old[key].unknown() for key in {*old}.intersection(new))


def _changes(earlier: Mapping[str, Any], host: Mapping[str, Any], kinds: Collection[str]) -> Iterator[Change]:
    before, now = snapshots_of(earlier), snapshots_of(host)
    # An attribute that only one of the two has, such as the quantization of a model that was not loaded then, is not a change.
    both_complete = host["detail"] == earlier["detail"] == FULL
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        # A model that is no longer listed is no longer loaded either, which is reported where only that counts.
        if old is None and "added" in kinds and not _only_older(earlier, host):
            yield Change(key, "added", None, now[key].contexts, "is listed now, but was not before")
        elif new is None and "removed" in kinds and not _only_older(host, earlier):
            yield Change(key, "removed", before[key].contexts, None, "is no longer listed")
        else:
            yield from _instance_changes(key, old or ModelSnapshot(), new or ModelSnapshot(), is_older(earlier) == is_older(host))
            if old and new:
                yield from _attribute_changes(key, old, new, both_complete)


def _only_older(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `one` is from the older list, which may lack models that are not loaded, and `other` is not."""
    return is_older(one) and not is_older(other)


def _instance_changes(key: str, old: ModelSnapshot, new: ModelSnapshot, same_list: bool) -> Iterator[Change]:
    before, now = old.contexts, new.contexts
    both_report_idle = old.reports_idle and new.reports_idle
    pinned_before, pinned_now = (old.pinned, new.pinned) if both_report_idle else (before, now)
    if pinned_before and not pinned_now:
        yield Change(key, "unloaded", before, now, "unloads when idle now, and stayed loaded before" if now else "is no longer loaded")
    elif pinned_now and not pinned_before:
        sentence = "stays loaded now, and unloaded when idle before" if before else "is loaded now, but was not before"
        yield Change(key, "loaded", before, now, sentence)
    elif pinned_now and _differ(pinned_before, pinned_now, same_list):
        sentence = f"now has the context {_joined(pinned_now)} instead of {_joined(pinned_before)}"
        yield Change(key, "context", pinned_before, pinned_now, sentence)
    if both_report_idle and _differ(old.idle, new.idle):
        sentence = f"has instances that unload when idle: context {_joined(new.idle) or 'none'} instead of {_joined(old.idle) or 'none'}"
        yield Change(key, JUST_IN_TIME, before, now, sentence)


def _differ(before: list[int | None], now: list[int | None], same_list: bool = True) -> bool:
    """Whether contexts have changed. An unknown one may be any, and the older list shows one instance for all."""
    if same_list:
        return len(before) != len(now) or (before != now and None not in before + now)
    return None not in before + now and not set(before) & set(now)


def _attribute_changes(key: str, old: ModelSnapshot, new: ModelSnapshot, both_complete: bool) -> Iterator[Change]:
    for name, kind in _ATTRIBUTES.items():
        pairs = [(old.loaded_attributes[name], new.loaded_attributes[name])]
        pairs += [(old.attributes[name], new.attributes[name])] if both_complete else []
        for was, has in pairs:
            if was and has and was != has:
                sentence = f"now has the {kind} {_joined(sorted(has))} instead of {_joined(sorted(was))}"
                yield Change(key, kind, sorted(was), sorted(has), sentence)
                break
    if None not in (old.variants, new.variants) and old.variants != new.variants:
        was_there, is_there = sorted(old.variants or ()), sorted(new.variants or ())
        sentence = f"now has the variants {_joined(is_there) or 'none'} on disk instead of {_joined(was_there) or 'none'}"
        yield Change(key, "variant", was_there, is_there, sentence)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join("not known" if value is None else printable(str(value)) for value in values)
