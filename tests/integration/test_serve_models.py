# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role serve_models: what it does in which order, twice, in check mode, and when something goes wrong."""

from __future__ import annotations

import threading

import pytest

CHAT, LARGE, EMBEDDING, NEW = "qwen/qwen3-8b", "openai/gpt-oss-20b", "text-embedding-harbor-v2", "qwen/qwen3-4b"
OLDER_LIST = "/api/v0/models"
LOAD, UNLOAD, DOWNLOAD = "/api/v1/models/load", "/api/v1/models/unload", "/api/v1/models/download"
PLAY = """
- name: Serve
  hosts: all
  gather_facts: false
  tasks:
    - name: Serve the models
      ansible.builtin.import_role:
        name: gpufleet.lmstudio.serve_models
      tags: [serve]
    - name: Show what the gate says
      ansible.builtin.debug:
        msg: "SERVES {{ inventory_hostname }} {{ serve_models_result.msg | default('nothing that was judged') }}"
      tags: [serve]
"""
NOT_USABLE = ("empty", "twice", "nothing", "misspelled", "useless", "pattern", "spaces", "nameless", "blank", "null")
"""Hosts whose options are refused before any request."""
CATALOGUE = {NEW: {"size_bytes": 2_000_000_000}}
SERVERS = {
    # Everything at once, on a server that leaves a setting out.
    "everything": {"payload": "workstation.json", "downloads": {"catalogue": CATALOGUE}, "loads": {"unreported": ["flash_attention"]}},
    # It ignores the context that is asked for.
    "mac": {"payload": "mac.json"},
    # Others are loaded, an embedding model among them.
    "exclusive": {"payload": "workstation.json"},
}
WANTED = {
    "everything": {
        "serve_models_models": [
            {"model": NEW, "download": True, "config": {"context_length": 8192, "parallel": 2}, "compare": {"parallel": "at_least"}},
            {"model": LARGE, "config": {"context_length": 16384, "flash_attention": True}, "duplicates": "remove"},
            {"model": EMBEDDING, "state": "unloaded"},
            {"model": CHAT, "state": "downloaded"},
        ]
    },
    "mac": {
        "serve_models_models": [
            {"model": "mistral/devstral-24b", "config": "context_length=8192"},
            {"model": CHAT, "config": {"context_length": 4096, "eval_batch_size": 512}, "compare": {"eval_batch_size": "ignore"}},
        ],
        "serve_models_via": "controller",
    },
    "exclusive": {
        "serve_models_models": [{"model": LARGE, "config": {"num_experts": "4", "flash_attention": "yes"}}],
        "serve_models_exclusive": True,
        "serve_models_keep": ["Text-Embedding-*"],
        "serve_models_via": "controller",
    },
}


def serve(run, fleet, wanted, *arguments, ends=0):
    return run(PLAY, {name: {"lmstudio_url": fleet.urls[name], **wanted[name]} for name in wanted}, *arguments, ends=ends).output


def posts(fleet):
    return {name: [(path, body.get("model", body.get("instance_id"))) for path, body in fleet.posts(name)] for name in fleet.urls}


@pytest.mark.nightly
def test_it_brings_all_models_into_their_states_and_a_second_run_sends_nothing(run, start):
    fleet = start(SERVERS)
    output = serve(run, fleet, WANTED, "--check", "--diff", "-e", "serve_models_via=controller")
    assert posts(fleet) == {name: [] for name in WANTED}
    # What is not there cannot be judged.
    assert output.count("nothing that was judged") == len(WANTED)

    output = serve(run, fleet, WANTED, "--tags", "serve")
    assert posts(fleet) == {
        # Downloads, then unloads, then loads, the largest first.
        "everything": [(DOWNLOAD, NEW), (UNLOAD, EMBEDDING), (LOAD, LARGE), (LOAD, NEW)],
        "mac": [(LOAD, "mistral/devstral-24b")],
        "exclusive": [(UNLOAD, CHAT), (LOAD, LARGE)],
    }
    assert dict(fleet.posts("everything"))[LOAD] == {"model": NEW, "context_length": 8192, "parallel": 2}
    before = posts(fleet)

    output = serve(run, fleet, WANTED)
    assert posts(fleet) == before and output.count("changed=0") == len(WANTED), output
    assert output.count("SERVES") >= len(WANTED) and "nothing that was judged" not in output


