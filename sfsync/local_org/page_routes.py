"""Where the org's web page is reached: nothing of it is read before somebody opens it.

Owns:      its routes.
Does not:  answer (page).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sfsync.local_org.gate import PAGE


def front(request: Request) -> Response:
    """GET /: the address that `sfsync org start` prints."""
    del request
    return RedirectResponse(PAGE, status_code=302)


async def page(request: Request) -> Response:
    """Any address of the page."""
    from sfsync.local_org import page as pages

    return await pages.answer(request)


ROUTES = [
    Route("/", front, methods=["GET"]),
    Route(PAGE, page, methods=["GET"]),
    Route(PAGE + "/{path:path}", page, methods=["GET", "POST"]),
]
