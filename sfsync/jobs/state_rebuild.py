"""`sfsync state rebuild SYNC`: a snapshot made of what the org has now; priced first, done only when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sfsync.compiler.manifest import CompiledSync
from sfsync.compiler.org_texts import unread
from sfsync.diff.refusals import keyed_digest, secret_of
from sfsync.errors import RefusedError
from sfsync.jobs.from_org import Price, price, read_records
from sfsync.jobs.session import Options, Session
from sfsync.jobs.state_rekey import compiled_sync
from sfsync.state import care, snapshots

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class StateRebuildResult:
    """The price, and what was made when it was wanted."""

    sync: str
    object: str
    price: Price
    allowed: int | None  # API calls that may be spent now
    done: bool
    before: int  # records that the snapshot had
    records: int = 0
    created: int = 0  # of them: made by this sync, as the snapshot already knew
    gone: int = 0  # of the snapshot before, and not in the org any more
    calls: int = 0  # spent in all
    unread: tuple[str, ...] = ()  # fields whose texts are not known now


def state_rebuild_command(options: Options, name: str, *, yes: bool = False) -> StateRebuildResult:
    """Tell what reading the sync's records costs, and with `yes` read them and make the snapshot of them.

    Raises:
        StateError: no such sync, or no state.
        RefusedError: keys stand twice in the org, the snapshot is of another object or identity, a request is open.
        ApiLimitError: the budget does not allow the calls.
    """
    with Session(options, "state rebuild") as session:
        session.open_existing(write=True)
        sync = compiled_sync(session, name)
        care.refuse_open(session.store, name)
        info = snapshots.inspect(session.store, sync)
        if info.foreign is not None:
            raise RefusedError(
                f"sync '{name}' {info.foreign}",
                fix=f"`sfsync state rekey {name}` if its identity changed; else `sfsync state forget {name}` first",
            )
        cost = price(session, sync)
        result = StateRebuildResult(
            name,
            sync.object,
            cost,
            session.ledger.budget().available,
            False,
            info.rows,
            calls=session.ledger.calls,
        )
        return _rebuild(session, sync, result) if yes else result


def _rebuild(session: Session, sync: CompiledSync, result: StateRebuildResult) -> StateRebuildResult:
    if result.allowed is not None and result.price.calls > result.allowed:
        raise RefusedError(
            f"reading {result.price.records:,} records takes {result.price.calls:,} API calls, and {result.allowed:,}"
            " are allowed now",
            fix="wait: the window is the last 24 hours, not midnight; or raise `api_limit` in profiles.yml",
        )
    table = read_records(session, sync, result.price.records)
    _refuse_doubles(session, sync, table)
    session.store.check_lease()  # reading may have taken long
    made = snapshots.replace_by(session.store, sync, table, session.run_id)
    session.ledger.flush()
    return replace(
        result,
        done=True,
        records=made.records,
        created=made.created,
        gone=made.gone,
        calls=session.ledger.calls,
        unread=unread(sync),
    )


def _refuse_doubles(session: Session, sync: CompiledSync, table: str) -> None:
    key = "_key"
    if any(rule.pii for rule in sync.identity):
        key = keyed_digest(secret_of(sync, session.store), "_key")
    count, samples = session.db.execute(
        f"SELECT count(*), min(shown, {SAMPLES}) FROM (SELECT any_value({key}) AS shown FROM {table}"
        " WHERE _key IS NOT NULL GROUP BY _key HAVING count(*) > 1)"
    )[0]
    if count:
        names = " and ".join(rule.field for rule in sync.identity)
        listed = ", ".join(f"'{item}'" for item in samples) + (", ..." if count > SAMPLES else "")
        raise RefusedError(
            f"{count:,} keys stand on more than one {sync.object} in the org ({listed}): which of the records is meant"
            " cannot be told; nothing was changed",
            fix=f"merge these records in the org, or make {names} unique there",
        )
