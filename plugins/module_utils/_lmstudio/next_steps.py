# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What to do next: a sentence for each status of a server that did not give what was requested."""

from __future__ import annotations

from .._http.errors import ApiError

HINTS = {
    "refused": "Start LM Studio's server on that host (lms server start) and check url and port. "
    "Is it bound to 127.0.0.1? Then ask on the host itself (model_info with via: target), or start it with --bind 0.0.0.0.",
    "no_route": "Check that the host is up, that the address is right, and that no firewall is in between.",
    "dns": "Check the spelling, or set url (for one host: lmstudio_url or ansible_host) to an address that resolves.",
    "tls": "Check the certificate and the name in the URL, and set ca_path to the CA that signed it.",
    "timeout": "Check that the host is up, that its name resolves quickly and to the right address, and that no firewall drops packets. "
    "Or raise timeout.",
    "disconnected": "Look at LM Studio's log on that host (lms log stream), and at any proxy in between. Then try again.",
    "auth": "Set token (lmstudio_token, or LM_API_TOKEN in the environment) to an API token that is valid on that server. "
    "If a proxy in front of the server requires other credentials, set headers.",
    "forbidden": "The token or the headers that were sent are not allowed to list models, or a proxy in front of the server forbids it. "
    "Check the permissions of the token, and the rules of the proxy.",
    "unsupported": "LM Studio before 0.4 does not have this API: update it, or set api: auto (lmstudio_api) to use its older one.",
    "unavailable": "A proxy answers like this when LM Studio behind it is not running, overloaded or starting. Check it there (lms server status).",
    "redirect": "Redirects are not followed, so that a token goes nowhere else. Look at the proxy, or the program, that redirects.",
    "not_lmstudio": "Check url and port: something else answers there. LM Studio listens on port 1234 unless told otherwise.",
    "http_error": "Look at LM Studio's log on that host (lms log stream), and at any proxy in between.",
    "invalid": "Check url and port, that it is LM Studio 0.4 or later, and that no proxy changes its answers. "
    "If all of this holds, please report the answer as a bug in this collection.",
    # Where what was seen says more than the status.
    "refused: no port": "The URL names no port, so the default port of its scheme was used (80 or 443). LM Studio listens on 1234 unless told "
    "otherwise: write it in the URL.",
    "refused: this machine": "Start LM Studio's server on this host (lms server start), or set url or port to where it listens.",
    "refused: IPv6": "LM Studio listens on IPv4 only: give the IPv4 address of the host (ansible_host, lmstudio_url or url). "
    "If a proxy is to answer on IPv6, start the proxy.",
    "dns: proxy": "Check the proxy that the environment names, or set use_proxy to false.",
    "disconnected: without TLS": "If this port expects TLS, write https:// in the URL. If not, look at LM Studio's log on that host (lms log stream), "
    "and at any proxy in between. Then try again.",
    "no_route: open files": "The machine that sends the request has too many files open: raise its limit (ulimit -n, LimitNOFILE), or ask fewer "
    "hosts at once (concurrency, forks).",
    "no_route: memory": "The machine that sends the request has no memory left for a connection: check what uses it, or ask fewer hosts at once "
    "(concurrency, forks).",
    "no_route: not permitted": "The machine that sends the request does not permit the connection: check its own firewall, and what confines the "
    "process there (SELinux, AppArmor, a container).",
    "no_route: own address": "The machine that sends the request has no address of its own for this connection: check that it has IPv6 if the "
    "address is an IPv6 one, and that a link-local address names its zone (%25eth0). It may also have no free port left.",
    "no_route: other": "The reason in brackets comes from the machine that sends the request. Look into it there, and check that the address is right.",
    "no_route: proxy": "Check the proxy that the environment names, or set use_proxy to false.",
    "tls: not TLS": "Check that this port speaks TLS. LM Studio itself does not: without a proxy in front of it, write http://.",
    "tls: closed": "Check that this port speaks TLS. LM Studio itself does not: without a proxy in front of it, write http://. With one, look at "
    "its log: it may not serve this name, require a client certificate (client_cert, client_key), or still be starting.",
    "tls: clock": "Check the clock of the machine that sends the request, and that of the machine that signed the certificate.",
    "tls: expired": "Renew the certificate on the server. If it is new, check the clock of the machine that sends the request.",
    "tls: self-signed": "Set ca_path to this certificate if you trust it, or have it signed by a CA that you trust.",
    "tls: own CA": "Set ca_path to the CA at the end of the server's chain if you trust it.",
    "tls: unknown CA": "Set ca_path to the CA that signed it, and check that the server sends its intermediate certificates.",
    "tls: another CA": "No CA in ca_path signed it: set ca_path to the CA that did, if you trust it, and check that the server sends its "
    "intermediate certificates.",
    "tls: other name": "In the URL, use the name that the certificate is for, or get a certificate for the name in the URL.",
    "tls: other address": "In the URL, use the name that the certificate is for: it is not for this address.",
    "tls: old": "The server and this Python have no version of TLS in common. Let the server offer TLS 1.2 or later.",
    "tls: client certificate": "It requires a client certificate that it accepts: set client_cert and client_key.",
    "tls: handshake": "It may require a client certificate (client_cert, client_key), or have no cipher in common with this Python.",
    "timeout: connected": "Check on that host that LM Studio answers (lms server status) and is not overloaded. "
    "A port forward (WSL, SSH, a container) accepts connections although nothing listens behind it. Or raise timeout.",
    "timeout: proxy": "Check that the host is up, and that the proxy which the environment names reaches it. Or set use_proxy to false.",
    "timeout: no proxy": "Check the proxy that the environment names, or set use_proxy to false.",
    "timeout: whole fleet": "The time for all hosts was over before this one answered: raise fleet_timeout (or wait_timeout, while "
    "an assertion waits). A lower timeout spends less of it on silent hosts, and a higher concurrency asks more hosts at once.",
    "auth: headers": "Set headers to what that server, or the proxy in front of it, accepts.",
    "auth: Basic": "A proxy in front of it requires a user name and a password, not a token. In headers, set Authorization to "
    "the word Basic and the base64 of USER:PASSWORD, and set no token.",
    "forbidden: nothing sent": "This is not about a token: none was sent, and LM Studio would answer that with 401. Another program may "
    "refuse the name in the URL (Ollama and Jan do so if they do not know the Host header), or a proxy may "
    "require a client certificate (client_cert, client_key) or only let in other machines. Check url and port, and the rules of that program.",
    "unsupported: path": "Check the path of the URL first: /api/v1/models is added to it. "
    "If it is right, LM Studio there is older than 0.4: update it, or set api: auto (lmstudio_api).",
    "unsupported: /api": "Remove /api from the end of the URL, unless it is the prefix of a proxy: /api/v1/models is added to it. "
    "If it is right, LM Studio there is older than 0.4: update it, or set api: auto (lmstudio_api).",
    "unsupported: v0": "Check the path of the URL if it has one: /api/v0/models is added to it. "
    "If it is right, this LM Studio does not have the older API: set api: auto, or remove api.",
    "unsupported: neither": "Check the path of the URL if it has one: /api/v1/models is added to it. "
    "If it is right, this LM Studio has neither that route nor /api/v0/models: update it.",
    "unavailable: loading": "It is loading a model. llama.cpp answers like this, LM Studio does not: check url and port, or wait.",
    "unavailable: origin": "A content delivery network (CDN) or a tunnel answers like this when it cannot reach the server behind it. "
    "Check the tunnel and LM Studio on that host (lms server status).",
    "redirect: login": "A proxy in front of the server requires a login. Set headers to what it accepts from a program, "
    "such as a service token. Do not set url to the login page: that would send it the token.",
    "redirect: other host": "Redirects are not followed, so that a token goes nowhere else. Is it a login page? Then set headers "
    "to what the proxy accepts. Set url to it only if you know that LM Studio is there now.",
    "redirect: same host": "Set url to where the redirect leads: with the scheme, port and path that the server expects.",
    "redirect: without TLS": "Correct the proxy: it redirects from TLS to plain HTTP, where everyone on the way could read the token.",
    "redirect: path": "Check the path of the URL: /api/v1/models is added to it. If it is right, it is a proxy that redirects, "
    "because LM Studio does not: perhaps to a login page, which headers could avoid, or by mistake.",
    "redirect: itself": "Correct the proxy: it redirects to itself. It may not know that the request came over TLS (X-Forwarded-Proto), or require "
    "a cookie.",
    "not_lmstudio: 404": "Another program answers there, or a proxy that does not know this path. Check url, its port and its path: "
    "LM Studio listens on port 1234 unless told otherwise.",
    "not_lmstudio: TLS": "This port expects TLS: write https:// in the URL.",
    "not_lmstudio: TLS behind": "The proxy connects without TLS to the server behind it, which expects TLS. Let the proxy use https:// there.",
    "not_lmstudio: page of a 400": "A proxy such as nginx answers like this when it requires a client certificate that it accepts (client_cert, "
    "client_key), or when a header is too long. Its error log has the reason.",
    "not_lmstudio: page of a 429": "It limits the rate of requests: ask fewer hosts at once (concurrency), or less often.",
    "not_lmstudio: page of an error": "If there is a proxy, its error log has the reason. "
    "If there is none, check url and port: something else answers there.",
    "http_error: TLS": "This port expects TLS: write https:// in the URL.",
    "http_error: TLS behind": "The proxy connects without TLS to the server behind it, which expects TLS. Let the proxy use https:// there.",
    "http_error: 429": "It limits the rate of requests: ask fewer hosts at once (concurrency), or less often.",
    "invalid: size": "If the library really is that large, raise max_response_bytes.",
    "invalid: empty": "LM Studio never sends an empty answer. A proxy without a route for this URL does (such as Caddy): check url and port, and "
    "the routes of the proxy.",
    "invalid: compressed": "A proxy compresses the answer, although that was not requested. Switch compression off there for this path.",
    "invalid: framing": "Look at the proxy in between, or check url and port: something else may answer there.",
    "invalid: not HTTP": "Check url and port: another kind of server listens there. If it speaks TLS, write https://.",
    "invalid: HTTP/2": "Something there speaks HTTP/2 only, and LM Studio speaks HTTP/1.1. Check url and port, "
    "or let the proxy accept HTTP/1.1 too.",
}
"""What to do next, by status, and by "STATUS: case". docs/troubleshooting.md has them all, in these words."""

STATUSES = ("ok", *(name for name in HINTS if ":" not in name))


def hint_of(error: ApiError) -> str:
    """The next step for an error: its own, or that of its case, or that of its status."""
    return error.hint or HINTS[f"{error.status}: {error.case}" if error.case else error.status]
