# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What a response means that is not an answer of LM Studio: the status, a sentence and the next step. Loaded only for such a response.

No text of a server is used unless it is made printable.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from .._http.endpoint import AUTO, V0, Endpoint, authorizes
from .._http.errors import ApiError
from .._http.option_checks import bracketed
from .._http.request import Request
from .._http.response import Response
from .._text import printable

_GATEWAY = (502, 503, 504)
_ORIGIN = (*range(520, 528), 530)
"""HTTP statuses of content networks and tunnels that do not reach the server behind them."""
_LOGIN = re.compile(
    r"/(cdn-cgi/access|outpost\.goauthentik\.io|\.pomerium|o?auth2?|authori[sz]e|log[-_]?in|sign[-_]?in|sso|saml2?)(?![a-z0-9])", re.I
)
"""In the path of a login page."""
_TLS_PORT = re.compile(rb"http request (?:was sent )?to (?:an )?https (?:server|port)|plain http to an ssl-enabled server", re.IGNORECASE)
"""What Go, nginx and Apache say when a TLS port gets a request without TLS."""
_PROGRAMS = ("llama.cpp", "Caddy", "nginx", "openresty", "Apache", "uvicorn", "Ollama")
"""Programs that a message names, if the Server header names them."""


def classify_response(
    response: Response, endpoint: Endpoint, request: Request, body: bytes, document: Any, unreadable: ApiError | None
) -> ApiError | None:
    """Why a response is not an answer of LM Studio, or None if it is one after all. The order is that of the documented statuses.

    `body` is the decoded one. `document` is its JSON, or None where `unreadable` says why there is none.
    """
    code = response.http_status
    if code == 401:
        return _unauthorized(response, endpoint)
    if code == 403:
        return ApiError("forbidden", "answered HTTP 403: it forbids the request", None if endpoint.credential_option else "nothing sent")
    if _unexpected_endpoint(document, body):
        return _unsupported(endpoint, request)
    if code in _GATEWAY or code in _ORIGIN:
        return _unavailable(code, body)
    if 300 <= code < 400:
        where, case = _redirect(response.location, endpoint, request)
        return ApiError("redirect", f"answered HTTP {code}: it redirects{printable(where, 200)}", case)
    if _is_fastapi(document):
        return ApiError("not_lmstudio", "answered like a FastAPI server (an object with detail)")
    tls = ("TLS behind" if endpoint.scheme == "https" else "TLS") if code == 400 and _TLS_PORT.search(body[:1000]) else None
    if unreadable and not response.too_large and _looks_like_html(response, body):
        cases = {400: tls or "page of a 400", 404: "404", 413: "page of an error", 429: "page of a 429"}
        case = cases.get(code, "page of an error" if code >= 500 else None)
        return ApiError("not_lmstudio", f"answered HTTP {code} with a web page{_program(response, b'', None)}", case)
    if code == 404:
        return ApiError("not_lmstudio", f"answered HTTP 404{_program(response, body, document)}", "404")
    if tls:
        return ApiError("http_error", "answered HTTP 400: this port expects TLS", tls)
    if code == 429:
        return ApiError("http_error", "answered HTTP 429: it received too many requests", "429")
    return unreadable if code == 200 else ApiError("http_error", f"answered HTTP {code}")


def _unauthorized(response: Response, endpoint: Endpoint) -> ApiError:
    sent = endpoint.credential_option
    schemes = {scheme.lower() for scheme in re.findall(r"(?:^|,)\s*([A-Za-z]+)(?=\s|,|$)", response.authenticate)}
    if "basic" in schemes and "bearer" not in schemes and not authorizes(dict(endpoint.headers)):
        return ApiError("auth", "answered HTTP 401: it asks for a user name and a password (HTTP Basic)", "Basic")
    if not sent:
        return ApiError("auth", "answered HTTP 401: it requires a token, and none was sent", hint=endpoint.token_advice)
    if sent == "headers":
        return ApiError("auth", "answered HTTP 401: it does not accept the headers that were sent", "headers")
    return ApiError("auth", "answered HTTP 401: it does not accept the token that was sent", hint=endpoint.token_advice)


def _unsupported(endpoint: Endpoint, request: Request) -> ApiError:
    problem = f"does not know the route {request.path}"
    path = endpoint.prefix
    case = None if not path else "/api" if path.endswith("/api") else "path"
    case = {AUTO: "neither", V0: "v0"}.get(endpoint.api, case)
    return ApiError("unsupported", f"{problem} (requested: {endpoint.url}{request.path})" if path else problem, case)


def _unavailable(code: int, body: bytes) -> ApiError:
    if b"loading model" in body[:1000].lower():
        return ApiError("unavailable", f"answered HTTP {code}: it is loading a model", "loading")
    return ApiError("unavailable", f"answered HTTP {code}: it is not available now", "origin" if code in _ORIGIN else None)


def _looks_like_html(response: Response, body: bytes) -> bool:
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")) or "text/html" in response.content_type.lower()


def _unexpected_endpoint(document: Any, body: bytes) -> bool:
    if b"nexpected endpoint" not in body:
        return False
    if document is None:
        return True
    if isinstance(document, dict):
        error = document.get("error", document.get("message"))
        document = error.get("message") if isinstance(error, dict) else error
    return isinstance(document, str) and "unexpected endpoint" in document.lower()


def _redirect(location: str, endpoint: Endpoint, request: Request) -> tuple[str, str | None]:
    """Where a redirect leads, as the end of a sentence, and which case it is. Of the address, only host and port: the rest could quote the token."""
    if not location:
        return "", None
    try:
        asked = urlsplit(endpoint.url + request.path)
        leads = urlsplit(urljoin(asked.geturl(), location))
        host, scheme = leads.hostname or "", leads.scheme
        port = leads.port or (443 if scheme == "https" else 80)
    except ValueError:
        return " to an invalid address", None
    if scheme not in ("http", "https") or not host:
        return " to an address of another kind", None
    shown = f" to {scheme}://{bracketed(host)}" + (f":{leads.port}" if leads.port else "")
    if _LOGIN.search(leads.path):
        return f"{shown}, to a login page", "login"
    without_tls = endpoint.scheme == "https" and scheme == "http"
    if host != asked.hostname:
        return shown, "without TLS" if without_tls else "other host"
    # The default port of a scheme follows from it.
    other_port = port != endpoint.port and (leads.port or asked.port)
    parts = {"scheme": scheme != endpoint.scheme, "port": other_port, "path": leads.path != asked.path}
    differs = [name for name, is_other in parts.items() if is_other]
    if not differs and leads.query == asked.query:
        return " to the same URL", "itself"
    if not {"scheme", "port"} & set(differs):
        return " to another path of this server", "path"
    return f"{shown}: the same host, another {' and '.join(differs)}", "without TLS" if without_tls else "same host"


def _program(response: Response, body: bytes, document: Any) -> str:
    """Which program answers like this, where that is known, as the end of a sentence."""
    for program in _PROGRAMS:
        if program.lower() in response.server.lower():
            return f", and calls itself {program}"
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict) and error.get("type") == "not_found_error":
        return ", as llama.cpp does"
    if body.strip() == b"404 page not found":
        return ", as Ollama and other programs written in Go do"
    return ""


def _is_fastapi(document: Any) -> bool:
    """Whether it is an error of FastAPI, and not a problem document (RFC 9457), which any gateway may send."""
    return (
        isinstance(document, dict) and "detail" in document and not any(name in document for name in ("models", "type", "title", "status"))
    )
