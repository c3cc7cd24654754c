# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that nobody thought of: real ones, changed at random as JSON, as HTTP and as bytes, for as long as you like.

    LMSTUDIO_FUZZ_SECONDS=3600 LMSTUDIO_PAYLOADS=FOLDER .venv/dev/bin/python -m pytest -s tests/fuzz

LMSTUDIO_FUZZ_SECONDS is for each target, with new examples every time. Without it they are the same ones each time, so that a change does
not fail for what it did not touch. LMSTUDIO_PAYLOADS is a folder of more answers to start from.

An example is the number of an answer and a list of numbers, each of which seeds one change of it. So Hypothesis, which shrinks lists,
finds the few changes that a failure needs, and a hundred thousand examples take minutes. What fails is kept in .hypothesis and
tried first the next time; elsewhere, put the line that begins with @reproduce_failure above the @given of that target.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import gzip
import json
import os
import random
import re
import socket
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import APIS, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import LIST_MODELS, read_models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.reader import Reader
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _requests
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet import event_loop
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.answer_cache import KnownModels
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("LMSTUDIO_FUZZ_SECONDS", "0"))
EXAMPLES = 2000
"""Of each target, without LMSTUDIO_FUZZ_SECONDS."""
FOLDERS = [Path(__file__).parents[1] / "simulator" / "payloads", *map(Path, filter(None, [os.environ.get("LMSTUDIO_PAYLOADS")]))]
OLDER = [
    {
        "id": f"qwen/chat-{state}",
        "object": "model",
        "type": "vlm",
        "publisher": "qwen",
        "arch": "qwen3",
        "state": state,
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "max_context_length": 40960,
        "loaded_context_length": 8192,
        "capabilities": ["tool_use"],
    }
    for state in ("loaded", "not-loaded", "loading")
]
SEEDS = [path.read_text(encoding="utf-8") for folder in FOLDERS for path in sorted(folder.glob("*.json"))]
SEEDS.append(json.dumps({"object": "list", "data": OLDER}))
TOKEN = "sk-lm-AbCdEf0123456789"
SECRET = "0f9e8d7c6b5a4321"
OPTIONS = {"token": TOKEN, "headers": {"X-Key": f"Key {SECRET}"}, "timeout": 20}
ENDPOINTS = [
    make_endpoint({**OPTIONS, "max_response_bytes": limit}, "http://gpu01") for limit in (16 * 1024 * 1024, 16 * 1024 * 1024, 2000, 1)
]

# --- a document, which may not be JSON at all ---


class Raw(NamedTuple):
    """Text that JSON contains without an escape."""

    text: str


class Pairs(list):
    """A JSON object, whose keys may repeat."""


