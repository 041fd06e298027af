"""What clients ask of the Tooling API and of an org's furniture when they start: a few true but empty answers.

Owns:      the roots and lists below tooling/, queries of what this org has none of, recent items, tabs, themes.
Does not:  keep metadata: there is no Apex, no package and no layout here.
Invariant: what this org cannot have is answered as an empty list; what it does not know is refused, never made up.
"""

from __future__ import annotations

import re
from typing import Any

from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask, Handler

_NONE_OF = (
    *("ApexClass", "ApexCodeCoverageAggregate", "ApexOrgWideCoverage", "ApexTestQueueItem", "ApexTrigger"),
    *("AsyncApexJob", "CustomField", "CustomObject", "EntityDefinition", "FieldDefinition", "FlowDefinition"),
    *("InstalledSubscriberPackage", "Layout", "Package2", "Package2Version", "RecordType", "SourceMember"),
    *("SubscriberPackageVersion", "TraceFlag", "ValidationRule"),
)
"""Objects of the Tooling API that exist, and of which a local org has no record."""

_FROM = re.compile(r"\bfrom\s+(\w+)", re.IGNORECASE)


def root(ask: Ask) -> Answer:
    """GET /tooling"""
    return Answer(200, {name: f"{ask.base}/tooling/{name}" for name in ("query", "sobjects")})


def objects(ask: Ask) -> Answer:
    """GET /tooling/sobjects"""
    del ask
    listed = [
        {
            "name": name,
            "label": name,
            "queryable": True,
            "createable": False,
            "updateable": False,
            "deletable": False,
        }
        for name in _NONE_OF
    ]
    return Answer(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed})


def query(ask: Ask) -> Answer:
    """GET /tooling/query?q="""
    text = ask.query.get("q", "")
    found = _FROM.search(text)
    if found is None:
        raise ApiError(400, "MALFORMED_QUERY", "unexpected token: <EOF>")
    name = next((n for n in _NONE_OF if n.lower() == found[1].lower()), None)
    if name is None:
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{found[1]}' is not supported.")
    body: dict[str, Any] = {
        "size": 0,
        "totalSize": 0,
        "done": True,
        "queryLocator": None,
        "entityTypeName": name,
        "records": [],
    }
    return Answer(200, body)


def empty_list(ask: Ask) -> Answer:
    """GET /recent, /tabs"""
    del ask
    return Answer(200, [])


def theme(ask: Ask) -> Answer:
    """GET /theme"""
    del ask
    return Answer(200, {"themeItems": []})


RESOURCES: tuple[tuple[str, dict[str, Handler]], ...] = (
    (r"tooling", {"GET": root}),
    (r"tooling/sobjects", {"GET": objects}),
    (r"tooling/(?:query|queryAll)", {"GET": query}),
    (r"recent|tabs", {"GET": empty_list}),
    (r"theme", {"GET": theme}),
)
