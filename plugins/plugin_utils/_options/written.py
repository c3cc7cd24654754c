# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What a playbook says of the options and the environment of a task, as it is written there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.parsing.mod_args import ModuleArgsParser
from ansible.playbook.task_include import TaskInclude

from .host import Host
from .templates import is_template


class Written:
    """Values by name before their templates are evaluated, which can be done with the variables of any host.

    Of several `levels` that have a name, the last one counts. A level may be a template, which stands for all of it.
    """

    def __init__(self, levels: list[Any]) -> None:
        self._levels = levels

    def is_template(self, name: str) -> bool:
        """Whether a value may differ from host to host."""
        return is_template([level.get(name) if isinstance(level, Mapping) else level for level in self._levels])

    def value(self, name: str, template: Callable[[Any], Any]) -> Any:
        """A value as `template` evaluates it, each header for itself. What cannot be evaluated is None."""

        def evaluated(raw: Any) -> Any:
            try:
                return template(raw)
            except Exception:  # Whatever a template raises, it has no value here.
                return None

        found = None
        for level in self._levels:
            values = level if isinstance(level, Mapping) else evaluated(level)
            if isinstance(values, Mapping) and name in values:
                found = values[name]
        return {part: evaluated(raw) for part, raw in found.items()} if isinstance(found, Mapping) else evaluated(found)


class WrittenOptions(Written):
    """The options of a task and of ``module_defaults``."""

    def __init__(self, task: Any, module: str) -> None:
        defaults: dict[str, Any] = {}
        # Before 2.19, ansible-core puts the evaluated ones into the attribute of the task.
        own_defaults = task._load_module_defaults("module_defaults", (task.get_ds() or {}).get("module_defaults"))
        for each in [*_written_around(task, "module_defaults"), *(own_defaults or [])]:
            defaults.update(each)
        groups = [f"group/{group}" for group in task.get_play()._action_groups.get(module, [])]
        of_groups = [value for name, value in defaults.items() if name in groups]
        for_all, own = None, task.args
        if isinstance(task.get_ds(), Mapping):
            own = _written_arguments(task)
            # A template that stands for all of them. Which of the two depends on the version of ansible-core.
            for_all = own.pop("_variable_params", None) or own.pop("_raw_params", None)
        super().__init__([*of_groups, defaults.get(module), for_all, own])

    def own(self, templar: Any) -> Mapping[str, Any]:
        """The options that the task itself has. Only a template that stands for all of them is evaluated."""
        for_all, own = self._levels[-2:]
        evaluated = templar.template(for_all) if for_all else None
        return {**(evaluated if isinstance(evaluated, Mapping) else {}), **own}


def written_environment(task: Any) -> Written:
    """The keyword ``environment`` of a task and of what is around it."""
    return Written([*_written_around(task, "environment"), *_as_list((task.get_ds() or {}).get("environment"))])


def as_written(task: Any, here: Host, there: Host) -> Host:
    """The host `there`, with the variables that the task would have on it. The task runs for the host `here`, and what Ansible has already
    evaluated for that one is replaced: the variables of a loop are None unless the loop comes to the same on `there`, and those that an include
    applies are as they are written.
    """
    levels = [(include, _loop_variables(include), _applied(include, "vars") or {}) for include in includes_around(task)]
    if task.loop:
        names = (*(str(here.variables.get(variable)) for variable in ("ansible_loop_var", "ansible_index_var")), "ansible_loop")
        levels.append((task, {name: here.variables[name] for name in names if name in here.variables}, {}))
    for looped, of_loop, applied in levels:
        if of_loop and not _is_same_loop(looped, here, there):
            of_loop = dict.fromkeys(of_loop)
        # The loops further in see these.
        there = there._replace(variables={**there.variables, **of_loop, **applied})
    return there


def _is_same_loop(task: Any, here: Host, there: Host) -> bool:
    # Other lookups than items may come to different values for the same terms.
    if task.loop_with not in (None, "items", "ansible.builtin.items"):
        return False
    try:
        return bool(here.template(task.loop) == there.template(task.loop))
    except Exception:  # Whatever a template raises, it has no value there.
        return False


def includes_around(task: Any) -> list[Any]:
    """The includes around a task that were carried out for one host, the outermost first."""
    found: list[Any] = []
    parent = task._parent
    while parent:
        if isinstance(parent, TaskInclude) and not parent.statically_loaded:
            found.insert(0, parent)
        parent = getattr(parent, "_parent", None)
    return found


def _loop_variables(include: Any) -> dict[str, Any]:
    """The variables that the loop of an include has given to the tasks in it."""
    written = (include.get_ds() or {}).get("vars") or {}
    return {name: value for name, value in include.vars.items() if name not in written}


def _applied(include: Any, keyword: str) -> Any:
    """What an include applies, as it is written."""
    return (_written_arguments(include).get("apply") or {}).get(keyword)


def _written_around(task: Any, keyword: str) -> list[Any]:
    """The values of a keyword of what is around a task, the outermost first."""
    values: list[Any] = task._get_parent_attribute(keyword, omit=True) or []
    block = task._parent
    while block:
        include = getattr(block, "_parent", None)
        if isinstance(include, TaskInclude) and not include.statically_loaded:
            # Since 2.19, ansible-core evaluates what an include applies, before there are tasks to which it applies.
            written = _applied(include, keyword)
            if keyword == "module_defaults":
                written = task._load_module_defaults(keyword, written)
            pairs = list(zip(_as_list(getattr(block, f"_{keyword}", None)), _as_list(written)))
            values = [next((raw for evaluated, raw in pairs if evaluated == value), value) for value in values]
        block = include
    return values


def _written_arguments(task: Any) -> dict[str, Any]:
    # Ansible's own reading of a task, because its arguments can be written in many ways.
    _action, arguments, _delegate = ModuleArgsParser(task_ds=task.get_ds()).parse(skip_action_validation=True)
    return dict(arguments)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
