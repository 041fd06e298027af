"""All models of a project: rendered once, parsed once, checked against each other and the catalog.

Owns:      ModelUnit and Models, the order of models, tables that do not exist, raw names that mean a model.
Does not:  ask the warehouse anything; the catalog is a value.
Invariant: a unit's `compiled.sql` is the user's text, rendered; nothing is generated from a syntax tree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sfsync.compiler.graph import CycleError, ancestors, ordered
from sfsync.compiler.jinja import Relations, Rendered, Renderer
from sfsync.compiler.manifest import CompiledModel
from sfsync.compiler.names import suggest
from sfsync.compiler.position import place
from sfsync.compiler.problems import Problems
from sfsync.compiler.sql import SqlFault, Statement, TableUse, read_select
from sfsync.compiler.surroundings import Surroundings, Tables
from sfsync.errors import CompileError, Where
from sfsync.project.project import ModelFile, Project, SourceTable
from sfsync.yaml_text import nearest

_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_ENGINE_SCHEMAS = frozenset({"information_schema", "pg_catalog", "temp", "system"})
_ENGINE_TABLES = ("pg_", "duckdb_", "sqlite_")

Placed = Callable[[int], Where]
"""An offset in a statement's text, as a place in the user's file."""


@dataclass(frozen=True, slots=True)
class ModelUnit:
    """One model on its way: the file, what Jinja made of it, and what was found in the SQL."""

    file: ModelFile
    rendered: str
    statement: Statement
    compiled: CompiledModel

    def where(self, offset: int) -> Where:
        return place(self.file.path, self.file.text, self.rendered, offset)

    def line(self, line: int) -> Where:
        """The place of a line of the compiled SQL."""
        lines = self.rendered.split("\n")
        offset = sum(len(text) + 1 for text in lines[: line - 1])
        return Where(self.file.path, place(self.file.path, self.file.text, self.rendered, offset).line)


@dataclass(frozen=True)
class Models:
    """The project's models in dependency order, and how to render more SQL in their terms."""

    units: Mapping[str, ModelUnit]
    order: Mapping[str, int]
    renderer: Renderer
    relations: Relations
    known: KnownTables

    def ancestors(self, names: Iterable[str]) -> tuple[str, ...]:
        """These models and all that they ref, in order; seeds left out."""
        needs = {name: unit.compiled.refs for name, unit in self.units.items()}
        needs[""] = tuple(names)
        return tuple(n for n in ancestors("", needs, {**self.order, "": -1}) if n)


@dataclass(frozen=True, slots=True)
class KnownTables:
    """Judges whether a table that a statement names is there, as far as the catalog can tell."""

    catalog: Tables
    models: frozenset[str]
    seeds: frozenset[tuple[str, ...]]  # relations of seeds, in lower case
    folded: frozenset[tuple[str, str]]
    names: frozenset[str]

    def is_view(self, use: TableUse) -> bool:
        """Whether a raw table is a view, or one that the catalog cannot tell about."""
        key = ((use.schema or self.catalog.default_schema).lower(), use.name.lower())
        parts = tuple(p.lower() for p in (use.catalog, use.schema, use.name) if p)
        if parts in self.seeds:
            return False
        return key not in self.folded or key in {(s.lower(), n.lower()) for s, n in self.catalog.views}

    def check(self, use: TableUse, refs: Iterable[str], where: Placed, problems: Problems) -> None:
        """Report a table that is a model by its name, or that does not exist."""
        bare = use.schema is None and use.catalog is None
        if bare and use.quoted and use.name in refs:
            return
        model = self._model(use.name) if bare else None
        if model is not None:
            problems.error(
                f"'{use.name}' is a model of this project",
                where(use.offset),
                fix=f"write {{{{ ref('{model}') }}}}, or the raw table with its schema",
            )
        elif not self._exists(use):
            problems.error(
                f"the warehouse has no table '{use.text}'",
                where(use.offset),
                fix=self._fix(use),
            )

    def _model(self, name: str) -> str | None:
        return next((m for m in self.models if m.lower() == name.lower()), None)

    def _exists(self, use: TableUse) -> bool:
        """Whether it is there; where only the engine can tell (another catalog, its search path, a file), yes."""
        name = use.name.lower()
        parts = tuple(p.lower() for p in (use.catalog, use.schema, use.name) if p)
        if parts in self.seeds or "/" in name or re.search(r"\.(csv|parquet|json|gz)$", name):
            return True
        if use.catalog is not None and use.catalog.lower() != (self.catalog.database or "").lower():
            return True
        if use.schema is None:
            return name in self.names or name.startswith(_ENGINE_TABLES)
        schema = use.schema.lower()
        if schema in _ENGINE_SCHEMAS or (schema, name) in self.folded:
            return True
        database = (self.catalog.database or "").lower()  # DuckDB reads `a.b` as catalog.table too
        return schema == database and (self.catalog.default_schema.lower(), name) in self.folded

    def _fix(self, use: TableUse) -> str:
        """The nearest table: first in the schema that was meant, then anywhere."""
        schema = use.schema or self.catalog.default_schema
        there = [name for s, name in self.catalog.tables if s.lower() == schema.lower()]
        close = nearest(use.name, there)
        if close is not None:
            return close if use.schema is None else close.replace("'", f"'{use.schema}.", 1)
        if there and use.schema is not None:
            return suggest(use.name, there, kind=f"tables of {schema}")
        everywhere = [f"{s}.{name}" for s, name in self.catalog.tables]
        return suggest(f"{schema}.{use.name}", everywhere, kind="tables")


