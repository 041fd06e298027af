"""Reads some of the records back that a run has written (`verify: N`), to see what of their values the org kept.

Owns:      the choice of records, and the comparison of what was sent with what is there.
Does not:  write anything. What a flow or trigger made of a value stays out of the snapshot: it holds what the org has
           acknowledged, and were the org's own value in it, each run would send ours again and the flow change it again.
Invariant: only fields that this run has sent in a record are compared, in the texts that the diff compares.
"""

from __future__ import annotations

from sfsync.artifacts import NotKept, NotKeptField, Verified
from sfsync.compiler.manifest import CompiledSync
from sfsync.compiler.org_texts import RECORD_ID
from sfsync.diff.messages import MASK
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import ApiLimitError, OrgError
from sfsync.jobs.matcher import org_to_ask
from sfsync.jobs.session import Session
from sfsync.match import ask
from sfsync.plan.cost import VERIFY
from sfsync.plan.plan import SyncPlan
from sfsync.push.context import PushContext
from sfsync.records import FieldRule, Operation
from sfsync.salesforce.failures import NoAnswerError, SalesforceError

SAMPLES = 3
"""Values of each field that a result shows."""

_WRITTEN = "outcome IN ('created', 'adopted', 'updated')"


def read_back(
    session: Session, item: SyncPlan, context: PushContext, *, interrupted: bool
) -> Verified | None:
    """What became of the values of some of the records that were written, the same ones for the same run; None: of none."""
    sync, db = item.sync, session.db
    outcomes, chosen = run_table("outcome", sync.name), run_table("verify", sync.name)
    told = [
        Operation(name)
        for (name,) in db.execute(f"SELECT DISTINCT _op FROM {outcomes} WHERE {_WRITTEN} ORDER BY 1")
    ]
    if not told:
        return None
    if interrupted:
        return Verified(skipped="the run was interrupted")
    written = " UNION ALL ".join(
        f'SELECT t._shown, coalesce(o._record_id, t."Id") AS _record_id, {_sent(sync)}'
        f" FROM {outcomes} AS o JOIN {run_table(operation.value, sync.name)} AS t ON t.rowid = o._ord"
        f" WHERE o._op = '{operation}' AND o.{_WRITTEN}"
        for operation in told
    )
    db.execute(
        f"CREATE OR REPLACE TABLE {chosen} AS SELECT _record_id AS _key FROM"
        f" (SELECT DISTINCT _record_id FROM ({written}) AS w WHERE _record_id IS NOT NULL)"
        f" ORDER BY md5({literal(session.run_id)} || _record_id), 1 LIMIT {sync.verify}"
    )
    found, started, before = run_table("kept", sync.name), session.clock.now(), context.tally.mine()
    question = ask.Question(sync.object, (RECORD_ID,), chosen, _compared(sync), name=sync.name, kind=VERIFY)
    try:
        ask.find(org_to_ask(session), question, found)
    except ApiLimitError as error:
        return Verified(skipped=error.what)
    except (NoAnswerError, SalesforceError) as error:
        return Verified(skipped=context.said(sync.name, error))
    except OrgError as error:
        return Verified(skipped=error.what)
    finally:
        context.charge(sync.name, context.tally.mine() - before, started, session.clock.now())
    return _compare(session, sync, written, chosen, found)


def _compared(sync: CompiledSync) -> tuple[FieldRule, ...]:
    return tuple(rule for rule in sync.rules if rule.type != "id")


def _sent(sync: CompiledSync) -> str:
    return ", ".join(f"t.{ident(rule.field)}" for rule in _compared(sync))


def _compare(session: Session, sync: CompiledSync, written: str, chosen: str, found: str) -> Verified:
    db, cells = session.db, []
    for rule in _compared(sync):
        sent, kept = f"w.{ident(rule.field)}", f"k.{ident(rule.field)}"
        # A key that is found whatever its capitals are names the same record.
        alike = not rule.case_sensitive and (rule in sync.identity or rule.reference is not None)
        differs = f"lower({sent}) <> lower({kept})" if alike else f"{sent} <> {kept}"
        shown = [f"CASE WHEN {text} <> '' THEN {literal(MASK)} ELSE '' END" for text in (sent, kept)]
        texts = shown if rule.pii else [sent, kept]
        cells.append(
            f"SELECT {literal(rule.field)} AS field, w._shown AS key, w._record_id, {texts[0]} AS sent, {texts[1]} AS kept"
            f" FROM written AS w JOIN {found} AS k ON k._record_id = w._record_id WHERE {differs}"
        )
    differing = run_table("differing", sync.name)
    db.execute(
        f"CREATE OR REPLACE TABLE {differing} AS WITH written AS MATERIALIZED (SELECT * FROM ({written}) AS a"
        f" WHERE _record_id IN (SELECT _key FROM {chosen})) {' UNION ALL '.join(cells)}"
    )
    asked, there, records = db.execute(
        f"SELECT (SELECT count(*) FROM {chosen}), (SELECT count(*) FROM {found}),"
        f" (SELECT count(DISTINCT _record_id) FROM {differing})"
    )[0]
    samples: dict[str, list[NotKept]] = {}
    for field, *sample in db.execute(
        f"SELECT field, key, _record_id, sent, kept FROM {differing}"
        f" QUALIFY row_number() OVER (PARTITION BY field ORDER BY key) <= {SAMPLES} ORDER BY field, key"
    ):
        samples.setdefault(field, []).append(NotKept(*sample))
    counts = db.execute(
        f"SELECT field, count(*) FROM {differing} GROUP BY field ORDER BY count(*) DESC, field"
    )
    fields = tuple(NotKeptField(field, int(rows), tuple(samples[field])) for field, rows in counts)
    return Verified(int(asked), int(asked) - int(there), int(records), fields)
