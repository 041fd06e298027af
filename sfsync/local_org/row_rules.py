"""What an org's own setup refuses: judged after a row's cells, before it is saved.

Owns:      picklists that record types narrow, denials, converted leads, validation rules, duplicate rules; their order.
Does not:  judge cells, keys, parents and rights (stage), read rules (rules), or save (save).
Invariant: a call for whose object nothing is set up runs no statement here; only rows without an error get one.
"""

from __future__ import annotations

import duckdb

from sfsync.contract import Field
from sfsync.local_org import record_types, rule_sql
from sfsync.local_org.call import Call
from sfsync.local_org.columns import Column
from sfsync.local_org.rules import Denial, DuplicateRule
from sfsync.local_org.save import Saving
from sfsync.local_org.stage import NO_ACCESS, folded
from sfsync.local_org.store import Store, literal, quoted, table
from sfsync.local_org.write_sql import bad_choice, fail

CONVERTED = fail("CANNOT_UPDATE_CONVERTED_LEAD", "'cannot reference converted lead'")
_DUPLICATE = fail("DUPLICATES_DETECTED", "'Use one of these records?'")


def denials_of(store: Store, call: Call, access: str) -> list[Denial]:
    """What is closed to the user of this call, for objects of any kind."""
    if not store.rules.denials:
        return []
    user = call.user_id or store.identity.user_id
    return [d for d in store.rules.denials if access in d.access and d.user in (None, store.name_of(user))]


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
        self._saving, self._columns, self._judged = saving, columns, saving.judged
        self._whole = store.contract.object(call.sobject.name) or call.sobject
        """Rules see fields that the user does not."""
        name = call.sobject.name
        self._errors = [*self._converted(), *self._closed(), *self._narrowed()]
        self._validation = [rule for rule in store.rules.validation if rule.object == name]
        self._duplicates = [
            rule
            for rule in store.rules.duplicates
            if rule.object == name and not (rule.action == "alert" and call.allow_save)
        ]

    def check(self, turn: int) -> None:
        """Refuse those of this turn's good rows that the org's setup does not let pass."""
        rows = (
            f"{self._judged} j LEFT JOIN {table(self._call.sobject.name)} t ON t.Id = j.target"
            f" WHERE j.error IS NULL AND j.turn = {turn}"
        )
        if self._errors:
            self._refuse(f"SELECT j._row, coalesce({self._all(self._errors)}) AS error FROM {rows}")
        if self._validation:
            self._validate(rows)
        for rule in self._duplicates:
            self._find_duplicates(rule, turn)

    @staticmethod
    def _all(errors: list[str]) -> str:
        return ", ".join([*errors, "NULL::VARCHAR"])

    def _refuse(self, found: str) -> None:
        """Put the errors of a query of `_row, error` to their rows."""
        self._cursor.execute(
            f"UPDATE {self._judged} u SET error = x.error FROM ({found}) x WHERE x._row = u._row AND x.error IS NOT NULL"
        )

    # ---------------------------------------------------------------- system

    def _converted(self) -> list[str]:
        """A lead that was converted is read-only."""
        if self._call.sobject.name != "Lead" or self._whole.field("IsConverted") is None:
            return []
        return [f"CASE WHEN t.IsConverted = 'true' THEN {CONVERTED} END"] if self._any_converted() else []

    def _any_converted(self) -> bool:
        found = f"SELECT 1 FROM {table('Lead')} WHERE IsConverted = 'true' LIMIT 1"
        return bool(self._cursor.execute(found).fetchall())

    def _closed(self) -> list[str]:
        """Records that this user may not edit, and parents that he may not refer to."""
        errors = []
        for denial in denials_of(self._store, self._call, "edit"):
            if denial.object == self._call.sobject.name:
                closed = rule_sql.denied_ids(self._whole, denial.when)
                errors.append(f"CASE WHEN j.target IN ({closed}) THEN {NO_ACCESS} END")
        for denial in denials_of(self._store, self._call, "refer"):
            parent = self._store.contract.object(denial.object)
            for field in {c.field.name: c.field for c in self._columns}.values():
                if parent is None or parent.name not in field.reference_to:
                    continue
                sent = self._saving.sent(field.name)
                words = literal("insufficient access rights on cross-reference id: ")
                wrong = fail(
                    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", f"{words} || substr({sent}, 1, 15)"
                )
                closed = rule_sql.denied_ids(parent, denial.when)
                errors.append(f"CASE WHEN {sent} IN ({closed}) THEN {wrong} END")
        return errors

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

    # ---------------------------------------------------------------- rules

    def _validate(self, rows: str) -> None:
        """All rules that hold are broken at once; the first is told."""
        before = ""
        if any(rule_sql.PRIOR in rule.error_if for rule in self._validation):
            before = f", {rule_sql.prior(self._whole, 't')}"
        record = (
            f"SELECT j._row, {rule_sql.columns(self._whole, self._saving.text_after)}{before} FROM {rows}"
        )
        errors = [
            f"CASE WHEN ({rule.error_if}\n) THEN"
            f" {fail('FIELD_CUSTOM_VALIDATION_EXCEPTION', literal(rule.message), rule.field or '')} END"
            for rule in self._validation
        ]
        self._refuse(f"SELECT _row, coalesce({self._all(errors)}) AS error FROM ({record})")

    def _find_duplicates(self, rule: DuplicateRule, turn: int) -> None:
        """A new record that another one is like, or a changed one that has become so."""
        same, touched = [], ["j.target IS NULL"]
        for name in rule.match:
            field = self._whole.field(name)
            if field is None:
                return
            sent = self._saving.sent(name)
            if sent is not None:
                touched.append(f"{sent} IS NOT NULL")
            mine = folded(field, self._saving.text_after(name))
            same.append(f"{folded(field, f'd.{quoted(name)}')} = {mine}")
        self._refuse(
            f"SELECT DISTINCT j._row, {_DUPLICATE} AS error FROM {self._judged} j"
            f" LEFT JOIN {table(self._whole.name)} t ON t.Id = j.target"
            f" JOIN {table(self._whole.name)} d ON {' AND '.join(same)} AND d.IsDeleted = 'false'"
            f" WHERE d.Id IS DISTINCT FROM j.target AND j.error IS NULL AND j.turn = {turn} AND ({' OR '.join(touched)})"
        )
