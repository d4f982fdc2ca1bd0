// The C interface of the CPU kernels: a model is made once and then runs steps; see pie/engine/kernels.py.
//
// Arguments were checked in Python; every array is C-contiguous. No function throws across this border. What computes
// takes its memory before its threads begin, and tells if there is too little.
#include <memory>
#include <new>

#include "decoder.h"
#include "sampler.h"

namespace pie {

// Samplers and what becomes of them, as flat arrays of one step; S = num_samplers.
struct Draws {
    int32_t num_samplers, mask_words;
    const int32_t* sampler_rows;
    const float* temperature;
    const int32_t* top_k;
    const float *top_p, *min_p;
    const uint64_t *seeds, *counters;
    const uint32_t* logit_masks;
    const int32_t* sampler_masks;
    // Some samplers are adjusted, see pie/adjustment.py.
    int32_t num_adjusted;
    const int32_t* adjusted;
    const float *repetition, *frequency, *presence;
    const int32_t *token_starts, *token_ids, *counts, *bias_starts, *bias_ids;
    const float* biases;

    Sampler at(int i, uint64_t steps_done) const {
        return {temperature[i], top_k[i], top_p[i], min_p[i], seeds[i], counters[i] + steps_done};
    }
    const uint32_t* mask(int i) const {
        return sampler_masks[i] < 0 ? nullptr : logit_masks + int64_t(sampler_masks[i]) * mask_words;
    }
};

// The adjustments of a step or a run, with counts of their own that grow with what is drawn.
class Tallies {
   public:
    explicit Tallies(const Draws& draws) : draws(draws) {
        if (!draws.num_adjusted) return;
        of_sampler.assign(draws.num_samplers, -1);
        for (int a = 0; a < draws.num_adjusted; a++) {
            const int first = draws.token_starts[a], end = draws.token_starts[a + 1];
            of_sampler[draws.adjusted[a]] = a;
            ids.emplace_back(draws.token_ids + first, draws.token_ids + end);
            counts.emplace_back(draws.counts + first, draws.counts + end);
        }
    }
    bool has(int sampler) const { return !of_sampler.empty() && of_sampler[sampler] >= 0; }
    Adjustment at(int sampler) const {
        const int a = of_sampler[sampler], bias = draws.bias_starts[a];
        return {draws.repetition[a], draws.frequency[a], draws.presence[a], int(ids[a].size()), ids[a].data(),
                counts[a].data(), draws.bias_starts[a + 1] - bias, draws.bias_ids + bias, draws.biases + bias};
    }
    void add(int sampler, int32_t token) {
        if (!has(sampler)) return;
        const int a = of_sampler[sampler];
        const size_t place = std::find(ids[a].begin(), ids[a].end(), token) - ids[a].begin();
        if (place == ids[a].size()) ids[a].push_back(token), counts[a].push_back(0);
        counts[a][place]++;
    }

   private:
    const Draws& draws;
    std::vector<int> of_sampler;  // empty if none is adjusted
    std::vector<std::vector<int32_t>> ids, counts;
};

// A decode run; stop ids of sampler i are stop_ids[stop_starts[i] … stop_starts[i + 1]], sorted. Other threads read
// `num_steps` and write `landing`; both are null for a run that goes to its end.
struct Run {
    int32_t steps;
    const int32_t *step_limits, *stop_ids, *stop_starts;
    int32_t* num_steps;
    const int32_t* landing;

    bool stops(int i, int32_t token) const {
        return std::binary_search(stop_ids + stop_starts[i], stop_ids + stop_starts[i + 1], token);
    }
    // Tell that so many steps are over; whether the run must end with them.
    bool lands(int steps_done) const {
        if (!num_steps) return false;
        __atomic_store_n(num_steps, steps_done, __ATOMIC_RELEASE);
        return __atomic_load_n(landing, __ATOMIC_ACQUIRE);
    }
};

class Model {
   public:
    explicit Model(const Shape& shape) : shape(shape) {}
    virtual ~Model() = default;
    virtual void forward(const Rows& rows, float* hidden, float* logits, int threads) = 0;

    const Shape shape;
    std::vector<float> hidden, logits;  // of the steps of a decode run
};

template <class E> class ModelOf : public Model {
   public:
    explicit ModelOf(const ModelPointers& pointers) : Model(pointers.shape), decoder(pointers) {}
    void forward(const Rows& rows, float* hidden, float* logits, int threads) override {
        decoder.forward(rows, hidden, logits, threads);
    }

   private:
    Decoder<E> decoder;
};

// One sampler per thread, for rows of `vocab` logits that lie `stride` apart.
class SamplerBank {
   public:
    SamplerBank(int vocab, int threads) : vocab(vocab), stride((vocab + BLOCK - 1) / BLOCK * BLOCK) {
        of_thread.reserve(threads);
        for (int i = 0; i < threads; i++) of_thread.emplace_back(vocab);
    }

    // Draw for `count` samplers; `of(i)` names the sampler and the row of the i-th.
    template <class F>
    void draw(const float* logits, const Draws& draws, const Tallies& tallies, int count, uint64_t steps_done, F of) {
        const int64_t worth_a_thread = 1 << 18;  // logits to look at before a second thread pays
        const int threads = std::max<int64_t>(1, std::min<int64_t>(of_thread.size(), count * int64_t(vocab) / worth_a_thread));
        with_team(threads, [&](Team team) {
            Range part = team.share(count);
            for (int64_t n = part.begin; n < part.end; n++) {
                const Target target = of(n);
                const float* row = logits + int64_t(target.row) * stride;
                const int i = target.sampler;
                *target.token = 0;
                const bool adjusted = tallies.has(i);
                const Adjustment adjustment = adjusted ? tallies.at(i) : Adjustment{};
                *target.status = of_thread[team.index].draw(row, vocab, draws.mask(i), adjusted ? &adjustment : nullptr,
                                                            draws.at(i, steps_done), target.token);
            }
        });
    }

