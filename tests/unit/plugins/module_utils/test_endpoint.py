# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which options make an endpoint, and what the errors about the others say."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import TARGET, make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.option_checks import without_userinfo
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.masking import short_secret_warning
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import LIST_MODELS

# Userinfo in what is nearly a URL.
ODD = [
    "user:hunter2@gpu01:1234",
    "http://user:hun/hunter2@gpu01",
    "http://user:hun#hunter2@gpu01",
    "http://user:hun?hunter2@gpu01",
    "http:/user:hunter2@gpu01",
    "http:///user:hunter2@gpu01",
    "user:hunter2@http://gpu01",
]


def endpoint(**options):
    return make_endpoint(options, "http://gpu01")


@pytest.mark.parametrize(
    "url, normalised",
    [
        ("http://gpu01:1234", "http://gpu01:1234"),
        ("http://gpu01:1234/", "http://gpu01:1234"),
        ("http://gpu01:1234//", "http://gpu01:1234"),
        ("http://gpu01:1234/v1", "http://gpu01:1234"),
        ("http://gpu01:1234/v1/", "http://gpu01:1234"),
        ("http://gpu01:1234/api/v1", "http://gpu01:1234"),
        ("http://gpu01:1234/api/v0", "http://gpu01:1234"),
        ("http://gpu01:1234/api/v1/models", "http://gpu01:1234"),
        ("http://gpu01:1234/api/v1/models/", "http://gpu01:1234"),
        ("http://gpu01:1234/api/v0/models", "http://gpu01:1234"),
        ("http://gpu01:1234/v1/models", "http://gpu01:1234"),
        ("http://gpu01:1234/v1/chat/completions", "http://gpu01:1234"),
        ("https://gw.example/gpu01/v1/chat/completions", "https://gw.example/gpu01"),
        ("https://gw.example/api", "https://gw.example/api"),
        ("https://gw.example/models", "https://gw.example/models"),
        ("https://gw.example/gpu01", "https://gw.example/gpu01"),
        ("https://gw.example/gpu01/api/v1", "https://gw.example/gpu01"),
        ("https://gw.example/v1/gpu01", "https://gw.example/v1/gpu01"),
        ("HTTP://GPU01:1234", "http://gpu01:1234"),
        ("  http://gpu01:1234\n", "http://gpu01:1234"),
        ("http://[FE80::1]:1234", "http://[fe80::1]:1234"),
        ("http://[fe80::1%25eth0]:1234", "http://[fe80::1%25eth0]:1234"),
        ("http://10.0.0.7", "http://10.0.0.7"),
        ("http://gpu_01.lan.:1234", "http://gpu_01.lan.:1234"),
        ("http://gpu-münchen.example:1234/lm", "http://xn--gpu-mnchen-eeb.example:1234/lm"),
        ("https://GPU-MÜNCHEN.example", "https://xn--gpu-mnchen-eeb.example"),
        ("http://gpu.東京.example", "http://gpu.xn--1lqs71d.example"),
    ],
)
def test_urls_are_normalised(url, normalised):
    made = endpoint(url=url)
    assert made.url == normalised
    assert LIST_MODELS.encoded(made).startswith(b"GET %s/api/v1/models HTTP/1.1\r\n" % urlsplit(normalised).path.encode())
    assert endpoint(url=made.url).url == made.url


