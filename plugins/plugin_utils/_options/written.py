# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What a playbook says of the options of a task, as it is written there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.parsing.mod_args import ModuleArgsParser


def arguments_of_task(task: Any, templar: Any) -> Mapping[str, Any]:
    """The arguments that a task itself has, and not ``module_defaults``. Only a template that stands for all of them is evaluated."""
    written = task.get_ds()
    if not isinstance(written, Mapping):
        arguments: Mapping[str, Any] = task.args
        return arguments
    # Ansible's own reading of a task, because its arguments can be written in many ways.
    _action, own, _delegate = ModuleArgsParser(task_ds=written).parse(skip_action_validation=True)
    # Which of the two depends on the version of ansible-core.
    for_all = own.pop("_variable_params", None) or own.pop("_raw_params", None)
    evaluated = templar.template(for_all) if for_all else None
    return {**(evaluated if isinstance(evaluated, Mapping) else {}), **own}
