"""Taking deletes back: out of the recycle bin with their Ids, once, whatever happens on the way."""

from __future__ import annotations

import csv
import json
from typing import Any

import duckdb
import pytest

from sfsync.jobs.plan import plan_command
from sfsync.jobs.state_check import state_check_command
from sfsync.records import Outcome
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from sfsync.report.run_text import run_text
from tests.jobs.conftest import STATE, Team, of, outcomes, planned
from tests.local_org.test_soap import soap
from tests.support import doomed

KEY = "Customer_Id__c"


@pytest.fixture
def loaded(ready: Team) -> Team:
    """The two accounts and three contacts are in the org."""
    ready.sync("contacts", on_removed="delete")
    assert ready.run().exit_code == 0
    return ready


def ids(team: Team) -> dict[str, str]:
    return {key: record["Id"] for key, record in team.org.by("Contact", KEY).items()}


def fields(team: Team) -> dict[str, dict[str, str]]:
    seen = ("Id", "LastName", "FirstName", "Email", "Title", "AccountId", KEY)
    return {k: {f: r[f] for f in seen if f in r} for k, r in team.org.by("Contact", KEY).items()}


def delete(team: Team, *keys: str) -> str:
    """Records leave the model and the org; the run's id."""
    listed = ", ".join(f"'{key}'" for key in keys)
    team.sql(f"DELETE FROM raw.contacts WHERE id IN ({listed})")
    result = team.run()
    assert outcomes(result, "contacts")["deleted"] == len(keys)
    return result.run_id


def snapshot(team: Team) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        return connection.execute(
            'SELECT _key, _id, _origin, "LastName", "Title" FROM snapshot.contacts ORDER BY _key'
        ).fetchall()


def undelete_calls(team: Team) -> int:
    return sum(1 for request in team.org.requests() if request["kind"] == "soap")


def test_deletes_are_taken_back_with_their_ids_and_known_again(loaded: Team) -> None:
    before, known = fields(loaded), snapshot(loaded)
    run_id = delete(loaded, "C1", "C2")
    plan = loaded.plan(undo="latest")
    assert (plan.api.by_way, plan.api.calls) == ((("soap", 1),), 1)
    assert "2 to restore" in plan_text(plan, color=False, width=0).splitlines()[-1]
    assert "| restore |" in plan_markdown(plan)
    written = json.loads((loaded.folder / "target" / "plan.json").read_text())
    assert (written["totals"]["restore"], written["syncs"][0]["counts"]["restore"]) == (2, 2)
    used = loaded.calls()
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"restored": 2}
    assert (loaded.calls() - used, result.calls_by_kind["soap"], result.exit_code) == (1, 1, 0)
    assert "2 restored" in run_text(result, color=False, width=0).splitlines()[-1]
    assert (fields(loaded), snapshot(loaded)) == (before, known)
    assert not loaded.plan(undo=run_id).has_changes
    changes = planned(loaded.plan(), "contacts").changes
    assert (changes.deletes, changes.updates, changes.unchanged) == (2, 0, 1), "the model still lacks them"


def test_what_was_brought_back_can_be_deleted_again_and_brought_back_again(loaded: Team) -> None:
    before = fields(loaded)
    delete(loaded, "C1")
    for _ in range(2):
        loaded.run(undo="latest")
        assert fields(loaded) == before
        assert outcomes(loaded.run(undo="latest"), "contacts") == {"deleted": 1}
        assert set(ids(loaded)) == {"C2", "C3"}


def test_the_model_goes_on_with_the_same_record(loaded: Team) -> None:
    before = ids(loaded)
    delete(loaded, "C2")
    loaded.run(undo="latest")
    loaded.sql("INSERT INTO raw.contacts (id, last, title, account) VALUES ('C2', 'Müller', 'CFO', 'A2')")
    assert outcomes(loaded.run(), "contacts") == {"updated": 1, "unchanged": 2}
    assert ids(loaded) == before


