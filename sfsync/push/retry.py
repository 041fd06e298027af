"""The only place that decides what is tried again, how, and after which pause.

Owns:      the policy over status_codes' actions: again, smaller, later, never; pauses with jitter.
Does not:  send or wait itself.
Invariant: a row is tried a bounded number of times in one run; an insert that may have been done is never repeated
           (upserts by external id, updates by Id and deletes by Id may be: they end in the same org).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfsync.records import Operation, Outcome
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_codes import classify_call

LOCK_STEPS = ((200, 20_000), (50, 2_000), (10, 200), (1, 50))
"""(rows per request, rows tried at most) of each round, one request at a time, when rows or their parents are locked.
The caps keep a locked parent of thousands of children from eating the day's API calls; the rest is tried next run."""

MOST_ISOLATING_CALLS = 60
"""API calls that finding the bad rows of one planned call, or of one job, may take: one bad row takes 8, each further
one in another request up to 8 more. What is not found by then fails, and is tried again by the next run."""

CALL_ATTEMPTS = 4
"""Times one request is sent when whole calls fail."""

ABOUT_THE_REQUEST = frozenset(
    {"INVALID_FIELD", "INVALID_TYPE", "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_EXTERNAL_ID_FIELD_NAME"}
)
"""Codes of a whole call that every row would get: the org's objects are not as they were described."""

MAX_HALVINGS = 60
"""Splits of one planned call; one bad row among 1,000 is found with 10. More would eat the day's API calls."""

THE_ROWS_OWN = frozenset({"JSON_PARSER_ERROR", "EXCEEDED_MAX_SIZE_REQUEST", "HTTP_413"})
"""Codes of a whole call that are about one row's values once it travels alone: trying again cannot help."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Next(StrEnum):
    """What becomes of a call that failed whole."""

    AGAIN = "again"  # the same rows, after the pause
    SMALLER = "smaller"  # the same rows in two halves; a single row is refused
    DEFER = "defer"  # no API calls left: this and everything after it waits for another run
    FAIL = "fail"  # these rows failed; the run goes on
    REFUSE = "refuse"  # these rows are refused for good
    STOP = "stop"  # nothing more can be sent in this run


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a failed call."""

    next: Next
    pause_s: float
    action: Action
    code: str
    message: str


def pause(attempt: int, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds before try number `attempt` + 1: doubling, half of it random, never less than the org asked for."""
    base = min(FIRST_PAUSE_S * 2.0 ** (attempt - 1), LONGEST_PAUSE_S)
    return max(base * (0.5 + jitter / 2), retry_after_s or 0.0)


def after_call(
    error: NoAnswerError | SalesforceError, operation: Operation, attempt: int, rows: int, jitter: float
) -> Decision:
    """Decide about a call that failed whole after `attempt` tries with `rows` rows in it."""
    status = classify_call(error, operation.verb)
    retry_after = error.retry_after_s if isinstance(error, SalesforceError) else None
    wait = pause(attempt, jitter, retry_after)
    code = error.code or "NO_ANSWER"
    message = error.message if isinstance(error, SalesforceError) else error.what

    def decision(what: Next) -> Decision:
        return Decision(what, wait, status.action, code, message)

    if operation is Operation.CREATE and error.in_doubt:
        # A second record would be made. The next run asks the org what became of these.
        return Decision(Next.FAIL, wait, Action.IN_DOUBT, code, message)

    match status.action:
        case Action.LIMIT_DAILY:
            return decision(Next.DEFER)
        case Action.NEW_TOKEN:
            return decision(Next.STOP)
        case Action.RETRY_SMALLER | Action.ISOLATE | Action.LIMIT_CONCURRENT:
            if rows > 1:
                return decision(Next.SMALLER)
            if code in THE_ROWS_OWN:
                return decision(Next.REFUSE)
            return decision(Next.AGAIN if attempt < CALL_ATTEMPTS else Next.FAIL)
        case Action.FIX | Action.NEXT_RUN if code in ABOUT_THE_REQUEST:
            return decision(Next.FAIL)
        case Action.FIX:
            if isinstance(error, SalesforceError) and error.status in (401, 403, 404, 405, 410, 420):
                return decision(Next.STOP)
            return decision(Next.SMALLER if rows > 1 else Next.REFUSE)
        case _:
            return decision(Next.AGAIN if attempt < CALL_ATTEMPTS else Next.FAIL)


def outcome_of(decision: Decision) -> Outcome:
    """What rows end as when nothing more is tried with them in this run."""
    if decision.next is Next.REFUSE:
        return Outcome.REJECTED
    return Outcome.IN_DOUBT if decision.action is Action.IN_DOUBT else Outcome.FAILED


ROW_ACTIONS = (Action.RETRY_NOW, Action.RETRY_SMALLER, Action.LIMIT_CONCURRENT)
"""Actions of single rows that are tried again in the same run, by serial Collections in LOCK_STEPS."""

NOT_THE_ROW = (
    *(
        "NO_ANSWER",
        "NOT_SENT",
        "HTTP_429",
        "HTTP_500",
        "HTTP_502",
        "HTTP_503",
        "HTTP_504",
        "SERVER_UNAVAILABLE",
    ),
    *("UNPROCESSED", "TOO_MANY_APEX_REQUESTS", "STORAGE_LIMIT_EXCEEDED", "REQUEST_LIMIT_EXCEEDED"),
    "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
)
"""Codes of an org that is away, full or busy: no row is worn out by them, however often it meets them."""
