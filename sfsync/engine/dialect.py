"""The expressions that differ between engines: one frozen Dialect each.

Owns:      quoting, and the primitives out of which compiler/wire builds every projection.
Does not:  decide what a canonical text is (compiler/wire does), or run anything.
Invariant: for the same value, a primitive gives the same answer on every engine; a new engine is one more Dialect.

Every argument `x` is an SQL expression that may be repeated in the result, so callers hand in columns or short calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

BLANKS = "\t\n\x0b\x0c\r "
"""What trimming takes off: TAB LF VT FF CR SPACE. U+00A0 and other Unicode blanks stay."""

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def quote_ident(name: str) -> str:
    """A name in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A text constant in standard SQL; NUL cannot stand in SQL text."""
    if "\x00" in text:
        raise ValueError("a text constant cannot hold NUL (U+0000)")
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's spelling. Functions take and return SQL text."""

    name: str
    sqlglot: str  # what sqlglot calls it
    ident: Callable[[str], str]
    literal: Callable[[str], str]
    row_id: str  # a stored table's hidden column that tells its rows apart within one statement's view of it
    text: Callable[[str], str]  # any text-like value -> plain text, compared by code point
    cast_text: Callable[[str], str]  # a number or boolean -> its own text
    timestamp: Callable[
        [str, str], str
    ]  # (x, its engine type): date, timestamp, ISO text -> zone-less microseconds
    timestamptz: Callable[[str], str]  # ISO text with an offset -> instant
    trim: Callable[[str], str]
    contains: Callable[[str, str], str]  # (text, text constant)
    matches: Callable[[str, str], str]  # (x, pattern): ASCII classes written out, anchored, no backslash
    finite: Callable[[str], str]  # a double that is a number
    finite_decimal: Callable[[str], str] | None  # a decimal that is a number; None: they all are
    decimal: Callable[
        [str, int], str
    ]  # (number text, scale) -> decimal half away from zero; NULL or huge if too large
    round_decimal: Callable[[str, int], str]  # (decimal, scale) -> the same
    date_text: Callable[[str], str]  # YYYY-MM-DD
    second_text: Callable[[str], str]  # a zone-less UTC timestamp -> YYYY-MM-DDTHH:MM:SS.000Z, cut
    time_text: Callable[[str], str]  # HH:MM:SS.mmmZ, cut
    instant_utc: Callable[[str], str]  # instant -> zone-less UTC
    local_utc: Callable[
        [str, str], str
    ]  # (zone-less, zone literal): gap = offset before, overlap = later instant
    instant_date: Callable[[str, str], str]  # (instant, zone literal) -> date there
    fold: Callable[[str], str]  # ASCII letters to lower case, nothing else
    split_sorted: Callable[[str], str]  # 'b; a;;b' -> 'a;b': trimmed, distinct, by code point
    array_text: Callable[[str], str]  # array of text -> joined by ';', NULL elements left out
    all_among: Callable[[str, Sequence[str]], str]  # (';'-joined text, literals): every part is one of them
    has_nul: Callable[[str], str] | None  # None: the engine's text cannot hold NUL
    row_hash: Callable[[Sequence[str], str], str]  # (columns, seed) -> 64 bits, NULL-safe
    refuses_hash: Callable[[str], bool]  # does the row hash refuse, or wrongly equate, this column type?


def _trim_set(x: str) -> str:
    return f"TRIM(BOTH {quote_literal(BLANKS)} FROM {x})"


# --- DuckDB ---------------------------------------------------------------------------------------------------------


def _duckdb_trim(x: str) -> str:
    # Most texts have nothing to trim; looking at both ends first is 2 to 4 times faster.
    return f"CASE WHEN ASCII({x}) <= 32 OR ASCII(({x})[-1]) <= 32 THEN {_trim_set(x)} ELSE {x} END"


def _duckdb_decimal(x: str, scale: int) -> str:
    # 18 digits are an integer inside DuckDB, and Salesforce has no more; wider casts of text are 20 times slower.
    return f"TRY_CAST({x} AS DECIMAL({18 if scale < 18 else 38}, {scale}))"


