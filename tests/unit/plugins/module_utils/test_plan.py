# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done for a state, and what is refused before anything is done."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import InputError, OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import Failure
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.plan import (
    as_requirement,
    compare_with_wanted,
    instances_of,
    make_plan,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import MODEL_SPEC, check_given, parse_wanted

ENDPOINT = make_endpoint({}, "http://gpu01")


def record_of(*models):
    return ask(ENDPOINT, lambda endpoint, request: Response(200, json.dumps({"models": models}).encode()), "full")


def model(key, *instances, **fields):
    return {"type": "llm", "key": key, "max_context_length": 32768, "loaded_instances": list(instances), **fields}


def instance(instance_id, context_length=4096, ttl=None, **config):
    return {"id": instance_id, "config": {"context_length": context_length, **config}, "remaining_ttl_seconds": ttl}


def wanted(name="qwen", **options):
    defaults = {option: spec.get("default") for option, spec in MODEL_SPEC.items()}
    return parse_wanted({**defaults, "model": name, **options})


def plan(*models, **options):
    return make_plan(record_of(*models), wanted(**options))


def actions(*models, **options):
    return [(action.action, action.instance or action.model) for action in plan(*models, **options).actions]


def failure(*models, **options):
    with pytest.raises(Failure) as raised:
        plan(*models, **options)
    return raised.value


QWEN = instance("qwen")
SECOND = instance("qwen:2")
GEMMA = model("gemma", instance("gemma"))
EIGHT = {"context_length": 8192}
SHARED = [model("qwen", instance("chat")), model("gemma", instance("chat")), model("nomic")]


@pytest.mark.parametrize(
    "models, options, expected",
    [
        pytest.param([model("qwen", QWEN)], {}, [], id="it is loaded"),
        pytest.param([model("qwen", QWEN, SECOND)], {}, [], id="it is loaded twice"),
        pytest.param([model("qwen")], {}, [("load", "qwen")], id="it is not loaded"),
        pytest.param([model("qwen", instance("mine"))], {}, [], id="under a name of its own"),
        pytest.param([model("qwen", instance("qwen", ttl=60))], {}, [("unload", "qwen"), ("load", "qwen")], id="it unloads when idle"),
        pytest.param([model("qwen", instance("qwen", ttl=60))], {"pinned": False}, [], id="which is enough without a pin"),
        pytest.param([model("qwen", QWEN)], {"config": EIGHT}, [("unload", "qwen"), ("load", "qwen")], id="too small a context"),
        pytest.param([model("qwen", instance("qwen", 9000))], {"config": EIGHT}, [], id="a larger context"),
        pytest.param(
            [model("qwen", instance("qwen", 9000))],
            {"config": EIGHT, "compare": {"context_length": "exact"}},
            [("unload", "qwen"), ("load", "qwen")],
            id="a larger context where it must be exact",
        ),
        pytest.param([model("qwen", QWEN)], {"config": EIGHT, "compare": {"context_length": "ignore"}}, [], id="a context that is ignored"),
        pytest.param([model("qwen", instance("qwen", None))], {"config": EIGHT}, [], id="a context that the server does not report"),
        pytest.param([model("qwen", QWEN)], {"config": {"flash_attention": True}}, [], id="a setting that the server does not report"),
        pytest.param(
            [model("qwen", instance("qwen", flash_attention=False))],
            {"config": {"flash_attention": "yes"}},
            [("unload", "qwen"), ("load", "qwen")],
            id="another setting, as text",
        ),
        pytest.param(
            [model("qwen", QWEN, instance("qwen:2", 8192), instance("qwen:3"))],
            {"config": EIGHT},
            [("unload", "qwen"), ("load", "qwen"), ("unload", "qwen:3"), ("load", "qwen:3")],
            id="those of several that fall short",
        ),
        pytest.param([model("qwen", QWEN, SECOND)], {"duplicates": "remove"}, [("unload", "qwen:2")], id="one too many"),
        pytest.param([model("qwen", SECOND, QWEN)], {"duplicates": "remove"}, [("unload", "qwen:2")], id="requests go to the other one"),
        pytest.param(
            [model("qwen", QWEN, instance("qwen:2", 8192))],
            {"duplicates": "remove", "config": EIGHT},
            [("unload", "qwen")],
            id="the one that is as it is wanted stays",
        ),
        pytest.param(
            [model("qwen", QWEN, SECOND)],
            {"duplicates": "remove", "config": EIGHT},
            [("unload", "qwen:2"), ("unload", "qwen"), ("load", "qwen")],
            id="none of several is as it is wanted",
        ),
        pytest.param(SHARED, {}, [], id="another model has an instance of that name"),
        pytest.param(SHARED, {"exclusive": True, "keep": ["chat"]}, [], id="which is to be kept"),
        pytest.param(SHARED, {"name": "nomic"}, [("load", "nomic")], id="two others have instances of one name"),
        pytest.param([model("qwen", QWEN), GEMMA], {}, [], id="others stay"),
        pytest.param([model("qwen", QWEN), GEMMA], {"exclusive": True}, [("unload", "gemma")], id="others have to go"),
        pytest.param([model("qwen", QWEN), GEMMA], {"exclusive": True, "keep": ["gem*"]}, [], id="but those to keep"),
        pytest.param(
            [model("qwen", QWEN), model("other", instance("chat")), model("Chat", instance("Chat"))],
            {"exclusive": True, "keep": ["chat"]},
            [],
            id="to be kept by the name of its instance, which another one has in capitals",
        ),
        pytest.param(
            [model("qwen", SECOND)],
            {"name": "qwen:2", "state": "unloaded", "keep": ["Qwen"]},
            [("unload", "qwen:2")],
            id="keep is about exclusive alone",
        ),
        pytest.param(
            [model("qwen"), GEMMA],
            {"exclusive": True, "keep": ["gemmas"]},
            [("unload", "gemma"), ("load", "qwen")],
            id="a similar one is another",
        ),
        pytest.param(
            [model("qwen"), GEMMA, model("Gemma", instance("Gemma"))],
            {"exclusive": True, "keep": ["Gemma"]},
            [("unload", "gemma"), ("load", "qwen")],
            id="a key is not that of one that reads alike",
        ),
        pytest.param(
            [model("Qwen", instance("Qwen")), model("gemma", instance("g"), selected_variant="gemma@4bit")],
            {"exclusive": True, "keep": ["qwen", "GEMMA@4bit"], "download": True},
            [("download", "qwen"), ("unload", "Qwen"), ("load", "qwen")],
            id="nor is the one that is downloaded, and a variant names its model",
        ),
        *(
            pytest.param([model("qwen"), GEMMA], {"exclusive": True, "keep": [name]}, [("load", "qwen")], id=f"kept as {name!a}")
            for name in ("Gemma", "GEM*", "gemma\ufe0f")
        ),
        pytest.param(
            [model("qwen"), GEMMA, model("nomic", instance("nomic"), type="embedding")],
            {"exclusive": True},
            [("unload", "gemma"), ("unload", "nomic"), ("load", "qwen")],
            id="room is made first, of any type",
        ),
        pytest.param([GEMMA], {"download": True}, [("download", "qwen"), ("load", "qwen")], id="it is not listed"),
        pytest.param(
            [GEMMA], {"download": True, "exclusive": True}, [("download", "qwen"), ("unload", "gemma"), ("load", "qwen")], id="both"
        ),
        pytest.param([GEMMA], {"state": "downloaded"}, [("download", "qwen")], id="to download"),
        pytest.param([model("qwen")], {"state": "downloaded"}, [], id="it is downloaded"),
        pytest.param(
            [model("qwen", variants=["qwen@4bit"])], {"name": "qwen@4bit", "state": "downloaded"}, [], id="a variant is downloaded"
        ),
        pytest.param([GEMMA], {"state": "unloaded"}, [], id="there is nothing to unload"),
        pytest.param([model("qwen")], {"state": "unloaded"}, [], id="it is unloaded"),
        pytest.param(
            [model("gemma", loaded_context_length=4096), model("qwen"), model("zephyr", loaded_context_length=4096)],
            {"state": "unloaded"},
            [],
            id="what is unclear of others does not matter",
        ),
        pytest.param([model("qwen"), model("gemma", variants=["qwen"])], {"state": "unloaded"}, [], id="a key is not a variant"),
        pytest.param([model("qwen", QWEN, SECOND)], {"state": "unloaded"}, [("unload", "qwen"), ("unload", "qwen:2")], id="all of a key"),
        pytest.param([model("qwen", QWEN, SECOND)], {"state": "unloaded", "name": "qwen:2"}, [("unload", "qwen:2")], id="one instance"),
        pytest.param([model("qwen"), model("gemma", QWEN)], {"state": "unloaded"}, [("unload", "qwen")], id="an instance called like it"),
        pytest.param([model("qwen"), model("gemma", QWEN)], {}, [("load", "qwen")], id="an instance of another one is not it"),
        pytest.param(
            [model("qwen", QWEN), model("qwen", QWEN)], {"state": "unloaded"}, [("unload", "qwen")], id="a linked machine repeats it"
        ),
    ],
)
def test_what_has_to_be_done(models, options, expected):
    assert actions(*models, **options) == expected


@pytest.mark.parametrize(
    "models, options, reason, words",
    [
        ([model("qwen/qwen3-8b")], {"name": "qwen/qwen3-9b"}, "model_unknown", "did you mean qwen/qwen3-8b?"),
        ([model("qwen", QWEN, SECOND)], {"name": "qwen:2"}, "model_unknown", "is an instance of qwen"),
        ([model("qwen", instance("chat"))], {"name": "chat", "download": True}, "model_unknown", "is an instance of qwen"),
        ([model("qwen", variants=["qwen@4bit"])], {"name": "qwen@4bit"}, "option_unsupported", "is a variant of qwen"),
        ([model("qwen", QWEN, variants=["qwen@4bit"])], {"name": "qwen@4bit", "state": "unloaded"}, "option_unsupported", "is a variant"),
        ([model("qwen", QWEN)], {"name": "Qwen", "state": "unloaded"}, "model_unknown", "Qwen is not listed by this host; did you mean"),
        ([model("qwen", SECOND)], {"name": "qwen:2\u200b", "state": "unloaded"}, "model_unknown", "did you mean qwen:2?"),
        (
            [model("qwen")],
            {"config": {"context_length": 99999}},
            "option_unsupported",
            "but 99999 is required. Set context_length to 32768 or less.",
        ),
        (
            [model("gemma", max_context_length=262144), model("qwen"), model("zephyr", max_context_length=262144)],
            {"config": {"context_length": 99999}},
            "option_unsupported",
            "qwen supports a context of at most 32768",
        ),
        ([model("qwen", QWEN)], {"config": {"context_length": 99999}}, "option_unsupported", "at most 32768"),
        ([model("qwen", QWEN)], {"config": EIGHT, "reload": "never"}, "effective_config_differs", "context_length 4096, at least 8192 is"),
        (
            [model("qwen", instance("qwen", flash_attention=True))],
            {"config": {"flash_attention": False}, "reload": "never"},
            "effective_config_differs",
            "qwen has flash_attention true, but false is required",
        ),
        ([model("qwen", instance("qwen", ttl=9))], {"reload": "never"}, "effective_config_differs", "qwen unloads when it is idle"),
        *(
            (SHARED, options, "shared_identifier", "chat would be unloaded, but each of gemma, qwen has an instance of that identifier")
            for options in (
                {"exclusive": True},
                {"config": EIGHT},
                {"state": "unloaded"},
                {"state": "unloaded", "name": "chat"},
                {"name": "nomic", "exclusive": True},
                {"name": "new", "download": True, "exclusive": True},
            )
        ),
        (
            [model("qwen", instance("chat"), instance("qwen", 8192)), model("gemma", instance("chat"))],
            {"duplicates": "remove", "config": EIGHT},
            "shared_identifier",
            "chat would be unloaded",
        ),
        ([model("qwen", loaded_context_length=4096)], {}, "load_unconfirmed", "no instance"),
        ([model("qwen", loaded_context_length=4096)], {"state": "unloaded"}, "still_loaded", "no instance"),
        ([model("q\x1b[2Jwen")], {"name": "q\x1b[2Jwenn"}, "model_unknown", "q\\x1b[2Jwenn"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_done(models, options, reason, words):
    found = failure(*models, **options)
    assert found.reason == reason and words in found.message and "\x1b" not in found.message


MASKED_SOMEWHERE = [
    model("********ommunity/m", instance("chat")),
    model("********ommunity/m"),
    model("other", instance("my-********")),
    model("other", variants=["********@4bit"]),
    model("other", selected_variant="other@********"),
]


@pytest.mark.parametrize("other", MASKED_SOMEWHERE)
@pytest.mark.parametrize(
    "options",
    [
        {"state": "unloaded"},
        {"name": "lmstudio-community/m", "state": "unloaded"},
        {"name": "chat", "state": "unloaded"},
        {"name": "lmstudio-community/m"},
        {"name": "lmstudio-community/m", "download": True},
        {"name": "lmstudio-community/m", "state": "downloaded"},
        {"config": EIGHT},
        {"exclusive": True},
    ],
)
def test_nothing_is_concluded_from_a_list_with_masked_names(options, other):
    found = failure(model("qwen", QWEN), GEMMA, other, **options)
    assert found.reason == "masked_names" and f"whether {options.get('name', 'qwen')} is among the models of this host" in found.message


@pytest.mark.parametrize("other", MASKED_SOMEWHERE)
@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, []),
        ({"name": "nomic"}, [("load", "nomic")]),
        ({"name": "nomic", "state": "downloaded"}, []),
        ({"exclusive": True, "keep": ["*"]}, []),
    ],
)
def test_masked_names_do_not_matter_where_all_that_is_wanted_is_there_and_nothing_is_unloaded(options, expected, other):
    assert actions(model("qwen", QWEN), model("nomic"), GEMMA, other, **options) == expected


def test_a_loaded_model_with_enough_context_is_not_refused_for_what_it_supports():
    assert actions(model("qwen", instance("qwen", 131072)), config={"context_length": 99999}) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"name": "qwen/*"}, "model: 'qwen/*' is not the key of one model"),
        ({"name": " "}, "model: it is empty"),
        ({"name": 5}, "model: 5 is not a string"),
        ({"exclusive": True, "keep": [""]}, "keep: it is empty. Give a name, or remove it."),
        ({"exclusive": True, "keep": ["gem*", " "]}, "keep: it is empty"),
        ({"keep": ["__omit_place_holder__1234"]}, "keep: it is empty"),
        ({"keep": ["gem*", None]}, "keep: null is not a string"),
        ({"keep": [1]}, "keep: 1 is not a string"),
        ({"keep": [["gem*"]]}, "keep: ['gem*'] is not a string"),
        ({"download": True, "source": " "}, "source: it is empty"),
        ({"config": {"context_length": 1, " context_length": 2}}, "config: ' context_length' begins or ends with a space. Write"),
        ({"state": "unloaded", "config": EIGHT}, "config: it has no effect with state: unloaded"),
        ({"state": "downloaded", "exclusive": True}, "exclusive: it has no effect"),
        ({"source": "https://example.org/model"}, "source: it applies only where the model is downloaded"),
        ({"download": True, "quantization": "Q4_K_M"}, "quantization: LM Studio takes one only with a URL"),
        ({"download": True, "source": "https://me:secret@example.org/model"}, "source: a URL with a user name or password"),
        ({"download": True, "source": "HTTPS://me:secret@[example.org/model"}, "source: a URL with a user name or password"),
        ({"download": True, "name": "https://me:secret@example.org/model"}, "model: a URL with a user name or password"),
        ({"config": {"context_length": "much"}}, "context_length: much is not a whole number"),
        ({"config": {"context_length": True}}, "context_length: true is not a whole number"),
        ({"config": {"context_length": 0}}, "context_length: 0 is not a whole number of 1 or more"),
        ({"config": {"flash_attention": 1}}, "flash_attention: 1 is not true or false"),
        ({"config": {"model": "other"}}, "config: model is not a setting"),
        ({"config": {" model": "other"}}, "config: ' model' begins or ends with a space"),
        ({"config": {"parallel": None}}, "config: parallel has no value"),
        ({"config": {"draft": {"model": "x"}}}, "config: draft needs a string, a number, true or false"),
        ({"config": EIGHT, "compare": {"parallel": "exact"}}, "compare: parallel is not in config"),
        (
            {"config": EIGHT, "compare": {"context_length": "roughly"}},
            "compare: context_length: roughly is not one of at_least, exact, ignore",
        ),
        ({"config": {"flash_attention": True}, "compare": {"flash_attention": "at_least"}}, "at_least compares numbers"),
        ({"load_timeout": 0}, "load_timeout: 0 is not a usable number of seconds"),
        ({"stall_timeout": float("nan")}, "stall_timeout: nan"),
        ({"stall_timeout": 604801}, "stall_timeout: 604801 is not a usable number of seconds. Give more than 0 and at most 604800."),
    ],
)
def test_options_that_cannot_be_used_are_named(options, words):
    with pytest.raises(InputError) as error:
        wanted(**options)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"model": ["qwen"]}, "model: ['qwen'] is not a string"),
        ({"model": True}, "model: true is not a string"),
        ({"source": 3.1}, "source: 3.1 is not a string"),
        ({"quantization": 4}, "quantization: 4 is not a string"),
        ({"keep": [1, None]}, "keep: 1 is not a string"),
        ({"keep": ["", "gemma"]}, "keep: it is empty"),
        ({"keep": False}, "keep: false is not a string"),
    ],
)
def test_what_ansible_would_turn_into_another_value_is_refused_as_it_was_given(given, words):
    with pytest.raises(OptionError) as error:
        check_given(given)
    assert words in str(error.value)


