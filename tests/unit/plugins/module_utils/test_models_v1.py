# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an answer means, on fixtures of the project's own in the shapes that LM Studio sends."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import HINTS, STATUSES, hint_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import MAX_ENTRIES

ENDPOINT = Endpoint("http://gpu01:1234", max_response_bytes=1024 * 1024)


def answer(document, status=200, **more):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Response(status, body, **more)


def read(document, status=200, **more):
    models, warnings = read_models(answer(document, status, **more), ENDPOINT)
    return [model.entry for model in models], warnings


def error(document, status=200, endpoint=ENDPOINT, **more):
    with pytest.raises(ApiError) as caught:
        read_models(answer(document, status, **more), endpoint)
    assert caught.value.http_status == status
    return caught.value


def listing(**fields):
    return {"models": [{"type": "llm", "key": "qwen/qwen3-8b", "loaded_instances": [], **fields}]}


def test_every_status_has_its_section_in_the_troubleshooting():
    page = (Path(__file__).resolve().parents[4] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## `(.*)`$", page) == [*STATUSES, "not_asked"]


def test_an_entry_has_every_documented_field_even_if_the_server_sends_two():
    (entry,), warnings = read({"models": [{"key": "a"}]})
    assert entry == {
        "type": None,
        "publisher": None,
        "key": "a",
        "display_name": None,
        "architecture": None,
        "quantization": {"name": None, "bits_per_weight": None},
        "size_bytes": None,
        "params_string": None,
        "loaded": False,
        "loaded_instances": [],
        "max_context_length": None,
        "format": None,
        "capabilities": {"vision": False, "trained_for_tool_use": False, "reasoning": {"allowed_options": [], "default": None}},
        "description": None,
        "variants": [],
        "selected_variant": None,
    }
    assert warnings == []


def test_an_instance_has_every_documented_field():
    (entry,), _warnings = read(listing(loaded_instances=[{"id": "a", "config": {"context_length": 4096}}]))
    assert entry["loaded"] is True
    assert entry["loaded_instances"] == [
        {
            "id": "a",
            "config": {
                "context_length": 4096,
                "eval_batch_size": None,
                "parallel": None,
                "flash_attention": None,
                "num_experts": None,
                "offload_kv_cache_to_gpu": None,
            },
            "remaining_ttl_seconds": None,
        }
    ]


def test_unknown_fields_pass_through_at_every_level():
    (entry,), warnings = read(
        listing(
            future={"a": [1, {"b": None}]},
            quantization={"name": "Q4", "bits_per_weight": 4.5, "scheme": "k"},
            capabilities={"vision": True, "audio": True, "reasoning": {"allowed_options": ["on"], "default": "on", "budget": 9}},
            loaded_instances=[{"id": "a", "since": 3, "config": {"context_length": 1, "speculative_draft_model": ""}}],
        )
    )
    assert entry["future"] == {"a": [1, {"b": None}]}
    assert entry["quantization"] == {"name": "Q4", "bits_per_weight": 4.5, "scheme": "k"}
    assert entry["capabilities"]["audio"] is True
    assert entry["capabilities"]["reasoning"] == {"allowed_options": ["on"], "default": "on", "budget": 9}
    assert entry["loaded_instances"][0]["since"] == 3
    assert entry["loaded_instances"][0]["config"]["speculative_draft_model"] == ""
    assert warnings == []


@pytest.mark.parametrize("key", ["__ansible_type", "__ansible_vault", "__ansible_unsafe", "__payload__", "__payload__x"])
def test_keys_that_break_ansible_are_dropped_wherever_they_stand(key):
    entries, _warnings = read(
        listing(
            **{key: 1},
            future=[{"deep": {key: 1}}],
            quantization={key: 1},
            capabilities={key: 1, "reasoning": {key: 1}},
            loaded_instances=[{"id": "a", key: 1, "config": {key: 1}}],
        )
    )
    assert key not in json.dumps(entries)


def test_a_server_cannot_set_the_derived_field():
    (entry,), _warnings = read(listing(loaded=True))
    assert entry["loaded"] is False


@pytest.mark.parametrize(
    "fields, where, value",
    [
        ({"size_bytes": "5"}, ".size_bytes is a string, but a whole number", lambda e: e["size_bytes"]),
        ({"size_bytes": True}, ".size_bytes is true or false", lambda e: e["size_bytes"]),
        ({"size_bytes": 1.5}, ".size_bytes is a number", lambda e: e["size_bytes"]),
        ({"max_context_length": [1]}, ".max_context_length is a list", lambda e: e["max_context_length"]),
        ({"publisher": 7}, ".publisher is a number, but a string was expected", lambda e: e["publisher"]),
        ({"quantization": "Q4_K_M"}, ".quantization is a string, but an object", lambda e: e["quantization"]["name"]),
        ({"quantization": False}, ".quantization is true or false", lambda e: e["quantization"]["name"]),
        ({"quantization": {"bits_per_weight": "4"}}, ".quantization.bits_per_weight", lambda e: e["quantization"]["bits_per_weight"]),
        ({"capabilities": {"vision": 1}}, ".capabilities.vision", lambda e: e["capabilities"]["vision"] or None),
        ({"variants": "x"}, ".variants", lambda e: e["variants"] or None),
        ({"variants": ["x", 1]}, ".variants", lambda e: e["variants"] or None),
        (
            {"loaded_instances": [{"id": "a", "config": {"parallel": "4"}}]},
            ".loaded_instances[0].config.parallel",
            lambda e: e["loaded_instances"][0]["config"]["parallel"],
        ),
        (
            {"loaded_instances": [{"id": "a", "config": "none"}]},
            ".loaded_instances[0].config is a string",
            lambda e: e["loaded_instances"][0]["config"]["context_length"],
        ),
    ],
)
def test_another_field_of_a_wrong_type_is_unknown_and_named(fields, where, value):
    (entry,), warnings = read(listing(**fields))
    assert value(entry) is None
    assert len(warnings) == 1
    assert "models[0] (qwen/qwen3-8b)" + where in warnings[0]


def test_false_is_how_some_servers_say_that_there_is_no_reasoning():
    (entry,), warnings = read(listing(capabilities={"reasoning": False}))
    assert entry["capabilities"]["reasoning"] == {"allowed_options": [], "default": None}
    assert warnings == []


def test_integral_floats_are_whole_numbers():
    (entry,), warnings = read(listing(size_bytes=5.0, loaded_instances=[{"id": "a", "config": {"context_length": 4096.0}}]))
    assert (entry["size_bytes"], entry["loaded_instances"][0]["config"]["context_length"]) == (5, 4096)
    assert isinstance(entry["size_bytes"], int)
    assert warnings == []


@pytest.mark.parametrize(
    "document, named",
    [
        ({"models": {}}, "models is an object, not a list"),
        ({"models": "x"}, "models is a string"),
        (listing(loaded_instances={}), "models[0] (qwen/qwen3-8b).loaded_instances is an object, not a list"),
        (listing(loaded_instances=["x"]), ".loaded_instances[0] is a string, not an object"),
        (listing(loaded_instances=[{}]), ".loaded_instances[0].id is null, not a string"),
        (listing(loaded_instances=[{"id": 1}]), ".loaded_instances[0].id is a number, not a string"),
        (
            listing(loaded_instances=[{"id": "a", "config": {"context_length": "8k"}}]),
            ".config.context_length is a string, not a whole number",
        ),
        (listing(loaded_instances=[{"id": "a", "config": {"context_length": True}}]), ".config.context_length is true or false"),
        (listing(type=3), ".type is a number, not a string"),
        ({"models": [{"key": "a"}, {"key": 5}]}, "models[1].key is a number, not a string"),
        ({"models": [{"key": "a"}, 5]}, "models[1] is a number, not an object"),
    ],
)
def test_what_matters_most_is_strict_and_names_entry_and_field(document, named):
    caught = error(document)
    assert caught.status == "invalid"
    assert named in caught.problem


@pytest.mark.parametrize(
    "status, document, expected",
    [
        (200, {"models": []}, None),
        (401, {"models": []}, "auth"),
        (403, {"models": []}, "forbidden"),
        (401, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}, "auth"),
        (200, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}, "unsupported"),
        (404, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}, "unsupported"),
        (503, {"error": {"message": "Unexpected endpoint or method. (GET /api/v1/models)"}}, "unsupported"),
        (404, b"Unexpected endpoint or method. (GET /api/v1/models)", "unsupported"),
        (200, b'"Unexpected endpoint or method. (GET /api/v1/models)"', "unsupported"),
        (404, {"message": "Unexpected endpoint or method. (GET /api/v1/models)"}, "unsupported"),
        (502, b"", "unavailable"),
        (503, {"models": []}, "unavailable"),
        (504, b"<html>", "unavailable"),
        (301, b"", "redirect"),
        (307, {"models": []}, "redirect"),
        (200, {"object": "list", "data": []}, "not_lmstudio"),
        (200, {"models": [], "data": [{"id": "x"}]}, "not_lmstudio"),
        (200, {"models": [], "error": {"message": "the index is not ready"}}, "invalid"),
        (200, {"models": [], "error": "the index is not ready"}, "invalid"),
        *((200, {"models": [], "error": none}, None) for none in (None, False, "")),
        (200, {"models": [{"type": "llm", "key": "a"}], "error": "a linked machine did not answer"}, "invalid"),
        (200, {"models": [], "detail": "not ready", "title": "Not ready", "status": 503}, "invalid"),
        (200, {"models": [{"name": "a", "model": "a"}], "data": [{"id": "x"}]}, "not_lmstudio"),
        (200, {"models": [{"key": 5}]}, "not_lmstudio"),
        (404, {"detail": "Not Found"}, "not_lmstudio"),
        (200, {"detail": [{"msg": "x"}]}, "not_lmstudio"),
        (200, b"<!DOCTYPE html><p>hello", "not_lmstudio"),
        (500, b"  <html>", "not_lmstudio"),
        (404, {"error": {"message": "no"}}, "not_lmstudio"),
        (404, b"", "not_lmstudio"),
        (404, {"detail": "Not Found", "status": 404}, "not_lmstudio"),
        (429, {"detail": "Slow down", "title": "Too many"}, "http_error"),
        (400, {"detail": "No", "type": "about:blank"}, "http_error"),
        *((code, body, "unavailable") for code in (*range(520, 528), 530) for body in (b"<html>", b"error code: 1033", {"detail": "x"})),
        (519, b"", "http_error"),
        (528, b"", "http_error"),
        (529, b"", "http_error"),
        (500, b"boom", "http_error"),
        (204, b"", "http_error"),
        (201, {"models": []}, "http_error"),
        (200, {"error": {"message": "no"}}, "invalid"),
        (200, {}, "invalid"),
        (200, {"models": None}, "invalid"),
        (200, [], "invalid"),
        (200, b"null", "invalid"),
        (200, b"7", "invalid"),
        (200, b"", "invalid"),
        (200, b"Ollama is running", "invalid"),
        (200, b'{"models": [', "invalid"),
    ],
)
def test_the_status_is_judged_in_the_documented_order(status, document, expected):
    if expected is None:
        assert read(document, status) == ([], [])
    else:
        assert error(document, status).status == expected


