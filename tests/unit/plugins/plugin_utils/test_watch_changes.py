# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which events two polls make: edges, each once, and none that a failed read or the passing of time makes."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import parse_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.events import Rules, State, advance
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

ENDPOINT = make_endpoint({"url": "http://gpu01:1234"}, "")
REQUIRE = parse_all([{"model": "a", "min_context_length": 8192}, {"model": "b"}])


def ok(loaded=None, *, ttl=None, idle=("a", "b"), unclear=(), order=None):
    """The record of a host with these instances: ``{key: {id: context}}``."""
    loaded = loaded or {}
    models = []
    for key in sorted({*loaded, *idle, *unclear}):
        instances = [{"id": name, "config": {"context_length": size}} for name, size in loaded.get(key, {}).items()]
        for instance in instances:
            if ttl is not None:
                instance["remaining_ttl_seconds"] = ttl
        entry = {"type": "llm", "key": key, "loaded_instances": instances}
        if key in unclear:
            entry["loaded_context_length"] = 4096
        models.append(entry)
    if order is not None:
        for listed in (models, *(entry["loaded_instances"] for entry in models)):
            random.Random(order).shuffle(listed)
    return record(Response(200, json.dumps({"models": models}).encode()))


def failed(status="refused"):
    return record(ApiError(status, "is not there"))


def record(answer):
    found = record_of(ENDPOINT, parse(ENDPOINT, Poll(answer, "2026-11-27T08:00:00Z", 1)), "full")
    assert isinstance(answer, ApiError) or found["ok"], found["error"]
    return found


def replay(records, **rules):
    """The events of each of the records."""
    state, events = State(), []
    for each in records:
        state, found = advance(state, each, Rules(**rules))
        events.append(found)
    return events


def names(events):
    return [" ".join(filter(None, (event["event"], event["model"], event["instance"]))) for each in events for event in each]


