"""The diff as SQL text: plain statements that any engine with FULL JOIN and IS DISTINCT FROM runs alike.

Owns:      the shape of the projection, of the candidates and of the judged rows.
Does not:  execute anything, or know how one value becomes text (compiler/wire does).
Invariant: no function of one engine stands here; what differs comes from the Dialect.

Columns of a projection: `_key`, `_source_hash`, `_rank` where the sync has an order of its own, `_value` (the refused value, cut) and `_size` (its characters), and per rule the text as
"Field" and the refusal's code as "Field!". Of judged rows: `_op` (upsert | update | none), `_code`, `_field`,
`_value`, `_size`, and per rule the text to be sent as "Field" (NULL: not sent) and the whole wire text as "Field=".
"""

from __future__ import annotations

from collections.abc import Iterable

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.engine.dialect import Dialect
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import LEAD, Column, FieldRule, Send, SourceType

SENT = "('upsert', 'update', 'undelete')"
"""What a judged row is called that is to be sent, deletes apart; the others are left as they are."""

VALUE_LENGTH = 300
"""Characters of a refused value that are kept for its message."""


def used_columns(sync: CompiledSync) -> tuple[Column, ...]:
    """The model's columns a sync reads, each once, in the order of first use."""
    seen: dict[str, Column] = {}
    for rule in sync.rules:
        if rule.read:
            seen.setdefault(rule.column.name, rule.column)
    return tuple(seen.values())


def projection(sync: CompiledSync, relation: str, dialect: Dialect) -> str:
    """SELECT of key, hash, texts and codes over a relation of the model's own columns."""
    key = wire.key_text(sync.identity, [ident(rule.field) for rule in sync.identity], dialect)
    texts = _texts(sync, sync.rules, _source(sync, relation, dialect), dialect)
    return (
        f"SELECT {key} AS _key, _source_hash, {_judgeable(sync)}{_ranked(sync, dialect)} FROM ({texts}) AS _p"
    )


def keys(sync: CompiledSync, relation: str, dialect: Dialect, *, narrow: bool = False) -> str:
    """SELECT of key, hash, and columns as they stand (`_c0`, ...): what step one reads of every row.

    narrow: carry the identity's columns alone, enough for `found_again`.
    """
    key = wire.key_text(sync.identity, [ident(rule.field) for rule in sync.identity], dialect)
    texts = _texts(sync, sync.identity, _source(sync, relation, dialect), dialect)
    carried = _identity_names(sync) if narrow else _source_names(sync)
    return f"SELECT {key} AS _key, _source_hash, {', '.join(carried.values())} FROM ({texts}) AS _t"


def candidates(staged: str, snapshot: str, dialect: Dialect) -> str:
    """Step one: rows whose key is new, removed, or whose hash moved. Unequal hashes only select; text decides later.

    Args:
        staged: a relation with `_key, _source_hash` and whatever is to be carried: it passes the join on the side that
            is streamed, so all it costs is to be read, as long as the other side fits in memory; when it does not, both
            sides are spilled, and each column costs as much again as all of the join. A null key is always a candidate.
        snapshot: a snapshot table; `_known_row` finds a record in it again without another search by key. Only what
            the join needs is read of it: this side is held in memory, and at ten million rows each column tells.
    """
    return (
        f"SELECT n.*, s._key AS _known_key, s.{dialect.row_id} AS _known_row"
        f" FROM {staged} AS n FULL JOIN {snapshot} AS s ON n._key = s._key"
        " WHERE (n._source_hash IS DISTINCT FROM s._source_hash) OR (s._source_hash IS NULL)"
    )


def found_again(sync: CompiledSync, relation: str, candidate: str) -> str:
    """The model's rows that have the identity, as it stands there, of a narrow candidate.

    There may be more of them (a column may hold unlike texts for equal, and rows without an identity are all taken)
    but never fewer: `widened` chooses among them.
    """
    names = _identity_names(sync)
    own = [f"m.{ident(column)}" for column in names]
    read = ", ".join(f"m.{ident(column)}" for column in _source_names(sync))
    there = " AND ".join(f"{name} IS NOT NULL" for name in names.values())
    wanted = f"SELECT {', '.join(names.values())} FROM {candidate} AS w WHERE {there}"
    missing = " OR ".join(f"{column} IS NULL" for column in own)
    return f"SELECT {read} FROM {relation} AS m WHERE ({', '.join(own)}) IN ({wanted}) OR {missing}"


