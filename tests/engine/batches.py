"""Building batches by hand: sequences with their own pages, tokens fed to them, samplers and probes put on rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pie.adjustment import Adjusted, Adjustment, Adjustments
from pie.engine.engine import Engine
from pie.forward import Batch, Embedding, LogitMask, Logits, Probe, Sampler

__all__ = [
    "GREEDY",
    "Draw",
    "Feed",
    "Held",
    "adjustments_of",
    "decode_batch",
    "greedy",
    "held",
    "make_batch",
    "row_logits",
    "same_in_mixed_batches",
]

GREEDY = Sampler(temperature=0)


@dataclass(eq=False)
class Held:
    """A context as a test sees it: its pages and how many tokens are in them."""

    pages: list[int]
    length: int = 0


@dataclass(frozen=True, eq=False)
class Draw:
    """A sampler on the last row of a feed."""

    sampler: Sampler = GREEDY
    seed: int = 0
    counter: int = 0
    mask: LogitMask | None = None
    adjustment: Adjustment | None = None
    counts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Feed:
    """Tokens fed to a sequence in one step."""

    sequence: Held
    tokens: Sequence[int]
    draws: Sequence[Draw] = ()
    probes: Sequence[Probe] = ()
    probe_rows: str = "last"
    positions: Sequence[int] | None = None
    visible: npt.NDArray[np.bool_] | None = None


def adjustments_of(draws: Sequence[Draw]) -> Adjustments | None:
    """The adjustments of some draws, which stand in their order."""
    return Adjustments.of(
        [
            Adjusted(
                number,
                draw.adjustment,
                np.array(list(draw.counts), np.int32),
                np.array([*draw.counts.values()], np.int32),
            )
            for number, draw in enumerate(draws)
            if draw.adjustment is not None
        ]
    )


def make_batch(feeds: Sequence[Feed], *, vocab_size: int, page_copies: Sequence[tuple[int, int]] = ()) -> Batch:
    """One step of all feeds; advances the sequences' lengths."""
    rows: list[tuple[int, int, int, int]] = []
    logit_rows: list[int] = []
    draws: list[tuple[int, Draw]] = []
    probes: list[tuple[int, Probe]] = []
    masks: list[tuple[int, npt.NDArray[np.bool_]]] = []
    for index, feed in enumerate(feeds):
        start = feed.sequence.length
        positions = feed.positions or range(start, start + len(feed.tokens))
        for i, (token, position) in enumerate(zip(feed.tokens, positions, strict=True)):
            rows.append((token, position, index, start + i))
            if feed.visible is not None:
                masks.append((len(rows) - 1, feed.visible[i]))
            if feed.probe_rows == "all":
                probes += [(len(logit_rows), probe) for probe in feed.probes]
                logit_rows.append(len(rows) - 1)
        if feed.probe_rows == "last":
            logit_rows.append(len(rows) - 1)
            probes += [(len(logit_rows) - 1, probe) for probe in feed.probes]
        draws += [(len(logit_rows) - 1, draw) for draw in feed.draws]
        feed.sequence.length = start + len(feed.tokens)
    width = max(len(feed.sequence.pages) for feed in feeds)
    # Entries past a sequence's end are never read: any number may stand there.
    table = np.full((len(feeds), width), 2**31 - 1, np.int32)
    for index, feed in enumerate(feeds):
        table[index, : len(feed.sequence.pages)] = feed.sequence.pages
    token_ids, positions_, sequence_of_row, kv_index = (
        np.array(column, np.int32) for column in zip(*rows, strict=True)
    )
    samplers = [draw.sampler for _, draw in draws]
    logit_masks = [draw.mask for _, draw in draws if draw.mask is not None]
    mask_ids = np.cumsum([draw.mask is not None for _, draw in draws]) - 1
    max_keys = max((len(mask) for _, mask in masks), default=0)
    key_mask = np.zeros((len(masks), max_keys), np.uint8)
    for index, (_, mask) in enumerate(masks):
        key_mask[index, : len(mask)] = mask
    return Batch(
        token_ids=token_ids,
        positions=positions_,
        sequence_of_row=sequence_of_row,
        kv_index=kv_index,
        page_table=table,
        logit_rows=np.array(logit_rows, np.int32),
        sampler_rows=np.array([row for row, _ in draws], np.int32),
        temperature=np.array([s.temperature for s in samplers], np.float32),
        top_k=np.array([s.top_k for s in samplers], np.int32),
        top_p=np.array([s.top_p for s in samplers], np.float32),
        min_p=np.array([s.min_p for s in samplers], np.float32),
        seeds=np.array([draw.seed for _, draw in draws], np.uint64),
        counters=np.array([draw.counter for _, draw in draws], np.uint64),
        logit_masks=np.array(logit_masks, np.uint32).reshape(-1, (vocab_size + 31) // 32),
        sampler_masks=np.array(
            [mask_ids[i] if draw.mask is not None else -1 for i, (_, draw) in enumerate(draws)], np.int32
        ),
        adjustments=adjustments_of([draw for _, draw in draws]),
        probes=tuple(probes),
        page_copies=np.array(page_copies, np.int32).reshape(-1, 2),
        key_mask=key_mask if masks else None,
        masked_rows=np.array([row for row, _ in masks], np.int32),
    )


def decode_batch(
    feeds: Sequence[Feed], *, vocab_size: int, steps: int, limits: Sequence[int], stops: Sequence[Sequence[int]]
) -> Batch:
    """A decode run of feeds of one token each."""
    batch = make_batch(feeds, vocab_size=vocab_size)
    return replace(
        batch,
        steps=steps,
        step_limits=np.array(limits, np.int32),
        stop_ids=tuple(np.array(sorted(ids), np.int32) for ids in stops),
    )


def row_logits(engine: Engine, sequence: Held, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    """Feed `tokens` in one step and give the logits of every row, [tokens, vocab]."""
    feed = Feed(sequence, tokens, probes=(Logits(),), probe_rows="all")
    result = engine.step(make_batch([feed], vocab_size=engine.info.vocab_size))
    return np.stack([np.asarray(value, np.float32) for value in result.probes])


def greedy(engine: Engine, sequence: Held, prompt: Sequence[int], num_tokens: int) -> list[int]:
    """Prefill in one step, then decode token by token."""
    made: list[int] = []
    tokens = list(prompt)
    while len(made) < num_tokens:
        result = engine.step(make_batch([Feed(sequence, tokens, [Draw()])], vocab_size=engine.info.vocab_size))
        tokens = [int(result.tokens[0, 0])]
        made += tokens
    return made


def held(index: int) -> Held:
    """Eight pages of its own for each index."""
    return Held(list(range(8 * index, 8 * index + 8)))


def same_in_mixed_batches(alone: Engine, together: Engine, prompts: Sequence[Sequence[int]]) -> None:
    """Rows of prompts in a batch, some of which began before it, are to the bit those of each prompt alone."""
    holders = [held(index) for index in range(len(prompts))]
    probes: list[Probe] = [Logits(), Embedding()]
    first = [Feed(holders[i], prompt[: len(prompt) // 2]) for i, prompt in enumerate(prompts) if i % 2]
    together.step(make_batch(first, vocab_size=320))
    rest = [Feed(holder, prompts[i][holder.length :], probes=probes) for i, holder in enumerate(holders)]
    got = together.step(make_batch(rest, vocab_size=320)).probes
    for index, prompt in enumerate(prompts):
        lone = make_batch([Feed(held(index), prompt, probes=probes)], vocab_size=320)
        for value, expected in zip(got[2 * index : 2 * index + 2], alone.step(lone).probes, strict=True):
            np.testing.assert_array_equal(value, expected)
