# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source in a real ansible-rulebook: what a server calls its models is never run, and a host that lacks a model gets it back.

Needs ansible-rulebook, and Java 17 or later: `nox -s rulebook`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shlex
import subprocess
import sys
import threading
import time

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch.no_template import without_templates
from ansible_collections.gpufleet.lmstudio.tests.conftest import BINARIES, ROOT, collections_path, settings_in
from ansible_collections.gpufleet.lmstudio.tests.hostile_events import FORMS, PLAY, hostile_model, hostile_names, ran
from ansible_collections.gpufleet.lmstudio.tests.patience import PATIENCE
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator

SOURCE = collections_path() / "ansible_collections/gpufleet/lmstudio/extensions/eda/plugins/event_source/watch.py"
TOKEN = "sk-lm-0123456789abcdef"


class Rulebook:
    """A running ansible-rulebook, and what it has printed."""

    def __init__(self, folder, rulebook, variables, hosts, *more):
        (folder / "rulebook.yml").write_text(yaml.safe_dump(rulebook))
        self.begin(folder, "ansible-rulebook -i inventory/ -r rulebook.yml --vars heal.yml", variables, hosts, *more)

    @classmethod
    def of_guide(cls, folder, command, variables, hosts):
        """Runs a command of the guide, as it stands there."""
        running = cls.__new__(cls)
        running.begin(folder, command, variables, hosts)
        return running

    def begin(self, folder, command, variables, hosts, *more):
        (folder / "inventory").mkdir(exist_ok=True)
        (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        (folder / "heal.yml").write_text(yaml.safe_dump(variables))
        program, *arguments = shlex.split(command)
        self.process = subprocess.Popen(
            [BINARIES / program, *arguments, *more],
            cwd=folder,
            env=settings_in(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._queue = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(re.sub(r"\x1b\[[0-9;]*m", "", line))
        self._queue.put(None)

    def until(self, text):
        """Wait for a line with this text. Returns what was printed up to it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                line = self._queue.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                break
            assert line is not None, f"it ended before it printed {text!r}:\n{''.join(self.lines)}"
            self.lines.append(line)
            if text in line:
                return "".join(self.lines)
        raise AssertionError(f"it never printed {text!r}:\n{''.join(self.lines)}")

    def end(self):
        """Wait until it ends by itself. Returns its status and all that it printed."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return status, "".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.process.kill()
        self.process.wait()


def local(url, **variables):
    return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "lmstudio_url": url, **variables}


def rulebook_with(source, *rules):
    return [{"name": "Watch", "hosts": "all", "sources": [source], "rules": list(rules)}]


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:

        def simulate(hosts):
            (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": hosts}))
            return stack.enter_context(Simulator(tmp_path / "fleet.yml"))

        yield simulate


def run_hostile(folder, start, source, *more, given=None):
    """Let a play use every text of an event, the first `given` ones as variables of their own. Returns what was printed, and which were run."""
    names = hostile_names(folder)
    fleet = start({"gpu01": {"payload": {"models": [hostile_model(folder)]}}})
    (folder / "play.yml").write_text(PLAY)
    config = "event.lmstudio.current[0].config"
    joined = "".join(f"{{{{ {config}.named['{half}'] }}}}" for half in ("a half", "the other half"))
    variables = {
        "given": ["{{ event.lmstudio.model }}", *(f"{{{{ {config}.texts[{number}] }}}}" for number in range(given or len(names))), joined],
        "seen": str(folder / "seen.json"),
        "wanted": "{{ wanted }}",
    }
    rule = {
        "name": "Act",
        "condition": 'event.lmstudio.event == "model_loaded"',
        "actions": [
            {"run_playbook": {"name": "play.yml", "copy_files": False, "extra_vars": variables}},
            {"debug": {"msg": "{{ event.lmstudio.instance }} {{ event.lmstudio.current }}"}},
            {"debug": {"msg": "all is done"}},
        ],
    }
    arguments = {"endpoints": [{"name": "gpu01", "url": fleet.urls["gpu01"]}], "interval": 5, "initial": "snapshot"}
    wanted = {"wanted": without_templates(names["braces"])}
    with Rulebook(folder, rulebook_with({source: arguments}, rule), wanted, {"gpu01": local(fleet.urls["gpu01"])}, *more) as rulebook:
        printed = rulebook.until("all is done\n")
    return printed, ran(folder)


def test_nothing_that_a_server_sends_is_run_and_its_names_can_be_compared(tmp_path, start):
    printed, found = run_hostile(tmp_path, start, "gpufleet.lmstudio.watch")
    assert found == []
    assert "It can be compared: True" in printed
    names = without_templates(hostile_names(tmp_path))
    texts = list(names.values())
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen == {"model": texts[0], "instance": names["other markers"], "texts": texts, "first": texts[0]}


LEAKY = """
import runpy
from pathlib import Path

source = runpy.run_path({source!r})
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._watch import no_template

no_template._FULLWIDTH = {{}}
main = source["main"]
"""


def test_it_would_be_run_if_the_source_let_it_through(tmp_path, start):
    """Otherwise the test above would prove nothing. Only the forms that are run are given; another one would just end the action."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "leaky.py").write_text(LEAKY.format(source=str(SOURCE)))
    _printed, found = run_hostile(tmp_path, start, "leaky", "-S", "sources", given=len(FORMS))
    assert found


RULE = {"name": "Never", "condition": "event.x is defined", "action": {"debug": None}}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"gpufleet.lmstudio.watch": {"endpoints": ["gpu01"], "intervall": 3}}, "unknown argument intervall. Did you mean interval?"),
        ({"watch": {"endpoints": ["gpu01"]}}, "gpufleet.lmstudio.watch needs the rest of its collection"),
    ],
    ids=["a wrong argument", "a lone copy"],
)
def test_what_cannot_work_ends_at_the_start_with_a_sentence(tmp_path, source, sentence):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "watch.py").write_text(SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    with Rulebook(tmp_path, rulebook_with(source, RULE), {}, {"gpu01": local("http://127.0.0.1:9")}, "-S", "sources") as rulebook:
        status, printed = rulebook.end()
    assert status != 0 and sentence in printed


def guide():
    return (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def block_of_guide(first_line):
    return re.search(rf"```yaml\n{re.escape(first_line)}\n(.*?)```", guide(), re.DOTALL)[1]


def test_the_rulebook_of_the_guide_says_what_is_wrong(tmp_path, start):
    fleet = start({"gpu01": {"payload": "none_loaded.json"}, "gpu02": {"fault": "unauthorized"}})
    rulebook = block_of_guide("# rulebook.yml").replace("interval: 30", "interval: 1")
    for name, url in fleet.urls.items():
        rulebook = rulebook.replace(f"- http://{name}:1234", f"- {{name: {name}, url: '{url}'}}")
    hosts = {name: local(url) for name, url in fleet.urls.items()}
    with Rulebook(tmp_path, yaml.safe_load(rulebook), {}, hosts) as running:
        printed = running.until("gpu02: ")
        if "gpu01: " not in printed:
            printed = running.until("gpu01: ")
    assert "gpu01: qwen/qwen3-8b is not loaded. Loaded: nothing" in printed
    assert f"gpu02: {fleet.urls['gpu02']} " in printed and "Set token of that endpoint" in printed


def test_a_host_that_lacks_a_model_gets_it_back_and_meanwhile_one_that_is_down_is_told(tmp_path, start):
    settings = {"token": TOKEN, "loads": {"held": True}}
    fleet = start({"gpu01": {"payload": "two_loaded.json", **settings}, "gpu02": {"payload": "none_loaded.json", **settings}})
    fleet.unload("gpu01", "qwen/qwen3-8b:2")  # The other instance has what is required.
    variables_of_hosts = tmp_path / "inventory" / "group_vars" / "all.yml"
    variables_of_hosts.parent.mkdir(parents=True)
    variables_of_hosts.write_text(block_of_guide("# inventory/group_vars/all.yml"))
    hosts = {name: local(url, vault_lmstudio_token=TOKEN) for name, url in fleet.urls.items()}
    variables = yaml.safe_load(block_of_guide("# heal.yml"))
    assert variables["heal_endpoints"] == list(fleet.urls)
    variables["heal_endpoints"] = [{"name": name, "url": url} for name, url in fleet.urls.items()]
    variables.update(heal_interval=1, heal_token=TOKEN)
    command = re.search(r"^\$ (ansible-rulebook -r gpufleet\.lmstudio\.heal .*)$", guide(), re.MULTILINE)[1]
    with Rulebook.of_guide(tmp_path, command, variables, hosts) as rulebook:
        # First what it lacks at the start, while the load takes its time, then what somebody has unloaded.
        fleet.wait_for("gpu02", "/api/v1/models/load")
        fleet.fault("gpu01", "refused")
        printed = rulebook.until("gpu01 is down (refused)")
        assert "PLAY RECAP" not in printed, "the playbook is not over yet"
        assert "gpu01 lacks" not in printed and "gpu01 serves what is required" in printed
        fleet.change("gpu02", loads={"held": False})
        fleet.release("gpu02")
        assert "gpu02 serves what is required" in rulebook.until("PLAY RECAP")
        fleet.unload("gpu02", "qwen/qwen3-8b")
        printed = rulebook.until("gpu02 serves what is required")
    assert printed.count("gpu02 lacks something: qwen/qwen3-8b is not loaded") == 2
    loads = {name: [request["path"] for request in fleet.requests(name) if request["method"] == "POST"] for name in fleet.urls}
    assert loads == {"gpu01": [], "gpu02": ["/api/v1/models/load"] * 2}
