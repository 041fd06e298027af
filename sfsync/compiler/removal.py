"""Resolves `on_removed` against the org's describe: the constants as wire text, and rules for fields the sync does not map.

Owns:      which fields may be set, and what `on_return` may name.
Does not:  compare rows (diff/retire) or write them.
Invariant: how a record of a removed row stands is read off the snapshot's texts of the fields that the sync does not map: only
           leaving and returning write those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sfsync.compiler.constants import ConstantError, wire_text
from sfsync.compiler.manifest import Removal
from sfsync.compiler.problems import Problems
from sfsync.contract import Field, SObject
from sfsync.errors import Where
from sfsync.project.project import SyncFile
from sfsync.project.spec_types import Constant
from sfsync.records import NO_COLUMN, FieldRule, Send

FindField = Callable[[str, Where], Field | None]
"""The field of that name if it can be written; else the reason is reported."""


def resolve_removal(
    sync: SyncFile, item: SObject, mapped: tuple[FieldRule, ...], find: FindField, problems: Problems
) -> tuple[Removal, tuple[FieldRule, ...]]:
    """What `set` and `on_return` send, and a rule for each field among them that the sync does not map."""
    spec = sync.spec.removal
    if spec.set is None:
        return Removal(archive=spec.archive, after=spec.after), ()
    by_name = {rule.field: rule for rule in mapped}
    work = _Constants(sync, item, find, problems)
    leaving = work.texts("set", spec.set, by_name)
    back = work.texts("on_return", spec.on_return or {}, by_name)
    if back and not any(name not in by_name for name, _ in leaving):
        problems.error(
            f"on_removed.on_return of sync '{sync.name}' needs a field in 'set' that the sync does not map: by it sfsync"
            " knows that a record was set aside",
            work.where("on_return"),
            fix="add such a field to set, or leave on_return out: mapped fields are sent as usual when the row is back",
        )
    return Removal(leaving, back, after=spec.after), tuple(work.rules.values())


class _Constants:
    def __init__(self, sync: SyncFile, item: SObject, find: FindField, problems: Problems) -> None:
        self._sync, self._item, self._find, self._problems = sync, item, find, problems
        self.rules: dict[str, FieldRule] = {}

    def where(self, *loc: str) -> Where:
        """Where a key of `on_removed` stands, in the sync or in the project's defaults."""
        return self._sync.where("on_removed", *loc)

    def texts(
        self, part: str, values: Mapping[str, Constant], mapped: Mapping[str, FieldRule]
    ) -> tuple[tuple[str, str], ...]:
        found = []
        for name, value in values.items():
            at = self.where(part, name)
            field = self._find(name, at)
            if field is None or self._refusal(part, field, value, mapped, at):
                continue
            try:
                text = wire_text(field, value, narrowed=self._item.record_types > 0)
            except ConstantError as error:
                self._problems.error(f"on_removed.{part}.{name}: {self._item.name}.{field.name} {error}", at)
                continue
            found.append((field.name, text))
            if field.name not in mapped:
                self.rules[field.name] = FieldRule(
                    field.name, field.label, NO_COLUMN, field.type, Send.NEVER, Send.REMOVAL
                )
        return tuple(found)

    def _refusal(
        self, part: str, field: Field, value: Constant, mapped: Mapping[str, FieldRule], at: Where
    ) -> bool:
        """Report why a field cannot stand here; True when it cannot."""
        rule, fix = mapped.get(field.name), None
        identity = {name.lower() for name in self._sync.spec.identity}
        if field.name.lower() in identity:
            what, fix = "is the identity, by which the record is known", "remove it"
        elif not field.updateable:
            what, fix = "cannot be changed after a record was made", "remove it"
        elif part == "on_return" and rule is not None:
            what, fix = "is mapped: the model's value is sent when the row is back", "remove it"
        elif rule is not None and rule.reference is not None and value is not None:
            what, fix = "is a lookup by another field, which can only be set to null here", "write null"
        else:
            return False
        self._problems.error(f"on_removed.{part}: {self._item.name}.{field.name} {what}", at, fix=fix)
        return True