    struct Target {
        int sampler, row;
        int32_t *token, *status;
    };

    const int vocab, stride;

   private:
    std::vector<RowSampler> of_thread;
};

// The rows of a decode run that still go on; they move up as others end.
struct Going {
    std::vector<int32_t> sampler, token_ids, positions, sequence_of_row, kv_index, logit_rows, adapter_of_row;

    explicit Going(const Rows& rows) {
        for (int i = 0; i < rows.num_rows; i++) sampler.push_back(i), logit_rows.push_back(i);
        token_ids.assign(rows.token_ids, rows.token_ids + rows.num_rows);
        positions.assign(rows.positions, rows.positions + rows.num_rows);
        sequence_of_row.assign(rows.sequence_of_row, rows.sequence_of_row + rows.num_rows);
        kv_index.assign(rows.kv_index, rows.kv_index + rows.num_rows);
        if (rows.adapters.of_row) adapter_of_row.assign(rows.adapters.of_row, rows.adapters.of_row + rows.num_rows);
    }
    Rows rows(const Rows& like, int count) const {
        const Adapters adapters = {like.adapters.tables, adapter_of_row.empty() ? nullptr : adapter_of_row.data()};
        return {count, count, like.table_width, 0, token_ids.data(), positions.data(), sequence_of_row.data(),
                kv_index.data(), like.page_table, logit_rows.data(), nullptr, nullptr, like.page_numbers, adapters};
    }
    // Row `from` draws `token` and goes on as row `to`.
    void advance(int from, int to, int32_t token) {
        sampler[to] = sampler[from], token_ids[to] = token, sequence_of_row[to] = sequence_of_row[from];
        positions[to] = positions[from] + 1, kv_index[to] = kv_index[from] + 1;
        if (!adapter_of_row.empty()) adapter_of_row[to] = adapter_of_row[from];
    }
};

// A decode run, see pie_decode.
inline void decode(Model& model, SamplerBank& samplers, const Rows& first, const Draws& draws, const Run& run,
                   const int32_t* threads_by_rows, int32_t* tokens, int32_t* num_tokens, int32_t* status) {
    Going going(first);
    Tallies tallies(draws);
    model.hidden.resize(int64_t(first.num_rows) * model.shape.hidden);
    model.logits.resize(int64_t(first.num_rows) * samplers.stride);
    int count = first.num_rows;
    for (int step = 0; step < run.steps && count; step++) {
        model.forward(going.rows(first, count), model.hidden.data(), model.logits.data(), threads_by_rows[count]);
        samplers.draw(model.logits.data(), draws, tallies, count, step, [&](int row) {
            const int i = going.sampler[row];
            return SamplerBank::Target{i, row, tokens + int64_t(i) * run.steps + step, status + i};
        });
        int kept = 0;
        for (int row = 0; row < count; row++) {
            const int i = going.sampler[row];
            const int32_t token = tokens[int64_t(i) * run.steps + step];
            num_tokens[i] = status[i] == DRAWN ? step + 1 : 0;
            if (status[i] != DRAWN || step + 1 >= run.step_limits[i] || run.stops(i, token)) continue;
            tallies.add(i, token);
            going.advance(row, kept++, token);
        }
        count = kept;
        if (run.lands(step + 1)) return;
    }
}

// Whether there was memory for all of it; what was there before is as it was.
template <class F> int fits_memory(F work) {
    try {
        work();
        return 1;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

}  // namespace pie

using namespace pie;

extern "C" {

Model* pie_model_new(const ModelPointers* pointers, int is_bf16) {
    if (is_bf16) return new ModelOf<bf16>(*pointers);
    return new ModelOf<float>(*pointers);
}

void pie_model_free(Model* model) { delete model; }

// hidden [L, hidden], logits [L, vocab padded to 32]. This and what follows return 0 if there is too little memory.
int pie_forward(Model* model, const Rows* rows, float* hidden, float* logits, int threads) {
    return fits_memory([&] { model->forward(*rows, hidden, logits, threads); });
}

SamplerBank* pie_samplers_new(int vocab, int threads) { return new SamplerBank(vocab, threads); }

void pie_samplers_free(SamplerBank* samplers) { delete samplers; }

// Logits as pie_forward gives them; tokens and status are [S].
int pie_sample(SamplerBank* samplers, const float* logits, const Draws* draws, int32_t* tokens, int32_t* status) {
    return fits_memory([&] {
        samplers->draw(logits, *draws, Tallies(*draws), draws->num_samplers, 0, [&](int i) {
            return SamplerBank::Target{i, draws->sampler_rows[i], tokens + i, status + i};
        });
    });
}

// tokens [S, steps], num_tokens [S] and status [S]; row i belongs to sampler i; threads_by_rows[n] compute n rows.
int pie_decode(Model* model, SamplerBank* samplers, const Rows* first, const Draws* draws, const Run* run,
               const int32_t* threads_by_rows, int32_t* tokens, int32_t* num_tokens, int32_t* status) {
    return fits_memory(
        [&] { decode(*model, *samplers, *first, *draws, *run, threads_by_rows, tokens, num_tokens, status); });
}

}  // extern "C"
