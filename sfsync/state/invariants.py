"""What must hold in every state, as SQL over whole tables: each broken promise with how often and where.

Owns:      the list of invariants, and the statements that look for what breaks them.
Does not:  mend anything, or know the project (the caller hands in what it knows of it).
Invariant: nothing is fetched but counts and a few samples, however many records the state holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDBError
from sfsync.records import Operation, Way
from sfsync.state.migrations import migrate
from sfsync.state.snapshots import ALONG, COLUMNS
from sfsync.state.store import CATALOG, CONTROL, SNAPSHOT, StateStore

SAMPLES = 3
_EXPECTED = "sfsync_expected"
_COPY = "put back a copy of the state, or an export of it: `sfsync state import DIR`"
_BUG = f"sfsync never writes this: {_COPY}, and please report it"


@dataclass(frozen=True, slots=True)
class Fault:
    """One promise that does not hold.

    where: ``file``, ``sync contacts`` or ``table ledger``. samples: keys, Ids or lines, as people may see them.
    """

    where: str
    what: str
    rows: int
    fix: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the caller knows beside the state."""

    syncs: frozenset[str]  # of the project
    malformed_id: Callable[[str], str]  # SQL of an Id's text -> condition that it is none
    masked: Mapping[str, str] = field(default_factory=dict)  # sync -> secret, where keys are not to be shown


def find_faults(store: StateStore, known: Known) -> list[Fault]:
    """Everything that is wrong, the file first: what cannot be read is not judged further."""
    if found := [*_unreadable(store)]:
        return found
    if found := [*_shapes(store)]:
        return found
    return [
        *_registry(store),
        *(fault for sync in _whole_snapshots(store) for fault in _snapshot(store, sync, known)),
        *_control(store, known),
    ]


# ------------------------------------------------------------ the file


def _tables(store: StateStore) -> list[tuple[str, str]]:
    return store.db.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1, 2", [CATALOG]
    )


def _unreadable(store: StateStore) -> Iterable[Fault]:
    """Reads every cell of the file once: DuckDB checks each block that it loads."""
    for schema, table in _tables(store):
        name = f"{CATALOG}.{ident(schema)}.{ident(table)}"
        try:
            store.db.value(f"SELECT bit_xor(hash(t)) FROM {name} AS t")
        except DuckDBError as error:
            yield Fault("file", f"table {schema}.{table} cannot be read: {error.what}", 1, _COPY)
            return  # DuckDB may have closed the database on it


def _shapes(store: StateStore) -> Iterable[Fault]:
    """The control tables are those of this version, column by column."""
    db = store.db
    db.execute(f"ATTACH ':memory:' AS {_EXPECTED}")
    try:
        migrate(db, f"{_EXPECTED}.main", have=0)
        columns = (
            "SELECT table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE schema_name = 'main' AND database_name = '{}'"
        )
        here, wanted = columns.format(CATALOG), columns.format(_EXPECTED)
        for have, miss, what in ((wanted, here, "is missing"), (here, wanted, "is not sfsync's")):
            for table, column, kind in db.execute(f"{have} EXCEPT {miss} ORDER BY ALL"):
                yield Fault(f"table {table}", f"column {column} {kind} {what}", 1, _COPY)
    finally:
        db.execute(f"DETACH {_EXPECTED}")


