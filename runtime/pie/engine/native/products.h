// Products with the matrices of a model, in whichever form they are kept. `Form` mirrors pie/engine/kernels.py.
#pragma once

#include "byte_tiles.h"

namespace pie {

// How matrices are kept: as tiles of E (see linear.h) if `bits` is 0, or else as integers in groups (see quantized.h).
struct Form {
    int32_t bits, group;
};

struct Weights {
    const void* packed;
    Form form;
    int outputs, inputs;
};

template <class E> class Products {
   public:
    void reserve(size_t rows, int most_inputs) { digits.reserve(rows, most_inputs); }

    // This thread's part of y[rows, outputs] (+)= x[rows, inputs] W^T.
    template <bool ADD = false> void multiply(const Weights& w, const E* x, float* y, int rows, Team team) {
        take(w, x, rows, team);
        multiply_taken<ADD>(w, x, y, {0, rows}, team);
    }

    // What products of these rows with matrices like `w` need before; all threads have it then.
    void take(const Weights& w, const E* x, int rows, Team team) {
        if (w.form.bits) digits.take(x, rows, w.inputs, w.form.group, team);
    }

    // As `multiply`, for some of the rows that were taken, and matrix `index` of those that lie one above the other.
    template <bool ADD = false>
    void multiply_taken(const Weights& w, const E* x, float* y, Range rows, Team team, int64_t index = 0) {
        const int count = rows.end - rows.begin;
        if (!count) return;
        const int64_t block = index * (w.outputs / BLOCK);
        x += rows.begin * w.inputs, y += rows.begin * w.outputs;
        if (w.form.bits == 8) return multiply_codes<8, ADD>(w, block, y, rows.begin, count, team);
        if (w.form.bits == 4) return multiply_codes<4, ADD>(w, block, y, rows.begin, count, team);
        const Matrix<E> first = {(const E*)w.packed, w.outputs, w.inputs};
        multiply_best<ADD>(x, Matrix<E>{first.block(block), w.outputs, w.inputs}, y, count, team);
    }

   private:
    template <int BITS, bool ADD>
    void multiply_codes(const Weights& w, int64_t block, float* y, int64_t first_row, int count, Team team) {
        const QuantizedMatrix<BITS> first = {(const uint8_t*)w.packed, w.outputs, w.inputs, w.form.group};
        const QuantizedMatrix<BITS> matrix = {first.block(block), w.outputs, w.inputs, w.form.group};
        multiply_quantized<BITS, ADD>(digits.rows_from(first_row), matrix, y, count, team);
    }

    Digits digits;
};

}  // namespace pie
