"""Resolves each mapping of a sync once, against the org's describe and the model's columns.

Owns:      policies turned into on_create and on_update, lookups turned into references, constants into texts.
Does not:  say what can be written at all (writable), build SQL (wire), order syncs (graph), or ask an org.
Invariant: a FieldRule that leaves here can be sent: its field exists, may be written, and its column has a type that
           has one text on every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfsync.compiler.constants import ConstantError, wire_text
from sfsync.compiler.keys import KEY_TYPES, check_filled, is_upsert_key, may_name
from sfsync.compiler.lookups import lookup_of
from sfsync.compiler.manifest import NO_REMOVAL, Removal
from sfsync.compiler.names import suggest
from sfsync.compiler.problems import Problems
from sfsync.compiler.removal import resolve_removal
from sfsync.compiler.surroundings import OrgView
from sfsync.compiler.wire import accepts
from sfsync.compiler.writable import check_currency, check_required, check_rights, refusal
from sfsync.contract import Field, SObject
from sfsync.errors import Where
from sfsync.project.modes import MODES
from sfsync.project.project import SyncFile
from sfsync.project.spec_fields import FieldSpec
from sfsync.records import NO_COLUMN, Column, FieldRule, Lookup, OnMissing, Reference, Send, SourceType

_LENGTH_TYPES = frozenset(
    {"string", "textarea", "phone", "url", "email", "encryptedstring", "combobox", "picklist"}
)
_NUMBERS = frozenset({"double", "currency", "percent"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A sync's mappings, ready for the wire."""

    object: SObject
    identity: tuple[FieldRule, ...]
    fields: tuple[FieldRule, ...]
    removal: Removal = NO_REMOVAL
    upsertable: bool = False  # the identity is one field that the platform upserts by


def find_object(name: str, org: OrgView, where: Where, problems: Problems) -> SObject | None:
    """The object, or None with an error (it does not exist) or a warning (nobody has described it yet)."""
    found = org.contract.object(name)
    if found is None and org.whole:
        near = suggest(name, (o.name for o in org.contract.objects), kind="objects")
        what, fix = org.has_no(f"object '{name}'", near)
        problems.error(what, where, fix=fix)
    elif found is None:
        problems.warn(f"fields of '{name}' are not checked: the org has not been asked about it yet")
    return found


def used_columns(sync: SyncFile, columns: tuple[Column, ...], problems: Problems) -> Mapping[str, Column]:
    """The model's column for each name that the sync maps: exactly, else without case.

    A name that no column has, or two have, is reported and left out.
    """
    out: dict[str, Column] = {}
    for part, mapping in (("identity", sync.spec.identity), ("fields", sync.spec.fields)):
        for field, item in mapping.items():
            if item.column is None or item.column in out:
                continue
            column = find_column(sync, item.column, columns, _column_where(sync, part, field), problems)
            if column is not None:
                out[item.column] = column
    return out


def find_column(
    sync: SyncFile, name: str, columns: tuple[Column, ...], where: Where, problems: Problems
) -> Column | None:
    """The model's column of that name: exactly, else without case; None with an error where there is none, or two."""
    found = [c for c in columns if c.name == name]
    found = found or [c for c in columns if c.name.lower() == name.lower()]
    if len(found) == 1:
        return found[0]
    what = f"two columns '{name}'" if found else f"no column '{name}'"
    fix = "give one of them another name" if found else None
    problems.error(
        f"model '{sync.spec.model}' has {what}",
        where,
        fix=fix or suggest(name, (c.name for c in columns), kind="columns"),
    )
    return None


