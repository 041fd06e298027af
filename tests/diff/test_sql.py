"""The SQL of the diff, run on DuckDB and PostgreSQL: the same rows from both, and what each policy sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from sfsync.compiler.manifest import CompiledSync
from sfsync.connections import PostgresSettings
from sfsync.diff import sql
from sfsync.engine.dialect import DUCKDB, POSTGRES, Dialect, quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.postgres import Connection
from sfsync.records import Column, FieldRule, Send, SourceType
from tests.plan.conftest import sync_of
from tests.support.postgres import postgres_url  # noqa: F401

Rows = list[tuple[Any, ...]]
VALUE, NULL, NEVER = Send.VALUE, Send.VALUE_OR_NULL, Send.NEVER


class Engine:
    """Runs SQL on one of the two engines; results always come by way of DuckDB."""

    def __init__(self, dialect: Dialect, run: Callable[[str], Any], rows: Callable[[str], Rows]) -> None:
        self.dialect, self.run, self.rows = dialect, run, rows

    def table(self, name: str, columns: dict[str, str], lines: list[tuple[Any, ...]]) -> None:
        shape = ", ".join(f"{quote_ident(column)} {kind}" for column, kind in columns.items())
        self.run(f"DROP TABLE IF EXISTS {name}")
        self.run(f"CREATE TEMP TABLE {name} ({shape})")
        for line in lines:
            cells = ", ".join(cell(value) for value in line)
            self.run(f"INSERT INTO {name} VALUES ({cells})")


def cell(value: Any) -> str:
    return "NULL" if value is None else quote_literal(str(value))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path_factory.mktemp("spill"))
    yield db
    db.close()


@pytest.fixture(scope="module")
def duckdb(local: DuckDB) -> Engine:
    return Engine(DUCKDB, local.execute, local.execute)


@pytest.fixture(scope="module")
def postgres(local: DuckDB, postgres_url: str) -> Iterator[Engine]:  # noqa: F811
    where = urlsplit(postgres_url)
    settings = PostgresSettings(
        type="postgres",
        host=where.hostname or "",
        port=where.port or 5432,
        dbname="postgres",
        user="postgres",
    )
    connection = Connection(settings)

    def rows(text: str) -> Rows:
        with connection.stream(text) as stream:
            return local.read(stream)

    yield Engine(POSTGRES, connection.run, rows)
    connection.close()


ENGINES = [pytest.param("duckdb"), pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def rule(name: str, **more: Any) -> FieldRule:
    values: dict[str, Any] = {"on_create": VALUE, "on_update": NULL, "type": "string", **more}
    column = values.pop("column", Column(name.lower(), "VARCHAR", SourceType.TEXT))
    kind = values.pop("type")
    return FieldRule(name, name, column, kind, values.pop("on_create"), values.pop("on_update"), **values)


# ------------------------------------------------------------ the projection

PROJECTED = sync_of(
    identity=(rule("Key__c", case_sensitive=False, length=10),),
    fields=(
        rule("Name", length=5, pii=True),
        rule("Born", column=Column("born", "DATE", SourceType.DATE), type="date"),
        rule(
            "Worth",
            column=Column("worth", "DECIMAL(18,4)", SourceType.DECIMAL),
            type="currency",
            precision=6,
            scale=2,
        ),
        rule("Flag", column=Column("flag", "BOOLEAN", SourceType.BOOLEAN), type="boolean"),
        rule("Kinds", type="multipicklist", picklist=("A", "B")),
        rule("Seen", column=Column("seen", "TIMESTAMP", SourceType.TIMESTAMP), type="datetime"),
    ),
    timezone="Europe/Berlin",
)
SHAPE = {
    "key__c": "VARCHAR",
    "name": "VARCHAR",
    "born": "DATE",
    "worth": "DECIMAL(18,4)",
    "flag": "BOOLEAN",
    "kinds": "VARCHAR",
    "seen": "TIMESTAMP",
}
LINES: list[tuple[Any, ...]] = [
    (" C1 ", "Ito", "1980-01-31", "1.005", True, "B;A;B", "2026-03-29 03:00:00"),
    ("c1", "Müller", None, None, None, None, None),
    ("ÄB", "  ", "1700-01-01", "-0.0049", False, "", "1969-12-31 23:59:59.9999"),
    (None, "x", None, "9999.994", None, "A", "2026-10-25 02:30:00"),
    ("  ", "x", None, "9999.995", None, "C", None),
    ("k" * 11, "#N/A", None, "0", None, None, None),
    ("C2", "é" * 6, "9999-12-31", "100000", True, "A;C", None),
    ("C3", "a\r\nb", None, None, None, " A ; B ", None),
]
EXPECTED = {  # key, Name, Worth, Kinds, Seen, the first code, the refused value, its characters
    " C1 ": ("c1", "Ito", "1.01", "A;B", "2026-03-29T01:00:00.000Z", None, None, None),
    "c1": ("c1", None, "", "", "", "STRING_TOO_LONG", "Müller", 6),
    "ÄB": ("Äb", "", "0", "", "1969-12-31T22:59:59.000Z", None, None, None),
    "C3": ("c3", "a\nb", "", "A;B", "", None, None, None),
}


def projected(engine: Engine) -> dict[Any, tuple[Any, ...]]:
    engine.table("m", SHAPE, LINES)
    names = [quote_ident(r.field + mark) for r in PROJECTED.rules for mark in ("", "!")]
    columns = ", ".join(["_key", *names, "_value", "_size"])
    inner = sql.projection(PROJECTED, "m", engine.dialect)
    # The model's own key is not part of a projection: rows are told apart by all that is.
    return {row: row for row in engine.rows(f"SELECT {columns} FROM ({inner}) AS p")}


@pytest.mark.postgres
def test_both_engines_project_alike(duckdb: Engine, postgres: Engine) -> None:
    assert set(projected(duckdb)) == set(projected(postgres))
    assert len(projected(duckdb)) == len(LINES)


@pytest.mark.parametrize("number", [n for n, line in enumerate(LINES) if line[0] in EXPECTED])
def test_projected_rows(engine: Engine, number: int) -> None:
    engine.table("m", SHAPE, [LINES[number]])
    inner = sql.projection(PROJECTED, "m", engine.dialect)
    codes = ", ".join(quote_ident(r.field + "!") for r in PROJECTED.rules)
    columns = f'_key, "Name", "Worth", "Kinds", "Seen", coalesce({codes}), _value, _size'
    [found] = engine.rows(f"SELECT {columns} FROM ({inner}) AS p")
    assert found == EXPECTED[LINES[number][0]]


def test_every_value_moves_the_hash(engine: Engine) -> None:
    engine.table("m", SHAPE, LINES)
    inner = sql.projection(PROJECTED, "m", engine.dialect)
    hashes = engine.rows(f"SELECT CAST(_source_hash AS VARCHAR) FROM ({inner}) AS p")
    assert len(set(hashes)) == len(LINES)
    other = sql.projection(replace(PROJECTED, fingerprint="f1"), "m", engine.dialect)
    moved = engine.rows(f"SELECT CAST(_source_hash AS VARCHAR) FROM ({other}) AS p")
    assert not set(hashes) & set(moved), "a changed mapping makes every row a candidate"


def test_rows_have_their_place_by_columns_of_the_model(engine: Engine) -> None:
    engine.table("m", SHAPE, LINES)
    name, seen = Column("name", "VARCHAR", SourceType.TEXT), Column("seen", "TIMESTAMP", SourceType.TIMESTAMP)
    ordered = replace(PROJECTED, order_by=(name, seen))
    inner = sql.projection(ordered, "m", engine.dialect)
    found = engine.rows(f'SELECT "Name", "Name!", _rank FROM ({inner}) AS p ORDER BY _rank')
    # By code point, as the model has it; of equal names those that were never seen go last.
    texts = ["", "#N/A", "Ito", None, "a\nb", "x", "x", None]
    assert [(text, rank) for text, _, rank in found] == list(zip(texts, range(1, 9), strict=True))
    plain = sql.projection(PROJECTED, "m", engine.dialect)
    hashes = [
        engine.rows(f"SELECT CAST(_source_hash AS VARCHAR) AS h FROM ({s}) AS p ORDER BY 1")
        for s in (inner, plain)
    ]
    assert hashes[0] == hashes[1], "the order decides no text"


# ------------------------------------------------------------ what is sent


def judging(**more: Any) -> CompiledSync:
    field = rule("F", **more)
    return sync_of(identity=(rule("Key__c"),), fields=(field, rule("G")))


CASES: list[tuple[str, dict[str, Any], str | None, Any, str, str | None, str | None]] = [
    # id, keys of rule F, new text of F, what the snapshot has ('-': key unknown, '+': tombstone), op, sent F, code
    ("unknown", {}, "a", "-", "upsert", "a", None),
    ("unknown, null is left out", {}, "", "-", "upsert", None, None),
    ("unknown, null is sent where asked", {"on_create": NULL}, "", "-", "upsert", "", None),
    ("unknown, absent", {}, None, "-", "upsert", None, None),
    ("unknown, never on create", {"on_create": NEVER}, "a", "-", "upsert", None, None),
    ("unknown, required", {"required": True}, "", "-", "upsert", None, "REQUIRED_FIELD_MISSING"),
    (
        "unknown, required and never on create",
        {"required": True, "on_create": NEVER},
        "",
        "-",
        "upsert",
        None,
        None,
    ),
    ("gone", {}, "a", "+", "upsert", "a", None),
    ("equal", {}, "a", "a", "none", None, None),
    ("differs", {}, "b", "a", "update", "b", None),
    ("capitals differ", {}, "A", "a", "update", "A", None),
    ("a blank more", {}, "a b", "a  b", "update", "a b", None),
    ("cleared", {}, "", "a", "update", "", None),
    ("cleared before", {}, "", "", "none", None, None),
    ("filled", {}, "a", "", "update", "a", None),
    ("never sent before", {}, "a", None, "update", "a", None),
    ("null, never sent before", {}, "", None, "update", "", None),
    ("absent is no difference", {}, None, "a", "none", None, None),
    ("nulls kept", {"on_update": VALUE}, "", "a", "none", None, None),
    ("nulls kept, value differs", {"on_update": VALUE}, "b", "a", "update", "b", None),
    ("never on update", {"on_update": NEVER}, "b", "a", "none", None, None),
    ("not nillable", {"nillable": False}, "", "a", "update", "", "REQUIRED_FIELD_MISSING"),
    ("not nillable, nulls kept", {"nillable": False, "on_update": VALUE}, "", "a", "none", None, None),
    ("#N/A is a text", {}, "#N/A", "", "update", "#N/A", None),
]


def matched(engine: Engine) -> str:
    """The projected rows of `p`, each with the row of `s` that step one found for it."""
    row = engine.dialect.row_id
    return f"SELECT p.*, s.{row} AS _known_row FROM p LEFT JOIN s ON s._key = p._key"


def known(engine: Engine) -> str:
    return sql.known_rows("s", f"({matched(engine)}) AS w", engine.dialect)


def judge(
    engine: Engine, sync: CompiledSync, new: str | None, old: Any, *, have: bool = True
) -> tuple[Any, ...]:
    names = ["Key__c", "Key__c!", "F", "F!", "G", "G!"]
    shape = {"_key": "VARCHAR", "_source_hash": "BIGINT", "_value": "VARCHAR", "_size": "INTEGER"}
    engine.table(
        "p",
        shape | dict.fromkeys(names, "VARCHAR"),
        [("k1", 7, None, None, "K1", None, new, None, "g", None)],
    )
    meta = {
        "_key": "VARCHAR",
        "_id": "VARCHAR",
        "_origin": "VARCHAR",
        "_gone_at": "TIMESTAMP",
        "_source_hash": "BIGINT",
    }
    columns = meta | dict.fromkeys(["Key__c", "F", "G"] if have else ["Key__c", "G"], "VARCHAR")
    line: tuple[Any, ...] = ("k1", "003", "created", None, 8, "K1", *([old] if have else []), "g")
    if old == "+":
        line = ("k1", "003", "adopted", "2026-01-01", None, None, None, None)
    engine.table("s", columns, [] if old == "-" else [line])
    fields = frozenset({"Key__c", "F", "G"} if have else {"Key__c", "G"})
    text = sql.judged(sync, matched(engine), known(engine), fields)
    [row] = engine.rows(f'SELECT _op, "F", _code, "G", "F=", _record_id FROM ({text}) AS j')
    return row


@pytest.mark.parametrize(
    ("keys", "new", "old", "op", "sent", "code"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_judged(
    engine: Engine,
    keys: dict[str, Any],
    new: str | None,
    old: Any,
    op: str,
    sent: str | None,
    code: str | None,
) -> None:
    found = judge(engine, judging(**keys), new, old)
    assert found[:3] == (op, sent, code)
    assert found[3] == ("g" if op == "upsert" else None), "an equal field is never part of an update"
    assert found[4] == new
    assert found[5] == (None if old == "-" else "003")


def test_without_a_snapshot_everything_is_new(engine: Engine) -> None:
    judge(engine, judging(), "a", "-")
    text = sql.judged(judging(), "SELECT * FROM p", None, frozenset())
    assert engine.rows(f'SELECT _op, "Key__c", "F", "G", _code FROM ({text}) AS j') == [
        ("upsert", "K1", "a", "g", None)
    ]


def test_the_shape_of_judged_rows_is_told_as_it_is(duckdb: Engine) -> None:
    """What a diff without candidates makes is the table that the statement would have made."""
    duckdb.table("m", SHAPE, [])
    first = sql.projection(PROJECTED, "m", duckdb.dialect)
    duckdb.run("CREATE OR REPLACE TABLE made AS " + sql.judged(PROJECTED, first, None, frozenset()))
    duckdb.run(f"CREATE OR REPLACE TABLE told ({sql.judged_shape(PROJECTED)})")
    assert duckdb.rows("DESCRIBE told") == duckdb.rows("DESCRIBE made")
    duckdb.run("DROP TABLE made; DROP TABLE told")


def test_a_field_the_snapshot_has_no_column_for_is_absent(engine: Engine) -> None:
    assert judge(engine, judging(), "a", None, have=False)[:2] == ("update", "a")
    assert judge(engine, judging(), None, None, have=False)[:2] == ("none", None)


ALL = [
    ("one differs", "b", "a", "update", "b", "g"),
    ("none differs", "a", "a", "none", None, None),
    ("a null that is kept is no difference", None, "a", "none", None, None),
    ("cleared", "", "a", "update", "", "g"),
    ("new key", "a", "-", "upsert", "a", "g"),
]


@pytest.mark.parametrize(("new", "old", "op", "sent", "other"), [c[1:] for c in ALL], ids=[c[0] for c in ALL])
def test_send_all(
    engine: Engine, new: str | None, old: Any, op: str, sent: str | None, other: str | None
) -> None:
    found = judge(engine, replace(judging(), send_all=True), new, old)
    assert found[0] == op
    if op != "none":
        assert (found[1], found[3]) == (sent, other)


TOGETHER = [
    ("one differs, both go", "b", "a", "update", "b", "g"),
    ("none differs", "a", "a", "none", None, None),
    ("a null that is kept is no difference", None, "a", "none", None, None),
    ("new key", "a", "-", "upsert", "a", "g"),
]


@pytest.mark.parametrize(
    ("new", "old", "op", "sent", "other"), [c[1:] for c in TOGETHER], ids=[c[0] for c in TOGETHER]
)
def test_fields_that_travel_together(
    engine: Engine, new: str | None, old: Any, op: str, sent: str | None, other: str | None
) -> None:
    found = judge(engine, replace(judging(), together=(("F", "G"),)), new, old)
    assert (found[0], found[1], found[3]) == (op, sent, other)


def test_a_bad_value_is_refused_only_where_it_would_be_sent(engine: Engine) -> None:
    for keys, old, code in (
        ({}, "-", "TOO_BAD"),
        ({}, "a", "TOO_BAD"),
        ({"on_create": NEVER}, "-", None),
        ({"on_update": NEVER}, "a", None),
    ):
        judge(engine, judging(**keys), None, old)
        engine.run("""UPDATE p SET "F!" = 'TOO_BAD', _value = 'v', _size = 1""")
        text = sql.judged(judging(**keys), matched(engine), known(engine), frozenset({"Key__c", "F", "G"}))
        [(found, field)] = engine.rows(f"SELECT _code, _field FROM ({text}) AS j")
        assert (found, field) == (code, code and "F")


# ------------------------------------------------------------ both steps, as one engine runs them


def both_steps(engine: Engine, *, narrow: bool) -> set[tuple[Any, ...]]:
    """A snapshot made by a first load of LINES, then a model that moved: candidates, truth by text."""
    texts = {rule.field: "VARCHAR" for rule in PROJECTED.rules}
    engine.table("m", SHAPE, LINES)
    first = sql.projection(PROJECTED, "m", engine.dialect)
    fields = ", ".join(quote_ident(name) for name in texts)
    engine.run("DROP TABLE IF EXISTS s")
    engine.run(
        f"CREATE TEMP TABLE s AS SELECT _key, '003' || _key AS _id, 'created' AS _origin,"
        f" CAST(NULL AS TIMESTAMP) AS _gone_at, _source_hash, {fields} FROM ({first}) AS p"
        " WHERE _key IN ('Äb', 'c3') OR (_key = 'c1' AND \"Name\" = 'Ito')"
    )
    engine.run(
        "UPDATE s SET _source_hash = NULL WHERE _key = 'c3'"
    )  # an adopted record: looked at, nothing to send
    engine.run("INSERT INTO s (_key, _id, _origin) VALUES ('left', '003left', 'created')")
    changed = [("c1", "Ito", "1980-01-31", "2", True, "B;A", "2026-03-29 03:00:00"), *LINES[2:], LINES[-1]]
    engine.table("m", SHAPE, [line for line in changed if line[0] != "C2"])
    engine.run("DROP TABLE IF EXISTS c")
    keys = f"({sql.keys(PROJECTED, 'm', engine.dialect, narrow=narrow)})"
    engine.run(f"CREATE TEMP TABLE c AS {sql.candidates(keys, 's', engine.dialect)}")
    if narrow:
        engine.run("DROP TABLE IF EXISTS thin")
        engine.run("ALTER TABLE c RENAME TO thin")
        again = f"({sql.found_again(PROJECTED, 'm', 'thin')})"
        wide = sql.widened(f"({sql.keys(PROJECTED, again, engine.dialect)})", "thin")
        engine.run(f"CREATE TEMP TABLE c AS {wide}")
    judged = sql.judged(
        PROJECTED,
        sql.project_candidates(PROJECTED, "c", engine.dialect),
        sql.known_rows("s", "c", engine.dialect),
        frozenset(texts),
    )
    whole = ", ".join(quote_ident(name + mark) for name in texts for mark in ("", "="))
    found = engine.rows(
        f"SELECT _key, _op, _code, _field, _value, _size, _record_id, {whole} FROM ({judged}) AS j"
    )
    left = engine.rows("SELECT _known_key FROM c WHERE _key IS NULL AND _known_key IS NOT NULL")
    assert left == [("left",)]
    assert len(found) == len(set(found)) + 1, "one row of the model stands there twice"
    return set(found)


@pytest.mark.postgres
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_both_engines_find_the_same_changes(duckdb: Engine, postgres: Engine, narrow: bool) -> None:
    found = both_steps(duckdb, narrow=narrow)
    assert found == both_steps(postgres, narrow=narrow)
    ops = {(row[0], row[1], row[2]) for row in found}
    assert ops == {
        ("c1", "update", None),
        ("c3", "none", None),
        (None, "upsert", "MISSING_ARGUMENT"),
        (None, "upsert", "NUMBER_OUTSIDE_VALID_RANGE"),
        (None, "upsert", "STRING_TOO_LONG"),
    }, "a row whose hash did not move is no candidate"
    sent = {row[0]: row[7::2] for row in found}["c1"]
    assert [text for text in sent if text is not None] == ["2"], "only the changed field"
