"""The group `schema`: the org's contract in git.

Owns:      its options, formats and exit codes.
Does not:  ask the org or compare anything.
"""

from __future__ import annotations

import sys

import click

from sfsync.cli.options import Given, shared, waiting
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command, Group

schema = Group("schema", help="Write the org's contract, a file in git, and compare it with the org.")


@schema.command(
    cls=Command,
    short_help="Write what the project uses of the org to schema/<target>.json.",
    examples=[
        ("sfsync schema pull", "the objects and fields that the syncs use"),
        (
            "sfsync schema pull --all",
            "every object that could be synced, with every field that this user sees",
        ),
    ],
)
@shared
@waiting
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every object that could be synced, with every field, not only used ones.",
)
def pull(given: Given, everything: bool) -> int:
    """Ask the org about the objects in use and write the contract, schema/<target>.json.

    Commit the file: compile and plan then need no connection, and a pull request shows how the org changed.
    """
    from sfsync.jobs.schema_pull import schema_pull_command
    from sfsync.report.schema_report import pull_text

    with given.opened() as (options, _):
        made = schema_pull_command(options, everything=everything)
    screen = screen_of(sys.stdout)
    write_report(pull_text(made, color=screen.color, width=screen.width))
    return 1 if made.lacking else 0


@schema.command(
    cls=Command,
    short_help="Compare the contract with the org.",
    examples=[
        ("sfsync schema check", "what the org has otherwise; exit 1 if it breaks a sync"),
        ("sfsync schema check --format markdown", "for a pull request or a ticket"),
    ],
)
@shared
@waiting
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="[default: text]",
)
def check(given: Given, form: str) -> int:
    """Compare the contract in git with the org. Exit 1: something that a sync uses is gone, narrower or closed."""
    from sfsync.jobs.schema_check import schema_check_command
    from sfsync.report.schema_report import check_json, check_markdown, check_text

    with given.opened() as (options, _):
        found = schema_check_command(options)
    screen = screen_of(sys.stdout)
    match form:
        case "json":
            write_report(check_json(found))
        case "markdown":
            write_report(check_markdown(found))
        case _:
            write_report(check_text(found, color=screen.color, width=screen.width))
    return 1 if found.breaking else 0


@click.command(
    cls=Command,
    short_help="Print the least permission set that the syncs need.",
    examples=[("sfsync permissions", "as metadata XML, for an admin to deploy")],
)
@shared
def permissions(given: Given) -> None:
    """Print the least permission set that the syncs need: objects and fields, as metadata XML for an admin to deploy.

    Asks nobody: fields are judged by the contract, else by the cached describe.
    """
    from sfsync.jobs.permissions import permissions_command
    from sfsync.report.permission_xml import permission_xml

    with given.opened() as (options, talker):
        made = permissions_command(options)
        if made.unseen:
            what = "not known of the org, so taken for ordinary fields that may have an entry"
            talker.log("warning", f"{what}: {', '.join(made.unseen)}")
        for place, why in made.left_out:
            talker.log("info", f"{place} has no entry: {why}")
    write_report(permission_xml(made))
