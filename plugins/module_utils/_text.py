# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Names that are patterns or masked, and how values, names, numbers, sizes and misspelt words read in messages."""

from __future__ import annotations

import difflib
import re
from typing import Any, Iterable, Sequence

MASK = "********"
"""Shown instead of a secret."""
_MASK_OF_ANSIBLE = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""What Ansible shows instead of a text that is a secret as a whole. Where it is a part of the text, Ansible's mask is the same as ours."""
_IGNORABLE = "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
"""What Unicode lets a program not show (Default_Ignorable_Code_Point), and Python takes for printable: fillers and variation selectors."""
SHOWN_OF_MANY = 5
"""How many names, instances, reasons or next steps a message has. It counts the others."""


def is_masked(text: str) -> bool:
    """Whether a part of a text is masked, by this collection or by Ansible."""
    return MASK in text or text == _MASK_OF_ANSIBLE


def may_be_masked_as(text: str, masked: str) -> bool:
    """Whether a text may have become this one, in which a part is masked."""
    if masked == _MASK_OF_ANSIBLE:
        return True
    first, *between, last = masked.split(MASK)
    if not (text.startswith(first) and text.endswith(last) and len(first) + len(last) <= len(text)):
        return False
    rest = text[len(first) : len(text) - len(last)]
    # Not a regular expression: a name with many masks would take exponential time.
    for part in filter(None, between):
        _before, found, rest = rest.partition(part)
        if not found:
            return False
    return True


def is_pattern(name: str) -> bool:
    """Whether a name may match several, as in a shell."""
    return any(letter in name for letter in "*?[")


def is_visible(text: str) -> bool:
    """Whether a reader can see every character of a text. Plain spaces count, as Python has it."""
    # The expression takes long to compile, and few texts need it.
    return text.isprintable() and (text.isascii() or not re.search(_IGNORABLE, text))


def printable(text: str, limit: int = 80) -> str:
    """Untrusted text for a message: one line, no control or invisible characters, not longer than `limit`."""
    # A server may send many megabytes, of which no more is shown.
    shown = text[: limit + 1]
    if not is_visible(shown):
        shown = "".join(letter if is_visible(letter) else letter.encode("unicode_escape").decode("ascii") for letter in shown)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def full_stop(text: str) -> str:
    """A sentence with its full stop. A question has none."""
    return text if text.endswith((".", "?")) else f"{text}."


def format_size(size: int) -> str:
    """Bytes in powers of 1000, such as "17.1 GB"."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B" if size else "0"


def unknown_names(what: str, names: Iterable[Any], known: Iterable[str]) -> str:
    """A message such as "unknown key modle. Did you mean model? The keys are max_size, model."."""
    names, known = [str(name) for name in names], list(known)
    shown = ", ".join(printable(name) for name in names)
    plural = what + ("es" if what.endswith("s") else "s")
    return f"unknown {what} {shown}.{did_you_mean(names, known)} The {plural} are {', '.join(known)}."


def did_you_mean(words: Iterable[str], known: Iterable[str], least: float = 0.6, begins: str = " Did") -> str:
    """The known words that come closest, to append to a message: a sentence, unless it begins in another way. Empty if none does. Case does not
    matter. `least` is how alike they have to be: 1 is the same word.
    """
    known_as = {name.lower(): name for name in known}
    close = [known_as[found] for word in words for found in difflib.get_close_matches(word.lower(), known_as, 1, least)]
    return f"{begins} you mean {' or '.join(printable(word) for word in dict.fromkeys(close))}?" if close else ""


def format_names(names: Sequence[str], most: int = SHOWN_OF_MANY) -> str:
    """Some of the names, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(printable(name) or "''" for name in names[:most]) or "nothing") + more


def count(number: float, noun: str) -> str:
    """Such as "1 host", "0 hosts", "2.5 seconds"."""
    return f"{format_number(number)} {noun}" if number == 1 else f"{format_number(number)} {noun}s"


def format_number(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def format_any(values: Iterable[Any]) -> str:
    return " or ".join(format_value(value) for value in values)


def format_value(value: Any) -> str:
    if value is None:
        return "(not known)"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))
