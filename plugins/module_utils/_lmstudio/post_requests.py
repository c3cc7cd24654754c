# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The requests that load, unload and download models, and what the answers to them mean."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, NamedTuple
from urllib.parse import quote

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.coerce import believable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.documents import Read, read_document
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.masking import mask_text, secrets_of
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Fetch
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._text import printable

_ROUTES = "/api/v1/models"
_MAX_NAME = 1000
"""The most characters that an id from a server may have."""
ALREADY_DOWNLOADED, COMPLETED = "already_downloaded", "completed"
MODEL_NOT_FOUND = "model_not_found"
"""What LM Studio calls it when a model or an instance does not exist."""
_LOAD, _UNLOAD, _DOWNLOAD = "/load", "/unload", "/download"
_OWN_FAILURES = {_ROUTES + _LOAD: ("model_load_failed",), _ROUTES + _DOWNLOAD: ("not_implemented",)}
"""What LM Studio itself calls it, with a status of 500 or above, when it did not do what was requested."""
_UNCLEAR = (408, 424, 425, 429, 460, 499)
"""HTTP statuses from 400 to 499 with which something in front of a server says that it no longer waits, or that the request should come
again.
"""


class NotDone(Exception):
    """A request that was refused, failed, or got an unusable answer. The secrets that were sent are masked in its texts."""

    def __init__(self, error: ApiError, endpoint: Endpoint, request: Request) -> None:
        secrets = secrets_of(endpoint)
        self.problem = mask_text(secrets, error.problem)
        super().__init__(self.problem)
        self.status, self.http_status, self.hint = error.status, error.http_status, error.hint
        self.kinds, said = _read_error(error.document)
        """The error's type and code, as the server or something in front of it sent them: to compare, never to show."""
        self.said = printable(mask_text(secrets, said), 400)
        self.kind = printable(mask_text(secrets, self.kinds[0])) if self.kinds else ""
        self.is_clear = _is_clear(error, self.kinds, request)
        """Whether it is certain that the server did not do what it was asked to."""
        says = f" and says {self.said or self.kind!r}" if self.kinds else ""
        self.what_came = f"{endpoint.url} {self.problem}{says}"
        """The answer that came instead, in words."""


class Download(NamedTuple):
    """How far a download is. What the server does not report is None."""

    status: str
    job_id: str | None
    total_bytes: float | None
    downloaded_bytes: float | None
    bytes_per_second: float | None

    @property
    def is_complete(self) -> bool:
        return self.status in (ALREADY_DOWNLOADED, COMPLETED)


def load(endpoint: Endpoint, fetch: Fetch, model: str, config: Mapping[str, Any], timeout: float, before: set[str]) -> str:
    """Load one more instance of a model, and return its id as the record has it. `before` has those that exist. Raises :class:`NotDone`."""

    def read(document: Mapping[str, Any]) -> str:
        instance_id = document.get("instance_id")
        if not isinstance(instance_id, str) or not 0 < len(instance_id) <= _MAX_NAME or document.get("status", "loaded") != "loaded":
            raise ApiError("invalid", "did not confirm that the model is loaded")
        instance_id = mask_text(secrets_of(endpoint), instance_id)
        if instance_id in before:
            raise ApiError("invalid", f"named an instance that existed before, {printable(instance_id)}")
        return instance_id

    return _send(endpoint, fetch, _post(_LOAD, {"model": model, **config}, timeout), read)


def unload(endpoint: Endpoint, fetch: Fetch, instance_id: str) -> None:
    """Unload an instance. Raises :class:`NotDone`."""

    def read(document: Mapping[str, Any]) -> None:
        if document.get("instance_id") != instance_id:
            raise ApiError("invalid", "did not confirm that the instance is unloaded")

    _send(endpoint, fetch, _post(_UNLOAD, {"instance_id": instance_id}), read)


def begin_download(endpoint: Endpoint, fetch: Fetch, source: str, quantization: str | None) -> Download:
    """Begin a download, or attach to the same one if it is running. Raises :class:`NotDone`."""
    body = {"model": source, **({"quantization": quantization} if quantization else {})}
    return _send(endpoint, fetch, _post(_DOWNLOAD, body), lambda document: _read_download(document, endpoint))


def download_status(endpoint: Endpoint, fetch: Fetch, job_id: str) -> Download:
    """Raises :class:`NotDone`."""
    request = Request("GET", f"{_ROUTES}/download/status/{quote(job_id, safe='')}")
    return _send(endpoint, fetch, request, lambda document: _read_download(document, endpoint))


def _post(route: str, body: Mapping[str, Any], timeout: float | None = None) -> Request:
    return Request("POST", _ROUTES + route, json.dumps(body).encode("ascii"), timeout)


def _send(endpoint: Endpoint, fetch: Fetch, request: Request, read: Callable[[Mapping[str, Any]], Read]) -> Read:
    """What `read` makes of the document of an answer. Raises :class:`NotDone`."""
    try:
        return read_document(fetch(endpoint, request), endpoint, request, lambda document: read(_checked(document)))
    except ApiError as exc:
        raise NotDone(exc, endpoint, request) from None


def _checked(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise ApiError("invalid", "sent something other than what was requested")
    # A download that failed may say why. Its status was requested, and is here.
    if document.get("error") is not None and document.get("status") != "failed":
        failure = ApiError("invalid", "sent an error with HTTP 200")
        failure.document = document
        raise failure
    return document


def _read_download(document: Mapping[str, Any], endpoint: Endpoint) -> Download:
    status, job_id = document.get("status"), document.get("job_id")
    if not isinstance(status, str):
        raise ApiError("invalid", "did not say how far the download is")
    usable = isinstance(job_id, str) and 0 < len(job_id) <= _MAX_NAME
    numbers = [believable(document.get(name)) for name in ("total_size_bytes", "downloaded_bytes", "bytes_per_second")]
    return Download(printable(mask_text(secrets_of(endpoint), status)), job_id if usable else None, *numbers)


def _read_error(document: Any) -> tuple[tuple[str, ...], str]:
    """The type of an error, and its code if it has one, and what it says. Empty unless it has the form of LM Studio's."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return (), ""
    # llama.cpp has a number as its code, LM Studio a word.
    if isinstance(error.get("code"), int):
        return (), ""
    return tuple(error[name] for name in ("type", "code") if isinstance(error.get(name), str)), error["message"]


def _is_clear(error: ApiError, kinds: tuple[str, ...], request: Request) -> bool:
    """After a deadline, a broken connection, or an error of something in front of the server, it may have done so, or may still do so."""
    if not error.sent or error.status == "unsupported":
        return True
    if error.http_status is None or error.status == "unavailable":
        return False
    if 400 <= error.http_status < 500:
        return error.http_status not in _UNCLEAR
    return error.http_status >= 500 and bool(set(kinds) & set(_OWN_FAILURES.get(request.path, ())))
