# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Shared by the action plugins that ask many hosts: they run once, and each host is asked with its own variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ...module_utils._http.endpoint import Endpoint
from ...module_utils._input_errors import InputError, OptionError
from ...module_utils._text import did_you_mean, printable
from .._options.host import (
    Host,
    NotAsked,
    connection_of_command_line,
    connection_of_play,
    host_of_inventory,
    host_of_task,
    variables_in_task,
)
from .._options.host_secrets import withhold_differing_secrets, withhold_foreign_secrets
from .._options.precedence import given_options, resolve_fleet
from .._options.validate import validate_options
from .._options.written import WrittenOptions, as_written
from .records import endpoint_warnings
from .selection import batch_hosts, match_pattern, names_not_in_inventory, play_hosts, refuse_batches_of_an_audit

_GIVE_A_PATTERN = "Give a pattern. Without this option, the hosts of the play are asked."


class FleetAction(ActionBase):
    """Asks many hosts at once, in one task that runs once."""

    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True
    MODULE: str
    """The short name of the module."""
    spec: dict[str, Any]
    """The argument spec of the module."""

    def result_of(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of the task, with its checked options."""
        raise NotImplementedError

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        # An ad hoc command has no keywords, and registers nothing.
        if not self._task.run_once and len(task_vars["ansible_play_batch"]) > 1 and "module_name" not in context.CLIARGS:
            self._display.warning(
                f"{self.MODULE} asks all hosts once, but without run_once: true Ansible registers its result on one host only. "
                "Set run_once: true on this task."
            )
        try:
            refuse_batches_of_an_audit(self._task, task_vars)
            if self._task.args.get("hosts", self) in ("", None):
                raise OptionError("hosts", f"it has no value. {_GIVE_A_PATTERN}")
            options = validate_options(self.spec, given_options(self._task.args))
            result.update(self.result_of(options, task_vars))
        except (AnsibleError, InputError) as exc:
            # Not raised again: Ansible would show where in the code it happened, which helps nobody.
            result.update(failed=True, msg=str(exc))
        return result

    def names_of(self, pattern: list[str] | None, task_vars: dict[str, Any]) -> list[str]:
        if pattern is None:
            return batch_hosts(task_vars)
        if not pattern:
            raise OptionError("hosts", f"it is an empty list. {_GIVE_A_PATTERN}")
        if not all(part.strip() for part in pattern):
            raise OptionError("hosts", "it has an empty entry. Remove it, or give a pattern in its place.")
        groups = task_vars["groups"]
        unknown = names_not_in_inventory(pattern, groups)
        if unknown:
            meant = did_you_mean(unknown, [*groups, *groups["all"]])
            raise OptionError("hosts", f"no host or group of the inventory is called {' or '.join(map(printable, unknown))}.{meant}")
        names = match_pattern(pattern, groups, self._loader)
        if not names:
            raise OptionError("hosts", f"no host of the inventory matches {','.join(pattern)}.")
        return names

    def resolve(self, names: list[str], options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Endpoint | NotAsked]:
        """The endpoint of each host, or why it has none."""
        in_play = play_hosts(self._task, task_vars)

        def host_of(name: str) -> Host:
            of_play = name in in_play
            connection = connection_of_play(self._task, name, task_vars, self._templar) if of_play else connection_of_command_line()
            return host_of_inventory(name, task_vars["hostvars"], self._templar, connection)

        def variables_of(host: Host) -> Mapping[str, Any]:
            try:
                variables = variables_in_task(self._task, host.name, task_vars)
            except AnsibleError:  # A file of variables that cannot be read, of a host outside of the play.
                return {}
            return as_written(self._task, own, host._replace(variables=variables)).variables

        hosts = [host_of(name) for name in names]
        owner = task_vars["inventory_hostname"]
        own = host_of_task(self._task, task_vars, self._templar)
        warnings = withhold_foreign_secrets(options, host_of(owner), hosts)
        others = [host for host in hosts if host.name != owner]
        written = WrittenOptions(self._task, f"gpufleet.lmstudio.{self.MODULE}")
        instead, withheld = withhold_differing_secrets(options, self._task.args, written, others, variables_of)
        warnings += withheld
        resolved = resolve_fleet(options, hosts, task_vars, instead)
        for warning in [*warnings, *endpoint_warnings(hosts, resolved)]:
            self._display.warning(warning)
        return resolved
