"""An org's objects and fields as typed values: what describe says, less what sfsync never asks.

Owns:      the contract's JSON form (a file in git, the state's cache and the local org's schema are one form), reading
           and writing it, and the lookups by case-insensitive name.
Does not:  fetch anything, compare two of them (drift), or judge a sync against one (compiler/fields does).
Invariant: `SObject.from_describe(x).to_json()` keeps every property that a rule of ours reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from sfsync import child_objects
from sfsync.child_objects import ChildLink, wrong_type
from sfsync.errors import SpecError, Where

FORMAT = 1
USED, ALL = "used", "all"
"""Which fields a contract in git has: those that the project uses, or all that the user could see."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an sobject, in describe's own words (camelCase turned to snake_case)."""

    name: str
    label: str
    type: (
        str  # string, textarea, boolean, int, double, currency, percent, date, datetime, time, picklist, ...
    )
    length: int = 0  # characters
    precision: int = 0  # digits in all (double, currency, percent)
    scale: int = 0
    digits: int = 0  # int
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    defaulted_on_create: bool = False
    external_id: bool = False
    id_lookup: bool = False
    unique: bool = False
    case_sensitive: bool = False
    calculated: bool = False
    auto_number: bool = False
    restricted_picklist: bool = False
    picklist: tuple[str, ...] = ()  # active values
    default_value: str | None = None
    reference_to: tuple[str, ...] = ()
    relationship_name: str | None = None
    polymorphic_foreign_key: bool = False
    cascade_delete: bool = False  # this lookup's rows go when the parent goes
    restricted_delete: bool = False  # this lookup's rows block the parent's deletion
    compound_field_name: str | None = None
    name_field: bool = False
    permissionable: bool = True  # a profile or a permission set may open or close it

    @property
    def custom(self) -> bool:
        return self.name.endswith(("__c", "__pc", "__s"))

    @property
    def required_on_create(self) -> bool:
        """Salesforce refuses an insert without it."""
        return (
            self.createable and not self.nillable and not self.defaulted_on_create and self.type != "boolean"
        )


@dataclass(frozen=True, slots=True)
class RecordType:
    """One record type of an object, other than Master, as this connection's user has it."""

    developer_name: str
    id: str | None = None
    label: str = ""
    active: bool = True
    available: bool = True  # this user may give it to a record
    default: bool = False  # what a record gets that names none
    picklists: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # field, its values here; describe does not tell them


@dataclass(frozen=True)
class SObject:
    """One object: its rights for this connection's user, and its fields."""

    name: str
    label: str
    key_prefix: str | None
    createable: bool
    updateable: bool
    deletable: bool
    fields: tuple[Field, ...]
    queryable: bool = True
    record_types: int = 0  # other than Master: restricted lists may be narrowed by them
    record_type_infos: tuple[RecordType, ...] = ()  # which; a contract of an older form has only their number
    children: tuple[ChildLink, ...] | None = (
        None  # what a delete takes along, or what forbids it; None: not known
    )

    @cached_property
    def _by_name(self) -> Mapping[str, Field]:
        return {f.name.lower(): f for f in self.fields}

    def field(self, name: str) -> Field | None:
        """The field of that API name, whatever its case."""
        return self._by_name.get(name.lower())

    def record_type(self, developer_name: str) -> RecordType | None:
        """The record type of that developer name, whatever its case."""
        wanted = developer_name.lower()
        return next((r for r in self.record_type_infos if r.developer_name.lower() == wanted), None)

    @classmethod
    def from_describe(cls, body: Mapping[str, Any]) -> SObject:
        """Take in the answer of ``GET /sobjects/{name}/describe``."""
        types = [r for r in body.get("recordTypeInfos") or () if not r.get("master")]
        return cls(
            name=body["name"],
            label=body.get("label") or body["name"],
            key_prefix=body.get("keyPrefix"),
            createable=bool(body.get("createable")),
            updateable=bool(body.get("updateable")),
            deletable=bool(body.get("deletable")),
            queryable=bool(body.get("queryable", True)),
            record_types=len(types),
            record_type_infos=tuple(_record_type_from_describe(r) for r in types if r.get("developerName")),
            fields=tuple(_field_from_describe(f) for f in body["fields"]),
            children=child_objects.from_describe(body),
        )


