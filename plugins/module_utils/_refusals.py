# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What an answer is that holds no model list: the status, a sentence and the next step. Loaded only where one comes.

No socket, no Ansible object, and no text of a server unless it is made printable.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ansible_collections.gpufleet.lmstudio.plugins.module_utils._api import Answer, ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._connection import bracketed, printable
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._unusual import invalid_field, kind_of


def reason(answer: Answer, body: bytes, document: Any, unreadable: ApiError | None, sent: str | None) -> ApiError | None:
    """Why an answer is no model list, or None if it is one after all. The order is that of the documented statuses.

    `document` is the JSON of the body, or None where `unreadable` says why there is none. `sent` is the option whose secret the
    request carried.
    """
    code = answer.http_status
    if code == 401:
        why = (
            f"it does not accept the {sent} that {'was' if sent == 'token' else 'were'} sent"
            if sent
            else "it wants a token, and none was sent"
        )
        hint = "Set headers (lmstudio_headers) to what that server, or the proxy before it, accepts." if sent == "headers" else None
        return ApiError("auth", f"answered HTTP 401: {why}", hint)
    if code == 403:
        return ApiError("forbidden", "answered HTTP 403: it forbids the request")
    if _unexpected_endpoint(document, body):
        return ApiError("unsupported", "does not know the route /api/v1/models")
    if code in (502, 503, 504):
        return ApiError("unavailable", f"answered HTTP {code}: it is not available now")
    if 300 <= code < 400:
        return _redirect(answer)
    models = document.get("models") if isinstance(document, dict) else None
    usable = isinstance(models, list) and (bool(models) or "data" not in document)
    shape = _shape(document, usable)
    if shape:
        return ApiError("not_lmstudio", f"is not LM Studio: {shape}")
    if unreadable and not answer.too_large and _looks_like_html(answer, body):
        return _web_page(code)
    if code != 200:
        return ApiError("http_error", f"answered HTTP {code} instead of a model list")
    if unreadable:
        return unreadable
    if not isinstance(document, dict):
        return ApiError("invalid", f"sent {kind_of(document)} instead of a model list")
    if models is None:
        what = "an error" if "error" in document else "an object without models"
        return ApiError("invalid", f"sent {what} instead of a model list")
    if not isinstance(models, list):
        return invalid_field("models", "a list", models)
    return None


def _looks_like_html(answer: Answer, body: bytes) -> bool:
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if "json" in answer.content_type.lower() and not start.startswith(b"<"):
        return False
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")) or "text/html" in answer.content_type.lower()


def _unexpected_endpoint(document: Any, body: bytes) -> bool:
    if b"nexpected endpoint" not in body:
        return False
    if document is None:
        return True
    if isinstance(document, dict):
        error = document.get("error", document.get("message"))
        document = error.get("message") if isinstance(error, dict) else error
    return isinstance(document, str) and "unexpected endpoint" in document.lower()


def _redirect(answer: Answer) -> ApiError:
    """Host and port of where it leads, and no more: the rest could quote the token."""
    try:
        target = urlsplit(answer.location)
        port = f":{target.port}" if target.port else ""
        host = bracketed(target.hostname or "")
    except ValueError:
        where = " to what is no address"
    else:
        if host:
            where = " to " + (f"{target.scheme}:" if target.scheme else "") + f"//{host}{port}"
        elif target.scheme:
            where = " to an address of another kind"
        else:
            where = " to another path of this server" if answer.location else ""
    return ApiError("redirect", f"answered HTTP {answer.http_status}: it redirects{printable(where)}")


def _web_page(code: int) -> ApiError:
    """A page of HTML in place of a model list. Its HTTP status tells what a proxy may mean by it."""
    hint = None
    if code == 400:
        hint = (
            "A proxy such as nginx answers so when it wants a client certificate that it accepts (client_cert, client_key), "
            "when its TLS port is asked with http://, or when a header is too long. Its error log has the reason."
        )
    elif code in (413, 429) or code >= 500:
        hint = "If there is a proxy, its error log has the reason. If there is none, check url and port: something else answers there."
    return ApiError("not_lmstudio", f"is not LM Studio: it answered HTTP {code} with a web page", hint)


def _shape(document: Any, usable_models: bool) -> str | None:
    """What a document that is no model list looks like, or None when it cannot be told."""
    if not isinstance(document, dict):
        return None
    if "data" in document and not usable_models:
        return "it answered in the shape of an OpenAI-style server (a list called data)"
    if "detail" in document and "models" not in document:
        return "it answered in the shape of a FastAPI server (an object with detail)"
    return None
