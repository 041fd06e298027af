"""The group `org`: drive the embedded org of a project; the API versions of any org.

Owns:      its options, and how addresses and credentials are printed.
Does not:  start or stop anything itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import click

from sfsync.cli.options import Given, shared
from sfsync.cli.screen import write_report
from sfsync.cli.shell import Command, Group


class LocalOrg(Protocol):
    """A running local org, as its control tells."""

    @property
    def url(self) -> str: ...
    @property
    def ca_file(self) -> Path: ...
    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def security_token(self) -> str: ...
    @property
    def private_key_file(self) -> Path: ...


org = Group(
    "org",
    help="Start, stop, empty, show and fill the local org of a project; show the API versions of any org.",
    short_help="The local org of a project; API versions of any org.",
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@org.command(
    cls=Command,
    examples=[("sfsync org start", "start it and print its address")],
)
@shared
@click.option("--faults", type=_FILE, metavar="FILE", help="Rules by which it misbehaves.")
@click.option(
    "--rules", type=_FILE, metavar="FILE", help="Its own rules: validation, duplicates, assignment, denials."
)
def start(given: Given, faults: Path | None, rules: Path | None) -> None:
    """Start the local org, or find the one that runs."""
    from sfsync.jobs.org import org_start_command

    with given.opened() as (options, _):
        found = org_start_command(options, faults=faults, rules=rules)
    write_report(_address(found))


@org.command(cls=Command, examples=[("sfsync org stop", "end it; its records stay on disk")])
@shared
def stop(given: Given) -> None:
    """Stop the local org; its records stay."""
    from sfsync.jobs.org import org_stop_command

    with given.opened() as (options, _):
        stopped = org_stop_command(options)
    write_report("Stopped the local org.\n" if stopped else "No local org was running.\n")


@org.command(cls=Command, examples=[("sfsync org reset", "remove every record")])
@shared
def reset(given: Given) -> None:
    """Remove every record of the local org."""
    from sfsync.jobs.org import org_reset_command

    with given.opened() as (options, _):
        aside = org_reset_command(options)
    note = (
        ""
        if aside is None
        else f"What it had acknowledged was put aside: {aside.name}. The next run begins anew.\n"
    )
    write_report("The local org is empty.\n" + note)


@org.command(
    cls=Command,
    examples=[
        ("sfsync org show", "address, credentials, and how many records it holds"),
        ("sfsync org show --env", "the credentials as shell lines"),
    ],
)
@shared
@click.option("--env", is_flag=True, help='Only shell lines: eval "$(sfsync org show --env)".')
def show(given: Given, env: bool) -> None:
    """Show the local org's address and credentials, and what it holds."""
    from sfsync.jobs.org import org_show_command

    with given.opened() as (options, _):
        found, holds = org_show_command(options)
    if env:
        write_report(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in _variables(found).items())
        )
        return
    write_report(_address(found) + _holdings(holds))


@org.command(
    cls=Command, examples=[("sfsync org load local_org/Account.csv", "two accounts of the demo project")]
)
@shared
@click.argument("file", type=_FILE)
def load(given: Given, file: Path) -> int:
    """Put the records of FILE into the local org.

    FILE is OBJECT.csv or OBJECT.json with its records, or a JSON object of such lists: {"Account": [...]}.
    Records with a known unique external id are updated.
    """
    from sfsync.jobs.org import org_load_command

    with given.opened() as (options, talker):
        loaded: list[Any] = list(org_load_command(options, file))
        for found in loaded:
            for error in found["errors"]:
                talker.log(
                    "error", f"{found['object']} record {error['row']}: {error['code']}: {error['message']}"
                )
    lines = [
        f"{found['object']}: {found['created']:,} created, {found['updated']:,} updated, {found['failed']:,} failed\n"
        for found in loaded
    ]
    write_report("".join(lines) or "The file holds no records.\n")
    return 1 if any(found["failed"] for found in loaded) else 0


@org.command(
    cls=Command,
    examples=[("sfsync org versions", "the API versions of the target's org, and the one in use")],
)
@shared
def versions(given: Given) -> None:
    """Show the API versions that the target's org offers, and the one that is used."""
    from sfsync.jobs.org_versions import org_versions_command
    from sfsync.report.project_text import versions_text

    with given.opened() as (options, _):
        found = org_versions_command(options)
    write_report(versions_text(found))


@org.command(
    cls=Command,
    examples=[("sfsync org assign", "its user may do everything again")],
)
@shared
@click.argument("file", type=_FILE, required=False)
@click.option("--user", metavar="NAME", help="User name. [default: the administrator]")
def assign(given: Given, file: Path | None, user: str | None) -> None:
    """Give a user of the local org the permission set of FILE and nothing else; without FILE, everything.

    FILE is metadata XML, as sfsync permissions prints it and as a real org takes it.
    """
    from sfsync.jobs.org import org_assign_command

    with given.opened() as (options, _):
        seen = org_assign_command(options, file, user)
    what = "everything" if file is None else f"what {file.name} grants"
    write_report(f"{user or 'The user'} may do {what}. Objects to be seen: {', '.join(sorted(seen))}\n")


def _address(found: LocalOrg) -> str:
    lines = [f"Local org: {found.url}", f"Certificate: {found.ca_file}"]
    lines += [f"Page: {found.url}/ (sign in with the user name and the password below)"]
    lines += [f"{name}: {value}" for name, value in _variables(found).items() if name != "SF_CA_FILE"]
    return "\n".join(lines) + "\n"


def _variables(found: LocalOrg) -> dict[str, str]:
    return {
        "SF_CLIENT_ID": found.client_id,
        "SF_CLIENT_SECRET": found.client_secret,
        "SF_USERNAME": found.username,
        "SF_PASSWORD": found.password,
        "SF_SECURITY_TOKEN": found.security_token,
        "SF_PRIVATE_KEY_FILE": str(found.private_key_file),
        "SF_CA_FILE": str(found.ca_file),
    }


def _holdings(holds: Mapping[str, Any]) -> str:
    counts, calls, faults = holds.get("counts", {}), holds.get("api_calls", {}), holds.get("faults", [])
    lines = [f"API calls: {calls['used']:,} of {calls['max']:,} used"] if calls else []
    lines.append("Records:" if any(counts.values()) else "Records: none")
    lines += [f"  {name}: {count:,}" for name, count in sorted(counts.items()) if count]
    for user, label in sorted(holds.get("permission_sets", {}).items()):
        lines.append(f"{user} has the permission set '{label}' and nothing else")
    if faults:
        lines.append(f"Faults in force: {len(faults):,}")
    return "\n".join(lines) + "\n"
