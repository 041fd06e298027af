"""What becomes of a call that failed whole: again, in smaller parts, another day, or never; and how long to wait."""

from __future__ import annotations

import pytest

from sfsync.push.retry import (
    CALL_ATTEMPTS,
    FIRST_PAUSE_S,
    LOCK_STEPS,
    LONGEST_PAUSE_S,
    Next,
    after_call,
    pause,
)
from sfsync.records import Operation
from sfsync.salesforce.failures import NoAnswerError, Refusal, SalesforceError
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS

UP, CHANGE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE
Failure = NoAnswerError | SalesforceError


def lost(sent: bool | None) -> NoAnswerError:
    return NoAnswerError("no answer", sent=sent)


def refused(status: int, code: str, message: str = "", retry_after_s: float | None = None) -> SalesforceError:
    return SalesforceError(
        "refused", status=status, refusals=(Refusal(code, message),), retry_after_s=retry_after_s
    )


LAST = CALL_ATTEMPTS
CASES: list[tuple[str, Failure, Operation, int, int, Next]] = [
    # id, what happened, operation, tries so far, rows, what is next
    ("never connected", lost(False), UP, 1, 200, Next.AGAIN),
    ("never connected, once too often", lost(False), UP, LAST, 200, Next.FAIL),
    ("answer lost, upsert by external id", lost(None), UP, 1, 200, Next.AGAIN),
    ("answer lost, update by Id", lost(None), CHANGE, 1, 200, Next.AGAIN),
    ("answer lost, delete by Id", lost(None), DELETE, 1, 200, Next.AGAIN),
    ("answer cut off", lost(True), UP, 1, 200, Next.AGAIN),
    ("answer lost, once too often", lost(None), UP, LAST, 200, Next.FAIL),
    ("500", refused(500, "UNKNOWN_EXCEPTION"), UP, 1, 200, Next.AGAIN),
    ("502 of a proxy", refused(502, "HTTP_502"), CHANGE, 2, 200, Next.AGAIN),
    ("503", refused(503, "SERVER_UNAVAILABLE"), CHANGE, 3, 200, Next.AGAIN),
    ("503, once too often", refused(503, "SERVER_UNAVAILABLE"), CHANGE, LAST, 200, Next.FAIL),
    ("a 5xx nobody knows", refused(599, "HTTP_599"), CHANGE, 1, 200, Next.AGAIN),
    ("429", refused(429, "HTTP_429"), CHANGE, 1, 200, Next.AGAIN),
    (
        "no calls left",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        UP,
        1,
        200,
        Next.DEFER,
    ),
    ("no calls left, one row", refused(403, "REQUEST_LIMIT_EXCEEDED", ""), UP, LAST, 1, Next.DEFER),
    (
        "too many long calls",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests"),
        UP,
        1,
        200,
        Next.SMALLER,
    ),
    (
        "too many long calls, one row",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests"),
        UP,
        1,
        1,
        Next.AGAIN,
    ),
    (
        "the same, once too often",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests"),
        UP,
        LAST,
        1,
        Next.FAIL,
    ),
    ("body too large", refused(413, "HTTP_413"), UP, 1, 200, Next.SMALLER),
    (
        "one bad row spoils a body",
        refused(400, "JSON_PARSER_ERROR", "Cannot deserialize"),
        UP,
        1,
        200,
        Next.SMALLER,
    ),
    ("the bad row alone", refused(400, "JSON_PARSER_ERROR", "Cannot deserialize"), UP, 1, 1, Next.REFUSE),
    ("a field that is not there", refused(400, "INVALID_FIELD", "No such column 'X'"), UP, 1, 200, Next.FAIL),
    ("the same, one row", refused(400, "INVALID_FIELD", "No such column 'X'"), UP, 1, 1, Next.FAIL),
    ("a rule that one row breaks", refused(400, "FIELD_INTEGRITY_EXCEPTION"), UP, 1, 200, Next.SMALLER),
    ("the row that breaks it", refused(400, "FIELD_INTEGRITY_EXCEPTION"), UP, 1, 1, Next.REFUSE),
    ("a token that stays dead", refused(401, "INVALID_SESSION_ID"), UP, 1, 200, Next.STOP),
    ("no API access", refused(403, "API_DISABLED_FOR_ORG"), UP, 1, 200, Next.STOP),
    ("no API access, one row", refused(403, "API_DISABLED_FOR_ORG"), UP, 1, 1, Next.STOP),
    ("the API version is retired", refused(410, "GONE"), UP, 1, 200, Next.STOP),
    ("the resource is not there", refused(404, "NOT_FOUND"), UP, 1, 200, Next.STOP),
    ("the host is not there", refused(420, "HTTP_420"), UP, 1, 200, Next.STOP),
    ("one row's code for a whole call", refused(400, "ENTITY_IS_DELETED"), CHANGE, 1, 200, Next.SMALLER),
    ("the same for deletes", refused(400, "ENTITY_IS_DELETED"), DELETE, 1, 200, Next.SMALLER),
]


@pytest.mark.parametrize(
    ("error", "operation", "attempt", "rows", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_decisions(error: Failure, operation: Operation, attempt: int, rows: int, expected: Next) -> None:
    decision = after_call(error, operation, attempt, rows, jitter=0.5)
    assert decision.next is expected
    assert decision.code
    assert decision.message == (error.message if isinstance(error, SalesforceError) else error.what)


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("rows", [1, 2, 200])
@pytest.mark.parametrize("error", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_no_call_is_sent_for_ever(error: Failure, operation: Operation, rows: int) -> None:
    """Follow the decisions to their end, halving where they say so: the number of requests is bounded."""
    work, sent = [rows], 0
    while work:
        size = work.pop()
        for attempt in range(1, CALL_ATTEMPTS + 2):
            sent += 1
            what = after_call(error, operation, attempt, size, 0.5).next
            if what is Next.SMALLER:
                assert size > 1, "a single row cannot be halved"
                work += [size // 2, size - size // 2]
                break
            if what is not Next.AGAIN:
                break
        else:
            pytest.fail(f"{size} rows were still tried again after {CALL_ATTEMPTS} tries")
    assert sent <= 2 * rows * CALL_ATTEMPTS


def test_pauses_double_up_to_a_bound_and_jitter_is_half_of_them() -> None:
    for attempt in range(1, 12):
        full = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
        assert pause(attempt, 0.0) == full / 2
        assert pause(attempt, 1.0) == full
    assert pause(1, 0.0, retry_after_s=17) == 17
    assert pause(9, 1.0, retry_after_s=1) == LONGEST_PAUSE_S


def test_the_orgs_own_pause_is_kept() -> None:
    error = refused(503, "SERVER_UNAVAILABLE", retry_after_s=42)
    assert after_call(error, UP, 1, 200, 0.0).pause_s == 42


def test_rounds_for_locked_rows_shrink_and_are_bounded() -> None:
    sizes = [size for size, _ in LOCK_STEPS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= MAX_COLLECTION_ROWS
    assert sizes[-1] == 1
    assert sum(-(-rows // size) for size, rows in LOCK_STEPS) <= 250, "API calls that one lock may eat"
