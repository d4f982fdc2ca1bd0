// Numbers in eight bits of the kernels, for tests/engine/test_fp8.py.
#include "fp8.h"

using namespace pie;

extern "C" {

void to_fp8_each(const float* from, uint8_t* to, int count) {
    for (int i = 0; i < count; i++) to[i] = to_fp8(from[i]);
}

void expand_to_float(const uint8_t* from, float* to, int count) { expand(from, to, count); }

void expand_to_bf16(const uint8_t* from, uint16_t* to, int count) { expand(from, (bf16*)to, count); }

}  // extern "C"
