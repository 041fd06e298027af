"""Golden cells, exact sizes, and the law that decoding gives back what was encoded; all on a real DuckDB."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfsync.engine.duckdb import CSV_OPTIONS
from sfsync.records import Column, FieldRule, Reference, Send, SourceType
from sfsync.salesforce.encode import (
    csv_bytes,
    csv_columns,
    csv_header_bytes,
    csv_select,
    json_array,
    json_bytes,
    json_record,
    needs_json,
    quoted,
)

ACCOUNT = Reference("Account", "Account", "Account_Id__c", polymorphic=False)
OWNER = Reference("Owner", "User", "Ext__c", polymorphic=True)
NUMBERED = Reference("Parent__r", "Parent__c", "Number__c", polymorphic=False)


def rule(
    field: str, kind: str = "string", length: int | None = 255, reference: Reference | None = None
) -> FieldRule:
    column = Column(field.lower(), "VARCHAR", SourceType.TEXT)
    return FieldRule(
        field, field, column, kind, Send.VALUE, Send.VALUE_OR_NULL, length=length, reference=reference
    )


RULES = (
    rule("Customer_Id__c"),
    rule("LastName"),
    rule("Amount__c", "currency"),
    rule("Champion__c", "boolean"),
    rule("Birthdate", "date"),
    rule("AccountId", "string", 40, ACCOUNT),
    rule("OwnerId", "string", 40, OWNER),
    rule("Parent__c", "double", None, NUMBERED),
)
FIELDS = [r.field for r in RULES]


@pytest.fixture(scope="module")
def db():
    with duckdb.connect() as connection:
        yield connection


def table(db, rows, names=FIELDS, name="t"):
    """Make a table of wire texts; rows are tuples, an ordinal is added in front."""
    columns = ", ".join(f"{quoted(n)} VARCHAR" for n in names)
    db.execute(f"CREATE OR REPLACE TABLE {name} (ordinal INTEGER, {columns})")
    if rows:
        marks = ", ".join("?" * (len(names) + 1))
        db.executemany(f"INSERT INTO {name} VALUES ({marks})", [(n, *row) for n, row in enumerate(rows)])


def copied(db, columns, path: Path, source="t ORDER BY ordinal") -> bytes:
    db.execute(f"COPY ({csv_select(columns, source)}) TO '{path}' ({CSV_OPTIONS})")
    return path.read_bytes()


def csv_fits(rules, clearing) -> str:
    """SQL condition: each lookup of the row is absent, or does what this form of CSV does (set or clear)."""
    lookups = (r for r in rules if r.reference is not None)
    parts = (f"COALESCE({quoted(r.field)} {'=' if r.field in clearing else '<>'} '', TRUE)" for r in lookups)
    return " AND ".join(parts) or "TRUE"


def records(db, by_id=False, rules=RULES):
    sql = json_record("Contact", rules, by_id=by_id)
    return [r[0] for r in db.execute(f"SELECT {sql} FROM t ORDER BY ordinal").fetchall()]


JSON_CASES = [  # id, texts by field, the record's members after its attributes
    ("nothing", {}, ""),
    ("text", {"LastName": "Rossi"}, ',"LastName":"Rossi"'),
    ("null", {"LastName": ""}, ',"LastName":null'),
    ("quote, backslash, breaks", {"LastName": 'a"b\\c\nd\te'}, ',"LastName":"a\\"b\\\\c\\nd\\te"'),
    ("accents and emoji stay", {"LastName": "Zoë 👍🏽"}, ',"LastName":"Zoë 👍🏽"'),
    ("line separator stays", {"LastName": "a\u2028b"}, ',"LastName":"a\u2028b"'),
    ("the text #N/A is a text", {"LastName": "#N/A"}, ',"LastName":"#N/A"'),
    ("digits in a text field", {"LastName": "007"}, ',"LastName":"007"'),
    ("number", {"Amount__c": "-0.5"}, ',"Amount__c":-0.5'),
    ("number null", {"Amount__c": ""}, ',"Amount__c":null'),
    ("boolean", {"Champion__c": "false"}, ',"Champion__c":false'),
    ("date", {"Birthdate": "2026-01-31"}, ',"Birthdate":"2026-01-31"'),
    ("lookup set", {"AccountId": "A-9"}, ',"Account":{"Account_Id__c":"A-9"}'),
    ("lookup cleared", {"AccountId": ""}, ',"AccountId":null'),
    ("polymorphic", {"OwnerId": "u1"}, ',"Owner":{"attributes":{"type":"User"},"Ext__c":"u1"}'),
    ("polymorphic cleared", {"OwnerId": ""}, ',"OwnerId":null'),
    ("parent key is a number", {"Parent__c": "42"}, ',"Parent__r":{"Number__c":42}'),
    (
        "order of the rules",
        {"Birthdate": "", "Customer_Id__c": "C-1", "Amount__c": "1"},
        ',"Customer_Id__c":"C-1","Amount__c":1,"Birthdate":null',
    ),
]


@pytest.mark.parametrize(("texts", "members"), [c[1:] for c in JSON_CASES], ids=[c[0] for c in JSON_CASES])
def test_json_record(db, texts, members):
    table(db, [tuple(texts.get(f) for f in FIELDS)])
    assert records(db) == ['{"attributes":{"type":"Contact"}' + members + "}"]


def test_json_of_a_known_record_carries_its_id_and_an_array_joins_records_in_order(db):
    table(db, [("003A", "x"), ("003B", None)], ["Id", "LastName"])
    sql = json_array(json_record("Contact", [RULES[1]], by_id=True, alias="c"), "c.ordinal DESC")
    assert db.execute(f"SELECT {sql} FROM t AS c").fetchone()[0] == (
        '[{"attributes":{"type":"Contact"},"Id":"003B"},'
        '{"attributes":{"type":"Contact"},"Id":"003A","LastName":"x"}]'
    )


CSV_CASES = [  # id, text, bytes of the cell
    ("absent", None, b""),
    ("null", "", b'"#N/A"'),
    ("plain", "Rossi", b"Rossi"),
    ("blanks inside stay", "a  b", b"a  b"),
    ("comma", "a,b", b'"a,b"'),
    ("quote", 'say "hi"', b'"say ""hi"""'),
    ("line feed", "a\nb", b'"a\nb"'),
    ("other delimiters need no quotes", "a;b|c\td^e`f", b"a;b|c\td^e`f"),
    ("hash", "a#1", b'"a#1"'),
    ("the word NULL", "NULL", b"NULL"),
    ("utf-8", "é👍", "é👍".encode()),
    ("apostrophe and backslash", "O'Neil\\", b"O'Neil\\"),
]


