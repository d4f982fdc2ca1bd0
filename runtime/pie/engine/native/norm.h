// The root-mean-square norm (Zhang and Sennrich, 2019) of one row; sizes are multiples of LANES.
#pragma once

#include "lanes.h"

namespace pie {

inline float inverse_root_mean_square(const float* row, int size, float epsilon) {
    Floats squares = {};
    for (int i = 0; i < size; i += LANES) squares += load_floats(row + i) * load_floats(row + i);
    return 1.0f / sqrtf(sum(squares) / size + epsilon);
}

// to = from / rms(from) * weight.
template <class Out> void rms_norm(const float* from, const float* weight, Out* to, int size, float epsilon) {
    const float scale = inverse_root_mean_square(from, size, epsilon);
    for (int i = 0; i < size; i += LANES) store(to + i, load_floats(from + i) * scale * load_floats(weight + i));
}

// to += from / rms(from) * weight.
inline void add_rms_norm(const float* from, const float* weight, float* to, int size, float epsilon) {
    const float scale = inverse_root_mean_square(from, size, epsilon);
    for (int i = 0; i < size; i += LANES)
        store(to + i, load_floats(to + i) + load_floats(from + i) * scale * load_floats(weight + i));
}

}  // namespace pie
