"""What handlers take: one request or subrequest, as a plain value.

Owns:      Ask, and the type of a handler.
Does not:  read HTTP (server) or route (dispatch).
Invariant: a handler is a plain function Ask -> Answer, so that Composite can call it in one thread and transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from sfsync.local_org.answers import Answer
from sfsync.local_org.org import Org


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, or one subrequest of a Composite."""

    org: Org
    method: str
    path: str  # below /services/data/vNN.0/, decoded, no slash at either end
    version: str  # "67.0"
    query: Mapping[str, str]
    body: Any  # parsed JSON, or None
    headers: Mapping[str, str]  # lower-case names
    number: int  # of the HTTP request
    cursor: duckdb.DuckDBPyConnection | None = None  # the transaction of an all-or-none Composite
    parts: tuple[str, ...] = ()  # what the resource's pattern captured

    @property
    def base(self) -> str:
        """The path in front of every resource of this version."""
        return f"/services/data/v{self.version}"


Handler = Callable[[Ask], Answer]