def _duckdb_timestamp(x: str, kind: str) -> str:
    if kind.upper() == "TIMESTAMP_NS":
        # The cast rounds; this is the floor, before 1970 too.
        rest = f"((EPOCH_NS({x}) % 1000) + 1000) % 1000"
        return f"MAKE_TIMESTAMP((EPOCH_NS({x}) - {rest}) // 1000)"
    return f"TRY_CAST({x} AS TIMESTAMP)"


def _duckdb_fold(x: str) -> str:
    lower = _UPPER.lower()
    return (
        f"CASE WHEN STRLEN({x}) = LENGTH({x}) THEN LOWER({x}) ELSE TRANSLATE({x}, '{_UPPER}', '{lower}') END"
    )


def _duckdb_split_sorted(x: str) -> str:
    # Trimming every part is most of the cost, and most lists have nothing to trim: three ways to the same text.
    # Each way is fed NULL where it is not meant, since list functions inside a CASE cost four times as much.
    edges = f"REGEXP_MATCHES({x}, '(^|;)[\t-\r ]|[\t-\r ](;|$)')"
    ragged = f"STRING_SPLIT(CASE WHEN {edges} THEN {x} END, ';')"
    neat = f"STRING_SPLIT(CASE WHEN CONTAINS({x}, ';') AND NOT {edges} THEN {x} END, ';')"
    trimmed = f"[{_trim_set('v')} FOR v IN {ragged}]"
    single = f"CASE WHEN NOT CONTAINS({x}, ';') AND NOT {edges} THEN {x} END"
    return f"NULLIF(COALESCE({_duckdb_set_text(neat)}, {_duckdb_set_text(trimmed)}, {single}), '')"


def _duckdb_set_text(parts: str) -> str:
    kept = f"LIST_DISTINCT(LIST_FILTER({parts}, lambda v: v <> ''))"
    return f"ARRAY_TO_STRING(LIST_SORT({kept}), ';')"


def _duckdb_local_utc(x: str, zone: str) -> str:
    return x if zone == "'UTC'" else f"(({x} AT TIME ZONE {zone}) AT TIME ZONE 'UTC')"


def _duckdb_all_among(x: str, values: Sequence[str]) -> str:
    return f"LIST_HAS_ALL([{', '.join(values)}], STRING_SPLIT({x}, ';'))"


def _duckdb_hash(columns: Sequence[str], seed: str) -> str:
    return f"HASH({', '.join([quote_literal(seed), *columns])})"


DUCKDB = Dialect(
    name="duckdb",
    sqlglot="duckdb",
    ident=quote_ident,
    literal=quote_literal,
    row_id="rowid",
    # An explicit collation takes the place of the column's own, under which texts might be equal that are not the same.
    text=lambda x: f"CAST({x} AS VARCHAR) COLLATE C",
    cast_text=lambda x: f"CAST({x} AS VARCHAR)",
    timestamp=_duckdb_timestamp,
    timestamptz=lambda x: f"TRY_CAST({x} AS TIMESTAMPTZ)",
    trim=_duckdb_trim,
    contains=lambda x, part: f"CONTAINS({x}, {part})",
    matches=lambda x, pattern: f"REGEXP_MATCHES({x}, {quote_literal(pattern)})",
    finite=lambda x: f"ISFINITE({x})",
    finite_decimal=None,
    decimal=_duckdb_decimal,
    round_decimal=_duckdb_decimal,
    date_text=lambda x: f"STRFTIME({x}, '%Y-%m-%d')",
    second_text=lambda x: f"STRFTIME({x}, '%Y-%m-%dT%H:%M:%S.000Z')",
    time_text=lambda x: f"STRFTIME(DATE '2000-01-01' + {x}, '%H:%M:%S.%gZ')",
    instant_utc=lambda x: f"({x} AT TIME ZONE 'UTC')",
    local_utc=_duckdb_local_utc,
    instant_date=lambda x, zone: f"CAST({x} AT TIME ZONE {zone} AS DATE)",
    fold=_duckdb_fold,
    split_sorted=_duckdb_split_sorted,
    array_text=lambda x: f"ARRAY_TO_STRING({x}, ';')",
    all_among=_duckdb_all_among,
    has_nul=lambda x: f"CONTAINS({x}, CHR(0))",
    row_hash=_duckdb_hash,
    refuses_hash=lambda kind: False,
)


