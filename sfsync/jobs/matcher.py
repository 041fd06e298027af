"""Asks this session's org for the keys that a sync's snapshot does not know."""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.errors import ApiLimitError
from sfsync.jobs.session import Session


class Matcher:
    """A `diff.changes.Match` over the session's connection, which is made when the first key is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, sync: CompiledSync, keys: str, into: str) -> int | None:
        from sfsync.match import ask, match  # with HTTP, which a plan without new keys does without

        session = self._session
        if not sync.match:
            return match.assume(session.db, sync, keys, into)
        if session.options.offline:
            return None
        try:
            org = ask.Org(session.door, session.db, session.clock, session.events, session.spool)
            return match.match(org, sync, keys, into)
        except ApiLimitError as error:
            session.events.log(
                "warning", f"{sync.name}: the org was not asked for its new keys: {error.what}"
            )
            return None
