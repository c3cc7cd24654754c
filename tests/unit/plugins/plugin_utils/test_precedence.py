# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What many hosts are asked with, and what is to be corrected where one of them cannot be asked."""

from __future__ import annotations

import datetime
from types import MappingProxyType, SimpleNamespace

import pytest
from ansible import template
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._assertion import MODEL_ASSERT_SPEC
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._input_errors import OptionError
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host import Host, NotAsked
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.host_secrets import (
    withhold_differing_secrets,
    withhold_from_server,
)
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.precedence import Resolved, resolve_fleet
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.templates import decrypted
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.validate import validate_options
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.written import Written
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._options.wrong_machine import foreign_url_warning


def host(name: str = "gpu01", **variables: object) -> Host:
    return Host(name, variables, Templar(loader=DataLoader()), "ssh", variables)


def trusted(text: str) -> str:
    """A template, as it is in a playbook."""
    return getattr(template, "trust_as_template", str)(text)


def not_asked(options: dict, **variables: object) -> NotAsked:
    odd, fine = resolve_fleet(options, [host(**variables), host("gpu02")]).values()
    assert isinstance(odd, NotAsked) and isinstance(fine, Endpoint)
    return odd


@pytest.mark.parametrize("use_proxy", ["use_proxy", "lmstudio_use_proxy"])
def test_a_proxy_that_the_environment_names_wrongly_is_corrected_there(use_proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://user:hunter2@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "gpu02")
    options, variables = ({"use_proxy": True}, {}) if use_proxy == "use_proxy" else ({}, {use_proxy: True})
    assert not_asked(options, **variables) == (
        f"{use_proxy}: the environment variable http_proxy is not a URL of the form http://HOST:PORT",
        f"Correct that variable in the environment of the controller, or set {use_proxy} to false.",
    )


def test_a_variable_is_corrected_at_its_host(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    found = not_asked({}, lmstudio_url="https://gpu01", lmstudio_ca_path=str(tmp_path / "ca.pem"))
    assert found.reason.startswith("lmstudio_ca_path: ") and found.reason.endswith(" holds no CA certificates in PEM form")
    assert found.hint == "Correct the variables of the host."


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("options", [("ca_path",), ("client_cert", "client_key")])
def test_a_file_of_an_option_that_holds_something_else_is_not_blamed_on_a_host(scheme, options, tmp_path):
    (tmp_path / "file.pem").write_text("nothing")
    with pytest.raises(OptionError, match=f"^{options[0]}: "):
        resolve_fleet(dict.fromkeys(options, str(tmp_path / "file.pem")), [host(lmstudio_url=f"{scheme}://gpu01")])


def test_options_get_their_types_and_records_and_requirements_are_not_copied_for_that():
    record, require = {"ok": True}, [{"model": "one"}]
    options = validate_options(MODEL_ASSERT_SPEC, {"record": record, "require": require, "quiet": "yes"})
    assert options["record"] is record and options["require"] is require
    assert (options["quiet"], options["exclusive"]) == (True, False)
    assert validate_options(MODEL_ASSERT_SPEC, {"record": '{"ok": true}', "require": []})["record"] == record


def test_of_a_secret_only_types_that_are_known_are_taken():
    for value in (datetime.datetime(2026, 1, 1), object()):
        options = {"headers": {"X-When": value}, "token": 7, "require": []}
        with pytest.raises(AnsibleError, match="^lmstudio_headers: it is not a mapping of names and texts.$"):
            validate_options(MODEL_ASSERT_SPEC, options, {"headers": "lmstudio_headers"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timeout": "soon"}, "lmstudio_timeout: it is not a number"),
        ({"port": "12x34"}, "lmstudio_port: it is not a whole number"),
        ({"port": True}, "lmstudio_port: true is not a number."),
        ({"timeout": False}, "lmstudio_timeout: false is not a number."),
        ({"wait_timeout": True}, "wait_timeout: true is not a number."),
        ({"validate_certs": "perhaps"}, "validate_certs: it is not true or false."),
        ({"record": 7}, "record: it is not a mapping"),
        ({"port": "12x34", "timeout": "soon"}, "lmstudio_port: it is not a whole number; lmstudio_timeout: it is not a number"),
        ({"api": "v2"}, "value of lmstudio_api must be one of: v1, v0, auto, got: v2"),
    ],
)
def test_what_is_wrong_with_another_option_is_said_in_plain_words(wrong, said):
    options = {"headers": {"X-Key": "hunter2hunter2"}, "token": "hunter2hunter2", "require": []}
    with pytest.raises(AnsibleError, match=f"^{said}$"):
        validate_options(MODEL_ASSERT_SPEC, {**options, **wrong}, {name: f"lmstudio_{name}" for name in ("api", "port", "timeout")})


def test_a_mapping_that_is_no_dictionary_is_one_for_the_check_of_options():
    # As all variables of a host are, where Jinja keeps types.
    record = decrypted(MappingProxyType({"ok": True, "error": MappingProxyType({})}))
    assert validate_options(MODEL_ASSERT_SPEC, {"record": record, "require": []})["record"] == {"ok": True, "error": {}}


def test_a_secret_is_withheld_wherever_it_is_and_an_option_of_the_task_itself_is_not_looked_at():
    options = {"token": "of-gpu01-0123", "headers": {"X-Key": "of-gpu01-0123", "X-Env": "test"}}
    task = SimpleNamespace(environment=[], _parent=None, get_ds=lambda: None, _get_parent_attribute=lambda _name, omit: None)
    action = SimpleNamespace(_task=task, _compute_environment_string=lambda found: found.update(LM_API_TOKEN="of-gpu01-0123"))
    gpu01 = host(lmstudio_token="of-gpu01-0123")

    def withhold(options, except_for=()):
        resolved = Resolved(options, {}, "http://gpu01", on_controller=True, withheld={})
        found = withhold_from_server(action, gpu01, resolved, Written([options]), except_for)
        return found.options, found.withheld

    withheld = dict.fromkeys(("token", "headers", "LM_API_TOKEN"), "lmstudio_token")
    assert withhold(options) == ({"headers": {"X-Env": "test"}}, withheld)
    assert task.environment == [{"LM_API_TOKEN": ""}]
    own = {"token": "of-gpu01-0123"}
    assert withhold(own, except_for=own) == (own, {})


def test_a_certificate_and_its_key_that_are_made_of_a_secret_are_withheld_together():
    written = {"client_cert": trusted("{{ lmstudio_token }}.pem"), "client_key": trusted("{{ lmstudio_token }}.key")}
    gpu01 = host(lmstudio_token="of-gpu01-0123")
    task = SimpleNamespace(loop=None, _parent=None)
    action = SimpleNamespace(_task=task, _compute_environment_string=lambda found: None)
    options = {option: gpu01.template(value) for option, value in written.items()}
    found = withhold_from_server(action, gpu01, Resolved(options, {}, "", on_controller=True), Written([written]), ())
    assert (found.options, found.withheld) == ({}, {"client_cert": "lmstudio_token"})


def test_a_variable_that_does_not_apply_is_named_once():
    def warning(**withheld):
        return foreign_url_warning(Endpoint("http://other"), Resolved({}, {}, "", on_controller=True, withheld=withheld), host())

    token = {"token": "lmstudio_token", "headers": "lmstudio_token"}
    assert "so lmstudio_timeout, lmstudio_token do not apply there" in warning(timeout="lmstudio_timeout", **token)
    assert "so lmstudio_token does not apply there" in warning(**token)


@pytest.mark.parametrize("differs", ["client_cert", "client_key"])
def test_a_certificate_that_is_not_the_same_for_a_host_goes_without_its_key(differs):
    pair = {"client_cert": "cert.pem", "client_key": "key.pem"}
    hosts = [host("same"), host("another"), host("own", lmstudio_client_cert="own.pem", lmstudio_client_key="own.pem")]
    written = Written([{option: trusted("{{ " + option + " }}") for option in pair}])

    def variables_of(each):
        return {**pair, **({differs: "other.pem"} if each.name == "another" else {})}

    instead, (warning,) = withhold_differing_secrets(pair, pair, written, hosts, variables_of)
    assert instead == {"another": {"client_cert": None, "client_key": None}}
    assert warning == (
        f"{differs} is a template that has another value, or none, for hosts without lmstudio_{differs}: another. So it is not sent to them. "
        f"Set lmstudio_{differs} as a variable of those hosts. If one value is for all, such as that of a lookup, save it in an earlier task, with "
        "set_fact and run_once: true. In a play on localhost, use what was saved as hostvars.localhost.NAME."
    )