def text_of(value):
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{text_of(key)}:{text_of(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    return json.dumps(value)


def escaped(text):
    return "".join(f"\\u{ord(char):04x}" for char in text)


ODD_JSON = ("\\u0000", "\\u001b[31m", "\\u009b", "\\ud800", "\\udc00", "\\ufeff", "\\b", "\u200b", "\x9b", "\x7f", "\n", "\x00", "\\x", '"')
TOKENS = [
    *(TOKEN, TOKEN[:10], TOKEN * 3, f"a {TOKEN}b", TOKEN[:5] + TOKEN + TOKEN[5:], TOKEN[:5] + TOKEN[:10] + TOKEN[5:], "x" * 66 + TOKEN),
    *(SECRET, f"Key {SECRET}", Raw(f'"{escaped(TOKEN)}"'), Raw(f'"{escaped(SECRET)}"')),
    *(Raw(f'"{TOKEN[:5]}{odd}{TOKEN[5:]}"') for odd in ODD_JSON),
]
TEXTS = [
    *("", "ok", "llm", "embedding", "{{ 7 * 7 }}", "Unexpected endpoint or method.", "\x00\x1b[31m\x9b", "\ufeff", "\u2028", "é" * 300),
    *(Raw(f'"{odd}{odd}a"') for odd in ODD_JSON),
]
NUMBERS = [
    *(True, False, 0, -1, 1, 4096, 10**17, 10**18, -(10**18), 2**63, 2**64, 10**30, 0.5, 1e17, 1e18, 1e300, -0.0, 5e-324),
    *map(Raw, ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "1E400", "-0", "4096.0", "4.096e3", "01", "1.", ".5", "0x10"]),
    *(Raw(sign + "9" * digits) for sign in ("", "-") for digits in (18, 19, 400, 4301, 50000)),
    *(Raw(f"0.{'3' * 5000}"), Raw(f"1{'0' * 400}.0"), Raw("1e" + "9" * 5000)),
]
CONTAINERS = [[], [None], [[]], ["a", "b"], [1, "b"], Pairs(), Pairs([("a", None)]), Pairs([("key", "a")]), Pairs([(TOKEN, [TOKEN])])]
DEEP = [("[", "", "]"), ('{"a":', "1", "}"), ('[{"a":', f'"{TOKEN}"', "}]"), ("[", "", "")]
KEYS = [
    *sorted(set(re.findall(r'"([a-z_]+)"\s*:', "".join(SEEDS)))),
    *("__ansible_type", "__ansible_unsafe", "__payload__", "data", "detail", "error", "loaded", "items", ""),
    *("\x1b[31m", Raw('"\\ud800"'), Raw('"\\u005f_ansible_a"'), Raw(f'"{escaped(TOKEN)}"'), TOKEN, TOKEN[:10]),
]


def any_value(dice):
    pool = dice.choice([[None], NUMBERS, NUMBERS, TEXTS, TOKENS, CONTAINERS, DEEP, ["text"]])
    value = dice.choice(pool)
    if pool is DEEP:
        opening, inner, closing = value
        depth = dice.choice([3, 14, 15, 16, 17, 900, 20000])
        return Raw(opening * depth + inner + closing * depth)
    if value == "text":
        return "".join(chr(dice.choice([dice.randrange(0xA0), dice.randrange(0x3000), dice.randrange(0x110000)])) for _char in range(9))
    return copy.deepcopy(value)


def places(node):
    """Where the values of a document are: each as its container and its number there."""
    for number, item in enumerate(node):
        yield node, number
        value = item[1] if isinstance(node, Pairs) else item
        if isinstance(value, list):
            yield from places(value)


def put(node, number, value):
    node[number] = (node[number][0], value) if isinstance(node, Pairs) else value


def change_document(dice, top):
    """Replace, remove, repeat, move, rename or add one value somewhere in a document."""
    found = list(places(top))
    if not found:
        return
    node, number = dice.choice(found)
    kind = dice.choice(["replace", "replace", "replace", "delete", "repeat", "move", "rename", "add"])
    if kind == "replace":
        put(node, number, any_value(dice))
    elif kind == "delete":
        del node[number]
    elif kind == "repeat":
        node.insert(number, copy.deepcopy(node[number]))
        if dice.random() < 0.5:
            put(node, number, any_value(dice))
    elif kind == "move":
        node.insert(dice.randrange(len(node)), node.pop(number))
    elif not isinstance(node, Pairs):
        node.insert(number, any_value(dice))
    elif kind == "rename":
        node[number] = (dice.choice(KEYS), node[number][1])
    else:
        node.insert(number, (dice.choice(KEYS), any_value(dice)))


# --- bytes ---

SNIPPETS = [
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\x1b", b"\xc2\x9b", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *(b'"', b"{", b"}", b",", b"\\u", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b":", b" ", b"\t", b"0", b"-1", b"9" * 30, b"\xb2"),
    *(TOKEN.encode(), TOKEN[:10].encode(), b"<html>", b"Unexpected endpoint", b'"data":', b'{"models":[]}', b"HTTP/1.1 200 OK\r\n"),
]


def damage(dice, data):
    """Put bytes in, write over some, flip one, cut some out, cut off the end, or go on as another part of the same text."""
    # Half of it where the head of an HTTP answer is.
    start = dice.randrange(len(data) + 1) if dice.random() < 0.5 else dice.randrange(min(200, len(data)) + 1)
    kind = dice.choice(["insert", "overwrite", "flip", "cut", "end", "splice"])
    new = dice.choice(SNIPPETS) if dice.random() < 0.7 else bytes(dice.randrange(256) for _byte in range(dice.randrange(1, 4)))
    if kind == "insert":
        return data[:start] + new + data[start:]
    if kind == "overwrite":
        return data[:start] + new + data[start + len(new) :]
    if kind == "flip":
        return data[:start] + bytes(byte ^ 1 << dice.randrange(8) for byte in data[start : start + 1]) + data[start + 1 :]
    if kind == "cut":
        return data[:start] + data[start + dice.randrange(1, 60) :]
    if kind == "end":
        return data[:start]
    return data[:start] + data[dice.randrange(len(data) + 1) :]


# --- a body alone ---

numbers = st.integers(0, 2**64 - 1)
changes = st.lists(numbers, max_size=6)
seeds = st.integers(0, len(SEEDS) - 1)


def parsed(seed):
    return [json.loads(SEEDS[seed], object_pairs_hook=Pairs)]


def encoded(top):
    return "".join(map(text_of, top[:1])).encode("utf-8", "surrogatepass")


ENCODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": lambda body: gzip.compress(body) + gzip.compress(body),
    " GZIP\t": lambda body: gzip.compress(body)[:-4],
    "br": lambda body: body,
    "identity": lambda body: body,
    f"{TOKEN}\x1b[31m": lambda body: body,
}
CODES = [100, 101, 102, 103, 199, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 413, 418, 429, 500, 502, 503, 504, 520, 530, 599, 999]
LOCATIONS = [
    *(
        "",
        "/",
        "http://[::1",
        f"http://{TOKEN}/",
        f"https://a:{TOKEN}@b:1/",
        "//\x1b[31m",
        "http://[::1]:99999",
        f"{TOKEN}://x",
        "http://[v1.x]/",
    ),
    *("http://a\u2100b/", "http://\x9b[31m/", "http://[fe80::1%25\x1b]/", "\u017f://x"),
]


