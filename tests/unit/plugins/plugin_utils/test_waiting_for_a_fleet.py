# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An assertion over many hosts: who is asked when, what passes, and what is said. The clock of these tests goes by itself."""

from __future__ import annotations

import itertools
import json
import tracemalloc

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import InputError, OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import extract_records
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask as ask_one
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import not_asked_record
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.assertion import (
    ask_fleet_until_met,
    judge_given_records,
    parse_fleet_assertion,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.addresses import same_server_by_records
from hypothesis import given
from hypothesis import strategies as st

UNSET = dict.fromkeys(("min_hosts", "min_percent", "consistent", "fail_msg", "success_msg")) | {"confirm_loaded": False}
WAITING = {"wait_timeout": 0.0, "delay": 5.0, "give_up_on": ["auth", "forbidden", "not_asked"]}
TIMEOUT = 10.0


def asserted(**options):
    return parse_fleet_assertion({**UNSET, **WAITING, "quiet": True, "require": [{"model": "m", "min_context_length": 8192}], **options})


def record(name, says):
    """The record of a host that serves these models, {key: context}, or has this status."""
    if says == "not_asked":
        return not_asked_record("This host was not asked: its name.", "Rename it.", "loaded")

    def fetch(endpoint, request):
        if isinstance(says, str):
            raise ApiError(says, f"is {says}")
        models = [
            {"key": key, "type": "llm", "loaded_instances": [{"id": key, "config": {"context_length": context}}]}
            for key, context in says.items()
        ]
        return Response(200, json.dumps({"models": models}).encode())

    return ask_one(make_endpoint({}, f"http://{name}"), fetch, "loaded")


GOOD, SMALL, IDLE = {"m": 8192}, {"m": 4096}, {"other": 1}


class Fleet:
    """Hosts and what each says from which second on, under a clock that only sleeping and being asked moves."""

    def __init__(self, timelines, seconds=0.0):
        self.timelines = timelines
        self.seconds = seconds
        self.now = 0.0
        self.rounds = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def says(self, name, when):
        return [says for since, says in self.timelines[name] if since <= when][-1]

    def ask(self, names, seconds):
        assert seconds > 0
        self.rounds.append((self.now, list(names)))
        found = {name: record(name, self.says(name, self.now)) for name in names}
        self.now += min(self.seconds, seconds)
        return found

    def times(self, name):
        return [when for when, names in self.rounds if name in names]

    def run(self, shared=None, **options):
        return ask_fleet_until_met(asserted(**options), list(self.timelines), shared or {}, TIMEOUT, self.ask, self.clock, self.sleep)


def always(**says):
    return Fleet({name: [(0, said)] for name, said in says.items()})


SIX = {"gpu01": GOOD, "gpu02": IDLE, "gpu03": "auth", "gpu04": SMALL, "gpu05": "refused", "gpu06": "not_asked"}


def test_it_says_the_requirement_and_a_reason_for_each_host():
    result = always(**SIX).run(min_hosts=2, fail_msg="Stop.")
    assert (result["failed"], result["met"], result["changed"], result["polls"], result["waited"]) == (True, False, False, 1, 0)
    lines = result["msg"].splitlines()
    assert lines[:2] == [
        "Stop.",
        "1 of 6 hosts serves m with a context of at least 8192; 2 are required. gpu02: not listed. gpu04: context 4096. "
        "No answer: gpu03 (auth), gpu05 (refused), gpu06 (not_asked)",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["(auth)", "(refused)", "(not_asked)"]
    assert lines[-1] == "(not_asked) gpu06: This host was not asked: its name. Rename it."
    assert list(result["reasons"]) == ["gpu02", "gpu03", "gpu04", "gpu05", "gpu06"]
    assert result["reasons"]["gpu04"] == "m is loaded with a context of 4096, at least 8192 is required."
    assert result["reasons"]["gpu05"] == "http://gpu05:1234 is refused."
    assert result["serving"] == {"m": ["gpu01"]}
    assert result["summary"]["by_status"]["ok"] == ["gpu01", "gpu02", "gpu04"]
    assert "hosts" not in result


def test_it_passes_and_says_so():
    result = always(a=GOOD, b=GOOD, c="refused").run(min_hosts=2, quiet=False)
    assert result["met"] and result["failed"] is False and result["violations"] == []
    assert result["msg"] == "The requirement is met on at least 2 of 3 hosts, as required."
    assert list(result["hosts"]) == ["a", "b", "c"] and list(result["reasons"]) == ["c"]
    assert always(a=GOOD).run()["msg"] == "The requirement is met."
    one_label = [{"model": "m"}, {"model": "m", "min_context_length": 8192}]
    assert always(a=GOOD, b=SMALL).run(require=one_label, min_hosts=1)["serving"] == {"m": ["a"]}
    two = [{"model": "m"}, {"model": "other", "name": "embeddings", "severity": "warn"}]
    assert always(a=GOOD, b=GOOD).run(require=two)["msg"].splitlines() == [
        "All requirements are met, with 1 warning:",
        "(warning) embeddings: 0 of 2 hosts serve other; 2 are required. a, b: not listed",
    ]
    assert always(a=GOOD, b=IDLE).run(require=[{"model": "m"}, {"model": "other"}], min_hosts=1, success_msg="Go.")["msg"] == "Go."


def test_the_message_about_five_hundred_hosts_is_short():
    says = {f"gpu{number:03}": [IDLE, "refused", "auth"][number % 3] for number in range(500)}
    result = always(**says).run(min_hosts=2)
    message, *steps = result["msg"].splitlines()
    assert message == (
        "0 of 500 hosts serve m with a context of at least 8192; 2 are required. "
        "167 not listed: gpu000, gpu003, gpu006, gpu009, gpu012 and 162 more. "
        "No answer: 333 (167 refused, 166 auth): gpu001, gpu002, gpu004, gpu005, gpu007 and 328 more"
    )
    assert [step.split()[0] for step in steps] == ["(refused)", "(auth)"]
    assert len(result["reasons"]) == 500 and len(json.dumps(result)) < 120_000


def test_what_to_do_next_is_said_once_and_first_what_helps_most_hosts():
    statuses = ["auth", "tls", "tls", "dns", "forbidden", "invalid", "redirect", "unsupported"]
    result = always(**{f"gpu{number}": status for number, status in enumerate(statuses)}).run()
    assert [line.split()[0] for line in result["msg"].splitlines()[1:]] == ["(tls)", "(auth)", "(dns)", "(forbidden)", "(invalid)", "2"]
    assert result["msg"].splitlines()[-1] == "2 other next steps: with quiet: false each record has its hint."
    # One status may have several next steps.
    known = {name: record(name, "tls") for name in "abc"}
    known["b"]["error"]["hint"] = known["c"]["error"]["hint"] = "Renew the certificate."
    steps = judge_given_records(asserted(), known, {})["msg"].splitlines()[1:]
    assert steps[0] == "(tls) such as b: http://b:1234 is tls. Renew the certificate." and len(steps) == 2
    assert steps[1].startswith("(tls) a: http://a:1234 is tls. Check the certificate and the name in the URL")


@pytest.mark.parametrize(
    ("options", "hosts", "required"),
    [
        ({}, 6, 6),
        ({"min_hosts": 2}, 6, 2),
        ({"min_percent": 50}, 7, 4),
        ({"min_percent": 29}, 100, 29),
        ({"min_percent": 0.1}, 6, 1),
        ({"min_percent": 33.3}, 1000, 333),
        ({"min_percent": 100}, 6, 6),
    ],
)
def test_how_many_are_required(options, hosts, required):
    assert asserted(**options).required_of(hosts) == required


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_hosts": 2, "min_percent": 50}, "min_percent: it contradicts min_hosts"),
        ({"min_percent": 0.0}, "min_percent: 0 is not a usable percentage"),
        ({"min_percent": 101.0}, "min_percent: 101 is not a usable percentage"),
        ({"min_percent": float("nan")}, "min_percent: nan is not a usable percentage"),
        ({"min_hosts": 0}, "min_hosts: 0 is not a whole number of 1 or more"),
        (
            {"min_hosts": 4},
            "min_hosts: 4 are required, but only 3 hosts count. Check the pattern, the batch (serial, --limit) or the records.",
        ),
        ({"require": []}, "require: it is empty"),
        ({"consistent": ["quantisation"]}, "consistent: quantisation is not one of"),
        ({"require": [{"model": "m", "state": "absent"}], "consistent": ["quantization"]}, "there is no quantization to compare"),
        ({"delay": 0.0}, "delay: 0 is not a usable number of seconds"),
        ({"give_up_on": ["gone"]}, "give_up_on: unknown status gone"),
    ],
)
def test_what_cannot_be_used_is_named(options, says):
    fleet = always(a=GOOD, b=GOOD, c=GOOD)
    with pytest.raises(InputError) as caught:
        fleet.run(**options)
    assert says in str(caught.value)
    assert fleet.rounds == []


