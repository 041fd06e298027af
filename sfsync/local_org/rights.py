"""What a user of the org may do: everything, or what one permission set grants.

Owns:      reading a permission set's metadata and refusing what the platform refuses to deploy, and narrowing the
           objects and fields to what it opens.
Does not:  sign anybody in (grants), or refuse a write (stage and delete do, by what is left of the object).
Invariant: what the set does not open is not there: it is in no describe, no query finds it, and no write may name it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sfsync.contract import Contract, Field, RecordType, SObject
from sfsync.errors import OrgError
from sfsync.local_org.people import People
from sfsync.ports import write_private

FOLDER = "permission_sets"
_METADATA = "{http://soap.sforce.com/2006/04/metadata}"
_EVERYBODY = ("CurrencyType", "Group", "Organization", "RecordType", "User")
HARD_DELETE = "BulkApiHardDelete"
_MAX = 1 << 20
_READ_WITH = {"Contact": ("Account",), "Opportunity": ("Account",), "Case": ("Account", "Contact")}


@dataclass(frozen=True, slots=True)
class PermissionSet:
    """Objects that may be read, by name in small letters, and fields of theirs, as ``contact.email``."""

    label: str
    objects: Mapping[str, frozenset[str]]  # create | edit | delete
    fields: Mapping[str, bool]  # editable
    user: frozenset[str] = frozenset()  # permissions that are about no object
    record_types: frozenset[str] | None = (
        None  # ``account.retail``; None: it says nothing of them, and closes none
    )

    def seen(self, contract: Contract) -> Contract:
        """The contract as a user with this set alone sees it."""
        found = (self._object(item) for item in contract.objects)
        return replace(contract, objects=tuple(item for item in found if item is not None))

    def _object(self, item: SObject) -> SObject | None:
        if item.name in _EVERYBODY:
            return item
        rights = self.objects.get(item.name.lower())
        if rights is None:
            return None
        fields = (self._field(item, field) for field in item.fields)
        return replace(
            item,
            createable=item.createable and "create" in rights,
            updateable=item.updateable and "edit" in rights,
            deletable=item.deletable and "delete" in rights,
            record_type_infos=tuple(self._record_type(item, info) for info in item.record_type_infos),
            fields=tuple(field for field in fields if field is not None),
        )

    def _record_type(self, item: SObject, info: RecordType) -> RecordType:
        named = f"{item.name}.{info.developer_name}".lower()
        return info if self.record_types is None else replace(info, available=named in self.record_types)

    def _field(self, item: SObject, field: Field) -> Field | None:
        if not field.permissionable:
            return field
        editable = self.fields.get(f"{item.name}.{entry_of(field)}".lower())
        if editable is None:
            return None
        return field if editable else replace(field, createable=False, updateable=False)


class Rights:
    """The sets that are assigned to users, kept in the org's folder; a user without one may do everything."""

    def __init__(self, folder: Path, contract: Contract, people: People) -> None:
        self._folder, self._contract, self._people = folder / FOLDER, contract, people
        self._sets: dict[str, PermissionSet] = {}
        for path in sorted(self._folder.glob("*.xml")):
            try:
                self._sets[path.stem] = read(path.read_text(encoding="utf-8"), contract)
            except OrgError as error:
                raise OrgError(
                    f"the permission set of this org's user does not fit its objects: {error}",
                    fix=f"delete {path}: the user may then do everything",
                ) from None

    @property
    def labels(self) -> dict[str, str]:
        """The label of each user's set, by the user's name."""
        people = ((self._people.by_id(user_id), found.label) for user_id, found in self._sets.items())
        return {who.username: label for who, label in people if who is not None}

    def seen(self, contract: Contract, user_id: str) -> Contract:
        """The contract as a user sees it."""
        found = self._sets.get(user_id)
        return contract if found is None else found.seen(contract)

    def has(self, user_id: str, permission: str) -> bool:
        """Whether a user's set gives a permission that is about no object."""
        found = self._sets.get(user_id)
        return found is not None and permission in found.user

    def assign(self, text: str, username: str | None = None) -> str:
        """Give a user (None: the administrator) this set and nothing else; a blank text gives everything. The user's Id.

        Raises:
            OrgError: there is no such user, or the platform would not deploy the set; nothing changes.
        """
        who = self._people.by_name(username) if username is not None else self._people.administrator
        if who is None:
            names = ", ".join(self._people.names())
            raise OrgError(f"this org has no user '{username}'", fix=f"users: {names}")
        path = self._folder / f"{who.user_id}.xml"
        if not text.strip():
            self._sets.pop(who.user_id, None)
            path.unlink(missing_ok=True)
            return who.user_id
        self._sets[who.user_id] = read(text, self._contract)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_private(path, text)
        return who.user_id

    def clear(self) -> None:
        """Everybody may do everything."""
        self._sets.clear()
        for path in self._folder.glob("*.xml"):
            path.unlink()


