# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures, each a function that measures and gives the lines of the table."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import MODELS, OWN, ROOT, SIZES, TLS, Bench, Row, Took, payload

IN_PROCESS = Path(__file__).with_name("in_process.py")

Task = dict[str, Any]
Command = Sequence[str]
URI: Task = {"ansible.builtin.uri": {"url": "{{ lmstudio_url | default(lmstudio_controller_url) }}" + MODELS, "return_content": True}}
ON_TARGET: Task = {"gpufleet.lmstudio.model_info": {"detail": "loaded", "timeout": 60}}
FROM_CONTROLLER: Task = {"gpufleet.lmstudio.model_info": {"detail": "loaded", "via": "controller", "timeout": 60}}
FACTS: Task = {"gpufleet.lmstudio.model_facts": {}}
GATE: Task = {
    "gpufleet.lmstudio.model_assert": {"record": "{{ fleet.hosts[inventory_hostname] }}", "require": [{"model": "qwen/qwen3-8b"}]}
}
FLEET_GATE: Task = {"gpufleet.lmstudio.fleet_assert": {"require": [{"model": "qwen/qwen3-8b"}]}, "run_once": True}
LOOKUP: Task = {
    "ansible.builtin.debug": {"msg": "{{ query('gpufleet.lmstudio.models', groups['all'], wantlist=true) | length }}"},
    "run_once": True,
}
SOURCE = "plugin: gpufleet.lmstudio.lmstudio\nhosts: all\n"
CACHED = SOURCE + "cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: cache\n"
AUDIT = {
    "fleet_audit_policy": {
        "require": [{"model": "qwen/*", "min_context_length": 8192}],
        "fleet": [{"require": [{"model": "qwen/*"}], "min_hosts": 2, "consistent": ["quantization"]}],
    },
    "fleet_audit_formats": ["html", "json", "csv", "markdown", "junit", "prometheus"],
    "fleet_audit_dest": "audit",
}


def fleet_info(**options: Any) -> Task:
    return {"gpufleet.lmstudio.fleet_info": options, "run_once": True, "register": "fleet"}


def inventory(source: str | None = None) -> Command:
    return ["ansible-inventory", "-i", "hosts.json", *(["-i", source] if source else []), "--list"]


def audit() -> Command:
    return ["ansible-playbook", "-i", "hosts.json", "gpufleet.lmstudio.fleet_audit", "-e", json.dumps(AUDIT)]


def against(
    bench: Bench,
    what: tuple[str, str],
    commands: tuple[Command, Command],
    bound: float | None,
    names: tuple[str, str],
    at_most: int | None = None,
) -> Row:
    """The line of two commands, the one as a multiple of the other."""
    figure, text = what
    ratio, one, other = bench.pairs(*commands, at_most)
    return Row(figure, text, ratio, " times", took(one, other, names), bound)


def took(one: Took, other: Took, names: tuple[str, str]) -> str:
    return f"{names[0]} {one.seconds:.2f} s, {names[1]} {other.seconds:.2f} s"


