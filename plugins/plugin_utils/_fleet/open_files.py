# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""How many files this process may open."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

_FILES_EACH, _FILES_LEFT = 2, 200
"""For each exchange, a socket and the handle with which a deadline can shut it; and what is left for Ansible and for name resolution."""


@contextlib.contextmanager
def allow_open_files(concurrency: int) -> Iterator[int]:
    """Let this process open enough files for so many simultaneous exchanges, while they run. Yields how many are possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = concurrency * _FILES_EACH + _FILES_LEFT
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield concurrency
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError):
        possible = soft
    try:
        yield max(1, min(concurrency, (possible - _FILES_LEFT) // _FILES_EACH))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
