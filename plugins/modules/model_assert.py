#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_assert
short_description: Stop unless a host's LM Studio serves what is required
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Judges the models of a host by a list of requirements, and fails with one line for each that is violated.
  - It asks LM Studio 0.4 or later, as M(gpufleet.lmstudio.model_info) does and with the same host variables, once or until the
    requirements are met. Or it judges a record that was gathered before, with O(record).
  - A host that does not answer with a model list meets no requirement, not even that a model is absent. The task does not wait for a host
    that cannot be asked, such as one behind a forwarded port with O(via=controller).
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.url
  - gpufleet.lmstudio.requirements
  - gpufleet.lmstudio.requirements.exclusive
  - gpufleet.lmstudio.requirements.assertion
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.one_host
options:
  record:
    description:
      - Judge this record instead of asking the server. C(ansible_facts.lmstudio), C(lmstudio_record) of the inventory plugin, a registered result of
        M(gpufleet.lmstudio.model_info), or one of the records of M(gpufleet.lmstudio.fleet_info).
      - The result of a host that Ansible could not reach meets no requirement.
      - The connection options are then not used. An empty string and null are errors here, although they mean unset elsewhere.
    type: dict
  via:
    description:
      - Which machine asks and judges the answer, as for M(gpufleet.lmstudio.model_info).
      - For a long O(wait_timeout), V(controller) is the better choice. With V(target) a module waits on the host, which keeps an
        SSH session open for the whole time.
    type: str
    choices: [target, controller]
    default: target
  wait_timeout:
    description:
      - Seconds to keep asking until the requirements are met. Errors do not end the wait, even if the server is down.
      - After this time the task fails with the last violations. V(0) asks once.
      - With C(-v) and O(via=controller), the task says after each answer what is still missing.
    type: float
    default: 0
  delay:
    description:
      - Seconds between the end of one request and the start of the next. A request that the server does not answer takes up to
        O(timeout), so set O(timeout) to a small value if a server may hang while it starts.
    type: float
    default: 5
  give_up_on:
    description:
      - Statuses that waiting does not change. The wait ends early if the host has had only these statuses since the wait began, after at least
        two requests and 30 seconds.
      - Any status except V(ok), as RV(gpufleet.lmstudio.model_info#module:lmstudio.status) lists them. While a server restarts, its proxy may
        redirect, and certificates may change, so the wait goes on for those statuses unless they are named here.
      - With an empty list the wait never ends early.
    version_added: 2.0.0
    type: list
    elements: str
    default: [auth, forbidden, not_asked]
  quiet:
    description:
      - Leave RV(lmstudio) out of the result. Ansible prints the whole result of a task that fails.
    type: bool
    default: false
seealso:
  - module: gpufleet.lmstudio.model_info
"""

EXAMPLES = r"""
- name: Stop unless the chat model is there, with room to talk
  gpufleet.lmstudio.model_assert:
    require:
      - name: chat model
        model: qwen/qwen3-8b
        min_context_length: 8192
        quantization: [Q4_K_M, 4bit]
    fail_msg: This host is not ready for the release.

- name: Wait until it is loaded again, without holding an SSH session
  gpufleet.lmstudio.model_assert:
    require:
      - model: qwen/qwen3-8b
    via: controller
    wait_timeout: 300
    delay: 2

- name: Gather once
  gpufleet.lmstudio.model_info:
  register: answer

- name: Judge what was gathered, and only warn where a second copy is missing
  gpufleet.lmstudio.model_assert:
    record: "{{ answer.lmstudio }}"
    require:
      - model: qwen/*
        capabilities: [trained_for_tool_use]
      - model: qwen/qwen3-8b
        min_instances: 2
        severity: warn
      - model: "*-uncensored"
        state: absent

- name: Judge what the inventory plugin found, without asking again
  gpufleet.lmstudio.model_assert:
    record: "{{ lmstudio_record }}"
    require:
      - model: qwen/qwen3-8b
"""

RETURN = r"""
met:
  description: Whether all requirements of severity V(fail) are met.
  returned: when the requirements were judged
  type: bool
violations:
  description: What is violated, in the order of the requirements.
  returned: when the requirements were judged
  type: list
  elements: dict
  contains:
    requirement:
      description: The C(name) of the requirement, or else what it is about. V(exclusive) for a loaded model that no requirement asks for.
      type: str
    check:
      description: The key of the requirement that is violated. Or V(status) where the host did not answer with a model list, or V(exclusive).
      type: str
    expected:
      description: What is required.
      type: raw
    actual:
      description: What is there. Null if there is nothing, or if it is not known.
      type: raw
    severity:
      description: V(fail) or V(warn).
      type: str
    message:
      description: A sentence that says all this.
      type: str
      sample: "chat model: qwen/qwen3-8b is loaded with a context of 4096, at least 8192 is required"
polls:
  description: How often the server was asked. Zero with O(record).
  returned: when the requirements were judged
  type: int
waited:
  description: Seconds from the first request to the end.
  returned: when the requirements were judged
  type: float
confirmed:
  description:
    - Whether LM Studio reported at C(/api/v0/models) what is still loading. V(false) if it does not have that list, and null if it did
      not answer with one.
  returned: when the requirements were judged, and O(confirm_loaded=true)
  type: bool
lmstudio:
  description:
    - The record that was judged, as RV(gpufleet.lmstudio.model_info#module:lmstudio) describes it, with the entries of loaded
      models only.
    - With O(confirm_loaded), the entry of a loaded model also has C(state), which is C(loaded) or C(loading), or C(unconfirmed), a
      sentence that says why the state is not known. A model without an instance has C(state) if C(/api/v0/models) calls it anything but
      not-loaded. The record has C(confirmed), and C(unlisted) for models that only that list has and may call loaded.
  returned: when the requirements were judged, unless O(quiet)
  type: dict
msg:
  description: All violations, one per line, or a sentence which says that all requirements are met.
  returned: always
  type: str
"""

from typing import Any

from ..module_utils import _archive  # noqa: F401  # pylint: disable=unused-import
from ..module_utils._assertion import MODEL_ASSERT_SPEC, judge_given_record, parse_assertion, poll_until_met
from ..module_utils._http.blocking import fetch
from ..module_utils._module import LMStudioModule


def main() -> None:
    module = LMStudioModule(argument_spec=MODEL_ASSERT_SPEC, supports_check_mode=True)

    def result() -> dict[str, Any]:
        assertion = parse_assertion(module.params)
        return poll_until_met(assertion, module.endpoint(), fetch) if module.params["record"] is None else judge_given_record(assertion)

    module.end_with(result)


if __name__ == "__main__":
    main()
