# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that are masked, and fields of an unexpected type, are not known: no gate passes because of them."""

from __future__ import annotations

import json

import pytest

CHAT = "lmstudio-community/qwen3-8b-gguf"
INSTANCE = {"id": CHAT, "config": {"context_length": 4096}}


def model(key, **fields):
    return {"type": "llm", "key": key, "max_context_length": 8192, "loaded_instances": [], **fields}


GATES = """
- name: Judge
  hosts: all
  gather_facts: false
  vars:
    rules: {rules}
  tasks:
    - name: Gather
      gpufleet.lmstudio.model_info:
        via: "{{{{ via }}}}"
      register: gathered
    - name: From there
      gpufleet.lmstudio.model_assert: {{via: "{{{{ via }}}}", require: ["{{{{ item }}}}"], quiet: true}}
      loop: "{{{{ rules }}}}"
      register: asked
      ignore_errors: true
    - name: What was gathered
      gpufleet.lmstudio.model_assert: {{record: "{{{{ gathered }}}}", require: ["{{{{ item }}}}"], quiet: true}}
      loop: "{{{{ rules }}}}"
      register: given
      ignore_errors: true
    - name: Together
      gpufleet.lmstudio.fleet_assert: {{require: ["{{{{ item }}}}"]}}
      loop: "{{{{ rules }}}}"
      register: fleet
      ignore_errors: true
      run_once: true
    - name: Keep
      ansible.builtin.copy:
        dest: "{{{{ playbook_dir }}}}/seen.json"
        content: "{{{{ [asked, given, fleet] | map(attribute='results') | list | to_json }}}}"
"""


@pytest.fixture
def judge(run, start):
    """Start a server with these models, judge each rule on its own, and return what the three gates say to each: met, and the messages."""

    def judge_rules(models, rules, via="controller", **variables):
        fleet = start({"gpu01": {"payload": {"models": models}, "token": variables.get("lmstudio_token")}})
        outcome = run(GATES.format(rules=json.dumps(rules)), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "via": via, **variables}})
        seen = json.loads((outcome.folder / "seen.json").read_text())
        return [
            [(result["met"], " ".join(violation["message"] for violation in result["violations"])) for result in gate]
            for gate in zip(*seen)
        ]

    return judge_rules


MASKED = {
    "the beginning of the token": {"lmstudio_token": "lmstudio-cluster-2026-7f3a9c"},
    "the token": {"lmstudio_token": "qwen3"},
    "a header": {"lmstudio_headers": {"X-Route": CHAT}},
}


@pytest.mark.parametrize("via", ["controller", "target"])
@pytest.mark.parametrize("variables", MASKED.values(), ids=MASKED)
def test_a_model_whose_name_is_masked_is_not_known_to_be_gone(judge, variables, via):
    rules = [
        {"model": CHAT, "state": "absent"},
        {"model": CHAT, "state": "unloaded"},
        {"model": "lmstudio-community/*", "state": "absent"},
        {"model": CHAT, "max_instances": 0, "min_instances": 0},
        # What the rest of a masked name excludes is known.
        {"model": "openai/gpt-oss-20b", "state": "absent"},
        {"model": "openai/gpt-oss-20b", "state": "unloaded"},
    ]
    told = judge([model(CHAT, loaded_instances=[INSTANCE]), model("mistral/small")], rules, via, **variables)
    for gates in told[:4]:
        assert all(not met and ("not known" in says or "listed" in says) for met, says in gates), gates
    # Where nothing of the name is left, it may be any.
    assert [met for gates in told[4:] for met, _says in gates] == ["lmstudio_token" in variables] * 6, told


ODD = {
    "text for a boolean": ({"capabilities": {"vision": "true"}}, {"capabilities": ["vision"]}),
    "a number for a boolean": ({"capabilities": {"trained_for_tool_use": 1}}, {"capabilities": ["trained_for_tool_use"]}),
    "a list of capabilities": ({"capabilities": ["vision"]}, {"capabilities": ["vision"]}),
    "text for reasoning": ({"capabilities": {"reasoning": "on"}}, {"capabilities": ["reasoning"]}),
    "text for its options": ({"capabilities": {"reasoning": {"allowed_options": "on"}}}, {"capabilities": ["reasoning"]}),
    "objects for variants": ({"variants": [{"name": "m@q8"}]}, {"model": "m@q8"}),
    "an embedding's architecture that is a number": ({"type": "embedding", "architecture": 7}, {"architecture": "bert"}),
    "a variant that is a number": ({"selected_variant": 8}, {"model": "m@*"}),
}


