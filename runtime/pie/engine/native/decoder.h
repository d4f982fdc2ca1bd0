// The decoder stack over flat rows, one pass of all layers per call; what a layer does is data, as in models/config.py.
//
// The residual stream and all sums are f32; what enters a product is E (f32 or bf16). Every operation works row by row,
// so a row's numbers do not depend on the others. `Layer`, `Shape` and `Rows` mirror pie/engine/kernels.py.
#pragma once

#include <algorithm>
#include <vector>

#include "adapter.h"
#include "attention_lanes.h"
#include "attention_tiles.h"
#include "experts.h"
#include "mlp.h"
#include "norm.h"
#include "products.h"
#include "rope.h"

namespace pie {

struct Shape {
    int32_t hidden, layers, heads, kv_heads, head_dim, vocab, page_size;
    int32_t kv_fp8;  // whether pages keep numbers in eight bits
    Form layer_form, head_form;
    float norm_epsilon, query_scale, embedding_scale;
    float logit_cap;  // bound c of the logits, by c * tanh(logit / c); 0 leaves it out
};

// Pointers into arrays that Python owns. Matrices are packed in the shape's forms; absent parts are null.
struct Layer {
    const float *input_norm, *mlp_norm, *attention_post_norm, *mlp_post_norm, *q_norm, *k_norm, *qkv_bias;
    const void *qkv, *output;
    void *keys, *values;
    Mlp mlp;
    Rope rope;
    Scores scores;
};

struct Rows {
    int32_t num_rows, num_logits, table_width, mask_width;
    const int32_t *token_ids, *positions, *sequence_of_row, *kv_index, *page_table, *logit_rows;
    const uint8_t* key_mask;      // null if no row is masked
    const int32_t* mask_of_row;   // row of key_mask, or -1
    const int32_t* page_numbers;  // as page_table; null if page i of a sequence is its i-th
    Adapters adapters;

