"""Sources and seeds: from their YAML entries and CSV headers to values.

Owns:      which raw tables may be read by source(), and which type each column of a seed has.
Does not:  walk folders (load) or load a seed's rows anywhere (engine).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from sfsync.errors import ProjectError, SpecError, Where
from sfsync.project.project import SeedFile, SourceTable
from sfsync.project.spec import is_model_name
from sfsync.project.spec_tables import SeedSpec, SourceSpec
from sfsync.yaml_models import entries, validated
from sfsync.yaml_text import Document, decode, nearest


def load_sources(documents: list[Document], findings: list[ProjectError]) -> tuple[SourceTable, ...]:
    """Every table of every source; two of one name are a finding."""
    out: dict[tuple[str, str], SourceTable] = {}
    for document in documents:
        for index in entries(document, "sources", version=2, findings=findings):
            name = document.get("sources", index, "name")
            owner = f"source '{name}'" if isinstance(name, str) else f"source {index + 1} of the file"
            spec, wrong = validated(SourceSpec, document, ("sources", index), owner=owner)
            findings.extend(wrong)
            for table in _tables(spec, document, index) if spec is not None else ():
                first = out.setdefault((table.source, table.name), table)
                if first is not table:
                    what = (
                        f"source '{table.source}' has table '{table.name}' twice, here and at {first.where}"
                    )
                    findings.append(SpecError(what, where=table.where, fix="remove one of them"))
    return tuple(out.values())


def _tables(spec: SourceSpec, document: Document, index: int) -> Iterable[SourceTable]:
    for number, table in enumerate(spec.tables):
        yield SourceTable(
            source=spec.name,
            name=table.name,
            database=spec.database,
            schema=spec.schema_ or spec.name,
            identifier=table.identifier or table.name,
            where=document.where("sources", index, "tables", number),
        )


def load_seeds(
    files: Iterable[tuple[Path, str]], documents: list[Document], findings: list[ProjectError]
) -> tuple[SeedFile, ...]:
    """Every CSV file with its header and types; an entry without its file, or a type without its column, is a finding."""
    headers: dict[str, tuple[str, tuple[str, ...], bytes]] = {}
    doubles = []
    for path, shown in files:
        header = _read_header(path, shown, findings)
        if header is None:
            continue
        if path.stem in headers:
            doubles.append(SeedFile(path.stem, shown, (), {}, "", Where(shown)))
        else:
            headers[path.stem] = (shown, *header)
    described = _described(documents, findings)
    for name, (_, place) in described.items():
        if name not in headers and not findings:
            fix = nearest(name, headers) or f"add seeds/{name}.csv, or remove the entry"
            findings.append(SpecError(f"seed '{name}' has no CSV file", where=place(), fix=fix))
    out = []
    for name, (shown, columns, raw) in headers.items():
        types: Mapping[str, str] = {}
        where = Where(shown)
        if name in described:
            spec, place = described[name]
            types, where = _column_types(name, spec, columns, place, findings), place()
        out.append(SeedFile(name, shown, columns, types, _digest(raw, types), where))
    return (*out, *doubles)  # load reports the doubles, as it does for models


class _Place:
    """Where the keys of one seed's entry stand."""

    def __init__(self, document: Document, index: int) -> None:
        self.document, self.index = document, index

    def __call__(self, *path: str | int) -> Where:
        return self.document.where("seeds", self.index, *path)


def _described(documents: list[Document], findings: list[ProjectError]) -> dict[str, tuple[SeedSpec, _Place]]:
    out: dict[str, tuple[SeedSpec, _Place]] = {}
    for document in documents:
        for index in entries(document, "seeds", version=2, findings=findings):
            name = document.get("seeds", index, "name")
            owner = f"seed '{name}'" if isinstance(name, str) else f"seed {index + 1} of the file"
            spec, wrong = validated(SeedSpec, document, ("seeds", index), owner=owner)
            findings.extend(wrong)
            if spec is None:
                continue
            place = _Place(document, index)
            if spec.name in out:
                what = f"seed '{spec.name}' is described twice, here and at {out[spec.name][1]()}"
                findings.append(SpecError(what, where=place(), fix="remove one of them"))
            else:
                out[spec.name] = (spec, place)
    return out


def _column_types(
    name: str, spec: SeedSpec, columns: tuple[str, ...], place: _Place, findings: list[ProjectError]
) -> dict[str, str]:
    written = {c.name: ("columns", i) for i, c in enumerate(spec.columns)}
    places: dict[str, tuple[str | int, ...]] = dict(written)
    places |= {c: ("config", "column_types", c) for c in spec.config.column_types}
    places |= {c: ("column_types", c) for c in spec.column_types}
    for column, path in places.items():
        if column not in columns:
            fix = nearest(column, columns) or f"columns: {', '.join(columns)}"
            what = f"seed '{name}': the CSV file has no column '{column}'"
            findings.append(SpecError(what, where=place(*path), fix=fix))
    return {c: t for c, t in spec.types.items() if c in columns}


def _read_header(
    path: Path, shown: str, findings: list[ProjectError]
) -> tuple[tuple[str, ...], bytes] | None:
    """The header's names and the file's bytes, or None and a finding."""
    try:
        raw = path.read_bytes()
        text = decode(raw, shown)
    except OSError as error:
        findings.append(SpecError(f"cannot read the file: {error.strerror}", where=Where(shown)))
        return None
    except SpecError as error:
        findings.append(error)
        return None
    columns = tuple(next(csv.reader(io.StringIO(text, newline="")), ()))
    what = _header_fault(path.stem, columns)
    if what is not None:
        findings.append(SpecError(what[0], where=Where(shown, 1), fix=what[1]))
        return None
    return columns, raw


def _header_fault(name: str, columns: tuple[str, ...]) -> tuple[str, str] | None:
    if not is_model_name(name):
        return f"'{name}' is not a valid seed name", "rename the file: letters, digits and _ only"
    if not columns:
        return f"seed '{name}' is empty", "the first line must name the columns"
    seen: dict[str, str] = {}
    for number, column in enumerate(columns, 1):
        if not column.strip():
            return f"seed '{name}': column {number} has no name", "name every column in the first line"
        if column.strip() != column:
            return (
                f"seed '{name}': the name of column {number} has blanks around it",
                f"write {column.strip()}",
            )
        if column.lower() in seen:
            return f"seed '{name}' has the column '{column}' twice", "rename one of them"
        seen[column.lower()] = column
    return None


def _digest(raw: bytes, types: Mapping[str, str]) -> str:
    """Of content and types, so that a changed type loads the seed again."""
    digest = hashlib.sha256(raw)
    digest.update(b"\0" + json.dumps(sorted(types.items())).encode())
    return digest.hexdigest()
