"""What sfsync_project.yml and syncs/*.yml may say: one frozen, closed model for each kind of thing.

Owns:      every key of these files, its default and its range.
Does not:  read files (load), know Salesforce's objects or the warehouse's columns (compiler).
Invariant: a key that is not built is not here, so that it is an error and never silently accepted.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from sfsync.project.modes import MODES
from sfsync.project.removal import KEEP, RemovedSpec, removal_shorthand
from sfsync.project.results import ResultsSpec, results_shorthand
from sfsync.project.spec_fields import FieldSpec, IdentitySpec, column_shorthand, field_shorthand
from sfsync.project.spec_types import (
    API_NAME,
    Cascades,
    Count,
    Duration,
    Filled,
    Name,
    Share,
    TextGroups,
    Texts,
    config,
)
from sfsync.yaml_models import fault
from sfsync.yaml_text import nearest

_MODEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SOURCE = re.compile(r"source\(\s*(['\"])([^'\"]+)\1\s*,\s*(['\"])([^'\"]+)\3\s*\)")
_MACHINE_ZONES = {"localtime", "posixrules", "Factory"}
_Spec = TypeVar("_Spec")


def is_model_name(text: str) -> bool:
    """Whether a file of this stem can be a model or a seed."""
    return _MODEL.fullmatch(text) is not None


class GuardSpec(BaseModel):
    """Limits at which a plan refuses a sync before anything is sent; null switches one off."""

    model_config = config({"max_deletes": 500, "max_delete_share": "5%", "min_rows": 1})

    max_deletes: Count | None = Field(default=500, description="Records that one run may delete.")
    max_delete_share: Share | None = Field(
        default=0.05, description="Share of the snapshot that one run may delete."
    )
    max_change_share: Share | None = Field(
        default=0.5, description="Share of the snapshot that one run may update."
    )
    max_creates: Count | None = Field(
        default=None, description="Records that one run may create; off by default."
    )
    max_reject_share: Share | None = Field(
        default=0.1, description="Share of the model's rows that may be rejected."
    )
    max_null_keys: Count | None = Field(
        default=0, description="Rows without a key; above it removals are held back."
    )
    min_rows: Count | None = Field(
        default=None, description="Rows the model must have; 1 where on_removed acts, else 0."
    )


class PushSpec(BaseModel):
    """How changes travel."""

    model_config = config({"api": "auto", "send": "changed"})

    api: Literal["auto", "bulk", "collections"] = Field(default="auto", description="Which API carries them.")
    send: Literal["changed", "all"] = Field(
        default="changed", description="Fields of an update: the changed ones, or all."
    )
    max_wait: Duration = Field(
        default=timedelta(minutes=30),
        description="How long a Bulk job may be at work. A run that waits longer ends; the next one looks at the job first,"
        " and leaves its rows alone while it goes on.",
    )
    send_together: TextGroups | None = Field(
        default=None,
        description="Groups of mapped fields that an update sends together when one of them changes: [[StageName,"
        " Probability]]. Left out: what the platform itself ties together on Opportunity and line items; []: nothing.",
    )
    order_by: Texts = Field(
        default=(),
        description="Columns of the model by which rows are sent, smallest first, nulls last; also such as no field maps.",
    )
    all_or_none: bool = Field(
        default=False,
        description="Rows of one request (at most 200) are saved together or not at all. Not by Bulk.",
    )
    duplicate_rules: Literal["obey", "allow_save"] = Field(
        default="obey",
        description="Whether rows are saved that a duplicate rule only alerts about; rules that block still do. Not by Bulk.",
    )
    assignment_rule: bool | Filled = Field(
        default=False,
        description="Run assignment rules of Account, Case or Lead: true for the active one (not by Bulk), or a rule's Id.",
    )
    update_mru: bool = Field(
        default=False,
        description="Put written records on the user's list of recently used ones (API 60.0). Not by Bulk.",
    )


class SyncOptions(BaseModel):
    """The keys of a sync that may also stand in the project's `syncs` as defaults."""

    model_config = config({"nulls": "keep", "guards": {"max_deletes": 100}})

    description: str = Field(default="", description="For people.")
    mode: Literal["upsert", "mirror", "create", "update", "delete"] = Field(
        default="upsert",
        description="`upsert`: create what the org does not have, update what differs. `mirror`: that, and"
        " `on_removed: delete`. `create`: leave alone what is there. `update`: make nothing. `delete`: delete the record of"
        " each row.",
    )
    match: Literal["unknown", "never"] = Field(
        default="unknown",
        description="Whether the org is asked for the keys that sfsync does not know yet, before anything is sent.",
    )
    where: Filled | None = Field(
        default=None, description="Filter on the model's rows, in the warehouse's SQL."
    )
    nulls: Literal["clear", "keep"] = Field(
        default="clear", description="Whether a null clears the field or leaves it alone."
    )
    on_removed: Annotated[RemovedSpec, BeforeValidator(removal_shorthand)] = Field(
        default=KEEP,
        description="A row left the model: `keep`, `delete` or `hard_delete` its record, or a map; see below.",
    )
    on_gone: Literal["recreate", "skip", "stop"] = Field(
        default="recreate", description="A known record is not there any more."
    )
    on_limit: Literal["defer", "refuse"] = Field(
        default="defer", description="The run would pass the limit of API calls or of Bulk batches."
    )
    delete_adopted: bool = Field(
        default=False, description="Also delete records that this sync did not create."
    )
    allow_cascade: Cascades = Field(
        default=False,
        description="Records of other objects may go along with deleted ones: true, or the objects' names.",
    )
    clear_on_create: bool = Field(
        default=False, description="Send nulls on create, so that field defaults do not apply."
    )
    undo: Literal["acknowledged", "exact"] = Field(
        default="acknowledged",
        description="What `--undo` puts back: what the org acknowledged before, or exactly what stood there, which is read"
        " before each write.",
    )
    priority: int = Field(default=0, description="Higher goes first when the API limit does not allow all.")
    results: Annotated[ResultsSpec, BeforeValidator(results_shorthand)] = Field(
        default_factory=lambda: ResultsSpec(),
        description="Which outcomes are kept row by row: rejected, all, or a map (below) that also names a table of the warehouse.",
    )
    verify: Annotated[int, Field(ge=0, le=2000)] = Field(
        default=0,
        description="Read so many of a run's written records back, to see what of their values the org kept; at most 2000.",
    )
    retry_rejected_after: Duration = Field(
        default=timedelta(days=7), description="Try a held row again after this time: 7d, 12h."
    )
    max_attempts: Count = Field(
        default=10,
        description="Hold a row that failed for passing reasons in so many runs in a row; 0: never.",
    )
    guards: GuardSpec = Field(default_factory=lambda: GuardSpec(), description="Limits of a plan.")
    push: PushSpec = Field(default_factory=lambda: PushSpec(), description="How changes travel.")
    tags: Texts = Field(default=(), description="Words to select by: tag:daily.")
    meta: dict[str, Any] = Field(default_factory=dict, description="Anything; sfsync does not read it.")

    @model_validator(mode="after")
    def _check_mode(self) -> SyncOptions:
        says = MODES[self.mode].on_removed
        says, kind = MODES[self.mode].on_removed, self.on_removed.kind
        if says == "keep" and kind != "keep" and "on_removed" in self.model_fields_set:
            raise fault(
                f"says mode: {self.mode}, which leaves records alone whose row left the model, and on_removed: {kind}",
                fix="remove on_removed, or choose another mode",
            )
        if says not in (None, "keep") and kind == "keep" and "on_removed" in self.model_fields_set:
            raise fault(
                f"says both mode: {self.mode}, which is on_removed: {says}, and on_removed: keep",
                fix="write mode: upsert to keep records whose row left the model, or leave on_removed out",
            )
        return self

    @model_validator(mode="after")
    def _check_hard_delete(self) -> SyncOptions:
        if self.on_removed.kind != "hard_delete":
            return self
        jobs = "says both on_removed: hard_delete, which only Bulk jobs can do, and"
        if self.push.api == "collections":
            fix = "leave push.api out, or write on_removed: delete"
            raise fault(f"{jobs} push.api: collections", fix=fix)
        if self.push.all_or_none:
            fix = "leave push.all_or_none out, or write on_removed: delete"
            raise fault(f"{jobs} push.all_or_none, which they cannot", fix=fix)
        return self

    @property
    def removal(self) -> RemovedSpec:
        """What becomes of a record whose row left the model: as written, else what the mode says."""
        says = MODES[self.mode].on_removed
        if says == "keep" or (says is not None and self.on_removed.kind == "keep"):
            return RemovedSpec.model_validate(removal_shorthand(says))
        return self.on_removed

    @property
    def min_rows(self) -> int:
        """Rows the model must have: as written, else 1 where `on_removed` acts and 0 elsewhere."""
        if self.guards.min_rows is not None:
            return self.guards.min_rows
        return 0 if self.removal.kind == "keep" else 1


