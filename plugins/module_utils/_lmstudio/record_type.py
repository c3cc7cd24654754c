# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The keys of the host record, and their types. Only type checkers and the controller load this: a target needs none of it."""

from __future__ import annotations

from typing import TypedDict

from .reader import Entry


class Error(TypedDict):
    message: str
    hint: str
    http_status: int | None


class Instance(TypedDict):
    id: str
    model: str
    type: str | None
    context_length: int | None
    remaining_ttl_seconds: float | None
    config: Entry


class Counts(TypedDict):
    models: int
    llm: int
    embedding: int
    loaded: int
    instances: int | None


class Sizes(TypedDict):
    available: int | None
    loaded: int | None


class Record(TypedDict):
    """What a host answered. The documentation of ``model_info`` says what each key means. A record of ``confirm_loaded`` has ``confirmed`` as well,
    and perhaps ``unlisted``: confirmation.py adds them.
    """

    ok: bool
    status: str
    error: Error | None
    url: str | None
    """Null when no server was asked, and so is the time."""
    api: str | None
    """Null without a list."""
    asked_at: str | None
    response_ms: int | None
    detail: str
    models: list[Entry]
    instances: list[Instance]
    available: list[str]
    loaded: list[str]
    counts: Counts
    size_bytes: Sizes
    fingerprint: str | None
    warnings: list[str]