@pytest.mark.parametrize(("keyword", "arguments", "sent"), [("true", (), []), ("false", ("--check",), [(LOAD, CHAT)])])
def test_its_gate_judges_what_was_done_whatever_says_that_it_is_check_mode(run, start, keyword, arguments, sent):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    play = PLAY.replace("gather_facts: false", f"gather_facts: false\n  check_mode: {keyword}")
    wanted = {"serve_models_models": [{"model": CHAT}], "serve_models_via": "controller"}
    output = run(play, {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **wanted}}, *arguments).output
    assert posts(fleet) == {"gpu01": sent}
    assert ("nothing that was judged" in output) is (not sent)


@pytest.mark.matrix
def test_what_an_earlier_run_left_loading_is_waited_for(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}, "without": {"v0": False}})
    fleet.load("gpu01", CHAT, held=True)
    seen = []

    def load_until_asked():
        fleet.wait_for("gpu01", OLDER_LIST, 3)
        seen.append(sum(request["path"] == OLDER_LIST for request in fleet.requests("gpu01")))
        fleet.release("gpu01")

    thread = threading.Thread(target=load_until_asked, daemon=True)
    thread.start()
    words = " ".join(serve(run, fleet, {name: {"serve_models_models": [{"model": CHAT}]} for name in fleet.urls}).split())
    thread.join(60)
    assert posts(fleet) == {"gpu01": [], "without": []}
    # Both the model and the gate have asked once more after the load had ended.
    assert sum(request["path"] == OLDER_LIST for request in fleet.requests("gpu01")) >= seen[0] + 2
    assert words.count("confirm_loaded: it is not known") == 1


def test_what_is_wrong_stops_it_before_anything_is_done_or_at_once(run, start):
    servers = {
        "small": {"payload": "none_loaded.json", "loads": {"fails": {LARGE: "memory"}}},
        **{name: {"payload": "none_loaded.json"} for name in NOT_USABLE},
        **{
            name: {"payload": "workstation.json", "downloads": {"catalogue": CATALOGUE}}
            for name in ("unknown", "too_large", "masked", "idle", "fetched")
        },
        "shared": {
            "payload": {"models": [{"type": "llm", "key": key, "loaded_instances": [{"id": "chat"}]} for key in (CHAT, LARGE)]},
            "downloads": {"catalogue": CATALOGUE},
        },
    }
    wanted = {
        "small": {"serve_models_models": [{"model": CHAT}, {"model": LARGE}]},
        # What is loaded stays so, and what could be downloaded is not.
        "unknown": {
            "serve_models_models": [
                {"model": EMBEDDING, "state": "unloaded"},
                {"model": "qwen/qwen3-9b"},
                {"model": NEW, "download": True},
                {"model": CHAT, "config": {"context_length": 32768}, "reload": "never"},
            ]
        },
        "too_large": {
            "serve_models_models": [
                {"model": CHAT, "config": {"context_length": 32768}},
                {"model": LARGE, "config": {"context_length": 9999999}},
                {"model": NEW, "download": "no"},
            ],
            "serve_models_exclusive": True,
        },
        # Which of the two instances of one name would be unloaded is not known.
        "shared": {"serve_models_models": [{"model": CHAT}, {"model": NEW, "download": True}], "serve_models_exclusive": True},
        # A part of the token is a part of its name.
        "masked": {
            "serve_models_models": [{"model": CHAT}, {"model": LARGE, "state": "unloaded"}],
            "lmstudio_token": f"{LARGE}-of-the-fleet",
        },
        # What has no effect in a state is refused as by model itself.
        "idle": {"serve_models_models": [{"model": EMBEDDING, "state": "unloaded", "config": {"context_length": 4096}}]},
        "fetched": {"serve_models_models": [{"model": EMBEDDING, "state": "unloaded", "download": True}]},
        "empty": {"serve_models_models": []},
        "twice": {"serve_models_models": [{"model": CHAT}, {"model": CHAT, "state": "unloaded"}]},
        "nothing": {"serve_models_models": [{"model": CHAT, "state": "unloaded"}], "serve_models_exclusive": True},
        "misspelled": {"serve_models_models": [{"model": CHAT, "conifg": {}}]},
        "pattern": {"serve_models_models": [{"model": CHAT}], "serve_models_exclusive": True, "serve_models_keep": "text-*"},
        "useless": {"serve_models_models": [{"model": CHAT}], "serve_models_keep": ["text-*"]},
        "spaces": {"serve_models_models": [{"model": CHAT}, {"model": f"{LARGE} "}], "serve_models_exclusive": True},
        "nameless": {"serve_models_models": [{"model": ""}]},
        **{
            name: {"serve_models_models": [{"model": CHAT}], "serve_models_exclusive": True, "serve_models_keep": ["text-*", entry]}
            for name, entry in (("blank", "{{ embedding | default('') }}"), ("null", None))
        },
    }
    for name in wanted:
        if name not in ("small", "unknown"):  # These two, where the plan and a load fail, are served from the host itself.
            wanted[name]["serve_models_via"] = "controller"
    fleet = start(servers)
    output = serve(run, fleet, wanted, ends=2)
    assert {name for name in NOT_USABLE if not fleet.requests(name)} == set(NOT_USABLE)
    assert posts(fleet) == {**{name: [] for name in wanted}, "small": [(LOAD, LARGE)]}
    for sentence in (
        "serve_models_models is empty",
        "names a model twice",
        "serve_models_exclusive needs a model to load",
        "serve_models_keep is what serve_models_exclusive leaves loaded",
        "serve_models_keep is text",
        "serve_models_models has a key that is empty, or begins or ends with a space",
        "serve_models_keep has an entry that is empty or not a string",
        "conifg",
        "did you mean qwen/qwen3-8b",
        "reload: never forbids",
        "config: it has no effect with state: unloaded",
        "download: it has no effect with state: unloaded",
        "but 9999999 is required",
        f"{NEW} is not listed by this host",
        "insufficient system resources",
        "chat would be unloaded, but each of",
        f"it is not known whether {LARGE} is among the models",
    ):
        assert sentence in output
    assert "SERVES" not in output.replace("SERVES {{", "")


