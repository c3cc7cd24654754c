# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An audit as the summary for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import format_size, printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.text import headline, loaded_models, problems, warnings

_MAX_LINES = 40


def as_lines(audit: Audit, paths: Mapping[str, str], written: bool = True) -> list[str]:
    """The summary for a terminal: at most 40 lines, what is wrong first, and where the reports are."""
    found = problems(audit)
    lines = [headline(audit)]
    for title, messages, limit in (
        ("Violations", found["violations"], 8),
        ("Changes since the baseline", found["drift"], 5),
        ("Warnings", warnings(audit), 3),
    ):
        if messages:
            lines += [f"{title}:", *_cut([f"  {printable(message, 160)}" for message in messages], limit)]
    where = [f"  {name:<10} {path}" for name, path in paths.items()]
    room = _MAX_LINES - len(lines) - len(where) - 3 - bool(audit["notes"])
    # Hosts that are not ok come first, each part in the order of names.
    hosts = sorted(audit["hosts"], key=lambda host: bool(host["ok"]))
    width = min(max([len(host["name"]) for host in hosts] + [4]), 40)
    lines.append(f"{'HOST':<{width}}  {'STATUS':<12}  {'LISTED':>6}  {'LOADED SIZE':>11}  MODELS (CONTEXT)")
    rows = [
        f"{printable(host['name'], width):<{width}}  {printable(host['status']):<12}  {host['counts']['models']:>6}  "
        f"{format_size(host['size_bytes']['loaded']):>11}  {printable(', '.join(loaded_models(host)) if host['ok'] else host['error']['message'], 110) or '-'}"
        for host in hosts
    ]
    lines += _cut(rows, room)
    if audit["notes"]:
        lines.append(printable(audit["notes"][0], 200))
    return [*lines, "Reports:" if written else "Reports, not written in check mode:", *where] if where else lines


def _cut(lines: list[str], room: int) -> list[str]:
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"  ... and {len(lines) - room + 1} more"]
