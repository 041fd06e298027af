"""What a user has allowed: codes that are about to be exchanged, and refresh tokens.

Owns:      both, and the file that keeps refresh tokens (as digests) beyond the process.
Does not:  answer requests (grants, authorize_routes).
Invariant: a code works once and for quarter of an hour; of a family of refresh tokens only the newest works, and one
           that was replaced ends its family when it comes back.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sfsync.local_org.ids import ALPHABET
from sfsync.ports import write_private

CODE_S = 900.0
FILE = "consents.json"


@dataclass(frozen=True, slots=True)
class Consent:
    """What one authorization code stands for."""

    client_id: str
    redirect_uri: str
    challenge: str  # of PKCE; "" for none
    scope: str
    at: float


@dataclass(frozen=True, slots=True)
class Family:
    """One consent's refresh tokens. newest, older: digests."""

    number: str
    scope: str
    newest: str
    older: tuple[str, ...] = ()


class Consents:
    """All that the org's user has allowed."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._path, self._now = folder / FILE, now
        self._lock = threading.Lock()
        self._codes: dict[str, Consent] = {}
        self._families = _read(self._path)

    def allow(self, client_id: str, redirect_uri: str, challenge: str, scope: str) -> str:
        """A code for what the user has just allowed."""
        code = _random(40)
        with self._lock:
            self._codes[code] = Consent(client_id, redirect_uri, challenge, scope, self._now())
        return code

    def exchange(self, code: str) -> Consent | None:
        """What the code stands for; it is used up by being asked for."""
        with self._lock:
            found = self._codes.pop(code, None)
        return found if found is not None and self._now() - found.at <= CODE_S else None

    def begin(self, scope: str) -> tuple[str, str]:
        """The first refresh token of a new family, and the family's number."""
        token = f"5Aep861{_random(80)}"
        with self._lock:
            family = Family(secrets.token_hex(8), scope, _digest(token))
            self._families[family.number] = family
            self._write()
        return token, family.number

    def family_of(self, token: str) -> Family | None:
        """The family whose newest token this is. One that was replaced ends the family: somebody has copied it."""
        digest = _digest(token)
        with self._lock:
            for family in list(self._families.values()):
                if digest == family.newest:
                    return family
                if digest in family.older:
                    del self._families[family.number]
                    self._write()
        return None

    def rotate(self, family: Family) -> str:
        """The next token of a family; the one before works no more."""
        token = f"5Aep861{_random(80)}"
        with self._lock:
            older = (*family.older, family.newest)
            self._families[family.number] = Family(family.number, family.scope, _digest(token), older)
            self._write()
        return token

    def lives(self, number: str) -> bool:
        """Whether a family has not ended; its access tokens end with it."""
        return number in self._families

    def end(self, token: str) -> bool:
        """End the family of a refresh token; whether there was one."""
        digest = _digest(token)
        with self._lock:
            found = [f.number for f in self._families.values() if digest in (f.newest, *f.older)]
            for number in found:
                del self._families[number]
            if found:
                self._write()
        return bool(found)

    def forget(self) -> None:
        """End everything."""
        with self._lock:
            self._codes.clear()
            self._families.clear()
            self._write()

    def _write(self) -> None:
        write_private(self._path, json.dumps([asdict(family) for family in self._families.values()]))


def _read(path: Path) -> dict[str, Family]:
    try:
        found = [Family(**{**item, "older": tuple(item["older"])}) for item in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {family.number: family for family in found}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
