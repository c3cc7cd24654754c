# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates beside `make test`. `nox -l` lists them; a Python that is not there skips its session, and says so."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))
from conftest import collections_path  # noqa: E402

nox.options.error_on_missing_interpreters = False


class Core(NamedTuple):
    """An ansible-core, and the Pythons of the controller that it supports, the preferred one first."""

    package: str
    controllers: list[str]
    oldest_target: str


CORES = {
    "2.16": Core("ansible-core~=2.16.0", ["3.10", "3.11", "3.12"], "3.8"),
    "2.17": Core("ansible-core~=2.17.0", ["3.12", "3.10", "3.11"], "3.8"),
    "2.18": Core("ansible-core~=2.18.0", ["3.11", "3.12", "3.13"], "3.8"),
    "2.19": Core("ansible-core~=2.19.0", ["3.13", "3.12", "3.11"], "3.8"),
    "2.20": Core("ansible-core~=2.20.0", ["3.12", "3.13", "3.14"], "3.9"),
    "newest": Core("ansible-core>=2.21", ["3.14", "3.13", "3.12"], "3.9"),
    "pre-release": Core("ansible-core>=2.22.0.dev0", ["3.14", "3.13"], "3.9"),
}
ALL_TESTS_ON = ("2.16", "newest")
VERSION = "import ansible.release; print(ansible.release.__version__)"
TARGETS = [f"3.{minor}" for minor in range(6, 16)]
MOLECULE_PACKAGES = "busybox-static iproute2 openssh-server"
# Not in requirements-dev.txt, because `make test` installs all of that, on Pythons that this one does not support too.
ANSIBLE = "ansible==14.5.0"
RELEASE_TOOLS = ["ansible-builder==3.2.0", "galaxy-importer==0.4.44"]
PUBLISHED = {
    *(
        "CHANGELOG.md",
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "FILES.json",
        "LICENSE",
        "LICENSES",
        "MANIFEST.json",
        "README.md",
        "SECURITY.md",
    ),
    *("changelogs", "docs", "meta", "playbooks", "plugins", "requirements.txt", "roles"),
    # for the tests of users
    *("tests/lab", "tests/simulator"),
}
"""What a release has at its top, and in tests."""
TEST_LIBRARIES = ["hypothesis", "jsonschema", "junitparser", "prometheus-client", "pytest", "pytest-xdist", "pyyaml", "trustme"]


def found(versions: list[str]) -> str:
    """The first Python that the machine has. Without any the first one, so that nox skips the session by its name."""
    return next((version for version in versions if python(version)), versions[0])


