"""profiles.yml: where it is looked for, the environment it reads, and the one target that is used.

Owns:      the search, env_var() and var() in values, and the chosen target as a Profile.
Does not:  know the keys of a target (connections), or connect to anything.
Invariant: only the chosen target is rendered and checked; its secrets are registered before anything can fail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sfsync.errors import InternalError, ProfileError, ProjectError, Where, register_secret
from sfsync.ports import Environment
from sfsync.yaml_text import Document, Loc, kind, nearest, raise_all, read_yaml

if TYPE_CHECKING:  # pydantic and the models of all connections: to look for the file takes none of them
    from pydantic import BaseModel

    from sfsync.connections import Org, Warehouse

PROFILES_FILE = "profiles.yml"
SECRETS = frozenset(
    {"password", "client_secret", "security_token", "access_token", "refresh_token", "private_key"}
)
_NAMES = frozenset({"client_id", "username"})
TARGET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}")
_Model = TypeVar("_Model", bound="BaseModel")


@dataclass(frozen=True)
class Profile:
    """One target of one profile, rendered and checked; paths are absolute."""

    name: str
    target: str
    warehouse: Warehouse
    org: Org
    threads: int  # requests to the org at one time
    memory_limit: str | None  # of the run's own DuckDB, as DuckDB writes it
    path: Path  # the profiles.yml it comes from
    places: Document = field(repr=False)  # where keys stand; holds no values
    asked: Mapping[str, bool] = field(default_factory=dict, repr=False)
    """Each environment variable that the target reads, and whether it is read for secrets only."""
    sources: Mapping[str, str] | None = field(default=None, repr=False)
    """Which variable's value each secret is: ``org.client_secret`` -> its name; also of users' and clients' names.

    None: one of them is put together of variables, or a secret stands in the file.
    """

    def where(self, *path: str | int) -> Where:
        """Where a key of the target stands, e.g. ``where("org", "ca_file")``."""
        return self.places.where(self.name, "outputs", self.target, *path)


def load_profile(
    project_root: Path,
    profile_name: str,
    *,
    target: str | None = None,
    profiles_dir: Path | None = None,
    env: Environment | None = None,
    vars: Mapping[str, Any] | None = None,
) -> Profile:
    """Read the profile a project names, render and check the chosen target only.

    Args:
        target: the output to use; default: the profile's own `target`.
        profiles_dir: the folder to look in, before all others.
        env: the environment; default: the process's.
        vars: what var() gives.

    Raises:
        ProfileError: no file, no such profile or target, a missing variable, or a wrong key, with its line.
    """
    env = os.environ if env is None else env
    root = Path(os.path.abspath(project_root))  # noqa: PTH100 (links stay as the user wrote them)
    path = find_profiles(root, profiles_dir=profiles_dir, env=env)
    shown = os.path.relpath(path, root) if path.is_relative_to(root) else str(path)
    document = read_yaml(path, shown, ProfileError)
    body = _profile_body(document, profile_name)
    values = _Values(document, env, vars or {})
    chosen = _choose_target(document, profile_name, body, target, values)
    loc: Loc = (profile_name, "outputs", chosen)
    _register(document.get(*loc), templates=True)
    rendered = values.render(document.get(*loc), loc)
    _register(rendered, templates=False)
    data = {profile_name: {"outputs": {chosen: rendered}}}
    checked = Document(document.path, data, document.keys, document.values)
    profile = _check_output(checked, loc, path, root)
    return replace(profile, asked=values.asked, sources=values.sources(rendered, loc))


def find_profiles(project_root: Path, *, profiles_dir: Path | None, env: Environment) -> Path:
    """The profiles.yml to use: --profiles-dir, SFSYNC_PROFILES_DIR, the project folder, ~/.sfsync.

    Raises:
        ProfileError: a folder that was named has none, or none of the others has.
    """
    variable = env.get("SFSYNC_PROFILES_DIR")
    for given, name in ((profiles_dir, "--profiles-dir"), (variable, "SFSYNC_PROFILES_DIR")):
        if given:
            path = Path(os.path.abspath(Path(given).expanduser())) / PROFILES_FILE  # noqa: PTH100
            if path.is_file():
                return path
            raise ProfileError(
                f"no {PROFILES_FILE} in {path.parent}, the folder of {name}", fix=f"check {name}"
            )
    home = Path(env.get("HOME") or Path.home())
    for folder in (project_root, home / ".sfsync"):
        if (folder / PROFILES_FILE).is_file():
            return folder / PROFILES_FILE
    raise ProfileError(
        f"no {PROFILES_FILE} in {project_root} or {home / '.sfsync'}",
        fix="write one, or name its folder with --profiles-dir or SFSYNC_PROFILES_DIR",
    )


def _profile_body(document: Document, name: str) -> dict[str, Any]:
    if not isinstance(document.data, dict):
        what = f"{PROFILES_FILE} must be a map of profiles, found {kind(document.data)}"
        raise ProfileError(what, where=document.where())
    if name not in document.data:
        fix = nearest(name, document.data) or f"profiles there: {', '.join(document.data)}"
        what = f"the profile '{name}', which sfsync_project.yml names, does not exist"
        raise ProfileError(what, where=Where(document.path), fix=fix)
    body = document.data[name]
    findings: list[ProjectError] = []
    if not isinstance(body, dict):
        what = f"the profile '{name}' must be a map with 'target' and 'outputs', found {kind(body)}"
        raise ProfileError(what, where=document.where(name))
    for key in body:
        if key not in ("target", "outputs"):
            fix = nearest(key, ("target", "outputs")) or "valid keys: target, outputs"
            what = f"profile '{name}': unknown key '{key}'"
            findings.append(ProfileError(what, where=document.where(name, key), fix=fix))
    raise_all(findings)
    if not isinstance(body.get("outputs"), dict) or not body["outputs"]:
        what = f"profile '{name}': 'outputs' must be a map with at least one target"
        raise ProfileError(what, where=document.where(name, "outputs"))
    return body


def _choose_target(
    document: Document, name: str, body: dict[str, Any], target: str | None, values: _Values
) -> str:
    outputs = body["outputs"]
    where = Where(document.path)
    if target is None:
        target = values.render(body.get("target"), (name, "target"))
        where = document.value_where(name, "target") if "target" in body else document.where(name)
        if target is None and len(outputs) == 1:
            target, where = str(next(iter(outputs))), document.where(name, "outputs")
    if not isinstance(target, str):
        what = f"profile '{name}' does not say which target to use"
        fix = f"add target: with one of {', '.join(outputs)}, or give --target"
        raise ProfileError(what, where=where, fix=fix)
    if not TARGET_NAME.fullmatch(target):  # it names the state's file
        fix = "letters, digits, _ and - only, 60 characters at most"
        raise ProfileError(f"profile '{name}': '{target}' cannot be a target's name", where=where, fix=fix)
    if target not in outputs:
        fix = nearest(target, outputs) or f"targets there: {', '.join(outputs)}"
        raise ProfileError(f"profile '{name}' has no target '{target}'", where=where, fix=fix)
    return target


class _Values:
    """Renders env_var() and var() in texts; Jinja is imported only when a text needs it."""

    def __init__(self, document: Document, env: Environment, variables: Mapping[str, Any]) -> None:
        self._document, self._env, self._vars = document, env, variables
        self.asked: dict[str, bool] = {}
        self._asked_at: dict[Loc, set[str]] = {}

    def sources(self, rendered: Any, loc: Loc) -> dict[str, str] | None:
        """`Profile.sources` of the output below `loc`."""
        found: dict[str, str] = {}
        for place, value in _filled(rendered, SECRETS | _NAMES):
            names = self._asked_at.get((*loc, *place), set())
            if len(names) == 1 and self._env.get(min(names)) == value:
                found[".".join(place)] = min(names)
            elif names or place[-1] in SECRETS:
                return None
        return found

    def render(self, value: Any, loc: Loc) -> Any:
        if isinstance(value, dict):
            return {k: self.render(v, (*loc, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.render(v, (*loc, i)) for i, v in enumerate(value)]
        if not isinstance(value, str) or ("{{" not in value and "{%" not in value):
            return value
        return self._render_text(value, loc)

    def _render_text(self, text: str, loc: Loc) -> str:
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def env_var(name: str, default: str | None = None) -> str:
            self.asked[name] = loc[-1] in SECRETS and self.asked.get(name, True)
            self._asked_at.setdefault(loc, set()).add(name)
            found = self._env.get(name, default)
            if found is None:
                raise ProfileError(
                    f"the environment variable {name} is not set",
                    where=where,
                    fix=f"set {name}, or give a default: env_var('{name}', '...')",
                )
            return str(found)

        def var(name: str, default: Any = None) -> Any:
            found = self._vars.get(name, default)
            if found is None:
                fix = (
                    nearest(name, self._vars)
                    or f"set it in the project's vars or with --vars '{{{name}: ...}}'"
                )
                raise ProfileError(f"the variable '{name}' is not set", where=where, fix=fix)
            return found

        where = self._document.value_where(*loc)
        jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        try:
            return jinja.from_string(text, globals={"env_var": env_var, "var": var}).render()
        except TemplateError as error:
            fix = "a value of a profile may call env_var() and var() only"
            raise ProfileError(f"cannot render the value: {error.message}", where=where, fix=fix) from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # the message could hold the value, so it is not shown
            what = f"cannot render the value: {type(error).__name__}"
            raise ProfileError(what, where=where, fix="write {{ env_var('NAME') }}") from None


def _filled(value: Any, names: frozenset[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every filled setting of these names in an output with its place, whatever else is wrong with the output."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if key not in names or isinstance(item, dict | list):
            for place, found in _filled(item, names):
                yield (str(key), *place), found
        elif item is not None and item != "":
            yield (str(key),), str(item)


def _register(value: Any, *, templates: bool) -> None:
    """Register every secret of an output. templates: it may hold Jinja, which is no secret yet."""
    for _, secret in _filled(value, SECRETS):
        if not (templates and "{{" in secret):
            register_secret(secret)


def _check_output(document: Document, loc: Loc, path: Path, root: Path) -> Profile:
    from sfsync.connections import SIGN_INS, WAREHOUSES, LocalOrg, Org, Output, SalesforceOrg, Warehouse
    from sfsync.yaml_models import validated

    name, _, target = (str(step) for step in loc)
    output, findings = validated(Output, document, loc, owner=f"target '{target}'", error=ProfileError)
    raise_all(findings)
    at = (*loc, "warehouse")
    warehouse = _typed(document, at, "type", WAREHOUSES, findings)
    org_at = (*loc, "org")
    org: BaseModel | None
    if document.get(*org_at, "type") == "salesforce":
        org = _typed(document, org_at, "auth", SIGN_INS, findings)
    else:
        org = _typed(document, org_at, "type", {"local": LocalOrg, "salesforce": SalesforceOrg}, findings)
    raise_all(findings)
    if output is None or not isinstance(warehouse, Warehouse) or not isinstance(org, Org):
        raise InternalError(f"the target '{target}' has no findings and no value")
    places = Document(document.path, None, document.keys, document.values)
    warehouse, org = _absolute(warehouse, root), _absolute(org, root)
    return Profile(name, target, warehouse, org, output.threads, output.memory_limit, path, places)


def _typed(
    document: Document,
    loc: Loc,
    key: str,
    models: Mapping[str, type[BaseModel]],
    findings: list[ProjectError],
) -> BaseModel | None:
    """Validate by the model that the value of `key` chooses."""
    from sfsync.yaml_models import validated

    owner, chosen = f"target '{loc[-2]}': {loc[-1]}", document.get(*loc, key)
    if isinstance(chosen, str) and chosen in models:
        value, wrong = validated(models[chosen], document, loc, owner=owner, error=ProfileError)
        findings.extend(wrong)
        return value
    names = ", ".join(models)
    shown = f"'{chosen}'" if isinstance(chosen, str) else kind(chosen)
    if chosen is None:
        what, fix = f"{owner} needs the key '{key}'", f"one of {names}"
        findings.append(ProfileError(what, where=document.where(*loc), fix=fix))
    else:
        what = f"{owner}: '{key}' must be one of {names}, found {shown}"
        where = document.value_where(*loc, key)
        findings.append(ProfileError(what, where=where, fix=nearest(str(chosen), models)))
    return None


def _absolute(model: _Model, root: Path) -> _Model:
    """The same settings with every path taken from the project folder."""
    paths = {
        key: Path(os.path.normpath(root / value))
        for key in type(model).model_fields
        if isinstance(value := getattr(model, key), Path)
    }
    return model.model_copy(update=paths) if paths else model
