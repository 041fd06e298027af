"""Cells: the SQL (DuckDB) that turns wire texts into exactly the CSV and JSON that Salesforce reads.

Owns:      how absent, null and text look in Bulk CSV and in Collections JSON, and how many bytes a row takes there.
Does not:  run SQL, open files, or change a value: texts come from compiler/wire and pass through untouched.
Invariant: decode(encode(x)) is x, for absent, null and every type; sizes are those of the bytes that are written.

A table to be encoded has a column per Salesforce field, named by it, and "Id" when records are known by Id.
In it NULL is absent, '' is null and anything else is the text:

             absent          null                     text
    CSV      empty cell      #N/A                     the text
    JSON     no key          null                     number, true/false or string
    lookup   as above        its Id field is cleared  the parent's key, through the relationship
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sfsync.records import FieldRule
from sfsync.salesforce.limits import MAX_BULK_RECORD_CHARACTERS

CSV_NULL = "#N/A"

NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})
"""Field types whose cells are numbers."""

_RAW = NUMBERS | {"boolean"}
_NO_TEXT = _RAW | {"date", "datetime", "time"}
_ID = "Id"


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """A column of an upload: its header, the SQL of its cell (NULL: an empty cell), and of the cell's bytes."""

    header: str
    expression: str
    size: str


def csv_columns(
    rules: Sequence[FieldRule],
    *,
    by_id: bool,
    clearing: Iterable[str] = (),
    alias: str = "",
) -> tuple[CsvColumn, ...]:
    """The columns of one CSV.

    Args:
        rules: the fields the CSV carries, the upsert key included.
        by_id: put "Id" first (update, delete); a delete has no rules.
        clearing: lookups by reference that this CSV clears instead of sets: the relationship column and the Id column
            of one lookup never stand in one CSV, so every row sets or leaves out all other lookups.
        alias: name of the table in the statement, if its columns need one.
    """
    clears = frozenset(clearing)
    record_id = _column(_ID, alias)
    columns = [CsvColumn(_ID, record_id, f"strlen({record_id})")] if by_id else []
    for rule in rules:
        source = _column(rule.field, alias)
        cell = f"CASE WHEN {source} = '' THEN '{CSV_NULL}' ELSE {source} END"
        header = rule.field if rule.field in clears else rule.header
        columns.append(
            CsvColumn(header, cell, _csv_cell_bytes(source, quotable=_json_type(rule) == "string"))
        )
    return tuple(columns)


def needs_json(rules: Sequence[FieldRule], *, alias: str = "") -> str:
    """SQL condition: CSV cannot carry the row, because a text is literally ``#N/A`` or the record is too long."""
    texts = [rule for rule in rules if _json_type(rule) == "string"]
    parts = [f"{_column(r.field, alias)} = '{CSV_NULL}'" for r in texts if (r.length or 255) >= len(CSV_NULL)]
    if sum(r.length or 255 for r in texts) > MAX_BULK_RECORD_CHARACTERS:
        size = " + ".join(f"COALESCE(length({_column(r.field, alias)}), 0)" for r in texts)
        parts.append(f"{size} > {MAX_BULK_RECORD_CHARACTERS - 1000}")
    return f"COALESCE({' OR '.join(parts)}, FALSE)" if parts else "FALSE"


def csv_select(columns: Sequence[CsvColumn], source: str) -> str:
    """The SELECT for `DuckDB.copy_csv`. source: everything from FROM on, e.g. ``t WHERE ... ORDER BY ...``."""
    cells = ", ".join(f"{c.expression} AS {quoted(c.header)}" for c in columns)
    return f"SELECT {cells} FROM {source}"


def csv_bytes(columns: Sequence[CsvColumn]) -> str:
    """SQL of a row's exact size in the file, its line end included."""
    cells = [f"COALESCE({c.size}, 0)" for c in columns]
    return f"({' + '.join(cells)} + {len(columns)})"


