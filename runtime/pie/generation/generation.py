"""One offloaded generation: takes tokens from the scheduler, shows text to the client, wakes the program when asked.

It knows nothing of pages or of how steps are planned; ending it early is the decode's handle's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pie.forward import FinishReason, TokenLogprobs
from pie.text.decoders import ChatDecoder, Delta
from pie.text.stop_texts import StopTexts

__all__ = ["Generation", "Progress", "Running"]


class Running(Protocol):
    """The handle of a decode in the scheduler."""

    def cancel(self) -> None:
        """End it now; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What a generation made since it was last asked.

    Attributes:
        tokens: new token ids, without a stop token.
        finish: how it ended, None while it runs.
        logprobs: how likely each of the tokens was; empty if nobody asked.
    """

    tokens: list[int]
    finish: FinishReason | None
    logprobs: list[TokenLogprobs] = field(default_factory=list)


class Generation:
    """Receives the tokens of one decode (a `TokenSink`) and holds them for its program.

    Attributes:
        num_tokens: how many came so far.
    """

    def __init__(
        self,
        decoder: ChatDecoder,
        *,
        notify_every: int,
        pipe: Callable[[str], None] | None = None,
        stop_texts: Sequence[str] = (),
    ) -> None:
        """Make the sink of one decode.

        Args:
            decoder: turns the tokens into visible text; used by this generation alone.
            notify_every: `news` is due after that many new tokens; 0 is only at the end.
            pipe: is given visible text as it comes.
            stop_texts: the visible text ends before the first of them.
        """
        self._decoder = decoder
        self._stops = StopTexts(stop_texts) if stop_texts else None
        self._notify_every = notify_every
        self._pipe = pipe
        self.num_tokens = 0
        self._fresh: list[int] = []
        self._logprobs: list[TokenLogprobs] = []  # of the fresh tokens, and perhaps of some that are about to come
        self._undecoded: list[int] = []
        self._text: list[str] = []
        self._is_text_complete = False
        self._finish: FinishReason | None = None
        self._error: BaseException | None = None
        self._news: asyncio.Future[None] | None = None
        self._running: Running | None = None

    @property
    def num_draws(self) -> int:
        """How many numbers of its random stream it used: one per token, and one for a stop token or a failed draw."""
        return self.num_tokens + (self._finish == "stop" or self._error is not None)

    def attach(self, running: Running) -> None:
        """Say which decode `cancel` ends."""
        self._running = running

    def tokens(self, token_ids: Sequence[int]) -> None:
        """Take the next tokens."""
        self.num_tokens += len(token_ids)
        self._fresh += token_ids
        self._undecoded += token_ids
        if self._pipe is not None:
            self._show()
        if self._has_news():
            self._wake()

    def logprobs(self, values: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens are, which follow."""
        self._logprobs += values

    def finished(self, reason: FinishReason) -> None:
        """The decode ended by itself."""
        self._finish = reason
        if self._pipe is not None or self._stops is not None:
            self._show()
        if self._stops is not None and self._stops.found and reason == "length":
            self._finish = "complete"  # in what the decoder held back up to the end
        self._wake()

    def failed(self, error: BaseException) -> None:
        """The decode ended by an error."""
        self._error = error
        self._wake()

    def news(self) -> asyncio.Future[None]:
        """Done as soon as `take` has enough to tell."""
        if self._news is None or self._news.done():
            self._news = asyncio.get_running_loop().create_future()
        if self._has_news():
            self._wake()
        return self._news

    def take(self) -> Progress | None:
        """What is new, or None if nothing is.

        Raises:
            PieError: why the generation failed, once the tokens before that are told.
        """
        if not self._fresh and self._error is not None:
            raise self._error
        if not self._fresh and self._finish is None:
            return None
        tokens, self._fresh = self._fresh, []
        told, self._logprobs = self._logprobs[: len(tokens)], self._logprobs[len(tokens) :]
        return Progress(tokens, self._finish, told)

    def text(self) -> str:
        """The visible text so far, as a chat decoder sees it."""
        self._decode()
        return "".join(self._text)

    def num_reasoning(self) -> int:
        """How many of its tokens were reasoning, as a chat decoder sees it."""
        self._decode()
        return self._decoder.num_reasoning

    def cancel(self) -> None:
        """End the generation now; idempotent."""
        if self._running is not None:
            self._running.cancel()

    def _has_news(self) -> bool:
        ended = self._finish is not None or self._error is not None
        return ended or 0 < self._notify_every <= len(self._fresh)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _show(self) -> None:
        text = self._decode()
        if text and self._pipe is not None:
            self._pipe(text)

    def _decode(self) -> str:
        """Decode what has not been decoded; at the end also what a decoder holds back for an incomplete character."""
        tokens, self._undecoded = self._undecoded, []
        events = self._decoder.feed(tokens)
        if self._finish is not None and not self._is_text_complete:
            self._is_text_complete = True
            events += self._decoder.finish()
        text = "".join(event.text for event in events if isinstance(event, Delta))
        if self._stops is not None:
            text = self._stops.feed(text) + (self._stops.finish() if self._is_text_complete else "")
        self._text.append(text)
        return text
