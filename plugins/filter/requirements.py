# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that judge host records by requirements. Each is documented in the YAML file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.template import Templar
from jinja2 import pass_context

from ..module_utils._input_errors import InputError
from ..module_utils._lmstudio.gathered import extract_record, extract_records
from ..module_utils._requirements.fleet import judge_fleet, parse_fleet_terms
from ..module_utils._requirements.judge import judge, selected
from ..module_utils._requirements.spec import LOADED, boolean, parse, parse_all, read_value
from ..plugin_utils._jinja import requirement_from_args, template_plugin
from ..plugin_utils._options.addresses import machine_by_name, machine_by_variables, same_server_by_records

_ANY = object()


@template_plugin
def select_models(record: Any, model: Any = _ANY, **attributes: Any) -> list[Any]:
    for name in ("name", "severity", "min_instances", "max_instances"):
        if name in attributes:
            raise InputError(f"{name} selects nothing. Remove it.")
    requirement = attributes if model is _ANY else {"model": model, **attributes}
    return selected(extract_record(record), parse({"model": "*", **requirement} if requirement else {}, "requirement"))


@template_plugin
def violations(record: Any, require: Any, exclusive: Any = False) -> list[Any]:
    return judge(extract_record(record), parse_all(require), read_value(boolean, exclusive, "exclusive"))


@template_plugin
def hosts_serving(hosts: Any, model: Any, **attributes: Any) -> list[str]:
    requirement = requirement_from_args(model, LOADED, attributes)
    return [name for name, record in extract_records(hosts, "hosts").items() if not judge(record, [requirement])]


@template_plugin
@pass_context
def fleet_violations(context: Any, hosts: Any, require: Any, min_hosts: Any = None, consistent: Any = ()) -> list[Any]:
    records, (least, same) = extract_records(hosts, "hosts"), parse_fleet_terms(min_hosts, consistent)
    hostvars = context.get("hostvars")
    machine_of = machine_by_variables(hostvars, Templar(loader=hostvars._loader)) if hostvars is not None else machine_by_name
    # Without a number every host is judged, whoever shares its server.
    shared = same_server_by_records(records, machine_of) if least else {}
    return judge_fleet({name: record for name, record in records.items() if name not in shared}, parse_all(require), least, same)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "select_models": select_models,
            "violations": violations,
            "hosts_serving": hosts_serving,
            "fleet_violations": fleet_violations,
        }
