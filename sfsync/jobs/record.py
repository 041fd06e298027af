"""Writes what the org answered into the state: snapshot and refusals, one transaction for each part.

Owns:      the way from a part of an outcome table to the state's tables.
Does not:  judge answers (push) or know table shapes (state).
Invariant: a row is in the snapshot with a text only after the org acknowledged that text.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff.messages import MASK
from sfsync.diff.refusals import delete_digest, digest_sql, identity_sql, secret_of, whole_texts
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import MASK as HIDDEN
from sfsync.errors import registered
from sfsync.ports import Journal
from sfsync.records import Operation
from sfsync.state import along, archive, doubts, rejected, siblings, snapshots, undo
from sfsync.state.store import StateStore

_DOUBT = (
    "(o.outcome <> 'failed' OR o.code LIKE 'HTTP_5%'"
    " OR o.code IN ('NO_ANSWER', 'SERVER_UNAVAILABLE', 'UNKNOWN_EXCEPTION', 'UNPROCESSED'))"
)
"""Rows whose update may stand in the org although nobody said so."""

_GOOD = ("created", "adopted", "updated", "deleted", "already_deleted", "restored")
_ACTION = {
    Operation.UPSERT: "create",
    Operation.CREATE: "create",
    Operation.UPDATE: "update",
    Operation.DELETE: "delete",
    Operation.UNDELETE: "undelete",
    Operation.LINK: "update",
}


class StateRecorder:
    """The Recorder of push, over an open state."""

    def __init__(self, store: StateStore, run_id: str, journal: Journal) -> None:
        self._store = store
        self._run_id = run_id
        self._journal = journal

    def record(self, sync: CompiledSync, operation: Operation, part: int, ended: Sequence[int] = ()) -> None:
        db = self._store.db
        outcomes = run_table("outcome", sync.name)
        found = {
            outcome
            for (outcome,) in db.execute(
                f"SELECT DISTINCT outcome FROM {outcomes} WHERE _op = '{operation}' AND _part = {part}"
            )
        }
        with db.transaction():
            if found & set(_GOOD):
                good = self._rows(sync, operation, part, ", ".join(map(literal, _GOOD)))
                self._succeeded(sync, operation, good)
            if "adopted" in found:
                snapshots.forget_other_keys(self._store, sync, self._rows(sync, operation, part, "'adopted'"))
            if "gone" in found:
                gone = self._rows(sync, operation, part, "'gone'")
                if operation is Operation.UNDELETE:
                    undo.lose(self._store, gone)
                else:
                    snapshots.record_gone(self._store, sync, gone, self._run_id)
                    siblings.gone(self._store, sync, gone, self._run_id)
            if "converted" in found:
                leads = self._rows(sync, operation, part, "'converted'")
                snapshots.record_converted(self._store, sync, leads)
                rejected.clear(self._store, sync.name, leads)
            if operation.verb is Operation.UPDATE and found & {"submitted", "in_doubt", "failed"}:
                doubtful = self._rows(sync, operation, part, "'submitted', 'in_doubt', 'failed'", _DOUBT)
                snapshots.record_unknown(self._store, sync, doubtful)
            if operation is Operation.DELETE and found & {"submitted", "in_doubt", "failed"}:
                doubtful = self._rows(sync, operation, part, "'submitted', 'in_doubt', 'failed'", _DOUBT)
                doubts.deleting(self._store, sync.name, doubtful)
            if found & {"rejected", "failed", "in_doubt"}:
                refused = self._refused(sync, operation, part)
                from sfsync.push.retry import NOT_THE_ROW  # late: most runs have nothing refused

                rejected.record_refusals(self._store, sync.name, refused, self._run_id, NOT_THE_ROW)
            self._journal.ended(ended)

    def remember(self, sync: CompiledSync, rows: str, *, sent: bool) -> None:
        doubts.read(self._store, sync, sync.name, rows, sent=sent)

    def _succeeded(self, sync: CompiledSync, operation: Operation, rows: str) -> None:
        match operation:
            case Operation.UPSERT | Operation.CREATE:
                snapshots.record_upserts(self._store, sync, rows, self._run_id)
            case Operation.UPDATE:
                before = run_table("work", sync.name)
                snapshots.record_updates(self._store, sync, rows, before, self._run_id)
            case Operation.LINK:
                snapshots.record_links(self._store, sync, rows, self._run_id)
            case Operation.DELETE:
                if sync.removal.archive:
                    archive.keep(self._store, sync, rows, self._run_id)
                siblings.gone(self._store, sync, rows, self._run_id)
                if sync.takes:
                    along.gone(self._store, sync.name, sync.takes, rows, self._run_id)
                snapshots.record_deletes(self._store, sync, rows, self._run_id, erased=sync.erases)
                if sync.mode is Mode.DELETE:  # its rows stay in the model, and are not to be asked for again
                    snapshots.record_gone(self._store, sync, rows, self._run_id)
            case Operation.UNDELETE:
                snapshots.record_undeletes(self._store, sync, rows, self._run_id)
                siblings.back(self._store, sync, rows)
                if sync.takes:
                    along.back(self._store, sync.name, sync.takes, rows)
        rejected.clear(self._store, sync.name, rows)

    def _rows(
        self, sync: CompiledSync, operation: Operation, part: int, outcomes: str, more: str = "TRUE"
    ) -> str:
        texts = "" if operation is Operation.DELETE else _texts(sync) + ", t._source_hash,"
        texts += " t._origin," if operation is Operation.UNDELETE else ""
        mine = "(o.outcome = 'deleted' OR (o.outcome = 'already_deleted' AND o._created))"
        return (
            f"(SELECT {texts} t._key, o._record_id, o._created, {mine} AS _mine FROM {run_table(operation.value, sync.name)} AS t"
            f" JOIN {run_table('outcome', sync.name)} AS o ON o._ord = t.rowid"
            f" WHERE o._op = '{operation}' AND o._part = {part} AND o.outcome IN ({outcomes}) AND {more})"
        )

    def _refused(self, sync: CompiledSync, operation: Operation, part: int) -> str:
        # A row to be made is judged as `upsert`, whatever makes it.
        verb = Operation.UPSERT if operation.makes else operation.verb
        digest = digest_sql(sync, "t", action=verb.value)
        if operation is Operation.DELETE:
            digest = delete_digest("t._key")
        field = "nullif(o.field, '')" if operation is Operation.DELETE else _field(sync)
        identity = identity_sql(sync, secret_of(sync, self._store))
        return (
            f"(SELECT t._key AS key, {digest} AS digest, 'org' AS decided_by, '{_ACTION[operation]}' AS action,"
            f" coalesce(o.code, 'UNKNOWN') AS code, {field} AS field,"
            f" {_masked(sync)} AS message, {identity} AS identity, o.outcome <> 'rejected' AS transient"
            f" FROM {run_table(operation.value, sync.name)} AS t"
            f" JOIN {run_table('outcome', sync.name)} AS o ON o._ord = t.rowid{_more_texts(sync)}"
            f" WHERE o._op = '{operation}' AND o._part = {part} AND o.outcome IN ('rejected', 'failed', 'in_doubt'))"
        )


def _field(sync: CompiledSync) -> str:
    """The field that the org names; of a lookup whose parent it does not have, it names the parent's key alone.

    First the lookup that was sent this very key, then one that refers to this field of this object.
    """
    said, cases = "lower(coalesce(o.message, ''))", []
    links = [(rule, rule.reference) for rule in sync.fields if rule.reference is not None]
    for exact in (True, False):
        for rule, link in links:
            about = f"not found for field {link.parent_field} in entity {link.parent_object}".lower()
            case = f"{said} LIKE 'foreign key external id: %' AND contains({said}, {literal(about)})"
            if exact:
                case += f" AND contains({said}, 'id: ' || lower(t.{ident(rule.field)}) || ' not found')"
            cases.append(f"WHEN {case} AND t.{ident(rule.field)} <> '' THEN {literal(rule.field)}")
    own = "nullif(o.field, '')"
    # What stands in its place may be the parent's field, which is none of this sync.
    return f"CASE {' '.join(cases)} ELSE {own} END" if cases else own


def _texts(sync: CompiledSync) -> str:
    return ", ".join(f"t.{ident(rule.field)}" for rule in sync.rules)


def _masked(sync: CompiledSync) -> str:
    """The org's words without what they echo: secrets, and values of pii fields (sent, of the row, or acknowledged before)."""
    text = "coalesce(o.message, '')"
    for secret in registered():  # a gateway may send back the headers that it was sent
        text = f"replace({text}, {literal(secret)}, {literal(HIDDEN)})"
    for rule in sync.rules:
        if rule.pii:
            for value in (f"w.{ident(rule.field + '=')}", f"s.{ident(rule.field)}"):
                shown = f"regexp_replace({text}, regexp_escape(nullif({value}, '')), {literal(MASK)}, 'gi')"
                text = f"coalesce({shown}, {text})"
    return text


def _more_texts(sync: CompiledSync) -> str:
    """The joins of `whole_texts`, only where a field is pii or a line names several fields."""
    wanted = len(sync.identity) > 1 or any(rule.pii for rule in sync.rules)
    return whole_texts(sync) if wanted else ""