def test_what_is_not_set_is_not_judged():
    check_given({"model": "qwen", "source": None, "quantization": "", "keep": "__omit_place_holder__1234"})
    check_given({"keep": ["gemma"], "load_timeout": 60, "port": "1234", "download": True})
    check_given({"keep": "gemma, text-*"})


def test_spaces_around_names_do_not_count():
    found = wanted(
        " qwen ", download=True, exclusive=True, keep=["text-*", " gemma "], source="https://example.org/qwen ", quantization=" Q4_K_M"
    )
    assert (found.model, found.keep) == ("qwen", ("text-*", "gemma"))
    assert (found.source, found.quantization) == ("https://example.org/qwen", "Q4_K_M")


def test_a_week_is_the_longest_timeout():
    assert wanted(load_timeout=604800).load_timeout == 604800


def test_what_is_not_as_it_is_wanted_is_told_with_what_is_there():
    found = plan(model("qwen", instance("qwen", 4096, ttl=60)), config=EIGHT)
    assert [tuple(difference) for difference in found.differences] == [
        ("qwen", "context_length", 8192, 4096, "at_least"),
        ("qwen", "pinned", True, False, "exact"),
    ]


TTL = "loaded_instances[{}].remaining_ttl_seconds"


@pytest.mark.parametrize(
    "unreadable, instances, options, differences, unverified",
    [
        pytest.param([TTL.format(0)], [QWEN], {}, [], ["pinned"], id="not known"),
        pytest.param([TTL.format(0)], [QWEN], {"reload": "never"}, [], ["pinned"], id="no reason to fail"),
        pytest.param([TTL.format(0)], [QWEN], {"pinned": False}, [], [], id="not required"),
        pytest.param([TTL.format(0)], [QWEN], {"config": EIGHT}, ["context_length"], ["pinned"], id="beside a difference"),
        pytest.param([TTL.format(1)], [instance("qwen", ttl=60), SECOND], {}, ["pinned"], ["pinned"], id="of the second of two"),
        pytest.param([TTL.format(0)], [instance("qwen", ttl=60)], {}, ["pinned"], [], id="known all the same"),
        pytest.param(["loaded_instances[0].config", "size_bytes"], [QWEN], {}, [], [], id="something else"),
    ],
)
def test_a_ttl_that_cannot_be_read_is_no_pin_and_no_reason_to_reload(unreadable, instances, options, differences, unverified):
    record = record_of(GEMMA, model("qwen", *instances))
    record["models"][1]["unreadable"] = unreadable
    # That of another model says nothing about this one.
    record["models"][0]["unreadable"] = [TTL.format(0)]
    found, not_told = compare_with_wanted(record, instances_of(record, "qwen"), wanted(**options))
    assert [difference.setting for difference in found] == differences and not_told == unverified
    assert bool(make_plan(record, wanted(**options)).actions) == bool(differences)


