// Sixteen numbers at a time: loads, stores, products and sums, for f32 and bf16, on any machine g++ knows.
//
// The one product used everywhere is `multiply_add`: 16 sums gain the product of a tile and a group. A tile holds 16
// columns of GROUP consecutive values each; a group is GROUP values that go to every column. GROUP is 1 for f32 and 2
// for bf16, because processors with bf16 arithmetic multiply pairs. Weights, keys and values are stored as tiles.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace pie {

constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));

struct bf16 {
    uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

template <class V> inline V load(const void* from) {
    V value;
    memcpy(&value, from, sizeof(V));
    return value;
}
inline void store(float* to, Floats value) { memcpy(to, &value, sizeof(value)); }

// Round to nearest even; a NaN stays one.
inline void store(bf16* to, Floats value) {
    Words bits = (Words)value;
    Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    rounded = (Ints)(value != value) ? Words{} + 0x7fc0 : rounded;
    typedef uint16_t Halves __attribute__((vector_size(32)));
    Halves halves = __builtin_convertvector(rounded, Halves);
    memcpy(to, &halves, sizeof(halves));
}

inline void store_one(float* to, float value) { *to = value; }
inline void store_one(bf16* to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    to->bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline Floats load_floats(const float* from) { return load<Floats>(from); }
inline Floats load_floats(const bf16* from) {
    typedef uint16_t Halves __attribute__((vector_size(32)));
    return (Floats)(__builtin_convertvector(load<Halves>(from), Words) << 16);
}

template <class E> struct Tiling;

template <> struct Tiling<float> {
    static constexpr int GROUP = 1;
    typedef Floats Tile;
    typedef float Group;
    static Tile tile(const float* from) { return load<Floats>(from); }
    static Group group(const float* from) { return *from; }
    static Floats multiply_add(Floats sums, Tile tile, Group group) { return sums + tile * group; }
    static Tile first_of_each(Tile tile) { return tile; }
};

template <> struct Tiling<bf16> {
    static constexpr int GROUP = 2;
#ifdef __AVX512BF16__
    typedef __m512bh Tile;
    typedef __m512bh Group;
    static Tile tile(const bf16* from) { return load<Tile>(from); }
    static Group group(const bf16* from) {
        int32_t pair;
        memcpy(&pair, from, 4);
        return (Group)_mm512_set1_epi32(pair);
    }
    static Floats multiply_add(Floats sums, Tile tile, Group group) {
        return (Floats)_mm512_dpbf16_ps((__m512)sums, tile, group);
    }
#else
    typedef Words Tile;
    struct Group {
        float first, second;
    };
    static Tile tile(const bf16* from) { return load<Words>(from); }
    static Group group(const bf16* from) { return {to_float(from[0]), to_float(from[1])}; }
    static Floats multiply_add(Floats sums, Tile tile, Group group) {
        sums += (Floats)(tile << 16) * group.first;
        return sums + (Floats)(tile & 0xffff0000u) * group.second;
    }
#endif
    // The tile with the second value of each pair made zero.
    static Tile first_of_each(Tile tile) { return (Tile)((Words)tile & 0x0000ffffu); }
};

// Sum and maximum over the lanes, always in the same order.
template <class F> inline float fold(Floats v, F combine) {
    v = combine(v, __builtin_shuffle(v, Ints{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
    v = combine(v, __builtin_shuffle(v, Ints{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}));
    v = combine(v, __builtin_shuffle(v, Ints{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}));
    v = combine(v, __builtin_shuffle(v, Ints{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}));
    return v[0];
}
inline float sum(Floats v) {
    return fold(v, [](Floats a, Floats b) { return a + b; });
}
inline float maximum(Floats v) {
    return fold(v, [](Floats a, Floats b) { return a > b ? a : b; });
}

// e^x to about 2e-7 relative, for x up to 88; below -87 it stays at e^-87. A NaN stays one.
// Cody-Waite reduction by ln 2 in two parts, then the Cephes polynomial of expf.
inline Floats exponential(Floats x) {
    const Floats low = Floats{} - 87.0f, high = Floats{} + 88.0f;
    x = x < low ? low : x;
    x = x > high ? high : x;
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    Floats shifted = x * 1.44269504f + round;
    Floats n = shifted - round;
    Floats r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    Floats p = Floats{} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    Words exponent = (Words)((Ints)shifted - 0x4b400000 + 127) << 23;
    return p * (Floats)exponent;
}

// tanh x to about 2e-7 relative; a NaN stays one. The polynomial near zero is that of tanhf in Cephes.
inline Floats hyperbolic_tangent(Floats x) {
    const Floats size = x < 0.0f ? -x : x, square = x * x;
    Floats p = Floats{} - 5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const Floats far = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
    return size < 0.625f ? x + x * square * p : (x < 0.0f ? -far : far);
}

}  // namespace pie