def widened(rows: str, candidate: str) -> str:
    """Narrow candidates with all their columns, removed records included: the shape that wide ones have at once.

    Args:
        rows: a relation of wide `keys`, of at least the rows that are candidates.
        candidate: a table of narrow candidates.

    Whether a row is a candidate follows from its key and hash, so those who share both with one are those.
    """
    known = "_key, _source_hash, _known_key, _known_row"
    # A row without a key is always a candidate and has nothing to be matched by.
    matched = (
        f"SELECT DISTINCT {known} FROM {candidate} AS c WHERE _key IS NOT NULL OR _known_key IS NOT NULL"
    )
    return (
        f"SELECT n.*, w._known_key, w._known_row FROM {rows} AS n FULL JOIN ({matched}) AS w"
        " ON n._key = w._key AND n._source_hash = w._source_hash WHERE n._key IS NULL OR w._key IS NOT NULL"
    )


def project_candidates(sync: CompiledSync, candidate: str, dialect: Dialect) -> str:
    """Step two's projection: of the rows that `keys` and `candidates` left, removed records apart."""
    staged = f"SELECT * FROM {candidate} AS c WHERE _key IS NOT NULL OR _known_key IS NULL"
    texts = _texts(sync, sync.rules, staged, dialect, keep=("_key", "_source_hash", "_known_row"))
    judgeable = f"{_judgeable(sync)}{_ranked(sync, dialect)}"
    return f"SELECT _key, _source_hash, _known_row, {judgeable} FROM ({texts}) AS _p"


def _ranked(sync: CompiledSync, dialect: Dialect) -> str:
    """`_rank`: the place of a row by the sync's own order among those that are projected with it."""
    if not sync.order_by:
        return ""
    names = _source_names(sync)
    by = [
        dialect.text(names[column.name]) if column.family is SourceType.TEXT else names[column.name]
        for column in sync.order_by
    ]
    return f", rank() OVER (ORDER BY {', '.join(f'{one} NULLS LAST' for one in by)}) AS _rank"


def _source_names(sync: CompiledSync) -> dict[str, str]:
    """What each column a sync reads is called inside a projection: no name of the model's own can then be in the way."""
    columns = (*used_columns(sync), *sync.order_by)
    return {name: f"_c{number}" for number, name in enumerate(dict.fromkeys(c.name for c in columns))}


def _identity_names(sync: CompiledSync) -> dict[str, str]:
    """Of `_source_names`, those of the identity."""
    names = _source_names(sync)
    return {rule.column.name: names[rule.column.name] for rule in sync.identity}


def _source(sync: CompiledSync, relation: str, dialect: Dialect) -> str:
    """SELECT of the columns a sync reads, by their names inside, and of their hash."""
    own = ", ".join(f"{ident(column)} AS {name}" for column, name in _source_names(sync).items())
    hashed = wire.source_hash(used_columns(sync), dialect, sync.fingerprint)
    return f"SELECT {own}, {hashed} AS _source_hash FROM {relation} AS _m"


def _texts(
    sync: CompiledSync,
    rules: Iterable[FieldRule],
    source: str,
    dialect: Dialect,
    *,
    keep: Iterable[str] = ("_source_hash",),
) -> str:
    """SELECT of the source columns, `keep`, and each rule's text and code, in three steps over `source`.

    What several expressions read stands in a SELECT beneath them, so that the engine works it out once a row.
    """
    names = _source_names(sync)
    made, bare = [], [rule for rule in rules if not rule.read]
    for rule in rules:
        if not rule.read:
            continue
        x, below = names[rule.column.name], ident(rule.field + "~")
        made.append((rule, wire.steps(rule, dialect, timezone=sync.timezone, source=x, below=below)))
    based = [f"{steps.base} AS {ident(rule.field + '~')}" for rule, steps in made if steps.base is not None]
    coded = [f"{steps.code or 'CAST(NULL AS VARCHAR)'} AS {ident(rule.field + '!')}" for rule, steps in made]
    texts = [
        f"{steps.unless_refused(ident(rule.field + '!'))} AS {ident(rule.field)}" for rule, steps in made
    ]
    texts += [f"CAST({_constant(rule, dialect)} AS VARCHAR) AS {ident(rule.field)}" for rule in bare]
    codes = [ident(rule.field + "!") for rule, _ in made]
    codes += [f"CAST(NULL AS VARCHAR) AS {ident(rule.field + '!')}" for rule in bare]
    second = f"SELECT {', '.join(['*', *based])} FROM ({source}) AS _a"
    third = f"SELECT {', '.join(['*', *coded])} FROM ({second}) AS _b"
    return f"SELECT {', '.join([*keep, *names.values(), *codes, *texts])} FROM ({third}) AS _d"


