// The products of linear.h for processors whose registers hold fewer than 16 numbers: the same sums, in the same order.
//
// A block's outputs are as many registers; so many of these as there are sums at once go through the inputs together,
// and each is loaded for several rows. The inputs of these rows are made floats once for all outputs of such a pass.
#pragma once

#include "ahead.h"
#include "matrix.h"
#include "row_products.h"
#include "team.h"

namespace pie {

template <class E> inline void widen(const E* from, int count, Factor<E>* to) {
    for (int i = 0; i < count; i++) to[i] = to_float(from[i]);
}

// ROWS rows over PARTS registers of outputs of each of BLOCKS blocks, from `lane` on.
template <class E, int ROWS, int BLOCKS, int PARTS, bool ADD>
inline void multiply_parts(const E* x, const Matrix<E>& w, float* y, int64_t first, int lane, bool far) {
    constexpr int GROUP = Tiling<E>::GROUP, INPUTS = 64;  // that are read ahead, and made floats, at a time
    const auto each = [](auto act) {
#pragma GCC unroll 4
        for (int b = 0; b < BLOCKS; b++)
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; p++)
#pragma GCC unroll 4
                for (int r = 0; r < ROWS; r++) act(b, p, r);
    };
    Part sums[BLOCKS][PARTS][ROWS] = {};
    Factor<E> factors[ROWS][INPUTS];
    for (int begin = 0, end; begin < w.inputs; begin = end) {
        end = std::min(begin + INPUTS, w.inputs);
        for (int r = 0; r < ROWS; r++) widen(x + size_t(r) * w.inputs + begin, end - begin, factors[r]);
        if (far)
            for (int b = 0; b < BLOCKS; b++)
                read_ahead(w.block(first + b) + size_t(begin) * BLOCK, (end - begin) * BLOCK * sizeof(E));
        for (int k = begin; k < end; k += GROUP)
            each([&](int b, int p, int r) {
                const E* tile = w.block(first + b) + size_t(k) * BLOCK + (lane + p * REGISTER) * GROUP;
                sums[b][p][r] = multiply_add(sums[b][p][r], tile, factors[r] + (k - begin));
            });
    }
    each([&](int b, int p, int r) {
        float* to = y + size_t(r) * w.outputs + (first + b) * BLOCK + lane + p * REGISTER;
        const Part all = ADD ? load<Part>(to) + sums[b][p][r] : sums[b][p][r];
        memcpy(to, &all, sizeof(all));
    });
}

// ROWS rows over one block.
template <class E, int ROWS, bool ADD>
void multiply_block(const E* x, const Matrix<E>& w, float* y, int64_t block, bool far) {
    constexpr int PARTS = std::min(BLOCK / REGISTER, ROWS > 2 ? SUMS_AT_ONCE / 4 : SUMS_AT_ONCE / ROWS);
    for (int lane = 0; lane < BLOCK; lane += PARTS * REGISTER)
        multiply_parts<E, ROWS, 1, PARTS, ADD>(x, w, y, block, lane, far && !lane);
}

template <class E, bool ADD>
void multiply_narrow(const E* x, const Matrix<E>& w, float* y, int rows, Range blocks, bool far) {
    constexpr int AT_ONCE = 4, ALL = BLOCK / REGISTER, SIDE_BY_SIDE = std::max(1, SUMS_AT_ONCE / ALL);
    int64_t b = blocks.begin;
    if (rows == 1)
        for (; b + SIDE_BY_SIDE <= blocks.end; b += SIDE_BY_SIDE)
            multiply_parts<E, 1, SIDE_BY_SIDE, ALL, ADD>(x, w, y, b, 0, far);
    for (; b < blocks.end; b++)
        for (int r = 0; r < rows; r += AT_ONCE) {
            const E* from = x + size_t(r) * w.inputs;
            float* to = y + size_t(r) * w.outputs;
            const bool is_new = far && !r;
            switch (std::min(rows - r, AT_ONCE)) {
                case 1: multiply_block<E, 1, ADD>(from, w, to, b, is_new); break;
                case 2: multiply_block<E, 2, ADD>(from, w, to, b, is_new); break;
                case 3: multiply_block<E, 3, ADD>(from, w, to, b, is_new); break;
                default: multiply_block<E, AT_ONCE, ADD>(from, w, to, b, is_new);
            }
        }
}

}  // namespace pie
