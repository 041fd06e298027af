"""Judging rows: converted, matched, their parents found, and refused where the platform refuses.

Owns:      the staged rows (canonical texts, conversion error) and the temp table `_judged_n` (matched, with Id and error).
Does not:  change a record (save).
Invariant: `_judged_n` has `_row, c0..cN (value to save), k0..kN (keys of parents are replaced by Ids), target, id, error`;
           the first error in the platform's order wins.

The staged rows of a large call are a query, not a table: to keep many texts costs more than to work a key out twice.
They are the temp table `_staged_n` for the few rows of a JSON request, and where keys come again.
"""

from __future__ import annotations

import duckdb

from sfsync.contract import Field, SObject
from sfsync.local_org import ids, record_types
from sfsync.local_org.call import CHUNK, Call
from sfsync.local_org.columns import Column, RefusedWriteError, by_field
from sfsync.local_org.person_accounts import has_them
from sfsync.local_org.store import Store, literal, quoted, table
from sfsync.local_org.write_sql import CONVERTED_TYPES, SEPARATOR, cell, fail

NO_ACCESS = fail("INSUFFICIENT_ACCESS_OR_READONLY", "'insufficient access rights on object id'")
_RIGHTS = (
    ". Please check the security settings of this field and verify that it is read/write for your profile or "
    "permission set."
)


def folded(field: Field, text: str) -> str:
    """SQL that makes two texts equal where this field calls them equal."""
    return text if field.case_sensitive or field.type in ("id", "reference") else f"lower({text})"


