"""`sfsync compile`, and the compiling that every other command begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sfsync.compiler.manifest import Manifest
from sfsync.compiler.stored import AskedColumns, AskedEnv, KeptManifest, build, env_digests, key_of, new_salt
from sfsync.compiler.surroundings import OrgView, Surroundings
from sfsync.contract import Contract
from sfsync.errors import WarehouseError
from sfsync.jobs.kept import keep, read_kept
from sfsync.jobs.org_contract import known_contract
from sfsync.jobs.seeds import load_seeds
from sfsync.jobs.session import Options, Session
from sfsync.project.selector import select
from sfsync.state import contracts


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What `sfsync compile` made."""

    manifest: Manifest
    syncs: tuple[str, ...]  # those that the selection names, parents first
    path: str  # the folder of compiled SQL
    contract: str | None = None  # the file in git that fields were checked against


def compile_command(options: Options) -> CompileResult:
    """Compile without asking the org: with its contract in git, else with its cached describe when there is one."""
    with Session(options, "compile") as session:
        file = session.contract_file
        if file is not None:
            manifest = compile_session(session, file.contract, asked=True, anew=True, file=file.name)
        else:
            cached = contracts.load(session.store) if session.state_path.exists() else None
            manifest = compile_session(session, cached, anew=True)
        names = selected_names(session, manifest)
        write_compiled(session, manifest)
        folder = str(session.workspace.target / "compiled")
        return CompileResult(manifest, names, folder, file.name if file is not None else None)


def selected_names(session: Session, manifest: Manifest) -> tuple[str, ...]:
    """The syncs that --select and --exclude leave, parents first."""
    refs = {model.name: model.refs for model in manifest.models}
    tags = {model.name: model.tags for model in manifest.models}
    graph = session.facts.graph.with_models(refs, tags)
    chosen = select(graph, session.options.select, session.options.exclude)
    return tuple(outline.name for outline in manifest.outlines if outline.name in chosen)


def compile_session(
    session: Session,
    contract: Contract | None,
    *,
    asked: bool = False,
    anew: bool = False,
    file: str | None = None,
) -> Manifest:
    """Compile the session's project against its warehouse and, when it is known, the org's contract.

    A compile that was kept is used where all that it was made of is the same.

    Args:
        asked: the org was asked for every object in use, so one that is not in the contract does not exist.
        anew: compile in any case.
        file: the contract's file in git, if it is one.
    """
    seeds = load_seeds(session)
    around = Surroundings(
        dialect=session.warehouse.dialect,
        catalog=session.catalog,
        columns_of=session.warehouse.columns,
        org=OrgView(contract, whole=asked, file=file) if contract is not None else None,
        target=session.target_facts(),
        env=session.options.env,
        seeds=seeds,
    )
    key = key_of(session.kept_facts.digest, session.options.vars, around)
    name = f"targets/{session.target.target}" + (".without-org" if contract is None else "")
    if key is None:
        return _compile(session, around)
    found = None if anew else read_kept(KeptManifest, session.private, name)
    if found is not None and found.holds(key, around.env):
        if found.env or session.options.vars:
            # What a model took from there may be one of them: registered before anything is shown.
            _ = session.credentials
        if _answers_stand(session, found):
            return found.manifest
    env, columns_of = AskedEnv(around.env), AskedColumns(around.columns_of)
    manifest = _compile(session, replace(around, env=env, columns_of=columns_of))
    salt = new_salt()
    answers = {outline.name: columns_of.of(outline.sql) for outline in manifest.outlines}
    kept = KeptManifest(build(), key, salt, env_digests(env.names, around.env, salt), answers, manifest)
    keep(session.root, session.private, session.kept_facts, name, kept)
    return manifest


def _compile(session: Session, around: Surroundings) -> Manifest:
    from sfsync.compiler.compile import compile_project  # late: Jinja and parsers are a second to import

    _ = session.credentials  # registered before an error can show what a model wrote
    return compile_project(session.project, around)


def _answers_stand(session: Session, kept: KeptManifest) -> bool:
    """Whether the warehouse still says the same of each selected sync's SELECT: a view or a file can change unseen."""
    sql = {outline.name: outline.sql for outline in kept.manifest.outlines}
    try:
        names = selected_names(session, kept.manifest)
        return all(session.warehouse.columns(sql[name]) == kept.columns.get(name) for name in names)
    except WarehouseError:
        return False  # the compile says where


def compile_for_sending(session: Session, *, max_age: timedelta | None) -> Manifest:
    """Compile against the org's contract, asking the org where nothing, or nothing fresh enough, is known."""
    known = known_contract(session, max_age=max_age)
    manifest = compile_session(session, known.contract, asked=True, file=known.file)
    write_compiled(session, manifest)
    return manifest


def write_compiled(session: Session, manifest: Manifest) -> None:
    """Leave target/compiled/ and manifest.json."""
    from sfsync.compiler.manifest_json import Header, compiled_files, manifest_text

    session.workspace.write_artifacts("compiled", compiled_files(manifest))
    header = Header(session.run_id, session.clock.now(), session.target.target)
    session.workspace.write_artifact("manifest.json", manifest_text(manifest, header))
