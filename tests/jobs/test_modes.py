"""Every cell of docs/reference/modes.md: a mode, a situation, a real org, and what stands there afterwards.

A new mode needs its line in `project.modes.MODES` and nothing here, but for situations that it alone knows.
"""

from __future__ import annotations

import pytest

from sfsync.project.modes import MODES, Situation
from tests.jobs.conftest import SYNCS, Team, of

OTHER = "C77"
KEY, ALLOWED = "C1", ["contacts.max_change_share", "contacts.max_delete_share"]


def known(team: Team) -> None:
    """One contact that sfsync made, by a first run of the mode's elder sister."""
    team.sync("contacts", mode="upsert")
    team.contacts([{"id": KEY, "last": "Ito"}, {"id": "C2", "last": "Stay"}])
    assert of(team.run("contacts"), "contacts").model == {"created": 2}


def by_hand(team: Team) -> None:
    team.org.post("/sobjects/Contact", json={"LastName": "Ito", KEY_FIELD: KEY})
    team.sync("contacts", mode="upsert")
    team.contacts([{"id": KEY, "last": "Ito"}, {"id": "C2", "last": "Stay"}])
    assert of(team.run("contacts"), "contacts").model == {"created": 1, "adopted": 1}
    team.run("contacts")  # completes what was adopted


KEY_FIELD = "Customer_Id__c"
DIFFERENT = [{"id": KEY, "last": "Sato"}, {"id": "C2", "last": "Stay"}]
LEFT = [{"id": "C2", "last": "Stay"}]


def repurpose(team: Team) -> None:
    team.org.patch(
        f"/sobjects/Contact/{team.org.by('Contact', KEY_FIELD)[KEY]['Id']}", json={KEY_FIELD: OTHER}
    )


def bring_about(team: Team, situation: Situation) -> None:
    """Make the row of KEY stand to the org as the situation says; the model then says what the last run will see."""
    match situation:
        case Situation.NEW:
            team.contacts([{"id": KEY, "last": "Ito"}])
        case Situation.MADE_BY_OTHERS:
            team.org.post("/sobjects/Contact", json={"LastName": "By hand", KEY_FIELD: KEY})
            team.contacts([{"id": KEY, "last": "Ito"}])
        case Situation.DIFFERS | Situation.SAME | Situation.GONE | Situation.REPURPOSED:
            known(team)
            if situation is not Situation.SAME:
                team.contacts(DIFFERENT)
            if situation is Situation.GONE:
                team.org.delete(f"/sobjects/Contact/{team.org.by('Contact', KEY_FIELD)[KEY]['Id']}")
            if situation is Situation.REPURPOSED:
                repurpose(team)
        case Situation.LEFT_REPURPOSED:
            known(team)
            repurpose(team)
            team.contacts(LEFT)
        case Situation.LEFT:
            known(team)
            team.contacts(LEFT)
        case Situation.LEFT_ADOPTED:
            by_hand(team)
            team.contacts(LEFT)


@pytest.mark.parametrize("situation", Situation, ids=[one.name.lower() for one in Situation])
@pytest.mark.parametrize("mode", MODES)
def test_what_a_mode_does_is_what_its_page_says(ready: Team, mode: str, situation: Situation) -> None:
    bring_about(ready, situation)
    fields = dict.fromkeys(SYNCS["contacts"]["fields"]) if MODES[mode].deletes else {}
    ready.sync("contacts", mode=mode, match="unknown", fields=fields)
    effect, writes = MODES[mode].effects[situation], len(ready.org.writes())
    result = of(ready.run("contacts", allow=ALLOWED), "contacts")
    told = result.model | result.removals
    standing = ready.org.by("Contact", KEY_FIELD).get(OTHER if "REPURPOSED" in situation.name else KEY)
    if effect == "kept":
        if not MODES[mode].deletes:  # else the other row's record goes
            assert (set(told), len(ready.org.writes())) == ({"unchanged"}, writes)
        assert standing is not None
        assert standing["LastName"] == "Ito"
        return
    both = effect == "unchanged" or (MODES[mode].deletes and situation in (Situation.DIFFERS, Situation.SAME))
    assert told.get(effect) == (2 if both else 1), told
    wanted = {"created": "Ito", "adopted": "Ito", "updated": "Sato", "unchanged": "Ito", "conflict": "Ito"}
    if effect == "exists":
        assert (standing or {}).get("LastName") in ("By hand", "Ito", None)
        assert len(ready.org.writes()) == writes
        return
    assert (standing and standing["LastName"]) == wanted.get(effect)


def test_mirror_is_guarded_like_any_delete(ready: Team) -> None:
    ready.sync("contacts", mode="mirror", guards={"max_deletes": 1})
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id <> 'C1'")
    [refusal] = ready.plan().refusals
    assert refusal.name == "max_deletes"
    ready.sql("DELETE FROM raw.contacts")
    assert [r.name for r in ready.plan().refusals] == ["min_rows", "max_deletes"]
    assert len(ready.org.records("Contact")) == 3
