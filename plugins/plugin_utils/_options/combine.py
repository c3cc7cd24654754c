# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""How the options of one endpoint combine with the defaults for all endpoints, and which options its address gives.

The event source uses this too, so nothing here needs Ansible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils._http.endpoint import authorizes


def combine(overrides: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with the overrides in their place. A URL and its port, a certificate and its key, and what authorizes come from one of them."""
    defaults = dict(defaults)
    if "url" in overrides:
        defaults.pop("port", None)
    if "client_cert" in overrides or "client_key" in overrides:
        defaults.pop("client_cert", None)
        defaults.pop("client_key", None)
    if authorizes(overrides.get("headers")):
        defaults.pop("token", None)
    if "token" in overrides and authorizes(defaults.get("headers")):
        defaults["headers"] = {name: value for name, value in defaults["headers"].items() if not authorizes({name: value})}
    return {**defaults, **overrides}


def options_from_address(options: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The options of an endpoint whose address is a URL or a ``NAME:PORT``. A plain name or address adds nothing to them."""
    if "://" in text:
        return {**options, "url": text}
    if names_port(text):
        return {**options, "url": f"http://{text}", "port": None}
    return dict(options)


def names_port(text: str) -> bool:
    """Whether an address has a port, as ``NAME:PORT`` does."""
    return "://" not in text and (text.count(":") == 1 or "]:" in text)


def host_name(address: str, host: str) -> str:
    """The name of a host as an endpoint writes it. `host` is the form in requests: in lower case, an international name in ASCII."""
    authority = address.rpartition("://")[2].partition("/")[0]
    name = authority.partition(":")[0] if authority.count(":") < 2 else host
    return name.strip() or host
