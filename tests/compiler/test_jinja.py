"""Rendering: what dbt's names give, and where a mistake is said to be."""

from __future__ import annotations

import pytest

from sfsync.compiler.jinja import Relations, Renderer
from sfsync.errors import CompileError

MACROS = (
    ("macros/money.sql", "{% macro cents(x) %}{{ half(x) }} * 100{% endmacro %}\n"),
    (
        "macros/math.sql",
        "{% macro half(x, by=2) %}({{ x }} / {{ by }}){% endmacro %}\n{% set unit = 'm' %}\n",
    ),
    ("macros/bad.sql", "\n{% macro broken() %}\n  {{ nothing }}\n{% endmacro %}\n"),
    ("macros/far.sql", "{% macro far() %}\n\n{{ ref('gone') }}{% endmacro %}\n"),
    (
        "macros/loop.sql",
        "{% macro ping() %}{{ pong() }}{% endmacro %}{% macro pong() %}{{ ping() }}{% endmacro %}\n",
    ),
    ("macros/wrap.sql", "{% macro wrap() %}[{{ caller() }}]{% endmacro %}\n"),
)


def renderer(macros: tuple[tuple[str, str], ...] = MACROS) -> Renderer:
    return Renderer(
        macros,
        Relations({"orders": '"orders"', "seed": '"s"."seed"'}, {("raw", "t"): '"wh"."raw"."t"'}),
        project="acme",
        variables={"since": "2025-01-01", "on": False},
        env={"REGION": "eu"},
        target={"name": "dev", "type": "duckdb", "schema": "main"},
    )


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("select 1", "select 1"),
        ("select * from {{ ref('orders') }}", 'select * from "orders"'),
        ("select * from {{ ref('acme', 'orders') }}", 'select * from "orders"'),
        ("select * from {{ source('raw', 't') }}", 'select * from "wh"."raw"."t"'),
        ("{{ var('since') }} {{ var('x', 7) }} {{ var('x', default=8) }}", "2025-01-01 7 8"),
        ("{% if var('on') %}a{% else %}b{% endif %}", "b"),
        ("{{ env_var('REGION') }}{{ env_var('NO', 'x') }}", "eux"),
        ("{{ target.name }} {{ target['type'] }}", "dev duckdb"),
        ("{{ config(materialized='table') }}x", "x"),
        ("{{ config({'tags': ['a']}) }}x", "x"),
        ("{{ cents('a') }}", "(a / 2) * 100"),
        ("{{ half('a', by=4) }}", "(a / 4)"),
        ("{% call wrap() %}in{% endcall %}", "[in]"),
        ("{% set l = [] %}{% for i in range(2) %}{{ i }}{% endfor %}", "01"),
        ("{# nothing #}x", "x"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_renders(text: str, sql: str) -> None:
    assert renderer().render("models/m.sql", text).sql == sql


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("\n\n{{ ref('ordrs') }}", "models/m.sql:3: ref('ordrs'): no model or seed has that name", "did you mean 'orders'?"),
        ("{{ ref('other', 'orders') }}", "models/m.sql:1: ref('other', 'orders'): this project is 'acme', and it has no packages", "write ref('orders')"),
        ("{{ ref('orders', v=2) }}", "models/m.sql:1: ref() takes a model's name", "write ref('model')"),
        ("{{ source('raw') }}", "models/m.sql:1: source() takes two names", "write source('source', 'table')"),
        ("{{ source('raw', 'u') }}", "models/m.sql:1: source('raw', 'u'): source 'raw' has no table 'u'", "tables of 'raw': t"),
        ("{{ source('row', 't') }}", "models/m.sql:1: source('row', 't'): no source is called 'row'", "did you mean 'raw'?"),
        ("{{ var('sinc') }}", "models/m.sql:1: var('sinc') is not set and has no default", "did you mean 'since'?"),
        ("\n{{ env_var('TOKEN') }}", "models/m.sql:2: environment variable 'TOKEN' is not set and env_var() has no default", "export TOKEN, or write env_var('TOKEN', 'default')"),
        ("{{ reff('orders') }}", "models/m.sql:1: Jinja: 'reff' is undefined", "did you mean 'ref'?"),
        ("{{ cent('x') }}", "models/m.sql:1: Jinja: 'cent' is undefined", "did you mean 'cents'?"),
        ("{{ target.schem }}", "models/m.sql:1: Jinja: 'dict object' has no attribute 'schem'", "did you mean 'schema'?"),
        ("{{ target.password }}", "models/m.sql:1: Jinja: 'dict object' has no attribute 'password'", "names of target: name, schema, type"),
        ("x\n{{ broken() }}", "macros/bad.sql:3: Jinja: 'nothing' is undefined", None),
        ("x\n{{ far() }}", "macros/far.sql:3: ref('gone'): no model or seed has that name", "models and seeds: orders, seed"),
        ("\n{% if %}", "models/m.sql:2: Jinja: Expected an expression, got 'end of statement block'", None),
        ("{% for x in y %}", "models/m.sql:1: Jinja: Unexpected end of template. Jinja was looking for the following tags: 'endfor' or 'else'. The innermost block that needs to be closed is 'for'", None),
        ("{{ 1 / 0 }}", "models/m.sql:1: Jinja: division by zero (ZeroDivisionError)", None),
        ("{{ half() }}", "macros/math.sql:1: Jinja: parameter 'x' was not provided", None),
        ("{{ half(1, 2, 3) }}", "models/m.sql:1: Jinja: macro 'half' takes not more than 2 argument(s)", None),
        ("{{ config('table') }}", "models/m.sql:1: config() takes key=value pairs", "write config(tags=['daily'])"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_and_where(text: str, message: str, fix: str | None) -> None:
    with pytest.raises(CompileError) as caught:
        renderer().render("models/m.sql", text)
    assert str(caught.value) == message
    if fix is not None:
        assert caught.value.fix == fix


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ref.__globals__ }}",
        "{{ cents.__closure__ }}",
        "{% do target.update({'name': 'prod'}) %}",
        "{{ self.__init__.__globals__ }}",
        "{{ 'a' * 100000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for i in range(100000000) %}{% endfor %}",
        "{{ ping() }}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{{ 'a' * 1000 }}{% endfor %}{% endfor %}",
    ],
)
def test_stays_inside_and_ends(text: str) -> None:
    with pytest.raises(CompileError):
        renderer().render("models/m.sql", text)


