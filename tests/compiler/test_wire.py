"""The wire projection against its golden table, on every engine at hand, from constants and from stored tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from sfsync.compiler import wire
from sfsync.connections import PostgresSettings
from sfsync.engine.dialect import DUCKDB, POSTGRES, Dialect, quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.postgres import Connection
from sfsync.errors import CompileError
from sfsync.records import Column, FieldRule, Send, SourceType
from tests.compiler.golden_wire import GROUPS, Group, Reject
from tests.support.postgres import postgres_url  # noqa: F401

Rows = Callable[[str], list[tuple[Any, ...]]]

FAMILIES = {
    "text": SourceType.TEXT,
    "int": SourceType.INTEGER,
    "dec": SourceType.DECIMAL,
    "bigdec": SourceType.DECIMAL,
    "smalldec": SourceType.DECIMAL,
    "hugedec": SourceType.DECIMAL,
    "double": SourceType.DOUBLE,
    "real": SourceType.REAL,
    "bool": SourceType.BOOLEAN,
    "date": SourceType.DATE,
    "ts": SourceType.TIMESTAMP,
    "tstz": SourceType.TIMESTAMPTZ,
    "time": SourceType.TIME,
    "array": SourceType.ARRAY,
}
SQL_TYPES = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "dec": "DECIMAL(18,4)",
    "bigdec": "DECIMAL(38,2)",
    "smalldec": "DECIMAL(18,8)",
    "hugedec": "DECIMAL(38,0)",
    "double": "DOUBLE PRECISION",
    "real": "REAL",
    "bool": "BOOLEAN",
    "date": "DATE",
    "ts": "TIMESTAMP",
    "tstz": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
    "array": "VARCHAR[]",
}


def rule_of(group: Group, column: str = "c") -> FieldRule:
    made = Column(column, SQL_TYPES[group.source], FAMILIES[group.source])
    return FieldRule("F__c", "F", made, group.type, Send.VALUE, Send.VALUE_OR_NULL, **group.rule)


def constant(value: Any, kind: str) -> str:
    if value is None:
        body = "NULL"
    elif isinstance(value, tuple):
        body = "ARRAY[" + ", ".join("NULL" if v is None else quote_literal(v) for v in value) + "]"
    else:
        body = quote_literal(str(value))
    return f"CAST({body} AS {SQL_TYPES[kind]})"


def expected(group: Group) -> list[tuple[str | None, str | None]]:
    return [(None, e.code) if isinstance(e, Reject) else (e, None) for _, e in group.cases]


def from_constants(rows: Rows, group: Group, dialect: Dialect) -> list[tuple[str | None, str | None]]:
    out = []
    for value, _ in group.cases:
        made = wire.project(
            rule_of(group), dialect, timezone=group.timezone, source=constant(value, group.source)
        )
        out.append(rows(f"SELECT {made.text}, CAST({made.code or 'NULL'} AS VARCHAR)")[0])
    return out


def from_table(
    rows: Rows, run: Callable[[str], object], group: Group, dialect: Dialect, column: str = "c"
) -> list[tuple[str | None, str | None]]:
    name = dialect.ident(column)
    run("DROP TABLE IF EXISTS golden")
    run(f"CREATE TEMP TABLE golden (n INTEGER, {name} {SQL_TYPES[group.source]})")
    values = ", ".join(f"({n}, {constant(value, group.source)})" for n, (value, _) in enumerate(group.cases))
    run(f"INSERT INTO golden VALUES {values}")
    made = wire.steps(rule_of(group, column), dialect, timezone=group.timezone, below="_base")
    return rows(
        f"SELECT {made.unless_refused('_code')}, _code FROM"
        f" (SELECT *, CAST({made.code or 'NULL'} AS VARCHAR) AS _code FROM"
        f" (SELECT *, {made.base or 'NULL'} AS _base FROM golden) AS a) AS b ORDER BY n"
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path_factory.mktemp("spill"))
    db.execute("SET TimeZone = 'America/New_York'")  # nothing may lean on the session
    yield db
    db.close()


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[Connection]:  # noqa: F811
    where = urlsplit(postgres_url)
    connection = Connection(
        PostgresSettings(
            type="postgres", host=where.hostname, port=where.port, dbname="postgres", user="postgres"
        )
    )
    for setting in (
        "TimeZone TO 'America/New_York'",
        "DateStyle TO 'SQL, DMY'",
        "IntervalStyle TO 'postgres_verbose'",
    ):
        connection.run(f"SET {setting}")
    yield connection
    connection.close()


@pytest.fixture
def server_rows(server: Connection, local: DuckDB) -> Rows:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        with server.stream(sql) as stream:
            return local.read(stream)

    return rows


IDS = [f"{number}-{g.type}-{g.source}-{g.timezone}" for number, g in enumerate(GROUPS)]
each_group = pytest.mark.parametrize("group", GROUPS, ids=IDS)


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert sum(len(group.cases) for group in GROUPS) >= 300


@each_group
def test_duckdb_from_a_stored_table(local: DuckDB, group: Group) -> None:
    assert from_table(local.execute, local.execute, group, DUCKDB) == expected(group)


@each_group
def test_duckdb_from_constants(local: DuckDB, group: Group) -> None:
    assert from_constants(local.execute, group, DUCKDB) == expected(group)


@each_group
def test_postgres_from_a_stored_table(server: Connection, server_rows: Rows, group: Group) -> None:
    assert from_table(server_rows, server.run, group, POSTGRES) == expected(group)


@each_group
def test_postgres_from_constants(server_rows: Rows, group: Group) -> None:
    assert from_constants(server_rows, group, POSTGRES) == expected(group)


@each_group
def test_a_canonical_text_projects_to_itself(local: DuckDB, group: Group) -> None:
    """What the org acknowledged is text; the same text as a model's column must not be a difference."""
    texts = sorted({e for _, e in group.cases if isinstance(e, str)})
    again = Group(group.type, "text", tuple((text, text) for text in texts), group.rule, group.timezone)
    if texts:
        assert from_table(local.execute, local.execute, again, DUCKDB) == expected(again)


