"""From a project folder to a Project: finds the files, reads them, and reports all that is wrong at once.

Owns:      which files belong to a project, unique names, and the project's defaults put into each sync.
Does not:  render Jinja, parse SQL, or connect to anything.
Invariant: every finding carries its file (relative to the project folder), line and column.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sfsync.errors import InternalError, ProjectError, SpecError, Where
from sfsync.project.files import PROJECT_FILE, Paths, walk
from sfsync.project.load_tables import load_seeds, load_sources
from sfsync.project.project import MacroFile, ModelFile, Project, SeedFile, SourceTable, SyncFile
from sfsync.project.spec import ProjectSpec, SyncSpec, is_model_name
from sfsync.yaml_models import entries, validated, validated_value
from sfsync.yaml_text import Document, decode, nearest, parse_yaml, raise_all, read_yaml

_YAML = (".yml", ".yaml")


def load_project(root: Path, *, vars: Mapping[str, Any] | None = None) -> Project:
    """Read a project folder.

    Args:
        root: the folder that holds sfsync_project.yml.
        vars: the command line's variables; they win over the project's.

    Raises:
        SpecError: what is wrong first; further findings of the same pass are in its `others`.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 (resolve() would follow links and change what messages show)
    findings: list[ProjectError] = []
    document, spec = _load_spec(root)
    folders = _Folders(root, document, spec.target_path)
    models = _load_models(folders.files("model-paths", spec.model_paths, (".sql",)), findings)
    sources = load_sources(folders.documents("model-paths", spec.model_paths, findings), findings)
    macros = _load_macros(folders.files("macro-paths", spec.macro_paths, (".sql",)), findings)
    csv = folders.files("seed-paths", spec.seed_paths, (".csv",))
    seeds = load_seeds(csv, folders.documents("seed-paths", spec.seed_paths, findings), findings)
    syncs = _load_syncs(folders.documents("sync-paths", spec.sync_paths, findings), document, findings)
    _check_model_names(models, seeds, findings)
    if not findings:  # a model that could not be read must not be called unknown
        _check_sync_models(syncs, models, seeds, sources, findings)
    raise_all(findings)
    return Project(
        root,
        spec,
        syncs,
        models,
        macros,
        sources,
        seeds,
        {**spec.vars, **(vars or {})},
        document,
        folders.warnings(),
    )


def project_paths(root: Path) -> Paths:
    """Where the project's files stand, by its project file alone.

    Raises:
        SpecError: there is none, or it is wrong.
    """
    _, spec = _load_spec(root)
    folders = {
        "model-paths": spec.model_paths,
        "macro-paths": spec.macro_paths,
        "seed-paths": spec.seed_paths,
        "sync-paths": spec.sync_paths,
    }
    return Paths(spec.target_path, folders)


def parse_vars(text: str) -> dict[str, Any]:
    """Read the value of `--vars`, a map in YAML or JSON.

    Raises:
        SpecError: it is something else.
    """
    data = parse_yaml(text, "--vars").data
    if data is None:
        return {}
    glued = _glued(data)
    if glued is not None:
        name, _, value = glued.partition(":")
        raise SpecError(
            f"--vars: YAML reads '{glued}' as a name, since no blank follows the colon",
            fix=f"write {{{name}: {value}}}",
        )
    if not isinstance(data, dict):
        raise SpecError("--vars must be a map", fix="for example --vars '{dirty: true}'")
    return data


def _glued(data: Any) -> str | None:
    """The first text such as ``a:1`` that stands where a name and its value were meant."""
    if isinstance(data, str):
        return data if re.match(r"\w+:\S", data) else None
    if not isinstance(data, dict):
        return None
    for name, value in data.items():
        if value is None and ":" in str(name):
            return str(name)
        found = _glued(value) if isinstance(value, dict) else None
        if found is not None:
            return found
    return None


# The project file


def _load_spec(root: Path) -> tuple[Document, ProjectSpec]:
    path = root / PROJECT_FILE
    if not path.is_file():
        raise _no_project(root)
    document = _without_plus(read_yaml(path, PROJECT_FILE))
    if document.data is None:
        raise SpecError(
            f"{PROJECT_FILE} is empty", where=Where(PROJECT_FILE), fix="it needs name, version and profile"
        )
    spec, findings = validated(ProjectSpec, document, owner="the project")
    raise_all(findings)
    if spec is None:
        raise InternalError("a project file without findings gave no project")
    return document, spec


