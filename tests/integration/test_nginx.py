# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Behind a real nginx: TLS, client certificates, a token check, prefixes, and what nginx says when LM Studio does not answer."""

from __future__ import annotations

import base64
import datetime
import http.client
import ipaddress
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import LIST_MODELS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import HINTS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import explain
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _requests
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.ports import Ports
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.once
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
if NGINX is None:
    # The whole file, so that it is one line of the summary.
    pytest.skip("all tests behind nginx: there is none here. On Debian: apt-get install nginx-light", allow_module_level=True)

TOKEN = "sk-lm-Yh27cQ9xBv4Wn8"
WRONG_TOKEN = "sk-lo-Rt61dM5zKe0Ju3"
UPSTREAM_TOKEN = "sk-up-Lp93fG7sXa2Oi6"
API_KEY = "key-of-the-fleet-Vd84"
PASSWORD = "Nk52-of-the-fleet"
LOADED = ["openai/gpt-oss-20b", "qwen/qwen3-8b"]
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
DAY = datetime.timedelta(days=1)

# What is said of each certificate that must not be trusted, and the next step.
UNTRUSTED = {
    "expired": (r"certificate has expired", "expired"),
    "not_yet_valid": (r"certificate is not yet valid", "clock"),
    "self_signed": (r"self.signed certificate", "another CA"),
    "stranger": (r"IP address mismatch, certificate is not valid for '127\.0\.0\.1'", "other address"),
    "leaf_only": (r"unable to get local issuer certificate", "another CA"),
}


def self_signed_certificate() -> bytes:
    """A certificate of 127.0.0.1 that only its own key has signed, with that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpu01")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """Two authorities, one of servers and one of clients, and what they signed; each of these files holds its key as well."""
    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.timezone.utc)
    ca, client_ca = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    client_ca.cert_pem.write_to_path(folder / "client_ca.pem")
    names = ("127.0.0.1", "localhost")
    chained = ca.create_child_ca().issue_cert(*names)
    issued = {
        "server": ca.issue_cert(*names),
        "expired": ca.issue_cert(*names, not_before=now - 2 * DAY, not_after=now - DAY),
        "not_yet_valid": ca.issue_cert(*names, not_before=now + DAY, not_after=now + 2 * DAY),
        "stranger": ca.issue_cert("other.example"),
        "localhost": ca.issue_cert("localhost"),
        "chained": chained,
        "client": client_ca.issue_cert("me@example.org"),
        "unknown_client": ca.issue_cert("somebody@example.org"),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / (name + ".pem"))
    (folder / "leaf_only.pem").write_bytes(chained.private_key_pem.bytes() + chained.cert_chain_pems[0].bytes())
    (folder / "with_root.pem").write_bytes(issued["server"].private_key_and_cert_chain_pem.bytes() + ca.cert_pem.bytes())
    (folder / "self_signed.pem").write_bytes(self_signed_certificate())
    return folder


@pytest.fixture(scope="module")
def simulator(tmp_path_factory) -> Iterator[Simulator]:
    faults = ("refused", "silence", "chunked", "cut_off", "cut_off_chunk", "endless")
    hosts = {
        "gpu01": {},
        "guarded": {"token": UPSTREAM_TOKEN},
        "prefixed": {"prefix": "/kept"},
        "behind_untrusted": {},
        "behind_redirect": {},
        "behind_everything": {},
        **{fault: {"fault": fault} for fault in faults},
    }
    fleet = tmp_path_factory.mktemp("simulator") / "fleet.yml"
    fleet.write_text(yaml.safe_dump({"hosts": {name: {"payload": "two_loaded.json", **settings} for name, settings in hosts.items()}}))
    with Simulator(fleet) as running:
        yield running


class Nginx:
    """An nginx as a child process, with all of its files in one folder."""

    def __init__(self, folder: Path, configuration: str, ports: Ports) -> None:
        self._ports = ports
        (folder / "nginx.conf").write_text(configuration)
        command = [str(NGINX), "-p", str(folder), "-c", "nginx.conf"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        # The last notice of its start: by then it listens on every port.
        while "getrlimit(RLIMIT_NOFILE)" not in said:
            line = self._process.stderr.readline()
            if not line:
                raise RuntimeError(f"nginx ended with status {self._process.wait()} before it was ready: {said}")
            said += line

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def plain(self, path: str) -> str:
        return f"http://127.0.0.1:{self._ports['plain']}{path}"

    def tls(self, server: str, path: str = "", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self._ports[server]}{path}"


CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    error_log error.log;
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    map_hash_bucket_size 128;
    map $http_authorization $welcome {{ default 0; "Bearer {token}" 1; }}
    upstream kept_open {{ server {kept_open}; keepalive 4; }}

    # The simulator notes the headers of each request, and so what nginx knew of it.
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Connection $http_connection;
    proxy_set_header X-Server-Protocol $server_protocol;
    proxy_set_header X-SSL-Protocol $ssl_protocol;
    proxy_set_header X-SSL-Server-Name $ssl_server_name;
    proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
{servers}
}}
"""


