# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the working tree importable and usable as a collection, wherever it was cloned to."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parent.parent


def collections_path() -> Path:
    """The folder that holds ``ansible_collections``: the one around this tree, or one with a link to it."""
    if ROOT.parts[-3:] == ("ansible_collections", "gpufleet", "lmstudio"):
        return ROOT.parents[2]
    path = ROOT / "collections"
    link = path / "ansible_collections" / "gpufleet" / "lmstudio"
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # Another process may make it in the same moment.
        link.symlink_to("../../..", target_is_directory=True)
    return path


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


RES_OPTIONS = "timeout:1 attempts:2"
"""For the system's resolver, which waits for a silent name server for longer than a plugin waits for an answer."""
# Not resolve(): that would leave the virtual environment.
BINARIES = Path(sys.executable).parent


def settings_in(folder: Path) -> dict[str, str]:
    """The environment for commands of this Python's ansible-core: none of the machine's own Ansible settings count."""
    (folder / "ansible.cfg").write_text("[defaults]\nretry_files_enabled = false\n")
    return {
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(BINARIES), "/usr/local/bin", "/usr/bin", "/bin"]),
        "RES_OPTIONS": RES_OPTIONS,
    }


def pytest_configure() -> None:
    os.environ["RES_OPTIONS"] = RES_OPTIONS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two more than there are processors, because many of the tests wait for a server that is slow on purpose."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors + 2


try:
    import hypothesis
except ImportError:
    pass
else:
    # What gates a change is the same each time, on a slow machine too. By night, `nox -s properties` tries new examples.
    _gate = {"derandomize": True, "deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("gate", **_gate)
    hypothesis.settings.register_profile("nightly", max_examples=1000, **{**_gate, "derandomize": False, "print_blob": True})
    hypothesis.settings.load_profile("gate")

    # Hypothesis mixes in constants of the local modules that are loaded, and which those are depends on the tests that ran before.
    _providers = sys.modules.get("hypothesis.internal.conjecture.providers")
    if hasattr(_providers, "_get_local_constants"):
        from hypothesis.internal.constants_ast import Constants

        _local, _none = _providers._get_local_constants, Constants()
        _providers._get_local_constants = lambda: _none if hypothesis.settings.default.derandomize else _local()

sys.path.insert(0, str(collections_path()))
# A process that is forked imports what it runs by a name that Ansible does not look for in collections.
sys.path.append(str(ROOT / "tests"))
# The commands under test can use an installed release in place of the working tree.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = os.environ.get("LMSTUDIO_COLLECTIONS_PATH") or str(collections_path())
