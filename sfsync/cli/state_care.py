"""The commands of `state` that look after one: check, mv, rekey, forget, rebuild, export, import.

Owns:      their options, and the few lines that each says.
Does not:  open a state.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sfsync.cli.options import Given, shared, waiting
from sfsync.cli.screen import write_report
from sfsync.cli.shell import Command
from sfsync.report.words import plural

if TYPE_CHECKING:
    from sfsync.jobs.state_check import StateCheckResult
    from sfsync.jobs.state_rebuild import StateRebuildResult

_DIR = click.Path(path_type=Path)


@click.command(
    cls=Command,
    short_help="Verify the whole state; exit 1 if something is wrong.",
    examples=[("sfsync state check", "read every row and test every promise")],
)
@shared
@waiting
def check(given: Given) -> int:
    """Read the whole state and verify what it promises about itself: exit 0, or 1 with each fault and its next step."""
    from sfsync.jobs.state_check import state_check_command

    with given.opened() as (options, talker):
        found = state_check_command(options)
        for note in found.notes:
            talker.log("warning", note)
    write_report(check_text(found))
    return found.exit_code


def check_text(found: StateCheckResult) -> str:
    """What a check says."""
    lines = [f"State {found.path}" + (f" of org {found.org_id}" if found.org_id else "")]
    for fault in found.faults:
        times = f"{fault.rows:,} x " if fault.rows > 1 else ""
        dots = ", ..." if fault.rows > len(fault.samples) else ""
        samples = f" ({', '.join(fault.samples)}{dots})" if fault.samples else ""
        lines += [f"  {fault.where}: {times}{fault.what}{samples}", f"    Fix: {fault.fix}"]
    if found.faults:
        return "\n".join([*lines, f"{plural(len(found.faults), 'fault')} found. Nothing was changed."]) + "\n"
    if found.open_requests:
        lines.append(
            f"  {plural(found.open_requests, 'request')} of earlier runs without an answer: `sfsync run` asks the org first"
        )
    lines.append(f"No fault found: {plural(found.syncs, 'sync')}, {plural(found.records, 'record')}.")
    return "\n".join(lines) + "\n"


@click.command(
    cls=Command,
    short_help="A sync was renamed: move what the state knows of it.",
    examples=[("sfsync state mv contacts people", "after renaming the sync in syncs/*.yml")],
)
@shared
@waiting
@click.argument("old")
@click.argument("new")
def mv(given: Given, old: str, new: str) -> None:
    """Move the snapshot and the refused rows of sync OLD to NEW, as `terraform state mv` does. Earlier runs keep OLD."""
    from sfsync.jobs.state_mv import state_mv_command

    with given.opened() as (options, talker):
        done = state_mv_command(options, old, new)
        for step in done.next_steps:
            talker.log("warning", step)
    write_report(f"Moved {old} to {new}: {_held(done.records, done.tombstones, done.refused)}.\n")


@click.command(
    cls=Command,
    short_help="A sync's identity changed: make its keys anew.",
    examples=[("sfsync state rekey accounts", "after changing `identity` of a sync")],
)
@shared
@waiting
@click.argument("sync")
def rekey(given: Given, sync: str) -> None:
    """Make the keys of SYNC's snapshot anew, out of the texts it holds of the identity that the project has now."""
    from sfsync.jobs.state_rekey import state_rekey_command

    with given.opened() as (options, _):
        done = state_rekey_command(options, sync)
    fields = ", ".join(done.identity)
    if not done.changed:
        write_report(
            f"Nothing to do: {sync} is kept by {fields} already ({plural(done.records, 'record')}).\n"
        )
        return
    lines = [f"Rekeyed {sync} by {fields}: {plural(done.records, 'record')}."]
    if done.tombstones or done.refused:
        lines.append(f"Forgotten, to be judged anew: {_held(0, done.tombstones, done.refused)}.")
    write_report("\n".join([*lines, "The next plan compares every record by its texts.", ""]))


@click.command(
    cls=Command,
    short_help="Drop what the state knows of a sync, or of single records.",
    examples=[
        ("sfsync state forget accounts A-10001", "one record, by its key or its Id"),
        ("sfsync state forget accounts --gone", "records known to be gone"),
        ("sfsync state forget subscriptions", "all of a sync"),
        (
            "sfsync state forget subscriptions --unanswered",
            "and its requests that no run can settle any more",
        ),
    ],
)
@shared
@waiting
@click.argument("sync")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--gone", is_flag=True, help="Only what is known of records that are gone.")
@click.option(
    "--unanswered", is_flag=True, help="With all else, requests without an answer: nobody will ask for it."
)
def forget(given: Given, sync: str, keys: tuple[str, ...], gone: bool, unanswered: bool) -> None:
    """Drop SYNC's snapshot and refused rows, or those of single KEYs, as `terraform state rm` does. The org is not touched."""
    from sfsync.jobs.state_forget import state_forget_command

    if sum(map(bool, (keys, gone, unanswered))) > 1:
        raise click.UsageError("give keys, --gone or --unanswered, not several", click.get_current_context())
    with given.opened() as (options, _):
        done = state_forget_command(options, sync, keys, gone=gone, unanswered=unanswered)
    what = "everything of" if done.whole else "of"
    write_report(
        f"Forgot {what} {sync}: {_held(done.records, done.tombstones, done.refused)}.\n{done.then}\n"
    )