def location(path: str, *directives: str) -> str:
    return f"location {path} {{ {' '.join(directives)} }}"


def server(*directives: str) -> str:
    return "\n".join(["    server {", *(f"        {directive}" for directive in directives), "    }"])


def plain_server(ports: Ports, upstream: dict[str, str]) -> str:
    """Without TLS, one path for each case."""
    deny_401 = 'if ($welcome = 0) { return 401 "Who is $http_authorization?"; }'
    deny_403 = 'if ($welcome = 0) { return 403 "$http_authorization may not."; }'
    behind = f"proxy_pass http://127.0.0.1:{ports['compressing']};"
    return server(
        f"listen 127.0.0.1:{ports['plain']} reuseport;",
        # With a path of its own, here a slash, proxy_pass puts that in place of the prefix.
        location("/cut/", f"proxy_pass {upstream['gpu01']}/;"),
        location("/kept/", f"proxy_pass {upstream['prefixed']};"),
        location("/not_cut/", f"proxy_pass {upstream['gpu01']};"),
        location("/kept_open/", "proxy_pass http://kept_open/;"),
        location("/token/", deny_401, f"proxy_pass {upstream['gpu01']}/;"),
        location("/token_403/", deny_403, f"proxy_pass {upstream['gpu01']}/;"),
        location("/token_stays/", deny_401, 'proxy_set_header Authorization "";', f"proxy_pass {upstream['gpu01']}/;"),
        location(
            "/token_changes/",
            deny_401,
            f'proxy_set_header Authorization "Bearer {UPSTREAM_TOKEN}";',
            f"proxy_pass {upstream['guarded']}/;",
        ),
        location("/api_key/", f'if ($http_x_api_key != "{API_KEY}") {{ return 401; }}', f"proxy_pass {upstream['gpu01']}/;"),
        location("/password/", 'auth_basic "fleet";', "auth_basic_user_file users;", f"proxy_pass {upstream['gpu01']}/;"),
        location("/down/", f"proxy_pass {upstream['refused']}/;"),
        location("/impatient/", "proxy_read_timeout 100ms;", f"proxy_pass {upstream['silence']}/;"),
        location("/patient/", "proxy_read_timeout 1h;", f"proxy_pass {upstream['silence']}/;"),
        location("/moved/", f"return 301 https://127.0.0.1:{ports['behind_redirect']}/api/v1/models;"),
        *(location(f"/returns_{code}/", f"return {code};") for code in (404, 413, 429, 500, 503)),
        *(location(f"/{fault}/", f"proxy_pass {upstream[fault]}/;") for fault in ("chunked", "cut_off", "cut_off_chunk")),
        location("/endless/", "proxy_buffering off;", f"proxy_pass {upstream['endless']}/;"),
        location("/compressible/", behind),
        location("/compressed/", "proxy_set_header Accept-Encoding gzip;", behind),
    )


def compressing_server(ports: Ports, upstream: dict[str, str]) -> str:
    """A second one behind the first, which compresses for clients that ask for it."""
    return server(
        f"listen 127.0.0.1:{ports['compressing']} reuseport;",
        "gzip on; gzip_types application/json; gzip_proxied any;",
        location("~ ^/compress[a-z]+(/.*)", f"proxy_pass {upstream['gpu01']}$1;"),
    )


