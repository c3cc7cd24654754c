# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Why a model is not in the wanted state: every reason, with its next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from .._lmstudio.record import explain
from .._text import full_stop

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record
    from .plan import Difference

REASONS = {
    "model_unknown": "Give the key as model_info lists it under available. To load a model that is not on this host yet, set download: true.",
    "option_unsupported": "Change or remove that option. config takes only settings that the load endpoint of this LM Studio knows.",
    "request_rejected": "Correct what the server names. Repeating the same request gives the same answer.",
    "insufficient_memory": "Load this one with a smaller context, choose a smaller one, or unload other models that are still loaded.",
    "load_failed": "Look at LM Studio's log on that host (lms log stream), and remove the cause. Then run the task again.",
    "effective_config_differs": "The server has the last word: MLX ignores some settings, and auto-fit lowers the context to what fits. Ask for what it "
    "gives, set compare for that setting to at_least or ignore, or set pinned to false if an instance may unload when idle.",
    "load_unconfirmed": "Nothing is loaded again, because that could make a second instance. Look at LM Studio on that host (lms ps, lms log stream) "
    "until it is loaded, or run the task again with confirm_loaded: true, which waits for that if the server answers GET /api/v0/models. "
    "Raise load_timeout if loads take longer.",
    "changed_meanwhile": "Something else loads or unloads models on this host: another play, a person, just-in-time loading, or a restart of "
    "LM Studio. Let only one of them act at a time, then try again.",
    "masked_names": "Give another token or other headers, so that no name in the list contains the token, its first 10 characters, or the value of a header.",
    "shared_identifier": "Unload both in LM Studio, or load one of them there under another identifier. Then run the task again.",
    "still_loaded": "Unload it in LM Studio, or look at LM Studio's log on that host (lms log stream). If a client loads it again at once "
    "(just-in-time loading), stop the client, or switch that off.",
    "download_unavailable": "Set source to a catalogue id or a URL from which this host can download the model, with a quantization that exists there.",
    "download_failed": "Look at LM Studio's log on that host (lms log stream), and at its free disk space. Then run the task again.",
    "download_stalled": "Look at the network and the free disk space of that host, and whether the download is paused in LM Studio. Then run the task "
    "again: it continues the same download.",
}
"""Every reason other than the statuses of the record, and what to do next. docs/troubleshooting.md has them all, in these words."""

HINTS_FOR_CHANGES = {
    "forbidden": "The token may list models, but not do this. Give it permission to load, unload or download (Manage Tokens), or check the rules "
    "of the proxy.",
    "unsupported": "LM Studio there does not know this request: update it. Before 0.4 this cannot be done over its API. Or check the path of the "
    "URL, if it has one.",
    "not_lmstudio": "It lists models, but answers this request differently. A proxy in front of it may only let reads through, or LM Studio "
    "there may be too old: update it.",
}
"""Next steps that differ from the usual ones, because the server does give its list."""

NOT_CHECKED = "what was done could not be checked: "
"""How a sentence begins about a list that is missing after a request that was answered."""


class Failure(Exception):
    """Why the model is not in its state. `reason` is one of :data:`REASONS`, or a status of the record."""

    def __init__(
        self, reason: str, sentence: str, next_step: str | None = None, unclear: bool = False, differences: Sequence[Difference] = ()
    ) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence.rstrip(".")
        self.next_step = REASONS[reason] if next_step is None else next_step
        self.unclear = unclear
        """Whether the last request may have changed something, or may still do so."""
        self.differences = differences
        """What is not as wanted, if that is why."""

    @property
    def message(self) -> str:
        return f"{full_stop(self.sentence)} {self.next_step}".rstrip()


def no_list(record: Record, what_was_done: str = "", unclear: bool = False) -> Failure:
    """Why nothing is known about a host."""
    if record["status"] == "unsupported" and record["error"]:
        return Failure("unsupported", what_was_done + record["error"]["message"], HINTS_FOR_CHANGES["unsupported"], unclear)
    return Failure(record["status"], what_was_done + explain(record), "", unclear)
