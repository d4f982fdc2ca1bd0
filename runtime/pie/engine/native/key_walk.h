// The keys that some rows of a sequence see, a chunk at a time, and the asking for them ahead of their use.
#pragma once

#include <limits>

#include "attention.h"

namespace pie {

constexpr int CHUNK = 8;       // blocks of 16 keys that are looked at together, at most
constexpr int LONE_CHUNK = 4;  // of a lone row: so much is asked for ahead

// Some blocks of 16 keys: where they lie in the cache for key head 0, and which rows see which of them.
struct Chunk {
    int count = 0;
    size_t at[CHUNK];
    int kept[CHUNK];    // how many of the 16 are keys of the sequence
    bool whole[CHUNK];  // every row sees all 16 keys; `seen` is not filled
    Ints seen[CHUNK][ROWS_AT_ONCE];
};

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
        const int most = count > 1 ? CHUNK : LONE_CHUNK;
        chunk.count = 0;
        for (; next <= last && chunk.count < most; next += LANES)
            if (look(chunk)) {
                const size_t at = chunk.at[chunk.count] = rows[0].tile(cache, 0, next);
                const int kept = chunk.kept[chunk.count] = std::min(LANES, last + 1 - next);
                if (count > 1 && !chunk.whole[chunk.count] &&
                    !finite(cache.values_at(at + cache.of_head(kv_head), room), kept))
                    return false;
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

    bool finite(const bf16* values, int kept) const {
        const int dim = cache.head_dim;
        Ints bad = {};
        for (int t = 0; t < kept; t += 2) {
            const uint32_t second = t + 2 <= kept ? 0x7f800000 : 1;  // a value that is not kept never looks bad
            for (int at = t * dim; at < (t + 2) * dim; at += 2 * LANES) {
                const Words words = load<Words>(values + at);
                bad |= ((words & 0x7f80) == 0x7f80) | ((words & 0x7f800000) == second);
            }
        }
        return !any(bad);
    }

    const Pages<bf16>& cache;
    const int kv_head;
    const Visible* rows;
    const int count;
    int next, last;
    alignas(64) bf16 room[LANES * MAX_HEAD_DIM];
};

// Asks memory for the next chunk while this one is computed, in the order in which it lies: the keys of all heads of a
// block, then the next block's, then the values. Memory gives that faster than what one head reads, which has gaps.
// A block of keys or values has dim / 2 lines; a quarter of what is asked for is so while scores are computed, and three
// eighths while they become weights, and while values are mixed, a few lines at a time: more would stop the core.
class Asker {
   public:
    Asker() = default;
    Asker(const Pages<bf16>& cache, const Chunk& next, int kv_head, int heads)
        : cache(&cache), next(&next), kv_head(kv_head), heads(heads), units(2 * next.count * heads) {}

    void ask(int lines) {
        while (lines > 0 && (left > 0 || advance())) {
            const int now = std::min(left, lines);
            for (int i = 0; i < now; i++) __builtin_prefetch(from + i * LINE, 0, 2);  // the second cache
            from += now * LINE, left -= now, lines -= now;
        }
    }

    // A short chunk leaves some of a longer one after it.
    void ask_rest() { ask(std::numeric_limits<int>::max()); }

   private:
    static constexpr int LINE = 64;

    bool advance() {
        if (done == units) return false;
        const int block = done / heads % next->count, head = kv_head + done % heads;
        const void* numbers = done < units / 2 ? cache->keys : cache->values;
        from = (const char*)cache->memory_of(numbers, next->at[block] + cache->of_head(head));
        left = LANES * cache->head_dim * (cache->fp8 ? 1 : sizeof(bf16)) / LINE;
        done++;
        return true;
    }

    const Pages<bf16>* cache = nullptr;
    const Chunk* next = nullptr;
    int kv_head = 0, heads = 1, units = 0, done = 0, left = 0;
    const char* from = nullptr;
};

}  // namespace pie
