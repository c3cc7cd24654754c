# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plugins cost, as ratios of whole commands that were taken in one run.

    make bench                                   all figures, and the tables of docs/performance.md; takes some hours
    nox -s bench -- 4 9                          some of them; --write puts those into the tables, and leaves the others
    nox -s bench -- --guard                      those that are stable, with a wide margin: what CI runs
    nox -s bench -- --profile                    where the time of each plugin goes
    nox -s bench -- --memory                     what each plugin needs of it; takes hours, and writes as it goes

nginx serves the answers from the same machine, so its share is in every line. Compare ratios, not seconds. Ends with 1 when a
figure is not reached.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import profiles
from bench import BINARIES, ROOT, Bench, Row
from figures import FIGURES, memory

PAGE = ROOT / "docs" / "performance.md"
HEADINGS = ["figure", "what", "measured", "promised", "reached", "in seconds, or beside it"]
GUARDED = {"6": 1.0, "reading": 1.5, "10": 1.4, "audit": 1.5}
"""The stable ratios, and how many times the promise CI lets pass. It measures processor time there, which stays the same on a
machine that is busy with other things."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows))


def machine() -> str:
    done = subprocess.run([BINARIES / "ansible", "--version"], check=True, capture_output=True, text=True)
    core = re.search(r"core ([^\]]+)", done.stdout)
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    return (
        f"Last measured on {datetime.date.today():%Y-%m-%d} with ansible-core {core[1] if core else '?'} and Python {platform.python_version()} on "
        f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), the web server and the hosts included."
    )


def parts_of_page(name: str) -> tuple[str, str, str]:
    """What is before a generated part of the page, the part, and what is after it."""
    begin, end = f"<!-- {name}: written by make bench -->\n", f"\n<!-- end of {name} -->"
    head, rest = PAGE.read_text().split(begin)
    written, tail = rest.split(end)
    return head + begin, written, end + tail


def write(name: str, text: str) -> None:
    """Put a generated part in its place in the page."""
    head, _written, tail = parts_of_page(name)
    PAGE.write_text(head + "\n" + text + "\n" + tail)


def with_others(rows: Sequence[Row]) -> list[Sequence[str]]:
    """The cells of these lines, and of the figures that were not measured now as the page has them, in order."""
    lines = [line.strip("| ").split(" | ") for line in parts_of_page("figures")[1].splitlines() if line.startswith("| ")]
    by_figure: dict[str, list[Sequence[str]]] = {figure: [line for line in lines if line[0] == figure] for figure in FIGURES}
    for figure in {row.figure for row in rows}:
        by_figure[figure] = [row.cells() for row in rows if row.figure == figure]
    return [cells for of_figure in by_figure.values() for cells in of_figure]


def main() -> int:
    parser = argparse.ArgumentParser(description="What the plugins cost, as ratios of whole commands that were taken in one run.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"which ones: {', '.join(FIGURES)}; all unless given")
    parser.add_argument("--repeats", type=int, default=5, help="pairs for each ratio (%(default)s)")
    parser.add_argument("--guard", action="store_true", help=f"fail when a ratio of {', '.join(GUARDED)} is far from its promise")
    parser.add_argument("--profile", action="store_true", help="where the time of each plugin goes")
    parser.add_argument("--memory", action="store_true", help="the peak of each plugin with 1,000 and 10,000 hosts")
    parser.add_argument("--write", action="store_true", help="put what was measured into docs/performance.md")
    arguments = parser.parse_args()
    unknown = set(arguments.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}. The figures are {', '.join(FIGURES)}.")
    chosen = arguments.figures or (list(GUARDED) if arguments.guard else [] if arguments.profile or arguments.memory else list(FIGURES))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), 1 if arguments.guard else arguments.repeats, processor_time=arguments.guard)
        bench.install()
        with bench.serving():
            for figure in chosen:
                for row in FIGURES[figure](bench):
                    print(" | ".join(row.cells()), flush=True)
                    rows.append(row)
            shares = profiles.shares(bench) if arguments.profile else {}
            for peaks in memory(bench) if arguments.memory else ():
                found = table(["plugin", "1,000 hosts", "10,000 hosts"], peaks)
                print(found + "\n", flush=True)
                if arguments.write:
                    write("memory", found)
    for plugin, parts in shares.items():
        print(f"{plugin}: " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()))
    if arguments.write:
        if rows:
            write("figures", machine() + "\n\n" + table(HEADINGS, with_others(rows)))
        if shares:
            parts = list(dict.fromkeys(part for plugin in shares.values() for part in plugin))
            cells = [[plugin, *(f"{shares[plugin].get(part, 0):.0%}" for part in parts)] for plugin in shares]
            write("profiles", table(["plugin", *parts], cells))
    missed = [row for row in rows if not row.within(GUARDED.get(row.figure, 1.0) if arguments.guard else 1.0)]
    for row in missed:
        print(f"not reached: figure {row.figure}, {row.what}: {row.measured:.2f}{row.unit}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