def test_settings_that_are_not_documented_are_passed_on():
    assert wanted(config={"physical_batch_size": 512, "context_length": "8192"}).config == {
        "physical_batch_size": 512,
        "context_length": 8192,
    }


def test_the_older_api_cannot_load():
    with pytest.raises(OptionError, match=r"api: v0 can only list models\..* Set api \(lmstudio_api\) to auto or v1\."):
        wanted(api="v0")
    assert wanted(api="auto")


@pytest.mark.parametrize(
    ("item", "unverified", "required"),
    [
        ({}, [], {}),
        ({"state": "unloaded"}, [], {"state": "unloaded"}),
        ({"state": "downloaded"}, [], {"state": "available"}),
        ({"duplicates": "remove"}, [], {"max_instances": 1}),
        ({"config": {"context_length": 8192}}, [], {"min_context_length": 8192}),
        ({"config": {"context_length": 8192}, "compare": {"context_length": "exact"}}, [], {"config": {"context_length": 8192}}),
        ({"config": {"context_length": 8192}, "compare": {"context_length": "ignore"}}, [], {}),
        ({"config": {"parallel": 2}, "compare": {"parallel": "at_least"}}, [], {"min_parallel": 2}),
        ({"config": {"eval_batch_size": 2}, "compare": {"eval_batch_size": "at_least"}}, [], {}),
        ({"config": {"flash_attention": True, "parallel": 2}}, ["parallel"], {"config": {"flash_attention": True}}),
    ],
)
def test_a_state_as_a_requirement(item, unverified, required):
    assert as_requirement(wanted("qwen's", **item), unverified) == {"model": "qwen's", **required}
