"""A compile that was done before, as a text that can be kept, and whether it still holds.

Owns:      the form of kept facts and kept manifests, the digest of all that a compile is made of, and the record of
           what it asked of the environment and the warehouse.
Does not:  read or write a file (jobs), compile, or judge a selection.
Invariant: a kept text only ever becomes the value that was kept, or None; what it does not vouch for is compiled anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from sfsync import __version__
from sfsync.compiler.codec import CodecError, decode, encode
from sfsync.compiler.manifest import Manifest
from sfsync.compiler.surroundings import Surroundings
from sfsync.contract import to_json
from sfsync.project.facts import ProjectFacts
from sfsync.project.files import Paths
from sfsync.records import Column

FORM = 1
"""Of the kept texts; raised when they change in a way that their types do not show."""

MAX_BYTES = 256_000_000
_LIBRARIES = ("sqlglot", "jinja2", "duckdb", "pydantic")
_OURS = (
    "child_objects.py",
    "compiler",
    "project",
    "connections.py",
    "contract.py",
    "domains.py",
    "profiles.py",
    "records.py",
    "yaml_models.py",
    "yaml_text.py",
)
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class KeptFacts:
    """A project's facts, and the files they were read from."""

    build: str
    paths: Paths
    digest: str  # of these files
    facts: ProjectFacts


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """A manifest, and what it was made of."""

    build: str
    key: str
    salt: str
    env: Mapping[str, str | None]  # variable -> digest of its value; None: it was not set
    columns: Mapping[str, tuple[Column, ...]]  # sync -> what the warehouse said of its SELECT
    manifest: Manifest

    def holds(self, key: str, env: Mapping[str, str]) -> bool:
        """Whether a compile would begin with the same things. The warehouse is still to be asked."""
        return self.key == key and env_digests(self.env, env, self.salt) == self.env


def write(kept: object) -> str | None:
    """The text to keep; None for a value that would not come back as it is.

    kept: a dataclass whose first field is `build`, as the two above.
    """
    try:
        text = json.dumps(encode(kept), separators=(",", ":"))
        return text if read(type(kept), text) == kept else None
    except (CodecError, RecursionError):
        return None


def read(kind: type[_Kept], text: str) -> _Kept | None:
    """The kept value; None when the text is damaged, or of another build."""
    try:
        data = json.loads(text)
        if not isinstance(data, list) or data[:1] != [build()]:
            return None
        return decode(kind, data)
    except (ValueError, RecursionError):  # JSON's and the codec's errors are ValueErrors
        return None


# What a compile is made of


def key_of(files: str, variables: Mapping[str, Any], around: Surroundings) -> str | None:
    """A digest over everything that a compile begins with, but for the environment; None when it cannot be told.

    files: the digest of the project's files. variables: the command line's.
    """
    if not plain(variables):  # a caller of the library may hand over what JSON would make equal
        return None
    catalog, org = around.catalog, around.org
    body = [
        files,
        variables,  # in their order: a template may loop over them
        sorted(around.target.items()),
        around.dialect.name,
        [catalog.default_schema, catalog.database],
        sorted((*name, *columns) for name, columns in catalog.tables.items()),
        sorted(catalog.views),
        sorted(around.seeds.items()),
        None
        if org is None
        else [org.whole, org.file, to_json(replace(org.contract, api_version=None, fetched_at=None))],
    ]
    return hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()


def plain(value: Any) -> bool:
    """Whether a value is what YAML gives, so that its JSON stands for it alone."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(type(key) is str and plain(v) for key, v in value.items())
    if type(value) is list:
        return all(map(plain, value))
    return (
        value is None or type(value) in (str, int, bool) or (type(value) is float and not math.isnan(value))
    )


@cache
def build() -> str:
    """What compiles here: our version and code, Python, and the libraries that read templates and SQL."""
    root = Path(__file__).parents[1]
    ours = []
    for name in _OURS:
        place = root / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            found = path.stat()  # a checkout changes without its version
            ours.append([path.name, found.st_size, found.st_mtime_ns])
    body = [FORM, __version__, sys.version, ours, [_installed(name) for name in _LIBRARIES]]
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _installed(name: str) -> list[str]:
    """The name of a library's .dist-info, which holds its version; importing the library would cost more than a hit."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return []
    place = Path(spec.origin).parents[1]
    try:
        names = [item.name for item in place.iterdir()]
    except OSError:
        names = []
    found = sorted(item for item in names if item.lower().startswith((f"{name}-", f"{name}c-")))
    if not found:  # vendored, or in a checkout
        seen = Path(spec.origin).stat()
        return [spec.origin, str(seen.st_size), str(seen.st_mtime_ns)]
    return found


def new_salt() -> str:
    """A salt for the digests of one kept manifest."""
    return os.urandom(16).hex()


def env_digests(names: Iterable[str], env: Mapping[str, str], salt: str) -> dict[str, str | None]:
    """What to keep of the variables that a compile asked for: enough to see that one changed, not its value."""
    return {name: _env_digest(env.get(name), salt) for name in sorted(names)}


def _env_digest(value: str | None, salt: str) -> str | None:
    if value is None:
        return None
    return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=salt.encode()[:64]).hexdigest()


class AskedEnv(Mapping[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value: str | None = None
        try:
            value = self._env[name]
        finally:
            if isinstance(name, str):
                self.names.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)


class AskedColumns:
    """A warehouse's answers about columns, remembered by statement."""

    def __init__(self, columns_of: Callable[[str], tuple[Column, ...]]) -> None:
        self._columns_of = columns_of
        self._answers: dict[str, tuple[Column, ...]] = {}

    def __call__(self, select: str) -> tuple[Column, ...]:
        found = self._columns_of(select)
        self._answers[select] = found
        return found

    def of(self, select: str) -> tuple[Column, ...]:
        """The answer that was given already."""
        return self._answers[select]
