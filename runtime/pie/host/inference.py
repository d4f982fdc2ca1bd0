"""pie:core/inference: single forward passes, and the grammars that restrict them."""

from __future__ import annotations

import asyncio
from typing import Any, assert_never

import numpy as np

from pie.errors import PieError, RequestError
from pie.forward import (
    AdapterUse,
    Distribution,
    Embedding,
    Entropy,
    ForwardRequest,
    ForwardResult,
    LogitMask,
    Logits,
    Logprobs,
    OutputSlot,
    Probe,
    Sampler,
)
from pie.host.adapter import Adapter, ChosenAdapter
from pie.host.context import Context
from pie.host.drafting import Guesses, guess_next
from pie.host.guesses import Checked, arrange
from pie.host.interface import Interface
from pie.host.model import Model, Tokenizer
from pie.host.samplers import sampler_or_probe
from pie.host.served_model import ServedModel
from pie.host.state import HostState, state_of
from pie.mask import bitmask_to_brle, brle_to_bitmask
from pie.text.grammar import Grammar as TextGrammar
from pie.text.grammar import GrammarCompiler
from pie.text.matcher import Matcher as TextMatcher
from pie.wasm.guest import Guest
from pie.wasm.values import Variant
from pie.wasm.wasi.poll import Pollable

__all__ = ["INTERFACE", "ForwardPass", "FutureOutput", "Grammar", "Matcher"]

INTERFACE = Interface("pie:core/inference")


class FutureOutput:
    """The answer to a pass, once it is there.

    Attributes:
        task: brings what the pass gave.
        guesses: of the host for the tokens after the pass, filled in when that is over.
    """

    def __init__(self, task: asyncio.Future[ForwardResult], checked: Checked) -> None:
        """Wrap the running pass; dropping the handle cancels it."""
        self.task = task
        self.guesses = Guesses()
        self._checked = checked

    @property
    def num_draws(self) -> int:
        """How many numbers of its random stream the pass used; draws after wrong guesses do not count."""
        most = self._checked.num_draws
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            return most
        return most - (len(self._checked.guesses) - self._checked.num_right(self.task.result()))

    def pollable(self) -> Pollable:
        """Ready once the pass is over."""
        return Pollable(self.task)

    def get(self) -> dict[str, Any] | None:
        """The WIT record `output`, or None if the pass still runs.

        Raises:
            PieError: the pass failed; the contract has no error arm here, so the guest traps.
        """
        if not self.task.done():
            return None
        if self.task.cancelled():
            raise RequestError("context-destroyed", "the context was given up while its pass ran")
        return output_record(self.task.result(), self._checked, self.guesses)

    def close(self) -> None:
        """Stop waiting."""
        self.task.cancel()


