# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text of an event is a template, whatever its form, and equal texts stay equal. tests/rulebook shows it on a real ansible-rulebook."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.no_template import without_templates
from hypothesis import given
from hypothesis import strategies as st

BRACE, HASH, DOLLAR = "\uff5b", "\uff03", "\uff04"
FORMS = {
    "{{ x }}": f"{BRACE}{{ x }}}}",
    "{% if x %}": f"{BRACE}% if x %}}",
    "{# x #}": f"{BRACE}# x #}}",
    "{{{ x }}}": f"{BRACE}{BRACE}{{ x }}}}}}",
    "{{% x %}}": f"{BRACE}{BRACE}% x %}}}}",
    "{{# x #}}": f"{BRACE}{BRACE}# x #}}}}",
    "{{{{": f"{BRACE}{BRACE}{BRACE}{{",
    "a {{": f"a {BRACE}{{",
    "{\n{ x }}": "{\n{ x }}",
    "{ { x } }": "{ { x } }",
    "{x}": "{x}",
    "}}{%": f"}}}}{BRACE}%",
    "#jinja2: variable_start_string:'[%'": f"{HASH}jinja2: variable_start_string:'[%'",
    "#jinja2:{{ x }}": f"{HASH}jinja2:{BRACE}{{ x }}}}",
    " #jinja2: x": f" {HASH}jinja2: x",
    "\n\t#jinja2: x": f"\n\t{HASH}jinja2: x",
    "\ufeff#jinja2: x": f"\ufeff{HASH}jinja2: x",
    "\u200b\u2028 #jinja2: x": f"\u200b\u2028 {HASH}jinja2: x",
    "see #jinja2: x": "see #jinja2: x",
    "#jinja2 x": "#jinja2 x",
    "#": "#",
    "": "",
    " ": " ",
    "qwen/qwen3-8b@q4_k_m": "qwen/qwen3-8b@q4_k_m",
    "$ANSIBLE_VAULT;1.1;AES256": f"{DOLLAR}ANSIBLE_VAULT;1.1;AES256",
    "of $ANSIBLE_VAULT": f"of {DOLLAR}ANSIBLE_VAULT",
    "$HOME": "$HOME",
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_a_template_becomes_text(text):
    assert without_templates(text) == FORMS[text]


def test_it_reaches_every_text_of_an_event_its_keys_too():
    event = {"{{ a": [{"{% b": ("{# c", 1, 2.5, True, None)}], "d": {"e": {"f": "#jinja2: g"}}}
    assert without_templates(event) == {
        f"{BRACE}{{ a": [{f"{BRACE}% b": [f"{BRACE}# c", 1, 2.5, True, None]}],
        "d": {"e": {"f": f"{HASH}jinja2: g"}},
    }


@given(st.text(alphabet=st.sampled_from("{}%#$ \n\ufeffjinja2:x")) | st.text() | st.text().map("#jinja2:".__add__))
def test_what_comes_out_is_no_template_and_stays_as_it_is(text):
    plain = without_templates(text)
    assert not any(mark in plain for mark in ("{{", "{%", "{#", "$ANSIBLE_VAULT"))
    assert not plain.startswith("#jinja2:") and not plain.strip().startswith("#jinja2:")
    assert without_templates(plain) == plain
    assert plain.translate({0xFF5B: "{", 0xFF03: "#", 0xFF04: "$"}) == text.translate({0xFF5B: "{", 0xFF03: "#", 0xFF04: "$"})
