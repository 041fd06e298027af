"""Who works in the org, and whether that should be a person: a part of `sfsync debug`."""

from __future__ import annotations

import re

from sfsync.jobs.rights import Check
from sfsync.jobs.target import SignIn
from sfsync.salesforce.describe import User

_OF_PEOPLE = {"oauth": "somebody signed in with a browser", "sf_cli": "it is a login of the `sf` CLI"}
_MACHINES = frozenset(
    [
        "api",
        "automated",
        "automation",
        "bot",
        "ci",
        "connector",
        "crm",
        "data",
        "dataloader",
        "dwh",
        "elt",
        "etl",
        "import",
        "integration",
        "integrations",
        "job",
        "loader",
        "machine",
        "pipeline",
        "reverse",
        "robot",
        "sa",
        "service",
        "sfsync",
        "svc",
        "sync",
        "system",
        "tech",
        "technical",
        "user",
        "warehouse",
    ]
)


def who(user: User, sign_in: SignIn | None) -> list[Check]:
    """The user, and the advice to use another one if this one looks like a person. sign_in: None for the local org."""
    shown = f"{user.name} <{user.username}>"
    if sign_in is None:
        return [Check("user", True, shown)]
    found = [Check("user", True, f"{shown}, signs in by {sign_in.auth}")]
    signs = person_signs(user, sign_in.auth)
    if signs:
        found.append(
            Check(
                "integration user",
                None,
                f"{user.name} looks like a person: {', '.join(signs)}",
                "for what runs by itself, give sfsync a user of its own, with a permission set of what the syncs write and "
                "nothing else: every record then says who wrote it, and nobody's leaving or new password stops a run",
            )
        )
    return found


def person_signs(user: User, auth: str) -> list[str]:
    """The facts by which a user looks like a person; none for one that does not."""
    if user.integration:
        return []
    signs = [_OF_PEOPLE[auth]] if auth in _OF_PEOPLE else []
    words = set(re.split(r"[^a-z]+", f"{user.name} {user.username.partition('@')[0]}".lower()))
    if user.given_name and user.family_name and not words & _MACHINES:
        signs.append("it has a first and a last name, and none that tells of a program")
    if signs and user.integration is False:
        signs.append("it has no integration licence")
    return signs
