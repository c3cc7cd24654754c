# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What an earlier run found, to compare with, even about hosts that gave no answer then or were not in that run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...module_utils._grouping import grouped
from ...module_utils._http.endpoint import V1
from ...module_utils._input_errors import OptionError
from ...module_utils._text import format_names, format_value, printable
from .drift import reports_less, snapshots_of

SCHEMA_VERSION = 2
_READ = (1, SCHEMA_VERSION)
_UNCHANGED = "Give the fleet_audit.json of an earlier run, unchanged."
_KNOWN = ("ok", "status", "detail", "models")
_TYPES = {"ok": (bool, "true or false"), "models": (list, "a list"), **dict.fromkeys(("status", "detail", "seen_at"), (str, "a string"))}
"""What each has to be."""


class Baseline(NamedTuple):
    """Made by :func:`parse_baseline`."""

    audited_at: str
    hosts: dict[str, dict[str, Any]]
    """What is known of each host: `{ok, status, api, detail, models, seen_at}`. For one that gave no answer, or less of one, what it had before."""

    def still_known(self, host: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a host without a change had before, where it gives no answer now, or reports less."""
        known = self.hosts.get(host["name"])
        if known is None or not known["ok"] or (host["ok"] and not reports_less(known, host)):
            return None
        return {key: known[key] for key in ("seen_at", "api", "detail", "models")}


def parse_baseline(document: Any) -> Baseline:
    """A document of an earlier run, as far as drift needs it. Raises :class:`OptionError`."""
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if version is None:
        raise OptionError("baseline", "it is not a JSON report of fleet_audit. Give the fleet_audit.json of an earlier run.")
    if version not in _READ or isinstance(version, bool):
        raise OptionError(
            "baseline",
            f"it has schema_version {format_value(version)}, and this collection reads {' and '.join(map(str, _READ))}. Run an audit to make a new one.",
        )
    try:
        audited_at = str(document["run"]["audited_at"])
        seen = [(host, audited_at) for host in document["hosts"]]
        seen += [(host, str(host["seen_at"])) for host in document.get("carried_over", [])]
        known = grouped((str(host["name"]), _known(host, seen_at)) for host, seen_at in seen)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise OptionError("baseline", f"it is not complete. {_UNCHANGED}") from None
    repeated = [name for name, found in known.items() if len(found) > 1]
    if repeated:
        # Only one of them would be compared.
        raise OptionError("baseline", f"it has {format_names(repeated)} more than once. {_UNCHANGED}")
    return Baseline(audited_at, {name: found[0] for name, found in known.items()})


def _known(host: Mapping[str, Any], seen_at: str) -> dict[str, Any]:
    before = host.get("last_known")
    for name, value in [*host.items(), *(before or {}).items()]:
        required, in_words = _TYPES.get(name, (object, ""))
        if not isinstance(value, required):
            raise OptionError("baseline", f"{name} of {printable(str(host['name']))} must be {in_words}. {_UNCHANGED}")
    # An earlier release did not record the API, and knew only one.
    api = host.get("api", V1 if host["ok"] else None)
    known = {**{key: host[key] for key in _KNOWN}, "api": api, "seen_at": seen_at}
    if before:
        known.update({"api": V1, **before, "ok": True, "status": "ok"})
    snapshots_of(known)
    return known
