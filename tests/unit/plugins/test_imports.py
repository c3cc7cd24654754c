# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which file may import which: one way, never in a circle, and on targets nothing but Python and Ansible."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import resolve_name
from typing import NamedTuple

import pytest
from ansible_collections.gpufleet.lmstudio.tests.conftest import ROOT, collections_path

OURS = "ansible_collections.gpufleet.lmstudio.plugins."
FILES = {".".join(path.relative_to(ROOT / "plugins").with_suffix("").parts): path for path in sorted((ROOT / "plugins").rglob("*.py"))}
# What answers mean, and what is required: they use no socket and nothing of Ansible.
PURE = tuple(name for name in FILES if name.startswith(("module_utils._lmstudio.", "module_utils._requirements.")))
# Parts that most tasks on a target do not need: TLS and proxies, explaining a failure, explaining an answer, confirming it, requests.
SEAMS = {
    ("module_utils._http.blocking", "module_utils._http.tls"),
    ("module_utils._http.blocking", "module_utils._http.connection_errors"),
    ("module_utils._lmstudio.documents", "module_utils._lmstudio.response_errors"),
    ("plugin_utils._action", "plugin_utils._requests"),
    ("module_utils._lmstudio.record", "module_utils._lmstudio.confirmation"),
}


class Import(NamedTuple):
    importer: str
    imported: str
    inside: bool
    """In a function."""


def found() -> list[Import]:
    """All imports that are run, wherever they stand."""
    imports = []

    def visit(importer: str, node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            names = []
            if isinstance(child, ast.ImportFrom):
                package = resolve_name("." * child.level + (child.module or ""), f"{OURS}{importer}".rpartition(".")[0])
                # Of a package, its files are what is imported.
                deeper = [f"{package}.{alias.name}" for alias in child.names]
                names = [name if name.removeprefix(OURS) in FILES else package for name in deeper]
            elif isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            imports.extend(Import(importer, name.removeprefix(OURS), inside) for name in names)
            visit(importer, child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    for name, path in FILES.items():
        visit(name, ast.parse(path.read_text(encoding="utf-8")), False)
    return imports


IMPORTS = found()
ARROWS = {(each.importer, each.imported.removesuffix(".__init__")) for each in IMPORTS if each.imported in FILES}


def room(name: str) -> str:
    """The folder of a file below module_utils and plugin_utils. A file outside of any folder counts as one."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("arrows", [ARROWS, {(room(importer), room(imported)) for importer, imported in ARROWS}], ids=["files", "folders"])
def test_no_import_leads_in_a_circle(arrows):
    below: dict[str, set[str]] = {}
    for importer, imported in arrows:
        below.setdefault(imported, set())
        below.setdefault(importer, set()).update({imported} - {importer})
    while below:
        lowest = [name for name, others in below.items() if not others & below.keys()]
        assert lowest, f"a circle: {sorted(below)}"
        for name in lowest:
            del below[name]


def test_imports_lead_down_only():
    layers = {"module_utils": 0, "plugin_utils": 1}

    def layer(name: str) -> int:
        return layers.get(name.split(".")[0], 2)

    assert [arrow for arrow in ARROWS if layer(arrow[0]) < layer(arrow[1])] == []
    # No plugin imports another one.
    assert [arrow for arrow in ARROWS if layer(arrow[1]) == 2] == []


@pytest.mark.parametrize("name", FILES)
def test_files_import_each_other_by_relative_names(name):
    assert "ansible_collections" not in FILES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_longer_than_one_reads_at_a_time(name):
    text = FILES[name].read_text(encoding="utf-8")
    documented = sum(
        node.end_lineno - node.lineno
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    assert len(text.splitlines()) - documented <= 330


def test_imports_inside_functions_are_seams():
    assert {(each.importer, each.imported) for each in IMPORTS if each.inside} == SEAMS
    assert sum(each.inside for each in IMPORTS) <= 5


def test_what_runs_on_targets_needs_python_and_ansible_only():
    allowed = sys.stdlib_module_names | {"ansible"}
    for each in IMPORTS:
        if each.importer.startswith(("module_utils.", "modules.")) and each.imported not in FILES:
            assert each.imported.split(".")[0] in allowed, each
            assert each.imported.split(".")[0] != "ansible" or each.imported.startswith("ansible.module_utils"), each


def test_modules_import_the_finder_of_files_first():
    first = {each.importer: each.imported for each in reversed(IMPORTS) if each.importer.startswith("modules.") and each.imported in FILES}
    assert len(first) == 4 and set(first.values()) == {"module_utils._archive"}


def reached_from(names: set[str]) -> set[str]:
    """These files, and all that they import, however far away."""
    reached: set[str] = set()
    while names:
        reached |= names
        names = {imported for importer, imported in ARROWS if importer in names} - reached
    return reached


@pytest.mark.parametrize("name", PURE)
def test_what_answers_mean_knows_no_socket_and_nothing_of_ansible(name):
    reached = reached_from({name})
    for each in IMPORTS:
        if each.importer in reached:
            assert each.imported.split(".")[0] not in ("ansible", "asyncio", "selectors", "socket", "ssl", "threading"), each


def test_the_event_source_needs_python_alone():
    """It runs in the process of ansible-rulebook, where there is no Ansible."""
    source = ROOT / "extensions" / "eda" / "plugins" / "event_source" / "watch.py"
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    own = {name.removeprefix(OURS) for name in imported if name.startswith(OURS)}
    assert own and {name for name in imported if not name.startswith(OURS)} <= sys.stdlib_module_names
    reached = reached_from(own)
    assert {"plugin_utils._fleet.event_loop", "module_utils._requirements.judge"} <= reached
    for each in IMPORTS:
        if each.importer in reached and each.imported not in FILES:
            assert each.imported.split(".")[0] in sys.stdlib_module_names, each


PLAIN_ANSWER = """
import sys
from ansible_collections.gpufleet.lmstudio.plugins.modules import model_info
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import ask
fetch = lambda endpoint, request: Response(200, b'{"models": [{"key": "m", "loaded_instances": [{"id": "m"}], "future": 1}]}')
assert ask(make_endpoint({"token": "sk-lm-0123456789"}, "http://gpu01"), fetch, "full")["ok"]
ours = "ansible_collections.gpufleet.lmstudio.plugins.module_utils."
print(*sorted(name.removeprefix(ours) for name in sys.modules if name.startswith(ours)))
"""


def test_what_a_plain_answer_on_a_target_imports():
    command = [sys.executable, "-c", PLAIN_ANSWER]
    done = subprocess.run(command, env={"PYTHONPATH": str(collections_path())}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [
        *("_archive", "_argspec"),
        *(
            "_http",
            "_http.blocking",
            "_http.deadline",
            "_http.endpoint",
            "_http.errors",
            "_http.option_checks",
            "_http.request",
            "_http.response",
        ),
        "_input_errors",
        *(
            "_lmstudio",
            "_lmstudio.documents",
            "_lmstudio.known",
            "_lmstudio.masking",
            "_lmstudio.models_v0",
            "_lmstudio.models_v1",
            "_lmstudio.next_steps",
            "_lmstudio.poll",
            "_lmstudio.reader",
            "_lmstudio.record",
            "_module",
            "_text",
        ),
    ], done.stderr
