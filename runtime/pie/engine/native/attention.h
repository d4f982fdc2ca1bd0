// Paged attention: each row (query token) walks the pages of its sequence, 16 keys at a time, in the order of the keys.
//
// Rows that follow each other in a sequence walk the same keys; they do so in turns, so that the keys are still near.
// Keys of a page and head are stored as [page / 16][head_dim / GROUP][16][GROUP], values as
// [page / 16][16 / GROUP][head_dim][GROUP]: both products run along the lanes and nothing is ever transposed.
// The softmax is the running one of Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
#pragma once

#include <algorithm>

#include "fp8.h"
#include "lanes.h"
#include "team.h"

namespace pie {

constexpr int MAX_HEAD_DIM = 256;
constexpr int MAX_HEADS_AT_ONCE = 4;

// One layer's part of the cache: numbers of E, or such that become E when they are read, in the same order (see fp8.h).
template <class E> struct Pages {
    void *keys, *values;
    bool fp8;
    int page_size, kv_heads, head_dim;

    // Start of the 16 tokens that `offset` is in; keys and values agree.
    size_t tile(int page, int head, int offset) const {
        return ((size_t(page) * kv_heads + head) * page_size + offset / LANES * LANES) * head_dim;
    }
    // From a tile of head 0 to that of another.
    size_t of_head(int head) const { return size_t(head) * page_size * head_dim; }
    void write_key(int page, int head, int offset, int d, float value) const {
        constexpr int GROUP = Tiling<E>::GROUP;
        write(keys, tile(page, head, offset) + (d / GROUP * LANES + offset % LANES) * GROUP + d % GROUP, value);
    }
    void write_value(int page, int head, int offset, int d, float value) const {
        constexpr int GROUP = Tiling<E>::GROUP;
        int t = offset % LANES;
        write(values, tile(page, head, offset) + (t / GROUP * head_dim + d) * GROUP + t % GROUP, value);
    }

    // The 16 keys or values that begin at `at`; `room` has place for them.
    const E* keys_at(size_t at, E* room) const { return read(keys, at, room); }
    const E* values_at(size_t at, E* room) const { return read(values, at, room); }

    // Where the memory of the keys or values from `at` on begins, to be fetched ahead.
    const E* memory_of(const void* numbers, size_t at) const {
        return fp8 ? (const E*)((const uint8_t*)numbers + at) : (const E*)numbers + at;
    }

   private:
    void write(void* numbers, size_t at, float value) const {
        if (fp8)
            ((uint8_t*)numbers)[at] = to_fp8(value);
        else
            store_one((E*)numbers + at, value);
    }
    const E* read(const void* numbers, size_t at, E* room) const {
        if (!fp8) return (const E*)numbers + at;
        expand((const uint8_t*)numbers + at, room, LANES * head_dim);
        return room;
    }
};

// What a layer does to its scores: a row sees `window` tokens of its sequence at most, its own included, and scores are
// bounded by `soft_cap` * tanh(score / `soft_cap`); 0 leaves one out.
struct Scores {
    int32_t window;
    float soft_cap;

    Floats capped(Floats scores) const {
        return soft_cap == 0 ? scores : soft_cap * hyperbolic_tangent(scores / soft_cap);
    }
};

// Which keys a row sees: 0 … last, of those only where `mask` is set, if there is one, and only in the window. Windows
// count places in the sequence, which `numbers` tells for each page; null where page i is the i-th.
struct Visible {
    const int32_t *pages, *numbers;
    int last;
    const uint8_t* mask;
    int window;

    // Where the first 16 keys that may be in the window begin: where pages are left out, keys lie nearer than they are.
    int first() const { return window && last >= window ? (last - window + 1) / LANES * LANES : 0; }

    // Whether some keys up to `last` may be unseen.
    bool partly() const { return mask || window; }

