"""The command `explain`.

Owns:      its options.
Does not:  find anything out.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from sfsync.cli.options import Given, shared, waiting
from sfsync.cli.screen import screen_of, write_report
from sfsync.cli.shell import Command
from sfsync.cli.state import local


@click.command(
    cls=Command,
    short_help="Tell one record's whole story.",
    examples=[
        ("sfsync explain contacts C-10001", "by the identity as the model has it, or by the record's Id"),
        (
            "sfsync explain contacts Customer_Id__c=C-10001",
            "by field; of an identity of several, all of them",
        ),
    ],
)
@shared
@waiting
@click.argument("sync")
@click.argument("key", nargs=-1, required=True)
def explain(given: Given, sync: str, key: tuple[str, ...]) -> None:
    """Tell what is known of one record of SYNC: what the next run does with it and why, and what earlier runs did. Sends nothing.

    KEY is the identity's text, the record's Id, or what reports show of the row. An identity of several fields is
    given as its values in the order of the sync, or as FIELD=VALUE for each.
    """
    from sfsync.jobs.explain import explain_command
    from sfsync.report.explain_text import explain_text

    with given.opened() as (options, _):
        found = explain_command(options, sync, *key)
    screen = screen_of(sys.stdout)
    refused = found.refused and replace(
        found.refused, first_at=local(found.refused.first_at), last_at=local(found.refused.last_at)
    )
    found = replace(
        found,
        at=local(found.at),
        gone_at=local(found.gone_at),
        refused=refused,
        past=tuple(replace(one, at=local(one.at)) for one in found.past),
    )
    write_report(explain_text(found, color=screen.color, width=screen.width))