def test_a_bin_that_was_emptied(loaded: Team) -> None:
    before = fields(loaded)
    run_id = delete(loaded, "C1", "C2")
    soap(loaded.org, "emptyRecycleBin", [before["C1"]["Id"]])
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"restored": 1, "gone": 1}
    assert result.exit_code == 1
    assert f"sfsync run --undo {run_id}" in run_text(result, color=False, width=0)
    assert set(ids(loaded)) == {"C2", "C3"}
    assert state_check_command(loaded.options()).faults == ()
    plan = loaded.plan(undo=run_id)
    changes = planned(plan, "contacts").changes
    assert (changes.undeletes, changes.upserts) == (0, 1)
    assert any("1 deleted record would be made anew, with a new Id" in warning for warning in plan.warnings)
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"created": 1, "unchanged": 1}
    after = fields(loaded)
    assert after["C1"].pop("Id") != before["C1"].pop("Id")
    assert after == before
    assert not loaded.plan(undo=run_id).has_changes


def test_what_somebody_made_meanwhile_is_not_made_a_second_time(ready: Team) -> None:
    ready.sync(
        "contacts",
        identity={"LastName": "last"},
        fields={"LastName": None, KEY: "id"},
        match="unknown",
        on_removed="delete",
    )
    ready.run()
    before = ids(ready)
    run_id = delete(ready, "C1", "C2")
    soap(ready.org, "emptyRecycleBin", [before["C1"], before["C2"]])
    assert outcomes(ready.run(undo=run_id), "contacts") == {"gone": 2}
    ready.org.post("/sobjects/Contact", json={"LastName": "Ito", "Title": "made by hand"})
    offline = planned(plan_command(ready.options(offline=True), undo=run_id), "contacts").changes
    assert (offline.upserts, offline.unasked) == (0, 2), "who cannot ask makes nothing"
    plan = ready.plan(undo=run_id)
    assert (planned(plan, "contacts").changes.upserts, plan.api.planning_calls) == (1, 1)
    assert any("1 deleted record cannot come back" in warning for warning in plan.warnings)
    assert outcomes(ready.run(undo=run_id), "contacts")["created"] == 1
    names = sorted((record["LastName"], record.get("Title")) for record in ready.org.records("Contact"))
    assert names == [("Ito", "made by hand"), ("Müller", "CTO"), ("Okafor", None)]


@pytest.mark.newest
def test_after_fifteen_days_nobody_asks_the_bin(loaded: Team) -> None:
    from datetime import timedelta

    run_id = delete(loaded, "C1")
    loaded.clock.offset = timedelta(days=14, hours=23)
    assert planned(loaded.plan(undo=run_id), "contacts").changes.undeletes == 1
    loaded.clock.offset = timedelta(days=15)
    changes = planned(loaded.plan(undo=run_id), "contacts").changes
    assert (changes.undeletes, changes.upserts) == (0, 1)


@pytest.mark.newest
def test_a_person_was_faster(loaded: Team) -> None:
    before = ids(loaded)
    run_id = delete(loaded, "C1", "C2")
    soap(loaded.org, "undelete", [before["C1"]])
    used = loaded.calls()
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 2}
    assert loaded.calls() - used == 2, "undelete, and a look at what was not in the bin"
    assert ids(loaded) == before
    assert [row[0] for row in snapshot(loaded)] == ["c1", "c2", "c3"]


def test_a_person_made_the_record_anew(loaded: Team) -> None:
    run_id = delete(loaded, "C1")
    loaded.org.post("/sobjects/Contact", json={"LastName": "Other", KEY: "C1"})
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"rejected": 1}
    (refused,) = of(result, "contacts").rejected
    assert (refused.code, refused.action) == ("DUPLICATE_VALUE", "undelete")
    assert len(loaded.org.records("Contact")) == 3
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"held": 1}, "nothing has changed"


