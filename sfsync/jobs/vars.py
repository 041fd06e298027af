"""The value of `--vars`, for everybody who calls a job."""

from __future__ import annotations

from typing import Any


def read_vars(text: str) -> dict[str, Any]:
    """Read a map in YAML or JSON.

    Raises:
        SpecError: it is something else.
    """
    if not text.strip():
        return {}
    from sfsync.project.load import parse_vars  # late: with every spec of a project

    return parse_vars(text)
