# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The :class:`Model` that an entry of either list becomes."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Tuple

Entry = Dict[str, Any]

EMBEDDING_TYPES = ("embedding", "embeddings")


class Model(NamedTuple):
    """A model that a server lists."""

    entry: Entry
    """May be shared with other answers, so it must not be changed."""
    text: str
    """As JSON, equal when nothing but the order of variants, options and instances and their remaining TTLs differs."""

    @classmethod
    def from_entry(cls, entry: Entry) -> Model:
        return cls(entry, canonical(_comparable(entry)))


ModelList = Tuple[List[Model], List[str]]
"""The models of an answer, and the warnings about single fields."""

canonical = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""Compact JSON. Entries always have their names in the same order, so they are not sorted again: that would take half of the time."""


def comparable_text(models: list[Model]) -> str:
    """One text for a whole answer: equal when nothing but order and remaining TTLs differs."""
    texts = [text for _key, text in sorted((entry["key"], text) for entry, text in models)]
    return '["ok",[' + ",".join(texts) + "]]"


def _comparable(entry: Entry) -> Entry:
    """The entry in an order of its own, and without remaining TTLs."""
    reasoning = entry["capabilities"]["reasoning"]
    if len(entry["variants"]) < 2 and len(reasoning["allowed_options"]) < 2 and not entry["loaded"]:
        return entry
    lasting = [
        {name: value for name, value in instance.items() if name != "remaining_ttl_seconds"} for instance in entry["loaded_instances"]
    ]
    return {
        **entry,
        "variants": sorted(entry["variants"]),
        "capabilities": {
            **entry["capabilities"],
            "reasoning": {**reasoning, "allowed_options": sorted(reasoning["allowed_options"])},
        },
        "loaded_instances": sorted(lasting, key=canonical),
    }
