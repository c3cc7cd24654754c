# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The names in an inventory source: the hosts of its endpoints, its groups, its variable."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Collection, Iterable

from ansible.errors import AnsibleError
from ansible.plugins.inventory import expand_hostname_range

from ...module_utils._http.endpoint import Endpoint, make_endpoint
from ...module_utils._http.option_checks import bracketed, without_userinfo
from ...module_utils._input_errors import OptionError
from .._options.combine import host_name, options_from_address
from .._options.host import CONTROLLER_URL, VARIABLES, VIA

_MAX_NAME = 200
_RANGE = re.compile(r"\[[0-9A-Za-z]*:[0-9A-Za-z]+(:[0-9]+)?\]")


def addresses_by_name(texts: Iterable[str], port: int | None, hosts: Collection[str]) -> dict[str, str]:
    """The endpoints as they are written, ranges expanded, by the name of the host."""
    known = {name.lower(): name for name in hosts}
    servers: dict[str, tuple[str, str]] = {}
    for text in texts:
        for address in _expanded(text):
            endpoint = make_endpoint(options_from_address({"port": port}, address), "http://" + bracketed(address), {"url": "endpoints"})
            # As it is written: host_vars and --limit look for this very name. The inventory may write it with other capitals.
            name = host_name(address, endpoint.host)
            name = name if name in hosts else known.get(name.lower()) or known.get(endpoint.host) or name
            servers.setdefault(endpoint.url, (name, address))
    names = Counter(name.lower() for name, _address in servers.values())
    by_name: dict[str, str] = {}
    for url, (name, address) in servers.items():
        if names[name.lower()] > 1:
            name, address = f"{name}_{Endpoint(url).port}", url if "://" in address else url.partition("://")[2]
        if name in by_name:
            raise OptionError("endpoints", f"{by_name[name]} and {address} would both be host {name}. Add one of them with another source.")
        by_name[name] = address
    return by_name


def _expanded(text: str) -> list[str]:
    scheme, separator, rest = text.rpartition("://")
    if not _RANGE.search(rest):
        return [text]
    shown = repr(without_userinfo(text))
    try:
        expanded = [scheme + separator + item for item in expand_hostname_range(rest)]
    except (AnsibleError, ValueError) as exc:
        problem = str(exc).replace(rest, "it")
        raise OptionError("endpoints", f"{shown} has a range that cannot be used: {problem}. Write it as gpu[01:40].") from None
    if not expanded:
        raise OptionError("endpoints", f"{shown} has an empty range. Write the smaller number first, as in gpu[01:40].")
    return expanded


def group_name(text: str) -> str:
    """A valid name of a group. Different texts may become the same name."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", str(text))[:_MAX_NAME]
    return name if re.match(r"[A-Za-z_]", name) else "_" + name


def check_variable(name: str) -> None:
    if not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name) or keyword.iskeyword(name):
        raise OptionError("variable", f"{name!r} is not a valid variable name.")
    if name == "lmstudio":
        # A fact of that name, perhaps one cached yesterday, would take precedence.
        raise OptionError(
            "variable",
            "lmstudio is the name of the facts of model_facts, which would hide it. Choose another name, such as lmstudio_record.",
        )
    if name.startswith("ansible_") or name in (*VARIABLES.values(), CONTROLLER_URL, VIA):
        raise OptionError("variable", f"{name} decides how a host is reached. Choose another name.")