    int place(int key, int page_size) const {
        return numbers ? numbers[key / page_size] * page_size + key % page_size : key;
    }

    template <class E> size_t tile(const Pages<E>& cache, int head, int key) const {
        return cache.tile(pages[key / cache.page_size], head, key % cache.page_size);
    }

    // Lanes of the 16 keys from `first` that are seen, all ones or all zeros.
    Ints lanes(int first, int page_size) const {
        const int before = window ? place(last, page_size) - window + 1 - place(first, page_size) : 0;
        if (!mask && before <= 0 && first + LANES <= last + 1) return ~Ints{};
        Ints ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        Ints seen = (ids <= last - first) & (ids >= before);
        if (mask)
            for (int i = 0; i < LANES && first + i <= last; i++)
                if (!mask[first + i]) seen[i] = 0;
        return seen;
    }
};

inline bool any(Ints lanes) {
    int found = 0;
    for (int i = 0; i < LANES; i++) found |= lanes[i];
    return found != 0;
}

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

// Some rows of one sequence that follow each other, and which key heads.
struct Strip {
    const Visible* rows;
    int count, kv_head, kv_heads;
};

// HEADS query heads that share one key head, for one row, and what is known of them after some of the keys.
template <class E, int HEADS> class HeadWalk {
    typedef Tiling<E> T;
    static constexpr int GROUP = T::GROUP;

   public:
    void begin(const E* heads, int head_dim, const Visible& row) {
        query = heads, dim = head_dim, visible = &row, first = row.first();
        for (int h = 0; h < HEADS; h++) {
            best[h] = -INFINITY, total[h] = Floats{};
            std::fill(mixed[h], mixed[h] + dim, 0.0f);
        }
    }

    // Go on to the keys before `end`, a multiple of 16.
    void advance(const Pages<E>& cache, int kv_head, const Scores& rules, int end) {
        for (; first < end && first <= visible->last; first += LANES) {
            const Ints seen = visible->lanes(first, cache.page_size);
            if (visible->partly() && !any(seen)) continue;
            const size_t at = visible->tile(cache, kv_head, first);
            const size_t next = first + LANES > visible->last ? at : visible->tile(cache, kv_head, first + LANES);
            alignas(64) E weights[HEADS][LANES], room[LANES * MAX_HEAD_DIM];
            weigh(cache.keys_at(at, room), cache.memory_of(cache.keys, next), seen, rules, weights);
            mix(cache.values_at(at, room), cache.memory_of(cache.values, next),
                std::min(LANES, visible->last - first + 1), weights);
        }
    }

    // out: [HEADS, head_dim].
    void finish(E* out) const {
        for (int h = 0; h < HEADS; h++) {
            const float all = sum(total[h]);
            for (int d = 0; d < dim; d += LANES)
                store(out + h * dim + d, all == 0 ? Floats{} : load_floats(mixed[h] + d) / all);
        }
    }

   private:
    void weigh(const E* keys, const E* next, Ints seen, const Scores& rules, E weights[HEADS][LANES]) {
        Floats scores[HEADS][2] = {};  // two sums each, so that two products are in flight
        for (int d = 0; d < dim; d += 2 * GROUP)
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++) {
                typename T::Tile tile = T::tile(keys + size_t(d + j * GROUP) * LANES);
                __builtin_prefetch(next + size_t(d + j * GROUP) * LANES);
#pragma GCC unroll 4
                for (int h = 0; h < HEADS; h++)
                    scores[h][j] = T::multiply_add(scores[h][j], tile, T::group(query + h * dim + d + j * GROUP));
            }
        for (int h = 0; h < HEADS; h++) {
            Floats score = seen ? rules.capped(scores[h][0] + scores[h][1]) : Floats{} - INFINITY;
            float now = maximum(score);
            if (now > best[h]) {
                float shrink = best[h] == -INFINITY ? 0.0f : expf(best[h] - now);
                best[h] = now;
                total[h] *= shrink;
                for (int d = 0; d < dim; d += LANES) store(mixed[h] + d, load_floats(mixed[h] + d) * shrink);
            }
            store(weights[h], seen ? exponential(score - best[h]) : Floats{});
            total[h] += load_floats(weights[h]);  // the rounded weights, so that their shares add up to one
        }
    }

