"""How a lookup's parent is looked for, where the org does not find it by the reference that it is sent.

Owns:      which records count: active users, queues, record types of the sync's object.
Does not:  resolve a mapping (fields) or look for anybody (diff/parents).
"""

from __future__ import annotations

from sfsync.contract import Field, SObject
from sfsync.records import Lookup, OnMissing


def lookup_of(
    item: SObject, parent: SObject, key: Field, on_missing: OnMissing, *, to_id: bool
) -> Lookup | None:
    """How a parent is looked for; None where the org finds it by the reference that it is sent."""
    if not to_id and on_missing is OnMissing.REJECT:
        return None
    where, kind, known = "", "record", None
    match parent.name:
        case "User":
            where, kind = "IsActive = true", "active user"
        case "Group":
            where, kind = "Type = 'Queue'", "queue"
        case "RecordType":
            where, kind = f"SobjectType = '{item.name}' AND IsActive = true", f"{item.name} record type"
            if key.name == "DeveloperName" and item.record_type_infos:
                kind = f"available {kind}"
                types = [t for t in item.record_type_infos if t.active and t.available]
                if all(t.id for t in types):
                    known = tuple((t.developer_name, t.id or "") for t in types)
    return Lookup(parent.name, key.name, on_missing, to_id, where, kind, known)
