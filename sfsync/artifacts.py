"""What a command leaves behind and hands back: frozen values with a schema version, and their JSON.

Owns:      SyncResult, Result and the other jobs' results; run_results.json's form.
Does not:  render for people (report) or gather anything (jobs).
Invariant: both sums of the accounting close, or `SyncResult.closes` is False and the run says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum

from sfsync import __version__
from sfsync.records import Outcome

RUN_RESULTS_VERSION = 1


class Status(StrEnum):
    """How a sync ended, worst last in what it means for the exit code."""

    SUCCESS = "success"
    WARN = "warn"  # only rows that were already held, or values that the org did not keep
    PARTIAL = "partial"  # something was newly rejected, failed, deferred, waiting, stopped, gone or in doubt
    REFUSED = "refused"
    ERROR = "error"
    INTERRUPTED = "interrupted"


_PARTIAL = (
    Outcome.REJECTED,
    Outcome.FAILED,
    Outcome.DEFERRED,
    Outcome.WAITING,
    Outcome.STOPPED,
    Outcome.GONE,
    Outcome.SUBMITTED,
    Outcome.IN_DOUBT,
)


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """One refused row as a run shows it."""

    identity: str  # JSON object
    action: str
    code: str
    field: str | None
    message: str
    attempts: int
    help: str = ""  # of the group it belongs to


@dataclass(frozen=True, slots=True)
class RejectedCode:
    """How many rows were refused for one reason, and what most likely mends it."""

    code: str
    field: str | None
    rows: int
    help: str = ""


@dataclass(frozen=True, slots=True)
class WaitingSample:
    """One row that waits for its parent. parent: the sync that is to bring it."""

    key: str
    field: str
    parent_key: str
    parent: str


@dataclass(frozen=True, slots=True)
class NotKept:
    """One value that the org has otherwise than it was sent; '' is null, masked fields are masked."""

    key: str
    record_id: str
    sent: str
    kept: str


@dataclass(frozen=True, slots=True)
class NotKeptField:
    """In how many of the records read back a field is not what was sent."""

    field: str
    records: int
    samples: tuple[NotKept, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading written records back (`verify`) found."""

    records: int = 0  # asked for
    missing: int = 0  # of them: the org does not show them
    differing: int = 0  # of them: a value at least is not what was sent
    fields: tuple[NotKeptField, ...] = ()  # most records first
    skipped: str | None = None  # why nothing was read


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of one sync's rows. model: outcomes of staged rows; removed: of records whose row left the model."""

    name: str
    object: str
    status: Status
    staged: int
    removed: int
    model: Mapping[Outcome, int]
    removals: Mapping[Outcome, int]
    skipped_gone: int  # of model[gone]: skipped without an attempt, by on_gone: skip
    calls: int
    job_ids: tuple[str, ...]
    started_at: datetime
    ended_at: datetime
    message: str | None = None
    rejected: tuple[RejectedSample, ...] = ()
    rejected_file: str | None = None
    rejected_codes: tuple[RejectedCode, ...] = ()  # most rows first; `rejected` has samples of each
    waiting: tuple[WaitingSample, ...] = ()
    verified: Verified | None = None  # None: the sync does not ask for it, or nothing was written

    @property
    def closes(self) -> bool:
        """Every staged row and every acted-on removal ended in exactly one outcome."""
        return sum(self.model.values()) == self.staged and sum(self.removals.values()) == self.removed

    def count(self, outcome: Outcome) -> int:
        return self.model.get(outcome, 0) + self.removals.get(outcome, 0)


