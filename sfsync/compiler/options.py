"""How a sync's rows are sent: options that only some ways of sending honour, and fields that always travel together.

Owns:      the table of fields that the platform ties together, the check of `push` against the mapping and the object, and the
           columns that rows are ordered by.
Does not:  send or price anything.
Invariant: an option that the chosen way cannot honour is an error at its line, never left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sfsync.compiler.fields import find_column
from sfsync.compiler.manifest import PushOptions
from sfsync.compiler.problems import Problems
from sfsync.project.project import SyncFile
from sfsync.project.spec import PushSpec
from sfsync.records import HONOURS, Column, FieldRule, Operation, SourceType, Way
from sfsync.yaml_text import nearest

TOGETHER: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "opportunity": (("StageName", "Probability", "ForecastCategory", "ForecastCategoryName"),),
    "opportunitylineitem": (("Quantity", "UnitPrice", "TotalPrice", "Discount"),),
    "quotelineitem": (("Quantity", "UnitPrice", "Discount"),),
    "orderitem": (("Quantity", "UnitPrice"),),
}
"""Fields of which the platform sets the others anew when one is written alone: a stage brings its own probability and forecast
category, a quantity its total.

Source: Object Reference, "Opportunity" (StageName) and "OpportunityLineItem" (TotalPrice, UnitPrice).
"""

RULED = ("account", "case", "lead")
"""Objects with assignment rules. Source: REST API Developer Guide, "Assignment Rule Header"."""

_RULE_ID = re.compile(r"01Q[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?")


def options_of(given: PushSpec) -> PushOptions:
    """The options of a sync's `push`."""
    return PushOptions(
        all_or_none=given.all_or_none,
        allow_save=given.duplicate_rules == "allow_save",
        assignment_rule=given.assignment_rule,
        update_mru=given.update_mru,
    )


def check_options(sync: SyncFile, problems: Problems) -> None:
    """Report options that the object or the way of sending cannot honour, and groups of fields that are none."""
    given, options = sync.spec.push, options_of(sync.spec.push)
    rule = given.assignment_rule
    if isinstance(rule, str) and not _RULE_ID.fullmatch(rule):
        problems.error(
            f"push.assignment_rule '{rule}' is no Id of an assignment rule",
            sync.where("push", "assignment_rule"),
            fix="write true for the active rule, or its Id, which begins with 01Q",
        )
    elif rule and sync.spec.object.lower() not in RULED:
        problems.error(
            f"{sync.spec.object} has no assignment rules; Account, Case and Lead have",
            sync.where("push", "assignment_rule"),
            fix="remove push.assignment_rule",
        )
    if given.api == "bulk":
        for option in sorted(options.needs(Operation.UPSERT) - HONOURS[Way.BULK]):
            problems.error(
                f"push.{option} cannot be honoured by Bulk, which push.api asks for",
                sync.where("push", option),
                fix=f"set push.api to auto or collections, or remove push.{option}",
            )
    _check_groups(sync, given.send_together or (), problems)


def order_columns(sync: SyncFile, columns: tuple[Column, ...], problems: Problems) -> tuple[Column, ...]:
    """The model's columns that `push.order_by` names, each once."""
    at, out = sync.where("push", "order_by"), {}
    for name in sync.spec.push.order_by:
        column = find_column(sync, name, columns, at, problems)
        if column is None:
            continue
        if column.family in (SourceType.OTHER, SourceType.ARRAY):
            what = f"push.order_by: column '{column.name}' of type {column.type} has no order that is the same everywhere"
            problems.error(what, at, fix="name a column of text, numbers, dates or times")
        out[column.name] = column
    return tuple(out.values())


def _check_groups(sync: SyncFile, groups: tuple[tuple[str, ...], ...], problems: Problems) -> None:
    mapped = {name.lower(): name for name in sync.spec.fields}
    at = sync.where("push", "send_together")
    named = [name.lower() for group in groups for name in group]
    for group in groups:
        for name in group:
            if name.lower() not in mapped:
                fix = nearest(name, mapped.values()) or "map it under fields, or take it out of the group"
                problems.error(f"push.send_together names '{name}', which the sync does not map", at, fix=fix)
        if len(group) < 2:
            problems.error(
                "push.send_together has a group of fewer than two fields", at, fix="name two or more"
            )
    if len(set(named)) < len(named):
        twice = next(name for n, name in enumerate(named) if name in named[:n])
        problems.error(
            f"push.send_together names '{mapped.get(twice, twice)}' twice",
            at,
            fix="make one group of the two",
        )


def together_of(given: PushSpec, object_: str, fields: Iterable[FieldRule]) -> tuple[tuple[str, ...], ...]:
    """Groups of at least two mapped fields, as describe spells them."""
    mapped = {rule.field.lower(): rule.field for rule in fields}
    groups = TOGETHER.get(object_.lower(), ()) if given.send_together is None else given.send_together
    found = (tuple(mapped[name.lower()] for name in group if name.lower() in mapped) for group in groups)
    return tuple(group for group in found if len(group) > 1)
