# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""A host in the document of an audit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...module_utils._input_errors import OptionError
from ...module_utils._lmstudio.gathered import extract_record, nothing_gathered
from ...module_utils._lmstudio.known import is_reported, reports_ttl, total
from ...module_utils._lmstudio.models_v0 import LOADING
from ...module_utils._lmstudio.record import FULL
from ...module_utils._lmstudio.record_type import Record

_ATTRIBUTES = (
    "type", "display_name", "publisher", "architecture", "format", "quantization", "bits_per_weight", "selected_variant",
    "variants", "size_bytes", "max_context_length",
)  # fmt: skip


def load_record(given: Any) -> Record:
    """The record in what was gathered about a host, in an order of its own. If there is none, one that says so."""
    try:
        return _in_order(extract_record(given))
    except OptionError:
        return nothing_gathered(given)


def _in_order(record: Record) -> Record:
    """The record with its entries and instances sorted, because a server may list them in another order every time."""

    def instances(entry: Mapping[str, Any]) -> list[Any]:
        return sorted(entry["loaded_instances"], key=lambda instance: (instance["id"], instance["config"]["context_length"] or 0))

    models = [{**entry, "loaded_instances": instances(entry)} for entry in record["models"]]
    # An LM Link duplicate differs in some of these, or in nothing.
    models.sort(key=lambda entry: (entry["key"], not entry["loaded"], str(entry["quantization"]), str(entry["selected_variant"])))
    # The number of an entry is its place in the answer.
    warnings = sorted(re.sub(r"^(models|data)\[\d+\]", r"\1", str(text)) for text in record["warnings"])
    error = None if record["ok"] else record["error"] or {"message": f"Its status is {record['status']}.", "hint": "", "http_status": None}
    return {**record, "models": models, "warnings": warnings, "error": error}


def natural_order(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts gpu2 before gpu10, and always in the same way: gpu01 before gpu1."""
    parts = re.split(r"(\d{1,18})", name)
    return [(0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts], name


def describe_host(name: str, record: Record) -> dict[str, Any]:
    """The host as the document has it."""
    described = {entry["key"] for entry in record["models"]}
    duplicates = record["counts"]["models"] - len(record["available"])
    times = Counter(entry["key"] for entry in record["models"])
    # At detail loaded, what is listed twice but not loaded is only counted.
    complete = record["detail"] == FULL or not duplicates
    models = [_describe_model(record, entry, times[entry["key"]] if complete else None) for entry in record["models"]]
    # What a record of detail loaded has of a model that is not loaded is its key.
    unknown = dict.fromkeys(_ATTRIBUTES)
    models += [_model(key, "available", 1 if complete else None, unknown, []) for key in record["available"] if key not in described]
    models.sort(key=lambda model: model["key"])
    return {
        "name": name,
        "ok": record["ok"],
        "status": record["status"],
        "url": record["url"],
        "api": record["api"],
        "error": record["error"],
        "detail": record["detail"],
        "counts": record["counts"] if record["ok"] else dict.fromkeys(record["counts"]),
        "size_bytes": _known_sums(record),
        "fingerprint": record["fingerprint"],
        "warnings": record["warnings"],
        "duplicates": duplicates if record["ok"] else None,
        "models": models,
    }


def _known_sums(record: Record) -> dict[str, int | None]:
    sums: Mapping[str, Any] = record["size_bytes"]
    # A record of an earlier release, as in a cache of facts, counted a size that was not known as 0.
    summed = {"available": record["models"], "loaded": [entry for entry in record["models"] if entry["loaded"]]}
    known = {name: record["ok"] and total(entry["size_bytes"] for entry in entries) is not None for name, entries in summed.items()}
    return {name: sums[name] if known[name] else None for name in summed}


def _describe_model(record: Record, entry: Mapping[str, Any], times: int | None) -> dict[str, Any]:
    instances = [
        {
            "id": instance["id"],
            "context_length": instance["config"]["context_length"],
            "parallel": instance["config"]["parallel"],
            "unloads_when_idle": instance["remaining_ttl_seconds"] is not None if reports_ttl(record, entry, number) else None,
        }
        for number, instance in enumerate(entry["loaded_instances"])
    ]
    known = {
        **entry,
        "quantization": entry["quantization"]["name"],
        "bits_per_weight": entry["quantization"]["bits_per_weight"],
        "variants": sorted(set(entry["variants"])) if is_reported(record, entry, "variants") else None,
    }
    state = "loaded" if entry["loaded"] else "loading" if entry.get("state") == LOADING else "available"
    return _model(entry["key"], state, times, known, instances)


def _model(key: str, state: str, times: int | None, known: Mapping[str, Any], instances: list[dict[str, Any]]) -> dict[str, Any]:
    return {"key": key, "state": state, "times_listed": times, **{name: known[name] for name in _ATTRIBUTES}, "instances": instances}
