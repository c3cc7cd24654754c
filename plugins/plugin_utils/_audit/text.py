# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The sentences that all reports share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import FAIL
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Audit, violations_in


def headline(audit: Audit) -> str:
    """The outcome in one sentence."""
    summary = audit["summary"]
    parts = [f"{summary['hosts']['ok']} of {_count(summary['hosts']['total'], 'host')} answered"]
    if summary["checks"]["total"]:
        parts.append(_count(summary["violations"]["fail"], "violation"))
        parts.append(_count(summary["violations"]["warn"], "warning"))
    if summary["drift"] is not None:
        parts.append(_count(summary["drift"], "change") + " since the baseline")
    return ", ".join(parts) + "."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def problems(audit: Audit) -> dict[str, list[str]]:
    """What is wrong, a sentence each, by the name that `fleet_audit_fail_on` has for it."""
    return {
        "violations": [_sentence(violation) for violation in violations_in(audit) if violation["severity"] == FAIL],
        "not_ok": [f"{host['name']}: {host['error']['message']}" for host in audit["hosts"] if not host["ok"]],
        "drift": [change["message"] for change in (audit["drift"] or {"changes": []})["changes"]],
    }


def warnings(audit: Audit) -> list[str]:
    """Violations that only warn, a sentence each."""
    return [_sentence(violation) for violation in violations_in(audit) if violation["severity"] != FAIL]


def _sentence(violation: Mapping[str, Any]) -> str:
    return f"{violation['host'] or violation['policy']}: {violation['message']}"


def loaded_models(host: Mapping[str, Any]) -> list[str]:
    """Each loaded model with the contexts of its instances."""
    return [
        f"{printable(model['key'])} ({', '.join(_tokens(instance['context_length']) for instance in model['instances'])})"
        for model in host["models"]
        if model["state"] == "loaded"
    ]


def _tokens(number: int | None) -> str:
    return "context not known" if number is None else str(number)
