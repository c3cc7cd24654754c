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
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.hosts import _natural

_KINDS = ("quantization", "selected_variant")
_CHANGED = {
    "added": "is listed now and was not before",
    "removed": "is not listed any more",
    "loaded": "is loaded now and was not before",
    "unloaded": "is not loaded any more",
}


def _drift(hosts: list[dict[str, Any]], baseline: dict[str, Any]) -> dict[str, Any]:
    before = {host["name"]: host for host in baseline["hosts"]}
    now = {host["name"]: host for host in hosts}
    changes: list[dict[str, Any]] = []
    apart = []
    for name in sorted({*before, *now}, key=_natural):
        if name not in before:
            apart.append({"host": name, "message": f"{name} is not in the baseline"})
        elif name not in now:
            apart.append({"host": name, "message": f"{name} was not audited, the baseline has it"})
        elif not before[name]["ok"] or not now[name]["ok"]:
            when, status = ("now", now[name]["status"]) if before[name]["ok"] else ("in the baseline", before[name]["status"])
            apart.append({"host": name, "message": f"{name} is {printable(str(status))} {when}, so its models cannot be compared"})
        else:
            changes += _changes(now[name], before[name])
    return {"changes": changes, "not_compared": apart}


def _compared(host: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """What counts as drift, for each key. Order and remaining TTLs never count, nor does how often a key is listed."""
    found: dict[str, dict[str, list[Any]]] = {}
    for model in host["models"]:
        if not isinstance(model["key"], str):
            raise TypeError("key")
        names = ("context_length", "variants", "untold", *_KINDS, *(f"loaded {name}" for name in _KINDS))
        has = found.setdefault(model["key"], {name: [] for name in names})
        # A report of an earlier release does not have them, nor has a record of detail loaded where a model is not loaded.
        variants = model.get("variants")
        has["variants"] += [str(name) for name in variants or []]
        has["untold"] += ["variants"] if variants is None else []
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
    name, before, now = host["name"], _compared(earlier), _compared(host)
    # What one of the two does not tell, such as the quantization of a model that was not loaded then, is no change.
    all_told = host["detail"] == earlier["detail"] == FULL
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
            for which in (f"loaded {kind}", kind) if all_told else (f"loaded {kind}",):
                if old[which] and new[which] and old[which] != new[which]:
                    changes.append(_change(name, key, kind, old[which], new[which]))
                    break
        if old["variants"] != new["variants"] and not (old["untold"] or new["untold"]):
            changes.append(_change(name, key, "variants", old["variants"], new["variants"]))
    return changes


def _change(host: str, model: str, what: str, before: list[Any] | None, now: list[Any] | None) -> dict[str, Any]:
    says = _CHANGED.get(what) or "has the {} {}, it was {}".format(
        {"context_length": "context", "selected_variant": "variant"}.get(what, what), _listed(now), _listed(before)
    )
    if what == "variants":
        says = f"has the variants {_listed(now) or 'none'} on disk, it had {_listed(before) or 'none'}"
    return {"host": host, "model": model, "change": what, "before": before, "now": now, "message": f"{host}: {printable(model)} {says}"}


def _listed(values: list[Any] | None) -> str:
    return ", ".join(printable(str(value)) for value in values or [])
