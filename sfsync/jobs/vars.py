"""The value of `--vars`, for everybody who calls a job."""

from __future__ import annotations

from typing import Any

from sfsync.project.load import parse_vars


def read_vars(text: str) -> dict[str, Any]:
    """Read a map in YAML or JSON.

    Raises:
        SpecError: it is something else.
    """
    return parse_vars(text)
