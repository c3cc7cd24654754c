# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan leads to the state that is wanted, does nothing where that is reached, and touches nothing else."""

from __future__ import annotations

import json

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import Failure
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.plan import (
    DOWNLOAD,
    LOAD,
    UNLOAD,
    Plan,
    compare_with_wanted,
    instances_of,
    make_plan,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import LOADED, UNLOADED
from ansible_collections.gpufleet.lmstudio.tests.states import free_id, hosts, options
from hypothesis import given

ENDPOINT = make_endpoint({}, "http://gpu01")


def record_of(models):
    return ask(ENDPOINT, lambda endpoint, request: Response(200, json.dumps({"models": models}).encode()), "full")


def carried_out(models, plan, wanted):
    """What an obedient server has after a plan."""
    models = json.loads(json.dumps(models))
    for action in plan.actions:
        if action.action == DOWNLOAD:
            models.append({"type": "llm", "key": action.model, "loaded_instances": []})
        elif action.action == UNLOAD:
            for model in models:
                model["loaded_instances"] = [each for each in model["loaded_instances"] if each["id"] != action.instance]
        else:
            used = {each["id"] for model in models for each in model["loaded_instances"]}
            (model,) = [model for model in models if model["key"] == action.model]
            model["loaded_instances"].append({"id": free_id(action.model, used), "config": dict(wanted.config)})
    return models


def plan_of(record, wanted):
    """The plan, or an empty one where it is refused."""
    try:
        return make_plan(record, wanted)
    except Failure:
        return Plan()


@given(hosts(), options())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(models, wanted):
    try:
        plan = make_plan(record_of(models), wanted)
    except Failure:
        return
    assert make_plan(record_of(carried_out(models, plan, wanted)), wanted).actions == ()


@given(hosts(), options())
def test_a_plan_loads_nothing_that_is_loaded(models, wanted):
    record = record_of(models)
    plan = plan_of(record, wanted)
    own = instances_of(record, wanted.model)
    unloaded = set()
    for action in plan.actions:
        if action.action == UNLOAD:
            unloaded.add(action.instance)
        if action.action == LOAD:
            # Nothing of it was loaded, or what is loaded here takes the place of one that fell short.
            assert action.model == wanted.model
            assert not own or (
                action.instance in unloaded and action.instance in {each.instance for each in compare_with_wanted(record, own, wanted)[0]}
            )
    loads = [action.instance for action in plan.actions if action.action == LOAD]
    assert len(loads) == len(set(loads)) and (own or len(loads) <= 1)


@given(hosts(), options())
def test_a_plan_unloads_nothing_that_it_does_not_name(models, wanted):
    record = record_of(models)
    plan = plan_of(record, wanted)
    unloaded = [action.instance for action in plan.actions if action.action == UNLOAD]
    assert len(unloaded) == len(set(unloaded))
    after = record_of(carried_out(models, plan, wanted))
    gone = {each["id"] for each in record["instances"]} - {each["id"] for each in after["instances"]}
    assert gone <= set(unloaded)
    for each in record["instances"]:
        if each["id"] in unloaded and each["model"] != wanted.model:
            assert wanted.exclusive or (wanted.state == UNLOADED and each["id"] == wanted.model)


@given(hosts(), options())
def test_no_model_loses_all_of_its_instances_unless_it_has_to_be_unloaded(models, wanted):
    record = record_of(models)
    plan = plan_of(record, wanted)
    if wanted.state == LOADED and instances_of(record, wanted.model):
        assert instances_of(record_of(carried_out(models, plan, wanted)), wanted.model)
