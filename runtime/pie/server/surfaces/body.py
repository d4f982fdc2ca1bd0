"""The body of a request: read whole, within bounds, and then watched, for a client may leave while it is answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from pie.errors import ProcessError
from pie.server.surfaces.refusal import Refusal

__all__ = ["MAX_READING", "BodyReader", "ClientLeft", "client_leaves", "read_body"]

MAX_READING = 256
"""Bodies that one reader reads at a time, since each is held in memory."""

MAX_DISCARDED_BYTES = 128 << 20
SOON_S = 0.25


class ClientLeft(Exception):
    """Nobody waits for the answer."""


class BodyReader:
    """Reads bodies within bounds, so many at a time."""

    def __init__(self, *, max_bytes: int, within_s: float) -> None:
        """Nothing is read yet."""
        self._max_bytes = max_bytes
        self._within_s = within_s
        self._num_reading = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """All of a body.

        Raises:
            ClientLeft: the client left before it was whole.
            ProcessError: `busy`.
            Refusal: `body-too-large`, `body-too-slow`.
        """
        if self._num_reading >= MAX_READING:
            raise ProcessError("busy", f"{self._num_reading} requests are being read", remedy="Try again soon.")
        self._num_reading += 1
        try:
            return await read_body(scope, receive, max_bytes=self._max_bytes, within_s=self._within_s)
        finally:
            self._num_reading -= 1


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int, within_s: float) -> bytes:
    """All of a body.

    Raises:
        ClientLeft: the client left before it was whole.
        Refusal: `body-too-large`, `body-too-slow`.
    """
    declared = Headers(scope=scope).get("content-length", "")
    is_too_large = declared.isdecimal() and int(declared[:20]) > max_bytes
    try:
        async with asyncio.timeout(within_s):
            body = None if is_too_large else await _read(receive, max_bytes)
            if body is None:
                await _discard(receive)
                raise _too_large(max_bytes)
            return body
    except TimeoutError:
        raise Refusal(
            "body-too-slow",
            f"the body of the request was not whole after {within_s:g} s",
            remedy="Send it faster, or in a smaller request.",
        ) from None


async def client_leaves(receive: Receive) -> None:
    """Return when the client has left, once its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, max_bytes: int) -> bytes | None:
    """The body; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _discard(receive: Receive) -> None:
    """Take what still comes of a body, as far as it comes soon: many clients read only when they have sent it."""
    left = MAX_DISCARDED_BYTES
    with suppress(TimeoutError):
        while left > 0:
            async with asyncio.timeout(SOON_S):
                message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _too_large(max_bytes: int) -> Refusal:
    return Refusal("body-too-large", f"the body of the request has more than {max_bytes} bytes", remedy="Send less.")
