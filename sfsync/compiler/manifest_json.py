"""manifest.json and the compiled SQL as text, for people and programs.

Owns:      the form of target/manifest.json and the names of files under target/compiled/.
Does not:  write files, or read what it wrote.
Invariant: the same manifest and header give the same bytes; a change of form changes SCHEMA_VERSION.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sfsync import __version__
from sfsync.compiler.manifest import CompiledModel, CompiledSync, Manifest, SyncOutline
from sfsync.records import FieldRule

SCHEMA_VERSION = 1
_MASK = "***"  # as plans and results show what is personal


@dataclass(frozen=True, slots=True)
class Header:
    """Who made the manifest, when, and for which target."""

    invocation_id: str
    generated_at: datetime  # UTC
    target: str  # its name in profiles.yml


def compiled_files(manifest: Manifest) -> dict[str, str]:
    """Path below target/ -> SQL, of every model and every sync."""
    files = {_model_path(m): m.sql + "\n" for m in manifest.models}
    return files | {_sync_path(s): s.sql + "\n" for s in manifest.outlines}


def manifest_text(manifest: Manifest, header: Header) -> str:
    """manifest.json: metadata, models and syncs as dbt names them, lineage from columns to fields, and the graph."""
    project = manifest.project
    known = {s.name: s for s in manifest.syncs}
    models = {m.name for m in manifest.models}
    nodes = {f"model.{project}.{m.name}": _model(m, project, models) for m in manifest.models}
    level = {name: i for i, row in enumerate(manifest.levels) for name in row}
    syncs = {
        f"sync.{project}.{o.name}": _sync(o, known.get(o.name), project, models, level[o.name])
        for o in manifest.outlines
    }
    parents = {key: _parents(item) for key, item in (nodes | syncs).items()}
    children: dict[str, list[str]] = {
        key: [] for key in sorted({*parents, *(p for v in parents.values() for p in v)})
    }
    for key, above in parents.items():
        for parent in above:
            children[parent].append(key)
    body = {
        "metadata": {
            "schema_version": SCHEMA_VERSION,
            "artifact": "manifest",
            "sfsync_version": __version__,
            "generated_at": header.generated_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "invocation_id": header.invocation_id,
            "project_name": project,
            "target": header.target,
        },
        "nodes": nodes,
        "syncs": syncs,
        "levels": [list(row) for row in manifest.levels],
        "parent_map": parents,
        "child_map": {key: sorted(found) for key, found in children.items()},
        "warnings": list(manifest.warnings),
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _model_path(model: CompiledModel) -> str:
    return f"compiled/models/{model.name}.sql"


def _sync_path(sync: SyncOutline) -> str:
    return f"compiled/syncs/{sync.name}.sql"


def _parents(item: Mapping[str, Any]) -> list[str]:
    return [*item["depends_on"]["nodes"], *item["depends_on"].get("syncs", [])]


def _node(name: str, project: str, models: set[str]) -> str:
    return f"{'model' if name in models else 'seed'}.{project}.{name}"


def _model(model: CompiledModel, project: str, models: set[str]) -> dict[str, Any]:
    sources = [f"source.{project}.{source}.{table}" for source, table in model.sources]
    return {
        "unique_id": f"model.{project}.{model.name}",
        "resource_type": "model",
        "name": model.name,
        "description": model.description,
        "original_file_path": model.path,
        "compiled_path": _model_path(model),
        "checksum": {"name": "sha256", "checksum": model.digest},
        "tags": list(model.tags),
        "config": {"materialized": "ephemeral"},
        "refs": list(model.refs),
        "sources": [list(s) for s in model.sources],
        "depends_on": {"nodes": [_node(n, project, models) for n in model.refs] + sources},
    }


def _sync(
    outline: SyncOutline, sync: CompiledSync | None, project: str, models: set[str], level: int
) -> dict[str, Any]:
    rules = {r.field.lower(): r for r in sync.rules} if sync is not None else {}
    identity = {name.lower() for name in outline.identity}
    body: dict[str, Any] = {
        "unique_id": f"sync.{project}.{outline.name}",
        "resource_type": "sync",
        "name": outline.name,
        "description": outline.description,
        "original_file_path": outline.path,
        "compiled_path": _sync_path(outline),
        "object": sync.object if sync is not None else outline.object,
        "model": outline.model,
        "identity": list(outline.identity),
        "tags": list(outline.tags),
        "level": level,
        "checked": sync is not None,
        "depends_on": {
            "nodes": [_input(outline, project, models)],
            "syncs": [f"sync.{project}.{name}" for name in outline.after],
        },
        "late_lookups": [
            {"field": field, "sync": f"sync.{project}.{parent}"} for field, parent in outline.late
        ],
        "fields": [
            _field(name, column, name.lower() in identity, rules.get(name.lower()))
            for name, column in outline.columns
        ],
    }
    if sync is not None:
        body |= {"fingerprint": sync.fingerprint, "plain_scan": sync.plain_scan}
    return body


def _input(outline: SyncOutline, project: str, models: set[str]) -> str:
    if outline.source is not None:
        return f"source.{project}.{'.'.join(outline.source)}"
    return _node(outline.model, project, models)


def _field(name: str, column: str, identity: bool, rule: FieldRule | None) -> dict[str, Any]:
    body: dict[str, Any] = {"field": name, "column": column or None, "identity": identity}
    if rule is not None:
        body |= {
            "field": rule.field,
            "column": rule.column.name or None,
            "column_type": rule.column.type or None,
            "type": rule.type,
            "on_create": rule.on_create.value,
            "on_update": rule.on_update.value,
            "pii": rule.pii,
        }
        if rule.constant is not None:
            body["value"] = _MASK if rule.pii and rule.constant else rule.constant
        if rule.reference is not None:
            body["reference"] = rule.reference.header
    return body
