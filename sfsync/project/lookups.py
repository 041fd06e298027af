"""What becomes of a row whose lookup names no record, by kind of lookup and by policy: one table.

Owns:      Kind, Policy, and EFFECTS, of which docs/reference/lookups.md is made.
Does not:  resolve a lookup (compiler/fields) or find a parent (diff/parents).
Invariant: a test plays every cell against an org.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What a lookup's `Object.Field` is, in the words of the documentation."""

    EXTERNAL_ID = "a unique external id"
    OTHER_FIELD = "any other field of an object"
    USER = "a user, by any field: active ones only"
    QUEUE = "a queue, by any field of Group"
    RECORD_TYPE = "a record type, by its developer name: those of the object, active and available"


class Policy(StrEnum):
    """`on_missing`."""

    REJECT = "reject"
    RESOLVE = "resolve"
    NULL = "null"
    SKIP_FIELD = "skip_field"


_ASKED: Mapping[Policy, str] = {
    Policy.REJECT: "rejected by the plan",
    Policy.RESOLVE: "rejected by the plan",
    Policy.NULL: "sent with the lookup cleared",
    Policy.SKIP_FIELD: "sent without the lookup; tried again by every run",
}

EFFECTS: Mapping[Kind, Mapping[Policy, str]] = {
    Kind.EXTERNAL_ID: {**_ASKED, Policy.REJECT: "sent by reference; the org refuses it"},
    Kind.OTHER_FIELD: _ASKED,
    Kind.USER: _ASKED,
    Kind.QUEUE: _ASKED,
    Kind.RECORD_TYPE: _ASKED,
}
