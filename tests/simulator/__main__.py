# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look-alike of LM Studio for tests and demonstrations: many hosts, with faults, in one process.

    python tests/simulator FLEET.yml

The README.md beside this file describes the fleet file, the faults and the control endpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from errors import FleetError
from fleet import Fleet, read_fleet


async def run(fleet: Fleet, until_eof: bool) -> None:
    await fleet.start()
    print(json.dumps(fleet.addresses()), flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_eof:
        threading.Thread(target=wait_for_eof, args=(loop, stopped), daemon=True).start()
    await stopped.wait()


def wait_for_eof(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(stopped.set)


def main() -> int:
    parser = argparse.ArgumentParser(description="A look-alike of LM Studio. Prints the addresses as one line of JSON when all are up.")
    parser.add_argument("fleet", type=Path, help="the fleet file (YAML)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input is closed, and so with the process that holds it")
    arguments = parser.parse_args()
    # The usual 1024 files are too few for a thousand hosts. Not every system allows what it says is the most.
    with contextlib.suppress(OSError, ValueError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if most == resource.RLIM_INFINITY:
            # Nor does any system allow all of that.
            most = 65536
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(run(read_fleet(arguments.fleet), arguments.until_eof))
    except FleetError as exc:
        print(f"simulator: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