def test_models_whose_keys_differ_only_in_capitals_are_two(run, start):
    models = [{"type": "llm", "key": key, "size_bytes": 1_000_000, "loaded_instances": []} for key in ("lab/Chat", "lab/chat")]
    fleet = start({"gpu01": {"payload": {"models": models}}})
    serve(run, fleet, {"gpu01": {"serve_models_models": [{"model": "lab/Chat"}, {"model": "lab/chat"}]}})
    assert sorted(model for _path, model in posts(fleet)["gpu01"]) == ["lab/Chat", "lab/chat"]


def test_a_loop_of_the_play_around_it_keeps_its_own_item(run, start):
    play = """
- name: Serve
  hosts: all
  gather_facts: false
  tasks:
    - name: Serve the models, group by group
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.serve_models
      vars:
        serve_models_models: "{{ item.models }}"
        serve_models_via: controller
      loop:
        - models: [{model: LARGE}]
        - models: [{model: CHAT}]
"""
    fleet = start({"gpu01": {"payload": "none_loaded.json"}})
    output = run(play.replace("LARGE", LARGE).replace("CHAT", CHAT), {"gpu01": {"lmstudio_url": fleet.urls["gpu01"]}}).output
    assert posts(fleet) == {"gpu01": [(LOAD, LARGE), (LOAD, CHAT)]}
    assert "already in use" not in " ".join(output.split())


