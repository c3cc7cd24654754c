#!/usr/bin/python
# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model
short_description: Load, unload or download a model of a host's LM Studio
version_added: 2.0.0
author:
  - gpufleet (@gpufleet)
description:
  - Brings one model of one host into a state over the REST API of LM Studio 0.4 or later, and changes nothing if it is in that state already.
  - It reads the list of models, makes a plan, carries it out one request at a time, and reads the list again.
  - It loads nothing that is already loaded. If the answer to a load is missing, it does not load again, because that would make a second
    instance. It reads the list until the instance is loaded, and fails with the RV(reason) V(load_unconfirmed) if that stays unclear.
  - Connection options are taken from the host's variables, as for M(gpufleet.lmstudio.model_info). O(api=v0) is an error, and O(api=auto) means
    V(v1) here.
  - There is no C(absent). LM Studio has no request that deletes a model.
extends_documentation_fragment:
  - gpufleet.lmstudio.connection
  - gpufleet.lmstudio.connection.url
  - gpufleet.lmstudio.attributes
  - gpufleet.lmstudio.attributes.one_host
attributes:
  check_mode:
    details: It reads the list, and returns the RV(actions) that it would carry out.
  diff_mode:
    support: full
    details: The loaded instances with their settings, without remaining TTLs. In check mode, settings that the server chooses are guessed.
  idempotent:
    details: >-
      This holds even if the server gives a larger context than requested, or does not report a setting. If it gives a smaller one,
      the task fails each time.
  async:
    support: full
    details: With O(via=target). With O(via=controller) it fails.
