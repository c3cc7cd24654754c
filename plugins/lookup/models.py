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
  - Asks C(GET /api/v1/models) of each LM Studio server that a term names, from the controller, and returns one item per term.
  - The controller needs the Python library requests.
  - The variables of the host that runs the task do not count, so that the token of one host never goes to another server.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.plugins
options:
  _terms:
    description:
      - Base URLs of LM Studio servers, such as C(http://gpu01:1234).
      - A URL that ends in C(/v1), C(/api/v0), C(/api/v1) or C(/api/v1/models) is understood.
        Any other path is taken as the prefix of a reverse proxy and kept.
      - A user name or password in a URL is refused. Redirects are not followed.
    type: list
    elements: str
    required: true
  select:
    description:
      - What the item of a term is.
      - V(record) is the whole record, as RV(gpufleet.lmstudio.model_info#module:lmstudio) describes it.
      - V(models) is its list of entries, V(loaded) and V(available) are its lists of keys. They are empty where there is no answer.
    type: str
    choices: [record, models, loaded, available]
    default: record
  detail:
    description:
      - V(full) returns every entry, V(loaded) only those of loaded models.
    type: str
    choices: [full, loaded]
    default: full
  on_error:
    description:
      - What happens when a server gives no model list, whatever the reason. Wrong terms and options always fail.
      - V(fail) fails, after all terms were asked, and names every server that gave none.
      - V(warn) warns and returns the record as data. V(report) only returns it.
    type: str
    choices: [fail, warn, report]
    default: fail
notes:
  - A lookup in a variable asks again at every use of that variable. Register the result of M(gpufleet.lmstudio.model_info), or use
    M(ansible.builtin.set_fact), to ask once.
  - With one term, C(lookup) returns the item itself. Use C(query) to get a list always.
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

- name: Go on only if both answered
  ansible.builtin.assert:
    that: answers | rejectattr('ok') | length == 0
    fail_msg: "{{ answers | rejectattr('ok') | map(attribute='error.message') | join(' ') }}"
"""

RETURN = r"""
_raw:
  description: One item per term, in the order of the terms, whatever O(select) says.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._arguments import only_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import Endpoint, OptionError, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._record import Record, ask, explain
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._transport import fetch


def flat(terms: list[Any]) -> list[Any]:
    """The terms, those of a list among them one by one."""
    return [item for term in terms for item in (term if isinstance(term, list) else [term])]


class LookupModule(LookupBase):
    """One record, or a part of it, per URL."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        options = self._read_options(kwargs)
        records = [ask(endpoint, fetch, options["detail"]) for endpoint in self._endpoints(flat(terms), options)]
        self._report([record for record in records if not record["ok"]], options["on_error"])
        return records if options["select"] == "record" else [record[options["select"]] for record in records]

    def _read_options(self, given: dict[str, Any]) -> dict[str, Any]:
        known = sorted(name for name in self.option_definitions if name != "_terms")
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise AnsibleLookupError("unknown option {}. The options are {}.".format(", ".join(unknown), ", ".join(known)))
        self.set_options(direct=only_set(given))
        return {name: self.get_option(name) for name in known}

    def _endpoints(self, terms: list[Any], options: dict[str, Any]) -> list[Endpoint]:
        if not terms:
            raise AnsibleLookupError("there is no term. Name at least one URL, such as http://gpu01:1234.")
        endpoints = []
        try:
            for number, term in enumerate(terms, 1):
                if not term:
                    raise OptionError(f"term {number}", "it is empty. Write a URL, such as http://gpu01:1234.")
                endpoints.append(make_endpoint({**options, "url": term}, "", {"url": f"term {number}"}))
        except OptionError as exc:
            raise AnsibleLookupError(str(exc)) from None
        for warning in {endpoint.warning() for endpoint in endpoints} - {None}:
            self._display.warning(warning)
        return endpoints

    def _report(self, not_ok: list[Record], on_error: str) -> None:
        messages = [explain(record) for record in not_ok]
        if messages and on_error == "fail":
            raise AnsibleLookupError("\n".join(messages))
        if on_error == "warn":
            for message in messages:
                self._display.warning(message)
