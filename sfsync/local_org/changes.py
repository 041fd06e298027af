"""Which records of an object changed in a stretch of time: sObject Get Updated and Get Deleted.

Owns:      the parameters start and end, the two answers.
Does not:  keep anything: the records' own stamps and the recycle bin tell.
Invariant: a record is in the one list or in the other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sfsync.contract import SObject
from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.rows import sobject_of
from sfsync.local_org.store import instant, table

MAX_IDS = 600_000  # REST guide, "sObject Get Updated"
KEPT = timedelta(days=30)  # how far back start may lie; the same page


def updated(ask: Ask) -> Answer:
    """GET /sobjects/X/updated?start=&end="""
    sobject, start, end = _asked(ask)
    where = (
        f"IsDeleted = 'false' AND SystemModstamp >= '{instant(start)}' AND SystemModstamp < '{instant(end)}'"
    )
    with ask.org.store.reading() as cursor:
        rows = cursor.execute(
            f"SELECT Id FROM {table(sobject.name)} WHERE {where} ORDER BY SystemModstamp, Id LIMIT {MAX_IDS + 1}"
        ).fetchall()
    _check_size(len(rows))
    return Answer(200, {"ids": [row[0] for row in rows], "latestDateCovered": _covered(ask, end)})


def deleted(ask: Ask) -> Answer:
    """GET /sobjects/X/deleted?start=&end="""
    sobject, start, end = _asked(ask)
    where = (
        f"IsDeleted = 'true' AND SystemModstamp >= '{instant(start)}' AND SystemModstamp < '{instant(end)}'"
    )
    with ask.org.store.reading() as cursor:
        rows = cursor.execute(
            f"SELECT Id, SystemModstamp FROM {table(sobject.name)} WHERE {where}"
            f" ORDER BY SystemModstamp, Id LIMIT {MAX_IDS + 1}"
        ).fetchall()
    _check_size(len(rows))
    listed = [{"deletedDate": _shown(str(moment)), "id": record} for record, moment in rows]
    earliest = instant(datetime.fromtimestamp(ask.org.now(), UTC) - KEPT)
    body = {
        "deletedRecords": listed,
        "earliestDateAvailable": _shown(earliest),
        "latestDateCovered": _covered(ask, end),
    }
    return Answer(200, body)


def _asked(ask: Ask) -> tuple[SObject, datetime, datetime]:
    """The object and the stretch, to the minute: seconds do not count.

    Raises:
        ApiError: a parameter is missing or no datetime, or the stretch is none.
    """
    sobject = sobject_of(ask, ask.parts[0])
    start, end = (_moment(ask, name) for name in ("start", "end"))
    if end <= start:
        text = "endDate must be chronologically after the startDate value, by a minute at least"
        raise ApiError(400, "INVALID_REPLICATION_DATE", text)
    if datetime.fromtimestamp(ask.org.now(), UTC) - start > KEPT + timedelta(minutes=1):
        raise ApiError(400, "INVALID_REPLICATION_DATE", f"startDate is more than {KEPT.days} days ago")
    return sobject, start, end


def _moment(ask: Ask, name: str) -> datetime:
    text = ask.query.get(name, "")
    if not text:
        raise ApiError(400, "MISSING_ARGUMENT", f"{name} not specified")
    try:
        found = datetime.fromisoformat(
            text.replace(" ", "+")
        )  # a plus that was not escaped arrives as a blank
    except ValueError:
        raise ApiError(400, "INVALID_FIELD", f"{name}: invalid date: {text}") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).replace(second=0, microsecond=0)


def _check_size(count: int) -> None:
    if count > MAX_IDS:
        text = f"more than {MAX_IDS} records changed: ask for a shorter time"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", text)


def _covered(ask: Ask, end: datetime) -> str:
    """The end of what the answer knows: a time to come is not known yet."""
    now = datetime.fromtimestamp(ask.org.now(), UTC).replace(second=0, microsecond=0)
    return _shown(instant(min(end, now)))


def _shown(text: str) -> str:
    return text.removesuffix("Z") + "+0000"


RESOURCES: tuple[tuple[str, dict[str, Handler]], ...] = (
    (r"sobjects/([^/]+)/updated", {"GET": updated}),
    (r"sobjects/([^/]+)/deleted", {"GET": deleted}),
)
