"""What one call of the write path is asked to do.

Owns:      the frozen Call.
Does not:  do it (write, delete).
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.contract import Contract, SObject
from sfsync.local_org.fault_rows import NONE, RowFaults

CHUNK = 200
"""Rows of one save: the platform looks for keys that stand twice inside one chunk."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for one table of rows."""

    sobject: SObject
    operation: str  # insert | update | upsert | delete | hardDelete
    incoming: str  # the temp table
    external_id: str | None = None  # upsert: the key field, `Id` allowed
    all_or_none: bool = False
    request: int = 0  # number of the HTTP request, for the journal
    user_id: str | None = None  # who does it; None: the org's administrator
    strict: bool = False  # JSON: a value of the wrong type refuses the whole request
    faults: RowFaults = NONE
    journal: bool = True
    seen: Contract | None = None  # what the user sees; None: everything
    allow_save: bool = False  # duplicate rules that only alert let the row pass
    assignment: str | None = None  # None: no assignment rule; "": the active one; else a rule's Id
