"""The selection grammar over a small graph.

raw -> stg_accounts -> dim_accounts -> [accounts] -> [contacts], [subscriptions]
raw -> stg_contacts -> dim_contacts -> [contacts]
                       dim_subscriptions -> [subscriptions]
[leads] reads a source; the seed 'leads' has the name of the sync
"""

from __future__ import annotations

import pytest

from sfsync.errors import SpecError
from sfsync.project.selector import Graph, ModelNode, SyncNode, select

GRAPH = Graph(
    models=(
        ModelNode("raw"),
        ModelNode("stg_accounts", ("raw",)),
        ModelNode("stg_contacts", ("raw",), ("pii",)),
        ModelNode("dim_accounts", ("stg_accounts",)),
        ModelNode("dim_contacts", ("stg_contacts", "dim_accounts")),
        ModelNode("dim_subscriptions", ()),
        ModelNode("unused", ()),
        ModelNode("leads"),
    ),
    syncs=(
        SyncNode("accounts", "dim_accounts", "Account", (), ("crm", "daily")),
        SyncNode("contacts", "dim_contacts", "Contact", ("accounts",), ("crm",)),
        SyncNode("subscriptions", "dim_subscriptions", "Subscription__c", ("accounts",), ("daily",)),
        SyncNode("leads", None, "Lead"),
    ),
)
A, C, S, L = "accounts", "contacts", "subscriptions", "leads"

CASES = [  # id, --select, --exclude, syncs
    ("nothing said", [], [], [A, C, S, L]),
    ("blank", ["  "], [], [A, C, S, L]),
    ("a name", [C], [], [C]),
    ("the graph's order, not the user's", [C, A], [], [A, C]),
    ("union by blanks", ["contacts accounts"], [], [A, C]),
    ("a glob", ["*s"], [], [A, C, S, L]),
    ("a glob of one letter", ["?ontacts"], [], [C]),
    ("tag", ["tag:daily"], [], [A, S]),
    ("tag glob", ["tag:d*"], [], [A, S]),
    ("object", ["object:Contact"], [], [C]),
    ("object in any case", ["object:contact"], [], [C]),
    ("object glob", ["object:*__c"], [], [S]),
    ("intersection", ["tag:daily,tag:crm"], [], [A]),
    ("an empty intersection", ["tag:daily,contacts"], [], []),
    ("intersection beside a union", ["tag:daily,tag:crm leads"], [], [A, L]),
    ("a model's syncs", ["dim_contacts+"], [], [C]),
    ("children of a sync", ["accounts+"], [], [A, C, S]),
    ("parents of a sync", ["+contacts"], [], [A, C]),
    ("parents through models alone", ["1+contacts"], [], [A, C]),
    ("no edges at all", ["0+contacts"], [], [C]),
    ("one edge below", ["dim_accounts+1"], [], [A]),
    ("two edges below", ["dim_accounts+2"], [], [A, C, S]),
    ("far below", ["raw+"], [], [A, C, S]),
    ("both ways", ["+accounts+"], [], [A, C, S]),
    ("both ways, one edge", ["1+accounts+1"], [], [A, C, S]),
    ("a tag of a model, below", ["tag:pii+"], [], [C]),
    ("a name that is a seed and a sync", [L], [], [L]),
    ("exclude a name", [], [C], [A, S, L]),
    ("exclude wins", ["tag:crm"], ["contacts"], [A]),
    ("exclude below", [], ["accounts+"], [L]),
    ("exclude an intersection", [], ["tag:daily,tag:crm"], [C, S, L]),
    ("exclude all", [], ["*"], []),
    ("several values", ["contacts", "leads"], ["leads"], [C]),
    ("intersection with what is above", ["+contacts,tag:daily"], [], [A]),
]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_select(include, exclude, expected):
    assert select(GRAPH, include, exclude) == tuple(expected)


FAULTS = [  # --select, --exclude, message, fix
    (["contcts"], [], "--select contcts: nothing has that name", "did you mean 'contacts'?"),
    ([], ["contcts"], "--exclude contcts: nothing has that name", "did you mean 'contacts'?"),
    (["tag:dayly"], [], "--select tag:dayly: nothing has that tag", "did you mean 'daily'?"),
    (
        ["tag:zzz"],
        [],
        "--select tag:zzz: nothing has that tag",
        "known here: crm, daily, pii",
    ),
    (["object:Acount"], [], "--select object:Acount: nothing has that object", "did you mean 'Account'?"),
    (
        ["state:modified"],
        [],
        "--select state:modified: 'state:' is not a selection method",
        "methods: tag:, object:",
    ),
    (
        ["tags:daily"],
        [],
        "--select tags:daily: 'tags:' is not a selection method",
        "did you mean 'tag'?",
    ),
    (
        ["unused"],
        [],
        "--select unused: no sync is selected, only model 'unused'",
        "write 'unused+' for the syncs below it",
    ),
    (["unused+"], [], "--select unused+: no sync is selected, only model 'unused'", None),
    (["tag:daily,nope*"], [], "--select nope*: nothing has that name", None),
    (
        ["+"],
        [],
        "--select: '+' is not a selection",
        "write a name, tag:x or object:X, with + before or after it for what is above or below",
    ),
    (
        ["a,,b"],
        [],
        "--select a: nothing has that name",
        None,
    ),
    (
        ["accounts,"],
        [],
        "--select: '' is not a selection",
        "write a name, tag:x or object:X, with + before or after it for what is above or below",
    ),
]


@pytest.mark.parametrize(("include", "exclude", "message", "fix"), FAULTS, ids=[f[2] for f in FAULTS])
def test_what_matches_nothing_is_an_error(include, exclude, message, fix):
    with pytest.raises(SpecError) as caught:
        select(GRAPH, include, exclude)
    assert str(caught.value) == message
    if fix is not None:
        assert caught.value.fix == fix


def test_a_cycle_ends():
    graph = Graph((), (SyncNode("a", None, "A", ("b",)), SyncNode("b", None, "B", ("a",))))
    assert select(graph, ["+a"]) == ("a", "b")
    assert select(graph, ["a+"]) == ("a", "b")
