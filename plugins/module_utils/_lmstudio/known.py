# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Which values of a record are known: a null may be the server's answer, or mean that it did not say, or not in a readable form."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from .._http.endpoint import V0
from .._text import is_masked


def is_older(host: Mapping[str, Any]) -> bool:
    """Whether a record, or a host of an audit, is from the older list. That has neither sizes nor variants, one row for all instances of a
    model, and may leave out models that are not loaded.
    """
    return host.get("api") == V0


def is_known(value: Any) -> bool:
    """Whether a value is present and not masked, so that it can be compared."""
    return value is not None and not (isinstance(value, str) and is_masked(value))


def is_reported(record: Mapping[str, Any], entry: Mapping[str, Any], field: str) -> bool:
    """Whether a null, false or empty field of a model is what the server reported, rather than unknown. Of these, the older list always has one."""
    return not is_unreadable(entry, field) and (not is_older(record) or field == "capabilities.vision")


def reports_ttl(record: Mapping[str, Any], entry: Mapping[str, Any], number: int) -> bool:
    """Whether a null TTL of an instance (counted from 0) means that it stays loaded when idle, rather than that its TTL is unknown."""
    return is_reported(record, entry, f"loaded_instances[{number}].remaining_ttl_seconds")


def is_unreadable(entry: Mapping[str, Any], field: str) -> bool:
    """Whether a field of a model had an unexpected type, or something inside it or around it had, so that its value is not known."""
    return any(
        f"{path}.".startswith(f"{field}.") or f"{field}.".startswith(f"{path}.") or is_masked(path) for path in entry.get("unreadable", ())
    )


def may_be_loaded(entry: Mapping[str, Any]) -> bool:
    return bool(entry["loaded"]) or is_unclear(entry)


def is_unclear(entry: Mapping[str, Any]) -> bool:
    """Whether a model without an instance may still be loaded: some servers report a loaded context but no instance, and the older list may
    report a state other than not-loaded.
    """
    unsettled = entry.get("state") not in (None, "not-loaded")
    return not entry["loaded"] and (entry.get("loaded_context_length") is not None or unsettled)


def lacks_states(record: Mapping[str, Any]) -> bool:
    """Whether the older list was asked for the states of models and gave no usable answer: any model without an instance may be loading then.
    A server without such a list is another case: there `confirmed` is false.
    """
    return bool(record["ok"]) and record.get("confirmed", True) is None


def unlisted_models(record: Mapping[str, Any]) -> list[str]:
    """The models that may be loaded according to the older list, and that the newer one, of a moment before, does not have."""
    return list(record.get("unlisted", ()))


def total(values: Iterable[int | None]) -> int | None:
    """The sum of sizes or counts, or None where one of them is not known: no size and no count is below zero."""
    found = list(values)
    known = [value for value in found if value is not None and value >= 0]
    return sum(known) if len(known) == len(found) else None
