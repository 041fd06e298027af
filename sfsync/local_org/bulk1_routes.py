"""Where Bulk API 1.0 is reached: nothing of it is read before somebody asks.

Owns:      its one route.
Does not:  answer (bulk1).
"""

from __future__ import annotations

import sys

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sfsync.local_org.org import Org


async def classic(request: Request) -> Response:
    """Any call below ``/services/async``."""
    from sfsync.local_org import bulk1

    return await bulk1.answer(request)


def stop(org: Org) -> None:
    """End the worker if there is one."""
    found = sys.modules.get("sfsync.local_org.bulk1")
    if found is not None:
        found.stop(org)


ROUTES = [Route("/services/async/{version}/{path:path}", classic, methods=["GET", "POST"])]
