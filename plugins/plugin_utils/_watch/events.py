# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What changed on a host between two polls. It uses neither clock nor network: a state and a record give the next state and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from ...module_utils._lmstudio.known import is_unclear
from ...module_utils._lmstudio.reader import canonical
from ...module_utils._lmstudio.record import explain
from ...module_utils._lmstudio.record_type import Record
from ...module_utils._requirements.judge import judge_requirement
from ...module_utils._requirements.messages import FAIL
from ...module_utils._requirements.spec import Requirement

HOST_DOWN, HOST_UP = "host_down", "host_up"
MODEL_LOADED, MODEL_UNLOADED, INSTANCE_CHANGED = "model_loaded", "model_unloaded", "instance_changed"
VIOLATED, MET = "violated", "met"
EVENTS = (HOST_DOWN, HOST_UP, MODEL_LOADED, MODEL_UNLOADED, INSTANCE_CHANGED, VIOLATED, MET)

WatchedInstance = dict[str, Any]
"""``{id, context_length, config}``: the parts of an instance whose change makes an event. Its remaining lifetime is not one of them."""


class LoadedModel(NamedTuple):
    """A loaded model."""

    api: str | None
    """Which list showed its instances. The two lists do not show the same of an instance."""
    instances: dict[str, WatchedInstance]
    """By their ids."""


Models = dict[str, LoadedModel]
"""By their keys."""


class Event(TypedDict):
    """What changed. Its documentation is that of the event source."""

    event: str
    """One of :data:`EVENTS`."""
    model: str | None
    instance: str | None
    previous: Any
    current: Any


class Rules(NamedTuple):
    """What makes an event."""

    down_after: int = 2
    """After how many failed polls in a row a host is down."""
    requirements: Sequence[Requirement] = ()
    snapshot: bool = False
    """Whether what is found at first makes events, too."""


class State(NamedTuple):
    """What is known of a host. Before its first poll, nothing is."""

    up: bool | None = None
    failed_polls: int = 0
    why_down: tuple[str, ...] = ()
    models: Models | None = None
    violated: dict[int, list[str]] | None = None
    """The messages about the requirements that are not met, by requirement number. A failed poll says nothing about them."""


def advance(state: State, record: Record, rules: Rules) -> tuple[State, list[Event]]:
    """The state after a poll, and what changed with it, in a sensible order. `record` must have the detail ``full``."""
    if not record["ok"]:
        return _after_failure(state, record, rules)
    before = state.models or {}
    models = _loaded_models(record, before)
    violated = _violated(record, rules.requirements)
    events = []
    comes_up = state.up is False
    if comes_up or (state.up is None and rules.snapshot):
        events.append(_event(HOST_UP, list(state.why_down), []))
    if state.models is not None or rules.snapshot:
        events += [*_changes_of_models(before, models), *_changes_of_instances(before, models)]
    if state.violated is None and rules.snapshot and rules.requirements and not violated:
        events.append(_event(MET, [], []))
    elif state.violated is not None or rules.snapshot or comes_up:
        events += _changes_of_requirements(state.violated or {}, violated, comes_up)
    return State(True, 0, (), models, violated), events


def _after_failure(state: State, record: Record, rules: Rules) -> tuple[State, list[Event]]:
    state = state._replace(failed_polls=state.failed_polls + 1)
    if state.up is False or state.failed_polls < rules.down_after:
        return state, []
    why = (explain(record),)
    events = [_event(HOST_DOWN, [], list(why))] if state.up or rules.snapshot else []
    return state._replace(up=False, why_down=why), events


def _loaded_models(record: Record, before: Models) -> Models:
    models: Models = {}
    for listed in record["instances"]:
        instance = {"id": listed["id"], "context_length": listed["context_length"], "config": listed["config"]}
        instances = models.setdefault(listed["model"], LoadedModel(record["api"], {})).instances
        # Of two instances with one id, always take the same one, whatever their order.
        instances[listed["id"]] = min(instance, instances.get(listed["id"], instance), key=canonical)
    # Whether a model is loaded may be unclear. Then nothing has changed.
    unclear = {entry["key"] for entry in record["models"] if is_unclear(entry)}
    return {**{key: before[key] for key in unclear & before.keys()}, **models}


def _changes_of_models(before: Models, after: Models) -> list[Event]:
    events = []
    for key in sorted(before.keys() - after.keys()):
        events.append(_event(MODEL_UNLOADED, _listed(before[key]), [], key, min(before[key].instances)))
    for key in sorted(after.keys() - before.keys()):
        events.append(_event(MODEL_LOADED, [], _listed(after[key]), key, min(after[key].instances)))
    return events


def _changes_of_instances(before: Models, after: Models) -> list[Event]:
    """The changes within the models that stay loaded, and that the same list shows."""
    events = []
    for key in sorted(key for key in before.keys() & after.keys() if before[key].api == after[key].api):
        was, now = before[key].instances, after[key].instances
        for name in sorted(was.keys() | now.keys()):
            previous, current = was.get(name), now.get(name)
            if previous != current:
                events.append(_event(INSTANCE_CHANGED, previous, current, key, name))
    return events


def _listed(model: LoadedModel) -> list[WatchedInstance]:
    return [instance for _name, instance in sorted(model.instances.items())]


def _violated(record: Record, requirements: Sequence[Requirement]) -> dict[int, list[str]]:
    """The requirements that are not met, with the messages that say why. One that only warns always counts as met."""
    found = {}
    for number, requirement in enumerate(requirements):
        violations = judge_requirement(record, requirement)
        if any(violation["severity"] == FAIL for violation in violations):
            found[number] = [violation["message"] for violation in violations]
    return found


def _changes_of_requirements(before: dict[int, list[str]], after: dict[int, list[str]], comes_up: bool) -> list[Event]:
    """One event for the host: it fails a requirement that it met before, or meets all again. What it fails when it comes up is news."""
    previous, current = ([sentence for sentences in state.values() for sentence in sentences] for state in (before, after))
    if after.keys() - before.keys() or (after and comes_up):
        return [_event(VIOLATED, previous, current)]
    return [_event(MET, previous, [])] if before and not after else []


def _event(name: str, previous: Any, current: Any, model: str | None = None, instance: str | None = None) -> Event:
    return {"event": name, "model": model, "instance": instance, "previous": previous, "current": current}
