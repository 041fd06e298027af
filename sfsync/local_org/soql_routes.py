"""The query resources: query, queryAll, and their further pages.

Owns:      parameters, paging headers, the answer's envelope, errors as Salesforce's array.
Does not:  compile (soql) or keep pages (soql_cursors).
"""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sfsync.local_org import query_plans
from sfsync.local_org.org import Org
from sfsync.local_org.soql import compile_soql
from sfsync.local_org.soql_cursors import PAGE, SMALLEST_PAGE, Cursors, Page
from sfsync.local_org.soql_syntax import SoqlError
from sfsync.local_org.store import Store

JSON = "application/json;charset=UTF-8"
_BATCH = re.compile(r"batchSize\s*=\s*(\d+)", re.IGNORECASE)
_MAKING = threading.Lock()
_OPEN: WeakKeyDictionary[Store, Cursors] = WeakKeyDictionary()


def cursors_of(request: Request) -> Cursors:
    """The cursors of the org that this request is for, made at the first query."""
    store: Store = request.app.state.org.store
    with _MAKING:
        if store not in _OPEN:
            _OPEN[store] = Cursors(store)
            store.on_reset.append(_OPEN[store].clear)
        return _OPEN[store]


def query(request: Request) -> Response:
    """``GET query?q=``: records that are not deleted; ``explain=`` and ``columns=true`` ask about the query itself."""
    return _query(request, include_deleted=False)


def query_all(request: Request) -> Response:
    """``GET queryAll?q=``: records of the recycle bin too."""
    return _query(request, include_deleted=True)


def more(request: Request) -> Response:
    """``GET query/{locator}``: a further page."""
    try:
        page = cursors_of(request).page(request.path_params["locator"])
    except SoqlError as error:
        return _refused(error)
    return _answer(page, request.path_params["version"])


def _query(request: Request, *, include_deleted: bool) -> Response:
    version = request.path_params["version"]
    org: Org = request.app.state.org
    explained = request.query_params.get("explain")
    text = explained if explained is not None else request.query_params.get("q", "")
    try:
        compiled = compile_soql(
            text,
            org.seen,
            version=version,
            now=datetime.fromtimestamp(org.now(), UTC),
            include_deleted=include_deleted,
        )
        if explained is not None:
            return _told(query_plans.plans(text, compiled, org.seen, org.store))
        if request.query_params.get("columns", "").lower() == "true":
            return _told(query_plans.columns(text, org.seen))
        page = cursors_of(request).first(
            compiled, _page_size(request.headers.get("sforce-query-options", ""))
        )
    except SoqlError as error:
        return _refused(error)
    return _answer(page, version)


def _page_size(options: str) -> int:
    found = _BATCH.search(options)
    return PAGE if found is None else max(SMALLEST_PAGE, min(PAGE, int(found[1])))


def _answer(page: Page, version: str) -> Response:
    head = f'{{"totalSize":{page.total},"done":{"true" if page.next_locator is None else "false"}'
    if page.next_locator is not None:
        head += f',"nextRecordsUrl":"/services/data/v{version}/query/{page.next_locator}"'
    return Response(f'{head},"records":[{page.records}]}}', media_type=JSON)


def _told(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), media_type=JSON)


def _refused(error: SoqlError) -> Response:
    return Response(
        json.dumps([{"message": error.message, "errorCode": error.code}]), status_code=400, media_type=JSON
    )


_BASE = "/services/data/v{version}"
ROUTES = [
    Route(f"{_BASE}/{path}{slash}", handler, methods=["GET"])
    for path, handler in (("query", query), ("queryAll", query_all))
    for slash in ("", "/")
] + [
    Route(f"{_BASE}/{path}/{{locator}}{slash}", more, methods=["GET"])
    for path in ("query", "queryAll")
    for slash in ("", "/")
]
