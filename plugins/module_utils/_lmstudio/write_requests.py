# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The requests that change which models a server has, and what its answers mean."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple
from urllib.parse import quote

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.coerce import believable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.documents import read_document
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
"""HTTP statuses below 500 with which something in front of a server says that it no longer waits, or that the request should come again."""


class Refusal(NamedTuple):
    """An error in the form that LM Studio gives it, which others use as well."""

    kinds: tuple[str, ...]
    """Its type, and its code if it has one, as they were sent. They are compared, and never shown."""
    kind: str
    """The first of them, safe to show."""
    message: str
    """Safe to show."""


class Download(NamedTuple):
    """How far a download is. What the server does not tell is None."""

    status: str
    job_id: str | None
    total_bytes: float | None
    downloaded_bytes: float | None
    bytes_per_second: float | None

    @property
    def is_complete(self) -> bool:
        return self.status in (ALREADY_DOWNLOADED, COMPLETED)


def load_request(model: str, config: Mapping[str, Any], timeout: float) -> Request:
    """For a model that is already loaded, it makes a second instance."""
    return _post(_LOAD, {"model": model, **config}, timeout)


def unload_request(instance_id: str) -> Request:
    return _post(_UNLOAD, {"instance_id": instance_id})


def download_request(source: str, quantization: str | None) -> Request:
    """The same request again attaches to the running download."""
    return _post(_DOWNLOAD, {"model": source, **({"quantization": quantization} if quantization else {})})


def download_status_request(job_id: str) -> Request:
    return Request("GET", f"{_ROUTES}/download/status/{quote(job_id, safe='')}")


def _post(route: str, body: Mapping[str, Any], timeout: float | None = None) -> Request:
    return Request("POST", _ROUTES + route, json.dumps(body).encode("ascii"), timeout)


def send(endpoint: Endpoint, fetch: Fetch, request: Request) -> dict[str, Any]:
    """The document of an answer. Raises :class:`ApiError`, in whose problem the secrets that were sent are masked."""
    try:
        return read_document(fetch(endpoint, request), endpoint, request, _object)
    except ApiError as exc:
        exc.problem = mask_text(secrets_of(endpoint), exc.problem)
        raise


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ApiError("invalid", "sent something other than what was requested")
    # A download that failed may say why. Its status was requested, and is here.
    if document.get("error") is not None and document.get("status") != "failed":
        failure = ApiError("invalid", "sent an error with HTTP 200")
        failure.document = document
        raise failure
    return document


def refusal_of(error: ApiError, endpoint: Endpoint) -> Refusal | None:
    """The error that was sent instead of an answer, if it has the form of LM Studio's."""
    said = error.document.get("error") if isinstance(error.document, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        return None
    # llama.cpp has a number as its code, LM Studio a word.
    kinds = tuple(said[name] for name in ("type", "code") if isinstance(said.get(name), str))
    if not kinds or isinstance(said.get("code"), int):
        return None
    secrets = secrets_of(endpoint)
    return Refusal(kinds, printable(mask_text(secrets, kinds[0])), printable(mask_text(secrets, said["message"]), 400))


def is_clear(error: ApiError, endpoint: Endpoint, request: Request) -> bool:
    """Whether it is certain that the server did not do what it was asked to.

    After a deadline, a broken connection, or an error of something in front of the server, it may have done so, or may still do so.
    """
    if not error.sent or error.status == "unsupported":
        return True
    if error.http_status is None or error.status == "unavailable":
        return False
    if 300 <= error.http_status < 500:
        return error.http_status not in _UNCLEAR
    refusal = refusal_of(error, endpoint)
    return error.http_status >= 500 and refusal is not None and bool(set(refusal.kinds) & set(_OWN_FAILURES.get(request.path, ())))


def check_unloaded(document: Mapping[str, Any], instance_id: str) -> None:
    """Raises :class:`ApiError`, if an answer does not say that the instance is unloaded."""
    if document.get("instance_id") != instance_id:
        raise ApiError("invalid", "did not confirm that the instance is unloaded")


def read_loaded(document: Mapping[str, Any], endpoint: Endpoint, before: set[str]) -> str:
    """The id of the instance that was loaded, as the record has it. `before` has those that existed already. Raises :class:`ApiError`."""
    instance_id = document.get("instance_id")
    if not isinstance(instance_id, str) or not 0 < len(instance_id) <= _MAX_NAME or document.get("status", "loaded") != "loaded":
        raise ApiError("invalid", "did not confirm that the model is loaded")
    instance_id = mask_text(secrets_of(endpoint), instance_id)
    if instance_id in before:
        raise ApiError("invalid", f"named an instance that existed before, {printable(instance_id)}")
    return instance_id


def read_download(document: Mapping[str, Any], endpoint: Endpoint) -> Download:
    """Raises :class:`ApiError`."""
    status, job_id = document.get("status"), document.get("job_id")
    if not isinstance(status, str):
        raise ApiError("invalid", "did not say how far the download is")
    usable = isinstance(job_id, str) and 0 < len(job_id) <= _MAX_NAME
    numbers = [believable(document.get(name)) for name in ("total_size_bytes", "downloaded_bytes", "bytes_per_second")]
    return Download(printable(mask_text(secrets_of(endpoint), status)), job_id if usable else None, *numbers)
