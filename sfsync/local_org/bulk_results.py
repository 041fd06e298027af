"""Result files of a Bulk job, byte for byte as Salesforce writes them.

Owns:      header and rows of successfulResults, failedResults, unprocessedrecords, and the `sf__Error` grammar.
Does not:  decide what became of a row (write), or keep files (bulk_worker).
Invariant: every data cell is quoted and echoes the upload; the header's own names stand as uploaded.

Lines are put together by the engine; no row is touched in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS
from sfsync.local_org.store import literal

SUCCESSFUL, FAILED, UNPROCESSED = "successful", "failed", "unprocessed"
_ORDERED = 20_000
"""Rows that are sorted before they are written; more come out in order as a rule, and sorting them costs."""

_OWN = {SUCCESSFUL: ('"sf__Id"', '"sf__Created"'), FAILED: ('"sf__Id"', '"sf__Error"'), UNPROCESSED: ()}


def header_line(kind: str, names: Sequence[str], *, delimiter: str, line_ending: str) -> bytes:
    """The first line of a result file; there even when no row follows."""
    own = _OWN[kind]
    return (DELIMITERS[delimiter].join((*own, *names)) + LINE_ENDINGS[line_ending]).encode()


def error_sql(alias: str) -> str:
    """SQL of a refused row's error as result files spell it: ``CODE:message:FIELDS --``."""
    fields = f"coalesce(replace({alias}.fields, ', ', ','), '')"
    return (
        f"{alias}.code || ':' || coalesce({alias}.message, '') || ':' || {fields} || "
        f"CASE WHEN {fields} = '' THEN '--' ELSE ' --' END"
    )


def write_lines(
    cursor: duckdb.DuckDBPyConnection,
    result: str,
    raw: str,
    columns: int,
    paths: tuple[Path, Path],
    *,
    delimiter: str,
    line_ending: str,
) -> int:
    """Write the lines of both files, without headers, and return how many rows failed.

    The files follow the upload where that costs nothing; the platform promises no order.

    Args:
        result: what became of the rows.
        raw: the uploaded cells, c0 and on, by rowid.
        paths: of the successful and of the failed lines. What is there is overwritten; no line, no file.
    """
    total, failures = cursor.execute(
        f"SELECT count(*), count(*) FILTER (NOT success) FROM {result}"
    ).fetchall()[0]
    error = error_sql("r")
    echo = "".join(f", coalesce(u.c{i}, '') AS c{i}" for i in range(columns))
    order = "ORDER BY r._row" if total <= _ORDERED else ""
    options = (
        f"FORMAT csv, HEADER false, DELIMITER {literal(DELIMITERS[delimiter])}, NEW_LINE {literal(LINE_ENDINGS[line_ending])},"
        """ QUOTE '"', ESCAPE '"', FORCE_QUOTE *"""
    )
    for path, wanted, second, rows in (
        (paths[0], "r.success", "CASE WHEN r.created THEN 'true' ELSE 'false' END", total - failures),
        (paths[1], "NOT r.success", error, failures),
    ):
        if rows:
            cursor.execute(
                f"COPY (SELECT coalesce(r.id, '') AS id, {second} AS second{echo} FROM {raw} u"
                f" JOIN {result} r ON u.rowid = r._row WHERE {wanted} {order}) TO {literal(str(path))} ({options})"
            )
    return int(failures)


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
