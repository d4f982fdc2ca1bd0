// Numbers in eight bits, as pages may keep them: e4m3 of Micikevicius et al., "FP8 formats for deep learning" (2022).
//
// One sign, four bits of exponent, three of mantissa, a single NaN and no infinity: up to 448, in steps of 2^-9 below
// 2^-6. Torch calls it float8_e4m3fn.
#pragma once

#include "lanes.h"

#ifdef __AVX512VBMI__
#include <immintrin.h>
#endif

namespace pie {

// The nearest one, even ones where two are as near; what is beyond the range becomes its end, and a NaN stays one.
inline uint8_t to_fp8(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint8_t sign = bits >> 24 & 0x80;
    uint32_t size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7f;
    if (size >= 0x43e00000) return sign | 0x7e;                                       // 448
    if (size < 0x3c800000) return sign | uint8_t(nearbyintf(fabsf(x) * 0x1p9f));      // 2^-6
    size += 0x7ffff + (size >> 20 & 1);
    return sign | uint8_t((size >> 20) - (120 << 3));
}

// Bits of the floats that sixteen of them are.
inline Words fp8_bits(const uint8_t* from) {
    typedef uint8_t Bytes __attribute__((vector_size(16)));
    const Words code = __builtin_convertvector(load<Bytes>(from), Words), size = code & 0x7f;
    const Words small = (Words)(__builtin_convertvector((Ints)size, Floats) * 0x1p-9f);
    Words bits = (size << 20) + (120u << 23);
    bits = size < 8 ? small : bits;
    bits = size == 0x7f ? Words{} + 0x7fc00000 : bits;
    return bits | (code & 0x80) << 24;
}

// `count` of them, a multiple of 64, as numbers of E.
inline void expand(const uint8_t* from, float* to, int count) {
    for (int i = 0; i < count; i += LANES) store(to + i, (Floats)fp8_bits(from + i));
}

#ifdef __AVX512VBMI__
// The upper and the lower byte of the bf16 that each code without its sign is.
struct alignas(64) Fp8Table {
    uint8_t upper[128], lower[128];

    Fp8Table() {
        for (int first = 0; first < 128; first += LANES) {
            alignas(16) uint8_t codes[LANES];
            for (int i = 0; i < LANES; i++) codes[i] = first + i;
            const Words bits = fp8_bits(codes);
            for (int i = 0; i < LANES; i++) upper[first + i] = bits[i] >> 24, lower[first + i] = bits[i] >> 16;
        }
    }
};

inline void expand(const uint8_t* from, bf16* to, int count) {
    static const Fp8Table table;
    const __m512i upper0 = _mm512_load_si512(table.upper), upper1 = _mm512_load_si512(table.upper + 64);
    const __m512i lower0 = _mm512_load_si512(table.lower), lower1 = _mm512_load_si512(table.lower + 64);
    const __m512i sign = _mm512_set1_epi8(char(0x80)), order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < count; i += 64) {
        // The bytes are put together within quarters of a register: first and second halves of these are apart now.
        const __m512i code = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(from + i));
        const __m512i lower = _mm512_permutex2var_epi8(lower0, code, lower1);
        const __m512i upper = _mm512_or_si512(_mm512_permutex2var_epi8(upper0, code, upper1), _mm512_and_si512(code, sign));
        _mm512_storeu_si512(to + i, _mm512_unpacklo_epi8(lower, upper));
        _mm512_storeu_si512(to + i + 32, _mm512_unpackhi_epi8(lower, upper));
    }
}
#else
inline void expand(const uint8_t* from, bf16* to, int count) {
    typedef uint16_t Halves __attribute__((vector_size(32)));
    for (int i = 0; i < count; i += LANES) {
        const Halves halves = __builtin_convertvector(fp8_bits(from + i) >> 16, Halves);
        memcpy(to + i, &halves, sizeof(halves));
    }
}
#endif

}  // namespace pie
