"""pie:core/context: token sequences in paged KV."""

from __future__ import annotations

from typing import Protocol

from pie.host.interface import Interface
from pie.host.model import Model
from pie.host.served_model import ServedModel
from pie.host.state import HostState, state_of
from pie.scheduler.context import ContextInfo
from pie.wasm.guest import Guest

__all__ = ["INTERFACE", "Context"]

INTERFACE = Interface("pie:core/context")


class Draws(Protocol):
    """A pass or a generation that draws from a context's random stream."""

    @property
    def num_draws(self) -> int:
        """How many numbers it used, as far as is known."""
        ...


class Context:
    """A guest's handle of a context; owns it, and the random stream of the passes that use it."""

    def __init__(self, state: HostState, served: ServedModel, context_id: int) -> None:
        """Take over a context that the scheduler made for this process."""
        self.state = state
        self.served = served
        self.context_id = context_id
        self._seed = state.new_stream()
        self._counter = 0
        self._draws: Draws | None = None
        self._is_there = True

    def next_draws(self) -> tuple[int, int]:
        """Seed and first counter of the next draws; `draw_by` must say who makes them."""
        if self._draws is not None:
            self._counter += self._draws.num_draws
            self._draws = None
        return self._seed, self._counter

    def draw_by(self, draws: Draws) -> None:
        """Note who draws from the stream now; the draws are counted when the next one asks."""
        self._draws = draws

    def describe(self) -> ContextInfo:
        """The context's page and token counts, all 0 once it is destroyed: the contract has no error arm for them."""
        scheduler = self.served.scheduler
        if self._is_there:
            return scheduler.describe(self.context_id)
        return ContextInfo(
            committed_pages=0,
            working_pages=0,
            held_pages=0,
            working_tokens=0,
            num_tokens=0,
            page_size=scheduler.page_size,
            reused_tokens=0,
        )

    async def fork(self) -> Context:
        """A copy that shares pages until either side writes to them."""
        scheduler = self.served.scheduler
        return Context(self.state, self.served, await scheduler.fork(self.context_id, owner=self.state.process_id))

    async def save(self, name: str) -> None:
        """Keep the state under a name, replacing what had it."""
        await self.served.scheduler.save(self.context_id, user=self.state.username, name=name)

    async def snapshot(self) -> str:
        """Keep the state under a name made up here."""
        return await self.served.scheduler.snapshot(self.context_id, user=self.state.username)

    def destroy(self) -> None:
        """Give all pages back now; the handle is of no more use."""
        self._is_there = False
        self.served.scheduler.destroy(self.context_id)

    close = destroy

    def tokens_per_page(self) -> int:
        """Page size in tokens."""
        return self.describe().page_size

    def model(self) -> Model:
        """The model this context belongs to."""
        return Model(self.served)

    def committed_page_count(self) -> int:
        """Pages that are full, immutable and shareable."""
        return self.describe().committed_pages

    def working_page_count(self) -> int:
        """Pages held beyond the committed ones."""
        return self.describe().working_pages

    def working_page_token_count(self) -> int:
        """Tokens in the working pages."""
        return self.describe().working_tokens

    async def commit_working_pages(self, num_pages: int) -> None:
        """Make the first working pages immutable and shareable; they must be full."""
        await self.served.scheduler.commit(self.context_id, num_pages)

    async def reserve_working_pages(self, num_pages: int) -> None:
        """Hold that many more working pages."""
        await self.served.scheduler.reserve(self.context_id, num_pages)

    async def release_working_pages(self, num_pages: int) -> None:
        """Give back that many working pages with their tokens, or all if there are fewer, the last ones first."""
        info = self.describe()
        num_lost = info.working_tokens - max(0, info.working_pages - num_pages) * info.page_size
        if num_lost > 0:
            await self.truncate_working_page_tokens(num_lost)
        if self._is_there:
            self.served.scheduler.release(self.context_id, num_pages)

    async def truncate_working_page_tokens(self, num_tokens: int) -> None:
        """Forget that many tokens at the end of the working pages, or all if there are fewer."""
        if self._is_there:
            await self.served.scheduler.truncate(self.context_id, num_tokens)

    async def suspend(self) -> None:
        """Let the pages leave the device until the context is used again."""
        await self.served.scheduler.suspend(self.context_id)

    def bid(self, value: float) -> None:
        """Say how much a page on the device is worth to this process, in credits per step."""
        if self._is_there:
            self.served.scheduler.set_bid(self.context_id, value)


INTERFACE.resource(
    "context",
    Context,
    [
        "fork",
        "save",
        "snapshot",
        "destroy",
        "tokens-per-page",
        "model",
        "committed-page-count",
        "working-page-count",
        "commit-working-pages",
        "reserve-working-pages",
        "release-working-pages",
        "working-page-token-count",
        "truncate-working-page-tokens",
        "suspend",
        "bid",
    ],
)


@INTERFACE.function("[static]context.create")
def create(guest: Guest, model: Model) -> Context:
    """An empty context."""
    state = state_of(guest)
    context_id = model.served.scheduler.create(state.process_id, salt=state.username)
    return Context(state, model.served, context_id)


@INTERFACE.function("[static]context.open")
async def open_(guest: Guest, model: Model, name: str) -> Context:
    """A copy of what was saved under a name."""
    state = state_of(guest)
    scheduler = model.served.scheduler
    context_id = await scheduler.open(user=state.username, name=name, owner=state.process_id, salt=state.username)
    return Context(state, model.served, context_id)


@INTERFACE.function("[static]context.take")
async def take(guest: Guest, model: Model, name: str) -> Context:
    """What was saved under a name, which is free again afterwards."""
    state = state_of(guest)
    scheduler = model.served.scheduler
    context_id = await scheduler.take(user=state.username, name=name, owner=state.process_id, salt=state.username)
    return Context(state, model.served, context_id)


@INTERFACE.function("[static]context.delete")
async def delete(guest: Guest, model: Model, name: str) -> None:
    """Forget what was saved under a name."""
    await model.served.scheduler.delete(user=state_of(guest).username, name=name)
