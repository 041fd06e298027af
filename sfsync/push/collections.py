"""Sending rows by sObject Collections, one call of up to five requests, and by undelete, which answers alike: row by row.

Owns:      building the requests from the run's file, reading the answer into outcomes, splitting what is too large.
Does not:  choose this way (plan) or decide repeats (retry).
Invariant: results are taken by position inside one answered request whose length was checked; in a Composite the
           request is found by its referenceId first. Anything else leaves its rows in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfsync.diff.stage import run_table
from sfsync.engine.duckdb import DuckDBError
from sfsync.errors import ApiLimitError
from sfsync.plan.batches import sent_rules
from sfsync.push import isolate, retry
from sfsync.push.context import PushContext, intent_of, outcome_sql, settle
from sfsync.push.lanes import ClosingError, LimitReachedError, Pause, StopPushError, Talk, call
from sfsync.push.pieces import Piece, any_of, cut, grouped, halves, numbered, of_rows, requests_a_call
from sfsync.records import Batch, Operation, Way
from sfsync.salesforce import encode, rest
from sfsync.salesforce.door import Answer
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS
from sfsync.salesforce.status_codes import ErrorColumns, lookup_sql

SLOW_ANSWER_S = 8.0
QUICK_ANSWER_S = 3.0
SMALLEST_CHUNK = 10


@dataclass(frozen=True, slots=True)
class _Answered:
    """What one request's answer is like: its status, its items, and how many of them are refusals."""

    status: int
    items: int
    failed: int


@dataclass(frozen=True, slots=True)
class _AnsweredPiece:
    """A piece, its place in the call, and what the answer to it is like; None: there is none, or two."""

    piece: Piece
    number: int
    answer: _Answered | None

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.status >= 300

    @property
    def fits(self) -> bool:
        """Whether the answer can be read: an error for the whole request, or a result for each row."""
        if self.answer is None or not self.answer.items:
            return False
        if self.answer.status >= 500 and self.piece.operation is Operation.CREATE:
            return False  # the records may have been made all the same
        return self.refused or self.answer.items == self.piece.rows


def push_call(context: PushContext, batches: Sequence[Batch]) -> Talk[None]:
    """Send the batches of one planned call, split further where the object has proved slow, and retry single rows."""
    pieces = [piece for batch in batches for piece in cut(context, batch)]
    allowance = [retry.MAX_HALVINGS]
    smooth = True
    for group in grouped(pieces):
        smooth &= yield from _send(context, group, allowance)
    if smooth or context.syncs[batches[0].sync].options.all_or_none:
        return  # rows that stand or fall together are not tried again one by one: the next run sends them together
    for batch in batches:
        within = f"_ord >= {batch.first} AND _ord < {batch.last}"
        yield from _retry_rows(context, batch.sync, batch.operation, within)
    for sync, operation in dict.fromkeys((batch.sync, batch.operation) for batch in batches):
        mine = [batch for batch in batches if (batch.sync, batch.operation) == (sync, operation)]
        within = f"_ord >= {mine[0].first} AND _ord < {mine[-1].last}"
        yield from _isolate(context, sync, operation, within)


def retry_rows(context: PushContext, sync: str, operation: Operation, first: int, last: int) -> Talk[None]:
    """Try rows again that failed for a passing reason, whatever way they were sent before."""
    within = f"_ord >= {first} AND _ord < {last}"
    yield from _retry_rows(context, sync, operation, within)
    yield from _isolate(context, sync, operation, within)


def _send(
    context: PushContext, pieces: list[Piece], allowance: list[int], *, repeated: bool = False
) -> Talk[bool]:
    """Send one call; on failure do what retry decides, down to single rows. Returns whether every row went through.

    Args:
        allowance: how often the planned call may still be split, shared by its parts.
        repeated: its rows were sent before without an answer.
    """
    attempt, intents, doubt = 1, _intend(context, pieces), False

    def ended() -> None:
        if not doubt:
            context.journal.ended(list(intents.values()))

    while True:
        try:
            answer = yield from _exchange(context, pieces)
            break
        except (ApiLimitError, LimitReachedError, ClosingError) as error:
            ended()
            if isinstance(error, ApiLimitError):
                raise LimitReachedError from None
            raise
        except (NoAnswerError, SalesforceError) as error:
            doubt |= error.in_doubt
            operations = {piece.operation for piece in pieces}
            operation = Operation.CREATE if Operation.CREATE in operations else pieces[0].operation
            total = sum(piece.rows for piece in pieces)
            decision = retry.after_call(error, operation, attempt, total, context.jitter())
            context.events.log(
                "warning",
                f"a call with {total} rows failed: {context.said(pieces[0].sync, error)}",
                next=str(decision.next),
                attempt=attempt,
            )
        if decision.next is not retry.Next.AGAIN:
            try:
                yield from _give_up(context, pieces, decision, allowance, repeated=repeated or doubt)
            except (LimitReachedError, StopPushError, ClosingError):
                ended()
                raise
            ended()
            return False
        yield Pause(decision.pause_s)
        attempt += 1
    return _record_answer(context, pieces, answer, intents, repeated=repeated or doubt)


