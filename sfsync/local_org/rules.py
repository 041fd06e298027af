"""An org's own setup that refuses or changes what is written: validation, duplicate and assignment rules, denials.

Owns:      their values, reading them from JSON, and the file in the org's folder that keeps them.
Does not:  judge a row by them (row_rules, assignment), or check their SQL (rule_sql).
Invariant: a body with anything unknown or wrong in it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfsync.contract import Contract
from sfsync.errors import OrgError
from sfsync.local_org.ids import to_18

FILE = "rules.json"
ACTIONS = ("alert", "block")
ACCESS = ("edit", "delete", "refer")
_ASSIGNED = ("Account", "Case", "Lead")


@dataclass(frozen=True, slots=True)
class Validation:
    """A row is refused where `error_if`, an SQL expression over the record as it would be saved, is true."""

    object: str
    name: str
    error_if: str
    message: str
    field: str | None = None  # where the message stands; None: at the top


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """A row is refused that has the same values as another record; an alert can be passed by the caller."""

    object: str
    name: str
    match: tuple[str, ...]
    action: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Records for which `when` is true (None: all) go to this owner: a user's name, or a queue's developer name."""

    owner: str
    when: str | None = None


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """Who gets a record: the first entry that fits."""

    object: str
    name: str
    id: str
    active: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Denial:
    """Records for which `when` is true (None: all) are closed to this user (None: to everybody)."""

    object: str
    access: tuple[str, ...]
    when: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All of an org's setup; without any, nothing is asked."""

    validation: tuple[Validation, ...] = ()
    duplicates: tuple[DuplicateRule, ...] = ()
    assignment: tuple[AssignmentRule, ...] = ()
    denials: tuple[Denial, ...] = ()
    hard_delete: bool = False  # the user has the permission "Bulk API Hard Delete"
    given: Mapping[str, Any] = field(default_factory=dict)  # as it was read

    def assigning(self, object_: str, wanted: str | None) -> AssignmentRule | None:
        """The rule that a call asks for: None no rule, "" the active one, else by its Id.

        Raises:
            LookupError: there is no rule of that Id for this object.
        """
        rules = [rule for rule in self.assignment if rule.object == object_]
        if wanted is None:
            return None
        if not wanted:
            return next((rule for rule in rules if rule.active), None)
        named = to_18(wanted)
        found = next((rule for rule in rules if rule.id == named), None)
        if found is None:
            raise LookupError(wanted)
        return found


def parse(body: Any, contract: Contract) -> Rules:
    """Read an org's setup.

    Raises:
        OrgError: an unknown key, object or field, or a value that cannot be.
    """
    if not isinstance(body, Mapping):
        raise OrgError(
            "an org's rules are an object", fix='for example {"hard_delete": true, "validation": []}'
        )
    _known(body, ("validation", "duplicates", "assignment", "denials", "hard_delete"), "the rules")
    hard_delete = body.get("hard_delete", False)
    if not isinstance(hard_delete, bool):
        raise OrgError("hard_delete is true or false")
    return Rules(
        tuple(_validation(one, contract) for one in _listed(body, "validation")),
        tuple(_duplicate(one, contract) for one in _listed(body, "duplicates")),
        tuple(_assignment(one, n, contract) for n, one in enumerate(_listed(body, "assignment"), 1)),
        tuple(_denial(one, contract) for one in _listed(body, "denials")),
        hard_delete,
        dict(body),
    )


def read(folder: Path, contract: Contract) -> Rules:
    """The setup that the org's folder keeps; none, if it keeps none.

    Raises:
        OrgError: the file does not fit the org's objects.
    """
    path = folder / FILE
    if not path.exists():
        return Rules()
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")), contract)
    except (OrgError, ValueError) as error:
        raise OrgError(
            f"the rules of this local org do not fit its objects: {error}",
            fix=f"correct or delete {path}: the org then has none",
        ) from None


