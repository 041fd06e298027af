"""Asks the org for the records that have given keys, in the fewest API calls.

Owns:      the ways to ask (by key, page by page, by one Bulk query), their price, and the table of what was found.
Does not:  decide what a found record means (match), or write the state.
Invariant: memory does not grow with the org: answers go to a table or a file as they come, and only wanted keys are kept.
Source:    REST API Developer Guide, "Composite": at most five queries a call; SOQL and SOSL Reference: a statement in a
           URL may be 16,384 bytes in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sfsync.compiler import org_texts
from sfsync.engine import text_csv
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import OrgError
from sfsync.ports import Clock, Events
from sfsync.records import FieldRule, Operation
from sfsync.salesforce import bulk_query
from sfsync.salesforce.bulk import JobState
from sfsync.salesforce.door import Door
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.limits import MAX_COMPOSITE_QUERIES, MOST_KEYS_A_QUERY
from sfsync.salesforce.query import PAGE, count, pages, several
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_codes import classify_call

KIND = "match"
"""What these calls are called in the account, unless the question says otherwise."""

_URL = 12_000  # of one statement's keys, percent-encoded; the longest key more still fits
FEW_CALLS = 2
"""Calls up to which nobody asks whether another way is cheaper: to ask is a call itself."""

POLLS = 2
ATTEMPTS = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST_WAIT_S = 1800.0
_PASSING = (Action.IN_DOUBT, Action.RETRY_NOW, Action.RETRY_SMALLER, Action.LIMIT_CONCURRENT, Action.NEXT_RUN)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Org:
    """What asking needs: the way to the org, the run's database, and a folder for files that soon go."""

    door: Door
    db: DuckDB
    clock: Clock
    events: Events
    spool: Path


@dataclass(frozen=True, slots=True)
class Question:
    """Which records of one object are wanted, and what of them.

    keys: a relation with `_key`, as `wire.key_text` makes it of `identity`; each key once, none NULL.
    """

    object: str
    identity: tuple[FieldRule, ...]
    keys: str
    fields: tuple[FieldRule, ...] = ()  # what is read beside the identity
    where: str = ""  # SOQL, for example ``IsActive = true``
    name: str = ""  # for messages: the sync
    deleted: bool = False  # records in the recycle bin, too
    kind: str = KIND  # what the calls are called in the account

    @property
    def rules(self) -> tuple[FieldRule, ...]:
        return self.identity + tuple(rule for rule in self.fields if rule not in self.identity)

    @property
    def select(self) -> str:
        return f"SELECT {', '.join(org_texts.names_of(self.rules))} FROM {self.object}"


_Found = Iterator[tuple[str, org_texts.Cells]]
"""Relations of answers, each with the way to their cells."""


def find(org: Org, question: Question, into: str) -> int:
    """Leave a table with `_key, _record_id` and a text per rule of every record that has one of the keys; how many.

    A text is '' where the org has null, and NULL where it cannot be known. Two records of one key are two rows.

    Raises:
        ApiLimitError: the budget does not allow the calls.
        OrgError: the org refused a query, or did not answer.
    """
    db = org.db
    projected = org_texts.projected_rules(question.identity, question.rules, "answers", org_texts.json_cell)
    db.execute(f"CREATE TABLE {into} AS WITH answers AS (SELECT NULL::JSON AS r LIMIT 0) {projected}")
    # Keys are folded in ASCII; to the org, other capitals are alike, too.
    alike = not any(rule.case_sensitive for rule in question.identity)
    key, wanted = (
        ("lower(_key)", "_key, lower(_key) AS _alike") if alike else ("_key", "_key, _key AS _alike")
    )
    for relation, cell in _cheapest(org, question):
        texts = org_texts.projected_rules(question.identity, question.rules, relation, cell)
        db.execute(
            f"INSERT INTO {into} SELECT w._key, f.* EXCLUDE (_key, _alike) FROM (SELECT *, {key} AS _alike FROM ({texts}) AS t)"
            f" AS f JOIN (SELECT {wanted} FROM {question.keys} AS k) AS w ON w._alike = f._alike"
        )
    return int(db.value(f"SELECT count(*) FROM {into}"))