@pytest.mark.parametrize(("text", "cell"), [c[1:] for c in CSV_CASES], ids=[c[0] for c in CSV_CASES])
def test_csv_cell(db, tmp_path, text, cell):
    table(db, [("003A", text)], ["Id", "LastName"])
    columns = csv_columns([RULES[1]], by_id=True)
    assert copied(db, columns, tmp_path / "x.csv") == b"Id,LastName\n003A," + cell + b"\n"


FORMS = [  # id, lookups that are cleared, header, row of (lookup set or cleared)
    (
        "set",
        (),
        b"Customer_Id__c,Account.Account_Id__c,User:Owner.Ext__c\n",
        ("C", "A-9", "u1"),
        b"C,A-9,u1\n",
    ),
    (
        "cleared",
        ("AccountId", "OwnerId"),
        b"Customer_Id__c,AccountId,OwnerId\n",
        ("C", "", ""),
        b'C,"#N/A","#N/A"\n',
    ),
    (
        "one of each",
        ("AccountId",),
        b"Customer_Id__c,AccountId,User:Owner.Ext__c\n",
        ("C", "", "u1"),
        b'C,"#N/A",u1\n',
    ),
    (
        "absent fits both",
        ("AccountId",),
        b"Customer_Id__c,AccountId,User:Owner.Ext__c\n",
        ("C", None, None),
        b"C,,\n",
    ),
]


@pytest.mark.parametrize(
    ("clearing", "header", "row", "line"), [c[1:] for c in FORMS], ids=[c[0] for c in FORMS]
)
def test_a_csv_sets_or_clears_a_lookup(db, tmp_path, clearing, header, row, line):
    rules = (RULES[0], RULES[5], RULES[6])
    table(db, [row, ("no", "set", ""), ("no", "", "set")], [r.field for r in rules])
    fits = csv_fits(rules, clearing)
    columns = csv_columns(rules, by_id=False, clearing=clearing)
    source = f"t WHERE {fits} AND \"Customer_Id__c\" = 'C'"
    assert copied(db, columns, tmp_path / "x.csv", source) == header + line


def test_a_delete_carries_ids_alone(db, tmp_path):
    table(db, [("003A",), ("003B",)], ["Id"])
    columns = csv_columns((), by_id=True)
    assert copied(db, columns, tmp_path / "x.csv") == b"Id\n003A\n003B\n"


