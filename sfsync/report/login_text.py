"""Who is signed in, as text: `login`, `logout`.

Owns:      these two short reports.
Does not:  sign anybody in (jobs).
"""

from __future__ import annotations

from typing import Protocol

from sfsync.report.words import safe

BY_ITSELF = {
    "local": "This target is the embedded org: it needs no login.",
    "refresh_token": "This target signs in by its refresh token; where the org rotates it, the newest is kept on this machine.",
    "sf_cli": "This target uses a login of the `sf` CLI: `sf org login` and `sf org logout` change it.",
}


class LoggedIn(Protocol):
    """What `login` found."""

    @property
    def auth(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def org(self) -> str | None: ...
    @property
    def org_id(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def instance_url(self) -> str: ...
    @property
    def place(self) -> str | None: ...


class LoggedOut(Protocol):
    """What `logout` did."""

    @property
    def auth(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def removed(self) -> bool: ...
    @property
    def revoked(self) -> bool | None: ...


def login_text(found: LoggedIn) -> str:
    """User, org, and where the login is kept."""
    lines = [
        f"Signed in as {safe(found.name)} <{safe(found.username)}>",
        f"Org: {_named(found)}, {safe(found.instance_url)}",
    ]
    if found.place is not None:
        lines.append(f"The login is kept in {safe(found.place)}")
    elif found.auth == "oauth":
        lines.append("The login that is kept works; `sfsync login --force` makes a new one.")
    else:
        lines.append(_by_itself(found.auth))
    return "\n".join(lines) + "\n"


def _named(found: LoggedIn) -> str:
    return found.org_id if found.org is None else f"{safe(found.org)} ({found.org_id}), {found.kind}"


def logout_text(found: LoggedOut) -> str:
    """What was removed and revoked."""
    if not found.host:
        return f"{_by_itself(found.auth)}\n"
    if not found.removed:
        return f"No login to {safe(found.host)} is kept on this machine.\n"
    who = f" of {safe(found.username)}" if found.username else ""
    revoked = "revoked at the org and " if found.revoked else ""
    return f"The login{who} to {safe(found.host)} was {revoked}removed from this machine.\n"


def _by_itself(auth: str) -> str:
    return BY_ITSELF.get(
        auth, f"This target signs in by itself (auth: {auth}): nothing is kept on this machine."
    )
