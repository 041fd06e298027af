"""What a field's canonical text looks like in an answer, as SQL that yields JSON text, or the text of a CSV cell.

Owns:      forms by field type: numbers, booleans, datetimes with +0000 in JSON, escaped text.
Does not:  choose fields (soql) or build whole records.
Invariant: the SQL never yields NULL; a null field is the text `null` in JSON, and blank in CSV.
"""

from __future__ import annotations

from sfsync.contract import Field
from sfsync.local_org.soql_values import kind


def json_value(found: Field, column: str) -> str:
    """SQL of a field's JSON text, `null` included, from its canonical text."""
    compared = kind(found)
    if compared == "boolean":
        return f"coalesce({column}, 'false')"
    if compared == "number":
        whole = column if found.type in ("int", "long") else _with_point(column)
        return f"coalesce({whole}, 'null')"
    if compared == "datetime":
        return f"coalesce('\"' || rtrim({column}, 'Z') || '+0000\"', 'null')"
    if compared in ("date", "time", "id"):
        return f"coalesce('\"' || {column} || '\"', 'null')"
    return f"coalesce(CAST(to_json({column}) AS VARCHAR), 'null')"


def cell_value(found: Field, column: str) -> str:
    """SQL of a field's text in a Bulk query's CSV, blank for null."""
    compared = kind(found)
    if compared == "boolean":
        return f"coalesce({column}, 'false')"
    if compared == "number" and found.type not in ("int", "long"):
        return f"coalesce({_with_point(column)}, '')"
    return f"coalesce({column}, '')"


def _with_point(column: str) -> str:
    """Numbers that may have a fraction are always written with one: 12.0."""
    return f"CASE WHEN contains({column}, '.') THEN {column} ELSE {column} || '.0' END"
