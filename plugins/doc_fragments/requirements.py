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
      - What is required. Every requirement of the list must hold. Within one requirement, all of its keys must hold for the same model, and on every
        instance of it, because LM Studio chooses which of them serves a request. With a pattern, or without O(require[].model), one
        model that meets it is enough.
      - At least one of O(require[].model), O(require[].type), O(require[].publisher), O(require[].architecture),
        O(require[].format), O(require[].quantization) and O(require[].capabilities) is needed, to say which model is meant.
      - A key that is a list takes one value as well. A comma is part of a value.
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
          - The key of a model, the name of one of its variants, or the identifier of an instance, which means that instance alone. Any
            of the list will do.
          - It may have the wildcards C(*), C(?) and C([...]), and case matters. Where the model must not be there, as with
            O(require[].state=absent), a name that only reads like it counts as well, such as one in other capitals or with characters that
            cannot be seen.
          - Of a variant that is not selected only the name is known.
        type: list
        elements: str
      state:
        description:
          - V(loaded) means that an instance is there, V(available) that the model is listed, V(unloaded) that no instance is there,
            listed or not, and V(absent) that it is not listed.
        type: str
        choices: [loaded, available, unloaded, absent]
        default: loaded
      type:
        description:
          - V(llm), V(embedding), V(drafter), V(imageGen), V(transcription), V(tts), or whatever else a server lists. Any of the list
            will do, and case does not matter.
          - Any other word is an error where a misspelling would pass, as with O(require[].state=absent).
        type: list
        elements: str
      publisher:
        description:
          - As the server reports it, such as V(qwen). Any of the list will do, and case does not matter.
        type: list
        elements: str
      architecture:
        description:
          - As the server reports it, such as V(qwen3). Any of the list will do, and case does not matter.
        type: list
        elements: str
      format:
        description:
          - The format of the file, such as V(gguf) and V(mlx). Any of the list will do, and case does not matter.
        type: list
        elements: str
      quantization:
        description:
          - The name of the quantization, such as V(Q4_K_M) and V(4bit). Any of the list will do, and case does not matter.
        type: list
        elements: str
      min_bits_per_weight:
        description:
          - The least number of bits per weight of the file.
        type: float
      min_context_length:
        description:
          - The least context, in tokens, that an instance must be loaded with. With O(require[].state=available) it is about what the
            model supports.
        type: int
      min_parallel:
        description:
          - How many requests an instance has to take at the same time, at least.
        type: int
      min_instances:
        description:
          - How many instances of models that meet the rest have to be loaded, at least. One if it is not given.
        type: int
      max_instances:
        description:
          - How many instances that meet the rest may be loaded, at most. Those of which that is not known are included. Unlimited if it
            is not given.
        type: int
      capabilities:
        description:
          - What the model must be able to do, all of the list. V(reasoning) needs an option other than V(off).
        type: list
        elements: str
        choices: [vision, trained_for_tool_use, reasoning]
      max_size:
        description:
          - The largest size of the file, in bytes, or as text such as V(40GB) and V(40GiB).
        type: raw
      config:
        description:
          - Settings with which an instance is loaded, by name, such as a C(flash_attention) of V(true). Each has one value or a list of
            values, any of which will do.
        type: dict
      severity:
        description:
          - Whether a violation fails, or is a warning that lets the host pass.
        type: str
        choices: [fail, warn]
        default: fail
"""

    # For the plugins that judge one host.
    EXCLUSIVE = r"""
options:
  exclusive:
    description:
      - Whether any other loaded model, of any type, is a violation. That is a model that no requirement of state V(loaded)
        or V(available) is about. A pattern, and a requirement without O(require[].model), are about models with the type, publisher,
        architecture, format, quantization and capabilities that it names.
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
      - Text in place of RV(msg) when all requirements are met.
    type: str
  confirm_loaded:
    description:
      - Whether to ask C(/api/v0/models) as well, which says whether a model is still loading. LM Studio 0.4 lists an instance as soon as its
        load begins, so without this a model counts as loaded before it can serve a request.
      - A model that is still loading, with all its instances, meets no requirement for a loaded one, and O(wait_timeout) waits for it. The same
        holds for a model that this list does not report as loaded, and for every model if an error comes in place of the list.
      - A model that this list calls loading or loaded is not C(unloaded) either, and C(max_instances) and C(exclusive) count it, even where the
        newer list has no instance of it yet. If an error comes in place of the list, these are not met.
      - A model that only this list has, and calls loading or loaded, is not C(absent) either.
      - Both requests together have the O(timeout). The second one goes to the same server with the same token and headers.
      - Where LM Studio has no C(/api/v0/models), a warning says that this cannot be told, and the newer list alone counts.
      - It is an error with records that were gathered before, because those do not say what is still loading.
    version_added: 2.0.0
    type: bool
    default: false
"""
