# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: models
short_description: Ask LM Studio servers from the controller, inside an expression
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Sends C(GET /api/v1/models) from the controller to all LM Studio servers that its terms name, at once, and returns one item per
    term, in order, or with O(as=dict) a dictionary by term. Equal requests are sent once.
  - It needs nothing on the servers, and only Python on the controller.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.fleet
options:
  _terms:
    description:
      - What to ask. Without a term, the host of the task is asked.
      - A URL, such as C(http://gpu01:1234). It is asked with the options of the lookup, and if O(token) is not set, with the token in
        E(LM_API_TOKEN). Host variables do not count, so that the token of one host never goes to another server.
      - The name of a host of the inventory. Its own variables count, as for M(gpufleet.lmstudio.model_info) with C(via=controller),
        and the options are defaults for what it does not set. Only variables of the inventory, facts and extra variables count
        here, not those of the play, of the task or of roles, nor the keyword C(connection) of the play.
      - In a variable that another host reads through C(hostvars), only the host that has the variable can be named. In the C(hosts) of the
        first play no host can be named, because there are no variables of hosts yet. A URL can be given anywhere.
      - Any other name or address, or C(NAME:PORT), which is never looked up in the inventory.
      - The name of a group is an error. Give the hosts of the group, such as C(groups['gpu']).
    type: list
    elements: str
  select:
    description:
      - What the item of a term is.
      - V(record) is the whole record, as RV(gpufleet.lmstudio.model_info#module:lmstudio) describes it.
      - V(models) is its list of entries, V(loaded) and V(available) are its lists of keys. They are empty if there is no model list.
    type: str
    choices: [record, models, loaded, available]
    default: record
  as:
    description:
      - V(list) returns one item per term, in the order of the terms.
      - V(dict) returns one dictionary with the terms as its keys. Filters over hosts, such as
        P(gpufleet.lmstudio.hosts_serving#filter), take it as it is. C(query) returns a list that holds this one dictionary.
    type: str
    choices: [list, dict]
    default: list
    version_added: 2.0.0
  detail:
    description:
      - V(full) returns every entry, V(loaded) only those of loaded models.
    type: str
    choices: [full, loaded]
    default: full
  on_error:
    description:
      - What happens if a server does not return a model list, whatever the reason. Wrong terms and options always fail. A host whose own variables
        or address cannot be used has the status V(not_asked), and the others are asked.
      - V(fail) fails, after all terms were asked, and names every server without a model list.
      - V(warn) warns and returns the record as data. V(report) only returns it.
    type: str
    choices: [fail, warn, report]
    default: fail
notes:
  - A lookup in a variable asks again at every use of that variable. To ask once, register the result of
    M(gpufleet.lmstudio.model_info), or keep the answer with M(ansible.builtin.set_fact).
  - With one term, C(lookup) returns the item itself. Use C(query) to always get a list.
seealso:
  - module: gpufleet.lmstudio.model_info
"""

EXAMPLES = r"""
- name: Ask one server and print what it has loaded
  ansible.builtin.debug:
    msg: "{{ lookup('gpufleet.lmstudio.models', 'http://gpu01:1234', select='loaded') }}"

- name: Ask two servers once, and keep both answers
  ansible.builtin.set_fact:
    answers: "{{ query('gpufleet.lmstudio.models', 'http://gpu01:1234', 'http://gpu02:1234', on_error='report') }}"

- name: Print what every host of a group has loaded, each asked with its own variables
  ansible.builtin.debug:
    msg: "{{ lookup('gpufleet.lmstudio.models', groups['gpu'], select='loaded', as='dict', on_error='warn') }}"
  run_once: true

- name: Go on only if both answered
  ansible.builtin.assert:
    that: answers | rejectattr('ok') | length == 0
    fail_msg: "{{ answers | rejectattr('ok') | map(attribute='error.message') | join(' ') }}"
"""

RETURN = r"""
_raw:
  description: One item per term, in the order of the terms, whatever O(select) says. With O(as=dict), one dictionary by term.
  type: list
  elements: raw
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils._argspec import TOKEN_VARIABLE, with_token_of_environment
from ..module_utils._http.endpoint import Endpoint, make_endpoint
from ..module_utils._http.option_checks import bracketed
from ..module_utils._input_errors import OptionError
from ..module_utils._lmstudio.record import explain
from ..module_utils._lmstudio.record_type import Record
from ..plugin_utils._fleet.records import ask_hosts, endpoint_warnings
from ..plugin_utils._options.argspec import FLEET_SPEC
from ..plugin_utils._options.combine import options_from_address
from ..plugin_utils._options.host import SECRETS, Host, NotAsked, connection_of_command_line, host_of_inventory
from ..plugin_utils._options.host_secrets import withhold_foreign_secrets
from ..plugin_utils._options.precedence import given_options, resolve_fleet
from ..plugin_utils._options.templates import is_template
from ..plugin_utils._options.validate import validate_options

_ADVICE_FOR_URL = (
    f"Set the option token, or {TOKEN_VARIABLE} in the environment of the controller, to an API token that is valid on that server. Variables of "
    "hosts do not count for a URL. If a proxy in front of the server requires other credentials, set the option headers."
)
_ADVICE_FOR_NAME = (
    f"Set the option token to an API token that is valid on that server. {TOKEN_VARIABLE} counts for terms that are URLs, and variables for those "
    "that are hosts of the inventory. If a proxy in front of the server requires other credentials, set the option headers."
)


class LookupModule(LookupBase):
    """One record, or a part of it, per term."""

    def run(self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        # ansible-core before 2.19 passes it for with_gpufleet.lmstudio.models.
        kwargs.pop("wantlist", None)
        # The documentation has the type of every option, but only the spec says which of them are secrets.
        spec = {**self.option_definitions, **FLEET_SPEC}
        del spec["_terms"]
        variables = variables or {}
        flat = [item for term in terms for item in (term if isinstance(term, list) else [term])]
        inventory = set(variables.get("groups", {}).get("all", ()))
        if not terms:
            if not variables.get("inventory_hostname"):
                raise AnsibleLookupError("no term is given, and there is no host of a task. Name at least one URL or host.")
            flat = [variables["inventory_hostname"]]
            inventory.update(flat)  # also the implicit localhost
        try:
            options = validate_options(spec, given_options(kwargs))
            answers = ask_hosts(self._resolve(flat, inventory, options, variables), options)
        except (AnsibleError, OptionError) as exc:
            raise AnsibleLookupError(str(exc)) from None
        self._report([(term, answers[term]) for term in flat], options["on_error"])
        items = answers if options["select"] == "record" else {term: dict(record)[options["select"]] for term, record in answers.items()}
        return [items] if options["as"] == "dict" else [items[term] for term in flat]

    def _resolve(
        self, terms: list[Any], inventory: set[str], options: dict[str, Any], variables: Mapping[str, Any]
    ) -> dict[str, Endpoint | NotAsked]:
        """What to ask for each term, which is a host of the inventory or a server. All are checked before any server is asked."""
        for number, term in enumerate(terms, 1):
            if not term or not isinstance(term, str):
                problem = f"it is {'empty' if not term else 'not a string'}. Write a URL, or the name of a host."
                raise OptionError(f"term {number}", problem)
            if term in variables.get("groups", {}) and term not in inventory:
                raise OptionError(f"term {number}", f"{term!r} is a group and not a host. Give its hosts, groups[{term!r}].")
        hosts = [self._host(term, variables) for term in dict.fromkeys(terms) if term in inventory]
        for_hosts, warnings = dict(options), list[str]()
        own_name = variables.get("inventory_hostname")
        if hosts and own_name:
            own = self._host(own_name, variables)
            # A template of the play takes precedence over the host's own variable, and may have a value for this host alone.
            of_play = [name for name in SECRETS.values() if is_template(variables.get(name))]
            warnings = withhold_foreign_secrets(for_hosts, own._replace(variables=variables), hosts, of_play)
            warnings += withhold_foreign_secrets(for_hosts, own, hosts)
        of_hosts = resolve_fleet(for_hosts, hosts, variables)
        resolved = {term: of_hosts.get(term) or self._server(number, term, options) for number, term in enumerate(terms, 1)}
        self._warn([*warnings, *endpoint_warnings(hosts, resolved)])
        return resolved

    @staticmethod
    def _server(number: int, term: str, options: dict[str, Any]) -> Endpoint:
        """What a term names that is not a host of the inventory."""
        options = options_from_address(options, term)
        is_url = "://" in term
        endpoint = make_endpoint(
            with_token_of_environment(options) if is_url else options, f"http://{bracketed(term)}", {"url": f"term {number}"}
        )
        return endpoint._replace(token_advice=_ADVICE_FOR_URL if is_url else _ADVICE_FOR_NAME)

    def _host(self, name: str, variables: Mapping[str, Any]) -> Host:
        connection = connection_of_command_line()
        if "hostvars" in variables:
            return host_of_inventory(name, variables["hostvars"], self._templar, connection)
        if name == variables.get("inventory_hostname"):
            # In a variable of this host that another one reads, Ansible shows the variables of this one only.
            return Host(name, variables, self._templar, connection, variables)
        raise AnsibleLookupError(
            f"the variables of host {name} are not available here, as in the hosts of the first play, or in a variable that another host reads. "
            "Name its URL as the term, or use the inventory plugin gpufleet.lmstudio.lmstudio to choose hosts."
        )

    def _report(self, answers: list[tuple[str, Record]], on_error: str) -> None:
        # The URL of a host may say nothing of its name.
        messages = [f"{'' if '://' in term else f'{term}: '}{explain(record)}" for term, record in answers if not record["ok"]]
        if messages and on_error == "fail":
            raise AnsibleLookupError("\n".join(messages))
        if on_error == "warn":
            self._warn(messages)

    def _warn(self, messages: list[str]) -> None:
        for message in messages:
            self._display.warning(message)
