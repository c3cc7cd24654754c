# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The result of a task that brings a model into a state: what was done, what is there, and one sentence about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._lmstudio.record import at_detail_loaded
from .._text import format_names, format_value, printable
from .failures import Failure, no_list
from .plan import DOWNLOAD, LOAD, UNLOAD, Action, Plan, as_requirement, compare_with_wanted, instances_of, is_listed
from .spec import LOADED, UNLOADED, Wanted

if TYPE_CHECKING:
    from .._lmstudio.record_type import Instance, Record

RESTORED = "What was loaded before is loaded again."
NOT_RESTORED = "What was loaded before was not loaded again."
PERHAPS_RESTORED = "It is not known whether what was loaded before is loaded again."


class Outcome:
    """What a task has done and found so far. Its result is made from this."""

    def __init__(self, wanted: Wanted, record: Record) -> None:
        self.wanted = wanted
        self.before = self.record = record
        self.plan = Plan()
        self.actions: list[dict[str, Any]] = []
        """What was carried out."""
        self.restored: str | None = None
        """For an instance that was unloaded and could not be replaced: whether it is loaded again, as a sentence."""
        self.confirmed: bool | None = None

    def result(self, failure: Failure | None, check_mode: bool = False) -> dict[str, Any]:
        wanted, after, actions = self.wanted, self.record, self.actions
        if check_mode:
            actions = [describe_action(action, action.instance if action.action == UNLOAD else None) for action in self.plan.actions]
        own = instances_of(after, wanted.model)
        unverified = compare_with_wanted(after, own, wanted)[1] if wanted.state == LOADED else []
        result: dict[str, Any] = {
            "changed": bool(actions) or (failure is not None and failure.unclear),
            "actions": actions,
            "instance": _instance(own, wanted) if wanted.state == LOADED and not (check_mode and actions) else None,
            "differences": [difference._asdict() for difference in (failure and failure.differences) or self.plan.differences],
            "unverified": unverified,
            "requirement": as_requirement(wanted, unverified),
            "reason": failure and failure.reason,
            "lmstudio": at_detail_loaded(after),
        }
        if self.before["ok"] and after["ok"]:
            shown = _predicted(self.before, self.plan, wanted) if check_mode else _shown(after, wanted)
            result["diff"] = {"before": _shown(self.before, wanted), "after": shown}
        if self.restored is not None:
            result["restored"] = self.restored == RESTORED
        if wanted.confirm_loaded:
            result["confirmed"] = self.confirmed
        if failure is None:
            return {**result, "msg": f"Would {_list_of(actions)}." if check_mode and actions else _success(wanted, result, own)}
        done_before = f"Already done: {_list_of(actions, 'ed')}." if actions else None
        return {**result, "failed": True, "msg": " ".join(filter(None, (failure.message, done_before, self.restored)))}


def not_asked_result(wanted: Wanted, record: Record) -> dict[str, Any]:
    """The result for a host that cannot be asked."""
    return Outcome(wanted, record).result(no_list(record))


def describe_action(action: Action, instance: str | None, seconds: float | None = None) -> dict[str, Any]:
    note = "A request that it is serving is cut off." if action.action == UNLOAD else None
    return {"action": action.action, "model": action.model, "instance": instance, "seconds": seconds, "note": note}


def _instance(own: list[Instance], wanted: Wanted) -> str | None:
    """The instance that serves requests for the key."""
    ids = [instance["id"] for instance in own]
    return wanted.model if wanted.model in ids else ids[0] if ids else None


def _shown(record: Record, wanted: Wanted) -> dict[str, Any]:
    """What a diff shows of a record: nothing that changes by itself."""
    return {
        "downloaded": is_listed(record, wanted.model),
        "instances": {instance["id"]: _settings(instance["model"], instance["config"]) for instance in record["instances"]},
    }


def _settings(model: str, config: Any) -> dict[str, Any]:
    return {"model": model, **{name: value for name, value in config.items() if value is not None}}


def _predicted(before: Record, plan: Plan, wanted: Wanted) -> dict[str, Any]:
    """What would be there after a plan, as far as that is known: the server chooses the ids and the settings that are not given."""
    shown = _shown(before, wanted)
    instances = shown["instances"]
    for action in plan.actions:
        if action.action == DOWNLOAD:
            shown["downloaded"] = True
        elif action.action == UNLOAD:
            instances.pop(action.instance, None)
        elif action.action == LOAD:
            names = [action.model, *(f"{action.model}:{number}" for number in range(2, len(instances) + 3))]
            instances[next(name for name in names if name not in instances)] = _settings(action.model, wanted.config)
    return shown


def _success(wanted: Wanted, result: dict[str, Any], own: list[Instance]) -> str:
    if wanted.state == UNLOADED and not result["actions"] and wanted.model not in result["lmstudio"]["available"]:
        # Perhaps the id of an instance, perhaps a misspelt key.
        return f"{wanted.name} is not loaded, and this host lists no model with that key."
    if wanted.state != LOADED:
        return f"{wanted.name} is {wanted.state}."
    contexts = format_names(sorted({format_value(instance["context_length"]) for instance in own}))
    not_told = (
        f" Not compared, because the server does not report it: {format_names(result['unverified'])}." if result["unverified"] else ""
    )
    return f"{wanted.name} is loaded as {format_names([instance['id'] for instance in own])}, with a context of {contexts}.{not_told}"


def _list_of(actions: list[dict[str, Any]], ending: str = "") -> str:
    return ", ".join(f"{each['action']}{ending} {printable(each['instance'] or each['model'])}" for each in actions)