def in_process(bench: Bench, what: str, *arguments: Any) -> list[float]:
    """Measure inside one process of the installed collection, for what a whole command would hide."""
    env = {**bench.env, "PYTHONPATH": str(bench.folder / "collections")}
    clock = "process_time" if bench.processor_time else "monotonic"
    command = [sys.executable, str(IN_PROCESS), what, json.dumps(arguments), clock]
    done = subprocess.run(command, cwd=bench.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"in_process.py {what} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    numbers: list[float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def urls(bench: Bench, number: int, kind: Callable[[int], str] | str = "30 KB") -> list[str]:
    return [f"http://127.0.0.1:{bench.ports[kind if isinstance(kind, str) else kind(index)]}/{index}" for index in range(number)]


def on_the_target(bench: Bench) -> Iterator[Row]:
    bench.hosts(100, target=True)
    commands = bench.play(ON_TARGET), bench.play({"nothing": {}})
    yield against(
        bench,
        ("1", "`model_info` on the target, 100 hosts, against a module that does nothing"),
        commands,
        1.2,
        ("model_info", "nothing"),
    )
    commands = bench.play(URI), bench.play({"nothing": {}})
    yield against(bench, ("1", "for comparison: `ansible.builtin.uri` against the same"), commands, None, ("uri", "nothing"), 3)


def over_ssh(bench: Bench) -> Iterator[Row]:
    missing = [program for program in ("ip", "sshd") if not shutil.which(program, path=bench.env["PATH"])]
    if os.geteuid() or missing:
        print(f"SKIPPED: figure 2, because {'there is no ' + missing[0] + ' here' if missing else 'network namespaces need root'}")
        return
    folder = bench.folder / "lab"
    lab = bench.folder / "lab.yml"
    server = {"payload": json.loads(payload(SIZES["30 KB"]))}
    lab.write_text(json.dumps({"network": "198.18.7.0/24", "hosts": {f"gpu{number:02}": {"server": server} for number in range(50)}}))
    try:
        subprocess.run([sys.executable, ROOT / "tests" / "lab", "up", lab, folder], check=True, stdin=subprocess.DEVNULL)
        commands = tuple(
            [*bench.play(task), "-i", str(folder / "inventory.yml"), "-l", "gpu", "-e", "ansible_pipelining=true"]
            for task in (ON_TARGET, {"nothing": {}})
        )
        (bench.folder / "hosts.json").write_text("{}")
        bench.run(commands[1])
        yield against(
            bench,
            ("2", "the same over SSH with pipelining, 50 hosts in network namespaces"),
            (commands[0], commands[1]),
            1.2,
            ("model_info", "nothing"),
        )
    finally:
        subprocess.run([sys.executable, ROOT / "tests" / "lab", "down", lab], check=True, stdin=subprocess.DEVNULL)


def from_the_controller(bench: Bench) -> Iterator[Row]:
    bench.hosts(100)
    asking = bench.play(FROM_CONTROLLER)
    ratio, one, other = bench.pairs(bench.play(URI), asking, 3)
    yield Row(
        *("3", "`ansible.builtin.uri` against `model_info` with `via: controller`, 100 hosts", ratio, " times"),
        took(one, other, ("uri", "model_info")),
        12,
        at_least=True,
    )
    commands = asking, bench.play({"no_action": {}})
    yield against(
        bench,
        ("3", "`model_info` with `via: controller`, 100 hosts, against an action that does nothing"),
        commands,
        1.5,
        ("model_info", "nothing"),
    )


def the_fleet(bench: Bench) -> Iterator[Row]:
    path = bench.folder / "ready.json"
    in_process(bench, "ready", payload(SIZES["30 KB"]).decode(), 1000, str(path))
    ready = bench.play({"ready": {"path": str(path)}, "run_once": True, "register": "fleet"})
    asking = bench.play(fleet_info())

    def against_ready(what: str, command: Command, bound: float) -> Row:
        return against(bench, ("4", what), (command, ready), bound, ("fleet_info", "ready"))

    bench.hosts(1000)
    yield against_ready("`fleet_info`, 1,000 hosts, against an action that has the same result ready in a file", asking, 1.4)
    took_by_us = bench.run(asking)
    bench.hosts(1000, OWN)
    yield against_ready("the same, where every answer differs", asking, 1.5)
    if os.geteuid():
        print("SKIPPED: hosts with names, because a mount namespace needs root")
    else:
        bench.hosts(1000, names=True)
        yield against_ready("the same, where hosts have names", bench.named(asking, 1000), 1.4)
    bench.hosts(1000, TLS)
    yield against_ready("the same over TLS", asking, 2.5)
    bench.hosts(1000)
    what = "Ansible alone: the action that has the result ready, against an empty play"
    yield against(bench, ("4", what), (ready, bench.play()), None, ("ready", "empty"))
    uri = bench.run(bench.play(URI))
    yield Row(
        *("4", "`ansible.builtin.uri` with 50 forks against `fleet_info`, 1,000 hosts", uri.seconds / took_by_us.seconds, " times"),
        f"uri {uri.seconds:.0f} s",
        75,
        at_least=True,
    )


def the_inventory(bench: Bench) -> Iterator[Row]:
    (bench.folder / "lmstudio.yml").write_text(SOURCE)
    (bench.folder / "cached.lmstudio.yml").write_text(CACHED)
    asking = inventory("lmstudio.yml")
    bench.hosts(1000)
    yield against(bench, ("5", "inventory plugin, 1,000 hosts, against a plain file"), (asking, inventory()), 3.5, ("plugin", "file"))
    yield filling_against_asking(bench)
    yield warm_against_cold(bench, "from a warm cache, against the run that filled it", 1)
    bench.run(asking)
    listed = json.loads((bench.folder / "output").read_text())
    (bench.folder / "same.json").write_text(json.dumps({"all": {"hosts": listed["_meta"]["hostvars"]}}))
    same = ["ansible-inventory", "-i", "same.json", "--list"]
    what = "Ansible alone: a file with the same variables, against a plain file"
    yield against(bench, ("5", what), (same, inventory()), None, ("same variables", "plain"))
    bench.hosts(1000, OWN)
    what = "the plugin against a plain file, where every answer differs"
    yield against(bench, ("5", what), (asking, inventory()), None, ("plugin", "file"))
    yield warm_against_cold(bench, "from a warm cache, against the run that filled it, where every answer differs", None)


def filling_against_asking(bench: Bench) -> Row:
    taken = []
    for _time in range(bench.repeats):
        shutil.rmtree(bench.folder / "cache", ignore_errors=True)
        taken.append((bench.run(inventory("cached.lmstudio.yml")), bench.run(inventory("lmstudio.yml"))))
    return row_of_pairs("asking and filling a cache, against asking", taken, 1.2, ("filling", "asking"))


def row_of_pairs(what: str, taken: list[tuple[Took, Took]], bound: float | None, names: tuple[str, str]) -> Row:
    ratio = statistics.median(one.seconds / other.seconds for one, other in taken)
    one, other = (Took(*map(statistics.median, zip(*each))) for each in zip(*taken))
    return Row("5", what, ratio, " times", took(one, other, names), bound)


def warm_against_cold(bench: Bench, what: str, bound: float | None) -> Row:
    command = inventory("cached.lmstudio.yml")
    taken = []
    for _time in range(bench.repeats):
        shutil.rmtree(bench.folder / "cache", ignore_errors=True)
        cold = bench.run(command)
        taken.append((bench.run(command), cold))
    return row_of_pairs(what, taken, bound, ("warm", "cold"))


def the_lookup(bench: Bench) -> Iterator[Row]:
    ratio, lookup, loop, requests = in_process(bench, "lookup", urls(bench, 1000))
    yield Row(
        *("6", "lookup, 1,000 terms in one call, against the bare exchanges, 64 at a time", ratio, " times"),
        f"lookup {lookup:.2f} s, exchanges {loop:.2f} s; with `requests` the exchanges take {requests:.2f} s",
        2,
    )


def reading(bench: Bench) -> Iterator[Row]:
    known, new, json_alone = in_process(bench, "reading", payload(SIZES["30 KB"]).decode())
    for models, taken, bound in (("all new", new, 5), ("as other hosts have them", known, 1)):
        yield Row(
            *("reading", f"an answer of 30 KB made into a record, its models {models}, against decoding and encoding its JSON"),
            *(taken / json_alone, " times", f"record {taken * 1000:.2f} ms, JSON {json_alone * 1000:.2f} ms", bound),
        )


def dead_hosts(bench: Bench) -> Iterator[Row]:
    def every(number: int, dead: str) -> Callable[[int], str]:
        return lambda index: "30 KB" if index % number else dead

    fleet = bench.play(fleet_info(timeout=5, concurrency=1000))
    for share, number, bound in (("2%", 50, 6.5), ("50%", 2, 8)):
        (seconds,) = in_process(bench, "dead", urls(bench, 1000, every(number, "silent")), 5)
        bench.hosts(1000, every(number, "silent"))
        play = bench.run(fleet)
        told = f"a whole play with `fleet_info`: {play.seconds:.2f} s"
        yield Row("7", f"1,000 endpoints, {share} silent, `timeout: 5`: until all have a record", seconds, " s", told, bound)
    taken: dict[str, list[float]] = {"alive": [], "refused": []}
    for _time in range(bench.repeats):
        for what, kind in (("alive", "30 KB"), ("refused", every(2, "refused"))):
            bench.hosts(1000, kind)
            taken[what].append(bench.run(fleet).seconds)
    alive, refused = (statistics.median(seconds) for seconds in taken.values())
    yield Row(
        *("7", "`fleet_info`, 1,000 hosts, 50% refused, against all alive", refused / alive, " times"),
        f"refused {refused:.2f} s, alive {alive:.2f} s",
        1,
    )


def growth(bench: Bench) -> Iterator[Row]:
    (bench.folder / "lmstudio.yml").write_text(SOURCE)
    (bench.folder / "cached.lmstudio.yml").write_text(CACHED)
    for what, command, megabytes in (
        ("`fleet_info`", bench.play(fleet_info()), 600),
        ("inventory plugin", inventory("lmstudio.yml"), 900),
        ("inventory plugin that fills its cache", inventory("cached.lmstudio.yml"), 900),
    ):
        taken = []
        for _time in range(3):
            pair = []
            for number in (10000, 1000):
                bench.hosts(number)
                shutil.rmtree(bench.folder / "cache", ignore_errors=True)
                pair.append(bench.run(command))
            taken.append((pair[0], pair[1]))
        # The pair in the middle, of an odd number.
        large, small = sorted(taken, key=lambda pair: pair[0].seconds / pair[1].seconds)[1]
        told = took(large, small, ("10,000", "1,000"))
        yield Row("8", f"{what}, 10,000 hosts against 1,000", large.seconds / small.seconds, " times", told, 10)
        yield Row("8", f"{what}, 10,000 hosts, peak of memory", large.megabytes, " MB", f"1,000 hosts: {small.megabytes:.0f} MB", megabytes)


def full_detail(bench: Bench) -> Iterator[Row]:
    bench.hosts(1000)
    commands = bench.play(fleet_info(detail="full")), bench.play(fleet_info())
    ratio, one, other = bench.pairs(*commands, 3)
    yield Row(
        *("8b", "`fleet_info`, 1,000 hosts, `detail: full` against `loaded`", ratio, " times"),
        took(one, other, ("full", "loaded")) + f", {one.megabytes:.0f} MB",
        8,
    )


def answer_size(bench: Bench) -> Iterator[Row]:
    taken: dict[str, list[float]] = {"150 KB": [], "2 KB": []}
    for _time in range(bench.repeats):
        for name, seconds in taken.items():
            bench.hosts(1000, name)
            seconds.append(bench.run(bench.play(fleet_info())).seconds)
    large, small = (statistics.median(seconds) for seconds in taken.values())
    yield Row(
        *("9", "`fleet_info`, 1,000 hosts, answers of 150 KB against 2 KB", large / small, " times"),
        f"150 KB {large:.2f} s, 2 KB {small:.2f} s",
        3,
    )


def a_gate(bench: Bench) -> Iterator[Row]:
    # The guard has a wide margin, for which fewer are enough.
    number = 40 if bench.processor_time else 100
    bench.hosts(number)
    commands = tuple(bench.play(fleet_info(), *[task] * 5) for task in (GATE, {"no_action": {}}))
    yield against(
        bench,
        ("10", f"five `model_assert` on a gathered record, {number} hosts, against five actions that do nothing"),
        (commands[0], commands[1]),
        1.3,
        ("model_assert", "nothing"),
    )


def a_fleet_gate(bench: Bench) -> Iterator[Row]:
    bench.hosts(1000)
    commands = bench.play(FLEET_GATE), bench.play(fleet_info())
    what = "`fleet_assert`, 1,000 hosts, against `fleet_info`, which passes their records on"
    yield against(bench, ("gate", what), commands, 1.2, ("fleet_assert", "fleet_info"))


def an_audit(bench: Bench) -> Iterator[Row]:
    bench.hosts(1000)
    commands = audit(), bench.play(fleet_info())
    yield against(
        bench,
        ("audit", "the role `fleet_audit` with all six reports, 1,000 hosts, against `fleet_info`"),
        commands,
        3,
        ("audit", "fleet_info"),
        3,
    )


def plugins(bench: Bench) -> dict[str, tuple[Command, bool]]:
    """The command of each plugin, and whether it asks on the target."""
    return {
        "`model_info`": (bench.play(ON_TARGET), True),
        "`model_info`, `via: controller`": (bench.play(FROM_CONTROLLER), False),
        "`model_facts`": (bench.play(FACTS), True),
        "`model_assert` after `fleet_info`": (bench.play(fleet_info(), GATE), False),
        "`fleet_info`": (bench.play(fleet_info()), False),
        "lookup": (bench.play(LOOKUP), False),
        "inventory plugin": (inventory("lmstudio.yml"), False),
        "role `fleet_audit`": (audit(), False),
    }


def memory(bench: Bench) -> Iterator[list[list[str]]]:
    """The peaks of each plugin, with 1,000 and 10,000 hosts: after each measurement, as far as they are known.

    The plugins with a task on each host come last, because they take hours.
    """
    (bench.folder / "lmstudio.yml").write_text(SOURCE)
    peaks = {plugin: ["not measured", "not measured"] for plugin in plugins(bench)}
    for column, number in enumerate((1000, 10000)):
        for plugin, (command, target) in sorted(plugins(bench).items(), key=lambda item: item[1][1]):
            bench.hosts(number, target=target)
            peaks[plugin][column] = f"{bench.run(command).megabytes:.0f} MB"
            yield [[plugin, *peak] for plugin, peak in peaks.items()]


FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "1": on_the_target,
    "2": over_ssh,
    "3": from_the_controller,
    "4": the_fleet,
    "5": the_inventory,
    "6": the_lookup,
    "reading": reading,
    "7": dead_hosts,
    "8": growth,
    "8b": full_detail,
    "9": answer_size,
    "10": a_gate,
    "gate": a_fleet_gate,
    "audit": an_audit,
}