NEEDS_JSON = [  # id, texts by field, expected
    ("nothing special", {"LastName": "x"}, False),
    ("the literal", {"LastName": "#N/A"}, True),
    ("the literal as a key", {"Customer_Id__c": "#N/A"}, True),
    ("the literal as a parent's key", {"AccountId": "#N/A"}, True),
    ("a part of a text", {"LastName": "see #N/A"}, False),
    ("null is not the literal", {"LastName": ""}, False),
    ("all absent", {}, False),
]


@pytest.mark.parametrize(("texts", "expected"), [c[1:] for c in NEEDS_JSON], ids=[c[0] for c in NEEDS_JSON])
def test_rows_that_csv_cannot_carry(db, texts, expected):
    table(db, [tuple(texts.get(f) for f in FIELDS)])
    assert db.execute(f"SELECT {needs_json(RULES)} FROM t").fetchone()[0] is expected


def test_a_record_over_the_bulk_record_limit_goes_by_json(db):
    rules = tuple(rule(f"Long{n}__c", "textarea", 131_072) for n in range(4))
    table(db, [tuple(["x" * 100_500] * 4), tuple(["x" * 99_000] * 4)], [r.field for r in rules])
    assert [r[0] for r in db.execute(f"SELECT {needs_json(rules)} FROM t ORDER BY ordinal").fetchall()] == [
        True,
        False,
    ]


def test_no_rule_with_text_means_no_condition():
    assert needs_json([rule("Amount__c", "double"), rule("Birthdate", "date")]) == "FALSE"


# Text as the projection leaves it: no CR, no NUL, blanks trimmed off the ends, never empty.
texts = (
    st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\r"), min_size=1, max_size=20
    )
    .map(lambda t: t.strip("\t\n\x0b\x0c\r "))
    .filter(bool)
)
tricky = st.sampled_from(['"', '""', ",", "\n", "#", "#N/A", "null", "NULL", "\\", "'", "a,\nb", 'x"y'])
number = st.decimals(-(10**9), 10**9, places=2, allow_nan=False).map(lambda d: format(d.normalize(), "f"))
VALUES = {
    "currency": number,
    "double": st.integers(0, 10**6).map(str),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates().map(str),
    "string": texts | tricky,
}
row = st.tuples(*(st.none() | st.just("") | VALUES[r.type] for r in RULES))
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def from_json(text: str) -> tuple[str | None, ...]:
    """Read a record back into wire texts."""
    body = json.loads(text, parse_float=str, parse_int=str)
    found = []
    for r in RULES:
        if r.field in body:
            value = body[r.field]
        else:
            value = (
                body.get(r.reference.relationship, {}).get(r.reference.parent_field) if r.reference else None
            )
            if value is None:
                found.append(None)
                continue
        found.append("" if value is None else {True: "true", False: "false"}.get(value, value))
    return tuple(found)


@SETTINGS
@given(st.lists(row, min_size=1, max_size=8))
def test_json_gives_back_every_text_and_its_size(db, rows):
    table(db, rows)
    encoded = records(db)
    assert [from_json(r) for r in encoded] == rows
    sizes = db.execute(
        f"SELECT {json_bytes(json_record('Contact', RULES, by_id=False))} FROM t ORDER BY ordinal"
    )
    assert [s[0] for s in sizes.fetchall()] == [len(r.encode()) + 1 for r in encoded]


@SETTINGS
@given(st.lists(row, min_size=1, max_size=8), st.sets(st.sampled_from(["AccountId", "OwnerId", "Parent__c"])))
def test_csv_gives_back_every_text_it_may_carry_and_its_size(db, tmp_path, rows, clearing):
    table(db, rows)
    columns = csv_columns(RULES, by_id=False, clearing=clearing)
    where = f"{csv_fits(RULES, clearing)} AND NOT {needs_json(RULES)}"
    kept = [r[1:] for r in db.execute(f"SELECT * FROM t WHERE {where} ORDER BY ordinal").fetchall()]
    data = copied(db, columns, tmp_path / "x.csv", f"t WHERE {where} ORDER BY ordinal")
    size = db.execute(f"SELECT coalesce(sum({csv_bytes(columns)}), 0) FROM t WHERE {where}").fetchone()[0]
    assert size + csv_header_bytes(columns) == len(data)
    lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert lines[0] == [c.header for c in columns]
    decode = {"": None, "#N/A": ""}
    assert [tuple(decode.get(cell, cell) for cell in line) for line in lines[1:]] == kept
