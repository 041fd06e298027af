"""Fields that the platform computes from others when a record is saved.

Owns:      the whole name of people, closed and won flags, a stage's default probability.
Does not:  formulas of custom fields: a schema's `calculated` fields stay null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sfsync.contract import SObject
from sfsync.local_org.store import literal

Value = Callable[[str], str]
Make = Callable[[Value, str | None], str]
"""(SQL of another field's new text, SQL of the text that was sent for this one or None) -> SQL of the text."""

_PROBABILITY = {
    "Prospecting": 10,
    "Qualification": 10,
    "Needs Analysis": 20,
    "Value Proposition": 50,
    "Id. Decision Makers": 60,
    "Perception Analysis": 70,
    "Proposal/Price Quote": 75,
    "Negotiation/Review": 90,
    "Closed Won": 100,
    "Closed Lost": 0,
}


def _person_name(value: Value, sent: str | None) -> str:
    del sent
    return f"nullif(concat_ws(' ', {value('FirstName')}, {value('LastName')}), '')"


def _account_name(value: Value, sent: str | None) -> str:
    """A person account is called by its person, another one as it was named."""
    return f"CASE WHEN {value('LastName')} IS NULL THEN {value('Name')} ELSE {_person_name(value, sent)} END"


def _is_person(value: Value, sent: str | None) -> str:
    del sent
    return f"CASE WHEN {value('LastName')} IS NULL THEN 'false' ELSE 'true' END"


def _probability(value: Value, sent: str | None) -> str:
    cases = " ".join(f"WHEN {literal(stage)} THEN '{percent}'" for stage, percent in _PROBABILITY.items())
    by_stage = f"CASE {value('StageName')} {cases} END"
    return by_stage if sent is None else f"coalesce(nullif({sent}, ''), {by_stage})"


def _flag(field: str, condition: str) -> Make:
    def make(value: Value, sent: str | None) -> str:
        del sent
        return f"CASE WHEN {value(field)} {condition} THEN 'true' ELSE 'false' END"

    return make


_MADE: Mapping[str, Mapping[str, Make]] = {
    "Opportunity": {
        "Probability": _probability,
        "IsClosed": _flag("StageName", "IN ('Closed Won', 'Closed Lost')"),
        "IsWon": _flag("StageName", "= 'Closed Won'"),
    },
    "Case": {"IsClosed": _flag("Status", "= 'Closed'")},
}


def derived_fields(sobject: SObject) -> Mapping[str, Make]:
    """The fields of this object that are made on save, with how."""
    if sobject.name == "Account" and sobject.field("LastName") and sobject.field("IsPersonAccount"):
        return {"Name": _account_name, "IsPersonAccount": _is_person}
    made = {name: make for name, make in _MADE.get(sobject.name, {}).items() if sobject.field(name)}
    if sobject.field("LastName") and sobject.field("FirstName") and sobject.field("Name"):
        made["Name"] = _person_name
    return made
