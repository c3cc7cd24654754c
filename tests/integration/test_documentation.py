# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation shows works as it is written."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path

import pytest
import trustme
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._requirements.spec import REQUIRE
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, TARGET_PYTHON, run_in

BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for where in ("docs/*.md", "roles/*/README.md") for page in sorted(ROOT.glob(where)))]
SIDECARS = [(path.parent.name, path.stem) for path in sorted(ROOT.glob("plugins/*/*.yml"))]
BLOCKS = [(page, block) for page in PAGES for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]
ELSEWHERE = {
    "# 90-lmstudio.yml": "tests/scaling runs it, with Redis",
    "# gather.yml": "tests/scaling runs it, with Redis",
    "# execution-environment.yml, beside the base image of your choice": "it makes an image of a container",
    "# rulebook.yml": "tests/rulebook runs it, with ansible-rulebook",
    "# heal.yml": "tests/rulebook runs it, with ansible-rulebook",
    "# inventory/group_vars/all.yml": "tests/rulebook runs it, with ansible-rulebook",
    "# requirements.yml": "test_documented_commands.py installs what it names",
    "# endpoints.yml": "test_watch_arguments.py reads it",
    "# decision-environment.yml": "it makes an image of a container",
    "# input configuration": "a form of AWX",
    "# injector configuration": "a form of AWX",
}
"""Blocks that nothing here runs, and why."""


def is_source(block):
    return "plugin: gpufleet" in block and block.splitlines()[0] not in ELSEWHERE


PLAYS = [pytest.param(block, id=f"{page}: {block.splitlines()[0]}") for page, block in BLOCKS if block.startswith("- name: ")]
SOURCES = [pytest.param(block, id=f"{page} {n}") for n, (page, block) in enumerate(BLOCKS) if is_source(block)]
VARIABLES = [pytest.param(block, id=f"{page} {n}") for n, (page, block) in enumerate(BLOCKS) if re.match(r"# (host|group)_vars/", block)]
PIPELINES = [pytest.param(block, id=block.splitlines()[0]) for _page, block in BLOCKS if block.startswith(("# .github/", "# .gitlab"))]


RUN = ("- name: ", "# host_vars/", "# group_vars/", "# .github/", "# .gitlab", "# audit.yml", "# audit-fleet.yml", "# inventory.yml")
ASKED_BEFORE = re.compile(r"hosts: lmstudio_|(?<![.\w])lmstudio_record\.\w")
"""A play that uses what the inventory plugin asked."""


def test_every_block_of_the_documentation_is_run_or_says_why_not():
    others = [
        (page, block.splitlines()[0])
        for page, block in BLOCKS
        if page != "docs/quickstart.md" and not block.startswith(RUN) and not is_source(block)
    ]
    assert [(page, line) for page, line in others if line not in ELSEWHERE] == []
    assert {line for _page, line in others} == set(ELSEWHERE)
    fences = {fence for page in PAGES for fence in re.findall(r"(?m)^\s*```(\w+)", (ROOT / page).read_text(encoding="utf-8"))}
    assert fences <= {"console", "ini", "json", "nginx", "text", "yaml"}


def examples_of(kind, name):
    sidecar = ROOT / "plugins" / kind / f"{name}.yml"
    if sidecar.exists():
        return str(yaml.safe_load(sidecar.read_text(encoding="utf-8"))["EXAMPLES"])
    text = (ROOT / "plugins" / kind / f"{name}.py").read_text(encoding="utf-8")
    return re.search(r'EXAMPLES = r"""\n(.*?)"""', text, re.DOTALL)[1]


def on_the_fleet(text, fleet):
    """An example with the addresses of a simulated fleet in place of its own."""
    for name, url in fleet.urls.items():
        text = text.replace(f"http://{name}:1234", url)
    return text


@pytest.fixture
def fleet(start):
    return with_context(start({name: {"payload": "two_loaded.json"} for name in ("gpu01", "gpu02")}))


def with_context(fleet):
    """A fleet of ``two_loaded.json`` in which both instances of the chat model have the context that the examples require."""
    for name in fleet.urls:
        fleet.unload(name, "qwen/qwen3-8b:2")
        fleet.load(name, "qwen/qwen3-8b", context_length=8192)
    return fleet


