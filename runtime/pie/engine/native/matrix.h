// A matrix packed in tiles, [outputs / 32][inputs / GROUP][32][GROUP].
#pragma once

#include <cstddef>

#include "lanes.h"

namespace pie {

constexpr int BLOCK = 2 * LANES;

template <class E> struct Matrix {
    const E* packed;
    int outputs;  // a multiple of BLOCK
    int inputs;   // a multiple of GROUP

    const E* block(int64_t index) const { return packed + index * BLOCK * inputs; }
    // Whether it is too large to have stayed in a cache since the step before.
    bool is_far() const { return size_t(outputs) * inputs * sizeof(E) >= (1 << 20); }
};

}  // namespace pie
