"""A plan for programs: the one document that `plan --format json` prints and target/plan.json holds.

Owns:      the form of plan.json and its number.
Does not:  decide what is masked; the plan's values are masked already.
Invariant: in `changes`, null is absent (never acknowledged, not sent), "" is Salesforce's null, all else is the wire text.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sfsync.artifacts import metadata
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.report.plan_values import help_text, samples_of_code, totals
from sfsync.report.words import VERB

VERSION = 1


def plan_json(plan: Plan) -> str:
    """The plan as JSON, with a line end."""
    api = plan.api
    body: dict[str, Any] = {
        "metadata": metadata(plan.run_id, "plan", VERSION, plan.created_at)
        | {"project": plan.project, "target": plan.target, "undo": plan.undo},
        "totals": asdict(totals(plan)),
        "api": {
            "calls": api.calls,
            "by_way": dict(api.by_way),
            "allowed": api.allowed,
            "ceiling": api.ceiling,
            "left_in_org": api.left_in_org,
            "seen_at": None if api.seen_at is None else api.seen_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "planning_calls": api.planning_calls,
            "bulk_batches": api.batches,
            "bulk_batches_allowed": api.batches_allowed,
        },
        "guards": [
            {"sync": r.sync, "name": r.name, "message": r.what, "allow": r.allow} for r in plan.refusals
        ],
        "warnings": list(plan.warnings),
        "syncs": [_sync(item) for item in plan.syncs],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _counts(item: SyncPlan) -> dict[str, int]:
    c = item.changes
    return {
        "staged": c.staged,
        "snapshot": c.snapshot_rows,
        "create": c.upserts,
        "recreate": c.recreated,
        "update": c.updates,
        "fields": c.updated_fields,
        "retire": c.retires,
        "delete": c.deletes,
        "restore": c.undeletes,
        "late_lookups": c.links,
        "late_lookups_waiting": c.links_waiting,
        "delete_adopted": c.adopted_deletes,
        "missing": c.missing.rows,
        "missing_more_runs": c.missing.more_runs,
        "removed_kept": c.removed_kept,
        "removed_held_back": c.removals_held_back,
        "unchanged": c.unchanged,
        "rejected": c.refused,
        "held": c.held,
        "waiting": c.waiting,
        "gone": c.gone + c.gone_stops,
        "submitted": c.aside.submitted,
        "stopped": c.aside.stopped,
        "delete_submitted": c.aside.submitted_deletes,
        "delete_stopped": c.aside.stopped_deletes,
        "matched": c.matched,
        "adopt": c.adopted,
        "exists": c.exists,
        "no_match": c.no_match,
        "merged": c.merged,
        "converted": c.converted,
        "conflict": c.conflicts,
        "deferred": c.unasked,
        "delete_deferred": c.unread,
        "api_calls": item.calls,
    }


def _sync(item: SyncPlan) -> dict[str, Any]:
    c = item.changes
    return {
        "name": item.sync.name,
        "object": item.sync.object,
        "counts": _counts(item),
        "hard_delete": item.sync.erases,
        "refused_by_guard": bool(item.refusals),
        "deletes_along": [
            {
                "object": along.below.link.object,
                "field": along.below.link.field,
                "of": along.below.parent,
                "guarded": along.below.link.guarded,
                "deleted_first_by": along.first,
            }
            for along in item.cascade.along
        ],
        "deletes_forbidden_by": [
            {"object": below.link.object, "field": below.link.field, "of": below.parent}
            for below in item.cascade.blocks
        ],
        "deletes_along_known": item.cascade.known,
        "jobs_at_work": [
            {
                "job_id": job.job_id,
                "sync": job.sync,
                "run_id": job.run_id,
                "operation": VERB[job.operation],
                "rows": job.rows,
                "age_s": round(job.age_s),
                "keys_known": job.keyed,
            }
            for job in c.aside.jobs
        ],
        "fields": dict(item.fields),
        "rejected": [
            {
                "code": code,
                "field": field,
                "rows": rows,
                "help": help_text(code),
                "samples": [
                    {"identity": dict(row.identity), "message": row.message, "held": row.known}
                    for row in samples_of_code(item, code, field)
                ],
            }
            for code, field, rows in item.rejected
        ],
        "waiting": [
            {"key": row.key, "field": row.field, "parent": row.parent, "parent_key": row.parent_key}
            for row in item.waiting_rows
        ],
        "samples": [
            {
                "key": sample.key,
                "operation": "retire" if sample.retires else VERB[sample.operation],
                "changes": {field: list(pair) for field, pair in sample.changes.items()},
                **({"names": dict(sample.names)} if sample.names else {}),
            }
            for sample in item.samples
        ],
    }