def tls_servers(ports: Ports, upstream: dict[str, str], certificates: Path) -> list[str]:
    def tls(name: str, certificate: str, *directives: str, listen: str = "ssl reuseport") -> str:
        file = certificates / (certificate + ".pem")
        return server(f"listen 127.0.0.1:{ports[name]} {listen};", f"ssl_certificate {file};", f"ssl_certificate_key {file};", *directives)

    def to(host: str, path: str = "/") -> str:
        return location(path, f"proxy_pass {upstream[host]}/;")

    default = "ssl reuseport default_server"
    clients = f"ssl_client_certificate {certificates / 'client_ca.pem'};"
    everything = (clients, "ssl_verify_client on;", "if ($welcome = 0) { return 401; }", to("behind_everything", "/gpu01/"))
    return [
        tls("server", "server", to("gpu01")),
        tls("chained", "chained", to("gpu01")),
        *(tls(name, name, to("behind_untrusted")) for name in UNTRUSTED),
        tls("with_root", "with_root", to("gpu01")),
        tls("tls12", "server", "ssl_protocols TLSv1.2;", to("gpu01")),
        tls("tls13", "server", "ssl_protocols TLSv1.3;", to("gpu01")),
        tls("http2", "server", to("gpu01"), listen="ssl http2 reuseport"),
        tls("named", "stranger", to("gpu01"), listen=default),
        tls("named", "localhost", "server_name localhost;", to("gpu01"), listen="ssl"),
        server(f"listen 127.0.0.1:{ports['rejecting']} {default};", "ssl_reject_handshake on;"),
        tls("rejecting", "localhost", "server_name localhost;", to("gpu01"), listen="ssl"),
        tls("behind_redirect", "server", to("behind_redirect")),
        tls("client12", "server", "ssl_protocols TLSv1.2;", clients, "ssl_verify_client on;", to("gpu01")),
        tls("client13", "server", "ssl_protocols TLSv1.3;", clients, "ssl_verify_client on;", to("gpu01")),
        tls(
            "client_403",
            "server",
            clients,
            "ssl_verify_client optional;",
            "if ($ssl_client_verify != SUCCESS) { return 403; }",
            to("gpu01"),
        ),
        tls("everything", "server", *everything),
        tls("everything_expired", "expired", *everything),
    ]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, simulator, certificates) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "users").write_text(f"fleet:{{PLAIN}}{PASSWORD}\n")
    upstream = {name: "http://" + urlsplit(url).netloc for name, url in simulator.urls.items()}
    with Ports() as ports:
        servers = [plain_server(ports, upstream), compressing_server(ports, upstream), *tls_servers(ports, upstream, certificates)]
        kept_open = urlsplit(upstream["gpu01"]).netloc
        running = Nginx(folder, CONFIGURATION.format(token=TOKEN, kept_open=kept_open, servers="\n".join(servers)), ports)
        yield running
        running.stop()