def csv_header_bytes(columns: Sequence[CsvColumn]) -> int:
    """The header line's size, its line end included. API names need no quotes."""
    return sum(len(c.header.encode()) + 1 for c in columns)


def json_record(object_name: str, rules: Sequence[FieldRule], *, by_id: bool, alias: str = "") -> str:
    """SQL of one record's JSON text for Collections.

    A field that is absent has no key. A lookup by reference is set through its relationship, with the parent's type
    when it is polymorphic, and cleared by its Id field.
    """
    parts = [f"""'{{"attributes":{{"type":{_json_literal(object_name)}}}'"""]
    if by_id:
        parts.append(f"""',"Id":"' || {_column(_ID, alias)} || '"'""")
    parts += [_json_member(rule, _column(rule.field, alias)) for rule in rules]
    parts.append("'}'")
    return "(" + " || ".join(parts) + ")"


def json_array(record: str, order: str) -> str:
    """SQL aggregate of a request's records as one JSON array. order: what to sort by, e.g. ``ordinal``."""
    return f"('[' || string_agg({record}, ',' ORDER BY {order}) || ']')"


def json_around_bytes(object_name: str, rules: Sequence[FieldRule]) -> int:
    """Bytes of a record of `json_record` beside its texts, at most, the comma after it included."""
    around = (len("".join(_json_around(rule))) + len("null") for rule in rules)
    return len(f'{{"attributes":{{"type":"{object_name}"}},"Id":"{"0" * 18}"}},') + sum(around)


def json_bytes(record: str) -> str:
    """SQL of a record's size in a request, the comma after it included. record: from `json_record`."""
    return f"(strlen({record}) + 1)"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _json_member(rule: FieldRule, source: str) -> str:
    """`,"Field":value`, or nothing at all when the text is absent."""
    null = f""",{_json_literal(rule.field)}:null"""
    before, after = _json_around(rule)
    value = source if _json_type(rule) == "raw" else f"CAST(to_json({source}) AS VARCHAR)"
    closing = f" || {_text(after)}" if after else ""
    return (
        f"CASE WHEN {source} IS NULL THEN '' WHEN {source} = '' THEN {_text(null)} "
        f"ELSE {_text(before)} || {value}{closing} END"
    )


def _json_around(rule: FieldRule) -> tuple[str, str]:
    """What stands before and after a field's value."""
    reference = rule.reference
    if reference is None:
        return f",{_json_literal(rule.field)}:", ""
    kind = (
        f'"attributes":{{"type":{_json_literal(reference.parent_object)}}},' if reference.polymorphic else ""
    )
    return (
        f",{_json_literal(reference.relationship)}:{{{kind}{_json_literal(reference.parent_field)}:",
        "}",
    )


def _json_type(rule: FieldRule) -> str:
    """raw: the text is JSON already; plain: a text that cannot be '#N/A'; string: any text."""
    if rule.lookup is not None and rule.lookup.to_id:
        return "plain"
    if rule.type in _RAW:
        return "raw"
    return "plain" if rule.type in _NO_TEXT else "string"


def _csv_cell_bytes(source: str, *, quotable: bool) -> str:
    """DuckDB quotes a cell with a comma, a quote, a line break or '#' in it (so also a null), and doubles its quotes."""
    text = f"strlen({source})"
    if quotable:  # numbers, booleans and dates hold none of these
        doubled = f"""strlen({source}) - strlen(replace({source}, '"', ''))"""
        text += f""" + CASE WHEN regexp_matches({source}, '[,"\\n\\r#]') THEN 2 + {doubled} ELSE 0 END"""
    return f"CASE WHEN {source} = '' THEN {len(CSV_NULL) + 2} ELSE {text} END"


def _column(name: str, alias: str) -> str:
    return f"{alias}.{quoted(name)}" if alias else quoted(name)


def _json_literal(name: str) -> str:
    """An API name as a JSON string: letters, digits and underscores, nothing to escape."""
    return f'"{name}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