def shared_of(urls):
    """Hosts that are all one machine."""
    return same_server_by_records({name: {"url": url} for name, url in urls.items()}, lambda _name: ())


def test_a_server_is_one_however_its_url_is_written():
    urls = {
        "a": "http://127.0.0.1:1234",
        "b": "http://localhost:1234",
        "c": "http://[::1]:1234",
        "d": "http://127.0.0.2:1234",
        "e": "http://gpu01:80",
        "f": "http://gpu01.",
        "g": "http://gpu01",
        "h": "https://gpu01",
        "i": "http://gpu01/path",
        "j": ["odd"],
        "k": "http://[::ffff:127.0.0.1]:1234/api/v1",
        "l": "http://127.2:1234",
        "m": "http://[::FFFF:7f00:2]:1234",
        "n": "http://[2001:db8::1]",
        "o": "http://[2001:0DB8:0:0:0:0:0:1]:80/",
        "p": "HTTP://GPU01.:80",
    }
    assert shared_of(urls) == {"b": "a", "c": "a", "f": "e", "g": "e", "k": "a", "l": "d", "m": "d", "o": "n", "p": "e"}


def test_a_round_after_a_sleep_that_lasted_too_long_is_the_last_one():
    for longer, between in ((50, [["b"]]), (100, [])):
        fleet = always(a=GOOD, b="refused")

        def oversleep(seconds, fleet=fleet, longer=longer):
            fleet.sleep(seconds + longer)

        result = ask_fleet_until_met(asserted(wait_timeout=60.0), ["a", "b"], {}, TIMEOUT, fleet.ask, fleet.clock, oversleep)
        assert not result["met"] and [names for _time, names in fleet.rounds] == [["a", "b"], *between, ["a", "b"]]


