"""Connections that can be dropped: HTTP/1.1 that remembers its sockets.

Owns:      finding the connection of a request, to cut it as a broken network would.
Does not:  decide when (gate).
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_OPEN: dict[tuple[str, int], asyncio.Transport] = {}


class DroppableProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with every open connection on a list by its peer's address."""

    _peer: tuple[str, int] | None = None

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        if peer is not None:
            self._peer = (str(peer[0]), int(peer[1]))
            _OPEN[self._peer] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._peer is not None:
            _OPEN.pop(self._peer, None)
        super().connection_lost(exc)


async def cut(scope: Scope) -> None:
    """Cut the connection of this request; what is still in its buffer is lost."""
    client = scope.get("client")
    transport = _OPEN.get((str(client[0]), int(client[1]))) if client else None
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0.01)  # until uvicorn has seen it go, so that it sends no answer of its own


async def hang_up(scope: Scope) -> None:
    """Close the connection of this request after what was sent so far, as a proxy does that lost its other side."""
    client = scope.get("client")
    transport = _OPEN.get((str(client[0]), int(client[1]))) if client else None
    if transport is not None:
        transport.close()
        await asyncio.sleep(0.01)  # as above
