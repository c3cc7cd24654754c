# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import InputError, OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.baseline import parse_baseline
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Scope, make_audit, violations_by_host
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.drift import CHANGE_KINDS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies

ENDPOINT = make_endpoint({"url": "http://gpu:1234"}, "")
WHEN = "2026-11-23T08:00:00Z"


def model(key, *contexts, quantization="Q4_K_M", variant="v", ttl=None, **more):
    instances = [
        {"id": f"{key}:{number}", "config": {"context_length": context}, "remaining_ttl_seconds": ttl}
        for number, context in enumerate(contexts)
    ]
    return {
        "key": key,
        "type": "llm",
        "loaded_instances": instances,
        "quantization": {"name": quantization, "bits_per_weight": 4},
        "selected_variant": variant,
        "size_bytes": 1000,
        **more,
    }


def having(*models, detail="full"):
    return record_of(ENDPOINT, parse(ENDPOINT, Poll(Response(200, json.dumps({"models": models}).encode()), WHEN, 1)), detail)


DOWN = record_of(ENDPOINT, parse(ENDPOINT, Poll(ApiError("refused", "refused the connection"), WHEN, None)), "full")


def each_at_its_url(hosts):
    """The records, with the URL of their own host where all have that of the endpoint."""
    mine = {
        name: {**given, "url": f"http://{name}:1234"}
        for name, given in hosts.items()
        if isinstance(given, dict) and given.get("url") == ENDPOINT.url
    }
    return {**hosts, **mine}


def audited(hosts, policy=None, groups=None, baseline=None, **scope):
    return make_audit(each_at_its_url(hosts), parse_policies(policy, groups or {}), baseline, WHEN, Scope(**scope), CHANGE_KINDS)


def after(document):
    return parse_baseline(json.loads(json.dumps(document)))


def drift(before, now):
    return audited(now, baseline=after(audited(before)))["drift"]


def changes(before, now):
    return [(change["model"], change["change"], change["before"], change["now"]) for change in drift({"a": before}, {"a": now})["changes"]]


# Drift


@pytest.mark.parametrize(
    "before, now, expected",
    [
        ([], [model("m")], [("m", "added", None, [])]),
        ([], [model("m", 1)], [("m", "added", None, [1])]),
        ([model("m", 2)], [], [("m", "removed", [2], None)]),
        ([model("m")], [model("m", 1)], [("m", "loaded", [], [1])]),
        ([model("m", 1)], [model("m")], [("m", "unloaded", [1], [])]),
        ([model("m", 1)], [model("m", 2)], [("m", "context", [1], [2])]),
        ([model("m", 1)], [model("m", 1, 2)], [("m", "context", [1], [1, 2])]),
        ([model("m")], [model("m", 1, ttl=9)], [("m", "just_in_time", [], [1])]),
        ([model("m", 1, ttl=9)], [model("m")], [("m", "just_in_time", [1], [])]),
        ([model("m", 1, ttl=9)], [model("m", 2, ttl=9)], [("m", "just_in_time", [1], [2])]),
        ([model("m", 1)], [model("m", 1, ttl=9)], [("m", "unloaded", [1], [1]), ("m", "just_in_time", [1], [1])]),
        ([model("m", 1, ttl=9)], [model("m", 1)], [("m", "loaded", [1], [1]), ("m", "just_in_time", [1], [1])]),
        # What is not known may be anything, and is never 0.
        ([model("m", None)], [model("m", 1)], []),
        ([model("m", 1)], [model("m", None, 1)], [("m", "context", [1], [1, None])]),
        ([model("m", 1)], [model("m", 1, quantization="Q8_0")], [("m", "quantization", ["Q4_K_M"], ["Q8_0"])]),
        ([model("m")], [model("m", variant="w")], [("m", "variant", ["v"], ["w"])]),
        ([model("m", variants=["v"])], [model("m", variants=["w", "v", "v"])], [("m", "variant", ["v"], ["v", "w"])]),
        ([model("m", variants=["v", "w"])], [model("m", variants=["w", "v"])], []),
        ([model("m", variants=["v"])], [model("m")], [("m", "variant", ["v"], [])]),
        ([model("m", variants=["v"])], [model("m", variants="odd")], []),
        ([model("m", variants="odd")], [model("m", variants=["v"])], []),
        (
            [model("b", 1), model("a")],
            [model("a", 1), model("b", 2), model("c")],
            [("a", "loaded", [], [1]), ("b", "context", [1], [2]), ("c", "added", None, [])],
        ),
    ],
)
def test_what_is_drift(before, now, expected):
    assert changes(having(*before), having(*now)) == expected


