"""Which fields can say which record a row is.

Owns:      the field types that a query finds by their value, and what is told where a field cannot be an identity.
Does not:  resolve mappings (fields).
"""

from __future__ import annotations

from sfsync.compiler.problems import Problems
from sfsync.contract import Field, SObject
from sfsync.errors import Where
from sfsync.project.modes import MODES
from sfsync.project.project import SyncFile
from sfsync.project.spec import SyncSpec

KEY_TYPES = frozenset(
    {"string", "email", "phone", "url", "picklist", "combobox", "reference", "int", "date", "datetime"}
) | {"double", "currency", "percent"}
"""Types that a query finds by their value.

Source: SOQL and SOSL Reference, "fieldExpression Syntax": long text areas cannot be filtered, multi-select lists not by IN.
"""


def is_upsert_key(field: Field) -> bool:
    """Whether the platform upserts by this field."""
    return (field.external_id or field.id_lookup) and field.type != "id"


def may_name(field: Field, item: SObject, spec: SyncSpec, where: Where, problems: Problems) -> bool:
    """Whether the field can say which record a row is, alone or with others; what is doubtful about it is told."""
    name = f"{item.name}.{field.name}"
    alone = len(spec.identity) == 1
    if is_upsert_key(field) and alone:
        if not field.unique:
            problems.warn(
                f"{field.name} is not unique in {item.name}: two records with one value are refused "
                "by the org as DUPLICATE_EXTERNAL_ID",
                where,
            )
        # Nobody asks: then only the org itself can keep a second record from being made.
        upserts = MODES[spec.mode].creates and MODES[spec.mode].updates
        if spec.match == "unknown" or upserts or (MODES[spec.mode].creates and field.unique):
            return True
    if spec.match == "never" and field.type != "id":
        others = (f for f in item.fields if is_upsert_key(f) and f.external_id and f.createable)
        keys = [f.name for f in others if f is not field]
        fix = f", or use an external id of {item.name}: {', '.join(keys)}" if keys else ""
        problems.error(
            f"records cannot be found by {name} where the sync says `match: never`",
            where,
            fix=f"remove `match: never`{fix}",
        )
        return False
    if field.type == "id":
        if alone and not MODES[spec.mode].creates:
            return True
        what = "says which record a row is all by itself" if not alone else "is given by the org"
        problems.error(f"{name} {what}", where, fix="mode: update (or delete), with Id alone as the identity")
        return False
    if field.type not in KEY_TYPES or (field.type == "reference" and field.polymorphic_foreign_key):
        kind = "a reference to several objects" if field.type == "reference" else f"of type {field.type}"
        problems.error(
            f"{name} is {kind}, so it cannot say which record a row is",
            where,
            fix="use an external id, or fields that can be compared in a query",
        )
        return False
    if not alone or field.unique:
        return True
    problems.warn(
        f"{field.name} is not unique in {item.name}: a row whose value several records have is rejected as "
        "DUPLICATE_EXTERNAL_ID",
        where,
    )
    return True


def check_filled(sync: SyncFile, problems: Problems) -> None:
    """Report fields that are only to be filled, where nobody asks the org what stands in them."""
    for name, field in sync.spec.fields.items():
        if field.write == "if_blank" and sync.spec.match == "never":
            problems.error(
                f"{name} says write: if_blank, and with `match: never` nobody asks the org what stands there",
                sync.where("fields", name),
                fix="remove `match: never`, or write the field otherwise",
            )
