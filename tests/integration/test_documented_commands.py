# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the pages, run as they are, on a collection that was installed from its tarball as the pages say.

A page's commands run in one shell, in a folder with the files of the page. A new command fails until `PRINTS` has what it prints, `ELSEWHERE`
the test that runs it, or `NOT_RUN` the reason. Those of docs/metrics.md need not print anything.
"""

from __future__ import annotations

import fnmatch
import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, ROOT, settings_in
from ansible_collections.gpufleet.lmstudio.tests.integration.conftest import LOCAL, TARGET_PYTHON
from ansible_collections.gpufleet.lmstudio.tests.integration.test_documentation import BLOCKS, PAGES, on_the_fleet
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.ports import Ports

pytestmark = pytest.mark.once

FENCE = re.compile(r"(?ms)^ *```console\n(.*?)^ *```")
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
PROMPT = re.compile(r"^(?:\w+)?\$ (.*?)(?:  +# .*)?$")
IN_TEXT = re.compile(r"`((?:ansible(?:-[a-z]+)?|curl|lms|make|nox|openssl|pip|ssh|systemctl) [^`]+)`")
"""A command in a sentence, which is one of these programs and what it is given."""

ELSEWHERE = {
    "README.md: make demo": ".ci/gates.py",
    "README.md: make demo KEEP=1": "tests/integration/test_demo.py",
    "*: make test": ".ci/gates.py",
    "README.md: ansible-galaxy collection build": "tests/integration/test_documented_commands.py",
    "README.md: ansible-playbook -i inventory gpufleet.lmstudio.overview": "tests/integration/test_documentation.py",
    "README.md: ansible -i inventory.yml gpu -m gpufleet.lmstudio.model_info": "tests/integration/test_documentation.py",
    "docs/events.md: ansible-rulebook -i inventory/ -r rulebook.yml": "tests/rulebook/test_rulebook.py",
    "docs/events.md: ansible-rulebook -r gpufleet.lmstudio.heal *": "tests/rulebook/test_rulebook.py",
    "docs/events.md: ansible-playbook -i inventory/ gpufleet.lmstudio.heal": "tests/rulebook/test_rulebook.py",
    "docs/proxies.md: openssl req *": "tests/integration/test_nginx.py",
    "docs/scaling.md: ansible-runner transmit *": "tests/scaling/test_runner.py",
    "docs/scaling.md: mkdir -p facts *": "tests/scaling/test_runner.py",
    "docs/scaling.md: export ANSIBLE_CACHE_PLUGIN=jsonfile *": "tests/scaling/test_runner.py",
    "docs/scaling.md: ansible-playbook gpufleet.lmstudio.fleet_audit *": "tests/scaling/test_runner.py",
    "docs/scaling.md: export ANSIBLE_*_CONNECTION=redis.example:*": "tests/scaling/test_redis.py",
}
"""Commands that another test takes from the page, or a gate runs."""

NOT_RUN = {
    "*: lms *": "it is a program of LM Studio",
    "docs/hosts.md: ssh -N -L 12341:127.0.0.1:1234 -p 2222 vagrant@127.0.0.1": "it needs a virtual machine. ssh reads it below",
    "*: make bench": "it takes some hours. make reads it below",
    "docs/performance.md: *nox -s bench*": "it takes an hour. `nox -s guard` measures the same way",
    "docs/threat_model.md: nox -s mutation": "it takes half an hour, by night",
    "README.md: make clean": "it removes what runs the tests",
    "docs/events.md: pip install ansible-rulebook ansible-core": "it needs an index of packages. `nox -s rulebook` installs them",
    "docs/scaling.md: pip install redis": "it needs an index of packages. `nox -s scaling` installs it",
    "docs/events.md: ansible-rulebook -vv": "it is a part of a command",
    "docs/troubleshooting.md: curl -sS -i": "it is a part of a command",
    "docs/scaling.md: ansible-galaxy collection install *.tar.gz -p slice1/*": "it needs a tarball on the page's disk. Another folder is below",
    "docs/troubleshooting.md: openssl s_client *": "it needs a host with TLS",
    "*: ansible --version": "it is about Ansible alone",
    "*: ansible-inventory *": "it is about Ansible alone",
    "*: ansible gpu01 -m ansible.builtin.ping*": "it is about Ansible alone",
}
"""Commands that nothing here runs, and why."""

PRINTS = {
    "ansible-galaxy collection install gpufleet.lmstudio": f"gpufleet.lmstudio:{VERSION} was installed successfully",
    "pip install 'requests>=2.31' 'urllib3>=2'": "Requirement already satisfied: urllib3",
    "ansible-galaxy collection install --upgrade -r requirements.yml": f"'gpufleet.lmstudio:{VERSION}' is already installed",
    "ansible-doc gpufleet.lmstudio.model_info": "on_error",
    "ansible-doc gpufleet.lmstudio.model_assert": "confirm_loaded",
    "ansible-doc gpufleet.lmstudio.fleet_report": "policy",
    "ansible-doc -t role gpufleet.lmstudio.fleet_audit": "fleet_audit_fail_on",
    "ansible-doc -t role gpufleet.lmstudio.require_models": "require_models_require",
    "ansible-doc -t role gpufleet.lmstudio.serve_models": "serve_models_models",
    "ansible-galaxy collection list": "gpufleet.lmstudio",
    "ansible-playbook -i hosts.yml first.yml": "ok: openai/gpt-oss-20b, qwen/qwen3-8b|refused: nothing is loaded|lms server start",
    "python3 ~/.ansible/collections/ansible_collections/gpufleet/lmstudio/tests/simulator fleet.yml": '{"control":',
    "ansible-playbook gpufleet.lmstudio.fleet_audit -i inventory.yml": "2 of 3 hosts answered|fleet_audit/fleet_audit.html",
    "ansible-vault encrypt_string --stdin-name vault_gpu07_token": "vault_gpu07_token: !vault",
    "ansible -i inventory.yml --ask-vault-pass gpu07 -m gpufleet.lmstudio.model_info": "gpu07 | SUCCESS",
    "ansible-playbook -i inventory.yml play.yml --check --diff": "Would load qwen/qwen3-8b.|failed=0",
    "ansible-playbook -i inventory.yml drift.yml -e fleet_audit_accept=true": "failed=0",
    "ansible-playbook -i inventory.yml -i lmstudio.yml play.yml": '"msg": "qwen/qwen3-8b"',
    "curl -sS --noproxy '*' http://gpu01:1234/api/v1/models": '"key": "qwen/qwen3-8b"',
    "curl -sS http://127.0.0.1:1234/api/v1/models": '"key": "qwen/qwen3-8b"',
    "curl -sS -m 60 -o /dev/null -w '%{time_namelookup} %{time_connect} %{time_total}\\n' http://gpu01:1234/api/v1/models": "0.0",
    "curl -sS -i http://gpu01:1234/api/v1/models": "HTTP/1.1 200",
    "curl http://127.0.0.1:1234/api/v1/models": '"key": "qwen/qwen3-8b"',
    "curl -sS http://gpu01:1234/api/v0/models": '"id": "qwen/qwen3-8b"',
    "curl -sS http://gpu01:1234/api/v1/models | python3 -m json.tool": '"key": "qwen/qwen3-8b"',
    "curl -sS -o /dev/null -w '%{http_code} %{redirect_url}\\n' http://gpu01:1234/api/v1/models": "200",
    "ss -tlnp": "LISTEN",
}
"""What each command prints, with `|` between several texts."""

PASSWORD, TOKEN = "a-password-of-the-vault", "a-token-of-gpu07"
AT_THE_KEYBOARD = {
    "ansible-vault encrypt_string": f"printf '%s\\n' {PASSWORD} {PASSWORD} {TOKEN} | {{}} | tee -a host_vars/gpu07.yml",
    "ansible -i inventory.yml --ask-vault-pass": f"echo {PASSWORD} | {{}}",
    # Another terminal: it is ready when it has printed its line.
    "python3 ~/.ansible": "mkfifo ready; {} >ready & exec 3<ready; read -r line <&3; echo \"$line\"; trap 'kill %1' EXIT",
}
"""What people do with a command that asks them something, or that goes on."""


def commands_of(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line.strip() for block in FENCE.findall(text) for line in block.splitlines() if line]
    assert [line for line in lines if not PROMPT.match(line)] == []
    in_text = IN_TEXT.findall(re.sub(r"(?ms)^ *```.*?^ *```", "", text))
    return [PROMPT.match(line)[1] for line in lines] + [re.sub(r"\s+", " ", command.replace("\\|", "|")) for command in in_text]


def is_named_in(names, page, command):
    return any(fnmatch.fnmatchcase(f"{page}: {command}", name) for name in names)


TO_RUN = {page: [command for command in commands_of(page) if not is_named_in({**ELSEWHERE, **NOT_RUN}, page, command)] for page in PAGES}


def test_every_command_is_run_or_has_a_reason():
    assert {command for page, commands in TO_RUN.items() if page != "docs/metrics.md" for command in commands} == set(PRINTS)
    commands = [f"{page}: {command}" for page in PAGES for command in commands_of(page)]
    assert [name for name in {**ELSEWHERE, **NOT_RUN} if not fnmatch.filter(commands, name)] == []
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []


@pytest.mark.skipif(not shutil.which("ssh") or not shutil.which("make"), reason="there is no ssh or no make here")
def test_what_is_not_run_is_read_by_its_program():
    (tunnel,) = [command for command in commands_of("docs/hosts.md") if command.startswith("ssh ")]
    read = subprocess.run(shlex.split(tunnel.replace("ssh ", "ssh -G -F none ")), capture_output=True, text=True, check=True).stdout
    assert {"localforward 12341 [127.0.0.1]:1234", "port 2222", "user vagrant"} <= set(read.splitlines())
    bench = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "nox -s bench -- --write" in bench


class Galaxy(http.server.BaseHTTPRequestHandler):
    """A Galaxy server that has one version of one collection."""

    protocol_version = "HTTP/1.1"
    tarball: Path

    def do_GET(self):
        collection = "/api/v3/collections/gpufleet/lmstudio/"
        version = {"version": VERSION, "href": f"{collection}versions/{VERSION}/"}
        content = self.tarball.read_bytes()
        answers = {
            "/api/": {"available_versions": {"v3": "v3/"}},
            collection: {"created_at": "2026-11-24T00:00:00Z", "updated_at": "2026-11-24T00:00:00Z"},
            f"{collection}versions/": {"data": [version], "links": {"next": None}},
            version["href"]: {
                **version,
                "namespace": {"name": "gpufleet"},
                "collection": {"name": "lmstudio"},
                "download_url": f"http://{self.headers['Host']}/{self.tarball.name}",
                "artifact": {"sha256": hashlib.sha256(content).hexdigest()},
                "metadata": {"dependencies": {}},
                "signatures": [],
            },
        }
        answer = answers.get(self.path.partition("?")[0])
        body = content if self.path == f"/{self.tarball.name}" else json.dumps(answer).encode()
        self.send_response(200 if body != b"null" else 404)
        self.send_header("Content-Type", "application/json" if answer else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


class Controller:
    """A machine on which nothing of this collection is installed, and the Galaxy that it knows."""

    def __init__(self, folder, galaxy):
        self.folder = folder
        (folder / "bin").mkdir()
        self.env = settings_in(folder)
        del self.env["ANSIBLE_COLLECTIONS_PATH"]
        self.env |= {"ANSIBLE_GALAXY_SERVER": galaxy, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.env["PATH"] = f"{folder / 'bin'}:{self.env['PATH']}:/usr/sbin:/sbin"

    def run(self, script, where, **env):
        """What a script prints. It has no terminal, so passwords come from its standard input."""
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=where,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def type_in(self, commands, where, change=lambda text: text):
        """What each command of a page prints, all in one shell."""
        lines = []
        for command in commands:
            around = next((around for beginning, around in AT_THE_KEYBOARD.items() if command.startswith(beginning)), "{}")
            lines += ["echo; echo '<NEXT>'", around.replace("{}", change(command))]
        return dict(zip(commands, self.run("\n".join(lines), where).split("<NEXT>\n")[1:]))


@pytest.fixture
def controller(tmp_path):
    built = tmp_path / "built"
    command = [str(BINARIES / "ansible-galaxy"), "collection", "build", str(ROOT), "--output-path", str(built)]
    subprocess.run(command, env=settings_in(tmp_path), capture_output=True, check=True)
    (Galaxy.tarball,) = built.iterdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Galaxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Controller(tmp_path, f"http://127.0.0.1:{server.server_port}/api/")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ports():
    with Ports() as held:
        yield held


def write_files_of(page, where):
    """The files of a page: each block that begins with the name of a file, and its play. The commands are about the first of a name, but
    the hosts of the quickstart that are simulated come last."""
    (where / "host_vars").mkdir(parents=True)
    play = {"docs/quickstart.md": "first.yml", "docs/drift.md": "drift.yml"}.get(page, "play.yml")
    blocks = [block for of, block in BLOCKS if of == page]
    for block in blocks if page == "docs/quickstart.md" else reversed(blocks):
        name = re.match(r"# ((?:host_vars/)?[\w-]+\.yml)\n", block)
        if name or block.startswith("- name: "):
            (where / (name[1] if name else play)).write_text(block)


def test_the_commands_of_the_pages_do_what_the_pages_say(controller, start, ports):
    fleet = start({name: {"payload": "none_loaded.json"} for name in ("gpu01", "gpu02")} | {"gpu07": {"token": TOKEN}})
    fleet.load("gpu01", "qwen/qwen3-8b", context_length=8192)
    hosts = {name: {"lmstudio_url": url} for name, url in fleet.urls.items()}
    variables = {**LOCAL, "ansible_python_interpreter": TARGET_PYTHON}
    gpu = {"hosts": {name: hosts[name] for name in ("gpu01", "gpu02")}}
    inventory = {"all": {"vars": variables, "children": {"gpu": gpu, "others": {"hosts": {"gpu07": hosts["gpu07"]}}}}}
    missing = {"curl", "ss"} - {program for program in ("curl", "ss") if shutil.which(program)}
    seen = {}
    for page, commands in TO_RUN.items():
        commands = [command for command in commands if command not in seen and command.split()[0] not in missing]
        if page == "docs/metrics.md" or not commands:
            continue
        where = controller.folder / page.replace("/", "-")
        write_files_of(page, where)
        (where / "inventory.yml").write_text(yaml.safe_dump(inventory))
        for file in [where / "fleet.yml", where / "hosts.yml"] if page == "docs/quickstart.md" else []:
            file.write_text(re.sub("1123[45]", lambda port: str(ports[port[0]]), file.read_text()))
        # The simulated fleet runs in another terminal.
        commands.sort(key=lambda command: command.endswith("first.yml"))
        seen |= controller.type_in(
            commands, where, lambda text: on_the_fleet(text, fleet).replace("http://127.0.0.1:1234", fleet.urls["gpu01"])
        )
    assert [(command, output) for command, output in seen.items() if not all(text in output for text in PRINTS[command].split("|"))] == []
    if missing:
        pytest.skip(f"the commands of {' and '.join(sorted(missing))}: there is none here")


def test_the_service_is_set_up_as_the_page_says(controller, start):
    """In a folder in place of the machine's, with stand-ins for the programs that change the machine itself."""
    root = controller.folder / "root"
    for folder in ("etc/systemd/system", "var/lib/prometheus/node-exporter", "usr/share"):
        (root / folder).mkdir(parents=True)
    for program in ("useradd", "systemctl"):
        stand_in = controller.folder / "bin" / program
        stand_in.write_text(f'#!/bin/sh\necho "{program} $*"\n')
        stand_in.chmod(0o755)

    def in_folder(text):
        return re.sub(r"(?<![\w.])/(etc|var/lib|usr/share)/", rf"{root}/\1/", text)

    seen = controller.type_in(TO_RUN["docs/metrics.md"], controller.folder, in_folder)
    printed = "".join(seen.values())
    assert f"useradd --system --home-dir {root}/var/lib/lmstudio-audit lmstudio-audit\n" in printed
    assert printed.count("systemctl ") == 3 and "systemctl enable --now lmstudio-audit.timer\n" in printed

    # What cron runs, as that user, whose folder it is.
    (state := root / "var/lib/lmstudio-audit").mkdir()
    fleet = start({"gpu01": {}})
    inventory = {"all": {"hosts": {"gpu01": {"lmstudio_url": fleet.urls["gpu01"], **LOCAL}}}}
    (root / "etc/lmstudio-audit/inventory.yml").write_text(yaml.safe_dump(inventory))
    (root / "etc/lmstudio-audit/audit.yml").write_text("{}")
    collections = root / "usr/share/ansible/collections"
    (cron,) = collections.glob("**/lmstudio-audit.cron")
    command = re.search(r"(?m)^\d\S*(?: \S+){4} lmstudio-audit (.*)$", cron.read_text(encoding="utf-8"))[1]
    controller.run(in_folder(command), controller.folder, ANSIBLE_COLLECTIONS_PATH=str(collections))
    assert "1 of 1 host answered" in (state / "last-run.log").read_text()
    assert 'lmstudio_host_ok{host="gpu01"} 1' in (root / "var/lib/prometheus/node-exporter/fleet_audit.prom").read_text()

    if shutil.which("systemd-analyze"):
        units = sorted((root / "etc/systemd/system").iterdir())
        assert [unit.name for unit in units] == ["lmstudio-audit.service", "lmstudio-audit.timer"]
        units[0].write_text(units[0].read_text().replace("/usr/bin/ansible-playbook", str(BINARIES / "ansible-playbook")))
        verified = subprocess.run(
            ["systemd-analyze", "verify", *map(str, units)], env=os.environ, capture_output=True, text=True, check=False
        )
        assert [line for line in verified.stderr.splitlines() if "lmstudio-audit" in line] == [] and verified.returncode == 0, (
            verified.stderr
        )
