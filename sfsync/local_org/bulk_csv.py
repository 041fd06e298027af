"""The CSV of one Bulk job: watched while it arrives, then read into a table in one statement.

Owns:      the checks of section "Prepare CSV Files" (line endings, UTF-8, quotes, header), the job's raw table.
Does not:  know jobs' states (bulk_jobs), save rows (write), or write result files (bulk_results).
Invariant: the raw table holds every data row of the file in its order, cell by cell as uploaded (NULL = empty cell);
           a file that cannot be read so gives an error and no rows.
"""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

import duckdb

from sfsync.local_org.store import literal

DELIMITERS = {"COMMA": ",", "BACKQUOTE": "`", "CARET": "^", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
NULL = b"#N/A"
MAX_UPLOAD = 150_000_000  # bytes of CSV per job; Limits Quick Reference, "Bulk API 2.0"
MAX_HEADER = 32_000  # characters of the header row; the same table
MAX_FIELDS = 5_000  # columns; the same table
_MAX_RECORD = 4_000_000  # bytes of one record: 400,000 characters of UTF-8, quotes doubled


class CsvError(Exception):
    """The file as a whole cannot be processed; the text is the job's errorMessage."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of a file while it arrived."""

    bytes: int = 0
    line_feeds: int = 0
    carriage_returns: int = 0  # that stand before a line feed
    quotes: int = 0
    nulls: bool = False  # is `#N/A` anywhere, as a cell or in one
    utf8: bool = True


class Watch:
    """Looks at the blocks of an upload as they pass, so that the file is never read again for these checks."""

    def __init__(self) -> None:
        self._bytes = self._line_feeds = self._pairs = self._quotes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._utf8 = True
        self._nulls = False
        self._last = b""

    def block(self, block: bytes) -> None:
        """Take in the next block of the file."""
        if not block:
            return
        self._bytes += len(block)
        self._line_feeds += block.count(b"\n")
        self._pairs += block.count(b"\r\n") + (self._last.endswith(b"\r") and block.startswith(b"\n"))
        self._quotes += block.count(b'"')
        self._nulls = self._nulls or NULL in self._last + block[: len(NULL)] or NULL in block
        self._last = (self._last + block[1 - len(NULL) :])[1 - len(NULL) :]
        self._decode(block, final=False)

    def facts(self) -> Facts:
        """The whole file's facts; call once, at its end."""
        self._decode(b"", final=True)
        return Facts(self._bytes, self._line_feeds, self._pairs, self._quotes, self._nulls, self._utf8)

    def _decode(self, block: bytes, *, final: bool) -> None:
        if self._utf8:
            try:
                self._decoder.decode(block, final)
            except UnicodeDecodeError:
                self._utf8 = False


def read_header(path: Path, facts: Facts, *, delimiter: str, line_ending: str) -> tuple[str, ...]:
    """Check the file as a whole and return its column names as uploaded.

    Raises:
        CsvError: wrong line ending, not UTF-8, an open quote, no header, a blank or repeated name.
    """
    if not facts.utf8:
        raise CsvError("ClientInputError : the data is not UTF-8")
    wrong = facts.carriage_returns > 0 if line_ending == "LF" else _has_bare_line_feed(path, facts)
    if wrong:
        raise CsvError(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {line_ending}"
        )
    if facts.quotes % 2:
        raise CsvError("InvalidBatch : a quoted value is not closed")
    with path.open(encoding="utf-8", newline="") as lines:
        first = lines.readline(MAX_HEADER + 2)
    if len(first.rstrip("\r\n")) > MAX_HEADER:
        raise CsvError(f"InvalidBatch : the header row is longer than {MAX_HEADER} characters")
    names = tuple(next(csv.reader([first.rstrip("\r\n")], delimiter=DELIMITERS[delimiter]), ()))
    if not any(names):
        raise CsvError("InvalidBatch : the data has no header row")
    if len(names) > MAX_FIELDS:
        raise CsvError(f"InvalidBatch : {len(names)} columns; the limit is {MAX_FIELDS}")
    seen: set[str] = set()
    for name in names:
        if not name:
            raise CsvError("InvalidBatch : Field name not found : a column has no name")
        if name.lower() in seen:
            raise CsvError(f"InvalidBatch : Duplicate field in the header row : {name}")
        seen.add(name.lower())
    return names


def _has_bare_line_feed(path: Path, facts: Facts) -> bool:
    """Does a record of a CRLF file end in LF alone? LF inside quotes is left to the cell."""
    if facts.line_feeds == facts.carriage_returns:
        return False
    outside = True
    before = b""
    with path.open("rb") as blocks:
        while block := blocks.read(1 << 20):
            pieces = (before + block).split(b'"')
            for number, piece in enumerate(pieces):
                if number:
                    outside = not outside
                if outside and piece.count(b"\n") != piece.count(b"\r\n"):
                    return True
            before = b"\r" if block.endswith(b"\r") else b""
    return False


def load(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    table: str,
    columns: int,
    *,
    delimiter: str,
    quotes: bool = True,
) -> int:
    """Read the file into `table` (columns c0, c1, ...; rowid is the data row's number from 0) and count its rows.

    Nothing is sniffed: every option that decides how a byte is read is given. Line endings were checked before.

    Args:
        quotes: is there any in the file? Without, a line break ends a row wherever it is, and all cores may read.

    Raises:
        CsvError: a row has another number of cells than the header, or its quotes are wrong.
    """
    spec = "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(columns)) + "}"
    blank = " WHERE c0 IS NOT NULL" if columns == 1 else ""  # an empty line is no row
    try:
        cursor.execute(
            f"""CREATE TABLE {table} AS SELECT * FROM read_csv({literal(str(path))}, auto_detect=false, header=true,
                  columns={spec}, delim={literal(DELIMITERS[delimiter])}, quote='"', escape='"', nullstr='',
                  strict_mode=true, null_padding=false, parallel={str(not quotes).lower()}, max_line_size={_MAX_RECORD}){blank}"""
        )
    except duckdb.Error as error:
        raise CsvError(f"InvalidBatch : {_in_short(str(error))}") from None
    return int(cursor.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def _in_short(message: str) -> str:
    """The engine's line number and reason, without its advice and without the row's data."""
    at = message.partition("CSV Error on Line: ")[2].split("\n", 1)[0].strip()
    reason = next(
        (
            line
            for line in message.splitlines()
            if line.startswith(("Expected Number", "Value with", "Maximum line"))
        ),
        "the data is not RFC 4180 CSV",
    )
    return f"line {at}: {reason}" if at else reason
