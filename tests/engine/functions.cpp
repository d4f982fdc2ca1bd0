// The functions of the kernels with a C interface, for tests/engine/test_functions.py.
#include "mlp.h"

using namespace pie;

template <class F> static void apply(F function, const float* from, float* to, int count) {
    for (int i = 0; i < count; i += LANES) store(to + i, function(load_floats(from + i)));
}

extern "C" {

// to[i] = function(from[i]), counted as in FUNCTIONS; `count` is a multiple of 16.
void apply_function(int which, const float* from, float* to, int count) {
    if (which == 0) apply([](Floats x) { return silu(x); }, from, to, count);
    if (which == 1) apply([](Floats x) { return gelu_tanh(x); }, from, to, count);
    if (which == 2) apply([](Floats x) { return gelu(x); }, from, to, count);
    if (which == 3) apply([](Floats x) { return hyperbolic_tangent(x); }, from, to, count);
}

}
