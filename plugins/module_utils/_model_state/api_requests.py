# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""The requests that load, unload and download models, and what the answers to them mean."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, NamedTuple
from urllib.parse import quote

from .._http.endpoint import Endpoint
from .._http.errors import ApiError
from .._http.request import Request
from .._lmstudio.documents import Read, read_document
from .._lmstudio.masking import mask_text, secrets_of
from .._lmstudio.next_steps import hint_of
from .._lmstudio.reader import believable
from .._lmstudio.record import Fetch
from .._text import printable
from .failures import HINTS_FOR_CHANGES, Failure
from .plan import DOWNLOAD, LOAD, UNLOAD

_STATUS = "status"
"""Asks how far a download is. It stands beside the actions of a plan, but changes nothing."""
_ROUTES = "/api/v1/models"
_MAX_NAME = 1000
"""The most characters that an id from a server may have."""
ALREADY_DOWNLOADED, COMPLETED = "already_downloaded", "completed"
_OWN_FAILURES = {LOAD: "model_load_failed", DOWNLOAD: "not_implemented"}
"""The kind of error that LM Studio itself sends, with a status of 500 or above, when it did not do what was requested."""
_UNCLEAR = (408, 424, 425, 429, 460, 499)
"""HTTP statuses from 400 to 499 with which something in front of a server says that it no longer waits, or that the request should come
again.
"""
_REASONS = {LOAD: "load_failed", UNLOAD: "still_loaded", DOWNLOAD: "download_failed", _STATUS: "download_stalled"}
"""Why a request did not succeed, where LM Studio says nothing more."""
_MEMORY = ("insufficient system resources", "requires approximately", "insufficient memory", "not enough memory", "out of memory")


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


class Requests:
    """The requests to one LM Studio. Each raises :class:`Failure` where it does not succeed."""

    def __init__(self, endpoint: Endpoint, fetch: Fetch) -> None:
        self.endpoint = endpoint
        self.fetch = fetch
        self._secrets = secrets_of(endpoint)

    def load(self, model: str, config: Mapping[str, Any], timeout: float, before: set[str]) -> str:
        """Load one more instance of a model, and return its id as the record has it. `before` has those that exist."""

        def read(document: Mapping[str, Any]) -> str:
            instance_id = document.get("instance_id")
            if not isinstance(instance_id, str) or not 0 < len(instance_id) <= _MAX_NAME or document.get("status", "loaded") != "loaded":
                raise ApiError("invalid", "did not confirm that the model is loaded")
            instance_id = mask_text(self._secrets, instance_id)
            if instance_id in before:
                raise ApiError("invalid", f"named an instance that existed before, {printable(instance_id)}")
            return instance_id

        return self._send(LOAD, printable(model), _post(LOAD, {"model": model, **config}, timeout), read)

    def unload(self, instance_id: str) -> None:
        def read(document: Mapping[str, Any]) -> None:
            if document.get("instance_id") != instance_id:
                raise ApiError("invalid", "did not confirm that the instance is unloaded")

        self._send(UNLOAD, printable(instance_id), _post(UNLOAD, {"instance_id": instance_id}), read)

    def begin_download(self, name: str, source: str, quantization: str | None) -> Download:
        """Begin a download, or attach to the same one if it is running. `name` is for messages."""
        body = {"model": source, **({"quantization": quantization} if quantization else {})}
        return self._send(DOWNLOAD, name, _post(DOWNLOAD, body), self._read_download)

    def download_status(self, name: str, job_id: str) -> Download:
        request = Request("GET", f"{_ROUTES}/download/status/{quote(job_id, safe='')}")
        return self._send(_STATUS, name, request, self._read_download)

    def _read_download(self, document: Mapping[str, Any]) -> Download:
        status, job_id = document.get("status"), document.get("job_id")
        if not isinstance(status, str):
            raise ApiError("invalid", "did not say how far the download is")
        usable = isinstance(job_id, str) and 0 < len(job_id) <= _MAX_NAME
        numbers = [believable(document.get(name)) for name in ("total_size_bytes", "downloaded_bytes", "bytes_per_second")]
        return Download(printable(mask_text(self._secrets, status)), job_id if usable else None, *numbers)

    def _send(self, action: str, name: str, request: Request, read: Callable[[Mapping[str, Any]], Read]) -> Read:
        """What `read` makes of the document of an answer."""
        try:
            answer = self.fetch(self.endpoint, request)
            return read_document(answer, self.endpoint, request, lambda document: read(_checked(document)))
        except ApiError as exc:
            raise self._failure(exc, action, name) from None

    def _failure(self, error: ApiError, action: str, name: str) -> Failure:
        """Why a request was refused, failed, or got an unusable answer, without the secrets that were sent. It is unclear where the server may have
        done it anyway.
        """
        kinds, message = _read_error(error.document)
        said = printable(mask_text(self._secrets, message), 400)
        # The kinds are compared as they were sent.
        kind = printable(mask_text(self._secrets, kinds[0])) if kinds else ""
        unclear = not _is_clear(error, kinds, action)
        doing = f"it is not known whether {name} was {action}ed" if unclear else f"{name} was not {action}ed"
        if action == _STATUS:
            doing = f"it is not known how far the download of {name} is"
        if kinds and not unclear:
            return Failure(_reason_of(error, kinds, said, action), f"{doing}: " + (f"LM Studio says {said!r}" if said else kind))
        sentence = f"{doing}: {self.endpoint.url} {mask_text(self._secrets, error.problem)}"
        if kinds:
            return Failure(_REASONS[action], f"{sentence} and says {said or kind!r}", unclear=True)
        return Failure(error.status, sentence, HINTS_FOR_CHANGES.get(error.status) or hint_of(error), unclear)


