# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event as ansible-rulebook hands it to a playbook, on each ansible-core: as an extra variable, which Ansible trusts."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.no_template import without_templates
from ansible_collections.gpufleet.lmstudio.tests.hostile_events import PLAY, hostile_model, hostile_names, ran


@pytest.mark.matrix
@pytest.mark.parametrize("neutral", [True, False], ids=["as it is sent", "as the server wrote it"])
def test_names_in_an_event_are_never_run_by_a_play(run, tmp_path, neutral):
    names = hostile_names(tmp_path)
    texts = list(names.values())
    model = hostile_model(tmp_path)
    event = {"lmstudio": {"model": model["key"], "instance": names["other markers"], "current": model["loaded_instances"]}}
    sent = without_templates if neutral else lambda value: value
    variables = {"given": sent(texts), "seen": str(tmp_path / "seen.json"), "wanted": sent(texts[0])}
    (tmp_path / "event.json").write_text(json.dumps({"ansible_eda": {"event": sent(event)}, **variables}))
    if not neutral:
        # If nothing were run here, the other case would show nothing. What is run may end the play.
        run(PLAY.replace("tasks:", "ignore_errors: true\n  tasks:"), {"gpu01": {}}, "-e", "@event.json")
        assert ran(tmp_path)
        return
    outcome = run(PLAY, {"gpu01": {}}, "-e", "@event.json")
    assert ran(tmp_path) == []
    assert "It can be compared: True" in outcome.output
    texts_sent = sent(texts)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen == {"model": texts_sent[0], "instance": sent(names["other markers"]), "texts": texts_sent, "first": texts_sent[0]}
