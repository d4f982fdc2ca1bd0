// What a gated MLP does between its products. `Mlp` mirrors pie/engine/kernels.py.
#pragma once

#include "lanes.h"
#include "team.h"

namespace pie {

enum Activation : int32_t { SILU, GELU_TANH, GELU };

// down(activation(gate x) * up x), packed: gate_up [2 size, hidden], gate above up, and down [hidden, size]. A mixture of
// experts has those of all of them one above the other, and a router [experts, hidden], as tiles always.
struct Mlp {
    const void *gate_up, *down, *router;
    int32_t size;
    Activation activation;
    int32_t experts, per_token;  // 0 without a mixture
    int32_t normed;              // the shares of those chosen add up to one
};

// x / (1 + e^-x).
inline Floats silu(Floats x) { return x / (exponential(-x) + 1.0f); }

// x (1 + tanh u) / 2 = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Floats gelu_tanh(Floats x) {
    const Floats inner = 0.79788456f * (x + 0.044715f * (x * x * x));
    return x / (exponential(-2.0f * inner) + 1.0f);
}

// The polynomial in x with these coefficients, that of the highest power first.
template <int N> inline Floats polynomial(Floats x, const float (&coefficients)[N]) {
    Floats sums = Floats{} + coefficients[0];
    for (int i = 1; i < N; i++) sums = sums * x + coefficients[i];
    return sums;
}

// x times the share of a standard normal distribution that lies below x, by erff and erfcf of Cephes.
inline Floats gelu(Floats x) {
    constexpr float NEAR[] = {7.853861353153693e-5f, -8.010193625184903e-4f, 5.188327685732524e-3f,
                              -2.685381193529856e-2f, 1.128358514861418e-1f, -3.761262582423300e-1f,
                              1.128379165726710e0f};
    constexpr float TO_TWO[] = {2.326819970068386e-2f, -1.387039388740657e-1f, 3.687424674597105e-1f,
                                -5.824733027278666e-1f, 6.210004621745983e-1f, -4.944515323274145e-1f,
                                3.404879937665872e-1f, -2.741127028184656e-1f, 5.638259427386472e-1f};
    constexpr float FAR[] = {-1.047766399936249e1f, 1.297719955372516e1f, -7.495518717768503e0f,
                             2.921019019210786e0f, -1.015265279202700e0f, 4.218463358204948e-1f,
                             -2.820767439740514e-1f, 5.641895067754075e-1f};
    const Floats t = x * 0.70710678f, size = t < 0.0f ? -t : t, square = t * t;
    const Floats inverse = 1.0f / size, y = inverse * inverse;
    const Floats tail = exponential(-square) * inverse * (size < 2.0f ? polynomial(y, TO_TWO) : polynomial(y, FAR));
    const Floats outside = x < 0.0f ? 0.5f * tail : 1.0f - 0.5f * tail;
    return x * (size < 1.0f ? 0.5f + 0.5f * t * polynomial(square, NEAR) : outside);
}

// active[rows, size] = curve(gate) * up of gate_up[rows, 2 size] (Shazeer, "GLU variants improve transformer", 2020).
template <class E, class F> void activate_by(F curve, const float* gate_up, int size, Range rows, E* active) {
    for (int64_t r = rows.begin; r < rows.end; r++) {
        const float *gate = gate_up + r * 2 * size, *up = gate + size;
        for (int i = 0; i < size; i += LANES)
            store(active + r * size + i, curve(load_floats(gate + i)) * load_floats(up + i));
    }
}

template <class E> void activate(const Mlp& mlp, const float* gate_up, Range rows, E* active) {
    switch (mlp.activation) {
        case SILU: return activate_by([](Floats x) { return silu(x); }, gate_up, mlp.size, rows, active);
        case GELU_TANH: return activate_by([](Floats x) { return gelu_tanh(x); }, gate_up, mlp.size, rows, active);
        case GELU: return activate_by([](Floats x) { return gelu(x); }, gate_up, mlp.size, rows, active);
    }
}

}  // namespace pie
