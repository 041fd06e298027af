"""Compiling costs what rendering and parsing cost: a thousand models beside Jinja and sqlglot alone."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import jinja2
import pytest
import sqlglot

from sfsync.compiler.compile import compile_project
from sfsync.compiler.surroundings import Surroundings
from sfsync.engine.base import Catalog
from sfsync.engine.dialect import DUCKDB
from sfsync.project.load import load_project
from sfsync.records import Column, SourceType

from .conftest import org_of

MODELS = 1000
SYNCS = 20
MODEL = """{{{{ config(tags=['x']) }}}}
with base as (
    select * from {parent}
), shaped as (
    select
        id,
        coalesce(name, 'n/a') as name,
        {{{{ cents('amount') }}}} as cents,
        case when status = 'a' then 'Active' when status = 'b' then 'Blocked' else 'None' end as status,
        lower(trim(email)) as email,
        cast(created_at as timestamp) as created_at,
        amount,
        row_number() over (partition by id order by created_at desc) as number
    from base
)
select id, name, cents, status, email, created_at, amount
from shaped
where number = 1 and status <> 'Blocked' and created_at >= date '2024-01-01'
"""
SYNC = "  - {{name: s{0}, model: m{1}, object: Odd__c, identity: {{Key__c: id}}, fields: {{{2}}}}}\n"
COLUMNS = tuple(Column(n, "VARCHAR", SourceType.TEXT) for n in ("id", "name", "email", "status"))


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.slow
def test_a_thousand_models(lab) -> None:
    files = {
        "macros/a.sql": "{% macro cents(x) -%}\ncast({{ x }} * 0.01 as decimal(16, 2))\n{%- endmacro %}",
        "models/s.yml": "version: 2\nsources:\n  - {name: main, tables: [{name: t}]}\n",
    }
    for i in range(MODELS):
        parent = "{{ source('main', 't') }}" if i < 200 else f"{{{{ ref('m{i - 200}') }}}}"
        files[f"models/m{i}.sql"] = MODEL.format(parent=parent)
    shared = ", ".join(
        f"{field}: {{column: {column}, shared: true}}"
        for field, column in (("Need__c", "name"), ("Secret__c", "email"), ("Once__c", "status"))
    )
    files["syncs/s.yml"] = "version: 1\nsyncs:\n" + "".join(
        SYNC.format(k, MODELS - 1 - k, shared) for k in range(SYNCS)
    )
    lab.write(files)
    project = load_project(lab.root)
    catalog = Catalog("main", "wh", {("main", "t"): ("id",)})
    around = Surroundings(DUCKDB, catalog, lambda select: COLUMNS, org_of(), {"name": "dev"})

    def floor() -> None:
        env = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        names = {
            "ref": lambda name: f'"{name}"',
            "source": lambda source, table: f'"wh"."{source}"."{table}"',
            "config": lambda **given: "",
            "cents": env.from_string(project.macros[0].text).module.cents,
        }
        for model in project.models:
            sqlglot.parse_one(env.from_string(model.text).render(names), dialect="duckdb")

    assert len(compile_project(project, around).syncs) == SYNCS
    ours, plain = [], []
    for _ in range(3):
        plain.append(seconds(floor))
        ours.append(seconds(lambda: compile_project(project, around)))
    print(f"{MODELS} models: plain {min(plain):.2f} s, compile {min(ours):.2f} s")
    assert min(ours) <= 1.3 * min(plain)
