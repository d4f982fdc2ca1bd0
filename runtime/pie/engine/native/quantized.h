// y = x W^T, or y += x W^T, with W as small integers in groups along the inputs.
//
// A block of 32 outputs holds one group after another: 32 scales (bf16), then the integers as tiles of 4 inputs
// [group / 4][32][4], a byte each with 128 added; or, of four bits, [group / 4][16][4] bytes with 8 added to each half,
// the low half for the first 16 outputs. The sums over a group are exact. They are scaled and added up in the order of
// the groups, whatever rows and threads there are, and whether tiles of the processor made them or not: so a row's
// result depends on nothing but the row.
#pragma once

#ifdef __AVX512VNNI__
#include <immintrin.h>
#endif

#include "ahead.h"
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

// sums += what a group gives 16 outputs of one row. `total` is that of the row's integers.
template <int BITS>
inline Floats add_group(Floats sums, Ints high, Ints low, int32_t total, Floats weight_scale, float row_scale) {
    const Ints exact = (high << 7) + low - total * QuantizedMatrix<BITS>::HALF;
    return sums + __builtin_convertvector(exact, Floats) * (weight_scale * row_scale);
}

// The codes of the next four inputs for both halves of a block.
template <int BITS> inline void load_codes(const uint8_t*& from, Codes codes[2]) {
    codes[0] = load<Codes>(from);
    ask_ahead(from);
    if (BITS == 8) {
        codes[1] = load<Codes>(from + sizeof(Codes));
        ask_ahead(from + sizeof(Codes));
    } else {
        codes[1] = (codes[0] >> 4) & 0x0f0f0f0f;
        codes[0] &= 0x0f0f0f0f;
    }
    from += sizeof(Codes) * BITS / 4;
}

#ifdef __AVX512VNNI__
// sums += the products of each output with four digits, which lie in one word.
inline Ints add_products(Ints sums, Codes codes, uint32_t digits) {
    return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)codes, _mm512_set1_epi32(digits));
}

// Some rows over some blocks of weights.
template <int BITS, int ROWS, int BLOCKS, bool ADD>
inline void multiply_codes(const DigitRows& x, int64_t first, const QuantizedMatrix<BITS>& w, float* y, int64_t block) {
    Floats sums[ROWS][BLOCKS][2] = {};
    const uint8_t* from[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) from[b] = w.block(block + b);
    const int8_t *high = x.high_of(first), *low = x.low_of(first);
    const float* row_scales = x.scales_of(first);
    const int32_t* totals = x.totals_of(first);
    for (int g = 0; g < x.groups; g++) {
        Floats scales[BLOCKS][2];
        for (int b = 0; b < BLOCKS; b++) {
            for (int half = 0; half < 2; half++) scales[b][half] = load_floats((const bf16*)from[b] + half * LANES);
            from[b] += BLOCK * sizeof(bf16);
        }
        Ints sum_high[ROWS][BLOCKS][2] = {}, sum_low[ROWS][BLOCKS][2] = {};
        const int end = g * w.group + w.size_of(g);
        for (int k = g * w.group; k < end; k += 4) {
            uint32_t highs[ROWS], lows[ROWS];
            for (int r = 0; r < ROWS; r++) {
                highs[r] = load<uint32_t>(high + size_t(r) * w.inputs + k);
                lows[r] = load<uint32_t>(low + size_t(r) * w.inputs + k);
            }
#pragma GCC unroll 4
            for (int b = 0; b < BLOCKS; b++) {
                Codes codes[2];
                load_codes<BITS>(from[b], codes);
#pragma GCC unroll 4
                for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
                    for (int half = 0; half < 2; half++) {
                        sum_high[r][b][half] = add_products(sum_high[r][b][half], codes[half], highs[r]);
                        sum_low[r][b][half] = add_products(sum_low[r][b][half], codes[half], lows[r]);
                    }
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
            for (int b = 0; b < BLOCKS; b++)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++)
                    sums[r][b][half] =
                        add_group<BITS>(sums[r][b][half], sum_high[r][b][half], sum_low[r][b][half],
                                        totals[r * x.groups + g], scales[b][half], row_scales[r * x.groups + g]);
    }
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < BLOCKS; b++)
            for (int half = 0; half < 2; half++) {
                float* to = y + (first + r) * w.outputs + (block + b) * BLOCK + half * LANES;
                store(to, ADD ? load_floats(to) + sums[r][b][half] : sums[r][b][half]);
            }
}

// One or two rows over all blocks of a range, AT_ONCE of them at a time.
template <int BITS, int ROWS, int AT_ONCE, bool ADD>
void multiply_range(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, Range blocks) {
    int64_t b = blocks.begin;
    for (; b + AT_ONCE <= blocks.end; b += AT_ONCE) multiply_codes<BITS, ROWS, AT_ONCE, ADD>(x, 0, w, y, b);
    for (; b < blocks.end; b++) multiply_codes<BITS, ROWS, 1, ADD>(x, 0, w, y, b);
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T.
template <int BITS, bool ADD>
void multiply_in_lanes(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, int rows, Team team) {
    const Range blocks = team.share(w.outputs / BLOCK);
    if (rows == 1) return multiply_range<BITS, 1, 4, ADD>(x, w, y, blocks);
    if (rows == 2) return multiply_range<BITS, 2, 2, ADD>(x, w, y, blocks);
    for (int64_t b = blocks.begin; b < blocks.end; b++) {
        int r = 0;
        for (; r + 4 <= rows; r += 4) multiply_codes<BITS, 4, 1, ADD>(x, r, w, y, b);
        if (rows - r == 1) multiply_codes<BITS, 1, 1, ADD>(x, r, w, y, b);
        if (rows - r == 2) multiply_codes<BITS, 2, 1, ADD>(x, r, w, y, b);
        if (rows - r == 3) multiply_codes<BITS, 3, 1, ADD>(x, r, w, y, b);
    }
}
#endif  // or else multiply_in_lanes is that of narrow_codes.h

}  // namespace pie
