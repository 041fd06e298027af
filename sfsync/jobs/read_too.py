"""Objects that must be readable though no sync writes them: a part of `sfsync permissions`."""

from __future__ import annotations

from sfsync.contract import Contract
from sfsync.project.usage import ObjectUse, Usage

EVERYBODY = ("group", "organization", "profile", "recordtype", "user", "userrole")
"""Objects that every user reads, and that no permission set can open."""

_READ_WITH = {
    "contact": ("Account",),
    "opportunity": ("Account",),
    "contract": ("Account",),
    "order": ("Account",),
    "case": ("Account", "Contact"),
    "asset": ("Account", "Contact"),
}
"""Standard objects whose reading the platform grants only together with that of others."""


def read_too(usage: Usage, org: Contract) -> list[str]:
    """Objects that must be readable though no sync names them: the parents of references, and the platform's own rule."""
    found: list[str] = []
    for use in usage.objects.values():
        found += _READ_WITH.get(use.name.lower(), ()) if use.name.lower() not in EVERYBODY else ()
        found += _references(use, org)
    return found


def _references(use: ObjectUse, org: Contract) -> list[str]:
    """What a written reference leads to: the parents that its lookup names, else the one object that it can mean."""
    out: list[str] = []
    for field in use.fields.values():
        targets = org.reference_to(use.name, field.name)
        if field.written and not field.parents and len(targets) == 1:
            out += targets
    return out
