"""The org's contract as a file in git: where a target has it, reading and writing it.

Owns:      which file belongs to a target (ADR 14), and what is said of one that cannot be read.
Does not:  ask the org (schema_pull does) or decide when the file counts (org_contract).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfsync.contract import Contract, from_json, to_file
from sfsync.errors import SpecError, Where
from sfsync.ports import write_private, writing

if TYPE_CHECKING:
    from sfsync.jobs.target import TargetFacts

FOLDER = "schema"


@dataclass(frozen=True, slots=True)
class ContractFile:
    """A contract that was read from its file. name: as people see it, relative to the project where it can be."""

    contract: Contract
    name: str


def contract_path(root: Path, target: TargetFacts) -> Path | None:
    """Where the target's contract is kept; None for a local org that is itself made from the file of that name."""
    default = root / FOLDER / f"{target.target}.json"
    if not target.is_local:
        return Path(target.org_schema) if target.org_schema is not None else default
    return None if target.org_schema is not None and Path(target.org_schema) == default else default


def shown(root: Path, path: Path) -> str:
    """The path as messages name it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def read_contract(root: Path, target: TargetFacts) -> ContractFile | None:
    """The target's contract; None when it has no file.

    Raises:
        SpecError: the file cannot be read, or is no contract.
    """
    path = contract_path(root, target)
    if path is None:
        return None
    name = shown(root, path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise SpecError("not UTF-8", where=Where(name), fix=_ANEW) from None
    except OSError as error:
        fix = "make it readable, or move it away"
        raise SpecError(f"cannot be read: {error.strerror}", where=Where(name), fix=fix) from None
    try:
        return ContractFile(from_json(text, path=name), name)
    except SpecError as error:
        raise SpecError(error.what, where=error.where, fix=error.fix or _ANEW) from None


_ANEW = "resolve the merge if it comes of one, else make the file anew: sfsync schema pull"


def write_contract(path: Path, contract: Contract) -> bool:
    """Write the file if it would change; whether it did.

    Raises:
        SfsyncError: it cannot be written.
    """
    text = to_file(contract)
    try:
        if path.read_text("utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, text, mode=0o644)
    return True
