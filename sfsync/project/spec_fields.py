"""What a mapping of a sync may say: the column or the constant behind a field, and how it is sent.

Owns:      the short and the long form of a line under `identity` and `fields`, and what of the long form goes together.
Does not:  know Salesforce's fields or the warehouse's columns (compiler).
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from sfsync.project.spec_types import API_NAME, Filled, GivenConstant, config
from sfsync.yaml_models import fault

_FIELD_FIX = "for example LastName: last_name, or LeadSource: {value: Web}"


def column_shorthand(value: Any) -> Any:
    """Read a column's name as a map: `last_name` as `{column: last_name}`."""
    if isinstance(value, str):
        return {"column": value}
    if value is None or isinstance(value, bool | int | float | list):
        raise fault(
            "must be the name of a column, or a map with the key 'column'",
            fix="for example LastName: last_name",
        )
    return value


def field_shorthand(value: Any) -> Any:
    """The same for a field, which a constant may stand behind, too."""
    if value is None or isinstance(value, bool | int | float):
        fix = "for example LastName: last_name"
        if value is not None:
            fix += f"; to send the same to every record, write {{value: {json.dumps(value)}}}"
        raise fault("must be the name of a column, or a map with the key 'column' or 'value'", fix=fix)
    return column_shorthand(value)


def _checked_lookup(value: str | None) -> str | None:
    """A lookup as it must be written: Object.Field."""
    if value is None:
        return value
    parts = value.split(".")
    if len(parts) != 2 or not all(API_NAME.fullmatch(p) for p in parts):
        raise fault(
            "must be an object and a field with a dot between", fix="for example Account.Account_Id__c"
        )
    return value


class IdentitySpec(BaseModel):
    """Where the value of an identity field comes from; a plain text is the column's name."""

    model_config = config({"column": "customer_id"}, {"column": "email_key", "pii": True})

    column: Filled = Field(description="Column of the model; unique, not null.")
    pii: bool = Field(default=False, description="Show a keyed digest in place of the value.")
    lookup: str | None = Field(
        default=None, description="Parent object and its unique external id, for a field that refers to it."
    )

    @field_validator("lookup")
    @classmethod
    def _check_lookup(cls, value: str | None) -> str | None:
        return _checked_lookup(value)


class FieldSpec(BaseModel):
    """Where the value of a field comes from and how it is sent; a plain text is the column's name."""

    model_config = config(
        {"column": "email", "pii": True},
        {"column": "account_id", "lookup": "Account.Account_Id__c", "on_missing": "reject"},
        {"value": "Product", "write": "on_create"},
    )

    column: Filled | None = Field(default=None, description="Column of the model; this or `value`.")
    value: GivenConstant = Field(
        default=None,
        description="The same value for every record, in place of a column: a text, a number, true, false, a date, or null.",
    )
    nulls: Literal["clear", "keep"] | None = Field(default=None, description="Overrides the sync's `nulls`.")
    write: Literal["always", "on_create", "if_blank"] = Field(
        default="always",
        description="When the field is sent; `on_create`: with a new record only, and never changed afterwards; `if_blank`:"
        " where the org has nothing in it, or still what sfsync sent.",
    )
    pii: bool = Field(default=False, description="Mask the value wherever people and CI read it.")
    truncate: bool = Field(default=False, description="Cut text that is too long rather than reject the row.")
    shared: bool = Field(
        default=False, description="Another sync may write this field too, if it also says so."
    )
    lookup: str | None = Field(
        default=None,
        description="Parent object and what the column has of it: Account.Account_Id__c, User.Email,"
        " Group.DeveloperName, RecordType.DeveloperName.",
    )
    on_missing: Literal["reject", "null", "skip_field", "resolve"] = Field(
        default="reject",
        description="What to do with a row whose parent is missing: reject it, clear the lookup, leave the lookup out and try"
        " again, or reject it before it is sent.",
    )

    @field_validator("on_missing", mode="before")
    @classmethod
    def _null_is_a_word(cls, value: Any) -> Any:
        """In YAML a plain null is no text."""
        return "null" if value is None else value

    @field_validator("lookup")
    @classmethod
    def _check_lookup(cls, value: str | None) -> str | None:
        return _checked_lookup(value)

    @model_validator(mode="after")
    def _check_together(self) -> FieldSpec:
        if (self.column is None) != self.constant:
            raise fault("needs one of 'column' and 'value', and not both", fix=_FIELD_FIX)
        if self.constant:
            self._check_constant()
        if "on_missing" in self.model_fields_set and self.lookup is None:
            raise fault(
                "has 'on_missing' but no 'lookup'", fix="add lookup: Object.Field, or remove on_missing"
            )
        return self

    @property
    def constant(self) -> bool:
        """Every record gets `value`, which may be null."""
        return "value" in self.model_fields_set

    def _check_constant(self) -> None:
        others = [key for key in ("lookup", "truncate", "nulls") if key in self.model_fields_set]
        if others:
            fix = "map a column of the model that holds it" if others == ["lookup"] else f"remove {others[0]}"
            raise fault(f"has '{others[0]}', which is about a column, beside 'value'", fix=fix)
        if self.value in (None, "") and self.write == "if_blank":
            fix = "give a value, or remove the field"
            raise fault("says write: if_blank, and value: null has nothing to fill in", fix=fix)
