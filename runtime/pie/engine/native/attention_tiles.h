// Paged attention for bf16 by the processor's matrix tiles (Intel AMX), over the pages of attention.h.
//
// A tile of sums has up to 16 rows, each a query head of a row of the step; one row's heads alone are such a tile, and so
// are those of several rows that follow each other in one sequence. Sums belong to one row of a tile and add up 16 keys
// at a time, in the order of the keys: what a row gives does not depend on which rows share its tile. It differs in
// rounding from attention_lanes.h: a model's attention is computed by one of the two, always.
#pragma once

#include "key_walk.h"
#include "tiles.h"

namespace pie {

constexpr int MAX_TILES = 4;  // of query heads, for which a chunk's keys are read once
constexpr int LONE_HEADS = 2;  // key heads of a lone row that are computed together; more were slower for short contexts

#ifdef PIE_TILES

constexpr int CHUNK_KEYS = CHUNK * LANES;
constexpr int LINES_OF_TILE = TILE_ROWS;  // cache lines of 64 bytes

// Weights are e^(score - anchor). The anchor moves only when a score is so much above it, which is rare after the first
// keys; until then weights are above one, and a bf16 keeps as many digits of those.
constexpr float LIFT = 8;

// 0 to 3 hold sums, 4 queries, 5 weights, 6 keys, 7 values.
struct alignas(64) AttentionShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {};
    uint8_t rows[16] = {};

    explicit AttentionShapes(int count) {
        for (int i = 0; i < 8; i++) rows[i] = count, bytes_per_row[i] = 64;
        bytes_per_row[5] = 32;
        rows[6] = 16, rows[7] = 8;
    }
};

// What is known so far of up to 16 query heads of one key head: `rows` rows of the step from `row` on, `heads` of each.
struct HeadTile {
    int kv_head, row, rows, heads;
    alignas(64) bf16 query[TILE_ROWS * MAX_HEAD_DIM];
    alignas(64) float mixed[TILE_ROWS * MAX_HEAD_DIM];
    Floats total[TILE_ROWS];  // of the weights, lane by lane
    float anchor[TILE_ROWS];

    int count() const { return rows * heads; }
};

// scores [count, CHUNK_KEYS] of BLOCKS blocks.
template <int BLOCKS>
inline void score_blocks(const HeadTile& tile, int dim, const bf16* const* keys, float* scores, Asker& asker) {
    constexpr size_t stride = CHUNK_KEYS * sizeof(float), bytes = 64;
    _tile_zero(0);
    if constexpr (BLOCKS > 1) {
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int d = 0; d < dim; d += TILE_INPUTS) {
        asker.ask(LINES_OF_TILE / 2);
        _tile_loadd(4, tile.query + d, dim * sizeof(bf16));
        _tile_loadd(6, keys[0] + d * LANES, bytes);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (BLOCKS > 1) {
            asker.ask(LINES_OF_TILE / 2);
            _tile_loadd(6, keys[1] + d * LANES, bytes);
            _tile_dpbf16ps(1, 4, 6);
            asker.ask(LINES_OF_TILE / 2);
            _tile_loadd(6, keys[2] + d * LANES, bytes);
            _tile_dpbf16ps(2, 4, 6);
            asker.ask(LINES_OF_TILE / 2);
            _tile_loadd(6, keys[3] + d * LANES, bytes);
            _tile_dpbf16ps(3, 4, 6);
        }
    }
    _tile_stored(0, scores, stride);
    if constexpr (BLOCKS > 1) {
        _tile_stored(1, scores + LANES, stride);
        _tile_stored(2, scores + 2 * LANES, stride);
        _tile_stored(3, scores + 3 * LANES, stride);
    }
}