def _registry(store: StateStore) -> Iterable[Fault]:
    """Each snapshot has its line in the registry, and each line its table of the right shape."""
    tables = f"SELECT table_name FROM duckdb_tables() WHERE database_name = '{CATALOG}' AND schema_name = 'snapshot'"
    lines = f"SELECT sync FROM {CONTROL}.snapshots"
    for (sync,) in store.db.execute(f"{tables} EXCEPT {lines} ORDER BY 1"):
        yield Fault(
            f"sync {sync}", "its snapshot is not in the registry, so no plan reads it", 1, _forget(sync)
        )
    for (sync,) in store.db.execute(f"{lines} EXCEPT {tables} ORDER BY 1"):
        yield Fault(f"sync {sync}", "it is in the registry, but its snapshot is missing", 1, _rebuild(sync))
    odd = (
        "object IS NULL OR object = '' OR created_at IS NULL OR NOT coalesce(json_valid(identity), FALSE)"
        " OR json_type(identity) <> 'ARRAY' OR json_array_length(identity) = 0"
    )
    for (sync,) in store.db.execute(
        f"SELECT sync FROM {CONTROL}.snapshots WHERE CASE WHEN json_valid(identity) THEN {odd} ELSE TRUE END ORDER BY 1"
    ):
        yield Fault(f"sync {sync}", "its line in the registry names no object or identity", 1, _rebuild(sync))
    for sync in _registered(store):
        yield from _columns(store, sync)


def _registered(store: StateStore) -> list[str]:
    """Syncs with both a line in the registry and a table."""
    return [
        name
        for (name,) in store.db.execute(
            f"SELECT sync FROM {CONTROL}.snapshots WHERE sync IN (SELECT table_name FROM duckdb_tables()"
            f" WHERE database_name = '{CATALOG}' AND schema_name = 'snapshot') ORDER BY sync"
        )
    ]


def _shape_of(store: StateStore, sync: str) -> dict[str, str]:
    rows = store.db.execute(f"DESCRIBE {SNAPSHOT}.{ident(sync)}")
    return {row[0]: row[1] for row in rows}


def _identity(store: StateStore, sync: str) -> list[tuple[str, bool]]:
    """(field, capitals count) of a sync's identity; nothing when the registry's line is odd."""
    rows = store.db.execute(
        "SELECT unnest(CASE WHEN json_valid(identity) THEN from_json(identity, '[\"VARCHAR\"]') END)"
        f" FROM {CONTROL}.snapshots WHERE sync = ?",
        [sync],
    )
    mark = " (case-sensitive)"
    return [(text.removesuffix(mark), text.endswith(mark)) for (text,) in rows if text is not None]


def _columns(store: StateStore, sync: str) -> Iterable[Fault]:
    shape = _shape_of(store, sync)
    wanted = COLUMNS | {name: "VARCHAR" for name, _ in _identity(store, sync)}
    odd = [f"{name} {kind}" for name, kind in wanted.items() if shape.get(name) != kind]
    odd += [f"{name} {kind}" for name, kind in shape.items() if name not in COLUMNS and kind != "VARCHAR"]
    if odd:
        what = "columns of its snapshot are missing or of another type"
        yield Fault(f"sync {sync}", what, len(odd), _rebuild(sync), tuple(odd[:SAMPLES]))


def _whole_snapshots(store: StateStore) -> list[str]:
    """Those whose columns are as they should be: only their records can be judged."""
    return [sync for sync in _registered(store) if not [*_columns(store, sync)]]


# ------------------------------------------------------------ one snapshot


def _snapshot(store: StateStore, sync: str, known: Known) -> Iterable[Fault]:
    table, where = f"{SNAPSHOT}.{ident(sync)}", f"sync {sync}"
    key = "coalesce(s._key, '(no key)')"
    if sync in known.masked:
        key = f"md5({literal(known.masked[sync])} || {key})"
    checks = _record_checks(store, sync, known)
    parts = ", ".join(
        f"count(*) FILTER (WHERE {condition}), min({key}, {SAMPLES}) FILTER (WHERE {condition})"
        for condition, _ in checks
    )
    row = store.db.execute(f"SELECT {parts} FROM {table} AS s")[0]
    for (_, what), count, samples in zip(checks, row[::2], row[1::2], strict=True):
        if count:
            yield Fault(where, what, int(count), _mend(sync), tuple(samples or ()))
    twice = (
        ("_key", "TRUE", f"any_value({key})", "keys stand twice"),
        ("_id", "_gone_at IS NULL", "_id", "record Ids belong to two keys"),
    )
    for column, among, shown, what in twice:
        count, samples = store.db.execute(
            f"SELECT count(*), min(shown, {SAMPLES}) FROM (SELECT {shown} AS shown FROM {table} AS s"
            f" WHERE {column} IS NOT NULL AND {among} GROUP BY {column} HAVING count(*) > 1)"
        )[0]
        if count:
            yield Fault(where, what, int(count), _mend(sync), tuple(samples))