@pytest.fixture(params=ASK.values(), ids=ASK)
def asking(request, monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return request.param


@pytest.fixture
def ca(certificates):
    return {"ca_path": str(certificates / "ca.pem")}


def client_certificate(certificates, name="client"):
    file = str(certificates / (name + ".pem"))
    return {"client_cert": file, "client_key": file}


def record_of(asking, url, **options):
    return asking(make_endpoint({"url": url, "timeout": 60, **options}, ""), "full")


def succeeded(record):
    assert record["ok"], record["error"]
    return record["loaded"] == LOADED


def error_of(record, status):
    """The error of a record, which must have this status, as a sentence that begins with the URL."""
    assert record["status"] == status, record["error"]
    assert re.fullmatch(re.escape(record["url"]) + r" .*\. .*\.", explain(record))
    return record["error"]


def seen_by(simulator, host):
    """The headers of the last request that a host has seen."""
    return simulator.requests(host)[-1]["headers"]


class TestTrust:
    @pytest.mark.parametrize(("server", "case"), [("server", "unknown CA"), ("chained", "unknown CA"), ("with_root", "own CA")])
    def test_an_own_authority_is_trusted_when_it_is_named_and_only_then(self, asking, nginx, ca, server, case):
        assert succeeded(record_of(asking, nginx.tls(server), **ca))
        error = error_of(record_of(asking, nginx.tls(server)), "tls")
        assert "certificate that is not trusted (" in error["message"]
        assert error["hint"] == HINTS[f"tls: {case}"]

    def test_a_certificate_that_signs_itself_is_told(self, asking, nginx):
        error = error_of(record_of(asking, nginx.tls("self_signed")), "tls")
        assert error["hint"] == HINTS["tls: self-signed"]

    @pytest.mark.parametrize("name", UNTRUSTED)
    def test_a_bad_certificate_is_tls_with_the_reason_and_nothing_is_sent(self, asking, nginx, simulator, ca, name):
        says, case = UNTRUSTED[name]
        before = len(simulator.requests("behind_untrusted"))
        error = error_of(record_of(asking, nginx.tls(name), token=TOKEN, **ca), "tls")
        assert re.search(rf"certificate that is not trusted \({says}\)", error["message"])
        assert error["hint"] == HINTS[f"tls: {case}"]
        assert error["http_status"] is None
        assert len(simulator.requests("behind_untrusted")) == before

    @pytest.mark.parametrize("name", UNTRUSTED)
    def test_a_bad_certificate_can_be_accepted_unseen(self, asking, nginx, name):
        assert succeeded(record_of(asking, nginx.tls(name), validate_certs=False))

    def test_a_self_signed_certificate_is_trusted_when_it_is_itself_the_ca_path(self, asking, nginx, certificates):
        assert succeeded(record_of(asking, nginx.tls("self_signed"), ca_path=str(certificates / "self_signed.pem")))

    def test_the_name_in_the_url_chooses_among_the_servers_of_one_port(self, asking, nginx, simulator, ca):
        assert succeeded(record_of(asking, nginx.tls("named", host="localhost"), **ca))
        assert seen_by(simulator, "gpu01")["x-ssl-server-name"] == "localhost"
        error = error_of(record_of(asking, nginx.tls("named"), **ca), "tls")
        assert "IP address mismatch" in error["message"]

    def test_another_name_is_named(self, asking, nginx, ca):
        error = error_of(record_of(asking, nginx.tls("stranger", host="localhost"), **ca), "tls")
        assert "(Hostname mismatch, certificate is not valid for 'localhost')" in error["message"]
        assert error["hint"] == HINTS["tls: other name"]

    def test_a_server_that_rejects_every_other_name(self, asking, nginx, ca):
        assert succeeded(record_of(asking, nginx.tls("rejecting", host="localhost"), **ca))
        error = error_of(record_of(asking, nginx.tls("rejecting"), **ca), "tls")
        assert "unrecognized name" in error["message"]
        assert error["hint"] == HINTS["tls"]

    @pytest.mark.parametrize("server, protocol", [("tls12", "TLSv1.2"), ("tls13", "TLSv1.3")])
    def test_each_version_of_tls(self, asking, nginx, simulator, ca, server, protocol):
        assert succeeded(record_of(asking, nginx.tls(server), **ca))
        assert seen_by(simulator, "gpu01")["x-ssl-protocol"] == protocol

    def test_tls_to_the_plain_port_is_told(self, asking, nginx):
        error = error_of(record_of(asking, nginx.plain("/cut").replace("http:", "https:")), "tls")
        assert "does not speak TLS" in error["message"]
        assert error["hint"] == HINTS["tls: not TLS"]

    def test_plain_http_to_the_tls_port_is_not_lm_studio(self, asking, nginx):
        error = error_of(record_of(asking, nginx.tls("server").replace("https:", "http:")), "not_lmstudio")
        assert "HTTP 400" in error["message"]
        assert error["hint"] == HINTS["not_lmstudio: TLS"]


class TestClientCertificate:
    @pytest.mark.parametrize("server", ["client12", "client13", "client_403"])
    def test_one_that_nginx_knows(self, asking, nginx, simulator, certificates, ca, server):
        assert succeeded(record_of(asking, nginx.tls(server), **ca, **client_certificate(certificates)))
        assert seen_by(simulator, "gpu01")["x-ssl-client-verify"] == "SUCCESS"

    @pytest.mark.parametrize("server", ["client12", "client13"])
    def test_none_or_one_of_another_authority_is_answered_by_nginx_itself(self, asking, nginx, certificates, ca, server):
        for options in ({}, client_certificate(certificates, "unknown_client")):
            error = error_of(record_of(asking, nginx.tls(server), **ca, **options), "not_lmstudio")
            assert "HTTP 400" in error["message"]
            assert "a client certificate that it accepts (client_cert, client_key)" in error["hint"]
            assert error["http_status"] == 400

    def test_where_it_is_optional_nginx_may_forbid_the_rest(self, asking, nginx, ca):
        error = error_of(record_of(asking, nginx.tls("client_403"), **ca), "forbidden")
        assert "HTTP 403" in error["message"]
        assert error["hint"] == HINTS["forbidden: nothing sent"]

    def test_everything_at_once_and_what_is_said_when_one_thing_is_missing(self, asking, nginx, simulator, certificates, ca):
        options = {**ca, **client_certificate(certificates), "token": TOKEN}
        before = len(simulator.requests("behind_everything"))

        def status_without(*names, path="/gpu01"):
            rest = {name: value for name, value in options.items() if name not in names}
            return record_of(asking, nginx.tls("everything", path), **rest)["status"]

        assert status_without("ca_path") == "tls"
        assert status_without("client_cert", "client_key") == "not_lmstudio"
        assert status_without("token") == "auth"
        assert status_without(path="/gpu02") == "not_lmstudio"
        assert len(simulator.requests("behind_everything")) == before
        assert status_without() == "ok"
        assert len(simulator.requests("behind_everything")) == before + 1


class TestToken:
    @pytest.mark.parametrize("path", ["/token", "/token_403"])
    def test_the_right_one_is_let_through(self, asking, nginx, simulator, path):
        assert succeeded(record_of(asking, nginx.plain(path), token=TOKEN))
        assert seen_by(simulator, "gpu01")["authorization"] == "Bearer " + TOKEN

    def test_nginx_may_keep_it_from_lm_studio(self, asking, nginx, simulator):
        assert succeeded(record_of(asking, nginx.plain("/token_stays"), token=TOKEN))
        assert "authorization" not in seen_by(simulator, "gpu01")

    def test_nginx_may_put_another_in_its_place(self, asking, nginx, simulator):
        assert succeeded(record_of(asking, nginx.plain("/token_changes"), token=TOKEN))
        assert seen_by(simulator, "guarded")["authorization"] == "Bearer " + UPSTREAM_TOKEN

    @pytest.mark.parametrize("path", ["/token", "/token_stays", "/token_changes"])
    def test_none_and_a_wrong_one_are_auth_and_nothing_of_it_is_shown(self, asking, nginx, path):
        error = error_of(record_of(asking, nginx.plain(path)), "auth")
        assert "HTTP 401: it requires a token, and none was sent" in error["message"]
        record = record_of(asking, nginx.plain(path), token=WRONG_TOKEN)
        error = error_of(record, "auth")
        assert "HTTP 401: it does not accept the token that was sent" in error["message"]
        assert "Set token" in error["hint"]
        assert WRONG_TOKEN[:10] not in json.dumps(record)

    def test_a_403_is_forbidden_and_nothing_of_the_token_is_shown(self, asking, nginx):
        record = record_of(asking, nginx.plain("/token_403"), token=WRONG_TOKEN)
        error = error_of(record, "forbidden")
        assert "HTTP 403" in error["message"]
        assert error["hint"] == HINTS["forbidden"]
        assert WRONG_TOKEN[:10] not in json.dumps(record)

    def test_a_header_in_place_of_a_token(self, asking, nginx):
        assert succeeded(record_of(asking, nginx.plain("/api_key"), headers={"X-Api-Key": API_KEY}))
        error = error_of(record_of(asking, nginx.plain("/api_key"), headers={"X-Api-Key": "another-key-than-that"}), "auth")
        assert "it does not accept the headers that were sent" in error["message"]
        assert "Set headers" in error["hint"]

    def test_a_user_name_and_a_password_in_place_of_a_token(self, asking, nginx):
        def basic(password):
            return {"Authorization": "Basic " + base64.b64encode(f"fleet:{password}".encode()).decode()}

        assert succeeded(record_of(asking, nginx.plain("/password"), headers=basic(PASSWORD)))
        error = error_of(record_of(asking, nginx.plain("/password"), headers=basic("another")), "auth")
        assert error["hint"] == HINTS["auth: headers"]
        for options in ({"token": WRONG_TOKEN}, {}):
            error = error_of(record_of(asking, nginx.plain("/password"), **options), "auth")
            assert "HTTP 401: it asks for a user name and a password (HTTP Basic)" in error["message"]
            assert error["hint"] == HINTS["auth: Basic"]


class TestPrefix:
    @pytest.mark.parametrize("path, host, arrives", [("/cut", "gpu01", ""), ("/kept", "prefixed", "/kept")])
    def test_nginx_cuts_it_or_keeps_it(self, asking, nginx, simulator, path, host, arrives):
        assert succeeded(record_of(asking, nginx.plain(path)))
        assert simulator.requests(host)[-1]["path"] == arrives + "/api/v1/models"

    def test_one_that_lm_studio_gets_to_see_is_unsupported(self, asking, nginx):
        error = error_of(record_of(asking, nginx.plain("/not_cut")), "unsupported")
        assert error["hint"] == HINTS["unsupported: path"]
        assert f"(requested: {nginx.plain('/not_cut')}/api/v1/models)" in error["message"]

    def test_one_that_nginx_does_not_know_is_not_lm_studio(self, asking, nginx):
        error = error_of(record_of(asking, nginx.plain("/unknown")), "not_lmstudio")
        assert "HTTP 404 with a web page" in error["message"]
        assert "Check url" in error["hint"]


class TestAnswersOfNginxItself:
    @pytest.mark.parametrize("path, code", [("/down", 502), ("/impatient", 504), ("/returns_503", 503)])
    def test_a_server_behind_it_that_does_not_answer_is_unavailable(self, asking, nginx, path, code):
        error = error_of(record_of(asking, nginx.plain(path)), "unavailable")
        assert f"answered HTTP {code}: it is not available now" in error["message"]
        assert "LM Studio behind it is not running" in error["hint"]
        assert error["http_status"] == code

    def test_the_deadline_is_kept_when_nginx_waits_for_longer(self, asking, nginx):
        error = error_of(record_of(asking, nginx.plain("/patient"), timeout=3), "timeout")
        assert "did not answer within 3 seconds (it accepted the connection)" in error["message"]

    @pytest.mark.parametrize("code", [404, 413, 429, 500])
    def test_any_other_web_page_of_its_own_is_not_lm_studio(self, asking, nginx, code):
        error = error_of(record_of(asking, nginx.plain(f"/returns_{code}")), "not_lmstudio")
        assert f"answered HTTP {code} with a web page" in error["message"]
        assert ("error log" in error["hint"]) == (code in (413, 500))
        assert error["http_status"] == code

    def test_a_redirect_to_https_is_told_and_the_token_is_not_sent_on(self, asking, nginx, simulator, ca):
        final = nginx.tls("behind_redirect")
        before = len(simulator.requests("behind_redirect"))
        error = error_of(record_of(asking, nginx.plain("/moved"), token=TOKEN, **ca), "redirect")
        assert f"answered HTTP 301: it redirects to {final}: the same host, another scheme and port and path." in error["message"]
        assert error["hint"] == HINTS["redirect: same host"]
        assert len(simulator.requests("behind_redirect")) == before
        assert succeeded(record_of(asking, final, token=TOKEN, **ca))
        assert len(simulator.requests("behind_redirect")) == before + 1


class Raw:
    """One connection of a client that does not ask to close it, to see what nginx does for those."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.path = parts.path + "/api/v1/models"
        self.connection = http.client.HTTPConnection(parts.netloc, timeout=60)

    def headers(self):
        """The headers of one more answer."""
        self.connection.request("GET", self.path, headers={"Accept-Encoding": "identity"})
        response = self.connection.getresponse()
        assert response.status == 200
        assert response.read()
        return response.headers

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.connection.close()


class TestHttp:
    def test_a_connection_that_nginx_would_keep_open_is_closed_at_once(self, asking, nginx, simulator):
        with Raw(nginx.plain("/cut")) as raw:
            assert raw.headers()["Connection"] == "keep-alive"
            kept = raw.connection.sock
            assert raw.headers()["Connection"] == "keep-alive"
            assert raw.connection.sock is kept is not None
        assert succeeded(record_of(asking, nginx.plain("/cut")))
        assert seen_by(simulator, "gpu01")["x-connection"] == "close"

    def test_nginx_keeps_its_own_connection_to_lm_studio(self, asking, nginx, simulator):
        for _time in range(3):
            assert succeeded(record_of(asking, nginx.plain("/kept_open")))
            assert "connection" not in seen_by(simulator, "gpu01")

    def test_a_server_that_offers_http_2_is_asked_in_http_1(self, asking, nginx, simulator, ca):
        assert succeeded(record_of(asking, nginx.tls("http2"), **ca))
        assert seen_by(simulator, "gpu01")["x-server-protocol"] == "HTTP/1.1"

    def test_chunks(self, asking, nginx):
        with Raw(nginx.plain("/chunked")) as raw:
            assert raw.headers()["Transfer-Encoding"] == "chunked"
        assert succeeded(record_of(asking, nginx.plain("/chunked")))

    @pytest.mark.parametrize("fetch", [blocking.fetch, _requests.fetch], ids=["http.client", "requests"])
    def test_nginx_does_not_compress_because_nobody_asks_for_it(self, fetch, nginx):
        assert fetch(make_endpoint({"url": nginx.plain("/compressible")}, ""), LIST_MODELS).content_encoding == ""

    def test_what_nginx_compresses_all_the_same_is_read(self, asking, nginx):
        with Raw(nginx.plain("/compressed")) as raw:
            headers = raw.headers()
        assert (headers["Content-Encoding"], headers["Transfer-Encoding"]) == ("gzip", "chunked")
        record = record_of(asking, nginx.plain("/compressed"))
        assert succeeded(record)
        assert record["fingerprint"] == record_of(asking, nginx.plain("/cut"))["fingerprint"]

    @pytest.mark.parametrize("path", ["/cut_off", "/cut_off_chunk"])
    def test_an_answer_that_lm_studio_cuts_off_is_not_taken_for_a_whole_one(self, asking, nginx, path):
        error = error_of(record_of(asking, nginx.plain(path)), "disconnected")
        assert "before the answer was complete" in error["message"]
        assert "any proxy in between" in error["hint"]

    def test_an_endless_answer_stops_at_the_limit(self, asking, nginx):
        error = error_of(record_of(asking, nginx.plain("/endless"), max_response_bytes=1000000), "invalid")
        assert "more than the 1000000 bytes" in error["message"]


EVERY_PLUGIN = """
- name: Ask through every plugin
  hosts: all
  gather_facts: false
  module_defaults:
    gpufleet.lmstudio.model_facts:
      url: "{{ lmstudio_url }}"
      token: "{{ lmstudio_token }}"
      ca_path: "{{ lmstudio_ca_path }}"
      client_cert: "{{ lmstudio_client_cert }}"
      client_key: "{{ lmstudio_client_key }}"
  tasks:
    - name: From the target
      gpufleet.lmstudio.model_info:
        on_error: report
      register: target
    - name: From the controller
      gpufleet.lmstudio.model_info:
        via: controller
        on_error: report
      register: controller
    - name: As facts
      gpufleet.lmstudio.model_facts:
        detail: full
    - name: From the fleet action
      gpufleet.lmstudio.fleet_info:
        detail: full
      run_once: true
      register: fleet
    - name: All tell the same
      ansible.builtin.assert:
        that:
          - item.status == expected
          - item.loaded == (['openai/gpt-oss-20b', 'qwen/qwen3-8b'] if expected == 'ok' else [])
          - expected == 'ok' or 'certificate has expired' in item.error.message
          - expected == 'ok' or 'Renew the certificate' in item.error.hint
          - >-
            item | dict2items | rejectattr('key', 'in', volatile) | sort(attribute='key')
            == target.lmstudio | dict2items | rejectattr('key', 'in', volatile) | sort(attribute='key')
      vars:
        volatile: [asked_at, response_ms]
      loop:
        - "{{ target.lmstudio }}"
        - "{{ controller.lmstudio }}"
        - "{{ ansible_facts.lmstudio }}"
        - "{{ fleet.hosts[inventory_hostname] }}"
        - "{{ lookup('gpufleet.lmstudio.models', inventory_hostname, on_error='report') }}"
        - "{{ lmstudio_record }}"
      loop_control: {label: x}
"""


@pytest.mark.nightly
def test_every_plugin_gives_the_same_record(run, nginx, simulator, certificates, ca, tmp_path):
    own = {"lmstudio_token": TOKEN, **{f"lmstudio_{name}": value for name, value in {**ca, **client_certificate(certificates)}.items()}}
    hosts = {
        "gpu01": {"lmstudio_url": nginx.tls("everything", "/gpu01"), "expected": "ok", **own},
        "gpu02": {"lmstudio_url": nginx.tls("everything_expired", "/gpu01"), "expected": "tls", **own},
    }
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all, detail: full}")
    before = len(simulator.requests("behind_everything"))
    outcome = run(EVERY_PLUGIN, hosts, "-v", "-i", "lmstudio.yml")
    assert TOKEN[:10] not in outcome.output
    asked = simulator.requests("behind_everything")[before:]
    # Two of the module and one of each of the facts, the fleet action, the lookup and the inventory; none of gpu02.
    assert len(asked) == 6
    for request in asked:
        assert request["path"] == "/api/v1/models"
        assert request["headers"]["authorization"] == "Bearer " + TOKEN
        assert request["headers"]["x-ssl-client-verify"] == "SUCCESS"


@pytest.fixture
def behind_the_page(tmp_path, simulator):
    """An nginx as docs/proxies.md shows it, with the certificates of its commands: asks it, and returns the record."""
    page = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
    for command in re.findall(r"(?m)^\$ (openssl .*)$", page):
        subprocess.run(shlex.split(command.replace("gpu07.example", "localhost")), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "clients-ca.pem").write_bytes((tmp_path / "own-ca.pem").read_bytes())
    base, clients, token = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    running = []

    def ask(with_more: bool, **options: str):
        shown = re.sub(r"    location.*?\}\n", lambda _: clients + token, base, flags=re.DOTALL) if with_more else base
        for old, new in {
            "gpu07.example": "localhost",
            "/etc/nginx": str(tmp_path),
            "listen 443 ssl": f"listen 127.0.0.1:{ports['page']} ssl reuseport",
            "http://127.0.0.1:1234": "http://" + urlsplit(simulator.urls["gpu01"]).netloc,
        }.items():
            shown = shown.replace(old, new)
        running.append(Nginx(tmp_path, CONFIGURATION.format(token=TOKEN, kept_open="127.0.0.1:9", servers=shown), ports))
        given = {"url": running[-1].tls("page", "/lm", "localhost"), "ca_path": str(tmp_path / "own-ca.pem"), **options}
        return ASK["target"](make_endpoint(given, ""), "loaded")

    with Ports() as ports:
        yield ask
        for nginx in running:
            nginx.stop()


def test_the_nginx_of_the_documentation_and_its_own_ca_work(behind_the_page):
    assert behind_the_page(False)["loaded"] == LOADED


def test_the_nginx_of_the_documentation_wants_a_certificate_and_a_token(behind_the_page, tmp_path):
    client = {"client_cert": str(tmp_path / "localhost.pem"), "client_key": str(tmp_path / "localhost.key")}
    assert behind_the_page(True, token="the-token-of-the-fleet", **client)["loaded"] == LOADED
