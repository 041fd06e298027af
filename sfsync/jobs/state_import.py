"""`sfsync state import DIR`: a state out of an export of it, for the same org."""

from __future__ import annotations

from pathlib import Path

from sfsync.errors import StateError
from sfsync.jobs.session import Options, Session
from sfsync.ports import writing
from sfsync.state.lock import StateLock, patiently
from sfsync.state.transfer import ExportManifest, built, check_files, is_empty, keep_account, read_manifest


def state_import_command(options: Options, folder: Path) -> ExportManifest:
    """Check an export, sign in to see that it is of the target's org, and put it in place of no or an empty state.

    Raises:
        StateError: damaged, newer, of another org, or there is a state that is not empty.
    """
    with Session(options, "state import") as session:
        folder, path = folder.absolute(), session.state_path
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        _check_place(path)
        org_id = _check_org(session, folder, manifest)
        # The lease of a state that is there comes with opening it.
        fresh = not path.exists()
        lock = StateLock(path, session.clock)
        if fresh:
            patiently(session.clock, session.patience, lambda: lock.acquire("state import"))
        try:
            with built(session.db, folder, manifest, path) as made:
                if fresh:
                    lock.check()
                else:
                    _give_way(session, made, org_id)
                with writing(path):
                    made.replace(path)
        finally:
            lock.release()
        return manifest


def _check_place(path: Path) -> None:
    log = path.with_name(path.name + ".wal")
    if log.exists() and not path.exists():
        raise StateError(
            f"there is a write-ahead log without its state: {log}",
            fix="put the state file back beside it, or move it away: it would be taken for one of the imported state",
        )


def _check_org(session: Session, folder: Path, manifest: ExportManifest) -> str:
    org_id = session.open_door().token.org_id
    if manifest.org_id is not None and manifest.org_id != org_id:
        raise StateError(
            f"the export {folder} belongs to org {manifest.org_id}, but the target '{session.target.target}' is org {org_id}",
            fix="import it with the target of its own org: --target",
        )
    return org_id


def _give_way(session: Session, made: Path, org_id: str) -> None:
    """Let go of the state that is there, when nothing is lost by it."""
    store = session.open_store(write=True)
    store.check_org(org_id)
    if not is_empty(store):
        raise StateError(
            f"the state {store.name} is not empty: an import would take the place of what it knows",
            fix=f"move {session.state_path} away first, or `sfsync state forget SYNC` for each sync",
        )
    keep_account(session.db, made)
    store.check_lease()
    store.detach()  # the lease stays until the other file stands in its place
