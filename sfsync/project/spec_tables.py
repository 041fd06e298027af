"""What models/*.yml and seeds/*.yml may say: raw tables, and the types of seed columns.

Owns:      sources and seeds in dbt's words; what dbt keeps there and sfsync does not use is read over by name.
Does not:  read files (load) or look into the warehouse.
Invariant: any key that is neither used nor named as read over is an error.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from sfsync.project.spec_types import ColumnType, Filled, as_tuple, config


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

    model_config = config({"name": "id", "description": "Primary key."})

    name: Filled = Field(description="The column's name.")
    description: str = Field(default="", description="For people.")
    data_type: ColumnType | None = Field(default=None, description="Type in the warehouse.")


Columns = Annotated[tuple[ColumnSpec, ...], BeforeValidator(as_tuple)]


class SourceTableSpec(_ReadOver):
    """A raw table of a source."""

    model_config = config({"name": "orders", "identifier": "orders_v2"})

    name: Filled = Field(description="Name in source('...', 'name').")
    identifier: Filled | None = Field(
        default=None, description="The table's name in the database; default: `name`."
    )
    description: str = Field(default="", description="For people.")
    columns: Columns = Field(default=(), description="For people.")


class SourceSpec(_ReadOver):
    """One entry of `sources` in models/*.yml: raw tables that models read by source()."""

    model_config = config({"name": "raw", "schema": "public", "tables": [{"name": "orders"}]})

    name: Filled = Field(description="Name in source('name', '...').")
    database: Filled | None = Field(default=None, description="Catalog; default: the warehouse's own.")
    schema_: Filled | None = Field(default=None, alias="schema", description="Schema; default: `name`.")
    description: str = Field(default="", description="For people.")
    tables: Annotated[tuple[SourceTableSpec, ...], BeforeValidator(as_tuple)] = Field(
        description="The tables."
    )


class SeedConfigSpec(BaseModel):
    """`config` of a seed, as dbt writes it."""

    model_config = config({"column_types": {"mrr": "decimal(16,2)"}})

    column_types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Column: type. Others are text."
    )


class SeedSpec(_ReadOver):
    """One entry of `seeds` in seeds/*.yml: the types of a CSV file's columns; a column not named is text."""

    model_config = config({"name": "accounts", "column_types": {"mrr": "decimal(16,2)", "since": "date"}})

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