def test_hosts_with_one_url_count_once():
    shared = shared_of({"a": "http://x", "b": "http://y", "c": "http://x", "d": None, "e": None, "f": "http://x"})
    assert shared == {"c": "a", "f": "a"}
    fleet = always(a=GOOD, b=IDLE, c=GOOD)
    result = fleet.run(shared={"c": "a"}, min_hosts=2)
    assert not result["met"] and result["serving"] == {"m": ["a"]} and fleet.times("c") == []
    assert "1 of 2 hosts serves m" in result["msg"] and "Hosts with the same URL count once: c (as a)." in result["msg"]
    assert result["reasons"]["c"] == "It has the same URL as a, so the two count once."
    with pytest.raises(OptionError, match="3 are required, but only 2 hosts count. Hosts with the same URL count once, so 1 is left out.$"):
        always(a=GOOD, b=GOOD, c=GOOD).run(shared={"c": "a"}, min_hosts=3)


def test_records_are_judged_without_asking():
    records = extract_records({name: record(name, says) for name, says in SIX.items()}, "records")
    result = judge_given_records(asserted(min_hosts=2), records, {})
    assert (result["met"], result["polls"]) == (False, 0) and "Waited" not in result["msg"]
    assert judge_given_records(asserted(min_hosts=1), records, {})["met"]
    for options, given_records, says in (
        ({"confirm_loaded": True}, records, "confirm_loaded: records gathered before cannot be confirmed"),
        ({"wait_timeout": 1.0}, records, "wait_timeout: records gathered before"),
        ({}, {}, "hosts: there are none, so any requirement would be met"),
        ({}, {"a": {**record("a", GOOD), "models": None}}, "records: one is not complete"),
    ):
        with pytest.raises(OptionError) as caught:
            judge_given_records(asserted(**options), given_records, {})
        assert says in str(caught.value)
    for value, problem in (
        ({"loaded": []}, "it is not a host record"),
        ({**record("a", GOOD), "ok": "no"}, "its ok is neither true nor false"),
    ):
        with pytest.raises(OptionError, match=f"records: the record of a cannot be used: {problem}. Give the hosts of a registered result"):
            extract_records({"a": value}, "records")


def test_while_it_waits_only_those_that_are_not_there_are_asked():
    fleet = Fleet({"a": [(0, GOOD)], "b": [(0, IDLE), (12, GOOD)], "c": [(0, GOOD)]})
    result = fleet.run(wait_timeout=300.0)
    assert result["met"] and (result["polls"], result["waited"]) == (5, 20)
    assert fleet.rounds == [(0, ["a", "b", "c"]), (5, ["b"]), (10, ["b"]), (15, ["b"]), (20, ["a", "b", "c"])]
    # A host that has come is not asked while others are missing.
    fleet = Fleet({"a": [(0, GOOD)], "b": [(0, IDLE), (4, GOOD)], "c": [(0, IDLE), (14, GOOD)]})
    assert fleet.run(wait_timeout=300.0)["met"]
    assert fleet.rounds == [(0, ["a", "b", "c"]), (5, ["b", "c"]), (10, ["c"]), (15, ["c"]), (20, ["a", "b", "c"])]


