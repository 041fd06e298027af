"""Rows that sfsync itself will not send: bad values, null keys, keys that stand twice.

Owns:      the table `refused:<sync>` of the run's file, digests of rows, and telling old refusals from new ones.
Does not:  judge single values (compiler/wire) or word the reasons (messages).
Invariant: every copy of a double key is refused, and each refused row, copies that are alike included, counts once.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.messages import message_sql
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.state.rejected import INCOMING, ROW, TABLE
from sfsync.state.snapshots import table_of
from sfsync.state.store import StateStore

_UNIT, _NOTHING = "chr(31)", "chr(30)"


def digest_sql(sync: CompiledSync, alias: str, *, action: str | None = None) -> str:
    """A digest of what would be sent for a row: operation, mapping, and every text; stable over engine versions.

    alias: a relation with the rule columns and, unless `action` is given, `_op`.
    """
    op = f"{alias}._op" if action is None else literal(action)
    texts = ", ".join(f"coalesce({alias}.{ident(rule.field)}, {_NOTHING})" for rule in sync.rules)
    return f"md5(concat_ws({_UNIT}, {op}, {literal(sync.fingerprint)}, {texts}))"


def identity_texts(sync: CompiledSync, secret: str) -> list[tuple[str, str]]:
    """(field, SQL of its text as people may see it) of a changed row, alias `t`; of several fields over `whole_texts`, too."""
    if len(sync.identity) == 1:
        return [(sync.identity[0].field, "t._shown")]
    texts = []
    for number, rule in enumerate(sync.identity):
        part = (
            f"json_extract_string(t._key, '$[{number}]')"  # of a record that is gone from the snapshot by now
        )
        plain = f"coalesce(w.{ident(rule.field + '=')}, s.{ident(rule.field)}, {part})"
        texts.append((rule.field, keyed_digest(secret, "t._key") if rule.pii else plain))
    return texts


def whole_texts(sync: CompiledSync) -> str:
    """Joins that bring a changed row's whole texts (`w`) and what the org had acknowledged (`s`)."""
    work, snapshot = run_table("work", sync.name), table_of(sync.name)
    return f" LEFT JOIN {work} AS w ON w._key = t._key LEFT JOIN {snapshot} AS s ON s._key = t._key"


def identity_sql(sync: CompiledSync, secret: str) -> str:
    """The identity of a changed row as a JSON object for people and files, over the aliases of `identity_texts`."""
    cells = ", ".join(f"{literal(field)}, {text}" for field, text in identity_texts(sync, secret))
    return f"CAST(json_object({cells}) AS VARCHAR)"


def find_doubles(sync: CompiledSync, db: DuckDB) -> int:
    """Leave `double:` with every key that more than one staged row has, a bad row's key, too; how many."""
    return int(
        db.value(
            f"CREATE TABLE {run_table('double', sync.name)} AS SELECT _key, count(*) AS _copies"
            f" FROM {run_table('work', sync.name)} WHERE _key IS NOT NULL GROUP BY _key HAVING count(*) > 1"
        )
    )