class Staging:
    """The judging of one call."""

    def __init__(
        self,
        store: Store,
        cursor: duckdb.DuckDBPyConnection,
        call: Call,
        columns: tuple[Column, ...],
        key: Field | None,
        number: str,
    ) -> None:
        self.store, self.cursor, self.call, self.columns, self.key = store, cursor, call, columns, key
        self.staged = self._kept = f"_staged_{number}"
        self.judged = f"_judged_{number}"
        self.twice, self.rounds = f"_twice_{number}", f"_rounds_{number}"
        self.key_index = next(
            (
                i
                for i, c in enumerate(columns)
                if key is not None and c.field.name == key.name and c.parent is None
            ),
            None,
        )
        self._has_rounds = self._has_twice = False
        self._ids: str | None = None
        self._lowest_row = 0
        self._key_text = ""

    # ---------------------------------------------------------------- conversion

    def convert(self) -> int:
        """Make the staged texts; return in how many turns the rows must be written (keys that come again in a later chunk)."""
        cells, errors = [], self._faults()
        for i, column in enumerate(self.columns):
            raw = quoted(column.header)
            if column.parent_field is not None:
                cells.append(f"trim({raw}) AS c{i}")
                continue
            done = cell(column.field, raw, f"c{i}")
            cells.append(f"{done.text} AS c{i}")
            if done.error is not None:
                errors.append(done.error)
        found = ", ".join([*errors, "NULL::VARCHAR"])
        listed = "".join(f", c{i}" for i in range(len(self.columns)))
        # texts first, errors over them: one expression may not be computed twice for each row
        self._key_text = cells[self.key_index] if self.key_index is not None else ""
        self.staged = (
            f"(SELECT _row{listed}, coalesce({found}) AS error"
            f" FROM (SELECT *{''.join(f', {text}' for text in cells)} FROM {self.call.incoming}))"
        )
        if self.call.strict:
            self._keep()
            self._refuse_wrong_types()
        low, high = self.cursor.execute(f"SELECT min(_row), max(_row) FROM {self.call.incoming}").fetchall()[
            0
        ]
        if self.call.operation in ("insert", "upsert") and low is not None:
            prefix, count = self.call.sobject.key_prefix or "000", int(high) - int(low) + 1
            first = self.store.take(self.cursor, prefix, count)
            self._lowest_row = int(low)
            self._ids = ids.run_sql(prefix, self.store.identity.instance, first, count)
        return self._count_rounds()

    def _keep(self) -> None:
        """Make a table of the staged rows, if they are none yet."""
        if self.staged != self._kept:
            self.cursor.execute(f"CREATE TEMP TABLE {self._kept} AS {self.staged}")
            self.staged = self._kept

    def _faults(self) -> list[str]:
        """Errors that are there on request only."""
        key = self.key.name if self.key is not None else "Id"
        headers = [c.header for c in self.columns]
        return self.call.faults.sql(headers, key, literal(self.store.identity.user_id), CHUNK)

    def _refuse_wrong_types(self) -> None:
        """JSON is parsed before any row is saved: one value of the wrong type refuses the whole request."""
        wrong = {
            c.field.label: c.field
            for c in self.columns
            if c.parent is None and c.field.type in CONVERTED_TYPES
        }
        if not wrong:
            return
        found = self.cursor.execute(
            f"SELECT error FROM {self.staged} WHERE starts_with(error, 'INVALID_TYPE_ON_FIELD_IN_RECORD')"
            " ORDER BY _row LIMIT 1"
        ).fetchall()
        if not found:
            return
        _, message, name = str(found[0][0]).split(SEPARATOR)
        value = message.rpartition(": ")[2]
        field = self.call.sobject.field(name)
        if not value or field is None:
            return
        raise RefusedWriteError(
            "JSON_PARSER_ERROR",
            f"Cannot deserialize instance of {field.type} from VALUE_STRING value {value} or request may be missing "
            f"a required field at [line:1, column:1]",
        )

    def _count_rounds(self) -> int:
        """Find keys that stand twice: inside a chunk they fail, in a later chunk they wait for the next turn."""
        if self.key is None or self.key_index is None:
            return 1
        key = folded(self.key, f"c{self.key_index}")
        present = f"{key} <> ''"
        keys = (
            self._kept
            if self.staged == self._kept
            else f"(SELECT {self._key_text} FROM {self.call.incoming})"
        )
        more = self.cursor.execute(
            f"SELECT count({key}) - count(DISTINCT {key}) FROM {keys} WHERE {present}"
        ).fetchall()[0][0]
        if not more:
            return 1
        self._keep()
        self.cursor.execute(
            f"""CREATE TEMP TABLE {self.twice} AS SELECT s._row FROM {self.staged} s JOIN (
                  SELECT _row // {CHUNK} AS chunk, {key} AS k FROM {self.staged} WHERE {present}
                  GROUP BY ALL HAVING count(*) > 1) d
                ON s._row // {CHUNK} = d.chunk AND {folded(self.key, f"s.c{self.key_index}")} = d.k"""
        )
        self._has_twice = True
        self.cursor.execute(
            f"""CREATE TEMP TABLE {self.rounds} AS SELECT _row,
                  CASE WHEN {present} THEN row_number() OVER (PARTITION BY {key} ORDER BY _row) - 1 ELSE 0 END AS turn
                FROM {self.staged} WHERE _row NOT IN (SELECT _row FROM {self.twice})
                UNION ALL SELECT _row, 0 FROM {self.twice}"""
        )
        self._has_rounds = True
        turns = self.cursor.execute(f"SELECT max(turn) + 1 FROM {self.rounds}").fetchall()[0][0]
        return int(turns or 1)

    # ---------------------------------------------------------------- judging

    def judge(self, turn: int) -> None:
        """Match this turn's rows, resolve their parents, and put them into `_judged` with Id and error."""
        target, match_join = self._match()
        joins, errors = [match_join], ["s.error", *self._match_errors()]
        values = []
        for i, column in enumerate(self.columns):
            value, join, found = self._value(i, column)
            values.append(f"{value} AS c{i}")
            joins.append(join)
            errors += found
        new_id = "NULL::VARCHAR"
        if self._ids is not None:
            new_id = "fresh.id"
            joins.append(f"LEFT JOIN ({self._ids}) fresh ON fresh.n = s._row - {self._lowest_row}")
        errors += self._twofold() + self._rights() + self._required() + self._unique(joins)
        where = ""
        if self._has_rounds:
            joins.append(f"JOIN {self.rounds} r ON r._row = s._row AND r.turn = {turn}")
        listed = "".join(f", {v}" for v in values)
        make = f"CREATE TEMP TABLE {self.judged} AS" if turn == 0 else f"INSERT INTO {self.judged}"
        self.cursor.execute(
            f"""{make} SELECT _row{", ".join(["", *(f"c{i}" for i in range(len(self.columns)))])}, target,
                  CASE WHEN target IS NULL AND error IS NULL THEN fresh ELSE target END AS id, error, turn
                FROM (SELECT s._row{listed}, {target} AS target, {new_id} AS fresh, coalesce({", ".join(errors)}) AS error, {turn} AS turn
                      FROM {self.staged} s {" ".join(j for j in joins if j)} {where})"""
        )

    def failures(self) -> int:
        """How many judged rows were refused."""
        return int(self.cursor.execute(f"SELECT count(error) FROM {self.judged}").fetchall()[0][0])

    def _match(self) -> tuple[str, str]:
        """SQL of the matched record's Id and the join that finds it."""
        if self.key is None or self.key_index is None:
            return "NULL::VARCHAR", ""
        mine, key = f"s.c{self.key_index}", quoted(self.key.name)
        where = table(self.call.sobject.name)
        if self.key.name == "Id":
            return "m.Id", f"LEFT JOIN {where} m ON m.Id = {mine}"
        theirs = folded(self.key, f"m.{key}")
        if self.key.unique:
            on = f"{theirs} = {folded(self.key, mine)} AND m.IsDeleted = 'false'"
            return "m.Id", f"LEFT JOIN {where} m ON {on}"
        some = f"SELECT {folded(self.key, f'c{self.key_index}')} FROM {self.staged}"
        grouped = (
            f"SELECT {theirs} AS k, min(m.Id) AS Id, count(*) AS many, string_agg(substr(m.Id, 1, 15), ', ') AS ids"
            f" FROM {where} m WHERE m.IsDeleted = 'false' AND {theirs} IN ({some}) GROUP BY 1"
        )
        return "m.Id", f"LEFT JOIN ({grouped}) m ON m.k = {folded(self.key, mine)}"

    def _match_errors(self) -> list[str]:
        """Errors of the key: absent, standing twice, matching nothing, a deleted record, or more than one."""
        operation = self.call.operation
        errors: list[str] = []
        if self.key is None:
            return errors
        missing = (
            "Id not specified in an update call"
            if operation == "update"
            else f"{self.key.name} not specified"
        )
        blank_is_insert = operation == "upsert" and self.key.name == "Id"
        lost = fail("MISSING_ARGUMENT", literal(missing), self.key.name)
        if self.key_index is None:
            return errors if blank_is_insert else [lost]
        mine = f"s.c{self.key_index}"
        if not blank_is_insert:
            errors.append(f"CASE WHEN {mine} IS NULL OR {mine} = '' THEN {lost} END")
        if self._has_twice:
            word = (
                "Duplicate id specified: " if self.key.name == "Id" else "Duplicate external id specified: "
            )
            double = fail("DUPLICATE_VALUE", f"{literal(word)} || {mine}", self.key.name)
            errors.append(f"CASE WHEN s._row IN (SELECT _row FROM {self.twice}) THEN {double} END")
        if self.key.name == "Id":
            errors.append(self._id_errors(mine))
        elif not self.key.unique:
            text = f"{literal(self.key.name + ': more than one record found for external id field: [')} || m.ids || ']'"
            errors.append(
                f"CASE WHEN m.many > 1 THEN {fail('DUPLICATE_EXTERNAL_ID', text, self.key.name)} END"
            )
        return errors

    def _id_errors(self, mine: str) -> str:
        label = self.call.sobject.label
        malformed = fail(
            "MALFORMED_ID", f"{literal(label + ' ID: id value of incorrect type: ')} || {mine}", "Id"
        )
        prefix = literal(self.call.sobject.key_prefix or "")
        return (
            f"CASE WHEN {mine} IS NULL OR {mine} = '' THEN NULL"
            f" WHEN m.IsDeleted = 'true' THEN {fail('ENTITY_IS_DELETED', literal('entity is deleted'))}"
            f" WHEN m.Id IS NOT NULL THEN NULL"
            f" WHEN id_18({mine}) IS NULL OR substr({mine}, 1, 3) <> {prefix} THEN {malformed}"
            f" ELSE {fail('INVALID_CROSS_REFERENCE_KEY', literal('invalid cross reference id'))} END"
        )

    def _value(self, index: int, column: Column) -> tuple[str, str, list[str]]:
        """The value to save, the join it needs, and its errors."""
        mine = f"s.c{index}"
        if column.parent is not None and column.parent_field is not None:
            return self._parent_by_key(index, column.field, column.parent, column.parent_field)
        if column.field.type != "reference":
            return mine, "", []
        parents = [p for p in map(self.store.contract.object, column.field.reference_to) if p is not None]
        if not parents:
            return mine, "", []
        rows = " UNION ALL ".join(f"SELECT Id, IsDeleted FROM {table(p.name)}" for p in parents)
        source = table(parents[0].name) if len(parents) == 1 else f"({rows})"
        label, name = column.field.label, column.field.name
        prefixes = ", ".join(literal(p.key_prefix or "") for p in parents)
        malformed = fail(
            "MALFORMED_ID", f"{literal(label + ': id value of incorrect type: ')} || {mine}", name
        )
        error = (
            f"CASE WHEN {mine} IS NULL OR {mine} = '' OR p{index}.IsDeleted = 'false' THEN NULL"
            f" WHEN p{index}.IsDeleted = 'true' THEN {fail('ENTITY_IS_DELETED', literal('entity is deleted'), name)}"
            f" WHEN id_18({mine}) IS NULL OR substr({mine}, 1, 3) NOT IN ({prefixes}) THEN {malformed}"
            f" ELSE {fail('INVALID_CROSS_REFERENCE_KEY', literal('invalid cross reference id'), name)} END"
        )
        join = f"LEFT JOIN {source} p{index} ON p{index}.Id = {mine}"
        return mine, join, [error, *self._wrong_record_type(column, mine)]

    def _wrong_record_type(self, column: Column, text: str) -> list[str]:
        """A record type of another object, one that is not active, or not this user's."""
        infos = self.call.sobject.record_type_infos
        if column.field.name != record_types.FIELD or not infos:
            return []
        good = ", ".join(literal(i) for i in ("", *record_types.usable(self.call.sobject)))
        words = literal("Record Type ID: this ID value isn't valid for the user: ")
        wrong = fail("INVALID_CROSS_REFERENCE_KEY", f"{words} || {text}", record_types.FIELD)
        return [f"CASE WHEN {text} NOT IN ({good}) THEN {wrong} END"]

    def _parent_by_key(
        self, index: int, field: Field, parent: SObject, key: Field
    ) -> tuple[str, str, list[str]]:
        mine, p = f"s.c{index}", f"p{index}"
        theirs = folded(key, f"q.{quoted(key.name)}")
        wanted = folded(key, mine)
        own = ""
        if parent.name == record_types.OBJECT:  # two objects may call their record types alike
            own = f" AND q.SobjectType = {literal(self.call.sobject.name)}"
        if key.unique or key.name == "Id":
            rows = f"(SELECT {theirs} AS k, q.Id, 1 AS many FROM {table(parent.name)} q WHERE q.IsDeleted = 'false'{own})"
        else:
            some = f"SELECT {folded(key, f'c{index}')} FROM {self.staged}"
            rows = (
                f"(SELECT {theirs} AS k, min(q.Id) AS Id, count(*) AS many FROM {table(parent.name)} q"
                f" WHERE q.IsDeleted = 'false'{own} AND {theirs} IN ({some}) GROUP BY 1)"
            )
        shown = wanted
        words = f"'Foreign key external ID: ' || {shown} || {literal(f' not found for field {key.name} in entity {parent.name}')}"
        many = literal(f"{key.name}: more than one record found for external id field: ")
        error = (
            f"CASE WHEN {mine} IS NULL OR {mine} = '' THEN NULL"
            f" WHEN {p}.Id IS NULL THEN {fail('INVALID_FIELD', words)}"
            f" WHEN {p}.many > 1 THEN {fail('DUPLICATE_EXTERNAL_ID', f'{many} || {mine}', field.name)} END"
        )
        value = f"CASE WHEN {mine} = '' THEN '' ELSE {p}.Id END"
        join = f"LEFT JOIN {rows} {p} ON {p}.k = {wanted}"
        return value, join, [error, *self._wrong_record_type(self.columns[index], f"{p}.Id")]

    def _twofold(self) -> list[str]:
        """A lookup that one row gives both by Id and by its parent's key."""
        errors = []
        for name, found in by_field(self.columns).items():
            if len(found) > 1:
                given = " + ".join(f"CASE WHEN s.c{i} IS NULL THEN 0 ELSE 1 END" for i in found)
                relation = self.columns[found[0]].field.relationship_name
                text = f"Cannot specify both an external ID reference {relation} and a salesforce id, {name}"
                errors.append(f"CASE WHEN {given} > 1 THEN {fail('INVALID_FIELD', literal(text), name)} END")
        return errors

    def _rights(self) -> list[str]:
        """Fields that this row may not create or update, and objects that it may not write at all."""
        sobject, errors = self.call.sobject, []
        creating, updating = "target IS NULL", "target IS NOT NULL"
        for allowed, when, word, right in (
            (sobject.createable, creating, "inserted", "create"),
            (sobject.updateable, updating, "updated", "update"),
        ):
            if right in self.call.faults.lost_rights:
                errors.append(f"CASE WHEN {when} THEN {NO_ACCESS} END")
            elif not allowed:
                text = literal(f"entity type cannot be {word}: {sobject.label}")
                errors.append(
                    f"CASE WHEN {when} THEN {fail('CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY', text)} END"
                )
        if self.call.operation == "insert":
            for i, column in enumerate(self.columns):
                if column.field.name == "Id":
                    text = literal("cannot specify Id in an insert call")
                    wrong = fail("INVALID_FIELD_FOR_INSERT_UPDATE", text, "Id")
                    errors.append(f"CASE WHEN s.c{i} <> '' THEN {wrong} END")
        for when, right in ((creating, "createable"), (updating, "updateable")):
            closed = [
                (i, c.field.name)
                for i, c in enumerate(self.columns)
                if not getattr(c.field, right) and c.field.name != "Id" and i != self.key_index
            ]
            if closed:
                named = ", ".join(
                    f"CASE WHEN s.c{i} IS NOT NULL THEN {literal(name)} END" for i, name in closed
                )
                names = f"concat_ws(', ', {named})"
                text = f"'Unable to create/update fields: ' || {names} || {literal(_RIGHTS)}"
                wrong = f"{fail('INVALID_FIELD_FOR_INSERT_UPDATE', text)} || {names}"
                errors.append(f"CASE WHEN {when} AND {names} <> '' THEN {wrong} END")
        return errors

    def _required(self) -> list[str]:
        """What a create lacks, and what an update may not clear."""
        sent = {
            name: f"coalesce({', '.join(f's.c{i}' for i in found)}, NULL)"
            for name, found in by_field(self.columns).items()
        }
        lacking = []
        for field in self.call.sobject.fields:
            if field.required_on_create:
                text = sent.get(field.name)
                absent = "true" if text is None else f"coalesce({text}, '') = ''"
                if field.name == "Name" and has_them(self.call.sobject) and "LastName" in sent:
                    absent += f" AND coalesce({sent['LastName']}, '') = ''"
                lacking.append(f"CASE WHEN target IS NULL AND {absent} THEN {literal(field.name)} END")
        for column in self.columns:
            field = column.field
            if not field.nillable and field.updateable and field.type != "boolean":
                cleared = f"target IS NOT NULL AND {sent[field.name]} = ''"
                lacking.append(f"CASE WHEN {cleared} THEN {literal(field.name)} END")
        if not lacking:
            return []
        names = f"concat_ws(', ', {', '.join(lacking)})"
        text = f"'Required fields are missing: [' || {names} || ']'"
        return [f"CASE WHEN {names} <> '' THEN {fail('REQUIRED_FIELD_MISSING', text)} || {names} END"]

    def _unique(self, joins: list[str]) -> list[str]:
        """Values of unique fields that another record, or an earlier row of this call, already has."""
        errors = []
        for i, column in enumerate(self.columns):
            field = column.field
            if not field.unique or column.parent is not None or i == self.key_index:
                continue
            mine, theirs = folded(field, f"s.c{i}"), folded(field, f"u{i}.{quoted(field.name)}")
            joins.append(
                f"LEFT JOIN {table(self.call.sobject.name)} u{i}"
                f" ON {theirs} = {mine} AND u{i}.IsDeleted = 'false'"
            )
            words = literal(f"duplicate value found: {field.name} duplicates value on record with id: ")
            taken = fail("DUPLICATE_VALUE", f"{words} || substr(u{i}.Id, 1, 15)")
            errors.append(
                f"CASE WHEN u{i}.Id IS NOT NULL AND u{i}.Id IS DISTINCT FROM target THEN {taken} END"
            )
            key = folded(field, f"c{i}")
            more = self.cursor.execute(
                f"SELECT count({key}) - count(DISTINCT {key}) FROM {self.staged} WHERE {key} <> '' AND error IS NULL"
            ).fetchall()[0][0]
            if more:
                first = (
                    f"SELECT min(_row) FROM {self.staged} WHERE {key} <> '' AND error IS NULL GROUP BY {key}"
                )
                again = fail("DUPLICATE_VALUE", f"{words} || '<unknown>'")
                errors.append(
                    f"CASE WHEN u{i}.Id IS NULL AND {mine} <> '' AND s._row NOT IN ({first}) THEN {again} END"
                )

        return errors
