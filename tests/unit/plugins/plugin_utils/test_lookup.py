# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The form in which the lookup returns the answers."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.lookup import models

pytestmark = pytest.mark.once

TERMS = ["gpu01", "http://gpu02:1234", "gpu01"]
RECORDS = {term: {"ok": True, "url": f"http://{name}", "loaded": [name]} for term, name in zip(TERMS, ("gpu01", "gpu02"))}


@pytest.fixture
def looked_up(monkeypatch):
    """What the lookup returns with these options, without a server."""

    def look_up(**options):
        monkeypatch.setattr(
            models.LookupModule, "_read_options", lambda *_: {"on_error": "fail", "select": "record", "as": "list", **options}
        )
        monkeypatch.setattr(models.LookupModule, "_resolve", lambda *_: {})
        monkeypatch.setattr(models, "ask_hosts", lambda *_: RECORDS)
        return models.LookupModule().run([TERMS[:2], TERMS[2]], {"groups": {}})

    return look_up


def test_a_list_has_an_item_for_each_term_in_order(looked_up):
    assert looked_up() == [RECORDS[term] for term in TERMS]
    assert looked_up(select="loaded") == [["gpu01"], ["gpu02"], ["gpu01"]]


def test_a_dictionary_has_an_item_under_each_term(looked_up):
    assert looked_up(**{"as": "dict"}) == [RECORDS]
    assert looked_up(**{"as": "dict", "select": "loaded"}) == [{"gpu01": ["gpu01"], "http://gpu02:1234": ["gpu02"]}]
