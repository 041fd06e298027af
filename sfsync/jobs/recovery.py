"""What earlier runs left without an answer is found out first: from Bulk jobs by their files, from records by key.

Owns:      the order of recovery, and what is told about it.
Does not:  read result files (push/result_files) or write snapshots (record, state).
Invariant: an intent is taken out together with what was learned; nothing is sent that writes to the org, but for
           aborting a job that was never closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sfsync.artifacts import Recovered
from sfsync.compiler.manifest import CompiledSync, Manifest
from sfsync.diff.diff import shown_identity
from sfsync.diff.refusals import secret_of
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import InterruptedRunError, RefusedError
from sfsync.jobs.found import keys_in_org, restored_in_org
from sfsync.jobs.sending import push_context
from sfsync.jobs.session import Session
from sfsync.push.result_files import Known, discard, read_file, rebuild
from sfsync.records import Operation
from sfsync.salesforce import bulk
from sfsync.salesforce.bulk import JobInfo, JobState, ResultFile
from sfsync.salesforce.failures import SalesforceError
from sfsync.state import snapshots
from sfsync.state.journal import OpenIntent, StateJournal, sent_rows

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


def recover(
    session: Session,
    manifest: Manifest,
    left_open: Sequence[OpenIntent],
    stop_requested: Callable[[], bool],
) -> tuple[Recovered, ...]:
    """Find out what became of every open intent, and record it; those of syncs that are away stay open.

    Raises:
        RefusedError: a job of an earlier run is still at work.
        SfsyncError: the org cannot be asked.
    """
    recovery = _Recovery(session, {sync.name: sync for sync in manifest.syncs}, stop_requested)
    told = [recovery.settle(item) for item in left_open]
    return tuple(item for item in told if item is not None)


class _Recovery:
    def __init__(
        self, session: Session, syncs: dict[str, CompiledSync], stop_requested: Callable[[], bool]
    ) -> None:
        self._session, self._syncs, self._stop = session, syncs, stop_requested
        self._store = session.store
        self._journal = StateJournal(self._store, session.run_id)

    def settle(self, item: OpenIntent) -> Recovered | None:
        """One intent."""
        sync = self._syncs.get(item.intent.sync)
        if (
            sync is None
            or sync.object != item.intent.object
            or snapshots.inspect(self._store, sync).foreign is not None
        ):
            self._session.events.log(
                "warning",
                f"{item.intent.sync} is not in the project as it was: a request of run {item.run_id} stays open",
            )
            return None
        snapshots.prepare(self._store, sync)
        if item.job_id is not None:
            return self._by_job(item, sync, item.job_id)
        if item.intent.keys is None:
            return self._forget(item, sync, None, "its job was never filled, so nothing was written")
        return self._by_key(item, sync)

    def _by_job(self, item: OpenIntent, sync: CompiledSync, job_id: str) -> Recovered:
        door = self._session.door
        try:
            info = bulk.job_info(door, job_id)
            if info.state is JobState.OPEN:
                with suppress(SalesforceError):  # closed meanwhile, or gone: the next answer tells
                    bulk.abort(door, job_id)
                info = bulk.job_info(door, job_id)
            return self._harvest(item, sync, self._ended(item, sync, info))
        except SalesforceError as error:
            if error.status != 404:
                raise
            return self._by_key(item, sync)

    def _ended(self, item: OpenIntent, sync: CompiledSync, info: JobInfo) -> JobInfo:
        """Wait for a job's end."""
        clock, pause = self._session.clock, FIRST_PAUSE_S
        until = clock.monotonic() + sync.max_wait_s
        while not info.state.final:
            if clock.monotonic() >= until or info.state is JobState.OPEN:
                raise RefusedError(
                    f"job {info.id} of run {item.run_id} is still under way in the org ({info.state})",
                    fix="run again later, or abort the job in the org: Setup, Bulk Data Load Jobs",
                )
            self._session.events.log("info", f"waiting for job {info.id} of run {item.run_id}")
            self._rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            info = bulk.job_info(self._session.door, info.id)
        return info

    def _rest(self, seconds: float) -> None:
        """Let time pass; a wish to stop is heard within a second."""
        left = seconds
        while left > 0:
            if self._stop():
                raise InterruptedRunError(
                    "interrupted while waiting for a job of an earlier run",
                    fix="nothing was sent; the next run waits for that job again",
                )
            self._session.clock.sleep(min(left, 1.0))
            left -= 1.0

    def _harvest(self, item: OpenIntent, sync: CompiledSync, info: JobInfo) -> Recovered:
        """Record what a job's files say."""
        files = self._files(info)
        if not files:
            return self._forget(item, sync, None, f"job {info.id} wrote no row")
        operation = item.intent.operation
        context = push_context(self._session, {sync.name: sync}, self._stop, connected=True)
        secret = secret_of(sync, self._store)
        known = Known(snapshots.table_of(sync.name), lambda alias: shown_identity(sync, secret, "", alias))
        try:
            batch = rebuild(context, sync, operation, list(files.values()), known)
            part = context.next_part()
            for kind, path in files.items():
                read_file(context, batch, kind, path, part)
            context.recorder.record(sync, operation, part, [item.number])
            counts = dict(
                self._session.db.execute(
                    f"SELECT outcome, count(*) FROM {run_table('outcome', sync.name)} GROUP BY outcome ORDER BY outcome"
                )
            )
        finally:
            discard(context, sync.name, operation)
            for path in files.values():
                path.unlink(missing_ok=True)
        return self._told(item, f"job {info.id} was read", counts)

    def _files(self, info: JobInfo) -> dict[ResultFile, Path]:
        wanted = []
        if info.failed:
            wanted.append(ResultFile.FAILED)
        if (info.processed or 0) > (info.failed or 0):
            wanted.append(ResultFile.SUCCESSFUL)
        files = {kind: self._session.spool / f"{info.id}-{kind}.csv" for kind in wanted}
        for kind, path in files.items():
            bulk.download_results(self._session.door, info.id, kind, path)
        return files

    def _by_key(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        """Without an answer: what was sent counts as unknown and is sent again, creates are looked up in the org."""
        intent = item.intent
        if intent.operation is Operation.UPSERT:
            return self._look_up(item, sync)
        if intent.operation is Operation.UNDELETE:
            return self._look_for_restored(item, sync)
        if intent.keys is None or intent.operation is Operation.DELETE:
            # Of a record that may be deleted nothing is known; of a job that is gone, not even which records.
            rows = self._nothing_known(sync, None if intent.keys is None else item)
        else:
            rows = sent_rows(self._store, intent, sync.fields)
        return self._forget(item, sync, rows, "whether it arrived is not known: its rows are compared anew")

    def _look_up(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        if item.intent.keys is None:
            return self._forget(item, sync, None, "the org no longer has its job: its rows are sent again")
        try:
            found = keys_in_org(self._session, sync, item)
        except SalesforceError as error:
            if error.in_doubt:
                raise
            return self._forget(
                item,
                sync,
                None,
                f"the org does not tell about its keys ({error.code}): its rows are sent again",
            )
        with self._session.db.transaction():
            snapshots.record_upserts(self._store, sync, found.rows, self._session.run_id)
            self._journal.ended([item.number])
        counts = {"adopted": found.count} if found.count else {}
        return self._told(item, "the org was asked for its keys", counts)

    def _look_for_restored(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        """Of records that may be out of the recycle bin by now, those are that the org has."""
        found = restored_in_org(self._session, sync, item)
        with self._session.db.transaction():
            snapshots.record_undeletes(self._store, sync, found.rows, self._session.run_id)
            self._journal.ended([item.number])
        counts = {"restored": found.count} if found.count else {}
        return self._told(item, "the org was asked for its records", counts)

    def _nothing_known(self, sync: CompiledSync, item: OpenIntent | None) -> str:
        fields = "".join(f", '' AS {ident(rule.field)}" for rule in sync.fields)
        keys = (
            ""
            if item is None
            else f" WHERE _key IN (SELECT _key FROM {sent_rows(self._store, item.intent, ())})"
        )
        return f"(SELECT _key{fields} FROM {snapshots.table_of(sync.name)}{keys})"

    def _forget(self, item: OpenIntent, sync: CompiledSync, rows: str | None, what: str) -> Recovered:
        """rows: those whose texts count as unknown from now on."""
        with self._session.db.transaction():
            if rows is not None:
                snapshots.record_unknown(self._store, sync, rows)
            self._journal.ended([item.number])
        return self._told(item, what)

    def _told(self, item: OpenIntent, what: str, counts: dict[str, int] | None = None) -> Recovered:
        intent = item.intent
        told = Recovered(
            item.run_id, intent.sync, intent.operation.value, intent.rows, item.job_id, what, counts or {}
        )
        self._session.events.log("info", f"{told.sync}: {told.rows:,} rows of run {told.run_id}: {what}")
        return told
