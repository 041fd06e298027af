"""What one SELECT is, and what is found in it."""

from __future__ import annotations

import pytest

from sfsync.compiler.position import line_column, place
from sfsync.compiler.sql import SqlFault, read_condition, read_select
from sfsync.errors import Where


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize(
    ("text", "sql", "tables"),
    [
        ("select a from t", "select a from t", ["t"]),
        ("select a from s.t;", "select a from s.t", ["s.t"]),
        ("select a from t ; ;\n-- the end", "select a from t", ["t"]),
        ("select a from t -- why; not\n;", "select a from t -- why; not", ["t"]),
        ("select a from t /* ; */", "select a from t /* ; */", ["t"]),
        ("-- head\nselect ';' as a", "-- head\nselect ';' as a", []),
        ("with c as (select * from t) select * from c", None, ["t"]),
        ("(select a from t) union all (select b from u)", None, ["t", "u"]),
        ("select (select max(x) from u) from t", None, ["t", "u"]),
        ('with o as (select * from "o") select * from o', None, ["o"]),
        ("select * from a.b.c join d using (x)", None, ["a.b.c", "d"]),
    ],
)
def test_reads(dialect: str, text: str, sql: str | None, tables: list[str]) -> None:
    found = read_select(text, dialect, refs=("o",))
    assert found.sql == (text if sql is None else sql)
    assert sorted(t.text for t in found.tables) == tables


@pytest.mark.parametrize("text", ["from t", "from t select a", "select * from read_csv('x.csv')"])
def test_reads_duckdbs_own_forms(text: str) -> None:
    assert read_select(text, "duckdb").sql == text


@pytest.mark.parametrize(
    ("text", "what", "place_"),
    [
        ("", "no SQL here; a model is one SELECT", (1, 1)),
        ("-- nothing\n", "no SQL here; a model is one SELECT", (1, 1)),
        (";", "no SQL here; a model is one SELECT", (1, 1)),
        ("\ndelete from t", "expected a SELECT, found DELETE", (2, 1)),
        ("copy t to 'x'", "expected a SELECT, found COPY", (1, 1)),
        ("pragma database_list", "expected a SELECT, found PRAGMA", (1, 1)),
        ("attach 'x' as y", "expected a SELECT, found ATTACH", (1, 1)),
        ("create table x as select 1", "expected a SELECT, found CREATE", (1, 1)),
        ("values (1)", "expected a SELECT, found VALUES", (1, 1)),
        ("set x = 1", "expected a SELECT, found SET", (1, 1)),
        ("explain select 1", "expected a SELECT, found EXPLAIN", (1, 1)),
        ("select 1;\n  drop table t", "a model is one SELECT; a second statement begins with DROP", (2, 3)),
        ("with x as (delete from t returning *)\nselect * from x", "a model only reads, found DELETE", (1, 12)),
        ("with x as (insert into t select 1 returning a) select * from x", "a model only reads, found INSERT", (1, 12)),
        ("select 1 into y", "a model only reads, found INTO", (1, 10)),
        ("select * from t for update", "a model only reads, found FOR UPDATE", (1, 17)),
        ("select a b c\nfrom t", "SQL: invalid expression / Unexpected token near 'c'", (1, 12)),
        ("select a\nfrom t\nwhere", "SQL: incomplete clause near 'where'", (3, 1)),
        ("select a\nfrom (select 1", "SQL: expecting ) near '1'", (2, 14)),
        ("select\n 'abc", "SQL: missing '", (2, 2)),
    ],
)  # fmt: skip
def test_refuses(text: str, what: str, place_: tuple[int, int]) -> None:
    with pytest.raises(SqlFault) as caught:
        read_select(text, "duckdb")
    assert caught.value.what == what
    assert line_column(text, caught.value.offset) == place_


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("select a, b as c from s.t", "s.t"),
        ("select * from t where a > 1 and b in ('x', 'y') and c is not null", "t"),
        ("with s as (select * from t), f as (select a from s where b) select a as x from f", "t"),
        ("select a from (select a, b from t) as x", "t"),
        ("select x.* from t as x", "t"),
        ("select distinct a from t", None),
        ("select a + 1 from t", None),
        ("select lower(a) from t", None),
        ("select a from t join u using (a)", None),
        ("select a from t, u", None),
        ("select a from t limit 5", None),
        ("select a from t order by a", None),
        ("select a from t where b in (select b from u)", None),
        ("select a from t where lower(b) = 'x'", None),
        ("select a from t where seen > now()", None),
        ("select a from t union all select a from u", None),
        ("select * from read_csv('x.csv')", None),
        ("select * from t tablesample 10%", None),
        ("with recursive r as (select 1 as a union all select a + 1 from r) select a from r", None),
        ("select * replace (1 as a) from t", None),
        ("select 1 as a", None),
    ],
)
def test_plain_scans(text: str, table: str | None) -> None:
    scan = read_select(text, "duckdb").scan
    assert (scan.text if scan else None) == table


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select now(), current_date, random(), gen_random_uuid()", ["now", "current_date", "random", "gen_random_uuid"]),
        ("select CURRENT_TIMESTAMP", ["current_timestamp"]),
        ("select uuid, random, now from t", []),
        ("select 'now()' as a, t.current from t -- now()", []),
        ('select "now"(1)', []),
    ],
)  # fmt: skip
def test_functions_that_change_between_runs(text: str, names: list[str]) -> None:
    assert [name for name, _ in read_select(text, "duckdb").volatile] == names


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("select a from t", []),
        ("select * from t", ["t"]),
        ("with s as (select * from t) select * from s", ["t"]),
        ("with s as (select a, b from t) select * from s", []),
        ("select t.*, u.a from t join u using (x)", ["t"]),
        ("select count(*) from t", []),
        ("select * from t union all select a from u", ["t"]),
        ("with recursive r as (select * from r) select * from r", []),
    ],
)
def test_open_stars(text: str, tables: list[str]) -> None:
    assert [t.text for t in read_select(text, "duckdb").stars] == tables


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = 1) or (b = 2", "SQL: invalid expression / Unexpected token near ')'"),
        ("a = 1 group by b", "a filter is one condition, with nothing after it"),
        ("a = 1 limit 3", "a filter is one condition, with nothing after it"),
        ("a = 1 union select 2", "a filter is one condition, with nothing after it"),
        ("a = 1; drop table x", "a filter is one condition, without a semicolon"),
        ("a =", "SQL: incomplete clause near '='"),
    ],
)
def test_filters_that_are_none(text: str, what: str) -> None:
    with pytest.raises(SqlFault) as caught:
        read_condition(text, "duckdb")
    assert caught.value.what == what


