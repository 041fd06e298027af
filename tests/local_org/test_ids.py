"""Ids: the checksum against published examples, and SQL against Python."""

from __future__ import annotations

import duckdb
import pytest

from sfsync.local_org import ids

PUBLISHED = [("a0B5g00000XyZ9q", "EAF"), ("001D000000IqhSL", "IAZ"), ("012000000000000", "AAA")]


@pytest.fixture(scope="module")
def cursor():
    connection = duckdb.connect()
    for statement in ("CREATE SCHEMA org", ids.ends_table(), *ids.macros()):
        connection.execute(statement)
    yield connection
    connection.close()


@pytest.mark.parametrize(("id15", "suffix"), PUBLISHED)
def test_published_checksums(cursor, id15, suffix):
    assert ids.checksum(id15) == suffix
    assert cursor.execute("SELECT id_checksum(?)", [id15]).fetchall() == [(suffix,)]


FORMS = [
    ("15 characters", "001D000000IqhSL", "001D000000IqhSLIAZ"),
    ("18 characters", "001D000000IqhSLIAZ", "001D000000IqhSLIAZ"),
    ("wrong checksum", "001D000000IqhSLIAA", None),
    ("16 characters", "001D000000IqhSLI", None),
    ("a strange character", "001D000000Iqh-L", None),
    ("empty", "", None),
]


@pytest.mark.parametrize(("text", "full"), [c[1:] for c in FORMS], ids=[c[0] for c in FORMS])
def test_to_18(cursor, text, full):
    assert ids.to_18(text) == full
    assert cursor.execute("SELECT id_18(?)", [text]).fetchall() == [(full,)]


@pytest.mark.parametrize("first", [1, 61, 3700, 3843, 36 * 62**2 - 40, 62**5 - 3, 62**6 + 17])
def test_sql_and_python_make_the_same_ids(cursor, first):
    count = 300
    start = ids.next_free(first, count)
    assert start >= first
    rows = cursor.execute(f"{ids.run_sql('003', 'Zz', start, count)} ORDER BY n").fetchall()
    assert [n for n, _ in rows] == list(range(count))
    made = [record for _, record in rows]
    assert made == [ids.make_id("003", "Zz", start + i) for i in range(count)]
    assert [ids.to_18(m) for m in made] == made
