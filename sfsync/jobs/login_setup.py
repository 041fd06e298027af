"""`sfsync login --setup`: the app that the target signs in by, for the admin who makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sfsync.errors import AuthError, SfsyncError
from sfsync.jobs.session import Options, Session
from sfsync.ports import Environment
from sfsync.report.app_setup import metadata_files
from sfsync.salesforce.assertion import MAKE_KEY, certificate_of
from sfsync.salesforce.limits import NEWEST_API_VERSION

FOLDER = "setup"
"""Below target/, which is not in git."""

NOT_YET = "NOT_SET_YET"
_CALLBACK = "http://localhost:1717/OauthRedirect"  # the platform wants one, also where no browser comes back
_OWN = re.compile(r"SFSYNC_|HOME$|XDG_|APPDATA$|CI$")
_E_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class Setup:
    """What the app must be like; see report/app_setup."""

    name: str
    label: str
    target: str
    auth: str
    contact: str
    callback_url: str
    certificate: str | None
    user: str | None
    has_secret: bool
    api_version: str


@dataclass(frozen=True, slots=True)
class SetupResult:
    """The app, and the folder of its metadata."""

    setup: Setup
    folder: Path


class _Unfinished(Mapping[str, str]):
    """An environment in which what only the finished app will give has a value already."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def __getitem__(self, name: str) -> str:
        if name in self._env:
            return self._env[name]
        if _OWN.match(name):
            raise KeyError(name)
        return NOT_YET

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)


def login_setup_command(options: Options, *, run_as: str | None = None) -> SetupResult:
    """Write the metadata of the app to target/setup; asks no org, and needs no consumer key yet.

    Args:
        run_as: the user that sfsync works as; default: the profile's `username`.

    Raises:
        SfsyncError: the target signs in by no app of its own.
        AuthError: the private key, of which the certificate is made, cannot be used.
    """
    with Session(replace(options, env=_Unfinished(options.env)), "login") as session:
        given, project = session.target.sign_in, session.facts.name
        auth = given.auth if given is not None else "local"
        if given is None or auth not in ("client_credentials", "jwt", "oauth"):
            raise SfsyncError(
                f"the target '{session.target.target}' needs no app to be set up: it signs in by {auth}",
                fix="choose a target with `auth: client_credentials`, `jwt` or `oauth`: --target NAME",
            )
        login = session.login(given)
        certificate = None
        if auth == "jwt":
            try:
                certificate = certificate_of(login, session.clock.now())
            except AuthError as error:
                raise AuthError(
                    error.what, fix=f"{error.fix}. A new key: {MAKE_KEY}" if error.fix else None
                ) from None
        user = run_as or (login.username if login.username not in ("", NOT_YET) else None)
        name = re.sub(r"[^A-Za-z0-9]+", "_", f"sfsync_{project}").strip("_")[:70]
        setup = Setup(
            name=name,
            label=f"sfsync {project}"[:80],
            target=session.target.target,
            auth=auth,
            contact=user if user and _E_MAIL.fullmatch(user) else "admin@example.com",
            callback_url=login.callback_url or _CALLBACK,
            certificate=certificate,
            user=user,
            has_secret=bool(login.client_secret),
            api_version=f"{NEWEST_API_VERSION:.1f}",
        )
        files = {f"{FOLDER}/{path}": text for path, text in metadata_files(setup).items()}
        session.workspace.write_artifacts(FOLDER, files)
        return SetupResult(setup, session.workspace.target / FOLDER)