def test_long_and_deep_sql() -> None:
    union = read_select(" union all ".join(f"select * from t{i}" for i in range(2000)), "duckdb")
    assert len(union.stars) == len(union.tables) == 2000
    assert read_select("select " + "replace(" * 300 + "a" + ", 'x', 'y')" * 300 + " from t", "duckdb").tables
    assert read_select("select " + "(" * 500 + "1" + ")" * 500, "duckdb")
    with pytest.raises(SqlFault, match="nested more than 500 deep"):
        read_select("select " + "(" * 20_000 + "1" + ")" * 20_000, "duckdb")


def test_filters() -> None:
    found = read_condition("  a = 1 -- one\n", "duckdb")
    assert (found.sql, found.tables, found.scan is not None) == ("a = 1 -- one", (), True)
    nested = read_condition("id in (select id from raw.t)", "duckdb")
    assert ([t.text for t in nested.tables], nested.scan) == (["raw.t"], None)
    assert nested.tables[0].offset == 26


@pytest.mark.parametrize(
    ("source", "rendered", "word", "where"),
    [
        ("select a\nfrom t", "select a\nfrom t", "from", Where("m", 2, 1)),
        ("{{ config(\n  a=1\n) }}\nselect a\nfrm t", "\nselect a\nfrm t", "frm", Where("m", 5, 1)),
        ("select {{ x('a') }}\nfrom t wher", "select some text\nfrom t wher", "wher", Where("m", 2, 8)),
        ("select {{ x('a') }} from t wher", "select some text from t wher", "wher", Where("m", 1, None)),
        ("{% for c in l %}\n  {{ c }},\n{% endfor %}\nfrom q", "\n  a,\n\n  b,\n\nfrom q", "from", Where("m", 4, 1)),
    ],
)  # fmt: skip
def test_places_lead_back_through_jinja(source: str, rendered: str, word: str, where: Where) -> None:
    assert place("m", source, rendered, rendered.index(word)) == where
