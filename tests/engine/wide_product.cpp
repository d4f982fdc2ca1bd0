// Products of bf16 rows with a C interface, for tests/engine/test_wide_kernel.py.
#include "tiles.h"

using namespace pie;

extern "C" {

// y [rows, outputs] += x [rows, inputs] W^T; sizes are rows, outputs, inputs, threads.
void add_product(const bf16* x, const bf16* packed, const int* sizes, float* y) {
    const Matrix<bf16> w = {packed, sizes[1], sizes[2]};
    with_team(sizes[3], [&](Team team) { multiply_best<true>(x, w, y, sizes[0], team); });
}

}
