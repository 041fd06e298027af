"""What PostgreSQL and its driver say, as errors a user can act on.

Owns:      taking the driver's wrapping off a message, and the next step for the common causes.
Does not:  connect or run anything.
Invariant: no statement and no password stands in a message.
"""

from __future__ import annotations

import re

from sfsync.connections import PostgresSettings
from sfsync.errors import WarehouseError

_SERVER = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(?P<text>[^\n]+)")
_HINT = re.compile(r"^HINT:\s+(?P<text>[^\n]+)", re.MULTILINE)
_LOST = ("08", "57P")

_CONNECT_FIXES = (
    ("Connection refused", "start the server, or check host and port in profiles.yml"),
    ("could not translate host name", "check `host` in profiles.yml"),
    ("timeout expired", "check host, port and firewall, or raise `connect_timeout`"),
    ("No such file or directory", "check `host`: it is read as the folder of the server's socket"),
    ("password authentication failed", "check `user` and `password` in profiles.yml"),
    ("no password supplied", "give `password` in profiles.yml, or a .pgpass file"),
    ("role ", "check `user` in profiles.yml"),
    ("database ", "check `dbname` in profiles.yml"),
    ("no pg_hba.conf entry", "ask the server's administrator to allow this host, user and database"),
    ("SSL", "check `sslmode` and `sslrootcert` in profiles.yml"),
    ("certificate", "check `sslmode` and `sslrootcert` in profiles.yml"),
)


def connect_error(settings: PostgresSettings, message: str) -> WarehouseError:
    """The server could not be reached, or refused the user."""
    text = re.sub(r"^[A-Z_]+: (\[libpq\] )?(Failed to connect: )?", "", message.strip())
    server = _SERVER.search(text)
    reason = (
        server["text"] if server else _first_line(re.sub(r"^connection to server .*? failed: ", "", text))
    )
    fix = next((fix for part, fix in _CONNECT_FIXES if part in text), "check the warehouse in profiles.yml")
    return WarehouseError(
        f"PostgreSQL at {settings.host}:{settings.port}, database '{settings.dbname}', user '{settings.user}',"
        f" cannot be reached: {reason}",
        fix=fix,
    )


def query_error(message: str, sqlstate: str | None) -> WarehouseError:
    """The server refused a statement, or went away during it."""
    server = _SERVER.search(message)
    lost = (sqlstate or "").startswith(_LOST) or "server closed the connection" in message
    if lost or "no connection to the server" in message:
        reason = server["text"] if server else "the server closed the connection"
        return WarehouseError(f"the connection to PostgreSQL was lost: {reason}", fix="run again")
    hint = _HINT.search(message)
    if server is None:
        bare = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", message.strip())
        return WarehouseError(f"PostgreSQL: {_first_line(bare)}")
    if sqlstate == "42501":
        return WarehouseError(server["text"], fix="grant the right to the user of this profile")
    return WarehouseError(server["text"], fix=hint["text"] if hint else None)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].strip() if text.strip() else "no reason given"
