"""One step of a generation, run by the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from wit_world.imports import inference, sampling

from inferlet.errors import Error
from inferlet.forward import new_pass, run_pass
from inferlet.output import Output, ProbeHandle, SampleHandle
from inferlet.readouts import Readouts
from inferlet.sampler import Probe
from inferlet.tally import Kept

if TYPE_CHECKING:
    from inferlet.generator import Generator

__all__ = ["GenStep"]


class GenStep:
    """A step that has not run yet. Its inputs are the tokens buffered in the context, the last one drawn included."""

    def __init__(self, generator: Generator, mask: list[int]) -> None:
        self._generator = generator
        self._mask = mask
        self._pending = generator.context.buffer()
        self._draws = True
        self._probes: list[tuple[int, Probe, ProbeHandle]] = list(generator.plan.probes)

    def clear_sampler(self) -> Self:
        """Draw nothing; read probes and call `Generator.accept` instead."""
        self._draws = False
        return self

    def probe(self, index: int, probe: Probe) -> ProbeHandle:
        """Read the logits after the input token at `index` of this step; -1 is the last one."""
        handle = ProbeHandle()
        self._probes.append((index, probe, handle))
        return handle

    async def execute(self) -> Output:
        """Run the step and move the generation on.

        At the model's context length the generation ends, and the output is empty.

        Raises:
            Error: the pass failed; the generation may be tried again.
        """
        generator, pages = self._generator, self._generator.context.pages
        drafts, masks = self._drafts()
        while self._pending:
            num_working = pages.num_working
            try:
                return await self._run(drafts, masks)
            except Error as error:
                if error.code != "prompt-too-long" or not (drafts or self._only_goes_on):
                    raise
            # The context is full: with the guesses, or with what was drawn last. Nothing was computed.
            if pages.num_working > num_working:
                pages.release(pages.num_working - num_working)
            if not drafts:
                break
            drafts, masks = [], []
        generator.tally.done = True
        return Output(inference.Output([], [], []))

    @property
    def _only_goes_on(self) -> bool:
        """Whether the input is the last token drawn and nothing else."""
        return len(self._pending) == 1 and self._generator.tally.num_generated > 0

    async def _run(self, drafts: list[tuple[int, int]], masks: list[list[int]]) -> Output:
        generator, context = self._generator, self._generator.context
        num_inputs = len(self._pending) + len(drafts)
        readouts = Readouts()
        sampled = self._attach(readouts)
        context.pages.reserve(num_inputs)
        forward_pass = self._pass(drafts, masks)
        readouts.attach_to(forward_pass)
        raw = await run_pass(context, forward_pass)
        context.pending.drop(len(self._pending))
        context.pages.wrote(num_inputs)
        places = readouts.places(len(raw.slots))
        output = Output(raw, [], sampled, places)
        kept = generator.tally.take([] if sampled is None else output.tokens_at(sampled))
        generator.plan.system_drafts = list(zip(raw.spec_tokens, raw.spec_positions, strict=True))
        self._settle(kept, len(drafts))
        return Output(raw, kept.tokens, sampled, places)

    def _drafts(self) -> tuple[list[tuple[int, int]], list[list[int]]]:
        """Guessed tokens with their positions, no more than can be used, and what may be drawn after each of them."""
        plan, tally = self._generator.plan, self._generator.tally
        if not self._draws or not self._pending or tally.num_remaining == 1:
            return [], []
        first = self._generator.context.seq_len + len(self._pending)
        drafts = plan.system_drafts
        if drafts and drafts[0][1] != first:
            drafts = []  # the program has added tokens of its own meanwhile
        if plan.speculator is not None:
            tokens, positions = plan.speculator.draft()
            positions = positions or list(range(first, first + len(tokens)))
            if len(tokens) != len(positions):
                raise Error("bad-draft", f"the speculator gave {len(tokens)} tokens and {len(positions)} positions")
            drafts = list(zip(tokens, positions, strict=True))
        if tally.num_remaining is not None:
            drafts = drafts[: tally.num_remaining - 1]
        masks = plan.masks_ahead([token for token, _ in drafts]) if drafts else []
        return drafts[: len(masks)], masks

    def _attach(self, readouts: Readouts) -> SampleHandle | None:
        plan = self._generator.plan
        # The server checks the guesses with this sampler: its slots are one for each right guess, and one more.
        sampled = readouts.sample([len(self._pending) - 1], plan.sampler) if self._draws else None
        for index, probe, handle in self._probes:
            readouts.probe(index if index >= 0 else len(self._pending) + index, probe, handle)
        return sampled

    def _pass(self, drafts: list[tuple[int, int]], masks: list[list[int]]) -> inference.ForwardPass:
        generator, plan = self._generator, self._generator.plan
        forward_pass = new_pass(generator.context, adapter=plan.adapter, zo_seed=plan.zo_seed)
        start = generator.context.seq_len
        forward_pass.input_tokens(self._pending, list(range(start, start + len(self._pending))))
        if drafts:
            forward_pass.input_speculative_tokens([token for token, _ in drafts], [place for _, place in drafts])
        if plan.system_speculation and generator.tally.num_remaining != 1:
            forward_pass.output_speculative_tokens(flag=True)
        if plan.window is not None:
            forward_pass.attention_mask(plan.window.rows(start, len(self._pending) + len(drafts)))
        if any(masks):
            sampling.logit_masks(forward_pass, [self._mask, *masks])
        elif self._mask:
            forward_pass.logit_mask(self._mask)
        if plan.seed is not None:
            sampling.seed(forward_pass, plan.seed, generator.tally.num_generated)
        return forward_pass

    def _settle(self, kept: Kept, num_drafts: int) -> None:
        generator, context, speculator = self._generator, self._generator.context, self._generator.plan.speculator
        num_wrong = num_drafts - min(num_drafts, kept.num_fed)
        if speculator is not None:
            speculator.accept(kept.tokens)
        if num_wrong:
            context.truncate(num_wrong)
            if speculator is not None:
                speculator.rollback(num_wrong)
        generator.moved_on(kept.tokens)
        if kept.tokens and not kept.stopped:
            context.append(kept.tokens[-1:])
        context.pages.commit()
        if generator.plan.window is not None:
            unseen = generator.plan.window.unseen_pages(context.seq_len, context.page_size)
            context.pages.discard(unseen)
