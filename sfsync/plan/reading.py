"""How records are asked for before they are overwritten (`undo: exact`): by which query, how many by one API call.

Owns:      the query's head, how a row is named in it, and the rows of one call; a call carries five queries.
Does not:  ask (push/before).
Source:    REST API Developer Guide, "Composite": at most five queries a call; SOQL and SOSL Reference: a statement in a URL may be
           16,384 bytes in all.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from sfsync.compiler import org_texts
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import CompileError, Where
from sfsync.records import Operation
from sfsync.salesforce.limits import MAX_COMPOSITE_QUERIES, MOST_KEYS_A_QUERY

_URL = 14_000


def readable(sync: CompiledSync) -> CompiledSync:
    """The sync without its masked fields: of these nothing is kept, so nothing is read."""
    return replace(sync, fields=tuple(rule for rule in sync.fields if not rule.pii))


def by_key(operation: Operation) -> bool:
    """Whether records are found by their external id: what may be new has no Id yet."""
    return operation is Operation.UPSERT


def select(sync: CompiledSync, operation: Operation) -> tuple[str, str]:
    """(the query up to its list of values, SQL of the value that names a row of the operation's table in it)."""
    rule = sync.identity[0]
    name, value = "Id", org_texts.soql_value(org_texts.RECORD_ID, '"Id"')
    if by_key(operation):
        name, value = org_texts.path_of(rule), org_texts.soql_value(rule, ident(rule.field))
    return f"SELECT {', '.join(org_texts.names(readable(sync)))} FROM {sync.object} WHERE {name} IN", value


def rows_a_call(sync: CompiledSync, operation: Operation, db: DuckDB) -> int:
    """How many records one call reads: as many as the longest of their names lets fit into its URLs.

    Raises:
        CompileError: not even one fits.
    """
    if not by_key(operation):
        longest = 18 + len(quote("'',"))
    else:
        _, value = select(sync, operation)
        table = run_table(operation.value, sync.name)
        longest = int(db.value(f"SELECT max(length(url_encode({value}))) FROM {table}") or 1) + len(
            quote(",")
        )
    room = _URL - len(quote(select(sync, operation)[0]))
    if room < longest:
        raise CompileError(
            f"sync '{sync.name}' says undo: exact, and the query for its {len(sync.fields):,} fields has"
            f" {_URL - room:,} characters; with the identity of a record {_URL:,} are allowed",
            where=Where(sync.path),
            fix="spread the fields over several syncs, or leave `undo: exact` out",
        )
    return MAX_COMPOSITE_QUERIES * min(MOST_KEYS_A_QUERY, room // longest)
