// Paged attention for bf16 by the processor's matrix tiles (Intel AMX), over the pages of attention.h.
//
// A tile of sums has up to 16 rows, each a query head of a row of the step; one row's heads alone are such a tile, and so
// are those of several rows that follow each other in one sequence. Sums belong to one row of a tile and add up 16 keys
// at a time, in the order of the keys: what a row gives does not depend on which rows share its tile. It differs in
// rounding from attention.h: a model's attention is computed by one of the two, always.
#pragma once

#include "attention.h"
#include "tiles.h"

namespace pie {

constexpr int ROWS_AT_ONCE = 32;  // rows of a step that walk the keys together, at most

// Query and result of some rows: heads that share a key head lie one after another, rows `stride` apart.
template <class E> struct Queries {
    const E* query;
    E* out;
    int heads, head_dim, stride;

    Queries part(int row, int head, int count) const {
        const size_t at = size_t(row) * stride + size_t(head) * head_dim;
        return {query + at, out + at, count, head_dim, stride};
    }
};

#ifdef PIE_TILES

constexpr int CHUNK = 8;            // blocks of 16 keys whose scores are kept at once
constexpr int CHUNK_KEYS = CHUNK * LANES;

constexpr int MAX_TILES = 4;        // of query heads, over which a chunk's keys stay near

// Weights are e^(score - anchor). The anchor moves when a score is that much above it, which after a few keys is rare;
// e^8 times what fits into a bf16 still fits.
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

// What is known so far of up to 16 query heads: `rows` rows of the step from `row` on, `heads` of each.
struct HeadTile {
    int row, rows, heads;
    alignas(64) bf16 query[TILE_ROWS * MAX_HEAD_DIM];
    alignas(64) float mixed[TILE_ROWS * MAX_HEAD_DIM];
    Floats total[TILE_ROWS];  // of the weights, lane by lane
    float anchor[TILE_ROWS];

