"""`sfsync state rekey SYNC`: the identity changed, and the snapshot's keys are made anew of the texts it holds."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, OnGone
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import StateError
from sfsync.jobs.compile import compile_for_sending
from sfsync.jobs.session import Options, Session
from sfsync.state import care
from sfsync.state.snapshots import identity_of


@dataclass(frozen=True, slots=True)
class StateRekeyResult:
    """What was rekeyed. changed: False when the keys were those of this identity already."""

    sync: str
    identity: tuple[str, ...]
    changed: bool
    records: int = 0
    tombstones: int = 0  # forgotten: they have no texts
    refused: int = 0  # forgotten: they are judged anew


def state_rekey_command(options: Options, name: str) -> StateRekeyResult:
    """Make the keys of a sync's snapshot those of its identity in the project.

    Raises:
        StateError: no such sync in the project or the state.
        RefusedError: texts are missing, keys would stand twice, or a request is open.
    """
    with Session(options, "state rekey") as session:
        store = session.open_existing(write=True)
        sync = compiled_sync(session, name)
        fields = tuple(rule.field for rule in sync.identity)
        found = care.must_find(store, name)
        if (found.object, found.identity) == (sync.object, identity_of(sync)):
            return StateRekeyResult(name, fields, False, found.records)
        key = wire.key_text(sync.identity, [ident(field) for field in fields], DUCKDB)
        shown = "_id" if any(rule.pii for rule in sync.identity) else "concat(_id, ' ', _key)"
        keep = sync.on_gone is not OnGone.RECREATE
        before = care.rekey(store, sync, key, shown=shown, keep_gone=keep)
        return StateRekeyResult(name, fields, True, before.records, before.tombstones, before.refused)


def compiled_sync(session: Session, name: str) -> CompiledSync:
    """A sync of the project, compiled.

    Raises:
        StateError: there is none of this name.
    """
    names = [sync.name for sync in session.facts.graph.syncs]
    if name not in names:
        raise StateError(f"there is no sync '{name}' in the project", fix=f"its syncs are {', '.join(names)}")
    manifest = compile_for_sending(session, max_age=None)
    return next(sync for sync in manifest.syncs if sync.name == name)