class ForwardPass:
    """What the next `execute` will ask; `execute` empties it, so a handle serves many passes."""

    def __init__(self, state: HostState, served: ServedModel) -> None:
        """Start with nothing asked."""
        self._state = state
        self._served = served
        self._context: Context | None = None
        self._clear()

    def _clear(self) -> None:
        self._token_ids: list[int] = []
        self._positions: list[int] = []
        self._guesses: list[int] = []
        self._guess_positions: list[int] = []
        self._wants_guesses = False
        self._logit_masks: list[LogitMask | None] | None = None
        self._asked: list[tuple[int, Sampler | Probe]] = []
        self._attention_mask: tuple[tuple[int, ...], ...] | None = None
        self._logit_mask: LogitMask | None = None
        self._stream: tuple[int, int] | None = None
        self._adapter = ChosenAdapter()
        self._error: PieError | None = None

    def context(self, context: Context) -> None:
        """Which context to read and extend; kept for later passes of this handle."""
        self._context = context

    def input_tokens(self, tokens: list[int], positions: list[int]) -> None:
        """Add input tokens at positions."""
        self._check_positions(tokens, positions)
        self._token_ids += tokens
        self._positions += positions

    def input_speculative_tokens(self, tokens: list[int], positions: list[int]) -> None:
        """Add guesses for the tokens that the sampler at the last input draws; they stand after all inputs."""
        self._check_positions(tokens, positions)
        self._guesses += tokens
        self._guess_positions += positions

    def output_speculative_tokens(self, flag: bool) -> None:  # noqa: FBT001 (the contract's shape)
        """Ask for guesses of the tokens after this pass."""
        self._wants_guesses = flag

    def pass_speculation(self, _flag: bool) -> None:  # noqa: FBT001 (the contract's shape)
        """A permission to start the next pass early, of which this host makes no use."""

    def attention_mask(self, mask: list[list[int]]) -> None:
        """Which keys each input token may see; one BRLE row per input token."""
        self._attention_mask = tuple(tuple(row) for row in mask)

    def logit_mask(self, mask: list[int]) -> None:
        """Which tokens the samplers may draw; an empty mask is no restriction."""
        self._logit_mask = self._bitmask(mask)

    def logit_masks(self, masks: list[list[int]]) -> None:
        """Which tokens may be drawn, one mask per index of each sampler (see `pie.host.guesses.arrange`)."""
        self._logit_masks = [self._bitmask(mask) for mask in masks]

    def sampler(self, indices: list[int], sampler: Variant) -> None:
        """Read at these input tokens: one slot per index, in the order of the calls."""
        try:
            what = sampler_or_probe(sampler)
        except PieError as error:
            self._fail(error)
            return
        self._asked += [(index, what) for index in indices]

    def seed(self, seed: int, counter: int) -> None:
        """Draw from this stream instead of the context's own."""
        self._stream = (seed, counter)

    def adapter(self, adapter: Adapter) -> None:
        """Apply an adapter to every input token."""
        self._adapter.adapter = adapter

    def adapter_seed(self, seed: int) -> None:
        """Add the noise of a seed to the adapter."""
        self._adapter.seed = seed

    def refuse(self, error: PieError) -> None:
        """Make the next `execute` fail: something asked of the pass is not to be had."""
        self._fail(error)

    def _bitmask(self, mask: list[int]) -> LogitMask | None:
        try:
            return brle_to_bitmask(mask, self._served.vocab_size) if mask else None
        except PieError as error:
            self._fail(error)
            return None

    def _check_positions(self, tokens: list[int], positions: list[int]) -> None:
        if len(tokens) != len(positions):
            self._fail(
                RequestError(
                    "bad-positions",
                    f"{len(tokens)} tokens came with {len(positions)} positions",
                    remedy="Give one position for each token.",
                )
            )

    def _fail(self, error: PieError) -> None:
        self._error = self._error or error  # told by execute, which has an error arm

    def execute(self) -> FutureOutput:
        """Ask; the answer comes through the future. What was asked is forgotten here."""
        try:
            return self._execute()
        finally:
            self._clear()

    def _execute(self) -> FutureOutput:
        if self._error is not None:
            raise self._error
        checked = arrange(
            self._asked,
            num_inputs=len(self._token_ids),
            guesses=self._guesses,
            mask=self._logit_mask,
            masks=self._logit_masks,
        )
        adapter = self._adapter.use(self._served)
        if self._context is None:
            future = self._start_alone(checked, adapter)
        else:
            future = self._start(self._context, checked, adapter)
        if adapter is not None:
            self._served.adapters.weights.keep_during(adapter.number, future.task)
        return future

    def _start(self, context: Context, checked: Checked, adapter: AdapterUse | None) -> FutureOutput:
        scheduler, request = self._served.scheduler, self._request(context, checked, adapter)
        future = FutureOutput(scheduler.submit(request), checked)

        def guess(task: asyncio.Future[ForwardResult]) -> None:
            if not task.cancelled() and task.exception() is None:
                future.guesses = guess_next(scheduler, request, checked, task.result())

        if self._wants_guesses:
            future.task.add_done_callback(guess)  # the first to hear of the result, before whoever waits for it
        if self._stream is None:
            context.draw_by(future)
        return future

    def _start_alone(self, checked: Checked, adapter: AdapterUse | None) -> FutureOutput:
        """Run the pass in a context of its own, which ends with it."""
        context_id = self._served.scheduler.create(self._state.process_id, salt=self._state.username)
        request = self._request(Context(self._state, self._served, context_id), checked, adapter)
        return FutureOutput(self._state.spawn(_forward_once(self._served, request)), checked)

    def _request(self, context: Context, checked: Checked, adapter: AdapterUse | None) -> ForwardRequest:
        seed, counter = self._stream or context.next_draws()
        return ForwardRequest(
            context=context.context_id,
            token_ids=(*self._token_ids, *self._guesses),
            positions=(*self._positions, *self._guess_positions),
            readouts=checked.readouts,
            seed=seed,
            counter=counter,
            attention_mask=self._attention_mask,
            adapter=adapter,
        )


