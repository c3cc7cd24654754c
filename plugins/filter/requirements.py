# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that judge host records by requirements. Each is documented in the YAML file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import record_in
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.fleet import fleet_terms, judge_fleet
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import judge, selected
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import LOADED, RequirementError, flag, parse, parse_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._jinja import about, records_in, template_plugin


@template_plugin
def select_models(record: Any, **requirement: Any) -> list[Any]:
    for name in ("name", "severity", "min_instances", "max_instances"):
        if name in requirement:
            raise RequirementError(f"{name} selects nothing. Remove it.")
    anything = {"model": "*"} if requirement else {}
    return selected(record_in(record), parse({**anything, **requirement}, "arguments"))


@template_plugin
def violations(record: Any, require: Any, exclusive: Any = False) -> list[Any]:
    return judge(record_in(record), parse_all(require), flag(exclusive, "exclusive"))


@template_plugin
def hosts_serving(hosts: Any, model: Any, **attributes: Any) -> list[str]:
    requirement = about(model, LOADED, attributes)
    return [name for name, record in records_in(hosts).items() if not judge(record, [requirement])]


@template_plugin
def fleet_violations(hosts: Any, require: Any, min_hosts: Any = None, consistent: Any = ()) -> list[Any]:
    return judge_fleet(records_in(hosts), parse_all(require), *fleet_terms(min_hosts, consistent))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "select_models": select_models,
            "violations": violations,
            "hosts_serving": hosts_serving,
            "fleet_violations": fleet_violations,
        }