def _record_checks(store: StateStore, sync: str, known: Known) -> list[tuple[str, str]]:
    """(condition that is wrong, words for it), over a snapshot as `s`."""
    texts = [f"s.{ident(name)}" for name in _shape_of(store, sync) if name not in COLUMNS]
    some_text = " OR ".join(f"{text} IS NOT NULL" for text in texts) or "FALSE"
    checks = [
        ("s._key IS NULL OR s._key = ''", "records have no key"),
        (f"(s._id IS NULL OR {known.malformed_id('s._id')}) IS TRUE", "record Ids are malformed"),
        (
            "s._origin IS NULL OR NOT (s._origin IN ('created', 'adopted', 'converted')"
            f" OR (s._gone_at IS NOT NULL AND starts_with(s._origin, {literal(ALONG)})))",
            "records have no known origin",
        ),
        (
            "s._run_id IS NULL OR s._at IS NULL",
            "records are not told when and by which run they were written",
        ),
        (
            f"s._gone_at IS NOT NULL AND (s._source_hash IS NOT NULL OR {some_text})",
            "records known to be gone still have texts",
        ),
    ]
    prefix = _prefix(store, sync)
    if prefix:
        checks.append((f"NOT starts_with(s._id, {literal(prefix)})", "record Ids are of another object"))
    identity = _identity(store, sync)
    if len(identity) == 1:
        name, exact = identity[0]
        text = f"s.{ident(name)}"
        fits = f"s._key = {text}" if exact else f"s._key IN ({text}, {DUCKDB.fold(text)})"
        checks.append((f"({fits}) IS FALSE", f"keys are not the text of {name}"))
    return checks


def _prefix(store: StateStore, sync: str) -> str | None:
    """The first characters of every Id of the sync's object, when its describe is cached."""
    found = store.db.value(
        "SELECT CASE WHEN json_valid(c.body)"
        " THEN json_extract_string(c.body, '$.objects.\"' || c.object || '\".key_prefix') END"
        f" FROM {CONTROL}.contract AS c JOIN {CONTROL}.snapshots AS r ON r.object = c.object"
        " WHERE r.sync = ?",
        [sync],
    )
    return None if found is None else str(found)


# ------------------------------------------------------------ the other tables


@dataclass(frozen=True, slots=True)
class _Rule:
    """Lines of a control table that must not be. shown: what tells a person which one."""

    table: str
    wrong: str
    shown: str
    what: str
    fix: str = _BUG