options:
  model:
    description:
      - The key of the model, exactly as RV(gpufleet.lmstudio.model_info#module:lmstudio.available) lists it. Patterns and variants are
        refused.
      - With O(state=unloaded) also the identifier of one instance.
      - With O(state=downloaded) also a variant.
    type: str
    required: true
  state:
    description:
      - V(loaded) means that the model has a loaded instance that matches O(config) and O(pinned), V(unloaded) that it has none, whether the
        model is listed or not.
      - V(downloaded) means that it is listed.
    type: str
    choices: [loaded, unloaded, downloaded]
    default: loaded
  config:
    description:
      - Settings to load it with, by name. C(context_length), C(eval_batch_size), C(flash_attention), C(num_experts),
        C(offload_kv_cache_to_gpu), C(parallel), and whatever else this LM Studio accepts.
      - Only these settings are sent and compared. One that the server does not report is listed in RV(unverified), and is no reason to reload.
        A name that is similar to one of these six, such as C(contextLength), is an error.
    type: dict
    default: {}
  compare:
    description:
      - How settings of O(config) are compared with those of a loaded instance, by name.
      - V(at_least) is for numbers, V(exact) requires the same value, V(ignore) sends a setting and does not compare it.
      - Unless told otherwise, C(context_length) is compared V(at_least) and all others V(exact).
    type: dict
    default: {}
  download:
    description:
      - Whether to download the model if it is not listed. O(state=downloaded) implies this.
    type: bool
    default: false
  source:
    description:
      - What to download, as an identifier of LM Studio's catalogue or as a URL. Unset means O(model).
      - The server does not say under which key it will list what it downloads. If that is not O(model), the task fails and names the new
        keys.
    type: str
  quantization:
    description:
      - The quantization to download, such as V(Q4_K_M). Only allowed with a URL in O(source).
      - A model that is already listed is not compared with it.
    type: str
  reload:
    description:
      - What happens to a loaded instance that does not match O(config) and O(pinned). LM Studio cannot change it, so it has to be
        unloaded and loaded again.
      - V(when_different) does that. V(never) fails and names the differences.
    type: str
    choices: [when_different, never]
    default: when_different
  pinned:
    description:
      - Whether the instance must stay loaded when idle. Instances made by just-in-time loading do not, so they are unloaded and loaded again.
    type: bool
    default: true
  duplicates:
    description:
      - What happens to further instances of the model. V(keep) keeps them, and reloads those that do not match.
      - V(remove) unloads all but one.
    type: str
    choices: [keep, remove]
    default: keep
  exclusive:
    description:
      - Whether to unload every other loaded model, of any type, before this one is loaded.
      - Those models are not loaded again, even if this one cannot be loaded.
    type: bool
    default: false
  keep:
    description:
      - What O(exclusive) leaves loaded. Keys, variants, identifiers of instances, or patterns for them. Consider adding embedding models.
      - Case, needless spaces and invisible characters do not matter, unless an entry is the key of a listed model. An empty entry is an error,
        because it would keep nothing.
    type: list
    elements: str
    default: []
  load_timeout:
    description:
      - Seconds for each load. LM Studio answers only when the load has ended. If the answer is missing, the list is read for the
        rest of this time.
    type: float
    default: 600
  download_timeout:
    description:
      - Seconds for the download.
    type: float
    default: 7200
  stall_timeout:
    description:
      - Seconds without progress after which a download has failed.
    type: float
    default: 600
  confirm_loaded:
    description:
      - LM Studio lists an instance while it is still loading. With V(true), C(/api/v0/models) is asked as well, which says whether
        it still is. Before anything is unloaded or loaded, the task waits up to O(load_timeout) until the listed instances of the model
        are loaded. If that stays unclear, the task fails with the RV(reason) V(load_unconfirmed). If this LM Studio does not have that list, a
        warning says so.
      - Check mode asks once, and fails if a run would have to wait.
    type: bool
    default: false
  via:
    description:
      - Which machine sends the requests, as for M(gpufleet.lmstudio.model_info).
      - V(target) supports C(async). V(controller) reports progress every 15 seconds.
    type: str
    choices: [target, controller]
    default: target
notes:
  - Unloading an instance cuts off the requests that it is serving. LM Studio does not say whether there are any.
  - The token needs permission to load, unload and download.
seealso:
  - module: gpufleet.lmstudio.model_assert
"""

EXAMPLES = r"""
- name: Serve the chat model, with room to talk
  gpufleet.lmstudio.model:
    model: qwen/qwen3-8b
    config:
      context_length: 8192

- name: Download it first if it is missing, and make room for it
  gpufleet.lmstudio.model:
    model: qwen/qwen3-8b
    download: true
    exclusive: true
    keep: ["text-embedding-*"]

- name: Unload it, from the controller
  gpufleet.lmstudio.model:
    model: qwen/qwen3-8b
    state: unloaded
    via: controller
"""

RETURN = r"""
actions:
  description: What was done, or what would be done in check mode, in order.
  returned: when the server was asked
  type: list
  elements: dict
  sample:
    - {"action": "load", "model": "qwen/qwen3-8b", "instance": "qwen/qwen3-8b", "seconds": 6.4, "note": null}
  contains:
    action:
      description: V(download), V(unload) or V(load).
      type: str
    model:
      description: The key.
      type: str
    instance:
      description: The identifier of what was unloaded or loaded. Null for a load in check mode.
      type: str
    seconds:
      description: How long it took. Null in check mode.
      type: float
    note:
      description: A remark, for example that an unload cuts off requests. Null if there is none.
      type: str
instance:
  description: The identifier of the loaded instance. Of several, the one that serves requests for the key. Null if none is loaded.
  returned: when the server was asked
  type: str
  sample: qwen/qwen3-8b
differences:
  description:
    - Why an instance is loaded again. With the RV(reason) V(effective_config_differs), what the server gave instead of what was requested.
  returned: when the server was asked
  type: list
  elements: dict
  contains:
    instance:
      description: The identifier.
      type: str
    setting:
      description: The name in O(config), or V(pinned).
      type: str
    expected:
      description: The expected value.
      type: raw
    actual:
      description: The actual value.
      type: raw
    compare:
      description: How it was compared.
      type: str
unverified:
  description: Settings of O(config) that the server does not report, and V(pinned) if it is not known whether an instance unloads when idle.
  returned: when the server was asked
  type: list
  elements: str
  sample: [flash_attention]
requirement:
  description:
    - What O(gpufleet.lmstudio.model_assert#module:require) has to have for the same state, without what is RV(unverified) and what
      a requirement cannot compare.
  returned: when the server was asked
  type: dict
  sample: {"model": "qwen/qwen3-8b", "min_context_length": 8192}
reason:
  description:
    - Null, or why the task failed, in one word. V(model_unknown), V(option_unsupported), V(request_rejected), V(insufficient_memory),
      V(load_failed), V(effective_config_differs), V(load_unconfirmed), V(changed_meanwhile), V(masked_names), V(shared_identifier),
      V(still_loaded), V(download_unavailable), V(download_failed), V(download_stalled), or a status of the record, such as V(auth).
  returned: when the server was asked
  type: str
confirmed:
  description:
    - Whether C(/api/v0/models) says that the model is loaded. V(false) if this LM Studio does not have that list. Null if it did not say or
      was not asked, and in check mode if something would be loaded.
  returned: when the server was asked, and O(confirm_loaded=true)
  type: bool
restored:
  description:
    - Whether the unloaded instance was loaded again, with the settings that LM Studio accepts, because its replacement could not
      be loaded. It then stays loaded when idle, even if it did not before. V(false) also if this is not known, which RV(msg) says.
  returned: when an instance was unloaded and none could be loaded in its place
  type: bool
lmstudio:
  description:
    - The record of the host afterwards, as RV(gpufleet.lmstudio.model_info#module:lmstudio) describes it, with the entries of loaded
      models only.
  returned: when the server was asked
  type: dict
diff:
  description: The loaded instances before and after.
  returned: when the list could be read before and after
  type: dict
msg:
  description: What is there now, or what is wrong and what to do.
  returned: always
  type: str
  sample: qwen/qwen3-8b is loaded as qwen/qwen3-8b, with a context of 8192.
"""

from ..module_utils import _archive  # noqa: F401  # pylint: disable=unused-import
from ..module_utils._http.blocking import fetch
from ..module_utils._model_state.acting import ensure_state
from ..module_utils._model_state.client import Client
from ..module_utils._model_state.spec import MODEL_SPEC, parse_wanted
from ..module_utils._module import LMStudioModule


def main() -> None:
    module = LMStudioModule(argument_spec=MODEL_SPEC, supports_check_mode=True)
    module.end_with(lambda: ensure_state(parse_wanted(module.params), Client(module.endpoint(), fetch), module.check_mode))


if __name__ == "__main__":
    main()
