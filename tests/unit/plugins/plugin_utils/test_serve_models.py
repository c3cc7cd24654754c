# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role serve_models requires at its end is met by what it has done, whatever the server does with the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ansible.template
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.judge import is_met, judge
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import parse_all
from ansible_collections.gpufleet.lmstudio.tests.clockwork import ClockworkServer, parse_options
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.states import CONTEXTS, KEYS, hosts
from hypothesis import assume, event, given
from hypothesis import strategies as st

# Since 2.19, text is a template when it says so.
trusted: Callable[[str], str] = getattr(ansible.template, "trust_as_template", str)
ROLE = yaml.safe_load((ROOT / "roles" / "serve_models" / "vars" / "main.yml").read_text(encoding="utf-8"))
VARIABLES = {name: trusted(text) for name, text in ROLE.items() if isinstance(text, str)}
DEFAULTS = {"serve_models_exclusive": False, "serve_models_keep": []}
SETTINGS = {
    "context_length": st.sampled_from(CONTEXTS[:2]),
    "flash_attention": st.booleans(),
    "parallel": st.sampled_from([1, 4]),
    "num_experts": st.just("4"),
}


def test_it_knows_the_options_that_its_argument_spec_has():
    spec = yaml.safe_load((ROOT / "roles" / "serve_models" / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    assert ROLE["serve_models_options"] == list(spec["argument_specs"]["main"]["options"]["serve_models_models"]["options"])


def rendered(name: str, **variables: Any) -> Any:
    templar = ansible.template.Templar(loader=DataLoader(), variables={**DEFAULTS, **VARIABLES, **variables})
    return templar.template(VARIABLES[name])


@st.composite
def lists(draw):
    """What the role is given: each model once."""
    items = []
    for key in draw(st.lists(st.sampled_from([*KEYS, "chat"]), min_size=1, max_size=3, unique=True)):
        item: dict[str, Any] = {"model": key}
        if draw(st.booleans()):
            item["state"] = draw(st.sampled_from(["loaded", "unloaded", "downloaded"]))
        if item.get("state", "loaded") == "loaded":
            item["download"] = True
            config = draw(st.fixed_dictionaries({}, optional=SETTINGS))
            compare = {name: draw(st.sampled_from(["exact", "ignore"])) for name in config if draw(st.booleans())}
            if "parallel" in config and draw(st.booleans()):
                compare["parallel"] = "at_least"
            item.update({name: value for name, value in {"config": config, "compare": compare}.items() if value})
            if draw(st.booleans()):
                item["duplicates"] = "remove"
        items.append(item)
    return items


@given(
    hosts(),
    lists(),
    st.booleans(),
    st.sets(st.sampled_from(["flash_attention", "parallel", "num_experts"])),
    st.sampled_from([0, 192]),
    st.sampled_from([[], ["lab/*"], ["Lab/*"]]),
)
def test_its_gate_is_met_by_what_it_has_done(models, items, exclusive, unreported, more, keep):
    # A request for a key may go to another model's instance of that name, so the gate counts it, and the role does not.
    assume(not any(one["id"] in KEYS and one["id"] != model["key"] for model in models for one in model["loaded_instances"]))
    server = ClockworkServer(models)
    server.catalogue = dict.fromkeys([*KEYS, "chat"], 1000)
    server.effective = lambda body: {
        **{name: value for name, value in body.items() if name not in unreported},
        "context_length": body["context_length"] + more,
    }
    keys = [item["model"] for item in items if item.get("state", "loaded") == "loaded"]
    exclusive = exclusive and bool(keys)
    required = []
    # In the order of the role.
    for item in sorted(items, key=lambda item: ["downloaded", "unloaded", "loaded"].index(item.get("state", "loaded"))):
        only_once = {"exclusive": exclusive, "keep": [*keys, *keep]} if item["model"] == next(iter(keys), None) else {}
        result = server.run(parse_options(item["model"], **{name: value for name, value in item.items() if name != "model"}, **only_once))
        if result.get("failed"):
            event("the role stops before its gate")
            return
        required.append(result["requirement"])
    required += rendered("serve_models_kept", serve_models_exclusive=exclusive, serve_models_keep=keep)
    violations = judge(server.record(), parse_all(required), exclusive)
    assert is_met(violations), [violation["message"] for violation in violations]
    event("the gate is met")