@pytest.mark.parametrize(
    "url, says",
    [
        ("gpu01", "not a URL"),
        ("gpu01:1234", "not a URL"),
        ("ftp://gpu01", "unknown scheme"),
        ("file:///etc/passwd", "unknown scheme"),
        ("http://", "valid host"),
        ("http:///path", "valid host"),
        ("http://:1234", "valid host"),
        ("http://gpu 01", "spaces"),
        ("http://gpu01/\n", None),
        ("http://gpu01/a\nb", "spaces"),
        ("http://gpu01/ü", "characters"),
        ("http://straße.example", "xn--"),
        ("http://gpu\uff0fevil.example", "xn--"),
        ("http://gpü01\uff20evil.example", "user name"),
        ("http://ü..example", "xn--"),
        ("http://gpu01:0", "port 0"),
        ("http://gpu01:99999", "has a port that is not a number from 1 to 65535."),
        ("http://gpu01:abc", "has a port that is not a number from 1 to 65535."),
        ("http://gpu01:", "no port after it"),
        ("http://[::1", "not a valid URL"),
        ("http://[gpu01]", ""),
        ("http://gpu01?x=1", "query"),
        ("http://gpu01/#x", "fragment"),
        ("http://gpu01\\evil", "valid host"),
        ("http://{{ host }}", "spaces"),
    ],
)
def test_other_urls_are_refused_by_name(url, says):
    if says is None:
        assert endpoint(url=url).url == "http://gpu01"
        return
    with pytest.raises(OptionError) as caught:
        endpoint(url=url)
    assert str(caught.value).startswith("url: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2hunter2@gpu01",
        "http://hunter2hunter2@gpu01:1234/",
        "https://a:b@c@gpu01",
        "x://hunter2hunter2@h",
        "http://user:hunter2hunter2\uff20gpu01",
        "http://user:hunter2hunter2\ufe6bgpu01:1234",
        " http://user:hunter2hunter2%40gpu01:1234",
        "user:hunter2%40gpu01",
        "HTTPS://user%40example.com:hunter2%40gpu01/a",
        *ODD,
    ],
)
def test_userinfo_is_refused_and_never_shown(url):
    with pytest.raises(OptionError) as caught:
        endpoint(url=url)
    assert "hunter2" not in str(caught.value) and "token" in str(caught.value)
    assert "hunter2" not in without_userinfo(url) and "b@c" not in without_userinfo(url)
    with pytest.raises(OptionError):
        endpoint(url=without_userinfo(url))


@pytest.mark.parametrize("url", ["http://gpu01/a%40b", "http://gpu01:1234/v/%40/x", "http://[::1]/%40"])
def test_an_escaped_at_sign_in_a_path_does_not_count(url):
    assert endpoint(url=url).url == without_userinfo(url) == url


def test_a_query_is_not_shown():
    for url in ("http://gpu01:1234/?api_key=hunter2", "http://gpu 01#hunter2", "ftp://gpu01?hunter2"):
        with pytest.raises(OptionError) as caught:
            endpoint(url=url)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options, url",
    [
        ({}, "http://gpu01:1234"),
        ({"port": 4321}, "http://gpu01:4321"),
        ({"url": "http://gpu02", "port": 4321}, "http://gpu02:4321"),
        ({"url": "http://gpu02"}, "http://gpu02"),
    ],
)
def test_port_fills_in_where_the_url_names_none(options, url):
    assert endpoint(**options).url == url


@pytest.mark.parametrize(
    "options, option, says",
    [
        ({"url": "http://gpu01:1234", "port": 4321}, "port", "already names a port"),
        ({"port": 0}, "port", "from 1 to 65535"),
        ({"port": -1}, "port", "from 1 to 65535"),
        ({"port": 65536}, "port", "from 1 to 65535"),
        ({"timeout": 0}, "timeout", "more than 0"),
        ({"timeout": -1}, "timeout", "more than 0"),
        ({"timeout": float("nan")}, "timeout", "more than 0"),
        ({"timeout": float("inf")}, "timeout", "more than 0"),
        ({"timeout": 1e9}, "timeout", "at most"),
        ({"max_response_bytes": 0}, "max_response_bytes", "1 or more"),
        ({"ca_path": "/no/such/file"}, "ca_path", "'/no/such/file' does not exist on the controller"),
        ({"client_cert": "/no/such/file", "client_key": "/no/such/file"}, "client_cert", "does not exist on the controller"),
        ({"client_cert": "/no/such/file"}, "client_cert", "needs client_key"),
        ({"client_key": "/no/such/file"}, "client_key", "needs client_cert"),
        ({"headers": {"A": "x", "A B": "x"}}, "headers", "header 2 does not have a valid name"),
        ({"headers": {"A": "x\r\nB: y"}}, "headers", "cannot carry"),
        ({"headers": {"A": "x\0y"}}, "headers", "cannot carry"),
        ({"headers": {"Content-Length": 1}}, "headers", "set by the collection"),
        ({"headers": {"authorization": "x"}, "token": "y"}, "headers", "together with a token"),
        ({"token": "two words"}, "token", "cannot carry"),
        ({"token": "caf\u00e9"}, "token", "cannot carry"),
    ],
)
def test_other_options_that_cannot_be_used_are_refused_by_name(options, option, says):
    with pytest.raises(OptionError) as caught:
        endpoint(**options)
    assert caught.value.option == option
    assert str(caught.value).startswith(option + ": ")
    assert says in str(caught.value)


