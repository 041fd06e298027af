"""What each mode does in each situation of a row: the one place where a mode is turned into policies.

Owns:      Situation, Mode and MODES: what is created and updated, what becomes of records whose row left the model.
Does not:  say how a field is written (compiler/fields) or carry anything out (diff).
Invariant: docs/reference/modes.md is made of `effects`, and a test plays every cell of it against an org.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Situation(StrEnum):
    """How a row stands to the org, in the words of the documentation."""

    NEW = "the org has no record with its key"
    MADE_BY_OTHERS = "the org has one that sfsync did not make"
    DIFFERS = "known, values differ"
    SAME = "known, nothing differs"
    GONE = "known, values differ, and somebody deleted the record"
    REPURPOSED = "known, values differ, and somebody gave the record another key"
    LEFT = "the row left the model, sfsync made the record"
    LEFT_ADOPTED = "the row left the model, somebody else made the record"
    LEFT_REPURPOSED = "the row left the model, and somebody gave the record another key"


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode as policies. Outcomes are those of `records.Outcome`; `kept` is a record that stays as it is."""

    about: str
    creates: bool
    updates: bool
    on_removed: str | None  # what the mode says; None: what the sync says
    effects: Mapping[Situation, str]
    deletes: bool = False  # the record of each row


_UPSERT = {
    Situation.NEW: "created",
    Situation.MADE_BY_OTHERS: "adopted",
    Situation.DIFFERS: "updated",
    Situation.SAME: "unchanged",
    Situation.GONE: "gone",
    Situation.REPURPOSED: "updated",
    Situation.LEFT: "kept",
    Situation.LEFT_ADOPTED: "kept",
    Situation.LEFT_REPURPOSED: "kept",
}

MODES: Mapping[str, Mode] = {
    "upsert": Mode(
        "create what the org does not have, update what differs",
        creates=True,
        updates=True,
        on_removed=None,
        effects=_UPSERT,
    ),
    "mirror": Mode(
        "upsert, and delete what sfsync made and the model has no more",
        creates=True,
        updates=True,
        on_removed="delete",
        effects=_UPSERT | {Situation.LEFT: "deleted", Situation.LEFT_REPURPOSED: "conflict"},
    ),
    "create": Mode(
        "create what the org does not have; what is there is left alone",
        creates=True,
        updates=False,
        on_removed="keep",
        effects=_UPSERT
        | {
            Situation.MADE_BY_OTHERS: "exists",
            Situation.DIFFERS: "exists",
            Situation.GONE: "exists",
            Situation.REPURPOSED: "exists",
        },
    ),
    "update": Mode(
        "update what differs; what the org does not have is not made",
        creates=False,
        updates=True,
        on_removed=None,
        effects=_UPSERT | {Situation.NEW: "no_match"},
    ),
    "delete": Mode(
        "delete the record of each row, whoever made it",
        creates=False,
        updates=False,
        on_removed="keep",
        effects=_UPSERT
        | {
            Situation.NEW: "no_match",
            Situation.MADE_BY_OTHERS: "deleted",
            Situation.DIFFERS: "deleted",
            Situation.SAME: "deleted",
            Situation.GONE: "already_deleted",
            Situation.REPURPOSED: "conflict",
        },
        deletes=True,
    ),
}
