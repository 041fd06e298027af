"""`sfsync login` and `sfsync logout`: who works in the org from this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.errors import AuthError, SfsyncError
from sfsync.jobs.session import Options, Session
from sfsync.jobs.target import SignIn
from sfsync.salesforce.browser import log_in, revoke
from sfsync.salesforce.describe import fetch_org, fetch_user
from sfsync.salesforce.login import Login
from sfsync.salesforce.logins import Kept

KEPT = ("oauth", "refresh_token")
"""Ways to sign in of which something is kept on this machine."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Who is signed in, and where."""

    auth: str  # local for the embedded org
    name: str
    username: str
    org: str
    org_id: str
    kind: str  # sandbox | production
    instance_url: str
    place: str | None  # of a login that was just made


@dataclass(frozen=True, slots=True)
class LogoutResult:
    """What became of the login. revoked: None when there was nothing to revoke."""

    auth: str
    host: str
    username: str
    removed: bool
    revoked: bool | None
    problem: str | None  # why it could not be revoked


def login_command(
    options: Options, *, force: bool, show: Callable[[str], None], timeout_s: float = 300.0
) -> LoginResult:
    """Sign in as the target says, by a browser where it says `oauth`; whatever the way, say who that is.

    Args:
        force: sign in anew although there is a login.
        show: opens the page whose address it is given, or tells it.

    Raises:
        AuthError: refused, or nobody is there to use a browser.
    """
    with Session(options, "login") as session:
        given, place = session.target.sign_in, None
        if given is not None and given.auth == "oauth":
            place = _by_browser(session, given, force, show, timeout_s)
        door = session.open_door()
        user, org = fetch_user(door), fetch_org(door)
        return LoginResult(
            auth=given.auth if given is not None else "local",
            name=user.name,
            username=user.username,
            org=org.name,
            org_id=org.org_id,
            kind="sandbox" if org.sandbox else "production",
            instance_url=org.instance_url,
            place=place,
        )


def _by_browser(
    session: Session, given: SignIn, force: bool, show: Callable[[str], None], timeout_s: float
) -> str | None:
    """Where the new login is kept; None if the one that is there works."""
    login, desk = session.login(given), session.desk(given)
    before = None if force else _kept(session, login)
    if before is not None:
        try:
            _ = session.open_door().token
            return None
        except AuthError as error:
            if error.code != "invalid_grant":
                raise
            session.events.log("info", f"the login that is kept does not work any more: {error.what}")
    if session.options.env.get("CI") == "true":
        raise AuthError(
            "nobody can use a browser in CI (the environment says CI=true)",
            fix="sign in there with `auth: jwt` or `auth: client_credentials`",
        )
    old = _kept(session, login, lenient=True)
    made = log_in(login, desk, session.logins, show=show, timeout_s=timeout_s)
    if old is not None and old.refresh_token != made.kept.refresh_token:
        try:
            revoke(login, desk, old.refresh_token)
        except SfsyncError as error:
            session.events.log("warning", f"the login before this one could not be revoked: {error}")
    return made.place


def _kept(session: Session, login: Login, *, lenient: bool = False) -> Kept | None:
    """The login that is kept. lenient: one that cannot be read is none."""
    try:
        return session.logins.find(session.logins.name_of(login))
    except AuthError:
        if not lenient:
            raise
        return None


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