_SYNC_EXAMPLE = {
    "name": "contacts",
    "model": "dim_contacts",
    "object": "Contact",
    "identity": {"Customer_Id__c": "customer_id"},
    "fields": {"LastName": "last_name", "Email": {"column": "email", "pii": True}},
}


class SyncSpec(SyncOptions):
    """One entry of syncs/*.yml: which model feeds which object, and how."""

    model_config = config(_SYNC_EXAMPLE)

    name: Name = Field(description="Unique in the project; small letters, digits and _.")
    model: str = Field(description="Model in models/, as ref() would name it, or source('raw', 'x').")
    object: str = Field(description="API name of the object: Account, Invoice__c.")
    identity: dict[str, Annotated[IdentitySpec, BeforeValidator(column_shorthand)]] = Field(
        description="Salesforce field: column. What says which record a row is: an external id, any other field, several"
        " fields together, or Id."
    )
    fields: dict[str, Annotated[FieldSpec, BeforeValidator(field_shorthand)]] = Field(
        default_factory=dict,
        description="Salesforce field: column, or a map with `column` (or `value`) and options.",
    )

    @field_validator("model")
    @classmethod
    def _check_model(cls, value: str) -> str:
        if _MODEL.fullmatch(value) or _SOURCE.fullmatch(value):
            return value
        inner = re.search(r"(?:ref|source)\([^)]*\)", value)
        named = re.fullmatch(r"ref\(\s*['\"](\w+)['\"]\s*\)", inner[0]) if inner else None
        fix = (
            f"write {named[1]}"
            if named
            else f"write {inner[0]}"
            if inner
            else "a model's name, or source('raw', 'x')"
        )
        raise fault("must be the name of a model", fix=fix)

    @field_validator("object")
    @classmethod
    def _check_object(cls, value: str) -> str:
        if not API_NAME.fullmatch(value):
            raise fault("must be an API name of an object", fix="for example Account or Invoice__c")
        return value

    @field_validator("identity")
    @classmethod
    def _check_identity(cls, value: dict[str, IdentitySpec]) -> dict[str, IdentitySpec]:
        if not value:
            raise fault(
                "has no field", fix="name what says which record a row is: an external id, or other fields"
            )
        return _check_fields(value)

    @field_validator("fields")
    @classmethod
    def _check_mapping(cls, value: dict[str, FieldSpec], info: ValidationInfo) -> dict[str, FieldSpec]:
        if not value and info.data.get("mode") != "delete":
            raise fault("has no field", fix="map at least one: LastName: last_name")
        return _check_fields(value)

    @model_validator(mode="after")
    def _check_both(self) -> SyncSpec:
        if self.mode == "delete" and self.fields:
            raise fault("maps fields in mode delete, which writes none", fix="remove fields")
        if self.mode != "delete" and not self.fields:
            raise fault("needs the key 'fields'", fix="fields: {LastName: last_name}")
        keys = {name.lower() for name in self.identity}
        for name in self.fields:
            if name.lower() in keys:
                fix = f"remove {name} from fields: the identity is always sent"
                raise fault(f"maps {name} twice, in 'identity' and in 'fields'", fix=fix)
        return self

    @property
    def source(self) -> tuple[str, str] | None:
        """(source, table) when `model` is written source('raw', 'x'), else None."""
        match = _SOURCE.fullmatch(self.model)
        return (match[2], match[4]) if match else None


