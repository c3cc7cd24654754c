# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The summary of an audit for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from ....module_utils._text import count, printable
from .. import sentences
from ..document import Audit, unanswered_first
from ..findings import FINDING_KINDS, Finding, Kind, cause_lines

_MAX_LINES = 40
_WIDTH = 200
_MAX_NOTES = 3
_MODELS = (3, 6)
"""The fewest and the most lines for models. In between, hosts come first. The fewest are one less if every kind of finding fills its lines."""


def as_lines(audit: Audit, paths: Mapping[str, str], written: bool = True) -> list[str]:
    """The summary for a terminal: at most 40 lines, what is wrong first, and where the reports are."""
    lines = [sentences.headline(audit)]
    for kind, findings in sentences.findings_of(audit).items():
        lines += [f"{FINDING_KINDS[kind].title}:", *(f"  {line}" for line in _finding_lines(FINDING_KINDS[kind], findings))]
    where = [f"  {name:<10} {path}" for name, path in paths.items()]
    notes = [printable(note, _WIDTH) for note in audit["notes"]]
    if len(notes) > _MAX_NOTES:
        notes[_MAX_NOTES - 1 :] = [f"... and {len(notes) - _MAX_NOTES + 1} more notes"]
    room = _MAX_LINES - len(lines) - len(notes) - (len(where) + 1 if where else 0)
    fewest, most = _MODELS
    # Both tables have a line of titles, and the hosts at least one more.
    models = _models(audit, min(most, max(fewest, room - len(audit["hosts"]) - 2), room - 3))
    lines += [*models, *_hosts(audit, room - len(models)), *notes]
    return [*lines, "Reports:" if written else "Reports, not written in check mode:", *where] if where else lines


def _finding_lines(kind: Kind, findings: list[Finding]) -> list[str]:
    """The lines that fit: every finding comes before the hosts of any."""
    if len(findings) > kind.lines:
        shown = [printable(finding["message"], _WIDTH - 2) for finding in findings[: kind.lines - 1]]
        return [*shown, f"... and {kind.counted(len(findings) - kind.lines + 1, 'more ')}"]
    lines = []
    left = kind.lines - len(findings)
    for finding in findings:
        hosts = cause_lines(finding)[:left]
        left -= len(hosts)
        lines += [printable(finding["message"], _WIDTH - 2), *(f"  {printable(line, _WIDTH - 4)}" for line in hosts)]
    return lines


def _models(audit: Audit, most: int) -> list[str]:
    """The table of the models, those that most hosts serve first, with a line for its titles."""
    models = sentences.models_by_use(audit)
    if not models:
        return []
    shown = models if len(models) <= most else models[: most - 1]
    width = min(max([len(printable(model["key"])) for model in shown] + [5]), 60)
    lines = [f"{'MODEL':<{width}}  {'SERVED BY':>9}  {'LISTED BY':>9}  {'INSTANCES':>9}  {'SLOTS':>9}  {'SIZE':>10}  CONTEXTS"]
    lines += [
        f"{printable(model['key'], width):<{width}}  {model['hosts_loaded']:>9}  {model['hosts_listing']:>9}  {model['instances']:>9}  "
        f"{model['slots']:>9}  {model['size']:>10}  {printable(model['contexts'], 60)}"
        for model in shown
    ]
    return lines if len(shown) == len(models) else [*lines, f"  ... and {count(len(models) - len(shown), 'more model')}"]


def _hosts(audit: Audit, room: int) -> list[str]:
    """The table of the hosts, those without an answer first, each part in the order of names. It has at most `room` lines, but two where there
    is less room.
    """
    hosts = unanswered_first(audit)
    width = min(max([len(host["name"]) for host in hosts] + [4]), 40)
    lines = [f"{'HOST':<{width}}  {'STATUS':<12}  {'LISTED':>6}  {'LOADED SIZE':>11}  MODELS (CONTEXT)"]
    for host in hosts:
        shown = ", ".join(sentences.loaded_models(host)) if host["ok"] else host["error"]["message"]
        lines.append(
            f"{printable(host['name'], width):<{width}}  {printable(host['status']):<12}  {sentences.number_listed(host):>6}  "
            f"{sentences.loaded_size(host):>11}  {printable(shown, 110) or '-'}"
        )
    if len(lines) <= room:
        return lines
    # Without the titles, and the line that counts the others.
    shown = max(room - 2, 0)
    return [*lines[: shown + 1], f"  ... and {count(len(hosts) - shown, 'more host')}"]
