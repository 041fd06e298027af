"""Asks this session's org for what the state does not know: keys of a sync, and parents that its lookups name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfsync.compiler.manifest import CompiledSync
from sfsync.compiler.org_texts import RECORD_ID
from sfsync.diff.changes import Confirm, ParentQuestion
from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import ApiLimitError, OrgError
from sfsync.jobs.session import Session
from sfsync.records import FieldRule

if TYPE_CHECKING:
    from sfsync.match.ask import Org


def org_to_ask(session: Session) -> Org:
    """What asking needs, from a session; signs in."""
    from sfsync.match.ask import Org  # with HTTP, which a plan without new keys does without

    return Org(session.door, session.db, session.clock, session.events, session.spool)


class Matcher:
    """A `diff.changes.Match` over the session's connection, which is made when the first key is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, sync: CompiledSync, keys: str, into: str) -> int | None:
        from sfsync.match import match  # with HTTP, which a plan without new keys does without

        session = self._session
        if not sync.match:
            return match.assume(session.db, sync, keys, into)
        if session.options.offline:
            return None
        try:
            return match.match(org_to_ask(session), sync, keys, into)
        except ApiLimitError as error:
            session.events.log(
                "warning", f"{sync.name}: the org was not asked for its new keys: {error.what}"
            )
            return None

    @property
    def confirms(self) -> Confirm | None:
        """Nobody, with --offline: the run asks."""
        return None if self._session.options.offline else self._confirm

    def _confirm(self, sync: CompiledSync, ids: str, into: str) -> bool:
        """A `diff.changes.Confirm`."""
        try:
            self._find_by_id(sync, sync.identity, ids, into)
        except ApiLimitError as error:
            what = "the org was not asked whose the records are by now that would be deleted"
            self._session.events.log("warning", f"{sync.name}: {what}: {error.what}")
            return False
        return True

    def _find_by_id(self, sync: CompiledSync, rules: tuple[FieldRule, ...], ids: str, into: str) -> None:
        from sfsync.match import ask

        wanted = ask.Question(sync.object, (RECORD_ID,), ids, rules, name=sync.name)
        ask.find(org_to_ask(self._session), wanted, into)

    def read(self, sync: CompiledSync, rules: tuple[FieldRule, ...], ids: str, into: str) -> None:
        """A `diff.changes.Read`. What cannot be read now is left alone, and said."""
        session, why = self._session, "--offline asks nobody"
        if not session.options.offline:
            try:
                self._find_by_id(sync, rules, ids, into)
                return
            except ApiLimitError as error:
                why = error.what
        names = ", ".join(rule.field for rule in rules)
        session.events.log("warning", f"{sync.name}: {names} (write: if_blank) are left alone: {why}")
        texts = "".join(f", ''::VARCHAR AS {ident(rule.field)}" for rule in rules)
        session.db.execute(f"CREATE OR REPLACE TABLE {into} AS SELECT ''::VARCHAR AS _key{texts} LIMIT 0")

    def find_parents(self, question: ParentQuestion, into: str) -> None:
        """A `diff.changes.FindParents`. What only the org knows cannot be left open: nothing is planned without it."""
        session, rule = self._session, question.rule
        if session.options.offline:
            raise OrgError(
                f"{question.name} names records of {question.object} that only the org knows, and --offline asks nobody",
                fix="plan without --offline, or leave these rows out",
            )
        from sfsync.match import ask

        wanted = ask.Question(
            question.object, (rule,), question.keys, where=question.where, name=question.name
        )
        ask.find(org_to_ask(session), wanted, into)
