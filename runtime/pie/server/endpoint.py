"""Paths at which JSON is answered, and errors in OpenAI's form: what an answer needs of a request, and nothing more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from pie.errors import PieError
from pie.server.owner import holder_of
from pie.server.service import Service
from pie.server.surfaces.body import BodyReader, ClientLeft
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.refusal import check_method, headers_of, request_failed, status_of, told
from pie.server.users import Holder

__all__ = ["Answer", "Endpoint", "small_bodies"]

MAX_BODY_BYTES = 1 << 20
BODY_S = 30.0

Answer = Callable[[Request, Holder], Awaitable[dict[str, Any]]]
"""Gives the JSON for a request of who has come in; raises a PieError that tells why not."""

log = logging.getLogger(__name__)


def small_bodies() -> BodyReader:
    """What reads the bodies of such requests."""
    return BodyReader(max_bytes=MAX_BODY_BYTES, within_s=BODY_S)


class Endpoint:
    """An ASGI application over one path."""

    def __init__(self, service: Service, answers: Mapping[str, Answer], *, created: str = "") -> None:
        """Answer each method by what `answers` has for it; the one that is `created` has the status 201."""
        self._service = service
        self._answers = answers
        self._created = created

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = new_request_id()
        try:
            response = await self._response(scope, receive)
        except ClientLeft:
            return
        except PieError as error:
            facts = {"code": error.code, "path": scope["path"], "request": request_id}
            log.info("a request was not answered", extra={"facts": facts})
            response = _refusal(error)
        except Exception:  # a defect of ours: whoever waits must learn that nothing more comes
            log.exception("a request failed", extra={"facts": {"request": request_id}})
            response = _refusal(request_failed())
        response.headers.update(own_headers(self._service, request_id))
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        method = scope["method"]
        check_method(method, *self._answers)
        holder = holder_of(self._service.doorkeeper, scope)
        status = 201 if method == self._created else 200
        return JSONResponse(await self._answers[method](Request(scope, receive), holder), status)


def _refusal(error: PieError) -> Response:
    return JSONResponse(told(error), status_of(error), headers_of(error))
