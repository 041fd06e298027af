"""What earlier runs left without an answer is found out first: from Bulk jobs by their files, from records by key.

Owns:      the order of recovery, how long it waits for jobs, and what is told about it.
Does not:  read result files (push/result_files) or write snapshots (record, state).
Invariant: an intent is taken out together with what was learned; one whose job is still at work stays, and its rows
           stand aside (diff/aside). Nothing is sent that writes to the org, but for aborting a job that was never closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sfsync.artifacts import Recovered
from sfsync.compiler.manifest import CompiledSync, Manifest
from sfsync.diff.refusals import secret_of, shown_identity
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import InterruptedRunError
from sfsync.jobs import results_out
from sfsync.jobs.compile import selected_names
from sfsync.jobs.found import keys_in_org, restored_in_org
from sfsync.jobs.left import STILL_AT_WORK, is_away, way_out
from sfsync.jobs.sending import push_context
from sfsync.jobs.session import Session
from sfsync.push.result_files import Known, discard, echoed_rows, read_file, rebuild, told_rows
from sfsync.records import Intent, Operation
from sfsync.report.words import duration, plural
from sfsync.salesforce import bulk
from sfsync.salesforce.bulk import JobInfo, JobState, ResultFile
from sfsync.salesforce.failures import SalesforceError
from sfsync.state import doubts, snapshots
from sfsync.state.journal import OpenIntent, StateJournal, sent_rows

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

LEAST_WAIT_S = 60.0
"""A job that has been at work for longer than its sync's `max_wait` is given this much more: it may be about to end."""


def recover(
    session: Session,
    manifest: Manifest,
    left_open: Sequence[OpenIntent],
    stop_requested: Callable[[], bool],
) -> tuple[Recovered, ...]:
    """Find out what became of every open intent, and record it; those of syncs that are away stay open.

    Jobs that are still at work are waited for together, each until it has been at work for `max_wait` of its sync, those
    of syncs that are not selected not at all. What has not ended by then is left: its rows stand aside in this run.

    Raises:
        InterruptedRunError: asked to stop while waiting.
        SfsyncError: the org cannot be asked.
    """
    recovery = _Recovery(session, {sync.name: sync for sync in manifest.syncs}, stop_requested)
    return recovery.settle(left_open, selected_names(session, manifest))


@dataclass(frozen=True, slots=True)
class _AtWork:
    """A job that has not ended."""

    item: OpenIntent
    sync: CompiledSync
    info: JobInfo
    until: float  # monotonic


