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

from .._input_errors import OptionError
from .._text import MASK, printable

DEFAULT_PORT = 1234
MAX_PORT = 65535
MAX_SECONDS = 86400
# Compiled here, and not once more in each process that Ansible forks for a task.
_NAME_OR_IPV4 = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?\Z")
_IPV6 = re.compile(r"(?=.*:)[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\Z")
# An @ that is written wide or escaped counts as well. In a path %40 is fine.
_USERINFO = re.compile(r"\s*([\w+.-]+:/*)?(?:.*[@\uff20\ufe6b]|[^/]*%40)", re.DOTALL)
_OWN_HEADERS = ("accept-encoding", "connection", "content-length", "transfer-encoding")


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
            "Remove the part before the @ and set the secret as token or headers. An @ in a path is written %40.",
        )

    def refused(problem: str) -> OptionError:
        # A query may have a secret in it.
        return OptionError(option, f"{printable(re.split('[?#]', url)[0])!r} {problem}")

    scheme, separator, rest = url.partition("://")
    if not separator:
        raise refused(f"is not a URL. Write it as http://HOST:{DEFAULT_PORT}.")
    if scheme.lower() not in ("http", "https"):
        raise refused("has an unknown scheme. Use http:// or https://.")
    if "?" in rest or "#" in rest:
        raise refused("has a query or a fragment. Give the base URL alone.")
    authority, slash, path = rest.partition("/")
    if not authority.isascii():
        authority = _in_ascii(authority)
        if not authority:
            raise refused("does not name a valid host. Write its name in the ASCII form, which begins with xn--.")
    if not is_plain(authority + path):
        raise refused("contains spaces or characters that a URL cannot have.")
    try:
        parts = urlsplit(f"http://{authority}")
    except ValueError as exc:
        raise refused(f"is not a valid URL: {printable(str(exc))}.") from None
    try:
        port = parts.port
    except ValueError:
        raise refused(f"has a port that is not a number from 1 to {MAX_PORT}.") from None
    is_ipv6, host = "[" in authority, parts.hostname or ""
    if not (_IPV6 if is_ipv6 else _NAME_OR_IPV4).match(host):
        raise refused(f"does not name a valid {'IPv6 address' if is_ipv6 else 'host'}.")
    if authority.endswith(":"):
        raise refused("has a colon but no port after it.")
    if port == 0:
        raise refused(f"names port 0. A port is a number from 1 to {MAX_PORT}.")
    return scheme.lower(), host, port, slash + path


def _in_ascii(authority: str) -> str:
    """The authority of a URL with its international name in ASCII, or an empty text where that is not clear."""
    name, port = re.match(r"(.*?)(:[0-9]*)?\Z", authority, re.DOTALL).groups("")  # type: ignore[union-attr]
    # The two standards for such names disagree about these letters, and so about whose name it is.
    if re.search("[\u00df\u03c2\u1e9e\u200c\u200d]", name):
        return ""
    try:
        ascii_name = name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    # Some letters become a slash or an @, which would end the name.
    return ascii_name + port if _NAME_OR_IPV4.match(ascii_name) else ""


def check_seconds(option: str, seconds: float, least: float | None = None, most: float = MAX_SECONDS) -> float:
    """The seconds, or an :class:`OptionError`. Without `least` they must be more than 0."""
    if not math.isfinite(seconds) or seconds > most or (seconds <= 0 if least is None else seconds < least):
        lower = "more than 0" if least is None else f"{least:g} or more"
        raise OptionError(option, f"{seconds:g} is not a usable number of seconds. Give {lower} and at most {most}.")
    return seconds


def is_header_name(name: Any) -> bool:
    return re.match(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z", str(name)) is not None


def check_headers(headers: Mapping[Any, Any], token: str, name: str) -> tuple[tuple[str, str], ...]:
    """Headers as pairs of texts, or an :class:`OptionError`."""
    checked = []
    for number, (header, given) in enumerate(headers.items(), 1):
        header, value = str(header), "" if given is None else str(given).strip()
        if not is_header_name(header):
            # It may be the secret itself, with a colon after it.
            raise OptionError(name, f"header {number} does not have a valid name.")
        shown = printable(header)
        if isinstance(given, (list, tuple, Mapping)):
            raise OptionError(name, f"the value of {shown} is not a string.")
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
