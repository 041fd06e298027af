"""`sfsync permissions`: the least permission set that the project's user needs, for an admin to deploy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sfsync.contract import Contract, Field
from sfsync.jobs.read_too import EVERYBODY, read_too
from sfsync.jobs.session import Options, Session
from sfsync.project.usage import FieldUse, Usage, usage_of
from sfsync.state import contracts

API, HARD_DELETE = "ApiEnabled", "BulkApiHardDelete"
"""User permissions: of everybody who calls the API, and of those who delete past the recycle bin.

Nothing else is needed: a match reads fields that the set opens, and only `debug` asks for the org's limits.
"""


@dataclass(frozen=True, slots=True)
class ObjectRight:
    """An object that may be read, and what else."""

    name: str
    create: bool = False
    edit: bool = False
    delete: bool = False


@dataclass(frozen=True, slots=True)
class FieldRight:
    """A field that may be read, as ``Contact.Email``."""

    place: str
    editable: bool


@dataclass(frozen=True, slots=True)
class PermissionsResult:
    """The permission set, and what is to be known about it."""

    label: str
    description: str
    objects: tuple[ObjectRight, ...]
    fields: tuple[FieldRight, ...]
    left_out: tuple[tuple[str, str], ...]  # place, why it needs no entry and may have none
    unseen: tuple[str, ...]  # used, and not in what is known of the org
    user: tuple[str, ...] = (API,)  # permissions that are about no object, sorted


def permissions_command(options: Options) -> PermissionsResult:
    """Put the set together from the syncs and what is known of the org; asks nobody."""
    with Session(options, "permissions") as session:
        file = session.contract_file
        if file is not None:
            known: Contract | None = file.contract
        else:
            known = contracts.load(session.store) if session.state_path.exists() else None
        facts = session.facts
        made = least_rights(facts.name, usage_of(session.project), known or Contract(()))
        erases = any(sync.spec.removal.action == "hard_delete" for sync in session.project.syncs)
        return replace(made, user=(API, HARD_DELETE)) if erases else made


def least_rights(project: str, usage: Usage, org: Contract) -> PermissionsResult:
    """What this usage needs. org: as far as it is known; what is not in it is taken for an ordinary field."""
    objects: dict[str, ObjectRight] = {}
    fields: dict[str, FieldRight] = {}
    left_out: dict[str, str] = {}
    unseen: list[str] = []
    for use in usage.objects.values():
        found = org.object(use.name)
        name = found.name if found is not None else use.name
        if name.lower() in EVERYBODY:
            left_out[name] = "every user reads it"
            continue
        if found is None:
            unseen.append(name)
        objects[name.lower()] = ObjectRight(name, use.create, use.update or use.delete, use.delete)
        for field_use in use.fields.values():
            field = found.field(field_use.name) if found is not None else None
            if field is None and found is not None:
                unseen.append(f"{name}.{field_use.name}")
            _add_field(name, field, field_use, fields, left_out)
    for name in read_too(usage, org):
        if name.lower() not in EVERYBODY:
            objects.setdefault(name.lower(), ObjectRight(name))
    return PermissionsResult(
        label=f"sfsync {project}"[:80],
        description=f"What the syncs of the sfsync project {project} need, and nothing else."[:255],
        objects=tuple(objects[key] for key in sorted(objects)),
        fields=tuple(fields[key] for key in sorted(fields)),
        left_out=tuple(sorted(left_out.items())),
        unseen=tuple(sorted(unseen)),
    )


def _add_field(
    object_: str,
    field: Field | None,
    use: FieldUse,
    fields: dict[str, FieldRight],
    left_out: dict[str, str],
) -> None:
    name = field.name if field is not None else use.name
    why = _without_entry(field) if field is not None else "it is the record's Id" if name == "Id" else None
    if why is not None:
        left_out[f"{object_}.{name}"] = why
        return
    if field is not None and field.compound_field_name not in (None, "Name", name):
        name = str(field.compound_field_name)  # an address is opened as a whole
    place = f"{object_}.{name}"
    old = fields.get(place.lower())
    fields[place.lower()] = FieldRight(place, use.written or (old is not None and old.editable))


def _without_entry(field: Field) -> str | None:
    """Why a permission set may not name a field; every user who may write the object writes it."""
    if field.type == "id":
        return "it is the record's Id"
    if field.name_field or field.compound_field_name == "Name":
        return "it is the record's name, or a part of it"
    if field.required_on_create:
        return "it is required, so everybody has it"
    if not field.permissionable:
        return "the platform lets nobody close it"
    return None
