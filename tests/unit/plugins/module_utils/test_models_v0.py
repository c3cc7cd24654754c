# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The older list of models: the record that it becomes, and when it is asked for."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.confirmation import ask_confirmation
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask

V1_PATH, V0_PATH = "/api/v1/models", "/api/v0/models"
UNEXPECTED = Response(200, b'{"error": "Unexpected endpoint or method. (GET /api/v1/models)"}')
HTML_500 = Response(500, b"<!DOCTYPE html><title>Error</title>", content_type="text/html")


def row(name, state="not-loaded", **more):
    return {
        "id": name,
        "object": "model",
        "type": "llm",
        "publisher": name.split("/")[0],
        "arch": "qwen3",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": state,
        "max_context_length": 40960,
        **more,
    }


LIBRARY = [
    row("qwen/chat", "loaded", loaded_context_length=8192, capabilities=["tool_use"]),
    row("pix/see", "loaded", type="vlm", compatibility_type="mlx", arch="pixtral"),
    row("nomic/embed", type="embeddings"),
    row("big/slow", "loading"),
]


def older(rows, **more):
    return Response(200, json.dumps({"object": "list", "data": rows, **more}).encode())


def newer(*keys):
    models = [{"type": "llm", "key": key, "loaded_instances": [{"id": key, "config": {"context_length": 8192}}]} for key in keys]
    return Response(200, json.dumps({"models": models}).encode())


class Server:
    """Answers each path with what is set for it, and knows what it was asked."""

    def __init__(self, **answers):
        self.answers = {f"/api/{name}/models": answer for name, answer in answers.items()}
        self.asked = []

    def __call__(self, endpoint, request):
        self.asked.append(request.path)
        answer = self.answers[request.path]
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def record(self, detail="full", confirm=False, **options):
        endpoint = make_endpoint({"url": "http://gpu01:1234", **options}, "")
        return ask(endpoint._replace(confirm_loaded=confirm), self, detail)


def test_an_older_list_becomes_the_same_record():
    record = Server(v0=older(LIBRARY)).record(api="v0")
    assert list(record) == list(Server(v1=newer()).record())
    assert (record["ok"], record["status"], record["api"], record["warnings"]) == (True, "ok", "v0", [])
    assert record["available"] == ["big/slow", "nomic/embed", "pix/see", "qwen/chat"]
    assert record["loaded"] == ["pix/see", "qwen/chat"]
    assert record["counts"] == {"models": 4, "llm": 3, "embedding": 1, "loaded": 2, "instances": None}
    assert record["size_bytes"] == {"available": None, "loaded": None}
    chat, see, embed, slow = record["models"]
    assert {name: chat[name] for name in ("type", "key", "publisher", "architecture", "format", "quantization", "max_context_length")} == {
        "type": "llm",
        "key": "qwen/chat",
        "publisher": "qwen",
        "architecture": "qwen3",
        "format": "gguf",
        "quantization": {"name": "Q4_K_M", "bits_per_weight": None},
        "max_context_length": 40960,
    }
    assert (see["type"], see["format"], see["capabilities"]["vision"], see["capabilities"]["trained_for_tool_use"]) == (
        "llm",
        "mlx",
        True,
        False,
    )
    assert (chat["capabilities"]["vision"], chat["capabilities"]["trained_for_tool_use"]) == (False, True)
    assert (embed["type"], embed["loaded"], slow["loaded"], slow["state"]) == ("embedding", False, False, "loading")
    for name in ("display_name", "size_bytes", "params_string", "description", "selected_variant"):
        assert chat[name] is None
    assert (chat["variants"], chat["capabilities"]["reasoning"]) == ([], {"allowed_options": [], "default": None})
    # Before 0.3.17 it does not tell the context of what is loaded, and that is never the one that the model supports.
    assert [(each["id"], each["model"], each["context_length"]) for each in record["instances"]] == [
        ("qwen/chat", "qwen/chat", 8192),
        ("pix/see", "pix/see", None),
    ]