def test_an_error_that_is_null_is_no_error():
    assert error({"error": None, "object": "list"}, 200).problem == "sent an object without models instead of a model list"
    assert error({"error": "no"}, 200).problem == "sent an error instead of a model list"


def test_a_web_page_is_known_by_its_content_type():
    assert error(b"hello", content_type="text/html; charset=utf-8").status == "not_lmstudio"


def test_a_model_that_is_called_like_the_error_is_a_model():
    (entry,), _warnings = read(listing(display_name="Unexpected endpoint or method"))
    assert entry["display_name"] == "Unexpected endpoint or method"


def test_a_401_says_whether_a_token_was_sent():
    assert "none was sent" in error({}, 401).problem
    assert "does not accept the token" in error({}, 401, ENDPOINT._replace(token="sk-lm-0123456789")).problem


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500, 503, 302])
def test_no_error_quotes_the_body(status):
    caught = error({"error": {"message": "secret-of-the-server", "code": "secret-of-the-server"}}, status)
    assert "secret" not in caught.problem + hint_of(caught)


@pytest.mark.parametrize(
    "location, told",
    [
        ("https://gw.example:8443/secret?token=x", " to https://gw.example:8443"),
        ("https://user:secret@gw.example/", " to https://gw.example"),
        ("http://[::1]:8080/secret", " to http://[::1]:8080"),
        ("//gw.example/secret", " to http://gw.example"),
        ("https://gpu01:8443/api/v1/models", " to https://gpu01:8443: the same host, another scheme and port"),
        ("https://gpu01/secret", " to https://gpu01: the same host, another scheme and port and path"),
        ("http://GPU01:80/api/v1/models", " to http://gpu01:80: the same host, another port"),
        ("http://gpu01:1234/api/v1/models", " to the same URL"),
        ("/api/v1/models#secret", " to the same URL"),
        ("http://gw.example/login?secret", " to http://gw.example, to a login page"),
        ("/cdn-cgi/access/login/secret", " to http://gpu01:1234, to a login page"),
        ("/secret", " to another path of this server"),
        ("file:///etc/secret", " to an address of another kind"),
        ("http://[::1", " to an invalid address"),
        ("http://gw.example:secret/", " to an invalid address"),
        ("", ""),
    ],
)
def test_a_redirect_tells_host_and_port_of_the_target_only(location, told):
    assert error(b"", 302, location=location).problem == "answered HTTP 302: it redirects" + told


