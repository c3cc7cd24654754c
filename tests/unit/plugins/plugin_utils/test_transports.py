# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All transports against real servers: one suite of faults, one taxonomy, one deadline."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme
import yaml
from ansible.errors import AnsibleError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.next_steps import HINTS
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import explain
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _requests
from ansible_collections.gpufleet.lmstudio.tests.conftest import collections_path, has_ipv6
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.raw_server import EMPTY, Server, http
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK, LATE, STATUS_OF_FAULT

TOKEN = "sk-lm-0123456789abcdef"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(params=ASK.values(), ids=ASK)
def asking(request, monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return request.param


def start(folder: Path, hosts: dict) -> ForkedSimulator:
    fleet = folder / "fleet.yml"
    fleet.write_text(yaml.safe_dump({"hosts": hosts}))
    return ForkedSimulator(fleet)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA, a certificate of 127.0.0.1 and localhost, one of another name, one of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
    for name, identities in {"server": ["127.0.0.1", "localhost"], "stranger": ["other.example"], "client": ["me@example.org"]}.items():
        certificate = ca.issue_cert(*identities)
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / (name + ".pem"))
    return folder


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, certificates):
    def tls(name, **more):
        return {"certificate": str(certificates / (name + ".pem")), "key": str(certificates / (name + ".pem")), **more}

    hosts = {fault: {"fault": fault} for fault in STATUS_OF_FAULT}
    hosts["healthy"] = {"payload": "two_loaded.json"}
    hosts["closed"] = {"token": TOKEN}
    hosts["prefixed"] = {"prefix": "/gpu01"}
    hosts["tls"] = {"tls": tls("server")}
    hosts["tls_stranger"] = {"tls": tls("stranger")}
    hosts["tls_client"] = {"tls": tls("server", client_ca=str(certificates / "ca.pem"))}
    hosts["tls_slow"] = {"tls": tls("server"), "fault": "slow_body"}
    with start(tmp_path_factory.mktemp("fleet"), hosts) as simulator:
        yield simulator


def record_of(asking, url, detail="full", **options):
    return asking(make_endpoint({"url": url, "timeout": 60, **options}, ""), detail)


@pytest.mark.parametrize("fault", sorted(STATUS_OF_FAULT))
def test_every_fault_has_its_status_and_shows_nothing_of_the_token(asking, fleet, fault):
    seconds = 0.5 if STATUS_OF_FAULT[fault] == "timeout" else 60
    record = record_of(asking, fleet.urls[fault], token=TOKEN, timeout=seconds)
    assert record["status"] == STATUS_OF_FAULT[fault], record["error"]
    assert TOKEN[:10] not in json.dumps(record)
    if not record["ok"]:
        assert explain(record).startswith(fleet.urls[fault] + " ")
        assert explain(record).endswith(".")


@pytest.mark.parametrize("fault", ["silence", "slow_body", "slow_headers", "tls_slow"])
def test_the_deadline_ends_the_whole_exchange(asking, fleet, fault):
    began = time.monotonic()
    record = record_of(asking, fleet.urls[fault], timeout=1, validate_certs=False)
    assert record["status"] == "timeout"
    assert "within 1 second" in record["error"]["message"]
    assert 1 <= time.monotonic() - began < 1 + LATE


def test_a_name_resolution_that_hangs_is_left_at_the_deadline(asking, monkeypatch):
    released, resolve = threading.Event(), socket.getaddrinfo

    def hang(*args, **kwargs):
        # An address needs no resolution, and a caller that asks only for that never waits.
        return resolve(*args, **kwargs) if kwargs.get("flags") == socket.AI_NUMERICHOST else released.wait(20)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert record_of(asking, "http://gpu01.invalid:1234", timeout=0.3)["status"] == "timeout"
    finally:
        released.set()