def _no_project(root: Path) -> SpecError:
    if not root.exists():
        return SpecError(f"the folder {root} does not exist", fix="check --project-dir")
    if not root.is_dir():
        return SpecError(f"{root} is not a folder", fix="give --project-dir the project's folder")
    if (root / "sfsync_project.yaml").is_file():
        return SpecError(f"no {PROJECT_FILE} in {root}", fix=f"rename sfsync_project.yaml to {PROJECT_FILE}")
    above = next((p for p in root.parents if (p / PROJECT_FILE).is_file()), None)
    if above is not None:
        fix = f"the project is in {above}: use --project-dir {os.path.relpath(above, root)}"
        return SpecError(f"no {PROJECT_FILE} in {root}", fix=fix)
    fix = "start a project with `sfsync init PATH`, or name its folder with --project-dir"
    return SpecError(f"no {PROJECT_FILE} in {root}", fix=fix)


def _without_plus(document: Document) -> Document:
    """Read dbt's `+nulls` among the sync defaults as `nulls`."""
    defaults = document.get("syncs")
    if not isinstance(defaults, dict) or not any(key.startswith("+") for key in defaults):
        return document
    bare: dict[str, Any] = {}
    for key, value in defaults.items():
        name = key.removeprefix("+")
        if name in bare:
            where = document.where("syncs", key)
            raise SpecError(f"the project: 'syncs' has both '{name}' and '+{name}'", where=where)
        bare[name] = value

    def moved(places: Mapping[tuple[str | int, ...], tuple[int, int]]) -> dict[Any, tuple[int, int]]:
        return {
            (loc[0], str(loc[1]).removeprefix("+"), *loc[2:])
            if loc[:1] == ("syncs",) and loc[1:]
            else loc: place
            for loc, place in places.items()
        }

    data = {**document.data, "syncs": bare}
    return Document(document.path, data, moved(document.keys), moved(document.values))


# Files