@dataclass(frozen=True)
class Contract:
    """What one org looked like for one user at one time."""

    objects: tuple[SObject, ...]
    org_id: str | None = None
    username: str | None = None
    api_version: str | None = None
    fetched_at: str | None = None  # ISO 8601, UTC
    scope: str | None = None  # USED or ALL of a contract in git

    @cached_property
    def _by_name(self) -> Mapping[str, SObject]:
        return {o.name.lower(): o for o in self.objects}

    def object(self, name: str) -> SObject | None:
        """The object of that API name, whatever its case."""
        return self._by_name.get(name.lower())

    def reference_to(self, name: str, field_name: str) -> tuple[str, ...]:
        """The objects whose records a field may refer to; empty for any other field, and for what is not known."""
        found = self.object(name)
        field = found.field(field_name) if found is not None else None
        return field.reference_to if field is not None else ()

    def with_objects(self, objects: Iterable[SObject]) -> Contract:
        """The same contract with these objects put in or replaced."""
        merged = {o.name: o for o in self.objects} | {o.name: o for o in objects}
        return Contract(
            tuple(merged[name] for name in sorted(merged)),
            self.org_id,
            self.username,
            self.api_version,
            self.fetched_at,
            self.scope,
        )


def to_json(contract: Contract) -> str:
    """The contract as stable text: objects and fields sorted, defaults left out."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "org_id": contract.org_id,
        "username": contract.username,
        "api_version": contract.api_version,
        "fetched_at": contract.fetched_at,
        "scope": contract.scope,
        "objects": {o.name: _object_json(o) for o in sorted(contract.objects, key=lambda o: o.name)},
    }
    return json.dumps({k: v for k, v in body.items() if v is not None}, indent=1, ensure_ascii=False) + "\n"


def to_file(contract: Contract) -> str:
    """The contract as it stands in git: a field a line, and a picklist's value a line, so that a diff names what changed.

    The same form as `to_json`. It holds no time, so that an org that did not change gives the file that is there.
    """
    head: list[tuple[str, Any]] = [
        ("format", FORMAT),
        ("org_id", contract.org_id),
        ("username", contract.username),
        ("api_version", contract.api_version),
        ("scope", contract.scope),
    ]
    lines = ["{"]
    lines += [f' "{key}": {_text(value)},' for key, value in head if value is not None]
    objects = sorted(contract.objects, key=lambda o: o.name)
    lines.append(' "objects": {' + ("" if objects else "}"))
    for item in objects:
        body = _object_json(item)
        made = body.pop("fields")
        listed = {part: body.pop(part) for part in ("record_type_infos", "children") if body.get(part)}
        lines.append(f"  {_text(item.name)}: {{")
        lines += [f"   {_text(key)}: {_text(value)}," for key, value in body.items()]
        for part, members in listed.items():
            rows = [f"    {_text(name)}: {_text(value)}" for name, value in members.items()]
            lines.append(f"   {_text(part)}: {{\n" + ",\n".join(rows) + "\n   },")
        lines.append('   "fields": {' + ("" if made else "}"))
        rows = [_field_line(name, value) for name, value in made.items()]
        lines += [row + ("," if place < len(rows) else "") for place, row in enumerate(rows, 1)]
        lines += ["   }"] if made else []
        lines.append("  }" + ("," if item is not objects[-1] else ""))
    lines += [" }"] if objects else []
    return "\n".join([*lines, "}"]) + "\n"


def _field_line(name: str, body: Mapping[str, Any]) -> str:
    """One field; the values of a picklist are lines of their own behind it."""
    plain = {key: value for key, value in body.items() if key != "picklist"}
    line = f"    {_text(name)}: {_text(plain)}"
    values = sorted(body.get("picklist", ()))
    if not values:
        return line
    rows = ",\n".join(f"     {_text(value)}" for value in values)
    return f'{line[:-1]}, "picklist": [\n{rows}\n    ]}}'


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def from_json(text: str, *, path: Path | str = "contract") -> Contract:
    """Read what `to_json` wrote, or a hand-written file of the same form.

    Raises:
        SpecError: not JSON, a newer form, a name that stands twice, or a property that does not exist or has another type.
    """
    try:
        body = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except json.JSONDecodeError as error:
        raise SpecError(f"not JSON: {error.msg}", where=Where(path, error.lineno, error.colno)) from None
    except RecursionError:
        raise SpecError("an org contract is a JSON object with 'objects'", where=Where(path)) from None
    if not isinstance(body, dict) or not isinstance(body.get("objects"), dict):
        raise SpecError("an org contract is a JSON object with 'objects'", where=Where(path))
    if body.get("format", FORMAT) != FORMAT:
        raise SpecError(
            f"org contract of format {body['format']}; this sfsync reads format {FORMAT}",
            where=Where(path),
            fix="install the version of sfsync that wrote it, or a newer one",
        )
    head = {key: body.get(key) for key in ("org_id", "username", "api_version", "fetched_at", "scope")}
    for key, value in head.items():
        if not isinstance(value, str | None) or (key == "scope" and value not in (None, USED, ALL)):
            raise SpecError(f"'{key}' is {value!r}, which it cannot be", where=Where(path))
    return Contract(
        tuple(_object_from_json(name, value, path) for name, value in body["objects"].items()), **head
    )


def _once(pairs: list[tuple[str, Any]], path: Path | str) -> dict[str, Any]:
    """A JSON object; a merge may leave a name in it twice, of which JSON itself would keep the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"'{twice}' stands twice in one JSON object", where=Where(path))
    return found


