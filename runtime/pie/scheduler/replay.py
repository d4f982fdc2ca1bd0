"""Computes again what a context held: the same tokens at the same positions, under the same masks and adapters.

A row depends on nothing but its token, its position, its origin and the rows it sees, so its keys and values come out
bit for bit as they were. Rows may have seen pages that were discarded later: those come back for as long as a row of
the replay sees them, in places that are used one after another, so that no more pages are needed at a time than when
the rows were first computed. Knows no pool and no queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pie.forward import ForwardRequest
from pie.scheduler.context import Context
from pie.scheduler.origins import RowOrigin
from pie.scheduler.passes import Pass

__all__ = ["Layout", "discarded_pages_seen", "lay_out", "replay_passes"]

Sight = Mapping[int, Collection[int]]
"""Page number -> the numbers of the discarded pages that some row of it sees; pages that see none are not in it."""

_PLAIN = RowOrigin(b"")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the pages of a context that comes back lie, and what is computed.

    Attributes:
        num_places: fresh pages that it takes.
        places: page number -> index of a fresh page; a place that is used again belongs to the later number.
        stand_in: index of the fresh page that stands for all discarded ones in the end; None if there are none.
        runs: the page numbers to compute, in order; each run is computed before the next one begins.
    """

    num_places: int
    places: Mapping[int, int]
    stand_in: int | None
    runs: Sequence[Sequence[int]]


def discarded_pages_seen(context: Context) -> Sight:
    """Which discarded pages the rows of each page see."""
    discarded, size, sight = sorted(context.discarded), context.page_size, {}
    if not discarded:
        return {}
    for number, origins in enumerate(_origins(context)):
        before = [page for page in discarded if page <= number]
        num_rows = min(size, context.num_tokens - number * size)
        masks = {origins.get(offset, _PLAIN).runs: origins.get(offset, _PLAIN).mask for offset in range(num_rows)}
        seen = set(before)
        if b"" not in masks:
            spans = [span for mask in masks.values() for span in _spans(mask, size)]
            seen = {page for page in before if any(first <= page <= last for first, last in spans)}
        if seen - {number}:
            sight[number] = frozenset(seen - {number})
    return sight


def lay_out(context: Context, *, known: Collection[int], copied: Collection[int], sight: Sight) -> Layout:
    """Decide how a suspended context comes back.

    Args:
        context: which one.
        known: numbers of pages that are on the device and shared again.
        copied: numbers of pages that are copied back, before anything is computed.
        sight: see `discarded_pages_seen`.
    """
    num_full, discarded = context.num_full_pages, context.discarded
    kept = [n for n in range(context.num_pages) if n not in known and n not in discarded]
    lacking = [n for n in kept if n < num_full and n not in copied]
    draft = _Draft(_last_uses(lacking, sight), num_kept=len(kept) + bool(discarded))
    for number in kept:
        if number in copied:
            draft.put(number, draft.add())
    for number in sorted({*lacking, *draft.last_use}):
        draft.compute(number)
    for number in kept:
        if number >= num_full:
            draft.put(number, draft.take(number)[0])
    stand_in = None
    if discarded:
        taken = {draft.places[number] for number in kept}
        spare = [place for place in range(draft.num_places) if place not in taken]
        stand_in = spare[0] if spare else draft.add()
    return Layout(draft.num_places, draft.places, stand_in, draft.runs)


def replay_passes(context: Context, runs: Iterable[Sequence[int]]) -> list[Pass]:
    """The passes that compute these runs of pages, in the order in which they must run.

    Args:
        context: what is replayed; it knows all its tokens and their origins.
        runs: see `Layout`.
    """
    tokens, positions, size = context.token_ids(), _positions(context), context.page_size
    origins = {n * size + offset: o for n, page in enumerate(_origins(context)) for offset, o in page.items()}
    passes = []
    for run in runs:
        indices = range(run[0] * size, min((run[-1] + 1) * size, context.num_tokens))
        rows = [origins.get(index, _PLAIN) for index in indices]
        start = indices.start
        for adapter, group in groupby(rows, key=lambda row: row.adapter):
            masks = tuple(row.mask for row in group)
            end = start + len(masks)
            request = ForwardRequest(
                context.id,
                tuple(tokens[start:end]),
                tuple(positions[start:end]),
                attention_mask=masks if any(masks) else None,
                adapter=adapter,
            )
            item = Pass(context, request, sequence=0, replay=True)
            item.base, start = start, end
            item.started = True
            passes.append(item)
    return passes


class _Draft:
    """A layout in the making: page numbers get places in their order.

    Attributes:
        last_use: discarded page that is computed -> the last page that sees it.
        num_places, places, runs: as in `Layout`.
    """

    def __init__(self, last_use: Mapping[int, int], *, num_kept: int) -> None:
        """Start without places; so many are needed in the end."""
        self.last_use = last_use
        self.num_places = 0
        self.places: dict[int, int] = {}
        self.runs: list[list[int]] = []
        self._num_kept = num_kept
        self._lent: dict[int, int] = {}

    def add(self) -> int:
        """A place that nobody used before."""
        self.num_places += 1
        return self.num_places - 1

    def put(self, number: int, place: int) -> None:
        """Let a page lie in a place."""
        self.places[number] = place

    def take(self, number: int) -> tuple[int, bool]:
        """A place for a page: a fresh one if it is needed in the end anyhow, else one whose page is of no more use.

        Returns:
            The place, and whether rows of the last run see what lies there.
        """
        over = next((page for page in self._lent if self.last_use[page] < number), None)
        if over is None or self.num_places < self._num_kept:
            return self.add(), False
        return self._lent.pop(over), max(over, self.last_use[over]) >= self.runs[-1][0]

    def compute(self, number: int) -> None:
        """Give a page a place and let it be computed after those before it."""
        place, is_seen = self.take(number)
        # The rows of one run are written at once, so what it sees must not be written over.
        if is_seen or not self.runs or self.runs[-1][-1] != number - 1:
            self.runs.append([])
        self.runs[-1].append(number)
        self.put(number, place)
        if number in self.last_use:
            self._lent[number] = place


def _last_uses(lacking: Collection[int], sight: Sight) -> dict[int, int]:
    """Discarded page -> the last page that sees it, of those that must be computed so that the lacking ones can be."""
    wanted, last_use = set(lacking), dict[int, int]()
    for number in range(max(lacking, default=-1), -1, -1):
        if number in wanted:
            for seen in sight.get(number, ()):
                last_use.setdefault(seen, number)
                wanted.add(seen)
    return last_use


def _origins(context: Context) -> Iterator[Mapping[int, RowOrigin]]:
    """For each page with tokens: offset -> origin of its row, for those that have one."""
    yield from (page.origins for page in context.committed())
    size, working = context.page_size, context.working_origins
    for start in range(0, len(context.working_tokens), size):
        yield {index - start: origin for index, origin in working.items() if start <= index < start + size}


def _spans(mask: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """The first and last page of each stretch of keys that a mask lets through."""
    end = 0
    for index, length in enumerate(mask):
        start, end = end, end + length
        if index % 2 and length:
            yield start // size, (end - 1) // size


def _positions(context: Context) -> list[int]:
    committed = [position for page in context.committed() for position in page.positions.tolist()]
    return [*committed, *context.working_positions]