@pytest.mark.matrix
def test_exclusive_leaves_no_model_that_is_only_spelt_like_a_declared_one(run, start, tmp_path):
    # What it unloads is noted, and a name of a server is no template there either.
    evil = f"{{{{ lookup('pipe', 'touch {tmp_path}/evaluated') }}}}"
    models = [
        {"type": "llm", "key": key, "size_bytes": 1_000_000, "loaded_instances": [{"id": key}] if loaded else []}
        for key, loaded in (("lab/Chat", False), ("lab/chat", True), ("lab/embed", True), (evil, True))
    ]
    fleet = start({"gpu01": {"payload": {"models": models}}})
    wanted = {"serve_models_models": [{"model": "lab/Chat"}], "serve_models_exclusive": True, "serve_models_keep": ["LAB/Embed"]}
    assert "SERVES gpu01" in serve(run, fleet, {"gpu01": wanted})
    assert posts(fleet) == {"gpu01": [(UNLOAD, "lab/chat"), (UNLOAD, evil), (LOAD, "lab/Chat")]}
    assert not (tmp_path / "evaluated").exists()


@pytest.mark.matrix
def test_what_a_server_does_not_report_stays_with_its_host_under_delegate_facts(run, start):
    servers = {"gpu01": {"loads": {"unreported": ["flash_attention"]}}, "gpu02": {}}
    fleet = start({name: {"payload": "none_loaded.json", **settings} for name, settings in servers.items()})
    wanted = {"serve_models_models": [{"model": CHAT, "config": {"flash_attention": True}}], "serve_models_via": "controller"}
    play = """
- name: Serve
  hosts: all
  gather_facts: false
  tasks:
    - name: Serve the models
      ansible.builtin.include_role:
        name: gpufleet.lmstudio.serve_models
        apply: {delegate_to: gpu02, delegate_facts: true}
    - name: Show what is required
      ansible.builtin.debug:
        msg: "REQUIRED {{ inventory_hostname }} {{ serve_models_required[item].config | default('nothing') }}"
      loop: ["CHAT"]
"""
    hosts = {name: {"lmstudio_url": url, **wanted} for name, url in fleet.urls.items()}
    output = run(play.replace("CHAT", CHAT), hosts).output
    assert "REQUIRED gpu01 nothing" in output and "REQUIRED gpu02 {'flash_attention': True}" in output


@pytest.mark.matrix
def test_what_one_server_does_not_report_is_still_required_of_others_where_the_role_is_imported_once(run, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json", "loads": {"unreported": ["flash_attention"]}}, "gpu02": {}})
    wanted = {"serve_models_models": [{"model": CHAT, "config": {"flash_attention": False}}], "serve_models_via": "controller"}
    hosts = {name: {"lmstudio_url": url, **wanted} for name, url in fleet.urls.items()}
    output = run(PLAY.replace("      tags: [serve]\n", "      run_once: true\n", 1), hosts, ends=2).output
    assert "SERVES gpu01" in output and "SERVES gpu02" not in output
    assert f"{CHAT} is loaded with flash_attention true, but false is required" in output
    assert not fleet.posts("gpu02")


@pytest.mark.matrix
def test_options_that_do_not_fit_together_are_refused_on_every_host_where_the_role_is_imported_once(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"payload": "two_loaded.json"}})
    wanted = {"serve_models_models": [{"model": LARGE}], "serve_models_via": "controller"}
    more = {"context_length": 65536}
    for models, sentence in (
        ([{"model": LARGE, "config": more}, {"model": LARGE}], "names a model twice"),
        ([{"model": LARGE, "conifg": more}], "serve_models_models has unknown options: conifg. The options are model, state, config, "),
    ):
        hosts = {name: {"lmstudio_url": url, **wanted} for name, url in fleet.urls.items()}
        hosts["gpu02"]["serve_models_models"] = models
        output = run(PLAY.replace("      tags: [serve]\n", "      run_once: true\n", 1), hosts, ends=2).output
        assert "SERVES gpu01" in output and "SERVES gpu02" not in output
        assert sentence in output and not fleet.requests("gpu02")


def test_the_state_of_a_model_is_what_the_role_documents_whatever_the_defaults_of_the_play_are(run, start):
    fleet = start({"gpu01": {"payload": "two_loaded.json"}})
    defaults = "  gather_facts: false\n  module_defaults: {gpufleet.lmstudio.model: {state: unloaded}}\n"
    hosts = {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], "serve_models_models": [{"model": LARGE}], "serve_models_via": "controller"}}
    assert "SERVES gpu01 The requirement is met" in run(PLAY.replace("  gather_facts: false\n", defaults), hosts).output
    assert not fleet.posts("gpu01")