FAULTS = [  # id, rule: what happens to the first undelete
    ("lost after the work", {"fault": "lost_after_commit"}),
    ("lost before the work", {"fault": "lost_before_commit"}),
    ("token expired", {"fault": "expired_token"}),
    ("a gateway's page", {"fault": "status", "status": 502, "body": "<html><title>Bad</title></html>"}),
    ("cut", {"fault": "cut_answer"}),
    ("cut, and looks whole", {"fault": "cut_answer", "looks_whole": True}),
    ("entities", {"fault": "garbled", "body": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}),
    ("another answer", {"fault": "garbled", "body": "<a/>"}),
    ("busy", {"fault": "status", "status": 429, "headers": {"Retry-After": 1}}),
]


@pytest.mark.parametrize("rule", [rule for _, rule in FAULTS], ids=[name for name, _ in FAULTS])
def test_an_answer_that_does_not_come(loaded: Team, rule: dict[str, Any]) -> None:
    before = fields(loaded)
    run_id = delete(loaded, "C1", "C2")
    loaded.org.faults([{**rule, "match": "/services/Soap/"}])
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 2}
    assert undelete_calls(loaded) == 2
    assert fields(loaded) == before


@pytest.mark.parametrize("rule", ["lost_after_commit", "lost_before_commit"])
def test_deletes_whose_answer_was_lost_are_taken_back(loaded: Team, rule: str) -> None:
    before = fields(loaded)
    loaded.sync("contacts", push={"api": "collections"})
    loaded.sql("DELETE FROM raw.contacts WHERE id IN ('C1', 'C2')")
    loaded.org.faults([{"fault": rule, "match": "/composite"}])
    result = loaded.run()
    done = "already_deleted" if rule == "lost_after_commit" else "deleted"
    assert outcomes(result, "contacts")[done] == 2
    assert outcomes(loaded.run(undo=result.run_id), "contacts") == {"restored": 2}
    assert fields(loaded) == before


def test_what_somebody_else_deleted_is_not_brought_back(loaded: Team) -> None:
    gone = ids(loaded)["C1"]
    loaded.org.delete(f"/sobjects/Contact/{gone}")
    loaded.sync("contacts", push={"api": "collections"})
    loaded.sql("DELETE FROM raw.contacts WHERE id IN ('C1', 'C2')")
    result = loaded.run()
    assert outcomes(result, "contacts") == {"already_deleted": 1, "deleted": 1, "unchanged": 1}
    assert planned(loaded.plan(undo=result.run_id), "contacts").changes.undeletes == 1


def answer(*results: tuple[str | None, bool]) -> str:
    """What an org says to undelete(): (Id, whether it is back) of each."""
    lost = "<errors><message>not in the bin</message><statusCode>UNDELETE_FAILED</statusCode></errors>"
    said = "".join(
        f"<result>{'' if ok else lost}{f'<id>{one}</id>' if one else ''}<success>{str(ok).lower()}</success></result>"
        for one, ok in results
    )
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com"><e:Body>'
        f"<undeleteResponse>{said}</undeleteResponse></e:Body></e:Envelope>"
    )


@pytest.mark.parametrize("own", [True, False], ids=["the refusal names its Id", "the refusal names none"])
def test_results_in_another_order_are_no_answer(loaded: Team, own: bool) -> None:
    """C1 is lost and C2 is back; taken by order alone, the answer would say the opposite."""
    before = ids(loaded)
    run_id = delete(loaded, "C1", "C2")
    soap(loaded.org, "emptyRecycleBin", [before["C1"]])
    swapped = answer((before["C2"], True), (before["C1"] if own else None, False))
    rule = {"fault": "garbled", "body": swapped, "match": "/services/Soap/"}
    loaded.org.faults([{**rule, "times": "always"}])
    result = loaded.run(undo=run_id)
    assert (outcomes(result, "contacts"), result.exit_code) == ({"in_doubt": 2}, 1)
    assert "another record's result in the place of" in str(loaded.logged)
    loaded.org.faults([])
    result = loaded.run(undo=run_id)
    found = {key: n for item in result.recovered for key, n in item.counts.items()}
    assert found == {"restored": 1}
    assert [row[0] for row in snapshot(loaded)] == ["c2", "c3"]
    assert set(ids(loaded)) == {"C2", "C3"}


