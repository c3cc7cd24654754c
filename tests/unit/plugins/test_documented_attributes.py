# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of modules says about check mode, action plugins and groups is what they do."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.doc_fragments import attributes

COLLECTION = Path(__file__).parents[3]
PACKAGE = "ansible_collections.gpufleet.lmstudio.plugins"
MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("[a-z]*.py"))
GROUP = yaml.safe_load((COLLECTION / "meta" / "runtime.yml").read_text())["action_groups"]["lmstudio"]


def documented(name):
    module = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{name}").DOCUMENTATION)
    extended = module["extends_documentation_fragment"]
    assert "gpufleet.lmstudio.attributes" in extended
    found = yaml.safe_load(attributes.ModuleDocFragment.DOCUMENTATION)["attributes"]
    for fragment in ("one_host", "fleet"):
        if f"gpufleet.lmstudio.attributes.{fragment}" in extended:
            found.update(yaml.safe_load(getattr(attributes.ModuleDocFragment, fragment.upper()))["attributes"])
    for attribute, said in module.get("attributes", {}).items():
        found[attribute] = {**found.get(attribute, {}), **said}
    return found


def supported(said, name):
    return said.get(name, {"support": "none"})["support"] == "full"


def action_of(name):
    if not (COLLECTION / "plugins" / "action" / f"{name}.py").exists():
        return None
    return importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule


@pytest.mark.parametrize("name", MODULES)
def test_action_plugins_groups_and_async_are_as_documented(name):
    said, action = documented(name), action_of(name)
    assert supported(said, "action") == (action is not None)
    assert supported(said, "bypass_host_loop") == bool(getattr(action, "BYPASS_HOST_LOOP", False))
    assert supported(said, "action_group") == (name in GROUP)
    assert said["action_group"]["membership"] == (["gpufleet.lmstudio.lmstudio"] if name in GROUP else [])
    assert supported(said, "facts") == name.endswith("_facts")
    # Without an action plugin, or with one that says so, Ansible can run a module in the background.
    assert supported(said, "async") <= (action is None or bool(action._supports_async))


def test_only_modules_that_change_nothing_say_so():
    text = attributes.ModuleDocFragment.DOCUMENTATION
    of_readers = {key: value["details"] for key, value in yaml.safe_load(text)["attributes"].items() if "details" in value}
    assert sorted(of_readers) == ["check_mode", "diff_mode", "idempotent"]
    writers = {name for name in MODULES if name == "model" or name == "fleet_report"}
    for name in MODULES:
        said = documented(name)
        repeats = {key for key, details in of_readers.items() if said[key].get("details") == details}
        assert repeats == (set() if name in writers else set(of_readers)), name
