# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers, proxies and tunnels answer that is not a model list: the status, the sentence and the next step of each, wherever it is asked from."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import NamedTuple

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import HINTS, STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options import precedence
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT, has_ipv6
from ansible_collections.gpufleet.lmstudio.tests.raw_server import EMPTY, Server, framed, http
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK

TOKEN = "sk-lm-Zq81x7Kw0pVt5"
SENT = {
    "nothing": {},
    "a token": {"token": TOKEN},
    "headers": {"headers": {"X-Api-Key": "key-of-the-fleet-Vd84"}},
    "the older API": {"api": "v0"},
    "either API": {"api": "auto"},
    "a password": {"headers": {"Authorization": "Basic dXNlcjpwYXNzd29yZC1vZi10aGUtZmxlZXQ="}},
}
HTML = b"Content-Type: text/html"
JSON = b"Content-Type: application/json"
BASIC = b'WWW-Authenticate: Basic realm="gpu"'
TUNNEL = {"type": "about:blank", "title": "Error 1033", "status": 530, "detail": "It cannot be reached now.", "retryable": True}
LOST = {"error": "Unexpected endpoint or method. (GET /lm/api/v1/models)"}
LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
NOT_FOUND = {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}


class Row(NamedTuple):
    answer: bytes
    sent: str
    status: str
    what: str
    """The message behind the URL. PORT stands for the port of the server."""
    next_step: str
    """Which of the hints."""
    path: str = ""
    """What the URL that is asked ends with."""


