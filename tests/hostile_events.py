# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of models that are run by anything that takes them for more than text, and a play that uses every text of an event."""

from __future__ import annotations

from pathlib import Path

_MARKERS = "#jinja2: variable_start_string:'[%', variable_end_string:'%]'"

# CALL stands for what is to be run.
FORMS = {
    "braces": "{{ CALL }}",
    "a statement": "{% if CALL %}{% endif %}",
    "three braces": "{{{ CALL }}}",
    "a statement in braces": "{{%{{ CALL }}",
    "a comment": "{# x #}{{ CALL }}",
    "other markers": f"{_MARKERS}\n[% CALL %]",
    "other markers after a space": f" {_MARKERS}\n[% CALL %]",
    "other markers after a mark of bytes": f"\ufeff{_MARKERS}\n[% CALL %]",
    "a header": "#jinja2: trim_blocks: true\n{{ CALL }}",
    "braces within": "plain {{ CALL }}",
    # Literals of Python, whose value is a template.
    "escapes": r"'\x7b\x7b CALL }}'",
    "names of characters": r"'\N{LEFT CURLY BRACKET}\u007b CALL }}'",
    "literals side by side": "'{' '{ CALL }}'",
    "a list": r"['\x7b\x7b CALL }}']",
    "a list of literals side by side": "['{' '{ CALL }}']",
    "a mapping": r"{'a': '\x7b\x7b CALL }}'}",
    "other markers with an escape": r"""'\x23jinja2: variable_start_string:"[%", variable_end_string:"%]"\n[% CALL %]'""",
}
# Neither is a template on its own.
HALVES = ("x{", "{ CALL }}")


def hostile_names(folder: Path) -> dict[str, str]:
    """Each touches a file of its own in the folder, if anything evaluates it: ``ran-`` and a number."""
    forms = {**FORMS, "a half": HALVES[0], "the other half": HALVES[1]}
    calls = [f'lookup("pipe", "touch {folder}/ran-{number}")' for number in range(len(forms))]
    names = {form: text.replace("CALL", call) for (form, text), call in zip(forms.items(), calls)}
    return {**names, "a vault": "$ANSIBLE_VAULT;1.1;AES256\n3132", "a sum": "1+" * 100_000 + "1"}


def ran(folder: Path) -> list[str]:
    """The forms that were evaluated."""
    forms = [*FORMS, "a half", "the other half"]
    return sorted(forms[int(path.name.partition("-")[2])] for path in folder.glob("ran-*"))


PLAY = """
- name: Use every text of an event
  hosts: all
  gather_facts: false
  vars:
    found: "{{ ansible_eda.event.lmstudio }}"
    texts: "{{ found.current[0].config.texts }}"
    named: "{{ found.current[0].config.named }}"
  tasks:
    - name: Show it
      ansible.builtin.debug:
        msg: "{{ ansible_eda }} {{ found.model }} {{ given }} {{ texts | map('trim') | list }} {{ found.current[0].config | list }}"
    - name: Show each
      ansible.builtin.debug:
        msg: "{{ item }}"
      loop: "{{ texts + given }}"
    - name: Keep each
      ansible.builtin.set_fact:
        kept: "{{ item }}"
      loop: "{{ texts + given }}"
    - name: Keep them by name
      ansible.builtin.set_fact:
        model: "{{ found.model }}"
        escapes: "{{ named['escapes'] }}"
        list: "{{ named['a list'] }}"
        side_by_side: "{{ named['literals side by side'] }}"
        list_of_literals: "{{ named['a list of literals side by side'] }}"
        mapping: "{{ named['a mapping'] }}"
        markers: "{{ named['other markers with an escape'] }}"
        characters: "{{ named['names of characters'] }}"
        joined: "{{ named['a half'] }}{{ named['the other half'] }}"
    - name: Show what was kept
      ansible.builtin.debug:
        msg: "{{ [kept, model, escapes, list, side_by_side, list_of_literals, mapping, markers, characters, joined] }}"
    - name: Show it alone
      ansible.builtin.debug:
        msg: "{{ item }}"
      loop:
        - "{{ escapes }}"
        - "{{ list }}"
        - "{{ list_of_literals }}"
        - "{{ mapping }}"
        - "{{ markers }}"
        - "{{ joined }}"
        - "{{ named['a half'] }}{{ named['the other half'] }}"
    - name: Write it
      ansible.builtin.copy:
        content: "{{ {'model': found.model, 'instance': found.instance, 'texts': texts, 'first': given[0]} | to_json }}"
        dest: "{{ seen }}"
        mode: "0600"
    - name: Compare it
      ansible.builtin.debug:
        msg: "It can be compared: {{ found.model == wanted }}"
"""


def hostile_model(folder: Path) -> dict[str, object]:
    """What a server lists: all of the names are in it, as keys too."""
    names = hostile_names(folder)
    config = {"context_length": 4096, "texts": list(names.values()), "named": names, **dict.fromkeys(names.values(), 1)}
    return {"type": "llm", "key": names["braces"], "loaded_instances": [{"id": names["other markers"], "config": config}]}