class _Recovery:
    def __init__(
        self, session: Session, syncs: dict[str, CompiledSync], stop_requested: Callable[[], bool]
    ) -> None:
        self._session, self._syncs, self._stop = session, syncs, stop_requested
        self._store = session.store
        self._journal = StateJournal(self._store, session.run_id)

    def settle(self, left_open: Sequence[OpenIntent], selected: Collection[str]) -> tuple[Recovered, ...]:
        """All intents; what was found out, oldest first."""
        told: dict[int, Recovered] = {}
        at_work: list[_AtWork] = []
        for item in left_open:
            sync = self._syncs.get(item.intent.sync)
            if sync is None or is_away(self._store, sync, item):
                self._watch(item)
                continue
            snapshots.prepare(self._store, sync)
            found = self._look(item, sync)
            if isinstance(found, JobInfo):
                wait = self._patience(item, sync) if sync.name in selected else 0.0
                at_work.append(_AtWork(item, sync, found, self._session.clock.monotonic() + wait))
            else:
                told[item.number] = found
        told |= self._wait(at_work)
        return tuple(told[number] for number in sorted(told))

    def _watch(self, item: OpenIntent) -> None:
        """Of an intent whose sync is away all that can be known is whether its job may still write."""
        what = "a request"
        if item.job_id is not None:
            what = f"job {item.job_id}"
            try:
                at_work = not self._info(item.job_id).state.final
            except SalesforceError as error:
                if error.status != 404:
                    raise
                at_work = False
            (self._journal.left if at_work else self._journal.not_at_work)([item.number])
        self._session.events.log(
            "warning",
            f"{item.intent.sync} is not in the project as it was: {what} of run {item.run_id} stays open",
        )

    def _info(self, job_id: str) -> JobInfo:
        """How far a job is; one that was never closed is aborted first."""
        door = self._session.door
        info = bulk.job_info(door, job_id)
        if info.state is JobState.OPEN:
            with suppress(SalesforceError):  # closed meanwhile, or gone: the next answer tells
                bulk.abort(door, job_id)
            info = bulk.job_info(door, job_id)
        return info

    def _look(self, item: OpenIntent, sync: CompiledSync) -> Recovered | JobInfo:
        """What became of one intent; a job that is still at work is handed back."""
        if item.job_id is None:
            if item.intent.keys is None:
                return self._forget(item, sync, None, "its job was never filled, so nothing was written")
            return self._by_key(item, sync)
        try:
            info = self._info(item.job_id)
            return self._harvest(item, sync, info) if info.state.final else info
        except SalesforceError as error:
            if error.status != 404:
                raise
            return self._by_key(item, sync)

    # ------------------------------------------------------------ jobs that are at work

    def _patience(self, item: OpenIntent, sync: CompiledSync) -> float:
        """Seconds to wait for a job: what `max_wait` leaves of its time; a clock that is off makes it no longer."""
        age = (self._session.clock.now() - item.at).total_seconds()
        return max(min(LEAST_WAIT_S, sync.max_wait_s), min(sync.max_wait_s, sync.max_wait_s - age))

    def _wait(self, at_work: list[_AtWork]) -> dict[int, Recovered]:
        """Look at all jobs again and again, until each has ended or had its time."""
        told: dict[int, Recovered] = {}
        clock, pause = self._session.clock, FIRST_PAUSE_S
        while True:
            now = clock.monotonic()
            told |= {job.item.number: self._leave(job) for job in at_work if job.until <= now}
            at_work = [job for job in at_work if job.until > now]
            if not at_work:
                return told
            for job in at_work:
                self._session.events.log("info", f"waiting for job {job.info.id} of run {job.item.run_id}")
            self._rest(min(pause, max(job.until for job in at_work) - now))
            pause = min(2 * pause, LONGEST_PAUSE_S)
            waiting, at_work = at_work, []
            for job in waiting:
                found = self._look(job.item, job.sync)
                if isinstance(found, JobInfo):
                    at_work.append(_AtWork(job.item, job.sync, found, job.until))
                else:
                    told[job.item.number] = found

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

    def _leave(self, job: _AtWork) -> Recovered:
        """The intent stays. What its job writes is not known before it ends, so its rows become candidates of the diff."""
        item, intent = job.item, job.item.intent
        with self._session.db.transaction():
            if intent.keys is not None:
                snapshots.record_unknown(
                    self._store, job.sync, sent_rows(self._store, intent, job.sync.fields)
                )
            self._journal.left([item.number])
        age = max(0.0, (self._session.clock.now() - item.at).total_seconds())
        waits = "its rows wait" if intent.keys is not None else f"all of {intent.sync} waits"
        what = f"job {job.info.id} is {STILL_AT_WORK} ({job.info.state}, {duration(age)}), and {waits} for it; {way_out()}"
        return self._told(item, what, {"submitted": intent.rows})

    # ------------------------------------------------------------ jobs that have ended

    def _harvest(self, item: OpenIntent, sync: CompiledSync, info: JobInfo) -> Recovered:
        """Record what a job's files say; rows that they do not tell of are compared anew."""
        if not info.processed and info.state is not JobState.JOB_COMPLETE:
            return self._forget(item, sync, None, f"job {info.id} wrote no row")
        operation, files = item.intent.operation, dict[ResultFile, Path]()
        context = push_context(self._session, {sync.name: sync}, self._stop, connected=True)
        secret = secret_of(sync, self._store)
        known = Known(snapshots.table_of(sync.name), lambda alias: shown_identity(sync, secret, "", alias))
        try:
            untold = self._read_files(item, sync, info, files)
            results = {kind: path for kind, path in files.items() if kind is not ResultFile.UNPROCESSED}
            what = f"job {info.id} was read"
            if results:
                batch = rebuild(context, sync, operation, list(results.values()), known)
            if untold:
                what += f"; it tells nothing of {plural(untold, 'row')}, to be " + (
                    "sent again" if operation.makes else "compared anew"
                )
                self._doubt(item, sync, files, told=bool(results))
            if not results:
                return self._forget(item, sync, None, what)
            part = context.next_part()
            for kind, path in results.items():
                read_file(context, batch, kind, path, part)
            context.recorder.record(sync, operation, part, [item.number])
            results_out.keep_job(self._session, sync, operation)
            counts = dict(
                self._session.db.execute(
                    f"SELECT outcome, count(*) FROM {run_table('outcome', sync.name)} GROUP BY outcome ORDER BY outcome"
                )
            )
        finally:
            discard(context, sync.name, operation)
            for path in files.values():
                path.unlink(missing_ok=True)
        return self._told(item, what, counts)

    def _read_files(
        self, item: OpenIntent, sync: CompiledSync, info: JobInfo, files: dict[ResultFile, Path]
    ) -> int:
        """Download what the counts promise into `files`, and all else when that tells too little; how many rows are untold."""
        wanted = []
        if info.failed:
            wanted.append(ResultFile.FAILED)
        if (info.processed or 0) > (info.failed or 0):
            wanted.append(ResultFile.SUCCESSFUL)
        for kind in wanted:
            files[kind] = self._downloaded(info, kind)
        operation, db = item.intent.operation, self._session.db
        if (told := told_rows(db, sync, operation, list(files.values()))) < item.intent.rows:
            for kind in set(ResultFile) - set(wanted):
                try:
                    files[kind] = self._downloaded(info, kind)
                except SalesforceError as error:
                    if error.status != 404:
                        raise
            results = [path for kind, path in files.items() if kind is not ResultFile.UNPROCESSED]
            told = told_rows(db, sync, operation, results)
        return max(0, item.intent.rows - told)

    def _downloaded(self, info: JobInfo, kind: ResultFile) -> Path:
        path = self._session.spool / f"{info.id}-{kind}.csv"
        bulk.download_results(self._session.door, info.id, kind, path)
        return path

    def _doubt(
        self, item: OpenIntent, sync: CompiledSync, files: dict[ResultFile, Path], *, told: bool
    ) -> None:
        """Forget what is known of the rows that a job's results leave out: whether they were written, nobody knows.

        They are found by the journal's keys; else by the file of what was not processed; else all records of the sync
        but those that were told may be among them.
        """
        intent = item.intent
        if intent.operation.makes:
            return  # the state knows nothing of new records, so they are sent again
        rest = files.get(ResultFile.UNPROCESSED)
        if intent.keys is not None:
            rows = sent_rows(self._store, intent, sync.fields)
        elif rest is not None and self._are_all(item, sync, files):
            rows = echoed_rows(sync, intent.operation, rest, snapshots.table_of(sync.name))
        else:
            rows = self._nothing_known(sync, "TRUE", intent.fields)
        if intent.operation is Operation.DELETE:
            rows = self._nothing_known(sync, f"_key IN (SELECT _key FROM {rows} AS d)")
        told_keys = f"SELECT _key FROM {run_table(intent.operation.value, sync.name)}"
        others = f" WHERE u._key NOT IN ({told_keys})" if told else ""
        with self._session.db.transaction():
            self._unknown(sync, f"(SELECT * FROM {rows} AS u{others})", deleting=_names_deletes(intent))

    def _are_all(self, item: OpenIntent, sync: CompiledSync, files: dict[ResultFile, Path]) -> bool:
        """Whether results and unprocessed rows together are what was sent."""
        told = told_rows(self._session.db, sync, item.intent.operation, list(files.values()))
        return told >= item.intent.rows

    # ------------------------------------------------------------ requests, and jobs that are gone

    def _by_key(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        """Without an answer: what was sent counts as unknown and is sent again, creates are looked up in the org."""
        intent = item.intent
        if intent.operation.makes:
            return self._look_up(item, sync)
        if intent.operation is Operation.UNDELETE:
            return self._look_for_restored(item, sync)
        if intent.keys is None or intent.operation is Operation.DELETE:
            # Of a record that may be deleted nothing is known; of a job that is gone, not even which records.
            keys = "TRUE"
            if intent.keys is not None:
                keys = f"_key IN (SELECT _key FROM {sent_rows(self._store, intent, ())})"
            rows = self._nothing_known(sync, keys)
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
            # The org may hold for one what are two keys to us; under the old one the record would seem to be removed.
            snapshots.forget_other_keys(self._store, sync, found.rows)
            self._journal.ended([item.number])
        results_out.keep_found(self._session, sync, found.rows)
        counts = {"adopted": found.count} if found.count else {}
        return self._told(item, "the org was asked for its keys", counts)

    def _look_for_restored(self, item: OpenIntent, sync: CompiledSync) -> Recovered:
        """Of records that may be out of the recycle bin by now, those are that the org has."""
        found = restored_in_org(self._session, sync, item)
        with self._session.db.transaction():
            snapshots.record_undeletes(self._store, sync, found.rows, self._session.run_id)
            self._journal.ended([item.number])
        results_out.keep_found(self._session, sync, found.rows, restored=True)
        counts = {"restored": found.count} if found.count else {}
        return self._told(item, "the org was asked for its records", counts)

    def _nothing_known(self, sync: CompiledSync, where: str, fields: Collection[str] | None = None) -> str:
        """Records of the snapshot of which, in these fields or at all, nothing counts as known."""
        texts = "".join(
            f", {literal('') if rule.mapped and (fields is None or rule.field in fields) else 'NULL::VARCHAR'}"
            f" AS {ident(rule.field)}"
            for rule in sync.fields
        )
        return f"(SELECT _key{texts} FROM {snapshots.table_of(sync.name)} WHERE {where})"

    def _forget(self, item: OpenIntent, sync: CompiledSync, rows: str | None, what: str) -> Recovered:
        """rows: those whose texts count as unknown from now on."""
        with self._session.db.transaction():
            if rows is not None:
                self._unknown(sync, rows, deleting=_names_deletes(item.intent))
            self._journal.ended([item.number])
        return self._told(item, what)

    def _unknown(self, sync: CompiledSync, rows: str, *, deleting: bool) -> None:
        """Inside a transaction. deleting: these very rows may have been deleted."""
        snapshots.record_unknown(self._store, sync, rows)
        if deleting:
            known = f"SELECT s._key, s._id AS _record_id FROM {snapshots.table_of(sync.name)} AS s"
            doubts.deleting(
                self._store, sync.name, f"({known} WHERE s._key IN (SELECT _key FROM {rows} AS u))"
            )

    def _told(self, item: OpenIntent, what: str, counts: dict[str, int] | None = None) -> Recovered:
        intent = item.intent
        told = Recovered(
            item.run_id, intent.sync, intent.operation.value, intent.rows, item.job_id, what, counts or {}
        )
        self._session.events.log("info", f"{told.sync}: {told.rows:,} rows of run {told.run_id}: {what}")
        return told


def _names_deletes(intent: Intent) -> bool:
    """Whether it is known which records an intent was to delete."""
    return intent.operation is Operation.DELETE and intent.keys is not None