def _post(action: str, body: Mapping[str, Any], timeout: float | None = None) -> Request:
    return Request("POST", f"{_ROUTES}/{action}", json.dumps(body).encode("ascii"), timeout)


def _checked(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise ApiError("invalid", "sent something other than what was requested")
    # A download that failed may say why. Its status was requested, and is here.
    if document.get("error") is not None and document.get("status") != "failed":
        failure = ApiError("invalid", "sent an error with HTTP 200")
        failure.document = document
        raise failure
    return document


def _read_error(document: Any) -> tuple[tuple[str, ...], str]:
    """The type of an error, and its code if it has one, and what it says. Empty unless it has the form of LM Studio's."""
    error = document.get("error") if isinstance(document, dict) else None
    # llama.cpp has a number as its code, LM Studio a word.
    if not isinstance(error, dict) or not isinstance(error.get("message"), str) or isinstance(error.get("code"), int):
        return (), ""
    return tuple(error[name] for name in ("type", "code") if isinstance(error.get(name), str)), error["message"]


def _reason_of(error: ApiError, kinds: tuple[str, ...], said: str, action: str) -> str:
    code = error.http_status or 0
    # First, because the download of a job that is lost is requested again.
    if action in (DOWNLOAD, _STATUS) and code == 404:
        return "download_unavailable"
    if "unrecognized_keys" in kinds or "not_implemented" in kinds:
        return "option_unsupported"
    if action in (LOAD, UNLOAD) and "model_not_found" in kinds:
        return "model_unknown"
    if action == LOAD and any(words in said.lower() for words in _MEMORY):
        return "insufficient_memory"
    return "request_rejected" if code == 400 or (action == LOAD and code < 500) else _REASONS[action]


def _is_clear(error: ApiError, kinds: tuple[str, ...], action: str) -> bool:
    """Whether it is certain that the server did not do it. After a deadline, a broken connection, or an error of something in front of the
    server, it may have done it, or may still do it.
    """
    if not error.sent or error.status == "unsupported":
        return True
    if error.http_status is None or error.status == "unavailable":
        return False
    if 400 <= error.http_status < 500:
        return error.http_status not in _UNCLEAR
    return error.http_status >= 500 and _OWN_FAILURES.get(action) in kinds
