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

from ..module_utils._argspec import only_set
from ..module_utils._input_errors import InputError, OptionError
from ..module_utils._lmstudio.poll import TIME_FORMAT
from ..plugin_utils._audit import history
from ..plugin_utils._audit.argspec import LAST, report_options
from ..plugin_utils._audit.baseline import Baseline, parse_baseline
from ..plugin_utils._audit.document import Audit, Scope, collection_version, make_audit, without_times
from ..plugin_utils._audit.policy import parse_policies
from ..plugin_utils._audit.reports.formats import FORMATS, as_json
from ..plugin_utils._audit.reports.terminal_summary import as_lines
from ..plugin_utils._audit.sentences import headline, problems
from ..plugin_utils._files import read_text, write_all
from ..plugin_utils._fleet.selection import refuse_batches_of_an_audit, refuse_other_values
from ..plugin_utils._options.addresses import machine_by_variables

_LAST_FILE = "fleet_audit.last.json"
_FILES = (*(name for name, _render in FORMATS.values()), _LAST_FILE, history.FILE)
"""What is written into a folder, depending on the options."""


class ActionModule(ActionBase):
    """Judges the records of a fleet and writes reports, in one task that runs once."""

    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._report(task_vars or {}))
        except (AnsibleError, InputError) as exc:
            # Not raised again: Ansible would show where in the code it happened, which helps nobody.
            result.update(failed=True, msg=str(exc))
        return result

    def _report(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of judging the records and writing the reports."""
        refuse_batches_of_an_audit(self._task, task_vars)
        refuse_other_values(self._task, task_vars)
        options = report_options(only_set(self._task.args))
        folder = Path(os.path.abspath(options["dest"]))
        audit = self._audit(options, folder, task_vars)
        found = problems(audit)
        formats = dict(FORMATS[name] for name in options["formats"])
        if options["baseline"] == LAST and (options["accept"] or not found["drift"]):
            formats[_LAST_FILE] = as_json
        changed = self._write(folder, formats, audit, options)
        paths = {name: str(folder / FORMATS[name][0]) for name in options["formats"]}
        return {
            "changed": changed,
            "msg": headline(audit),
            "reports": paths,
            "summary": audit["summary"],
            "problems": found,
            "lines": as_lines(audit, paths, written=not self._task.check_mode),
        }

    def _audit(self, options: dict[str, Any], folder: Path, task_vars: dict[str, Any]) -> Audit:
        """The document, compared with what earlier runs left in the folder."""
        groups = task_vars.get("groups", {})
        policies = parse_policies(options["policy"], groups)
        baseline = _baseline(options["baseline"], folder)
        runs = self._history(folder / history.FILE) if options["history"] else None
        scope = Scope(
            policy=json.loads(json.dumps(options["policy"] or None)),
            limit=task_vars.get("ansible_limit"),
            inventory=frozenset(groups.get("all", ())),
            machine_of=machine_by_variables(task_vars["hostvars"], self._templar),
            collection_version=collection_version(),
            history=None if runs is None else runs[max(0, len(runs) + 1 - options["history"]) :],
            first_run=options["baseline"] == LAST and baseline is None,
            keep_missing=not options["accept"],
        )
        audited_at = time.strftime(TIME_FORMAT, time.gmtime())
        return make_audit(options["hosts"], policies, baseline, audited_at, scope, options["drift"])

    def _history(self, path: Path) -> list[history.Run]:
        """The runs before this one."""
        try:
            return history.read_history(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            self._display.warning(f"{path} cannot be read as a history, so the history starts over with this run.")
            return []

    def _write(self, folder: Path, formats: dict[str, Any], audit: Audit, options: dict[str, Any]) -> bool:
        """Write the files. Returns whether one of them is new or has changed in more than its times. The history does not count."""
        texts = {name: render(audit) for name, render in formats.items()}
        changed = False
        for name, text in texts.items():
            before = read_text(folder / name)
            changed = changed or before is None or (before != text and _differs(before, text, formats[name](without_times(audit))))
        if options["history"]:
            texts[history.FILE] = history.history_with(audit)
        if not self._task.check_mode:
            try:
                write_all(folder, texts, options["mode"])
            except OSError as exc:
                raise OptionError("dest", f"{folder} cannot be written to: {exc.strerror}. The earlier reports are unchanged.") from None
        return changed


def _baseline(given: str | None, folder: Path) -> Baseline | None:
    """What to compare with. None without a baseline, and on the first run with ``last``."""
    if not given:
        return None
    path = folder / _LAST_FILE if given == LAST else Path(given)
    if given != LAST and any(_is_same_file(path, folder / name) for name in _FILES):
        raise OptionError(
            "baseline",
            f"{path} is a file that the audit itself may write into {folder}, so a run that fails for drift would be the baseline of the next one. "
            f"Copy it elsewhere and give the copy, or write {LAST} to compare with the last run.",
        )
    remedy = "Restore it, or delete it to start over." if given == LAST else "Give the JSON report of an earlier run."
    try:
        return parse_baseline(json.loads(path.read_bytes()))
    except OSError as exc:
        if given == LAST and isinstance(exc, FileNotFoundError) and not path.is_symlink():
            return None
        raise OptionError("baseline", f"{path} cannot be read: {exc.strerror}. {remedy}") from None
    except (ValueError, OverflowError, RecursionError):
        raise OptionError("baseline", f"{path} is not JSON. {remedy}") from None
    except OptionError as exc:
        problem = f"{exc.problem.partition('. ')[0]}. {remedy}" if given == LAST else exc.problem
        raise OptionError("baseline", f"{path}: {problem}") from None


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, which need not exist yet."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
    except ValueError:  # No path, because there is a null character in it.
        return False


def _differs(before: str, now: str, with_other_times: str) -> bool:
    earlier, lines, others = before.splitlines(), now.splitlines(), with_other_times.splitlines()
    return len(lines) != len(earlier) or any(was != line and line == other for was, line, other in zip(earlier, lines, others))