def _rules(store: StateStore, known: Known) -> list[_Rule]:
    there = ", ".join(literal(name) for name in sorted(known.syncs)) or "NULL"
    strange = f"(sync IN ({there}) OR sync IN (SELECT sync FROM {CONTROL}.snapshots)) IS NOT TRUE"
    later = f"> {literal(store.clock.now().strftime('%Y-%m-%d %H:%M:%S'))}::TIMESTAMP + INTERVAL 1 DAY"
    operations = ", ".join(literal(item.value) for item in Operation)
    ways = ", ".join(literal(item.value) for item in Way)
    runs = f"(SELECT run_id FROM {CONTROL}.runs)"
    line = "coalesce(sync, '?') || ' ' || coalesce(key, digest, '?')"
    job = f"way <> 'collections' AND operation IN ({operations})"
    return [
        _Rule("meta", "name = 'org_id' AND " + known.malformed_id("value"), "value", "the org's id is malformed", _COPY),
        _Rule("meta", "name = 'epoch' AND NOT regexp_full_match(value, '[0-9]{1,18}')", "value", "the epoch is no number"),
        _Rule("meta", "name = 'secret' AND length(value) < 16", "'secret'", "the key of its digests is too short"),
        _Rule(
            "rejected", strange, "sync", "refused rows of syncs that are neither in the project nor in the state",
            "`sfsync state forget SYNC` drops what is left of a sync",
        ),
        _Rule("rejected", "digest IS NULL OR decided_by IS NULL OR decided_by NOT IN ('org', 'sfsync')", line, "refused rows have no digest or no judge"),
        _Rule("rejected", "action IS NULL OR action NOT IN ('create', 'update', 'delete')", line, "refused rows have no known action"),
        _Rule("rejected", "attempts IS NULL OR attempts < 0 OR last_at IS NULL OR first_at > last_at", line, "refused rows have odd counts or times"),
        _Rule("ledger", "minute IS NULL OR kind IS NULL OR calls IS NULL OR calls < 0 OR batches < 0", "kind", "booked calls are no counts"),
        _Rule("ledger", f"minute {later}", "minute::VARCHAR", "calls are booked in the future, and count against the budget until then", "check this machine's clock"),
        _Rule("usage", "seen_at IS NULL OR used IS NULL OR used < 0 OR maximum IS NULL OR maximum <= 0", "maximum::VARCHAR", "the org's own count is no count"),
        _Rule("usage", f"seen_at {later}", "seen_at::VARCHAR", "the org's count was seen in the future", "check this machine's clock"),
        _Rule("learned", "value IS NULL OR NOT isfinite(value) OR value <= 0", "object || ' ' || name", "learned values are no sizes"),
        _Rule("learned", "name = 'collection_rows' AND value > 200", "object", "learned sizes are above what a request may carry"),
        _Rule("contract", "NOT coalesce(json_valid(body), FALSE) OR fetched_at IS NULL", "object", "cached descriptions cannot be read", "`sfsync debug` asks the org for them anew"),
        _Rule(
            "contract",
            f"CASE WHEN json_valid(body) THEN json_extract_string(body, '$.org_id') END <> (SELECT value FROM {CONTROL}.meta WHERE name = 'org_id')",
            "object", "cached descriptions are of another org",
        ),
        _Rule("runs", "started_at IS NULL OR ended_at < started_at", "run_id", "runs have odd times"),
        _Rule("run_syncs", f"run_id IS NULL OR run_id NOT IN {runs}", "coalesce(run_id, '?')", "syncs of runs that are not there"),
        _Rule("run_syncs", "NOT coalesce(json_valid(counts), FALSE)", "run_id", "counts of runs cannot be read"),
        _Rule("undo", "(operation IN ('create', 'adopt', 'update', 'delete', 'undelete', 'lost', 'erase') AND run_id <> '' AND sync <> '' AND key <> '' AND id <> '') IS NOT TRUE", "coalesce(run_id, '?') || ' ' || coalesce(sync, '?') || ' ' || coalesce(key, '?')", "changes to be taken back are not told in full"),
        _Rule("doubts", "(sync <> '' AND key <> '' AND deleting IS NOT NULL AND json_valid(texts)) IS NOT TRUE", "coalesce(sync, '?') || ' ' || coalesce(key, '?')", "what stood in records in doubt is not told in full"),
        _Rule("archive", "(sync <> '' AND object <> '' AND key <> '' AND id <> '' AND run_id <> '' AND deleted_at IS NOT NULL AND json_valid(texts)) IS NOT TRUE", "coalesce(sync, '?') || ' ' || coalesce(key, '?')", "copies of deleted records are not whole"),
        _Rule("missing", "(sync <> '' AND key <> '' AND run_id <> '' AND runs > 0) IS NOT TRUE", "coalesce(sync, '?') || ' ' || coalesce(key, '?')", "rows that miss from the model are not counted in full"),
        _Rule("intents", f"run_id IS NULL OR run_id NOT IN {runs}", "number::VARCHAR", "open requests are of runs that are not there"),
        _Rule("intents", strange, "sync", "open requests are of syncs that are neither in the project nor in the state"),
        _Rule("intents", f"operation NOT IN ({operations}) OR way NOT IN ({ways}) OR row_count < 0 OR (number + row_count + length(object)) IS NULL", "number::VARCHAR", "open requests are not told in full"),
        _Rule("intents", f"keys IS NULL AND NOT ({job})", "number::VARCHAR", "open requests have neither a job nor the keys of their rows"),
        _Rule("intents", f"NOT ({_KEYS_FIT})", "number::VARCHAR", "the keys of open requests do not fit their rows and fields"),
        _Rule(
            "intents",
            f"epoch IS NULL OR epoch > coalesce((SELECT try_cast(value AS BIGINT) FROM {CONTROL}.meta WHERE name = 'epoch'), 0)",
            "number::VARCHAR", "open requests are newer than the state's epoch",
        ),
    ]  # fmt: skip


