# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The arguments of the event source. They are checked here, because ansible-rulebook does not check them, and Ansible is not available."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...module_utils._http.endpoint import Endpoint, connection_options, make_endpoint
from ...module_utils._http.option_checks import bracketed, check_seconds, is_content, without_userinfo
from ...module_utils._http.tls import check_routes
from ...module_utils._input_errors import OptionError
from ...module_utils._requirements.spec import boolean, one_of, parse_all, whole_number
from ...module_utils._text import full_stop, printable, unknown_names
from .._options.combine import combine, host_name, names_port, options_from_address
from .events import EVENTS, MET, VIOLATED, Rules

SOURCE = "gpufleet.lmstudio.watch"
_LEAST_SECONDS = 0.1
_FROM_RULEBOOK = "eda_feedback_queue"
"""What ansible-rulebook adds by itself."""
_GROUPS = ("all", "ungrouped")
_TOKEN_ADVICE = (
    "Set token of that endpoint, or the argument token for all endpoints without one, to an API token that is valid on that server. LM_API_TOKEN "  # noqa: S105
    "is not used here. If a proxy in front of the server requires other credentials, set headers."
)


class WatchedHost(NamedTuple):
    name: str
    """Of the host in the inventory."""
    endpoint: Endpoint


class Arguments(NamedTuple):
    """Make them with :func:`parse_arguments`."""

    hosts: list[WatchedHost]
    interval: float
    """Seconds from one poll of a host to the next."""
    rules: Rules
    events: frozenset[str]
    """Those that are wanted."""


def parse_arguments(raw: Mapping[str, Any]) -> Arguments:
    """The checked arguments. Raises ``InputError`` that names the argument, and shows no secret."""
    _check_names(SOURCE, "argument", raw.keys() - {_FROM_RULEBOOK}, ["endpoints", *_OWN, *_CONNECTION])
    own = _read(raw, _OWN)
    judged = [name for name in own.get("events", ()) if name in (VIOLATED, MET)]
    if judged and "require" not in own:
        raise OptionError("events", f"{judged[0]} needs a require next to it.")
    defaults = _read(raw, _CONNECTION)
    # Check the defaults on their own, so that an error names the default and not an endpoint.
    make_endpoint(defaults, "http://localhost")
    hosts = _hosts(raw.get("endpoints"), defaults)
    check_routes(host.endpoint for host in hosts)
    interval = check_seconds("interval", own.get("interval", 30.0), _LEAST_SECONDS)
    rules = Rules(own.get("down_after", 2), own.get("require", ()), own.get("initial") == "snapshot")
    return Arguments(hosts, interval, rules, frozenset(own.get("events", EVENTS)))


def _hosts(endpoints: Any, defaults: Mapping[str, Any]) -> list[WatchedHost]:
    if not isinstance(endpoints, (list, tuple)) or not endpoints:
        raise OptionError("endpoints", "must be a list of at least one endpoint: a URL, or the name of a host with its own options.")
    hosts: dict[str, WatchedHost] = {}
    for number, raw in enumerate(endpoints):
        where = f"endpoints[{number}]"
        host = _host(raw, defaults, where)
        if host.name in hosts:
            other = f"endpoints[{[*hosts].index(host.name)}]"
            raise OptionError(where, f"it is the host {host.name}, and so is {other}. Give each a name of its own.")
        hosts[host.name] = host
    return list(hosts.values())


