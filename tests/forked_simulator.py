# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts simulators as forks of a process that has imported what they import, which is most of what a start costs.

What the fork runs is the simulator's own code, in a process of its own that ends like any other simulator with the process that started it.
The simulators of the commands of the pages, of the demonstration, of nginx and of the soak test start as they do for users.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator

SIMULATOR = str(Path(__file__).parent / "simulator")


class ForkedSimulator(Simulator):
    def _start(self, fleet: Path) -> str:
        # Both its standard input and its standard output.
        self._connection, others = socket.socketpair()
        with others:
            socket.send_fds(connection_to_forking_process(), [b"."], [others.fileno()])
        self._connection.settimeout(PATIENCE)
        self._connection.sendall(f"{fleet.absolute()}\n".encode())
        with self._connection.makefile(encoding="utf-8") as printed:
            self.pid = int(printed.readline())
            line = printed.readline()
        if not line:
            raise RuntimeError("the simulator ended before it was ready")
        return line

    def stop(self) -> None:
        with self._connection:
            if self._connection.fileno() != -1:
                self._connection.shutdown(socket.SHUT_WR)
                left = self._connection.recv(1)
                assert left == b"", "it prints nothing more, and ends"


@functools.lru_cache(maxsize=None)
def connection_to_forking_process() -> socket.socket:
    """A connection of each new simulator is sent over it. The process at its other end ends when it is closed."""
    ours, others = socket.socketpair()
    with others:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.Popen([sys.executable, __file__], stdin=others, env=environment)
    return ours


def fork_simulators(requests: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = runpy.run_path(SIMULATOR)["main"]
    importlib.import_module("shutil")  # which argparse imports when it is first used
    children = set()
    while True:
        byte, connections, _flags, _address = socket.recv_fds(requests, 1, 1)
        if not byte:
            return
        children -= {child for child in children if os.waitpid(child, os.WNOHANG)[0]}
        child = os.fork()
        if not child:
            become_simulator(main, connections[0])
        children.add(child)
        os.close(connections[0])


def become_simulator(main: Callable[[], int], connection: int) -> None:
    try:
        for number in (0, 1):
            os.dup2(connection, number)
        print(os.getpid(), flush=True)
        sys.argv = [SIMULATOR, "--until-eof", sys.stdin.readline().rstrip("\n")]
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        # When its output ends, its ports are closed.
        os.closerange(3, 65536)
        os._exit(0)


if __name__ == "__main__":
    with socket.socket(fileno=0) as standard_input:
        fork_simulators(standard_input)