@functools.lru_cache(maxsize=None)
def python(version: str) -> str | None:
    """The real path of that Python, if the machine has it. What is found may be a wrapper that has nothing to start."""
    program = shutil.which(f"python{version}") or "false"
    done = subprocess.run([program, "-c", "import sys; print(sys.executable)"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or None


def copied_tree(session: nox.Session) -> Path:
    """A copy of the tracked files in a folder of the shape that ansible-test wants."""
    tree = Path(session.create_tmp()).resolve() / "ansible_collections" / "gpufleet" / "lmstudio"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    # Its own repository: in the one around it, ansible-test would see ignored files only.
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    return tree


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Style, types, licences, documentation, Ansible content. Uses the tools beside nox itself."""
    tools = Path(sys.executable).parent
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "MYPYPATH": str(collections_path()),
        "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
    }
    session.run(str(tools / "ruff"), "check", ".")
    session.run(str(tools / "ruff"), "format", "--check", ".")
    session.run(str(tools / "mypy"), "--package", "ansible_collections.gpufleet.lmstudio.plugins", env=env)
    session.run(str(tools / "mypy"), "tests/simulator/client.py", "tests/simulator/__main__.py", "tests/demo/demo.py", env=env)
    session.run(str(tools / "mypy"), "tests/lab/__main__.py", env=env)
    session.run(str(tools / "ansible-lint"), "--offline", "--strict", env=env)
    session.run(str(tools / "reuse"), "lint", "--quiet")
    session.run(str(tools / "antsibull-changelog"), "lint", env=env)
    session.run(str(tools / "antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", ".", env=env)


@nox.session(python=found(CORES["newest"].controllers))
def docs(session: nox.Session) -> None:
    """The site, from the guides and from the code, with warnings as errors and without a network. It is docs/_build/index.html then."""
    session.install(
        CORES["newest"].package, "antsibull-docs", "-r", "requirements.txt", "-r", "docs/requirements.txt", "-c", "requirements-dev.txt"
    )
    env = {"ANSIBLE_COLLECTIONS_PATH": str(collections_path()), "PYTHONPATH": str(collections_path())}
    session.run("sphinx-build", "-W", "--keep-going", "--quiet", "docs", "docs/_build", *session.posargs, env=env)


@nox.session(python=found(CORES["newest"].controllers))
def release(session: nox.Session) -> None:
    """What is published: built, installed without a network, read as Galaxy reads it, and the documentation's plays run from it."""
    session.install(
        CORES["newest"].package, "-r", "requirements.txt", "-c", "requirements-dev.txt", "ansible-lint", *RELEASE_TOOLS, *TEST_LIBRARIES
    )
    folder = Path(session.create_tmp()).resolve() / "release"
    shutil.rmtree(folder, ignore_errors=True)
    tree = copied_tree(session)
    changes = Path(sys.executable).parent / "antsibull-changelog"
    with session.chdir(tree):
        session.run(str(changes), "generate", external=True)
    if (tree / "CHANGELOG.md").read_bytes() != (ROOT / "CHANGELOG.md").read_bytes():
        session.error("CHANGELOG.md is not what changelogs/changelog.yaml says: antsibull-changelog generate")
    session.run("ansible-galaxy", "collection", "build", str(tree), "--output-path", str(folder))
    (built,) = folder.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        top = {"/".join(member.name.split("/")[: 2 if member.name.startswith("tests/") else 1]) for member in archive}
    unexpected = top - PUBLISHED - {"tests"}
    if unexpected:
        session.error(f"published by mistake: {', '.join(sorted(unexpected))}. Name it in build_ignore of galaxy.yml, or in PUBLISHED.")
    collections = str(folder / "collections")
    env = {"ANSIBLE_COLLECTIONS_PATH": collections, "LMSTUDIO_COLLECTIONS_PATH": collections}
    session.run("ansible-galaxy", "collection", "install", "--offline", str(built), "-p", collections, env=env)
    session.run("python", f"{collections}/ansible_collections/gpufleet/lmstudio/tests/simulator", "--help", silent=True)
    needed = str(session.run("ansible-builder", "introspect", collections, env=env, silent=True))
    if "requests" not in needed:
        session.error(f"an execution environment would not get requests:\n{needed}")
    strict = {f"GALAXY_IMPORTER_{name}": "true" for name in ("CHECK_REQUIRED_TAGS", "REQUIRE_V1_OR_GREATER")}
    with session.chdir(folder):
        command = ["python", "-m", "galaxy_importer.main", str(built)]
        quiet = {"GALAXY_IMPORTER_LOG_LEVEL_MAIN": "WARNING"}
        complaints = session.run(*command, env={**env, **strict, **quiet}, silent=True)
    if str(complaints).strip():
        session.error(f"galaxy-importer complains:\n{complaints}")
    page = "tests/integration/test_documentation.py"
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", page, *session.posargs, env=env)


def plays(session: nox.Session, core: str) -> None:
    """The plays and the unit tests on one ansible-core, with modules on an old Python where there is one."""
    session.install(CORES[core].package, "-r", "requirements.txt", "-c", "requirements-dev.txt", *TEST_LIBRARIES)
    session.run("ansible", "--version")
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", *session.posargs, env=on_oldest_target(session, core))


def on_oldest_target(session: nox.Session, core: str) -> dict[str, str]:
    """The environment that lets modules run on the oldest Python that this ansible-core supports, where there is one."""
    oldest = CORES[core].oldest_target
    target = python(oldest)
    session.log(f"modules run on {target}" if target else f"modules run on the controller's Python: there is no Python {oldest} here")
    return {"LMSTUDIO_TARGET_PYTHON": target} if target else {}


@nox.session(python=False, default=False)
def matrix(session: nox.Session) -> None:
    """The doors on every ansible-core with each Python of the controller that is here, and a table of what ran.

    With --once, as in CI, each ansible-core runs with one Python, unless all tests run on it: in `plays`, or in `make test`.
    """
    once = "--once" in session.posargs
    others = {name: f"plays-{name} runs it" for name in ALL_TESTS_ON}
    version = subprocess.run([sys.executable, "-c", VERSION], check=True, capture_output=True, text=True).stdout
    others[".".join(version.split(".")[:2])] = f"make test runs it, on Python {sys.version_info[0]}.{sys.version_info[1]}"
    arguments = [argument for argument in session.posargs if argument != "--once"]
    rows = []
    failed = False
    for name, core in CORES.items():
        controllers = [version for version in core.controllers if python(version)]
        rows += [(name, version, "SKIPPED: there is no such Python here") for version in core.controllers if version not in controllers]
        for number, controller in enumerate(controllers):
            if once and (number or name in others):
                rows.append((name, controller, "left out (--once)" if number else others[name]))
                continue
            began = time.monotonic()
            told = matrix_entry(session, name, controller, arguments)
            failed |= not told.startswith("passed")
            rows.append((name, controller, f"{told} ({time.monotonic() - began:.0f} s)"))
    targets = [version for version in TARGETS if python(version)]
    print(f"\nModules ran on Python {', '.join(version for version in targets if version != '3.6')} where ansible-core supports it.")
    print(
        "A target with Python 3.6 was asked from the controller."
        if "3.6" in targets
        else "SKIPPED: a target with Python 3.6, there is none."
    )
    print(f"\n{'ansible-core':<14}{'controller':<12}result")
    for name, controller, told in rows:
        print(f"{name:<14}{controller:<12}{told}")
    if failed:
        session.error("not all of the matrix passed")


def matrix_entry(session: nox.Session, core: str, controller: str, arguments: list[str]) -> str:
    """Run one ansible-core on one Python, and tell how it ended."""
    folder = Path(".nox", f"matrix-{core}-{controller}").absolute()
    binary = str(folder / "bin" / "python")
    session.run(str(python(controller)), "-m", "venv", "--clear", str(folder), external=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CORES[core].package]
    try:
        session.run(binary, *install, "-r", "requirements.txt", "-c", "requirements-dev.txt", *TEST_LIBRARIES, external=True)
    except nox.command.CommandFailed:
        return "FAILED: it does not install"
    installed = str(session.run(binary, "-c", VERSION, silent=True, external=True)).strip()
    try:
        words = ["-m", "pytest", "-q", "-m", "matrix", "-n", "auto", "--dist", "worksteal", *arguments]
        session.run(binary, *words, external=True, env=on_oldest_target(session, core))
    except nox.command.CommandFailed:
        return f"FAILED with {installed}"
    return f"passed with {installed}"


def sanity(session: nox.Session, core: str) -> None:
    """ansible-test sanity, without an ignore file."""
    session.install(CORES[core].package)
    session.chdir(copied_tree(session))
    session.run("ansible-test", "sanity", "--venv", "--color", "no", *session.posargs)


def units(session: nox.Session, core: str) -> None:
    """ansible-test units: what runs on targets on every Python there is, the rest on the controller's."""
    session.install(CORES[core].package)
    session.chdir(copied_tree(session))
    session.run("ansible-test", "units", "--venv", "--color", "no", *session.posargs)


@nox.session(python=found(CORES["newest"].controllers))
def browser(session: nox.Session) -> None:
    """The HTML report in Chromium. Pictures of it are kept in tests/output."""
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        session.skip("there is no Chromium here. On Debian: apt-get install chromium")
    session.install(CORES["newest"].package, "playwright", "pytest", "-c", "requirements-dev.txt")
    session.run("python", "-m", "pytest", "-s", "tests/browser", *session.posargs)


@nox.session(python=False)
def molecule(session: nox.Session) -> None:
    """Real hosts over SSH, in network namespaces. Names of scenarios as arguments run those only."""
    missing = [program for program in ("ip", "sshd", "busybox") if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if os.geteuid() != 0 or missing:
        why = f"there is no {' and no '.join(missing)} here. On Debian: apt-get install {MOLECULE_PACKAGES}" if missing else "it needs root"
        session.skip(f"the hosts of the scenarios are network namespaces: {why}")
    tools = Path(sys.executable).parent
    env = {"ANSIBLE_COLLECTIONS_PATH": str(collections_path()), "PATH": f"{tools}:{os.environ['PATH']}", "NO_COLOR": "1"}
    scenarios = session.posargs or sorted(path.parent.name for path in ROOT.glob("extensions/molecule/*/molecule.yml"))
    for scenario in scenarios:
        # One that was asked for by name is shown live, the others when they fail.
        session.run(str(tools / "molecule"), "test", "-s", scenario, env=env, silent=not session.posargs)


@nox.session(python=found(CORES["newest"].controllers))
def fuzz(session: nox.Session) -> None:
    """Answers that nobody thought of, for both transports. LMSTUDIO_FUZZ_SECONDS says how long at each of two targets (20)."""
    session.install(CORES["newest"].package, "-r", "requirements.txt", "-c", "requirements-dev.txt", *TEST_LIBRARIES)
    session.run("python", "-m", "pytest", "-s", "tests/fuzz", *session.posargs)


@nox.session(python=found(CORES["newest"].controllers))
def soak(session: nox.Session) -> None:
    """Ten thousand polls of a flapping fleet in one process: memory, files and threads must not grow."""
    session.install(CORES["newest"].package, "-r", "requirements.txt", "-c", "requirements-dev.txt", *TEST_LIBRARIES)
    session.run("python", "-m", "pytest", "-s", "tests/soak", *session.posargs)


@nox.session(python=found(CORES["newest"].controllers))
def scaling(session: nox.Session) -> None:
    """Slices of a fleet with ansible-runner, and caches that controllers share in Redis. Installs all of the package ansible."""
    if not shutil.which("redis-server"):
        session.skip("there is no Redis here. On Debian: apt-get install redis-server")
    session.install(CORES["newest"].package, ANSIBLE, "ansible-runner", "pytest", "redis", "-c", "requirements-dev.txt")
    session.run("python", "-m", "pytest", "-s", "tests/scaling", *session.posargs)


@nox.session(python=found(CORES["newest"].controllers), default=False)
def bench(session: nox.Session) -> None:
    """What the doors cost, as ratios of commands taken in one run: see tests/performance. `make bench` writes the tables, in some hours."""
    measure(session, *session.posargs)


@nox.session(python=found(CORES["newest"].controllers))
def guard(session: nox.Session) -> None:
    """The ratios of `bench` that are stable, with a wide margin, so that no change makes a door much slower unseen."""
    measure(session, "--guard", *session.posargs)


def measure(session: nox.Session, *arguments: str) -> None:
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        session.skip("there is no nginx here. On Debian: apt-get install nginx-light")
    session.install(CORES["newest"].package, "-r", "requirements.txt", "py-spy", "pyyaml", "trustme", "-c", "requirements-dev.txt")
    session.run("python", "tests/performance", *arguments)


@nox.session(python=found(CORES["newest"].controllers), default=False)
def mutation(session: nox.Session) -> None:
    """Change `_requirements.py` in every small way: at least nine of ten changes must fail a test. Takes ten minutes."""
    session.install(CORES["newest"].package, "cosmic-ray==8.7.0", "-c", "requirements-dev.txt", *TEST_LIBRARIES)
    session.chdir(copied_tree(session))
    session.run("cosmic-ray", "init", "tests/mutation.toml", "mutation.sqlite")
    session.run("cr-filter-operators", "mutation.sqlite", "tests/mutation.toml")
    session.run("cosmic-ray", "exec", "tests/mutation.toml", "mutation.sqlite", env={"PYTHONDONTWRITEBYTECODE": "1"})
    session.run("cr-report", "--surviving-only", "--show-diff", "mutation.sqlite")
    session.run("cr-rate", "--fail-over", "10", "mutation.sqlite")


def register(gate: Callable[[nox.Session, str], None], core: str) -> None:
    def session_of_core(session: nox.Session) -> None:
        gate(session, core)

    session_of_core.__doc__ = gate.__doc__
    nox.session(session_of_core, name=f"{gate.__name__}-{core}", python=found(CORES[core].controllers))


for tested in ALL_TESTS_ON:
    register(plays, tested)
for tested in ("2.17", "newest"):
    register(sanity, tested)
register(units, "2.18")
