# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tasks of roles must not inherit from the import of the role, or from its apply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.once

ROLES = Path(__file__).resolve().parents[2] / "roles"
MODEL = "gpufleet.lmstudio.model"


def tasks_in(tasks: list[dict[str, Any]], **around: Any) -> Iterator[dict[str, Any]]:
    """Each task, with what the blocks around it say."""
    for task in tasks:
        if "block" in task:
            yield from tasks_in(task["block"], **{**around, **task})
        else:
            yield {**around, **task}


def acts(task: dict[str, Any]) -> bool:
    """Whether a task changes a server. That is done once where a play says so."""
    included = (ROLES / "serve_models" / "tasks" / str(task.get("ansible.builtin.include_tasks"))).is_file()
    return (MODEL in task or included) and not task.get("check_mode")


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/tasks/*.yml")), ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_no_task_that_asks_or_judges_takes_one_host_for_all_because_of_an_inherited_keyword(path):
    for task in tasks_in(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert isinstance(task.get("run_once"), bool) or acts(task), f"{task['name']}: say whether it is for each host"
        if "ansible.builtin.set_fact" in task:
            assert task.get("delegate_facts") is False, f"{task['name']}: the facts would be those of the delegate"
