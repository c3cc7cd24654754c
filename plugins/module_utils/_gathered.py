# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""A host record that was gathered before: find it in what a user hands in, and make it as short as is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, cast

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import FULL

if TYPE_CHECKING:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record_type import Record


def at_detail(record: Record, detail: str) -> Record:
    """A record of detail ``full`` at this detail."""
    if detail == FULL or record["detail"] == detail:
        return record
    return {**record, "detail": detail, "models": [entry for entry in record["models"] if entry["loaded"]]}


def record_in(value: Any) -> Record:
    """The record in what a user hands in: itself, facts with it, or the registered result of a module that asked.

    Raises :class:`OptionError`.
    """
    for path in ((), ("lmstudio",), ("ansible_facts", "lmstudio")):
        found = value
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and all(name in found for name in ("ok", "status", "fingerprint", "instances")):
            if not isinstance(found["ok"], bool):
                raise OptionError("record", "its ok is neither true nor false. Hand in the record as it was gathered.")
            return cast("Record", dict(found))
    raise OptionError(
        "record", "it is no host record. Give ansible_facts.lmstudio, the variable of the inventory, or a registered result of model_info."
    )
