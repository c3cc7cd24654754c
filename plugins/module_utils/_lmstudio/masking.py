# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Secrets that were sent to a server must not come back in its record."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from typing import Any, Iterator, NamedTuple

from .._http.endpoint import Endpoint
from .._http.errors import ApiError
from .._http.request import basic_authorization
from .._text import MASK, printable
from .reader import Entry, Model, ModelList, Reader, canonical, comparable_text

_SHORT_SECRET = 12
_LEAST_IN_HEADER = 8
"""A shorter text of a header may be part of any other: a version, a tenant. A token is masked however short it is."""
_BEGINNING = 10
"""LM Studio itself quotes so many characters of a token, so as much of a long one is a secret as well."""
_CUT = 5
"""Where a message was cut, as its "..." shows, as few characters as these are the beginning of a secret."""


CREDENTIALS = ("authorization", "proxy-authorization", "cookie")
"""Headers that carry secrets. Another one may hold the name of a host or a model, whose beginning many names share."""
_UNCHANGED_BY_ESCAPES = re.compile(r"[A-Za-z0-9_.~-]+")
"""What of a credential comes back as it was sent where it is quoted in a URL, in HTML or in JSON: the colon in a token of LM Studio does not."""


class Secret(NamedTuple):
    text: str
    least: int
    """How many of its first characters are enough to recognise it."""


def secrets_of(endpoint: Endpoint) -> tuple[Secret, ...]:
    """Texts that must not come back in a record."""
    proxies = [("Proxy-Authorization", value) for value in (_sent_to_proxies() if endpoint.use_proxy else ())]
    found = {_secret(endpoint.token, True)} if endpoint.token else set()
    # A token counts however short it is, and what is in it as that of any other header.
    for name, value in (("Authorization", endpoint.token or ""), *endpoint.headers, *proxies):
        is_credential = name.lower() in CREDENTIALS
        texts = (*texts_of(value), *(_UNCHANGED_BY_ESCAPES.findall(value) if is_credential else ()))
        found.update(_secret(text, is_credential) for text in texts if len(text) >= _LEAST_IN_HEADER)
    return tuple(sorted(found))


def _secret(text: str, by_beginning: bool) -> Secret:
    return Secret(text, _BEGINNING if by_beginning and len(text) >= _SHORT_SECRET else len(text))


def texts_of(value: str) -> Iterator[str]:
    """What the value of a header may mean to a server: all of it, its words, what is in a cookie, and what HTTP Basic encodes."""
    yield value
    yield from value.split()
    yield from re.split(r'[\s=;,"]+', value)
    scheme, _space, encoded = value.partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            credentials = base64.b64decode(encoded).decode("utf-8")
            yield credentials
            yield credentials.partition(":")[2]


def _sent_to_proxies() -> Iterator[str]:
    for name, url in os.environ.items():
        userinfo, separator, _host = url.rpartition("@")
        if separator and name.lower().endswith("_proxy"):
            yield basic_authorization(userinfo.rpartition("//")[2])


def short_secret_warning(endpoint: Endpoint) -> str | None:
    """A warning about a secret that can be used but is short."""
    short = [name for name, value in (("token", endpoint.token or ""), *endpoint.headers) if 0 < len(value) < _SHORT_SECRET]
    if not short:
        return None
    return (
        f"The value of {printable(short[0])} is shorter than {_SHORT_SECRET} characters. Ansible masks a secret wherever it occurs in a result, and "
        "takes every header for one, so names, numbers and times that contain this value are masked too. Use a longer one."
    )


def mask_answer(endpoint: Endpoint, models: list[Model], warnings: list[str]) -> ModelList | None:
    """The models and the warnings with the secrets masked that were sent to the server, wherever it put them. None if there are none in them."""
    secrets = secrets_of(endpoint)
    if not secrets:
        return None
    entries = [model.entry for model in models]
    # comparable_text leaves them out.
    lifetimes = [instance["remaining_ttl_seconds"] for entry in entries for instance in entry["loaded_instances"]]
    text = (comparable_text(models) + canonical(lifetimes)).lower()
    is_there = any(canonical(secret.text[: secret.least])[1:-1].lower() in text for secret in secrets)
    # What a warning quotes may have been cut.
    masked_warnings = [mask_text(secrets, warning) for warning in warnings]
    masked_entries = _mask(secrets, _documented_names(), entries) if is_there or masked_warnings != warnings else entries
    if (masked_entries, masked_warnings) == (entries, warnings):
        return None
    for entry, masked in zip(entries, masked_entries):
        _note_masked_lifetimes(entry, masked)
    masked_models = [Model.from_entry(masked) for masked in masked_entries]
    return masked_models, [*masked_warnings, "the server sent back a secret that it was sent, or a part of one, which is masked here"]


def _mask(secrets: tuple[Secret, ...], names: set[str], value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(secrets, value)
    if isinstance(value, list):
        return [_mask(secrets, names, item) for item in value]
    if isinstance(value, dict):
        return {key if key in names else mask_text(secrets, key): _mask(secrets, names, item) for key, item in value.items()}
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Like any number that cannot be believed, one with a secret in it is not known.
    return None if is_number and mask_text(secrets, str(value)) != str(value) else value


def _note_masked_lifetimes(entry: Entry, masked: Entry) -> None:
    """Where the TTL of an instance is masked, its null does not mean that it stays."""
    pairs = zip(entry["loaded_instances"], masked["loaded_instances"])
    lost = [number for number, (one, other) in enumerate(pairs) if one["remaining_ttl_seconds"] != other["remaining_ttl_seconds"]]
    if lost:
        masked["unreadable"] = [*masked.get("unreadable", []), *(f"loaded_instances[{number}].remaining_ttl_seconds" for number in lost)]


def mask_problem(endpoint: Endpoint, exc: ApiError) -> ApiError:
    """A failure with the secrets that were sent to the endpoint masked."""
    return ApiError(exc.status, mask_text(secrets_of(endpoint), exc.problem), exc.case, exc.hint, exc.http_status)


def mask_text(secrets: tuple[Secret, ...], text: str) -> str:
    """The text with each secret masked, and as much of its beginning as is there."""
    parts, shown = [], 0
    for start, end in sorted(place for secret in secrets for place in _places(secret, text)):
        if start >= shown:
            parts += [text[shown:start], MASK]
        shown = max(shown, end)
    return "".join([*parts, text[shown:]])


def _places(secret: Secret, text: str) -> Iterator[tuple[int, int]]:
    """Where a text has a secret, or the beginning of one."""
    recognised = secret.text[: secret.least]
    cut = [re.escape(recognised[:size]) + r"(?=\.\.\.)" for size in range(len(recognised) - 1, _CUT - 1, -1)]
    # Names of hosts and codings arrive in lower case, whatever the server wrote.
    pattern = re.compile("|".join([re.escape(recognised), *cut]), re.IGNORECASE)
    found = pattern.search(text)
    while found:
        start, end = found.span()
        while text[end : end + 1] and text[end].casefold() == secret.text[end - start : end - start + 1].casefold():
            end += 1
        yield start, end
        # One may begin within another.
        found = pattern.search(text, start + 1)


def _documented_names() -> set[str]:
    """Every key of an entry, including its containers. They keep their names even if a token equals one."""
    return set(re.findall('"(\\w+)":', canonical(Reader().read({"key": "", "loaded_instances": [{"id": ""}]}, 0).entry)))
