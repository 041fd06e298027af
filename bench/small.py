"""The measures that need no million rows: API calls, and starting up.

Owns:      calls for 1 to N changed rows, counted by the org; --help, an empty project, a thousand models.
Does not:  print (run does).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench import calls
from bench.contest import Contest
from bench.measure import SFSYNC, Cost, in_turn, median, run

if TYPE_CHECKING:
    from bench.run import Line

CLICK = """
import click

@click.group()
def cli():
    pass

for name in 'init debug seed compile ls plan run retry status history state org'.split():
    cli.command(name, short_help='A line of help.')(lambda: None)
cli()
"""
"""A bare click group with as many commands as sfsync has."""

MODELS, SYNCS = 1000, 20


def part_start(folder: Path, times: int) -> Iterator[Line]:
    """--help, plan on an empty project, compile of a thousand models, and ls of them when they did not change."""
    from bench.run import limit, ratio

    folder.mkdir(parents=True)
    ours, theirs = in_turn([*SFSYNC, "--help"], [sys.executable, "-c", CLICK, "--help"], times + 4)
    yield ratio("--help, beside a bare click group", ours.cpu_s, theirs.cpu_s, 1.5)
    empty = folder / "empty"
    _empty_project(empty)
    cost = median([run([*SFSYNC, "plan", "--project-dir", str(empty)]) for _ in range(times)])
    yield limit("plan, empty project", cost.cpu_s, 0.5, "s CPU")
    thousand = folder / "thousand"
    _thousand_models(thousand)
    floor = [sys.executable, "-m", "bench.floor", str(thousand)]
    compile_ = [*SFSYNC, "compile", "--project-dir", str(thousand)]
    colds: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(max(1, times - 3)):
        forget_compiled(thousand)
        for into, command in zip(colds, (compile_, floor), strict=True):
            into.append(run(command))
    ours, theirs = median(colds[0]), median(colds[1])
    yield ratio(
        f"compile {MODELS:,} models, {SYNCS} syncs, beside jinja + sqlglot", ours.cpu_s, theirs.cpu_s, 1.3
    )
    cost = median([run([*SFSYNC, "ls", "--project-dir", str(thousand)]) for _ in range(max(2, times - 2))])
    yield limit(f"ls, the same {MODELS:,} models unchanged", cost.cpu_s, 1.0, "s CPU")


def forget_compiled(project: Path) -> None:
    """Compile for the first time again."""
    import shutil

    shutil.rmtree(project / ".sfsync" / "compiled", ignore_errors=True)


def _project(folder: Path, warehouse: str) -> None:
    for name in ("models", "syncs"):
        (folder / name).mkdir(parents=True)
    (folder / "sfsync_project.yml").write_text("name: bench\nversion: '1'\nprofile: bench\n")
    (folder / "profiles.yml").write_text(
        "bench:\n  target: dev\n  outputs:\n    dev:\n"
        f"      warehouse: {warehouse}\n      org: {{type: local}}\n"
    )


def _empty_project(folder: Path) -> None:
    _project(folder, "{type: duckdb}")


def _thousand_models(folder: Path) -> None:
    import duckdb

    _project(folder, "{type: duckdb, path: w.duckdb}")
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute("CREATE SCHEMA raw")
        for n in range(50):
            connection.execute(
                f"CREATE TABLE raw.t{n} (id VARCHAR, name VARCHAR, email VARCHAR, amount DECIMAL(12,2), seen_at TIMESTAMP)"
            )
    (folder / "models" / "sources.yml").write_text(
        "version: 2\nsources:\n  - name: raw\n    tables:\n"
        + "".join(f"      - name: t{n}\n" for n in range(50))
    )
    for n in range(MODELS):
        (folder / "models" / f"m{n}.sql").write_text(_model(n))
    for n in range(SYNCS):
        (folder / "syncs" / f"s{n}.yml").write_text(
            f"version: 1\nsyncs:\n  - name: s{n}\n    model: m{MODELS - 1 - n}\n    object: Account\n"
            "    identity: {Account_Id__c: id}\n"
            "    fields: {Name: {column: name, shared: true}, AnnualRevenue: {column: amount, shared: true}}\n"
        )


def _model(n: int) -> str:
    """A model of the usual kind: it reads a source or two other models, joins, groups and cases."""
    layer = n * 4 // MODELS
    if layer == 0:
        return (
            "{% set kinds = ['a', 'b', 'c'] %}\nSELECT\n    id,\n    trim(name) AS name,\n    lower(email) AS email,\n"
            "    {% for k in kinds %}CASE WHEN name LIKE '{{ k }}%' THEN 1 ELSE 0 END AS is_{{ k }},\n    {% endfor %}"
            f"amount,\n    seen_at\nFROM {{{{ source('raw', 't{n % 50}') }}}}\nWHERE id IS NOT NULL\n"
        )
    below = (layer - 1) * MODELS // 4
    one, two = below + n % (MODELS // 4), below + (n * 7 + 3) % (MODELS // 4)
    return (
        f"WITH a AS (SELECT * FROM {{{{ ref('m{one}') }}}}),\nb AS (SELECT id, name, email, amount, seen_at FROM {{{{ ref('m{two}') }}}})\n"
        "SELECT\n    a.id,\n    coalesce(a.name, b.name) AS name,\n    a.email,\n    sum(b.amount) AS amount,\n"
        "    max(a.seen_at) AS seen_at,\n    count(*) FILTER (WHERE b.amount > {{ var('least', 10) }}) AS n\n"
        "FROM a\nLEFT JOIN b ON a.id = b.id AND a.seen_at >= b.seen_at\nWHERE a.email LIKE '%@%'\n"
        "GROUP BY a.id, coalesce(a.name, b.name), a.email\n"
    )


def part_calls(folder: Path, rows: int) -> Iterator[Line]:
    """Calls for N creates and N updates, by the org's own counter, beside the cheapest safe way."""
    from bench.run import Line

    for count in [n for n in calls.COUNTS if n <= rows]:
        contest = Contest(folder / str(count), count)
        try:
            contest.open()
            for verb, cheapest in (("create", calls.creates(count)), ("update", calls.updates(count))):
                if verb == "update":
                    contest.change_all()
                before = contest.calls("sfsync")
                contest.sfsync("run", "--allow", "contacts.max_change_share")
                used = contest.calls("sfsync") - before
                yield Line(
                    f"API calls, {verb} {count:,}",
                    f"{used}",
                    "",
                    "",
                    f"<= {cheapest} + 1",
                    used <= cheapest + 1,
                )
        finally:
            contest.close()
