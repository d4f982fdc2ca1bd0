// Quantized matrices by the processor's tiles of bytes (Intel AMX): the same sums as in quantized.h, bit for bit.
//
// A tile of codes is up to 16 times 4 inputs of 16 outputs, which is how they lie in a block. Both digits of up to 16
// rows are multiplied by it; the exact sums of each group leave the tiles to be scaled.
#pragma once

#include "narrow_codes.h"
#include "quantized.h"
#include "tiles.h"

namespace pie {

#if defined(PIE_TILES) && defined(__AMX_INT8__)
#define PIE_BYTE_TILES

constexpr int TILE_BYTES = 64;  // of a row of a tile, which are inputs

// Sums of one group: [digit and half of the block][row][output].
struct alignas(64) GroupSums {
    int32_t of[4][TILE_ROWS][LANES];
};

// 0 to 3 hold the sums of high and low digits by each half of the block, 4 and 5 the digits, 6 and 7 the codes.
struct alignas(64) ByteTileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {};
    uint8_t rows[16] = {};

    ByteTileShapes(int num_rows, int inputs) {
        for (int i = 0; i < 8; i++) rows[i] = i < 6 ? num_rows : inputs / 4;
        for (int i = 0; i < 8; i++) bytes_per_row[i] = i == 4 || i == 5 ? inputs : 64;
    }
};

template <int BITS> struct CodesOfGroup;

template <> struct CodesOfGroup<8> {
    const uint8_t* take(const uint8_t*& from, int size) {
        const uint8_t* here = from;
        read_ahead(from, size * BLOCK);
        from += size * BLOCK;
        return here;
    }
};

template <> struct CodesOfGroup<4> {
    const uint8_t* take(const uint8_t*& from, int size) {
        for (int k = 0; k < size / 4; k++) load_codes<4>(from, codes + 2 * k);
        return (const uint8_t*)codes;
    }
    Codes codes[2 * 128 / 4];
};

// Inputs of a tile for a matrix, which all of its groups are made of; 0 if there are none.
template <int BITS> inline int inputs_of_tiles(const QuantizedMatrix<BITS>& w) {
    const int inputs = w.group < TILE_BYTES ? w.group : TILE_BYTES;
    return w.inputs % inputs == 0 && w.group % inputs == 0 && w.group <= 128 && tiles_allowed() ? inputs : 0;
}

inline void sum_group(const DigitRows& x, int64_t first, int k, int size, int step, const uint8_t* codes, GroupSums& sums) {
    const int8_t *high = x.high_of(first) + k, *low = x.low_of(first) + k;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < size; i += step) {
        const uint8_t* here = codes + size_t(i) * BLOCK;
        _tile_loadd(6, here, 4 * BLOCK);
        _tile_loadd(7, here + 4 * LANES, 4 * BLOCK);
        _tile_loadd(4, high + i, x.width);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_loadd(5, low + i, x.width);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    constexpr size_t stride = LANES * sizeof(int32_t);
    _tile_stored(0, sums.of[0], stride);
    _tile_stored(1, sums.of[1], stride);
    _tile_stored(2, sums.of[2], stride);
    _tile_stored(3, sums.of[3], stride);
}

// Up to 16 rows over one block of weights; the registers have been shaped for them.
template <int BITS, bool ADD>
void multiply_byte_tiles(const DigitRows& x, int64_t first, int rows, const QuantizedMatrix<BITS>& w, int step, float* y,
                         int64_t block) {
    Floats sums[TILE_ROWS][2] = {};
    CodesOfGroup<BITS> unpacked;
    GroupSums of_group;
    const uint8_t* from = w.block(block);
    const float* row_scales = x.scales_of(first);
    const int32_t* totals = x.totals_of(first);
    for (int g = 0; g < x.groups; g++) {
        const Floats scales[2] = {load_floats((const bf16*)from), load_floats((const bf16*)from + LANES)};
        from += BLOCK * sizeof(bf16);
        const int size = w.size_of(g);
        sum_group(x, first, g * w.group, size, step, unpacked.take(from, size), of_group);
        for (int r = 0; r < rows; r++)
            for (int half = 0; half < 2; half++)
                sums[r][half] = add_group<BITS>(sums[r][half], load<Ints>(of_group.of[half][r]),
                                                load<Ints>(of_group.of[2 + half][r]), totals[r * x.groups + g],
                                                scales[half], row_scales[r * x.groups + g]);
    }
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++) {
            float* to = y + (first + r) * w.outputs + block * BLOCK + half * LANES;
            store(to, ADD ? load_floats(to) + sums[r][half] : sums[r][half]);
        }
}

template <int BITS, bool ADD>
void multiply_in_byte_tiles(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, int rows, Team team) {
    const int step = inputs_of_tiles(w), whole = rows / TILE_ROWS * TILE_ROWS;
    const Range blocks = team.share(w.outputs / BLOCK);
    if (whole) {
        shape_tiles(ByteTileShapes(TILE_ROWS, step));
        for (int64_t b = blocks.begin; b < blocks.end; b++)
            for (int r = 0; r < whole; r += TILE_ROWS) multiply_byte_tiles<BITS, ADD>(x, r, TILE_ROWS, w, step, y, b);
    }
    if (rows > whole) {
        shape_tiles(ByteTileShapes(rows - whole, step));
        for (int64_t b = blocks.begin; b < blocks.end; b++)
            multiply_byte_tiles<BITS, ADD>(x, whole, rows - whole, w, step, y, b);
    }
    _tile_release();
}
#endif

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T, the best way that this processor has.
template <int BITS, bool ADD>
void multiply_quantized(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, int rows, Team team) {
#ifdef PIE_BYTE_TILES
    constexpr int WORTH_TILES = 5;  // rows
    if (rows >= WORTH_TILES && inputs_of_tiles(w)) return multiply_in_byte_tiles<BITS, ADD>(x, w, y, rows, team);
#endif
    multiply_in_lanes<BITS, ADD>(x, w, y, rows, team);
}

}  // namespace pie
