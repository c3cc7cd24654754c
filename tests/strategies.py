# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hypothesis may let a server say: model entries that are right, and any that are not."""

from __future__ import annotations

from hypothesis import strategies as st


def values(floats):
    scalars = st.none() | st.booleans() | st.integers() | floats | st.text(max_size=20)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=20
    )


anything = values(st.floats())


def objects(**fields):
    """Objects with these fields, of the right type or of any other, and with unknown ones."""
    known = st.fixed_dictionaries({}, optional={name: kind | anything for name, kind in fields.items()})
    more = st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["__ansible_type", "__payload__", "items", "loaded"]), anything, max_size=2
    )
    return st.builds(lambda one, other: {**other, **one}, known, more)


instances = objects(
    id=st.text(max_size=9),
    config=objects(context_length=st.integers(0, 2**40), parallel=st.integers(0, 9), flash_attention=st.booleans()),
    remaining_ttl_seconds=st.integers(0, 3600),
)
entries = objects(
    type=st.sampled_from(["llm", "embedding", "embeddings"]),
    key=st.text(max_size=9),
    size_bytes=st.integers(0, 2**50),
    quantization=objects(name=st.text(max_size=5), bits_per_weight=st.floats()),
    loaded_instances=st.lists(instances, max_size=3),
    capabilities=objects(vision=st.booleans(), reasoning=objects(allowed_options=st.lists(st.text(max_size=3), max_size=2))),
    variants=st.lists(st.text(max_size=5), max_size=2),
)
rows = objects(
    id=st.text(max_size=9),
    type=st.sampled_from(["llm", "vlm", "embeddings"]),
    arch=st.text(max_size=5),
    quantization=st.text(max_size=5),
    state=st.sampled_from(["loaded", "not-loaded", "loading", "unloading"]),
    loaded_context_length=st.integers(0, 2**40),
    capabilities=st.lists(st.sampled_from(["tool_use", "vision"]), max_size=2),
    key=st.text(max_size=5),
    loaded_instances=st.lists(instances, max_size=1),
)
"""Rows of the older list."""
valid_rows = st.builds(
    lambda row, name, state: {**row, "id": name, "state": state, "type": None, "loaded_context_length": None},
    rows,
    st.text(max_size=9),
    st.sampled_from(["loaded", "not-loaded", "loading", "unloading"]),
)
valid_instances = st.fixed_dictionaries(
    {"id": st.text(max_size=9), "config": st.fixed_dictionaries({"context_length": st.integers(0, 2**40)})},
    optional={"remaining_ttl_seconds": st.integers(0, 3600)},
)
valid_entries = st.fixed_dictionaries(
    {"type": st.sampled_from(["llm", "embedding"]), "key": st.text(max_size=9), "loaded_instances": st.lists(valid_instances, max_size=3)},
    optional={
        "capabilities": st.fixed_dictionaries(
            {"reasoning": st.fixed_dictionaries({"allowed_options": st.lists(st.text(max_size=4), max_size=3)})}
        ),
        "quantization": st.fixed_dictionaries({"bits_per_weight": st.integers(1, 16)}),
        "future": values(st.floats(allow_nan=False, allow_infinity=False)),
        "size_bytes": st.integers(0, 2**50),
        "variants": st.lists(st.text(max_size=5), max_size=3),
    },
)
