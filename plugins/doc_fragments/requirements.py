# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The vocabulary of requirements: the same for assertions, tests, filters and roles."""

    DOCUMENTATION = r"""
options:
  require:
    description:
      - What is required. Every requirement of the list must be met. Within one requirement, all keys must hold for the same model and for every
        instance of it, because LM Studio chooses which of them serves a request. With a pattern, or without O(require[].model), one
        model that meets the requirement is enough.
      - At least one of O(require[].model), O(require[].type), O(require[].publisher), O(require[].architecture),
        O(require[].format), O(require[].quantization) and O(require[].capabilities) is needed, to say which model is meant.
      - A key that takes a list also takes a single value. A comma is part of a value.
      - Unknown keys, wrong values and contradictions are errors, and so are a key without a value and an empty list.
      - What a server does not report meets no requirement.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - A label for messages.
        type: str
      model:
        description:
          - The key of a model, the name of one of its variants, or the identifier of an instance, which means that instance alone. Of a list, any
            one will do.
          - The wildcards C(*), C(?) and C([...]) are allowed, and case matters. If the model must not be there, as with
            O(require[].state=absent), a listed name also matches if it only looks the same, as with different case or invisible characters.
          - Of a variant that is not selected, only the name is known.
        type: list
        elements: str
      state:
        description:
          - V(loaded) means that the model has an instance, V(available) that it is listed, V(unloaded) that it has no instance, whether it is
            listed or not, and V(absent) that it is not listed.
        type: str
        choices: [loaded, available, unloaded, absent]
        default: loaded
      type:
        description:
          - V(llm), V(embedding), V(drafter), V(imageGen), V(transcription), V(tts), or whatever else a server lists. Of a list, any one
            will do, and case does not matter.
          - Any other word is an error if a misspelling would pass, as with O(require[].state=absent).
        type: list
        elements: str
      publisher:
        description:
          - As the server reports it, such as V(qwen). Of a list, any one will do, and case does not matter.
        type: list
        elements: str
      architecture:
        description:
          - As the server reports it, such as V(qwen3). Of a list, any one will do, and case does not matter.
        type: list
        elements: str
      format:
        description:
          - The format of the file, such as V(gguf) and V(mlx). Of a list, any one will do, and case does not matter.
        type: list
        elements: str
      quantization:
        description:
          - The name of the quantization, such as V(Q4_K_M) and V(4bit). Of a list, any one will do, and case does not matter.
        type: list
        elements: str
      min_bits_per_weight:
        description:
          - The minimum number of bits per weight of the file.
        type: float
      min_context_length:
        description:
          - The minimum context, in tokens, that an instance must be loaded with. With O(require[].state=available) it is the minimum that
            the model must support.
        type: int
      min_parallel:
        description:
          - The minimum number of requests that an instance must be able to take at the same time.
        type: int
      min_instances:
        description:
          - How many instances of models that meet the rest have to be loaded, at least. Unset means 1.
        type: int
      max_instances:
        description:
          - How many instances that meet the rest may be loaded, at most. Those that might meet it count, too. Unset means no limit.
        type: int
      capabilities:
        description:
          - What the model must be able to do. All of a list are required. V(reasoning) needs an option other than V(off).
        type: list
        elements: str
        choices: [vision, trained_for_tool_use, reasoning]
      max_size:
        description:
          - The largest size of the file, in bytes, or as text such as V(40GB) and V(40GiB).
        type: raw
      config:
        description:
          - Settings that an instance must be loaded with, by name, such as C(flash_attention) with V(true). Each takes one value, or a list
            of which any one will do.
        type: dict
      severity:
        description:
          - Whether a violation is a failure, or a warning that lets the host pass.
        type: str
        choices: [fail, warn]
        default: fail
"""

    # For the plugins that judge one host.
    EXCLUSIVE = r"""
options:
  exclusive:
    description:
      - Whether any other loaded model, of any type, is a violation. These are models that no requirement of state V(loaded)
        or V(available) is about. A pattern, or a requirement without O(require[].model), is about models with the type, publisher,
        architecture, format, quantization and capabilities that the requirement names.
    type: bool
    default: false
"""

    # For the assertions.
    ASSERTION = r"""
options:
  require:
    required: true
  fail_msg:
    description:
      - Text to put before the list of violations.
    type: str
  success_msg:
    description:
      - Text to return as RV(msg) if all requirements are met.
    type: str
  confirm_loaded:
    description:
      - Whether to ask C(/api/v0/models) as well, which says whether a model is still loading. LM Studio 0.4 lists an instance as soon as its
        load begins, so without this a model counts as loaded before it can serve a request.
      - A model that is still loading, with all its instances, meets no requirement for a loaded one, and O(wait_timeout) waits for it. The same
        holds for a model that this list does not report as loaded, and for every model if an error comes instead of the list.
      - A model that this list calls loading or loaded is not C(unloaded) either, and C(max_instances) and C(exclusive) count it, even if the
        newer list has no instance of it yet. If an error comes instead of the list, these are not met.
      - A model that only this list has, and calls loading or loaded, is not C(absent) either.
      - The O(timeout) is for both requests together. The second one goes to the same server with the same token and headers.
      - If LM Studio has no C(/api/v0/models), a warning says that this is not known, and the newer list alone counts.
      - With records that were gathered before, this is an error, because they do not say what is still loading.
    version_added: 2.0.0
    type: bool
    default: false
"""
