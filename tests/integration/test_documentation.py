# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation shows works as it is written."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, TARGET_PYTHON, run_in

BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for where in ("docs/*.md", "roles/*/README.md") for page in sorted(ROOT.glob(where)))]
SIDECARS = [(path.parent.name, path.stem) for path in sorted(ROOT.glob("plugins/*/*.yml"))]
BLOCKS = [(page, block) for page in PAGES for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]
PLAYS = [pytest.param(block, id=f"{page}: {block.splitlines()[0]}") for page, block in BLOCKS if block.startswith("- name: ")]
SOURCES = [pytest.param(block, id=f"{page} {n}") for n, (page, block) in enumerate(BLOCKS) if "plugin: gpufleet" in block]
PIPELINES = [pytest.param(block, id=block.splitlines()[0]) for _page, block in BLOCKS if block.startswith(("# .github/", "# .gitlab"))]


def examples_of(kind, name):
    sidecar = ROOT / "plugins" / kind / f"{name}.yml"
    if sidecar.exists():
        return str(yaml.safe_load(sidecar.read_text(encoding="utf-8"))["EXAMPLES"])
    text = (ROOT / "plugins" / kind / f"{name}.py").read_text(encoding="utf-8")
    return re.search(r'EXAMPLES = r"""\n(.*?)"""', text, re.DOTALL)[1]


def on_the_fleet(text, fleet):
    """An example with the addresses of a simulated fleet in place of those that it names."""
    for name, url in fleet.urls.items():
        text = text.replace(f"http://{name}:1234", url)
    return text


@pytest.fixture
def fleet(start):
    return start({name: {"payload": "two_loaded.json"} for name in ("gpu01", "gpu02")})


@pytest.fixture
def hosts(fleet):
    return {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "SECURITY.md", "tests/simulator/README.md", "tests/lab/README.md"])
