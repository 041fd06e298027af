"""The benchmark, in one command: sfsync beside a hand-written script, and the table of what was promised.

    python -m bench.run                       # everything: some minutes, a few GB of disk
    python -m bench.run --only run --rows 100000

Owns:      which measures there are, their goals, and the table.
Does not:  assert times: a noisy machine is no failure. It ends with 1 only when the two orgs differ in the end.
Invariant: every ratio is of two processes that ran by turns in the same minutes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import org, small
from bench.contest import Contest
from bench.measure import Cost, in_turn, median, run

PARTS = ("run", "ten", "calls", "start", "org")
TEN_MEMORY = "800MB"
"""DuckDB's limit for both programs where the whole process is to stay below 1 GB: Python and code come on top."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. met: None when nothing was promised."""

    measure: str
    sfsync: str
    baseline: str
    ratio: str
    goal: str
    met: bool | None


def ratio(measure: str, ours: float, theirs: float, most: float | None, unit: str = "s CPU") -> Line:
    """A line about a ratio."""
    found = ours / theirs
    return Line(
        measure,
        f"{ours:.2f} {unit}",
        f"{theirs:.2f} {unit}",
        f"{found:.2f}x",
        f"<= {most:g}x" if most else "",
        found <= most if most else None,
    )


def limit(measure: str, ours: float, most: float, unit: str) -> Line:
    """A line about a plain limit."""
    return Line(measure, f"{ours:.4g} {unit}", "", "", f"<= {most:g} {unit}", ours <= most)


def sizes(rows: int) -> str:
    """1000000 -> 1M."""
    return f"{rows // 1_000_000}M" if rows % 1_000_000 == 0 and rows else f"{rows:,}"


def part_run(folder: Path, rows: int, times: int) -> Iterator[Line]:
    """First load, nothing changed, 1.3 % changed, the diff alone; then the test that both orgs are alike."""
    name = sizes(rows)
    contest = Contest(folder, rows)
    try:
        contest.open()
        theirs = contest.baseline("run")
        ours = contest.sfsync("run")
        yield ratio(f"first load, {name}", ours.cpu_s, theirs.cpu_s, 1.5)
        yield limit(f"first load, {name}: peak (baseline {theirs.peak_mb:.0f} MB)", ours.peak_mb, 500, "MB")
        before = contest.calls("sfsync")
        ours, theirs = _both(contest, "run", "run", times)
        yield ratio(f"nothing changed, {name}", ours.cpu_s, theirs.cpu_s, 1.3)
        calls = contest.calls("sfsync") - before
        yield limit(f"nothing changed, {name}: API calls", calls, 0, "calls")
        contest.use("v2")
        ours, theirs = _both(contest, "plan", "diff", times)
        yield ratio(f"plan (whole process), {name}", ours.cpu_s, theirs.cpu_s, None)
        ours, theirs = _steps(contest, times)
        yield ratio(f"diff alone, {name}", ours.cpu_s, theirs.cpu_s, 1.3)
        yield from _changed(contest, name)
        differences = contest.differences()
        yield Line("both orgs in the end", "", "", "", "alike", differences == 0)
        if differences:
            raise SystemExit(f"the orgs differ in {differences:,} Contacts")
    finally:
        contest.close()


def _both(contest: Contest, ours: str, theirs: str, times: int) -> tuple[Cost, Cost]:
    return in_turn(contest.sfsync_command(ours), contest.baseline_command(theirs), times, contest.env)


def _steps(contest: Contest, times: int, memory: str = "256MB") -> tuple[Cost, Cost]:
    """The diff without start-up: both programs time it from inside."""
    steps = [sys.executable, "-m", "bench.steps"]
    ours = [*steps, "sfsync", str(contest.project)]
    theirs = [*steps, "baseline", str(contest.warehouse), str(contest.folder / "baseline.duckdb")]
    first, second = [], []
    for _ in range(times):
        for into, command in ((first, ours), (second, theirs)):
            cost = run(command, env={"BENCH_MEMORY": memory, **contest.env})
            seen = json.loads(cost.out.splitlines()[-1])
            into.append(Cost(seen["cpu_s"], seen["wall_s"], cost.peak_mb, 0, "", ""))
    return median(first), median(second)


def _changed(contest: Contest, name: str) -> Iterator[Line]:
    """v1 -> v2 -> v1 -> v2: each time 1.3 % of the rows change."""
    ours, theirs = [], []
    for which in ("v2", "v1", "v2"):
        contest.use(which)
        ours.append(contest.sfsync("run"))
        theirs.append(contest.baseline("run"))
    mine, other = median(ours), median(theirs)
    yield ratio(f"run, 1.3 % changed, {name}", mine.cpu_s, other.cpu_s, 1.4)
    yield limit(
        f"run, 1.3 % changed, {name}: peak (baseline {other.peak_mb:.0f} MB)", mine.peak_mb, 400, "MB"
    )


def part_ten(folder: Path, rows: int, times: int) -> Iterator[Line]:
    """Ten times the rows through the diff, in a process of 1 GB; the state is made by SQL, not by a first load."""
    found: dict[int, tuple[Cost, Cost]] = {}
    for size in (rows, 10 * rows):
        contest = Contest(folder / str(size), size)
        contest.prepare(TEN_MEMORY)
        contest.use("v2")
        found[size] = _steps(contest, times, memory=TEN_MEMORY)
        shutil.rmtree(contest.folder)
    ours, theirs = found[10 * rows]
    yield ratio(f"diff alone, {sizes(10 * rows)}, 1 GB", ours.cpu_s, theirs.cpu_s, 1.3)
    yield ratio(
        f"diff, time of {sizes(10 * rows)} by {sizes(rows)}", ours.wall_s, found[rows][0].wall_s, 11, "s"
    )
    yield limit(
        f"diff, {sizes(10 * rows)}: peak (baseline {theirs.peak_mb:.0f} MB)", ours.peak_mb, 1000, "MB"
    )


def table(lines: list[Line]) -> str:
    """Markdown."""
    rows = [["measure", "sfsync", "baseline", "ratio", "goal", "met"]]
    rows += [
        [x.measure, x.sfsync, x.baseline, x.ratio, x.goal, {True: "yes", False: "NO", None: ""}[x.met]]
        for x in lines
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(6)]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def machine() -> str:
    """Where and with what."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "sqlglot", "jinja2", "pydantic"))
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, {packages}; load {os.getloadavg()[0]:.1f} at the end"
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="size of the table (default: 1000000)")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--times", type=int, default=3, help="runs of what is cheap to repeat (default: 3)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    given = parser.parse_args()
    chosen = given.only or PARTS
    root = Path(tempfile.mkdtemp(prefix="sfsync-bench-", dir=given.folder))
    lines: list[Line] = []
    parts = {
        "run": lambda: part_run(root / "run", given.rows, given.times),
        "ten": lambda: part_ten(root / "ten", given.rows, given.times),
        "calls": lambda: small.part_calls(root / "calls", given.rows),
        "start": lambda: small.part_start(root / "start", given.times + 2),
        "org": lambda: org.part_org(root / "org"),
    }
    try:
        for name in PARTS:
            if name in chosen:
                for line in parts[name]():
                    print(
                        line.measure,
                        line.sfsync,
                        line.baseline,
                        line.ratio,
                        line.goal,
                        line.met,
                        file=sys.stderr,
                    )
                    lines.append(line)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        print(f"\n{table(lines)}\n\n{machine()}")


if __name__ == "__main__":
    main()