@pytest.fixture
def hosts(fleet):
    return {name: {"lmstudio_url": url, "lmstudio_token": ""} for name, url in fleet.urls.items()}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "SECURITY.md", "tests/simulator/README.md", "tests/lab/README.md"])
def test_links_between_files_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    # Links into the reference are checked when the site is built, which generates it.
    linked = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target and not target.startswith("reference/")]
    assert [target for target in linked if not (ROOT / page).parent.joinpath(target).exists()] == []


def anchors_in(page):
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "SECURITY.md"])
def test_links_to_headings_lead_to_headings(page):
    linked = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    targets = [(ROOT / page if not target else (ROOT / page).parent / target, anchor) for target, anchor in linked]
    assert [(str(target), anchor) for target, anchor in targets if anchor not in anchors_in(target)] == []


@pytest.mark.once
@pytest.mark.parametrize("page", ["docs/threat_model.md", "docs/architecture.md", "CONTRIBUTING.md"])
def test_every_test_that_a_page_names_exists(page):
    files = list((ROOT / "tests").rglob("*.py"))
    known = {path.name for path in files}
    known |= {name for path in files for name in re.findall(r"(?m)^ *(?:async )?(?:def|class) (\w+)", path.read_text(encoding="utf-8"))}
    named = re.findall(r"`(test_\w+(?:\.py)?|Test\w+|tests/[\w/.]+)`", (ROOT / page).read_text(encoding="utf-8"))
    assert named and [name for name in named if name not in known and not (ROOT / name).exists()] == []


REFERENCES = {"architecture", "metrics", "performance", "threat_model", "troubleshooting"}
"""Pages in which people look something up. The others are guides, which they read."""
WORDS = 10_000
LICENCE = re.compile(r"(?ms)^<!--[^\n]*\n.*?-->[^\n]*\n")


@pytest.mark.once
def test_the_guides_stay_short():
    """Counted as by ``sed '/^<!--/,/-->/d' docs/gate.md | wc -w``, for all guides together."""
    guides = [page for page in (ROOT / "docs").glob("*.md") if page.stem not in REFERENCES]
    words = {page.name: len(LICENCE.sub("", page.read_text(encoding="utf-8")).split()) for page in guides}
    longest = ", ".join(f"{name} ({words[name]})" for name in sorted(words, key=lambda name: -words[name])[:5])
    total = sum(words.values())
    assert total <= WORDS, f"The guides have {total} words, {total - WORDS} more than {WORDS}. The longest are {longest}."


def test_the_pages_have_plays_and_sources():
    assert len(PLAYS) >= 7
    assert len(SOURCES) >= 3


@pytest.mark.parametrize("play", PLAYS)
def test_a_play_of_the_documentation_works_as_it_is(run, fleet, hosts, tmp_path, play):
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    commands = dict.fromkeys(("restart_command", "drain_command", "resume_command"), "true")
    # Where Ansible keeps what runs in the background: by itself in the home folder, of which there are two here.
    background = {"ansible_async_dir": str(tmp_path / "background")}
    variables = json.dumps({"seconds_to_drain": 0, **commands, **background})
    # Only there, because it asks all hosts, and whether the play asks them is what counts.
    source = ["-i", "lmstudio.yml"] if ASKED_BEFORE.search(play) else []
    outcome = run(grouped(play), hosts, *source, "-e", variables)
    assert "failed=0" in outcome.output and "skipping: no hosts matched" not in outcome.output
    asked = ["gpu01"] if "server: gpu01" in play else list(hosts)
    assert all(fleet.requests(name) for name in asked)


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
      tags: [always]
"""
        + play
    )


GATE = re.compile(r"gpufleet\.lmstudio\.(model_assert|fleet_assert|require_models)|fleet_audit_fail_on: \[(?!drift\])")
"""Drift has nothing to compare with at first: test_documented_output.py shows what fails then."""
GATES = [play for play in PLAYS if GATE.search(play.values[0])]


def test_the_pages_have_gates():
    assert {play.id.partition(":")[0] for play in GATES} == {
        "README.md",
        "docs/check_mode.md",
        "docs/gate.md",
        "docs/plugins.md",
        "docs/requirements.md",
        "docs/restart.md",
        "roles/fleet_audit/README.md",
        "roles/require_models/README.md",
    }


@pytest.mark.parametrize("play", GATES)
def test_a_gate_of_the_documentation_gates_under_tags(run, start, play):
    fleet = start({name: {"payload": "none_loaded.json"} for name in ("gpu01", "gpu02")})
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    deploy = """
- name: Deploy
  hosts: gpu
  gather_facts: false
  tasks:
    - name: Deploy
      ansible.builtin.debug:
        msg: DEPLOYED
      tags: [deploy]
