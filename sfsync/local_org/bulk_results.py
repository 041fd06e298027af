"""Result files of a Bulk job, byte for byte as Salesforce writes them.

Owns:      header and rows of successfulResults, failedResults, unprocessedrecords, and the `sf__Error` grammar.
Does not:  decide what became of a row (write), or keep files (bulk_worker).
Invariant: every data cell is quoted and echoes the upload; the header's own names stand as uploaded.

Text is put together in SQL, one value per batch; no row is touched in Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS
from sfsync.local_org.store import literal

SUCCESSFUL, FAILED, UNPROCESSED = "successful", "failed", "unprocessed"
_OWN = {SUCCESSFUL: ('"sf__Id"', '"sf__Created"'), FAILED: ('"sf__Id"', '"sf__Error"'), UNPROCESSED: ()}


def header_line(kind: str, names: Sequence[str], *, delimiter: str, line_ending: str) -> bytes:
    """The first line of a result file; there even when no row follows."""
    own = _OWN[kind]
    return (DELIMITERS[delimiter].join((*own, *names)) + LINE_ENDINGS[line_ending]).encode()


def outcome_texts(
    cursor: duckdb.DuckDBPyConnection,
    result: str,
    raw: str,
    columns: int,
    *,
    delimiter: str,
    line_ending: str,
) -> tuple[bytes, bytes, int]:
    """Lines for the successful file, lines for the failed file, and how many rows failed."""
    comma = DELIMITERS[delimiter]
    echo = _echo("u", range(columns), comma)
    end = _text(LINE_ENDINGS[line_ending])
    between = literal(f'"{comma}"')
    created = "CASE WHEN r.created THEN 'true' ELSE 'false' END"
    error = (
        "r.code || ':' || coalesce(r.message, '') || ':' || coalesce(replace(r.fields, ', ', ','), '') || "
    )
    error += "CASE WHEN coalesce(r.fields, '') = '' THEN '--' ELSE ' --' END"
    id_cell = f"'\"' || coalesce(r.id, '') || {between}"
    line = f"""CASE WHEN r.success THEN {id_cell} || {created} || '"' ELSE {id_cell} || {_inside(error)} || '"' END
               || {literal(comma)} || {echo} || {end}"""
    good, bad, failures = cursor.execute(
        f"""SELECT string_agg(line, '' ORDER BY _row) FILTER (success),
                   string_agg(line, '' ORDER BY _row) FILTER (NOT success), count(*) FILTER (NOT success)
            FROM (SELECT r._row, r.success, {line} AS line FROM {result} r JOIN {raw} u ON u.rowid = r._row)"""
    ).fetchall()[0]
    return (good or "").encode(), (bad or "").encode(), int(failures)


def unprocessed_text(
    cursor: duckdb.DuckDBPyConnection,
    raw: str,
    rows: tuple[int, int],
    cells: Sequence[int],
    *,
    delimiter: str,
    line_ending: str,
) -> bytes:
    """Lines of the raw rows [first, last), as uploaded; cells: which columns of the raw table."""
    line = f"{_echo('u', cells, DELIMITERS[delimiter])} || {_text(LINE_ENDINGS[line_ending])}"
    text = cursor.execute(
        f"SELECT string_agg({line}, '' ORDER BY rowid) FROM {raw} u WHERE rowid >= {rows[0]} AND rowid < {rows[1]}"
    ).fetchall()[0][0]
    return (text or "").encode()


def _inside(sql: str) -> str:
    return f"""replace({sql}, '"', '""')"""


def _text(text: str) -> str:
    return " || ".join(f"chr({ord(c)})" for c in text)


def _echo(alias: str, cells: Sequence[int], comma: str) -> str:
    """SQL of a row's cells, each in quotes. Rows without a quote, nearly all, are joined in one go."""
    texts = [f"coalesce({alias}.c{i}, '')" for i in cells]
    between = literal(f'"{comma}"')
    doubled = f" || {between} || ".join(_inside(text) for text in texts)
    listed = ", ".join(texts)
    return f"""('"' || CASE WHEN contains(concat({listed}), '"') THEN {doubled}
               ELSE concat_ws({between}, {listed}) END || '"')"""
