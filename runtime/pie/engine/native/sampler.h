// Draws one token from one row of logits. pie/engine/sampling.py defines what this computes; both are tested as one.
//
// Nothing is sorted: the likely tokens are collected with a falling threshold, and where the ranking must be cut, a
// radix selection over the bits of the logits finds the place.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.h"

namespace pie {

struct Sampler {
    float temperature;
    int32_t top_k;
    float top_p, min_p;
    uint64_t seed, counter;

    bool sound() const {
        return temperature >= 0 && temperature < INFINITY && top_k >= 0 && top_p >= 0 && top_p <= 1 && min_p >= 0 &&
               min_p <= 1;
    }
};

// What is done to the logits of one sampler; `ids` are the tokens of prompt and output, `counts` how often in the output.
struct Adjustment {
    float repetition, frequency, presence;
    int num_ids;
    const int32_t *ids, *counts;
    int num_biases;
    const int32_t* bias_ids;
    const float* biases;
};

enum DrawStatus : int32_t { DRAWN = 0, NOTHING_ALLOWED = 1, NOT_FINITE = 2, BAD_SAMPLER = 3 };

// SplitMix64's finaliser (Steele, Lea and Flood, 2014).
inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
inline double uniform(uint64_t seed, uint64_t counter) {
    const uint64_t gamma = 0x9e3779b97f4a7c15;
    return (mix(mix(seed + gamma) + (counter + 1) * gamma) >> 11) * 0x1p-53;
}

class RowSampler {
   public:
    // Takes all memory that rows of so many logits need: a thread of a team could not tell that there is too little.
    explicit RowSampler(int vocab) : size((vocab + LANES - 1) / LANES * LANES) {
        allowed.resize(size), weights.resize(size), block_sums.reserve(size / SPAN + 1);
        candidates.reserve(size), survivors.reserve(size), histogram.reserve(MOST_BINS);
    }

    // `logits` are `vocab` values, readable up to the next multiple of 16; bits of `mask` (may be null) are allowed ids;
    // `adjustment` may be null.
    DrawStatus draw(const float* logits, int vocab, const uint32_t* mask, const Adjustment* adjustment,
                    const Sampler& sampler, int32_t* token) {
        if (!sampler.sound()) return BAD_SAMPLER;
        if (!take(logits, vocab, mask)) return NOT_FINITE;
        if (adjustment && !adjust(*adjustment)) return NOT_FINITE;
        Floats top = Floats{} - INFINITY;
        for (int i = 0; i < size; i += LANES) {
            Floats x = load_floats(&allowed[i]);
            top = x > top ? x : top;
        }
        best = maximum(top);
        if (best == -INFINITY) return NOTHING_ALLOWED;
        if (sampler.temperature == 0) {
            *token = std::find(allowed.begin(), allowed.begin() + size, best) - allowed.begin();
            return DRAWN;
        }
        weigh(sampler.temperature);
        const double u = uniform(sampler.seed, sampler.counter);
        const bool ranked = sampler.top_k > 0 || sampler.top_p < 1;
        *token = ranked ? draw_ranked(sampler, u) : draw_any(sampler.min_p, u);
        return DRAWN;
    }

   private:
    static constexpr int SPAN = 256, MOST_BINS = 2048;

    // Where a ranking ends: the last kept token, by logit (as an ordered integer) and then by id.
    struct Cut {
        uint32_t key;
        int id;
        double mass;  // of the kept tokens
        bool keeps(uint32_t k, int i) const { return k > key || (k == key && i <= id); }
    };

    // Copy the row, -inf where the mask forbids and past its end; false if it holds a NaN or +inf.
    bool take(const float* logits, int vocab, const uint32_t* mask) {
        Ints unsound = {};
        const Ints ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const Words bits = (Words{} + 1) << (Words)ids;
        for (int i = 0; i < size; i += LANES) {
            Floats x = load_floats(logits + i);
            Ints inside = ids < vocab - i;
            unsound |= inside & ~(x < INFINITY);
            if (mask) inside &= (bits & (mask[i / 32] >> i % 32)) != 0;
            store(&allowed[i], inside ? x : Floats{} - INFINITY);
        }
        int found = 0;
        for (int i = 0; i < LANES; i++) found |= unsound[i];
        return !found;
    }

    // What the mask forbids stays at -inf, so that this may come after it; false if a logit leaves the range of floats.
    // Products of a float with a float or a count are exact in doubles: the compiler may fuse them or not.
    bool adjust(const Adjustment& by) {
        bool sound = true;
        for (int n = 0; n < by.num_ids; n++) {
            float& x = allowed[by.ids[n]];
            double y = x > 0 ? double(x) / by.repetition : double(x) * by.repetition;
            y -= double(by.counts[n]) * by.frequency + (by.counts[n] > 0 ? double(by.presence) : 0.0);
            x = float(y);
            sound &= x < INFINITY;
        }
        for (int n = 0; n < by.num_biases; n++) {
            float& x = allowed[by.bias_ids[n]];
            x = float(double(x) + by.biases[n]);
            sound &= x < INFINITY;
        }
        return sound;
    }

    void weigh(float temperature) {
        for (int i = 0; i < size; i += LANES) {
            Floats scaled = (load_floats(&allowed[i]) - best) / temperature;
            store(&weights[i], scaled > -87.0f ? exponential(scaled) : Floats{});
        }
    }

