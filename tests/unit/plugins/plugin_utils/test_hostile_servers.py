# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that are broken on purpose: what every transport does with each, byte by byte, within its bounds of time and memory."""

from __future__ import annotations

import gzip
import json
import logging
import re
import resource
import ssl
import time
import zlib

import pytest
import trustme
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import MAX_ENTRIES
from ansible_collections.gpufleet.lmstudio.tests.raw_server import EMPTY, Server, chunks, framed, http
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK, LATE

TOKEN = "sk-lm-Zq81x7Kw0pVt5"
SENT = TOKEN.encode()
# What must never come back: the whole token, and what LM Studio quotes of it.
QUOTED = TOKEN[:10]


@pytest.fixture(params=ASK.values(), ids=ASK)
def asking(request):
    return request.param


def listing(**fields) -> bytes:
    return json.dumps({"models": [{"type": "llm", "key": "m", **fields}]}).encode()


def record_of(asking, server: Server, scheme="http", **options):
    options = {"url": f"{scheme}://127.0.0.1:{server.port}", "timeout": 20, "token": TOKEN, **options}
    return asking(make_endpoint(options, ""), "full")


CHUNKED = b"Transfer-Encoding: chunked"
GZIP = b"Content-Encoding: gzip"
# At the quickest level, because each process that collects tests makes it.
BOMB = gzip.compress(b" " * 100_000_000, 1)