"""
    impatient = re.sub(r"wait_timeout: \d+", "wait_timeout: 1", play)
    outcome = run(grouped(impatient) + deploy, hosts, "--tags", "deploy", ends=2)
    assert "DEPLOYED" not in outcome.output
    assert any(fleet.requests(name) for name in hosts)


@pytest.mark.parametrize(
    "kind, name",
    [
        *[(kind, path.stem) for kind in ("modules", "lookup") for path in sorted(ROOT.glob(f"plugins/{kind}/[a-z]*.py"))],
        *SIDECARS,
    ],
)
def test_the_examples_of_a_plugin_work_as_they_are(run, fleet, hosts, tmp_path, kind, name):
    examples = on_the_fleet(examples_of(kind, name), fleet)
    if "  hosts: gpu\n  gather_facts" not in examples:
        examples = "- name: Examples\n  hosts: gpu\n  gather_facts: false\n  tasks:\n" + re.sub("(?m)^", "    ", examples)
    (tmp_path / "lmstudio.yml").write_text("{plugin: gpufleet.lmstudio.lmstudio, hosts: all}")
    source = ["-i", "lmstudio.yml"] if "{{ lmstudio_record }}" in examples else []
    outcome = run(grouped(examples), hosts, *source, "-e", "vault_lmstudio_token=a-token-of-a-vault")
    assert outcome.output.count("failed=0") == len(hosts)
    assert all(fleet.requests(name) for name in hosts)


def test_ansible_doc_knows_every_key_of_require_and_of_policy(tmp_path):
    modules = ["gpufleet.lmstudio.model_assert", "gpufleet.lmstudio.fleet_report"]
    done = run_in(tmp_path, ["ansible-doc", "--json", *modules], {})
    options = {name: module["doc"]["options"] for name, module in json.loads(done.stdout).items()}
    for name, spec in REQUIRE["options"].items():
        documented = options[modules[0]]["require"]["suboptions"][name]
        assert {key: documented.get(key) for key in spec} == spec
    policy = options[modules[1]]["policy"]["suboptions"]
    assert sorted(policy) == ["exclusive", "fleet", "groups", "require"]
    assert sorted(policy["fleet"]["suboptions"]) == ["consistent", "min_hosts", "require"]


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
    (playbook,) = [block for _page, block in BLOCKS if block.startswith("# audit-fleet.yml")]
    outcome = run(grouped(playbook), hosts, "-e", "@audit.yml")
    assert "2 of 2 hosts answered, the policy is met." in outcome.output
    assert len(list((tmp_path / "fleet_audit").iterdir())) == 4


SECRET = "a-secret-of-the-vault"
AUTHORIZATION = {
    "lmstudio_token:": f"Bearer {SECRET}",
    "Authorization:": "Basic " + base64.b64encode(f"{SECRET}:{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("variables", VARIABLES)
def test_variables_of_the_documentation_count_when_a_host_is_asked(run, start, tmp_path, variables):
    """The host is behind TLS and a prefix, and requires a client certificate where the variables name one."""
    ca = trustme.CA()
    files = {"/etc/ssl/own-ca.pem": ca.cert_pem}
    for path, identity in (("server.pem", "localhost"), ("/etc/ssl/fleet-client.pem", "fleet@example.org")):
        files[path] = ca.issue_cert(identity).private_key_and_cert_chain_pem
    files["/etc/ssl/fleet-client.key"] = files["/etc/ssl/fleet-client.pem"]
    for path, content in files.items():
        content.write_to_path(str(tmp_path / Path(path).name))
        variables = variables.replace(path, str(tmp_path / Path(path).name))
    server = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.pem")}
    if "lmstudio_client_cert:" in variables:
        server["client_ca"] = str(tmp_path / "own-ca.pem")
    fleet = start({"gpu07": {"tls": server, "prefix": "/lm"}})
    url = fleet.urls["gpu07"].replace("127.0.0.1", "localhost")
    (path,) = re.findall(r"^# (\S+)", variables)
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(variables.replace("https://gpu07.example/lm", url))
    play = grouped("- hosts: gpu07\n  gather_facts: false\n  tasks:\n    - gpufleet.lmstudio.model_info:\n")
    inventory = {"all": {"vars": {"lmstudio_url": url, "lmstudio_ca_path": str(tmp_path / "own-ca.pem")}}}
    inventory["gpu"] = inventory["windows"] = {"hosts": {"gpu07": {}}}
    (tmp_path / "groups.yml").write_text(json.dumps(inventory))
    vault = dict.fromkeys(re.findall(r"vault_\w+", variables), SECRET)
    run(play, {}, "-i", "groups.yml", "-e", json.dumps(vault), env=dict.fromkeys(("FLEET_TOKEN", "LM_API_TOKEN"), SECRET))
    (request,) = fleet.requests("gpu07")
    for word, sent in AUTHORIZATION.items():
        assert word not in variables or request["headers"]["authorization"] == sent
    assert "X-Api-Key:" not in variables or request["headers"]["x-api-key"] == SECRET


def test_the_quickstart_names_the_same_hosts_everywhere():
    """test_documented_commands.py runs it."""
    blocks = [yaml.safe_load(block) for page, block in BLOCKS if page == "docs/quickstart.md"]
    first, *_play, settings, hosts = blocks
    assert first["gpu"]["hosts"].keys() == hosts["gpu"]["hosts"].keys() == settings["hosts"].keys()
    for name, host in settings["hosts"].items():
        assert hosts["gpu"]["hosts"][name]["lmstudio_url"] == "http://" + host["listen"]


def test_the_first_play_of_the_troubleshooting_says_who_is_not_ok_and_why(run, start):
    play = next(block for page, block in BLOCKS if page == "docs/troubleshooting.md")
    fleet = start({"gpu01": {"payload": "two_loaded.json"}, "gpu02": {"token": "a-token-of-gpu02"}})
    outcome = run(grouped(play), {name: {"lmstudio_url": url} for name, url in fleet.urls.items()})
    assert f"gpu02: status auth. {fleet.urls['gpu02']} answered HTTP 401" in outcome.output
    assert "gpu01: status" not in outcome.output


def commands_in(pipeline):
    """The commands of Ansible in the file of a pipeline."""
    if isinstance(pipeline, str):
        return [pipeline] if pipeline.startswith("ansible-playbook ") else []
    parts = pipeline.values() if isinstance(pipeline, dict) else pipeline if isinstance(pipeline, list) else []
    return [command for part in parts for command in commands_in(part)]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_commands_of_a_pipeline_work_as_they_are(start, tmp_path, pipeline):
    """With the gate, the policy and the variables of the group that the documentation shows."""
    fleet = with_context(start({name: {"payload": "two_loaded.json", "token": "a-token-of-the-fleet"} for name in ("gpu01", "gpu02")}))
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    shown = [block for page, block in BLOCKS if page in ("docs/audit.md", "docs/pipelines.md")]
    files = {
        "inventory.yml": yaml.safe_dump({"gpu": {"hosts": hosts, "vars": {**LOCAL, "ansible_python_interpreter": TARGET_PYTHON}}}),
        "gate.yml": next(block for page, block in BLOCKS if page == "docs/gate.md" and block.startswith("- name: ")),
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


def test_the_inventory_of_the_first_question_works_with_its_command(start, tmp_path):
    (inventory,) = [block for page, block in BLOCKS if page == "README.md" and block.startswith("# inventory.yml")]
    (command,) = re.findall(r"\$ (ansible -i .*)", (ROOT / "README.md").read_text(encoding="utf-8"))
    fleet = start({"gpu02": {}, "gpu03": {"prefix": "/lm", "token": SECRET}})
    inventory = inventory.replace("4321", fleet.urls["gpu02"].rpartition(":")[2]).replace("https://gpu03.example/lm", fleet.urls["gpu03"])
    variables = {**LOCAL, "ansible_python_interpreter": TARGET_PYTHON, "vault_gpu03_token": SECRET}
    (tmp_path / "inventory.yml").write_text(inventory)
    done = run_in(tmp_path, [*shlex.split(command), "-e", json.dumps(variables)], {})
    # Nobody knows what listens on port 1234 of this machine.
    for name in ("gpu02", "gpu03"):
        assert f"{name} | SUCCESS" in done.stdout, done.stdout + done.stderr
        assert len(fleet.requests(name)) == 1
    assert "gpu01 | " in done.stdout


@pytest.mark.once
def test_the_table_of_what_was_tested_is_that_of_the_matrix():
    (cores,) = re.findall(r"(?ms)^CORES = \{\n(.*?)^\}", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
    tested = {}
    for package, controllers, oldest in re.findall(r'Core\("ansible-core[~>]=([\d.]+)", \[(.*?)\], "([\d.]+)"\)', cores):
        versions = sorted(re.findall(r"3\.\d+", controllers), key=lambda version: int(version[2:]))
        tested[package.removesuffix(".0")] = [f"Python {', '.join(versions)}", f"Python {oldest} and later"]
    table = {core: row for core, *row in rows_of_readme(r"(2\.\d+)", r"(\d{4}-\d\d-\d\d)", r"(\d{4}-\d\d)", "(.*?)", "(.*?)")}
    assert {core: [controllers, targets] for core, (_released, _end, controllers, targets) in table.items()} == tested
    dates = [row[:2] for row in table.values()]
    assert dates == sorted(dates) and all(released < end for released, end in dates)


def rows_of_readme(*cells):
    row = r" \| ".join(cells)
    return re.findall(rf"(?m)^\| {row} \|$", (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.once
def test_the_table_of_versions_has_the_dates_of_the_releases():
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    table = rows_of_readme(r"this collection, (\d+)", "(.*?)", r"six months after (\d+)\.0\.0")
    majors = sorted({int(version.partition(".")[0]) for version in releases})
    # One row is of the version to come.
    assert [int(major) for major, _released, _next in table] == [majors[-1] + 1, *reversed(majors)]
    for major, released, following in table:
        version = f"{major}.0.0"
        assert released == releases[version]["release_date"] if version in releases else released.startswith("not yet")
        assert int(following) == int(major) + 1


def test_the_overview_shows_the_fleet_of_the_demonstration(run, start):
    settings = yaml.safe_load((ROOT / "tests" / "demo" / "fleet.yml").read_text(encoding="utf-8"))["hosts"]
    fleet = start(settings)
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    hosts["gpu03"]["lmstudio_token"] = settings["gpu03"]["token"]
    hosts["gpu04"]["lmstudio_token"] = "not-the-token-of-gpu04"
    hosts["workstation-with-a-long-name"] = {"lmstudio_url": fleet.urls["gpu02"]}
    hosts["win01"] = {"ansible_connection": "winrm", "ansible_host": "127.0.0.1", "lmstudio_controller_url": fleet.urls["gpu01"]}
    hosts["unreached"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    hosts["left-out"] = {}
    overview = (ROOT / "playbooks" / "overview.yml").read_text(encoding="utf-8")
    lines = run(overview, hosts, "-e", "overview_hosts=all:!left-out").output.splitlines()
    table = [line.strip(' ",') for line in lines if re.match(r' +"(HOST|[\w-]+ +(ok|no answer|auth|refused|unsupported) )', line)]
    assert len({re.search(r"STATUS|ok|no answer|auth|refused|unsupported", row).start() for row in table}) == 1, table
    words = [re.sub(r"\s+", " ", line) for line in lines]
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
        "workstation-with-a-long-name ok - -",
        "win01 ok qwen/qwen3-8b 16384",
        "unreached no answer - -",
    ):
        assert any(row in line for line in words), row
    text = "\n".join(words)
    assert "gpu01 can take long conversations." in text and "gpu02 can take" not in text
    assert "gpu02 is idle and could load" in text and "left-out" not in text
    assert f"{fleet.urls['gpu01']}: status ok, loaded: openai/gpt-oss-20b, qwen/qwen3-8b." in text