    // No ranking: sums of blocks first, then the walk inside the block that the number falls into.
    int draw_any(float min_p, double u) {
        block_sums.clear();
        double total = 0;
        for (int start = 0; start < size; start += SPAN) {
            Floats block = {};
            for (int i = start; i < std::min(size, start + SPAN); i += LANES) {
                Floats w = load_floats(&weights[i]);
                w = w < min_p ? Floats{} : w;
                store(&weights[i], w);
                block += w;
            }
            block_sums.push_back(sum(block));
            total += block_sums.back();
        }
        double left = u * total;
        size_t block = 0;
        while (block + 1 < block_sums.size() && left >= block_sums[block]) left -= block_sums[block++];
        while (block_sums[block] == 0) block--;  // rounding led past the last block with any weight
        int last = -1;
        for (int i = block * SPAN; i < std::min(size, int(block + 1) * SPAN); i++) {
            if (weights[i] == 0) continue;
            last = i;
            if (left < weights[i]) break;
            left -= weights[i];
        }
        return last;
    }

    int draw_ranked(const Sampler& sampler, double u) {
        Cut cut = {0, size, 0};
        collect(sampler);
        if (sampler.top_k > 0 && size_t(sampler.top_k) < candidates.size())
            cut = select(cut, sampler.top_k, [](float) { return 1.0; });
        double mass = 0;
        for (int id : candidates)
            if (cut.keeps(key(id), id)) mass += weights[id];
        if (sampler.top_p < 1) {
            if (sampler.top_k == 0) mass = total_weight;
            cut = select(cut, sampler.top_p * mass, [](float w) { return double(w); });
        }
        double kept = 0;
        auto keeps = [&](int id) { return weights[id] >= sampler.min_p && cut.keeps(key(id), id); };
        for (int id : candidates)
            if (keeps(id)) kept += weights[id];
        double left = u * kept;
        int last = -1;
        for (int id : candidates) {
            if (!keeps(id) || weights[id] == 0) continue;
            last = id;
            if (left < weights[id]) break;
            left -= weights[id];
        }
        return last;
    }

    // Tokens, in the order of their ids, among which the cuts of top-k and top-p certainly are.
    void collect(const Sampler& sampler) {
        total_weight = 0;
        for (int start = 0; start < size; start += 256) {
            Floats block = {};
            for (int i = start; i < std::min(size, start + 256); i += LANES) block += load_floats(&weights[i]);
            total_weight += sum(block);
        }
        for (float least : {0.02f, 3e-4f, 1e-7f, 0.0f}) {
            double mass = gather(least);
            bool enough_ranks = sampler.top_k > 0 && candidates.size() >= size_t(sampler.top_k);
            bool enough_mass = sampler.top_k == 0 && mass >= sampler.top_p * total_weight * (1 + 1e-6);
            if (enough_ranks || enough_mass) return;
        }
    }

    // Candidates are the allowed tokens of at least this weight; gives their mass.
    double gather(float least) {
        candidates.clear();
        double mass = 0;
        for (int i = 0; i < size; i += LANES) {
            Ints hit = load_floats(&weights[i]) >= least;
            int found = 0;
            for (int j = 0; j < LANES; j++) found |= hit[j];
            if (!found) continue;
            for (int j = 0; j < LANES; j++)
                if (hit[j] && allowed[i + j] > -INFINITY) {
                    candidates.push_back(i + j);
                    mass += weights[i + j];
                }
        }
        return mass;
    }

    // The shortest run of the ranking, within `within`, whose amounts add up to `wanted`; one token at least.
    template <class F> Cut select(Cut within, double wanted, F amount) {
        survivors.clear();
        for (int id : candidates)
            if (within.keeps(key(id), id)) survivors.push_back(id);
        double before = 0;
        uint32_t prefix = 0;
        for (int shift : {21, 10, 0}) {
            const int bins = shift ? MOST_BINS : MOST_BINS / 2;
            histogram.assign(bins, 0.0);
            int lowest = bins;
            for (int id : survivors) {
                int bin = key(id) >> shift & (bins - 1);
                histogram[bin] += amount(weights[id]);
                lowest = std::min(lowest, bin);
            }
            int bin = bins - 1;
            for (; bin > lowest && before + histogram[bin] < wanted; bin--) before += histogram[bin];
            // A bin above the lowest one may be empty where nothing is wanted: step down to one that is not.
            while (bin > lowest && histogram[bin] == 0) bin--;
            prefix |= uint32_t(bin) << shift;
            const uint32_t known = ~uint32_t(0) << shift;
            auto elsewhere = [&](int id) { return (key(id) & known) != prefix; };
            survivors.erase(std::remove_if(survivors.begin(), survivors.end(), elsewhere), survivors.end());
        }
        int last = survivors.back();
        for (int id : survivors) {
            before += amount(weights[id]);
            if (before >= wanted) {
                last = id;
                break;
            }
        }
        return {prefix, last, before};
    }

    // The bits of a logit, ordered as the logits are.
    uint32_t key(int id) const {
        float x = allowed[id] + 0.0f;  // -0 and 0 rank the same
        uint32_t bits;
        memcpy(&bits, &x, 4);
        return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    }

    const int size;
    float best = 0;
    double total_weight = 0;
    std::vector<float> allowed, weights, block_sums;
    std::vector<int> candidates, survivors;
    std::vector<double> histogram;
};

}  // namespace pie
