"""`sfsync logout`: the login that is kept on this machine ends."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.errors import SfsyncError
from sfsync.jobs.session import Options, Session
from sfsync.salesforce.browser import revoke

KEPT = ("oauth", "refresh_token")
"""Ways to sign in of which something is kept on this machine."""


@dataclass(frozen=True, slots=True)
class LogoutResult:
    """What became of the login. revoked: None when there was nothing to revoke."""

    auth: str
    host: str
    username: str
    removed: bool
    revoked: bool | None
    problem: str | None  # why it could not be revoked


def logout_command(options: Options) -> LogoutResult:
    """Revoke the login at the org and remove it from this machine, even if the org cannot be reached."""
    with Session(options, "logout") as session:
        given = session.target.sign_in
        if given is None or given.auth not in KEPT:
            auth = given.auth if given is not None else "local"
            return LogoutResult(auth, "", "", False, None, None)
        login, logins = session.login(given), session.logins
        name = logins.name_of(login)
        with logins.alone(name):
            kept, revoked, problem = None, None, None
            try:
                kept = logins.find(name)
                if kept is not None:
                    revoke(login, session.desk(given), kept.refresh_token)
                    revoked = True
            except SfsyncError as error:
                revoked, problem = False, str(error)
            removed = logins.drop(name)
        username = kept.username if kept is not None else ""
        return LogoutResult(given.auth, login.host, username, removed, revoked, problem)