@click.command(
    cls=Command,
    short_help="Make a sync's snapshot from the org; tells the price first.",
    examples=[
        ("sfsync state rebuild subscriptions", "what it would read, and the API calls"),
        ("sfsync state rebuild subscriptions --yes", "read it"),
    ],
)
@shared
@waiting
@click.argument("sync")
@click.option("--yes", is_flag=True, help="Do it; without, only the price is told.")
def rebuild(given: Given, sync: str, yes: bool) -> None:
    """Make SYNC's snapshot of what the org holds now: all records with an identity, adopted. Nothing is written to the org."""
    from sfsync.jobs.state_rebuild import state_rebuild_command

    with given.opened() as (options, talker):
        done = state_rebuild_command(options, sync, yes=yes)
        for name in done.unread:
            talker.log(
                "warning", f"{name} looks up several objects and was not read: the next run sends it anew"
            )
    write_report(rebuild_text(done))


def rebuild_text(done: StateRebuildResult) -> str:
    """What a rebuild says."""
    cost = done.price
    left_out = f"; {plural(cost.without, 'record')} without an identity left out" if cost.without else ""
    if not done.done:
        calls = plural(cost.calls, "API call")
        allowed = f" of {done.allowed:,} allowed now" if done.allowed is not None else ""
        now = f"; the snapshot has {plural(done.before, 'record')}" if done.before else ""
        return (
            f"{done.sync}: {plural(cost.records, 'record')} of {done.object} to read{left_out}{now}.\n"
            f"Price: {calls}{allowed}; to ask took {cost.spent}. Nothing was changed: give --yes to do it.\n"
        )
    kept = f", {done.created:,} of them known as created by this sync" if done.created else ""
    gone = (
        f" {plural(done.gone, 'record')} that the snapshot had are not in the org any more."
        if done.gone
        else ""
    )
    return (
        f"Rebuilt {done.sync} from the org: {plural(done.records, 'record')} of {done.object}{kept}{left_out}"
        f" ({plural(done.calls, 'API call')}).{gone}\nThe next plan compares every record by its texts.\n"
    )


@click.command(
    cls=Command,
    short_help="Write the whole state as Parquet files.",
    examples=[("sfsync state export state-backup", "a folder of Parquet files and a manifest")],
)
@shared
@waiting
@click.argument("folder", metavar="DIR", type=_DIR)
def export(given: Given, folder: Path) -> None:
    """Write the whole state into the new folder DIR: a Parquet file for each table, and manifest.json with digests."""
    from sfsync.jobs.state_export import state_export_command

    with given.opened() as (options, _):
        done = state_export_command(options, folder)
    syncs, records = plural(len(done.syncs), "sync"), plural(done.records, "record")
    write_report(
        f"Exported to {folder}: {syncs}, {records}, {plural(len(done.files), 'file')}; org {done.org_id or 'not bound yet'}.\n"
        "It holds clear text, as the state does: readable by you alone.\n"
    )


@click.command(
    "import",
    cls=Command,
    short_help="Make the state of an export.",
    examples=[("sfsync state import state-backup", "where there is no state, or an empty one")],
)
@shared
@waiting
@click.argument("folder", metavar="DIR", type=_DIR)
def import_(given: Given, folder: Path) -> None:
    """Make the state of what `state export` wrote to DIR. Refused unless whole, of this org, and there is nothing to lose."""
    from sfsync.jobs.state_import import state_import_command

    with given.opened() as (options, _):
        done = state_import_command(options, folder)
    syncs, records = plural(len(done.syncs), "sync"), plural(done.records, "record")
    write_report(f"Imported {syncs} and {records} of {done.exported_at}, target '{done.target}'.\n")


def _held(records: int, tombstones: int, refused: int) -> str:
    parts = [plural(records, "record")] if records or not (tombstones or refused) else []
    if tombstones:
        parts.append(f"{plural(tombstones, 'record')} known to be gone")
    if refused:
        parts.append(plural(refused, "refused row"))
    return ", ".join(parts)
