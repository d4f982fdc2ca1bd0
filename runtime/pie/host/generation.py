"""pie:ext/generation: whole generations, run by the host without waking the program for each token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pie.errors import RequestError
from pie.forward import DecodeRequest, LogitMask, LogprobsWanted, Sampler
from pie.generation.drafter import NgramDrafter
from pie.generation.generation import Generation as OffloadedGeneration
from pie.generation.generation import Progress
from pie.generation.text_stop import TextStop
from pie.host.adapter import Adapter, ChosenAdapter
from pie.host.adjusting import adjustment_of
from pie.host.context import Context
from pie.host.inference import Matcher
from pie.host.interface import Interface
from pie.host.mailbox import Event
from pie.host.samplers import sampler_or_probe
from pie.host.state import state_of
from pie.host.stop_texts import checked_stop_texts
from pie.mask import Window, brle_to_bitmask
from pie.text.matcher import GrammarConstraint
from pie.wasm.guest import Guest
from pie.wasm.wasi.poll import Pollable

__all__ = ["INTERFACE", "Generation"]

INTERFACE = Interface("pie:ext/generation")

_MAX_LOGPROBS = 20


class Generation:
    """A guest's handle of an offloaded generation; dropping it ends the generation."""

    def __init__(self, generation: OffloadedGeneration) -> None:
        """Wrap a generation that runs."""
        self.offloaded = generation

    def pollable(self) -> Pollable:
        """Ready once there is news."""
        return Pollable(self.offloaded.news())

    def get(self) -> Progress | None:
        """What is new; the contract calls both a stop token and a complete constraint a stop."""
        news = self.offloaded.take()
        return replace(news, finish="stop") if news is not None and news.finish == "complete" else news

    def text(self) -> str:
        """The visible text so far."""
        return self.offloaded.text()

    def reasoning_tokens(self) -> int:
        """How many tokens so far were reasoning."""
        return self.offloaded.num_reasoning()

    def cancel(self) -> None:
        """End it now."""
        self.offloaded.cancel()

    close = cancel


INTERFACE.resource("generation", Generation, ["pollable", "get", "text", "reasoning-tokens", "cancel"])


@INTERFACE.function("[static]generation.start")
def start(
    guest: Guest, context: Context, options: dict[str, Any], matchers: list[Matcher], adapter: Adapter | None
) -> Generation:
    """Start to generate in a context, which is the generation's until it ends."""
    state, served = state_of(guest), context.served
    stop_texts = checked_stop_texts(options["stop_texts"])
    use = ChosenAdapter(adapter, _signed(options["adapter_seed"])).use(served)
    sampler = sampler_or_probe(options["sampler"])
    if not isinstance(sampler, Sampler) or sampler.draws != 1:
        raise RequestError(
            "bad-sampler", "a generation needs a sampler of one draw", remedy="Read probes with a forward pass."
        )

    def pipe(text: str) -> None:
        state.mailbox.say(Event("stdout", text.encode()))

    generation = OffloadedGeneration(
        served.chat_decoder(with_reasoning=not options["hide_reasoning"]),
        notify_every=options["notify_every"],
        pipe=pipe if options["pipe"] else None,
        stop_texts=stop_texts,
    )
    reader = served.chat_decoder(with_reasoning=not options["hide_reasoning"])
    is_seeded = options["seed"] is not None
    seed, counter = (options["seed"], options["counter"]) if is_seeded else context.next_draws()
    request = DecodeRequest(
        context=context.context_id,
        token_ids=tuple(options["tokens"]),
        sampler=sampler,
        max_tokens=options["max_tokens"],
        stop_ids=frozenset(options["stop"]),
        seed=seed,
        counter=counter,
        mask=_mask(options["logit_mask"], served.vocab_size),
        constraint=GrammarConstraint(matcher.text for matcher in matchers) if matchers else None,
        watch=TextStop(reader, stop_texts) if stop_texts else None,
        drafter=NgramDrafter() if options["speculate"] and not stop_texts else None,
        adapter=use,
        window=_window(options["window"]),
        adjustment=adjustment_of(options["adjustment"], served.vocab_size),
        logprobs=_logprobs(options["logprobs"], generation),
    )
    generation.attach(served.scheduler.decode(request, generation))
    if not is_seeded:
        context.draw_by(generation)
    return Generation(generation)


def _logprobs(num_top: int | None, generation: OffloadedGeneration) -> LogprobsWanted | None:
    if num_top is None:
        return None
    if num_top > _MAX_LOGPROBS:
        raise RequestError(
            "bad-request",
            f"log-probabilities of {num_top} tokens in place of each",
            remedy=f"Ask for {_MAX_LOGPROBS} at most.",
        )
    return LogprobsWanted(num_top, generation.logprobs)


def _signed(seed: int | None) -> int | None:
    """The s64 of the same 64 bits."""
    return None if seed is None else (seed ^ (1 << 63)) - (1 << 63)


def _window(window: dict[str, int] | None) -> Window | None:
    return None if window is None else Window(window["size"], window["sink"])


def _mask(runs: list[int] | None, vocab_size: int) -> LogitMask | None:
    return brle_to_bitmask(runs, vocab_size) if runs else None