def _listed(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = body.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise OrgError(f"{key} is a list of objects")
    return found


def _known(body: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    if strange := [key for key in body if key not in keys]:
        raise OrgError(f"{where}: unknown key '{strange[0]}'", fix=f"the keys are {', '.join(keys)}")


def _text(body: Mapping[str, Any], key: str, where: str, *, needed: bool = True) -> str | None:
    value = body.get(key)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not value.strip():
        raise OrgError(f"{where}: {key} is a text that is not blank")
    return value


def _object(body: Mapping[str, Any], contract: Contract, where: str) -> str:
    name = str(body.get("object", ""))
    found = contract.object(name)
    if found is None:
        raise OrgError(f"{where}: this org has no object '{name}'")
    return found.name


def _field(object_: str, name: str, contract: Contract, where: str) -> str:
    sobject = contract.object(object_)
    found = sobject.field(name) if sobject is not None else None
    if found is None:
        raise OrgError(f"{where}: {object_} has no field '{name}'")
    return found.name


def _validation(body: Mapping[str, Any], contract: Contract) -> Validation:
    where = f"validation rule '{body.get('name', '')}'"
    _known(body, ("object", "name", "error_if", "message", "field"), where)
    object_ = _object(body, contract, where)
    place = _text(body, "field", where, needed=False)
    return Validation(
        object_,
        str(_text(body, "name", where)),
        str(_text(body, "error_if", where)),
        str(_text(body, "message", where)),
        None if place is None else _field(object_, place, contract, where),
    )


def _duplicate(body: Mapping[str, Any], contract: Contract) -> DuplicateRule:
    where = f"duplicate rule '{body.get('name', '')}'"
    _known(body, ("object", "name", "match", "action"), where)
    object_ = _object(body, contract, where)
    match = body.get("match")
    if not isinstance(match, list) or not match or not all(isinstance(name, str) for name in match):
        raise OrgError(f"{where}: match is a list of one field or more")
    action = body.get("action", "block")
    if action not in ACTIONS:
        raise OrgError(f"{where}: action is {action!r}; it is one of {', '.join(ACTIONS)}")
    fields = tuple(_field(object_, name, contract, where) for name in match)
    return DuplicateRule(object_, str(_text(body, "name", where)), fields, action)


def _assignment(body: Mapping[str, Any], number: int, contract: Contract) -> AssignmentRule:
    where = f"assignment rule '{body.get('name', '')}'"
    _known(body, ("object", "name", "active", "entries"), where)
    object_ = _object(body, contract, where)
    if object_ not in _ASSIGNED:
        raise OrgError(f"{where}: {object_} has no assignment rules", fix=f"of {', '.join(_ASSIGNED)}")
    active = body.get("active", True)
    if not isinstance(active, bool):
        raise OrgError(f"{where}: active is true or false")
    entries = []
    for one in _listed(body, "entries"):
        _known(one, ("owner", "when"), f"{where}, an entry")
        entries.append(Entry(str(_text(one, "owner", where)), _text(one, "when", where, needed=False)))
    if not entries:
        raise OrgError(
            f"{where}: entries is a list of one or more", fix='for example [{"owner": "Support_Queue"}]'
        )
    made = to_18(f"01Q{number:012d}") or ""
    return AssignmentRule(object_, str(_text(body, "name", where)), made, active, tuple(entries))


def _denial(body: Mapping[str, Any], contract: Contract) -> Denial:
    where = f"denial about '{body.get('object', '')}'"
    _known(body, ("object", "access", "when", "user"), where)
    access = body.get("access", list(ACCESS))
    if not isinstance(access, list) or not access or not all(one in ACCESS for one in access):
        raise OrgError(f"{where}: access is a list of {', '.join(ACCESS)}")
    return Denial(
        _object(body, contract, where),
        tuple(access),
        _text(body, "when", where, needed=False),
        _text(body, "user", where, needed=False),
    )
