# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.ip_addresses import canonical_host, is_loopback, is_this_machine

LOCAL = [
    *("localhost", "LOCALHOST.", "a.localhost", "localhost.localdomain", "ip6-localhost", "localhost4"),
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f.1", "0X7F000001", "0177.0.0.1", "017700000001"),
    *("::1", "[::1]", "0:0:0:0:0:0:0:1", "::1%lo", "::ffff:127.0.0.1", "[::FFFF:7f00:1]"),
    *("0", "0.0.0.0", "0x0", "::", "::ffff:0.0.0.0", "::ffff:0:0"),
    *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\uff4cocalhost"),
]
LOOPBACK = ["127.0.0.2", "127.2", "127.255.0.9", "2130706434", "::ffff:127.0.0.2", "0x7f.0x2"]
OTHER = [
    *("gpu01", "127.0.0.1.example", "localhost.example", "localhost5", "127.0.0.1.1", "127.0.0.256", "0x7g.1", "beef", "", ".", "[]"),
    *("128.0.0.1", "1270.0.0.1", "1", "0.0.0.1", "10.1", "::2", "::127.0.0.1", "fe80::1%lo", "::ffff:10.0.0.1", "a" * 300 + "\u00e9"),
]


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine(host):
    assert is_loopback(host) and is_this_machine(host)


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_that_may_be_another_machine(host):
    assert is_loopback(host) and not is_this_machine(host)


@pytest.mark.parametrize("host", OTHER)
def test_not_loopback(host):
    assert not is_loopback(host) and not is_this_machine(host)


@pytest.mark.parametrize(
    "spellings",
    [
        ("gpu01", "GPU01", "gpu01."),
        ("127.0.0.2", "127.2", "2130706434", "0x7f.2", "0177.0.0.2", "::ffff:127.0.0.2", "[::FFFF:7F00:2]", "127.0.0.2."),
        ("10.0.0.1", "10.1", "012.0.0.1", "167772161"),
        ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::0:1", "2001:db8::1%eth0"),
        ("fe80::1%nosuch0", "fe80:0::1%nosuch0"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
    ],
)
def test_spellings_of_one_host(spellings):
    assert {canonical_host(host) for host in spellings} == {canonical_host(spellings[0])}


def test_hosts_that_differ():
    hosts = [
        "gpu01",
        "gpu01.example",
        "10.0.0.1",
        "10.0.0.2",
        "010.0.0.1",
        "::a00:1",
        "fe80::1",
        "fe80::1%nosuch0",
        "fe80::1%nosuch1",
        "fe80::2",
    ]
    assert len({canonical_host(host) for host in hosts}) == len(hosts)