def _of(pieces: Sequence[Piece], sync: str, operation: Operation) -> list[tuple[int, Piece]]:
    """Those of one sync and operation, with their places in the call."""
    return [(n, p) for n, p in enumerate(pieces) if (p.sync, p.operation) == (sync, operation)]


def _intend(context: PushContext, pieces: list[Piece]) -> dict[tuple[str, Operation], int]:
    """Write down what one call is about to send: an intent for each sync and operation in it."""
    intents = []
    for sync, operation in dict.fromkeys((p.sync, p.operation) for p in pieces):
        mine = _of(pieces, sync, operation)
        rows = sum(piece.rows for _, piece in mine)
        intents.append(intent_of(context, sync, operation, Way.COLLECTIONS, rows, any_of(mine)))
    numbers = context.journal.begin(intents)
    return {(i.sync, i.operation): number for i, number in zip(intents, numbers, strict=True)}


def _record_answer(
    context: PushContext,
    pieces: list[Piece],
    answer: Answer,
    intents: Mapping[tuple[str, Operation], int],
    *,
    repeated: bool,
) -> bool:
    """Outcomes of one answered call; whether all are successes. Never yields: all lanes share `sfsync_answer`.

    Args:
        repeated: the same call was sent before without an answer.
    """
    try:
        answered = _load(context, answer, single=len(pieces) == 1)
    except DuckDBError:
        answered = {}  # JSON of no shape that an org sends: nobody knows what became of the rows
    for sync, operation in dict.fromkeys((p.sync, p.operation) for p in pieces):
        part = context.next_part()
        mine = [
            _AnsweredPiece(piece, number, answered.get(f"r{number}"))
            for number, piece in _of(pieces, sync, operation)
        ]
        _read_answers(context, [item for item in mine if item.fits], part, repeated=repeated)
        for item in mine:
            if not item.fits:
                items = item.answer.items if item.answer is not None else 0
                _in_doubt(context, item.piece, part, f"{items} results for {item.piece.rows} rows")
        if unread := [item.piece for item in mine if not item.fits]:
            _intend(context, unread)  # what became of these alone is still to be found out
        context.recorder.record(context.syncs[sync], operation, part, [intents[sync, operation]])
        context.progress(sync, sum(item.piece.rows for item in mine))
    _learn(context, context.syncs[pieces[0].sync].object, answer.elapsed_s)
    read = [answered.get(f"r{number}") for number in range(len(pieces))]
    return all(item is not None and not item.failed for item in read)


def _give_up(
    context: PushContext,
    pieces: list[Piece],
    decision: retry.Decision,
    allowance: list[int],
    *,
    repeated: bool,
) -> Talk[None]:
    context.stale_contract |= decision.code in retry.ABOUT_THE_REQUEST
    match decision.next:
        case retry.Next.SMALLER if allowance[0] > 0 and (len(pieces) > 1 or not _whole(context, pieces[0])):
            allowance[0] -= 1
            for half in halves(context, pieces):
                yield from _send(context, half, allowance, repeated=repeated)
        case retry.Next.DEFER:
            raise LimitReachedError
        case retry.Next.STOP:
            raise StopPushError(decision.message)
        case _:
            outcome = retry.outcome_of(decision)
            for piece in pieces:
                settle(
                    context,
                    piece.sync,
                    piece.operation,
                    piece.where,
                    outcome,
                    code=decision.code,
                    message=decision.message,
                    action=str(decision.action),
                )


def _whole(context: PushContext, piece: Piece) -> bool:
    """Whether the rows of a request stand or fall together, so that it is not split."""
    return context.syncs[piece.sync].options.all_or_none


def _exchange(context: PushContext, pieces: list[Piece]) -> Talk[Answer]:
    """One request, sent and answered in JSON."""
    room = context.available()
    if room is not None and room < 1:
        raise LimitReachedError
    requests = _requests(context, pieces)

    def run() -> Answer:
        if requests[0].operation is Operation.UNDELETE:
            from sfsync.salesforce import recycle_bin  # only for those who take deletes back

            answer = recycle_bin.undelete(context.door, requests[0].object, requests[0].ids)
        elif len(requests) == 1:
            answer = rest.send_collection(context.door, requests[0])
        else:
            answer = rest.send_composite(context.door, requests)
        answer.json()
        return answer

    return (yield from call(pieces[0].sync, run))


