"""`sfsync ls`: the syncs that a selection names, without asking the org."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.jobs.compile import compile_session, selected_names
from sfsync.jobs.session import Options, Session


@dataclass(frozen=True, slots=True)
class ListedSync:
    """One selected sync."""

    name: str
    object: str
    model: str
    path: str
    parents: tuple[str, ...]
    tags: tuple[str, ...]
    description: str


def ls_command(options: Options) -> tuple[ListedSync, ...]:
    """The selected syncs, parents first."""
    with Session(options, "ls") as session:
        manifest = compile_session(session, None)
        names = selected_names(session, manifest)
        return tuple(
            ListedSync(o.name, o.object, o.model, o.path, o.after, o.tags, o.description)
            for o in manifest.outlines
            if o.name in names
        )
