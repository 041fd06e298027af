"""`sfsync login`: who works in the org from this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.errors import ApiLimitError, AuthError, RefusedError, SfsyncError, StateError
from sfsync.jobs.session import Options, Session
from sfsync.jobs.target import SignIn
from sfsync.salesforce.browser import log_in, revoke
from sfsync.salesforce.describe import fetch_org, fetch_user
from sfsync.salesforce.door import Door
from sfsync.salesforce.login import Login
from sfsync.salesforce.logins import Kept


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Who is signed in, and where."""

    auth: str  # local for the embedded org
    name: str
    username: str
    org: str | None  # None: not asked for, since the account has no call left for it
    org_id: str
    kind: str | None  # sandbox | production
    instance_url: str
    place: str | None  # of a login that was just made


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
        user = fetch_user(door)
        _book(session, door)
        try:
            org = fetch_org(door)
        except ApiLimitError as error:  # the sign-in itself costs no call, and is done
            session.events.log("warning", f"the org is not asked for its name: {error}")
            org = None
        return LoginResult(
            auth=given.auth if given is not None else "local",
            name=user.name,
            username=user.username,
            org=org.name if org is not None else None,
            org_id=door.token.org_id,
            kind=None if org is None else "sandbox" if org.sandbox else "production",
            instance_url=door.token.instance_url,
            place=place,
        )


def _book(session: Session, door: Door) -> None:
    """Have the one call of a login booked in the target's state, without standing in the way of who works there.

    Without a state, or with one that another process holds or another org has, the call is told and not booked.
    """
    why = "there is no state yet"
    if session.state_path.exists():
        try:
            bound = session.open_store(write=True).meta("org_id")
        except (StateError, RefusedError) as error:
            why = error.what
        else:
            if bound == door.token.org_id:
                door.use_ledger(session.ledger)
                return
            why = f"the state is of another org ({bound})" if bound else "the state is bound to no org yet"
    session.events.log("info", f"1 API call, for the org's name, is booked in no account: {why}")


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
