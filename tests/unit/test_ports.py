# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import socket
import sys

import pytest
from ansible_collections.gpufleet.lmstudio.tests.ports import Ports

pytestmark = pytest.mark.once


def listen_on(port, *options):
    listener = socket.socket()
    for option in options:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need SO_REUSEPORT of both")
@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT], ids=["an ordinary server", "nginx with reuseport"])
def test_a_port_is_that_of_the_server_that_it_was_held_for(option):
    with Ports() as ports:
        assert ports["one"] == ports["one"] != ports["another"]
        with pytest.raises(OSError) as taken:
            listen_on(ports["one"])
        assert taken.value.errno == errno.EADDRINUSE
        with listen_on(ports["one"], option), socket.create_connection(("127.0.0.1", ports["one"]), timeout=5):
            pass