def change_answer(dice, answer):
    """Change what is not the body of an answer."""
    kind = dice.choice(["http_status", "content_type", "content_encoding", "location", "too_large"])
    if kind == "http_status":
        return answer._replace(http_status=dice.choice(CODES))
    if kind == "content_type":
        return answer._replace(
            content_type=dice.choice(["", "text/html", f"text/html; charset=\x1b{TOKEN}", "application/json; charset=x"])
        )
    if kind == "content_encoding":
        encoding = dice.choice(list(ENCODINGS))
        return answer._replace(content_encoding=encoding, body=ENCODINGS[encoding](answer.body))
    if kind == "location":
        return answer._replace(http_status=302, location=dice.choice(LOCATIONS))
    return answer._replace(body=b"", too_large=True)


def answer_of(seed, changes):
    """An answer as a transport hands it over, changed first as JSON and then otherwise."""
    top = parsed(seed)
    later = []
    for number in changes:
        dice = random.Random(number)
        kind = dice.choice(["document"] * 6 + ["bytes"] * 2 + ["answer"])
        if kind == "document":
            change_document(dice, top)
        else:
            later.append((kind, dice))
    answer = Response(200, encoded(top), content_type="application/json")
    for kind, dice in later:
        answer = change_answer(dice, answer) if kind == "answer" else answer._replace(body=damage(dice, answer.body))
    return answer


# --- a whole HTTP answer ---


def chunks(body, size=700, end=b"0\r\n\r\n", line=b"%x\r\n%s\r\n"):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(line % (len(part), part) for part in parts) + end


def length(body):
    return b"Content-Length: %d" % len(body)