def compile_models(project: Project, around: Surroundings, problems: Problems) -> Models:
    """Render, parse and check every model.

    Raises:
        CompileError: a macro, a model or the graph is wrong; everything found is in it and its `others`.
    """
    relations = _relations(project, around)
    macros = [(m.path, m.text) for m in project.macros]
    renderer = Renderer(
        macros,
        relations,
        project=project.spec.name,
        variables=project.vars,
        env=around.env,
        target=around.target,
    )
    rendered = _render(project, renderer, problems)
    needs = {name: item.refs for name, item in rendered.items()}
    order = _order(project, needs, problems)
    units = _read(project, rendered, around.dialect.sqlglot, problems)
    problems.stop()
    models = Models(
        {name: units[name] for name in order},
        {name: i for i, name in enumerate(order)},
        renderer,
        relations,
        _known(project, around, frozenset(units)),
    )
    for unit in models.units.values():
        for use in unit.statement.tables:
            models.known.check(use, unit.compiled.refs, unit.where, problems)
    problems.stop()
    return models


def _relations(project: Project, around: Surroundings) -> Relations:
    quote = around.dialect.ident
    refs = {seed.name: around.seeds.get(seed.name, quote(seed.name)) for seed in project.seeds}
    refs |= {model.name: quote(model.name) for model in project.models}
    sources = {(t.source, t.name): _source_sql(t, around) for t in project.sources}
    return Relations(refs, sources)


def _source_sql(table: SourceTable, around: Surroundings) -> str:
    parts = (table.database or around.catalog.database, table.schema, table.identifier)
    return ".".join(around.dialect.ident(part) for part in parts if part)


def _render(project: Project, renderer: Renderer, problems: Problems) -> dict[str, Rendered]:
    """Every enabled model's Rendered; a ref to a disabled one is reported."""
    out: dict[str, Rendered] = {}
    disabled: set[str] = set()
    for model in project.models:
        try:
            item = renderer.render(model.path, model.text)
        except CompileError as error:
            problems.add(error)
            continue
        if item.config.get("enabled", True) is False:
            disabled.add(model.name)
            continue
        out[model.name] = item
        if item.ignored_config:
            keys = ", ".join(item.ignored_config)
            problems.warn(
                f"config({keys}) has no effect: sfsync builds nothing, models are inlined", Where(model.path)
            )
    for name, item in out.items():
        for ref in item.refs:
            if ref in disabled:
                path = project.model_by_name[name].path
                problems.error(f"ref('{ref}'): that model is disabled by config(enabled=false)", Where(path))
    return out


def _order(project: Project, needs: Mapping[str, tuple[str, ...]], problems: Problems) -> tuple[str, ...]:
    try:
        return ordered(needs)
    except CycleError as error:
        problems.error(
            f"models ref each other in a circle: {error}",
            Where(project.model_by_name[error.path[0]].path),
            fix="take one ref() out of the circle",
        )
        return tuple(needs)


def _read(
    project: Project, rendered: Mapping[str, Rendered], dialect: str, problems: Problems
) -> dict[str, ModelUnit]:
    out = {}
    for model in project.models:
        item = rendered.get(model.name)
        if item is None:
            continue
        try:
            statement = read_select(item.sql, dialect, item.refs)
        except SqlFault as fault:
            where = place(model.path, model.text, item.sql, fault.offset)
            problems.error(fault.what, where, fix=fault.fix)
            continue
        out[model.name] = ModelUnit(model, item.sql, statement, _compiled(model, item, statement))
    return out


def _compiled(model: ModelFile, item: Rendered, statement: Statement) -> CompiledModel:
    tags = item.config.get("tags", ())
    return CompiledModel(
        name=model.name,
        path=model.path,
        sql=statement.sql,
        refs=item.refs,
        sources=item.sources,
        digest=hashlib.sha256(statement.sql.encode()).hexdigest(),
        tags=(tags,) if isinstance(tags, str) else tuple(str(t) for t in tags),
        description=str(item.config.get("description", "")),
    )


def _known(project: Project, around: Surroundings, models: frozenset[str]) -> KnownTables:
    folded = frozenset((schema.lower(), name.lower()) for schema, name in around.catalog.tables)
    seeds = (around.seeds.get(seed.name, around.dialect.ident(seed.name)) for seed in project.seeds)
    return KnownTables(
        around.catalog,
        models,
        frozenset(_parts(relation) for relation in seeds),
        folded,
        frozenset(name for _, name in folded),
    )


def _parts(relation: str) -> tuple[str, ...]:
    return tuple((quoted.replace('""', '"') or bare).lower() for quoted, bare in _PART.findall(relation))
