#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_facts
short_description: Gather what a host's LM Studio has and serves as facts
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Sends C(GET /api/v1/models) to LM Studio 0.4 or later on the host itself and returns the answer as C(ansible_facts.lmstudio).
  - Works as a task, and under C(gather_facts) with C(ansible_facts_modules).
  - It never fails because of the server. A host whose server is down stays in the play, and its C(ansible_facts.lmstudio.ok) is false.
  - Host variables such as C(lmstudio_token) are not used by themselves, because C(gather_facts) calls the module directly. Pass them in
    the task or in C(module_defaults), as the examples do.
  - As a task, it fails if the facts would be those of another machine. With C(delegate_to), a loopback address is a server of the
    delegate, so it fails unless the task sets that O(url) itself, or C(delegate_facts) makes the facts the delegate's. It also fails with
    connections that run modules on the controller, such as those to network devices.
  - As a task, it sends no secret of the host from C(module_defaults) to a O(url) that is not one of the host's own servers. A warning names what
    was left out.
  - As a task with C(ignore_unreachable), it replaces the facts of a host that Ansible cannot reach with a record whose status is V(not_asked).
    Ansible then shows the task as ok instead of unreachable, and a warning says why. With C(failed_when) it does so if the task fails.
  - If a task fails because of its options, and C(ignore_errors) or C(rescue) goes on, Ansible keeps the facts of before.
  - Under C(gather_facts), nothing that is said here of a task applies.
  - Ansible gathers the facts of several modules in parallel, and ends each module after about five seconds with C(Timeout exceeded), which
    removes the host from the play. Set the variable C(ansible_facts_parallel) to V(false), as the examples do. Then the modules run one after
    another, without this limit.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.url
  - gpufleet.lmstudio.attributes
attributes:
  action:
    description: Has an action plugin, so parts of it run on the controller.
    support: full
    details: It refuses facts that would be those of another machine, and keeps the host's secrets from other servers.
  facts:
    description: Returns C(ansible_facts), which become facts of the host.
    support: full
options:
  detail:
    description:
      - V(loaded) returns in RV(ansible_facts.lmstudio) the entries of loaded models only, which keeps facts small.
        V(full) returns every model.
      - The rest of the record is the same with either.
    type: str
    choices: [full, loaded]
    default: loaded
seealso:
  - module: gpufleet.lmstudio.model_info
"""

EXAMPLES = r"""
- name: Gather LM Studio facts together with Ansible's own
  hosts: gpu
  gather_facts: true
  vars:
    ansible_facts_modules: [ansible.legacy.setup, gpufleet.lmstudio.model_facts]
    ansible_facts_parallel: false    # in parallel, Ansible would end each module after five seconds
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url | default('') }}"
      token: "{{ lmstudio_token }}"
  tasks:
    - name: Go on where a model is loaded
      ansible.builtin.debug:
        msg: "{{ ansible_facts.lmstudio.loaded }}"
      when: ansible_facts.lmstudio.counts.loaded > 0

- name: Gather them in a task of its own
  hosts: gpu
  gather_facts: false
  tasks:
    - name: Ask LM Studio
      gpufleet.lmstudio.model_facts:
        url: "{{ lmstudio_url | default('') }}"
        token: "{{ lmstudio_token }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts to add.
  returned: always
  type: dict
  contains:
    lmstudio:
      description:
        - What the host answered.
        - The record that M(gpufleet.lmstudio.model_info) documents under RV(gpufleet.lmstudio.model_info#module:lmstudio).
      type: dict
"""

from ..module_utils import _archive  # noqa: F401  # pylint: disable=unused-import
from ..module_utils._argspec import DETAIL
from ..module_utils._http.endpoint import connection_options
from ..module_utils._module import LMStudioModule

ADVICE_ON_401 = (
    "Set token, in the task or in module_defaults, to an API token that is valid on that server, or LM_API_TOKEN in the environment of the host. "
    "lmstudio_token counts here only where token is set to it. If a proxy in front of the server requires other credentials, set headers."
)


def main() -> None:
    module = LMStudioModule(argument_spec={**connection_options(), "detail": {**DETAIL, "default": "loaded"}}, supports_check_mode=True)
    module.token_advice = ADVICE_ON_401
    module.end_with(lambda: {"ansible_facts": {"lmstudio": module.ask()}})


if __name__ == "__main__":
    main()