def test_nobody_is_sent_from_tls_to_the_clear():
    asked = ENDPOINT._replace(url="https://gpu01:8443")
    for location, case in [
        ("http://gpu01/api/v1/models", "redirect: without TLS"),
        ("http://gpu01:8443/api/v1/models", "redirect: without TLS"),
        ("https://gpu01/api/v1/models", "redirect: same host"),
        ("http://gpu02/api/v1/models", "redirect: without TLS"),
        ("https://gpu02/api/v1/models", "redirect: other host"),
    ]:
        assert hint_of(error(b"", 302, asked, location=location)) == HINTS[case]


def test_a_proxy_that_asks_a_tls_port_in_the_clear_is_told_so():
    for asked, case in ((ENDPOINT, "TLS"), (ENDPOINT._replace(url="https://gpu01"), "TLS behind")):
        assert hint_of(error(b"Client sent an HTTP request to an HTTPS server.", 400, asked)) == HINTS[f"http_error: {case}"]
        page = b"<html>The plain HTTP request was sent to HTTPS port"
        assert hint_of(error(page, 400, asked)) == HINTS[f"not_lmstudio: {case}"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{\x00}\x00",
        b'{"models": [{"key": "\xff"}]}',
        b"[" * 100000,
        b'{"models": ' + b"[" * 50000 + b"]" * 50000 + b"}",
        b'{"models": NaN}',
        b'{"models": [{"key": "a", "size_bytes": Infinity}]}',
        b"{'models': []}",
        b'{"models": []} trailing',
    ],
)
def test_what_is_no_json_is_invalid(body):
    assert error(body).status == "invalid"