CHUNKED = b"Transfer-Encoding: chunked"
GZIP = b"Content-Encoding: gzip"
FRAMINGS = {
    "its length": lambda body: ([length(body)], body),
    "no length": lambda body: ([], body),
    "chunked": lambda body: ([CHUNKED], chunks(body)),
    "gzip": lambda body: ([GZIP, length(gzip.compress(body))], gzip.compress(body)),
    "gzip in chunks": lambda body: ([GZIP, CHUNKED], chunks(gzip.compress(body), 100)),
    "gzip cut off": lambda body: ([GZIP], gzip.compress(body)[:-9]),
    "gzip that is not gzip": lambda body: ([GZIP, length(body)], body),
    "gzip twice": lambda body: ([b"Content-Encoding: gzip, gzip"], gzip.compress(gzip.compress(body))),
    "deflate": lambda body: ([b"Content-Encoding: deflate"], zlib.compress(body)),
    "deflate without a head": lambda body: ([b"Content-Encoding: deflate"], zlib.compress(body)[2:-4]),
    "an encoding": lambda body: ([b"Content-Encoding: " + TOKEN.encode()], body),
    "longer": lambda body: ([b"Content-Length: %d" % (len(body) + 1)], body),
    "shorter": lambda body: ([b"Content-Length: %d" % (len(body) - 1)], body),
    "zero": lambda body: ([b"Content-Length: 0"], body),
    "equal lengths": lambda body: ([length(body), length(body)], body),
    "equal lengths in one": lambda body: ([b"Content-Length: %d, %d" % (len(body), len(body))], body),
    "different lengths": lambda body: ([length(body), b"Content-Length: 5"], body),
    "different lengths, other order": lambda body: ([b"Content-Length: 5", length(body)], body),
    "different lengths in one": lambda body: ([b"Content-Length: %d, 5" % len(body)], body),
    "length and chunks": lambda body: ([length(body), CHUNKED], chunks(body)),
    "chunks and length": lambda body: ([CHUNKED, b"Content-Length: 5"], chunks(body)),
    "chunks that are not chunks": lambda body: ([CHUNKED], body),
    "chunks without a header": lambda body: ([], chunks(body)),
    "chunks without end": lambda body: ([CHUNKED], chunks(body, end=b"")),
    "chunks with half an end": lambda body: ([CHUNKED], chunks(body, end=b"0\r\n")),
    "chunks with a trailer": lambda body: ([CHUNKED], chunks(body, end=b"0\r\nX-Late: %s\r\n\r\n" % TOKEN.encode())),
    "chunks with long trailers": lambda body: ([CHUNKED], chunks(body, end=b"0\r\n" + b"X-Late: %s\r\n" % (b"x" * 66000) + b"\r\n")),
    "chunks with extensions": lambda body: ([CHUNKED], chunks(body, line=b"%x;a=b\r\n%s\r\n")),
    "chunks with long extensions": lambda body: ([CHUNKED], chunks(body, 2000, line=b"%x;" + b"x" * 66000 + b"\r\n%s\r\n")),
    "chunks without line ends": lambda body: ([CHUNKED], chunks(body, line=b"%x\r\n%s")),
    "chunks with line feeds": lambda body: ([CHUNKED], chunks(body, line=b"%x\n%s\n", end=b"0\n\n")),
    **{
        f"chunk size {text!r}": lambda body, text=text: ([CHUNKED], text + b"\r\n" + chunks(body))
        for text in (b"", b"zz", b"-5", b"-1", b"+5", b"0x5", b"1_0", b" 5 ", b"f" * 20, b"f" * 70000, b"\xb2", b";", TOKEN.encode())
    },
    **{
        f"length {text!r}": lambda body, text=text: ([b"Content-Length: " + text], body)
        for text in (
            b"",
            b"-1",
            b"+5",
            b"0x10",
            b"1_0",
            b"\xb2",
            b"1e3",
            b"5;",
            b"5,",
            b",",
            b"9" * 18,
            b"9" * 19,
            b"9" * 5000,
            TOKEN.encode(),
        )
    },
    **{
        f"transfer encoding {text!r}": lambda body, text=text: ([b"Transfer-Encoding: " + text], chunks(body))
        for text in (
            b"CHUNKED",
            b" chunked ",
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"",
            b"chunked\r\n gzip",
            b"chunked;q=1",
        )
    },
}
STATUS_LINES = [
    *(b"HTTP/1.%d %d OK" % (minor, code) for code in CODES for minor in (0, 1)),
    *(b"HTTP/1.1 200", b"HTTP/1.1  200  OK", b"HTTP/1.1 200 " + TOKEN.encode(), b"HTTP/0.9 200 OK", b"HTTP/2 200", b"HTTP/2.0 200 OK"),
    *(
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 abc",
        b"HTTP/1.1 2_0_0 OK",
        b"HTTP/1.1 \xb2\xb2\xb2 OK",
        b"HTTP/1.1",
    ),
    *(
        b"HTTP/1.1 +200 OK",
        b"http/1.1 200 ok",
        b"HTTP/ 200 OK",
        b"HTTP/x.y 200 OK",
        b"HTTP/1.1\t200\tOK",
        b"ICY 200 OK",
        b"",
        b"SSH-2.0-" + TOKEN.encode(),
    ),
    *(b"HTTP/1.1 200 " + b"x" * 65000, b"HTTP/1.1 200 " + b"x" * 66000, b"HTTP/1.1 200 \x1b[31m\x9b", b"\xef\xbb\xbfHTTP/1.1 200 OK"),
]
HEADERS = [
    *(
        b"Content-Type: text/html",
        b"Content-Type: " + TOKEN.encode(),
        b"Content-Type:",
        b"Content-Type: ;charset",
        b"Content-Type: a; =; b=\xff",
    ),
    *(
        b"X-Folded: a\r\n b",
        b"X-Folded: a\r\n\tContent-Length: 5",
        b" Folded: from the start",
        b"\tb",
        b" ",
        b":",
        b": b",
        b"no colon",
        b"X:",
    ),
    *(
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b"content-length: 7",
        b"X-Y: \x00",
        b"X-Y: \x1b]0;x\x07",
        b"X-Y: \xff\xfe",
        b"X\xff: y",
        b"X Y: z",
    ),
    *(
        b"Transfer-Encoding : chunked",
        b"transfer-encoding: chunked",
        b"Transfer-Encoding:",
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
    ),
    *(b"Location: " + where.encode("utf-8") for where in LOCATIONS),
    *(
        b"Set-Cookie: a=b",
        b'Set-Cookie: a=b; expires=Foo; domain=\xff; port="x"; version=1; max-age=-9e9',
        b'Set-Cookie2: a=b; Version="1"; Port',
    ),
    *(b"Set-Cookie: " + TOKEN.encode(), b"Set-Cookie: =;;=", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket"),
    *(
        b"Retry-After: 9999999",
        b"Retry-After: x",
        b"WWW-Authenticate: Digest " + TOKEN.encode(),
        b"X-Long: " + b"x" * 65000,
        b"X-Long: " + b"x" * 66000,
    ),
    *(b"\r\n".join([b"X-Many: y"] * many) for many in (60, 90, 99, 100, 101, 500)),
    *(
        b"X-Cr: a\rContent-Length: 5",
        b"X-Lf: a\nContent-Length: 5",
        b"X-Nel: a\x85Content-Length: 5",
        b"X-Vt: a\x0bContent-Length: 5",
        b"X-Fs: a\x1cb: c",
    ),
    *(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a", b"Content-Type: message/rfc822", b"From a b", b"Proxy-Status: x"),
]
INTERIM = [
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
    *(
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100\r\n\r\n" * 50,
        b"HTTP/1.1 100 Continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
    ),
    *(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 " + b"x" * 66000 + b"\r\n\r\n",
        b"HTTP/1.1 100\r\nno colon\r\n\r\n",
    ),
]


def http_of(seed, changes):
    """The bytes of an HTTP answer, changed first in its parts and then as bytes."""
    top = parsed(seed)
    before, status, framing, headers = b"", b"HTTP/1.1 200 OK", FRAMINGS["its length"], [b"Content-Type: application/json"]
    damages = []
    for number in changes:
        dice = random.Random(number)
        kind = dice.choice(["framing"] * 4 + ["header"] * 4 + ["status", "before", "document"] + ["bytes"] * 3)
        if kind == "framing":
            framing = FRAMINGS[dice.choice(list(FRAMINGS))]
        elif kind == "header":
            headers.insert(dice.randrange(len(headers) + 1), dice.choice(HEADERS))
        elif kind == "status":
            status = dice.choice(STATUS_LINES)
        elif kind == "before":
            before += dice.choice(INTERIM)
        elif kind == "document":
            change_document(dice, top)
        else:
            damages.append(dice)
    framed, body = framing(encoded(top))
    for line in framed:
        headers.insert(random.Random(len(changes)).randrange(len(headers) + 1), line)
    data = before + b"\r\n".join([status, *headers, b"", body])
    for dice in damages:
        data = damage(dice, data)
    return data


class Socket(socket.socket):
    """One end of a socket pair that may be taken for TCP."""

    def setsockopt(self, *_args):
        pass


@contextlib.contextmanager
def served(data):
    """A function in place of `connect`: its sockets have the whole answer to read, and then its end."""
    servers = []

    def connect(_host, _port, deadline):
        near, far = socket.socketpair()
        servers.append(far)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data) + 100_000)
        far.setblocking(False)
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        client = Socket(fileno=near.detach())
        deadline.watch(client)
        return client

    try:
        yield connect
    finally:
        for server in servers:
            server.close()


