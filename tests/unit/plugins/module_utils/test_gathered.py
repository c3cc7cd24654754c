# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was registered where nothing was gathered, and what an earlier release has gathered."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.gathered import extract_record, nothing_gathered

REFUSED = "ssh: connect to host 198.51.100.7 port 22: Connection refused"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        # ansible-core up to 2.18 and later, with pipelining and without.
        (f"Failed to connect to the host via ssh: {REFUSED}", REFUSED),
        (f"Task failed: Failed to connect to the host via ssh: {REFUSED}", REFUSED),
        (f'Data could not be sent to remote host "198.51.100.7". Make sure this host can be reached over ssh: {REFUSED}', REFUSED),
        (f'Task failed: Data could not be sent to remote host "gpu". Make sure this host can be reached over ssh: {REFUSED}', REFUSED),
        (f'Data could not be sent to remote host "gpu". Make sure this host can be reached over ssh: {REFUSED}\r\n', REFUSED),
        # What ssh itself says is whole, and so is what no connection says.
        ("Failed to connect to the host via ssh: first ssh: second", "first ssh: second"),
        ("Task failed: winrm connection error", "winrm connection error"),
        ("The task was skipped by ssh: nobody", "The task was skipped by ssh: nobody"),
        ("Failed to connect to the host via ssh: \x1b[31m", "\\x1b[31m"),
    ],
)
def test_why_a_host_was_not_reached_is_told_alike_and_briefly(told: str, reason: str) -> None:
    record = nothing_gathered({"unreachable": True, "msg": told})
    assert record["error"]["message"] == f"Nothing was gathered from this host: {reason}"


@pytest.mark.parametrize("told", [None, "", "Task failed: "])
def test_nothing_is_made_up_where_nothing_was_told(told: str | None) -> None:
    assert nothing_gathered({"unreachable": True, "msg": told})["error"]["message"] == "Nothing was gathered from this host."


@pytest.mark.parametrize(("status", "own", "api"), [("ok", {}, "v1"), ("refused", {}, None), ("ok", {"api": "v0"}, "v0")])
def test_a_record_of_an_earlier_release_is_of_the_list_that_it_asked_for(status: str, own: dict[str, str], api: str | None) -> None:
    """As in a cache of facts. Summaries and reports need the key."""
    record = {"ok": status == "ok", "status": status, "fingerprint": None, "instances": [], **own}
    assert extract_record({"ansible_facts": {"lmstudio": record}})["api"] == api
