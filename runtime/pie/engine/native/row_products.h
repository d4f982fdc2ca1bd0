// Sums of products for several rows at once: a tile (see lanes.h) is loaded once for all of them.
//
// Sums stay in registers from the first tile to the last, as many lanes in each as it has. A sum adds its products in
// the order of the tiles: which rows and lanes are computed together does not change a bit of it.
#pragma once

#include <algorithm>
#include <type_traits>

#include "lanes.h"

namespace pie {

#if defined(__AVX512F__)
constexpr int REGISTER = 16, SUMS_AT_ONCE = 16;  // lanes of a register; registers that hold sums
#elif defined(__AVX__)
constexpr int REGISTER = 8, SUMS_AT_ONCE = 8;
#else
constexpr int REGISTER = 4, SUMS_AT_ONCE = 8;
#endif
typedef float Part __attribute__((vector_size(4 * REGISTER)));

// A part of a tile times a group of a row's factors. Without bf16 arithmetic factors are kept as floats, so that they
// are converted once and not with each tile.
inline Part multiply_add(Part sums, const float* tile, const float* group) { return sums + load<Part>(tile) * *group; }
#ifdef __AVX512BF16__
inline Part multiply_add(Part sums, const bf16* tile, const bf16* group) {
    typedef Tiling<bf16> T;
    return T::multiply_add(sums, T::tile(tile), T::group(group));
}
typedef bf16 FactorOfBf16;
#else
inline Part multiply_add(Part sums, const bf16* tile, const float* group) {
    typedef uint32_t Pairs __attribute__((vector_size(4 * REGISTER)));
    const Pairs pairs = load<Pairs>(tile);
    sums += (Part)(pairs << 16) * group[0];
    return sums + (Part)(pairs & 0xffff0000u) * group[1];
}
typedef float FactorOfBf16;
#endif
template <class E> using Factor = std::conditional_t<std::is_same_v<E, bf16>, FactorOfBf16, float>;

inline void to_factors(const bf16* from, int count, bf16* to) { memcpy(to, from, count * sizeof(bf16)); }
template <class E> void to_factors(const E* from, int count, float* to) {
    for (int i = 0; i < count; i += LANES) store(to + i, load_floats(from + i));
}

// `count` tiles, `step` numbers apart, and others like them that are asked for ahead.
template <class E> struct Tiles {
    const E *first, *ahead;
    size_t step;
    int count;
};

// sums [ROWS, LANES] += tiles * factors [ROWS, count groups], rows SUMS_STRIDE and STRIDE numbers apart. Tiles may go to
// BANKS such sums by turns, [BANKS, ROWS, LANES], of which more are in flight.
template <class E, int ROWS, int SUMS_STRIDE, int STRIDE, int BANKS = 1>
inline void add_products(const Tiles<E>& tiles, const Factor<E>* factors, float* sums) {
    constexpr int GROUP = Tiling<E>::GROUP, ALL = LANES / REGISTER;
    constexpr int WIDE = std::min(ALL, SUMS_AT_ONCE / (BANKS * ROWS));  // registers for one sum
    static_assert(ALL % WIDE == 0);
    const auto each = [](auto act) {
#pragma GCC unroll 2
        for (int b = 0; b < BANKS; b++)
#pragma GCC unroll 4
            for (int w = 0; w < WIDE; w++)
#pragma GCC unroll 16
                for (int r = 0; r < ROWS; r++) act(b, w, r);
    };
    for (int lane = 0; lane < LANES; lane += WIDE * REGISTER) {
        Part parts[BANKS][WIDE][ROWS];
        const auto place = [&](int b, int w, int r) { return sums + (b * ROWS + r) * SUMS_STRIDE + lane + w * REGISTER; };
        each([&](int b, int w, int r) { parts[b][w][r] = load<Part>(place(b, w, r)); });
        for (int i = 0; i < tiles.count; i += BANKS) {
            for (int b = 0; b < BANKS; b++) __builtin_prefetch(tiles.ahead + (i + b) * tiles.step + lane * GROUP);
            each([&](int b, int w, int r) {
                const E* tile = tiles.first + (i + b) * tiles.step + (lane + w * REGISTER) * GROUP;
                parts[b][w][r] = multiply_add(parts[b][w][r], tile, factors + r * STRIDE + (i + b) * GROUP);
            });
        }
        each([&](int b, int w, int r) { memcpy(place(b, w, r), &parts[b][w][r], sizeof(Part)); });
    }
}

}  // namespace pie
