# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Why a server did not give what was requested."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """Why a request has no answer, such as that for the model list.

    `status` is one of ``STATUSES`` of ``_lmstudio/next_steps.py``, which has the next step of each. `problem` completes a sentence that begins with
    the URL ("refused the connection"). `case` says which next step of that status is meant, where it has several; `hint` replaces it with
    another.
    """

    def __init__(self, status: str, problem: str, case: str | None = None, hint: str | None = None, http_status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.case = case
        self.hint = hint
        self.http_status = http_status
        self.sent = True
        """Whether the server may have received the request."""
        self.document: Any = None
        """The JSON that came in place of an answer."""
