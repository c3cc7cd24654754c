# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
short_description: Watch LM Studio servers, and report what changes
version_added: 2.0.0
author:
  - gpufleet (@gpufleet)
description:
  - An ansible-rulebook event source plugin that polls C(GET /api/v1/models) of every endpoint, and sends an event when
    something has changed. Nothing is sent while nothing changes.
  - An event is C({lmstudio{event, host, url, model, instance, previous, current, status, at}, meta{hosts}}). C(meta.hosts) is the name of the
    host, so that C(run_playbook) is limited to it.
  - C(host_down) is sent after O(down_after) failed polls, and C(host_up) with the first answer after that. C(previous) and C(current) are
    lists of sentences that say what is wrong, and C(status) is the status of the host record.
  - C(model_loaded) is sent when a model gets its first instance, C(model_unloaded) when its last one is gone, with its instances before and
    after in C(previous) and C(current), and the first of them in C(instance).
  - C(instance_changed) is sent when a model stays loaded and one of its instances appears, disappears or changes its configuration. C(previous)
    and C(current) are that instance, or null. Neither a remaining TTL causes an event, nor an answer with the other list of models than before
    (O(api=auto)), because the two lists do not report the same about an instance.
  - C(violated) is sent when a requirement that was met is no longer met, and C(met) when all of them are met again. C(previous) and
    C(current) are lists of sentences that say what is not met. A host that comes up with unmet requirements always causes a C(violated).
    While a requirement is not met, another reason for it causes none.
  - A failed poll says nothing about models and requirements. It never causes a C(model_unloaded), a C(violated) or a C(met).
  - No text of an event is a template, nor becomes one when it is read as a literal or joined with others. Each C({), backslash, C(#) and C($)
    in it is replaced by the character U+FF5B, U+FF3C, U+FF03 or U+FF04. A text of more than 1000 characters is cut, and ends with an ellipsis and a digest.
  - Wrong arguments end the source when it starts. After that, nothing that a server does ends it.
options:
  endpoints:
    description:
      - The servers to watch. An endpoint is a URL, the name or address of a host, C(NAME:PORT), or a mapping of C(name), C(url) and the connection
        options of this source.
      - The name of a host is C(name), or else the one in its URL. It must be the host's name in the inventory, or playbooks do not reach it. With
        the name of a group, they would run on the whole group.
      - Without a C(url), C(http://NAME) is asked with O(port).
    type: list
    elements: raw
    required: true
  interval:
    description:
      - Seconds from one poll of a host to the next, give or take a tenth of that. No host waits for the others.
    type: float
    default: 30
  down_after:
    description:
      - The number of consecutive failed polls after which a host is down.
    type: int
    default: 2
  require:
    description:
      - Requirements to watch on each host, with the keys of O(gpufleet.lmstudio.model_assert#module:require). One with C(severity=warn) always
        counts as met here.
    type: list
    elements: dict
  events:
    description:
      - Which events to send. Unset means all of them.
    type: list
    elements: str
    choices: [host_down, host_up, model_loaded, model_unloaded, instance_changed, violated, met]
  initial:
    description:
      - Whether to send events for what the first polls find.
      - V(none) sends no such events, unless the host was down before. V(snapshot) sends C(host_up) or C(host_down), C(model_loaded) for each
        loaded model, and C(violated) or C(met).
    type: str
    choices: [none, snapshot]
    default: none
  port:
    description:
      - The port of endpoints that have neither a port nor a URL. Unset means 1234.
    type: int
  token:
    description:
      - The API token of endpoints that have none of their own. E(LM_API_TOKEN) is not used, as wherever many hosts are asked.
      - It goes to each of these servers. Give an endpoint that must not get it a C(token) of its own.
    type: str
  headers:
    description:
      - Additional request headers, for endpoints that have none of their own.
    type: dict
  timeout:
    description:
      - Seconds for a whole exchange.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether the TLS certificate of a server must be valid.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the CA certificates to trust, or a folder with them that C(openssl rehash) has prepared. Unset means those of the system.
    type: path
  client_cert:
    description:
      - A file with a TLS client certificate in PEM form. Needs O(client_key).
    type: path
  client_key:
    description:
      - A file with the unencrypted key of O(client_cert). It may be the same file.
    type: path
  use_proxy:
    description:
      - Whether to use the HTTP proxy that the usual environment variables name, C(no_proxy) included.
    type: bool
    default: false
  max_response_bytes:
    description:
      - The largest answer that is read, in bytes. A larger one is a failed poll.
    type: int
    default: 16777216
  api:
    description:
      - Which list of models to ask for, as for O(gpufleet.lmstudio.model_info#module:api).
    type: str
    choices: [v1, v0, auto]
    default: v1
"""

EXAMPLES = r"""
- gpufleet.lmstudio.watch:
    endpoints:
      - gpu01
      - http://gpu02:1234
      - name: gpu03
        url: https://gpu03.example.com/lmstudio
        token: "{{ gpu03_token }}"
    require:
      - model: qwen/qwen3-8b
        min_context_length: 8192
    events: [violated, met, host_down]
    initial: snapshot
"""

import importlib
import sys
from pathlib import Path
from typing import Any

_PLUGIN = Path(__file__).absolute()
_COLLECTION = ("ansible_collections", "gpufleet", "lmstudio")


def _find_collection() -> None:
    """Let Python import the collection that this file belongs to. ansible-rulebook runs the file alone, and knows nothing of the others."""
    root = next((folder for folder in _PLUGIN.parents if folder.parts[-3:] == _COLLECTION), None)
    if root is None or not (root / "plugins").is_dir():
        raise ImportError(
            "gpufleet.lmstudio.watch needs the rest of its collection: install gpufleet.lmstudio and name the source gpufleet.lmstudio.watch, "
            "instead of a copy of this file."
        )
    if str(root.parents[2]) not in sys.path:
        sys.path.append(str(root.parents[2]))
    # Where the package ansible is installed as well, only its collections would be found.
    for name, folder in (("ansible_collections", root.parents[1]), ("ansible_collections.gpufleet", root.parents[0])):
        package = importlib.import_module(name)
        package.__path__ = [str(folder), *(path for path in package.__path__ if path != str(folder))]


_find_collection()
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.arguments import parse_arguments
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.polling import Queue, watch


async def main(queue: Queue, args: dict[str, Any]) -> None:
    """Send events until it is cancelled."""
    await watch(queue, parse_arguments(args))
