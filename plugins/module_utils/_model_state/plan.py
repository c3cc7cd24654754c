# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which downloads, unloads and loads bring one model of a host into the wanted state, and whether it is reached. No server is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Container, Iterable, NamedTuple

from .._lmstudio.known import is_unclear, reports_ttl
from .._lmstudio.reader import Entry
from .._requirements.checks import may_mean, same_setting
from .._requirements.spec import AVAILABLE
from .._text import did_you_mean, format_names, format_value, is_masked, printable
from .failures import Failure
from .spec import AT_LEAST, DOWNLOADED, EXACT, IGNORE, LOADED, NEVER, REMOVE, UNLOADED, Wanted

if TYPE_CHECKING:
    from .._lmstudio.record_type import Instance, Record

DOWNLOAD, UNLOAD, LOAD = "download", "unload", "load"


class Action(NamedTuple):
    """One request that changes something."""

    action: str
    model: str
    instance: str | None = None
    """The one that is unloaded, or that a load replaces."""


class Difference(NamedTuple):
    """A setting of a loaded instance that is not as wanted."""

    instance: str
    setting: str
    expected: Any
    actual: Any
    compare: str

    def __str__(self) -> str:
        if self.setting == "pinned":
            return f"{printable(self.instance)} unloads when it is idle"
        wanted = f"{'at least' if self.compare == AT_LEAST else 'but'} {format_value(self.expected)}"
        return f"{printable(self.instance)} has {printable(self.setting)} {format_value(self.actual)}, {wanted} is required"


class Plan(NamedTuple):
    actions: tuple[Action, ...] = ()
    differences: tuple[Difference, ...] = ()
    """Why something is reloaded."""


def make_plan(record: Record, wanted: Wanted) -> Plan:
    """What has to be done on a host with this record, which has detail ``full`` and is ok. Raises :class:`Failure` if it cannot be done."""
    if wanted.state == UNLOADED:
        plan = Plan(tuple(_unloads_of_model(record, wanted)))
    elif wanted.state == DOWNLOADED:
        plan = Plan(() if is_listed(record, wanted.model) else (_download(record, wanted),))
    else:
        plan = _plan_loaded(record, wanted)
    planned = {action.action for action in plan.actions}
    if LOAD in planned:
        _check_context(record, wanted)
    if UNLOAD in planned:
        _refuse_masked_names(record, wanted)
        _refuse_shared(record, plan.actions)
    return plan


def check_reached(record: Record, wanted: Wanted, plan: Plan) -> None:
    """Check that the state is reached on a host with this record, after a plan was carried out. Raises :class:`Failure`."""
    if wanted.state == LOADED:
        own = instances_of(record, wanted.model)
        if not own:
            raise Failure("changed_meanwhile", f"{wanted.name} should be loaded, but no instance of it is listed")
        differences, _unverified = compare_with_wanted(record, own, wanted)
        if differences:
            sentence = "the server loaded it with settings other than requested: " + "; ".join(map(str, differences))
            raise Failure("effective_config_differs", sentence, differences=differences)
    left = _unloads_of_model(record, wanted) if wanted.state == UNLOADED else _unloads_of_others(record, wanted)
    again = [action for action in left if action in plan.actions]
    names = format_names([str(action.instance) for action in again or left])
    if again:
        raise Failure("still_loaded", f"what was unloaded is loaded again: {names}")
    if left:
        raise Failure("changed_meanwhile", f"another instance was loaded meanwhile: {names}")


def instances_of(record: Record, model: str) -> list[Instance]:
    return [instance for instance in record["instances"] if instance["model"] == model]


def ids_of(record: Record, model: str) -> set[str]:
    return {instance["id"] for instance in instances_of(record, model)}


def _keys_with_variant(record: Record, name: str) -> list[str]:
    """The keys of the models that have a variant of this name on disk."""
    return [entry["key"] for entry in record["models"] if name in (entry["selected_variant"], *entry["variants"])]


def is_listed(record: Record, name: str) -> bool:
    """As a key, or as a variant."""
    return name in record["available"] or bool(_keys_with_variant(record, name))