def _constant(rule: FieldRule, dialect: Dialect) -> str:
    """What stands for a field that no column is read for."""
    return "NULL" if rule.constant is None else dialect.literal(rule.constant)


def _judgeable(sync: CompiledSync) -> str:
    """Texts and codes of every rule, and the value and size of what the first code refuses."""
    names, values, sizes = _source_names(sync), [], []
    for rule in sync.rules:
        if not rule.read:
            continue
        raw = f"CAST({names[rule.column.name]} AS VARCHAR)"
        refused = f"WHEN {ident(rule.field + '!')} IS NOT NULL THEN"
        values.append(f"{refused} SUBSTR({raw}, 1, {VALUE_LENGTH})")
        sizes.append(f"{refused} CHAR_LENGTH({raw})")
    pairs = [ident(rule.field + mark) for rule in sync.rules for mark in ("", "!")]
    return ", ".join(
        [*pairs, f"CASE {' '.join(values)} END AS _value", f"CASE {' '.join(sizes)} END AS _size"]
    )


def known_rows(snapshot: str, wanted: str, dialect: Dialect) -> str:
    """The records of a snapshot that step one met, fetched by their row: the other records' texts are never read.

    wanted: a relation with `_known_row`. The result has the row as `_row`.
    """
    return (
        f"(SELECT *, {dialect.row_id} AS _row FROM {snapshot} WHERE {dialect.row_id} IN"
        f" (SELECT _known_row FROM {wanted} WHERE _known_row IS NOT NULL))"
    )


def with_matched(sync: CompiledSync, known: str, have: frozenset[str], matched: str, dialect: Dialect) -> str:
    """`known_rows`, and what the org was asked about beside them, in rows that count down from -1.

    Args:
        have: fields that `known` has.
        matched: a table in a snapshot's form; candidates name its rows by -1 less their row in it.
    """
    own = "_key, _id, _origin, _source_hash, _gone_at"
    old = ", ".join(
        ident(rule.field) if rule.field in have else f"CAST(NULL AS VARCHAR) AS {ident(rule.field)}"
        for rule in sync.rules
    )
    new = ", ".join(ident(rule.field) for rule in sync.rules)
    return (
        f"(SELECT {own}, {old}, _row FROM {known} AS k UNION ALL"
        f" SELECT {own}, {new}, -1 - {dialect.row_id} AS _row FROM {matched} AS m)"
    )


def sent_on_create(sync: CompiledSync) -> tuple[str, ...]:
    """What a create sends of each rule, as columns worked out from the whole texts; nothing stands in the org."""
    return tuple(f"{_on_create(rule, sync)} AS {ident(rule.field)}" for rule in sync.rules)