# --- PostgreSQL (14 and later) ----------------------------------------------------------------------------------------


def _postgres_text(x: str) -> str:
    # COLLATE "C": by code point whatever the database's locale; the cast takes citext and bpchar out of the way.
    return f'(CAST({x} AS TEXT) COLLATE "C")'


def _postgres_decimal(x: str, scale: int) -> str:
    return f"ROUND(CAST({x} AS NUMERIC), {scale})"


def _postgres_split_sorted(x: str) -> str:
    parts = (
        f"SELECT DISTINCT {_trim_set('u')} COLLATE \"C\" AS v FROM UNNEST(STRING_TO_ARRAY({x}, ';')) AS s(u)"
    )
    return f"(SELECT STRING_AGG(v, ';' ORDER BY v COLLATE \"C\") FROM ({parts}) AS d WHERE v <> '')"


def _postgres_local_utc(x: str, zone: str) -> str:
    return x if zone == "'UTC'" else f"(({x} AT TIME ZONE {zone}) AT TIME ZONE 'UTC')"


def _postgres_all_among(x: str, values: Sequence[str]) -> str:
    return f"(STRING_TO_ARRAY({x}, ';') <@ CAST(ARRAY[{', '.join(values)}] AS TEXT[]))"


_NOT_NUMBERS = "('NaN', 'Infinity', '-Infinity')"


def _postgres_hash(columns: Sequence[str], seed: str) -> str:
    # The seed of PostgreSQL's record hash is a bigint; HASHTEXTEXTENDED turns ours into one, once per statement.
    seed_number = f"HASHTEXTEXTENDED({quote_literal(seed)}, 0)"
    return f"HASH_RECORD_EXTENDED(ROW({', '.join(columns)}), {seed_number})"


_POSTGRES_HASHABLE = frozenset(
    {
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "real",
        "double precision",
        "uuid",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
        "text[]",
        "character varying[]",
    }
)


def _postgres_refuses_hash(kind: str) -> bool:
    # json, xml, money, bit refuse to be hashed, and citext 'A' hashes as 'a', as does text of some collations: all
    # but these types go as text by code point, which costs text nothing.
    return kind.split("(")[0].strip() not in _POSTGRES_HASHABLE


POSTGRES = Dialect(
    name="postgres",
    sqlglot="postgres",
    ident=quote_ident,
    literal=quote_literal,
    row_id="ctid",
    text=_postgres_text,
    cast_text=_postgres_text,
    timestamp=lambda x, kind: f"CAST({x} AS TIMESTAMP)",
    timestamptz=lambda x: f"CAST({x} AS TIMESTAMPTZ)",
    trim=_trim_set,
    contains=lambda x, part: f"(POSITION({part} IN {x}) > 0)",
    matches=lambda x, pattern: f"({x} ~ {quote_literal(pattern)})",
    finite=lambda x: f"({x} NOT IN {_NOT_NUMBERS})",
    finite_decimal=lambda x: f"(CAST({x} AS TEXT) NOT IN {_NOT_NUMBERS})",
    decimal=_postgres_decimal,
    round_decimal=lambda x, scale: f"ROUND({x}, {scale})",
    date_text=lambda x: f"TO_CHAR({x}, 'YYYY-MM-DD')",
    second_text=lambda x: f'TO_CHAR({x}, \'YYYY-MM-DD"T"HH24:MI:SS".000Z"\')',
    time_text=lambda x: f"TO_CHAR(DATE '2000-01-01' + {x}, 'HH24:MI:SS.MS\"Z\"')",
    instant_utc=lambda x: f"({x} AT TIME ZONE 'UTC')",
    local_utc=_postgres_local_utc,
    instant_date=lambda x, zone: f"CAST({x} AT TIME ZONE {zone} AS DATE)",
    fold=lambda x: f'LOWER({x} COLLATE "C")',
    split_sorted=_postgres_split_sorted,
    array_text=lambda x: f"ARRAY_TO_STRING(CAST({x} AS TEXT[]), ';')",
    all_among=_postgres_all_among,
    has_nul=None,
    row_hash=_postgres_hash,
    refuses_hash=_postgres_refuses_hash,
)