def text(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    return http(body, *headers, status=status.encode())


def document(status: str, body: object, *headers: bytes) -> bytes:
    return text(status, json.dumps(body).encode(), JSON, *headers)


def to(location: str, status: str = "302 Found") -> bytes:
    return text(status, b"", b"Location: " + location.encode())


ROWS = {
    # who asks
    "401, nothing sent": Row(
        text("401 Unauthorized"), "nothing", "auth", "answered HTTP 401: it requires a token, and none was sent", "auth"
    ),
    "401, a token sent": Row(
        text("401 Unauthorized", b"", b"WWW-Authenticate: Bearer"),
        "a token",
        "auth",
        "answered HTTP 401: it does not accept the token that was sent",
        "auth",
    ),
    "401, headers sent": Row(
        text("401 Unauthorized"), "headers", "auth", "answered HTTP 401: it does not accept the headers that were sent", "auth: headers"
    ),
    **{
        f"401 of a proxy with users, {sent} sent": Row(
            text("401 Unauthorized", b"", BASIC),
            sent,
            "auth",
            "answered HTTP 401: it asks for a user name and a password (HTTP Basic)",
            "auth: Basic",
        )
        for sent in SENT
        if sent != "a password"
    },
    "401 of a proxy with users, a password sent": Row(
        text("401 Unauthorized", b"", BASIC),
        "a password",
        "auth",
        "answered HTTP 401: it does not accept the headers that were sent",
        "auth: headers",
    ),
    "401 of another scheme": Row(
        text("401 Unauthorized", b"", b'WWW-Authenticate: Digest realm="basic area", qop="auth"'),
        "nothing",
        "auth",
        "answered HTTP 401: it requires a token, and none was sent",
        "auth",
    ),
    "401 that names a token too": Row(
        text("401 Unauthorized", b"", BASIC + b", Bearer"),
        "a token",
        "auth",
        "answered HTTP 401: it does not accept the token that was sent",
        "auth",
    ),
    "403, nothing sent": Row(
        text("403 Forbidden", b"Invalid host header"),
        "nothing",
        "forbidden",
        "answered HTTP 403: it forbids the request",
        "forbidden: nothing sent",
    ),
    "403, a token sent": Row(text("403 Forbidden"), "a token", "forbidden", "answered HTTP 403: it forbids the request", "forbidden"),
    "403, headers sent": Row(text("403 Forbidden"), "headers", "forbidden", "answered HTTP 403: it forbids the request", "forbidden"),
    # the wrong path, or an old LM Studio
    "an unknown route": Row(document("200 OK", LOST), "nothing", "unsupported", "does not know the route /api/v1/models", "unsupported"),
    "an unknown route with 404": Row(
        document("404 N", LOST), "nothing", "unsupported", "does not know the route /api/v1/models", "unsupported"
    ),
    "an unknown route below a path": Row(
        document("200 OK", LOST),
        "a token",
        "unsupported",
        "does not know the route /api/v1/models (requested: http://127.0.0.1:PORT/lm/api/v1/models)",
        "unsupported: path",
        "/lm",
    ),
    "an unknown route below /api": Row(
        document("200 OK", LOST),
        "nothing",
        "unsupported",
        "does not know the route /api/v1/models (requested: http://127.0.0.1:PORT/api/api/v1/models)",
        "unsupported: /api",
        "/api",
    ),
    "an unknown older route": Row(
        document("200 OK", LOST), "the older API", "unsupported", "does not know the route /api/v0/models", "unsupported: v0"
    ),
    "both routes unknown": Row(
        document("404 N", LOST), "either API", "unsupported", "does not know the route /api/v0/models", "unsupported: neither"
    ),
    # not there now
    **{
        f"a {code} with {kind}": Row(
            answer,
            "a token",
            "unavailable",
            f"answered HTTP {code}: it is not available now",
            "unavailable: origin" if code >= 520 else "unavailable",
        )
        for code in (502, 503, 504, 520, 524, 527, 530)
        for kind, answer in {
            "a page": text(f"{code} X", b"<!DOCTYPE html><p>error", HTML),
            "a text": text(f"{code} X", b"error code: 1033"),
            "a problem document": document(f"{code} X", TUNNEL),
            "nothing": text(f"{code} X"),
        }.items()
    },
    "a program that loads": Row(
        document("503 X", LOADING), "nothing", "unavailable", "answered HTTP 503: it is loading a model", "unavailable: loading"
    ),
    # redirects
    "a log-in on another host": Row(
        to("https://team.example/cdn-cgi/access/login/gpu01?kid=1"),
        "a token",
        "redirect",
        "answered HTTP 302: it redirects to https://team.example, to a login page",
        "redirect: login",
    ),
    **{
        f"a log-in at {path}": Row(
            to(path),
            "headers",
            "redirect",
            "answered HTTP 302: it redirects to http://127.0.0.1:PORT, to a login page",
            "redirect: login",
        )
        for path in (
            "/login",
            "/oauth2/start?rd=%2Fapi",
            "/Login?next=/api/v1/models",
            "/auth/sign-in",
            "/sso",
            "/users/sign_in",
            "/.pomerium/sign_in/",
            "/authorize?client_id=1",
            "/outpost.goauthentik.io/start",
        )
    },
    "another host": Row(
        to("https://gpu01.example:8443/api/v1/models"),
        "a token",
        "redirect",
        "answered HTTP 302: it redirects to https://gpu01.example:8443",
        "redirect: other host",
    ),
    "a host whose models are called login": Row(
        to("https://gpu01.example/loginstance/blog/oauthor"),
        "nothing",
        "redirect",
        "answered HTTP 302: it redirects to https://gpu01.example",
        "redirect: other host",
    ),
    "the same host over TLS": Row(
        to("https://127.0.0.1/api/v1/models", "301 Moved"),
        "nothing",
        "redirect",
        "answered HTTP 301: it redirects to https://127.0.0.1: the same host, another scheme and port",
        "redirect: same host",
    ),
    "the same host, another port and path": Row(
        to("http://127.0.0.1:9/lm/api/v1/models", "308 Moved"),
        "nothing",
        "redirect",
        "answered HTTP 308: it redirects to http://127.0.0.1:9: the same host, another port and path",
        "redirect: same host",
    ),
    "the same host, another path": Row(
        to("/api/v1/models/"), "nothing", "redirect", "answered HTTP 302: it redirects to another path of this server", "redirect: path"
    ),
    "itself": Row(
        to("/lm/api/v1/models"),
        "nothing",
        "redirect",
        "answered HTTP 302: it redirects to the same URL",
        "redirect: itself",
        "/lm",
    ),
    "the same path with a query": Row(
        to("/api/v1/models?again=1"),
        "nothing",
        "redirect",
        "answered HTTP 302: it redirects to another path of this server",
        "redirect: path",
    ),
    "itself in other words": Row(
        to("http://127.0.0.1:PORT/api/v1/models#here"),
        "nothing",
        "redirect",
        "answered HTTP 302: it redirects to the same URL",
        "redirect: itself",
    ),
    "a redirect to nowhere": Row(text("302 Found"), "nothing", "redirect", "answered HTTP 302: it redirects", "redirect"),
    # other programs
    "a 404 of Ollama": Row(
        text("404 Not Found", b"404 page not found", b"Content-Type: text/plain"),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404, as Ollama and other programs written in Go do",
        "not_lmstudio: 404",
    ),
    "a 404 of llama.cpp": Row(
        document("404 Not Found", NOT_FOUND),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404, as llama.cpp does",
        "not_lmstudio: 404",
    ),
    "a 404 of Caddy": Row(
        text("404 Not Found", b"", b"Server: Caddy"),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404, and calls itself Caddy",
        "not_lmstudio: 404",
    ),
    "a 404 of nginx": Row(
        text("404 Not Found", b"<html>", HTML, b"Server: nginx/1.26.0"),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404 with a web page, and calls itself nginx",
        "not_lmstudio: 404",
    ),
    "a 404 of somebody": Row(
        document("404 Not Found", {"error": {"message": "no", "type": "invalid_request"}}, b"Server: " + TOKEN.encode()),
        "a token",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404",
        "not_lmstudio: 404",
    ),
    "a 404 that is a problem document": Row(
        document("404 Not Found", {"title": "Not Found", "detail": "x"}),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 404",
        "not_lmstudio: 404",
    ),
    "FastAPI": Row(
        document("404 Not Found", {"detail": "Not Found"}),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered like a FastAPI server (an object with detail)",
        "not_lmstudio",
    ),
    "an OpenAI-style server": Row(
        document("200 OK", {"object": "list", "data": [{"id": "m"}]}),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered like an OpenAI-style server (a list called data)",
        "not_lmstudio",
    ),
    "a page": Row(
        text("200 OK", b"<html>", HTML), "nothing", "not_lmstudio", "is not LM Studio: it answered HTTP 200 with a web page", "not_lmstudio"
    ),
    "a page of a 500": Row(
        text("500 X", b"<html>", HTML),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 500 with a web page",
        "not_lmstudio: page of an error",
    ),
    "a page of a 400": Row(
        text("400 Bad Request", b"<html>No required SSL certificate was sent", HTML),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 400 with a web page",
        "not_lmstudio: page of a 400",
    ),
    # the clear, where TLS is spoken
    "a TLS port of Go": Row(
        text("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n"),
        "nothing",
        "http_error",
        "answered HTTP 400: this port expects TLS",
        "http_error: TLS",
    ),
    "a TLS port of nginx": Row(
        text("400 Bad Request", b"<html>The plain HTTP request was sent to HTTPS port", HTML),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 400 with a web page",
        "not_lmstudio: TLS",
    ),
    "a TLS port of Apache": Row(
        text("400 Bad Request", b"<html>You're speaking plain HTTP to an SSL-enabled server port.", HTML),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 400 with a web page",
        "not_lmstudio: TLS",
    ),
    # too often, and the rest
    "a 429": Row(
        text("429 X", b"slow down"), "a token", "http_error", "answered HTTP 429: it received too many requests", "http_error: 429"
    ),
    "a 429 that is a problem document": Row(
        document("429 X", {**TUNNEL, "status": 429}),
        "a token",
        "http_error",
        "answered HTTP 429: it received too many requests",
        "http_error: 429",
    ),
    "a page of a 429": Row(
        text("429 X", b"<html>", HTML),
        "nothing",
        "not_lmstudio",
        "is not LM Studio: it answered HTTP 429 with a web page",
        "not_lmstudio: page of a 429",
    ),
    "a 500": Row(text("500 X", b"boom"), "a token", "http_error", "answered HTTP 500", "http_error"),
    "a 400 that is a problem document": Row(
        document("400 X", {**TUNNEL, "status": 400}), "nothing", "http_error", "answered HTTP 400", "http_error"
    ),
    # 200, and no list
    "nothing": Row(text("200 OK", b"", b"Server: Caddy"), "nothing", "invalid", "sent an empty body", "invalid: empty"),
    **{
        f"an answer in {coding}": Row(
            text("200 OK", EMPTY, b"Content-Encoding: " + coding.encode()),
            "nothing",
            "invalid",
            f"sent a body in an encoding that was not requested ({coding})",
            "invalid: compressed",
        )
        for coding in ("br", "zstd")
    },
    "gzip that is not gzip": Row(
        text("200 OK", EMPTY, b"Content-Encoding: gzip"),
        "nothing",
        "invalid",
        "sent a body that claims to be gzip but is not",
        "invalid: compressed",
    ),
    "a problem document with 200": Row(
        document("200 OK", TUNNEL), "nothing", "invalid", "sent a problem document instead of a model list", "invalid"
    ),
    "an error beside an empty list": Row(
        text("200 OK", b'{"models": [], "error": {"type": "internal_error", "message": "the index is not ready"}}'),
        "nothing",
        "invalid",
        "sent an error instead of a model list",
        "invalid",
    ),
    "an error beside a list": Row(
        text("200 OK", b'{"models": [{"type": "llm", "key": "a"}], "error": "a linked machine did not answer"}'),
        "nothing",
        "invalid",
        "sent an error beside a model list, which may be incomplete",
        "invalid",
    ),
    "a text": Row(text("200 OK", b"Ollama is running"), "nothing", "invalid", "sent a body that is not valid JSON", "invalid"),
    "HTTP/2": Row(
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff",
        "nothing",
        "invalid",
        "answered with HTTP/2, which was not requested",
        "invalid: HTTP/2",
    ),
    "no HTTP": Row(b"SSH-2.0-OpenSSH_9.6\r\n", "nothing", "invalid", "does not speak HTTP", "invalid: not HTTP"),
    "two lengths": Row(
        framed(b"Content-Length: 14, 13"), "nothing", "invalid", "sent an answer whose Content-Length is not one number", "invalid: framing"
    ),
    # announcements, and then the list
    "early hints": Row(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http(EMPTY), "nothing", "ok", "", ""),
    "progress": Row(b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + http(EMPTY), "nothing", "ok", "", ""),
}
# Rows of servers that send nothing: the host of the URL, and what is expected of it.
SILENT = {
    "refused on this machine": Row(b"", "nothing", "refused", "refused the connection", "refused: this machine"),
    "refused on IPv6": Row(b"", "nothing", "refused", "refused the connection", "refused: IPv6"),
    "accepted without an answer": Row(
        b"", "nothing", "timeout", "did not answer within 1 second (it accepted the connection)", "timeout: connected"
    ),
    "never accepted": Row(b"", "nothing", "timeout", "did not answer within 1 second (no connection was made)", "timeout"),
}

PLAY = """
- name: Ask each server
  hosts: all
  gather_facts: false
  tasks:
    - name: From the host, with the code of the controller, so for each next step once
      gpufleet.lmstudio.model_info:
        on_error: report
      register: from_target
      when: inventory_hostname in from_host
    - name: From the controller
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: from_controller
    - name: All at once
      gpufleet.lmstudio.fleet_info:
      run_once: true
      register: fleet
    - name: Keep what was said
      ansible.builtin.copy:
        content: "{{ {'target': target, 'controller': controller, 'fleet': fleet.hosts} | to_json }}"
        dest: "{{ playbook_dir }}/said.json"
        mode: "0600"
      run_once: true
      vars:
        target: "{{ dict(from_host | zip(from_host | map('extract', hostvars, ['from_target', 'lmstudio']))) }}"
        controller: "{{ dict(groups['all'] | zip(groups['all'] | map('extract', hostvars, ['from_controller', 'lmstudio']))) }}"
"""


@pytest.fixture
def urls():
    """A server for each row, and where it is: {row: URL}."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, row in ROWS.items():
            server = stack.enter_context(Server(b""))
            server.first = row.answer.replace(b"PORT", str(server.port).encode())
            found[name] = f"http://127.0.0.1:{server.port}{row.path}"
        # A port that is taken, and on which nobody listens.
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        found["refused on this machine"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        if has_ipv6():
            closed = stack.enter_context(socket.socket(socket.AF_INET6))
            closed.bind(("::1", 0))
            found["refused on IPv6"] = f"http://[::1]:{closed.getsockname()[1]}"
        accepting = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        found["accepted without an answer"] = f"http://127.0.0.1:{accepting.getsockname()[1]}"
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _number in range(4):  # What waits in a full backlog is dropped, as by a firewall.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        found["never accepted"] = f"http://127.0.0.1:{full.getsockname()[1]}"
        yield found


def error_of(name: str, url: str, many: bool) -> dict | None:
    """What a record says, by the table."""
    row = {**ROWS, **SILENT}[name]
    if row.status == "ok":
        return None
    hint = HINTS[row.next_step]
    if many and row.next_step == "auth":
        hint = precedence._ADVICE_FOR_MANY
    what = row.what.replace("PORT", url.split(":")[2].partition("/")[0])
    return {"message": f"{url} {what}.", "hint": hint}


def assert_row(name: str, url: str, record: dict, asker: str = "") -> None:
    error = record["error"] and {key: record["error"][key] for key in ("message", "hint")}
    assert error == error_of(name, url, asker == "fleet"), (name, asker)
    assert record["status"] == {**ROWS, **SILENT}[name].status, (name, asker)


def timeout_of(name: str) -> int:
    return 1 if name in SILENT else 20


@pytest.mark.once
def test_every_kind_of_row_from_the_host_from_the_controller_and_over_the_fleet(run, urls, tmp_path):
    rows = {**ROWS, **SILENT}
    # Rows that differ in their bodies only are for the test of the transports.
    kinds = {(rows[name].sent, rows[name].what, rows[name].next_step): name for name in urls}
    names = {f"row{number:02}": name for number, name in enumerate(kinds.values())}
    hosts = {
        host: {
            "lmstudio_url": urls[name],
            "lmstudio_timeout": timeout_of(name),
            **{f"lmstudio_{option}": value for option, value in SENT[rows[name].sent].items()},
        }
        for host, name in names.items()
    }
    from_host = {rows[name].next_step: host for host, name in names.items()}.values()
    run(PLAY, hosts, "-e", json.dumps({"from_host": list(from_host)}))
    told = json.loads((tmp_path / "said.json").read_text())
    assert told["target"].keys() == set(from_host) and told["controller"].keys() == told["fleet"].keys() == names.keys()
    for asker, records in told.items():
        for host, record in records.items():
            assert_row(names[host], urls[names[host]], record, asker)


@pytest.mark.once
@pytest.mark.parametrize("asker", ASK)
def test_every_row_with_each_transport(asker, urls):
    """Over TLS and through proxies the controller asks with requests, which the play does not."""
    rows = {**ROWS, **SILENT}
    for name, url in urls.items():
        assert_row(name, url, ASK[asker](make_endpoint({"url": url, "timeout": timeout_of(name), **SENT[rows[name].sent]}, ""), "full"))


def documented_next_steps() -> dict[str, list[str]]:
    """Those of the troubleshooting page by status, without the marks of code."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").replace("`", "")
    found = re.split(r"(?m)^## (\w+)\n", page)
    # The first row of a table is its head.
    return {status: re.findall(r"(?m)^\| .+ \| (.+) \|$", text)[1:] for status, text in zip(found[1::2], found[2::2])}


@pytest.mark.once
@pytest.mark.parametrize("status", STATUSES)
def test_the_troubleshooting_has_the_next_steps_of_the_code_in_the_same_words(status):
    hints = [hint for case, hint in HINTS.items() if case.partition(":")[0] == status]
    assert sorted(documented_next_steps()[status]) == sorted(hints)


def test_every_hint_of_an_answer_has_a_row():
    shown = {row.next_step for row in (*ROWS.values(), *SILENT.values())}
    # Those of connections and of TLS are shown by tests/integration/test_nginx.py and tests/unit/plugins/plugin_utils/test_transports.py.
    elsewhere = {case for case in HINTS if case.partition(":")[0] in ("refused", "no_route", "dns", "tls", "disconnected")}
    assert set(HINTS) - elsewhere - shown == {
        *("timeout: proxy", "timeout: no proxy", "timeout: whole fleet", "invalid: size"),
        *("redirect: without TLS", "not_lmstudio: TLS behind", "http_error: TLS behind"),
    }
    assert {row.status for row in (*ROWS.values(), *SILENT.values())} <= set(STATUSES)
