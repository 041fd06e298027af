"""Fields that the platform ties together travel together without being asked for."""

from __future__ import annotations

import pytest

from sfsync.compiler.options import TOGETHER, together_of
from sfsync.project.spec import PushSpec
from sfsync.records import Column, FieldRule, Send, SourceType


def rules(*names: str) -> list[FieldRule]:
    column = Column("c", "VARCHAR", SourceType.TEXT)
    return [FieldRule(name, name, column, "string", Send.VALUE, Send.VALUE_OR_NULL) for name in names]


CASES = [  # id, push, object, mapped fields, groups
    ("a stage and its probability", {}, "Opportunity", ("StageName", "Amount", "Probability"), (("StageName", "Probability"),)),
    ("a line item", {}, "OpportunityLineItem", ("UnitPrice", "Quantity"), (("Quantity", "UnitPrice"),)),
    ("one of them alone", {}, "Opportunity", ("StageName", "Amount"), ()),
    ("another object", {}, "Case", ("StageName", "Probability"), ()),
    ("switched off", {"send_together": ()}, "Opportunity", ("StageName", "Probability"), ()),
    ("one's own, in any case", {"send_together": (("amount", "CLOSEDATE"),)}, "Opportunity", ("Amount", "CloseDate"), (("Amount", "CloseDate"),)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("push", "object_", "mapped", "groups"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_groups(push, object_, mapped, groups) -> None:
    assert together_of(PushSpec(**push), object_, rules(*mapped)) == groups


def test_every_group_of_the_table_is_of_its_object_once() -> None:
    for groups in TOGETHER.values():
        named = [name for group in groups for name in group]
        assert len(named) == len(set(named)) > 1
