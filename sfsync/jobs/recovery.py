"""What earlier runs left without an answer is found out first: from Bulk jobs by their files, from records by key.

Owns:      the order of recovery, and what is told about it.
Does not:  read result files (push/result_files) or write snapshots (record, state).
Invariant: an intent is taken out together with what was learned; nothing is sent that writes to the org, but for
           aborting a job that was never closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from sfsync.artifacts import Recovered
from sfsync.compiler.manifest import CompiledSync, Manifest
from sfsync.diff.diff import shown_identity
from sfsync.diff.refusals import secret_of
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import InterruptedRunError, RefusedError
from sfsync.jobs.found import SKEW, instant, keys_in_org
from sfsync.jobs.sending import push_context
from sfsync.jobs.session import Session
from sfsync.push.context import PushContext
from sfsync.push.result_files import Known, discard, read_file, rebuild
from sfsync.records import Operation, Way
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
    """Find out what became of every open intent, and record it.

    Raises:
        RefusedError: a job of an earlier run is still at work.
        SfsyncError: the org cannot be asked.
    """
    syncs = {sync.name: sync for sync in manifest.syncs}
    recovery = _Recovery(session, syncs, stop_requested, {item.job_id for item in left_open})
    return tuple(recovery.settle(item) for item in left_open)


class _Recovery:
    def __init__(
        self,
        session: Session,
        syncs: dict[str, CompiledSync],
        stop_requested: Callable[[], bool],
        known_jobs: set[str | None],
    ) -> None:
        self._session, self._syncs, self._stop, self._known_jobs = session, syncs, stop_requested, known_jobs
        self._store = session.store
        self._journal = StateJournal(self._store, session.run_id)

    def settle(self, item: OpenIntent) -> Recovered:
        """One intent."""
        sync = self._syncs.get(item.intent.sync)
        if sync is None or sync.object != item.intent.object:
            return self._done(item, "its sync is no longer in the project; nothing was asked")
        if snapshots.inspect(self._store, sync).foreign is not None:
            return self._done(item, "its sync has another identity now; nothing was asked")
        snapshots.prepare(self._store, sync)
        if item.job_id is not None:
            return self._by_job(item, sync, item.job_id)
        if item.intent.keys is None:
            return self._done(item, "its job was never filled, so nothing was written")
        if item.intent.way is Way.MULTIPART:
            for job in self._strangers(item):
                if (done := self._adopt(item, sync, job)) is not None:
                    return done
        return self._by_key(item, sync)

    def _by_job(self, item: OpenIntent, sync: CompiledSync, job_id: str) -> Recovered:
        door = self._session.door
        try:
            info = self._ended(item, bulk.job_info(door, job_id))
        except SalesforceError as error:
            if error.status != 404:
                raise
            if item.intent.keys is not None:
                return self._by_key(item, sync)
            rows = self._all_unknown(sync) if item.intent.operation is Operation.UPDATE else None
            return self._forget(item, sync, rows, "the org no longer has its job: the rows are compared anew")
        if info.state is JobState.OPEN:
            with suppress(SalesforceError):  # already gone
                bulk.abort(door, job_id)
            return self._done(item, f"job {job_id} was never closed; it is aborted and nothing was written")
        return self._harvest(item, sync, info) or self._done(item, f"job {job_id} wrote no row")

    def _strangers(self, item: OpenIntent) -> Iterable[JobInfo]:
        """Jobs of our user that the intent may have made, and that no intent knows."""
        intent, door = item.intent, self._session.door
        for job in bulk.list_jobs(door):
            mine = job.created_by is None or job.created_by[:15] == door.token.user_id[:15]
            alike = (job.object, job.operation) == (intent.object, intent.operation.value)
            late = job.created_date is None or instant(job.created_date) >= item.at - SKEW
            if mine and alike and late and job.id not in self._known_jobs and job.state is not JobState.OPEN:
                yield job

    def _adopt(self, item: OpenIntent, sync: CompiledSync, job: JobInfo) -> Recovered | None:
        """Take a job for the intent's only when its files echo exactly the intent's keys."""
        info = self._ended(item, bulk.job_info(self._session.door, job.id))
        return self._harvest(item, sync, info, only_if_whole=True)

    def _ended(self, item: OpenIntent, info: JobInfo) -> JobInfo:
        """Wait for a job's end."""
        clock, pause = self._session.clock, FIRST_PAUSE_S
        until = clock.monotonic() + PushContext.max_wait_s
        while not info.state.final and info.state is not JobState.OPEN:
            if self._stop():
                raise InterruptedRunError("interrupted while waiting for a job of an earlier run")
            if clock.monotonic() >= until:
                raise RefusedError(
                    f"job {info.id} of run {item.run_id} is still at work in the org ({info.state})",
                    fix="run again later, or abort the job in the org: Setup, Bulk Data Load Jobs",
                )
            self._session.events.log("info", f"waiting for job {info.id} of run {item.run_id}")
            clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            info = bulk.job_info(self._session.door, info.id)
        return info

    def _harvest(
        self, item: OpenIntent, sync: CompiledSync, info: JobInfo, *, only_if_whole: bool = False
    ) -> Recovered | None:
        """Record what a job's files say; None when there is nothing in them, or not this intent's rows."""
        files = self._files(info)
        if not files:
            return None
        operation = item.intent.operation
        context = push_context(self._session, {sync.name: sync}, self._stop, connected=True)
        secret = secret_of(sync, self._store)
        known = Known(snapshots.table_of(sync.name), lambda alias: shown_identity(sync, secret, "", alias))
        try:
            batch = rebuild(context, sync, operation, list(files.values()), known)
            if only_if_whole and not self._is_whole(item, sync):
                return None
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
        return self._told(item, f"job {info.id} was read", counts, info.id)

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

    def _is_whole(self, item: OpenIntent, sync: CompiledSync) -> bool:
        """Whether the rebuilt rows are those of the intent, no more and no fewer."""
        sent = sent_rows(self._store, item.intent, ())
        table = run_table(item.intent.operation.value, sync.name)
        different = f"(SELECT _key FROM {sent} EXCEPT SELECT _key FROM {table})"
        more = f"(SELECT _key FROM {table} EXCEPT SELECT _key FROM {sent})"
        return not self._session.db.value(f"SELECT count(*) FROM ({different} UNION ALL {more}) AS d")

    def _by_key(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        """Without an answer: updates count as unknown and are sent again, creates are looked up in the org."""
        rows = sent_rows(self._store, item.intent, sync.fields)
        match item.intent.operation:
            case Operation.UPDATE:
                return self._forget(
                    item, sync, rows, "whether it arrived is not known: its rows are sent again"
                )
            case Operation.DELETE:
                return self._done(item, "whether it arrived is not known: what is still to be deleted is")
        found = keys_in_org(self._session, sync, item)
        with self._session.db.transaction():
            snapshots.record_upserts(self._store, sync, found.rows, self._session.run_id)
            rows = sent_rows(self._store, item.intent, sync.fields)
            mine = f"(SELECT r.* FROM {rows} AS r WHERE r._key IN (SELECT _key FROM {found.rows}))"
            snapshots.record_unknown(self._store, sync, mine)
            self._journal.ended([item.number])
        counts = {"created": found.created, "adopted": found.adopted}
        return self._told(item, "the org was asked for its keys", {k: n for k, n in counts.items() if n})

    def _all_unknown(self, sync: CompiledSync) -> str:
        fields = "".join(f", '' AS {ident(rule.field)}" for rule in sync.fields)
        return f"(SELECT _key{fields} FROM {snapshots.table_of(sync.name)})"

    def _forget(self, item: OpenIntent, sync: CompiledSync, rows: str | None, what: str) -> Recovered:
        with self._session.db.transaction():
            if rows is not None:
                snapshots.record_unknown(self._store, sync, rows)
            self._journal.ended([item.number])
        return self._told(item, what)

    def _done(self, item: OpenIntent, what: str) -> Recovered:
        self._journal.ended([item.number])
        return self._told(item, what)

    def _told(
        self, item: OpenIntent, what: str, counts: dict[str, int] | None = None, job_id: str | None = None
    ) -> Recovered:
        intent = item.intent
        told = Recovered(
            item.run_id,
            intent.sync,
            intent.operation.value,
            intent.rows,
            job_id or item.job_id,
            what,
            counts or {},
        )
        self._session.events.log("info", f"{told.sync}: {told.rows:,} rows of run {told.run_id}: {what}")
        return told
