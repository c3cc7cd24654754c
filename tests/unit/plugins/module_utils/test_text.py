# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text in messages: one line, no longer than it has to be, and sizes that a person can read."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import (
    MASK,
    count,
    did_you_mean,
    format_names,
    format_size,
    may_be_masked_as,
    printable,
    unknown_names,
)


@pytest.mark.parametrize(
    ("text", "masked", "may_be"),
    [
        ("lab/model-7b", f"{MASK}model-7b", True),
        ("lab/model-7b", f"lab/{MASK}", True),
        ("lab/model-7b", f"l{MASK}mod{MASK}7b", True),
        ("lab/model-7b", MASK, True),
        ("lab/model-7b", f"lab/model-7b{MASK}", True),
        ("lab/model-7b", f"{MASK}model-8b", False),
        ("lab/model-7b", f"x{MASK}", False),
        ("lab/model-7b", f"{MASK}7b{MASK}mod{MASK}", False),
        ("aba", f"ab{MASK}ba", False),
        ("lab/model-7b", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", True),
        # A server may send it like this, and a regular expression would try for ever.
        ("lab/" + "m" * 500, f"{MASK}m" * 200 + "x", False),
    ],
)
def test_a_text_may_be_one_in_which_something_is_masked(text, masked, may_be):
    assert may_be_masked_as(text, masked) is may_be


def test_printable_is_one_bounded_line():
    assert printable("a\x1b[31m\nb\u202e\x9b") == "a\\x1b[31m\\nb\\u202e\\x9b"
    assert printable("qwen\ufe0f\u3164 \u00e9\u00fc") == "qwen\\ufe0f\\u3164 \u00e9\u00fc"
    assert len(printable("x" * 1000)) == 80
    assert printable("x\n" * 1_000_000) == "x\\n" * 25 + "x\\..."


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (999_900, "999.9 KB"),
        (10**6, "1.0 MB"),
        (10**9, "1.0 GB"),
        (17_059_123_456, "17.1 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_a_size_is_in_powers_of_1000(size, text):
    assert format_size(size) == text


def test_a_number_has_its_noun():
    assert [count(number, "host") for number in (0, 1, 2, 1_000_000)] == ["0 hosts", "1 host", "2 hosts", "1000000 hosts"]
    assert [count(number, "second") for number in (1.0, 2.5, 30.0)] == ["1 second", "2.5 seconds", "30 seconds"]


def test_of_many_names_some_are_shown():
    assert format_names([]) == "nothing"
    assert format_names(list("abcde")) == "a, b, c, d, e"
    assert format_names([*"abcdef", "\x1b"]) == "a, b, c, d, e and 2 more"
    assert format_names(["\x1b"]) == "\\x1b"


def test_a_close_word_is_suggested_in_printable_form():
    assert did_you_mean(["modle"], ["model", "max_size"]) == " Did you mean model?"
    assert did_you_mean(["MODLE"], {"Model\x1b": 1}) == " Did you mean Model\\x1b?"
    assert did_you_mean(["modle", "xyz", "max_sice", "modl"], ["model", "max_size"]) == " Did you mean model or max_size?"
    assert did_you_mean(["xyz"], ["model"]) == ""


def test_an_unknown_name_is_answered_with_those_there_are():
    assert unknown_names("key", ["modle\n"], ("model", "name")) == "unknown key modle\\n. Did you mean model? The keys are model, name."
    assert unknown_names("option", [7, "x"], ["model"]) == "unknown option 7, x. The options are model."
