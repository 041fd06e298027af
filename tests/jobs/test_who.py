"""Who works in the org: what `debug` says of the user, and the versions that the org offers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sfsync.errors import OrgError
from sfsync.jobs.debug import debug_command
from sfsync.jobs.org_versions import org_versions_command
from sfsync.jobs.rights import Check
from sfsync.jobs.who import person_signs
from sfsync.salesforce.describe import User
from tests.jobs.conftest import Team, fill

ADA = User("005", "00D", "ada@acme.example", "Ada Marsh", "Ada", "Marsh", False)
LAST_AND_FIRST = "it has a first and a last name, and none that tells of a program"
NO_LICENCE = "it has no integration licence"
SIGNS: list[tuple[str, User, str, list[str]]] = [
    ("a person", ADA, "password", [LAST_AND_FIRST, NO_LICENCE]),
    ("a person by browser", ADA, "oauth", ["somebody signed in with a browser", LAST_AND_FIRST, NO_LICENCE]),
    ("a person by the CLI", replace(ADA, integration=None), "sf_cli", ["it is a login of the `sf` CLI", LAST_AND_FIRST]),
    ("a person who has the licence", replace(ADA, integration=True), "oauth", []),
    ("a bot by its user name", replace(ADA, username="salesforce-sync@acme.example"), "jwt", []),
    ("a bot by its name", replace(ADA, name="Integration User", given_name="Integration", family_name="User"), "jwt", []),
    ("a bot by browser", replace(ADA, name="API User"), "oauth", ["somebody signed in with a browser", NO_LICENCE]),
    ("a last name only", replace(ADA, given_name=""), "jwt", []),
    ("a domain tells nothing", replace(ADA, username="ada@api.acme.example"), "jwt", [LAST_AND_FIRST, NO_LICENCE]),
    ("a part of a word tells nothing", replace(ADA, name="Ada Apiarist"), "jwt", [LAST_AND_FIRST, NO_LICENCE]),
]  # fmt: skip


@pytest.mark.parametrize(("user", "auth", "signs"), [c[1:] for c in SIGNS], ids=[c[0] for c in SIGNS])
def test_by_which_facts_a_user_looks_like_a_person(user: User, auth: str, signs: list[str]) -> None:
    assert person_signs(user, auth) == signs


def looked_at(team: Team) -> dict[str, Check]:
    return {check.name: check for check in debug_command(team.options()).checks}


def test_debug_says_who_signs_in_and_advises(team: Team, org: Any) -> None:
    fill(team)
    found = looked_at(team)
    assert found["user"].detail == f"Local Admin <{org.username}>, signs in by password"
    assert "production" in found["org"].detail
    advice = found["integration user"]
    assert advice.ok is None  # advice fails nothing
    assert advice.detail.startswith("Local Admin looks like a person: it has a first and a last name")
    assert "a user of its own" in str(advice.fix)


def test_versions_are_asked_without_a_counted_call(team: Team, org: Any) -> None:
    found = org_versions_command(team.options())
    assert (found.used, found.is_set, found.oldest) == ("67.0", False, "46.0")
    assert (found.offered[0], found.offered[-1], found.instance_url) == ("42.0", "67.0", org.url)
    assert team.calls() == 0
    team.profile(api_version="60.0")
    found = org_versions_command(team.options())
    assert (found.used, found.is_set) == ("60.0", True)


def test_a_version_that_the_org_does_not_offer(team: Team) -> None:
    team.profile(api_version="99.0")
    with pytest.raises(OrgError, match=r"does not offer API version 99.0; it offers 42.0 to 67.0"):
        org_versions_command(team.options())
