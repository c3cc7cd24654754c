# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Bring one model of one host into the wanted state: read the list, plan, act once, read again, judge.

Never a load without a list, never a second load after one whose answer is missing, never anything that was not planned.
"""

from __future__ import annotations

from typing import Any, Mapping

from .._lmstudio.reader import SETTINGS
from .._text import format_names, printable
from .client import NO_OLDER_LIST, PATIENCE, Client
from .downloading import download, list_with
from .failures import NOT_CHECKED, Failure, no_list
from .plan import DOWNLOAD, LOAD, UNLOAD, Action, check_reached, ids_of, instances_of, make_plan
from .results import NOT_RESTORED, PERHAPS_RESTORED, RESTORED, Outcome, describe_action
from .spec import LOADED, Wanted


def ensure_state(wanted: Wanted, client: Client, check_mode: bool) -> dict[str, Any]:
    """The result of bringing a model into its state, or in check mode of planning that."""
    return _Run(wanted, client).run(check_mode)


class _Run(Outcome):
    def __init__(self, wanted: Wanted, client: Client) -> None:
        super().__init__(wanted, client.list())
        self.client = client
        self.is_current = True
        """Whether nothing was changed since the record was read."""
        self.expected: set[str] = ids_of(self.record, wanted.model)
        """The instances of the model that should be there now."""
        self.began = 0.0
        """When the last request that changes something was sent."""

    def run(self, check_mode: bool) -> dict[str, Any]:
        failure = None
        try:
            if not self.record["ok"]:
                raise no_list(self.record)
            if self.wanted.confirm_loaded and self.wanted.state == LOADED and self.expected:
                # Somebody else's load is not interrupted. What was loading may be gone afterwards.
                self._confirm(wait=not check_mode)
                self.before, self.expected = self.record, ids_of(self.record, self.wanted.model)
            self.plan = make_plan(self.record, self.wanted)
            if self.plan.actions and self.confirmed:
                # What will be loaded is not confirmed yet.
                self.confirmed = None
            if not check_mode:
                self._carry_out()
                self._judge()
        except Failure as exc:
            failure = exc
            if not self.is_current:
                self.record = self.client.list()
        return self.result(failure, check_mode)

    def _begin(self) -> None:
        self.began, self.is_current = self.client.clock(), False

    def _note(self, action: Action, instance: str | None) -> None:
        """Note what was carried out. `instance` is the one that was unloaded, or is loaded now."""
        self.actions.append(describe_action(action, instance, round(self.client.clock() - self.began, 1)))

    def _carry_out(self) -> None:
        actions = self.plan.actions
        if actions and actions[0].action == DOWNLOAD:
            self._download(actions[0])
            # More is known about the model now, but nothing more is done than was planned.
            actions = make_plan(self.record, self.wanted).actions
            more = [action.instance or action.model for action in actions if action not in self.plan.actions[1:]]
            if more:
                sentence = f"during the download of {self.wanted.name} something else was loaded: {format_names(more)}"
                raise Failure("changed_meanwhile", sentence)
        for action in actions:
            {UNLOAD: self._unload, LOAD: self._load}[action.action](action)

    def _download(self, action: Action) -> None:
        self._begin()
        if download(self.client, self.wanted):
            self._note(action, None)
        self.record = list_with(self.client, self.wanted, self.before)
        self.is_current = True
        self.expected = ids_of(self.record, self.wanted.model)

    def _unload(self, action: Action) -> None:
        instance_id = str(action.instance)
        self._check_planned(action.model, instance_id)
        self._begin()
        failure = None
        try:
            self.client.unload(instance_id)
            self._note(action, instance_id)
        except Failure as exc:
            # It may be gone if the answer is unclear, or if the server does not know it.
            if not exc.unclear and exc.reason != "model_unknown":
                raise
            failure = exc
        self.record = self.client.list_without(action.model, instance_id, failure)
        self.is_current = True
        if action.model == self.wanted.model:
            self.expected.discard(instance_id)
        if failure and failure.unclear:
            self._note(action, instance_id)

    def _check_planned(self, model: str, instance_id: str) -> None:
        """Check that an unload still is what was planned: a load takes long enough for somebody else to act. Raises :class:`Failure`."""
        if self.wanted.state == LOADED:
            plan = self.plan.actions
            if not any(planned.action == LOAD for planned in plan):
                # If nothing is loaded afterwards, it does not matter that what is to be unloaded is gone already.
                self.expected -= {planned.instance for planned in plan} - ids_of(self.record, self.wanted.model)
            self._check_expected()
        others = {instance["model"] for instance in self.record["instances"] if instance["id"] == instance_id} - {model}
        if others:
            sentence = f"{printable(instance_id)} is an instance of {format_names(sorted(others))} now, and was one of {printable(model)}"
            raise Failure("changed_meanwhile", sentence)

    def _load(self, action: Action) -> None:
        # Until more is known. Nothing is loaded again unless it is certain what is loaded.
        self.restored = None if action.instance is None else NOT_RESTORED
        self._check_expected()
        try:
            self._load_one(action, self.wanted.config)
        except Failure as failure:
            if action.instance is not None and not failure.unclear:
                self.restored = self._restore(action)
                failure.unclear = self.restored == PERHAPS_RESTORED
            raise
        self.restored = None

    def _load_one(self, action: Action, config: Mapping[str, Any]) -> None:
        self.client.progress(f"{printable(action.model)}: loading")
        self._begin()
        instance_id = self.client.load(action.model, config, self.wanted.load_timeout, self.expected)
        self.expected.add(instance_id)
        self._note(action, instance_id)

    def _restore(self, action: Action) -> str:
        """Load again what was unloaded for an instance that could not be loaded, with as many of its settings as can be given."""
        before = next(instance for instance in instances_of(self.before, action.model) if instance["id"] == action.instance)
        # Zero stands for a setting that does not apply to a model.
        config = {name: value for name, value in before["config"].items() if name in SETTINGS and (value or isinstance(value, bool))}
        # Servers report settings that they do not accept, as older ones do with parallel. A load that they refuse has not begun.
        for left_out in ((), ("parallel",), tuple(name for name in SETTINGS if name != "context_length")):
            try:
                self._check_expected()
                self._load_one(action, {name: value for name, value in config.items() if name not in left_out})
            except Failure as failure:
                if failure.unclear:
                    return PERHAPS_RESTORED
                if failure.reason not in ("option_unsupported", "request_rejected"):
                    break
            else:
                try:
                    self._check_expected()
                except Failure:  # It may be gone again.
                    return PERHAPS_RESTORED
                return RESTORED
        return NOT_RESTORED

    def _check_expected(self) -> None:
        """Check that the instances are as expected, on a list that was read after the last change. Raises :class:`Failure`."""
        if not self.is_current:
            # It may lag behind what was answered.
            self.record = self.client.wait_for_list(lambda record: ids_of(record, self.wanted.model) == self.expected, PATIENCE / 4)
            if not self.record["ok"]:
                raise no_list(self.record, NOT_CHECKED)
            self.is_current = True
        listed = ids_of(self.record, self.wanted.model)
        if listed != self.expected:
            should_have, has = _in_words(self.expected), _in_words(listed)
            raise Failure("changed_meanwhile", f"{self.wanted.name} should have {should_have} now, but has {has}")

    def _judge(self) -> None:
        """Check that the state is reached. Raises :class:`Failure`."""
        if self.wanted.state == LOADED:
            self._check_expected()
            if self.wanted.confirm_loaded and self.plan.actions:
                # While it waits, something else may change, so what is judged is the list that was read last.
                self._confirm()
                self._check_expected()
        check_reached(self.record, self.wanted, self.plan)

    def _confirm(self, wait: bool = True) -> None:
        """Wait until nothing of the model is still loading. Raises :class:`Failure`."""
        wait_a_moment = self.client.waiter(self.wanted.load_timeout, tell=True)
        while True:
            if not self.record["ok"]:
                raise no_list(self.record)
            if not ids_of(self.record, self.wanted.model):
                return
            doubt = self.client.doubt(self.record, self.wanted.model)
            if doubt is None or doubt == NO_OLDER_LIST:
                self.confirmed = doubt is None
                return
            if doubt.worth_waiting and not wait:
                raise Failure("load_unconfirmed", f"{self.wanted.name} is listed, but {doubt}", "A run waits for it, up to load_timeout.")
            if not doubt.worth_waiting or not wait_a_moment():
                raise doubt.failure(f"{self.wanted.name} is listed")
            self.record = self.client.wait_for_list()


def _in_words(ids: set[str]) -> str:
    return f"the instance{'s' if len(ids) > 1 else ''} {format_names(sorted(ids))}" if ids else "no instance"