# name: (the answer, the status of the record, words of the message)
ANSWERS = {
    # JSON
    "nested 100,000 deep": (http(b"[" * 100000), "invalid", "nested too deep"),
    "objects nested 100,000 deep": (http(b'{"models":' * 100000), "invalid", "nested too deep"),
    "a field nested 500 deep": (http(listing(x=json.loads("[" * 500 + "]" * 500))), "ok", ""),
    "more models than are believed": (http(b'{"models": [' + b"{}," * MAX_ENTRIES + b"{}]}"), "invalid", "more than the 10000 that"),
    "an integer of 10,000 digits": (http(b'{"models": [{"key": "m", "size_bytes": %s}]}' % (b"9" * 10000)), "ok", ""),
    "a context of 10,000 digits": (
        http(b'{"models": [{"key": "m", "loaded_instances": [{"id": "i", "config": {"context_length": %s}}]}]}' % (b"9" * 10000)),
        "invalid",
        "context_length is a number, not a whole number",
    ),
    "NaN": (http(b'{"models": [{"key": "m", "x": NaN}]}'), "invalid", "not valid JSON"),
    "Infinity": (http(b'{"models": [{"key": "m", "x": -Infinity}]}'), "invalid", "not valid JSON"),
    "a number that overflows": (http(b'{"models": [{"key": "m", "x": 1e999}]}'), "ok", ""),
    "duplicate keys": (http(b'{"models": [{"key": "a"}], "models": []}'), "ok", ""),
    "invalid UTF-8": (http(b'{"models": [{"key": "\xff\xfe"}]}'), "invalid", "not UTF-8"),
    "UTF-8 with a BOM": (http(b"\xef\xbb\xbf" + EMPTY), "ok", ""),
    "UTF-16": (http(EMPTY.decode().encode("utf-16")), "invalid", "not UTF-8"),
    "UTF-32": (http(EMPTY.decode().encode("utf-32")), "invalid", "not UTF-8"),
    "lone surrogates": (http(b'{"models": [{"key": "\\ud800", "\\udfff": "\\udfff"}]}'), "ok", ""),
    "a raw NUL in JSON": (http(b'{"models": [{"key": "\x00"}]}'), "invalid", "not valid JSON"),
    "nothing but spaces": (http(b" " * 1000), "invalid", "empty body"),
    # headers
    "a flood of headers": (framed(*(b"X-%d: y" % n for n in range(100000))), "invalid", "more HTTP headers, or longer ones"),
    "a header of a megabyte": (framed(b"X: " + b"y" * 1000000), "invalid", "more HTTP headers, or longer ones"),
    "a status line of a megabyte": (b"HTTP/1.1 200 " + b"y" * 1000000 + b"\r\n\r\n", "invalid", "more HTTP headers, or longer ones"),
    "headers that are none": (framed(b"foo", b": bar", b"\x1b[31m", b"Content-Length: 14"), "ok", ""),
    "a status that is not a number": (b"HTTP/1.1 OK\r\n\r\n" + EMPTY, "invalid", "does not speak HTTP"),
    "a status of 1000": (b"HTTP/1.1 1000 OK\r\n\r\n" + EMPTY, "invalid", "does not speak HTTP"),
    "a status of 999": (http(EMPTY, status=b"999 OK"), "http_error", "HTTP 999"),
    "no status line": (EMPTY, "invalid", "does not speak HTTP"),
    "HTTP/2 that nobody asked for": (b"HTTP/2 200 OK\r\n\r\n" + EMPTY, "invalid", "does not speak HTTP"),
    "a continue before the answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + http(EMPTY), "ok", ""),
    "early hints before the answer": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(EMPTY), "ok", ""),
    "a progress report before the answer": (b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3 + http(EMPTY), "ok", ""),
    "an unknown announcement": (b"HTTP/1.1 199 Soon\r\nContent-Length: 99\r\n\r\n" + http(EMPTY), "ok", ""),
    "hints before chunks": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + framed(CHUNKED, body=chunks(EMPTY)), "ok", ""),
    "early hints in an odd spelling": (b"HTTP/1.10   103  x\r\nX: y\r\n\r\n" + http(EMPTY), "ok", ""),
    "chunks of one byte": (framed(CHUNKED, body=b"".join(b"1\r\n%c\r\n" % byte for byte in EMPTY) + b"0\r\n\r\n"), "ok", ""),
    "an announcement with a no-break space": (b"HTTP/1.1\xa0100\r\n\r\n" + http(EMPTY), "ok", ""),
    "a hundred announcements": (b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + http(EMPTY), "ok", ""),
    "one announcement too many": (b"HTTP/1.1 102 Processing\r\n\r\n" * 101 + http(EMPTY), "invalid", "too many interim (1xx)"),
    "an announcement of many headers": (b"HTTP/1.1 103 x\r\n" + b"X: y\r\n" * 101 + b"\r\n" + http(EMPTY), "invalid", "more HTTP headers"),
    "an announcement of many headers, and no answer": (b"HTTP/1.1 103 x\r\n" + b"X: y\r\n" * 101 + b"\r\n", "invalid", "more HTTP headers"),
    "hints and no answer": (b"HTTP/1.1 103 Early Hints\r\n\r\n", "disconnected", "before the answer was complete"),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n" + http(EMPTY), "http_error", "HTTP 101"),
    # lengths
    "one length twice": (framed(b"Content-Length: 14", b"Content-Length: 14"), "ok", ""),
    "two lengths": (framed(b"Content-Length: 14", b"Content-Length: 13"), "invalid", "Content-Length is not one number"),
    "two lengths in one line": (framed(b"Content-Length: 14, 13"), "invalid", "Content-Length is not one number"),
    "a negative length": (framed(b"Content-Length: -14"), "invalid", "Content-Length is not one number"),
    "a length with a sign": (framed(b"Content-Length: +14"), "invalid", "Content-Length is not one number"),
    "a length in words": (framed(b"Content-Length: many"), "invalid", "Content-Length is not one number"),
    "a length in other digits": (framed(b"Content-Length: \xb2"), "invalid", "Content-Length is not one number"),
    "a length of 10,000 digits": (framed(b"Content-Length: " + b"9" * 10000), "invalid", "more than the 16777216 bytes"),
    "a length that is too small": (framed(b"Content-Length: 5"), "invalid", "not valid JSON"),
    "a length that is too large": (framed(b"Content-Length: 15"), "disconnected", "before the answer was complete"),
    # Chunks count, as HTTP says. Nothing follows on this connection that could be misread.
    "a length beside chunks": (framed(b"Content-Length: 3", CHUNKED, body=chunks(EMPTY)), "ok", ""),
    "a chunk size that is none": (framed(CHUNKED, body=b"zz\r\n" + EMPTY), "disconnected", "before the answer was complete"),
    "a chunk size of 17 digits": (framed(CHUNKED, body=b"f" * 17 + b"\r\n" + EMPTY), "disconnected", "before the answer was complete"),
    "a negative chunk size": (framed(CHUNKED, body=b"-e\r\n" + EMPTY), "invalid", "a chunk whose size is below zero"),
    "a chunk size of minus one": (framed(CHUNKED, body=b"-1\r\n" + EMPTY), "invalid", "a chunk whose size is below zero"),
    "a chunk size far below zero": (framed(CHUNKED, body=b"-" + b"9" * 400 + b"\r\n"), "invalid", "a chunk whose size is below zero"),
    "a second chunk below zero": (framed(CHUNKED, body=b"1\r\n{\r\n-1\r\n" + EMPTY), "invalid", "a chunk whose size is below zero"),
    "an unknown transfer coding": (
        framed(b"Transfer-Encoding: gzip, chunked", body=chunks(EMPTY)),
        "invalid",
        "a transfer coding that was not",
    ),
    "two transfer codings": (framed(CHUNKED, b"Transfer-Encoding: x", body=chunks(EMPTY)), "invalid", "a transfer coding that was not"),
    # A carriage return by itself ends a line of the head, too.
    "a bare CR after the transfer coding": (framed(CHUNKED + b"\r", body=chunks(EMPTY)), "ok", ""),
    "a header after a bare CR": (framed(CHUNKED + b"\rX: y", body=chunks(EMPTY)), "ok", ""),
    "a transfer coding after a bare CR": (framed(b"X: y\r" + CHUNKED, body=chunks(EMPTY)), "ok", ""),
    "a transfer coding with a bare CR in it": (
        framed(b"Transfer-Encoding: chu\rnked", body=chunks(EMPTY)),
        "invalid",
        "a transfer coding that was not",
    ),
    "a transfer coding that goes on after a bare CR": (
        framed(CHUNKED + b"\r x", body=chunks(EMPTY)),
        "invalid",
        "a transfer coding that was not",
    ),
    "more than the length": (framed(b"Content-Length: 14", body=EMPTY + b"more"), "ok", ""),
    "more than the length, twice": (framed(b"Content-Length: 14, 14", body=EMPTY + b"more"), "ok", ""),
    # bombs
    "a gzip bomb": (http(BOMB, GZIP), "invalid", "more than the 16777216 bytes"),
    "a gzip bomb in gzip": (http(gzip.compress(BOMB), GZIP), "invalid", "not UTF-8"),
    "a deflate bomb": (http(zlib.compress(b" " * 100_000_000, 1), b"Content-Encoding: deflate"), "invalid", "more than the 16777216 bytes"),
    "gzip that is not gzip": (http(EMPTY, GZIP), "invalid", "claims to be gzip but is not"),
    "gzip that ends too early": (http(gzip.compress(EMPTY)[:-9], GZIP), "invalid", "ends too early"),
    "codings nobody asked for": (http(EMPTY, b"Content-Encoding: gzip, gzip, br"), "invalid", "an encoding that was not requested"),
    # redirects
    "a redirect to a file": (http(b"", b"Location: file:///etc/passwd", status=b"302 F"), "redirect", "to an address of another kind"),
    "a redirect to a cloud's metadata": (
        http(b"", b"Location: http://169.254.169.254/latest/meta-data/", status=b"307 T"),
        "redirect",
        "redirects to http://169.254.169.254.",
    ),
    "a redirect without a scheme": (
        http(b"", b"Location: //evil.example/x", status=b"301 M"),
        "redirect",
        "redirects to http://evil.example.",
    ),
    "a redirect with escape sequences": (http(b"", b"Location: http://\x1b7evil.example/", status=b"302 F"), "redirect", r"//\x1b7evil"),
    "a refresh": (http(EMPTY, b"Refresh: 0; url=file:///etc/passwd"), "ok", ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_a_stated_outcome(asking, name):
    answer, status, says = ANSWERS[name]
    with Server(answer) as server:
        record = record_of(asking, server)
        assert server.asked == 1  # Nothing is followed, and nothing is tried again.
    assert record["status"] == status, record["error"]
    message = record["error"]["message"] if record["error"] else ""
    assert says in message
    assert message.isprintable() and len(message) < 400
    json.dumps(record, allow_nan=False, ensure_ascii=False).encode("utf-8")


def test_ten_million_models_end_at_the_limit(asking):
    body = b'{"models": [' + b"{}," * 10_000_000 + b"{}]}"
    # Made before anything is measured: the process of the test holds what the servers send, too.
    answers = [http(body), framed(CHUNKED, body=chunks(body))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for answer in answers:
        with Server(answer) as server:
            assert "more than the 16777216 bytes" in record_of(asking, server)["error"]["message"]
    # The chunked body has no length to judge by, and is read up to the limit. (In kilobytes.)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


# name: what comes first, and what then comes one byte at a time without end
DRIPS = {
    "the status line": (b"", b"H"),
    "continues": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "continues with headers": (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "the size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("name", DRIPS)
def test_slow_bytes_end_at_the_deadline(asking, name):
    with Server(*DRIPS[name]) as server:
        began = time.monotonic()
        record = record_of(asking, server, timeout=0.5)
        took = time.monotonic() - began
    assert record["status"] == "timeout", record["error"]
    assert took < 0.5 + LATE


@pytest.mark.parametrize(
    "first, forever",
    [
        (b"", b"\x16"),  # the type of a handshake record, again and again
        (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", b"\x00"),  # a ServerHello that does not end
    ],
)
def test_a_slow_handshake_ends_at_the_deadline(asking, first, forever):
    with Server(first, forever) as server:
        began = time.monotonic()
        record = record_of(asking, server, scheme="https", timeout=0.5)
        took = time.monotonic() - began
    # OpenSSL may see at once that this is not TLS.
    assert record["status"] in ("timeout", "tls"), record["error"]
    assert took < 0.5 + LATE


def test_a_slow_proxy_ends_at_the_deadline(asking, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n") as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        endpoint = make_endpoint({"url": "https://gpu01.invalid", "timeout": 0.5, "use_proxy": True}, "")
        began = time.monotonic()
        record = asking(endpoint, "full")
        took = time.monotonic() - began
    assert record["status"] == "timeout", record["error"]
    assert took < 0.5 + LATE


def test_a_flood_of_continues_ends_with_constant_memory(asking):
    class Flood(Server):
        def answer(self, client):
            client.recv(65536)
            while True:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Flood(b"") as server:
        assert "sent too many interim (1xx) responses" in record_of(asking, server, timeout=60)["error"]["message"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_control_characters_become_a_replacement(asking):
    name = "".join(chr(code) for code in (0, 7, 8, 10, 9, 13, 27, 0x7F, 0x80, 0x9B, 0x9F)) + "m"
    for ensure_ascii in (True, False):
        body = json.dumps({"models": [{"key": name, name: {"deep": [name]}}]}, ensure_ascii=ensure_ascii).encode()
        with Server(http(body)) as server:
            record = record_of(asking, server)
        shown = json.dumps(record, ensure_ascii=False)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]|\\u00|\\[bfr]", shown)
        assert record["models"][0]["key"] == "\ufffd" * 3 + "\n\t" + "\ufffd" * 6 + "m"


ECHOES = {
    "the reason": http(EMPTY, status=b"200 " + SENT),
    "a reason of an error": http(b"", status=b"500 " + SENT),
    "a name of a header": http(EMPTY, SENT + b": x"),
    "a header": http(EMPTY, b"X: " + SENT),
    "a header that is none": framed(SENT, b": " + SENT, b"Content-Length: 14"),
    "the status line": SENT + b"\r\n\r\n",
    "the type": http(SENT, b"Content-Type: " + SENT),
    "the coding": http(EMPTY, b"Content-Encoding: " + SENT),
    "the transfer coding": framed(b"Transfer-Encoding: " + SENT),
    "the length": framed(b"Content-Length: " + SENT),
    "two lengths": framed(b"Content-Length: 1", b"Content-Length: " + SENT),
    "a redirect's host": http(b"", b"Location: http://" + SENT + b".example/", status=b"302 F"),
    "a redirect's scheme": http(b"", b"Location: " + SENT + b"://x/", status=b"302 F"),
    "a redirect's userinfo": http(b"", b"Location: http://" + SENT + b"@x/", status=b"302 F"),
    "a chunk's extension": framed(CHUNKED, body=chunks(EMPTY, extension=b";x=" + SENT)),
    "a chunk's size": framed(CHUNKED, body=SENT + b"\r\n"),
    "the trailer": framed(CHUNKED, body=chunks(EMPTY, trailer=b"X: " + SENT + b"\r\n")),
    "a body that is not JSON": http(SENT),
    "a text": http(json.dumps(TOKEN).encode()),
    "an error": http(json.dumps({"error": {"message": TOKEN, TOKEN: TOKEN}}).encode()),
    "the API's own key": http(json.dumps({"models": TOKEN}).encode()),
    "every field": http(
        listing(**dict.fromkeys(("type", "key", "display_name", "size_bytes", "format", "variants", "capabilities", TOKEN), TOKEN))
    ),
    "a key of an instance": http(listing(loaded_instances=[{"id": TOKEN, "config": {TOKEN: [TOKEN, {TOKEN: 1}]}, TOKEN: TOKEN}])),
    "a wrong type": http(listing(loaded_instances=TOKEN)),
    "a long text": http(listing(description="x" * 100 + TOKEN + "x" * 100)),
    "escaped letters": http(b'{"models": [{"key": "%s"}]}' % b"".join(b"\\u%04x" % ord(letter) for letter in TOKEN)),
    "a web page": http(b"<html>" + SENT, b"Content-Type: text/html"),
    **{f"the body of a {code}": http(SENT, status=b"%d X" % code) for code in (400, 401, 403, 404, 407, 418, 500, 502, 503)},
}


@pytest.mark.parametrize("beginning", [False, True], ids=["whole", "its beginning"])
@pytest.mark.parametrize("name", ECHOES)
def test_a_token_that_is_echoed_is_nowhere(asking, caplog, name, beginning):
    caplog.set_level(logging.DEBUG)
    with Server(ECHOES[name].replace(SENT, SENT[: len(QUOTED)].ljust(len(SENT), b"-")) if beginning else ECHOES[name]) as server:
        record = record_of(asking, server)
    assert QUOTED.lower() not in json.dumps(record).lower()
    # Ansible's log file gets what libraries log.
    assert QUOTED not in caplog.text


def test_urllib3_logs_nothing_of_what_a_server_sent(caplog):
    with Server(framed(b"foo", b"Content-Length: 14")) as server:
        assert record_of(ASK["requests"], server)["ok"]
    assert not caplog.records


HOSTILE_NAMES = ["{{ lookup('pipe', 'id') }}", "\x1b]0;title\x07\x1b[31m", "a" * 60, TOKEN]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_certificate_with_a_hostile_name_is_tls_in_one_printable_line(asking, name, tmp_path):
    authority = trustme.CA(organization_name=name[:64])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example", *(f"host{n}.example" for n in range(1000)), common_name=name).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for options in ({}, {"ca_path": str(tmp_path / "ca.pem")}):
        with Server(http(EMPTY), context=context) as server:
            record = record_of(asking, server, scheme="https", **options)
            assert server.asked == 0
        message = record["error"]["message"]
        assert record["status"] == "tls"
        assert message.isprintable() and len(message) < 300
        assert QUOTED not in json.dumps(record) and "lookup" not in message