def test_links_between_files_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    # Those into the reference are checked when the site is built, which makes it.
    linked = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target and not target.startswith("reference/")]
    assert [target for target in linked if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_pages_have_plays_and_sources():
    assert len(PLAYS) >= 7
    assert len(SOURCES) >= 3


@pytest.mark.parametrize("play", PLAYS)
def test_a_play_of_the_documentation_works_as_it_is(run, fleet, hosts, tmp_path, play):
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    variables = json.dumps({"server": fleet.urls["gpu01"], "restart_command": "true"})
    outcome = run(grouped(play), hosts, "-i", "lmstudio.yml", "-e", variables)
    assert "failed=0" in outcome.output and "skipping: no hosts matched" not in outcome.output
    assert all(fleet.requests(name) for name in hosts)


def grouped(play):
    """The group of the examples, before the play."""
    return (
        """
- name: Have a group
  hosts: all
  gather_facts: false
  tasks:
    - name: Of all hosts
      ansible.builtin.group_by: {key: gpu}
"""
        + play
    )


@pytest.mark.parametrize(
    "kind, name",
    [
        ("modules", "model_info"),
        ("modules", "model_assert"),
        ("modules", "fleet_info"),
        ("modules", "fleet_report"),
        ("modules", "model_facts"),
        ("lookup", "models"),
        *SIDECARS,
    ],
)
def test_the_examples_of_a_plugin_work_as_they_are(run, fleet, hosts, kind, name):
    examples = on_the_fleet(examples_of(kind, name), fleet)
    if "  hosts: gpu\n  gather_facts" not in examples:
        examples = "- name: Examples\n  hosts: gpu\n  gather_facts: false\n  tasks:\n" + re.sub("(?m)^", "    ", examples)
    outcome = run(grouped(examples), hosts, "-e", "vault_lmstudio_token=a-token-of-a-vault")
    assert outcome.output.count("failed=0") == len(hosts)
    assert all(fleet.requests(name) for name in hosts)


EXAMPLE_SOURCES = [pytest.param(text, id=f"example {n}") for n, text in enumerate(examples_of("inventory", "lmstudio").split("---\n"))]


@pytest.mark.parametrize("source", EXAMPLE_SOURCES + SOURCES)
def test_a_source_of_the_documentation_works_as_it_is(read_inventory, fleet, hosts, source):
    authority = fleet.urls["gpu01"].partition("//")[2]
    source = source.replace("gpu[01:40].example:1234", authority).replace(
        "https://lab.example/lmstudio", f"http://localhost:{authority[10:]}"
    )
    gpu = {"gpu": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}
    files = {"hosts.yml": gpu, "lmstudio.yml": source}
    read = read_inventory(files, env={"FLEET_TOKEN": "a-token-of-the-fleet", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"})
    expected = (["gpu01", "gpu02"] if "hosts: gpu" in source else []) + (["127.0.0.1", "localhost"] if "endpoints:" in source else [])
    assert read.groups["lmstudio_ok"] == sorted(expected), read.output
    if "long_context:" in source:
        assert read.groups["long_context"] == read.groups["status_ok"] == ["gpu01", "gpu02"]
        assert read.variables["gpu01"]["loaded_models"] == ["openai/gpt-oss-20b", "qwen/qwen3-8b"]
    if "lmstudio_controller_url:" in source:
        assert read.variables["localhost"]["lmstudio_controller_url"] == f"http://localhost:{authority[10:]}"


def test_the_variables_of_an_audit_in_the_documentation_work_as_they_are(run, fleet, hosts, tmp_path):
    (variables,) = [block for _page, block in BLOCKS if block.startswith("# audit.yml")]
    (tmp_path / "audit.yml").write_text(variables)
    play = grouped("- name: Audit\n  ansible.builtin.import_playbook: gpufleet.lmstudio.fleet_audit\n")
    outcome = run(play, hosts, "-e", "@audit.yml")
    assert "2 of 2 hosts gave a model list, 0 violations" in outcome.output
    assert len(list((tmp_path / "fleet_audit").iterdir())) == 4


def test_the_first_play_of_the_troubleshooting_says_who_is_not_ok_and_why(run, start):
    play = next(block for page, block in BLOCKS if page == "docs/troubleshooting.md")
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"token": "a-token-of-gpu02"}})
    outcome = run(grouped(play), {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
    assert f"gpu02 is auth. {fleet.urls['gpu02']} answered HTTP 401" in outcome.output
    assert "gpu01 is" not in outcome.output


def commands_in(pipeline):
    """The commands of Ansible in the file of a pipeline."""
    if isinstance(pipeline, str):
        return [pipeline] if pipeline.startswith("ansible-playbook ") else []
    parts = pipeline.values() if isinstance(pipeline, dict) else pipeline if isinstance(pipeline, list) else []
    return [command for part in parts for command in commands_in(part)]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_commands_of_a_pipeline_work_as_they_are(start, tmp_path, pipeline):
    """With the gate, the policy and the variables of the group that the documentation shows."""
    fleet = start({name: {"payload": "two_loaded.json", "token": "a-token-of-the-fleet"} for name in ("gpu01", "gpu02")})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    shown = [block for page, block in BLOCKS if page in ("docs/audit.md", "docs/pipelines.md")]
    files = {
        "inventory.yml": yaml.safe_dump({"gpu": {"hosts": hosts, "vars": {**LOCAL, "ansible_python_interpreter": TARGET_PYTHON}}}),
        "gate.yml": next(block for page, block in BLOCKS if page == "docs/pipelines.md" and block.startswith("- name: ")),
        **{name: next(block for block in shown if block.startswith(f"# {name}\n")) for name in ("audit.yml", "group_vars/gpu.yml")},
    }
    (tmp_path / "group_vars").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    commands = commands_in(yaml.safe_load(pipeline))
    assert [command.split()[1] for command in commands] == ["-i", "gpufleet.lmstudio.fleet_audit"]
    for command in commands:
        done = run_in(tmp_path, shlex.split(command), {"FLEET_TOKEN": "a-token-of-the-fleet"})
        assert done.returncode == 0, done.stdout + done.stderr
    reports = re.findall(r"fleet_audit/[a-z_]+\.[a-z]+", pipeline)
    assert reports and all((tmp_path / report).exists() for report in reports)


def test_the_overview_shows_the_fleet_of_the_demonstration(run, start):
    settings = yaml.safe_load((ROOT / "tests" / "demo" / "fleet.yml").read_text(encoding="utf-8"))["hosts"]
    fleet = start(settings)
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu03"]["lmstudio_token"] = settings["gpu03"]["token"]
    hosts["gpu04"]["lmstudio_token"] = "not-the-token-of-gpu04"
    overview = (ROOT / "playbooks" / "overview.yml").read_text(encoding="utf-8")
    words = [re.sub(r"\s+", " ", line) for line in run(overview, hosts).output.splitlines()]
    for row in (
        "HOST STATUS LOADED CONTEXT",
        "gpu01 ok qwen/qwen3-8b 16384",
        "gpu01 ok qwen/qwen3-8b 4096",
        "gpu01 ok openai/gpt-oss-20b 32768",
        "gpu02 ok - -",
        "gpu03 ok qwen/qwen3-8b 8192",
        "gpu04 auth - -",
        "gpu05 unsupported - -",
        "gpu06 refused - -",
        "mac01 ok qwen/qwen3-8b 40960",
    ):
        assert any(row in line for line in words), row
    text = "\n".join(words)
    assert "gpu01 can take long conversations." in text and "gpu02 can take" not in text
    assert "gpu02 is idle and could load" in text
    assert f"{fleet.urls['gpu01']} is ok, loaded: openai/gpt-oss-20b, qwen/qwen3-8b." in text