def _load(context: PushContext, answer: Answer, *, single: bool) -> dict[str, _Answered]:
    """Put the items of an answer into the temporary table `sfsync_answer`; what each request's answer is like, by reference.

    The table: ref, n (from 1), status, id, ok, made, code, message, fields; of a refused request the one error.
    A request that is answered twice, or with no list, is not among those returned.
    """
    requests = "SELECT 'r0' AS ref, 200 AS status, CAST(? AS JSON) AS body"
    if not single:
        requests = (
            "SELECT r->>'$.referenceId' AS ref, TRY_CAST(r->>'$.httpStatusCode' AS INTEGER) AS status, r->'$.body' AS body"
            " FROM (SELECT unnest(from_json(CAST(? AS JSON)->'$.compositeResponse', '[\"JSON\"]')) AS r) AS c"
        )
    items = (
        "SELECT ref, status, unnest(from_json(body, '[\"JSON\"]')) AS item,"
        " unnest(range(1, json_array_length(body)::BIGINT + 1)) AS n"
        f" FROM ({requests}) AS r WHERE json_type(body) = 'ARRAY'"
    )
    told = (
        "SELECT *, item->>'$.id' AS id, status < 300 AND coalesce(item->>'$.success', 'false') = 'true' AS ok,"
        " coalesce(item->>'$.created', 'false') = 'true' AS made,"
        " CASE WHEN status < 300 THEN item->'$.errors[0]' ELSE item END AS error"
        f" FROM ({items}) AS i"
    )
    db = context.db
    db.execute(
        "CREATE OR REPLACE TEMP TABLE sfsync_answer AS SELECT ref, n, status, id, ok, made,"
        " error->>CASE WHEN status < 300 THEN '$.statusCode' ELSE '$.errorCode' END AS code, error->>'$.message' AS message,"
        f" array_to_string(TRY_CAST(error->'$.fields' AS VARCHAR[]), ',') AS fields FROM ({told}) AS t",
        [answer.text],
    )
    found = db.execute(
        "SELECT ref, any_value(status), count(*), max(n), count(*) FILTER (WHERE NOT ok) FROM sfsync_answer GROUP BY ref"
    )
    return {
        ref: _Answered(status, items, failed)
        for ref, status, items, last, failed in found
        if items == last and status is not None
    }


def _requests(context: PushContext, pieces: list[Piece]) -> list[rest.Collection]:
    """One request a piece, named by its place; the texts of all pieces of a table are made by one statement."""
    texts: dict[int, str] = {}
    for sync, operation in dict.fromkeys((p.sync, p.operation) for p in pieces):
        rows = numbered(_of(pieces, sync, operation))
        spec = context.syncs[sync]
        text = "string_agg(\"Id\", ',' ORDER BY _ord)"
        if operation.makes or operation.verb is Operation.UPDATE:
            by_id = operation.verb is Operation.UPDATE
            record = encode.json_record(spec.object, sent_rules(spec, operation), by_id=by_id)
            text = encode.json_array(record, "_ord")
        texts |= dict(context.db.execute(f"SELECT _piece, {text} FROM ({rows}) AS p GROUP BY _piece"))
    return [_request(context, piece, number, texts[number]) for number, piece in enumerate(pieces)]


def _request(context: PushContext, piece: Piece, number: int, text: str) -> rest.Collection:
    sync, reference = context.syncs[piece.sync], f"r{number}"
    if piece.operation in (Operation.DELETE, Operation.UNDELETE):
        return rest.Collection(
            *(piece.operation, sync.object, piece.rows),
            ids=tuple(text.split(",")),
            reference_id=reference,
            all_or_none=sync.options.all_or_none,
        )
    return rest.Collection(
        piece.operation.verb,
        sync.object,
        piece.rows,
        records=text,
        external_id=sync.identity[0].field if piece.operation is Operation.UPSERT else None,
        reference_id=reference,
        headers=rest.write_headers(
            allow_save=sync.options.allow_save,
            assignment_rule=sync.options.assignment_rule,
            update_mru=sync.options.update_mru,
        ),
        all_or_none=sync.options.all_or_none,
    )