@pytest.mark.parametrize("column", ["u", "v", "s", "d", 'Größe "x"', "select"])
def test_a_column_may_have_any_name(
    local: DuckDB, server: Connection, server_rows: Rows, column: str
) -> None:
    group = next(g for g in GROUPS if g.type == "multipicklist" and g.source == "text")
    assert from_table(local.execute, local.execute, group, DUCKDB, column) == expected(group)
    assert from_table(server_rows, server.run, group, POSTGRES, column) == expected(group)


def test_nul_is_refused_where_an_engine_can_hold_it(local: DuckDB) -> None:
    rule = rule_of(Group("string", "text", ()))
    made = wire.project(rule, DUCKDB, timezone="UTC", source="('a' || CHR(0) || 'b')")
    assert local.execute(f"SELECT {made.text}, {made.code}") == [(None, "INVALID_TYPE_ON_FIELD_IN_RECORD")]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("TIMESTAMP_NS", "2026-01-31 10:00:00.999999999", "2026-01-31T10:00:00.000Z"),
        ("TIMESTAMP_NS", "1969-12-31 23:59:59.999999999", "1969-12-31T23:59:59.000Z"),
        ("TIMESTAMP_MS", "1969-12-31 23:59:59.999", "1969-12-31T23:59:59.000Z"),
        ("TIMESTAMP_S", "2026-01-31 10:00:00", "2026-01-31T10:00:00.000Z"),
    ],
)
def test_duckdb_timestamps_of_other_precision_are_cut(
    local: DuckDB, kind: str, value: str, text: str
) -> None:
    rule = FieldRule("F", "F", Column("c", kind, SourceType.TIMESTAMP), "datetime", Send.VALUE, Send.VALUE)
    made = wire.project(rule, DUCKDB, timezone="UTC", source=f"CAST('{value}' AS {kind})")
    assert local.value(f"SELECT {made.text}") == text


@pytest.mark.parametrize(
    ("type_", "family"),
    [("string", t) for t in (SourceType.DOUBLE, SourceType.TIMESTAMPTZ, SourceType.TIME, SourceType.OTHER)]
    + [
        ("date", SourceType.INTEGER),
        ("int", SourceType.DATE),
        ("id", SourceType.INTEGER),
        ("base64", SourceType.TEXT),
    ],
)
def test_pairs_without_one_text_everywhere_are_refused(type_: str, family: SourceType) -> None:
    rule = FieldRule("F", "F", Column("c", "X", family), type_, Send.VALUE, Send.VALUE)
    assert not wire.accepts(type_, family)
    with pytest.raises(CompileError):
        wire.project(rule, DUCKDB, timezone="UTC")


KEYS = [  # type, case_sensitive, text, key
    ("string", False, "ABC@X.COM", "abc@x.com"),
    ("string", True, "ABC", "ABC"),
    ("string", False, "ÉCOLE", "École"),
    ("string", False, "İI", "İi"),
    ("string", False, "ΑΣ", "ΑΣ"),
    ("string", False, "Straße", "straße"),
    ("string", False, "", None),
    ("id", False, "001D000000IqhSLIAZ", "001D000000IqhSLIAZ"),
]


@pytest.mark.parametrize(("type_", "sensitive", "text", "key"), KEYS)
def test_key_is_folded_in_ascii_alone(
    local: DuckDB, server_rows: Rows, type_: str, sensitive: bool, text: str, key: str | None
) -> None:
    rule = FieldRule(
        "K",
        "K",
        Column("c", "VARCHAR", SourceType.TEXT),
        type_,
        Send.VALUE,
        Send.VALUE,
        case_sensitive=sensitive,
    )
    for rows, dialect in ((local.execute, DUCKDB), (server_rows, POSTGRES)):
        made = wire.key_text((rule,), (dialect.text(quote_literal(text)),), dialect)
        assert rows(f"SELECT {made}") == [(key,)]


