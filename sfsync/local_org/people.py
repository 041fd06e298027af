"""The users of a local org: its User records, and whose request is worked on.

Owns:      Person, finding one, and the user of the request at hand.
Does not:  sign anybody in (grants), or say what a user may do (rights).
Invariant: the administrator is always there, whatever happened to the records.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from sfsync.local_org.identity import Identity
from sfsync.local_org.store import Store, table

CURRENT: ContextVar[str | None] = ContextVar("user", default=None)
"""The Id of the user whose request this thread or task works on; None: the administrator."""

_FIELDS = ("Id", "Username", "FirstName", "LastName", "Email", "Alias")


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the identity service shows it."""

    user_id: str
    username: str
    first_name: str
    last_name: str
    email: str
    alias: str

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


class People:
    """The users that may sign in."""

    def __init__(self, store: Store, identity: Identity) -> None:
        self._store = store
        self.administrator = Person(
            identity.user_id, identity.username, "Local", "Admin", identity.username, "admin"
        )

    def by_name(self, username: str) -> Person | None:
        """The user of that name, whatever its case; active or not."""
        if username.lower() == self.administrator.username:
            return self.administrator
        return self._find("Username", username)

    def names(self) -> list[str]:
        """The first user names, for a message."""
        sobject = self._store.contract.object("User")
        if sobject is None or not (sobject.field("Username") and sobject.field("IsActive")):
            return [self.administrator.username]
        with self._store.reading() as cursor:
            found = cursor.execute(
                f"SELECT Username FROM {table('User')} WHERE IsDeleted = 'false' AND IsActive = 'true' ORDER BY Id LIMIT 10"
            ).fetchall()
        return [str(name) for (name,) in found]

    def by_id(self, user_id: str) -> Person | None:
        """The user of that Id."""
        if user_id == self.administrator.user_id:
            return self.administrator
        return self._find("Id", user_id)

    def _find(self, field: str, value: str) -> Person | None:
        sobject = self._store.contract.object("User")
        if sobject is None or sobject.field(field) is None or not value:
            return None
        cells = ", ".join(f if sobject.field(f) is not None else "NULL" for f in _FIELDS)
        same = "Id = ?" if field == "Id" else "lower(Username) = lower(?)"
        statement = f"SELECT {cells} FROM {table('User')} WHERE {same} AND IsDeleted = 'false'"
        with self._store.reading() as cursor:
            found = cursor.execute(statement, [value]).fetchall()
        return Person(*(str(cell or "") for cell in found[0])) if found else None
