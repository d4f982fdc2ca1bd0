// Paged attention by lanes: rows (query tokens) walk the pages of their sequence, 16 keys at a time, in their order.
//
// Rows that follow each other in a sequence walk the same keys. Some of them share what is loaded of the keys, and those
// take turns with others, so that the keys are still near. A row adds up its own numbers in the order of the keys: what
// it gives does not depend on who walks with it.
// The softmax is the running one of Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
#pragma once

#include "attention.h"
#include "row_products.h"

namespace pie {

constexpr int MAX_HEADS_AT_ONCE = 4;
constexpr int NEAR_KEYS = 256;  // that many stay in the second cache while all rows of a strip walk over them

// HEADS query heads that share one key head, of some rows that follow each other, and what is known of each of these
// queries after some of the keys. Keys that all rows see are loaded for all of them at once.
template <class E, int HEADS> class QueryWalk {
   public:
    static constexpr int ROWS = std::max(1, SUMS_AT_ONCE / 2 / HEADS), QUERIES = ROWS * HEADS;

    void begin(const Queries<E>& queries, const Strip& strip) {
        dim = queries.head_dim, rows = strip.rows, count = strip.count, kv_head = strip.kv_head, first = rows[0].first();
        for (int q = 0; q < count * HEADS; q++) {
            to_factors(queries.part(q / HEADS, q % HEADS, 1).query, dim, query[q]);
            best[q] = -INFINITY, total[q] = Floats{};
            std::fill(mixed[q], mixed[q] + dim, 0.0f);
        }
    }

    // Go on to the keys before `end`, a multiple of 16.
    void advance(const Pages<E>& cache, const Scores& rules, int end) {
        for (; first < end && first <= rows[count - 1].last; first += LANES) {
            if (count == ROWS && all_seen(cache.page_size)) {
                attend<QUERIES>(cache, rules, rows[0], 0, ~Ints{});
                continue;
            }
            for (int r = 0; r < count; r++) {
                if (first > rows[r].last) continue;
                const Ints seen = rows[r].lanes(first, cache.page_size);
                if (!rows[r].partly() || any(seen)) attend<HEADS>(cache, rules, rows[r], r * HEADS, seen);
            }
        }
    }

    void finish(const Queries<E>& queries) const {
        for (int q = 0; q < count * HEADS; q++) {
            E* out = queries.part(q / HEADS, q % HEADS, 1).out;
            const float all = sum(total[q]);
            for (int d = 0; d < dim; d += LANES)
                store(out + d, all == 0 ? Floats{} : load_floats(mixed[q] + d) / all);
        }
    }

   private:
    static constexpr int GROUP = Tiling<E>::GROUP;

    // Whether each row sees all of the next 16 keys.
    bool all_seen(int page_size) const {
        for (int r = 0; r < count; r++)
            if (first + LANES > rows[r].last + 1 || any(~rows[r].lanes(first, page_size))) return false;
        return true;
    }

    // The next 16 keys, for N queries from `q` on, which see the same of them; `row` is that of the first.
    template <int N> void attend(const Pages<E>& cache, const Scores& rules, const Visible& row, int q, Ints seen) {
        const size_t at = row.tile(cache, kv_head, first);
        const size_t next = first + LANES > row.last ? at : row.tile(cache, kv_head, first + LANES);
        alignas(64) E room[LANES * MAX_HEAD_DIM];
        alignas(64) Factor<E> weights[N][LANES];
        weigh<N>(cache.keys_at(at, room), cache.memory_of(cache.keys, next), q, seen, rules, weights);
        mix<N>(cache.values_at(at, room), cache.memory_of(cache.values, next), q, std::min(LANES, row.last - first + 1),
               weights);
    }

    template <int N>
    void weigh(const E* keys, const E* next, int q, Ints seen, const Scores& rules, Factor<E> weights[N][LANES]) {
        alignas(64) float scores[2][N][LANES] = {};  // two sums each, so that two products are in flight
        add_products<E, N, LANES, MAX_HEAD_DIM, 2>({keys, next, GROUP * LANES, dim / GROUP}, query[q], scores[0][0]);
        for (int n = 0; n < N; n++, q++) {
            const Floats both = load_floats(scores[0][n]) + load_floats(scores[1][n]);
            const Floats score = seen ? rules.capped(both) : Floats{} - INFINITY;
            const float now = maximum(score);
            if (now > best[q]) {
                const float shrink = best[q] == -INFINITY ? 0.0f : expf(best[q] - now);
                best[q] = now;
                total[q] *= shrink;
                for (int d = 0; d < dim; d += LANES) store(mixed[q] + d, load_floats(mixed[q] + d) * shrink);
            }
            alignas(64) E rounded[LANES];
            store(rounded, seen ? exponential(score - best[q]) : Floats{});
            to_factors(rounded, LANES, weights[n]);
            total[q] += load_floats(rounded);  // so that their shares add up to one
        }
    }

    // The values of `kept` keys.
    template <int N> void mix(const E* values, const E* next, int q, int kept, const Factor<E> weights[N][LANES]) {
        const int whole = kept / GROUP;
        const size_t step = size_t(dim) * GROUP;
        for (int d = 0; d < dim; d += LANES) {
            const int at = d * GROUP;
            add_products<E, N, MAX_HEAD_DIM, LANES>({values + at, next + at, step, whole}, weights[0], mixed[q] + d);
            if (kept % GROUP == 0) continue;
            // The slot after the last key may hold anything, also NaN, which a weight of zero would not silence.
            const auto last = Tiling<E>::first_of_each(Tiling<E>::tile(values + whole * step + at));
            alignas(64) E ending[LANES * GROUP];
            memcpy(ending, &last, sizeof(ending));
            add_products<E, N, MAX_HEAD_DIM, LANES>({ending, ending, 0, 1}, weights[0] + whole * GROUP, mixed[q] + d);
        }
    }

    const Visible* rows;
    int dim, count, kv_head, first;
    float best[QUERIES];
    Floats total[QUERIES];  // of the weights, lane by lane
    alignas(64) Factor<E> query[QUERIES][MAX_HEAD_DIM];
    alignas(64) float mixed[QUERIES][MAX_HEAD_DIM];
};

template <class E, int HEADS> void walk_strip(const Queries<E>& queries, const Pages<E>& cache, const Strip& strip,
                                              const Scores& rules) {
    constexpr int ROWS = QueryWalk<E, HEADS>::ROWS;
    QueryWalk<E, HEADS> walks[(ROWS_AT_ONCE + ROWS - 1) / ROWS];
    const int count = (strip.count + ROWS - 1) / ROWS, last = strip.rows[strip.count - 1].last;
    for (int i = 0; i < count; i++)
        walks[i].begin(queries.part(i * ROWS, 0, HEADS),
                       {strip.rows + i * ROWS, std::min(ROWS, strip.count - i * ROWS), strip.kv_head, 1});
    for (int end = strip.rows[0].first() / NEAR_KEYS * NEAR_KEYS; end <= last;) {
        end += count > 1 ? NEAR_KEYS : (last - end) / LANES * LANES + LANES;
        for (int i = 0; i < count; i++) walks[i].advance(cache, rules, end);
    }
    for (int i = 0; i < count; i++) walks[i].finish(queries.part(i * ROWS, 0, HEADS));
}

// All query heads of one key head.
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
