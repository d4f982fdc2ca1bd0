// Products with quantized matrices on processors that cannot multiply bytes by fours (see quantized.h for those).
//
// A number of a row fits 16 bits, and so does a code: processors multiply such pairs and add the two products. The
// codes of four inputs are two pairs, the even ones and the odd ones. The sum of a group fits 32 bits (groups are of up
// to 128), so it is exact, and the same as that of two digits. Sums of a group stay in registers of the processor's own
// width; those of all groups, which change once a group, do not.
#pragma once

#ifndef __AVX512VNNI__
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <algorithm>

#include "ahead.h"
#include "digits.h"
#include "quantized.h"

namespace pie {

// Lanes of a register for integers, and how many of them hold sums.
#if defined(__AVX512BW__)
constexpr int INTEGERS = 16, INTEGER_SUMS = 16;
#elif defined(__AVX2__)
constexpr int INTEGERS = 8, INTEGER_SUMS = 8;
#else
constexpr int INTEGERS = 4, INTEGER_SUMS = 8;
#endif
typedef int32_t IntegerPart __attribute__((vector_size(4 * INTEGERS)));
typedef uint32_t CodePart __attribute__((vector_size(4 * INTEGERS)));
typedef float FloatPart __attribute__((vector_size(4 * INTEGERS)));

// sums += the products of each output's two codes, of 16 bits each, with two numbers, which lie in one word.
inline IntegerPart add_pair(IntegerPart sums, CodePart codes, int32_t pair) {
#if defined(__AVX512BW__)
    return sums + (IntegerPart)_mm512_madd_epi16((__m512i)codes, _mm512_set1_epi32(pair));
#elif defined(__AVX2__)
    return sums + (IntegerPart)_mm256_madd_epi16((__m256i)codes, _mm256_set1_epi32(pair));
#elif defined(__SSE2__)
    return sums + (IntegerPart)_mm_madd_epi16((__m128i)codes, _mm_set1_epi32(pair));
#else
    sums += (IntegerPart)(codes & 0xffff) * int32_t(int16_t(pair));
    return sums + (IntegerPart)(codes >> 16) * (pair >> 16);
#endif
}

inline FloatPart load_scales(const uint8_t* from) {
    typedef uint16_t Halves __attribute__((vector_size(2 * INTEGERS)));
    return (FloatPart)(__builtin_convertvector(load<Halves>(from), CodePart) << 16);
}

// How the codes of a block are loaded: COUNT registers, each with codes of INTEGERS outputs; of four bits, of as many
// more in the upper halves of the bytes.
template <int BITS> struct Loads {
    static constexpr int HALVES = 8 / BITS, COUNT = BLOCK / HALVES / INTEGERS, BYTES = 4 * INTEGERS;
    static constexpr uint32_t MASK = BITS == 8 ? 0x00ff00ff : 0x000f000f;
};

// Sums of one group: [row][load][half].
template <int BITS, int ROWS, int WIDE> struct ExactSums {
    IntegerPart of[ROWS][WIDE][Loads<BITS>::HALVES] = {};

    // Add the products of `size` inputs of rows, `width` numbers apart, with the codes that lie from `from` on.
    void add(const int16_t* numbers, size_t width, int size, const uint8_t* const* from) {
        for (int k = 0; k < size; k += 4)
#pragma GCC unroll 8
            for (int i = 0; i < WIDE; i++) {
                const uint8_t* here = from[i] + k * (BLOCK * BITS / 8);
                const CodePart codes = load<CodePart>(here);
                if (i * Loads<BITS>::BYTES % CACHE_LINE == 0) ask_ahead(here);
#pragma GCC unroll 2
                for (int odd = 0; odd < 2; odd++)
#pragma GCC unroll 2
                    for (int half = 0; half < Loads<BITS>::HALVES; half++) {
                        const CodePart pairs = (codes >> (8 * odd + 4 * half)) & Loads<BITS>::MASK;
#pragma GCC unroll 4
                        for (int r = 0; r < ROWS; r++) {
                            const int32_t pair = load<int32_t>(numbers + r * width + k + 2 * odd);
                            of[r][i][half] = add_pair(of[r][i][half], pairs, pair);
                        }
                    }
            }
    }
};

// sums += what a group gives some outputs of one row: add_group of quantized.h with other registers.
inline void add_scaled(float* sums, IntegerPart exact, const uint8_t* weight_scales, float row_scale) {
    const FloatPart scale = load_scales(weight_scales) * row_scale;
    const FloatPart sum = load<FloatPart>(sums) + __builtin_convertvector(exact, FloatPart) * scale;
    memcpy(sums, &sum, sizeof(sum));
}

// sums [ROWS, BLOCKS * BLOCK] += what group g, which lies from `blocks` on, gives some rows.
template <int BITS, int ROWS, int BLOCKS>
inline void add_group_to_rows(const DigitRows& x, int64_t first, const QuantizedMatrix<BITS>& w, int g,
                              const uint8_t* const* blocks, float* sums) {
    typedef Loads<BITS> L;
    constexpr int ALL = BLOCKS * L::COUNT, WIDE = std::min(ALL, INTEGER_SUMS / (ROWS * L::HALVES));  // loads at once
    static_assert(WIDE > 0 && ALL % WIDE == 0);
    for (int start = 0; start < ALL; start += WIDE) {
        const uint8_t* from[WIDE];
        for (int i = 0; i < WIDE; i++)
            from[i] = blocks[(start + i) / L::COUNT] + BLOCK * sizeof(bf16) + (start + i) % L::COUNT * L::BYTES;
        ExactSums<BITS, ROWS, WIDE> exact;
        exact.add(x.numbers_of(first) + size_t(g) * w.group, x.width, w.size_of(g), from);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            const float row_scale = x.scales_of(first + r)[g];
            const int32_t more = x.totals_of(first + r)[g] * QuantizedMatrix<BITS>::HALF;
#pragma GCC unroll 8
            for (int i = 0; i < WIDE; i++)
#pragma GCC unroll 2
                for (int half = 0; half < L::HALVES; half++) {
                    const int b = (start + i) / L::COUNT, output = (start + i) % L::COUNT * INTEGERS + half * LANES;
                    add_scaled(sums + (r * BLOCKS + b) * BLOCK + output, exact.of[r][i][half] - more,
                               blocks[b] + output * sizeof(bf16), row_scale);
                }
        }
    }
}