@pytest.mark.parametrize(("fields", "about"), ODD.values(), ids=ODD)
def test_a_field_of_an_unexpected_type_is_not_known(judge, fields, about):
    loaded = [{"id": "i", "config": {"context_length": 4096}}]
    rules = [{**about, "state": "absent"}, {**about, "state": "unloaded"}, {**about, "max_instances": 0, "min_instances": 0}]
    told = judge([model("m", loaded_instances=loaded, **fields), model("other")], rules)
    assert [met for gates in told for met, _says in gates] == [False] * 9, told
    # And not known to be there, either.
    assert [met for gates in judge([model("m", loaded_instances=loaded, **fields)], [about]) for met, _says in gates] == [False] * 3


def test_a_size_below_zero_is_not_known(judge):
    loaded = [{"id": "m", "config": {"context_length": 4096}}]
    told = judge([model("m", loaded_instances=loaded, size_bytes=-1)], [{"model": "m", "max_size": "1GB", "state": "available"}])
    told += judge([model("m", loaded_instances=loaded, size_bytes=-1)], [{"model": "m", "max_size": "1GB", "max_instances": 1}])
    assert [met for gates in told for met, _says in gates] == [False] * 6, told


def test_a_field_that_is_missing_is_a_no(judge):
    rules = [{"capabilities": ["vision"], "state": "absent"}, {"model": "m@q8", "state": "absent"}]
    assert all(met for gates in judge([model("m"), model("other", capabilities=None)], rules) for met, _says in gates)


def test_a_variant_that_is_not_selected_may_be_of_a_forbidden_quantization_or_format(judge):
    two = model("m", quantization={"name": "Q8_0"}, format="gguf", variants=["m@q4_k_m", "m@q8_0"], selected_variant="m@q8_0")
    forbidden = [{"quantization": "Q4_K_M", "state": "absent"}, {"format": "mlx", "type": "llm", "state": "absent"}]
    told = judge([two], forbidden)
    why = "is not known to be absent, because m@q4_k_m may be it (not known: "
    assert all(not met and (why in says or says.endswith("gpu01: not known")) for gates in told for met, says in gates), told
    # Where variants could not be read, there may be one.
    told += judge([{**two, "variants": 7}], forbidden)
    assert [met for gates in told for met, _says in gates] == [False] * 12, told
    # All variants of a model have its publisher.
    others = [
        {"quantization": "Q4_K_M", "publisher": "other", "state": "absent"},
        {"quantization": "Q4_K_M", "type": "embedding", "state": "absent"},
    ]
    one = {**two, "publisher": "mine", "variants": ["m@q8_0"]}
    assert all(met for gates in judge([{**two, "publisher": "mine"}], others) + judge([one], forbidden) for met, _says in gates)


def test_of_a_model_whose_quantization_is_not_known_nobody_says_that_it_is_the_forbidden_one(judge):
    unknown = model("m", loaded_instances=[{"id": "m", "config": {"context_length": 4096}}])
    forbidden = [{"quantization": "Q2_K", "state": "absent"}, {"quantization": "Q2_K", "state": "unloaded"}]
    for state, gates in zip(("absent", "unloaded"), judge([unknown], forbidden)):
        why = f"a model with the quantization Q2_K is not known to be {state}, because m may be it (not known: quantization)"
        assert [met for met, _says in gates] == [False] * 3 and [says for _met, says in gates[:2]] == [why] * 2, gates
        assert gates[2][1].endswith("gpu01: not known")


def test_of_a_model_that_may_be_there_nobody_says_that_it_is_missing(judge):
    vision = [{"capabilities": ["vision"]}, {"capabilities": ["vision"], "state": "available"}]
    instances = [{"id": "m", "config": {"context_length": 4096}}]
    told = judge([model("m", loaded_instances=instances, capabilities="odd")], vision)
    assert [gates[:2] for gates in told] == [
        [(False, "no loaded model is known to have the capability vision. Loaded: m")] * 2,
        [(False, "no model with the capability vision is known to be listed by this host")] * 2,
    ]
    named = [{"model": CHAT}, {"model": CHAT, "state": "available"}]
    for gates in judge([model(CHAT, loaded_instances=[INSTANCE])], named, lmstudio_headers={"X-Route": CHAT}):
        assert all(not met and says.startswith(f"{CHAT} is not known to be listed by this host, because ") for met, says in gates[:2])
        assert not gates[2][0] and gates[2][1].endswith("gpu01: not known")
