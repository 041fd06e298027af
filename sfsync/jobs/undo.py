"""`--undo RUN`: the plan that takes a run back, to be reviewed and sent like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.aside import LeftJob
from sfsync.diff.changes import Changes, DiffContext
from sfsync.diff.undo import Leftover, undo_sync
from sfsync.engine.dialect import DUCKDB
from sfsync.errors import RefusedError, StateError
from sfsync.jobs.matcher import Matcher
from sfsync.jobs.session import Session
from sfsync.plan import guards
from sfsync.report.words import plural
from sfsync.state import undo
from sfsync.state.snapshots import SnapshotInfo

LATEST = "latest"


class Undoing:
    """The way back of one run, in place of the comparison with the models.

    Raises:
        StateError: no run of this state is meant, or several are.
    """

    def __init__(self, session: Session, asked: str, warn: Callable[[str], None]) -> None:
        self._session, self._warn = session, warn
        self.run_id = _run_meant(session, asked)

    def allowed(self, syncs: Sequence[CompiledSync]) -> frozenset[str]:
        """Guards that do not judge the way back: it reads no model, and what it takes along is named in its plan."""
        return frozenset(f"{sync.name}.{guard}" for sync in syncs for guard in ("min_rows", guards.CASCADE))

    def among(self, syncs: Sequence[CompiledSync]) -> tuple[CompiledSync, ...]:
        """The selected syncs whose records the run changed."""
        theirs = undo.syncs_of(self._session.store, self.run_id)
        if away := sorted(theirs - {sync.name for sync in syncs}):
            self._warn(f"not selected, or no longer in the project, so not taken back: {', '.join(away)}")
        for name, rows in undo.erased(self._session.store, self.run_id).items():
            if name in {sync.name for sync in syncs}:
                raise RefusedError(
                    f"run {self.run_id} deleted {plural(rows, 'record')} of sync '{name}' past the recycle bin"
                    " (on_removed: hard_delete): nothing brings them back",
                    fix=f"to take back what other syncs did in it: --exclude {name}",
                )
        self._warn("the models are not asked: take the change back there too, or the next run sends it again")
        return tuple(sync for sync in syncs if sync.name in theirs)

    def changes(
        self,
        session: Session,
        sync: CompiledSync,
        info: SnapshotInfo,
        upstream: tuple[CompiledSync, ...],
        away: tuple[LeftJob, ...],
    ) -> Changes:
        """The way back of one sync."""
        match = Matcher(session)
        base = (session.db, session.store, DUCKDB, upstream, session.db.memory_limit, away)
        context = DiffContext(*base, match, confirm=match.confirms)
        found, left = undo_sync(sync, info, context, self.run_id)
        for line in _told(left, found, self.run_id):
            self._warn(f"sync '{sync.name}': {line}")
        return found

    def whole(
        self, found: Sequence[tuple[Changes, tuple[guards.Refusal, ...]]]
    ) -> list[tuple[Changes, tuple[guards.Refusal, ...]]]:
        """Where one sync is refused, all that would be sent are: half a run taken back is a state that no run left."""
        refused = [changes.sync.name for changes, refusals in found if refusals]
        return [
            (c, refusals or ((guards.together(c.sync.name, refused),) if refused and c.to_send else ()))
            for c, refusals in found
        ]


def _run_meant(session: Session, asked: str) -> str:
    known = undo.runs(session.store)
    found = known[:1] if asked == LATEST else tuple(run_id for run_id in known if run_id.startswith(asked))
    if len(found) == 1:
        return found[0]
    what = f"'{asked}' could be {', '.join(found)}" if found else f"no run '{asked}' can be taken back"
    listed = f"those of the last {undo.KEPT_RUNS} runs that changed something can: {', '.join(known)}"
    raise StateError(what, fix=listed if known else "no run of this state has changed anything yet")


def _told(left: Leftover, found: Changes, run_id: str) -> list[str]:
    out = []
    if found.undeletes:
        out.append(
            f"{plural(found.undeletes, 'deleted record')} would come out of the recycle bin with their Ids, and what was"
            " deleted along with them. What is no longer in it is not made anew by this plan, but by the next one of"
            f" `--undo {run_id}`"
        )
    if left.remade:
        out.append(
            f"{plural(left.remade, 'deleted record')} would be made anew, with a new Id: children and fields that this"
            " sync does not write are not restored"
        )
    if left.taken:
        out.append(
            f"{plural(left.taken, 'deleted record')} cannot come back: other records have their keys by now. If this plan deletes"
            f" those, run it, and `--undo {run_id}` once more"
        )
    if left.adopted:
        out.append(
            f"{plural(left.adopted, 'adopted record')} stay: what stood there before is not known (undo: exact)"
        )
    if left.missing:
        out.append(f"{plural(left.missing, 'record')} of the run are no longer there, or others by now")
    if left.moved:
        out.append(f"{plural(left.moved, 'cell')} were changed again since, and stay")
    if left.unknown:
        out.append(f"{plural(left.unknown, 'cell')} stay: what stood there before is not known")
    if left.masked:
        out.append(
            f"{plural(left.masked, 'cell')} of masked fields stay ({', '.join(left.masked_fields)}): of a field with"
            " `pii: true` no text is kept"
        )
    if left.remade and left.masked_fields:
        out.append(f"records that are made anew lack their masked fields: {', '.join(left.masked_fields)}")
    if left.unmapped:
        out.append(f"not written by updates of this sync, so not restored: {', '.join(left.unmapped)}")
    return out
