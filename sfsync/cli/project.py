"""Commands that make, check and read a project: init, debug, seed, compile, ls.

Owns:      their options and examples.
Does not:  do anything: each calls one job and prints one report.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from sfsync.cli.options import Given, selecting, shared
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command


@click.command(cls=Command, examples=[("sfsync init acme_crm", "a working project with its own small org")])
@click.argument("path", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Make a project folder to start from."""
    from sfsync.jobs.init import init_command

    made = init_command(path)
    write_report(
        f"Made {made.path} with {len(made.files)} files. Next:\n\n"
        f"  cd {shlex.quote(str(made.path))}\n"
        "  sfsync debug      # is everything there?\n"
        "  sfsync plan       # what would be sent\n"
        "  sfsync run        # send it\n"
    )


@click.command(
    cls=Command,
    examples=[
        ("sfsync debug", "test warehouse, state and org"),
        ("sfsync debug --target dev", "of another target of the profile"),
        (
            "sfsync debug --format json",
            "for programs: each check, and the org's limits with what is used of them",
        ),
    ],
)
@shared
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="[default: text]")
def debug(given: Given, form: str) -> int:
    """Test the connections, the org's limits, and the rights that each sync needs."""
    from sfsync.jobs.debug import debug_command
    from sfsync.report.project_text import debug_json, debug_text

    with given.opened() as (options, _):
        found = debug_command(options)
    if form == "json":
        write_report(debug_json(found))
        return 0 if found.ok else 2
    screen = screen_of(sys.stdout)
    write_report(debug_text(found.checks, color=screen.color, width=screen.width))
    return 0 if found.ok else 2


@click.command(
    cls=Command,
    short_help="Load the seeds now.",
    examples=[("sfsync seed", "load every seed again, changed or not")],
)
@shared
def seed(given: Given) -> None:
    """Load the seeds now; plan and run load those that changed."""
    from sfsync.jobs.seeds import seed_command
    from sfsync.report.project_text import seed_text

    with given.opened() as (options, _):
        made = seed_command(options)
    write_report(seed_text(made.loaded, made.total))


@click.command(
    "compile",
    cls=Command,
    short_help="Check the project and write its SQL; never asks the org.",
    examples=[
        ("sfsync compile", "check every file and write the SQL to target/compiled/"),
        ("sfsync compile --vars '{dirty: true}'", "with a variable of its own"),
    ],
)
@selecting
def compile_(given: Given) -> None:
    """Check the project and write the SQL of models and syncs; never asks the org."""
    from sfsync.jobs.compile import compile_command
    from sfsync.report.project_text import compile_text

    with given.opened() as (options, talker):
        made = compile_command(options)
        for warning in made.manifest.warnings:
            talker.log("warning", warning)
    manifest, screen = made.manifest, screen_of(sys.stdout)
    write_report(
        compile_text(
            [model.name for model in manifest.models],
            made.syncs,
            [name for name in manifest.unchecked if name in made.syncs],
            _from_here(made.path),
            contract=made.contract,
            late=[
                (f"{sync.name}.{field}", parent)
                for sync in manifest.outlines
                if sync.name in made.syncs
                for field, parent in sync.late
            ],
            color=screen.color,
            width=screen.width,
        )
    )


def _from_here(path: str) -> str:
    """The path as one would type it in the current folder, unless that leads upwards."""
    short = os.path.relpath(path)
    return path if short.startswith("..") else short


@click.command(
    cls=Command,
    short_help="List the syncs that a selection names.",
    examples=[
        ("sfsync ls", "every sync, parents first"),
        ("sfsync ls --select accounts+", "accounts and what depends on it"),
    ],
)
@selecting
def ls(given: Given) -> None:
    """List the syncs that a selection names: one name a line in a pipe, a table on a terminal."""
    from sfsync.jobs.ls import ls_command
    from sfsync.report.project_text import ls_text

    with given.opened() as (options, _):
        found = ls_command(options)
    screen = screen_of(sys.stdout)
    write_report(ls_text(found, color=screen.color, width=screen.width))