def resolve(
    sync: SyncFile, columns: Mapping[str, Column], org: OrgView, problems: Problems
) -> Resolved | None:
    """Resolve a sync's object, identity and fields; None when the object or a parent is not described yet.

    columns: what `used_columns` gave. Every finding goes to `problems`; what is returned beside errors is not to be used.
    """
    item = find_object(sync.spec.object, org, sync.value_where("object"), problems)
    if item is None:
        return None
    check_rights(sync, item, org, problems)
    check_filled(sync, problems)
    check_currency(sync, item, problems)
    work = _Resolver(sync, item, columns, org, problems)
    identity = tuple(r for r in (work.identity(name) for name in sync.spec.identity) if r is not None)
    fields = tuple(r for r in (work.field(name, m) for name, m in sync.spec.fields.items()) if r is not None)
    if MODES[sync.spec.mode].creates:
        check_required(sync, item, problems)
    removal, others = resolve_removal(sync, item, fields, work.writable, problems)
    keys = [item.field(rule.field) for rule in identity]
    upsertable = len(keys) == 1 and keys[0] is not None and is_upsert_key(keys[0])
    return None if work.undescribed else Resolved(item, identity, fields + others, removal, upsertable)


def _column_where(sync: SyncFile, part: str, name: str) -> Where:
    """Where a mapping's column stands, written short or long."""
    long = (*sync.loc, part, name, "column") in sync.document.values
    return sync.value_where(part, name, "column") if long else sync.value_where(part, name)


