"""`sfsync seed`, and the loading of seeds that compile begins with."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.engine.seeds import Seed
from sfsync.jobs.session import Options, Session


@dataclass(frozen=True, slots=True)
class SeedResult:
    """Which seeds were read, and how many there are."""

    loaded: tuple[str, ...]
    total: int


def seed_command(options: Options) -> SeedResult:
    """Load every seed anew."""
    with Session(options, "seed") as session:
        loaded = _load(session, force=True)
        return SeedResult(loaded, len(session.facts.seeds))


def load_seeds(session: Session) -> dict[str, str]:
    """Load seeds whose file moved; return the SQL of each seed's relation."""
    _load(session, force=False)
    return {seed.name: session.warehouse.seed_relation(seed.name) for seed in session.facts.seeds}


def _load(session: Session, *, force: bool) -> tuple[str, ...]:
    values = [
        Seed(
            seed.name,
            session.root / seed.path,
            seed.path,
            seed.columns,
            seed.column_types,
            seed.digest,
        )
        for seed in session.facts.seeds
    ]
    return session.warehouse.load_seeds(values, session.db, make=force)
