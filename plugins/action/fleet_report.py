# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._argspec import only_set
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import TIME_FORMAT
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import RequirementError
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import (
    Audit,
    make_audit,
    parse_baseline,
    without_times,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.formats import DEFAULT_FORMATS, FORMATS
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.terminal_summary import as_lines
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.text import headline, problems
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._files import read_text, write_all
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.selection import refuse_batches_of_an_audit
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.argspec import fleet_report_spec
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.validate import validate_options


class ActionModule(ActionBase):
    """Judges the records of a fleet and writes reports, in one task that runs once."""

    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            refuse_batches_of_an_audit(task_vars or {})
            options = validate_options(fleet_report_spec(FORMATS, DEFAULT_FORMATS), only_set(self._task.args))
            if not options["hosts"]:
                raise OptionError("hosts", "must name at least one host. Pass the hosts of a registered result of fleet_info.")
            policies = parse_policies(options["policy"], (task_vars or {}).get("groups", {}))
            baseline = self._baseline(options["baseline"])
            audit = make_audit(options["hosts"], policies, baseline, time.strftime(TIME_FORMAT, time.gmtime()))
            folder = Path(os.path.abspath(options["dest"]))
            changed = self._write(folder, {FORMATS[name][0]: FORMATS[name][1] for name in options["formats"]}, audit)
        except (AnsibleError, OptionError, RequirementError) as exc:
            # Not raised again: Ansible would show where in the code it happened, which helps nobody.
            result.update(failed=True, msg=str(exc))
            return result
        paths = {name: str(folder / FORMATS[name][0]) for name in options["formats"]}
        result.update(
            changed=changed,
            msg=headline(audit),
            reports=paths,
            summary=audit["summary"],
            problems=problems(audit),
            lines=as_lines(audit, paths, written=not self._task.check_mode),
        )
        return result

    def _baseline(self, path: str | None) -> Audit | None:
        if path is None:
            return None
        try:
            return parse_baseline(json.loads(Path(path).read_bytes()))
        except OSError as exc:
            raise OptionError("baseline", f"{path} cannot be read: {exc.strerror}. Give the JSON report of an earlier run.") from None
        except ValueError:
            raise OptionError("baseline", f"{path} is not JSON. Give the JSON report of an earlier run.") from None
        except OptionError as exc:
            raise OptionError("baseline", f"{path}: {exc.problem}") from None

    def _write(self, folder: Path, formats: dict[str, Any], audit: Audit) -> bool:
        """Write the reports. Returns whether one of them is new or has changed in more than its times."""
        texts = {name: render(audit) for name, render in formats.items()}
        changed = False
        for name, text in texts.items():
            before = read_text(folder / name)
            changed = changed or before is None or (before != text and _differs(before, text, formats[name](without_times(audit))))
        if not self._task.check_mode:
            try:
                write_all(folder, texts)
            except OSError as exc:
                raise OptionError("dest", f"{folder} cannot be written to: {exc.strerror}. The earlier reports are unchanged.") from None
        return changed


def _differs(before: str, now: str, with_other_times: str) -> bool:
    lines, others, earlier = now.splitlines(), with_other_times.splitlines(), before.splitlines()
    if len(lines) != len(earlier):
        return True
    return any(was != line and line == other for was, line, other in zip(earlier, lines, others))
