"""`sfsync plan`: what run would send; its formats and its exit code.

Owns:      the options and formats of plan.
Does not:  compute or word anything.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click

from sfsync.cli.options import Given, allowing, selecting, undoing, waiting, warn_of_strange
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command


@click.command(
    cls=Command,
    examples=[
        ("sfsync plan", "every sync, as text"),
        ("sfsync plan --select contacts", "one sync"),
        ("sfsync plan --format markdown", "for the comment on a pull request"),
        ("sfsync plan --undo latest", "what would take the last run back"),
        ("sfsync plan --offline", "without a connection to the org, as in a pull request"),
        ("sfsync plan --detailed-exitcode", "0 no changes, 2 changes, 1 everything else"),
    ],
)
@selecting
@waiting
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="[default: text]",
)
@click.option(
    "--offline", is_flag=True, help="Never connect to the org: its contract, or what is cached, decides."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 0: no changes, 2: changes, 1: everything else.")
@allowing
@undoing
@click.option("--verbose", "-v", is_flag=True, help="Every sample record with every field.")
def plan(
    given: Given,
    form: str,
    offline: bool,
    detailed_exitcode: bool,
    allow: tuple[str, ...],
    undo: str | None,
    verbose: bool,
) -> int:
    """Show what run would send and what it costs. Sends nothing."""
    from sfsync.jobs.plan import plan_command

    with given.opened() as (options, talker):
        made = plan_command(replace(options, offline=offline), allow=allow, undo=undo)
        warn_of_strange(allow, (item.sync.name for item in made.syncs), talker)
        for warning in made.warnings:
            talker.log("warning", warning)
    write_report(rendered(made, form, verbose=verbose))
    if not detailed_exitcode:
        return 3 if made.refusals else 0
    if made.refusals:
        return 1
    return 2 if made.has_changes else 0


def rendered(made: Any, form: str, *, verbose: bool) -> str:
    """The report in the chosen form; people read times in their own zone."""
    if form == "json":
        from sfsync.report.plan_json import plan_json

        return plan_json(made)
    made = local_times(made)
    if form == "markdown":
        from sfsync.report.plan_markdown import plan_markdown

        return plan_markdown(made)
    from sfsync.report.plan_text import plan_text

    screen = screen_of(sys.stdout)
    return plan_text(made, color=screen.color, width=screen.width, verbose=verbose)


def local_times(made: Any) -> Any:
    """The plan with its times in the machine's zone."""
    seen = made.api.seen_at
    if seen is None:
        return made
    return replace(made, api=replace(made.api, seen_at=seen.astimezone()))