def test_an_id_of_fifteen_characters_is_the_same_id(loaded: Team) -> None:
    before = ids(loaded)
    run_id = delete(loaded, "C1", "C2")
    short = answer((before["C1"][:15], True), (before["C2"][:15], True))
    loaded.org.faults([{"fault": "garbled", "body": short, "match": "/services/Soap/"}])
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 2}
    assert undelete_calls(loaded) == 1
    assert ids(loaded) == before


@pytest.mark.newest
def test_where_looking_fails_nothing_counts_as_lost(loaded: Team) -> None:
    before = ids(loaded)
    run_id = delete(loaded, "C1", "C2")
    soap(loaded.org, "undelete", [before["C1"]])
    loaded.org.faults([{"fault": "status", "status": 503, "match": "/query", "times": 1}])
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"restored": 1, "in_doubt": 1}
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 1, "unchanged": 1}
    assert ids(loaded) == before


POINTS = [
    "after intent",
    "sent: POST /services/Soap",
    "after write",
    "before record",
    "in the transaction",
    "after record",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_was_killed_is_mended_by_the_next(loaded: Team, point: str) -> None:
    before, known = fields(loaded), snapshot(loaded)
    run_id = delete(loaded, "C1", "C2")
    if point.startswith("sent"):
        loaded.org.faults(
            [{"fault": "slow", "match": "/services/Soap/", "seconds": 0.5, "before_work": True}]
        )
    assert doomed.end(doomed.start(doomed.Order(loaded.folder, point=point, undo=run_id))) == -9
    loaded.org.until_quiet()
    result = loaded.run(undo=run_id)
    found = sum(item.counts.get("restored", 0) for item in result.recovered)
    sent = outcomes(result, "contacts").get("restored", 0)
    assert found + sent == (0 if point == "after record" else 2)
    assert found == (0 if point in ("after intent", "after record") else 2)
    assert (fields(loaded), snapshot(loaded)) == (before, known)
    assert not loaded.plan(undo=run_id).has_changes


def test_a_plain_run_too_finds_out_what_was_brought_back(loaded: Team) -> None:
    before = ids(loaded)
    run_id = delete(loaded, "C1")
    doomed.end(doomed.start(doomed.Order(loaded.folder, point="after write", undo=run_id)))
    loaded.sql("INSERT INTO raw.contacts (id, last, first, account) VALUES ('C1', 'Ito', 'Ai', 'A1')")
    result = loaded.run()
    assert [(item.operation, item.counts) for item in result.recovered] == [("undelete", {"restored": 1})]
    assert "to restore" in run_text(result, color=False, width=0)
    assert outcomes(result, "contacts") == {"updated": 1, "unchanged": 2}, "its e-mail is cleared"
    assert ids(loaded) == before


@pytest.mark.newest
def test_a_budget_that_is_too_small(loaded: Team) -> None:
    loaded.sync("contacts", guards={"max_deletes": None, "max_delete_share": None, "min_rows": 0})
    loaded.sql("INSERT INTO raw.contacts (id, last) SELECT 'N' || n, 'New' FROM range(398) AS r(n)")
    loaded.run(allow=["contacts.max_change_share"])
    before = ids(loaded)
    loaded.sql("DELETE FROM raw.contacts")
    run_id = loaded.run().run_id
    plan = loaded.plan(undo=run_id)
    assert plan.api.by_way == (("soap", 3),)
    used = loaded.org.state()["api_calls"]["used"]
    loaded.profile(api_limit={"daily_calls": used + 2, "keep_free": 0})
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"restored": 400, "deferred": 1}
    assert result.exit_code == 1
    loaded.profile(api_limit={"daily_calls": used + 10, "keep_free": 0})
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 1, "unchanged": 400}
    assert ids(loaded) == before


