# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changes in a record never make a gate pass: less that is known, more that must not be there, one more instance that falls short."""

from __future__ import annotations

import copy
import json

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import parse
from hypothesis import assume, given, reject
from hypothesis import strategies as st

# A small world, so that names coincide: a key may be the id of an instance of another model, and keys repeat.
KEYS = ["lab/a", "lab/b", "c"]
CONFIG = {"context_length": [4096, 8192, 16384], "parallel": [1, 4], "flash_attention": [True, False]}
VALUES = {
    "type": ["llm", "embedding", "drafter"],
    "publisher": ["lab", "other"],
    "architecture": ["qwen3", "bert"],
    "format": ["gguf", "mlx"],
    "size_bytes": [10**9, 50 * 10**9],
    "max_context_length": [4096, 32768],
}
REASONING = [True, False, {"allowed_options": ["off"], "default": "off"}, {"allowed_options": ["off", "on"], "default": "off"}]


def some(values):
    return st.none() | st.sampled_from(values)


instances = st.fixed_dictionaries(
    {
        "id": st.sampled_from([*KEYS, "lab/a:2", "alias"]),
        "config": st.fixed_dictionaries({name: some(values) for name, values in CONFIG.items()}),
    }
)


# Made once, because making a strategy takes longer than drawing from it.
fields = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS),
        **{name: some(values) for name, values in VALUES.items()},
        "quantization": st.fixed_dictionaries({"name": some(["4bit", "8bit"]), "bits_per_weight": some([4, 8])}),
        "capabilities": st.fixed_dictionaries({"vision": some([True, False]), "reasoning": st.sampled_from(REASONING)}),
        "loaded_instances": st.lists(instances, max_size=3),
    }
)
bits = st.lists(st.sampled_from(["4bit", "8bit"]), unique=True)


def with_variants(entry, bits, number):
    variants = [f"{entry['key']}@{each}" for each in bits]
    return {**entry, "variants": variants, "selected_variant": variants[number % len(variants)] if variants else None}


entries = st.builds(with_variants, fields, bits, st.integers(0, 1))
models = st.lists(entries, min_size=1, max_size=4)
names = st.sampled_from([*KEYS, "lab/a:2", "alias", "lab/a@4bit", "lab/b@8bit", "lab/*", "*", "*@4bit", "ali*", "nothing"])
kinds = {
    "type": st.sampled_from(VALUES["type"]),
    "publisher": st.sampled_from(VALUES["publisher"]),
    "architecture": st.sampled_from(VALUES["architecture"]),
    "format": st.sampled_from(VALUES["format"]),
    "quantization": st.sampled_from(["4bit", "8bit"]),
    "capabilities": st.sampled_from(["vision", "reasoning"]),
}
sizes = {"min_bits_per_weight": st.just(8), "max_size": st.just("20GB"), "min_context_length": st.sampled_from([4096, 8192, 16384])}
settings_of_instances = {
    "min_parallel": st.sampled_from([1, 4]),
    "config": st.sampled_from([{"flash_attention": True}, {"parallel": 4}]),
    "min_instances": st.integers(1, 3),
    "max_instances": st.integers(3, 4),
}


def requirements(state, fixed, **optional):
    # At least one of the keys that say which model is meant.
    named = st.fixed_dictionaries({"model": names}, optional={**kinds, **optional})
    of_a_kind = st.sampled_from(sorted(kinds)).flatmap(
        lambda kind: st.fixed_dictionaries(
            {kind: kinds[kind]}, optional={**{name: kinds[name] for name in kinds if name != kind}, **optional}
        )
    )
    return (named | of_a_kind).map(lambda raw: {**raw, "state": state, **fixed})


loaded = requirements("loaded", {}, **sizes, **settings_of_instances)
available = requirements("available", {}, **sizes)
forbidden = (
    requirements("absent", {})
    | requirements("unloaded", {})
    | requirements("loaded", {"min_instances": 0, "max_instances": 1}, **sizes)
    | requirements("loaded", {"min_instances": 0, "max_instances": 0}, min_context_length=st.just(8192))
)


def record_of(raw):
    body = json.dumps({"models": raw}).encode()
    record = ask(make_endpoint({}, "http://h"), lambda endpoint, request: Response(200, body), "full")
    assert record["ok"], record["error"]
    return record


def violations(raw, requirement, exclusive=False):
    return judge(record_of(raw), [parse(requirement)], exclusive)


@st.composite
def violated(draw, requirements):
    """A list of models, and a requirement that it violates: the first of up to eight, so that few lists are thrown away."""
    raw = draw(models)
    record = record_of(raw)
    for _number in range(8):
        requirement = draw(requirements)
        if judge(record, [parse(requirement)]):
            return raw, requirement
    return reject()


@given(case=violated(loaded), instance=instances, data=st.data())
def test_an_instance_that_falls_short_never_makes_a_requirement_met(case, instance, data):
    raw, requirement = case
    number = data.draw(st.integers(0, len(raw) - 1))
    alone = {name: value for name, value in requirement.items() if name not in ("min_instances", "max_instances")}
    assume(violations([{**raw[number], "loaded_instances": [instance]}], alone))
    more = copy.deepcopy(raw)
    more[number]["loaded_instances"].append(instance)
    assert violations(more, requirement)


def places(value, path=()):
    """Where the values stand that a server may leave out."""
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in places(item, (*path, name))]
    if path[-1:] == ("loaded_instances",):
        return [found for number, item in enumerate(value) for found in places(item["config"], (*path, number, "config"))]
    # A missing variant or id is another name; a missing list of variants is an empty one.
    return [] if path[-1] in ("key", "variants", "selected_variant") or value is None else [path]


@given(case=violated(loaded | available | forbidden), data=st.data())
def test_a_value_that_is_not_told_never_makes_a_requirement_met(case, data):
    raw, requirement = case
    number = data.draw(st.integers(0, len(raw) - 1))
    found = places(raw[number])
    if raw[number]["type"] == "embedding":
        # LM Studio leaves it out for these.
        found = [path for path in found if path != ("architecture",)]
    if requirement["state"] in ("absent", "unloaded") or requirement.get("min_instances") == 0:
        # An ability that is not told reads as one that is not there.
        found = [path for path in found if path[0] != "capabilities"]
    assume(found)
    path = data.draw(st.sampled_from(found))
    less = copy.deepcopy(raw)
    inside = less[number]
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = None
    assert violations(less, requirement), (path, raw)


def added(data, raw):
    """With one more model, variant or instance."""
    more = copy.deepcopy(raw)
    what = data.draw(st.sampled_from(["model", "variant", "instance"]))
    if what == "model":
        more.insert(data.draw(st.integers(0, len(more))), data.draw(entries))
        return more
    entry = data.draw(st.sampled_from(more))
    if what == "instance":
        entry["loaded_instances"].append(data.draw(instances))
    else:
        entry["variants"].append(data.draw(st.sampled_from([f"{entry['key']}@4bit", f"{entry['key']}@8bit"])))
    return more


@given(case=violated(forbidden), data=st.data())
def test_more_of_what_must_not_be_there_never_makes_it_right(case, data):
    raw, requirement = case
    assert violations(added(data, raw), requirement)


@given(raw=models, requirement=loaded | available, data=st.data())
def test_one_more_of_anything_never_makes_another_model_asked_for(raw, requirement, data):
    def others(found):
        return [violation for violation in found if violation["check"] == "exclusive"]

    assume(others(violations(raw, requirement, exclusive=True)))
    assert others(violations(added(data, raw), requirement, exclusive=True))
