"""The vocabulary of a forward pass: what is asked, what one step holds, what comes back.

Values only, all frozen. The host writes requests, the scheduler turns many of them into one `Batch`,
the device answers with a `StepResult`. Nothing here knows of tensors on a device, of queues or of guests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pie.adjustment import Adjustment, Adjustments
from pie.mask import Window

__all__ = [
    "AdapterDevice",
    "AdapterFiles",
    "AdapterInfo",
    "AdapterNumber",
    "AdapterUse",
    "Batch",
    "BoolBytes",
    "Constraint",
    "ContextId",
    "DecodeRequest",
    "Device",
    "DeviceInfo",
    "Distribution",
    "Drafter",
    "Embedding",
    "Entropy",
    "FinishReason",
    "ForwardRequest",
    "ForwardResult",
    "HostPageId",
    "Int32Array",
    "LogitMask",
    "Logits",
    "Logprobs",
    "LogprobsWanted",
    "OutputSlot",
    "PageId",
    "Probe",
    "ProbeValue",
    "Progress",
    "Readout",
    "Sampler",
    "SearchStart",
    "StepResult",
    "TokenLogprobs",
    "TokenSink",
    "Watch",
]

AdapterNumber = int
ContextId = int
PageId = int
HostPageId = int
Int32Array = npt.NDArray[np.int32]
BoolBytes = npt.NDArray[np.uint8]
LogitMask = npt.NDArray[np.uint32]
"""Allowed tokens as bits, `[ceil(vocab_size / 32)]`: token t is allowed if bit t % 32 of word t // 32 is set."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws tokens from one row of logits. Filters apply in the order top-k, top-p, min-p.

    Attributes:
        temperature: 0 means the most likely token (lowest id on a tie); otherwise logits are divided by it.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of most likely tokens whose probability reaches this; 1 keeps all.
        min_p: keep tokens at least this likely relative to the most likely one; 0 keeps all.
        draws: how many tokens to draw independently from the row.
    """

    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    draws: int = 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """The `k` most likely tokens and their probabilities at `temperature`; k = 0 is the whole vocabulary."""

    temperature: float
    k: int


@dataclass(frozen=True, slots=True)
class Logits:
    """The raw logits of the row, before any mask or temperature."""


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Natural-log probabilities of the given tokens at temperature 1, unmasked, in the given order."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entropy:
    """Entropy of the unmasked distribution at temperature 1, in nats."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The final hidden state of the row (after the last norm), f32."""