# --- what must hold ---

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
EMPTY = ask(ENDPOINTS[0], lambda endpoint, request: Response(200, b'{"models": []}'), "full")


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value:
            yield from strings_of(item)
        if isinstance(value, dict):
            yield from strings_of(list(value.values()))


def judged(record):
    """The record, after checking what must hold for any."""
    shown = json.dumps(record, allow_nan=False)
    json.dumps(record, ensure_ascii=False).encode("utf-8")
    assert json.loads(shown) == record
    assert TOKEN[:10] not in shown and SECRET not in shown
    assert '"__ansible_' not in shown and '"__payload__' not in shown
    assert not any(map(CONTROL.search, strings_of(record)))
    assert list(record) == list(EMPTY)
    assert (list(record["counts"]), list(record["size_bytes"])) == (list(EMPTY["counts"]), list(EMPTY["size_bytes"]))
    assert record["status"] in STATUSES
    assert record["ok"] == (record["status"] == "ok") == (record["error"] is None) == (record["fingerprint"] is not None)
    assert record["ok"] or (list(record["error"]) == ["message", "hint", "http_status"] and "\n" not in record["error"]["message"])
    return record


class Target:
    """Gives examples to a check, new ones until its time is over or the same ones each time, and tells what came of them."""

    def __init__(self, name, check):
        self.name, self.check = name, check
        self.examples = 0
        self.slowest = 0.0
        self.statuses = Counter()

    def run(self):
        fuzzing = settings(
            max_examples=500 if SECONDS else EXAMPLES,
            deadline=None,
            derandomize=not SECONDS,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )

        @fuzzing
        @given(seeds, changes, numbers)
        def run_some(seed, changes, number):
            began = time.monotonic()
            self.statuses[self.check(seed, changes, random.Random(number))] += 1
            self.examples += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

        gc.collect()
        files = len(os.listdir("/proc/self/fd"))
        began = time.monotonic()
        try:
            run_some()
            while time.monotonic() - began < SECONDS:
                run_some()
        finally:
            print(f"\n{self.name}: {self.examples:,} examples in {time.monotonic() - began:.0f} s, the slowest took {self.slowest:.2f} s")
            print("   " + ", ".join(f"{status} {number:,}" for status, number in self.statuses.most_common()))
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= files


