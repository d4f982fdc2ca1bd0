"""Single forward passes of a context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from wit_world.imports import inference, sampling
from wit_world.imports import zo as wit_zo

from inferlet import loop
from inferlet.errors import Error, call
from inferlet.output import Output, ProbeHandle, SampleHandle
from inferlet.readouts import Readouts
from inferlet.sampler import Probe, Sampler

if TYPE_CHECKING:
    from inferlet.adapter import Adapter
    from inferlet.context import Context
    from inferlet.media import Audio, Image

__all__ = ["Forward", "flush", "new_pass", "run_pass"]


def new_pass(context: Context, *, adapter: Adapter | None, zo_seed: int | None) -> inference.ForwardPass:
    """A pass of a context with nothing asked yet; run it with `run_pass`."""
    forward_pass = context.take_pass()
    if adapter is not None:
        forward_pass.adapter(adapter.wit)
    if zo_seed is not None:
        wit_zo.adapter_seed(forward_pass, zo_seed)
    return forward_pass


async def run_pass(context: Context, forward_pass: inference.ForwardPass) -> inference.Output:
    """What a pass gives.

    Raises:
        Error: it is not well formed, or there are no pages for it.
    """
    pending = call(forward_pass.execute)
    context.keep_pass(forward_pass)  # `execute` has emptied it; one that is not well formed is not used again
    return await loop.output(pending)


async def flush(context: Context, *, adapter: Adapter | None, zo_seed: int | None) -> None:
    """Send the buffer of a context to the server, with an adapter if there is one, and commit the pages it fills.

    Raises:
        Error: there are no pages for it, or the context would grow too long. The buffer is then unchanged.
    """
    tokens = context.buffer()
    if not tokens:
        return
    pages = context.pages
    pages.reserve(len(tokens))
    forward_pass = new_pass(context, adapter=adapter, zo_seed=zo_seed)
    forward_pass.input_tokens(tokens, list(range(pages.seq_len, pages.seq_len + len(tokens))))
    await run_pass(context, forward_pass)
    context.pending.drop(len(tokens))
    pages.wrote(len(tokens))
    pages.commit()


class Forward:
    """One forward pass in the making. Tokens buffered in the context are flushed before it runs, with its adapter."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._inputs: list[tuple[list[int], list[int] | None]] = []
        self._media: list[tuple[Image | Audio, int]] = []
        self._readouts = Readouts()
        self._logit_mask: list[int] | None = None
        self._attention_mask: list[list[int]] | None = None
        self._adapter: Adapter | None = None
        self._zo_seed: int | None = None
        self._draws: tuple[int, int] | None = None

    def start_position(self) -> int:
        """Position of the first token given to `input`."""
        return self._context.seq_len + len(self._context.buffer())

    def input(self, tokens: Iterable[int]) -> Self:
        """Append tokens; positions follow those before."""
        self._inputs.append((list(tokens), None))
        return self

    def input_at(self, tokens: Iterable[int], positions: Iterable[int]) -> Self:
        """Append tokens at given positions.

        Pages of a pass with given positions are not committed: positions may repeat or leave gaps.
        """
        ids, places = list(tokens), list(positions)
        if len(ids) != len(places):
            raise Error("bad-positions", f"{len(ids)} tokens come with {len(places)} positions")
        self._inputs.append((ids, places))
        return self

    def input_image(self, image: Image, anchor: int) -> Self:
        """Put a picture at position `anchor`."""
        self._media.append((image, anchor))
        return self

    def input_audio(self, audio: Audio, anchor: int) -> Self:
        """Put sound at position `anchor`."""
        self._media.append((audio, anchor))
        return self

    def attention_mask(self, masks: Iterable[Sequence[int]]) -> Self:
        """One BRLE per input token over the keys it may attend to; without it each token sees all before it."""
        self._attention_mask = [list(mask) for mask in masks]
        return self

    def mask(self, brle: Sequence[int]) -> Self:
        """The tokens that samplers may draw, as BRLE."""
        self._logit_mask = list(brle)
        return self

    def sample(self, indices: Iterable[int], sampler: Sampler) -> SampleHandle:
        """Draw tokens after the input tokens at `indices`, counted over all inputs."""
        return self._readouts.sample(list(indices), sampler)

    def probe(self, index: int, probe: Probe) -> ProbeHandle:
        """Read the logits after the input token at `index`."""
        return self._readouts.probe(index, probe)

    def adapter(self, adapter: Adapter) -> Self:
        """Apply an adapter."""
        self._adapter = adapter
        return self

    def zo_seed(self, seed: int) -> Self:
        """Perturb the adapter by the noise of `seed`."""
        self._zo_seed = seed
        return self

    def seed(self, seed: int, counter: int = 0) -> Self:
        """Draw from entry `counter` on of the random stream `seed`, so that the pass can be repeated."""
        self._draws = (seed, counter)
        return self

    async def execute(self) -> Output:
        """Run the pass.

        Raises:
            Error: the pass is not well formed, or there are no pages for it.
        """
        context = self._context
        await flush(context, adapter=self._adapter, zo_seed=self._zo_seed)
        num_tokens = sum(len(tokens) for tokens, _ in self._inputs)
        num_media = sum(media.token_count for media, _ in self._media)
        context.pages.reserve(num_tokens + num_media)
        raw = await run_pass(context, self._pass())
        keeps_positions = any(positions is not None for _, positions in self._inputs)
        if self._media or keeps_positions:
            context.pages.refresh()
        else:
            context.pages.wrote(num_tokens)
            context.pages.commit()
        return Output(raw, places=self._readouts.places(len(raw.slots)))

    def _pass(self) -> inference.ForwardPass:
        forward_pass = new_pass(self._context, adapter=self._adapter, zo_seed=self._zo_seed)
        position = self._context.seq_len
        for tokens, positions in self._inputs:
            if positions is None:
                positions = list(range(position, position + len(tokens)))
                position += len(tokens)
            if tokens:
                forward_pass.input_tokens(tokens, positions)
        for media, anchor in self._media:
            media.attach_to(forward_pass, anchor)
        if self._attention_mask is not None:
            forward_pass.attention_mask(self._attention_mask)
        if self._logit_mask is not None:
            forward_pass.logit_mask(self._logit_mask)
        if self._draws is not None:
            sampling.seed(forward_pass, *self._draws)
        self._readouts.attach_to(forward_pass)
        return forward_pass