@pytest.mark.newest
def test_without_the_right(loaded: Team) -> None:
    run_id = delete(loaded, "C1")
    loaded.org.faults(
        [{"fault": "rights_lost", "object": "Contact", "rights": ["delete"], "match": "/Soap/"}]
    )
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"rejected": 1}
    assert of(result, "contacts").rejected[0].code == "INSUFFICIENT_ACCESS_OR_READONLY"
    loaded.org.faults([])
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"held": 1}
    loaded.retry()
    assert planned(loaded.plan(undo=run_id), "contacts").changes.undeletes == 1


@pytest.mark.newest
def test_an_org_without_this_api_stops_the_run_with_its_own_words(loaded: Team) -> None:
    run_id = delete(loaded, "C1")
    code = "API_DISABLED_FOR_ORG"
    fault = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault><faultcode>sf:'
        f"{code}</faultcode><faultstring>{code}: API is not enabled for this user</faultstring></e:Fault></e:Body></e:Envelope>"
    )
    loaded.org.faults([{"fault": "status", "status": 500, "body": fault, "match": "/Soap/"}])
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"stopped": 1}
    assert "API is not enabled for this user" in (result.reason or "")
    assert undelete_calls(loaded) == 1


@pytest.mark.newest
def test_a_session_that_dies_again_and_again_shows_nobody_its_token(loaded: Team) -> None:
    run_id = delete(loaded, "C1")
    loaded.org.faults([{"fault": "expired_token", "match": "/Soap/", "times": "always"}])
    result = loaded.run(undo=run_id)
    assert outcomes(result, "contacts") == {"stopped": 1}
    assert "missing session key: ********" in (result.reason or "")
    written = (loaded.folder / "target" / "run_results.json").read_text()
    assert f"{loaded.org.org_id[:15]}!" not in written + str(loaded.logged) + (
        loaded.folder / STATE
    ).read_bytes().decode("latin-1")


@pytest.mark.newest
def test_locked_rows_go_again(loaded: Team) -> None:
    run_id = delete(loaded, "C1", "C2")
    loaded.org.faults([{"fault": "locked_rows", "object": "Contact", "share": 0.5}])
    assert outcomes(loaded.run(undo=run_id), "contacts") == {"restored": 2}


def test_what_was_deleted_along_with_its_parent(loaded: Team) -> None:
    """The contact of a deleted account went with it; it comes back with it, whoever deleted it first."""
    before = ids(loaded)
    loaded.sync("accounts", on_removed="delete", allow_cascade=True)
    loaded.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C3'")
    loaded.sql("DELETE FROM raw.accounts WHERE id = 'A1'", "DELETE FROM raw.contacts WHERE id = 'C1'")
    result = loaded.run()
    assert (outcomes(result, "accounts")["deleted"], outcomes(result, "contacts")["deleted"]) == (1, 1)
    hanging = loaded.org.post("/sobjects/Contact", json={"LastName": "Hers", KEY: "H"}).json()["id"]
    result = loaded.run(undo="latest")
    assert (outcomes(result, "accounts"), outcomes(result, "contacts")["restored"]) == ({"restored": 1}, 1)
    assert ids(loaded) == before | {"H": hanging}
    assert (
        loaded.org.by("Contact", KEY)["C1"]["AccountId"]
        == loaded.org.by("Account", "Account_Id__c")["A1"]["Id"]
    )


def test_who_made_a_record_is_known_again(loaded: Team) -> None:
    loaded.org.post("/sobjects/Contact", json={"LastName": "Theirs", KEY: "C9"})
    loaded.sql("INSERT INTO raw.contacts (id, last) VALUES ('C9', 'Ours')")
    assert outcomes(loaded.run(), "contacts")["adopted"] == 1
    loaded.sync("contacts", delete_adopted=True)
    run_id = delete(loaded, "C9")
    loaded.run(undo=run_id)
    assert [row[2] for row in snapshot(loaded) if row[0] == "c9"] == ["adopted"]
    loaded.sync("contacts", delete_adopted=False)
    assert outcomes(loaded.run(undo="latest"), "contacts") == {"deleted": 1}, "the undo itself is taken back"


