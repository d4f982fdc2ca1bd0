// Rows as integers: groups of inputs with a scale each, every number as two digits of a signed byte.
//
// A number is (128 * high + low) * scale, with a precision of 1/32512 of the largest one of its group: more than bf16
// has. Products with small integers are exact sums then, in whatever order they are added up. Processors that cannot
// multiply bytes by fours use numbers of 16 bits instead of the digits.
#pragma once

#include <cstddef>
#include <vector>

#include "lanes.h"
#include "team.h"

namespace pie {

#ifdef __AVX512VNNI__
constexpr bool WITH_NUMBERS = false;
#else
constexpr bool WITH_NUMBERS = true;
#endif

// Some rows, from one on, which are counted from there.
struct DigitRows {
    const int8_t *high, *low;
    const int16_t* numbers;
    const float* scales;
    const int32_t* totals;
    int width, groups;

    const int8_t* high_of(int64_t row) const { return high + row * width; }
    const int8_t* low_of(int64_t row) const { return low + row * width; }
    // Of each four inputs the first and third, then the second and fourth; only WITH_NUMBERS.
    const int16_t* numbers_of(int64_t row) const { return numbers + row * width; }
    const float* scales_of(int64_t row) const { return scales + row * groups; }
    // Sums of the integers of each group.
    const int32_t* totals_of(int64_t row) const { return totals + row * groups; }
};

class Digits {
   public:
    static constexpr int DIGIT = 128, LARGEST = 127 * DIGIT;

    void reserve(size_t rows, int most_inputs) {
        constexpr int SMALLEST_GROUP = 32;
        high.resize(rows * most_inputs), low.resize(rows * most_inputs);
        if (WITH_NUMBERS) numbers.resize(high.size());
        scales.resize(rows * (most_inputs / SMALLEST_GROUP + 1)), totals.resize(scales.size());
    }

    // Take rows of x [rows, inputs], this thread's share of them; then wait for all. Inputs are a multiple of LANES.
    template <class E> void take(const E* x, int rows, int inputs, int group_size, Team team) {
        if (team.index == 0) width = inputs, groups = (inputs + group_size - 1) / group_size;
        const size_t groups_of_row = (inputs + group_size - 1) / group_size;
        Range part = team.share(rows);
        for (int64_t r = part.begin; r < part.end; r++)
            for (int k = 0, g = 0; k < inputs; k += group_size, g++) {
                const int size = inputs - k < group_size ? inputs - k : group_size;
                const size_t at = r * inputs + k, of_group = r * groups_of_row + g;
                const Group to = {&high[at], &low[at], numbers.data() + at, &scales[of_group], &totals[of_group]};
                take_group(x + at, size, to);
            }
        team.wait();
    }

    DigitRows rows_from(int64_t row) const {
        const int64_t at = row * width, group = row * groups;
        return {&high[at], &low[at], numbers.data() + at, &scales[group], &totals[group], width, groups};
    }

   private:
    // Where a group of inputs goes.
    struct Group {
        int8_t *high, *low;
        int16_t* numbers;
        float* scale;
        int32_t* total;
    };

    template <class E> static void take_group(const E* x, int size, const Group& to) {
        Floats largest = {}, spoiled = {};
        for (int k = 0; k < size; k += LANES) {
            Floats value = load_floats(x + k), absolute = value < 0 ? -value : value;
            largest = absolute > largest ? absolute : largest;
            spoiled += value - value;  // not a number if the value is none, or infinite
        }
        const float top = maximum(largest), inverse = top > 1e-30f ? LARGEST / top : 0.0f;
        Ints sums = {};
        for (int k = 0; k < size; k += LANES) {
            const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
            Ints integer = (Ints)(load_floats(x + k) * inverse + round) - 0x4b400000;
            Ints upper = (integer + DIGIT / 2) >> 7;
            store_bytes(to.high + k, upper);
            store_bytes(to.low + k, integer - upper * DIGIT);
            if (WITH_NUMBERS) store_numbers(to.numbers + k, integer);
            sums += integer;
        }
        *to.scale = top / LARGEST + sum(spoiled);
        *to.total = 0;
        for (int i = 0; i < LANES; i++) *to.total += sums[i];
    }

    static void store_bytes(int8_t* to, Ints values) {
        typedef int8_t Bytes __attribute__((vector_size(16)));
        Bytes bytes = __builtin_convertvector(values, Bytes);
        memcpy(to, &bytes, sizeof(bytes));
    }

    static void store_numbers(int16_t* to, Ints values) {
        typedef int16_t Numbers __attribute__((vector_size(32)));
        values = __builtin_shuffle(values, Ints{0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15});
        Numbers numbers = __builtin_convertvector(values, Numbers);
        memcpy(to, &numbers, sizeof(numbers));
    }

    int width = 0, groups = 0;
    std::vector<int8_t> high, low;
    std::vector<int16_t> numbers;
    std::vector<float> scales;
    std::vector<int32_t> totals;
};

}  // namespace pie
