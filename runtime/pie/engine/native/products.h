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
    template <bool ADD = false> void multiply(const E* x, const Weights& w, float* y, int rows, Team team) {
        if (!w.form.bits) {
            multiply_best<ADD>(x, Matrix<E>{(const E*)w.packed, w.outputs, w.inputs}, y, rows, team);
            return;
        }
        digits.take(x, rows, w.inputs, w.form.group, team);
        if (w.form.bits == 8)
            multiply_quantized<8, ADD>(digits, codes<8>(w), y, rows, team);
        else
            multiply_quantized<4, ADD>(digits, codes<4>(w), y, rows, team);
    }

   private:
    template <int BITS> static QuantizedMatrix<BITS> codes(const Weights& w) {
        return {(const uint8_t*)w.packed, w.outputs, w.inputs, w.form.group};
    }

    Digits digits;
};

}  // namespace pie
