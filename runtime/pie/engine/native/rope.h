// Rotary position embedding (Su et al., "RoFormer", 2021), as pie/engine/rope.py lays it out. `Rope` mirrors
// pie/engine/kernels.py.
#pragma once

#include <cstdint>

namespace pie {

struct Rope {
    const float *cosines, *sines;  // [positions, pairs]
    int32_t pairs;

    // Turn the first 2 * pairs numbers of a head to its position: their first half pairs with the second.
    void turn(float* head, int position) const {
        const float *cosine = cosines + int64_t(position) * pairs, *sine = sines + int64_t(position) * pairs;
        for (int d = 0; d < pairs; d++) {
            float a = head[d], b = head[d + pairs];
            head[d] = a * cosine[d] - b * sine[d];
            head[d + pairs] = b * cosine[d] + a * sine[d];
        }
    }
};

}  // namespace pie
