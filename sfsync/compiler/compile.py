"""From a Project to a Manifest.

Owns:      the order of the steps, and each sync's way through them.
Does not:  do any step itself (models, compose, fields, syncs do), open a connection, or write a file.
Invariant: everything wrong that one pass can see is reported at once; a Manifest that is returned can be run.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler.cascades import below, with_takes
from sfsync.compiler.compose import Composed, Input, compose, input_columns, is_plain_scan, open_star
from sfsync.compiler.fields import Resolved, resolve, used_columns
from sfsync.compiler.jinja import unknown_source
from sfsync.compiler.manifest import (
    Api,
    CompiledSync,
    Manifest,
    Mode,
    OnGone,
    OnLimit,
    OnRemoved,
    SyncOutline,
)
from sfsync.compiler.models import Models, compile_models
from sfsync.compiler.names import suggest
from sfsync.compiler.options import check_options, options_of, order_columns, together_of
from sfsync.compiler.position import place
from sfsync.compiler.problems import Problems
from sfsync.compiler.sql import SqlFault, Statement, TableUse, read_condition
from sfsync.compiler.surroundings import Surroundings
from sfsync.compiler.syncs import Relatives, check_shared, fingerprint, guards_of, relate, sync_levels
from sfsync.compiler.wire import PROJECTION
from sfsync.compiler.writable import refuse_object
from sfsync.errors import CompileError, WarehouseError, Where
from sfsync.project.project import Project, SyncFile
from sfsync.records import Column, ResultsPlace


@dataclass(frozen=True, slots=True)
class _SyncUnit:
    """A sync on its way: what it reads, the columns it uses, and its rules when the org is known."""

    file: SyncFile
    input: Input
    used: tuple[Column, ...]
    order_by: tuple[Column, ...]
    composed: Composed
    resolved: Resolved | None


def compile_project(project: Project, around: Surroundings) -> Manifest:
    """Compile a project against a warehouse and, when it is known, an org.

    Without an org, or for a sync whose object nobody has described yet, the manifest has the sync's outline and no
    CompiledSync, and a warning says so.

    Raises:
        CompileError: the first thing wrong; the rest are its `others`.
    """
    problems = Problems(warnings=list(project.warnings))
    models = compile_models(project, around, problems)
    relatives = relate(project.syncs, around.org, problems)
    rows, relatives = sync_levels(project.syncs, relatives, around.org, problems)
    check_shared(project.syncs, problems)
    units = {}
    for sync in project.syncs:
        unit = _compile_sync(sync, project, models, around, problems)
        if unit is not None:
            units[sync.name] = unit
    problems.stop()
    if around.org is None:
        problems.warn("fields are not checked: nothing is known of the org yet; `sfsync debug` asks it")
    names = [name for row in rows for name in row]
    return Manifest(
        project=project.spec.name,
        models=tuple(unit.compiled for unit in models.units.values()),
        syncs=with_takes(
            [
                _finish(units[n], resolved, models, relatives[n], project.spec.timezone, around)
                for n in names
                if (resolved := units[n].resolved) is not None
            ]
        ),
        warnings=tuple(problems.warnings),
        levels=rows,
        outlines=tuple(_outline(units[n], relatives[n]) for n in names),
    )


def _compile_sync(
    sync: SyncFile, project: Project, models: Models, around: Surroundings, problems: Problems
) -> _SyncUnit | None:
    refused = refuse_object(sync, problems)
    check_options(sync, problems)
    item = _input(sync, project, models, around, problems)
    if item is None:
        return None
    _warn_about_models(sync, item, models, problems)
    quote = around.dialect.ident
    try:
        all_columns = input_columns(item, models, around.columns_of, quote, sync.name)
    except CompileError as error:
        problems.add(error)
        return None
    used = used_columns(sync, all_columns, problems)
    order_by = order_columns(sync, all_columns, problems)
    resolved = None
    if around.org is not None and not refused:
        resolved = resolve(sync, used, around.org, problems)
    distinct = tuple({c.name: c for c in (*used.values(), *order_by)}.values())
    select = ", ".join(quote(c.name) for c in distinct) or "*"
    where = item.where.sql if item.where is not None else None
    composed = compose(models, item.ancestors, select, item.relation, where, quote)
    try:
        around.columns_of(composed.sql)  # a name that two columns have is only refused when it is used
    except WarehouseError as error:
        problems.error(
            f"sync '{sync.name}' cannot be read: {error.what}", sync.value_where("model"), fix=error.fix
        )
    return _SyncUnit(sync, item, distinct, order_by, composed, resolved)


def _input(
    sync: SyncFile, project: Project, models: Models, around: Surroundings, problems: Problems
) -> Input | None:
    """What the sync reads; None with an error when there is no such thing."""
    at = sync.value_where("model")
    source, name = sync.spec.source, sync.spec.model
    raw: TableUse | None = None
    if source is not None:
        relation = models.relations.sources.get(source)
        if relation is None:
            problems.add(unknown_source(*source, models.relations.sources, at))
            return None
        raw = _source_use(project, source, around)
        models.known.check(raw, (), lambda _: at, problems)
        model = None
    else:
        model = name if name in models.units else None
        relation = models.relations.refs.get(name)
        if relation is None or (model is None and name not in project.seed_by_name):
            disabled = name in project.model_by_name
            problems.error(
                f"model '{name}' is disabled by config(enabled=false)"
                if disabled
                else f"there is no model '{name}'",
                at,
                fix=None if disabled else suggest(name, models.relations.refs, kind="models and seeds"),
            )
            return None
    where_at = sync.value_where("where") if sync.spec.where is not None else at
    filter_ = _filter(sync, models, around, where_at, problems)
    if filter_ is None:
        return None
    condition, refs = filter_
    needed = [*([model] if model is not None else []), *(r for r in refs if r in models.units)]
    return Input(model, raw, relation, models.ancestors(needed), condition, where_at)


def _source_use(project: Project, source: tuple[str, str], around: Surroundings) -> TableUse:
    table = project.source_by_name[source]
    return TableUse(table.identifier, table.schema, table.database or around.catalog.database, True, 0)


def _filter(
    sync: SyncFile, models: Models, around: Surroundings, at: Where, problems: Problems
) -> tuple[Statement | None, tuple[str, ...]] | None:
    """The sync's `where`, rendered and parsed, with the models it refs; None when it is wrong."""
    text = sync.spec.where
    if text is None:
        return None, ()
    first = at.line or 1
    try:
        rendered = models.renderer.render(str(at.path), text, first_line=first)
        statement = read_condition(rendered.sql, around.dialect.sqlglot, rendered.refs)
    except CompileError as error:
        problems.add(error)
        return None
    except SqlFault as fault:
        problems.error(f"where: {fault.what}", at, fix=fault.fix)
        return None
    for use in statement.tables:
        models.known.check(use, rendered.refs, lambda _: at, problems)
    for name, _ in statement.volatile:
        problems.warn(f"where: {name} changes between runs, so rows may come and go", at)
    return statement, rendered.refs


