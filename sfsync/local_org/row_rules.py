"""What an org's own setup refuses: judged after a row's cells, before it is saved.

Owns:      picklists that record types narrow.
Does not:  judge cells, keys, parents and rights (stage), or save (save).
Invariant: a call for whose object nothing is set up runs no statement here; only rows without an error get one.
"""

from __future__ import annotations

import duckdb

from sfsync.contract import Field
from sfsync.local_org import record_types
from sfsync.local_org.call import Call
from sfsync.local_org.columns import Column
from sfsync.local_org.save import Saving
from sfsync.local_org.store import Store, literal, table
from sfsync.local_org.write_sql import bad_choice


class RowRules:
    """The org's rules about the rows of one call."""

    def __init__(
        self,
        store: Store,
        cursor: duckdb.DuckDBPyConnection,
        call: Call,
        columns: tuple[Column, ...],
        saving: Saving,
    ) -> None:
        self._store, self._cursor, self._call = store, cursor, call
        self._saving, self._columns = saving, columns
        self._errors = self._narrowed()

    def check(self, turn: int) -> None:
        """Refuse those of this turn's good rows that the org's setup does not let pass."""
        if not self._errors:
            return
        self._cursor.execute(
            f"""UPDATE {self._saving.judged} u SET error = x.error FROM (
                  SELECT j._row, coalesce({", ".join([*self._errors, "NULL::VARCHAR"])}) AS error
                  FROM {self._saving.judged} j LEFT JOIN {table(self._call.sobject.name)} t ON t.Id = j.target
                  WHERE j.error IS NULL AND j.turn = {turn}) x
                WHERE x._row = u._row AND x.error IS NOT NULL"""
        )

    def _narrowed(self) -> list[str]:
        """Values that a restricted picklist has, but not for the record's record type."""
        sent = {c.field.name: c.field for c in self._columns if c.field.restricted_picklist}
        lists = [
            (info.id or "", sent[name], values)
            for info in self._call.sobject.record_type_infos
            for name, values in info.picklists
            if name in sent
        ]
        if not lists:
            return []
        chosen = self._saving.text_after(record_types.FIELD)
        return [self._outside(chosen, record_type, field, values) for record_type, field, values in lists]

    def _outside(self, chosen: str, record_type: str, field: Field, values: tuple[str, ...]) -> str:
        text = self._saving.sent(field.name)
        allowed = ", ".join(literal(value) for value in values)
        fine = f"{text} IN ({', '.join(literal(v) for v in ('', *values))})"
        if field.type == "multipicklist":
            fine = f"({text} = '' OR list_has_all([{allowed}]::VARCHAR[], string_split({text}, ';')))"
        return f"CASE WHEN {chosen} = {literal(record_type)} AND NOT {fine} THEN {bad_choice(field, str(text))} END"
