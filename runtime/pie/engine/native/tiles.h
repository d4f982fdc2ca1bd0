// y = x W^T for bf16 by the processor's matrix tiles (Intel AMX), on the same packed weights as in linear.h.
//
// A tile of weights is 16 rows of 16 outputs by a pair of inputs, which is how they lie in a block. An output adds its
// products in the order of the inputs, 32 at a time, whatever rows share the tile: so a row's result depends on nothing
// but the row. It differs in rounding from that of linear.h: a matrix is multiplied by one of the two, always. A row that
// is alone is waited for by nothing but memory; it goes without tiles, with the same roundings.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once

#include "ahead.h"
#include "linear.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__)
#define PIE_TILES

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>

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

// Which rows the registers have: 0 to 3 hold sums, then come inputs and weights.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {};
    uint8_t rows[16] = {};

    explicit TileShapes(std::initializer_list<int> rows_of_tiles) {
        int i = 0;
        for (int n : rows_of_tiles) rows[i] = n, bytes_per_row[i++] = n ? 64 : 0;
    }
};

// For two tiles of rows, in 4 and 5, over one block of weights, in 6 and 7; 0 leaves the second one out.
inline TileShapes two_of_rows(int upper, int lower) {
    return TileShapes({upper, upper, lower, lower, upper, lower, TILE_ROWS, TILE_ROWS});
}

// For one tile of rows, in 4, over two blocks of weights, in 5 to 7.
inline TileShapes two_of_blocks(int n) { return TileShapes({n, n, n, n, n, TILE_ROWS, TILE_ROWS, TILE_ROWS}); }

template <bool ADD> inline void store_tile(const float* sums, float* y, int stride, int rows) {
    for (int r = 0; r < rows; r++, sums += LANES, y += stride)
        store(y, ADD ? load_floats(y) + load_floats(sums) : load_floats(sums));
}

// Bytes between rows of a tile of weights, and of such a tile with all blocks' outputs for as many inputs.
constexpr size_t WEIGHT_STRIDE = BLOCK * 2 * sizeof(bf16), WEIGHT_BYTES = TILE_INPUTS * BLOCK * sizeof(bf16);

inline Words load_ahead(const bf16* from) {
    const Words words = load<Words>(from);
    ask_ahead(from);
    return words;
}

// One row over some blocks of weights, without the processor's tiles but in their order: of the 32 inputs that a tile
// takes, the first of each pair are added up, and the second; then both sums join that of the output.
template <int BLOCKS, bool ADD>
inline void multiply_row(const bf16* x, const Matrix<bf16>& w, float* y, int64_t first) {
    Floats sums[BLOCKS][2] = {};
    for (int k = 0; k < w.inputs; k += TILE_INPUTS) {
        Floats firsts[BLOCKS][2] = {}, seconds[BLOCKS][2] = {};
#pragma GCC unroll 4
        for (int i = k; i < k + TILE_INPUTS; i += 2) {
            const float one = to_float(x[i]), other = to_float(x[i + 1]);
#pragma GCC unroll 4
            for (int b = 0; b < BLOCKS; b++)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++) {
                    const Words pairs = load_ahead(w.block(first + b) + size_t(i) * BLOCK + half * LANES * 2);
                    firsts[b][half] += (Floats)(pairs << 16) * one;
                    seconds[b][half] += (Floats)(pairs & 0xffff0000u) * other;
                }
        }
        for (int b = 0; b < BLOCKS; b++)
            for (int half = 0; half < 2; half++) sums[b][half] += firsts[b][half] + seconds[b][half];
    }
    for (int b = 0; b < BLOCKS; b++)
        for (int half = 0; half < 2; half++) {
            float* to = y + (first + b) * BLOCK + half * LANES;
            store(to, ADD ? load_floats(to) + sums[b][half] : sums[b][half]);
        }
}

// Up to 16 rows over two blocks of weights; the registers have been shaped for them.
template <bool ADD>
inline void multiply_two_blocks(const bf16* x, const Matrix<bf16>& w, float* y, int64_t block, int rows) {
    const size_t x_stride = size_t(w.inputs) * sizeof(bf16);
    const bf16 *weights = w.block(block), *beside = w.block(block + 1);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int k = 0; k < w.inputs; k += TILE_INPUTS) {
        const bf16 *one = weights + size_t(k) * BLOCK, *other = beside + size_t(k) * BLOCK;
        read_ahead<WEIGHT_BYTES>(one, other);
        _tile_loadd(4, x + k, x_stride);
        _tile_loadd(6, one, WEIGHT_STRIDE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, one + LANES * 2, WEIGHT_STRIDE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, other, WEIGHT_STRIDE);
        _tile_dpbf16ps(2, 4, 5);
        _tile_loadd(6, other + LANES * 2, WEIGHT_STRIDE);
        _tile_dpbf16ps(3, 4, 6);
    }
    alignas(64) float sums[TILE_ROWS * LANES];
    float* to = y + block * BLOCK;
    const size_t stride = LANES * sizeof(float);
    _tile_stored(0, sums, stride);
    store_tile<ADD>(sums, to, w.outputs, rows);
    _tile_stored(1, sums, stride);
    store_tile<ADD>(sums, to + LANES, w.outputs, rows);
    _tile_stored(2, sums, stride);
    store_tile<ADD>(sums, to + 2 * LANES, w.outputs, rows);
    _tile_stored(3, sums, stride);
    store_tile<ADD>(sums, to + 3 * LANES, w.outputs, rows);
}

