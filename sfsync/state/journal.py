"""What was about to be sent: written before a request, taken out with its answer, and all that is left after a crash.

Owns:      the table `intents`.
Does not:  send, or find out what became of a request (jobs/recovery does).
Invariant: an intent is refused when another session took the lease since; one that stands here may have been done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule, Intent, Operation, Way
from sfsync.state.lock import taken_over
from sfsync.state.store import CONTROL, StateStore, utc

TABLE = f"{CONTROL}.intents"


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent whose request was never answered, as far as this state knows."""

    number: int
    run_id: str
    at: datetime
    job_id: str | None
    intent: Intent
    left_at: datetime | None = None  # when a run last saw its job at work, and left it so


class StateJournal:
    """The `Journal` of push, over an open state. For the thread that owns the state's session."""

    def __init__(self, store: StateStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._epoch: int | None = None
        self._next = 1 + int(store.db.value(f"SELECT coalesce(max(number), 0) FROM {TABLE}"))

    def begin(self, intents: Iterable[Intent]) -> tuple[int, ...]:
        """Write down what is about to be sent; numbers for `ended`.

        Raises:
            StateLockedError: another session has taken the lease: this one may begin nothing any more.
        """
        store, numbers = self._store, []
        store.check_lease()
        with store.db.transaction() as db:
            self._check_epoch()
            for intent in intents:
                number = self._next
                self._next += 1
                numbers.append(number)
                db.execute(
                    f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                    [
                        number,
                        self._run_id,
                        self._epoch,
                        store.clock.now(),
                        intent.sync,
                        intent.object,
                        intent.operation.value,
                        intent.way.value,
                        intent.rows,
                        json.dumps(intent.fields),
                        None if intent.keys is None else json.dumps(intent.keys),
                    ],
                )
        return tuple(numbers)

    def _check_epoch(self) -> None:
        """The first intent makes this session the newest; one that finds another newer than itself is late."""
        now = int(self._store.meta("epoch") or 0)
        if self._epoch is None:
            self._epoch = raise_epoch(self._store)
        elif now != self._epoch:
            raise taken_over(self._store.name)

    def started(self, number: int, job_id: str) -> None:
        """Note the Bulk job that an intent led to."""
        self._store.db.execute(f"UPDATE {TABLE} SET job_id = ? WHERE number = ?", [job_id, number])

    def left(self, numbers: Sequence[int]) -> None:
        """Note that the jobs of intents were still at work when this session turned away from them."""
        if numbers:
            listed = ", ".join(map(str, numbers))
            now = self._store.clock.now()
            self._store.db.execute(f"UPDATE {TABLE} SET left_at = ? WHERE number IN ({listed})", [now])

    def not_at_work(self, numbers: Sequence[int]) -> None:
        """Note that the jobs of intents are over, though what became of their rows is still open."""
        if numbers:
            listed = ", ".join(map(str, numbers))
            self._store.db.execute(f"UPDATE {TABLE} SET left_at = NULL WHERE number IN ({listed})")

    def ended(self, numbers: Sequence[int]) -> None:
        """Take intents out: their rows' outcomes are known. Inside the transaction that records these, or after it."""
        if numbers:
            listed = ", ".join(map(str, numbers))
            self._store.db.execute(f"DELETE FROM {TABLE} WHERE number IN ({listed})")


def raise_epoch(store: StateStore) -> int:
    """Begin a new epoch: whoever began intents in an earlier one may begin no more. Returns it."""
    epoch = int(store.meta("epoch") or 0) + 1
    store.db.execute(f"DELETE FROM {CONTROL}.meta WHERE name = 'epoch'")
    store.db.execute(f"INSERT INTO {CONTROL}.meta VALUES ('epoch', ?)", [str(epoch)])
    return epoch


def sent_rows(store: StateStore, intent: Intent, rules: Iterable[FieldRule]) -> str:
    """A relation with the `_key` of each row of an intent and, for each rule, '' where its field was to be sent.

    Made of a temporary table that the next call replaces.
    """
    store.db.execute(
        "CREATE OR REPLACE TEMP TABLE sfsync_intent AS SELECT unnest(from_json(?, '[\"VARCHAR\"]')) AS line",
        [json.dumps(intent.keys or ())],
    )
    bits = {name: number for number, name in enumerate(intent.fields, start=1)}
    fields = [
        f"CASE WHEN line[{bits[rule.field]}] = '1' THEN '' END AS {ident(rule.field)}"
        if rule.field in bits
        else f"NULL::VARCHAR AS {ident(rule.field)}"
        for rule in rules
    ]
    key = f"substr(line, {len(intent.fields) + 2}) AS _key"
    return f"(SELECT {', '.join([key, *fields])} FROM sfsync_intent)"


def open_intents(store: StateStore) -> list[OpenIntent]:
    """What earlier runs left open, oldest first."""
    return _read(store, "TRUE")


def left_jobs(store: StateStore, sync: str) -> list[OpenIntent]:
    """Intents of a sync whose jobs were still at work when they were last looked at, oldest first."""
    return _read(store, "left_at IS NOT NULL AND sync = ?", [sync])


def _read(store: StateStore, where: str, values: Sequence[str] = ()) -> list[OpenIntent]:
    rows = store.db.execute(
        "SELECT number, run_id, begun_at, job_id, sync, object, operation, way, row_count, fields, keys, left_at"
        f" FROM {TABLE} WHERE {where} ORDER BY number",
        list(values),
    )
    return [
        OpenIntent(
            number,
            run_id,
            utc(at),
            job_id,
            Intent(
                sync,
                object_,
                Operation(operation),
                Way(way),
                count,
                tuple(json.loads(fields)),
                None if keys is None else tuple(json.loads(keys)),
            ),
            None if left_at is None else utc(left_at),
        )
        for number, run_id, at, job_id, sync, object_, operation, way, count, fields, keys, left_at in rows
    ]