def _unloads_of_model(record: Record, wanted: Wanted) -> list[Action]:
    """The unloads for ``state: unloaded``: the instances of that key, and the instance with that id.

    Raises :class:`Failure`.
    """
    _refuse_masked_names(record, wanted)
    _refuse_unclear(entry for entry in record["models"] if entry["key"] == wanted.model)
    found = [instance for instance in record["instances"] if wanted.model in (instance["model"], instance["id"])]
    if not found and wanted.model not in record["available"]:
        _refuse_variant(record, wanted)
        loaded = {name for instance in record["instances"] for name in (instance["model"], instance["id"]) if may_mean(wanted.model, name)}
        if loaded:
            # Taken as unloaded already, it would stay loaded.
            raise _not_listed(wanted, sorted(loaded))
    return _unloads(found)


def _refuse_unclear(entries: Iterable[Entry]) -> None:
    """Refuse to say of models that may be loaded that they are unloaded."""
    for entry in filter(is_unclear, entries):
        sentence = f"{printable(entry['key'])} reports a loaded context but no instance, so there is no instance to unload"
        raise Failure("still_loaded", sentence)


def _unloads_of_others(record: Record, wanted: Wanted) -> list[Action]:
    """The unloads of other models that ``exclusive`` requires."""
    if not wanted.exclusive:
        return []
    keys = (*record["available"], wanted.model)

    def must_go(model: str, instance: str | None = None) -> bool:
        variants = [entry["selected_variant"] for entry in record["models"] if entry["key"] == model]
        names = [name for name in (model, *variants, instance) if name]
        # What only reads like an entry is kept, too: what is unloaded by mistake may serve somebody. But a key is not that of another model.
        kept = any(pattern == name if pattern in keys else may_mean(pattern, name) for pattern in wanted.keep for name in names)
        return model != wanted.model and not kept

    _refuse_unclear(entry for entry in record["models"] if must_go(entry["key"]))
    return _unloads(instance for instance in record["instances"] if must_go(instance["model"], instance["id"]))


def _unloads(instances: Iterable[Instance]) -> list[Action]:
    """One for each instance: a server lists those of linked machines as its own."""
    return list(dict.fromkeys(Action(UNLOAD, instance["model"], instance["id"]) for instance in instances))


def compare_with_wanted(record: Record, instances: list[Instance], wanted: Wanted) -> tuple[list[Difference], list[str]]:
    """How instances of the model differ from what is wanted, and which settings could not be compared."""
    unreadable = {
        instance["id"]
        for entry in record["models"]
        if entry["key"] == wanted.model
        for number, instance in enumerate(entry["loaded_instances"])
        if not reports_ttl(record, entry, number)
    }
    differences = []
    unverified = []
    for instance in instances:
        for name, expected in wanted.config.items():
            how = wanted.compare[name]
            if how == IGNORE:
                continue
            actual = instance["config"].get(name)
            met = same_setting(actual, expected)
            if met is False and how == AT_LEAST:
                met = actual > expected if isinstance(actual, (int, float)) else None
            if met is None:
                unverified.append(name)
            elif not met:
                differences.append(Difference(instance["id"], name, expected, actual, how))
        if wanted.pinned and instance["remaining_ttl_seconds"] is not None:
            differences.append(Difference(instance["id"], "pinned", True, False, EXACT))
        elif wanted.pinned and instance["id"] in unreadable:
            unverified.append("pinned")
    return differences, sorted(set(unverified))


def as_requirement(wanted: Wanted, unverified: Container[str]) -> dict[str, Any]:
    """What an assertion has to require for the same state. What cannot be compared is left out."""
    if wanted.state != LOADED:
        return {"model": wanted.model, "state": UNLOADED if wanted.state == UNLOADED else AVAILABLE}
    requirement: dict[str, Any] = {"model": wanted.model}
    if wanted.duplicates == REMOVE:
        requirement["max_instances"] = 1
    comparable = {name: value for name, value in wanted.config.items() if name not in unverified}
    for name in ("context_length", "parallel"):
        if name in comparable and wanted.compare[name] == AT_LEAST:
            requirement[f"min_{name}"] = comparable[name]
    exact = {name: value for name, value in comparable.items() if wanted.compare[name] == EXACT}
    return {**requirement, "config": exact} if exact else requirement