_DEFAULTS = {f.name: f.default for f in fields(Field) if f.name not in ("name", "label", "type")}


_TYPE_DEFAULTS = {"id": None, "label": "", "active": True, "available": True, "default": False}


def _object_json(item: SObject) -> dict[str, Any]:
    types = {
        t.developer_name: {k: getattr(t, k) for k, d in _TYPE_DEFAULTS.items() if getattr(t, k) != d}
        | ({"picklists": {name: list(values) for name, values in t.picklists}} if t.picklists else {})
        for t in sorted(item.record_type_infos, key=lambda t: t.developer_name)
    }
    return {
        "label": item.label,
        "key_prefix": item.key_prefix,
        "createable": item.createable,
        "updateable": item.updateable,
        "deletable": item.deletable,
        "queryable": item.queryable,
        "record_types": item.record_types,
        **({"record_type_infos": types} if types else {}),
        **({"children": child_objects.to_json(item.children)} if item.children is not None else {}),
        "fields": {f.name: _field_json(f) for f in sorted(item.fields, key=lambda f: f.name)},
    }


def _field_json(item: Field) -> dict[str, Any]:
    out: dict[str, Any] = {"label": item.label, "type": item.type}
    for name, default in _DEFAULTS.items():
        value = getattr(item, name)
        if value != default:
            out[name] = list(value) if isinstance(value, tuple) else value
    return out


_OBJECT: dict[str, type] = {
    "label": str,
    "createable": bool,
    "updateable": bool,
    "deletable": bool,
    "queryable": bool,
    "record_types": int,
}


def _object_from_json(name: str, body: Any, path: Path | str) -> SObject:
    if not isinstance(body, dict) or not isinstance(body.get("fields"), dict):
        raise SpecError(f"object '{name}' needs 'fields', a JSON object", where=Where(path))
    for key, kind in _OBJECT.items():
        if key in body and type(body[key]) is not kind:
            raise wrong_type(f"object {name}", key, kind, path)
    prefix = body.get("key_prefix")
    if not isinstance(prefix, str | None):
        raise wrong_type(f"object {name}", "key_prefix", str, path)
    types = body.get("record_type_infos", {})
    if not isinstance(types, dict):
        raise wrong_type(f"object {name}", "record_type_infos", dict, path)
    infos = tuple(_record_type_from_json(n, t, f"{name} record type {n}", path) for n, t in types.items())
    return SObject(
        name=name,
        label=body.get("label", name),
        key_prefix=prefix,
        createable=body.get("createable", True),
        updateable=body.get("updateable", True),
        deletable=body.get("deletable", True),
        queryable=body.get("queryable", True),
        record_types=body.get("record_types", len(infos)),
        record_type_infos=infos,
        fields=tuple(_field_from_json(n, f, f"{name}.{n}", path) for n, f in body["fields"].items()),
        children=child_objects.from_json(body.get("children"), f"object {name}", path),
    )


