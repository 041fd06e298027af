"""Commands about the state: status, history, and the group `state`.

Owns:      their options.
Does not:  read the state.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from sfsync.cli.options import Given, shared, waiting
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command, Group


def local(at: datetime | None) -> Any:
    """An instant in the machine's zone, in which people read it."""
    return at and at.astimezone()


@click.command(
    cls=Command,
    short_help="Show the last run of each sync and the API account.",
    examples=[("sfsync status", "the last run of each sync")],
)
@shared
@waiting
def status(given: Given) -> None:
    """Show the last run of each sync, refused rows, and the API account."""
    from sfsync.jobs.status import status_command
    from sfsync.report.status_text import status_text

    with given.opened() as (options, _):
        found = status_command(options)
    screen = screen_of(sys.stdout)
    lines = tuple(replace(line, last_at=local(line.last_at)) for line in found.syncs)
    jobs = tuple(replace(job, begun_at=local(job.begun_at), seen_at=local(job.seen_at)) for job in found.jobs)
    found = replace(found, syncs=lines, jobs=jobs, seen_at=local(found.seen_at))
    write_report(status_text(found, color=screen.color, width=screen.width))


@click.command(
    cls=Command,
    examples=[("sfsync history", "the last 20 runs"), ("sfsync history --limit 3", "the last three")],
)
@shared
@waiting
@click.option("--limit", type=click.IntRange(1), default=20, metavar="N", help="How many runs. [default: 20]")
def history(given: Given, limit: int) -> None:
    """Show earlier runs, newest first."""
    from sfsync.jobs.history import history_command
    from sfsync.report.status_text import history_text

    with given.opened() as (options, _):
        past = history_command(options, limit=limit)
    found = [
        replace(
            line,
            run=replace(line.run, started_at=local(line.run.started_at), ended_at=local(line.run.ended_at)),
        )
        for line in past
    ]
    screen = screen_of(sys.stdout)
    write_report(history_text(found, color=screen.color, width=screen.width))


state = Group(
    "state",
    help="Make and look after the state of a target, or take it from a run that is gone.",
    where={"init": "sfsync.cli.state:init"}
    | {
        name: f"sfsync.cli.state_care:{function}"
        for name, function in (
            ("check", "check"),
            ("mv", "mv"),
            ("rekey", "rekey"),
            ("forget", "forget"),
            ("rebuild", "rebuild"),
            ("export", "export"),
            ("import", "import_"),
        )
    },
)


@state.command(
    "init",
    cls=Command,
    examples=[
        (
            "sfsync state init --empty",
            "bind an empty state to the org; needs `type: salesforce` or a fresh folder",
        )
    ],
)
@shared
@waiting
@click.option("--empty", is_flag=True, help="Begin without a snapshot: every row is new to sfsync.")
def init(given: Given, empty: bool) -> None:
    """Sign in, bind a new state to the org's id and describe the objects in use."""
    from sfsync.jobs.state_init import state_init_command

    if not empty:
        raise click.UsageError(
            "say --empty: the state begins without a snapshot, so the next run upserts every row by its external"
            " id and so finds the records that the org already has",
            click.get_current_context(),
        )
    with given.opened() as (options, _):
        made = state_init_command(options)
    calls = "1 API call" if made.calls == 1 else f"{made.calls:,} API calls"
    write_report(
        f"Made {made.path} for org {made.org_id}; described {', '.join(made.objects) or 'no objects'} ({calls}).\n"
    )


@state.command(
    "unlock",
    cls=Command,
    examples=[
        ("sfsync state unlock", "who holds the state, and is it gone?"),
        ("sfsync state unlock --force", "take it from another machine that seems to live"),
    ],
)
@shared
@click.option("--force", is_flag=True, help="Also from an owner on another machine that seems to live.")
def unlock(given: Given, force: bool) -> None:
    """Take the state from a run that is gone; says who held it and when it was last seen."""
    from sfsync.jobs.state_unlock import state_unlock_command

    with given.opened() as (options, _):
        found = state_unlock_command(options, force=force)
    if found.held_by is None:
        write_report(f"Nobody holds {found.path}.\n")
        return
    gone = "That process has ended." if found.on_this_machine else "It was on another machine."
    asks = f"The next run first finds out what became of {found.open_requests:,} of its requests.\n"
    write_report(
        f"{found.path} was held by {found.held_by}; {found.seen}. {gone}\n"
        f"It is free now; should that run come back, it can begin nothing more.\n"
        f"{asks if found.open_requests else ''}"
    )