class _Folders:
    """The files below the project's folders, each once, in the order of their paths."""

    def __init__(self, root: Path, document: Document, target: str) -> None:
        self._root, self._document, self._target = root, document, target
        self._listed: dict[str, list[Path]] = {}
        self._missing: list[str] = []

    def files(
        self, key: str, folders: tuple[str, ...], endings: tuple[str, ...]
    ) -> Iterator[tuple[Path, str]]:
        """Path and shown path of every file with one of these endings."""
        if key not in self._listed:
            found = {p: None for i, f in enumerate(folders) for p in self._walk(key, i, f)}
            self._listed[key] = sorted(found)
        for path in self._listed[key]:
            if path.suffix.lower() in endings:
                yield path, self._shown(path)

    def documents(self, key: str, folders: tuple[str, ...], findings: list[ProjectError]) -> list[Document]:
        """Every YAML file that can be read and is not empty; what is wrong with others goes to `findings`."""
        out = []
        for path, shown in self.files(key, folders, _YAML):
            try:
                document = read_yaml(path, shown)
            except SpecError as error:
                findings.append(error)
                continue
            if document.data is None:
                self._missing.append(f"{shown} is empty")
            else:
                out.append(document)
        return out

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._missing)

    def _walk(self, key: str, index: int, folder: str) -> Iterator[Path]:
        found = walk(str(self._root), folder, self._target)
        if found is None:
            if key in self._document.data:
                self._missing.append(
                    f"{self._document.where(key, index)}: the folder '{folder}' does not exist"
                )
            return
        yield from map(Path, found)

    def _shown(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()


def _read_text(path: Path, shown: str) -> str:
    try:
        return decode(path.read_bytes(), shown)
    except OSError as error:
        raise SpecError(f"cannot read the file: {error.strerror}", where=Where(shown)) from None


def _load_models(files: Iterable[tuple[Path, str]], findings: list[ProjectError]) -> tuple[ModelFile, ...]:
    out = []
    for path, shown in files:
        if not is_model_name(path.stem):
            fix = "rename the file: letters, digits and _ only, not starting with a digit"
            findings.append(
                SpecError(f"'{path.stem}' is not a valid model name", where=Where(shown), fix=fix)
            )
            continue
        try:
            out.append(ModelFile(path.stem, shown, _read_text(path, shown)))
        except SpecError as error:
            findings.append(error)
    return tuple(out)


def _load_macros(files: Iterable[tuple[Path, str]], findings: list[ProjectError]) -> tuple[MacroFile, ...]:
    out = []
    for path, shown in files:
        try:
            out.append(MacroFile(shown, _read_text(path, shown)))
        except SpecError as error:
            findings.append(error)
    return tuple(out)


# Syncs


def _load_syncs(
    documents: list[Document], defaults: Document, findings: list[ProjectError]
) -> tuple[SyncFile, ...]:
    out: dict[str, SyncFile] = {}
    for document in documents:
        for index in entries(document, "syncs", version=1, findings=findings):
            sync = _load_sync(document, index, defaults, findings)
            if sync is None:
                continue
            if sync.name in out:
                first = out[sync.name].where("name")
                what = f"sync '{sync.name}' is defined twice, here and at {first}"
                findings.append(SpecError(what, where=sync.where("name"), fix="rename one of them"))
            else:
                out[sync.name] = sync
    return tuple(out.values())


def _load_sync(
    document: Document, index: int, defaults: Document, findings: list[ProjectError]
) -> SyncFile | None:
    written = document.get("syncs", index)
    name = written.get("name") if isinstance(written, dict) else None
    owner = f"sync '{name}'" if isinstance(name, str) and name else f"sync {index + 1} of the file"
    spec, wrong = validated(SyncSpec, document, ("syncs", index), owner=owner)
    findings.extend(wrong)
    if spec is None:
        return None
    below = defaults.get("syncs")
    if below:  # both parts are valid by themselves, but may not go together
        owner += " with the defaults of sfsync_project.yml"
        spec, wrong = validated_value(
            SyncSpec, _merge(below, written), document, ("syncs", index), owner=owner
        )
        findings.extend(wrong)
        if spec is None:
            return None
    return SyncFile(spec, document, ("syncs", index), defaults)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults under a sync's own keys: maps key by key, tags added up, everything else the sync's."""
    out = dict(below)
    for key, value in above.items():
        if key == "tags":
            both = [*_listed(below.get(key)), *_listed(value)]
            out[key] = list(dict.fromkeys(both))
        elif key in ("guards", "push", "meta") and isinstance(value, dict):
            out[key] = {**(below.get(key) or {}), **value}
        else:
            out[key] = value
    return out


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or ())


# Names


def _check_model_names(
    models: tuple[ModelFile, ...], seeds: tuple[SeedFile, ...], findings: list[ProjectError]
) -> None:
    """One name, one relation: models and seeds share ref(), and engines do not tell case apart."""
    seen: dict[str, tuple[str, str, str]] = {}
    named = [(m.name, "model", m.path) for m in models] + [(s.name, "seed", s.path) for s in seeds]
    for name, what, path in named:
        first = seen.setdefault(name.lower(), (name, what, path))
        if first[2] != path:
            text = f"{what} '{name}' has the name of the {first[1]} '{first[0]}' in {first[2]}"
            findings.append(SpecError(text, where=Where(path), fix="rename one of the files"))


def _check_sync_models(
    syncs: tuple[SyncFile, ...],
    models: tuple[ModelFile, ...],
    seeds: tuple[SeedFile, ...],
    sources: tuple[SourceTable, ...],
    findings: list[ProjectError],
) -> None:
    names = {m.name for m in models} | {s.name for s in seeds}
    tables = {(s.source, s.name) for s in sources}
    for sync in syncs:
        model, source = sync.spec.model, sync.spec.source
        if source is None and model not in names:
            fix = nearest(model, names) or ("add models/" + model + ".sql")
            what = f"sync '{sync.name}': model '{model}' does not exist"
        elif source is not None and source not in tables:
            written = f"source('{source[0]}', '{source[1]}')"
            fix = nearest(written, {f"source('{a}', '{b}')" for a, b in tables}) or "add it to models/*.yml"
            what = f"sync '{sync.name}': {written} does not exist"
        else:
            continue
        findings.append(SpecError(what, where=sync.value_where("model"), fix=fix))