def test_who_does_not_wait_gives_a_large_fleet_its_time():
    fleet = Fleet({"a": [(0, GOOD)]}, seconds=400.0)
    assert fleet.run()["waited"] == 400
    assert fleet.run(wait_timeout=1.0)["met"] and fleet.now == 400 + 1 + TIMEOUT


def test_a_model_that_leaves_while_it_waits_for_another_is_not_counted():
    fleet = Fleet({"a": [(0, GOOD), (1, IDLE)], "b": [(0, IDLE), (12, GOOD)]})
    result = fleet.run(wait_timeout=60.0)
    assert not result["met"] and result["waited"] == 60
    # It leaves in the very moment in which the other one comes, or between the round in which that is seen and the last one.
    for left in (12, 15, 15.1, 19.9, 20):
        fleet = Fleet({"a": [(0, GOOD), (left, IDLE)], "b": [(0, IDLE), (12, GOOD)]})
        assert not fleet.run(wait_timeout=60.0)["met"], left
    fleet = Fleet({"a": [(0, GOOD), (1, IDLE), (30, GOOD)], "b": [(0, IDLE), (12, GOOD)]})
    assert fleet.run(wait_timeout=60.0)["met"]


def test_the_last_round_is_over_all_hosts_and_within_the_deadline_plus_the_timeout():
    for seconds, wait, delay in itertools.product((0, 0.3, 4, 10, 25), (1.0, 7.0, 12.0, 31.0, 300.0), (0.5, 5.0, 20.0)):
        fleet = Fleet({"a": [(0, GOOD)], "b": [(0, "timeout")]}, seconds)
        result = fleet.run(wait_timeout=wait, delay=delay)
        assert not result["met"]
        assert fleet.rounds[-1][1] == ["a", "b"] and wait <= fleet.now <= wait + TIMEOUT
        times = fleet.times("b")
        assert all(later - earlier >= min(delay, wait) - 1e-9 for earlier, later in itertools.pairwise(times)), (seconds, wait, delay)


def test_a_host_that_comes_at_the_very_end_is_seen():
    fleet = Fleet({"a": [(0, GOOD)], "b": [(0, IDLE), (59, GOOD)]})
    assert fleet.run(wait_timeout=60.0)["met"] and fleet.now == 60


@pytest.mark.parametrize(
    ("says", "options", "waited"),
    [
        ({"a": GOOD, "b": "auth", "c": "auth"}, {"min_hosts": 2}, 30),
        ({"a": GOOD, "b": "auth", "c": IDLE}, {"min_hosts": 2}, 300),
        ({"a": GOOD, "b": "auth", "c": IDLE}, {}, 30),
        ({"a": GOOD, "b": "auth"}, {"give_up_on": []}, 300),
        ({"a": GOOD, "b": "auth"}, {"delay": 50.0}, 50),
        ({"a": GOOD, "b": "not_asked"}, {}, 0),
        ({"a": GOOD, "b": "not_asked"}, {"give_up_on": []}, 300),
        ({"a": GOOD, "b": "refused"}, {}, 300),
    ],
)
def test_it_gives_up_when_too_few_are_left(says, options, waited):
    result = always(**says).run(wait_timeout=300.0, **options)
    assert (result["met"], result["waited"]) == (False, waited)
    assert ("Gave up" in result["msg"]) is (waited < 300)


def test_what_it_says_when_it_gives_up_is_of_one_moment():
    result = Fleet({"a": [(0, GOOD), (7, "refused")], "b": [(0, "auth")]}).run(wait_timeout=300.0, quiet=False)
    assert "Gave up after 30 seconds" in result["msg"] and result["msg"].startswith("0 of 2 hosts serve m")
    assert result["serving"] == {"m": []} and list(result["reasons"]) == ["a", "b"] and result["hosts"]["a"]["status"] == "refused"