    const int32_t* pages(int row) const { return page_table + int64_t(sequence_of_row[row]) * table_width; }
    // Whether a row is the next one in the sequence of the row before it, and neither is masked.
    bool follows(int row) const {
        if (key_mask && (mask_of_row[row] >= 0 || mask_of_row[row - 1] >= 0)) return false;
        return sequence_of_row[row] == sequence_of_row[row - 1] && kv_index[row] == kv_index[row - 1] + 1;
    }
    Visible visible(int row, const Scores& scores) const {
        const int mask_row = key_mask ? mask_of_row[row] : -1;
        const uint8_t* mask = mask_row < 0 ? nullptr : key_mask + int64_t(mask_row) * mask_width;
        const int32_t* numbers = page_numbers ? page_numbers + (pages(row) - page_table) : nullptr;
        return {pages(row), numbers, kv_index[row], mask, scores.window};
    }
};

struct ModelPointers {
    Shape shape;
    const Layer* layers;
    const void *embedding, *head;  // packed; the embedding always as tiles of E
    const float* final_norm;
};

template <class E> class Decoder {
   public:
    explicit Decoder(const ModelPointers& model) : m(model), s(m.shape), layers(m.layers, m.layers + s.layers) {
        for (const Layer& layer : layers) {
            if (!layer.mlp.experts) widest_mlp = std::max(widest_mlp, layer.mlp.size);
            post_norms |= layer.attention_post_norm || layer.mlp_post_norm;
        }
        by_tiles = fits_attention_tiles((const E*)nullptr, query_size(), s.head_dim);
    }

    // hidden [L, hidden] and logits [L, vocab padded to a multiple of BLOCK], both f32.
    void forward(const Rows& rows, float* hidden, float* logits, int threads) {
        reserve(rows);
        cut(rows);
        with_team(threads, [&](Team team) {
            embed(rows, team);
            for (int i = 0; i < s.layers; i++) run_layer(i, rows, team);
            read_out(rows, hidden, logits, team);
        });
    }

    int logits_stride() const { return (s.vocab + BLOCK - 1) / BLOCK * BLOCK; }

   private:
    int query_size() const { return s.heads * s.head_dim; }
    int qkv_size() const { return (s.heads + 2 * s.kv_heads) * s.head_dim; }

    void reserve(const Rows& rows) {
        size_t n = std::max(rows.num_rows, rows.num_logits);
        if (n <= capacity) return;
        stream.resize(n * s.hidden), normed.resize(n * s.hidden);
        qkv.resize(n * qkv_size()), query.resize(n * query_size()), mixed.resize(n * query_size());
        gate_up.resize(n * 2 * widest_mlp), active.resize(n * widest_mlp);
        if (post_norms) made.resize(n * s.hidden);
        reserve_mixture(n);
        capacity = n;
    }

    // And for rows as integers, of which each expert has its own.
    void reserve_mixture(size_t n) {
        int copies = 1, widest = std::max({s.hidden, query_size(), widest_mlp});
        for (const Layer& layer : layers) {
            if (!layer.mlp.experts) continue;
            mixture.reserve(layer.mlp, n);
            copies = std::max(copies, layer.mlp.per_token), widest = std::max(widest, layer.mlp.size);
        }
        if (s.layer_form.bits || s.head_form.bits) products.reserve(n * copies, widest);
    }

    void embed(const Rows& rows, Team team) {
        constexpr int GROUP = Tiling<E>::GROUP;
        Matrix<E> table = {(const E*)m.embedding, logits_stride(), s.hidden};
        Range part = team.share(rows.num_rows);
        for (int64_t r = part.begin; r < part.end; r++) {
            int token = rows.token_ids[r];
            const E* from = table.block(token / BLOCK) + token % BLOCK * GROUP;
            for (int k = 0; k < s.hidden; k++)
                stream[r * s.hidden + k] =
                    to_float(from[k / GROUP * BLOCK * GROUP + k % GROUP]) * s.embedding_scale;
        }
        team.wait();
    }

    void run_layer(int index, const Rows& rows, Team team) {
        const Layer& layer = layers[index];
        norm_rows(layer.input_norm, rows.num_rows, team);
        project_heads(index, rows, team);
        append(layer, rows, team);
        attend(layer, rows, team);
        add_to_stream(index, O, {layer.output, s.layer_form, s.hidden, query_size()}, mixed.data(),
                      layer.attention_post_norm, rows, team);
        norm_rows(layer.mlp_norm, rows.num_rows, team);
        if (layer.mlp.experts)
            run_experts(layer, rows.num_rows, team);
        else
            run_mlp(index, rows, team);
    }

    void project_heads(int index, const Rows& rows, Team team) {
        const int queries = query_size(), keys = s.kv_heads * s.head_dim, all = qkv_size();
        const E* x = normed.data();
        float* y = qkv.data();
        project({layers[index].qkv, s.layer_form, all, s.hidden}, x, y, rows.num_rows, team);
        adapt(index, Q, rows, x, s.hidden, y, all, queries, team);
        adapt(index, K, rows, x, s.hidden, y + queries, all, keys, team);
        adapt(index, V, rows, x, s.hidden, y + queries + keys, all, keys, team);
    }

    void run_mlp(int index, const Rows& rows, Team team) {
        const Mlp& mlp = layers[index].mlp;
        const int size = mlp.size;
        const E* x = normed.data();
        float* y = gate_up.data();
        project({mlp.gate_up, s.layer_form, 2 * size, s.hidden}, x, y, rows.num_rows, team);
        adapt(index, GATE, rows, x, s.hidden, y, 2 * size, size, team);
        adapt(index, UP, rows, x, s.hidden, y + size, 2 * size, size, team);
        activate(mlp, y, team.share(rows.num_rows), active.data());
        team.wait();
        add_to_stream(index, DOWN, {mlp.down, s.layer_form, s.hidden, size}, active.data(),
                      layers[index].mlp_post_norm, rows, team);
    }

    void run_experts(const Layer& layer, int n, Team team) {
        if (!layer.mlp_post_norm) return mixture.template run<true>(layer.mlp, normed.data(), n, stream.data(), team);
        mixture.template run<false>(layer.mlp, normed.data(), n, made.data(), team);
        add_normed(layer.mlp_post_norm, n, team);
    }

    // Add a product and its adapters to the stream, normed before if there is a weight. The next operation that does not
    // share the rows out as `norm_rows` does must wait for all.
    void add_to_stream(int index, Module module, const Weights& w, const E* x, const float* post_norm,
                       const Rows& rows, Team team) {
        float* y = post_norm ? made.data() : stream.data();
        if (post_norm)
            project(w, x, y, rows.num_rows, team);
        else
            project<true>(w, x, y, rows.num_rows, team);
        adapt(index, module, rows, x, w.inputs, y, s.hidden, s.hidden, team);
        if (post_norm) add_normed(post_norm, rows.num_rows, team);
    }

    void add_normed(const float* weight, int n, Team team) {
        Range part = team.share(n);
        for (int64_t r = part.begin; r < part.end; r++)
            add_rms_norm(&made[r * s.hidden], weight, &stream[r * s.hidden], s.hidden, s.norm_epsilon);
    }

    // A product with a matrix of a layer; all threads have it when this returns.
    template <bool ADD = false> void project(const Weights& w, const E* x, float* y, int n, Team team) {
        products.template multiply<ADD>(w, x, y, n, team);
        team.wait();
    }

    // Add what adapters change in one product. A thread does the rows that it does in every operation by rows, so that
    // these need not wait for each other.
    void adapt(int layer, Module module, const Rows& rows, const E* x, int inputs, float* y, int stride, int outputs,
               Team team) {
        if (!rows.adapters.of_row) return;
        Range part = team.share(rows.num_rows);
        for (int64_t r = part.begin; r < part.end; r++)
            if (const LowRank* change = rows.adapters.find(r, layer, module))
                add_low_rank(*change, x + r * inputs, inputs, y + r * stride, outputs);
    }

    void norm_rows(const float* weight, int n, Team team) {
        Range part = team.share(n);
        for (int64_t r = part.begin; r < part.end; r++)
            rms_norm(&stream[r * s.hidden], weight, &normed[r * s.hidden], s.hidden, s.norm_epsilon);
        team.wait();
    }

    // Bias, head norms and RoPE; queries (scaled) go to `query`, keys and values to their pages.
    void append(const Layer& layer, const Rows& rows, Team team) {
        Pages<E> cache = pages(layer);
        Range part = team.share(rows.num_rows);
        for (int64_t r = part.begin; r < part.end; r++) {
            float* row = &qkv[r * qkv_size()];
            if (layer.qkv_bias)
                for (int i = 0; i < qkv_size(); i++) row[i] += layer.qkv_bias[i];
            const int page = rows.pages(r)[rows.kv_index[r] / s.page_size], offset = rows.kv_index[r] % s.page_size;
            for (int h = 0; h < s.heads; h++) {
                float* head = row + h * s.head_dim;
                norm_head(head, layer.q_norm);
                layer.rope.turn(head, rows.positions[r]);
                E* to = &query[r * query_size() + h * s.head_dim];
                for (int d = 0; d < s.head_dim; d += LANES) store(to + d, load_floats(head + d) * s.query_scale);
            }
            for (int h = 0; h < s.kv_heads; h++) {
                float* key = row + (s.heads + h) * s.head_dim;
                const float* value = key + s.kv_heads * s.head_dim;
                norm_head(key, layer.k_norm);
                layer.rope.turn(key, rows.positions[r]);
                for (int d = 0; d < s.head_dim; d++) cache.write_key(page, h, offset, d, key[d]);
                for (int d = 0; d < s.head_dim; d++) cache.write_value(page, h, offset, d, value[d]);
            }
        }
        team.wait();
    }

    void norm_head(float* head, const float* weight) const {
        if (weight) rms_norm(head, weight, head, s.head_dim, s.norm_epsilon);
    }

    void attend(const Layer& layer, const Rows& rows, Team team) {
        Pages<E> cache = pages(layer);
        const Queries<E> all = {query.data(), mixed.data(), s.heads / s.kv_heads, s.head_dim, query_size()};
        const int at_once = kv_heads_at_once(team.count), parts = (s.kv_heads + at_once - 1) / at_once;
        const int64_t items = int64_t(strips.size()) * parts;
        Visible visible[2][ROWS_AT_ONCE];
        Strip strip = {}, following = {};
        // Rows differ in length: every thread takes each count-th of them rather than one piece.
        for (int64_t item = team.index; item < items; item += team.count, strip = following) {
            Visible* other = strip.rows == visible[0] ? visible[1] : visible[0];
            if (!strip.rows) strip = look(layer, rows, item, at_once, visible[1]);
            following = item + team.count < items ? look(layer, rows, item + team.count, at_once, other) : Strip{};
            const Queries<E> queries = all.part(strips[item / parts].begin, strip.kv_head * all.heads, all.heads);
            if (by_tiles)
                attend_strip(queries, cache, strip, following.count == 1 ? &following : nullptr, layer.scores);
            else
                attend_near(queries, cache, strip, layer.scores);
        }
        team.wait();
    }

    // What an item of the work on attention is: some rows by `at_once` key heads. `visible` gets what the rows see.
    Strip look(const Layer& layer, const Rows& rows, int64_t item, int at_once, Visible* visible) const {
        const int parts = (s.kv_heads + at_once - 1) / at_once, kv_head = item % parts * at_once;
        const Range range = strips[item / parts];
        for (int r = range.begin; r < range.end; r++) visible[r - range.begin] = rows.visible(r, layer.scores);
        return {visible, int(range.end - range.begin), kv_head, std::min(at_once, s.kv_heads - kv_head)};
    }

    // How many key heads of a row a thread takes at once: as many as leave each thread its share, which is read faster.
    int kv_heads_at_once(int threads) const {
        if (!by_tiles || int(strips.size()) < num_rows) return 1;
        const auto rounds = [&](int heads) {
            const int64_t items = int64_t(strips.size()) * ((s.kv_heads + heads - 1) / heads);
            return (items + threads - 1) / threads * heads;
        };
        int best = 1;
        for (int heads = 2; heads <= std::min(s.kv_heads, LONE_HEADS); heads++)
            if (rounds(heads) <= rounds(best)) best = heads;
        return best;
    }

    // Cut the rows into strips that attention takes together: rows that follow each other in one sequence.
    void cut(const Rows& rows) {
        const int most = by_tiles ? rows_at_once(s.heads / s.kv_heads) : ROWS_AT_ONCE;
        strips.clear();
        num_rows = rows.num_rows;
        for (int r = 0; r < rows.num_rows; r++) {
            if (strips.empty() || r - strips.back().begin == most || !rows.follows(r)) strips.push_back({r, r});
            strips.back().end = r + 1;
        }
    }

    void read_out(const Rows& rows, float* hidden, float* logits, Team team) {
        const int n = rows.num_logits;
        if (!n) return;
        team.wait();  // for the stream
        Range part = team.share(n);
        for (int64_t i = part.begin; i < part.end; i++) {
            float* to = hidden + i * s.hidden;
            rms_norm(&stream[int64_t(rows.logit_rows[i]) * s.hidden], m.final_norm, to, s.hidden, s.norm_epsilon);
            for (int k = 0; k < s.hidden; k += LANES) store(&normed[i * s.hidden + k], load_floats(to + k));
        }
        team.wait();
        products.multiply({m.head, s.head_form, logits_stride(), s.hidden}, normed.data(), logits, n, team);
        if (s.logit_cap != 0) cap(logits, int64_t(n) * logits_stride(), team);
    }

    void cap(float* logits, int64_t count, Team team) const {
        team.wait();
        Range part = team.share(count / LANES);
        for (float* at = logits + part.begin * LANES; at < logits + part.end * LANES; at += LANES)
            store(at, s.logit_cap * hyperbolic_tangent(load_floats(at) / s.logit_cap));
    }

    Pages<E> pages(const Layer& layer) const {
        return {layer.keys, layer.values, s.kv_fp8 != 0, s.page_size, s.kv_heads, s.head_dim};
    }

    ModelPointers m;
    Shape s;
    std::vector<Layer> layers;
    int widest_mlp = 0;
    bool post_norms = false;
    size_t capacity = 0;
    bool by_tiles;  // how attention is computed
    int num_rows = 0;
    std::vector<Range> strips;
    std::vector<float> stream, qkv, gate_up, made;
    std::vector<E> normed, query, mixed, active;
    Products<E> products;
    Mixture<E> mixture{products, s.layer_form, s.hidden};
};

}  // namespace pie
