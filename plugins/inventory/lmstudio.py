# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: lmstudio
short_description: Hosts, groups and variables from the answers of LM Studio servers
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Sends C(GET /api/v1/models) to many LM Studio servers at once from the controller. Each host gets one variable with its
    record, and is added to groups that say whether it answered and what it has loaded.
  - It asks hosts that the inventory has already, adds hosts of its own, or both.
  - The name of the file must end in C(lmstudio.yml) or C(lmstudio.yaml).
  - A host that does not return a model list stays in the inventory. Its record says what happened. A host whose own variables or address cannot
    be used has the status V(not_asked), and the others are asked.
  - It never sets a variable that says how to connect, such as C(ansible_host) or C(lmstudio_url).
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.fleet
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description:
      - The name of this plugin.
    type: str
    required: true
    choices: [gpufleet.lmstudio.lmstudio]
  hosts:
    description:
      - A pattern, as in the C(hosts) of a play, or a list of them. Matching hosts of earlier sources of the inventory are asked with
        their own variables, which are those of the inventory and extra variables.
      - Sources are read in the order of C(-i), and the files of a folder in the order of their names. So this file has to come after the
        sources of these hosts, as in C(-i hosts.yml -i lmstudio.yml), or as C(90-lmstudio.yml) next to C(10-hosts.yml). A pattern that
        matches nothing causes a warning.
      - May be a template.
    type: list
    elements: str
    default: []
  endpoints:
    description:
      - Servers to add as hosts. Each is a URL, a name or address, or C(NAME:PORT), and may have ranges such as C(gpu[01:40]).
      - The host is called as in the endpoint, as it is written there, or as the inventory already has it. If the list has several servers with
        the same name, each of them is called C(NAME_PORT).
      - If the inventory has a host of that name already, its own variables win.
      - C(localhost), C(127.0.0.1) or C(::1), in a URL too, becomes a host that replaces Ansible's implicit localhost, so plays on that log in over
        SSH, unless another source or C(host_vars) sets C(ansible_connection=local) for it.
      - May be a template.
    type: list
    elements: str
    default: []
  variable:
    description:
      - The variable that gets the record of a host, as RV(gpufleet.lmstudio.model_info#module:lmstudio) describes it.
      - It cannot be C(lmstudio), because facts of that name would hide it.
    type: str
    default: lmstudio_record
  detail:
    description:
      - Whether C(models) of a record has only the entries of loaded models (V(loaded)), or those of all models (V(full)).
      - The rest of a record is the same with either. Variables cost time and memory in every task of every play, so use
        V(full) only for small fleets.
    type: str
    choices: [full, loaded]
    default: loaded
  on_error:
    description:
      - What happens if a host does not return a model list, whatever the reason. Options that cannot be used always fail the source.
      - V(warn) warns, with a line for each status. V(report) says nothing. V(fail) fails the source, which Ansible reports as a
        warning unless C(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) is set.
    type: str
    choices: [fail, warn, report]
    default: warn
  use_vars_plugins:
    description:
      - Whether to read variables in C(host_vars) and C(group_vars) next to the sources of the inventory for hosts that are asked.
    type: bool
    default: true
  token:
    description:
      - The API token for hosts that have none of their own, sent as a bearer token. It goes to each of them.
      - May be a template or vaulted.
  headers:
    description:
      - Additional request headers, for hosts that have none of their own. Values may be templates or vaulted.
notes:
  - Every host is in C(lmstudio_ok) or in C(lmstudio_not_ok), and in C(lmstudio_status_STATUS). It is in C(lmstudio_loaded_MODEL)
    for each model with a loaded instance. In the name of a group, characters of MODEL other than English letters, digits and
    C(_) become C(_), so two models may share a group. The exact keys are in the variable.
  - If C(enable_plugins) in the configuration does not contain C(auto), it has to name this plugin.
  - A host that has the name of a group is added to groups as a host. In a pattern that name means the group.
  - C(ansible_connection), or else the command line, decides whether a connection is local. The keyword C(connection) of a play is not
    available yet, nor are variables in C(group_vars) and C(host_vars) next to the playbook.
  - A warning names hosts that have the same URL, because one answer is then used for all of them.
  - Templates in host variables see the variables of that host. C(groups) and C(hostvars) are not available yet.
  - If several sources of this plugin ask a host, its groups are those of the last one.
  - E(LM_API_TOKEN) is not used here, because one token must not go to the whole fleet by accident.
  - A cache keeps the answers, and which hosts could not be reached, with the time when each was asked. A change to the options of this file
    applies at once, because they are applied to what is in the cache. A host whose connection is changed is asked again, and so is one
    that answered with an error. A cache that cannot be used causes a warning. C(ansible-playbook --flush-cache) and
    C(meta=refresh_inventory) ask all hosts again.
  - A cache contains no token, nor anything derived from one, so it does not notice a changed token or header. Then flush it.
    The files of a cache are readable only by their owner.
seealso:
  - module: gpufleet.lmstudio.fleet_info
  - plugin: ansible.builtin.constructed
    plugin_type: inventory
"""

EXAMPLES = r"""
# fmt: code
# Ask hosts that another source has. Run: ansible-inventory -i hosts.yml -i lmstudio.yml --graph
plugin: gpufleet.lmstudio.lmstudio
hosts: gpu
timeout: 5

---
# Add forty servers, with a token from the environment
plugin: gpufleet.lmstudio.lmstudio
endpoints:
  - gpu[01:40].example:1234
  - https://lab.example/lmstudio
token: "{{ lookup('ansible.builtin.env', 'FLEET_TOKEN') }}"

---
# Make variables and groups from the answers of the servers, and keep the answers for ten minutes
plugin: gpufleet.lmstudio.lmstudio
hosts: gpu
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/lmstudio
cache_timeout: 600
strict: true
compose:
  loaded_models: lmstudio_record.loaded
groups:
  long_context: lmstudio_record.instances | selectattr('context_length', 'ge', 32768) | list | length > 0
keyed_groups:
  - key: lmstudio_record.status
    prefix: status
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import combine_vars

from ..module_utils._argspec import is_set
from ..module_utils._http.endpoint import Endpoint
from ..module_utils._input_errors import OptionError
from ..module_utils._lmstudio.record import record_of
from ..module_utils._lmstudio.record_type import Record
from ..module_utils._text import unknown_names
from ..plugin_utils._fleet.engine import poll_all
from ..plugin_utils._fleet.records import ask_hosts, endpoint_warnings, show_progress
from ..plugin_utils._fleet.selection import match_pattern
from ..plugin_utils._fleet.summary import failure_lines, failure_warning
from ..plugin_utils._inventory.cache import dump_polls, load_polls
from ..plugin_utils._inventory.cache_that_may_fail import CacheThatMayFail
from ..plugin_utils._inventory.groups import ConstructedFromRecords, set_record
from ..plugin_utils._inventory.naming import addresses_by_name, check_variable
from ..plugin_utils._inventory.variables import Variables
from ..plugin_utils._options.argspec import FLEET_SPEC
from ..plugin_utils._options.combine import options_from_address
from ..plugin_utils._options.host import Host, NotAsked, connection_of_command_line, variables_or_error
from ..plugin_utils._options.precedence import given_options, resolve_fleet
from ..plugin_utils._options.templates import explain_template
from ..plugin_utils._options.validate import refuse_conversions, validate_options

_TEMPLATES = ("token", "headers", "hosts", "endpoints")


class InventoryModule(CacheThatMayFail, ConstructedFromRecords, BaseInventoryPlugin):
    """Asks hosts, and gives each its record and its groups."""

    NAME = "gpufleet.lmstudio.lmstudio"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("lmstudio.yml", "lmstudio.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        before = set(inventory.hosts)
        try:
            options = self._read_options(path)
            addresses = addresses_by_name(options["endpoints"], options["port"], inventory.hosts)
            names = list(dict.fromkeys([*self._matching(options["hosts"]), *addresses]))
            for name in addresses:
                if name not in inventory.hosts:
                    inventory.add_host(name)
            variables = Variables(inventory, loader, [*inventory.processed_sources, path] if options["use_vars_plugins"] else [])
            hosts = [self._host(name, variables, listed=name in before) for name in names]
            resolved = resolve_fleet(options, hosts, defaults_of={name: options_from_address({}, text) for name, text in addresses.items()})
            for warning in endpoint_warnings(hosts, resolved):
                self.display.warning(warning)
            records = self._records(resolved, options, path, cache)
            self._report(records, options["on_error"])
        except (AnsibleError, OptionError) as exc:
            # A source that failed has added nothing.
            for name in set(inventory.hosts) - before:
                inventory.remove_host(inventory.hosts[name])
            raise AnsibleParserError(str(exc)) from None
        for group in ("lmstudio_ok", "lmstudio_not_ok"):
            inventory.add_group(group)
        for name, record in records.items():
            set_record(inventory, name, record, options["variable"])
            self.construct(name, options, variables)

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Mapping[str, Any] | None = None) -> None:
        given = {name: self._templated(name, value) if name in _TEMPLATES else value for name, value in (direct or {}).items()}
        unknown = sorted(set(given) - set(self.option_definitions))
        if unknown:
            raise AnsibleParserError(unknown_names("option", unknown, sorted(self.option_definitions)))
        # Ansible itself would take an empty string for false, or for a folder. For a pattern of hosts it is an error.
        given = {name: value for name, value in given.items() if name == "hosts" or is_set(value)}
        refuse_conversions(self.option_definitions, given)
        # Ansible itself would quote a secret that cannot be used.
        of_fleet = given_options({name: value for name, value in given.items() if name in FLEET_SPEC})
        checked = validate_options(FLEET_SPEC, of_fleet)
        super().set_options(task_keys, var_options, {**given, **{name: checked[name] for name in of_fleet}})

    def _read_options(self, path: str) -> dict[str, Any]:
        self._read_config_data(path)
        options = {name: self.get_option(name) for name in self.option_definitions}
        for name in ("hosts", "endpoints"):
            # A template may have become a list in the list.
            options[name] = [item for part in options[name] or [] for item in (part if isinstance(part, list) else [part])]
            if not all(isinstance(item, str) and item for item in options[name]):
                raise OptionError(name, "it has an entry that is empty or not a string.")
        if not options["hosts"] and not options["endpoints"]:
            raise AnsibleParserError("neither endpoints nor hosts is given. Name servers to add, or a pattern of hosts to ask.")
        check_variable(options["variable"])
        return options

    def _templated(self, name: str, value: Any) -> Any:
        self.templar.available_variables = self._vars
        try:
            return self.templar.template(value)
        except Exception as exc:  # Whatever a template raises, it may quote a secret.
            problem = explain_template(exc, value, secret=name != "hosts")
            raise OptionError(name, f"its template cannot be used: {problem}") from None

    def _matching(self, pattern: list[str]) -> list[str]:
        if not pattern:
            return []
        # Only when all sources are read does Ansible itself put every host into all.
        found = match_pattern(pattern, {**self.inventory.get_groups_dict(), "all": list(self.inventory.hosts)}, self.loader)
        # A pattern may mean the implicit localhost, which is not a host that could have variables and groups.
        names = [name for name in found if name in self.inventory.hosts]
        if not names:
            self.display.warning(
                f"hosts: {','.join(pattern)} matches no host of the sources that were read before this one. "
                "Check its spelling, and give the source that has the hosts first, as in -i hosts.yml -i lmstudio.yml."
            )
        return names

    def _host(self, name: str, variables: Variables, listed: bool) -> Host:
        own = variables_or_error(name, lambda: combine_vars(variables.of_host(name), self._vars))
        return Host(name, own, self.templar, connection_of_command_line(), own if listed else {})

    def _records(self, resolved: dict[str, Endpoint | NotAsked], options: dict[str, Any], path: str, read_cache: bool) -> dict[str, Record]:
        """The record of each host, from the cache where that is allowed."""
        if not options["cache"]:
            return ask_hosts(resolved, options)
        endpoints = {name: endpoint for name, endpoint in resolved.items() if isinstance(endpoint, Endpoint)}
        key = self.get_cache_key(path)
        polls = load_polls(self.cached(key), endpoints, options["cache_timeout"]) if read_cache else {}
        missing = {name: endpoint for name, endpoint in endpoints.items() if name not in polls}
        asked = poll_all([*missing.values()], options["concurrency"], options["fleet_timeout"], show_progress, lambda _endpoint, poll: poll)
        polls.update(zip(missing, asked))
        if missing:
            self._cache[key] = dump_polls(endpoints, polls)
        detail = options["detail"]
        return {
            name: record_of(each, polls.pop(name), detail) if isinstance(each, Endpoint) else each.record(detail)
            for name, each in resolved.items()
        }

    def _report(self, records: dict[str, Record], on_error: str) -> None:
        if on_error == "fail" and (lines := failure_lines(records)):
            raise AnsibleParserError("\n".join(lines))
        if on_error == "warn" and (warning := failure_warning(records)):
            self.display.warning(warning, formatted=True)
