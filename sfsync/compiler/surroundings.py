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
    """What is known of the org.

    whole: an object that is not in the contract does not exist.
    file: the contract's file in git, if it is one: what it does not have may be in the org all the same.
    """

    contract: Contract
    whole: bool
    file: str | None = None

    @property
    def who(self) -> str:
        return self.contract.username or "the user of this connection"

    @property
    def then_pull(self) -> str:
        """What comes after a change in the org: a file knows nothing of it."""
        return "" if self.file is None else " and pull the contract (sfsync schema pull)"

    def has_no(self, what: str, suggestion: str, of: str = "the org") -> tuple[str, str]:
        """Words and fix for an object or a field that is not there."""
        if self.file is None:
            return f"{of} has no {what} that {self.who} can see", suggestion
        where = "" if of == "the org" else f" of {of}"
        return f"{self.file} has no {what}{where}", f"{suggestion}; if the org has it: sfsync schema pull"


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
