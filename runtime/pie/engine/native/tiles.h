// y = x W^T for bf16 by the processor's matrix tiles (Intel AMX), on the same packed weights as in linear.h.
//
// A tile of weights is 16 rows of 16 outputs by a pair of inputs, which is how they lie in a block. An output adds its
// products in the order of the inputs, 32 at a time, whatever rows share the tile: so a row's result depends on nothing
// but the row. It differs in rounding from that of linear.h: a matrix is multiplied by one of the two, always.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once

#include "linear.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__)
#define PIE_TILES

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace pie {

// Whether the system lets this process use tiles; it must be asked once, before the first.
inline bool tiles_allowed() {
    constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    static const bool allowed = syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    return allowed;
}

// Shape the registers. g++ 12 believes that only the first bytes of a shape are read, and may leave the others unwritten.
template <class Shapes> inline void shape_tiles(const Shapes& shapes) {
    asm volatile("" ::"r"(&shapes) : "memory");
    _tile_loadconfig(&shapes);
}

constexpr int TILE_ROWS = 16;
constexpr int TILE_INPUTS = 32;

// Which rows the registers have: 0 to 3 hold sums, 4 and 5 inputs, 6 and 7 weights. `upper` and `lower` are the rows of
// x in the first and the second tile; 0 leaves the second one out.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {};
    uint8_t rows[16] = {};

    TileShapes(int upper, int lower) {
        for (int i : {0, 1, 4}) rows[i] = upper;
        for (int i : {2, 3, 5}) rows[i] = lower;
        for (int i : {6, 7}) rows[i] = TILE_ROWS;
        for (int i = 0; i < 8; i++) bytes_per_row[i] = rows[i] ? 64 : 0;
    }
};

template <bool ADD> inline void store_tile(const float* sums, float* y, int stride, int rows) {
    for (int r = 0; r < rows; r++, sums += LANES, y += stride)
        store(y, ADD ? load_floats(y) + load_floats(sums) : load_floats(sums));
}

// How far ahead weights are asked for, in numbers: the processor's own prefetching ends at each page of memory.
constexpr int TILES_AHEAD = 4096;

// Up to 32 rows over one block of weights; the registers have been shaped for them. With more than 16 rows the products
// take longer than the weights, so that asking AHEAD only costs.
template <bool ADD, bool AHEAD = false>
inline void multiply_tiles(const bf16* x, const Matrix<bf16>& w, float* y, int64_t block, int upper, int lower) {
    const bf16* weights = w.block(block);
    const size_t x_stride = size_t(w.inputs) * sizeof(bf16), w_stride = BLOCK * 2 * sizeof(bf16);
    const bf16* below = x + size_t(TILE_ROWS) * w.inputs;
    _tile_zero(0);
    _tile_zero(1);
    if (lower) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int k = 0; k < w.inputs; k += TILE_INPUTS) {
        const bf16* from = weights + size_t(k) * BLOCK;
        if constexpr (AHEAD)
            for (int i = 0; i < TILE_INPUTS * BLOCK; i += 64 / sizeof(bf16)) __builtin_prefetch(from + TILES_AHEAD + i);
        _tile_loadd(6, from, w_stride);
        _tile_loadd(7, from + LANES * 2, w_stride);
        _tile_loadd(4, x + k, x_stride);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (lower) {
            _tile_loadd(5, below + k, x_stride);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    alignas(64) float sums[TILE_ROWS * LANES];
    float* to = y + block * BLOCK;
    const size_t stride = LANES * sizeof(float);
    _tile_stored(0, sums, stride);
    store_tile<ADD>(sums, to, w.outputs, upper);
    _tile_stored(1, sums, stride);
    store_tile<ADD>(sums, to + LANES, w.outputs, upper);
    if (!lower) return;
    to += size_t(TILE_ROWS) * w.outputs;
    _tile_stored(2, sums, stride);
    store_tile<ADD>(sums, to, w.outputs, lower);
    _tile_stored(3, sums, stride);
    store_tile<ADD>(sums, to + LANES, w.outputs, lower);
}

// Small matrices come from caches fast enough for linear.h. Leaving them to it has one more use: the words of the
// embedded model are then the same on every processor that multiplies bf16.
constexpr int WORTH_TILES = 768;

inline bool fits_tiles(const Matrix<bf16>& w) {
    return w.inputs >= WORTH_TILES && w.inputs % TILE_INPUTS == 0 && tiles_allowed();
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T, if `fits_tiles`.
template <bool ADD> void multiply_by_tiles(const bf16* x, const Matrix<bf16>& w, float* y, int rows, Team team) {
    constexpr int AT_ONCE = 2 * TILE_ROWS;
    const Range blocks = team.share(w.outputs / BLOCK);
    const int whole = rows / AT_ONCE * AT_ONCE, rest = rows - whole;
    const int upper = std::min(rest, TILE_ROWS), lower = rest - upper;
    const TileShapes full(TILE_ROWS, TILE_ROWS), last(upper, lower);
    if (!whole) shape_tiles(last);
    if (!rest) shape_tiles(full);
    for (int64_t b = blocks.begin; b < blocks.end; b++) {
        if (rows <= TILE_ROWS) {
            multiply_tiles<ADD, true>(x, w, y, b, upper, 0);
            continue;
        }
        if (whole && rest) shape_tiles(full);
        for (int r = 0; r < whole; r += AT_ONCE)
            multiply_tiles<ADD>(x + size_t(r) * w.inputs, w, y + size_t(r) * w.outputs, b, TILE_ROWS, TILE_ROWS);
        if (!rest) continue;
        if (whole) shape_tiles(last);
        multiply_tiles<ADD>(x + size_t(whole) * w.inputs, w, y + size_t(whole) * w.outputs, b, upper, lower);
    }
    _tile_release();
}

}  // namespace pie
#endif

namespace pie {

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T, the best way that this processor has.
template <bool ADD = false>
void multiply_best(const bf16* x, const Matrix<bf16>& w, float* y, int rows, Team team) {
#ifdef PIE_TILES
    if (fits_tiles(w)) return multiply_by_tiles<ADD>(x, w, y, rows, team);
#endif
    multiply<bf16, ADD>(x, w, y, rows, team);
}

template <bool ADD = false>
void multiply_best(const float* x, const Matrix<float>& w, float* y, int rows, Team team) {
    multiply<float, ADD>(x, w, y, rows, team);
}

}  // namespace pie
