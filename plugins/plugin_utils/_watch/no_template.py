# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Text of an event is data, never a template.

ansible-rulebook hands events to playbooks as extra variables, which Ansible evaluates as templates whenever they are used. On the way,
ansible-rulebook and older versions of ansible-core read text as a Python literal, where escapes and adjacent strings become new braces.
"""

from __future__ import annotations

import hashlib
from typing import Any

_FULLWIDTH = str.maketrans({"{": "\uff5b", "\\": "\uff3c", "#": "\uff03", "$": "\uff04"})
"""What begins a template, an escape, a header that names other markers, and a vault. The replacements look alike and mean nothing."""
_MAX_TEXT = 1000
"""In characters. A longer text may be more than Python can read as a literal, and the action that reads it would be lost."""
_DIGEST = 16


def without_templates(value: Any) -> Any:
    """The value, with all text in it, keys too, in a form that neither Ansible nor ansible-rulebook takes for more than text.

    Equal texts stay equal, wherever they are.
    """
    if isinstance(value, str):
        return _cut(value).translate(_FULLWIDTH)
    if isinstance(value, dict):
        return {without_templates(key): without_templates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_templates(item) for item in value]
    return value


def _cut(text: str) -> str:
    """The text, or its beginning and a digest of all of it, so that two long texts do not become equal."""
    if len(text) <= _MAX_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{text[: _MAX_TEXT - len(digest) - 1]}…{digest}"
