# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told while a load takes long."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state import client
from ansible_collections.gpufleet.lmstudio.tests.clockwork import ENDPOINT


class Hurried(threading.Event):
    def wait(self, timeout=None):
        """For thousandths of seconds."""
        return super().wait(timeout and timeout / 1000)


def test_a_load_tells_every_few_seconds_how_long_it_has_taken(monkeypatch):
    monkeypatch.setattr(client, "threading", SimpleNamespace(Event=Hurried, Thread=threading.Thread))
    lines, twice = [], threading.Event()

    def tell(line):
        lines.append(line)
        if len(lines) == 2:
            twice.set()

    def fetch(endpoint, request):
        assert twice.wait(30)
        return Response(200, b'{"instance_id": "qwen", "status": "loaded"}')

    assert client.Client(ENDPOINT, fetch, progress=tell).load("qwen", {}, 600, set()) == "qwen"
    assert lines[:2] == ["waiting for the load, 15 of at most 600 seconds", "waiting for the load, 30 of at most 600 seconds"]
    assert not any(thread.name == "lmstudio-progress" for thread in threading.enumerate())
