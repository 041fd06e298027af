"""The SQL of an org's own rules: a record with typed columns, and expressions over it.

Owns:      the types in which an expression sees a record's fields, and the check that it is one.
Does not:  read rules (rules), or judge rows by them (row_rules, assignment, delete).
Invariant: an expression sees the fields of one record by their API names, and nothing of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb

from sfsync.contract import Contract, Field, SObject
from sfsync.errors import OrgError
from sfsync.local_org.rules import Rules
from sfsync.local_org.store import Store, quoted, table

_NUMBERS = ("int", "long", "double", "currency", "percent")
PRIOR = "prior"
"""The record before the write, NULL when it is new: ``prior.Email IS DISTINCT FROM Email``."""


def _typed(field: Field, text: str) -> str:
    if field.type in _NUMBERS:
        return f"TRY_CAST({text} AS DOUBLE)"
    if field.type == "boolean":
        return f"(coalesce({text}, 'false') = 'true')"
    if field.type == "date":
        return f"TRY_CAST({text} AS DATE)"
    if field.type == "datetime":
        return f"TRY_CAST(rtrim({text}, 'Z') AS TIMESTAMP)"
    return f"CAST({text} AS VARCHAR)"


def columns(sobject: SObject, text_of: Callable[[str], str]) -> str:
    """The select list of a record: each field in its type, from SQL of its text."""
    return ", ".join(f"{_typed(f, text_of(f.name))} AS {quoted(f.name)}" for f in sobject.fields)


def prior(sobject: SObject, alias: str) -> str:
    """SQL of the record before the write, as one value."""
    parts = ", ".join(f"{quoted(f.name)} := {_typed(f, f'{alias}.{quoted(f.name)}')}" for f in sobject.fields)
    return f"CASE WHEN {alias}.Id IS NOT NULL THEN struct_pack({parts}) END AS {PRIOR}"


def stored(sobject: SObject) -> str:
    """The records that are there, typed, as a source."""
    return f"(SELECT {columns(sobject, quoted)} FROM {table(sobject.name)})"


def denied_ids(sobject: SObject, when: str | None) -> str:
    """A query of the Ids for which an expression is true."""
    return f"SELECT Id FROM {stored(sobject)} WHERE IsDeleted = false AND ({when or 'true'})"


def check(rules: Rules, contract: Contract, store: Store) -> None:
    """Look whether every expression is one, over its own object.

    Raises:
        OrgError: the engine does not take it; with the rule's name and the engine's words.
    """
    with store.reading() as cursor:
        for where, name, expression in _expressions(rules):
            sobject = contract.object(name)
            if sobject is None:
                continue
            nothing = columns(sobject, lambda _: "NULL::VARCHAR")
            record = f"SELECT {nothing}, {prior(sobject, 't')} FROM {table(sobject.name)} t"
            try:
                cursor.execute(f"SELECT CAST(({expression}\n) AS BOOLEAN) FROM ({record}) LIMIT 0")
            except duckdb.Error as error:
                raise OrgError(
                    f"{where}: this is no expression over {name}: {str(error).splitlines()[0]}",
                    fix="write SQL that is true or false for one record, with its fields by their API names",
                ) from None


def _expressions(rules: Rules) -> Iterator[tuple[str, str, str]]:
    for rule in rules.validation:
        yield f"validation rule '{rule.name}'", rule.object, rule.error_if
    for assigning in rules.assignment:
        for entry in assigning.entries:
            if entry.when is not None:
                yield f"assignment rule '{assigning.name}'", assigning.object, entry.when
    for denial in rules.denials:
        if denial.when is not None:
            yield f"denial about '{denial.object}'", denial.object, denial.when
