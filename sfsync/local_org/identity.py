"""Who a local org is: its Id, its administrator, and the credentials that open it.

Owns:      identity.json in the org's folder, made once and kept through resets.
Does not:  check credentials (auth) or hold records (store).
Invariant: the org Id of a folder never changes, because a state of sfsync is bound to it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from sfsync.errors import OrgError
from sfsync.local_org import ids
from sfsync.ports import write_private

FILE = "identity.json"
_HEX62 = ids.ALPHABET


@dataclass(frozen=True, slots=True)
class Identity:
    """What is printed by `sfsync org start` and asked for by the token endpoint."""

    org_id: str
    instance: str  # two characters inside every Id of this org
    user_id: str
    client_id: str
    client_secret: str
    username: str
    password: str
    security_token: str


def open_identity(folder: Path) -> Identity:
    """Read the folder's identity, or make one at first start."""
    path = folder / FILE
    if not path.exists():
        identity = _new()
        write_private(path, json.dumps(asdict(identity), indent=1) + "\n")
        return identity
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise OrgError(
            f"{path} is damaged", fix=f"delete the folder {folder} to begin with a new local org"
        ) from None


def _random(length: int) -> str:
    return "".join(secrets.choice(_HEX62) for _ in range(length))


def _new() -> Identity:
    instance = _random(2)
    return Identity(
        org_id=ids.make_id("00D", instance, secrets.randbelow(62**5)),
        instance=instance,
        user_id=ids.make_id("005", instance, 1),
        client_id=f"3MVG9{_random(40)}",
        client_secret=secrets.token_hex(32).upper(),
        username="admin@local.sfsync.example",
        password=_random(16),
        security_token=_random(24),
    )
