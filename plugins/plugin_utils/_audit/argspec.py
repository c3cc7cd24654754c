# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The options of ``fleet_report``."""

from __future__ import annotations

import re
from typing import Any

from ...module_utils._input_errors import OptionError
from ...module_utils._text import printable
from .._options.validate import validate_options
from .drift import CHANGE_KINDS, DEFAULT_CHANGE_KINDS
from .history import MAX_RUNS
from .policy import POLICY
from .reports.formats import DEFAULT_FORMATS, FORMATS

LAST = "last"
"""The word for the baseline that the last run left."""

FLEET_REPORT_SPEC: dict[str, Any] = {
    "hosts": {"type": "dict", "required": True},
    "policy": {"type": "dict", "options": POLICY},
    "baseline": {"type": "path"},
    "drift": {"type": "list", "elements": "str", "choices": list(CHANGE_KINDS), "default": list(DEFAULT_CHANGE_KINDS)},
    "accept": {"type": "bool", "default": True},
    "history": {"type": "int", "default": 0},
    "formats": {"type": "list", "elements": "str", "choices": list(FORMATS), "default": list(DEFAULT_FORMATS)},
    "dest": {"type": "path", "default": "fleet_audit"},
    "mode": {"type": "raw"},
}


def report_options(given: dict[str, Any]) -> dict[str, Any]:
    """The checked options. Raises :class:`OptionError`."""
    options = validate_options(FLEET_REPORT_SPEC, given)
    if not options["hosts"]:
        raise OptionError("hosts", "must name at least one host. Pass the hosts of a registered result of fleet_info.")
    if not 0 <= options["history"] <= MAX_RUNS:
        raise OptionError("history", f"{options['history']} is not a number of runs from 0 to {MAX_RUNS}.")
    return {**options, "mode": _file_mode(options["mode"])}


def _file_mode(given: Any) -> int | None:
    if given is None:
        return None
    # Numbers are refused: YAML reads 0644 as octal and 440 as decimal, which is another mode.
    if not isinstance(given, str) or not re.fullmatch("0?[0-7]{3}", given):
        raise OptionError("mode", f"{printable(str(given))} is not the mode of a file. Write octal digits in quotes, such as '0644'.")
    return int(given, 8)
