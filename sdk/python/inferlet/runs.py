"""Running a generation to its end: in the server as one operation, or step by step in the program.

Both give the same tokens and leave the context the same. The server's way is used whenever no code of the program
needs to run between two tokens.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wit_world.imports import generation as wit_generation

from inferlet import chat, loop
from inferlet.errors import Error, call
from inferlet.stop_texts import StopTexts
from inferlet.token_logprobs import paired

if TYPE_CHECKING:
    from inferlet.generator import Generator
    from inferlet.window import Window

__all__ = ["HostRun", "Run", "StepRun", "TextStream", "TokenStream", "Wishes", "start"]

_LONGEST = 2**32 - 1


class Run(Protocol):
    """A generation under way."""

    async def next(self) -> list[int] | None:
        """The next tokens; None when there are no more."""
        ...

    def text(self) -> str:
        """The visible text so far."""
        ...

    def close(self) -> None:
        """End it, wherever it is."""
        ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the program wants of a run.

    Attributes:
        notify_every: be woken after so many tokens; 0 is only at the end.
        text: ask for the visible text.
        echo: print the visible text as it comes.
        reasoning: count reasoning as visible text.
    """

    notify_every: int = 0
    text: bool = False
    echo: bool = False
    reasoning: bool = True


def start(generator: Generator, wishes: Wishes) -> Run:
    """Begin to run `generator`."""
    if generator.tally.is_over or not generator.plan.fits_host:
        return StepRun(generator, wishes)
    if not generator.context.buffer() or not generator.can_continue():
        generator.tally.done = True
        return StepRun(generator, wishes)
    return HostRun(generator, wishes)


class HostRun:
    """A generation that the server runs.

    Attributes:
        is_awaited: whether a task waits for it now.
    """

    def __init__(self, generator: Generator, wishes: Wishes) -> None:
        context, plan, tally = generator.context, generator.plan, generator.tally
        self._generator = generator
        self._wishes = wishes
        self._fed = context.buffer()
        self._start = context.seq_len
        self._text = ""
        self.is_awaited = False
        options = wit_generation.Options(
            tokens=list(self._fed),
            sampler=plan.sampler.wit,
            logprobs=plan.logprobs,
            adjustment=plan.adjustment.wit,
            max_tokens=tally.num_remaining,
            stop=sorted(tally.stop),
            stop_texts=list(plan.stop_texts),
            logit_mask=list(plan.logit_mask) or None,
            speculate=plan.system_speculation,
            seed=plan.seed,
            counter=tally.num_generated,
            adapter_seed=None if plan.zo_seed is None else _bits(plan.zo_seed),
            window=None if plan.window is None else _window(plan.window),
            notify_every=wishes.notify_every,
            pipe=wishes.echo,
            hide_reasoning=not wishes.reasoning,
        )
        matchers = [grammar.matcher.wit for grammar in plan.grammars]
        self._handle: wit_generation.Generation | None = call(
            wit_generation.Generation.start,
            context.wit,
            options,
            matchers,
            None if plan.adapter is None else plan.adapter.wit,
        )
        context.claim(self)

    async def next(self) -> list[int] | None:
        """The next tokens; None when there are no more."""
        if self._handle is None:
            return None
        self.is_awaited = True
        try:
            progress = await loop.progress(self._handle)
        except BaseException:
            self.is_awaited = False
            self.close()
            raise
        self.is_awaited = False
        self._take(progress)
        return progress.tokens

    def text(self) -> str:
        """The visible text so far."""
        return self._text if self._handle is None else self._handle.text()

    def close(self) -> None:
        """End the generation if it runs, and bring the context up to date.

        Raises:
            Error: `context-busy` if another task waits for this generation.
        """
        if self._handle is None:
            return
        if self.is_awaited:
            raise Error("context-busy", "another task generates with this context")
        self._handle.cancel()
        try:
            rest = call(self._handle.get)
        except Error:
            rest = None  # it had failed; whoever waited for it was told
        if rest is not None:
            self._count(rest)
        self._finish()

    def _take(self, progress: wit_generation.Progress) -> None:
        self._count(progress)
        if progress.finish is not None:
            self._generator.tally.done = True
            self._finish()

    def _count(self, progress: wit_generation.Progress) -> None:
        self._fed += progress.tokens
        self._generator.tally.num_generated += len(progress.tokens)
        self._generator.logprobs += paired(progress)

    def _finish(self) -> None:
        if self._handle is None:
            return
        if self._wishes.text:
            self._text = self._handle.text()
        self._generator.tally.num_reasoning += self._handle.reasoning_tokens()
        self._handle.__exit__(None, None, None)
        self._handle = None
        # What the server has not written (the last token, unless a stop token followed it) is the next input.
        self._generator.context.resume(self._fed, written_from=self._start)


def _bits(seed: object) -> int:
    """The u64 of the same bits: the interface has no signed numbers here."""
    low, high = -(2**63), 2**63 - 1
    if not isinstance(seed, int) or not low <= seed <= high:
        raise Error("bad-number", f"zo_seed is {seed!r}, not a whole number from {low} to {high}")
    return seed % 2**64


def _window(window: Window) -> wit_generation.Window:
    return wit_generation.Window(min(window.size, _LONGEST), min(window.sink, _LONGEST))


class StepRun:
    """A generation that the program runs step by step."""

    def __init__(self, generator: Generator, wishes: Wishes) -> None:
        self._generator = generator
        self._decoder = chat.Decoder(generator.context.model, reasoning=wishes.reasoning) if wishes.text else None
        self._wishes = wishes
        self._stops = StopTexts(generator.plan.stop_texts)
        self._text = ""
        generator.watch_text(reasoning=wishes.reasoning)

    async def next(self) -> list[int] | None:
        """The next tokens; None when there are no more."""
        try:
            step = await anext(self._generator)
        except StopAsyncIteration:
            self._finish()
            return None
        tokens = (await step.execute()).tokens
        if self._decoder is not None:
            for token in tokens:
                self._read(self._decoder.feed([token]))
        return tokens

    def text(self) -> str:
        """The visible text so far."""
        return self._text

    def close(self) -> None:
        """Nothing runs between two steps."""

    def _finish(self) -> None:
        """Show what the decoder holds back for a character or a mark that never came."""
        stop = chat.stop_tokens(self._generator.context.model)[:1]
        if self._decoder is None:
            return
        event = self._decoder.feed(stop) if stop else chat.Event.Done("")
        while not isinstance(event, chat.Event.Done):
            self._read(event)
            event = self._decoder.feed([])
        self._decoder = None
        self._show(self._stops.finish())

    def _read(self, event: chat.AnyEvent) -> None:
        if isinstance(event, chat.Event.Delta):
            self._show(self._stops.feed(event.text))

    def _show(self, text: str) -> None:
        self._text += text
        if self._wishes.echo and text:
            sys.stdout.write(text)
            sys.stdout.flush()


class TextStream:
    """The visible text of a generation, piece by piece: `async for piece in generator.text()`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._num_told = 0

    def __aiter__(self) -> TextStream:
        return self

    async def __anext__(self) -> str:
        while True:
            tokens = await self._run.next()
            piece = self._run.text()[self._num_told :]
            if piece:
                self._num_told += len(piece)
                return piece
            if tokens is None:
                raise StopAsyncIteration


class TokenStream:
    """The tokens of a generation as they come: `async for tokens in generator.tokens()`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> list[int]:
        tokens = await self._run.next()
        if tokens is None:
            raise StopAsyncIteration
        return tokens