Probe = Distribution | Logits | Logprobs | Entropy | Embedding


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """Adapter weights that a device holds; they never change, other weights get another number.

    Attributes:
        number: what the device calls them; never used again.
        version: hex digest of all that decides what a pass gives; equal weights have equal versions on any device.
        population: members of a generation if they can be trained by evolution strategies, else None.
    """

    number: AdapterNumber
    version: str
    population: int | None = None


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """What a pass applies on top of the model's weights.

    Attributes:
        number: the device's adapter weights.
        version: their version, which stands for them wherever keys and values are kept.
        seed: noise that is added to the weights, None for the weights as they are.
    """

    number: AdapterNumber
    version: str
    seed: int | None = None

    @property
    def key(self) -> bytes:
        """What tells keys and values made with this from any others: `[16 bytes]`."""
        return hashlib.blake2b(f"{self.version} {self.seed}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class SearchStart:
    """A fresh adapter for evolution strategies: its shape and the state of its search.

    Attributes:
        rank: columns of the thin matrices.
        alpha: the change is multiplied by alpha / rank.
        population: members of a generation.
        mu_fraction: share of them that the next mean is made of.
        sigma: first step size.
        seed: of the random first weights.
    """

    rank: int
    alpha: float
    population: int
    mu_fraction: float
    sigma: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFiles:
    """The files of a saved adapter.

    Attributes:
        weights: a safetensors file: ours, or that of a PEFT directory.
        config: `adapter_config.json` of a PEFT directory; None for a file of ours.
    """

    weights: bytes
    config: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """One thing read from the logits of one input row of a request.

    Attributes:
        index: which input token's row, 0-based within the request.
        what: a sampler (draws tokens) or a probe (only reads).
        mask: tokens the sampler may draw; None is no restriction. Ignored by probes.
    """

    index: int
    what: Sampler | Probe
    mask: LogitMask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ForwardRequest:
    """One forward pass of one context: its input tokens, appended to the context's working pages, and what to read.

    Attributes:
        context: the context whose KV the pass reads and extends.
        token_ids: the input tokens, at least one.
        positions: their RoPE positions, one each.
        readouts: what to read, in the order in which the slots come back.
        seed: key of the random stream of this pass.
        counter: index in that stream of the first draw; a pass uses one index per draw.
        attention_mask: one BRLE row per input token over the keys visible to it (KV before the pass plus the pass's
            own tokens up to and including it); None is causal.
        adapter: applied to every input token; None is the model as it is.
    """

    context: ContextId
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    readouts: tuple[Readout, ...] = ()
    seed: int = 0
    counter: int = 0
    attention_mask: tuple[tuple[int, ...], ...] | None = None
    adapter: AdapterUse | None = None


ProbeValue = (
    tuple[Int32Array, npt.NDArray[np.float32]]  # Distribution: ids, probabilities, most likely first
    | npt.NDArray[np.float32]  # Logits [vocab], Logprobs [k], Embedding [hidden]
    | float  # Entropy
)


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely a drawn token was, at temperature 1 and before adjustments and masks.

    Attributes:
        logprob: the natural logarithm of its probability.
        top: the most likely tokens and theirs, most likely first, lower ids first among equals.
    """

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LogprobsWanted:
    """Who wants to know how likely the tokens of a decode were.

    Attributes:
        num_top: so many of the most likely tokens are told with each.
        tell: takes those of the next tokens, before the sink takes the tokens; on the event loop, must not raise.
    """

    num_top: int
    tell: Callable[[Sequence[TokenLogprobs]], None]


@dataclass(frozen=True, slots=True, eq=False)
class OutputSlot:
    """The answer to one readout: the drawn tokens of a sampler, or the value of a probe."""

    tokens: tuple[int, ...] = ()
    value: ProbeValue | None = None
    logprobs: TokenLogprobs | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ForwardResult:
    """The answer to a `ForwardRequest`: one slot per readout, in order."""

    slots: tuple[OutputSlot, ...]


class Constraint(Protocol):
    """What restricts each next token of a decode; called on the event loop only, between steps."""

    def mask(self) -> LogitMask | None:
        """The tokens allowed next; None is no restriction."""
        ...

    def accept(self, token_id: int) -> bool:
        """Advance by a drawn token; True if nothing may follow it."""
        ...

    def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
        """The tokens allowed after each of these guesses; stays where it is.

        The list ends before the first guess that is not allowed or that nothing may follow.
        """
        ...


class Watch(Protocol):
    """What looks at the tokens of a decode and may end it; called on the event loop only, between steps.

    It restricts no token, so several may be drawn before it sees them; those after the end do not count.
    """

    def accept(self, token_id: int) -> bool:
        """Take the next token; True if the decode ends with it."""
        ...


class Drafter(Protocol):
    """Guesses the tokens of a decode; called on the event loop only. Guesses change how fast tokens come, never which.

    A guess is right if it equals the token drawn in its place, so drawn tokens keep the model's own distribution.
    """

    def feed(self, token_ids: Sequence[int]) -> None:
        """Take tokens that are certain: first all that the context holds, then each step's."""
        ...

    def propose(self, most: int) -> Sequence[int]:
        """Guess at most so many tokens that follow."""
        ...


FinishReason = Literal["stop", "complete", "length"]
"""A stop token was drawn, the constraint allows nothing more, or the limit is reached."""


class TokenSink(Protocol):
    """Who receives the tokens of a decode; called on the event loop only, must not block."""

    def tokens(self, token_ids: Sequence[int]) -> None:
        """Take the next tokens; a stop token is not among them."""
        ...

    def finished(self, reason: FinishReason) -> None:
        """The decode ended by itself; nothing follows."""
        ...

    def failed(self, error: BaseException) -> None:
        """The decode ended by an error; nothing follows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A whole generation of one context, run without its program: pass after pass until a stop or the limit.

    It equals, token for token and page for page, this loop of `ForwardRequest`s: feed `token_ids`, draw one token at
    the last row, end before it if it is a stop token, else pass it on and feed it next. The last token of a decode that
    reached its limit is therefore not in the KV yet. Pages are reserved as needed, committed as they fill, and given
    back once a window has left them behind.

    Attributes:
        context: the context to extend.
        token_ids: input tokens of the first pass, at least one, at the positions after the context's last one.
        sampler: draws each token (its `draws` is 1).
        max_tokens: how many tokens to make at most, >= 1; None is bounded by the context length only.
        stop_ids: tokens that end the decode and are not passed on.
        seed, counter: as in `ForwardRequest`; the counter advances by one per drawn token.
        mask: tokens allowed in every step; None is no restriction.
        constraint: a further restriction that moves with the tokens; None is none.
        watch: ends the decode after a token; None is nobody.
        drafter: guesses tokens, several of which are then checked in one step; None goes token by token, and so does a
            decode with a watch.
        adapter: applied to every token; None is the model as it is.
        window: what each token sees; None is all tokens before it.
        adjustment: changes the logits before each draw; prompt are the tokens of the context and `token_ids`, output
            those drawn. None leaves them as they are.
        logprobs: who wants to know how likely each token was; None is nobody.
    """

    context: ContextId
    token_ids: tuple[int, ...]
    sampler: Sampler
    max_tokens: int | None
    stop_ids: frozenset[int]
    seed: int
    counter: int = 0
    mask: LogitMask | None = None
    constraint: Constraint | None = None
    watch: Watch | None = None
    drafter: Drafter | None = None
    adapter: AdapterUse | None = None
    window: Window | None = None
    adjustment: Adjustment | None = None
    logprobs: LogprobsWanted | None = None

    @property
    def num_top(self) -> int:
        """How many of the most likely tokens are told with each; -1 if log-probabilities are not wanted."""
        return -1 if self.logprobs is None else self.logprobs.num_top


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step of the device: flat arrays, no padding. R rows (tokens), S samplers, L rows whose logits are needed.

    The first step runs as written. If `steps` > 1 the batch is a *decode run*: every row has exactly one
    sampler with one draw, and step k+1 feeds the token that the row drew in step k at the next position, into the
    next KV slot of its page table; a row stops early after its `step_limits` tokens or after drawing one of its
    `stop_ids`. Sampler counters advance by one per step, and adjusted samplers count what they draw.

    Attributes:
        token_ids: [R] i32, input tokens.
        positions: [R] i32, RoPE positions.
        sequence_of_row: [R] i32, which row of `page_table` the token belongs to.
        kv_index: [R] i32, index of the token in its sequence's KV: its keys and values go to page
            `page_table[sequence, kv_index // page_size]`, offset `kv_index % page_size`; without a mask the row sees
            the keys 0 … kv_index, itself included.
        page_table: [sequences, width] i32, physical page ids; entries past a sequence's end are never read.
        page_numbers: [sequences, width] i32, which page of its sequence an entry of `page_table` is, for models whose
            layers have windows; None where entry i is page i, which it is unless masked pages are left out.
        key_mask: [M, max_keys] u8 or None: 1 where a masked row may see the key; only keys <= kv_index count.
        masked_rows: [M] i32, the rows that `key_mask` is about, in its order; the others are causal.
        logit_rows: [L] i32, the rows whose logits are computed.
        sampler_rows: [S] i32, index into `logit_rows` of each sampler; samplers with d draws stand d times.
        temperature, top_p, min_p: [S] f32; top_k: [S] i32 (see `Sampler`).
        seeds, counters: [S] u64: a draw depends on nothing else than these two and its row's logits.
        logit_masks: [K, ceil(vocab / 32)] u32, allowed tokens.
        sampler_masks: [S] i32, row of `logit_masks` of each sampler; -1 is no mask.
        adjustments: what is done to the logits of some samplers before masks; None if there are none.
        logprobs: [S] i32, how many of the most likely tokens are told beside the log-probability of the drawn one;
            -1 tells neither. None if no sampler wants any; a decode run has none.
        probes: (index into `logit_rows`, probe) pairs.
        page_copies: [C, 2] i32, (from, to) page copies done before the step (copy-on-write).
        adapters: the adapters that rows use.
        adapter_of_row: [R] i32, index into `adapters` of each row, -1 is none; None if no row uses one.
        steps: how many tokens a decode run makes per row at most.
        step_limits: [S] i32, at most this many tokens for each sampler's row (>= 1); only read if `steps` > 1.
        stop_ids: per sampler, sorted token ids that end its row (the stop token itself is returned).
    """

    token_ids: Int32Array
    positions: Int32Array
    sequence_of_row: Int32Array
    kv_index: Int32Array
    page_table: Int32Array
    logit_rows: Int32Array
    sampler_rows: Int32Array
    temperature: npt.NDArray[np.float32]
    top_k: Int32Array
    top_p: npt.NDArray[np.float32]
    min_p: npt.NDArray[np.float32]
    seeds: npt.NDArray[np.uint64]
    counters: npt.NDArray[np.uint64]
    logit_masks: npt.NDArray[np.uint32]
    sampler_masks: Int32Array
    adjustments: Adjustments | None = None
    logprobs: Int32Array | None = None
    probes: tuple[tuple[int, Probe], ...] = ()
    page_copies: Int32Array = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    page_numbers: Int32Array | None = None
    key_mask: BoolBytes | None = None
    masked_rows: Int32Array = field(default_factory=lambda: np.zeros(0, np.int32))
    adapters: tuple[AdapterUse, ...] = ()
    adapter_of_row: Int32Array | None = None
    steps: int = 1
    step_limits: Int32Array = field(default_factory=lambda: np.zeros(0, np.int32))
    stop_ids: tuple[Int32Array, ...] = ()

    @property
    def num_rows(self) -> int:
        """R, the number of tokens of the (first) step."""
        return len(self.token_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """How far a decode run is, while it lasts: what the device and who waits for it share.

    The device writes all but `landing`, and `num_steps` last.

    Attributes:
        tokens: [S, steps] i32, as in `StepResult`; what counts of it are the first `num_steps` steps.
        num_tokens: [S] i32, as in `StepResult`; may be one step ahead of `num_steps`.
        num_steps: [1] i32, how many steps are over.
        landing: [1] i32, other than 0 if the run must end with the step in work.
    """

    tokens: Int32Array
    num_tokens: Int32Array
    num_steps: Int32Array
    landing: Int32Array

    @classmethod
    def of(cls, num_samplers: int, steps: int) -> Progress:
        """That of a run before it begins."""
        shapes = ((num_samplers, steps), (num_samplers,), (1,), (1,))
        return cls(*(np.zeros(shape, np.int32) for shape in shapes))


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """What a step made.

    Attributes:
        tokens: [S, steps] i32, the drawn tokens of each sampler.
        num_tokens: [S] i32, how many of them are real.
        probes: one value per probe of the batch, in order.
        logprobs: sampler index -> how likely its token was, of those that wanted to know and drew one.
        failures: sampler index or S + probe index -> one line; such a slot has no tokens or value, the others do.
    """

    tokens: Int32Array
    num_tokens: Int32Array
    probes: tuple[ProbeValue | None, ...] = ()
    logprobs: Mapping[int, TokenLogprobs] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the scheduler must know of a device.

    Attributes:
        model: the model's name.
        fingerprint: hex digest of architecture and weights; a saved context opens only where it is the same.
        checkpoint: hex digest of architecture and files, however weights are kept; adapters fit where it is the same.
        vocab_size: number of logits per row.
        max_positions: context length of the model in tokens.
        page_size: tokens per KV page.
        num_pages: pages of the KV cache.
        page_bytes: size of one page over all layers.
        num_host_pages: pages of host memory that can hold copies of KV pages.
    """

    model: str
    fingerprint: str
    checkpoint: str
    vocab_size: int
    max_positions: int
    page_size: int
    num_pages: int
    page_bytes: int
    num_host_pages: int = 0


class Device(Protocol):
    """Where steps run. One call at a time is in work; calls finish in the order in which they were made."""

    @property
    def info(self) -> DeviceInfo:
        """The device's fixed facts."""
        ...

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        """Run one batch; raises DeviceOutOfMemory if its rows do not fit, but then its page copies are done.

        With `progress` a decode run tells how far it is and ends early if it must land; what it has drawn before it
        runs short of memory is its result then.
        """
        ...

    async def move_pages(
        self, outward: Sequence[tuple[PageId, HostPageId]], homeward: Sequence[tuple[PageId, HostPageId]]
    ) -> None:
        """Copy pages to host pages, one after another, and then host pages back to pages."""
        ...

    async def save_pages(self, path: Path, pages: Sequence[PageId], *, metadata: Mapping[str, str]) -> None:
        """Write the pages' KV with `metadata` to a safetensors file: complete and durable, or not there."""
        ...

    async def load_pages(self, path: Path, pages: Sequence[PageId]) -> None:
        """Read a file of `save_pages` into pages; raises ContextError(`snapshot-unusable`) if it does not fit."""
        ...

    def free_adapter(self, number: AdapterNumber) -> None:
        """Let adapter weights go once the steps that were handed over are done."""
        ...


class AdapterDevice(Protocol):
    """Where adapters lie. Weights never change: what changes an adapter gives new weights, under a new number."""

    async def begin_adapter(self, start: SearchStart) -> AdapterInfo:
        """Make fresh weights for evolution strategies; raises AdapterError(`adapter-unusable`)."""
        ...

    async def load_adapter(self, files: AdapterFiles) -> AdapterInfo:
        """Make weights of saved files; raises AdapterError(`adapter-unusable`) if they do not fit the model."""
        ...

    async def dump_adapter(self, number: AdapterNumber) -> bytes:
        """The file of ours that holds these weights; raises AdapterError(`adapter-not-found`)."""
        ...

    async def update_adapter(
        self, number: AdapterNumber, *, scores: Sequence[float], seeds: Sequence[int], max_sigma: float
    ) -> AdapterInfo:
        """Make the next generation's weights; raises AdapterError(`adapter-not-found`, `adapter-unusable`)."""
        ...
