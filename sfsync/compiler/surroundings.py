"""What a compile is handed: the target, the warehouse and the org as far as they are known.

Owns:      Surroundings, the one argument that carries all this, and OrgView, what is known of the org.
Does not:  open a connection; `columns_of` is a function that somebody else made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sfsync.contract import Contract
from sfsync.engine.dialect import Dialect
from sfsync.records import Column


@dataclass(frozen=True, slots=True)
class OrgView:
    """What is known of the org. whole: an object that is not in the contract does not exist."""

    contract: Contract
    whole: bool

    @property
    def who(self) -> str:
        return self.contract.username or "the user of this connection"


class Tables(Protocol):
    """The tables that models may read; `engine.base.Catalog` is one."""

    @property
    def default_schema(self) -> str: ...

    @property
    def database(self) -> str | None: ...

    @property
    def tables(self) -> Mapping[tuple[str, str], tuple[str, ...]]: ...

    @property
    def views(self) -> frozenset[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside of the project folder that a compile depends on.

    columns_of: names and types of a SELECT's columns, asked of the warehouse; raises WarehouseError.
    org: None when nothing is known of the org: then fields are not checked, and the manifest has outlines only.
    target: what models may know of the target: name, type, schema. Never a secret.
    env: the process environment, for env_var().
    seeds: SQL of the relation that holds each seed's rows, by the seed's name.
    """

    dialect: Dialect
    catalog: Tables
    columns_of: Callable[[str], tuple[Column, ...]]
    org: OrgView | None
    target: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, str] = field(default_factory=dict)