def said_of(answer, endpoint, read_model):
    try:
        return read_models(answer, endpoint, read_model)
    except ApiError as exc:
        return exc.status, exc.problem


def test_any_answer_gives_a_whole_record_without_the_token():
    known = KnownModels()

    def check(seed, changes, dice):
        answer, endpoint = answer_of(seed, changes), dice.choice(ENDPOINTS)
        note(f"{answer!r} to {endpoint.max_response_bytes}")
        assert said_of(answer, endpoint, Reader.read) == said_of(answer, endpoint, known.read)
        asked = endpoint._replace(api=dice.choice(APIS), confirm_loaded=dice.choice([True, False]))
        record = ask(asked, lambda endpoint, request: answer, dice.choice(["full", "loaded"]))
        assert (record.pop("confirmed", None) is True) <= record["ok"]
        return f"{judged(record)['status']} {record['api'] or ''}"

    Target("read_models", check).run()


@contextlib.contextmanager
def exchanging(endpoint):
    """A deadline, until which whatever goes wrong is explained, as by whoever holds it."""
    deadline = Deadline(endpoint.timeout)
    try:
        yield deadline
    except blocking.EXCHANGE_ERRORS as exc:
        raise blocking.as_api_error(exc, endpoint, deadline) from None
    finally:
        deadline.cancel()


def record_from(driver, data, endpoint, monkeypatch):
    """The record that a driver makes from an HTTP answer."""

    def fetch(endpoint, request):
        with exchanging(endpoint) as deadline:
            return driver.exchange(endpoint, LIST_MODELS, deadline)

    with served(data) as connect, monkeypatch.context() as patch:
        patch.setattr(driver, "connect", connect)
        return judged(ask(endpoint, fetch, "full"))


LOOP = asyncio.new_event_loop()


def record_of_pieces(data, endpoint, dice):
    """The record that the driver of fleets makes from an HTTP answer which arrives in pieces."""

    async def receive(limit):
        reader = asyncio.StreamReader()

        async def send():
            at = 0
            while at < len(data):
                piece = data[at : at + dice.choice([1, 7, 100, 5000, 65536])]
                at += len(piece)
                reader.feed_data(piece)
                await asyncio.sleep(0)
            reader.feed_eof()

        sending = asyncio.create_task(send())
        try:
            return await event_loop.receive(reader, limit)
        finally:
            sending.cancel()

    def fetch(endpoint, request):
        with exchanging(endpoint) as deadline:
            deadline.connected = deadline.sent = True
            return LOOP.run_until_complete(receive(endpoint.max_response_bytes))

    return judged(ask(endpoint, fetch, "full"))


def test_all_drivers_read_the_same_in_any_bytes(monkeypatch):
    def check(seed, changes, dice):
        data, endpoint = http_of(seed, changes), dice.choice(ENDPOINTS)
        note(f"{data!r} to {endpoint.max_response_bytes}")
        one = record_from(blocking, data, endpoint, monkeypatch)
        for other in (record_from(_requests, data, endpoint, monkeypatch), record_of_pieces(data, endpoint, dice)):
            assert (one["status"], one["fingerprint"]) == (other["status"], other["fingerprint"])
        return one["status"]

    Target("all drivers", check).run()