def judged(
    sync: CompiledSync, projected: str, snapshot: str | None, have: frozenset[str], *, stored: bool = True
) -> str:
    """Turn projected rows into what would be sent, beside what the org acknowledged.

    Args:
        projected: a relation shaped by `projection`; with a snapshot also `_known_row`.
        snapshot: the sync's `known_rows`, None when there is no snapshot yet.
        have: fields the snapshot has a column for; others count as absent.
        stored: with the text to be sent, `_open` (the org's texts are not all known) and, as `field@`, what the org
            acknowledged; left out where there is no snapshot and `sent_on_create` adds the first.
    """
    joined = _joined(sync, projected, snapshot, have)
    sent = ", ".join(
        f"CASE WHEN _known THEN {_on_update(rule, sync)} ELSE {_on_create(rule, sync)} END AS {ident(rule.field)}"
        for rule in sync.rules
    )
    whole = ", ".join(f"{ident(rule.field + '=')}" for rule in sync.rules)
    there = "".join(f", {ident(rule.field + '@')}" for rule in sync.rules)
    refused, rank = _refusals(sync), "_rank, " if sync.order_by else ""
    value = "CASE WHEN _origin = 'several' THEN _record_id ELSE _value END" if sync.match else "_value"
    judged_rows = (
        f"SELECT _key, _source_hash, {rank}_record_id, _origin, _gone_at, _known, _open{there}, {whole}, {sent},"
        f" {_first(refused, 1)} AS _code, {_first(refused, 2)} AS _field, {value} AS _value, _size FROM ({joined}) AS _j"
    )
    changed = " OR ".join(f"({ident(rule.field)} IS NOT NULL)" for rule in sync.fields) or "FALSE"
    if sync.send_all:
        changed = " OR ".join(f"({ident(rule.field + '~')})" for rule in sync.fields)
        judged_rows = _with_change_marks(sync, judged_rows)
    marks = ("", "=", "@") if stored else ("=",)
    names = ", ".join(ident(rule.field + mark) for rule in sync.rules for mark in marks)
    if stored:
        names += ", _open"
    return (
        f"SELECT _key, _source_hash, {rank}_record_id, _origin, _gone_at, _code, _field, _value, _size,"
        f" {_operation(sync, changed)} AS _op, {names}"
        f" FROM ({judged_rows}) AS _w"
    )


def _operation(sync: CompiledSync, changed: str) -> str:
    """What is to be done about a judged row: upsert (make it), update, delete, or one of the ways of doing nothing.

    Where nothing is made or deleted, a record that is known to be gone still counts among those to be made: as gone.
    """
    new = "'upsert'" if sync.mode.creates else "CASE WHEN _gone_at IS NULL THEN 'no_match' ELSE 'upsert' END"
    known = f"CASE WHEN {changed} THEN 'update' ELSE 'none' END"
    if sync.mode is Mode.CREATE:
        pairs = ((ident(rule.field + "="), ident(rule.field + "@")) for rule in sync.fields)
        differs = " OR ".join(f"coalesce({new}, '') <> coalesce({old}, '')" for new, old in pairs) or "FALSE"
        known = f"CASE WHEN {differs} THEN 'exists' ELSE 'none' END"
    if sync.mode is Mode.DELETE:
        known = "'delete'"
    special = (
        "WHEN _origin IN ('merged', 'converted') THEN _origin" if sync.match or sync.object == LEAD else ""
    )
    return f"CASE {special} WHEN NOT _known THEN {new} ELSE {known} END"


def judged_shape(sync: CompiledSync) -> str:
    """The columns of `judged` with the types they have in DuckDB, for a table without rows."""
    columns = {"_key": "VARCHAR", "_source_hash": "UBIGINT", "_record_id": "VARCHAR", "_origin": "VARCHAR"}
    columns |= {"_gone_at": "TIMESTAMP", "_code": "VARCHAR", "_field": "VARCHAR", "_value": "VARCHAR"}
    columns |= {"_size": "BIGINT", "_op": "VARCHAR"}
    columns |= {ident(rule.field + mark): "VARCHAR" for rule in sync.rules for mark in ("", "=", "@")}
    columns |= {"_open": "BOOLEAN"} | ({"_rank": "BIGINT"} if sync.order_by else {})
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def _joined(sync: CompiledSync, projected: str, snapshot: str | None, have: frozenset[str]) -> str:
    mine = ", ".join(
        f"p.{ident(rule.field)} AS {ident(rule.field + '=')}, p.{ident(rule.field + '!')} AS {ident(rule.field + '!')}"
        for rule in sync.rules
    )
    if sync.order_by:
        mine += ", p._rank"
    if snapshot is None:
        theirs = ", ".join(f"CAST(NULL AS VARCHAR) AS {ident(rule.field + '@')}" for rule in sync.rules)
        return (
            f"SELECT p._key, p._source_hash, p._value, p._size, {mine}, {theirs}, CAST(NULL AS VARCHAR) AS _record_id,"
            " CAST(NULL AS VARCHAR) AS _origin, CAST(NULL AS TIMESTAMP) AS _gone_at, FALSE AS _known, FALSE AS _open"
            f" FROM ({projected}) AS p"
        )
    theirs = ", ".join(
        ("s." + ident(rule.field) if rule.field in have else "CAST(NULL AS VARCHAR)")
        + f" AS {ident(rule.field + '@')}"
        for rule in sync.rules
    )
    return (
        f"SELECT p._key, p._source_hash, p._value, p._size, {mine}, {theirs}, s._id AS _record_id, s._origin, s._gone_at,"
        " (s._key IS NOT NULL AND s._gone_at IS NULL) AS _known,"
        " (s._key IS NOT NULL AND s._source_hash IS NULL) AS _open"
        f" FROM ({projected}) AS p LEFT JOIN {snapshot} AS s ON p._known_row = s._row"
    )