constexpr int NARROW_ROWS = 16;  // at most, that a group is multiplied by before the next one

// Some rows over some blocks of weights.
template <int BITS, int BLOCKS, bool ADD>
void multiply_narrow_codes(const DigitRows& x, int64_t first, int rows, const QuantizedMatrix<BITS>& w, float* y,
                           int64_t block) {
    constexpr int WIDTH = BLOCKS * BLOCK, ROWS = BLOCKS == 1 ? NARROW_ROWS : 1;
    alignas(64) float sums[ROWS * WIDTH];
    std::fill(sums, sums + rows * WIDTH, 0.0f);
    const uint8_t* blocks[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) blocks[b] = w.block(block + b);
    for (int g = 0; g < x.groups; g++) {
        int r = 0;
        if constexpr (BLOCKS == 1) {
            for (; r + 4 <= rows; r += 4) add_group_to_rows<BITS, 4, 1>(x, first + r, w, g, blocks, sums + r * WIDTH);
            if (r + 2 <= rows) add_group_to_rows<BITS, 2, 1>(x, first + r, w, g, blocks, sums + r * WIDTH), r += 2;
        }
        if (r < rows) add_group_to_rows<BITS, 1, BLOCKS>(x, first + r, w, g, blocks, sums + r * WIDTH);
        for (int b = 0; b < BLOCKS; b++) blocks[b] += BLOCK * sizeof(bf16) + w.size_of(g) * (BLOCK * BITS / 8);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < WIDTH; i += LANES) {
            float* to = y + (first + r) * w.outputs + block * BLOCK + i;
            const Floats sum = load_floats(sums + r * WIDTH + i);
            store(to, ADD ? load_floats(to) + sum : sum);
        }
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T; one row reads several blocks side by side.
template <int BITS, bool ADD>
void multiply_in_lanes(const DigitRows& x, const QuantizedMatrix<BITS>& w, float* y, int rows, Team team) {
    constexpr int BESIDE = std::min(4, INTEGER_SUMS * INTEGERS / BLOCK);
    const Range blocks = team.share(w.outputs / BLOCK);
    int64_t b = blocks.begin;
    if (rows == 1)
        for (; b + BESIDE <= blocks.end; b += BESIDE) multiply_narrow_codes<BITS, BESIDE, ADD>(x, 0, 1, w, y, b);
    for (; b < blocks.end; b++)
        for (int r = 0; r < rows; r += NARROW_ROWS)
            multiply_narrow_codes<BITS, 1, ADD>(x, r, std::min(NARROW_ROWS, rows - r), w, y, b);
}

}  // namespace pie
#endif
