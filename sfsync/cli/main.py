"""`sfsync`: the list of commands.

Owns:      the group and where each command's code stands.
Does not:  import a command before it is needed: `sfsync --help` stays as fast as click alone.
"""

from __future__ import annotations

import gc

import click

from sfsync import __version__
from sfsync.cli.shell import Shell

cli = Shell(
    "sfsync",
    help="Reverse ETL to Salesforce as code: SQL models and YAML syncs in git, a plan, exactly those changes.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    where={
        "init": "sfsync.cli.project:init",
        "login": "sfsync.cli.login:login",
        "logout": "sfsync.cli.login:logout",
        "debug": "sfsync.cli.project:debug",
        "seed": "sfsync.cli.project:seed",
        "compile": "sfsync.cli.project:compile_",
        "ls": "sfsync.cli.project:ls",
        "plan": "sfsync.cli.plan:plan",
        "run": "sfsync.cli.run:run",
        "retry": "sfsync.cli.run:retry",
        "status": "sfsync.cli.state:status",
        "history": "sfsync.cli.state:history",
        "explain": "sfsync.cli.explain:explain",
        "state": "sfsync.cli.state:state",
        "schema": "sfsync.cli.schema:schema",
        "permissions": "sfsync.cli.schema:permissions",
        "org": "sfsync.cli.org:org",
    },
)
click.version_option(__version__, prog_name="sfsync", message="%(prog)s %(version)s")(cli)


def main() -> None:
    """The console script."""
    # What a command makes lives until it ends: to look for garbage as often as Python does costs a tenth of its start.
    gc.set_threshold(200_000, 20, 50)
    cli()