def _cheapest(org: Org, question: Question) -> _Found:
    """The answers of the way that takes the fewest calls."""
    rows = int(org.db.value(f"SELECT count(*) FROM {question.keys} AS k"))
    total, least = None, 0
    if -(-rows // (MOST_KEYS_A_QUERY * MAX_COMPOSITE_QUERIES)) > FEW_CALLS:
        total = _records(org, question)
        least = min(_page_calls(total), _bulk_calls(total))
    if total != 0 and (total is None or least * MOST_KEYS_A_QUERY * MAX_COMPOSITE_QUERIES > rows):
        statements = _by_key(org, question)
        calls = -(-len(statements) // MAX_COMPOSITE_QUERIES)
        if calls > FEW_CALLS and total is None:
            total = _records(org, question)
            least = min(_page_calls(total), _bulk_calls(total))
        if total != 0 and (total is None or calls <= least):
            yield from _statements(org, question, statements)
            return
    if total:
        way = _pages if _page_calls(total) <= _bulk_calls(total) else _bulk
        yield from way(org, question, total)


def _records(org: Org, question: Question) -> int:
    """How many records there are to be read, if all are."""
    statement = f"SELECT count() FROM {question.object}{_where(question)}"
    return _patiently(
        org, question, lambda: count(org.door, statement, question.kind, deleted=question.deleted)
    )


def _page_calls(total: int) -> int:
    return -(-total // PAGE)


def _bulk_calls(total: int) -> int:
    return 1 + POLLS + -(-total // bulk_query.PAGE_RECORDS)


def _by_key(org: Org, question: Question) -> list[str]:
    """Queries that name the keys, each as long as a URL may be. They may find more records than are wanted."""
    several_fields = len(question.identity) > 1
    values = []
    for number, rule in enumerate(question.identity):
        text = f"json_extract_string(_key, '$[{number}]')" if several_fields else "_key"
        values.append(org_texts.soql_value(rule, text))
    size = " + ".join(f"length(url_encode({value})) + 3" for value in values)
    named = ", ".join(f"{value} AS v{n}" for n, value in enumerate(values))
    sized = f"SELECT {named}, greatest({size}, {_URL // MOST_KEYS_A_QUERY}) AS size, _key FROM {question.keys} AS k"
    lists = ", ".join(f"string_agg(DISTINCT v{n}, ',' ORDER BY v{n})" for n in range(len(values)))
    found = org.db.execute(
        f"SELECT {lists} FROM (SELECT *, sum(size) OVER (ORDER BY _key ROWS UNBOUNDED PRECEDING) // {_URL} AS part"
        f" FROM ({sized}) AS s) AS p GROUP BY part ORDER BY part"
    )
    paths = [org_texts.path_of(rule) for rule in question.identity]
    more = f" AND {question.where}" if question.where else ""
    return [
        f"{question.select} WHERE "
        + " AND ".join(f"{path} IN ({listed})" for path, listed in zip(paths, row, strict=True))
        + more
        for row in found
    ]


def _statements(org: Org, question: Question, statements: list[str]) -> _Found:
    for first in range(0, len(statements), MAX_COMPOSITE_QUERIES):
        some = statements[first : first + MAX_COMPOSITE_QUERIES]
        ask = partial(several, org.door, some, question.kind, deleted=question.deleted)
        yield from _answers(org, _patiently(org, question, ask))


def _pages(org: Org, question: Question, total: int) -> _Found:
    done = 0
    for page in pages(org.door, _whole(question), question.kind, deleted=question.deleted):
        yield from _answers(org, page)
        done += len(page)
        org.events.progress(f"{question.name}: match", done, total)


def _answers(org: Org, records: list[dict[str, object]]) -> _Found:
    """A page at a time, and no record is looked at here."""
    if records:
        org.db.execute(
            "CREATE OR REPLACE TEMP TABLE sfsync_asked AS SELECT unnest(from_json(?, '[\"JSON\"]')) AS r",
            [json.dumps(records)],
        )
        yield "sfsync_asked", org_texts.json_cell


def _bulk(org: Org, question: Question, total: int) -> _Found:
    door, statement, deleted = org.door, _whole(question), question.deleted
    job = _patiently(org, question, lambda: bulk_query.create(door, statement, deleted=deleted))
    deadline, pause = org.clock.monotonic() + _MOST_WAIT_S, _FIRST_PAUSE_S
    while not job.state.final:
        if org.clock.monotonic() > deadline:
            bulk_query.abort(door, job.id)
            raise OrgError(
                f"the org worked on query {job.id} for {_MOST_WAIT_S / 60:.0f} minutes without an end",
                fix="try again later",
            )
        org.clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
        job = _patiently(org, question, lambda: bulk_query.info(door, job.id))  # noqa: B023 - called at once
    if job.state is not JobState.JOB_COMPLETE:
        said = f": {job.error}" if job.error else ""
        raise OrgError(
            f"the org did not finish query {job.id} ({job.state}){said}", fix="try again; it read nothing"
        )
    locator: str | None = None
    path = org.spool / f"{job.id}.csv"
    while True:
        begin = locator
        locator = _patiently(org, question, lambda: bulk_query.page(door, job.id, begin, path))  # noqa: B023
        yield text_csv.relation(path), org_texts.csv_cell
        path.unlink(missing_ok=True)
        if locator is None:
            return


def _whole(question: Question) -> str:
    """The query of all records that could have one of the keys."""
    return f"{question.select}{_where(question)}"


def _where(question: Question) -> str:
    parts = [f"{org_texts.path_of(rule)} != null" for rule in question.identity if rule.type != "id"]
    parts += [question.where] if question.where else []
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def _patiently(org: Org, question: Question, ask: Callable[[], _T]) -> _T:
    """Ask again where the failure may pass: reading twice changes nothing."""
    pause = _FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except (NoAnswerError, SalesforceError) as error:
            if attempt == ATTEMPTS or classify_call(error, Operation.UPDATE).action not in _PASSING:
                raise
            org.events.log("warning", f"{question.name}: the org is asked again: {error.what}")
        org.clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    raise AssertionError("unreachable")