async def _forward_once(served: ServedModel, request: ForwardRequest) -> ForwardResult:
    """Run a pass and give its context back."""
    scheduler = served.scheduler
    try:
        page_size = scheduler.describe(request.context).page_size
        await scheduler.reserve(request.context, -(-len(request.token_ids) // page_size))
        return await scheduler.forward(request)
    finally:
        scheduler.destroy(request.context)


def output_record(result: ForwardResult, checked: Checked, guesses: Guesses) -> dict[str, Any]:
    """The WIT record `output`: one slot per drawn token or probe, in the order asked, and the guesses."""
    slots: list[Variant] = []
    for slot, what in checked.slots(result):
        slots += _slot_outputs(slot, what)
    positions = range(guesses.first_position, guesses.first_position + len(guesses.token_ids))
    return {"slots": slots, "spec_tokens": list(guesses.token_ids), "spec_positions": list(positions)}


def _slot_outputs(slot: OutputSlot, what: Sampler | Probe) -> list[Variant]:
    match what:
        case Sampler():
            return [Variant("token", token) for token in slot.tokens]
        case Distribution():
            return [Variant("distribution", slot.value)]
        case Logits():
            return [Variant("logits", _little_endian_floats(slot.value))]
        case Logprobs():
            return [Variant("logprobs", slot.value)]
        case Entropy():
            return [Variant("entropy", slot.value)]
        case Embedding():
            return [Variant("embedding", _little_endian_floats(slot.value))]
        case _:
            assert_never(what)


def _little_endian_floats(values: Any) -> bytes:
    return np.asarray(values, "<f4").tobytes()


class Grammar:
    """A guest's handle of a compiled grammar."""

    def __init__(self, grammar: TextGrammar) -> None:
        """Wrap a grammar."""
        self.text = grammar

    def to_string(self) -> str:
        """The grammar in EBNF."""
        return self.text.to_string()


class Matcher:
    """A guest's handle of a walk through a grammar."""

    def __init__(self, grammar: TextGrammar) -> None:
        """Stand at the start of a grammar."""
        self.text = TextMatcher(grammar)
        self._vocab_size = grammar.vocab_size

    def accept_tokens(self, token_ids: list[int]) -> None:
        """Advance by tokens."""
        self.text.accept(token_ids)

    def next_token_logit_mask(self) -> list[int]:
        """What may come next, as BRLE; empty if everything may."""
        words = self.text.mask()
        return [] if words is None else bitmask_to_brle(words, self._vocab_size)

    def masks_ahead(self, token_ids: list[int]) -> list[list[int]]:
        """What may come after each token, as BRLE, as far as the grammar allows them."""
        ahead = self.text.masks_ahead(token_ids)
        return [[] if words is None else bitmask_to_brle(words, self._vocab_size) for words in ahead]

    def is_terminated(self) -> bool:
        """Whether nothing may follow."""
        return self.text.is_terminated

    def reset(self) -> None:
        """Go back to the start."""
        self.text.reset()


INTERFACE.resource("future-output", FutureOutput, ["pollable", "get"])
INTERFACE.resource(
    "forward-pass",
    ForwardPass,
    [
        "context",
        "input-tokens",
        "input-speculative-tokens",
        "output-speculative-tokens",
        "pass-speculation",
        "attention-mask",
        "logit-mask",
        "sampler",
        "adapter",
        "execute",
    ],
)


@INTERFACE.function("[constructor]forward-pass")
def forward_pass(guest: Guest, model: Model) -> ForwardPass:
    """A pass with nothing asked yet."""
    return ForwardPass(state_of(guest), model.served)


INTERFACE.resource("grammar", Grammar, ["to-string"])
INTERFACE.resource("matcher", Matcher, ["accept-tokens", "next-token-logit-mask", "is-terminated", "reset"])


@INTERFACE.function("[static]grammar.from-json-schema")
async def grammar_from_json_schema(guest: Guest, schema: str) -> Grammar:
    """JSON that fits a schema."""
    return Grammar(await _grammars(guest).from_json_schema(schema))


@INTERFACE.function("[static]grammar.json")
async def grammar_json(guest: Guest) -> Grammar:
    """Any JSON."""
    return Grammar(await _grammars(guest).json())


@INTERFACE.function("[static]grammar.from-regex")
async def grammar_from_regex(guest: Guest, pattern: str) -> Grammar:
    """Text that matches a regular expression."""
    return Grammar(await _grammars(guest).from_regex(pattern))


@INTERFACE.function("[static]grammar.from-ebnf")
async def grammar_from_ebnf(guest: Guest, ebnf: str) -> Grammar:
    """Text of a context-free grammar."""
    return Grammar(await _grammars(guest).from_ebnf(ebnf))


@INTERFACE.function("[constructor]matcher")
def matcher(_guest: Guest, grammar: Grammar, _tokenizer: Tokenizer) -> Matcher:
    """A walk at the start of a grammar."""
    return Matcher(grammar.text)


def _grammars(guest: Guest) -> GrammarCompiler:
    """The compiler of the only model: the contract names none where a grammar is made."""
    return state_of(guest).model("").grammars