def test_key_of_several_fields_is_the_same_json_everywhere(local: DuckDB, server_rows: Rows) -> None:
    rule = rule_of(Group("string", "text", ()))
    parts = ['a"b\\c', "é/\n\t\x01", "x"]
    want = '["a\\"b\\\\c","é/\\n\\t\\u0001","x"]'
    for rows, dialect in ((local.execute, DUCKDB), (server_rows, POSTGRES)):
        texts = [dialect.text(quote_literal(part)) for part in parts]
        assert rows(f"SELECT {wire.key_text((rule,) * 3, texts, dialect)}") == [(want,)]
        texts[1] = "''"
        assert rows(f"SELECT {wire.key_text((rule,) * 3, texts, dialect)}") == [(None,)]


PAIRS = [  # (type, row 1, row 2): the hash must tell them apart
    ("VARCHAR", ("a", None), (None, "a")),
    ("VARCHAR", ("", None), (None, None)),
    ("VARCHAR", ("A", "x"), ("a", "x")),
    ("VARCHAR", ("ab", "c"), ("a", "bc")),
    ("BIGINT", ("1", None), (None, "1")),
    ("BIGINT", ("0", "1"), (None, "1")),
    ("DECIMAL(18,2)", ("1.00", "2"), ("1.01", "2")),
    ("TIMESTAMP", ("2026-01-01 00:00:00", None), ("2026-01-01 00:00:01", None)),
]


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_source_hash_sees_every_change(
    local: DuckDB, server_rows: Rows, kind: str, one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    shown = {DUCKDB.name: kind, POSTGRES.name: {"VARCHAR": "text", "BIGINT": "bigint"}.get(kind, "numeric")}
    for rows, dialect in ((local.execute, DUCKDB), (server_rows, POSTGRES)):
        columns = [Column(name, shown[dialect.name], SourceType.TEXT) for name in ("a", "b")]
        if kind == "TIMESTAMP" and dialect is POSTGRES:
            columns = [
                Column(name, "timestamp without time zone", SourceType.TIMESTAMP) for name in ("a", "b")
            ]
        made = wire.source_hash(columns, dialect, "seed")
        hashes = []
        for row in (one, other, one):
            cells = ", ".join(
                f"CAST({'NULL' if v is None else quote_literal(v)} AS {kind}) AS {n}"
                for n, v in zip("ab", row, strict=True)
            )
            hashes.append(rows(f"SELECT {made} FROM (SELECT {cells}) AS t")[0][0])
        assert hashes[0] == hashes[2]
        assert hashes[0] != hashes[1]
        assert (
            rows(f"SELECT {wire.source_hash(columns, dialect, 'other')} FROM (SELECT {cells}) AS t")[0][0]
            != hashes[0]
        )


REFUSED = [
    "'[1]'::json",
    "NULL::xml",
    "'1'::money",
    "B'1'",
    "point(1,2)",
    "ARRAY['[1]'::json]",
    "'1 day'::interval",
]


@pytest.mark.parametrize("value", REFUSED)
def test_types_that_postgres_refuses_to_hash_go_as_text(server_rows: Rows, value: str) -> None:
    kind = server_rows(f"SELECT CAST(pg_typeof({value}) AS text)")[0][0]
    made = wire.source_hash([Column("c", kind, SourceType.OTHER)], POSTGRES, "s")
    assert isinstance(server_rows(f"SELECT {made} FROM (SELECT {value} AS c) AS t")[0][0], int)


def test_no_row_of_many_is_refused_or_lost(local: DuckDB) -> None:
    """Every vector of a long column, not only its first."""
    columns = {
        "s": ("string", "'  name ' || i"),
        "n": ("double", "CAST(i / 7.0 AS DECIMAL(18,6))"),
        "f": ("double", "CAST(i / 7.0 AS DOUBLE)"),
        "b": ("boolean", "i % 2 = 0"),
        "d": ("date", "DATE '2020-01-01' + CAST(i % 1000 AS INTEGER)"),
        "t": ("datetime", "TIMESTAMP '2020-01-01' + TO_SECONDS(i)"),
        "m": ("multipicklist", "'b;a;' || (i % 5)"),
        "e": ("email", "'u' || i || '@example.com'"),
    }
    kinds = {
        "s": "text",
        "n": "dec",
        "f": "double",
        "b": "bool",
        "d": "date",
        "t": "ts",
        "m": "text",
        "e": "text",
    }
    select = ", ".join(f"{expression} AS {name}" for name, (_, expression) in columns.items())
    local.execute(f"CREATE OR REPLACE TEMP TABLE many AS SELECT {select} FROM range(100000) AS r(i)")
    texts = []
    for name, (type_, _) in columns.items():
        group = Group(
            type_, kinds[name], (), {"scale": 2} if type_ == "double" else {"length": 80}, "America/New_York"
        )
        made = wire.project(rule_of(group, name), DUCKDB, timezone=group.timezone)
        texts += [f"COUNT({made.text})", f"COUNT({made.code or 'NULL'})"]
    counts = local.execute(f"SELECT {', '.join(texts)} FROM many")[0]
    assert counts == (100_000, 0) * len(columns)
