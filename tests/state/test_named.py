"""Which key a word names: the best match alone, and never two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.errors import StateError
from sfsync.state import named

SECRET = "s3cret"
BY_TWO, BY_ONE = (True, True), (True,)
FOLDED = (False, False)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path_factory.mktemp("spill"))
    yield db
    db.close()


def ask(db: DuckDB, word: str, keys: list[str], capitals: tuple[bool, ...], secret: str = "") -> str | None:
    """The key that is named; the Id of the n-th key is `id<n>`."""
    db.execute("CREATE OR REPLACE TEMP TABLE places (key VARCHAR, id VARCHAR)")
    for n, key in enumerate(keys):
        db.execute("INSERT INTO places VALUES (?, ?)", [key, f"id{n}"])
    named.find(
        db,
        [(word, word)],
        "SELECT key, id FROM places UNION ALL SELECT key, NULL FROM places",
        capitals=capitals,
        secret=secret,
        command="sfsync state forget s",
    )
    found = db.execute(f"SELECT _key FROM {named.TABLE}")
    assert len(found) < 2
    return found[0][0] if found else None


UPPER, LOWER = '["A1","Ito"]', '["a1","ito"]'
CASES: list[tuple[str, list[str], tuple[bool, ...], str | None]] = [
    ("A1 / Ito", [UPPER, LOWER], BY_TWO, UPPER),
    ("a1 / ito", [UPPER, LOWER], BY_TWO, LOWER),
    ("A1 / ito", [UPPER, LOWER], BY_TWO, None),
    ("id1", [UPPER, LOWER], BY_TWO, LOWER),
    (UPPER, [UPPER, LOWER], BY_TWO, UPPER),
    (UPPER, [LOWER], FOLDED, LOWER),
    ("A1 / ITO", [LOWER], FOLDED, LOWER),
    # Capitals count in one of two fields, wherever it stands.
    ("A1 / ITO", ['["A1","ito"]', '["a1","ito"]'], (True, False), '["A1","ito"]'),
    ("ITO / A1", ['["ito","A1"]', '["ito","a1"]'], (False, True), '["ito","A1"]'),
    ("a1 / ITO", ['["A1","ito"]'], (True, False), None),
    ('["a","b / c"]', ['["a","b / c"]', '["a / b","c"]'], FOLDED, '["a","b / c"]'),
    ("ABC", ["ABC", "abc"], BY_ONE, "ABC"),
    ("ABC", ["abc"], BY_ONE, None),
    ("ABC", ["abc", "abd"], (False,), "abc"),
    # The key itself wins over another record's Id.
    ("id1", ["id1", "x"], BY_ONE, "id1"),
    ("[no json", ["[No JSON"], FOLDED, "[No JSON"),
]


@pytest.mark.parametrize(("word", "keys", "capitals", "wanted"), CASES)
def test_what_a_word_names(
    db: DuckDB, word: str, keys: list[str], capitals: tuple[bool, ...], wanted: str | None
) -> None:
    assert ask(db, word, keys, capitals) == wanted


@pytest.mark.parametrize("word", ["a / b / c", "A / B / C"])
def test_a_word_of_two_records_is_refused_with_what_to_type(db: DuckDB, word: str) -> None:
    with pytest.raises(StateError) as caught:
        ask(db, word, ['["a","b / c"]', '["a / b","c"]'], FOLDED)
    assert (
        caught.value.what == f"""'{word}' names 2 records: ["a / b","c"], ["a","b / c"]; nothing was done"""
    )
    assert (caught.value.fix or "").endswith(""": sfsync state forget s '["a / b","c"]'""")


def test_an_id_of_two_records_tells_no_masked_key(db: DuckDB) -> None:
    db.execute(
        "CREATE OR REPLACE TEMP TABLE pair AS SELECT unnest(['her@x.example', 'him@x.example']) AS key, 'i' AS id"
    )
    with pytest.raises(StateError, match="'i' names 2 records") as caught:
        named.find(db, [("i", "i")], "FROM pair", capitals=BY_ONE, secret=SECRET, command="c")
    assert "example" not in str(caught.value) + (caught.value.fix or "")
    digest = (caught.value.fix or "").split()[-1]
    assert ask(db, digest, ["her@x.example", "him@x.example"], BY_ONE, SECRET)
