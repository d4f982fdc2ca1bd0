"""A generation: options, and the ways to run it (collectors, text pieces, single steps)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from inferlet import bidding, chat, mask, options, runs
from inferlet.adjustment import Adjustment
from inferlet.constraints import Constraint, Schema, any_json, json_schema
from inferlet.errors import Error
from inferlet.output import ProbeHandle
from inferlet.plan import Plan
from inferlet.sampler import Probe, Sampler
from inferlet.step import GenStep
from inferlet.tally import Tally
from inferlet.text_watch import TextWatch
from inferlet.token_logprobs import TokenLogprobs

if TYPE_CHECKING:
    from inferlet.adapter import Adapter
    from inferlet.context import Context
    from inferlet.options import GenerateOptions

__all__ = ["Generator"]

T = TypeVar("T")


class Generator:
    """Makes tokens after those of a context. Run it with a collector, with `text`, or step by step.

    Attributes:
        logprobs: how likely each of its tokens so far was; empty without the option `logprobs`.
    """

    def __init__(self, context: Context, sampler: Sampler, **given: Unpack[GenerateOptions]) -> None:
        options.check(given)
        self.context = context
        auto_flush = given.get("auto_flush", True)
        stop = given.get("stop")
        if stop is None:
            stop = chat.stop_tokens(context.model) if auto_flush else ()
        self.tally = Tally(_limit(given.get("max_tokens")), set(stop))
        self.plan = Plan(
            sampler,
            logit_mask=list(given.get("logit_mask") or ()),
            stop_texts=tuple(given.get("stop_texts") or ()),
            adjustment=Adjustment(
                given.get("repetition_penalty"),
                given.get("frequency_penalty"),
                given.get("presence_penalty"),
                dict(given.get("logit_bias") or {}),
            ),
            logprobs=given.get("logprobs"),
            speculator=given.get("speculator"),
            system_speculation=bool(given.get("system_speculation")),
            adapter=given.get("adapter"),
            zo_seed=given.get("zo_seed"),
            horizon=given.get("horizon"),
            seed=given.get("seed"),
            window=given.get("window"),
        )
        self.logprobs: list[TokenLogprobs] = []
        self.watch_text(reasoning=True)
        wanted = given.get("constrain")
        for one in wanted if isinstance(wanted, Sequence) else [wanted]:
            if one is not None:
                self.constrain(one)
        if self.plan.speculator is not None:
            self.plan.speculator.reset()
        if auto_flush:
            context.cue()
        self._untold: list[int] = []
        self._bid_pages = context.pages.num_pages
        context.set_bid(bidding.current_bid(context, bidding.UNKNOWN_LENGTH))

    def max_tokens(self, n: int) -> Self:
        """Stop after `n` tokens."""
        self.tally.max_tokens = _limit(n)
        return self

    def stop(self, tokens: Iterable[int]) -> Self:
        """Replace the stop tokens."""
        self.tally.stop = set(tokens)
        return self

    def add_stop(self, tokens: Iterable[int]) -> Self:
        """Add stop tokens."""
        self.tally.stop |= set(tokens)
        return self

    def constrain(self, constraint: Schema | Constraint) -> Self:
        """Restrict the tokens further."""
        if isinstance(constraint, Schema):
            constraint = constraint.build_constraint(self.context.model)
        if not isinstance(constraint, Constraint):
            raise Error("bad-constraint", f"{type(constraint).__name__} has neither build_constraint() nor step()")
        self.plan.constraints.append(constraint)
        return self

    def horizon(self, n: int) -> Self:
        """Expect `n` tokens when bidding."""
        self.plan.horizon = n
        return self

    def adapter(self, adapter: Adapter) -> Self:
        """Apply an adapter."""
        self.plan.adapter = adapter
        return self

    def zo_seed(self, seed: int) -> Self:
        """Perturb the adapter by the noise of `seed` in every step."""
        self.plan.zo_seed = seed
        return self

    def disable_system_speculation(self) -> Self:
        """Do not let the server guess."""
        self.plan.system_speculation = False
        return self

    def probe_each_step(self, index: int, probe: Probe) -> ProbeHandle:
        """Read the logits after the input token at `index` of every step; -1 is the last one."""
        handle = ProbeHandle()
        self.plan.probes.append((index, probe, handle))
        return handle

    @property
    def tokens_generated(self) -> int:
        """Tokens so far."""
        return self.tally.num_generated

    @property
    def reasoning_tokens(self) -> int:
        """How many of them were what the model thinks, once it has ended; only of what the server ran as a whole."""
        return self.tally.num_reasoning

    @property
    def is_done(self) -> bool:
        """Whether the generation has ended."""
        return self.tally.is_over

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenStep:
        if self.tally.is_over or not self.can_continue():
            self.tally.done = True
            raise StopAsyncIteration
        if self.plan.needs_host is not None:
            raise Error("host-only", f"{self.plan.needs_host} is for generations that run as a whole, not step by step")
        self._rebid()
        return GenStep(self, self._next_mask())

    def accept(self, tokens: Iterable[int]) -> list[int]:
        """Take tokens that the program has drawn itself, up to a stop token or the limit; return those taken."""
        kept = self.tally.take(tokens)
        if self.plan.speculator is not None and kept.tokens:
            self.plan.speculator.accept(kept.tokens)
        self.moved_on(kept.tokens)
        self.context.append(kept.tokens)
        return kept.tokens

    async def collect_tokens(self, *, reasoning: bool = True) -> list[int]:
        """Run to the end and return all tokens.

        Args:
            reasoning: False looks for stop texts in the answer alone.

        Raises:
            Error: the generation failed.
        """
        run = runs.start(self, runs.Wishes(reasoning=reasoning))
        tokens: list[int] = []
        while (more := await run.next()) is not None:
            tokens += more
        return tokens

    async def collect_text(self, *, echo: bool = False, reasoning: bool = True) -> str:
        """Run to the end and return the visible text.

        Args:
            echo: also print it as it comes.
            reasoning: False leaves out what the model thinks before it answers.

        Raises:
            Error: the generation failed.
        """
        run = runs.start(self, runs.Wishes(text=True, echo=echo, reasoning=reasoning))
        while await run.next() is not None:
            pass
        return run.text()

    @overload
    async def collect_json(self, *, schema: str | Mapping[str, Any] | None = None) -> Any: ...

    @overload
    async def collect_json(self, *, schema: str | Mapping[str, Any] | None = None, parse: Callable[[Any], T]) -> T: ...

    async def collect_json(
        self, *, schema: str | Mapping[str, Any] | None = None, parse: Callable[[Any], Any] | None = None
    ) -> Any:
        """Run to the end under a JSON grammar and return the value, passed through `parse` if that is given.

        Raises:
            Error: the generation failed; `incomplete-json` if it ended before the value was complete.
        """
        self.constrain(any_json() if schema is None else json_schema(schema))
        text = await self.collect_text()
        try:
            value = json.loads(text)
        except ValueError as error:
            cause = f"the value ended after {self.tokens_generated} tokens ({error}); max_tokens may be too small"
            raise Error("incomplete-json", cause) from None
        return value if parse is None else parse(value)

    def text(self, *, echo: bool = False, reasoning: bool = True) -> runs.TextStream:
        """The visible text piece by piece; `echo` and `reasoning` as in `collect_text`."""
        wishes = runs.Wishes(notify_every=1, text=True, echo=echo, reasoning=reasoning)
        return runs.TextStream(runs.start(self, wishes))

    def tokens(self, *, reasoning: bool = True) -> runs.TokenStream:
        """The tokens as they come, one or several at a time; `reasoning` as in `collect_tokens`."""
        return runs.TokenStream(runs.start(self, runs.Wishes(notify_every=1, reasoning=reasoning)))

    def can_continue(self) -> bool:
        """Whether the grammars allow anything more."""
        return not any(grammar.is_complete for grammar in self.plan.grammars)

    def moved_on(self, tokens: list[int]) -> None:
        """Tell the constraints of new tokens."""
        for grammar in self.plan.grammars:
            grammar.advance(tokens)
        self._untold += tokens

    def watch_text(self, *, reasoning: bool) -> None:
        """Look for stop texts in what the tokens from here on say; without `reasoning` in the answer alone."""
        if self.plan.stop_texts:
            self.tally.completes = TextWatch(self.context.model, self.plan.stop_texts, reasoning=reasoning).completes

    def _next_mask(self) -> list[int]:
        untold, self._untold = self._untold, []
        masks = [grammar.step([]) for grammar in self.plan.grammars]
        masks += [custom.step(list(untold)) for custom in self.plan.customs]
        return mask.intersect([self.plan.logit_mask, *masks])

    def _rebid(self) -> None:
        # The formula moves with the pages held; asking the server for its terms before every token would cost more
        # than it could gain.
        if self.context.pages.num_pages != self._bid_pages:
            self._bid_pages = self.context.pages.num_pages
            expected = bidding.outlook(
                horizon=self.plan.horizon,
                max_tokens=self.tally.max_tokens,
                num_generated=self.tally.num_generated,
            )
            self.context.set_bid(bidding.current_bid(self.context, expected))


def _limit(max_tokens: int | None) -> int | None:
    if max_tokens is not None and max_tokens < 0:
        raise Error("bad-number", f"max_tokens is {max_tokens}, not a whole number of 0 or more")
    return max_tokens