def test_successes_are_listed_where_they_are_wanted(loaded: Team) -> None:
    loaded.sync("contacts", results="all")
    before = ids(loaded)
    run_id = delete(loaded, "C1")
    loaded.run(undo=run_id)
    with (loaded.folder / "target" / "results" / "contacts.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert (row[KEY], row["action"], row["Id"]) == ("C1", "restored", before["C1"])


@pytest.mark.newest
def test_some_go_first(loaded: Team) -> None:
    run_id = delete(loaded, "C1", "C2")
    loaded.org.faults(
        [{"fault": "rights_lost", "object": "Contact", "rights": ["delete"], "match": "/Soap/"}]
    )
    result = loaded.run(undo=run_id, canary=1)
    assert outcomes(result, "contacts") == {"rejected": 1, "stopped": 1}
    loaded.org.faults([])
    assert outcomes(loaded.run(undo=run_id, canary=1), "contacts") == {"held": 1, "restored": 1}


def test_creating_too_many_counts_what_comes_back(loaded: Team) -> None:
    run_id = delete(loaded, "C1", "C2")
    loaded.sync("contacts", guards={"max_creates": 1})
    (refusal,) = loaded.plan(undo=run_id).refusals
    assert "would create or restore 2 records; max_creates is 1" in refusal.what


def test_of_masked_fields_nothing_is_kept_and_nothing_restored(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete", fields={"Email": {"column": "email", "pii": True}})
    ready.run()
    ready.sql("UPDATE raw.contacts SET email = 'new@acme.example', title = 'CEO' WHERE id = 'C1'")
    run_id = ready.run().run_id
    with duckdb.connect(str(ready.folder / STATE), read_only=True) as connection:
        lines = connection.execute("SELECT operation, texts FROM undo WHERE run_id = ?", [run_id]).fetchall()
    assert [(o, json.loads(t)) for o, t in lines] == [("update", {"Title": ["", "CEO"], "Email": None})]
    plan = ready.plan(undo=run_id)
    assert any("1 cell of masked fields stay (Email)" in warning for warning in plan.warnings)
    assert planned(plan, "contacts").fields == (("Title", 1),)
    ready.run(undo=run_id)
    record = ready.org.by("Contact", KEY)["C1"]
    assert (record["Email"], record.get("Title")) == ("new@acme.example", None)


def test_a_masked_record_that_is_made_anew_lacks_what_is_masked(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete", fields={"Email": {"column": "email", "pii": True}})
    ready.run()
    whole = fields(ready)["C1"]
    run_id = delete(ready, "C1")
    with duckdb.connect(str(ready.folder / STATE), read_only=True) as connection:
        assert not connection.execute("SELECT 1 FROM undo WHERE texts LIKE '%acme.example%'").fetchall()
    soap(ready.org, "emptyRecycleBin", [whole["Id"]])
    ready.run(undo=run_id)
    plan = ready.plan(undo=run_id)
    assert any("made anew lack their masked fields: Email" in warning for warning in plan.warnings)
    ready.run(undo=run_id)
    made = fields(ready)["C1"]
    assert "Email" not in made
    assert made["LastName"] == whole["LastName"]


def test_a_masked_record_comes_out_of_the_bin_whole(ready: Team) -> None:
    masked = {"Email": {"column": "email", "pii": True}}
    ready.sync("contacts", on_removed="delete", fields=masked, identity={KEY: {"column": "id", "pii": True}})
    ready.run()
    before = fields(ready)
    run_id = delete(ready, "C1")
    assert of(ready.run(undo=run_id), "contacts").model == {Outcome.RESTORED: 1}
    assert fields(ready) == before
