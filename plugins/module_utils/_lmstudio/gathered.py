# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Find the host record in what a user passes in, which an earlier release may have made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, cast

from .._http.endpoint import V1
from .._input_errors import OptionError
from .._text import printable
from .record import LOADED_ONLY, not_asked_record

if TYPE_CHECKING:
    from .record_type import Record

_BEFORE_THE_REASON = re.compile(r"(Task failed: )?((Data could not be sent to|Failed to connect to) .{0,300}? ssh: )?", re.IGNORECASE)
"""What Ansible puts before the words of ssh. With pipelining it may be either of the two, and both are long."""


def extract_record(value: Any) -> Record:
    """The record in what a user passes in: itself, facts with it, or the registered result of a module that asked the server.

    A result of a host that Ansible could not reach, or on which the task failed or was skipped, has none: no server was asked.
    Raises :class:`OptionError`.
    """
    for path in ((), ("lmstudio",), ("ansible_facts", "lmstudio")):
        found = value
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and all(name in found for name in ("ok", "status", "fingerprint", "instances")):
            if not isinstance(found["ok"], bool):
                raise OptionError("record", "its ok is neither true nor false. Pass the record unchanged.")
            if found["ok"] != (found["status"] == "ok"):
                raise OptionError("record", "its ok and its status contradict each other. Pass the record unchanged.")
            # Records of earlier releases do not have it.
            return cast("Record", {"api": V1 if found["ok"] else None, **found})
    if isinstance(value, Mapping) and any(value.get(name) is True for name in ("unreachable", "failed", "skipped")):
        return nothing_gathered(value)
    raise OptionError(
        "record",
        "it is not a host record. Give ansible_facts.lmstudio, the variable of the inventory, or a registered result of model_info.",
    )


def extract_records(value: Any, option: str) -> dict[str, Record]:
    """The records of many hosts, by their names, in what a user passes as this option. Raises :class:`OptionError`."""
    if not isinstance(value, Mapping):
        raise OptionError(option, "must be a mapping of host names to records. Give the hosts of a registered result of fleet_info.")
    found = {}
    for name, record in value.items():
        try:
            found[str(name)] = extract_record(record)
        except OptionError as exc:
            problem = exc.problem.partition(". ")[0]
            advice = "Give the hosts of a registered result of fleet_info, or unchanged records by the names of their hosts."
            raise OptionError(option, f"the record of {printable(str(name))} cannot be used: {problem}. {advice}") from None
    return found


def nothing_gathered(result: Any) -> Record:
    """The record for a host from which none was gathered, with the reason if `result` has one."""
    why = (result.get("msg") or result.get("skip_reason")) if isinstance(result, Mapping) else None
    reason = _BEFORE_THE_REASON.sub("", str(why), count=1).strip() if why else ""
    return not_asked_record(
        "Nothing was gathered from this host" + (f": {printable(reason, 300)}" if reason else "."),
        "Ansible could not reach it, or the task that queries it failed or did not run. See the output of the play.",
        LOADED_ONLY,
    )