def test_remembers_what_a_model_named() -> None:
    text = "{{ config(tags='x') }}{{ ref('orders') }}{{ source('raw', 't') }}{{ ref('seed') }}{{ ref('orders') }}"
    made = renderer()
    found = made.render("models/m.sql", text)
    assert found.refs == ("orders", "seed")
    assert found.sources == (("raw", "t"),)
    assert found.config == {"tags": "x"}
    assert made.render("models/n.sql", "{{ 1 }}").refs == ()


@pytest.mark.parametrize(
    ("config", "ignored"),
    [
        ("materialized='table', unique_key='id'", ("materialized", "unique_key")),
        ("materialized='ephemeral', tags=['a'], meta={}, enabled=true", ()),
        ("pre_hook='delete from x'", ("pre_hook",)),
    ],
)
def test_config_keys_without_effect(config: str, ignored: tuple[str, ...]) -> None:
    assert renderer().render("m.sql", f"{{{{ config({config}) }}}}").ignored_config == ignored


@pytest.mark.parametrize(
    ("macros", "message"),
    [
        ((("macros/a.sql", "{% macro x() %}{% endmacro %}"), ("macros/b.sql", "\n{% macro x() %}{% endmacro %}")), "macros/b.sql:2: macro 'x' cannot be defined here: macros/a.sql has one too"),
        ((("macros/a.sql", "{% macro ref() %}{% endmacro %}"),), "macros/a.sql:1: macro 'ref' cannot be defined here: sfsync has a function of that name"),
        ((("macros/a.sql", "\n{% macro x( %}"),), "macros/a.sql:2: Jinja: expected token 'name', got '%'"),
        ((("macros/a.sql", "\n\n{{ nope }}"),), "macros/a.sql:3: Jinja: 'nope' is undefined"),
    ],
)  # fmt: skip
def test_macro_files_that_are_wrong(macros: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(CompileError) as caught:
        renderer(macros)
    assert str(caught.value) == message


def test_lines_of_a_piece_of_yaml() -> None:
    with pytest.raises(CompileError) as caught:
        renderer().render("syncs/a.yml", "{{ nope }}", first_line=12)
    assert str(caught.value) == "syncs/a.yml:12: Jinja: 'nope' is undefined"
