"""Answers that are cut, garbled or wrong, and jobs that break: nothing is lost, nothing is doubled, all is accounted for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.conftest import Team, outcomes
from tests.jobs.test_recovery import add, contacts, left_open, model, snapshot

ROWS = 450
ALLOWED = {"created", "adopted", "updated", "unchanged", "in_doubt", "failed", "submitted"}


def lie(fault: str, **more: Any) -> dict[str, Any]:
    return {"fault": fault, **more}


COMPOSITE = "POST /composite"
RESULTS = "successfulResults"
CALLS = [
    lie("garbled", match=COMPOSITE, edit="items_fewer"),
    lie("garbled", match=COMPOSITE, edit="result_missing"),
    lie("garbled", match=COMPOSITE, edit="result_doubled"),
    lie("garbled", match=COMPOSITE, edit="no_status"),
    lie("garbled", match=COMPOSITE, body="{}"),
    lie("garbled", match=COMPOSITE, body='{"compositeResponse": null}'),
    lie("garbled", match=COMPOSITE, body="<html>proxy</html>"),
    lie("cut_answer", match=COMPOSITE),
    lie("cut_answer", match=COMPOSITE, looks_whole=True),
    lie("lost_after_commit", match=COMPOSITE, times=9),
]
JOBS = [
    lie("job_failed", object="Contact", share=0.3),
    lie("job_aborted", object="Contact"),
    lie("results_doubled", share=0.2, times="always"),
    lie("results_shuffled", times="always"),
    lie("results_missing", share=0.1, times="always"),
    lie("results_expired", times="always"),
    lie("results_expired", job_too=True, times="always"),
    lie("counts_wrong", processed=-3),
    lie("counts_wrong", processed=3),
    lie("counts_wrong", failed=2),
    lie("cut_answer", match=RESULTS, looks_whole=True),
    lie("cut_answer", match=RESULTS),
    lie("garbled", match="POST /jobs/ingest", body="{}"),
]
QUICK = {"items_fewer", "no_status", "{}", "job_failed", "results_missing", "looks_whole"}


def named(rule: dict[str, Any]) -> str:
    return "-".join(str(value) for key, value in rule.items() if key not in ("match", "object", "times"))


def cases() -> list[Any]:
    found = []
    for api, rules in (("collections", CALLS), ("bulk", JOBS)):
        for rule in rules:
            quick = QUICK & {rule["fault"], *map(str, rule.values()), *rule}
            found.append(
                pytest.param(api, rule, id=f"{api}-{named(rule)}", marks=() if quick else pytest.mark.slow)
            )
    return found


@pytest.mark.parametrize(("api", "rule"), cases())
def test_what_a_lying_org_leaves_is_mended_by_the_next_run(
    ready: Team, api: str, rule: dict[str, Any]
) -> None:
    guards = dict.fromkeys(("max_change_share", "max_deletes", "max_delete_share"))
    ready.sync("contacts", push={"api": api}, guards=guards, on_removed="delete")
    ready.run("accounts")
    ready.contacts([])
    add(ready, ROWS, "k")
    for change in (None, "UPDATE raw.contacts SET title = 'second'"):
        if change is not None:
            ready.sql(change)
        ready.org.faults([rule])
        result = ready.run("contacts")
        counts = outcomes(result, "contacts")
        assert set(counts) <= ALLOWED, counts
        assert sum(counts.values()) == ROWS
        ready.org.faults([])
        ready.run("contacts")
        if left_open(ready):
            ready.run("contacts")
        titles = model(ready)
        assert {key: record["Title"] for key, record in contacts(ready).items()} == titles
        held = snapshot(ready)
        assert {key: title for key, (title, _) in held.items()} == titles
        # Who made a record only the answer tells; without one it may be anybody's.
        answered = change is None and counts == {"created": ROWS}
        assert {made for _, made in held.values()} <= ({"created"} if answered else {"created", "adopted"})
    assert not ready.plan("contacts").has_changes
