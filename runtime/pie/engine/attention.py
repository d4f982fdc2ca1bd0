"""Paged attention in torch: any mixture of prefill and decode rows over page tables, in tiles of fixed shape.

Rows of one sequence are put together in tiles of `_TILE_ROWS`; each tile walks its keys in blocks of about
`_BLOCK_KEYS`, with the running maximum and sum of Milakov and Gimelshein, "Online normalizer calculation for softmax"
(2018). All shapes and the order of the blocks are fixed, so a row's result does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pie.engine.backend import Rows
from pie.engine.kv_cache import KVCache
from pie.engine.kv_form import as_integers
from pie.forward import Int32Array

__all__ = ["AttentionPlan", "Scores", "attend", "plan_attention"]

Index = npt.NDArray[np.int64]

_TILE_ROWS = 8
_BLOCK_KEYS = 64
_TILES_AT_ONCE = 64  # bounds the gathered keys to a few tens of megabytes


@dataclass(frozen=True, slots=True, eq=False)
class AttentionPlan:
    """What all layers of a step share.

    Attributes:
        slots: [R] i64, where each row's key goes (`page * page_size + offset`).
        tile_rows: [T, _TILE_ROWS] i64, the rows of each tile; free places repeat its first row.
        last_key: [T, _TILE_ROWS] i64, the last key each of them may see.
        place: [T, _TILE_ROWS] i64, which token of its sequence each row is; as `last_key` unless pages are left out.
        key_places: [T, keys] i64, likewise for the keys of the tile's pages; None unless pages are left out.
        tile_pages: [T, width] i64, pages of the tile's sequence, 0 past its end.
        visible: [T, _TILE_ROWS, keys] bool or None: the mask rows, spread over the tiles; None if no row has one.
        place_of_row: [R] i64, where each row stands in the flattened tiles.
    """

    slots: torch.Tensor
    tile_rows: torch.Tensor
    last_key: torch.Tensor
    place: torch.Tensor
    key_places: torch.Tensor | None
    tile_pages: torch.Tensor
    visible: torch.Tensor | None
    place_of_row: torch.Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """What a layer does to its scores.

    Attributes:
        window: how many tokens of its sequence a row sees at most, its own included; None is all.
        soft_cap: bound c of the scores, by c * tanh(score / c), or None.
    """

    window: int | None = None
    soft_cap: float | None = None


_PLAIN = Scores()


def plan_attention(rows: Rows, page_size: int) -> AttentionPlan:
    """Cut the rows of a step into tiles."""
    tile_rows, place_of_row = _tiles(rows.sequence_of_row)
    last_key = rows.kv_index[tile_rows]
    pages_per_block = max(1, _BLOCK_KEYS // page_size)
    width = -(-(int(rows.kv_index.max()) // page_size + 1) // pages_per_block) * pages_per_block
    tile_pages = np.zeros((len(tile_rows), width), np.int64)
    table = rows.page_table[rows.sequence_of_row[tile_rows[:, 0]], :width]
    held = np.arange(table.shape[1]) <= last_key.max(axis=1)[:, None] // page_size
    tile_pages[:, : table.shape[1]] = np.where(held, table, 0)
    slots = rows.page_table[rows.sequence_of_row, rows.kv_index // page_size].astype(np.int64) * page_size
    slots += rows.kv_index % page_size
    place, key_places = _places(rows, tile_rows, width, page_size)
    return AttentionPlan(
        slots=torch.from_numpy(slots),
        tile_rows=torch.from_numpy(tile_rows),
        last_key=torch.from_numpy(last_key.astype(np.int64)),
        place=torch.from_numpy(place),
        key_places=None if key_places is None else torch.from_numpy(key_places),
        tile_pages=torch.from_numpy(tile_pages),
        visible=_visible(rows, tile_rows, width * page_size),
        place_of_row=torch.from_numpy(place_of_row),
    )


def attend(
    queries: torch.Tensor, cache: KVCache, layer: int, plan: AttentionPlan, scores: Scores = _PLAIN
) -> torch.Tensor:
    """Attention of one layer.

    Args:
        queries: [R, heads, head_dim] f32, scaled.
        cache: where the keys and values are, those of these rows included.
        layer: which layer.
        plan: of these rows.
        scores: what this layer does to them.

    Returns:
        [R, heads * head_dim] f32; zeros for a row that may see nothing.
    """
    num_tiles = len(plan.tile_rows)
    parts = [
        _attend_tiles(queries, (cache.keys[layer], cache.values[layer]), plan, slice(at, at + _TILES_AT_ONCE), scores)
        for at in range(0, num_tiles, _TILES_AT_ONCE)
    ]
    return torch.cat(parts)[plan.place_of_row]


def _attend_tiles(
    queries: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], plan: AttentionPlan, part: slice, rules: Scores
) -> torch.Tensor:
    """Output `[tiles * _TILE_ROWS, heads * head_dim]` of some tiles."""
    keys, values = cache
    page_size, num_kv_heads, dim = keys.shape[1:]
    last_key, pages = plan.last_key[part], plan.tile_pages[part]
    tiles, heads = len(last_key), queries.shape[1]
    # [tiles, rows, heads, dim] -> [tiles, kv_heads, group * rows, dim]
    query = queries[plan.tile_rows[part]].view(tiles, _TILE_ROWS, num_kv_heads, -1, dim)
    query = query.permute(0, 2, 3, 1, 4).reshape(tiles, num_kv_heads, -1, dim)
    best = torch.full((*query.shape[:3], 1), -torch.inf)
    total = torch.zeros(*query.shape[:3], 1)
    mixed = torch.zeros_like(query)
    pages_per_block = max(1, _BLOCK_KEYS // page_size)
    block_keys = pages_per_block * page_size
    # Blocks before all windows would add nothing, to the bit; where pages are left out, keys lie nearer than they are.
    first_key = 0 if rules.window is None else max(0, int(last_key.min()) - rules.window + 1)
    for block in range(first_key // block_keys, int(last_key.max()) // block_keys + 1):
        index = pages[:, block * pages_per_block : (block + 1) * pages_per_block]
        key_ids = torch.arange(block * block_keys, (block + 1) * block_keys)
        seen = key_ids <= last_key[:, :, None]  # [tiles, rows, keys]
        if rules.window is not None:
            place = key_ids if plan.key_places is None else plan.key_places[part, None, key_ids]
            seen = seen & (place > plan.place[part][:, :, None] - rules.window)
        if plan.visible is not None:
            seen = seen & plan.visible[part, :, block * block_keys : (block + 1) * block_keys]
        # Slots past the end may hold anything, also NaN, which a weight of zero would not silence.
        held = (key_ids <= last_key.max(dim=1, keepdim=True).values)[:, None, :, None]
        key = torch.where(held, _gather(keys, index), 0)
        value = torch.where(held, _gather(values, index), 0)
        scores = torch.matmul(query, key.transpose(2, 3))
        if rules.soft_cap is not None:
            scores = rules.soft_cap * torch.tanh(scores / rules.soft_cap)
        scores = scores.masked_fill(~seen[:, None].repeat(1, 1, heads // num_kv_heads, 1), -torch.inf)
        new_best = torch.maximum(best, scores.amax(dim=3, keepdim=True))
        anchor = torch.where(new_best == -torch.inf, 0, new_best)
        shrink, weights = torch.exp(best - anchor), torch.exp(scores - anchor)
        total = total * shrink + weights.sum(dim=3, keepdim=True)
        mixed = mixed * shrink + torch.matmul(weights, value)
        best = new_best
    mixed = torch.where(total > 0, mixed / total, 0)
    mixed = mixed.view(tiles, num_kv_heads, -1, _TILE_ROWS, dim).permute(0, 3, 1, 2, 4)
    return mixed.reshape(tiles * _TILE_ROWS, heads * dim)


def _gather(pages: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Keys or values of one block, `[tiles, kv_heads, keys, head_dim]` f32, contiguous."""
    return as_integers(pages)[index].view(pages.dtype).flatten(1, 2).transpose(1, 2).float().contiguous()


