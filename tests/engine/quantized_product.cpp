// One product of the kernels with a C interface, for tests/engine/test_quantized_kernel.py.
#include "byte_tiles.h"

using namespace pie;

template <int BITS, bool ADD>
static void run(const float* x, const void* packed, const int* sizes, bool in_tiles, float* y, Team team,
                Digits& digits) {
    const int rows = sizes[0];
    const QuantizedMatrix<BITS> w = {(const uint8_t*)packed, sizes[1], sizes[2], sizes[3]};
    digits.take(x, rows, w.inputs, w.group, team);
#ifdef PIE_BYTE_TILES
    if (in_tiles) return multiply_in_byte_tiles<BITS, ADD>(digits.rows_from(0), w, y, rows, team);
#endif
    multiply_in_lanes<BITS, ADD>(digits.rows_from(0), w, y, rows, team);
}

extern "C" {

// Whether tiles can compute it here.
int has_tiles(const int* sizes) {
#ifdef PIE_BYTE_TILES
    return inputs_of_tiles(QuantizedMatrix<8>{nullptr, sizes[1], sizes[2], sizes[3]}) > 0;
#else
    return 0;
#endif
}

// y [rows, outputs] += x [rows, inputs] W^T; sizes are rows, outputs, inputs, group, bits, threads.
void add_product(const float* x, const void* packed, const int* sizes, int in_tiles, float* y) {
    Digits digits;
    digits.reserve(sizes[0], sizes[2]);
    with_team(sizes[5], [&](Team team) {
        if (sizes[4] == 8) run<8, true>(x, packed, sizes, in_tiles, y, team, digits);
        else run<4, true>(x, packed, sizes, in_tiles, y, team, digits);
    });
}

}
