# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every gate, two at a time: a line for each as it ends, then what was skipped and why, a table, and last what failed."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / ".ci" / "output"
PYTHONS = ("python3.14", "python3.13", "python3.12")
"""Those that the newest ansible-core supports, so that `make test` runs all tests on it."""
OLDEST_TARGET = "python3.9"
"""The oldest Python that modules of the newest ansible-core run on."""
NOX = ".venv/dev/bin/nox"
PACKAGES = ("shellcheck", "chromium", "curl", "busybox-static", "iproute2", "nginx-light", "openssh-server", "prometheus")
APT = "apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
# DPkg::Lock::Timeout does not cover the lock of the lists. Without the option of its own, an update that fetched nothing passes. Without newer
# lists the packages may still be there.
INSTALL = f"""
end=$(($(date +%s) + 300))
until {APT} -o APT::Update::Error-Mode=any update; do
    if [ "$(date +%s)" -ge "$end" ]; then
        echo "apt-get update has failed for five minutes: going on with the lists that are here"
        break
    fi
    echo "apt-get update failed: trying again in five seconds"
    sleep 5
done
DEBIAN_FRONTEND=noninteractive {APT} install -y "$@"
"""
SKIPPED = re.compile(r"(?:Session \S+ skipped: .+|SKIPPED(?: \[\d+\])?:? ?.+)$", re.MULTILINE)
FAILED = re.compile(r"^(?:FAILED|ERROR) .+$", re.MULTILINE)
"""How pytest names at its end what failed."""
SIDE_BY_SIDE = 2
"""Sessions at once: many of them use one core, or wait. Three took longer, on two cores."""
TAIL = 150
"""Lines that are shown of a gate that failed."""
LINE = 300
"""Characters of a line that names a failed test."""


class Gate(NamedTuple):
    name: str
    log: Path
    passed: bool
    seconds: float
    skipped: list[str]
    failures: list[str]


def run(name: str, command: list[str], env: dict[str, str] | None = None) -> Gate:
    """Run a gate with its output in a file, and say how it ended."""
    began = time.monotonic()
    log = OUTPUT / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    skipped, failures = (list(dict.fromkeys(pattern.findall(text))) for pattern in (SKIPPED, FAILED))
    gate = Gate(name, log, done.returncode == 0, time.monotonic() - began, skipped, failures)
    told = "FAILED" if not gate.passed else "skipped" if f"Session {name} skipped" in text else "passed"
    print(f"{told:<8}{gate.seconds:5.0f} s  {name}", flush=True)
    return gate


def side_by_side(commands: dict[str, list[str]]) -> list[Gate]:
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(run, commands, commands.values()))


def sessions() -> list[str]:
    """The sessions of noxfile.py that gate a change."""
    command = [ROOT / ".venv" / "dev" / "bin" / "python", "-c", "import noxfile; print(*noxfile.GATES)"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    if not found:
        raise SystemExit("noxfile.py has no gates")
    return found


def missing_packages() -> list[str]:
    """Which of the system's packages that the gates need are not installed. All of them, where there is no dpkg."""
    if not shutil.which("dpkg-query"):
        return list(PACKAGES)
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *PACKAGES]
    # It fails when it does not know one of them, and tells of the others all the same.
    known = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    return [name for name in PACKAGES if f"{name} installed" not in known]


def main() -> int:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.monotonic()
    newest = next((name for name in PYTHONS if shutil.which(name)), "python3")
    notes = []
    if newest == "python3":
        notes.append(f"make test on the newest ansible-core, because there is no {', '.join(PYTHONS)} here. It ran on the one for python3.")
    if not os.environ.get("LMSTUDIO_PAYLOADS"):
        notes.append("the recorded answers of other servers, because LMSTUDIO_PAYLOADS names no folder")
    # Side by side, because both wait for a registry much of the time. `make test` begins with `make dev`.
    set_up = {"make dev": ["make", "dev", f"PYTHON={newest}"]}
    missing = missing_packages()
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        set_up["packages"] = ["sh", "-c", INSTALL, "sh", *missing]
    elif missing:
        notes.append(f"the checks that need more than this machine has. As root on Debian: apt-get install {' '.join(missing)}")
    oldest = shutil.which(OLDEST_TARGET)
    if not oldest:
        notes.append(f"modules on the oldest Python of the newest ansible-core, because there is no {OLDEST_TARGET} here")
    env = {"LMSTUDIO_TARGET_PYTHON": oldest} if oldest else None
    gates = side_by_side(set_up)
    gates.append(run("make test", ["make", "test", f"PYTHON={newest}"], env))
    if not (ROOT / NOX).exists():
        print(gates[-1].log.read_text(errors="replace"), "\nFAILED: make test, which installs what the gates need")
        return 1
    gates.append(run("pip for ansible-test", [".venv/dev/bin/python", ".ci/ansible_test_pip.py"]))
    commands = {"make demo": ["make", "demo"], **{name: [NOX, "--non-interactive", "-s", name] for name in sessions()}}
    gates += side_by_side(commands)

    skipped = [*notes, *(f"{gate.name}: {line}" for gate in gates for line in gate.skipped)]
    print(f"\n{len(skipped)} skipped" + "".join(f"\n  {line}" for line in skipped))
    print("\n" + "\n".join(f"{gate.name:<24}{gate.seconds:6.0f} s" for gate in sorted(gates, key=lambda gate: -gate.seconds)))
    print(f"{'all of it':<24}{time.monotonic() - began:6.0f} s")
    failed = [gate for gate in gates if not gate.passed]
    for gate in failed:
        print(f"\n=== {gate.name} failed. The end of {gate.log.relative_to(ROOT)}:\n")
        print("\n".join(gate.log.read_text(errors="replace").splitlines()[-TAIL:]))
    # Once more and last, because a log may be cut.
    for gate in failed:
        print("\n".join(["", f"=== {gate.name}", *(line[:LINE] for line in gate.failures[:TAIL])]))
    print(f"\nFAILED: {', '.join(gate.name for gate in failed)}" if failed else "\nAll passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