def test_the_entries_of_both_lists_have_the_same_keys():
    (old,) = Server(v0=older([row("a", "loaded")])).record(api="v0")["models"]
    (new,) = Server(v1=newer("a")).record()["models"]
    assert old.keys() - new.keys() == {"state"}
    assert new.keys() <= old.keys()
    assert old["loaded_instances"][0].keys() == new["loaded_instances"][0].keys()
    assert old["loaded_instances"][0]["config"].keys() == new["loaded_instances"][0]["config"].keys()


def test_at_detail_loaded_what_is_loading_stays():
    record = Server(v0=older(LIBRARY)).record("loaded", api="v0")
    assert [entry["key"] for entry in record["models"]] == ["qwen/chat", "pix/see", "big/slow"]
    assert len(record["available"]) == 4


def test_a_loading_model_is_another_fingerprint():
    states = ("not-loaded", "loading", "loaded")
    assert len({Server(v0=older([row("a", state)])).record(api="v0")["fingerprint"] for state in states}) == 3


@pytest.mark.parametrize("state", ["unloading", "LOADED", ""])
def test_a_state_that_nobody_knows_is_neither_loaded_nor_unloaded(state):
    record = Server(v0=older([row("a", state)])).record("loaded", api="v0")
    assert record["ok"] and record["loaded"] == [] and [entry["key"] for entry in record["models"]] == ["a"]
    assert record["warnings"] == [f"data[0] (a) has the state {state}, so it is not known whether it is loaded"]


@pytest.mark.parametrize(
    ("rows", "status", "problem"),
    [
        ([row("a"), row("b", id=3)], "invalid", "data[1].id is a number, not a string"),
        ([row("a", state=None)], "invalid", "data[0] (a).state is null, not a string"),
        ([row("a", type=["llm"])], "invalid", "data[0] (a).type is a list, not a string"),
        ([row("a", "loaded", loaded_context_length="8k")], "invalid", "data[0] (a).loaded_context_length is a string, not a whole number"),
        (["a", row("b")], "invalid", "data[0] is a string, not an object"),
        ([{"id": "gpt", "object": "model", "owned_by": "me"}], "not_lmstudio", "OpenAI-style server (a list of models without a state)"),
        ({"a": 1}, "invalid", "an object without data"),
        ([row("a")] * 10001, "invalid", "listed 10001 models"),
    ],
)
def test_what_cannot_be_trusted_is_no_list(rows, status, problem):
    record = Server(v0=older(rows)).record(api="v0")
    assert record["status"] == status and problem in record["error"]["message"]
    assert record["api"] is None and record["fingerprint"] is None


@pytest.mark.parametrize("error", [{"error": {"message": "not ready"}}, {"error": "not ready"}, {"detail": "x", "title": "Not ready"}])
def test_an_empty_list_beside_an_error_is_no_list(error):
    answer = Response(200, json.dumps({"data": [], **error}).encode())
    record = Server(v0=answer).record(api="v0")
    sent = "a problem document" if "detail" in error else "an error"
    assert record["status"] == "invalid" and f"sent {sent} instead of a model list" in record["error"]["message"]
    assert Server(v1=newer("a"), v0=answer).record(confirm=True)["confirmed"] is None
    assert Server(v0=Response(200, b'{"data": [], "error": null}')).record(api="v0")["ok"]


def test_a_list_beside_an_error_may_be_incomplete():
    answer = Response(200, json.dumps({"data": [row("a")], "error": "not ready"}).encode())
    record = Server(v0=answer).record(api="v0")
    assert record["status"] == "invalid" and "sent an error beside a model list, which may be incomplete" in record["error"]["message"]
    assert Server(v1=newer("a"), v0=answer).record(confirm=True)["confirmed"] is None


def test_any_other_field_is_unknown_and_a_warning():
    record = Server(v0=older([row("a", arch=7, quantization=["Q4"], capabilities={"vision": "yes"}, size_bytes=12, new={"x": 1})])).record(
        api="v0"
    )
    (entry,) = record["models"]
    assert (entry["architecture"], entry["quantization"]["name"], entry["new"]) == (None, None, {"x": 1})
    assert len(record["warnings"]) == 3
    # Even a size that it may tell one day is not the whole of it.
    assert record["size_bytes"] == {"available": None, "loaded": None}


def test_a_row_does_not_bring_instances_of_its_own():
    hostile = row("a", key="b", loaded=True, loaded_instances=[{"id": "z"}], models=[{"key": "c"}])
    record = Server(v0=older([hostile])).record(api="v0")
    assert (record["available"], record["loaded"], record["instances"]) == (["a"], [], [])