    int count() const { return rows * heads; }
};

// Some blocks of 16 keys: where they lie, and which rows see which of them.
struct Chunk {
    int count = 0;
    const bf16 *keys[CHUNK], *values[CHUNK];
    bool whole[CHUNK];  // every row sees all 16 keys; `seen` is not filled
    Ints seen[CHUNK][ROWS_AT_ONCE];
};

// scores [count, CHUNK_KEYS] of BLOCKS blocks.
template <int BLOCKS>
inline void score_blocks(const HeadTile& tile, int dim, const bf16* const* keys, float* scores) {
    constexpr size_t stride = CHUNK_KEYS * sizeof(float), bytes = 64;
    _tile_zero(0);
    if constexpr (BLOCKS > 1) {
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int d = 0; d < dim; d += TILE_INPUTS) {
        _tile_loadd(4, tile.query + d, dim * sizeof(bf16));
        _tile_loadd(6, keys[0] + d * LANES, bytes);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (BLOCKS > 1) {
            _tile_loadd(6, keys[1] + d * LANES, bytes);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(6, keys[2] + d * LANES, bytes);
            _tile_dpbf16ps(2, 4, 6);
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
inline void mix_blocks(HeadTile& tile, int dim, int d, const Chunk& chunk, const bf16* weights, int begin, int end) {
    const size_t stride = dim * sizeof(float), pairs = dim * 2 * sizeof(bf16);
    float* mixed = tile.mixed + d;
    _tile_loadd(0, mixed, stride);
    _tile_loadd(1, mixed + LANES, stride);
    if constexpr (WIDTH > 2 * LANES) {
        _tile_loadd(2, mixed + 2 * LANES, stride);
        _tile_loadd(3, mixed + 3 * LANES, stride);
    }
    for (int b = begin; b < end; b++) {
        const bf16* values = chunk.values[b] + d * 2;
        _tile_loadd(5, weights + b * LANES, CHUNK_KEYS * sizeof(bf16));
        _tile_loadd(7, values, pairs);
        _tile_dpbf16ps(0, 5, 7);
        _tile_loadd(7, values + 2 * LANES, pairs);
        _tile_dpbf16ps(1, 5, 7);
        if constexpr (WIDTH > 2 * LANES) {
            _tile_loadd(7, values + 4 * LANES, pairs);
            _tile_dpbf16ps(2, 5, 7);
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

inline void mix(HeadTile& tile, int dim, const Chunk& chunk, const bf16* weights, int begin, int end) {
    if (begin == end) return;
    int d = 0;
    for (; d + 4 * LANES <= dim; d += 4 * LANES) mix_blocks<4 * LANES>(tile, dim, d, chunk, weights, begin, end);
    if (d < dim) mix_blocks<2 * LANES>(tile, dim, d, chunk, weights, begin, end);
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

inline void attend_chunk(HeadTile& tile, int dim, const Scores& rules, const Chunk& chunk) {
    alignas(64) float scores[TILE_ROWS * CHUNK_KEYS];
    alignas(64) bf16 weights[TILE_ROWS * CHUNK_KEYS];
    int b = 0;
    for (; b + 4 <= chunk.count; b += 4) score_blocks<4>(tile, dim, chunk.keys + b, scores + b * LANES);
    for (; b < chunk.count; b++) score_blocks<1>(tile, dim, chunk.keys + b, scores + b * LANES);
    int mixed = 0;
    for (b = 0; b < chunk.count; b++)
        weigh(tile, dim, rules, chunk, b, scores + b * LANES, weights + b * LANES, [&] {
            mix(tile, dim, chunk, weights, mixed, b);
            mixed = b;
        });
    mix(tile, dim, chunk, weights, mixed, chunk.count);
}

// Walks the keys for rows of a step that follow each other in one sequence.
class KeyWalk {
   public:
    KeyWalk(const Pages<bf16>& cache, int kv_head, const Visible* rows, int count)
        : cache(cache), kv_head(kv_head), rows(rows), count(count) {
        next = rows[0].first();
        for (int r = 1; r < count; r++) next = std::min(next, rows[r].first());
        last = rows[count - 1].last;
    }

    // The next blocks that any row sees; false if a value that only some of the rows see is not finite, so that a weight
    // of zero would not silence it for the others.
    bool fill(Chunk& chunk) {
        chunk.count = 0;
        for (; next <= last && chunk.count < CHUNK; next += LANES)
            if (look(chunk)) {
                const size_t at = rows[0].tile(cache, kv_head, next);
                const size_t room = size_t(chunk.count) * LANES * cache.head_dim;
                chunk.keys[chunk.count] = cache.keys_at(at, key_room + room);
                chunk.values[chunk.count] = cache.values_at(at, value_room + room);
                if (next + LANES > last + 1) chunk.values[chunk.count] = end_of_values(chunk.values[chunk.count]);
                if (count > 1 && !chunk.whole[chunk.count] && !finite(chunk.values[chunk.count])) return false;
                chunk.count++;
            }
        return true;
    }

   private:
    // Whether any row sees some of the next keys.
    bool look(Chunk& chunk) const {
        const int b = chunk.count;
        chunk.whole[b] = !rows[0].partly() && next + LANES <= rows[0].last + 1;
        if (chunk.whole[b]) return true;
        Ints some = {}, all = ~Ints{};
        for (int r = 0; r < count; r++) {
            const Ints seen = chunk.seen[b][r] = rows[r].lanes(next, cache.page_size);
            some |= seen, all &= seen;
        }
        chunk.whole[b] = !any(~all);
        return any(some);
    }

    // The values with zeros after the last key: there may be anything, also NaN.
    const bf16* end_of_values(const bf16* values) {
        const int dim = cache.head_dim;
        for (int t = 0; t < LANES; t += 2) {
            const bf16* from = values + t * dim;
            bf16* to = ending + t * dim;
            const uint32_t keep = next + t + 1 <= last ? 0xffffffff : next + t <= last ? 0x0000ffff : 0;
            for (int d = 0; d < 2 * dim; d += 2 * LANES) {
                const Words words = load<Words>(from + d) & keep;
                memcpy(to + d, &words, sizeof(words));
            }
        }
        return ending;
    }

    bool finite(const bf16* values) const {
        Ints bad = {};
        for (int i = 0; i < LANES * cache.head_dim; i += 2 * LANES) {
            const Words words = load<Words>(values + i);
            bad |= ((words & 0x7f80) == 0x7f80) | ((words & 0x7f800000) == 0x7f800000);
        }
        return !any(bad);
    }

    const Pages<bf16>& cache;
    const int kv_head;
    const Visible* rows;
    const int count;
    int next, last;
    alignas(64) bf16 ending[LANES * MAX_HEAD_DIM];
    alignas(64) bf16 key_room[CHUNK_KEYS * MAX_HEAD_DIM], value_room[CHUNK_KEYS * MAX_HEAD_DIM];
};

inline void begin_tile(HeadTile& tile, const Queries<bf16>& queries, int dim, int row, int rows) {
    tile.row = row, tile.rows = rows, tile.heads = queries.heads;
    for (int r = 0; r < rows; r++)
        memcpy(tile.query + r * queries.heads * dim, queries.query + size_t(row + r) * queries.stride,
               queries.heads * dim * sizeof(bf16));
    for (int h = 0; h < tile.count(); h++) {
        tile.total[h] = Floats{}, tile.anchor[h] = -INFINITY;
        std::fill(tile.mixed + h * dim, tile.mixed + (h + 1) * dim, 0.0f);
    }
}

inline void end_tile(const HeadTile& tile, const Queries<bf16>& queries, int dim) {
    for (int h = 0; h < tile.count(); h++) {
        const float all = sum(tile.total[h]);
        bf16* out = queries.out + size_t(tile.row + h / tile.heads) * queries.stride + h % tile.heads * dim;
        for (int d = 0; d < dim; d += LANES)
            store(out + d, all == 0 ? Floats{} : load_floats(tile.mixed + h * dim + d) / all);
    }
}

// Whether it could be done for these rows at once: see `KeyWalk::fill`. At most 16 heads.
inline bool attend_by_tiles(const Queries<bf16>& queries, const Pages<bf16>& cache, int kv_head, const Visible* rows,
                            int count, const Scores& rules) {
    const int per_tile = TILE_ROWS / queries.heads, tiles = (count + per_tile - 1) / per_tile, dim = cache.head_dim;
    HeadTile tile[MAX_TILES];
    for (int t = 0; t < tiles; t++)
        begin_tile(tile[t], queries, dim, t * per_tile, std::min(per_tile, count - t * per_tile));
    KeyWalk walk(cache, kv_head, rows, count);
    Chunk chunk;
    int shaped = 0;
    while (true) {
        if (!walk.fill(chunk)) return false;
        if (!chunk.count) break;
        for (int t = 0; t < tiles; t++) {
            if (tile[t].count() != shaped) shape_tiles(AttentionShapes(shaped = tile[t].count()));
            attend_chunk(tile[t], dim, rules, chunk);
        }
    }
    for (int t = 0; t < tiles; t++) end_tile(tile[t], queries, dim);
    return true;
}

// Of a model whose queries have `query_size` numbers; small ones are left to attention.h for the reasons in tiles.h.
inline bool fits_attention_tiles(const bf16*, int query_size, int head_dim) {
    return query_size >= WORTH_TILES && head_dim % TILE_INPUTS == 0 && tiles_allowed();
}

// How many rows of a sequence walk the keys together, where tiles are used.
inline int rows_at_once(int heads) { return std::min(ROWS_AT_ONCE, MAX_TILES * std::max(1, TILE_ROWS / heads)); }

inline void attend_rows_by_tiles(const Queries<bf16>& queries, const Pages<bf16>& cache, int kv_head,
                                 const Visible* rows, int count, const Scores& rules) {
    for (int head = 0; head < queries.heads; head += TILE_ROWS) {
        const int heads = std::min(TILE_ROWS, queries.heads - head);
        if (attend_by_tiles(queries.part(0, head, heads), cache, kv_head, rows, count, rules)) continue;
        for (int r = 0; r < count; r++)
            attend_by_tiles(queries.part(r, head, heads), cache, kv_head, rows + r, 1, rules);
    }
    _tile_release();
}
#else
inline bool fits_attention_tiles(const bf16*, int, int) { return false; }
inline int rows_at_once(int) { return 1; }
inline void attend_rows_by_tiles(const Queries<bf16>&, const Pages<bf16>&, int, const Visible*, int, const Scores&) {}
#endif

inline bool fits_attention_tiles(const float*, int, int) { return false; }
inline void attend_rows_by_tiles(const Queries<float>&, const Pages<float>&, int, const Visible*, int, const Scores&) {}

}  // namespace pie
