"""What the YAML files of a project may say: one frozen, closed model for each kind of thing.

Owns:      every key of sfsync_project.yml, syncs/*.yml, models/*.yml and seeds/*.yml, its default and its range.
Does not:  read files (load), know Salesforce's objects or the warehouse's columns (compiler).
Invariant: a key that is not built is not here, so that it is an error and never silently accepted.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from sfsync.yaml_text import fault, nearest

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_MODEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SOURCE = re.compile(r"source\(\s*(['\"])([^'\"]+)\1\s*,\s*(['\"])([^'\"]+)\3\s*\)")
_API_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*(?:__[A-Za-z]+)?")
_COLUMN_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\s*\d+\s*(,\s*\d+\s*)?\))?( [A-Za-z ]+)?(\[\])?")
_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MACHINE_ZONES = {"localtime", "posixrules", "Factory"}
_Spec = TypeVar("_Spec")


def _config(*examples: Any) -> ConfigDict:
    return ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra={"examples": list(examples)}
    )


def parse_share(value: Any) -> Any:
    """Read a share, '5%' or 0.05, as a number of 0..1."""
    found = value
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*%", value):
        value = float(value.rstrip("% ")) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        hint = f"{found}%" if isinstance(found, int | float) and 1 < found <= 100 else "5%"
        raise fault("must be a percentage of 0% to 100%, or a number of 0 to 1", fix=f"write {hint}")
    return float(value)


def parse_duration(value: Any) -> Any:
    """Read a whole number with its unit, '7d', '12h', '30m', '45s' or '2w'."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or len(match[1]) > 6:
        hint = f"{value}d" if isinstance(value, int) and not isinstance(value, bool) and value > 0 else "7d"
        raise fault("must be a whole number with a unit (s, m, h, d or w)", fix=f"write {hint}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _column_shorthand(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _filled(value: str) -> str:
    if not value.strip():
        raise fault("must not be blank")
    return value


def _sync_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        fix = "start with a small letter; small letters, digits and _ only, 60 characters at most"
        raise fault("must be a valid name", fix=fix)
    return value


def _column_type(value: str) -> str:
    if not _COLUMN_TYPE.fullmatch(value.strip()):
        raise fault(
            "is not the name of a column type", fix="for example integer, decimal(16,2), date, timestamp"
        )
    return value.strip()


Share = Annotated[float, BeforeValidator(parse_share)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Count = Annotated[int, Field(ge=0)]
Filled = Annotated[str, BeforeValidator(lambda v: _filled(v) if isinstance(v, str) else v)]
Name = Annotated[str, BeforeValidator(lambda v: _sync_name(v) if isinstance(v, str) else v)]
Texts = Annotated[tuple[Filled, ...], BeforeValidator(_one_or_many)]
ColumnType = Annotated[str, BeforeValidator(lambda v: _column_type(v) if isinstance(v, str) else v)]


class GuardSpec(BaseModel):
    """Limits at which a plan refuses a sync before anything is sent; null switches one off."""

    model_config = _config({"max_deletes": 500, "max_delete_share": "5%", "min_rows": 1})

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

    model_config = _config({"api": "auto", "send": "changed"})

    api: Literal["auto", "bulk", "collections"] = Field(default="auto", description="Which API carries them.")
    send: Literal["changed", "all"] = Field(
        default="changed", description="Fields of an update: the changed ones, or all."
    )


class IdentitySpec(BaseModel):
    """Where the value of an identity field comes from; a plain text is the column's name."""

    model_config = _config({"column": "customer_id"}, {"column": "email_key", "pii": True})

    column: Filled = Field(description="Column of the model; unique, not null.")
    pii: bool = Field(default=False, description="Show a keyed digest in place of the value.")


class FieldSpec(BaseModel):
    """Where the value of a field comes from and how it is sent; a plain text is the column's name."""

    model_config = _config(
        {"column": "email", "pii": True},
        {"column": "account_id", "lookup": "Account.Account_Id__c", "on_missing": "reject"},
    )

    column: Filled = Field(description="Column of the model.")
    nulls: Literal["clear", "keep"] | None = Field(default=None, description="Overrides the sync's `nulls`.")
    write: Literal["always"] = Field(default="always", description="When the field is sent.")
    pii: bool = Field(default=False, description="Mask the value wherever people and CI read it.")
    truncate: bool = Field(default=False, description="Cut text that is too long rather than reject the row.")
    shared: bool = Field(
        default=False, description="Another sync may write this field too, if it also says so."
    )
    lookup: str | None = Field(
        default=None, description="Parent object and its unique external id, Account.Account_Id__c."
    )
    on_missing: Literal["reject"] = Field(
        default="reject", description="What to do with a row whose parent is missing."
    )

    @field_validator("lookup")
    @classmethod
    def _check_lookup(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = value.split(".")
        if len(parts) != 2 or not all(_API_NAME.fullmatch(p) for p in parts):
            raise fault(
                "must be an object and a field with a dot between", fix="for example Account.Account_Id__c"
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> FieldSpec:
        if "on_missing" in self.model_fields_set and self.lookup is None:
            raise fault(
                "has 'on_missing' but no 'lookup'", fix="add lookup: Object.Field, or remove on_missing"
            )
        return self


class SyncOptions(BaseModel):
    """The keys of a sync that may also stand in the project's `syncs` as defaults."""

    model_config = _config({"nulls": "keep", "guards": {"max_deletes": 100}})

    description: str = Field(default="", description="For people.")
    mode: Literal["upsert"] = Field(
        default="upsert", description="Create what the org does not know, update what differs."
    )
    where: Filled | None = Field(
        default=None, description="Filter on the model's rows, in the warehouse's SQL."
    )
    nulls: Literal["clear", "keep"] = Field(
        default="clear", description="Whether a null clears the field or leaves it alone."
    )
    on_removed: Literal["keep", "delete"] = Field(default="keep", description="A row left the model.")
    on_gone: Literal["recreate", "skip", "stop"] = Field(
        default="recreate", description="A known record is not there any more."
    )
    on_limit: Literal["defer", "refuse"] = Field(
        default="defer", description="The run would pass the API limit."
    )
    delete_adopted: bool = Field(
        default=False, description="Also delete records that this sync did not create."
    )
    clear_on_create: bool = Field(
        default=False, description="Send nulls on create, so that field defaults do not apply."
    )
    priority: int = Field(default=0, description="Higher goes first when the API limit does not allow all.")
    results: Literal["rejected", "all"] = Field(
        default="rejected", description="Which outcomes are kept row by row."
    )
    retry_rejected_after: Duration = Field(
        default=timedelta(days=7), description="Try a held row again after this time: 7d, 12h."
    )
    guards: GuardSpec = Field(default_factory=lambda: GuardSpec(), description="Limits of a plan.")
    push: PushSpec = Field(default_factory=lambda: PushSpec(), description="How changes travel.")
    tags: Texts = Field(default=(), description="Words to select by: tag:daily.")
    meta: dict[str, Any] = Field(default_factory=dict, description="Anything; sfsync does not read it.")

    @property
    def min_rows(self) -> int:
        """Rows the model must have: as written, else 1 where `on_removed` acts and 0 elsewhere."""
        if self.guards.min_rows is not None:
            return self.guards.min_rows
        return 0 if self.on_removed == "keep" else 1


_SYNC_EXAMPLE = {
    "name": "contacts",
    "model": "dim_contacts",
    "object": "Contact",
    "identity": {"Customer_Id__c": "customer_id"},
    "fields": {"LastName": "last_name", "Email": {"column": "email", "pii": True}},
}


class SyncSpec(SyncOptions):
    """One entry of syncs/*.yml: which model feeds which object, and how."""

    model_config = _config(_SYNC_EXAMPLE)

    name: Name = Field(description="Unique in the project; small letters, digits and _.")
    model: str = Field(description="Model in models/, as ref() would name it, or source('raw', 'x').")
    object: str = Field(description="API name of the object: Account, Invoice__c.")
    identity: dict[str, Annotated[IdentitySpec, BeforeValidator(_column_shorthand)]] = Field(
        description="Salesforce field: column. The one external id that says which record a row is."
    )
    fields: dict[str, Annotated[FieldSpec, BeforeValidator(_column_shorthand)]] = Field(
        description="Salesforce field: column, or a map with `column` and options."
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
        if not _API_NAME.fullmatch(value):
            raise fault("must be an API name of an object", fix="for example Account or Invoice__c")
        return value

    @field_validator("identity")
    @classmethod
    def _check_identity(cls, value: dict[str, IdentitySpec]) -> dict[str, IdentitySpec]:
        if len(value) != 1:
            raise fault(
                f"must have exactly one field, found {len(value)}", fix="name one external id of the object"
            )
        return _check_fields(value)

    @field_validator("fields")
    @classmethod
    def _check_mapping(cls, value: dict[str, FieldSpec]) -> dict[str, FieldSpec]:
        if not value:
            raise fault("must map at least one field")
        return _check_fields(value)

    @model_validator(mode="after")
    def _check_both(self) -> SyncSpec:
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
        if not _API_NAME.fullmatch(name):
            raise fault(
                f"has '{name}', which is not an API name of a field", fix="for example LastName or Tier__c"
            )
        if name.lower() in seen:
            raise fault(f"has both '{seen[name.lower()]}' and '{name}', which are one field")
        seen[name.lower()] = name
    return value


class ProjectSpec(BaseModel):
    """sfsync_project.yml: the name, the connection profile, where files stand, and defaults."""

    model_config = _config({"name": "acme_crm", "version": "1.0.0", "profile": "acme"})

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
            "is not an IANA time zone", fix=nearest(value, zones) or "for example Europe/Berlin or UTC"
        )


class _ReadOver(BaseModel):
    """Keys that dbt knows here and sfsync reads over without error."""

    tests: Any = Field(default=None, exclude=True, repr=False)
    data_tests: Any = Field(default=None, exclude=True, repr=False)
    freshness: Any = Field(default=None, exclude=True, repr=False)
    loaded_at_field: Any = Field(default=None, exclude=True, repr=False)
    meta: Any = Field(default=None, exclude=True, repr=False)
    tags: Any = Field(default=None, exclude=True, repr=False)
    quoting: Any = Field(default=None, exclude=True, repr=False)


class ColumnSpec(_ReadOver):
    """A column of a source table or a seed, for people; `data_type` types a seed's column."""

    model_config = _config({"name": "id", "description": "Primary key."})

    name: Filled = Field(description="The column's name.")
    description: str = Field(default="", description="For people.")
    data_type: ColumnType | None = Field(default=None, description="Type in the warehouse.")


Columns = Annotated[tuple[ColumnSpec, ...], BeforeValidator(_tuple)]


class SourceTableSpec(_ReadOver):
    """A raw table of a source."""

    model_config = _config({"name": "orders", "identifier": "orders_v2"})

    name: Filled = Field(description="Name in source('...', 'name').")
    identifier: Filled | None = Field(
        default=None, description="The table's name in the database; default: `name`."
    )
    description: str = Field(default="", description="For people.")
    columns: Columns = Field(default=(), description="For people.")


class SourceSpec(_ReadOver):
    """One entry of `sources` in models/*.yml: raw tables that models read by source()."""

    model_config = _config({"name": "raw", "schema": "public", "tables": [{"name": "orders"}]})

    name: Filled = Field(description="Name in source('name', '...').")
    database: Filled | None = Field(default=None, description="Catalog; default: the warehouse's own.")
    schema_: Filled | None = Field(default=None, alias="schema", description="Schema; default: `name`.")
    description: str = Field(default="", description="For people.")
    tables: Annotated[tuple[SourceTableSpec, ...], BeforeValidator(_tuple)] = Field(description="The tables.")


class SeedConfigSpec(BaseModel):
    """`config` of a seed, as dbt writes it."""

    model_config = _config({"column_types": {"mrr": "decimal(16,2)"}})

    column_types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Column: type. Others are text."
    )


class SeedSpec(_ReadOver):
    """One entry of `seeds` in seeds/*.yml: the types of a CSV file's columns; a column not named is text."""

    model_config = _config({"name": "accounts", "column_types": {"mrr": "decimal(16,2)", "since": "date"}})

    name: Filled = Field(description="The CSV file's name without .csv.")
    description: str = Field(default="", description="For people.")
    column_types: dict[str, ColumnType] = Field(default_factory=dict, description="Column: type.")
    config: SeedConfigSpec = Field(
        default_factory=lambda: SeedConfigSpec(), description="dbt's place for the same."
    )
    columns: Columns = Field(default=(), description="Columns with `data_type` and descriptions.")

    @property
    def types(self) -> dict[str, str]:
        """Column -> type, from wherever it was written; the outer `column_types` wins."""
        described = {c.name: c.data_type for c in self.columns if c.data_type is not None}
        return described | self.config.column_types | self.column_types
