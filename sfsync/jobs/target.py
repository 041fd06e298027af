"""The chosen target without its secrets: what a command asks of profiles.yml before it connects to anything.

Owns:      TargetFacts, keeping them beside what they were made of, and when they may be used.
Does not:  check profiles.yml (profiles), or sign in.
Invariant: no secret is kept, nor a digest of one alone (profiles.yml and --vars are, each as a whole); of a variable that
           feeds only secrets it is kept which secret that is, and whether it is blank.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsync.compiler.stored import build, env_digests, new_salt, plain
from sfsync.jobs.kept import read_kept, write_kept
from sfsync.profiles import TARGET_NAME, find_profiles

if TYPE_CHECKING:
    from sfsync.ports import Environment
    from sfsync.profiles import Profile


@dataclass(frozen=True, slots=True)
class SignIn:
    """How to sign in to a Salesforce org, but for the secrets."""

    auth: str
    login_url: str
    names: Mapping[str, str]  # client_id and username, where profiles.yml itself has them
    settings: Mapping[str, str]  # what else the way to sign in needs
    ca_file: str | None
    api_version: str | None


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """One target of one profile, checked; paths are absolute."""

    profile: str
    target: str
    path: str  # the profiles.yml it comes from
    threads: int
    memory_limit: str | None
    warehouse: str  # duckdb | postgres
    database: str | None  # the DuckDB file
    org_schema: (
        str | None
    )  # the file of the embedded org's objects; of another org, its contract if profiles.yml names it
    sign_in: SignIn | None  # None: the embedded org
    daily_calls: int | None
    keep_calls: int | None  # api_limit.keep_free as calls, or as a share
    keep_share: float | None
    sources: Mapping[str, str] | None
    """The variable that a setting is the value of, by its place, e.g. ``org.client_secret``; None: read profiles.yml."""

    @property
    def is_local(self) -> bool:
        """Whether the org is the embedded one."""
        return self.sign_in is None


@dataclass(frozen=True, slots=True)
class KeptTarget:
    """A target's facts, and what they were made of."""

    build: str
    key: str
    salt: str
    env: Mapping[str, str | None]  # variable -> digest of its value
    filled: Mapping[str, bool]  # variable that feeds secrets only -> it is set and not empty
    facts: TargetFacts


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line and a project say about the target."""

    root: Path
    profile: str
    target: str | None
    profiles_dir: Path | None
    env: Environment
    vars: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        """The file that keeps the answer; None when nothing is kept for such a target."""
        if self.target is None:
            return "profile"
        return f"profiles/{self.target}" if TARGET_NAME.fullmatch(self.target) else None

    def key(self) -> str | None:
        """A digest over what the target's facts are made of, but for the environment."""
        path = find_profiles(self.root, profiles_dir=self.profiles_dir, env=self.env)
        if not plain(self.vars):
            return None
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return None  # reading it whole says why
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        body = [str(self.root), str(path), content, self.profile, self.target, self.vars, home]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def find_target(asked: Asked, private: Path) -> TargetFacts | None:
    """The facts that were kept, when profiles.yml and all it reads are as they were.

    Raises:
        ProfileError: there is no profiles.yml.
    """
    key = asked.key()
    kept = read_kept(KeptTarget, private, asked.name) if key is not None and asked.name is not None else None
    if kept is None or kept.key != key:
        return None
    same = env_digests(kept.env, asked.env, kept.salt) == kept.env
    return kept.facts if same and all(bool(asked.env.get(n)) == v for n, v in kept.filled.items()) else None


def keep_target(asked: Asked, private: Path, key: str | None, profile: Profile) -> TargetFacts:
    """Make the facts of a profile that was just read, and keep them. key: of `asked`, from before it was read."""
    facts = facts_of(profile)
    if key is None or asked.name is None or asked.key() != key:
        return facts
    salt = new_salt()
    shown = [name for name, secret in profile.asked.items() if not secret]
    filled = {name: bool(asked.env.get(name)) for name, secret in profile.asked.items() if secret}
    kept = KeptTarget(build(), key, salt, env_digests(shown, asked.env, salt), filled, facts)
    write_kept(kept, private, asked.name)
    return facts


def facts_of(profile: Profile) -> TargetFacts:
    """A profile without its secrets."""
    from sfsync.connections import DuckDBSettings, LocalOrg

    org, warehouse = profile.org, profile.warehouse
    sign_in, daily, keep = None, None, None
    if not isinstance(org, LocalOrg):
        sources = profile.sources
        written = (
            {} if sources is None else {n: v for n, v in org.credentials.items() if f"org.{n}" not in sources}
        )
        sign_in = SignIn(
            auth=org.auth,
            login_url=org.login_url,
            names=written,
            settings=org.settings,
            ca_file=_text(org.ca_file),
            api_version=org.api_version,
        )
        daily, keep = org.api_limit.daily_calls, org.api_limit.keep_free
    return TargetFacts(
        profile=profile.name,
        target=profile.target,
        path=str(profile.path),
        threads=profile.threads,
        memory_limit=profile.memory_limit,
        warehouse=warehouse.type,
        database=_text(warehouse.path) if isinstance(warehouse, DuckDBSettings) else None,
        org_schema=_text(org.schema_),
        sign_in=sign_in,
        daily_calls=daily,
        keep_calls=None if isinstance(keep, float) else keep,
        keep_share=keep if isinstance(keep, float) else None,
        sources=profile.sources,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
