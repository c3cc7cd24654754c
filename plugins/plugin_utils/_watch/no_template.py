# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Text of an event is data, never a template.

ansible-rulebook hands events to playbooks as extra variables, which Ansible evaluates as templates whenever they are used.
"""

from __future__ import annotations

import re
from typing import Any

_BRACE = re.compile(r"\{(?=[{%#])")
_HEADER = "#jinja2:"
_VAULT = "$ANSIBLE_VAULT"
_FULLWIDTH = {"{": "\uff5b", "#": "\uff03", "$": "\uff04"}
"""What stands for a character that would begin something else than text. It looks alike, and means nothing."""


def without_templates(value: Any) -> Any:
    """The value, with all text in it, keys too, in a form that neither Ansible nor ansible-rulebook takes for more than text.

    Each ``{`` before ``{``, ``%`` or ``#`` is replaced, and the ``#`` of a header that names other markers. ansible-rulebook decrypts text
    with the mark of a vault, and drops the action if it cannot. The same text always becomes the same one.
    """
    if isinstance(value, str):
        return _without_template(value)
    if isinstance(value, dict):
        return {without_templates(key): without_templates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_templates(item) for item in value]
    return value


def _without_template(text: str) -> str:
    text = _BRACE.sub(_FULLWIDTH["{"], text).replace(_VAULT, _FULLWIDTH["$"] + _VAULT[1:])
    # Whoever trims a text must not make a header of it.
    begin = next((number for number, char in enumerate(text) if char.isprintable() and not char.isspace()), 0)
    if text.startswith(_HEADER, begin):
        text = text[:begin] + _FULLWIDTH["#"] + text[begin + 1 :]
    return text