def _host(raw: Any, defaults: Mapping[str, Any], where: str) -> WatchedHost:
    if isinstance(raw, str) and raw.strip():
        name, address = "", raw.strip()
        if "://" not in address and "@" not in address and not _is_host(_name_in(address)):
            raise OptionError(where, f"{_quoted(address)} is neither a URL nor the name of one host of an inventory.")
        own, names = options_from_address({}, address), {"url": where}
    elif isinstance(raw, Mapping):
        _check_names(where, "option", raw.keys(), [*_OF_ENDPOINT])
        own = _read(raw, _OF_ENDPOINT, f"{where}.")
        names = {"url": where, **{option: f"{where}.{option}" for option in own}}
        name = address = own.pop("name", "")
        if not name and "url" not in own:
            raise OptionError(where, "it has neither a name nor a url. Give one of them.")
        if name and not _is_host(name):
            raise OptionError(f"{where}.name", f"{_quoted(name)} is not the name of one host of an inventory.")
    else:
        raise OptionError(where, "it is neither a string nor a mapping. Write a URL, or the name of a host with its own options.")
    endpoint = make_endpoint(combine(own, defaults), f"http://{bracketed(address)}", names)
    name = name or host_name(str(own.get("url") or address), endpoint.host)
    if not _is_host(name):
        raise OptionError(where, f"{_quoted(name)} is not the name of one host of an inventory. Give the endpoint a name.")
    return WatchedHost(name, endpoint._replace(token_advice=_TOKEN_ADVICE))


def _name_in(text: str) -> str:
    """The name or address in a text that is not a URL."""
    return (text.rpartition(":")[0] if names_port(text) else text).partition("/")[0].strip("[]")


def _is_host(name: str) -> bool:
    """Whether it can be the name of one host in ``--limit``, and not a pattern that means others."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name not in _GROUPS and re.match(r"\w[\w.-]*\Z", name) is not None
    # For Python a zone index may be any text, such as a comma and another name.
    return re.match(r"[\w.-]*\Z", name.partition("%")[2]) is not None


def _check_names(where: str, what: str, names: Any, known: list[str]) -> None:
    unknown = sorted(without_userinfo(str(name)) for name in names if name not in known)
    if unknown:
        raise OptionError(where, unknown_names(what, unknown, sorted(known)))


def _read(raw: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]], where: str = "") -> dict[str, Any]:
    """The options that are set. As everywhere, None and the empty string mean that an option is not."""
    found = {}
    for name, read in readers.items():
        value = raw.get(name)
        if value is None or value == "":
            continue
        try:
            found[name] = read(value)
        except ValueError as exc:
            is_secret = connection_options().get(name, {}).get("no_log") or is_content(value)
            shown = "it" if is_secret else _quoted(str(value))
            raise OptionError(where + name, full_stop(f"{shown} is not {exc}")) from None
    return found


def _quoted(text: str) -> str:
    return repr(printable(without_userinfo(text)))


def _events(value: Any) -> list[str]:
    wanted = [value] if isinstance(value, str) else value
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise OptionError("events", "must be a list of at least one event. Remove it to get all events.")
    unknown = [str(name) for name in wanted if name not in EVENTS]
    if unknown:
        raise OptionError("events", unknown_names("event", unknown, EVENTS))
    return list(wanted)


def _string(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a string")
    return str(value).strip()


def _url(value: Any) -> str:
    text = _string(value)
    return text if "://" in text else f"http://{text}"


def _path(value: Any) -> str:
    return os.path.expanduser(os.path.expandvars(_string(value)))


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number")
    return number


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or any(isinstance(text, (Mapping, list, tuple)) for text in value.values()):
        raise ValueError("a mapping of names and texts")
    return {str(name): "" if text is None else str(text) for name, text in value.items()}


# Each returns the checked value, or raises ``ValueError`` with what it has to be: the end of the sentence "X is not ...".
_OWN: dict[str, Callable[[Any], Any]] = {
    "interval": _number,
    "down_after": whole_number(1),
    "initial": one_of(("none", "snapshot")),
    "require": parse_all,
    "events": _events,
}
_BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "str": _string,
    "path": _path,
    "int": whole_number(1),
    "float": _number,
    "bool": boolean,
    "dict": _headers,
}
_CONNECTION = {
    name: one_of(tuple(option["choices"])) if "choices" in option else _BY_TYPE[option["type"]]
    for name, option in connection_options().items()
    if name != "url"
}
_OF_ENDPOINT = {"name": _string, "url": _url, **_CONNECTION}
