"""Token sequences: a buffer of tokens to come in the program, keys and values of the others in the server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, Unpack

from wit_world.imports import context as wit_context
from wit_world.imports import inference
from wit_world.imports import model as wit_model

from inferlet import bidding, chat
from inferlet.buffer import Buffer
from inferlet.errors import Error, call
from inferlet.forward import Forward, flush
from inferlet.generator import Generator
from inferlet.model import Model
from inferlet.options import GenerateOptions
from inferlet.paged import Paged
from inferlet.pages import Pages
from inferlet.sampler import Sampler

if TYPE_CHECKING:
    from types import TracebackType

    from inferlet.runs import HostRun

__all__ = ["Context"]


class Context(Paged):
    """A token sequence of one model.

    Filling methods only buffer tokens; `flush`, a forward pass or a generation sends them to the server. Use it in a
    `with` block to give back its pages at the end of the block.

    Attributes:
        model: the model.
        wit: the host's handle.
    """

    def __init__(self, model: Model, *, handle: wit_context.Context | None = None) -> None:
        """Make an empty context, or wrap a handle of the host.

        Raises:
            Error: the server can hold no more contexts.
        """
        self.model = model
        self.wit = call(wit_context.Context.create, model.wit) if handle is None else handle
        self._buffer = Buffer(model)
        self._pages = Pages(self.wit)
        self._run: HostRun | None = None
        self._spare_pass: inference.ForwardPass | None = None
        self._is_released = False
        if handle is not None:
            self._pages.refresh()

    @classmethod
    def create(cls, model: Model) -> Context:
        """An empty context."""
        return cls(model)

    @classmethod
    def open(cls, model: Model, name: str) -> Context | None:
        """A fork of the snapshot `name`, which stays as it is; None if there is none."""
        return _if_saved(model, name, wit_context.Context.open)

    @classmethod
    def take(cls, model: Model, name: str) -> Context | None:
        """The snapshot `name` itself, which is no longer saved then; None if there is none."""
        return _if_saved(model, name, wit_context.Context.take)

    @staticmethod
    def delete(model: Model, name: str) -> None:
        """Remove the snapshot `name`.

        Raises:
            Error: `snapshot-not-found`.
        """
        call(wit_context.Context.delete, model.wit, name)

    def fork(self) -> Context:
        """A context with the same tokens, buffer included; pages are shared until either side changes them."""
        self._end_run()
        copy = Context(self.model, handle=call(self.wit.fork))
        copy.adopt(self._buffer.copy())
        return copy

    def save(self, name: str, *, overwrite: bool = True) -> None:
        """Save a snapshot of what the server holds, without the buffer; it survives the program and the server.

        Raises:
            Error: `snapshot-exists` if there is one of that name and `overwrite` is False.
        """
        self._end_run()
        existing = None if overwrite else Context.open(self.model, name)
        if existing is not None:
            existing.release()
            raise Error("snapshot-exists", f"there is a snapshot named {name!r} already")
        call(self.wit.save, name)

    def snapshot(self) -> str:
        """Save a snapshot under a fresh name and return that name."""
        self._end_run()
        return call(self.wit.snapshot)

    def release(self) -> None:
        """Give back all pages now; the context is of no more use, and a generation that runs in it fails."""
        if self._is_released:
            return
        if self._run is not None and not self._run.is_awaited:
            self._run.close()
        self._is_released = True
        self.wit.destroy()
        self.wit.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def page_size(self) -> int:
        """Tokens per page."""
        return self._pages.page_size

    @property
    def seq_len(self) -> int:
        """Tokens whose keys and values the server holds; the buffer does not count."""
        return self.pages.seq_len

    def buffer(self) -> list[int]:
        """The tokens that the server does not have yet."""
        return self.pending.tokens()

    def system(self, text: str) -> Self:
        """Add a system message."""
        self.pending.add_system(text, opens=self.seq_len == 0)
        return self

    def user(self, text: str) -> Self:
        """Add a user message."""
        self.pending.add_user(text, opens=self.seq_len == 0)
        return self

    def assistant(self, text: str) -> Self:
        """Add a complete message of the assistant."""
        return self.append(chat.assistant(self.model, text))

    def cue(self) -> Self:
        """Add what makes the model answer next."""
        return self.append(chat.cue(self.model))

    def seal(self) -> Self:
        """Add the end of the assistant's turn."""
        return self.append(chat.seal(self.model))

    def append(self, tokens: Iterable[int]) -> Self:
        """Add tokens."""
        self.pending.add(tokens)
        return self

    def append_text(self, text: str) -> Self:
        """Add the tokens of `text`."""
        return self.append(self.model.tokenizer().encode(text))

    async def flush(self) -> None:
        """Send the buffer to the server and commit the pages it fills.

        Raises:
            Error: there are no pages for it, or the context would grow too long. The buffer is then unchanged.
        """
        await flush(self, adapter=None, zo_seed=None)

    def forward(self) -> Forward:
        """A forward pass to fill in."""
        return Forward(self)

    def generate(self, sampler: Sampler, **options: Unpack[GenerateOptions]) -> Generator:
        """A generation from here on. See `GenerateOptions`.

        Raises:
            Error: `bad-option` if an option is unknown or two contradict each other.
        """
        return Generator(self, sampler, **options)

    def set_bid(self, value: float) -> None:
        """Offer `value` credits per page and step for staying on the device.

        Raises:
            Error: `bad-bid` if it is not a number of 0 or more.
        """
        if not 0 <= value < math.inf:  # the host has no error case here
            raise Error("bad-bid", f"a bid of {value} is not a number of 0 or more")
        self.wit.bid(value)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Bid nothing within the block, since the context is not needed meanwhile."""
        self.set_bid(0.0)
        try:
            yield
        finally:
            if not self._is_released:
                self.set_bid(bidding.current_bid(self, bidding.UNKNOWN_LENGTH))

    def suspend(self) -> None:
        """Let the pages leave the device until the context is used again."""
        self._end_run()
        call(self.wit.suspend)

    @property
    def pages(self) -> Pages:
        """The pages, for this SDK's passes and steps. Ends a generation that nobody waits for."""
        self._end_run()
        return self._pages

    @property
    def pending(self) -> Buffer:
        """The tokens to come, for this SDK's passes and steps. Ends a generation that nobody waits for."""
        self._end_run()
        return self._buffer

    def adopt(self, buffer: Buffer) -> None:
        """Take over tokens to come."""
        self._buffer = buffer

    def take_pass(self) -> inference.ForwardPass:
        """An empty pass of this context: the one kept last, or a new one."""
        forward_pass, self._spare_pass = self._spare_pass, None
        if forward_pass is None:
            forward_pass = inference.ForwardPass(self.model.wit)
            forward_pass.context(self.wit)
        return forward_pass

    def keep_pass(self, forward_pass: inference.ForwardPass) -> None:
        """Use a pass, which has been executed, for the next one."""
        self._spare_pass = forward_pass

    def claim(self, run: HostRun) -> None:
        """Note that the server generates with this context; the next use of the context ends that."""
        self._run = run

    def resume(self, tokens: list[int], *, written_from: int) -> None:
        """Take the context back after the server has fed `tokens` to it, from the length `written_from` on.

        Those that the server has not written are the tokens to come.
        """
        self._run = None
        if self._is_released:
            return
        self._pages.refresh()
        self._buffer = Buffer(self.model, tokens[max(0, self._pages.seq_len - written_from) :])

    def __repr__(self) -> str:
        return f"Context({self.model!r}, seq_len={self._pages.seq_len}, buffered={len(self._buffer)})"

    def _end_run(self) -> None:
        if self._run is not None:
            self._run.close()


def _if_saved(model: Model, name: str, get: Callable[[wit_model.Model, str], wit_context.Context]) -> Context | None:
    try:
        return Context(model, handle=call(get, model.wit, name))
    except Error as error:
        if error.code == "snapshot-not-found":
            return None
        raise