def test_a_byte_order_mark_is_ignored():
    assert read(b"\xef\xbb\xbf" + json.dumps({"models": []}).encode()) == ([], [])


@pytest.mark.parametrize("number", [b"1" * 10000, b"1e999", b"-1e999", b"1" * 19])
def test_a_number_beyond_belief_is_unknown(number):
    (entry,), warnings = read(b'{"models": [{"key": "a", "size_bytes": ' + number + b', "future": ' + number + b"}]}")
    assert entry["size_bytes"] is None and entry["future"] is None
    assert len(warnings) == 1


def test_deep_unknown_fields_are_dropped_and_named():
    deep = []
    for _level in range(100):
        deep = [deep]
    (entry,), warnings = read(listing(future=deep))
    assert entry["future"] is None
    assert "future" in warnings[0]


def test_warnings_are_bounded():
    _entries, warnings = read({"models": [{"key": "a", "size_bytes": "x"} for _number in range(1000)]})
    assert len(warnings) == 21
    assert warnings[-1] == "980 more fields of unexpected type"


def test_more_models_than_anyone_has_are_not_believed():
    read({"models": [{"key": "a"}] * MAX_ENTRIES})
    assert error({"models": [{"key": "a"}] * (MAX_ENTRIES + 1)}).status == "invalid"
    assert error(listing(loaded_instances=[{"id": "a"}] * (MAX_ENTRIES + 1))).status == "invalid"


