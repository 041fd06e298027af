"""What to say about a name that does not exist.

Owns:      the `fix` of unknown names.
Does not:  decide that a name is wrong, or what is near (yaml_text).
"""

from __future__ import annotations

from collections.abc import Iterable

from sfsync.yaml_text import nearest

_LISTED = 12


def suggest(name: str, names: Iterable[str], *, kind: str) -> str:
    """A `fix` for an unknown name: the nearest one, else a list of those that exist.

    kind: plural of what is named, e.g. "columns".
    """
    known = sorted(set(names), key=str.lower)
    close = nearest(name, known)
    if close is not None:
        return close
    if not known:
        return f"there are no {kind}"
    shown = ", ".join(known[:_LISTED])
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{kind}: {shown}{more}"
