#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: Ask a host's LM Studio which models it has and which are loaded
version_added: 1.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Sends C(GET /api/v1/models) to LM Studio 0.4 or later and returns the answer as a record. With O(api) it asks for the older list of 0.3.
  - The record has the same keys whatever the server said. RV(lmstudio.ok) and RV(lmstudio.status) say what happened.
  - A connection option that the task does not set is taken from the host's variables, if one is set. Each is named like its option with
    C(lmstudio_) in front, such as C(lmstudio_url) and C(lmstudio_token). Only O(max_response_bytes) has none.
  - If the O(url) of the task is not one of the host's own servers, none of these variables is used, so that the token of a host goes to
    no other server. A warning names those that are not used. The host's own servers are those that C(lmstudio_url), C(lmstudio_port) and
    C(lmstudio_controller_url) name, the address of the host with the same port, and 127.0.0.1 if that is the host.
  - C(delegate_to) changes neither the host that is asked nor whose variables count. With O(via=target) it fails if a loopback address would be a
    server of the delegate, unless the task sets that O(url) itself.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.url
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.one_host
options:
  via:
    description:
      - Which machine sends the request. The host variable C(lmstudio_via) sets it for a host, such as a Windows host.
      - V(target) is the host itself. It needs only Python 3.8 or later there, and reaches a server that is bound
        to 127.0.0.1. It fails with connections that run modules on the controller, such as those to network devices.
      - V(controller) is Ansible's own process. Nothing runs on the host, so it also works for Windows hosts and hosts without
        Python. The server must listen on the network. Over TLS, or with O(use_proxy), the controller needs the Python
        library requests.
      - With V(controller), a loopback address in C(lmstudio_url) means the host itself, so the host's address is used instead,
        unless its connection is local. The host variable C(lmstudio_controller_url) overrides that.
      - With V(controller), a host whose address is that of the controller, although its connection is not local, is not asked. This happens
        with forwarded ports, such as those of a virtual machine. Set C(lmstudio_controller_url) for it.
    type: str
    choices: [target, controller]
    default: target
  detail:
    description:
      - V(full) returns every model. V(loaded) returns in RV(lmstudio.models) only those that are loaded.
      - The rest of the record is the same with either.
    type: str
    choices: [full, loaded]
    default: full
  on_error:
    description:
      - What happens if there is no model list, whatever the reason. Options that cannot be used always fail the task.
      - V(fail) fails the task, but still returns the record.
      - V(report) returns the record as data.
    type: str
    choices: [fail, report]
    default: fail
seealso:
  - module: gpufleet.lmstudio.model_facts
  - plugin: gpufleet.lmstudio.models
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Ask the LM Studio of each host
  gpufleet.lmstudio.model_info:
  register: answer

- name: Say what is loaded
  ansible.builtin.debug:
    msg: "{{ answer.lmstudio.loaded }}"

- name: Ask a Windows host from the controller, and go on if it does not answer
  gpufleet.lmstudio.model_info:
    via: controller
    token: "{{ vault_lmstudio_token }}"
    on_error: report
  register: answer

- name: Decide on it
  ansible.builtin.debug:
    msg: "Drained, because {{ answer.lmstudio.error.message }}"
  when: not answer.lmstudio.ok
