// y = x W^T, or y += x W^T, with W as small integers in groups along the inputs.
//
// A block of 32 outputs holds one group after another: 32 scales (bf16), then the integers as tiles of 4 inputs
// [group / 4][32][4], a byte each with 128 added; or, of four bits, [group / 4][16][4] bytes with 8 added to each half,
// the low half for the first 16 outputs. The sums over a group are exact. They are scaled and added up in the order of
// the groups, whatever rows and threads there are, and whether tiles of the processor made them or not: so a row's
// result depends on nothing but the row.
#pragma once

#include "digits.h"
#include "linear.h"

namespace pie {

typedef uint32_t Codes __attribute__((vector_size(64)));  // 16 outputs of 4 inputs, a byte each

template <int BITS> struct QuantizedMatrix {
    static constexpr int HALF = 1 << (BITS - 1);

    const uint8_t* packed;
    int outputs;  // a multiple of BLOCK
    int inputs;   // a multiple of LANES
    int group;    // a multiple of 32; the last one may be shorter

    int groups() const { return (inputs + group - 1) / group; }
    int size_of(int g) const { return inputs - g * group < group ? inputs - g * group : group; }
    const uint8_t* block(int64_t index) const {
        return packed + index * (groups() * BLOCK * sizeof(bf16) + size_t(inputs) * BLOCK * BITS / 8);
    }
};

// sums += the four products of each output.
inline Ints add_products(Ints sums, Codes codes, const int8_t* four) {
#ifdef __AVX512VNNI__
    int32_t group;
    memcpy(&group, four, 4);
    return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)codes, _mm512_set1_epi32(group));
#else
    for (int i = 0; i < 4; i++) sums += (Ints)((codes >> (8 * i)) & 255) * int32_t(four[i]);
    return sums;
#endif
}

// sums += what a group gives 16 outputs of one row. `total` is that of the row's integers.
template <int BITS>
inline Floats add_group(Floats sums, Ints high, Ints low, int32_t total, Floats weight_scale, float row_scale) {
    const Ints exact = (high << 7) + low - total * QuantizedMatrix<BITS>::HALF;
    return sums + __builtin_convertvector(exact, Floats) * (weight_scale * row_scale);
}

// The codes of the next four inputs for both halves of a block.
template <int BITS> inline void load_codes(const uint8_t*& from, Codes codes[2]) {
    codes[0] = load<Codes>(from);
    if (BITS == 8) {
        codes[1] = load<Codes>(from + sizeof(Codes));
    } else {
        codes[1] = (codes[0] >> 4) & 0x0f0f0f0f;
        codes[0] &= 0x0f0f0f0f;
    }
    // What a core fetches ahead by itself is not enough to keep memory busy.
    constexpr int AHEAD = 2048;
    for (int i = 0; i < BITS / 4; i++) __builtin_prefetch(from + AHEAD + i * sizeof(Codes));
    from += sizeof(Codes) * BITS / 4;
}

template <int BITS, int ROWS, bool ADD>
inline void multiply_block(const DigitRows& x, int64_t first, const QuantizedMatrix<BITS>& w, float* y, int64_t block) {
    Floats sums[ROWS][2] = {};
    const uint8_t* from = w.block(block);
    const int8_t *high = x.high_of(first), *low = x.low_of(first);
    const float* row_scales = x.scales_of(first);
    const int32_t* totals = x.totals_of(first);
    for (int g = 0; g < x.groups; g++) {
        const bf16* scales = (const bf16*)from;
        from += BLOCK * sizeof(bf16);
        Ints sum_high[ROWS][2] = {}, sum_low[ROWS][2] = {};
        const int end = g * w.group + w.size_of(g);
        for (int k = g * w.group; k < end; k += 4) {
            Codes codes[2];
            load_codes<BITS>(from, codes);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++) {
                    sum_high[r][half] = add_products(sum_high[r][half], codes[half], high + size_t(r) * w.inputs + k);
                    sum_low[r][half] = add_products(sum_low[r][half], codes[half], low + size_t(r) * w.inputs + k);
                }
        }
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++)
                sums[r][half] = add_group<BITS>(sums[r][half], sum_high[r][half], sum_low[r][half],
                                                totals[r * x.groups + g], load_floats(scales + half * LANES),
                                                row_scales[r * x.groups + g]);
    }
    for (int r = 0; r < ROWS; r++)
        for (int half = 0; half < 2; half++) {
            float* to = y + (first + r) * w.outputs + block * BLOCK + half * LANES;
            store(to, ADD ? load_floats(to) + sums[r][half] : sums[r][half]);
        }
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T.
template <int BITS, bool ADD>
void multiply_in_lanes(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, int rows, Team team) {
    const Range blocks = team.share(w.outputs / BLOCK);
    for (int64_t b = blocks.begin; b < blocks.end; b++) {
        int r = 0;
        for (; r + 4 <= rows; r += 4) multiply_block<BITS, 4, ADD>(x, r, w, y, b);
        if (rows - r == 1) multiply_block<BITS, 1, ADD>(x, r, w, y, b);
        if (rows - r == 2) multiply_block<BITS, 2, ADD>(x, r, w, y, b);
        if (rows - r == 3) multiply_block<BITS, 3, ADD>(x, r, w, y, b);
    }
}

}  // namespace pie
