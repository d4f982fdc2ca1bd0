// What attention works on: pages of keys and values, which of them a row (query token) sees, and its queries.
//
// Keys of a page and head are stored as [page / 16][head_dim / GROUP][16][GROUP], values as
// [page / 16][16 / GROUP][head_dim][GROUP]: both products run along the lanes and nothing is ever transposed.
#pragma once

#include <algorithm>

#include "fp8.h"
#include "lanes.h"

namespace pie {

constexpr int MAX_HEAD_DIM = 256;
constexpr int ROWS_AT_ONCE = 32;  // rows of a strip, at most

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

}  // namespace pie