@contextlib.contextmanager
def nobody_accepts():
    """The host and port of a server that accepts no connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            # A full backlog drops connection attempts, as a firewall does.
            for _number in range(4):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for sock in waiting:
                sock.close()


def test_a_connection_that_nobody_accepts_is_left_at_the_deadline(asking):
    with nobody_accepts() as authority:
        record = record_of(asking, f"http://{authority}", timeout=0.5)
    assert record["status"] == "timeout"
    assert "(no connection was made)" in record["error"]["message"]
    assert record["error"]["hint"] == HINTS["timeout"]


def test_a_tls_handshake_that_hangs_is_left_at_the_deadline(asking):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        record = record_of(asking, f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=3)
    assert record["status"] == "timeout"
    assert "(it accepted the connection)" in record["error"]["message"]
    assert record["error"]["hint"] == HINTS["timeout: connected"]


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
@pytest.mark.parametrize("families, case", [([6], "refused: IPv6"), ([6, 4], "refused: no port"), ([4], "refused: no port")])
def test_a_name_that_refuses_on_ipv6_alone_is_told_so(asking, monkeypatch, families, case):
    addresses = {4: (socket.AF_INET, ("127.0.0.1", 9)), 6: (socket.AF_INET6, ("::1", 9, 0, 0))}
    found = [(addresses[family][0], socket.SOCK_STREAM, 0, "", addresses[family][1]) for family in families]

    def resolve(*_args, flags=0, **_options):
        if flags:
            raise socket.gaierror
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    record = record_of(asking, "http://gpu01.invalid")
    assert (record["status"], record["error"]["hint"]) == ("refused", HINTS[case])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what waits too long")
def test_a_name_whose_first_address_is_silent_is_answered_from_the_next_in_its_share_of_the_time(asking, fleet, monkeypatch):
    port = int(fleet.urls["healthy"].rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        # A client that connects while these wait to be accepted gets no answer at all.
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _number in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        addresses = [silent.getsockname(), *[("127.0.0.1", port)] * 9]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]

        def resolve(*_args, flags=0, **_options):
            if flags:
                raise socket.gaierror
            return found

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        began = time.monotonic()
        assert record_of(asking, "http://gpu01.invalid", timeout=20)["ok"]
        assert time.monotonic() - began >= 1.9, "a tenth of the time was for the first one"
        del found[1:]
        assert "(no connection was made)" in record_of(asking, "http://gpu01.invalid", timeout=0.5)["error"]["message"]


def finished_threads():
    """Wait for the exchanges that were left, and say whether all have ended."""
    left = [thread for thread in threading.enumerate() if thread.name == "lmstudio"]
    for thread in left:
        thread.join(30)
    return not any(thread.is_alive() for thread in left)


def open_files():
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def test_nothing_is_left_behind_after_the_deadline(asking, fleet):
    assert finished_threads()
    before = open_files()
    for fault in ("silence", "slow_body", "slow_headers"):
        record_of(asking, fleet.urls[fault], timeout=0.2)
    assert finished_threads()
    assert open_files() <= before


def test_the_request_is_the_same_from_both(asking, fleet):
    record = record_of(asking, fleet.urls["healthy"], token=TOKEN, headers={"X-Fleet": "a"})
    assert record["ok"] and record["loaded"] == ["openai/gpt-oss-20b", "qwen/qwen3-8b"]
    seen = fleet.requests("healthy")[-1]
    assert (seen["method"], seen["path"]) == ("GET", "/api/v1/models")
    assert seen["headers"] == {
        "host": fleet.urls["healthy"].partition("//")[2],
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "gpufleet.lmstudio",
        "connection": "close",
        "authorization": "Bearer " + TOKEN,
        "x-fleet": "a",
    }


def test_a_netrc_entry_does_not_change_the_request(asking, fleet, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password stolen\ndefault login anybody password stolen\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert record_of(asking, fleet.urls["closed"], token=TOKEN)["ok"]
    assert record_of(asking, fleet.urls["closed"])["status"] == "auth"
    assert "authorization" not in fleet.requests("closed")[-1]["headers"]


def test_a_prefix_is_kept(asking, fleet):
    assert record_of(asking, fleet.urls["prefixed"])["ok"]
    assert fleet.requests("prefixed")[-1]["path"] == "/gpu01/api/v1/models"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(asking, tmp_path):
    with start(tmp_path, {"loopback6": {"listen": "[::1]:0"}}) as fleet:
        url = fleet.urls["loopback6"]
        assert url.startswith("http://[::1]:")
        assert record_of(asking, url)["ok"]
        for zone in ("lo", "1"):
            refused = record_of(asking, f"http://[fe80::1%25{zone}]:9")
            assert refused["status"] in ("no_route", "refused", "timeout")


def test_a_redirect_is_not_followed(asking, fleet):
    record = record_of(asking, fleet.urls["redirect"], token=TOKEN)
    assert "redirects to http://127.0.0.1:9: the same host, another port and path." in record["error"]["message"]
    assert len({request["path"] for request in fleet.requests("redirect")}) == 1


@pytest.mark.parametrize("name", ["gpu01.invalid", "gpu01..invalid", f"{'x' * 64}.invalid"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_does_not_resolve(asking, scheme, name):
    record = record_of(asking, f"{scheme}://{name}:1234")
    assert (record["status"], record["error"]["hint"]) == ("dns", HINTS["dns"])
    assert f"{name} does not resolve" in record["error"]["message"]


NO_CONNECTION = {
    errno.EHOSTUNREACH: "no_route",
    errno.ENETUNREACH: "no_route",
    errno.EMFILE: "no_route: open files",
    errno.ENFILE: "no_route: open files",
    errno.ENOBUFS: "no_route: memory",
    errno.EACCES: "no_route: not permitted",
    errno.EPERM: "no_route: not permitted",
    errno.EADDRNOTAVAIL: "no_route: own address",
    errno.EINVAL: "no_route: own address",
    errno.EPROTOTYPE: "no_route: other",
}


def refuse_connections(monkeypatch, number):
    """The system makes no connection, with this error."""

    def connect(self, address):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: number)


@pytest.mark.parametrize("number", NO_CONNECTION, ids=errno.errorcode.get)
def test_the_system_says_why_there_is_no_connection(asking, monkeypatch, number):
    refuse_connections(monkeypatch, number)
    record = record_of(asking, "http://192.0.2.1:1234")
    assert record["status"] == "no_route"
    assert f"could not be reached ({os.strerror(number).lower()})" in record["error"]["message"].lower()
    assert record["error"]["hint"] == HINTS[NO_CONNECTION[number]]


def test_another_machine_that_refuses_may_listen_on_its_own_address_alone(asking, monkeypatch):
    refuse_connections(monkeypatch, errno.ECONNREFUSED)
    record = record_of(asking, "http://192.0.2.1:1234")
    assert (record["status"], record["error"]["hint"]) == ("refused", HINTS["refused"])


def test_a_machine_without_files_to_open_does_not_blame_the_host(asking, monkeypatch):
    make = socket.socket

    def full(family=socket.AF_INET, kind=socket.SOCK_STREAM, *args, **kwargs):
        if family == socket.AF_INET and not kwargs.get("fileno"):
            raise OSError(errno.EMFILE, "Too many open files")
        return make(family, kind, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", full)
    record = record_of(asking, "http://192.0.2.1:1234")
    assert (record["status"], record["error"]["hint"]) == ("no_route", HINTS["no_route: open files"])
    monkeypatch.setenv("http_proxy", "http://192.0.2.2:3128")
    record = record_of(asking, "http://192.0.2.1:1234", use_proxy=True)
    assert "through the proxy" in record["error"]["message"]
    assert record["error"]["hint"] == HINTS["no_route: open files"]


class TestTls:
    def test_a_trusted_certificate(self, asking, fleet, certificates):
        assert record_of(asking, fleet.urls["tls"], ca_path=str(certificates / "ca.pem"))["ok"]

    @pytest.mark.skipif(not shutil.which("openssl"), reason="the program openssl, which names the files of such a folder, is missing")
    def test_a_folder_of_authorities(self, asking, fleet, certificates, tmp_path):
        (tmp_path / "ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
        # OpenSSL looks for other names.
        assert record_of(asking, fleet.urls["tls"], ca_path=str(tmp_path))["status"] == "tls"
        name = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", str(certificates / "ca.pem")], check=True, capture_output=True, text=True
        )
        (tmp_path / (name.stdout.strip() + ".0")).write_bytes((certificates / "ca.pem").read_bytes())
        assert record_of(asking, fleet.urls["tls"], ca_path=str(tmp_path))["ok"]

    def test_an_unknown_authority(self, asking, fleet, certificates):
        record = record_of(asking, fleet.urls["tls"])
        assert record["status"] == "tls"
        assert "not trusted" in record["error"]["message"] and "Set ca_path" in record["error"]["hint"]
        # Where ca_path is set already, to another CA, the hint does not ask to set it for the first time.
        record = record_of(asking, fleet.urls["tls"], ca_path=str(certificates / "other-ca.pem"))
        assert (record["status"], record["error"]["hint"]) == ("tls", HINTS["tls: another CA"])

    def test_the_environment_does_not_change_what_is_trusted(self, asking, fleet, certificates, monkeypatch):
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(certificates / "ca.pem"))
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert record_of(asking, fleet.urls["tls"])["status"] == "tls"

    def test_a_certificate_of_another_name(self, asking, fleet, certificates):
        record = record_of(asking, fleet.urls["tls_stranger"], ca_path=str(certificates / "ca.pem"))
        assert record["status"] == "tls"
        assert "mismatch" in record["error"]["message"]

    @pytest.mark.parametrize("host", ["tls", "tls_stranger"])
    def test_validation_can_be_turned_off(self, asking, fleet, host, recwarn):
        assert record_of(asking, fleet.urls[host], validate_certs=False)["ok"]
        assert not recwarn.list

    def test_a_client_certificate(self, asking, fleet, certificates):
        options = {"ca_path": str(certificates / "ca.pem")}
        assert record_of(asking, fleet.urls["tls_client"], **options)["status"] in ("tls", "disconnected")
        own = str(certificates / "client.pem")
        assert record_of(asking, fleet.urls["tls_client"], client_cert=own, client_key=own, **options)["ok"]

    def test_files_that_hold_something_else_are_named(self, asking, fleet, tmp_path):
        before = len(fleet.requests("tls"))
        (tmp_path / "notes.txt").write_text("not a certificate")
        notes = str(tmp_path / "notes.txt")
        with pytest.raises(OptionError, match="^ca_path: "):
            record_of(asking, fleet.urls["tls"], ca_path=notes)
        with pytest.raises(OptionError, match="^client_cert: "):
            record_of(asking, fleet.urls["tls"], client_cert=notes, client_key=notes)
        assert len(fleet.requests("tls")) == before

    def test_https_to_a_plain_server(self, asking, fleet):
        record = record_of(asking, fleet.urls["healthy"].replace("http:", "https:"))
        assert record["status"] == "tls"
        assert "http://" in record["error"]["hint"]

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_server_that_closes_during_the_handshake_is_not_said_to_speak_no_tls(self, asking, reset):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def close() -> None:
                connection, _address = listener.accept()
                connection.recv(65536)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

            threading.Thread(target=close, daemon=True).start()
            record = record_of(asking, f"https://127.0.0.1:{listener.getsockname()[1]}")
        assert (record["status"], record["error"]["hint"]) == ("tls", HINTS["tls: closed"])
        assert "closed the connection during the TLS handshake" in record["error"]["message"]

    @pytest.mark.parametrize(("alert", "case"), [(70, "old"), (40, "handshake"), (42, "client certificate"), (116, "client certificate")])
    def test_an_alert_of_the_server_has_its_next_step(self, asking, alert, case):
        with Server(b"\x15\x03\x03\0\2\2" + bytes([alert])) as server:
            record = record_of(asking, f"https://127.0.0.1:{server.port}")
        assert (record["status"], record["error"]["hint"]) == ("tls", HINTS[f"tls: {case}"])

    def test_plain_http_to_a_tls_server(self, asking, fleet):
        record = record_of(asking, fleet.urls["tls"].replace("https:", "http:"))
        # What comes depends on the server's OpenSSL: an alert, or nothing.
        assert (record["status"], record["error"]["hint"]) in [
            ("invalid", HINTS["invalid: not HTTP"]),
            ("disconnected", HINTS["disconnected: without TLS"]),
        ]

    def test_only_a_server_that_says_nothing_may_expect_tls(self, asking, fleet):
        hints = {name: record_of(asking, fleet.urls[name])["error"]["hint"] for name in ("reset", "cut_off")}
        assert hints == {"reset": HINTS["disconnected: without TLS"], "cut_off": HINTS["disconnected"]}


class Proxy(Server):
    """A proxy that notes the head of each request, and answers it as an LM Studio without models or forbids it."""

    def __init__(self, answer: bytes):
        self.heads: list[str] = []
        super().__init__(answer)
        self.address = f"127.0.0.1:{self.port}"

    def answer(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head.decode())
        client.sendall(self.first)


@pytest.fixture
def proxy():
    with Proxy(http(EMPTY)) as running:
        yield running


@pytest.fixture
def forbidding_proxy():
    with Proxy(http(b"", status=b"403 Forbidden")) as running:
        yield running


class TestProxy:
    def test_none_is_used_unless_asked_for(self, asking, proxy, monkeypatch):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://" + proxy.address)
        assert record_of(asking, "http://gpu01.invalid:1234")["status"] == "dns"
        assert proxy.heads == []

    @pytest.mark.parametrize("use_proxy", [True, False])
    def test_loopback_is_never_captured(self, asking, fleet, proxy, monkeypatch, use_proxy):
        monkeypatch.setenv("http_proxy", "http://" + proxy.address)
        assert record_of(asking, fleet.urls["healthy"], use_proxy=use_proxy)["counts"]["models"] > 0
        assert proxy.heads == []

    def test_one_that_is_asked_for_gets_the_whole_url(self, asking, proxy, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://some%20body:pass@" + proxy.address)
        assert record_of(asking, "http://gpu01.invalid:1234/x", use_proxy=True)["ok"]
        (head,) = proxy.heads
        assert head.startswith("GET http://gpu01.invalid:1234/x/api/v1/models HTTP/1.1\r\nHost: gpu01.invalid:1234\r\n")
        assert "Proxy-Authorization: Basic " + base64.b64encode(b"some body:pass").decode() in head

    @pytest.mark.parametrize(
        "no_proxy", [".invalid", "gpu01.invalid", "gpu01.invalid.", ".INVALID.", "other, gpu01.invalid.:1234 ,", "invalid..", "*"]
    )
    @pytest.mark.parametrize("host", ["gpu01.invalid", "GPU01.invalid."])
    def test_no_proxy_counts(self, asking, proxy, monkeypatch, no_proxy, host):
        monkeypatch.setenv("http_proxy", "http://" + proxy.address)
        monkeypatch.setenv("no_proxy", no_proxy)
        assert record_of(asking, f"http://{host}:1234", use_proxy=True)["status"] == "dns"
        assert proxy.heads == []

    @pytest.mark.parametrize("no_proxy", ["gpu01.invalid.:1235", "gpu0", "01.invalid.", "."])
    def test_no_proxy_counts_for_what_it_names_alone(self, asking, proxy, monkeypatch, no_proxy):
        monkeypatch.setenv("http_proxy", "http://" + proxy.address)
        monkeypatch.setenv("no_proxy", no_proxy)
        assert record_of(asking, "http://gpu01.invalid:1234", use_proxy=True)["ok"]

    def test_https_goes_through_a_tunnel_that_does_not_see_the_token(self, asking, forbidding_proxy, monkeypatch):
        monkeypatch.setenv("https_proxy", "http://a:b@" + forbidding_proxy.address)
        record = record_of(asking, "https://gpu01.invalid", use_proxy=True, token=TOKEN)
        (head,) = forbidding_proxy.heads
        assert head.startswith("CONNECT gpu01.invalid:443 HTTP/1.")
        assert "Proxy-Authorization: Basic " in head and TOKEN not in head
        assert record["status"] == "no_route"
        assert "through the proxy http://" + forbidding_proxy.address in record["error"]["message"]
        assert "a:b" not in json.dumps(record)

    def test_nothing_is_left_behind_of_one_that_answers_without_end(self, asking, monkeypatch):
        with Server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", forever=b" ") as endless:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{endless.port}")
            assert record_of(asking, "http://gpu01.invalid:1234", use_proxy=True, timeout=0.5)["status"] == "timeout"
            assert finished_threads()

    def test_one_that_is_down_is_named(self, asking, monkeypatch):
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{reserved.getsockname()[1]}")
            record = record_of(asking, "http://gpu01.invalid:1234", use_proxy=True)
        assert (record["status"], record["error"]["hint"]) == ("no_route", HINTS["no_route: proxy"])
        assert "through the proxy" in record["error"]["message"]

    def test_one_whose_name_does_not_resolve_is_named(self, asking, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
        record = record_of(asking, "http://gpu01.invalid", use_proxy=True)
        assert (record["status"], record["error"]["hint"]) == ("dns", HINTS["dns: proxy"])
        assert "the proxy's name proxy.invalid does not resolve" in record["error"]["message"]

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_one_that_does_not_answer_is_named_in_the_timeout(self, asking, monkeypatch, scheme):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
            record = record_of(asking, f"{scheme}://gpu01.invalid", use_proxy=True, timeout=3)
        assert record["status"] == "timeout"
        assert "(the proxy accepted the connection)" in record["error"]["message"]
        assert record["error"]["hint"] == HINTS["timeout: proxy"]

    def test_one_that_accepts_no_connection_is_named_in_the_timeout(self, asking, monkeypatch):
        with nobody_accepts() as authority:
            monkeypatch.setenv("http_proxy", f"http://{authority}")
            record = record_of(asking, "http://gpu01.invalid", use_proxy=True, timeout=0.5)
        assert "(no connection was made to the proxy)" in record["error"]["message"]
        assert (record["status"], record["error"]["hint"]) == ("timeout", HINTS["timeout: no proxy"])

    def test_a_variable_that_is_no_url_is_an_error_without_its_value(self, asking, monkeypatch):
        monkeypatch.setenv("http_proxy", "socks5://user:hunter2@127.0.0.1:1")
        with pytest.raises(OptionError, match="^use_proxy: .*http_proxy") as caught:
            record_of(asking, "http://gpu01.invalid:1234", use_proxy=True)
        assert "hunter2" not in str(caught.value)


ENDLESS = """
import resource, sys
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.tests.raw_server import EMPTY, Server, http
from ansible_collections.gpufleet.lmstudio.tests.transports import ASK, LATE
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
record = ASK[sys.argv[2]](make_endpoint({"url": sys.argv[1], "timeout": 20, "max_response_bytes": 1048576}, ""), "full")
print(record["status"], peak() - before)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="ru_maxrss is in bytes there")
@pytest.mark.parametrize("fault", ["endless", "redirect_endless", "gzip_bomb"])
@pytest.mark.parametrize("way", ASK)
def test_a_body_of_a_gigabyte_stops_at_the_limit_with_constant_memory(fleet, way, fault):
    told = subprocess.run(
        [sys.executable, "-c", ENDLESS, fleet.urls[fault], way],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert told[0] == STATUS_OF_FAULT[fault]
    assert int(told[1]) < 16 * 1024


def test_what_the_controller_says_without_requests(monkeypatch):
    monkeypatch.setattr(_requests, "MISSING", "urllib3 1.26.20 is older than 2")
    with pytest.raises(
        AnsibleError, match="urllib3 1.26.20 is older .* into the Python that runs Ansible: pip install --upgrade requests urllib3"
    ):
        record_of(ASK["requests"], "http://127.0.0.1:1")


LEFT = """
import os, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from ansible_collections.gpufleet.lmstudio.tests.forked_simulator import ForkedSimulator
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
simulator = {"started": Simulator, "forked": ForkedSimulator}[sys.argv[3]](Path(sys.argv[2]))
os._exit(0)
"""


@pytest.mark.parametrize("how", ["started", "forked"])
def test_a_simulator_ends_with_the_process_that_started_it(tmp_path, how):
    (tmp_path / "fleet.yml").write_text("hosts: {gpu01: {}}")
    command = [sys.executable, "-c", LEFT, str(collections_path()), str(tmp_path / "fleet.yml"), how]
    # The simulator holds the standard error that it inherited: reading that to its end waits for the simulator's end.
    subprocess.run(command, check=True, capture_output=True, timeout=120)