def test_at_the_default_nothing_but_the_newer_list_is_asked_for():
    for answer in (newer("a"), UNEXPECTED, HTML_500, ApiError("timeout", "did not answer")):
        server = Server(v1=answer)
        server.record()
        assert server.asked == [V1_PATH]


@pytest.mark.parametrize("status", [200, 404, 400])
def test_auto_asks_for_the_older_list_where_the_newer_one_is_not_known(status):
    server = Server(v1=UNEXPECTED._replace(http_status=status), v0=older(LIBRARY))
    record = server.record(api="auto")
    assert (record["ok"], record["api"], server.asked) == (True, "v0", [V1_PATH, V0_PATH])
    server = Server(v1=newer("Unexpected endpoint"), v0=older(LIBRARY))
    record = server.record(api="auto")
    assert (record["ok"], record["api"], server.asked) == (True, "v1", [V1_PATH])


REFUSALS = {
    "401": Response(401, b"", authenticate="Bearer"),
    "403": Response(403),
    "401 in its words": Response(401, b'{"error": "Unexpected endpoint or method."}'),
    "403 in its words": Response(403, b'{"error": "Unexpected endpoint or method."}'),
    "404": Response(404, b"404 page not found"),
    "500": Response(500, b'{"error": {"type": "internal", "message": "no"}}'),
    "HTML": HTML_500,
    "503": Response(503, b""),
    "302": Response(302, b"", location="/login"),
    "openai": Response(200, b'{"object": "list", "data": []}'),
    "broken": Response(200, b'{"error": "Unexpected end'),
    "empty": Response(200, b""),
    "too large": Response(200, b"", too_large=True),
    "timeout": ApiError("timeout", "did not answer within 1 second"),
    "refused": ApiError("refused", "refused the connection"),
    "tls": ApiError("tls", "does not speak TLS"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_auto_asks_nothing_after_a_refusal_or_an_error(name):
    server = Server(v1=REFUSALS[name])
    record = server.record(api="auto")
    assert server.asked == [V1_PATH]
    assert not record["ok"] and record["api"] is None
    assert record["error"] == Server(v1=REFUSALS[name]).record()["error"]


def test_a_host_with_neither_list_is_unsupported_and_a_failure_names_its_request():
    record = Server(v1=UNEXPECTED, v0=UNEXPECTED).record(api="auto")
    assert (record["status"], record["error"]["message"]) == ("unsupported", "http://gpu01:1234 does not know the route /api/v0/models.")
    assert "neither" in record["error"]["hint"] and "api: auto" not in record["error"]["hint"]
    assert "api: auto" in Server(v1=UNEXPECTED).record()["error"]["hint"]
    assert "api: auto" in Server(v1=UNEXPECTED).record(url="http://gpu01:1234/proxy")["error"]["hint"]
    assert "set api: auto, or remove api" in Server(v0=UNEXPECTED).record(api="v0")["error"]["hint"]
    record = Server(v1=UNEXPECTED, v0=Response(401)).record(api="auto")
    assert record["status"] == "auth"
    assert record["error"]["message"].endswith("(asked for /api/v0/models, because it does not know /api/v1/models).")


def test_the_second_request_has_what_is_left_of_the_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    timeouts = []

    def fetch(endpoint, request):
        timeouts.append(request.timeout)
        now[0] += 7
        return UNEXPECTED if request.path == V1_PATH else older(LIBRARY)

    record = ask(make_endpoint({"url": "http://gpu01:1234", "api": "auto", "timeout": 10}, ""), fetch, "full")
    assert timeouts == [None, 3]
    assert record["response_ms"] == 14000


def entries(record):
    return {entry["key"]: (entry.get("state"), entry.get("unconfirmed")) for entry in record["models"]}


def test_what_is_still_loading_is_confirmed_by_the_older_list():
    server = Server(v1=newer("qwen/chat", "big/slow", "nomic/embed", "lost"), v0=older(LIBRARY))
    record = server.record(confirm=True)
    assert server.asked == [V1_PATH, V0_PATH]
    assert (record["api"], record["confirmed"]) == ("v1", True)
    assert entries(record) == {
        "qwen/chat": ("loaded", None),
        "big/slow": ("loading", None),
        "nomic/embed": (None, "/api/v0/models says that its state is not-loaded"),
        "lost": (None, "/api/v0/models does not list it"),
    }


def test_a_row_may_have_the_name_of_an_instance():
    models = [{"key": "a", "loaded_instances": [{"id": "a"}, {"id": "a:2"}]}, {"key": "b", "loaded_instances": [{"id": "chat"}]}]
    listed = Response(200, json.dumps({"models": models}).encode())
    server = Server(v1=listed, v0=older([row("a", "loaded"), row("a:2", "loading"), row("chat", "loaded")]))
    assert entries(server.record(confirm=True)) == {"a": ("loading", None), "b": ("loaded", None)}


def listing_of(*entries):
    return Response(200, json.dumps({"models": entries}).encode())


def with_instances(key, *names, **more):
    return {"type": "llm", "key": key, "loaded_instances": [{"id": name, "config": {"context_length": 8192}} for name in names], **more}


@pytest.mark.parametrize("detail", ["full", "loaded"])
def test_a_model_without_an_instance_has_the_state_of_the_older_list(detail):
    variants = {"variants": ["a@q4", "a@q8"], "selected_variant": "a@q4"}
    for rows, state in (
        ([row("a", "loading")], "loading"),
        ([row("a@q8", "loading"), row("a")], "loading"),
        ([row("a", "unloading"), row("a", "loaded")], "unloading"),
        ([row("a", ""), row("a", "loaded")], ""),
        ([row("a", "loaded")], "loaded"),
        ([row("a")], None),
        ([], None),
    ):
        server = Server(v1=listing_of(with_instances("a", **variants), with_instances("b", "b")), v0=older([*rows, row("b", "loaded")]))
        record = server.record(detail, confirm=True)
        assert record["detail"] == detail and record["loaded"] == ["b"] and record["counts"]["models"] == 2
        shown = {"a": (state, None), "b": ("loaded", None)}
        assert entries(record) == {key: found for key, found in shown.items() if detail == "full" or found[0] is not None}


def test_a_state_may_be_that_of_another_entry():
    """Linked machines repeat a key, and an instance may have any name."""
    for others in ([with_instances("a", "a")], [with_instances("b", "a")]):
        server = Server(v1=listing_of(with_instances("a"), *others), v0=older([row("a", "loaded"), row("a")]))
        assert [(entry["loaded"], entry.get("state")) for entry in server.record(confirm=True)["models"]] == [
            (False, None),
            (True, "loaded"),
        ]
    loading = Server(v1=listing_of(with_instances("a"), with_instances("a", "a")), v0=older([row("a", "loaded"), row("a", "loading")]))
    assert [entry["state"] for entry in loading.record(confirm=True)["models"]] == ["loading", "loading"]


@pytest.mark.parametrize("odd", ["unloading", "LOADED", ""])
def test_several_rows_of_a_model_confirm_it_only_together(odd):
    for rows, found in (
        (["loaded", odd], (None, f"/api/v0/models says that its state is {odd}")),
        (["loading", odd], ("loading", None)),
        (["loaded", "not-loaded"], ("loaded", None)),
    ):
        server = Server(v1=newer("a"), v0=older([row("a", state) for state in rows]))
        assert entries(server.record(confirm=True)) == {"a": found}


@pytest.mark.parametrize(
    ("answer", "confirmed"),
    [
        (UNEXPECTED, False),
        (Response(404, b"404 page not found"), False),
        (Response(404, b'{"error": "Unexpected endpoint or method."}'), False),
        (HTML_500, None),
        (Response(401), None),
        (Response(403), None),
        (Response(503), None),
        (Response(200, b'{"object": "list"}'), None),
        (Response(200, b""), None),
        (ApiError("timeout", "did not answer within 1 second"), None),
        (ApiError("disconnected", "closed the connection"), None),
    ],
)
def test_only_a_server_without_the_older_list_cannot_tell(answer, confirmed):
    record = Server(v1=newer("a"), v0=answer).record(confirm=True)
    assert record["ok"] and record["confirmed"] is confirmed
    state, why = entries(record)["a"]
    assert state is None
    assert (why is None) if confirmed is False else why.startswith("http://gpu01:1234/api/v0/models ")


def test_nothing_is_confirmed_where_there_is_no_list():
    for answer in (UNEXPECTED, Response(401), Response(500), ApiError("refused", "refused the connection")):
        server = Server(v1=answer)
        record = server.record(confirm=True)
        assert server.asked == [V1_PATH] and record["confirmed"] is None and not record["ok"]


def test_the_older_list_confirms_itself():
    server = Server(v1=UNEXPECTED, v0=older(LIBRARY))
    assert server.record(api="auto", confirm=True)["confirmed"] is True
    assert server.asked == [V1_PATH, V0_PATH]


def test_a_secret_that_comes_back_is_masked_in_what_is_not_confirmed():
    token = "sk-lm-0123456789abcdef"
    answer = ApiError("http_error", f"said {token}")
    record = Server(v1=newer("a"), v0=answer).record(confirm=True, token=token)
    assert token not in json.dumps(record) and "said ********" in entries(record)["a"][1]
    listed = Server(v0=older([row(token, "loaded", arch=token)])).record(api="v0", token=token)
    assert token not in json.dumps(listed) and token[:10] not in json.dumps(listed)
    odd = Server(v1=newer("a"), v0=older([row("a", f"of {token}")])).record(confirm=True, token=token)
    assert token[:10] not in json.dumps(odd) and entries(odd)["a"][1].endswith("says that its state is of ********")


@pytest.mark.parametrize("state, listed", [("loaded", True), ("loading", True), ("loading", False)])
def test_a_model_whose_name_is_masked_has_its_state_in_both_lists(state, listed):
    token = "sk-lm-0123456789abcdef"
    key = f"a-{token}"
    models = {"models": [{"type": "llm", "key": key, "loaded_instances": [{"id": key}] if listed else []}]}
    server = Server(v1=Response(200, json.dumps(models).encode()), v0=older([row(key, state)]))
    assert entries(server.record(confirm=True, token=token)) == {"a-********": (state, None)}


@pytest.mark.parametrize("token", ["loaded", "loading", "load"])
def test_a_token_that_is_a_word_for_a_state_changes_no_state(token):
    server = Server(v1=newer("qwen/chat", "big/slow"), v0=older(LIBRARY))
    states = {key: state for key, (state, _why) in entries(server.record(confirm=True, token=token)).items()}
    assert states == {"qwen/chat": "loaded", "big/slow": "loading"}


def test_the_older_list_can_be_asked_for_alone():
    endpoint = make_endpoint({"url": "http://gpu01:1234"}, "")
    (entry,) = Server(v1=newer("big/slow")).record()["models"]
    server = Server(v0=older(LIBRARY))
    assert ask_confirmation(endpoint, server).doubt(entry) == "loading"
    assert server.asked == [V0_PATH]
    failed = ask_confirmation(endpoint, Server(v0=HTML_500))
    assert failed.has_older_list and failed.doubt(entry)
    assert not ask_confirmation(endpoint, Server(v0=UNEXPECTED)).has_older_list


def test_what_only_the_older_list_has_and_may_be_loaded_is_in_the_record():
    variants = {"variants": ["c@q4", "c@q8"], "selected_variant": "c@q4"}
    listed = json.dumps(
        {"models": [{"type": "llm", "key": "a", "loaded_instances": [{"id": "b"}]}, {"type": "llm", "key": "c", **variants}]}
    )
    rows = [
        *(row(name, "loaded") for name in ("a", "b", "c", "c@q8", "new")),
        row("c@q4", "loading"),
        row("odd", "other"),
        row("idle"),
        row(""),
    ]
    v1 = Response(200, listed.encode())
    assert Server(v1=v1, v0=older(rows)).record(confirm=True)["unlisted"] == ["new", "odd"]
    assert "unlisted" not in Server(v1=v1, v0=older(rows[:4])).record(confirm=True)
    assert "unlisted" not in Server(v0=older(rows)).record(api="v0", confirm=True)
    token = "sk-lm-0123456789abcdef"
    masked = Server(v1=v1, v0=older([row(f"a-{token}", "loading")])).record(confirm=True, token=token)
    assert masked["unlisted"] == ["a-********"]
