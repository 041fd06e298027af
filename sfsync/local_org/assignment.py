"""Assignment rules: who owns a lead, a case or an account after it was saved.

Owns:      the owner that a rule gives, as SQL over the saved records.
Does not:  choose the rule (write), or read it (rules).
Invariant: a record that no entry fits, or whose entry names nobody of this org, keeps its owner.
"""

from __future__ import annotations

import duckdb

from sfsync.contract import SObject
from sfsync.local_org.rule_sql import stored
from sfsync.local_org.rules import AssignmentRule
from sfsync.local_org.store import Store, literal, table


def assign(
    store: Store,
    cursor: duckdb.DuckDBPyConnection,
    sobject: SObject,
    rule: AssignmentRule,
    judged: str,
    turn: int,
) -> None:
    """Give this turn's saved records to whom the rule names."""
    cases = " ".join(
        f"WHEN {f'({entry.when})' if entry.when else 'true'} THEN {_owner(store, entry.owner)}"
        for entry in rule.entries
    )
    saved = f"SELECT id FROM {judged} WHERE error IS NULL AND turn = {turn}"
    cursor.execute(
        f"""UPDATE {table(sobject.name)} u SET OwnerId = x.owner FROM (
              SELECT Id, CASE {cases} END AS owner FROM {stored(sobject)} WHERE Id IN ({saved})) x
            WHERE x.Id = u.Id AND x.owner IS NOT NULL"""
    )


def _owner(store: Store, name: str) -> str:
    """SQL of the Id of an active user, or of a queue."""
    found = []
    if store.contract.object("User") is not None:
        found.append(
            f"(SELECT min(Id) FROM {table('User')} WHERE lower(Username) = {literal(name.lower())}"
            " AND IsActive = 'true' AND IsDeleted = 'false')"
        )
    if store.contract.object("Group") is not None:
        found.append(
            f"(SELECT min(Id) FROM {table('Group')} WHERE DeveloperName = {literal(name)} AND IsDeleted = 'false')"
        )
    return f"coalesce({', '.join([*found, 'NULL::VARCHAR'])})"