def _record_type_from_json(name: str, body: Any, at: str, path: Path | str) -> RecordType:
    if not isinstance(body, dict):
        raise SpecError(f"{at} is no JSON object", where=Where(path))
    if unknown := sorted(set(body) - set(_TYPE_DEFAULTS) - {"picklists"}):
        raise SpecError(f"{at}: unknown property '{unknown[0]}'", where=Where(path))
    for key, default in _TYPE_DEFAULTS.items():
        kind = str if default is None else type(default)
        if key in body and type(body[key]) is not kind:
            raise wrong_type(at, key, kind, path)
    lists = body.get("picklists", {})
    good = isinstance(lists, dict) and all(
        isinstance(values, list) and all(isinstance(v, str) for v in values) for values in lists.values()
    )
    if not good:
        raise SpecError(f"{at}: 'picklists' must be an object of lists of texts", where=Where(path))
    given: dict[str, Any] = {k: body.get(k, default) for k, default in _TYPE_DEFAULTS.items()}
    return RecordType(
        name,
        **given,
        picklists=tuple((field, tuple(values)) for field, values in lists.items()),
    )


def _field_from_json(name: str, body: Any, at: str, path: Path | str) -> Field:
    if not isinstance(body, dict):
        raise SpecError(f"field {at} is no JSON object", where=Where(path))
    unknown = set(body) - set(_DEFAULTS) - {"label", "type"}
    if unknown or "type" not in body:
        what = f"unknown property '{sorted(unknown)[0]}'" if unknown else "no 'type'"
        raise SpecError(f"field {at}: {what}", where=Where(path))
    for key, value in body.items():
        default = _DEFAULTS.get(key, "")
        kind = str if default is None else type(default)
        if isinstance(default, tuple):
            good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        else:
            good = type(value) is kind or (default is None and value is None)
        if not good:
            raise wrong_type(f"field {at}", key, kind, path)
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in body.items() if k not in ("label", "type")
    }
    return Field(name=name, label=body.get("label", name), type=body["type"], **values)


def _record_type_from_describe(body: Mapping[str, Any]) -> RecordType:
    return RecordType(
        developer_name=body["developerName"],
        id=body.get("recordTypeId"),
        label=body.get("name") or "",
        active=bool(body.get("active", True)),
        available=bool(body.get("available", True)),
        default=bool(body.get("defaultRecordTypeMapping")),
    )


def _field_from_describe(body: Mapping[str, Any]) -> Field:
    default = body.get("defaultValue")
    return Field(
        name=body["name"],
        label=body.get("label") or body["name"],
        type=body["type"],
        length=body.get("length") or 0,
        precision=body.get("precision") or 0,
        scale=body.get("scale") or 0,
        digits=body.get("digits") or 0,
        nillable=bool(body.get("nillable")),
        createable=bool(body.get("createable")),
        updateable=bool(body.get("updateable")),
        defaulted_on_create=bool(body.get("defaultedOnCreate")),
        external_id=bool(body.get("externalId")),
        id_lookup=bool(body.get("idLookup")),
        unique=bool(body.get("unique")),
        case_sensitive=bool(body.get("caseSensitive")),
        calculated=bool(body.get("calculated")),
        auto_number=bool(body.get("autoNumber")),
        restricted_picklist=bool(body.get("restrictedPicklist")),
        picklist=tuple(p["value"] for p in body.get("picklistValues") or () if p.get("active", True)),
        default_value=None
        if default is None
        else str(default).lower()
        if isinstance(default, bool)
        else str(default),
        reference_to=tuple(body.get("referenceTo") or ()),
        relationship_name=body.get("relationshipName"),
        polymorphic_foreign_key=bool(body.get("polymorphicForeignKey")),
        cascade_delete=bool(body.get("cascadeDelete")),
        restricted_delete=bool(body.get("restrictedDelete")),
        compound_field_name=body.get("compoundFieldName"),
        name_field=bool(body.get("nameField")),
        permissionable=bool(body.get("permissionable", True)),
    )