def test_it_says_why_it_gave_up():
    result = always(a=GOOD, b="auth", c="forbidden").run(wait_timeout=300.0, min_hosts=2)
    assert (
        "Gave up after 30 seconds, asked 7 times: only 1 of 3 hosts could still meet it, 2 are required, and waiting does not "
        "change the status auth or forbidden. Correct its cause, or remove auth or forbidden from give_up_on to wait longer."
    ) in result["msg"]
    assert "asked once: none of 1 host could still meet it, 1 is required, and" in always(a="not_asked").run(wait_timeout=300.0)["msg"]


def test_each_round_says_what_it_waits_for():
    fleet = Fleet({"a": [(0, GOOD)], "b": [(0, IDLE), (3, "refused"), (7, GOOD)]})
    lines = []
    require = [{"model": "m"}, {"model": "m", "min_context_length": 1}, {"model": "else", "severity": "warn"}]
    result = ask_fleet_until_met(
        asserted(wait_timeout=60.0, require=require), ["a", "b"], {}, TIMEOUT, fleet.ask, fleet.clock, fleet.sleep, lines.append
    )
    assert result["met"] and lines == [
        "1 of 2 hosts serves m; 2 are required. b: not listed (and 1 more). Asking again in 5 seconds.",
        "1 of 2 hosts serves m; 2 are required. No answer: b (refused) (and 1 more). Asking again in 5 seconds.",
        "Enough hosts meet it; one round over all hosts has to confirm it. Asking again in 5 seconds.",
    ]


def test_what_is_to_be_consistent_is_compared_in_one_round():
    fleet = Fleet({"a": [(0, GOOD)], "b": [(0, {"m": 16384}), (12, GOOD)], "c": [(0, "refused")]})
    result = fleet.run(wait_timeout=60.0, min_hosts=2, consistent=["context_length"])
    assert result["met"] and fleet.rounds[-1] == (15, ["a", "b", "c"])


SAYS = st.sampled_from([GOOD, GOOD, IDLE, SMALL, "refused", "auth"])
TIMELINE = st.lists(st.tuples(st.floats(0, 80), SAYS), max_size=5)


@given(
    st.lists(st.tuples(SAYS, TIMELINE), min_size=1, max_size=4),
    st.data(),
    st.sampled_from([0.0, 1.0, 30.0, 60.0]),
    st.sampled_from([0.5, 5.0, 17.0]),
    st.sampled_from([0.0, 0.4, 9.0]),
)
def test_it_passes_only_if_enough_hosts_met_it_at_one_moment(hosts, data, wait, delay, seconds):
    timelines = {f"gpu{number}": [(0, first), *sorted(later, key=lambda change: change[0])] for number, (first, later) in enumerate(hosts)}
    least = data.draw(st.integers(1, len(hosts)))
    fleet = Fleet(timelines, seconds)
    result = fleet.run(wait_timeout=wait, delay=delay, min_hosts=least)
    last, asked = fleet.rounds[-1]
    meeting = [name for name in timelines if fleet.says(name, last) == GOOD]
    assert asked == list(timelines) and result["serving"] == {"m": meeting}
    if result["met"]:
        assert len(meeting) >= least
    else:
        assert result["failed"] and result["violations"] and len(meeting) < least
        assert "Gave up" in result["msg"] or fleet.now >= wait
    assert fleet.now <= wait + max(TIMEOUT, seconds)
    for name in timelines:
        assert all(later - earlier >= min(delay, wait) - 1e-9 for earlier, later in itertools.pairwise(fleet.times(name)))


def test_a_thousand_hosts_are_waited_for_in_constant_memory():
    names = [f"gpu{number:04}" for number in range(1000)]
    known = {name: record(name, "timeout" if number % 50 == 7 else GOOD) for number, name in enumerate(names)}
    asked_at = dict.fromkeys(names, -5.0)
    sizes = []
    now = [0.0]

    def ask(asked, seconds):
        for name in asked:
            assert now[0] - asked_at[name] >= 5
            asked_at[name] = now[0]
        now[0] += min(0.2, seconds)
        sizes.append(tracemalloc.get_traced_memory()[0])
        return {name: dict(known[name]) for name in asked}

    def sleep(seconds):
        now[0] += seconds

    tracemalloc.start()
    try:
        result = ask_fleet_until_met(asserted(wait_timeout=300.0), names, {}, TIMEOUT, ask, lambda: now[0], sleep)
    finally:
        tracemalloc.stop()
    assert not result["met"] and 50 <= result["polls"] <= 61 and 300 <= now[0] <= 310
    assert max(sizes[-10:]) - max(sizes[1:11]) < 100_000
    assert len(result["msg"]) < 1500 and len(result["reasons"]) == 20
