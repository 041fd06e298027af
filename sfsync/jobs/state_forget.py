"""`sfsync state forget SYNC [KEY...]`: what the state knows of a sync, or of single records, is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.jobs.session import Options, Session
from sfsync.state import care


@dataclass(frozen=True, slots=True)
class StateForgetResult:
    """What was dropped, and what the next plan does about it. whole: all of the sync."""

    sync: str
    whole: bool
    records: int
    tombstones: int
    refused: int
    then: str


def state_forget_command(
    options: Options, sync: str, keys: Sequence[str] = (), *, gone: bool = False, unanswered: bool = False
) -> StateForgetResult:
    """Drop a sync's snapshot and refused rows, or single records; the org is not touched.

    Args:
        gone: only what is known of records that are gone.
        unanswered: with all of a sync, its requests that have no answer.

    Raises:
        StateError: nothing stands under this name, or a key is not there.
        RefusedError: a request of the sync is open.
    """
    with Session(options, "state forget") as session:
        store = session.open_existing(write=True)
        there = sync in {item.name for item in session.facts.graph.syncs}
        if gone:
            count = care.forget_gone(store, sync)
            return StateForgetResult(
                sync, False, 0, count, 0, _then(there, "those of them that are in the model")
            )
        if keys:
            records, refused = care.forget_keys(store, sync, keys)
            return StateForgetResult(sync, False, records, 0, refused, _then(there, "them"))
        found = care.forget(store, sync, unanswered=unanswered)
        then = _then(there, "every row of the model")
        return StateForgetResult(sync, True, found.records, found.tombstones, found.refused, then)


def _then(there: bool, which: str) -> str:
    if not there:
        return "The sync is not in the project, so no plan looks at it; its records stay in the org."
    return (
        f"The next plan treats {which} as new: upserted by external id, records that the org has are adopted and the"
        " others created. `on_removed` never deletes an adopted record."
    )
