"""Logins kept on this machine: refresh tokens, in the system's keyring or in files that only the user can read.

Owns:      where they are, their form, and that one process at a time renews one.
Does not:  talk to an org (auth).
Invariant: a kept token is on disk (or in the keyring) when `keep` returns; none is ever in a project folder; a file
           that others may read is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sfsync.errors import AuthError, SfsyncError, register_secret
from sfsync.ports import write_private
from sfsync.salesforce.login import Login, Token

FORM = 1
"""Of what is kept; raised when it changes."""

SERVICE = "sfsync"
"""The name in the keyring."""

_WAIT_S = 150.0
"""For another process that renews the same login: longer than its requests may take."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One login as it is kept."""

    login_url: str
    client_id: str
    instance_url: str
    org_id: str
    user_id: str
    username: str
    refresh_token: str = field(repr=False)
    saved_at: str

    @staticmethod
    def of(login: Login, token: Token, refresh_token: str, now: datetime, username: str = "") -> Kept:
        """What to keep of a sign-in."""
        ids = (token.instance_url, token.org_id, token.user_id)
        saved_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Kept(
            login.login_url, login.client_id, *ids, username or login.username, refresh_token, saved_at
        )


def config_folder(env: Mapping[str, str]) -> Path:
    """The user's folder for sfsync: ``$XDG_CONFIG_HOME/sfsync``, else ``~/.config/sfsync``; %APPDATA% on Windows."""
    base = env.get("APPDATA") if sys.platform == "win32" else env.get("XDG_CONFIG_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "sfsync"
    home = env.get("HOME")
    return (Path(home) if home else Path(os.path.expanduser("~"))) / ".config" / "sfsync"  # noqa: PTH111


class Logins:
    """The logins of one user on one machine."""

    def __init__(self, folder: Path, *, keyring: bool = True) -> None:
        """folder: of the files. keyring: whether the system's keyring is used where there is one."""
        self._folder = folder / "logins"
        self._asks_keyring = keyring

    @staticmethod
    def name_of(login: Login) -> str:
        """What a login is kept under: org, app, user, and the profile's own token where the org replaces it."""
        digest = hashlib.sha256(login.refresh_token.encode()).hexdigest() if login.refresh_token else ""
        whole = json.dumps([login.auth, login.login_url, login.client_id, login.username, digest])
        host = re.sub(r"[^a-z0-9.-]", "_", login.host.lower())[:80]
        return f"{host}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let no other process renew this login meanwhile: where the org rotates tokens, the slower one would use a dead one.

        Raises:
            AuthError: another process does not end.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(str(self._folder / f"{name}.lock"), timeout=_WAIT_S, mode=0o600)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock.acquire()
        except Timeout:
            raise AuthError(
                f"another process has been renewing the login to {name.rpartition('-')[0]} for {_WAIT_S:.0f} s",
                fix="wait until it has ended, or end it, and try again",
            ) from None
        except OSError:
            yield  # nothing can be kept in this folder; `keep` says so when there is something to keep
            return
        try:
            yield
        finally:
            lock.release()

    def find(self, name: str) -> Kept | None:
        """The login of this name; None if there is none.

        Raises:
            AuthError: it is damaged, of a newer sfsync, or readable by others.
        """
        found = self._in_ring(lambda ring: ring.get_password(SERVICE, name))
        if found:
            return _read(found, f"the entry '{name}' of the keyring")
        path = self._path(name)
        try:
            mode = path.stat().st_mode
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise AuthError(
                f"the login in {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}",
                fix="remove it, and sign in again: sfsync logout, sfsync login",
            ) from None
        if os.name == "posix" and mode & 0o077:
            raise AuthError(
                f"the login in {path} can be read by others (mode {mode & 0o777:o})",
                fix=f"close it (chmod 600 '{path}'); if others had access, get a new one: sfsync logout, sfsync login",
            )
        return _read(text, str(path))

    def keep(self, name: str, kept: Kept) -> str:
        """Keep a login in place of the one of this name; where it is kept, for people.

        Raises:
            AuthError: it cannot be kept anywhere.
        """
        register_secret(kept.refresh_token)
        text = json.dumps({"form": FORM, **asdict(kept)}, indent=1)
        path = self._path(name)
        if self._in_ring(lambda ring: ring.set_password(SERVICE, name, text) or True):
            path.unlink(missing_ok=True)
            return "the system's keyring"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(path, text + "\n", durable=True)
        except (OSError, SfsyncError) as error:
            raise AuthError(
                f"the org gave a refresh token, which cannot be kept in {self._folder}: {error}",
                fix="make the folder writable (XDG_CONFIG_HOME names another one), then get a new token: where the org "
                "rotates them, the one before is dead by now",
            ) from None
        return str(path)

    def drop(self, name: str) -> bool:
        """Remove a login; whether there was one.

        Raises:
            AuthError: the keyring keeps it.
        """
        in_ring = self._in_ring(lambda ring: ring.get_password(SERVICE, name)) is not None
        if in_ring:
            self._in_ring(lambda ring: ring.delete_password(SERVICE, name))
            if self._in_ring(lambda ring: ring.get_password(SERVICE, name)) is not None:
                raise AuthError(
                    f"the keyring does not let go of its entry '{name}'",
                    fix=f"remove it by hand, service '{SERVICE}'",
                )
        path = self._path(name)
        found = in_ring or path.exists()
        path.unlink(missing_ok=True)
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _in_ring(self, do: Callable[[Any], Any]) -> Any:
        """What the library `keyring` answers; None where it is not installed, or has no place that is safe and open."""
        if not self._asks_keyring:
            return None
        try:
            import keyring

            return do(keyring) if keyring.get_keyring().priority >= 1 else None
        except Exception:  # backends fail in all ways of the systems below them; a file does instead
            return None


def _read(text: str, place: str) -> Kept:
    try:
        body = json.loads(text)
        form = body.pop("form")
        newer = isinstance(form, int) and form > FORM
        kept = None if newer else Kept(**body)
        if kept is not None and not all(isinstance(value, str) for value in asdict(kept).values()):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise AuthError(
            f"the login in {place} is damaged",
            fix="remove it, and sign in again: sfsync logout, sfsync login",
        ) from None
    if kept is None:
        raise AuthError(
            f"the login in {place} was written by a newer sfsync",
            fix="install that version; or remove it, and sign in again: sfsync logout, sfsync login",
        )
    register_secret(kept.refresh_token)
    return kept