def status_of(
    model: Mapping[Outcome, int],
    removals: Mapping[Outcome, int],
    *,
    skipped_gone: int,
    strict: bool,
    verified: Verified | None = None,
) -> Status:
    """The status that counts of outcomes amount to.

    strict: held and no_match rows count as newly refused, and so do values that the org did not keep.
    """
    both = {o: model.get(o, 0) + removals.get(o, 0) for o in Outcome}
    both[Outcome.GONE] -= skipped_gone
    if any(both[outcome] for outcome in _PARTIAL):
        return Status.PARTIAL
    not_kept = verified is not None and verified.differing + verified.missing > 0
    if both[Outcome.HELD] or both[Outcome.NO_MATCH] or not_kept:
        return Status.PARTIAL if strict else Status.WARN
    return Status.SUCCESS


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a run found out about a request that an earlier one left without an answer."""

    run_id: str  # the earlier run
    sync: str
    operation: str
    rows: int  # that were to be sent
    job_id: str | None
    what: str  # what was done about it, in words
    counts: Mapping[str, int]  # outcome -> rows, as far as the org told


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did."""

    run_id: str
    command: str
    project: str
    target: str
    started_at: datetime
    ended_at: datetime
    syncs: tuple[SyncResult, ...]
    calls: int
    calls_by_kind: Mapping[str, int]
    left_in_org: int | None
    allowed: int | None  # calls this project may still spend now
    interrupted: bool
    reason: str | None  # why a push ended early
    warnings: tuple[str, ...] = ()
    recovered: tuple[Recovered, ...] = ()
    undo: str | None = None  # the run that this one took back
    undelivered: str | None = None  # why outcomes wait that were to go to the warehouse

    @property
    def exit_code(self) -> int:
        """130, else 3, else 1, else 0 (product contract, exit codes)."""
        statuses = {item.status for item in self.syncs}
        if self.interrupted or Status.INTERRUPTED in statuses:
            return 130
        if Status.REFUSED in statuses:
            return 3
        if statuses & {Status.PARTIAL, Status.ERROR} or not all(item.closes for item in self.syncs):
            return 1
        if self.undelivered is not None:
            return 1
        if any(item.counts.get(bad) for item in self.recovered for bad in ("rejected", "failed", "in_doubt")):
            return 1
        mine = {item.name for item in self.syncs}  # a job of another sync is no matter of this run
        return int(any(item.counts.get("submitted") for item in self.recovered if item.sync in mine))


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One sync in `sfsync status`."""

    sync: str
    object: str
    last_run: str | None
    last_at: datetime | None
    last_status: str | None
    records: int
    refused: int
    counts: Mapping[str, int] = field(default_factory=dict)
    failing: int = 0  # of the refused: for reasons that were to pass
    failing_runs: int = 0  # runs in a row, of the one that has failed longest
    causes: tuple[RejectedCode, ...] = ()  # of the refused rows, most rows first


@dataclass(frozen=True, slots=True)
class JobAtWork:
    """A Bulk job that a run left at work in the org; the next run looks at it first."""

    sync: str
    job_id: str
    run_id: str
    operation: str
    rows: int
    begun_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class StatusResult:
    """What `sfsync status` tells."""

    target: str
    state: str
    org_id: str | None
    syncs: tuple[StatusLine, ...]
    spent: int
    allowed: int | None
    left_in_org: int | None
    maximum: int | None
    seen_at: datetime | None
    batches: int = 0  # Bulk batches started in the last 24 hours
    batches_allowed: int | None = None
    hours: tuple[int, ...] = ()  # API calls in each of the last 24 hours; the last of them ends at `at`
    at: datetime | None = None
    jobs: tuple[JobAtWork, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldTexts:
    """One field of a record. None: not known, or not to be sent; '' is null; masked fields are masked."""

    field: str
    acknowledged: str | None
    model: str | None
    to_send: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a row is refused at the moment, and since when."""

    code: str
    field: str | None
    message: str
    attempts: int
    first_at: datetime
    last_at: datetime
    decided_by: str  # org | sfsync


@dataclass(frozen=True, slots=True)
class PastChange:
    """What one run did to a record. changed: (field, text before, text sent), None where it was not known."""

    run_id: str
    at: datetime | None
    operation: str  # create | adopt | update | delete | undelete
    changed: tuple[tuple[str, str | None, str | None], ...]


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """What `sfsync explain` tells of one record."""

    sync: str
    object: str
    key: str
    record_id: str | None
    origin: str | None  # created | adopted | converted
    run_id: str | None  # that last wrote it
    at: datetime | None
    gone_at: datetime | None
    verdict: str  # create | update | delete | unchanged | rejected | held | waiting | submitted | stopped | kept | gone
    why: tuple[str, ...]
    fields: tuple[FieldTexts, ...]
    refused: Refused | None
    past: tuple[PastChange, ...]


def metadata(run_id: str, kind: str, version: int, at: datetime) -> dict[str, object]:
    """The head of every artifact, in dbt's shape."""
    return {
        "schema_version": version,
        "artifact": kind,
        "sfsync_version": __version__,
        "generated_at": _time(at),
        "invocation_id": run_id,
    }


def run_results_json(result: Result) -> str:
    """target/run_results.json."""
    body = {
        "metadata": metadata(result.run_id, "run_results", RUN_RESULTS_VERSION, result.ended_at),
        "command": result.command,
        "project": result.project,
        "target": result.target,
        "started_at": _time(result.started_at),
        "elapsed_s": round((result.ended_at - result.started_at).total_seconds(), 3),
        "exit_code": result.exit_code,
        "interrupted": result.interrupted,
        "reason": result.reason,
        "api": {
            "calls": result.calls,
            "by_kind": dict(result.calls_by_kind),
            "allowed": result.allowed,
            "left_in_org": result.left_in_org,
        },
        "warnings": list(result.warnings),
        "undo": result.undo,
        "undelivered": result.undelivered,
        "recovered": [asdict(item) | {"counts": dict(item.counts)} for item in result.recovered],
        "results": [_sync_json(item) for item in result.syncs],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _sync_json(item: SyncResult) -> dict[str, object]:
    return {
        "unique_id": f"sync.{item.name}",
        "object": item.object,
        "status": str(item.status),
        "message": item.message,
        "timing": {"started_at": _time(item.started_at), "completed_at": _time(item.ended_at)},
        "execution_time": round((item.ended_at - item.started_at).total_seconds(), 3),
        "rows": {"staged": item.staged, "removed": item.removed, "accounted": item.closes},
        "outcomes": {str(outcome): item.count(outcome) for outcome in Outcome if item.count(outcome)},
        "api_calls": item.calls,
        "job_ids": list(item.job_ids),
        "rejected_file": item.rejected_file,
        "waiting": [asdict(row) for row in item.waiting],
        "verified": asdict(item.verified) if item.verified is not None else None,
        "rejected_codes": [
            {"code": found.code, "field": found.field, "rows": found.rows, "help": found.help}
            for found in item.rejected_codes
        ],
        "rejected": [
            {
                "identity": json.loads(row.identity),
                "action": row.action,
                "code": row.code,
                "field": row.field,
                "message": row.message,
                "attempts": row.attempts,
            }
            for row in item.rejected
        ],
    }


def _time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
