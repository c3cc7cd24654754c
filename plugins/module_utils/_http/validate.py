# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Checks of options: URLs, headers, files and seconds."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Mapping
from urllib.parse import urlsplit

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import MASK, printable

DEFAULT_PORT = 1234
MAX_PORT = 65535
MAX_SECONDS = 86400
# Compiled here, and not once more in each process that Ansible forks for a task.
_NAME_OR_IPV4 = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?\Z")
# An @ that is written wide or escaped counts as well. In a path %40 is fine.
_USERINFO = re.compile(r"\s*([a-z][a-z0-9+.-]*:/*)?(?:.*[@\uff20\ufe6b]|[^/]*%40)", re.IGNORECASE | re.DOTALL)
_OWN_HEADERS = ("accept-encoding", "connection", "content-length", "transfer-encoding")


class InputError(Exception):
    """What a user gave cannot be used. Its text says which part, and what to write instead."""


class OptionError(InputError):
    """An option that cannot be used."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem


def bracketed(host: str) -> str:
    """A host as it is written in a URL: an IPv6 address gets its brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def without_userinfo(url: str) -> str:
    """A URL that may be shown: everything before its last @ is masked, however odd the URL is."""
    found = _USERINFO.match(url)
    if not found:
        return url
    scheme = found[1] if re.match(r"https?://", found[1] or "", re.IGNORECASE) else ""
    return f"{scheme}{MASK}@{url[found.end() :]}"


def is_plain(text: str) -> bool:
    """Whether a text is printable ASCII without spaces."""
    return text.isascii() and text.isprintable() and " " not in text


def parts_of_url(url: str, option: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path of a URL that can be requested, or an :class:`OptionError` that names the option."""
    if _USERINFO.match(url):
        raise OptionError(
            option,
            "a URL with a user name or password in it is refused, because URLs are shown and logged. "
            "Remove the part before the @ and set the secret as token or headers. (An @ in a path is written %40.)",
        )
    scheme, separator, rest = url.partition("://")
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    # A query may have a secret in it.
    shown = printable(re.split("[?#]", url)[0])
    if not separator:
        raise OptionError(option, f"{shown!r} is not a URL. Write it as http://HOST:{DEFAULT_PORT}.")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise OptionError(option, f"{shown!r} has an unknown scheme. Use http:// or https://.")
    if not authority.isascii():
        authority, rest = _in_ascii(authority, rest, shown, option)
        url = f"{scheme}://{rest}"
    if not is_plain(url):
        raise OptionError(option, f"{shown!r} contains spaces or characters that a URL cannot have.")
    if "?" in rest or "#" in rest:
        raise OptionError(option, f"{shown!r} has a query or a fragment. Give the base URL alone.")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as exc:
        raise OptionError(option, f"{shown!r} is not a valid URL: {printable(str(exc))}.") from None
    try:
        port = parts.port
    except ValueError:
        raise OptionError(option, f"{shown!r} has a port that is not a number from 1 to {MAX_PORT}.") from None
    if "[" in authority or ":" in host:
        if ":" not in host or not re.match(r"[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+|%[A-Za-z0-9._~-]+)?\Z", host):
            raise OptionError(option, f"{shown!r} does not name a valid IPv6 address.")
    elif not _NAME_OR_IPV4.match(host):
        raise OptionError(option, f"{shown!r} does not name a valid host.")
    if authority.endswith(":"):
        raise OptionError(option, f"{shown!r} has a colon but no port after it.")
    if port == 0:
        raise OptionError(option, f"{shown!r} names port 0. A port is a number from 1 to {MAX_PORT}.")
    return scheme, host, port, parts.path


def _in_ascii(authority: str, rest: str, shown: str, option: str) -> tuple[str, str]:
    """The authority of a URL, and all that follows its scheme, with an international name in its ASCII form."""
    name, colon, port = authority.rpartition(":") if re.search(r":[0-9]*\Z", authority) else (authority, "", "")
    try:
        # The two standards for such names disagree about these letters, and so about whose name it is.
        ascii_name = "" if re.search("[\u00df\u03c2\u1e9e\u200c\u200d]", name) else name.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_name = ""
    # Some letters become a slash or an @, which would end the name.
    if not _NAME_OR_IPV4.match(ascii_name):
        raise OptionError(option, f"{shown!r} does not name a valid host. Write its name in the ASCII form, which begins with xn--.")
    return ascii_name + colon + port, ascii_name + colon + port + rest[len(authority) :]


def check_seconds(option: str, seconds: float, least: float | None = None, most: float = MAX_SECONDS) -> float:
    """The seconds, or an :class:`OptionError`. Without `least` they must be more than 0."""
    if not math.isfinite(seconds) or seconds > most or (seconds <= 0 if least is None else seconds < least):
        lower = "more than 0" if least is None else f"{least:g} or more"
        raise OptionError(option, f"{seconds:g} is not a usable number of seconds. Give {lower} and at most {most}.")
    return seconds


def is_header_name(name: Any) -> bool:
    return re.match(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z", str(name)) is not None


def check_headers(headers: Mapping[Any, Any], token: str | None, name: str) -> tuple[tuple[str, str], ...]:
    """Headers as pairs of texts, or an :class:`OptionError`."""
    checked = []
    for number, (header, value) in enumerate(headers.items(), 1):
        header, value = str(header), "" if value is None else str(value).strip()
        if not is_header_name(header):
            # It may be the secret itself, with a colon after it.
            raise OptionError(name, f"header {number} does not have a valid name.")
        shown = printable(header)
        if not all(" " <= char <= "~" or char == "\t" for char in value):
            raise OptionError(name, f"the value of {shown} has characters that a header cannot carry.")
        if header.lower() in _OWN_HEADERS:
            raise OptionError(name, f"{shown} is set by the collection itself. Remove it.")
        if header.lower() == "authorization" and token:
            raise OptionError(name, f"{shown} is set together with a token, which makes the same header. Remove one of the two.")
        checked.append((header, value))
    return tuple(checked)


def is_content(value: Any) -> bool:
    """Whether a value is what is in a file, such as a key, and not the path of the file."""
    return "\n" in str(value) or "-----BEGIN" in str(value)


def check_file(path: Any, name: str, machine: str, folder_too: bool = False) -> None:
    """Raise an :class:`OptionError` for a file that cannot be read. `machine` is what messages call this machine."""
    if not (os.path.isfile(path) or (folder_too and os.path.isdir(path))):
        raise OptionError(name, f"{printable(path)!r} {'is not a file' if os.path.exists(path) else 'does not exist'} on {machine}.")
    if not os.access(path, os.R_OK):
        raise OptionError(name, f"{printable(path)!r} on {machine} is not readable.")