def _tiles(sequence_of_row: Int32Array) -> tuple[Index, Index]:
    """Rows of each tile `[T, _TILE_ROWS]`, and each row's place in them, flattened `[R]`."""
    order = np.argsort(sequence_of_row, kind="stable")
    grouped = sequence_of_row[order]
    starts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    tile = np.cumsum(rank % _TILE_ROWS == 0) - 1
    tile_rows = np.repeat(order[rank % _TILE_ROWS == 0][:, None], _TILE_ROWS, axis=1)
    tile_rows[tile, rank % _TILE_ROWS] = order
    place_of_row = np.empty_like(order)
    place_of_row[order] = tile * _TILE_ROWS + rank % _TILE_ROWS
    return tile_rows, place_of_row


def _places(rows: Rows, tile_rows: Index, width: int, page_size: int) -> tuple[Index, Index | None]:
    """Where the tiles' rows [T, _TILE_ROWS], and the keys of `width` pages [T, keys], stand in their sequences."""
    kv_index = rows.kv_index[tile_rows].astype(np.int64)
    if rows.page_numbers is None:
        return kv_index, None
    numbers = rows.page_numbers[rows.sequence_of_row[tile_rows[:, 0]]].astype(np.int64)
    place = np.take_along_axis(numbers, kv_index // page_size, axis=1) * page_size + kv_index % page_size
    keys = np.zeros((len(numbers), width, page_size), np.int64)
    keys[:, : numbers.shape[1]] = (numbers[:, :width] * page_size)[:, :, None]
    return place, (keys + np.arange(page_size)).reshape(len(numbers), -1)


def _visible(rows: Rows, tile_rows: Index, num_keys: int) -> torch.Tensor | None:
    """The key masks of the tiles' rows `[T, _TILE_ROWS, num_keys]`; rows without one see everything."""
    if rows.key_mask is None or rows.mask_of_row is None:
        return None
    visible = np.ones((*tile_rows.shape, num_keys), np.bool_)
    mask_of_place = rows.mask_of_row[tile_rows]
    masked = mask_of_place >= 0
    width = min(num_keys, rows.key_mask.shape[1])
    visible[masked, :width] = rows.key_mask[mask_of_place[masked], :width] != 0
    return torch.from_numpy(visible)
