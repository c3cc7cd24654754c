# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""How long an assertion waits, and what it does not wait for: the options, and the messages about it."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import STATUSES
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.validate import OptionError, check_seconds
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import NOT_ASKED
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.messages import count
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import unknown_names

_NEVER_MET = (NOT_ASKED, *(status for status in STATUSES if status != "ok"))
"""Every status with which a host meets nothing."""
LAST_SECONDS = 0.8
"""How long a poll may take that begins when the time is over: beyond a deadline, users accept no more."""
_LEAST_POLLS, _LEAST_SECONDS = 2, 30
"""A server that restarts may refuse its tokens for a moment."""


def waiting_spec() -> dict[str, Any]:
    return {
        "wait_timeout": {"type": "float", "default": 0},
        "delay": {"type": "float", "default": 5},
        "give_up_on": {"type": "list", "elements": "str", "default": ["auth", "forbidden", NOT_ASKED]},
    }


class Waiting(NamedTuple):
    """Make it with :func:`parse_waiting`."""

    wait_timeout: float
    delay: float
    give_up_on: tuple[str, ...]
    """The statuses that waiting does not change."""

    def may_give_up(self, polls: int, waited: float) -> bool:
        """Whether enough time has passed to believe that a status will stay."""
        return polls >= _LEAST_POLLS and waited >= _LEAST_SECONDS


def parse_waiting(options: Mapping[str, Any]) -> Waiting:
    """The checked options. Raises :class:`OptionError`."""
    wait_timeout = check_seconds("wait_timeout", options["wait_timeout"], least=0)
    delay = check_seconds("delay", options["delay"], least=0.1)
    give_up_on = options["give_up_on"]
    unknown = [status for status in give_up_on if status not in _NEVER_MET]
    if unknown:
        raise OptionError("give_up_on", unknown_names("status", unknown, _NEVER_MET))
    return Waiting(wait_timeout, delay, tuple(give_up_on))


def describe_round(messages: Sequence[str], pause: float) -> str:
    """A line about what is missing, and when the next poll is."""
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"{messages[0].rstrip('.')}{more}. Asking again in {count(round(max(pause, 0), 1), 'second')}."


def why_given_up(statuses: Iterable[str]) -> str:
    """Why a wait ended early, as the end of a sentence."""
    names = " or ".join(statuses)
    return f"waiting does not change the status {names}. Correct its cause, or remove {names} from give_up_on to wait longer"
