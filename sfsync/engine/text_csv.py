"""CSV files that the org wrote, as relations of text.

Owns:      their header and the statement that reads them.
Does not:  know what a cell means.
"""

from __future__ import annotations

from pathlib import Path

from sfsync.engine.dialect import quote_literal as literal

_MOST_HEADER = 1_000_000  # bytes


def header(path: Path) -> list[str]:
    """Column names of a file. API names hold no commas or quotes of their own."""
    with path.open("rb") as handle:
        line = handle.readline(_MOST_HEADER).decode("utf-8", "replace").rstrip("\r\n")
    return [name.strip('"') for name in line.split(",")]


def relation(path: Path) -> str:
    """A file as a relation: every cell as text; blank quoted cells are blank, not null."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header(path))
    return (
        f"read_csv({literal(str(path))}, header=true, all_varchar=true, delim=',', quote='\"', escape='\"',"
        " nullstr='\\x00', auto_detect=false, null_padding=false, parallel=false, max_line_size=2500000,"
        f" columns={{{columns}}})"
    )
