# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a thousand endpoints of 30 KB take, alive, refused and silent, with either transport.

    .venv/dev/bin/python tests/performance/fleet.py [HOSTS]

The simulator runs on the same cores, so compare lines of one run only. Ends with status 1 if a promise does not hold: whoever
is silent costs the timeout and no more than two seconds beside it, and refused hosts cost no more than those that are alive.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

__import__("conftest")  # makes the collection importable

from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _http  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import make_endpoint  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _fleet, _transport  # noqa: E402
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator  # noqa: E402

TIMEOUT = 5
CONCURRENCY = 1000


def payload() -> dict[str, Any]:
    entries = json.loads((ROOT / "tests" / "simulator" / "payloads" / "two_loaded.json").read_text())["models"]
    idle = {**entries[1], "loaded_instances": []}
    return {"models": [entries[0], *({**idle, "key": f"shelf/model-{number:02}"} for number in range(60))]}


def seconds(hosts: int, fault: Callable[[int], str | None], exchange: _http.Exchange) -> tuple[float, Counter[str]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "payload.json").write_text(json.dumps(payload()))
        fleet = {"hosts": {f"gpu{n:04}": {"payload": "payload.json", "fault": fault(n)} for n in range(hosts)}}
        (Path(folder) / "fleet.yml").write_text(json.dumps(fleet))
        with Simulator(Path(folder) / "fleet.yml") as simulator:
            endpoints = [make_endpoint({"url": url, "timeout": TIMEOUT}, "") for url in simulator.urls.values()]
            began = time.monotonic()
            records = _fleet.ask_all(endpoints, "loaded", CONCURRENCY, 600, lambda line: None, exchange)
            took = time.monotonic() - began
            if [record["url"] for record in records] != list(simulator.urls.values()):
                raise AssertionError("the order was not kept")
    return took, Counter(record["status"] for record in records)


def main() -> int:
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{hosts} hosts, {len(json.dumps(payload())) / 1000:.0f} KB each, Python {platform.python_version()}, {os.cpu_count()} cores")
    kept = True
    for name, exchange in (("http.client", _http.exchange), ("requests", _transport.exchange)):
        alive, _statuses = seconds(hosts, lambda n: None, exchange)
        print(f"{name:12} {'all alive':24} {alive:5.2f} s")
        for what, fault in (
            ("half refused", lambda n: "refused" if n % 2 else None),
            ("2% silent, timeout 5", lambda n: "silence" if n % 50 == 0 else None),
            ("half silent, timeout 5", lambda n: "silence" if n % 2 else None),
        ):
            took, statuses = seconds(hosts, fault, exchange)
            print(f"{name:12} {what:24} {took:5.2f} s   {took / alive:4.2f} of all alive   {dict(statuses)}")
            if exchange is _http.exchange:
                kept = kept and took < (alive * 1.05 if what == "half refused" else TIMEOUT + 2)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