def entry_of(field: Field) -> str:
    """The name by which a permission set speaks of a field: an address is opened as a whole."""
    return field.compound_field_name or field.name


def read(text: str, contract: Contract) -> PermissionSet:
    """A permission set from its metadata.

    Raises:
        OrgError: no XML of one, or what the platform refuses: unknown names, fields that have no entry, rights that
            need others.
    """
    if len(text) > _MAX or "<!DOCTYPE" in text:
        raise OrgError("a permission set of more than a megabyte, or with a DOCTYPE, is not taken")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise OrgError(f"the permission set is no XML: {error}") from None
    if root.tag != f"{_METADATA}PermissionSet":
        raise OrgError(
            f"this is no PermissionSet but {root.tag.rpartition('}')[2]}",
            fix="sfsync permissions prints one",
        )
    objects = {name.lower(): rights for name, rights in _objects(root, contract)}
    fields = {place.lower(): editable for place, editable in _fields(root, contract)}
    for name in objects:
        found = contract.object(name)
        for needed in _READ_WITH.get(found.name, ()) if found is not None else ():
            if contract.object(needed) is not None and needed.lower() not in objects:
                raise _depends(f"Read {found.name if found else name}", f"Read {needed}")
    user = frozenset(
        _text(part, "name") for part in root.iter(f"{_METADATA}userPermissions") if _flag(part, "enabled")
    )
    types = _record_types(root, contract)
    return PermissionSet(_text(root, "label") or "without a label", objects, fields, user, types)


def _record_types(root: ET.Element, contract: Contract) -> frozenset[str] | None:
    parts = list(root.iter(f"{_METADATA}recordTypeVisibilities"))
    for part in parts:
        place = _text(part, "recordType")
        object_, _, name = place.partition(".")
        item = contract.object(object_)
        if item is None or item.record_type(name) is None:
            raise OrgError(f"In field: recordType - no RecordType named {place} found")
    visible = (_text(part, "recordType").lower() for part in parts if _flag(part, "visible"))
    return frozenset(visible) if parts else None


def _objects(root: ET.Element, contract: Contract) -> Iterator[tuple[str, frozenset[str]]]:
    for part in root.iter(f"{_METADATA}objectPermissions"):
        name = _text(part, "object")
        found = contract.object(name)
        if found is None:
            raise OrgError(f"In field: object - no CustomObject named {name} found")
        if found.name in _EVERYBODY:
            raise OrgError(f"Object permissions are not supported for {found.name}: every user reads it")
        wanted = frozenset(r for r in ("create", "edit", "delete") if _flag(part, f"allow{r.title()}"))
        readable = _flag(part, "allowRead")
        for right in sorted(wanted):
            if not readable:
                raise _depends(f"{right.title()} {found.name}", f"Read {found.name}")
            if right == "delete" and "edit" not in wanted:
                raise _depends(f"Delete {found.name}", f"Edit {found.name}")
        if readable:
            yield found.name, wanted


def _fields(root: ET.Element, contract: Contract) -> Iterator[tuple[str, bool]]:
    for part in root.iter(f"{_METADATA}fieldPermissions"):
        place = _text(part, "field")
        object_, _, name = place.partition(".")
        item = contract.object(object_)
        field = item.field(name) if item is not None else None
        entry = entry_of(field) if field is not None else ""
        if field is None or (entry != field.name and field.permissionable):
            raise OrgError(f"In field: field - no CustomField named {place} found")
        if not field.permissionable:
            raise OrgError(f"You cannot deploy to a required field: {place}")
        if _flag(part, "editable") and not _flag(part, "readable"):
            raise _depends(f"Edit {place}", f"Read {place}")
        if _flag(part, "readable"):
            yield place, _flag(part, "editable")


def _depends(one: str, other: str) -> OrgError:
    return OrgError(f"Permission {one} depends on permission(s): {other}")


def _text(part: ET.Element, name: str) -> str:
    return (part.findtext(f"{_METADATA}{name}") or "").strip()


def _flag(part: ET.Element, name: str) -> bool:
    return _text(part, name) == "true"
