# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests that judge a host record by requirements. Each is documented in the YAML file of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils._lmstudio.gathered import extract_record
from ..module_utils._requirements.judge import judge
from ..module_utils._requirements.spec import AVAILABLE, LOADED, parse, parse_all
from ..plugin_utils._jinja import requirement_from_args, template_plugin


@template_plugin
def model_loaded(record: Any, model: Any, **attributes: Any) -> bool:
    return not judge(extract_record(record), [requirement_from_args(model, LOADED, attributes)])


@template_plugin
def model_available(record: Any, model: Any, **attributes: Any) -> bool:
    return not judge(extract_record(record), [requirement_from_args(model, AVAILABLE, attributes)])


@template_plugin
def meets(record: Any, requirement: Any) -> bool:
    one = not isinstance(requirement, (list, tuple))
    return not judge(extract_record(record), [parse(requirement)] if one else parse_all(requirement, "requirement"))


class TestModule:
    def tests(self) -> dict[str, Callable[..., bool]]:
        return {"model_loaded": model_loaded, "model_available": model_available, "meets": meets}
