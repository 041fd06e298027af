"""Nearest valid names, for messages that say what the user probably meant.

Owns:      one way to guess and one way to say it.
Does not:  decide that a name is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 12


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The closest of `names`, compared without case; None when nothing is close."""
    by_folded = {n.lower(): n for n in names}
    found = get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggest(name: str, names: Iterable[str], *, kind: str) -> str:
    """A `fix` for an unknown name: the nearest one, else a list of those that exist.

    kind: plural of what is named, e.g. "columns".
    """
    known = sorted(set(names), key=str.lower)
    close = nearest(name, known)
    if close is not None:
        return f"did you mean '{close}'?"
    if not known:
        return f"there are no {kind}"
    shown = ", ".join(known[:_LISTED])
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{kind}: {shown}{more}"