// mixed [count, dim] += weights [count, CHUNK_KEYS] times the values of the blocks `begin` … `end`, WIDTH dimensions of
// each from `d` on.
template <int WIDTH>
inline void mix_blocks(HeadTile& tile, int dim, int d, const bf16* const* all, const bf16* weights, int begin, int end,
                       Asker& asker) {
    const size_t stride = dim * sizeof(float), pairs = dim * 2 * sizeof(bf16);
    float* mixed = tile.mixed + d;
    _tile_loadd(0, mixed, stride);
    _tile_loadd(1, mixed + LANES, stride);
    if constexpr (WIDTH > 2 * LANES) {
        _tile_loadd(2, mixed + 2 * LANES, stride);
        _tile_loadd(3, mixed + 3 * LANES, stride);
    }
    for (int b = begin; b < end; b++) {
        asker.ask(LINES_OF_TILE * 3 / 8);
        const bf16* values = all[b] + d * 2;
        _tile_loadd(5, weights + b * LANES, CHUNK_KEYS * sizeof(bf16));
        _tile_loadd(7, values, pairs);
        _tile_dpbf16ps(0, 5, 7);
        asker.ask(LINES_OF_TILE * 3 / 8);
        _tile_loadd(7, values + 2 * LANES, pairs);
        _tile_dpbf16ps(1, 5, 7);
        if constexpr (WIDTH > 2 * LANES) {
            asker.ask(LINES_OF_TILE * 3 / 8);
            _tile_loadd(7, values + 4 * LANES, pairs);
            _tile_dpbf16ps(2, 5, 7);
            asker.ask(LINES_OF_TILE * 3 / 8);
            _tile_loadd(7, values + 6 * LANES, pairs);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, mixed, stride);
    _tile_stored(1, mixed + LANES, stride);
    if constexpr (WIDTH > 2 * LANES) {
        _tile_stored(2, mixed + 2 * LANES, stride);
        _tile_stored(3, mixed + 3 * LANES, stride);
    }
}

inline void mix(HeadTile& tile, int dim, const bf16* const* values, const bf16* weights, int begin, int end,
                Asker& asker) {
    if (begin == end) return;
    int d = 0;
    for (; d + 4 * LANES <= dim; d += 4 * LANES) mix_blocks<4 * LANES>(tile, dim, d, values, weights, begin, end, asker);
    if (d < dim) mix_blocks<2 * LANES>(tile, dim, d, values, weights, begin, end, asker);
}

// The weights of one block; what came before it must be in `mixed` if an anchor moves, which `settle` sees to.
template <class F>
inline void weigh(HeadTile& tile, int dim, const Scores& rules, const Chunk& chunk, int block, const float* scores,
                  bf16* weights, F settle) {
    for (int h = 0; h < tile.count(); h++) {
        Floats score = rules.capped(load_floats(scores + h * CHUNK_KEYS));
        Ints seen = ~Ints{};
        if (!chunk.whole[block]) {
            seen = chunk.seen[block][tile.row + h / tile.heads];
            score = seen ? score : Floats{} - INFINITY;
        }
        const float now = maximum(score);
        if (now > tile.anchor[h] + LIFT) {
            if (tile.anchor[h] != -INFINITY) {
                settle();
                const float shrink = expf(tile.anchor[h] - now);
                tile.total[h] *= shrink;
                float* mixed = tile.mixed + h * dim;
                for (int d = 0; d < dim; d += LANES) store(mixed + d, load_floats(mixed + d) * shrink);
            }
            tile.anchor[h] = now;
        }
        bf16* to = weights + h * CHUNK_KEYS;
        Floats weight = exponential(score - tile.anchor[h]);
        store(to, chunk.whole[block] ? weight : seen ? weight : Floats{});
        tile.total[h] += load_floats(to);  // the rounded weights, so that their shares add up to one
    }
}

// The values of a block with zeros after those that are kept: there may be anything, also NaN.
inline void keep_values(const bf16* values, int dim, int kept, bf16* to) {
    for (int t = 0; t < LANES; t += 2) {
        const uint32_t bits = t + 2 <= kept ? 0xffffffff : t + 1 == kept ? 0x0000ffff : 0;
        for (int at = t * dim; at < (t + 2) * dim; at += 2 * LANES) {
            const Words words = load<Words>(values + at) & bits;
            memcpy(to + at, &words, sizeof(words));
        }
    }
}

// The keys and values of a chunk, of one key head.
struct Blocks {
    const bf16 *keys[CHUNK], *values[CHUNK];

    void take(const Pages<bf16>& cache, const Chunk& chunk, int kv_head) {
        const int dim = cache.head_dim;
        for (int b = 0; b < chunk.count; b++) {
            const size_t at = chunk.at[b] + cache.of_head(kv_head), place = size_t(b) * LANES * dim;
            keys[b] = cache.keys_at(at, key_room + place), values[b] = cache.values_at(at, value_room + place);
            if (chunk.kept[b] == LANES) continue;
            keep_values(values[b], dim, chunk.kept[b], ending);  // of the last block alone
            values[b] = ending;
        }
    }

   private:
    alignas(64) bf16 key_room[CHUNK_KEYS * MAX_HEAD_DIM], value_room[CHUNK_KEYS * MAX_HEAD_DIM];
    alignas(64) bf16 ending[LANES * MAX_HEAD_DIM];
};

inline void attend_chunk(HeadTile& tile, int dim, const Scores& rules, const Chunk& chunk, const Blocks& blocks,
                         Asker& asker) {
    alignas(64) float scores[TILE_ROWS * CHUNK_KEYS];
    alignas(64) bf16 weights[TILE_ROWS * CHUNK_KEYS];
    int b = 0;
    for (; b + 4 <= chunk.count; b += 4) score_blocks<4>(tile, dim, blocks.keys + b, scores + b * LANES, asker);
    for (; b < chunk.count; b++) score_blocks<1>(tile, dim, blocks.keys + b, scores + b * LANES, asker);
    int mixed = 0;
    for (b = 0; b < chunk.count; b++) {
        asker.ask(dim * 3 / 16);
        weigh(tile, dim, rules, chunk, b, scores + b * LANES, weights + b * LANES, [&] {
            mix(tile, dim, blocks.values, weights, mixed, b, asker);
            mixed = b;
        });
        asker.ask(dim * 3 / 16);
    }
    mix(tile, dim, blocks.values, weights, mixed, chunk.count, asker);
}

inline void begin_tile(HeadTile& tile, const Queries<bf16>& queries) {
    const int dim = queries.head_dim;
    tile.heads = queries.heads;
    for (int r = 0; r < tile.rows; r++)
        memcpy(tile.query + r * tile.heads * dim, queries.query + size_t(r) * queries.stride,
               tile.heads * dim * sizeof(bf16));
    for (int h = 0; h < tile.count(); h++) {
        tile.total[h] = Floats{}, tile.anchor[h] = -INFINITY;
        std::fill(tile.mixed + h * dim, tile.mixed + (h + 1) * dim, 0.0f);
    }
}

inline void end_tile(const HeadTile& tile, const Queries<bf16>& queries) {
    const int dim = queries.head_dim;
    for (int h = 0; h < tile.count(); h++) {
        const float all = sum(tile.total[h]);
        bf16* out = queries.out + size_t(h / tile.heads) * queries.stride + h % tile.heads * dim;
        for (int d = 0; d < dim; d += LANES)
            store(out + d, all == 0 ? Floats{} : load_floats(tile.mixed + h * dim + d) / all);
    }
}

// At most 16 query heads of each key head, and several rows or several key heads, not both. Returns whether it could be
// done for all rows at once: see `KeyWalk::fill`. The first keys of `following` are asked for at the end, if there is one.
inline bool attend_by_tiles(const Queries<bf16>& queries, int group, const Pages<bf16>& cache, const Strip& strip,
                            const Strip* following, const Scores& rules) {
    const int per_tile = std::max(1, TILE_ROWS / queries.heads), of_rows = (strip.count + per_tile - 1) / per_tile;
    const int tiles = of_rows * strip.kv_heads;
    HeadTile tile[MAX_TILES];
    const auto part = [&](int t) {
        return queries.part(tile[t].row, (tile[t].kv_head - strip.kv_head) * group, queries.heads);
    };
    for (int t = 0; t < tiles; t++) {
        tile[t].kv_head = strip.kv_head + t / of_rows, tile[t].row = t % of_rows * per_tile;
        tile[t].rows = std::min(per_tile, strip.count - tile[t].row);
        begin_tile(tile[t], part(t));
    }
    KeyWalk walk(cache, strip.kv_head, strip.rows, strip.count);
    Chunk chunks[2], ahead;
    Blocks blocks;
    int shaped = 0;
    if (!walk.fill(chunks[0])) return false;
    for (int turn = 0; chunks[turn].count; turn = 1 - turn) {
        if (!walk.fill(chunks[1 - turn])) return false;
        Asker asker = strip.count > 1 ? Asker() : Asker(cache, chunks[1 - turn], strip.kv_head, strip.kv_heads);
        if (!chunks[1 - turn].count && following) {
            KeyWalk(cache, following->kv_head, following->rows, 1).fill(ahead);
            asker = Asker(cache, ahead, following->kv_head, following->kv_heads);
        }
        for (int t = 0; t < tiles; t++) {
            if (tile[t].count() != shaped) shape_tiles(AttentionShapes(shaped = tile[t].count()));
            if (t % of_rows == 0) blocks.take(cache, chunks[turn], tile[t].kv_head);
            attend_chunk(tile[t], cache.head_dim, rules, chunks[turn], blocks, asker);
        }
        asker.ask_rest();
    }
    for (int t = 0; t < tiles; t++) end_tile(tile[t], part(t));
    return true;
}

// Of a model whose queries have `query_size` numbers; small ones are left to attention_lanes.h for the reasons in tiles.h.
inline bool fits_attention_tiles(const bf16*, int query_size, int head_dim) {
    return query_size >= WORTH_TILES && head_dim % TILE_INPUTS == 0 && tiles_allowed();
}

// How many rows of a sequence walk the keys together, where tiles are used.
inline int rows_at_once(int heads) { return std::min(ROWS_AT_ONCE, MAX_TILES * std::max(1, TILE_ROWS / heads)); }

// Queries of the first key head of a strip; each has `heads`.
inline void attend_strip(const Queries<bf16>& queries, const Pages<bf16>& cache, const Strip& strip,
                         const Strip* following, const Scores& rules) {
    for (int head = 0; head < queries.heads; head += TILE_ROWS) {
        const Queries<bf16> some = queries.part(0, head, std::min(TILE_ROWS, queries.heads - head));
        if (attend_by_tiles(some, queries.heads, cache, strip, following, rules)) continue;
        for (int r = 0; r < strip.count; r++)
            attend_by_tiles(some.part(r, 0, some.heads), queries.heads, cache,
                            {strip.rows + r, 1, strip.kv_head, strip.kv_heads}, nullptr, rules);
    }
    _tile_release();
}
#else
inline bool fits_attention_tiles(const bf16*, int, int) { return false; }
inline int rows_at_once(int) { return 1; }
inline void attend_strip(const Queries<bf16>&, const Pages<bf16>&, const Strip&, const Strip*, const Scores&) {}
#endif

inline bool fits_attention_tiles(const float*, int, int) { return false; }
inline void attend_strip(const Queries<float>&, const Pages<float>&, const Strip&, const Strip*, const Scores&) {}

}  // namespace pie
