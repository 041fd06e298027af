"""What `results` may say: a word, or a map that also names a table of the warehouse.

Owns:      the short and the long form, and what of the long form goes together.
Does not:  write anything.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from sfsync.project.spec_types import config
from sfsync.yaml_models import fault

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
SCHEMA, TABLE = "sfsync_results", "outcomes"


def results_shorthand(value: Any) -> Any:
    """Read a word as a map: `all` as `{keep: all}`."""
    if isinstance(value, str):
        if value not in ("rejected", "all"):
            raise fault(
                "must be one of rejected, all, or a map", fix="write results: {keep: all, to: warehouse}"
            )
        return {"keep": value}
    if not isinstance(value, dict | ResultsSpec):
        raise fault("must be one of rejected, all, or a map", fix="write results: {keep: all, to: warehouse}")
    return value


class ResultsSpec(BaseModel):
    """Which outcomes are kept row by row, and where; a plain word is `keep`."""

    model_config = config({"keep": "all", "to": "warehouse", "schema": "ops", "table": "crm_outcomes"})

    keep: Literal["rejected", "all"] = Field(
        default="rejected", description="Rows that did not go through, or those that did as well."
    )
    to: Literal["warehouse"] | None = Field(
        default=None, description="Also append them to a table of the warehouse after each run."
    )
    schema_: str = Field(default=SCHEMA, alias="schema", description="Schema of the table; made if missing.")
    table: str = Field(default=TABLE, description="The table; made if missing. Several syncs may share it.")

    pii: Literal["masked", "clear"] = Field(
        default="masked",
        description="Whether the key of a masked identity stands there as a digest, or as it is, to be joined by.",
    )

    @field_validator("schema_", "table")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise fault(
                "must be a plain name: letters, digits and _, at most 63", fix="for example crm_outcomes"
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> ResultsSpec:
        if self.to is None and self.model_fields_set & {"schema_", "table"}:
            raise fault("names a table but not where it is", fix="add to: warehouse")
        if self.to is None and self.pii == "clear":
            what = "says pii: clear, which is for the warehouse's table alone: files stay masked"
            raise fault(what, fix="add to: warehouse, or remove pii")
        return self
