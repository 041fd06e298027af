"""`sfsync run` and `sfsync retry`: send what the plan says, and the report of what became of it.

Owns:      the options of both, and what is said before the first request.
Does not:  send anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from sfsync.cli.options import Given, allowing, seconds, selecting, undoing, waiting, warn_of_strange
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command

_STRICT = click.option(
    "--strict",
    is_flag=True,
    help="Exit 1 for rows already held and for values that the org did not keep, too.",
)
_CANARY = click.option(
    "--canary",
    type=click.IntRange(1),
    metavar="N",
    help="Send N records of each sync first, and the rest only if they go through.",
)
_GRACE = click.option(
    "--grace",
    callback=seconds,
    metavar="TIME",
    help="After Ctrl-C or SIGTERM stop at once when this has passed, e.g. 20s, before CI kills. [default: never]",
)


@click.command(
    cls=Command,
    short_help="Plan, send exactly that, record every outcome.",
    examples=[
        ("sfsync run", "every sync"),
        ("sfsync run --select tag:crm", "the syncs with a tag"),
        ("sfsync run --wait 10m", "after the run that is under way"),
        ("sfsync run --canary 20", "20 records of each sync first; the rest if they go through"),
        ("sfsync run --allow contacts.max_change_share", "let one guard pass, this once"),
        ("sfsync run --undo latest", "take the last run back"),
    ],
)
@selecting
@waiting
@allowing
@undoing
@_STRICT
@_CANARY
@_GRACE
def run(
    given: Given,
    allow: tuple[str, ...],
    undo: str | None,
    strict: bool,
    canary: int | None,
    grace: float | None,
) -> int:
    """Plan, send exactly that, and record every row's outcome. Never asks."""
    from sfsync.jobs.run import run_command

    return _send(given, run_command, allow, grace, strict=strict, undo=undo, canary=canary)


@click.command(
    cls=Command,
    short_help="Try held rows again: release them and run.",
    examples=[
        ("sfsync retry", "try every held row again"),
        ("sfsync retry --select contacts", "those of one sync"),
    ],
)
@selecting
@waiting
@allowing
@_STRICT
@_GRACE
def retry(given: Given, allow: tuple[str, ...], strict: bool, grace: float | None) -> int:
    """Release held rows and run: rows the org refused are tried again unchanged."""
    from sfsync.jobs.retry import retry_command

    return _send(given, retry_command, allow, grace, strict=strict)


def _send(
    given: Given,
    job: Callable[..., Any],
    allow: tuple[str, ...],
    grace: float | None,
    *,
    strict: bool,
    undo: str | None = None,
    canary: int | None = None,
) -> int:
    from sfsync.cli.interrupt import stopping
    from sfsync.jobs.run import RunOptions
    from sfsync.report.plan_values import last_line
    from sfsync.report.run_text import run_text

    with given.opened() as (options, talker), stopping(talker, grace) as stop:

        def on_plan(plan: Any) -> None:
            stop.sending = True  # first: Ctrl-C at the sight of the next line is already a wish
            talker.log("info", last_line(plan))
            warn_of_strange(allow, (item.sync.name for item in plan.syncs), talker)
            for warning in plan.warnings:
                talker.log("warning", warning)

        how = RunOptions(allow, strict, stop.requested, on_plan=on_plan, undo=undo, canary=canary)
        result = job(options, how)
    screen = screen_of(sys.stdout)
    write_report(run_text(result, color=screen.color, width=screen.width))
    code: int = result.exit_code
    return code
