// Reading what is read once, in order, and is not in the caches: weights.
//
// Memory gives most if each load is followed by asking for what lies AHEAD, one by one: several loads and then as many
// requests are no faster than loads alone. So nothing may change places here, and several streams are read side by side
// where there are sums enough to take them. (Measured on Xeons with AMX: 14.5 GB/s by loads alone, 17 to 18 like this.)
#pragma once

#include <cstddef>
#include <cstring>

namespace pie {

constexpr size_t AHEAD = 1536;  // bytes
constexpr size_t CACHE_LINE = 64;

inline void keep_order() { asm volatile("" ::: "memory"); }

// Ask for what comes after `from`, which has just been loaded; there may be no memory there.
inline void ask_ahead(const void* from) {
    keep_order();
    __builtin_prefetch((const char*)from + AHEAD);
    keep_order();
}

// Bring a cache line into the nearest cache, and ask for what comes after it.
inline void read_line(const char* line) {
    asm volatile("" ::"r"(*line) : "memory");
    ask_ahead(line);
}

// So many bytes of one stream, or of two side by side.
inline void read_ahead(const void* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += CACHE_LINE) read_line((const char*)from + i);
}
template <size_t BYTES> inline void read_ahead(const void* one, const void* other) {
#pragma GCC unroll 64
    for (size_t i = 0; i < BYTES; i += CACHE_LINE) {
        read_line((const char*)one + i);
        read_line((const char*)other + i);
    }
}

}  // namespace pie
