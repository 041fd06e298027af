"""A place of the library `keyring` that a test can look into: entries as lines of a file, for one process after another."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class FileRing(KeyringBackend):
    """Named by PYTHON_KEYRING_BACKEND; its file by RING_FILE. A file that holds `locked` or `broken` cannot be used."""

    priority = 5  # type: ignore[assignment]

    def _entries(self) -> dict[str, str]:
        path = Path(os.environ["RING_FILE"])
        text = path.read_text() if path.exists() else "{}"
        if text == "locked":
            raise KeyringLocked("the keyring is locked")
        if text == "broken":
            raise OSError("the bus is gone")
        found: dict[str, str] = json.loads(text)
        return found

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        entries = self._entries() | {f"{service} {username}": password}
        Path(os.environ["RING_FILE"]).write_text(json.dumps(entries))

    def delete_password(self, service: str, username: str) -> None:
        entries = self._entries()
        if entries.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError("not there")
        Path(os.environ["RING_FILE"]).write_text(json.dumps(entries))
