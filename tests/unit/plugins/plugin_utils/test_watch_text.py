# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text of an event is a template, whatever its form, and equal texts stay equal. tests/rulebook shows it on a real ansible-rulebook."""

from __future__ import annotations

import ast
import warnings

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.no_template import without_templates
from ansible_collections.gpufleet.lmstudio.tests.hostile_events import FORMS
from hypothesis import given
from hypothesis import strategies as st

MARKS = {"{": "\uff5b", "\\": "\uff3c", "#": "\uff03", "$": "\uff04"}
BRACE, BACKSLASH, HASH, DOLLAR = MARKS.values()
TEXTS = {
    "{{ x }}": f"{BRACE}{BRACE} x }}}}",
    "x{": f"x{BRACE}",
    "{x}": f"{BRACE}x}}",
    "#jinja2: {% x %}": f"{HASH}jinja2: {BRACE}% x %}}",
    "see #1": f"see {HASH}1",
    r"'\x7b\x7b'": f"'{BACKSLASH}x7b{BACKSLASH}x7b'",
    "$ANSIBLE_VAULT;1.1;AES256": f"{DOLLAR}ANSIBLE_VAULT;1.1;AES256",
    "": "",
    " ": " ",
    "['a']": "['a']",
    "qwen/qwen3-8b@q4_k_m:2": "qwen/qwen3-8b@q4_k_m:2",
    "x" * 1000: "x" * 1000,
}


def literals_in(text):
    """What Python, and so Jinja, reads from the text: all texts in it, keys and bytes too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            return [text]
    return texts_in(value)


def texts_in(value):
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for item in value for text in texts_in(item)] if isinstance(value, (list, tuple, set)) else [str(value)]


def has_mark(text):
    return any(mark in each for each in [text, *literals_in(text)] for mark in MARKS)


@pytest.mark.parametrize("text", TEXTS)
def test_what_could_begin_a_template_becomes_text_that_looks_alike(text):
    assert without_templates(text) == TEXTS[text]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_template_is_left(form):
    text = FORMS[form]
    assert has_mark(text), "this form shows nothing"
    assert not has_mark(without_templates(text))


def test_it_reaches_every_text_of_an_event_its_keys_too():
    event = {"{{ a": [{"{% b": ("{# c", 1, 2.5, True, None)}], "d": {"e": {"f": "#jinja2: g"}}}
    assert without_templates(event) == {
        f"{BRACE}{BRACE} a": [{f"{BRACE}% b": [f"{BRACE}{HASH} c", 1, 2.5, True, None]}],
        "d": {"e": {"f": f"{HASH}jinja2: g"}},
    }


ODD = st.text(alphabet=st.sampled_from("{}%#$\\'\"[],: \nbxuN7\ufeff")) | st.text()
# Literals of Python whose texts are written with escapes, or in pieces.
WRITTEN = ODD.flatmap(
    lambda text: st.sampled_from(
        [
            "'" + "".join(f"\\x{ord(char):02x}" if ord(char) < 256 else char for char in text) + "'",
            " ".join(map(repr, text)),
            f"[{text!r}]",
            f"({text!r}, {{{text!r}: {text!r}}})",
            f"'\\N{{LEFT CURLY BRACKET}}' {text!r}",
            f"b{text!a}",
        ]
    )
)


@given(ODD | WRITTEN, ODD | WRITTEN)
def test_whatever_reads_what_comes_out_finds_no_mark(one, other):
    plain, beside = without_templates(one), without_templates(other)
    assert not has_mark(plain) and not has_mark(plain + beside)
    assert not any(mark in text for text in literals_in(str({plain: [beside]})) for mark in MARKS)
    assert without_templates(plain) == plain
    back = {ord(replaced): mark for mark, replaced in MARKS.items()}
    if len(one) <= 1000:
        assert plain.translate(back) == one.translate(back)


NAMES = st.text(alphabet=st.sampled_from("abc/-_.:@ ü}%'")) | st.integers(990, 1010).map("a".__mul__)


@given(NAMES, NAMES)
def test_two_plain_names_stay_different(one, other):
    assert (without_templates(one) == without_templates(other)) == (one == other)


def test_a_long_text_is_cut_and_stays_different_from_others():
    long = ["1+" * 100_000 + tail for tail in "12"] + ["x" * 1001, "\ud800" * 2000, "{" * 2000]
    cut = [without_templates(text) for text in long]
    assert len(set(cut)) == len(long) and all(len(text) == 1000 for text in cut)
    assert cut[0].startswith("1+1+1+") and "…" in cut[0]
    assert without_templates(cut) == cut and not any(map(has_mark, cut))
