# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of a secret that a server sends back, or of its beginning, nothing is left, wherever a message is cut."""

from __future__ import annotations

import json
import re
import string

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.masking import Secret, mask_text
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from hypothesis import given
from hypothesis import strategies as st

CHARACTERS = string.ascii_lowercase + string.digits + "-._"
# Without a character that occurs twice, so that what is left of a secret is not what was around it.
secrets = st.permutations(CHARACTERS).flatmap(lambda characters: st.integers(12, 40).map(lambda size: "".join(characters[:size])))
around = st.text(max_size=100) | st.text(CHARACTERS.upper(), max_size=100)
RUN = 5


def runs_of(secret: str, text: str) -> set[str]:
    # Where a message was cut, a dot that follows is not one of the secret.
    text = re.sub(r"\.{3,}", " ", text.lower())
    return {run for start in range(len(secret) - RUN + 1) if (run := secret[start : start + RUN]) in text}


def in_capitals(data: st.DataObject, text: str) -> str:
    return "".join(data.draw(st.sampled_from([char, char.upper()])) for char in text)


@given(secret=secrets, before=around, after=around, limit=st.integers(10, 200), data=st.data())
def test_no_part_of_a_secret_is_left_around_its_beginning(secret, before, after, limit, data):
    size = data.draw(st.integers(10, len(secret)))
    text = before + in_capitals(data, secret[:size]) + after
    allowed = runs_of(secret, before) | runs_of(secret, after)
    known = (Secret(secret, 10),)
    for shown in (mask_text(known, text), mask_text(known, printable(text, limit)), printable(mask_text(known, text), limit)):
        assert runs_of(secret, shown) <= allowed


@given(secret=secrets, size=st.integers(0, 90), data=st.data())
def test_a_record_has_none_of_it_whatever_is_cut(secret, size, data):
    echo = "x" * size + in_capitals(data, secret)
    answers = [
        Response(200, json.dumps({"models": [{"key": echo, "size_bytes": "", echo: data.draw(st.sampled_from([1, [[echo]]]))}]}).encode()),
        Response(200, json.dumps({"models": [{"key": echo, "type": 5}]}).encode()),
        Response(200, json.dumps({"models": [{"key": "m", echo: json.loads("[" * 20 + "]" * 20)}]}).encode()),
        Response(200, b"{}", content_encoding=echo),
        Response(302, location=f"http://{echo}"),
        Response(302, location=f"http://{'y' * 150}{echo}/"),
    ]
    rows = [{"id": echo, "state": echo, "type": "llm"}]
    for api, answer in (*(("v1", answer) for answer in answers), ("v0", Response(200, json.dumps({"data": rows}).encode()))):
        endpoint = make_endpoint({"token": secret, "api": api}, "http://gpu01")
        record = ask(endpoint, lambda _endpoint, _request, answer=answer: answer, "full")
        assert not runs_of(secret, json.dumps(record)), answer
