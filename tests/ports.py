# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports for programs that are told where to listen. A port that is merely found free and then released may be another test's a
moment later.
"""

from __future__ import annotations

import contextlib
import socket


class Ports(contextlib.ExitStack):
    """Free ports of 127.0.0.1 by name, held until the end of the context.

    Linux never picks a held port for a program that asks for any free one. A program that asks for this very port may listen on it with
    `SO_REUSEADDR`, as servers do, or with `SO_REUSEPORT`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ports: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._ports:
            held = self.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            self._ports[name] = held.getsockname()[1]
        return self._ports[name]