@pytest.mark.parametrize(
    "before, now",
    [
        ([model("a", 1, 2), model("b")], [model("b"), model("a", 2, 1)]),
        ([model("m", 1, ttl=5)], [model("m", 1, ttl=900)]),
        ([model("m", None)], [model("m", None)]),
        ([model("m", size_bytes=1, display_name="x")], [model("m", size_bytes=2, display_name="y")]),
        ([model("m"), model("m", quantization="Q8_0")], [model("m", quantization="Q8_0"), model("m")]),
    ],
)
def test_order_and_ttls_and_the_rest_are_not_drift(before, now):
    assert changes(having(*before), having(*now)) == []


def test_a_second_copy_is_a_context_more_and_nothing_else():
    one, two = [model("m", 4096), model("m")], [model("m", 4096), model("m", 4096)]
    for detail in ("full", "loaded"):
        found = changes(having(*one, detail=detail), having(*two, detail=detail))
        assert found == [("m", "context", [4096], [4096, 4096])]
    assert changes(having(*one), having(one[0])) == []


def test_a_load_that_moves_to_another_copy_is_drift():
    before = having(model("m", 4096), model("m", quantization="Q8_0"))
    now = having(model("m"), model("m", 4096, quantization="Q8_0"))
    assert changes(before, now) == [("m", "quantization", ["Q4_K_M"], ["Q8_0"])]


def test_a_copy_that_one_of_the_two_does_not_have_is_not_drift():
    models = [model("m", 1), model("m", quantization="Q8_0", variant="w")]
    full, slim = having(*models), having(*models, detail="loaded")
    assert changes(full, slim) == changes(slim, full) == []


def test_what_one_of_the_two_does_not_have_is_not_drift():
    full, slim = having(model("m"), model("n", 1)), having(model("m", quantization="Q8_0"), model("n", 1), detail="loaded")
    assert changes(full, slim) == changes(slim, full) == []


def test_hosts_that_cannot_be_compared_are_named():
    found = drift(
        {"a": having(model("m")), "b": DOWN, "c": having(), "d": having()},
        {"a": DOWN, "b": having(model("m")), "d": having(), "e": having()},
    )
    assert found["changes"] == []
    assert [entry["message"] for entry in found["not_compared"]] == [
        "a has the status refused, so its models cannot be compared",
        "b had the status refused in the baseline, so its models cannot be compared",
        "c is in the baseline, but was not audited",
        "e is not in the baseline",
    ]