def _check_fields(value: dict[str, _Spec]) -> dict[str, _Spec]:
    seen: dict[str, str] = {}
    for name in value:
        if "." in name:
            raise fault(
                f"has '{name}', which is a path", fix="map the Id field: {column: ..., lookup: Object.Field}"
            )
        if not API_NAME.fullmatch(name):
            raise fault(
                f"has '{name}', which is not an API name of a field", fix="for example LastName or Tier__c"
            )
        if name.lower() in seen:
            raise fault(f"has both '{seen[name.lower()]}' and '{name}', which are one field")
        seen[name.lower()] = name
    return value


class ProjectSpec(BaseModel):
    """sfsync_project.yml: the name, the connection profile, where files stand, and defaults."""

    model_config = config({"name": "acme_crm", "version": "1.0.0", "profile": "acme"})

    name: Name = Field(description="The project's name.")
    version: Filled = Field(description="Your own version of the project, as text.")
    profile: Filled = Field(description="Name of the profile in profiles.yml.")
    model_paths: Texts = Field(default=("models",), alias="model-paths", description="Folders with models.")
    sync_paths: Texts = Field(default=("syncs",), alias="sync-paths", description="Folders with syncs.")
    macro_paths: Texts = Field(default=("macros",), alias="macro-paths", description="Folders with macros.")
    seed_paths: Texts = Field(default=("seeds",), alias="seed-paths", description="Folders with seeds.")
    target_path: Filled = Field(
        default="target", alias="target-path", description="Folder for what sfsync writes."
    )
    vars: dict[str, Any] = Field(default_factory=dict, description="Values for var(); --vars wins.")
    timezone: str = Field(default="UTC", description="IANA zone of timestamps without one, and of dates.")
    syncs: SyncOptions = Field(default_factory=lambda: SyncOptions(), description="Defaults for every sync.")

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        if value not in _MACHINE_ZONES and not value.startswith(("posix/", "right/")):
            try:
                ZoneInfo(value)
            except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
                pass
            else:
                return value
        zones = available_timezones() - _MACHINE_ZONES
        raise fault(
            "must be an IANA time zone", fix=nearest(value, zones) or "for example Europe/Berlin or UTC"
        )
