# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hypothesis may find on a host before it is brought into a state, and what may be wanted of it."""

from __future__ import annotations

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import LOADED
from ansible_collections.gpufleet.lmstudio.tests.clockwork import parse_options
from hypothesis import strategies as st

# A small world, so that names coincide.
KEYS = ["lab/a", "lab/b", "c"]
CONTEXTS = [4096, 8192, 16384]

configs = st.fixed_dictionaries(
    {"context_length": st.sampled_from([*CONTEXTS, None])}, optional={"flash_attention": st.booleans(), "parallel": st.sampled_from([1, 4])}
)
instances = st.tuples(st.sampled_from([None, "chat", "c"]), configs, st.sampled_from([None, None, 600]))


def free_id(name, used):
    return next(free for free in (name, *(f"{name}:{number}" for number in range(2, 99))) if free not in used)


@st.composite
def hosts(draw):
    """The models of a host, whose instances have ids of their own."""
    models, used = [], set()
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        loaded = []
        for name, config, ttl in draw(st.lists(instances, max_size=3)):
            instance_id = free_id(name or key, used)
            used.add(instance_id)
            loaded.append({"id": instance_id, "config": config, "remaining_ttl_seconds": ttl})
        models.append(
            {"type": "llm", "key": key, "max_context_length": draw(st.sampled_from([8192, 32768, None])), "loaded_instances": loaded}
        )
    return models


@st.composite
def options(draw):
    state = draw(st.sampled_from(["loaded", "loaded", "unloaded", "downloaded"]))
    given = {"model": draw(st.sampled_from([*KEYS, "chat"])), "state": state}
    if state == LOADED:
        settings = {"context_length": st.sampled_from(CONTEXTS), "flash_attention": st.booleans()}
        given["config"] = draw(st.fixed_dictionaries({}, optional=settings))
        given["compare"] = {name: draw(st.sampled_from(["exact", "ignore"])) for name in given["config"] if draw(st.booleans())}
        for name in ("download", "pinned", "exclusive"):
            given[name] = draw(st.booleans())
        given["duplicates"] = draw(st.sampled_from(["keep", "remove"]))
        given["keep"] = draw(st.lists(st.sampled_from(["c", "lab/*"]), max_size=1))
    return parse_options(**given)