def _plan_loaded(record: Record, wanted: Wanted) -> Plan:
    downloads = [] if wanted.model in record["available"] else [_download(record, wanted)]
    own = instances_of(record, wanted.model)
    if not own and any(entry["key"] == wanted.model and is_unclear(entry) for entry in record["models"]):
        sentence = f"{wanted.name} reports a loaded context but no instance, so it is not known whether it is loaded"
        raise Failure("load_unconfirmed", sentence)
    surplus = _surplus(record, own, wanted)
    differences, _unverified = compare_with_wanted(record, [instance for instance in own if instance not in surplus], wanted)
    if differences and wanted.reload == NEVER:
        sentence = "; ".join(map(str, differences)) + ", and reload: never forbids reloading it"
        next_step = "Set reload: when_different if it is acceptable that running requests are cut off, or change config, compare or pinned."
        raise Failure("effective_config_differs", sentence, next_step, differences=differences)
    actions = [*downloads, *_unloads_of_others(record, wanted), *_unloads(surplus)]
    if not own:
        actions.append(Action(LOAD, wanted.model))
    for instance_id in dict.fromkeys(difference.instance for difference in differences):
        actions += [Action(UNLOAD, wanted.model, instance_id), Action(LOAD, wanted.model, instance_id)]
    return Plan(tuple(actions), tuple(differences))


def _surplus(record: Record, own: list[Instance], wanted: Wanted) -> list[Instance]:
    """The duplicates to remove: all but the one to which a request for the key goes, or one that is as wanted if that one is not."""
    if wanted.duplicates != REMOVE:
        return []
    falls_short = {difference.instance for difference in compare_with_wanted(record, own, wanted)[0]}
    ranked = sorted(own, key=lambda instance: (instance["id"] in falls_short, instance["id"] != wanted.model))
    return [instance for instance in own if instance["id"] != ranked[0]["id"]]


def _download(record: Record, wanted: Wanted) -> Action:
    """The download of a model that is not listed."""
    _refuse_masked_names(record, wanted)
    _refuse_variant(record, wanted)
    instances = [instance["model"] for instance in record["instances"] if instance["id"] == wanted.model]
    if instances and wanted.state != DOWNLOADED:
        raise Failure("model_unknown", f"{wanted.name} is an instance of {format_names(instances)}, not the key of a model")
    if not wanted.download:
        raise _not_listed(wanted, record["available"])
    return Action(DOWNLOAD, wanted.model)


def _not_listed(wanted: Wanted, listed: Iterable[str]) -> Failure:
    suggestion = did_you_mean([wanted.model], listed, begins="; did")
    return Failure("model_unknown", f"{wanted.name} is not listed by this host{suggestion}")


def _check_context(record: Record, wanted: Wanted) -> None:
    """Refuse a context that the model does not support, before anything is unloaded for it."""
    most = [entry["max_context_length"] for entry in record["models"] if entry["key"] == wanted.model]
    context = wanted.config.get("context_length")
    if context and most and None not in most and context > max(most):
        sentence = f"{wanted.name} supports a context of at most {max(most)}, but {context} is required"
        raise Failure("option_unsupported", sentence, f"Set context_length to {max(most)} or less.")


def _refuse_variant(record: Record, wanted: Wanted) -> None:
    keys = _keys_with_variant(record, wanted.model)
    if keys:
        sentence = f"{wanted.name} is a variant of {format_names(keys)}, but LM Studio takes the key, and uses the selected variant"
        raise Failure("option_unsupported", sentence, "Give the key as model, and select the variant in LM Studio.")


def _refuse_masked_names(record: Record, wanted: Wanted) -> None:
    """Refuse to unload anything, or to take a model as not listed, where the list has masked names: one of them may be its name."""
    names = {instance["id"] for instance in record["instances"]}
    for entry in record["models"]:
        names.update((entry["key"], entry["selected_variant"] or "", *entry["variants"]))
    if any(map(is_masked, names)):
        sentence = f"it is not known whether {wanted.name} is among the models of this host, and which others are loaded: names in its list are masked"
        raise Failure(
            "masked_names", f"{sentence}, because they contain the token, its first characters, or the value of a header that was sent"
        )


def _refuse_shared(record: Record, actions: Iterable[Action]) -> None:
    """Refuse to unload an instance whose identifier belongs to instances of several models, as those of linked machines may have it."""
    for action in actions:
        models = {instance["model"] for instance in record["instances"] if instance["id"] == action.instance}
        if len(models) > 1:
            sentence = f"{printable(str(action.instance))} would be unloaded, but each of {format_names(sorted(models))} has an instance of that identifier"
            raise Failure("shared_identifier", f"{sentence}, and it is not known which one LM Studio would unload")
