"""Saving judged rows: new records, changed records, and the journal of both.

Owns:      INSERT and UPDATE of a `_judged_n` table, defaults, derived fields, system fields, the journal's lines.
Does not:  decide whether a row may be saved (stage).
Invariant: only rows without an error are saved; a field that was not sent keeps its text.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from sfsync.contract import Field
from sfsync.local_org import record_types
from sfsync.local_org.call import Call
from sfsync.local_org.columns import Column, by_field
from sfsync.local_org.derived import derived_fields
from sfsync.local_org.store import Store, literal, quoted, table


class Saving:
    """The saving of one call."""

    def __init__(
        self,
        store: Store,
        cursor: duckdb.DuckDBPyConnection,
        call: Call,
        columns: tuple[Column, ...],
        number: str,
        now: str,
        user_id: str,
    ) -> None:
        self.store, self.cursor, self.call, self.now, self.user_id = store, cursor, call, now, user_id
        self.columns, self.judged = columns, f"_judged_{number}"
        self._texts = {
            name: f"j.c{found[0]}" if len(found) == 1 else f"coalesce({', '.join(f'j.c{i}' for i in found)})"
            for name, found in by_field(columns).items()
        }
        self.whole = store.contract.object(call.sobject.name) or call.sobject
        """With the fields that the user does not see: they have their defaults all the same."""
        self._derived = derived_fields(self.whole)

    def write(self, turn: int) -> None:
        """Save this turn's good rows."""
        fresh, known = self.cursor.execute(
            f"SELECT count(*) FILTER (target IS NULL), count(*) FILTER (target IS NOT NULL)"
            f" FROM {self.judged} WHERE error IS NULL AND turn = {turn}"
        ).fetchall()[0]
        if fresh:
            self._insert(turn, int(fresh))
        if known:
            self._update(turn)

    def _insert(self, turn: int, count: int) -> None:
        sobject = self.whole
        system = {
            "Id": "j.id",
            "IsDeleted": "'false'",
            "CreatedDate": literal(self.now),
            "CreatedById": literal(self.user_id),
            "LastModifiedDate": literal(self.now),
            "LastModifiedById": literal(self.user_id),
            "SystemModstamp": literal(self.now),
        }

        def value(name: str) -> str:
            if name in system:
                return system[name]
            field = sobject.field(name)
            return "NULL" if field is None else self._created_value(field, count)

        names, values = [], []
        for field in sobject.fields:
            make = self._derived.get(field.name)
            names.append(quoted(field.name))
            values.append(value(field.name) if make is None else make(value, self.sent(field.name)))
        self.cursor.execute(
            f"INSERT INTO {table(sobject.name)} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM {self.judged} j WHERE error IS NULL AND target IS NULL AND turn = {turn}"
        )

    def _created_value(self, field: Field, count: int) -> str:
        """A new record's text: what was sent, else the field's default."""
        if field.auto_number:
            first = self.store.take(self.cursor, f"#{self.call.sobject.name}.{field.name}", count)
            return f"lpad(CAST({first} + row_number() OVER () - 1 AS VARCHAR), 8, '0')"
        default = self._default(field)
        sent = self._texts.get(field.name)
        if sent is None:
            return default
        if default == "NULL":
            return f"nullif({sent}, '')"
        if field.nillable and not field.name_field:
            return f"CASE WHEN {sent} IS NULL THEN {default} ELSE nullif({sent}, '') END"
        return f"coalesce(nullif({sent}, ''), {default})"

    def _default(self, field: Field) -> str:
        if field.default_value is not None:
            return literal(field.default_value)
        if field.name == record_types.FIELD and (chosen := record_types.default_of(self.call.sobject)):
            return literal(chosen)
        if field.name == "OwnerId":
            return literal(self.user_id)
        if field.type == "boolean":
            return "'false'"
        if field.name_field and field.defaulted_on_create:
            return "j.id"
        return "NULL"

    def sent(self, name: str) -> str | None:
        """SQL of what was sent for a field, over `j`; None if no column is about it."""
        return self._texts.get(name)

    def text_after(self, name: str) -> str:
        """SQL of a field's text as it will be saved, over `j` (judged) and `t` (the record that is there, if any)."""

        def value(name: str) -> str:
            field = self.whole.field(name)
            if field is None:
                return "NULL"
            if name == "Id":
                return "j.id"
            default = "NULL" if field.auto_number else self._default(field)
            before = f"CASE WHEN j.target IS NULL THEN {default} ELSE t.{quoted(name)} END"
            sent = self._texts.get(name)
            if sent is None:
                return before
            blank = "NULL" if field.nillable else default
            return f"CASE WHEN {sent} IS NULL THEN {before} ELSE coalesce(nullif({sent}, ''), {blank}) END"

        make = self._derived.get(name)
        return value(name) if make is None else make(value, self.sent(name))

    def _update(self, turn: int) -> None:
        sobject = self.call.sobject
        values: dict[str, str] = {}
        for name, sent in self._texts.items():
            if name != "Id":
                values[name] = f"CASE WHEN {sent} IS NULL THEN t.{quoted(name)} ELSE nullif({sent}, '') END"

        def value(name: str) -> str:
            return values.get(name, f"t.{quoted(name)}")

        made = {n: make(value, self.sent(n)) for n, make in self._derived.items() if _touched(make, values)}
        system = {
            "LastModifiedDate": literal(self.now),
            "LastModifiedById": literal(self.user_id),
            "SystemModstamp": literal(self.now),
        }
        changes = ", ".join(f"{quoted(n)} = {text}" for n, text in {**values, **made, **system}.items())
        self.cursor.execute(
            f"UPDATE {table(sobject.name)} t SET {changes} FROM {self.judged} j"
            f" WHERE t.Id = j.target AND j.error IS NULL AND j.turn = {turn}"
        )

    def journal(self) -> None:
        """Write one line per saved record: what was sent, as it was sent."""
        headers = [c.header for c in self.columns]
        texts = ", ".join(f"i.{quoted(h)}" for h in headers)
        call = self.store.take(self.cursor, "#call", 1)
        self.cursor.execute(
            "INSERT INTO org.write_calls VALUES (?, ?, CAST(? AS TIMESTAMP), ?, ?)",
            [call, self.call.request, self.now.rstrip("Z"), self.call.sobject.name, headers],
        )
        failed = (
            f" AND NOT EXISTS (SELECT 1 FROM {self.judged} WHERE error IS NOT NULL)"
            if self.call.all_or_none
            else ""
        )
        self.cursor.execute(
            f"""INSERT INTO org.writes SELECT {call}, j._row, j.id,
                  CASE WHEN j.target IS NULL THEN 'created' ELSE 'updated' END, [{texts}]::VARCHAR[]
                FROM {self.judged} j JOIN {self.call.incoming} i ON i._row = j._row WHERE j.error IS NULL{failed}"""
        )


def _touched(make: Callable[..., str], values: dict[str, str]) -> bool:
    """Whether an update sends a field that this derived field is made of."""
    read: list[str] = []

    def probe(name: str) -> str:
        read.append(name)
        return "NULL"

    make(probe, None)
    return any(name in values for name in read)
