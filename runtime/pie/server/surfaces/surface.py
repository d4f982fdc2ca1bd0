"""One HTTP surface: reads a request, lets a program answer, and sends that as JSON or as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from pie.errors import PieError
from pie.process.programs import LoadedProgram
from pie.server.owner import holder_of
from pie.server.service import Service
from pie.server.surfaces.body import BodyReader, ClientLeft, client_leaves
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.incoming import Incoming
from pie.server.surfaces.provisioning import is_sie_client, provisioning
from pie.server.surfaces.refusal import RETRY_AFTER_S, check_method, request_failed
from pie.server.surfaces.running import running
from pie.server.surfaces.sender import Sender
from pie.server.surfaces.streaming import Words, stream, stream_end
from pie.server.surfaces.vocabulary import Given, Took
from pie.server.users import Holder

__all__ = ["Bounds", "Exchange", "Surface"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a body may be, how long it may take, and after how long a silence a stream has a ping (never)."""

    max_body_bytes: int = 8 << 20
    body_s: float = 30.0
    ping_s: float | None = None


class Exchange(Protocol):
    """One request as its surface reads it, and the words of the answer.

    Attributes:
        given: the input of the program.
    """

    given: Given

    @property
    def words(self) -> Words | None:
        """What makes events of the answer; None if it is sent in one piece."""
        ...

    def whole(self, value_json: str, took: Took) -> dict[str, Any]:
        """The answer in one piece, of what the program returned.

        Raises:
            ProcessError: `bad-answer`.
        """
        ...


class Surface:
    """An ASGI application over one kind of request."""

    def __init__(
        self,
        service: Service,
        read: Callable[[Incoming], Exchange],
        find: Callable[[], Awaitable[LoadedProgram]],
        *,
        bounds: Bounds = Bounds(),
        continues: bool = False,
    ) -> None:
        """Answer what `read` understands by the program that `find` gives; if it `continues`, also for nobody."""
        self._continues = continues
        self._service = service
        self._read = read
        self._find = find
        self._bounds = bounds
        self._bodies = BodyReader(max_bytes=bounds.max_body_bytes, within_s=bounds.body_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; if its client leaves, the program ends, or goes on if the surface `continues`."""
        request_id = new_request_id()
        sender = Sender(send, own_headers(self._service, request_id))
        try:
            await self._serve(scope, receive, sender, request_id)
        except ClientLeft:
            return
        except PieError as error:
            facts = {"code": error.code, "path": scope["path"], "request": request_id}
            log.info("a request was not answered", extra={"facts": facts})
            if error.code == "model-loading" and is_sie_client(scope):
                await sender.later(provisioning(error), after_s=RETRY_AFTER_S)
            else:
                await sender.refuse(error)
        except Exception:  # a defect of ours: whoever waits must learn that nothing more comes
            log.exception("a request failed", extra={"facts": {"request": request_id}})
            await sender.refuse(request_failed())

    async def _serve(self, scope: Scope, receive: Receive, sender: Sender, request_id: str) -> None:
        check_method(scope["method"], "POST")
        holder = holder_of(self._service.doorkeeper, scope)
        self._service.check_open()
        with ExitStack() as place:
            place.enter_context(self._service.limiter.admitted(self._service.accounts_of(holder)))
            pool = self._service.pools.of_request(scope, owner=holder.user)
            exchange = await self._exchange(scope, receive, request_id)
            pool.check_model(exchange.given["model"])
            if "adapter" in exchange.given and is_sie_client(scope):
                await self._adapter(exchange.given, holder.user)
            if exchange.words is not None:
                sender.failing = exchange.words.failed
            await self._while_there(receive, sender, self._answer(exchange, holder, sender, place))

    async def _exchange(self, scope: Scope, receive: Receive, request_id: str) -> Exchange:
        body = await self._bodies.read(scope, receive)
        return self._read(Incoming(body, request_id, scope["path_params"].get("model", "")))

    async def _while_there(self, receive: Receive, sender: Sender, answer: Coroutine[Any, Any, None]) -> None:
        """Answer as long as the client is there, or to the end if the surface continues."""
        leaving = asyncio.ensure_future(client_leaves(receive))
        answering = asyncio.ensure_future(answer)
        try:
            await asyncio.wait([leaving, answering], return_when=asyncio.FIRST_COMPLETED)
            if self._continues and not answering.done():
                sender.leave()
                await asyncio.wait([answering])
        finally:
            is_answered = answering.done()
            leaving.cancel()
            answering.cancel()  # which ends the process that still runs
            await asyncio.wait([leaving, answering])
        if is_answered:
            answering.result()

    async def _adapter(self, given: Given, owner: str) -> None:
        model = self._service.runtime.models.find(given["model"])
        await self._service.adapter_loads.wait(model, owner, given["adapter"])

    async def _answer(self, exchange: Exchange, holder: Holder, sender: Sender, place: ExitStack) -> None:
        """Let a program answer; before the client has all of it, the place is free and the tokens are spent."""
        program, words = await self._find(), exchange.words
        hears = words is not None and not {"logprobs", "tools"}.isdisjoint(exchange.given)
        async with running(self._service, program, exchange.given, holder=holder, with_messages=hears) as run:
            if words is None:
                while await run.more() is not None:  # which is in the answer too
                    pass
                rest = partial(sender.whole, exchange.whole(await run.value(), run.took()))
            else:
                answer = await stream(words, run, sender, self._bounds.ping_s)
                rest = partial(stream_end, words, answer, run.took(), sender)
        place.close()
        await rest()