def _wanted(rule: FieldRule, policy: Send) -> str:
    """The text a policy would send, whatever stands in the org."""
    text = ident(rule.field + "=")
    if policy in (Send.NEVER, Send.REMOVAL):
        return "CAST(NULL AS VARCHAR)"
    return f"NULLIF({text}, '')" if policy in (Send.VALUE, Send.IF_BLANK) else text


def _on_create(rule: FieldRule, sync: CompiledSync) -> str:
    if rule in sync.identity:
        return ident(rule.field + "=")
    return _wanted(rule, rule.on_create)


def _on_update(rule: FieldRule, sync: CompiledSync) -> str:
    if rule in sync.identity or rule.on_update in (Send.NEVER, Send.REMOVAL):
        return "CAST(NULL AS VARCHAR)"
    wanted = _wanted(rule, rule.on_update)
    if sync.send_all:
        return wanted
    mates = next((group for group in sync.together if rule.field in group), ())
    if mates:
        moved = " OR ".join(_moved(mate) for mate in sync.fields if mate.field in mates)
        return f"CASE WHEN {moved} THEN {wanted} END"
    return f"CASE WHEN ({wanted}) IS DISTINCT FROM {ident(rule.field + '@')} THEN {wanted} END"


def _moved(rule: FieldRule) -> str:
    """Whether an update would send another text than the org acknowledged."""
    wanted = _wanted(rule, rule.on_update)
    return f"(({wanted}) IS NOT NULL AND ({wanted}) IS DISTINCT FROM {ident(rule.field + '@')})"


def _with_change_marks(sync: CompiledSync, rows: str) -> str:
    """For `send: all`: keep beside each text whether it differs, since unequal text no longer shows by presence."""
    marks = ", ".join(
        f"(_known AND ({_wanted(rule, rule.on_update)}) IS NOT NULL"
        f" AND (({_wanted(rule, rule.on_update)}) IS DISTINCT FROM {ident(rule.field + '@')})) AS {ident(rule.field + '~')}"
        for rule in sync.fields
    )
    return rows.replace("_size FROM (", f"_size, {marks} FROM (", 1)


def _refusals(sync: CompiledSync) -> list[tuple[str, str, str]]:
    """(condition, code expression, field literal) in the order they are looked at."""
    out = []
    if sync.match:
        out.append(("_origin = 'several'", "'DUPLICATE_EXTERNAL_ID'", literal(sync.identity[0].field)))
    for rule in sync.rules:
        code = ident(rule.field + "!")
        if rule in sync.identity:
            out.append((f"{code} IS NOT NULL", code, literal(rule.field)))
            continue
        for known, policy in (("NOT _known", rule.on_create), ("_known", rule.on_update)):
            if policy not in (Send.NEVER, Send.REMOVAL):
                out.append((f"{known} AND {code} IS NOT NULL", code, literal(rule.field)))
    out.append(("_key IS NULL", "'MISSING_ARGUMENT'", literal(sync.identity[0].field)))
    for rule in sync.fields:
        blank = f"{ident(rule.field + '=')} = ''"
        missing = "'REQUIRED_FIELD_MISSING'"
        if rule.required and rule.on_create is not Send.NEVER and sync.mode.creates:
            out.append((f"NOT _known AND {blank}", missing, literal(rule.field)))
        if not rule.nillable and rule.on_update is Send.VALUE_OR_NULL:
            out.append((f"_known AND {blank}", missing, literal(rule.field)))
    return out


def _first(refusals: Iterable[tuple[str, str, str]], part: int) -> str:
    cases = " ".join(f"WHEN {refusal[0]} THEN {refusal[part]}" for refusal in refusals)
    return f"CASE {cases} END"
