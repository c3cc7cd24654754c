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
      - What is required. All of the list must hold. Within one requirement, all of its keys must hold on the same model, and on every
        instance of it, because LM Studio chooses which of them serves a request. With a pattern, or without C(model), one model that
        meets it is enough.
      - C(model), C(type), C(publisher), C(architecture), C(format), C(quantization) and the values of C(config) take one value or a
        list of values, any of which will do. C(capabilities) takes one or a list, all of which must be there. The others take one.
      - Unknown keys, wrong values and contradictions are errors, and so is an empty list.
      - At least one of C(model), C(type), C(publisher), C(architecture), C(format), C(quantization) and C(capabilities) is needed,
        to say which model is meant.
      - What a server does not tell meets nothing.
      - C(name) (text) is a label for messages.
      - C(model) (text) is the key of a model, the name of one of its variants, or the identifier of an instance, which means this one
        alone. It may have the wildcards C(*), C(?) and C([...]), and case matters. Of a variant that is not selected only the name is known.
      - C(state) is V(loaded) (the default, an instance is there), V(available) (it is listed), V(unloaded) (no instance is there,
        listed or not) or V(absent) (it is not listed).
      - C(type) is V(llm), V(embedding), V(drafter), V(imageGen), V(transcription), V(tts), or whatever else a server lists. Another word is
        an error where it would pass the gate, as with C(state=absent). C(publisher), C(architecture), C(format) and C(quantization) (text) are compared with
        what the server tells. Their case does not matter.
      - C(capabilities) are V(vision), V(trained_for_tool_use) and V(reasoning), which needs an option other than V(off).
      - C(min_bits_per_weight) (number) and C(max_size) (bytes, or text such as V(40GB) and V(40GiB)) are about the file.
      - C(min_context_length) (tokens) is about the context with which an instance is loaded. With C(state=available) it is about
        what the model supports.
      - C(min_parallel) (number) and C(config) (settings and their values, such as a C(flash_attention) of V(true)) are about how an
        instance is loaded.
      - C(min_instances) (1) counts the instances of models that meet the rest. C(max_instances) (no limit) counts those that may, what is
        not known included.
      - C(severity) is V(fail) (the default) or V(warn), which is reported and lets the host pass.
    type: list
    elements: dict
  exclusive:
    description:
      - Whether any other loaded model, of either type, is a violation. Other are those that no requirement of state V(loaded) or
        V(available) is about.
    type: bool
    default: false
"""
