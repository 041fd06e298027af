"""`sfsync retry`: let go of rows the org refused, then run: they are tried again although nothing about them changed."""

from __future__ import annotations

from sfsync.artifacts import Result
from sfsync.jobs.compile import compile_for_sending
from sfsync.jobs.plan import selected_syncs
from sfsync.jobs.run import PLAIN, RunOptions, run_session
from sfsync.jobs.session import Options, Session
from sfsync.state import contracts, rejected


def retry_command(options: Options, how: RunOptions = PLAIN) -> Result:
    """Release the held rows of the selected syncs and run these syncs."""
    with Session(options, "retry") as session:
        session.open_store(write=True)
        session.check_connection()
        manifest = compile_for_sending(session, max_age=contracts.MAX_AGE)
        names = [sync.name for sync in selected_syncs(session, manifest)]
        released = rejected.release(session.store, names) if names else 0
        said = (
            f"{released:,} refused rows are tried again"
            if released
            else "no row is held: this is a plain run"
        )
        session.events.log("info", said)
        return run_session(session, manifest, how)
