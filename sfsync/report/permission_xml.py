"""A permission set as the platform's metadata: the text that an admin deploys.

Owns:      the XML, in the order in which the platform itself writes it.
Does not:  decide what is in it (jobs/permissions).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol
from xml.sax.saxutils import escape


class ObjectRight(Protocol):
    """An object that may be read, and what else."""

    @property
    def name(self) -> str: ...
    @property
    def create(self) -> bool: ...
    @property
    def edit(self) -> bool: ...
    @property
    def delete(self) -> bool: ...


class FieldRight(Protocol):
    """A field that may be read, as ``Contact.Email``."""

    @property
    def place(self) -> str: ...
    @property
    def editable(self) -> bool: ...


class PermissionSet(Protocol):
    """What a user is given."""

    @property
    def label(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def objects(self) -> Sequence[ObjectRight]: ...
    @property
    def user(self) -> Sequence[str]: ...
    @property
    def fields(self) -> Sequence[FieldRight]: ...


def permission_xml(made: PermissionSet) -> str:
    """The whole file."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata">',
        f"    <description>{escape(made.description)}</description>",
    ]
    for field in made.fields:
        lines += _part("fieldPermissions", _field(field))
    lines.append("    <hasActivationRequired>false</hasActivationRequired>")
    lines.append(f"    <label>{escape(made.label)}</label>")
    for item in made.objects:
        lines += _part("objectPermissions", _object(item))
    for name in made.user:
        lines += _part("userPermissions", [("enabled", True), ("name", name)])
    return "\n".join([*lines, "</PermissionSet>"]) + "\n"


def _field(field: FieldRight) -> list[tuple[str, str | bool]]:
    return [("editable", field.editable), ("field", field.place), ("readable", True)]


def _object(item: ObjectRight) -> list[tuple[str, str | bool]]:
    return [
        ("allowCreate", item.create),
        ("allowDelete", item.delete),
        ("allowEdit", item.edit),
        ("allowRead", True),
        ("modifyAllRecords", False),
        ("object", item.name),
        ("viewAllRecords", False),
    ]


def _part(name: str, values: Sequence[tuple[str, str | bool]]) -> Iterator[str]:
    yield f"    <{name}>"
    for key, value in values:
        text = str(value).lower() if isinstance(value, bool) else escape(value)
        yield f"        <{key}>{text}</{key}>"
    yield f"    </{name}>"
