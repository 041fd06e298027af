"""`sfsync state export DIR`: the whole state as Parquet files that other programs can read, with digests."""

from __future__ import annotations

from pathlib import Path

from sfsync.jobs.session import Options, Session
from sfsync.state.transfer import ExportManifest, export


def state_export_command(options: Options, folder: Path) -> ExportManifest:
    """Write the state of the target into a new folder; the state is not changed.

    Raises:
        StateError: there is no state, or there is something at that path.
    """
    with Session(options, "state export") as session:
        store = session.open_existing(write=False)
        return export(store, folder.absolute(), session.target.target)