def _read_answers(context: PushContext, items: list[_AnsweredPiece], part: int, *, repeated: bool) -> None:
    """Turn the answered requests of one sync and operation into outcomes."""
    if not items:
        return
    sync, operation = items[0].piece.sync, items[0].piece.operation
    outcomes = run_table("outcome", sync)
    place = "row_number() OVER (PARTITION BY _piece ORDER BY _ord)"
    if refused := [str(item.number) for item in items if item.refused]:
        # A refused request has one error for all its rows.
        place = f"CASE WHEN _piece IN ({', '.join(refused)}) THEN 1 ELSE {place} END"
    asked = (
        f"SELECT _ord, _key, \"Id\" AS _own, {place} AS n, 'r' || _piece AS ref"
        f" FROM ({numbered([(item.number, item.piece) for item in items])}) AS p"
    )
    # What a repeated delete finds deleted counts as made so by this run: its first call most likely did it.
    made = "TRUE" if repeated and operation is Operation.DELETE else "a.made"
    if operation is Operation.CREATE:  # whose answer does not say so
        made = "a.ok"
    read = (
        f"SELECT t._ord, t._key, coalesce(a.id, t._own) AS _record_id, a.ok, {made} AS made, a.code, a.message, a.fields"
        f" FROM ({asked}) AS t JOIN sfsync_answer AS a ON a.ref = t.ref AND a.n = t.n"
    )
    action = "NULL"
    if any(item.answer is not None and item.answer.failed for item in items):
        error = ErrorColumns("q.code", "coalesce(q.message, '')", "q.fields")
        looked_up = lookup_sql(context.status_codes(), f"'{operation.verb}'", error)
        action = f"CASE WHEN ok THEN NULL ELSE {looked_up} END"
    context.db.execute(
        f"INSERT INTO {outcomes} SELECT '{operation}', _ord, _key, _record_id, made,"
        f" {outcome_sql(context.syncs[sync].object, operation, 'ok', 'made', 'action')}, action, CASE WHEN NOT ok THEN coalesce(code, 'UNKNOWN') END,"
        f" CASE WHEN NOT ok THEN fields END, CASE WHEN NOT ok THEN message END, {part}"
        f" FROM (SELECT *, {action} AS action FROM ({read}) AS q) AS w"
    )


def _in_doubt(context: PushContext, piece: Piece, part: int, why: str) -> None:
    context.db.execute(
        f"INSERT INTO {run_table('outcome', piece.sync)} SELECT '{piece.operation}', rowid, _key, \"Id\", FALSE, 'in_doubt', 'in_doubt',"
        f" 'NO_ANSWER', NULL, ?, {part} FROM {piece.table} WHERE {piece.where}",
        [f"the answer does not fit the request: {why}"],
    )


def _retry_rows(context: PushContext, sync: str, operation: Operation, within: str) -> Talk[None]:
    """Rows with a passing error go again, serially, in ever smaller requests."""
    db, outcomes = context.db, run_table("outcome", sync)
    actions = ", ".join(f"'{action}'" for action in retry.ROW_ACTIONS)
    allowance = [retry.MAX_HALVINGS]
    again = f"_op = '{operation}' AND outcome = 'failed' AND action IN ({actions}) AND {within}"
    for attempt, (step, most) in enumerate(retry.LOCK_STEPS, start=1):
        todo = [
            row
            for (row,) in db.execute(f"SELECT _ord FROM {outcomes} WHERE {again} ORDER BY _ord LIMIT {most}")
        ]
        if not todo or context.stop_requested():
            return
        context.events.log("info", f"{sync}: {len(todo)} rows are tried again, {step} at a time")
        yield Pause(retry.pause(attempt, context.jitter()))
        for start in range(0, len(todo), step):
            ordinals = todo[start : start + step]
            listed = ", ".join(map(str, ordinals))
            db.execute(f"DELETE FROM {outcomes} WHERE _op = '{operation}' AND _ord IN ({listed})")
            context.done[sync] = context.done.get(sync, 0) - len(ordinals)
            yield from _send(context, [of_rows(sync, operation, ordinals)], allowance)


def _isolate(context: PushContext, sync: str, operation: Operation, within: str) -> Talk[None]:
    """Rows that are too much for a trigger together go again in ever smaller groups, until the bad ones are alone."""
    allowance, calls = [retry.MAX_HALVINGS], retry.MOST_ISOLATING_CALLS
    groups = isolate.first_groups(context, sync, operation, within)
    while groups and not context.stop_requested():
        context.events.log(
            "info", f"{sync}: {sum(map(len, groups)):,} rows go again in groups of {len(groups[0])}"
        )
        size = requests_a_call(operation)
        for start in range(0, len(groups), size):
            if not calls:
                return
            calls -= 1
            some = groups[start : start + size]
            isolate.forget(context, sync, operation, [row for rows in some for row in rows])
            pieces = [of_rows(sync, operation, rows) for rows in some]
            yield from _send(context, pieces, allowance)
        groups = isolate.next_groups(context, sync, operation, groups)


def _learn(context: PushContext, object_: str, elapsed_s: float) -> None:
    """Shrink an object's requests when answers are slow, let them grow back when they are quick."""
    chunk = context.chunks.get(object_, MAX_COLLECTION_ROWS)
    if elapsed_s > SLOW_ANSWER_S:
        context.chunks[object_] = max(SMALLEST_CHUNK, chunk // 2)
    elif elapsed_s < QUICK_ANSWER_S and chunk < MAX_COLLECTION_ROWS:
        context.chunks[object_] = min(MAX_COLLECTION_ROWS, chunk * 2)