TABLE = {
    "nothing changes": ([ok({"a": {"a": 1}}), ok({"a": {"a": 1}})], {}, []),
    "what is found first is not an edge": ([ok({"a": {"a": 1}})], {}, []),
    "unless a snapshot is wanted": ([ok({"a": {"a": 1}})], {"snapshot": True}, ["host_up", "model_loaded a a"]),
    "a host that is down at first is not an edge": ([failed(), failed(), failed()], {}, []),
    "unless a snapshot is wanted, once": ([failed(), failed(), failed()], {"snapshot": True}, ["host_down"]),
    "that it comes up then is one": ([failed(), failed(), ok({"a": {"a": 1}})], {}, ["host_up"]),
    "one failed poll is none": ([ok(), failed(), ok(), failed(), ok()], {}, []),
    "two are one": ([ok(), failed(), failed()], {}, ["host_down"]),
    "with down_after 1 one is": ([ok(), failed(), ok()], {"down_after": 1}, ["host_down", "host_up"]),
    "with down_after 3 two are none": ([ok(), failed(), failed(), ok()], {"down_after": 3}, []),
    "another status is none": ([ok(), *map(failed, ("refused", "timeout", "auth", "invalid"))], {}, ["host_down"]),
    "loaded": ([ok(), ok({"a": {"a": 1}})], {}, ["model_loaded a a"]),
    "unloaded": ([ok({"a": {"a": 1}}), ok()], {}, ["model_unloaded a a"]),
    "no longer listed": ([ok({"a": {"a": 1}}), ok(idle=())], {}, ["model_unloaded a a"]),
    "a second instance": ([ok({"a": {"a": 1}}), ok({"a": {"a": 1, "a:2": 1}})], {}, ["instance_changed a a:2"]),
    "one of two less": ([ok({"a": {"a": 1, "a:2": 1}}), ok({"a": {"a:2": 1}})], {}, ["instance_changed a a"]),
    "another context": ([ok({"a": {"a": 1}}), ok({"a": {"a": 2}})], {}, ["instance_changed a a"]),
    "two at once": ([ok({"a": {"a": 1}}), ok({"b": {"b": 1, "b:2": 1}})], {}, ["model_unloaded a a", "model_loaded b b"]),
    "time that is left": ([ok({"a": {"a": 1}}, ttl=9), ok({"a": {"a": 1}}, ttl=3), ok({"a": {"a": 1}})], {}, []),
    "unclear is not unloaded": (
        [ok({"a": {"a": 1}}), ok(unclear=["a"]), ok({"a": {"a": 1}}), ok(unclear=["a"]), ok()],
        {},
        ["model_unloaded a a"],
    ),
    "unclear is not loaded": ([ok(), ok(unclear=["a"]), ok({"a": {"a": 1}})], {}, ["model_loaded a a"]),
    "a failed read unloads nothing": ([ok({"a": {"a": 1}}), failed(), ok({"a": {"a": 1}})], {}, []),
    "a restart without it does": ([ok({"a": {"a": 1}}), failed(), failed(), ok()], {}, ["host_down", "host_up", "model_unloaded a a"]),
    "a requirement that is not met at first": ([ok()], {"requirements": REQUIRE}, []),
    "with a snapshot": ([ok()], {"requirements": REQUIRE, "snapshot": True}, ["host_up", "violated"]),
    "met with a snapshot": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE, "snapshot": True},
        ["host_up", "model_loaded a a", "model_loaded b b", "met"],
    ),
    "violated and met": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), ok({"a": {"a": 4096}, "b": {"b": 1}}), ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["instance_changed a a", "violated", "instance_changed a a", "met"],
    ),
    "one more is violated, then one less": (
        [ok({"a": {"a": 8192}}), ok(), ok({"b": {"b": 1}}), ok({"a": {"a": 9000}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["model_unloaded a a", "violated", "model_loaded b b", "model_loaded a a", "met"],
    ),
    "nothing is known while it is down": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), failed(), failed(), failed(), ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["host_down", "host_up"],
    ),
    "what is lacking still when it comes up is said again": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), ok(), failed(), failed(), ok(), ok()],
        {"requirements": REQUIRE},
        ["model_unloaded a a", "model_unloaded b b", "violated", "host_down", "host_up", "violated"],
    ),
    "also with a snapshot": (
        [ok(), failed(), failed(), ok(), ok()],
        {"requirements": REQUIRE, "snapshot": True},
        ["host_up", "violated", "host_down", "host_up", "violated"],
    ),
    "less is lacking when it comes up": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), ok(), failed(), failed(), ok({"a": {"a": 8192}})],
        {"requirements": REQUIRE},
        ["model_unloaded a a", "model_unloaded b b", "violated", "host_down", "host_up", "model_loaded a a", "violated"],
    ),
    "it comes up with what it lacked": (
        [ok({"b": {"b": 1}}), failed(), failed(), ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["host_down", "host_up", "model_loaded a a", "met"],
    ),
    "a failed poll does not mean that a host comes up": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), ok({"b": {"b": 1}}), failed(), ok({"b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["model_unloaded a a", "violated"],
    ),
    "a host that is down at first, and lacks something": (
        [failed(), failed(), ok({"a": {"a": 1}}), ok({"a": {"a": 1}})],
        {"requirements": REQUIRE},
        ["host_up", "violated"],
    ),
    "a host that is down at first, and lacks nothing": (
        [failed(), failed(), ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["host_up"],
    ),
    "with a snapshot, that is met": (
        [failed(), failed(), ok({"a": {"a": 8192}, "b": {"b": 1}})],
        {"requirements": REQUIRE, "snapshot": True},
        ["host_down", "host_up", "model_loaded a a", "model_loaded b b", "met"],
    ),
    "a host that did not answer once at first": ([failed(), ok()], {"requirements": REQUIRE}, []),
    "another reason is none": (
        [ok({"a": {"a": 8192}, "b": {"b": 1}}), ok({"a": {"a": 1}, "b": {"b": 1}}), ok({"a": {"a": 2}, "b": {"b": 1}})],
        {"requirements": REQUIRE},
        ["instance_changed a a", "violated", "instance_changed a a"],
    ),
    "without requirements nothing is judged": ([failed(), failed(), ok()], {"snapshot": True}, ["host_down", "host_up"]),
    "a warning is met": (
        [ok({"a": {"a": 1}}), ok()],
        {"requirements": parse_all([{"model": "a", "severity": "warn"}])},
        ["model_unloaded a a"],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_events_are_edges(case):
    records, rules, expected = TABLE[case]
    assert names(replay(records, **rules)) == expected


def test_events_say_what_was_and_what_is():
    states = [ok({"a": {"a": 4096}}), ok({"a": {"a": 8192}}), ok(), failed("timeout"), failed("refused"), ok()]
    changed, violated_b, down, up = (events for events in replay(states, requirements=parse_all([{"model": "a"}])) if events)
    assert changed == [
        {
            "event": "instance_changed",
            "model": "a",
            "instance": "a",
            "previous": {"id": "a", "context_length": 4096, "config": states[0]["instances"][0]["config"]},
            "current": {"id": "a", "context_length": 8192, "config": states[1]["instances"][0]["config"]},
        }
    ]
    unloaded, violated = violated_b
    assert (unloaded["previous"], unloaded["current"]) == ([changed[0]["current"]], [])
    assert (violated["previous"], violated["current"]) == ([], ["a is not loaded. Loaded: nothing"])
    assert down[0]["previous"] == [] and down[0]["current"][0].startswith("http://gpu01:1234 is not there.")
    assert up[0]["previous"] == down[0]["current"] and up[0]["current"] == []


def test_the_page_shows_an_event_as_it_is():
    shown = json.loads((ROOT / "docs" / "events.md").read_text(encoding="utf-8").partition("```json\n")[2].partition("```")[0])["lmstudio"]
    states = []
    for when in ("previous", "current"):
        entry = {"type": "llm", "key": shown["model"], "loaded_instances": [{"id": shown["instance"], "config": shown[when]["config"]}]}
        states.append(record(Response(200, json.dumps({"models": [entry]}).encode())))
    ((event,),) = filter(None, replay(states))
    for instance in (event["previous"], event["current"]):
        # The page leaves out what this server does not report.
        instance["config"] = {name: value for name, value in instance["config"].items() if value is not None}
    assert {name: shown[name] for name in event} == event


def test_two_instances_with_one_id_are_the_same_in_any_order():
    twice = [{"id": "a", "config": {"context_length": size}} for size in (1, 2)]
    lists = [[{"type": "llm", "key": "a", "loaded_instances": instances}] for instances in (twice, twice[::-1])]
    records = [record(Response(200, json.dumps({"models": models}).encode())) for models in lists]
    assert names(replay([*records, *records])) == []


KEYS = st.sampled_from(["a", "b", "c"])
LOADED = st.dictionaries(KEYS, st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([4096, 8192]), min_size=1))
POLLS = st.lists(
    st.one_of(
        st.builds(lambda loaded, ttl, order: ("ok", loaded, ttl, order), LOADED, st.none() | st.integers(0, 9), st.integers(0, 99)),
        st.sampled_from([name for name in STATUSES if name != "ok"]).map(lambda status: (status, None, None, None)),
    ),
    max_size=12,
)


def records_of(polls):
    return [failed(status) if status != "ok" else ok(loaded, ttl=ttl, order=order) for status, loaded, ttl, order in polls]


@given(POLLS, st.integers(1, 3))
def test_whoever_follows_the_events_knows_what_is_loaded(polls, down_after):
    """No event is lost, none comes twice, and each says the truth."""
    known, up, failures = {}, None, 0
    for (status, loaded, _ttl, _order), events in zip(polls, replay(records_of(polls), down_after=down_after, snapshot=True)):
        failures = 0 if status == "ok" else failures + 1
        for event in events:
            kind, model = event["event"], event["model"]
            if kind in ("host_up", "host_down"):
                assert up is not (kind == "host_up")
                up = kind == "host_up"
            elif kind == "model_loaded":
                assert model not in known
                known[model] = {each["id"]: each["context_length"] for each in event["current"]}
            elif kind == "model_unloaded":
                assert {each["id"]: each["context_length"] for each in event["previous"]} == known.pop(model)
            else:
                before = known[model].pop(event["instance"], None)
                assert before == (event["previous"] and event["previous"]["context_length"])
                if event["current"]:
                    assert event["current"]["context_length"] != before
                    known[model][event["instance"]] = event["current"]["context_length"]
        if status == "ok":
            assert known == loaded and up
        else:
            assert [event["event"] for event in events] in ([], ["host_down"])
            assert failures < down_after or up is False


@given(POLLS)
def test_without_a_snapshot_the_same_events_follow_the_first_answer(polls):
    """What `none` leaves out is what a snapshot adds: no more, and no less."""
    records = records_of(polls)
    with_snapshot, without = replay(records, snapshot=True), replay(records)
    first = next((number for number, poll in enumerate(polls) if poll[0] == "ok"), len(polls))
    assert with_snapshot[first + 1 :] == without[first + 1 :]
    assert all(not events for events in without[:first])


@given(LOADED, st.lists(st.tuples(st.none() | st.integers(0, 9), st.integers(0, 99)), max_size=6))
def test_time_and_order_make_no_event(loaded, polls):
    assert names(replay([ok(loaded, ttl=ttl, order=order) for ttl, order in polls], requirements=REQUIRE)) == []


@given(POLLS, st.booleans())
def test_violated_and_met_take_turns_until_a_host_comes_up_and_lacks_something(polls, snapshot):
    lacked = None
    for (status, loaded, _ttl, _order), events in zip(polls, replay(records_of(polls), requirements=REQUIRE[1:], snapshot=snapshot)):
        kinds = [event["event"] for event in events]
        judged = [kind for kind in kinds if kind in ("violated", "met")]
        if status != "ok":
            assert judged == []
            continue
        lacks = "b" not in loaded
        is_news = "host_up" in kinds or (lacked is not None and not lacked)
        was_lacking = lacked or (lacked is None and snapshot)
        assert judged == (["violated"] if lacks and is_news else ["met"] if not lacks and was_lacking else [])
        lacked = lacks
