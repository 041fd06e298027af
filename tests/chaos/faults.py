"""Random rules of misbehaviour: every kind that the local org knows, at random places."""

from __future__ import annotations

from random import Random
from typing import Any

PLACES = (
    "POST /composite",
    "/composite",
    "PATCH /composite",
    "DELETE /composite",
    "POST /jobs/ingest",
    "PUT /jobs/ingest",
    "PATCH /jobs/ingest",
    "GET /jobs/ingest",
    "/jobs/ingest",
    "successfulResults",
    "failedResults",
    "/query",
    "",
)
ROWS = ("Account", "Contact", "Subscription__c")
HTML = "<html><body>Bad gateway</body></html>"
STATUSES: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (503, HTML, {}),
    (500, '[{"errorCode":"UNKNOWN_EXCEPTION","message":"An unexpected error"}]', {}),
    (502, HTML, {}),
    (429, "", {"Retry-After": 30}),
    (503, '[{"errorCode":"SERVER_UNAVAILABLE","message":"too busy"}]', {"Retry-After": 5}),
    (403, '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]', {}),
    (403, '[{"errorCode":"INSUFFICIENT_ACCESS","message":"no"}]', {}),
    (500, "", {}),
)
REFUSALS = (
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "DUPLICATES_DETECTED",
    "UNABLE_TO_LOCK_ROW",
    "UNKNOWN_EXCEPTION",
)
EDITS = ("items_fewer", "result_missing", "result_doubled", "no_status")
BODIES = ("{}", "[]", "null", HTML, '{"compositeResponse": null}')


def draw(rng: Random, kind: str) -> dict[str, Any]:
    """One rule of a kind."""
    rule: dict[str, Any] = {"fault": kind}
    match kind:
        case "lost_before_commit" | "lost_after_commit":
            rule |= _request(rng)
        case "expired_token":
            rule |= {"after": rng.randint(0, 8), "times": rng.randint(1, 2)}
        case "status":
            status, body, headers = rng.choice(STATUSES)
            rule |= _request(rng) | {"status": status, "body": body, "headers": headers}
        case "slow":
            rule |= _request(rng) | {"seconds": 0.1, "before_work": rng.random() < 0.5}
        case "cut_answer":
            rule |= _request(rng) | {"share": rng.choice([0.1, 0.5, 0.9]), "looks_whole": rng.random() < 0.5}
        case "garbled":
            rule |= _request(rng)
            rule |= {"edit": rng.choice(EDITS)} if rng.random() < 0.6 else {"body": rng.choice(BODIES)}
        case "maintenance":
            rule |= {"after": rng.randint(0, 6), "times": rng.randint(1, 4), "html": rng.random() < 0.5}
        case "sign_in_refused":
            rule |= {"error": rng.choice(["invalid_grant", "inactive_user"])}
        case "others_spend":
            rule |= {"calls": rng.choice([5, 3_000]), "after": rng.randint(0, 6)}
        case "rights_lost":
            rule |= {"object": rng.choice(ROWS), "after": rng.randint(0, 4), "match": "/composite"}
            rule |= {"rights": [rng.choice(["create", "update", "delete"])]}
        case "locked_rows":
            rule |= _object(rng) | {"share": rng.choice([0.1, 0.5, 1.0]), "times": rng.randint(1, 4)}
        case "apex_limit":
            code = rng.choice(["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LIMIT_EXCEEDED"])
            rule |= _object(rng) | {"share": 0.1, "code": code, "passes_alone": rng.random() < 0.5}
        case "refused_rows":
            rule |= _object(rng) | {"share": rng.choice([0.1, 0.5]), "code": rng.choice(REFUSALS)}
        case _:
            rule |= _job(rng, kind)
    return rule


def _job(rng: Random, kind: str) -> dict[str, Any]:
    rule = _object(rng) | {"times": rng.choice([1, "always"])}
    match kind:
        case "job_stuck":
            rule |= {"share": rng.choice([0.0, 0.5]), "polls": rng.choice([3, 20, 40])}
        case "job_failed" | "job_aborted" | "results_doubled" | "results_missing":
            rule |= {"share": rng.choice([0.1, 0.5, 1.0] if kind != "job_aborted" else [0.0, 0.5])}
        case "results_expired":
            rule |= {"job_too": rng.random() < 0.3}
        case "counts_wrong":
            rule |= {rng.choice(["processed", "failed"]): rng.choice([-3, 2])}
    return rule


def _request(rng: Random) -> dict[str, Any]:
    times = rng.choice([1, 1, 1, 2, 5])
    return {"match": rng.choice(PLACES), "after": rng.choice([0, 0, 1, 3]), "times": times}


def _object(rng: Random) -> dict[str, Any]:
    return {"object": rng.choice(ROWS)}
