# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugin of model tells while a load takes long."""

from __future__ import annotations

import threading

from ansible_collections.gpufleet.lmstudio.plugins.action import model


def test_a_load_tells_every_few_seconds_how_long_it_has_taken(monkeypatch):
    monkeypatch.setattr(model, "SECONDS_BETWEEN_LINES", 0.01)
    told, twice = [], threading.Event()

    def tell(seconds):
        told.append(seconds)
        if len(told) == 2:
            twice.set()

    with model._telling(tell):
        assert twice.wait(30)
    assert told[:2] == [0.01, 0.02]
    assert not any(thread.name == "lmstudio-progress" for thread in threading.enumerate())
