"""Records as the org answers them, in the texts that the diff compares.

Owns:      which fields to ask for, how a record is named in a query, and the SQL from a query's answers to texts.
Does not:  ask (match, jobs/from_org, push/before).
Invariant: a text is made by the same projection that a model's text is made by; what that cannot read counts as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import Column, FieldRule, Send, SourceType

Cells = Callable[[str], str]
"""SQL of the cell at a path (``Email``, ``Account.Account_Id__c``) of one answered record, as text; NULL for null."""

_PLAIN = frozenset({"int", "long", "double", "currency", "percent", "boolean", "date", "datetime", "time"})
"""Field types whose values stand in a query without quotes.

Source: SOQL and SOSL Reference, "fieldExpression Syntax".
"""


RECORD_ID = FieldRule(
    "Id", "Record ID", Column("Id", "VARCHAR", SourceType.TEXT), "id", Send.NEVER, Send.NEVER
)
"""The rule of a record's own Id."""


def names(sync: CompiledSync) -> tuple[str, ...]:
    """What a query selects to learn identity and mapped fields: Id, fields, and the external ids of parents."""
    return names_of(sync.rules)


def names_of(rules: Sequence[FieldRule]) -> tuple[str, ...]:
    """What a query selects to learn these fields."""
    return tuple({path.lower(): path for path in ("Id", *_paths(rules))}.values())


def unread(sync: CompiledSync) -> tuple[str, ...]:
    """Fields whose texts cannot be asked for in one query: parents of several objects, by their external id."""
    return tuple(rule.field for rule in sync.fields if _is_unread(rule))


def path_of(rule: FieldRule) -> str:
    """What names the rule's text in a query: its field, or the external id of its parent."""
    if rule.reference is None:
        return rule.field
    return f"{rule.reference.relationship}.{rule.reference.parent_field}"


def soql_value(rule: FieldRule, text: str) -> str:
    """SQL of a text as a value in a query, quoted and escaped as its field needs. text: SQL, not NULL."""
    if rule.type in _PLAIN:
        return text
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = f"replace({text}, {_char(plain)}, {_char(escaped)})"
    return f"chr(39) || {text} || chr(39)"


def _char(text: str) -> str:
    return " || ".join(f"chr({ord(one)})" for one in text)


def _is_unread(rule: FieldRule) -> bool:
    return rule.reference is not None and rule.reference.polymorphic


def _paths(rules: Sequence[FieldRule]) -> Iterator[str]:
    for rule in rules:
        if _is_unread(rule):
            continue
        yield rule.field
        if rule.reference is not None:
            yield path_of(rule)


def json_cell(path: str) -> str:
    """Of a table of JSON answers, `r`. A name is looked up whole: a dot or a quote in it would be a path."""
    *parents, name = path.split(".")
    return f"r{''.join(f'->{literal(parent)}' for parent in parents)}->>{literal(name)}"


def csv_cell(path: str) -> str:
    """Of a Bulk query's result, where a blank cell is null."""
    return f"nullif({ident(path)}, '')"


def projected(sync: CompiledSync, answers: str) -> str:
    """SELECT of `_key, _record_id` and texts. answers: a table of JSON, `r`."""
    return projected_rules(sync.identity, sync.rules, answers, json_cell)


def projected_rules(
    identity: Sequence[FieldRule], rules: Sequence[FieldRule], answers: str, cell: Cells
) -> str:
    """SELECT of `_key` (as `identity` makes it), `_record_id` and a text per rule, in three steps: raw cells, texts, key.

    Args:
        identity: the rules that name a record, all of them among `rules`.
    """
    cells, texts = [f"{cell('Id')} AS _record_id"], []
    for number, rule in enumerate(rules):
        raw = f"_r{number}"
        if _is_unread(rule):
            texts.append(f"NULL::VARCHAR AS {ident(rule.field)}")
            continue
        cells.append(f"{cell(path_of(rule))} AS {raw}")
        text = wire.project(_as_text(rule), DUCKDB, timezone="UTC", source=raw).text
        if rule.reference is not None:
            # A parent without this external id: the lookup is not empty, and what it should be cannot be told from here.
            cells.append(f"{cell(rule.field)} AS {raw}_id")
            text = f"CASE WHEN {raw} IS NULL AND {raw}_id IS NOT NULL THEN NULL ELSE {text} END"
        texts.append(f"{text} AS {ident(rule.field)}")
    key = wire.key_text(identity, [ident(rule.field) for rule in identity], DUCKDB)
    raw_cells = f"SELECT {', '.join(cells)} FROM {answers}"
    return (
        f"SELECT {key} AS _key, * FROM (SELECT _record_id, {', '.join(texts)} FROM ({raw_cells}) AS c) AS t"
    )


def _as_text(rule: FieldRule) -> FieldRule:
    """The rule for a value that comes as text, whatever the model's column is.

    What the org holds is a fact: neither its length, its form nor its list of values is a reason not to know it.
    """
    column = Column(rule.field, "VARCHAR", SourceType.TEXT)
    kind = "string" if rule.type == "email" else rule.type
    if rule.lookup is not None and rule.lookup.to_id:
        kind = "reference"
    return replace(rule, column=column, type=kind, length=None, picklist=None, truncate=False)