"""

RETURN = r"""
lmstudio:
  description: What the host answered. All keys are always there.
  returned: always, unless options cannot be used
  type: dict
  contains:
    ok:
      description: Whether a valid model list was received.
      type: bool
      sample: true
    status:
      description:
        - What happened, in one word.
        - One of V(ok), V(refused), V(no_route), V(dns), V(tls), V(timeout), V(disconnected), V(auth), V(forbidden),
          V(unsupported), V(unavailable), V(redirect), V(not_lmstudio), V(http_error), V(invalid) and V(not_asked). The last one means
          that no server could be asked for this host. The message says why.
      type: str
      sample: ok
    error:
      description: Null if RV(lmstudio.ok), else what happened, what to do next, and the HTTP status or null.
      type: dict
      contains:
        message:
          description: What happened, and at which URL.
          type: str
          sample: http://gpu01:1234 refused the connection.
        hint:
          description: What to do next.
          type: str
        http_status:
          description: The HTTP status code, or null without an answer.
          type: int
    url:
      description: The base URL of the server that was asked. Null if none was asked.
      type: str
      sample: http://127.0.0.1:1234
    api:
      description:
        - Which list of models was used, V(v1) for C(/api/v1/models) or V(v0) for C(/api/v0/models), as O(api) says. Null without a list.
        - The older list has one state for each model, and no instances. So a loaded model has one instance here, whose C(id) is the
          key. The list has no sizes, display names, numbers of parameters or variants, no settings but the context, and does not say whether a
          model unloads when idle. Before LM Studio 0.3.16 it does not report C(trained_for_tool_use), and before 0.3.17 not the context
          of a loaded model.
        - While just-in-time loading is off, it leaves out models that are not loaded.
      version_added: 2.0.0
      type: str
      sample: v1
    asked_at:
      description: When the server was asked, in UTC, by the clock of the machine that sent the request. Null if none was asked.
      type: str
      sample: "2026-11-22T20:00:00Z"
    response_ms:
      description: How long the answer took, in milliseconds. Null without an answer.
      type: int
      sample: 12
    detail:
      description: What RV(lmstudio.models) holds, all models (V(full)) or only those that are loaded (V(loaded)).
      type: str
      sample: full
    models:
      description:
        - The entries of the list, in the order of the server. One key can occur in several entries.
        - What the server does not report is null (false for C(vision) and C(trained_for_tool_use), empty for a list). Other fields of the API
          keep their own names, such as C(state) of the older list, which is C(loaded), C(not-loaded) or C(loading).
        - Control characters in texts, except tabs and line feeds, are replaced by U+FFFD, so that no name can control a terminal.
      type: list
      elements: dict
      contains:
        type:
          description: Usually V(llm) or V(embedding).
          type: str
        publisher:
          description: Who published it.
          type: str
        key:
          description: The name by which requests address the model.
          type: str
          sample: qwen/qwen3-8b
        display_name:
          description: The name for people.
          type: str
        architecture:
          description: The architecture.
          type: str
        quantization:
          description: The quantization.
          type: dict
          contains:
            name:
              description: Its name.
              type: str
              sample: Q4_K_M
            bits_per_weight:
              description: How many bits a weight takes, which may be a fraction.
              type: float
        size_bytes:
          description: Size on disk in bytes.
          type: int
        params_string:
          description: The number of parameters as free text.
          type: str
          sample: 8B
        loaded:
          description: Whether there is a loaded instance.
          type: bool
        loaded_instances:
          description: The loaded instances.
          type: list
          elements: dict
          contains:
            id:
              description: The identifier of the instance.
              type: str
            remaining_ttl_seconds:
              description: Seconds until it unloads if idle. Null for one that stays, and if C(unreadable) of its model names it.
              type: float
            config:
              description: The configuration with which it was loaded.
              type: dict
              contains:
                context_length:
                  description: The effective context, in tokens.
                  type: int
                eval_batch_size:
                  description: How many tokens of a prompt are processed at once.
                  type: int
                parallel:
                  description: How many requests it can serve at the same time.
                  type: int
                flash_attention:
                  description: Whether flash attention is on.
                  type: bool
                num_experts:
                  description: The number of active experts, if the model has experts.
                  type: int
                offload_kv_cache_to_gpu:
                  description: Whether the key-value cache is in GPU memory.
                  type: bool
        max_context_length:
          description: The longest context that the model supports, in tokens. The effective context is that of a loaded instance.
          type: int
        format:
          description: Usually V(gguf) or V(mlx).
          type: str
        capabilities:
          description: What the model is able to do.
          type: dict
          contains:
            vision:
              description: Whether it reads images.
              type: bool
            trained_for_tool_use:
              description: Whether it was trained to use tools.
              type: bool
            reasoning:
              description: How its reasoning can be set.
              type: dict
              contains:
                allowed_options:
                  description: The settings that it knows.
                  type: list
                  elements: str
                default:
                  description: The default setting.
                  type: str
        description:
          description: A description.
          type: str
        variants:
          description: The variants of the model.
          type: list
          elements: str
        selected_variant:
          description: The variant in use.
          type: str
        unreadable:
          description: Fields that had an unexpected type, such as C(capabilities.vision). Their values are not known, whatever this entry has
            instead.
          type: list
          elements: str
          returned: when there are any
          version_added: 2.0.0
    instances:
      description: The loaded instances of all models, flat.
      type: list
      elements: dict
      contains:
        id:
          description: The identifier of the instance.
          type: str
        model:
          description: The key of its model.
          type: str
        type:
          description: The type of its model.
          type: str
        context_length:
          description: The effective context, in tokens.
          type: int
        remaining_ttl_seconds:
          description: Seconds until it unloads if idle. Null for one that stays.
          type: float
        config:
          description: Its configuration, as in C(loaded_instances) of its model.
          type: dict
    available:
      description: The keys of all models that this host lists, each once, sorted.
      type: list
      elements: str
    loaded:
      description: The keys of the models with a loaded instance, each once, sorted.
      type: list
      elements: str
    counts:
      description: How many there are.
      type: dict
      contains:
        models:
          description: Entries of the list.
          type: int
        llm:
          description: Those of the type V(llm).
          type: int
        embedding:
          description: Those of the type V(embedding).
          type: int
        loaded:
          description: Those with a loaded instance.
          type: int
        instances:
          description: Loaded instances. Null if RV(lmstudio.api) is V(v0), which does not say how many there are.
          type: int
    size_bytes:
      description: Bytes on disk, summed over entries. Null if one of the sizes is not known, and if RV(lmstudio.api) is V(v0), which reports no sizes.
      type: dict
      contains:
        available:
          description: Of all entries.
          type: int
        loaded:
          description: Of those with a loaded instance.
          type: int
    fingerprint:
      description: A digest that changes if anything but order and remaining TTLs changes. The same with either O(detail). Null unless RV(lmstudio.ok).
      type: str
    warnings:
      description:
        - Sentences about what is unusual in the answer, such as a field of an unexpected type, which is treated as unknown, a model that may or
          may not be loaded, or a secret that was sent back, which is masked.
      type: list
      elements: str
"""

from ..module_utils import _archive  # noqa: F401  # pylint: disable=unused-import
from ..module_utils._argspec import MODEL_INFO_SPEC
from ..module_utils._lmstudio.record import info_result
from ..module_utils._module import LMStudioModule


def main() -> None:
    module = LMStudioModule(argument_spec=MODEL_INFO_SPEC, supports_check_mode=True)
    module.end_with(lambda: info_result(module.ask(), module.params["on_error"]))


if __name__ == "__main__":
    main()