    // The values of `count` keys.
    void mix(const E* values, const E* next, int count, const E weights[HEADS][LANES]) {
        const int full = count / GROUP;
        for (int d = 0; d < dim; d += LANES) {
            Floats sums[HEADS];
            for (int h = 0; h < HEADS; h++) sums[h] = load_floats(mixed[h] + d);
            for (int j = 0; j < full; j++) {
                typename T::Tile tile = T::tile(values + size_t(j * dim + d) * GROUP);
                __builtin_prefetch(next + size_t(j * dim + d) * GROUP);
#pragma GCC unroll 4
                for (int h = 0; h < HEADS; h++)
                    sums[h] = T::multiply_add(sums[h], tile, T::group(weights[h] + j * GROUP));
            }
            if (count % GROUP) {
                // The slot after the last key may hold anything, also NaN, which a weight of zero would not silence.
                typename T::Tile tile = T::first_of_each(T::tile(values + size_t(full * dim + d) * GROUP));
                for (int h = 0; h < HEADS; h++)
                    sums[h] = T::multiply_add(sums[h], tile, T::group(weights[h] + full * GROUP));
            }
            for (int h = 0; h < HEADS; h++) store(mixed[h] + d, sums[h]);
        }
    }

    const E* query;
    const Visible* visible;
    int dim, first;
    float best[HEADS];
    Floats total[HEADS];  // of the weights, lane by lane
    alignas(64) float mixed[HEADS][MAX_HEAD_DIM];
};

constexpr int ROWS_AT_ONCE = 32;  // rows of a strip, at most
constexpr int NEAR_ROWS = 16;     // of a strip that is computed here
constexpr int NEAR_KEYS = 256;    // that many stay in the second cache while all rows of a strip walk over them

template <class E, int HEADS> void walk_strip(const Queries<E>& queries, const Pages<E>& cache, const Strip& strip,
                                              const Scores& rules) {
    HeadWalk<E, HEADS> rows[NEAR_ROWS];
    int begin = strip.rows[0].last, last = 0;
    for (int r = 0; r < strip.count; r++) {
        rows[r].begin(queries.part(r, 0, HEADS).query, queries.head_dim, strip.rows[r]);
        begin = std::min(begin, strip.rows[r].first()), last = std::max(last, strip.rows[r].last);
    }
    for (int end = begin / NEAR_KEYS * NEAR_KEYS; end <= last;) {
        end += strip.count > 1 ? NEAR_KEYS : (last - end) / LANES * LANES + LANES;
        for (int r = 0; r < strip.count; r++) rows[r].advance(cache, strip.kv_head, rules, end);
    }
    for (int r = 0; r < strip.count; r++) rows[r].finish(queries.part(r, 0, HEADS).out);
}

// All query heads of one key head; at most NEAR_ROWS rows.
template <class E>
void attend_near(const Queries<E>& queries, const Pages<E>& cache, const Strip& strip, const Scores& rules) {
    for (int done = 0; done < queries.heads; done += MAX_HEADS_AT_ONCE) {
        const int now = std::min(MAX_HEADS_AT_ONCE, queries.heads - done);
        const Queries<E> some = queries.part(0, done, now);
        switch (now) {
            case 1: walk_strip<E, 1>(some, cache, strip, rules); break;
            case 2: walk_strip<E, 2>(some, cache, strip, rules); break;
            case 3: walk_strip<E, 3>(some, cache, strip, rules); break;
            default: walk_strip<E, 4>(some, cache, strip, rules); break;
        }
    }
}

}  // namespace pie
