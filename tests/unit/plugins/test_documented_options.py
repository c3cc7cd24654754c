# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options with suboptions are documented, key by key, as the argument specs have them."""

from __future__ import annotations

import yaml
from ansible_collections.gpufleet.lmstudio.plugins.doc_fragments.requirements import ModuleDocFragment
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import without_suboptions
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import model_assert_spec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import KEYS, requirements_spec
from ansible_collections.gpufleet.lmstudio.plugins.modules import fleet_report
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.formats import DEFAULT_FORMATS, FORMATS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.argspec import fleet_report_spec

REPORT = fleet_report_spec(FORMATS, DEFAULT_FORMATS)


def spec_of(documented):
    """The argument spec of an option as it is documented."""
    assert documented["description"]
    spec = {name: value for name, value in documented.items() if name in ("type", "elements", "choices", "default", "required")}
    if "suboptions" in documented:
        spec["options"] = {name: spec_of(option) for name, option in documented["suboptions"].items()}
    return spec


def test_requirements_are_documented_key_by_key():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert spec_of(documented["require"]) == requirements_spec()
    assert tuple(requirements_spec()["options"]) == KEYS
    assert model_assert_spec()["require"] == {**requirements_spec(), "required": True}


def test_a_report_is_documented_option_by_option():
    documented = yaml.safe_load(fleet_report.DOCUMENTATION)["options"]
    assert {name: spec_of(option) for name, option in documented.items()} == REPORT


def test_only_what_has_suboptions_is_kept_from_the_validator():
    spec = model_assert_spec()
    assert without_suboptions(spec) == {**spec, "require": {"type": "raw", "required": True}}
    assert without_suboptions(REPORT)["policy"] == {"type": "dict", "required": False}
