# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The host of a URL or of an inventory: which IP address it is to the system, and whether it is the machine that uses it."""

from __future__ import annotations

import ipaddress
import re
import socket

# Compiled here, and not once more in each process that Ansible forks for a task.
_LIKE_IPV4 = re.compile(r"[0-9a-fx.]+\Z")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")


def is_loopback(host: str) -> bool:
    """Whether a host, however it is written, is a loopback address of the machine that uses it."""
    name, address = _name_and_address(host)
    return address.is_loopback or address.is_unspecified if address else _is_local_name(name)


def is_this_machine(host: str) -> bool:
    """Whether a host, however it is written, is the machine that uses it. (127.0.0.2 may be another one: a network namespace, a test.)"""
    name, address = _name_and_address(host)
    return address.is_unspecified or str(address) in ("127.0.0.1", "::1") if address else _is_local_name(name)


def canonical_host(host: str) -> str:
    """A host in a form that can be compared: equal for all spellings of one name, or of one address. The zone of an address is as written."""
    name, address = _name_and_address(host)
    if not address:
        return name
    _address, separator, zone = name.partition("%")
    return f"{address}{separator}{zone}" if address.is_link_local else str(address)


def _name_and_address(host: str) -> tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address | None]:
    """A host in lower case and in ASCII, without brackets and a dot at its end, and the IP address that it is to the system, if it is one."""
    name = host.strip("[]").rstrip(".").lower()
    if not name.isascii():
        try:
            # A request is sent to this form: a fullwidth digit is a digit.
            name = name.encode("idna").decode("ascii").rstrip(".")
        except UnicodeError:
            return name, None
    try:
        if _LIKE_IPV4.match(name):
            # 127.1, 2130706433 and 0x7f.1 are addresses, too.
            return name, ipaddress.IPv4Address(socket.inet_aton(name))
        address = ipaddress.IPv6Address(name.partition("%")[0])
    except (OSError, ValueError):
        return name, None
    return name, address.ipv4_mapped or address


def _is_local_name(name: str) -> bool:
    return name in _LOCAL_NAMES or name.endswith(".localhost")