class _Resolver:
    """One sync's mappings against one object."""

    def __init__(
        self, sync: SyncFile, item: SObject, columns: Mapping[str, Column], org: OrgView, problems: Problems
    ) -> None:
        self.sync, self.item, self.columns, self.org, self.problems = sync, item, columns, org, problems
        self.undescribed = False  # a parent object is not in the contract

    def identity(self, name: str) -> FieldRule | None:
        where = self.sync.where("identity", name)
        spec = self.sync.spec.identity[name]
        column = self.columns.get(spec.column)
        field = self._find(name, where)
        if field is None or not may_name(field, self.item, self.sync.spec, where, self.problems):
            return None
        creates = MODES[self.sync.spec.mode].creates
        if creates and not self._is_writable(field, where, key=True):
            return None
        reference, shape = None, _shape(field, self.item)
        if spec.lookup is not None:
            parent = self._parent(field, spec.lookup, OnMissing.REJECT, where, part="identity")
            if parent is None:
                return None
            reference, lookup, shape = parent
            if lookup is not None:
                self.problems.error(
                    f"{lookup.object}.{lookup.field} is not a unique external id; a lookup in the identity needs one",
                    where,
                    fix="map the field that holds the parent's Id, or use another field as the identity",
                )
                return None
        if column is None or not self._accepts(field, column, shape["type"], where):
            return None
        return FieldRule(
            field=field.name,
            label=field.label,
            column=column,
            on_create=Send.VALUE if creates else Send.NEVER,
            on_update=Send.VALUE if creates and field.updateable else Send.NEVER,
            required=True,
            nillable=field.nillable,
            reference=reference,
            pii=spec.pii,
            **shape,
        )

    def field(self, name: str, spec: FieldSpec) -> FieldRule | None:
        where = self.sync.where("fields", name)
        field = self._find(name, where)
        if field is None or not self._is_writable(field, where):
            return None
        if spec.column is None:
            return self._constant(field, name, spec)
        column = self.columns.get(spec.column)
        reference, lookup, shape = None, None, _shape(field, self.item)
        if spec.lookup is not None:
            parent = self._parent(field, spec.lookup, OnMissing(spec.on_missing), where)
            if parent is None:
                return None
            reference, lookup, shape = parent
        if column is None or not self._accepts(field, column, shape["type"], where):
            return None
        if spec.truncate and shape["type"] not in _LENGTH_TYPES - {"picklist", "email"}:
            self.problems.error(
                f"{field.name} is of type {shape['type']}, which cannot be cut",
                self.sync.where("fields", name, "truncate"),
                fix="remove truncate",
            )
        on_create, on_update = self._policies(field, spec, where)
        return FieldRule(
            field=field.name,
            label=field.label,
            column=column,
            on_create=on_create,
            on_update=on_update,
            required=field.required_on_create,
            nillable=field.nillable,
            reference=reference,
            truncate=spec.truncate,
            pii=spec.pii,
            lookup=lookup,
            restricts=field.restricted_delete,
            **shape,
        )

    def _constant(self, field: Field, name: str, spec: FieldSpec) -> FieldRule | None:
        """The rule of a field that has the same text in every record; a null is meant, and so is sent."""
        where = self.sync.value_where("fields", name, "value")
        try:
            text = wire_text(field, spec.value, narrowed=self.item.record_types > 0)
        except ConstantError as error:
            self.problems.error(f"{self.item.name}.{field.name}: the value {error}", where)
            return None
        on_create, on_update = self._policies(field, spec, where)
        if text == "":
            on_create = Send.VALUE_OR_NULL if on_create is Send.VALUE else on_create
            on_update = Send.VALUE_OR_NULL if on_update is Send.VALUE else on_update
        return FieldRule(
            field=field.name,
            label=field.label,
            column=NO_COLUMN,
            on_create=on_create,
            on_update=on_update,
            required=field.required_on_create,
            nillable=field.nillable,
            pii=spec.pii,
            constant=text,
            **_shape(field, self.item),
        )

    def _policies(self, field: Field, spec: FieldSpec, where: Where) -> tuple[Send, Send]:
        clear = (spec.nulls or self.sync.spec.nulls) == "clear" and field.type != "boolean"
        on_create = Send.VALUE_OR_NULL if clear and self.sync.spec.clear_on_create else Send.VALUE
        filled = spec.write == "if_blank"
        on_update = Send.IF_BLANK if filled else Send.VALUE_OR_NULL if clear else Send.VALUE
        mode = self.sync.spec.mode
        if not field.updateable:
            if MODES[mode].updates:
                self.problems.warn(
                    f"{field.name} can only be set on create; later changes are not sent", where
                )
            on_update = Send.NEVER
        if not field.createable:
            if MODES[mode].creates:
                self.problems.warn(
                    f"{field.name} cannot be set on create; it is sent by a later update", where
                )
            on_create = Send.NEVER
        if not MODES[mode].updates or spec.write == "on_create":
            on_update = Send.NEVER
        if not MODES[mode].creates:
            on_create = Send.NEVER
            if spec.write == "on_create":
                what = f"{field.name} says write: on_create, and mode {mode} creates nothing"
                self.problems.error(what, where, fix="remove the field, or choose a mode that creates")
        return on_create, on_update

    def writable(self, name: str, where: Where) -> Field | None:
        """The field of that name, if it can be written; else the reason is reported."""
        field = self._find(name, where)
        return field if field is not None and self._is_writable(field, where) else None

    def _find(self, name: str, where: Where) -> Field | None:
        field = self.item.field(name)
        if field is None:
            near = suggest(name, (f.name for f in self.item.fields), kind="fields")
            what, fix = self.org.has_no(f"field '{name}'", near, self.item.name)
            self.problems.error(what, where, fix=fix)
        return field

    def _is_writable(self, field: Field, where: Where, *, key: bool = False) -> bool:
        reason, fix = refusal(field, self.item)
        if reason is None and key and not field.createable:
            reason = "it cannot be set on create"
        if reason is None:
            return True
        self.problems.error(
            f"{self.item.name}.{field.name} cannot be written: {reason.format(who=self.org.who)}",
            where,
            fix=(fix or "remove it from the sync").format(then_pull=self.org.then_pull),
        )
        return False

    def _accepts(self, field: Field, column: Column, type_: str, where: Where) -> bool:
        if column.family is SourceType.OTHER:
            what, fix = "has no text that is the same everywhere", "CAST or format it in the model"
        elif not accepts(type_, column.family):
            into = f"{type_} of its parent" if type_ != field.type else type_
            what, fix = f"does not go into a field of type {into}", "CAST or format it in the model"
        else:
            self._say_zone(field, column, where)
            return True
        self.problems.error(
            f"{field.name}: column '{column.name}' of type {column.type} {what}", where, fix=fix
        )
        return False

    def _say_zone(self, field: Field, column: Column, where: Where) -> None:
        """Tell when a time without a zone is read in a zone that nobody chose."""
        chosen = ("timezone",) in self.sync.defaults.keys
        if (
            field.type == "datetime"
            and column.family in (SourceType.TIMESTAMP, SourceType.DATE)
            and not chosen
        ):
            self.problems.warn(
                f"{field.name}: '{column.name}' has no time zone and is read as UTC; "
                "`timezone` in sfsync_project.yml says otherwise",
                where,
            )

    def _parent(
        self, field: Field, lookup: str, on_missing: OnMissing, where: Where, *, part: str = "fields"
    ) -> tuple[Reference | None, Lookup | None, dict[str, Any]] | None:
        """The reference of a lookup, how it is looked for, and the shape of the parent's field."""
        at = self.sync.value_where(part, field.name, "lookup")
        at = where if at.line is None else at
        parent_name, parent_field = lookup.split(".")
        if field.type != "reference" or field.relationship_name is None:
            self.problems.error(
                f"{self.item.name}.{field.name} is of type {field.type}, so it cannot look up a parent",
                at,
                fix="remove lookup, or map the field that holds the parent's Id",
            )
            return None
        target = next((n for n in field.reference_to if n.lower() == parent_name.lower()), None)
        if target is None:
            self.problems.error(
                f"{self.item.name}.{field.name} does not refer to '{parent_name}'",
                at,
                fix=f"it refers to {', '.join(field.reference_to) or 'nothing'}",
            )
            return None
        parent = find_object(target, self.org, at, self.problems)
        if parent is None:
            self.undescribed = True
            return None
        key = self._parent_key(parent, parent_field, at)
        if key is None:
            return None
        self._check_missing(field, on_missing, where)
        reference = None
        if key.unique and (key.external_id or key.id_lookup):
            reference = Reference(
                field.relationship_name, parent.name, key.name, field.polymorphic_foreign_key
            )
        found = lookup_of(self.item, parent, key, on_missing, to_id=reference is None)
        return reference, found, _shape(key, parent)

    def _check_missing(self, field: Field, on_missing: OnMissing, where: Where) -> None:
        if on_missing in (OnMissing.NULL, OnMissing.SKIP_FIELD) and field.required_on_create:
            self.problems.error(
                f"{self.item.name}.{field.name} is required, and on_missing: {on_missing} would leave it out",
                where,
                fix="write on_missing: reject, or resolve",
            )

    def _parent_key(self, parent: SObject, name: str, where: Where) -> Field | None:
        key = parent.field(name)
        if key is None:
            near = suggest(name, (f.name for f in parent.fields), kind="fields")
            what, fix = self.org.has_no(f"field '{name}'", near, parent.name)
            self.problems.error(what, where, fix=fix)
        elif key.type not in KEY_TYPES:
            is_id = key.type == "id"
            kind = "the record's own Id" if is_id else f"of type {key.type}"
            self.problems.error(
                f"{parent.name}.{key.name} is {kind}, and a lookup finds no parent by it",
                where,
                fix="remove lookup: the column has the Id already"
                if is_id
                else f"use an external id of {parent.name}, or another field that a query can compare",
            )
        else:
            return key
        return None


def _shape(field: Field, item: SObject) -> dict[str, Any]:
    """What the wire projection asks of a field's type."""
    picklist = None
    if field.restricted_picklist and field.picklist and item.record_types == 0:
        picklist = field.picklist
    precision, scale = None, None
    if field.type in _NUMBERS:
        precision, scale = field.precision or None, field.scale
    elif field.type == "int":
        precision, scale = field.digits or None, 0
    return {
        "type": field.type,
        "length": field.length or None if field.type in _LENGTH_TYPES else None,
        "precision": precision,
        "scale": scale,
        "picklist": picklist,
        "case_sensitive": field.case_sensitive,
    }
