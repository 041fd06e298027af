"""Values of options that are written as in YAML files, for everybody who calls a job: `--vars`, durations."""

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


def read_duration(text: str) -> float:
    """Seconds of ``10m``, written as durations are everywhere.

    Raises:
        ValueError: it is something else.
    """
    from sfsync.project.spec_types import parse_duration  # late: with pydantic

    found = parse_duration(text)
    seconds: float = found.total_seconds()
    return seconds
