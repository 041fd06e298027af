"""Findings of one compile, collected so that a user mends them all at once.

Owns:      the list of errors and warnings of one pass, and how several are raised as one.
Does not:  decide what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sfsync.errors import CompileError, ProjectError, Where
from sfsync.yaml_text import raise_all


@dataclass
class Problems:
    """Errors and warnings in the order in which they were found."""

    errors: list[ProjectError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, what: str, where: Where | None, *, fix: str | None = None) -> None:
        self.add(CompileError(what, where=where, fix=fix))

    def add(self, error: ProjectError) -> None:
        """Keep an error, once: syncs that share a model find the same fault."""
        if all(str(error) != str(e) for e in self.errors):
            self.errors.append(error)

    def warn(self, what: str, where: Where | None = None) -> None:
        text = f"{where}: {what}" if where is not None else what
        if text not in self.warnings:
            self.warnings.append(text)

    def stop(self) -> None:
        """Raise what was found so far, if anything was.

        Raises:
            CompileError: the first finding; the rest are its `others`.
        """
        raise_all(self.errors)