// Up to 32 rows over one block of weights, which are new to the caches or not; the registers have been shaped for them.
template <bool ADD, bool NEW>
inline void multiply_tiles(const bf16* x, const Matrix<bf16>& w, float* y, int64_t block, int upper, int lower) {
    const bf16* weights = w.block(block);
    const size_t x_stride = size_t(w.inputs) * sizeof(bf16);
    const bf16* below = x + size_t(TILE_ROWS) * w.inputs;
    _tile_zero(0);
    _tile_zero(1);
    if (lower) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int k = 0; k < w.inputs; k += TILE_INPUTS) {
        const bf16* from = weights + size_t(k) * BLOCK;
        if constexpr (NEW) read_ahead<WEIGHT_BYTES / 2>(from, from + TILE_INPUTS * LANES);
        _tile_loadd(6, from, WEIGHT_STRIDE);
        _tile_loadd(7, from + LANES * 2, WEIGHT_STRIDE);
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

// While this lives, numbers below 2^-126 are zeros, as they are in tiles.
class NoDenormals {
   public:
    NoDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON); }
    ~NoDenormals() { _mm_setcsr(before); }

   private:
    const unsigned before;
};

template <bool ADD> void multiply_lone_row(const bf16* x, const Matrix<bf16>& w, float* y, Range blocks) {
    constexpr int AT_ONCE = 4;
    int64_t b = blocks.begin;
    for (; b + AT_ONCE <= blocks.end; b += AT_ONCE) multiply_row<AT_ONCE, ADD>(x, w, y, b);
    for (; b < blocks.end; b++) multiply_row<1, ADD>(x, w, y, b);
}

template <bool ADD> void multiply_few_rows(const bf16* x, const Matrix<bf16>& w, float* y, int rows, Range blocks) {
    shape_tiles(two_of_blocks(rows));
    int64_t b = blocks.begin;
    for (; b + 2 <= blocks.end; b += 2) multiply_two_blocks<ADD>(x, w, y, b, rows);
    if (b < blocks.end) multiply_tiles<ADD, true>(x, w, y, b, rows, 0);
    _tile_release();
}

template <bool ADD> void multiply_many_rows(const bf16* x, const Matrix<bf16>& w, float* y, int rows, Range blocks) {
    constexpr int AT_ONCE = 2 * TILE_ROWS;
    const int whole = rows / AT_ONCE * AT_ONCE, rest = rows - whole;
    const int upper = std::min(rest, TILE_ROWS), lower = rest - upper;
    const TileShapes full = two_of_rows(TILE_ROWS, TILE_ROWS), last = two_of_rows(upper, lower);
    shape_tiles(whole ? full : last);
    for (int64_t b = blocks.begin; b < blocks.end; b++) {
        if (whole && rest) shape_tiles(full);
        for (int r = 0; r < whole; r += AT_ONCE) {
            const bf16* from = x + size_t(r) * w.inputs;
            float* to = y + size_t(r) * w.outputs;
            if (r) multiply_tiles<ADD, false>(from, w, to, b, TILE_ROWS, TILE_ROWS);
            else multiply_tiles<ADD, true>(from, w, to, b, TILE_ROWS, TILE_ROWS);
        }
        if (!rest) continue;
        if (whole) shape_tiles(last);
        const bf16* from = x + size_t(whole) * w.inputs;
        float* to = y + size_t(whole) * w.outputs;
        if (whole) multiply_tiles<ADD, false>(from, w, to, b, upper, lower);
        else multiply_tiles<ADD, true>(from, w, to, b, upper, lower);
    }
    _tile_release();
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T, if `fits_tiles`.
template <bool ADD> void multiply_by_tiles(const bf16* x, const Matrix<bf16>& w, float* y, int rows, Team team) {
    const Range blocks = team.share(w.outputs / BLOCK);
    const NoDenormals as_in_tiles;
    if (rows == 1) return multiply_lone_row<ADD>(x, w, y, blocks);
    if (rows <= TILE_ROWS) return multiply_few_rows<ADD>(x, w, y, rows, blocks);
    multiply_many_rows<ADD>(x, w, y, rows, blocks);
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
