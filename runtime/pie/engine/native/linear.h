// y = x W^T, or y += x W^T.
//
// Each output adds its products in the order of the inputs in one sum of its own, whatever the number of rows and
// threads: that is what makes a row's result independent of its batch. Many rows share the loads of a block of
// weights; few rows take several blocks at once, so that enough sums are in flight.
#pragma once

#include "ahead.h"
#include "linear_narrow.h"
#include "matrix.h"
#include "team.h"

namespace pie {

// Weights that are FAR are in no cache, and are read ahead.
template <class E, int ROWS, int BLOCKS, bool ADD, bool FAR>
inline void multiply_blocks(const E* x, const Matrix<E>& w, float* y, int64_t first) {
    typedef Tiling<E> T;
    constexpr int GROUP = T::GROUP;
    constexpr size_t STRETCH = 2048;  // bytes
    constexpr int INPUTS = STRETCH / (BLOCK * sizeof(E));
    Floats sums[ROWS][BLOCKS][2] = {};
    const E* weights[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) weights[b] = w.block(first + b);
    for (int k = 0; k < w.inputs; k += GROUP) {
        if (FAR && k % INPUTS == 0 && k + INPUTS <= w.inputs)
            for (int b = 0; b < BLOCKS; b++) read_ahead(weights[b] + size_t(k) * BLOCK, STRETCH);
        typename T::Tile tiles[BLOCKS][2];
#pragma GCC unroll 4
        for (int b = 0; b < BLOCKS; b++) {
            const E* from = weights[b] + size_t(k) * BLOCK;
            tiles[b][0] = T::tile(from);
            tiles[b][1] = T::tile(from + LANES * GROUP);
        }
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            typename T::Group group = T::group(x + size_t(r) * w.inputs + k);
#pragma GCC unroll 4
            for (int b = 0; b < BLOCKS; b++) {
                sums[r][b][0] = T::multiply_add(sums[r][b][0], tiles[b][0], group);
                sums[r][b][1] = T::multiply_add(sums[r][b][1], tiles[b][1], group);
            }
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < BLOCKS; b++)
            for (int half = 0; half < 2; half++) {
                float* to = y + size_t(r) * w.outputs + (first + b) * BLOCK + half * LANES;
                store(to, ADD ? load_floats(to) + sums[r][b][half] : sums[r][b][half]);
            }
}

template <class E, int ROWS, int BLOCKS, bool ADD, bool FAR>
void multiply_range(const E* x, const Matrix<E>& w, float* y, Range blocks) {
    int64_t b = blocks.begin;
    for (; b + BLOCKS <= blocks.end; b += BLOCKS) multiply_blocks<E, ROWS, BLOCKS, ADD, FAR>(x, w, y, b);
    for (; b < blocks.end; b++) multiply_blocks<E, ROWS, 1, ADD, FAR>(x, w, y, b);
}

// Fewer than 12 rows over one block.
template <class E, bool ADD, bool FAR>
void multiply_rest(int rows, const E* x, const Matrix<E>& w, float* y, int64_t block) {
    switch (rows) {
#define PIE_CASE(R)                                          \
    case R:                                                  \
        multiply_blocks<E, R, 1, ADD, FAR>(x, w, y, block);  \
        break;
        PIE_CASE(1) PIE_CASE(2) PIE_CASE(3) PIE_CASE(4) PIE_CASE(5) PIE_CASE(6)
        PIE_CASE(7) PIE_CASE(8) PIE_CASE(9) PIE_CASE(10) PIE_CASE(11)
#undef PIE_CASE
        default:
            break;
    }
}

template <class E, bool ADD, bool FAR>
void multiply_rows(const E* x, const Matrix<E>& w, float* y, int rows, Range blocks) {
    constexpr int AT_ONCE = 12;
    if (rows == 1) return multiply_range<E, 1, 4, ADD, FAR>(x, w, y, blocks);
    if (rows == 2) return multiply_range<E, 2, 2, ADD, FAR>(x, w, y, blocks);
    if (rows == 3) return multiply_range<E, 3, 2, ADD, FAR>(x, w, y, blocks);
    if (rows == 4) return multiply_range<E, 4, 2, ADD, FAR>(x, w, y, blocks);
    for (int64_t b = blocks.begin; b < blocks.end; b++) {
        int r = 0;
        for (; r + AT_ONCE <= rows; r += AT_ONCE)
            multiply_blocks<E, AT_ONCE, 1, ADD, FAR>(x + size_t(r) * w.inputs, w, y + size_t(r) * w.outputs, b);
        multiply_rest<E, ADD, FAR>(rows - r, x + size_t(r) * w.inputs, w, y + size_t(r) * w.outputs, b);
    }
}

// This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T.
template <class E, bool ADD = false> void multiply(const E* x, const Matrix<E>& w, float* y, int rows, Team team) {
    constexpr int FEW = 12;  // rows, which take less time than their weights
    const Range blocks = team.share(w.outputs / BLOCK);
    const bool far = w.is_far() && rows <= FEW;
    if constexpr (REGISTER < LANES)
        multiply_narrow<E, ADD>(x, w, y, rows, blocks, far);
    else if (far)
        multiply_rows<E, ADD, true>(x, w, y, rows, blocks);
    else
        multiply_rows<E, ADD, false>(x, w, y, rows, blocks);
}

}  // namespace pie
