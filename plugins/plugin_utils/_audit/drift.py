# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What changed on each host since a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import FULL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.hosts import natural_order

_KINDS = ("quantization", "selected_variant")
_CHANGED = {
    "added": "is listed now, but was not before",
    "removed": "is no longer listed",
    "loaded": "is loaded now, but was not before",
    "unloaded": "is no longer loaded",
}


def compare_with_baseline(hosts: list[dict[str, Any]], baseline: dict[str, Any]) -> dict[str, Any]:
    before = {host["name"]: host for host in baseline["hosts"]}
    now = {host["name"]: host for host in hosts}
    changes: list[dict[str, Any]] = []
    not_compared = []
    for name in sorted({*before, *now}, key=natural_order):
        if name not in before:
            not_compared.append({"host": name, "message": f"{name} is not in the baseline"})
        elif name not in now:
            not_compared.append({"host": name, "message": f"{name} is in the baseline, but was not audited"})
        elif not before[name]["ok"]:
            status = printable(str(before[name]["status"]))
            not_compared.append(
                {"host": name, "message": f"{name} had the status {status} in the baseline, so its models cannot be compared"}
            )
        elif not now[name]["ok"]:
            status = printable(str(now[name]["status"]))
            not_compared.append({"host": name, "message": f"{name} has the status {status}, so its models cannot be compared"})
        else:
            changes += _changes(now[name], before[name])
    return {"changes": changes, "not_compared": not_compared}


def comparable_values(host: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """What counts as drift, for each key. Order and remaining TTLs never count, nor does how often a key is listed."""
    found: dict[str, dict[str, list[Any]]] = {}
    for model in host["models"]:
        if not isinstance(model["key"], str):
            raise TypeError("key")
        names = ("context_length", "variants", "unknown", *_KINDS, *(f"loaded {name}" for name in _KINDS))
        has = found.setdefault(model["key"], {name: [] for name in names})
        # A report of an earlier release does not have them, nor has a record of detail loaded where a model is not loaded.
        variants = model.get("variants")
        has["variants"] += [str(name) for name in variants or []]
        has["unknown"] += ["variants"] if variants is None else []
        has["context_length"] += [instance["context_length"] or 0 for instance in model["instances"]]
        for name in _KINDS:
            has[name] += [str(model[name])] if model[name] is not None else []
            has[f"loaded {name}"] += [str(model[name])] if model["state"] == "loaded" and model[name] is not None else []
    return {
        key: {name: sorted(values) if name == "context_length" else sorted(set(values)) for name, values in has.items()}
        for key, has in found.items()
    }


def _changes(host: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = []
    name, before, now = host["name"], comparable_values(earlier), comparable_values(host)
    # What only one of the two has, such as the quantization of a model that was not loaded then, is no change.
    both_complete = host["detail"] == earlier["detail"] == FULL
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old is None or new is None:
            changes.append(_change(name, key, "removed" if new is None else "added", None, None))
            continue
        if bool(old["context_length"]) != bool(new["context_length"]):
            changes.append(_change(name, key, "loaded" if new["context_length"] else "unloaded", None, None))
        elif old["context_length"] != new["context_length"]:
            changes.append(_change(name, key, "context_length", old["context_length"], new["context_length"]))
        for kind in _KINDS:
            for which in (f"loaded {kind}", kind) if both_complete else (f"loaded {kind}",):
                if old[which] and new[which] and old[which] != new[which]:
                    changes.append(_change(name, key, kind, old[which], new[which]))
                    break
        if old["variants"] != new["variants"] and not (old["unknown"] or new["unknown"]):
            changes.append(_change(name, key, "variants", old["variants"], new["variants"]))
    return changes


def _change(host: str, model: str, what: str, before: list[Any] | None, now: list[Any] | None) -> dict[str, Any]:
    message = _CHANGED.get(what) or "now has the {} {} instead of {}".format(
        {"context_length": "context", "selected_variant": "variant"}.get(what, what), _joined(now), _joined(before)
    )
    if what == "variants":
        message = f"now has the variants {_joined(now) or 'none'} on disk instead of {_joined(before) or 'none'}"
    return {"host": host, "model": model, "change": what, "before": before, "now": now, "message": f"{host}: {printable(model)} {message}"}


def _joined(values: list[Any] | None) -> str:
    return ", ".join(printable(str(value)) for value in values or [])