def refuse(sync: CompiledSync, db: DuckDB, store: StateStore, *, any_at_all: bool) -> None:
    """Leave `refused:`; `known` says that the last run refused the row in the same form.

    any_at_all: there are bad rows, or keys that stand twice.
    """
    work, double = run_table("work", sync.name), run_table("double", sync.name)
    if not any_at_all:  # to plan the statement below costs more than to run it
        db.execute(
            f"CREATE TABLE {run_table('refused', sync.name)} ({INCOMING}, _key VARCHAR, known BOOLEAN)"
        )
        return
    code = "CASE WHEN d._copies > 1 THEN 'DUPLICATE_VALUE' ELSE w._code END"
    field = f"CASE WHEN d._copies > 1 THEN {literal(sync.identity[0].field)} ELSE w._field END"
    whole = ", ".join(f"coalesce(w.{ident(rule.field + '=')}, {_NOTHING})" for rule in sync.rules)
    digest = f"md5(concat_ws({_UNIT}, coalesce(w._key, {_NOTHING}), {whole}, coalesce(w._value, {_NOTHING})))"
    single = "CASE WHEN d._copies > 1 THEN NULL ELSE w._key END"
    shown = _shown_identity(sync, secret_of(sync, store))
    found = (
        f"SELECT w._key, {single} AS key, {digest} AS digest, CASE w._op WHEN 'upsert' THEN 'create' ELSE 'update' END AS action,"
        f" {code} AS _code, {field} AS _field, w._value, w._size, coalesce(d._copies, 1) AS _copies, {shown} AS identity"
        f" FROM {work} AS w LEFT JOIN {double} AS d ON d._key = w._key WHERE w._code IS NOT NULL OR d._key IS NOT NULL"
    )
    # Copies that are alike in everything have one digest; numbered, each of them is a row of its own everywhere later.
    inner = (
        "SELECT * REPLACE (CASE WHEN _nth > 1 THEN md5(digest || _nth) ELSE digest END AS digest) FROM (SELECT *,"
        " CASE WHEN key IS NULL THEN row_number() OVER (PARTITION BY digest ORDER BY _code, _field) END AS _nth"
        f" FROM ({found}) AS f) AS n"
    )
    db.execute(
        f"CREATE TABLE {run_table('refused', sync.name)} AS SELECT r.key, r.digest, 'sfsync' AS decided_by, r.action,"
        f" r._code AS code, r._field AS field, {message_sql(sync)} AS message, r.identity, FALSE AS transient, r._key,"
        f" concat_ws({_UNIT}, {ROW.format('r')}, r.digest, r._code) IN (SELECT concat_ws({_UNIT}, {ROW.format('o')},"
        f" o.digest, o.code) FROM {TABLE} AS o WHERE o.sync = ? AND o.decided_by = 'sfsync') AS known"
        f" FROM ({inner}) AS r ORDER BY r._key",
        [sync.name],
    )
    # From here on a double key is a refusal like any other; nothing later may send one of its copies.
    db.execute(
        f"UPDATE {run_table('judged', sync.name)} SET _code = 'DUPLICATE_VALUE' WHERE _code IS NULL"
        f" AND _key IN (SELECT _key FROM {double})"
    )


def _shown_identity(sync: CompiledSync, secret: str) -> str:
    """The identity of a refused row; where its own text was refused, the source's value."""
    parts = []
    for rule in sync.identity:
        text = f"coalesce(w.{ident(rule.field + '=')}, w._value, '')"
        if rule.pii:
            text = (
                f"CASE WHEN {text} = '' THEN '' ELSE {keyed_digest(secret, f'coalesce(w._key, {text})')} END"
            )
        parts.append(f"{literal(rule.field)}, {text}")
    return f"CAST(json_object({', '.join(parts)}) AS VARCHAR)"


def shown_identity(sync: CompiledSync, secret: str, mark: str, alias: str = "") -> str:
    """The identity as people know it, before folding: the texts of its fields; a digest when one is pii."""
    texts = [f"{alias}{ident(rule.field + mark)}" for rule in sync.identity]
    text = texts[0] if len(texts) == 1 else f"concat_ws(' / ', {', '.join(texts)})"
    if any(rule.pii for rule in sync.identity):
        return keyed_digest(secret, f"{alias}_key")
    return text


def secret_of(sync: CompiledSync, store: StateStore) -> str:
    """What the digests of a pii identity are keyed with; nothing where no identity needs one."""
    return store.secret() if any(rule.pii for rule in sync.identity) else ""


def keyed_digest(secret: str, text: str) -> str:
    """What stands for a pii identity wherever people read: the same for one record, and no guess can be tried on it."""
    return f"md5({literal(secret)} || {text})"


def delete_digest(key: str) -> str:
    """The digest of a delete: nothing but the record can change about it."""
    return f"md5('delete' || {key})"