def test_a_file_is_looked_for_on_the_machine_that_a_message_names(tmp_path):
    with pytest.raises(OptionError, match="does not exist on the host that runs the module"):
        make_endpoint({"ca_path": "/no/such/file"}, "http://gpu01", machine=TARGET)
    with pytest.raises(OptionError, match="is not a file on the controller"):
        make_endpoint({"client_cert": str(tmp_path), "client_key": str(tmp_path)}, "http://gpu01")
    assert make_endpoint({"ca_path": "/no/such/file"}, "http://gpu01", machine=None).ca_path == "/no/such/file"


def test_an_error_uses_the_name_under_which_the_option_was_set():
    with pytest.raises(OptionError, match="^lmstudio_port: lmstudio_url 'http://a:1' already names a port"):
        make_endpoint({"url": "http://a:1", "port": 2}, "", {"url": "lmstudio_url", "port": "lmstudio_port"})


def test_an_unusable_secret_is_not_quoted():
    files = [
        {"client_cert": __file__, "client_key": key}
        for key in ("-----BEGIN PRIVATE KEY-----hunter2", "MII\nhunter2", "['-----BEGIN PRIVATE KEY-----\\nhunter2']")
    ]
    headers = [{"headers": {"X-Key": "hunter2\n" + "hunter2"}}, {"headers": {"Bearer hunter2": ""}}]
    for options in [{"token": "hunter2 hunter2"}, *headers, *files]:
        for machine in ("the controller", None):
            with pytest.raises(OptionError) as caught:
                make_endpoint(options, "http://gpu01", machine=machine)
            assert "hunter2" not in str(caught.value)
        with pytest.raises(OptionError) as caught:
            endpoint(**options)
        assert "hunter2" not in str(caught.value)


def test_the_request_has_one_host_and_one_authorization():
    asked = endpoint(token=" abc-token \n", headers={"X-Number": 7, "user-agent": "mine"})
    headers = Request("GET", "/api/v1/models").headers(asked)
    assert headers["Authorization"] == "Bearer abc-token"
    assert headers["Host"] == "gpu01:1234"
    assert headers["X-Number"] == "7"
    assert [value for name, value in headers.items() if name.lower() == "user-agent"] == ["mine"]


def test_of_a_header_in_two_spellings_the_later_one_is_sent():
    headers = Request("GET", "/").headers(endpoint(headers={"X-Key": "a", "x-key": "b"}))
    assert {name: value for name, value in headers.items() if name.lower() == "x-key"} == {"x-key": "b"}


def test_an_endpoint_does_not_show_its_secrets():
    made = endpoint(token="hunter2hunter2", headers={"X-Key": "hunter2hunter2"})
    assert "hunter2" not in repr(made) + str(made)


def test_a_short_token_gets_a_warning():
    assert "value of token is short" in short_secret_warning(endpoint(token="elevenchars"))
    assert short_secret_warning(endpoint(token="twelve-chars")) is None
    assert short_secret_warning(endpoint()) is None


def test_a_short_header_gets_one_too():
    assert "value of X-Version is short" in short_secret_warning(endpoint(headers={"X-Long": "twelve-chars", "X-Version": 1}))
    assert short_secret_warning(endpoint(headers={"X-Long": "twelve-chars", "X-Empty": ""})) is None


def test_a_body_says_itself_what_it_is():
    endpoint = make_endpoint({"headers": {"content-TYPE": "text/plain", "X-Key": "a"}}, "http://gpu01")
    sent = Request("POST", "/load", b"{}").headers(endpoint)
    assert [value for name, value in sent.items() if name.lower() == "content-type"] == ["application/json"]
    assert sent["Content-Length"] == "2" and sent["X-Key"] == "a"
    assert Request("GET", "/list").headers(endpoint)["content-TYPE"] == "text/plain"
