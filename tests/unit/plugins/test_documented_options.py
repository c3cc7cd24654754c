# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options are documented one by one as the argument specs have them: types, defaults, choices and suboptions. So is what model returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.doc_fragments import connection, requirements
from ansible_collections.gpufleet.lmstudio.plugins.inventory import lmstudio
from ansible_collections.gpufleet.lmstudio.plugins.lookup import models
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import (
    DETAIL,
    MODEL_INFO_SPEC,
    without_suboptions,
)
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import MODEL_ASSERT_SPEC
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import connection_options
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.failures import REASONS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._model_state.spec import MODEL_SPEC
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import KEYS, REQUIRE
from ansible_collections.gpufleet.lmstudio.plugins.modules import (
    fleet_assert,
    fleet_info,
    fleet_report,
    model,
    model_assert,
    model_facts,
    model_info,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.argspec import FLEET_REPORT_SPEC
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.assertion import FLEET_ASSERT_SPEC
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.argspec import (
    FLEET_INFO_SPEC,
    FLEET_SPEC,
)
from ansible_collections.gpufleet.lmstudio.tests.clockwork import ClockworkServer, error, parse_options

COLLECTION = "gpufleet.lmstudio."
ROLES = Path(__file__).parents[3] / "roles"
FRAGMENTS = {
    COLLECTION + "connection": connection.ModuleDocFragment.DOCUMENTATION,
    COLLECTION + "connection.url": connection.ModuleDocFragment.URL,
    COLLECTION + "connection.fleet": connection.ModuleDocFragment.FLEET,
    COLLECTION + "connection.fleet_task": connection.ModuleDocFragment.FLEET_TASK,
    COLLECTION + "requirements": requirements.ModuleDocFragment.DOCUMENTATION,
    COLLECTION + "requirements.exclusive": requirements.ModuleDocFragment.EXCLUSIVE,
    COLLECTION + "requirements.assertion": requirements.ModuleDocFragment.ASSERTION,
}
REPORT = FLEET_REPORT_SPEC


def spec_of(documented):
    """The argument spec of an option as it is documented."""
    assert documented["description"]
    spec = {name: value for name, value in documented.items() if name in ("type", "elements", "choices", "default", "required")}
    if "suboptions" in documented:
        spec["options"] = {name: spec_of(option) for name, option in documented["suboptions"].items()}
    return spec


def test_requirements_are_documented_key_by_key():
    documented = yaml.safe_load(requirements.ModuleDocFragment.DOCUMENTATION)["options"]
    assert spec_of(documented["require"]) == REQUIRE
    assert tuple(REQUIRE["options"]) == KEYS
    assert MODEL_ASSERT_SPEC["require"] == {**REQUIRE, "required": True}


def test_a_report_is_documented_option_by_option():
    documented = yaml.safe_load(fleet_report.DOCUMENTATION)["options"]
    assert {name: spec_of(option) for name, option in documented.items()} == REPORT


def documented_options(plugin):
    """The argument spec of a plugin as it is documented, including its fragments from this collection."""
    documentation = yaml.safe_load(plugin.DOCUMENTATION)
    options = dict(documentation["options"])
    for fragment in [name for name in documentation["extends_documentation_fragment"] if name in FRAGMENTS]:
        for name, option in yaml.safe_load(FRAGMENTS[fragment])["options"].items():
            options[name] = {**option, **options.get(name, {})}
    return {name: spec_of(option) for name, option in options.items()}


def visible(spec):
    """A spec without what documentation does not have."""
    return {name: {key: value for key, value in option.items() if key != "no_log"} for name, option in spec.items()}


@pytest.mark.parametrize(
    ("module", "spec"),
    [
        (model_info, MODEL_INFO_SPEC),
        (model_facts, {**connection_options(), "detail": {**DETAIL, "default": "loaded"}}),
        (model, MODEL_SPEC),
        (model_assert, MODEL_ASSERT_SPEC),
        (fleet_info, FLEET_INFO_SPEC),
        (fleet_assert, FLEET_ASSERT_SPEC),
    ],
)
def test_a_module_is_documented_option_by_option(module, spec):
    assert documented_options(module) == visible(spec)


def shared(detail, on_error):
    """The options of fleet_info that other plugins have, too, with their defaults."""
    defaults = {"detail": detail, "on_error": on_error}
    return {**FLEET_SPEC, **{name: {**FLEET_INFO_SPEC[name], "default": default} for name, default in defaults.items()}}


@pytest.mark.parametrize(
    ("plugin", "spec", "others"),
    [
        (models, shared("full", "fail"), {"_terms", "select", "as"}),
        (lmstudio, shared("loaded", "warn"), {"plugin", "hosts", "endpoints", "variable", "use_vars_plugins"}),
    ],
)
def test_what_other_plugins_share_with_modules_is_documented_alike(plugin, spec, others):
    # Ansible takes the types, defaults and choices of these options from their documentation.
    documented = documented_options(plugin)
    assert {name: option for name, option in documented.items() if name not in others} == visible(spec)
    assert others <= documented.keys()


def options_of_role(role):
    path = ROLES / role / "meta" / "argument_specs.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_a_role_has_the_defaults_that_it_documents(role):
    documented = {name: option["default"] for name, option in options_of_role(role).items() if "default" in option}
    assert documented == yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))


def test_serve_models_documents_the_options_of_each_model_as_model_does():
    documented = options_of_role("serve_models")["serve_models_models"]["options"]
    of_all_models = {*connection_options(), "exclusive", "keep", "confirm_loaded", "via"}
    assert {name: spec_of(option) for name, option in documented.items()} == {
        name: option for name, option in MODEL_SPEC.items() if name not in of_all_models
    }


def test_model_documents_what_it_returns_and_every_reason():
    documented = yaml.safe_load(model.RETURN)
    server = ClockworkServer([{"type": "llm", "key": "qwen", "loaded_instances": [{"id": "qwen", "config": {"context_length": 4096}}]}])
    server.refusal = lambda body: error(500, "model_load_failed", "The engine has crashed")
    result = server.run(parse_options("qwen", config={"context_length": 8192}, confirm_loaded=True))
    assert result.keys() - {"changed", "failed"} == documented.keys()
    for name in ("actions", "differences"):
        (entry,) = result[name]
        assert entry.keys() == documented[name]["contains"].keys()
    assert [reason for reason in REASONS if f"V({reason})" not in documented["reason"]["description"][0]] == []


def test_only_what_has_suboptions_is_kept_from_the_validator():
    spec = MODEL_ASSERT_SPEC
    assert without_suboptions(spec) == {**spec, "require": {"type": "raw", "required": True}}
    assert without_suboptions(REPORT)["policy"] == {"type": "dict", "required": False}
