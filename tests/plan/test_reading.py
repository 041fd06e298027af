"""What is read before it is overwritten: how records are named in a query, how many fit, what it is priced at."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest
from simple_salesforce.format import format_soql

from sfsync.compiler.manifest import Api
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import CompileError
from sfsync.plan import reading
from sfsync.plan.batches import pack_sync
from sfsync.plan.cost import READING, calls_by_kind
from sfsync.records import Batch, Operation
from sfsync.salesforce.limits import MOST_KEYS_A_QUERY
from tests.plan.conftest import RunFile, rule, sync_of

UP, CHANGE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE
HOSTILE = ["C1", "it's", "a\\b", "\\'", "x') OR Id != ('", "line\nbreak", "return\r", 'say "x"', "Zoë 🎈", ""]


def test_texts_are_quoted_as_soql_wants_it(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    for text in HOSTILE:
        db.execute(f'INSERT INTO {run.table(UP)} (_key, "Key__c") VALUES (?, ?)', [text, text])
    head, value = reading.select(run.sync, UP)
    assert head == (
        "SELECT Id, Key__c, LastName, Note__c, AccountId, Account.Account_Id__c FROM Contact WHERE Key__c IN"
    )
    made = [text for (text,) in db.execute(f"SELECT {value} FROM {run.table(UP)} ORDER BY rowid")]
    # A double quote needs no escape between single ones, though it may have one.
    assert made == [format_soql("{}", text).replace('\\"', '"') for text in HOSTILE]


def test_numbers_stand_without_quotes_and_ids_as_they_are(db: DuckDB) -> None:
    numbered = sync_of(identity=(replace(rule("Number__c"), type="double"),))
    assert reading.select(numbered, UP)[1] == '"Number__c"'
    head, value = reading.select(sync_of(), CHANGE)
    assert head.endswith("WHERE Id IN")
    assert db.value(f"SELECT {value} FROM (SELECT '003A' AS \"Id\") AS t") == "'003A'"


def test_masked_fields_are_not_selected() -> None:
    masked = sync_of(fields=(rule("LastName"), rule("Email", pii=True)))
    assert "Email" not in reading.select(masked, CHANGE)[0]
    assert reading.select(masked, CHANGE)[0].startswith("SELECT Id, Key__c, LastName FROM")


def test_long_keys_and_long_lists_of_fields_let_fewer_records_fit(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    run.fill(UP, 3, Key__c="'k' || i")
    assert reading.rows_a_call(run.sync, UP, db) == 5 * MOST_KEYS_A_QUERY
    run.fill(UP, 1, Key__c="repeat('é', 40)")
    longest = len(quote("'" + "é" * 40 + "',"))
    head = reading.select(run.sync, UP)[0]
    each = (14_000 - len(quote(head))) // longest
    assert reading.rows_a_call(run.sync, UP, db) == 5 * each
    wide = sync_of(fields=tuple(rule(f"Field_number_{n}__c") for n in range(500)))
    assert 5 <= reading.rows_a_call(wide, CHANGE, db) < 5 * MOST_KEYS_A_QUERY


def test_more_fields_than_a_query_can_name_are_an_error(db: DuckDB) -> None:
    long = "Field_with_a_name_as_long_as_may_be"
    run = RunFile(db, sync_of(fields=tuple(rule(f"{long}_{n}__c") for n in range(360)), undo_exact=True))
    run.fill(CHANGE, 1)
    with pytest.raises(
        CompileError, match=r"undo: exact, and the query for its 360 fields has 1\d,\d+ characters"
    ) as found:
        pack_sync(run.sync, db, chunk=200, first_call=0)
    assert "several syncs" in (found.value.fix or "")


@pytest.mark.parametrize("api", list(Api))
@pytest.mark.parametrize("rows", [1, 1999, 2000, 2001, 30_000])
def test_each_record_is_read_once(db: DuckDB, api: Api, rows: int) -> None:
    run = RunFile(db, sync_of(undo_exact=True, api=api))
    run.fill(CHANGE, rows, LastName="'a'", Note__c="CASE WHEN i % 2 = 0 THEN '#N/A' END")
    found = pack_sync(run.sync, db, chunk=200, first_call=0)
    (each,) = {batch.reading for batch in found}
    assert sum(batch.reads for batch in found) == calls_by_kind(found)[READING] == -(-rows // each)


def test_nothing_is_read_where_nobody_asked(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    run.fill(CHANGE, 10, LastName="'a'")
    found: tuple[Batch, ...] = pack_sync(run.sync, db, chunk=200, first_call=0)
    assert (calls_by_kind(found), sum(batch.reading for batch in found)) == ({"collections": 1}, 0)
