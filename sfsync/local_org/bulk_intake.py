"""Bytes on their way into and out of Bulk jobs: uploads to disk, multipart bodies, result files to the client.

Owns:      streaming with constant memory, gzip both ways, the two parts of a one-request job.
Does not:  know jobs (bulk_jobs) or rows (bulk_csv).
Invariant: an upload is on disk whole, or not at all.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from sfsync.local_org.bulk_csv import MAX_UPLOAD, Facts, Watch

MAX_ONE_REQUEST = 100_000  # characters of CSV in a multipart job; Bulk API 2.0 guide, "Create a Job"
_BLOCK = 1 << 18
_GZIP = 31  # zlib's window bits for a gzip stream


class IntakeError(Exception):
    """The body cannot be taken: an error code of Salesforce, a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


async def receive(blocks: AsyncIterator[bytes], path: Path, *, encoding: str) -> Facts:
    """Write an upload to `path` as it arrives.

    Args:
        encoding: of the request's Content-Encoding, lower case; '' or identity, gzip, deflate.

    Raises:
        IntakeError: too large, or not what its encoding says; nothing is kept.
    """
    watch = Watch()
    temporary = path.with_suffix(".part")
    size = 0
    inflate = _inflater(encoding)
    try:
        with temporary.open("wb") as handle:
            async for block in blocks:
                for piece in _inflated(inflate, block):
                    size += len(piece)
                    if size > MAX_UPLOAD:
                        raise IntakeError(
                            "CLIENTINPUTERROR",
                            f"the upload is larger than {MAX_UPLOAD:,} bytes: split it into several jobs",
                        )
                    watch.block(piece)
                    handle.write(piece)
        if inflate is not None and not inflate.eof and size:
            raise IntakeError("CLIENTINPUTERROR", f"the body ends inside its {encoding} stream")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return watch.facts()


def _inflater(encoding: str) -> Any:
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "deflate"):
        raise IntakeError(
            "CLIENTINPUTERROR", f"Content-Encoding {encoding} is not supported: use gzip or deflate"
        )
    return zlib.decompressobj(_GZIP if encoding == "gzip" else zlib.MAX_WBITS)


def _inflated(inflate: Any, block: bytes) -> Iterator[bytes]:
    """The plain bytes of one block, in pieces that stay small whatever the stream claims to hold."""
    if inflate is None:
        yield block
        return
    try:
        while block:
            yield inflate.decompress(block, _BLOCK)
            block = inflate.unconsumed_tail
    except zlib.error:
        raise IntakeError("CLIENTINPUTERROR", "the body is not what its Content-Encoding says") from None


def takes_gzip(accept_encoding: str) -> bool:
    """Does a client that accepts these encodings want gzip?"""
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", accept_encoding) is not None


def read_file(path: Path, *, zipped: bool, head: bytes = b"") -> Iterator[bytes]:
    """A result file in blocks, with `head` before it, as a gzip stream if asked for."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, _GZIP) if zipped else None
    if head:
        yield head if squeeze is None else squeeze.compress(head)
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            yield block if squeeze is None else squeeze.compress(block)
    if squeeze is not None:
        yield squeeze.flush()


def split_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The `job` part and the bytes of the `content` part of a one-request job.

    Raises:
        IntakeError: a part is missing, is not what it should be, or is too long.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise IntakeError("CLIENTINPUTERROR", "multipart/form-data without a boundary")
    parts = dict(_parts(body, boundary.encode()))
    if "job" not in parts or "content" not in parts:
        raise IntakeError("CLIENTINPUTERROR", "a multipart job has the parts job and content")
    try:
        asked = json.loads(parts["job"])
        length = len(parts["content"].decode())
    except ValueError:
        raise IntakeError("CLIENTINPUTERROR", "the part job is not JSON, or content is not UTF-8") from None
    if not isinstance(asked, dict):
        raise IntakeError("CLIENTINPUTERROR", "the part job is not a JSON object")
    if length > MAX_ONE_REQUEST:
        raise IntakeError(
            "CLIENTINPUTERROR",
            f"{length:,} characters of CSV in a multipart job; the limit is {MAX_ONE_REQUEST:,}: upload it with PUT",
        )
    return asked, parts["content"]


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each part; the line break before a boundary belongs to the boundary."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            return
        head, found, data = piece.partition(b"\r\n\r\n")
        if not found:
            raise IntakeError("CLIENTINPUTERROR", "a part of the body has no end of its header")
        for line in head.decode("latin-1").split("\r\n"):
            if line.lower().startswith("content-disposition:"):
                message = Message()
                message["content-disposition"] = line.partition(":")[2].strip()
                name = message.get_param("name", header="content-disposition")
                if isinstance(name, str):
                    yield name, data
