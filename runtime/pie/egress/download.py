"""Files of servers that the operator has named: one GET each, bounded in size and time.

Nothing of a guest comes here: the address is the operator's word, so any host may be reached. Redirects are not
followed; `httpcore2` knows no proxy, keeps no cookie and decompresses nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable

import httpcore2

from pie.egress.request import Request, read_request
from pie.errors import ProcessError

__all__ = ["download"]

SILENCE_S = 30.0
"""So long may a server take for its next bytes."""


async def download(url: str, *, max_bytes: int, timeout_s: float) -> bytes | None:
    """The content at a URL; None if the server says that there is nothing (404 or 410).

    Args:
        url: http or https.
        max_bytes: what it may be at most.
        timeout_s: how long all of it may take.

    Raises:
        RequestError: `bad-http-request` if the URL is none.
        ProcessError: `http-failed`, `http-too-large` or `http-timeout`.
    """
    request = read_request("GET", url, [])
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(request, max_bytes, await asyncio.to_thread(ssl.create_default_context))
    except (TimeoutError, httpcore2.TimeoutException):
        raise ProcessError(
            "http-timeout", f"{request.host} does not answer in time", remedy="Try again later."
        ) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        raise _failed(request, " ".join(str(error).split())[:200] or type(error).__name__) from None


async def _get(request: Request, max_bytes: int, context: ssl.SSLContext) -> bytes | None:
    host = f"[{request.host}]" if ":" in request.host else request.host
    url = httpcore2.URL(
        scheme=request.scheme.encode(), host=host.encode(), port=request.port, target=request.target.encode()
    )
    limits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), SILENCE_S)}
    async with (
        httpcore2.AsyncConnectionPool(ssl_context=context) as pool,
        pool.stream("GET", url, extensions=limits) as response,
    ):
        if response.status in (404, 410):
            return None
        if response.status != 200:
            place = dict(response.headers).get(b"Location", b"").decode("latin-1")[:200]
            leads = f", which leads to {place}" if place else ""
            raise _failed(request, f"the answer for {request.target[:200]} is {response.status}{leads}")
        return await _read(response.aiter_stream(), request.host, max_bytes)


async def _read(chunks: AsyncIterable[bytes], host: str, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise ProcessError(
                "http-too-large", f"{host} sends more than {max_bytes} bytes", remedy="Check what lies there."
            )
    return bytes(body)


def _failed(request: Request, what: str) -> ProcessError:
    cause = f"the request to {request.host} at port {request.port} failed: {what.rstrip('. ')}"
    return ProcessError("http-failed", cause, remedy="Check the address, or try again later.")