def test_text_of_the_server_is_printable_in_messages():
    _entries, warnings = read({"models": [{"key": "\x1b[31m\n" + "x" * 300, "size_bytes": "x"}]})
    assert "\x1b" not in warnings[0] and "\n" not in warnings[0]
    assert len(warnings[0]) < 250


@pytest.mark.parametrize("text", ['"\\ud800"', '"x\\udfff"', '"\\uDBFF\\u0041"'])
def test_half_a_character_is_replaced(text):
    entries, _warnings = read(b'{"models": [{"key": ' + text.encode() + b', "future": {' + text.encode() + b": 1}}]}")
    assert "\ufffd" in entries[0]["key"]
    json.dumps(entries, ensure_ascii=False).encode("utf-8")


def test_a_whole_character_is_kept():
    entries, _warnings = read(b'{"models": [{"key": "\\ud83d\\ude00"}]}')
    assert entries[0]["key"] == "\U0001f600"


def test_gzip_is_read_within_the_limit_though_nobody_asked_for_it():
    body = json.dumps(listing()).encode()
    assert read(gzip.compress(body), content_encoding="gzip")[0][0]["key"] == "qwen/qwen3-8b"
    assert "1048576 bytes" in error(gzip.compress(b" " * 50_000_000), content_encoding="gzip").problem
    assert error(gzip.compress(body)[:-20], content_encoding="gzip").status == "invalid"
    assert error(body, content_encoding="gzip").status == "invalid"
    assert error(body, content_encoding="br").status == "invalid"


def test_an_answer_over_the_limit_is_invalid_unless_its_status_says_more():
    assert error(b"", too_large=True).status == "invalid"
    assert "max_response_bytes" in hint_of(error(b"", too_large=True))
    assert error(b"", 503, too_large=True).status == "unavailable"


EXPECTED = {
    "real-0.4.12-one-entry": "invalid",
    "real-post": "invalid",
    "doc-get": "invalid",
    "doc-post": "invalid",
    "error-400": "http_error",
    "error-401": "auth",
    "error-unexpected": "unsupported",
    "greeting": "invalid",
    "other-": "not_lmstudio",
    "v0-": "not_lmstudio",
    "real-": "ok",
    "doc-": "ok",
    "synth-": "ok",
}
PAYLOADS = os.environ.get("LMSTUDIO_PAYLOADS")


@pytest.mark.skipif(not PAYLOADS, reason="LMSTUDIO_PAYLOADS names no folder with recorded answers")
@pytest.mark.parametrize("path", sorted(Path(PAYLOADS).iterdir()) if PAYLOADS else [], ids=lambda path: path.name)
def test_recorded_and_documented_answers(path):
    status = next((status for prefix, status in EXPECTED.items() if path.name.startswith(prefix)), None)
    assert status, "a new kind of payload: say in EXPECTED what it means"
    code = 401 if "401" in path.name else 400 if "400" in path.name else 200
    if status != "ok":
        assert error(path.read_bytes(), code).status == status
        return
    entries, warnings = read(path.read_bytes())
    raw = json.loads(path.read_bytes())["models"]
    assert [entry["key"] for entry in entries] == [entry["key"] for entry in raw]
    assert [len(entry["loaded_instances"]) for entry in entries] == [len(entry["loaded_instances"]) for entry in raw]
    assert warnings == []
    for entry, sent in zip(entries, raw):
        for name, value in sent.items():
            assert name in entry
            if value is not None and not isinstance(value, (dict, list)):
                assert entry[name] == value
        for instance, sent_instance in zip(entry["loaded_instances"], sent["loaded_instances"]):
            assert {**instance["config"], **sent_instance["config"]} == instance["config"]
