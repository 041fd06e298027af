"""What rendering and parsing a project's models costs: jinja and sqlglot over the same files, nothing else.

    python -m bench.floor PROJECT

Two passes would be needed for real work (the names that a model refers to, then its SQL); this makes one: it is a floor.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import sqlglot


def main() -> None:
    """Read, render and parse every model."""
    project = Path(sys.argv[1])
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    parsed = 0
    for path in sorted((project / "models").glob("*.sql")):
        template = environment.from_string(path.read_text("utf-8"))
        text = template.render(
            ref=lambda name: name, source=lambda _, table: f"raw.{table}", var=lambda _, default=None: default
        )
        sqlglot.parse_one(text, read="duckdb")
        parsed += 1
    print(parsed)


if __name__ == "__main__":
    main()