@pytest.mark.parametrize(
    "document, message",
    [
        ([], "it is not a JSON report of fleet_audit"),
        ({"hosts": []}, "it is not a JSON report of fleet_audit"),
        ({"schema_version": 3}, "it has schema_version 3, and this collection reads 1 and 2"),
        ({"schema_version": 1, "run": {"audited_at": ""}}, "it is not complete"),
        ({"schema_version": 1, "run": {"audited_at": ""}, "hosts": [{"name": "a", "ok": True, "status": "ok"}]}, "it is not complete"),
        (
            {"schema_version": 1, "run": {"audited_at": ""}, "hosts": [{"name": "a", "ok": True, "status": "ok", "models": [{}]}]},
            "not complete",
        ),
        ({"schema_version": 1, "run": [], "hosts": 1}, "it is not complete"),
        (
            {
                "schema_version": 1,
                "run": {"audited_at": ""},
                "hosts": [{"name": "a", "ok": True, "status": "ok", "detail": "full", "models": [{"key": 1}]}],
            },
            "it is not complete",
        ),
        ({"schema_version": True, "run": {"audited_at": ""}, "hosts": []}, "it has schema_version true, and this collection reads 1 and 2"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_named(document, message):
    with pytest.raises(OptionError, match="^baseline: .*" + message):
        parse_baseline(document)


@pytest.mark.parametrize("part", ["hosts", "carried_over", "last_known"])
@pytest.mark.parametrize(
    "key, value, words", [("ok", "no", "true or false"), ("status", None, "a string"), ("detail", 1, "a string"), ("models", {}, "a list")]
)
def test_a_baseline_of_another_type_is_named(part, key, value, words):
    document = audited({"a": DOWN}, baseline=after(audited({"a": having(model("m"))})))
    (host,) = document["hosts"]
    if part == "carried_over":
        document.update(hosts=[], carried_over=[{**host, "seen_at": WHEN}])
        (host,) = document["carried_over"]
    (host["last_known"] if part == "last_known" else host)[key] = value
    with pytest.raises(
        OptionError, match=f"^baseline: {key} of a must be {words}. Give the fleet_audit.json of an earlier run, unchanged."
    ):
        after(document)


@pytest.mark.parametrize("second", ["hosts", "carried_over"])
def test_a_baseline_that_was_put_together_from_two_is_refused(second):
    document = audited({"a": having()})
    document[second] = [*document[second], {**document["hosts"][0], "seen_at": WHEN}]
    with pytest.raises(OptionError, match="^baseline: it has a more than once"):
        after(document)


# Runs one after the other, each compared with what the one before left


def test_a_change_behind_an_outage_is_not_lost():
    first = audited({"a": having(model("m", 1))})
    second = audited({"a": DOWN}, baseline=after(first))
    third = audited({"a": DOWN}, baseline=after(second))
    fourth = audited({"a": having(model("m"))}, baseline=after(third))
    assert [run["summary"]["drift"] for run in (second, third, fourth)] == [0, 0, 1]
    assert [run["summary"]["not_compared"] for run in (second, third, fourth)] == [1, 1, 0]
    assert fourth["drift"]["changes"][0]["message"] == "a: m is no longer loaded"
    assert second["hosts"][0]["last_known"] == third["hosts"][0]["last_known"]
    assert (fourth["hosts"][0]["last_known"], fourth["carried_over"]) == (None, [])
    # One that was never seen has nothing to keep.
    assert audited({"a": DOWN}, baseline=after(audited({"a": DOWN})))["hosts"][0]["last_known"] is None


@pytest.mark.parametrize(
    "less, changed, message",
    [
        (model("m", None), model("m", 4096), "a: m now has the context 4096 instead of 8192"),
        (
            model("m", 8192, quantization=None),
            model("m", 8192, quantization="Q8_0"),
            "a: m now has the quantization Q8_0 instead of Q4_K_M",
        ),
        (
            model("m", 8192, variants="odd"),
            model("m", 8192, variants=["w"]),
            "a: m now has the variants w on disk instead of none",
        ),
    ],
)
def test_what_is_known_of_a_host_is_not_lost_by_an_answer_without_it(less, changed, message):
    def run(listed, before=None):
        return audited({"a": having(listed)}, baseline=after(before) if before else None)

    second = run(less, run(model("m", 8192)))
    third = run(less, second)
    fourth = run(changed, third)
    assert [len(later["drift"]["changes"]) for later in (second, third, fourth)] == [0, 0, 1]
    assert fourth["drift"]["changes"][0]["message"] == message
    assert second["hosts"][0]["last_known"] == third["hosts"][0]["last_known"] != fourth["hosts"][0]["last_known"] is None
    # What is told for the first time is known from then on.
    assert run(changed, run(model("m", 8192), run(less)))["drift"]["changes"][0]["message"] == message


def test_hosts_that_are_left_out_of_a_run_are_carried_over():
    names = ["a", "b", "c"]
    first = audited({"a": having(model("m", 1)), "b": having(model("m", 1)), "c": DOWN}, inventory=names)
    second = audited({"a": having(model("m", 1))}, baseline=after(first), inventory=names)
    third = audited({"a": having(model("m", 2))}, baseline=after(second), inventory=names)
    fourth = audited({"a": having(model("m", 2)), "b": having(model("m"))}, baseline=after(third), inventory=names)
    assert [host["name"] for host in third["carried_over"]] == ["b", "c"]
    assert second["carried_over"] == third["carried_over"]
    assert [run["summary"]["not_compared"] for run in (second, third, fourth)] == [0, 0, 0]
    assert [change["message"] for change in third["drift"]["changes"]] == ["a: m now has the context 2 instead of 1"]
    assert [change["message"] for change in fourth["drift"]["changes"]] == ["b: m is no longer loaded"]
    # One that the inventory no longer has is said to be missing, once, and again and again where a gate has to accept it.
    gated = audited({"a": having(model("m", 2))}, baseline=after(fourth), inventory=["a"], keep_missing=True)
    assert gated["summary"]["not_compared"] == 2
    again = audited({"a": having(model("m", 2)), "b": having(model("m", 1))}, baseline=after(gated), inventory=names, keep_missing=True)
    assert [change["message"] for change in again["drift"]["changes"]] == ["b: m is loaded now, but was not before"]
    fifth = audited({"a": having(model("m", 2))}, baseline=after(fourth), inventory=["a"])
    assert [entry["message"] for entry in fifth["drift"]["not_compared"]] == [
        "b is in the baseline, but was not audited",
        "c is in the baseline, but was not audited",
    ]
    assert audited({"a": having()}, baseline=after(fifth), inventory=["a"])["drift"]["not_compared"] == []


def test_whether_an_instance_unloads_when_idle_may_be_unknown():
    idle, pinned = having(model("m", 1, ttl=9)), having(model("m", 1))
    entry = {**model("m", 1)}
    entry["loaded_instances"] = [{**instance, "remaining_ttl_seconds": "soon"} for instance in entry["loaded_instances"]]
    for before in (idle, pinned):
        now = audited({"a": having(entry)}, baseline=after(audited({"a": before})))
        assert now["hosts"][0]["models"][0]["instances"][0]["unloads_when_idle"] is None
        assert now["drift"]["changes"] == []


def test_a_report_of_schema_version_1_is_read():
    document = json.loads(json.dumps(audited({"a": having(model("m", 1), model("n", 1, ttl=9)), "b": having()})))
    for name in ("collection_version", "limit", "policy", "findings", "carried_over"):
        del document[name]
    document["schema_version"] = 1
    for host in document["hosts"]:
        del host["last_known"]
        for entry in host["models"]:
            for instance in entry["instances"]:
                del instance["unloads_when_idle"]
    now = {"a": having(model("m", 1, ttl=9), model("n", 1, 2, ttl=9)), "b": DOWN}
    found = audited(now, baseline=after(document))
    # It does not tell which instances unload when idle, so all of them are compared.
    assert [(change["model"], change["change"]) for change in found["drift"]["changes"]] == [("n", "context")]
    assert found["hosts"][1]["last_known"]["models"] == []


@pytest.mark.parametrize(
    "kinds, expected",
    [
        (["added"], ["added"]),
        (["loaded"], ["loaded", "loaded"]),
        # A model that is no longer listed is no longer loaded either, which must not go unnoticed where only that counts.
        (["loaded", "unloaded"], ["loaded", "loaded", "unloaded"]),
        (["removed"], ["removed"]),
        ([], []),
    ],
)
def test_only_the_kinds_that_were_asked_for_are_drift(kinds, expected):
    baseline = after(audited({"a": having(model("m"), model("o", 1))}))
    now = {"a": having(model("m", 1), model("n", 1))}
    found = make_audit(now, [], baseline, WHEN, drift_kinds=kinds)["drift"]
    assert ([change["change"] for change in found["changes"]], found["kinds"]) == (
        expected,
        [kind for kind in CHANGE_KINDS if kind in kinds],
    )


def test_what_was_checked_is_in_the_document():
    policy = {
        "require": [{"name": "chat", "model": "m", "min_context_length": 8192}],
        "fleet": [{"require": [{"model": "n"}], "min_hosts": 1}],
    }
    scope = Scope(policy=policy, limit="a*", collection_version="1.2.3")
    found = make_audit({"a": having(model("m", 9000))}, parse_policies(policy, {}), None, WHEN, scope)
    assert (found["schema_version"], found["policy"], found["limit"], found["collection_version"]) == (2, policy, "a*", "1.2.3")
    assert [(check["asked"], check["outcome"], check["reason"]) for check in found["checks"]] == [
        ("serves m with a context of at least 8192", "passed", None),
        ("at least 1 of 1 host serves n", "failed", None),
    ]


# The policy


def outcomes(audit):
    return [(check["policy"], check["host"], check["requirement"], check["outcome"]) for check in audit["checks"]]


def test_every_requirement_is_checked_on_every_host_it_is_about():
    policy = {
        "require": [{"model": "m"}],
        "exclusive": True,
        "fleet": [{"require": [{"model": "m"}], "min_hosts": 1}, {"require": [{"model": "m"}], "consistent": "context_length"}],
        "groups": {"g": {"require": [{"model": "n", "severity": "warn"}], "fleet": [{"require": [{"model": "m"}], "min_hosts": 1}]}},
    }
    hosts = {"a": having(model("m", 1)), "b": having(model("m", 2), model("o", 1)), "c": DOWN, "d": None}
    found = audited(hosts, policy, {"g": ["b", "elsewhere"]})
    assert outcomes(found) == [
        ("all hosts", "a", "m", "passed"),
        ("all hosts", "a", "exclusive", "passed"),
        ("all hosts", "b", "m", "passed"),
        ("all hosts", "b", "exclusive", "failed"),
        ("all hosts", "c", "m", "failed"),
        ("all hosts", "c", "exclusive", "failed"),
        ("all hosts", "d", "m", "failed"),
        ("all hosts", "d", "exclusive", "failed"),
        ("fleet", None, "m", "passed"),
        ("fleet", None, "m", "failed"),
        ("group g", "b", "n", "warned"),
        ("fleet of group g", None, "m", "passed"),
    ]
    assert found["summary"]["checks"] == {"total": 12, "passed": 5}
    assert found["summary"]["violations"] == {"fail": 6, "warn": 1}
    assert violations_by_host(found) == {"b": 2, "c": 2, "d": 2, None: 1}


def test_exclusive_allows_what_any_policy_of_the_host_asks_for():
    policy = {"require": [{"model": "m"}], "groups": {"g": {"exclusive": True, "require": [{"model": "n"}]}}}
    hosts = {"a": having(model("m", 1), model("n", 1)), "b": having(model("m", 1), model("n", 1), model("o", 1))}
    found = [check for check in audited(hosts, policy, {"g": ["a", "b"]})["checks"] if check["requirement"] == "exclusive"]
    assert [(check["host"], check["outcome"]) for check in found] == [("a", "passed"), ("b", "failed")]
    assert [violation["actual"] for violation in found[1]["violations"]] == ["o"]


def test_the_order_of_hosts_and_of_what_they_list_does_not_count():
    models = [
        model("b", 2048, 4096),
        model("a", 4096, size_bytes="odd"),
        model("a", 2, quantization="Q8_0"),
        model("c", 1, quantization="x"),
    ]
    turned = [{**entry, "loaded_instances": entry["loaded_instances"][::-1]} for entry in models[::-1]]
    policy = {
        "require": [{"model": "*", "min_context_length": 9999}, {"model": "*", "state": "unloaded"}],
        "fleet": [{"require": [{"model": "*"}], "consistent": ["quantization", "context_length"]}],
    }
    hosts, again = ({name: having(*listed) for name in names} for names, listed in (("ab", models), ("ba", turned)))
    assert json.dumps(audited(hosts, policy)) == json.dumps(audited(again, policy))


def test_a_group_without_a_host_of_the_audit_is_noted():
    found = audited({"a": having()}, {"groups": {"g": {"require": [{"model": "m"}]}}}, {"g": ["b"]})
    assert found["checks"] == []
    assert found["notes"] == ["The policy of group g judged nothing, because no host of this audit is in it."]


def test_two_names_of_one_server_are_one_host():
    there = {**having(model("m", 1)), "url": "http://gpu1:1234"}
    hosts = {"alias": {**there, "url": "http://GPU1:1234/"}, "gpu1": there}
    found = audited(hosts, {"fleet": [{"require": [{"model": "m"}], "min_hosts": 2}]})
    assert found["findings"][0]["message"].startswith("fleet: 1 of 1 host serves m; 2 are required")
    assert found["notes"] == ["Hosts with the same URL count once in the rules of the fleet: gpu1 (as alias)."]
    # Hosts that asked themselves all say the same.
    own = {name: {**there, "url": "http://127.0.0.1:1234"} for name in hosts}
    assert audited(own, {"fleet": [{"require": [{"model": "m"}], "min_hosts": 2}]})["findings"] == []


def test_a_rule_of_the_fleet_never_passes_on_nothing():
    same = {"require": [{"model": "m"}], "consistent": ["quantization"]}
    found = audited({"a": DOWN, "b": None}, {"fleet": [same]})
    assert [check["outcome"] for check in found["checks"]] == ["failed"]
    assert found["findings"][0]["message"] == "fleet: could not check m: none of 2 hosts gave an answer"
    # A host that answered has it, or it has nothing that could differ.
    assert audited({"a": having(model("m", 1)), "b": DOWN}, {"fleet": [same]})["checks"][0]["outcome"] == "passed"
    empty = audited({"a": having()}, {"groups": {"g": {"fleet": [same]}}}, {"g": []})
    assert (empty["checks"], len(empty["notes"])) == ([], 1) and "fleet of group g judged nothing" in empty["notes"][0]
    least = {"require": [{"model": "m"}], "min_hosts": 1}
    assert audited({"a": having()}, {"groups": {"g": {"fleet": [least]}}}, {"g": []})["checks"][0]["outcome"] == "failed"


@pytest.mark.parametrize(
    "policy, message",
    [
        ({"requires": []}, "policy: unknown key requires. Did you mean require? The keys are require, exclusive, fleet, groups."),
        ([{"model": "m"}], "policy: [{'model': 'm'}] is not a mapping. The keys are require,"),
        ({"require": []}, "policy.require: it is empty"),
        ({"require": [{"model": "m", "min_contex_length": 1}]}, "Did you mean min_context_length"),
        ({"exclusive": True}, "policy.exclusive needs a require next to it, which says"),
        ({"require": [{"model": "m"}], "exclusive": "maybe"}, "policy.exclusive: maybe is not true or false"),
        ({"fleet": {"require": []}}, "policy.fleet: must be a list"),
        ({"fleet": [{"require": [{"model": "m"}]}]}, "give min_hosts or consistent"),
        ({"fleet": [{"min_hosts": 1}]}, "fleet[0].require has no value. Give a list of requirements"),
        ({"fleet": [{"require": [{"model": "m"}], "min_hosts": 0}]}, "fleet[0].min_hosts: 0 is not a whole number"),
        ({"fleet": [{"require": [{"model": "m"}], "consistent": ["size"]}]}, "fleet[0].consistent: size is not one of"),
        ({"groups": {"typo": {"require": [{"model": "m"}]}}}, "policy.groups.typo: the inventory has no such group"),
        ({"groups": {"g": {"requires": []}}}, "policy.groups.g: unknown key requires"),
        ({"groups": {"g": {}}}, "policy.groups.g: it requires nothing"),
        ({"groups": {}}, "it requires nothing"),
        ({"groups": ["g"]}, "policy.groups: must be a mapping"),
        ({"groups": {"g": ["x"]}}, "policy.groups.g: ['x'] is not a mapping. The keys are require,"),
    ],
)
def test_a_policy_that_cannot_be_used_is_named(policy, message):
    with pytest.raises(InputError) as caught:
        parse_policies(policy, {"g": ["a"]})
    assert message in str(caught.value)


def test_a_record_that_does_not_carry_what_is_judged_is_an_error():
    with pytest.raises(InputError, match="gather with detail: full"):
        audited({"a": having(model("m"), detail="loaded")}, {"require": [{"model": "m", "state": "available", "format": "gguf"}]})


# The document


def test_a_host_that_lists_a_key_twice_counts_once():
    twice = [model("m", 1), model("m", quantization="Q8_0")]
    for detail in ("full", "loaded"):
        found = audited({"a": having(*twice, detail=detail), "b": having(model("m"), detail=detail)})
        (entry,) = found["models"]
        assert (entry["hosts_listing"], entry["hosts_loaded"], entry["instances"]) == (2, 1, 1)
        assert [host["duplicates"] for host in found["hosts"]] == [1, 0]
        assert len(found["notes"]) == 1 and "listed more than once on a." in found["notes"][0]
    assert [entry["times_listed"] for entry in audited({"a": having(*twice)})["hosts"][0]["models"]] == [2, 2]
    slim = having(*twice, model("q"), model("q"), detail="loaded")
    assert [entry["times_listed"] for entry in audited({"a": slim})["hosts"][0]["models"]] == [None, None]


def test_hosts_come_in_natural_order():
    names = ["gpu10", "gpu2", "a", "gpu", "gpu1b", "10", "9", "b-1-2"]
    assert [host["name"] for host in audited(dict.fromkeys(names))["hosts"]] == ["9", "10", "a", "b-1-2", "gpu", "gpu1b", "gpu2", "gpu10"]
    for same_number in (["gpu1", "gpu01"], ["gpu01", "gpu1"]):
        assert [host["name"] for host in audited(dict.fromkeys(same_number))["hosts"]] == ["gpu01", "gpu1"]


def test_a_record_that_was_changed_on_the_way_is_named():
    record = {"ok": True, "status": "ok", "fingerprint": None, "instances": []}
    with pytest.raises(OptionError, match="^hosts: the record of a is not complete: 'models' is missing or wrong"):
        audited({"a": record})
    (host,) = audited({"a": {**DOWN, "error": None}})["hosts"]
    assert host["error"]["message"] == "Its status is refused."


@pytest.mark.parametrize("name", ["asked_at", "available", "counts", "detail", "models", "response_ms", "size_bytes", "url", "warnings"])
def test_what_a_record_lacks_is_named(name):
    record = {key: value for key, value in having(model("m", 1)).items() if key != name}
    with pytest.raises(OptionError, match=f"^hosts: the record of a is not complete: '{name}' is missing or wrong"):
        audited({"a": record})


@pytest.mark.parametrize("given", [None, {}, "text", {"msg": "Failed to connect"}, {"lmstudio": {}}])
def test_a_host_without_a_record_is_not_asked(given):
    (host,) = audited({"a": given})["hosts"]
    assert (host["ok"], host["status"], host["models"]) == (False, "not_asked", [])
    assert ("Failed to connect" in host["error"]["message"]) is (given == {"msg": "Failed to connect"})
