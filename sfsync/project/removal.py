"""What `on_removed` may say: a word, or a map with what becomes of a record whose row left the model.

Owns:      the short and the long form, and what of the long form goes together.
Does not:  know fields (compiler/removal checks them) or carry anything out (diff).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from sfsync.project.spec_types import Constant, GivenConstant, config
from sfsync.yaml_models import fault
from sfsync.yaml_text import nearest

WORDS = ("keep", "delete", "hard_delete")
_RUNS = re.compile(r"([1-9]\d{0,3})\s*runs?")


def removal_shorthand(value: Any) -> Any:
    """Read a word as a map: `delete` as `{action: delete}`."""
    if isinstance(value, str):
        if value not in WORDS:
            raise fault(f"must be one of {', '.join(WORDS)}, or a map", fix=nearest(value, WORDS))
        return {"action": value}
    if not isinstance(value, dict | RemovedSpec):
        raise fault(f"must be one of {', '.join(WORDS)}, or a map", fix="write on_removed: delete")
    return value


def parse_runs(value: Any) -> Any:
    """Read '3 runs' as a number."""
    match = _RUNS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        raise fault("must be a number of runs", fix=f"write {value if whole else 3} runs")
    return int(match[1])


class RemovedSpec(BaseModel):
    """What becomes of a record whose row left the model; a plain word is the action."""

    model_config = config(
        {"action": "delete"}, {"set": {"Active__c": False}, "on_return": {"Active__c": True}}
    )

    action: Literal["keep", "delete", "hard_delete"] | None = Field(
        default=None,
        description="`keep` the record, `delete` it, or `hard_delete` it: past the recycle bin, for good. Not beside `set`.",
    )
    set: dict[str, GivenConstant] | None = Field(
        default=None,
        description="The record stays, and these fields get these values once, when the row leaves.",
    )
    on_return: dict[str, GivenConstant] | None = Field(
        default=None,
        description="Values for fields that the sync does not map, when the row is back; only beside `set`.",
    )

    shared: bool = Field(
        default=False,
        description="Another sync may write the fields of `set` and `on_return`, too, if it also says so.",
    )

    after: Annotated[int, BeforeValidator(parse_runs)] = Field(
        default=1,
        description="How many runs in a row must have missed the row before anything becomes of its record: `3 runs`.",
    )

    archive: bool = Field(
        default=False,
        description="Read the mapped fields of each record just before it is deleted, and keep a copy in the state.",
    )

    @field_validator("set", "on_return")
    @classmethod
    def _check_filled(cls, value: dict[str, Constant] | None) -> dict[str, Constant] | None:
        if value is not None and not value:
            raise fault("has no field", fix="for example Active__c: false")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> RemovedSpec:
        if (self.action is None) == (self.set is None):
            fix = "write on_removed: delete, or on_removed: {set: {Active__c: false}}"
            raise fault("needs one of 'action' and 'set', and not both", fix=fix)
        if self.archive and not self.deletes:
            raise fault(
                "has 'archive', but deletes nothing", fix="write action: delete, or leave archive out"
            )
        if self.action == "keep" and "after" in self.model_fields_set:
            raise fault("has 'after', but keeps the record", fix="write action: delete, or leave after out")
        if self.shared and self.set is None:
            raise fault("has 'shared' but no 'set'", fix="it is about the fields of set; leave shared out")
        if self.on_return is not None and self.set is None:
            raise fault("has 'on_return' but no 'set'", fix="add set: {Field: value}, or remove on_return")
        return self

    @property
    def kind(self) -> str:
        """keep | delete | hard_delete | set."""
        return self.action or "set"

    @property
    def deletes(self) -> bool:
        """Records are deleted, in whichever way."""
        return self.action in ("delete", "hard_delete")

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that are set when a row leaves or returns."""
        return tuple(dict.fromkeys((*(self.set or ()), *(self.on_return or ()))))

    def __str__(self) -> str:
        return self.kind


KEEP = RemovedSpec(action="keep")