def _warn_about_models(sync: SyncFile, item: Input, models: Models, problems: Problems) -> None:
    for name in item.ancestors:
        unit = models.units[name]
        for function, offset in unit.statement.volatile:
            where = place(unit.file.path, unit.file.text, unit.rendered, offset)
            problems.warn(f"{function} changes between runs, so unchanged rows may look changed", where)
    star = open_star(item.model, models) if item.model is not None else None
    if star is not None:
        model, table = star
        problems.warn(
            f"`select *` from raw table {table}: name the columns, so that sync '{sync.name}' does not depend on "
            "what is added there",
            Where(models.units[model].file.path),
        )


def _outline(unit: _SyncUnit, relatives: Relatives) -> SyncOutline:
    spec = unit.file.spec
    keys = [(field, item.column) for field, item in spec.identity.items()]
    mapped = [(field, item.column or "") for field, item in spec.fields.items()]
    return SyncOutline(
        name=unit.file.name,
        object=spec.object,
        model=spec.model,
        source=spec.source,
        path=unit.file.path,
        sql=unit.composed.sql,
        columns=(*keys, *mapped),
        identity=tuple(spec.identity),
        models=unit.input.ancestors,
        after=relatives.after,
        tags=spec.tags,
        description=spec.description,
        late=relatives.late,
    )


def _finish(
    unit: _SyncUnit,
    resolved: Resolved,
    models: Models,
    relatives: Relatives,
    timezone: str,
    around: Surroundings,
) -> CompiledSync:
    spec, org = unit.file.spec, around.org
    rules = resolved.identity + resolved.fields
    mode = Mode.UPSERT if spec.mode == "mirror" else Mode(spec.mode)
    # A mode that makes nothing cannot make anew what is gone.
    on_gone = OnGone(spec.on_gone)
    if not mode.creates and on_gone is OnGone.RECREATE:
        on_gone = OnGone.SKIP
    return CompiledSync(
        name=unit.file.name,
        object=resolved.object.name,
        object_label=resolved.object.label,
        model=spec.model,
        path=unit.file.path,
        sql=unit.composed.sql,
        plain_scan=is_plain_scan(unit.input, models),
        identity=resolved.identity,
        fields=resolved.fields,
        timezone=timezone,
        on_removed=OnRemoved(spec.removal.kind),
        on_gone=on_gone,
        on_limit=OnLimit(spec.on_limit),
        delete_adopted=spec.delete_adopted,
        clear_on_create=spec.clear_on_create,
        send_all=spec.push.send == "all",
        api=Api(spec.push.api),
        priority=spec.priority,
        guards=guards_of(unit.file),
        results_all=spec.results.keep == "all",
        retry_rejected_after_s=spec.retry_rejected_after.total_seconds(),
        max_wait_s=spec.push.max_wait.total_seconds(),
        max_attempts=spec.max_attempts,
        undo_exact=spec.undo == "exact",
        parents=relatives.parents,
        siblings=relatives.siblings,
        tags=spec.tags,
        fingerprint=fingerprint(resolved.object.name, rules, timezone, PROJECTION),
        late=tuple(dict.fromkeys(parent for _, parent in relatives.late)),
        removal=resolved.removal,
        options=options_of(spec.push),
        results_to=ResultsPlace(spec.results.schema_, spec.results.table) if spec.results.to else None,
        results_clear=spec.results.pii == "clear" and any(rule.pii for rule in resolved.identity),
        together=together_of(spec.push, resolved.object.name, resolved.fields),
        order_by=unit.order_by,
        mode=mode,
        match=spec.match == "unknown",
        below=below(resolved.object, org.contract) if org is not None else None,
        may_cascade=_may_cascade(spec.allow_cascade),
        inserts=mode is Mode.CREATE or not resolved.upsertable,
        verify=spec.verify,
    )


def _may_cascade(said: bool | tuple[str, ...]) -> tuple[str, ...] | None:
    """Names in small letters; None: all."""
    if isinstance(said, bool):
        return None if said else ()
    return tuple(name.lower() for name in said)