_KEYS_FIT = (
    "CASE WHEN NOT coalesce(json_valid(fields), FALSE) OR NOT coalesce(json_valid(keys), TRUE) THEN FALSE"
    " WHEN keys IS NULL THEN TRUE"
    " WHEN json_array_length(keys) <> row_count THEN FALSE"
    " ELSE list_bool_and([regexp_full_match(line[:json_array_length(fields) + 1], '[01]*[ ]')"
    " AND length(line) > json_array_length(fields) + 1 FOR line IN from_json(keys, '[\"VARCHAR\"]')]) IS NOT FALSE END"
)
"""Each line of `keys` is a 0 or 1 for each field, a blank, and the key."""

_ONCE = (
    ("rejected", "sync, coalesce(key, chr(30) || digest)", "any_value(sync)", "refused rows stand twice"),
    ("doubts", "sync, key", "any_value(sync)", "records in doubt stand twice"),
    ("missing", "sync, key", "any_value(sync)", "missing rows stand twice"),
    ("intents", "number", "number::VARCHAR", "open requests share a number"),
    ("run_syncs", "run_id, sync", "any_value(run_id)", "syncs stand twice in a run"),
)


def _control(store: StateStore, known: Known) -> Iterable[Fault]:
    for rule in _rules(store, known):
        count, samples = store.db.execute(
            f"SELECT count(*), min(DISTINCT {rule.shown}, {SAMPLES}) FROM {CONTROL}.{rule.table} WHERE ({rule.wrong}) IS TRUE"
        )[0]
        if count:
            yield Fault(f"table {rule.table}", rule.what, int(count), rule.fix, tuple(samples or ()))
    for table, columns, shown, what in _ONCE:
        count, samples = store.db.execute(
            f"SELECT count(*), min(DISTINCT shown, {SAMPLES}) FROM (SELECT {shown} AS shown FROM {CONTROL}.{table}"
            f" GROUP BY {columns} HAVING count(*) > 1)"
        )[0]
        if count:
            yield Fault(f"table {table}", what, int(count), _BUG, tuple(samples))
    lines = int(store.db.value(f"SELECT count(*) FROM {CONTROL}.usage"))
    if lines > 1:
        yield Fault("table usage", "the org's count stands more than once", lines, _BUG)
    if not store.meta("org_id") and store.db.value(f"SELECT count(*) FROM {CONTROL}.snapshots"):
        yield Fault("table meta", "the state has snapshots and belongs to no org", 1, _COPY)


def _forget(sync: str) -> str:
    return f"`sfsync state forget {sync}` drops what is left of it"


def _rebuild(sync: str) -> str:
    return f"make it anew from the org: `sfsync state forget {sync}`, then `sfsync state rebuild {sync}`"


def _mend(sync: str) -> str:
    return (
        f"`sfsync state forget {sync} KEY...` drops single records, and the next run finds them by their external id;"
        f" `sfsync state rebuild {sync}` makes all of them anew from the org"
    )
