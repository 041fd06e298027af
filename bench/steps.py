"""The diff alone, timed inside its own process: no imports, no compile, no report.

    python -m bench.steps sfsync PROJECT | python -m bench.steps baseline WAREHOUSE STATE

Both open their state and warehouse inside the measured time. Prints {"cpu_s", "wall_s", "create", "update", "delete"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def sfsync(project: str) -> dict[str, int]:
    """Stage and diff as `sfsync plan` does, in a session of its own after everything is imported and compiled."""
    from sfsync.diff.changes import DiffContext
    from sfsync.diff.diff import diff_sync
    from sfsync.diff.stage import stage_rows
    from sfsync.jobs.compile import compile_for_sending
    from sfsync.jobs.session import Options, Session
    from sfsync.state.snapshots import inspect

    with Session(Options(project_dir=Path(project)), "plan") as session:
        manifest = compile_for_sending(session, max_age=None)
    start()
    with Session(Options(project_dir=Path(project)), "plan") as session:
        session.open_store(write=False)
        (sync,) = manifest.syncs
        with session.db.uncompressed():
            staged = stage_rows(sync, session.warehouse, session.db)
            dialect, memory = session.warehouse.dialect, session.db.memory_limit
            context = DiffContext(session.db, session.store, dialect, (), memory)
            found = diff_sync(sync, staged, inspect(session.store, sync), context)
    return {"create": found.upserts, "update": found.updates, "delete": found.deletes}


def baseline(warehouse: str, state: str) -> dict[str, int]:
    """The script's own diff."""
    from bench.baseline import connect, diff

    start()
    db = connect(warehouse, state, os.environ.get("BENCH_MEMORY", "256MB"))
    found = diff(db)
    db.close()
    return found


_started: list[float] = []


def start() -> None:
    """From here on it counts."""
    _started[:] = [time.process_time(), time.monotonic()]


def main() -> None:
    """Run one and print."""
    which, *rest = sys.argv[1:]
    found = sfsync(*rest) if which == "sfsync" else baseline(*rest)
    times = {"cpu_s": time.process_time() - _started[0], "wall_s": time.monotonic() - _started[1]}
    print(json.dumps({**times, **found}))


if __name__ == "__main__":
    main()
