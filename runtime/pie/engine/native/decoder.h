// The decoder stack: Llama, Qwen2 and Qwen3 over flat rows, one pass of all layers per call.
//
// The residual stream and all sums are f32; what enters a product is E (f32 or bf16). Every operation works row by row,
// so a row's numbers do not depend on the others. `Layer`, `Shape` and `Rows` mirror pie/engine/kernels.py.
#pragma once

#include <algorithm>
#include <vector>

#include "adapter.h"
#include "attention.h"
#include "byte_tiles.h"

namespace pie {

// How matrices are kept: as tiles of E (see linear.h) if `bits` is 0, or else as integers in groups (see quantized.h).
struct Form {
    int32_t bits, group;
};

struct Shape {
    int32_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, page_size;
    Form layer_form, head_form;
    float norm_epsilon;
};

// Pointers into arrays that Python owns. Matrices are packed in the shape's forms; absent parts are null.
struct Layer {
    const float *input_norm, *mlp_norm, *q_norm, *k_norm, *qkv_bias;
    const void *qkv, *output, *gate_up, *down;
    void *keys, *values;
};

struct Rows {
    int32_t num_rows, num_logits, table_width, mask_width;
    const int32_t *token_ids, *positions, *sequence_of_row, *kv_index, *page_table, *logit_rows;
    const uint8_t* key_mask;      // null if no row is masked
    const int32_t* mask_of_row;   // row of key_mask, or -1
    Adapters adapters;

    const int32_t* pages(int row) const { return page_table + int64_t(sequence_of_row[row]) * table_width; }
};

struct ModelPointers {
    Shape shape;
    const Layer* layers;
    const void *embedding, *head;  // packed; the embedding always as tiles of E
    const float *final_norm, *cosines, *sines;
};

// to = from / rms(from) * weight, `size` values.
template <class Out> void rms_norm(const float* from, const float* weight, Out* to, int size, float epsilon) {
    Floats squares = {};
    for (int i = 0; i < size; i += LANES) squares += load_floats(from + i) * load_floats(from + i);
    float scale = 1.0f / sqrtf(sum(squares) / size + epsilon);
    for (int i = 0; i < size; i += LANES) store(to + i, load_floats(from + i) * scale * load_floats(weight + i));
}

template <class E> class Decoder {
   public:
    explicit Decoder(const ModelPointers& model) : m(model), s(m.shape), layers(m.layers, m.layers + s.layers) {}

    // hidden [L, hidden] and logits [L, vocab padded to a multiple of BLOCK], both f32.
    void forward(const Rows& rows, float* hidden, float* logits, int threads) {
        reserve(rows);
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
        gate_up.resize(n * 2 * s.intermediate), active.resize(n * s.intermediate);
        if (s.layer_form.bits || s.head_form.bits)
            digits.reserve(n, std::max({s.hidden, query_size(), s.intermediate}));
        capacity = n;
    }

    void embed(const Rows& rows, Team team) {
        constexpr int GROUP = Tiling<E>::GROUP;
        Matrix<E> table = {(const E*)m.embedding, logits_stride(), s.hidden};
        Range part = team.share(rows.num_rows);
        for (int64_t r = part.begin; r < part.end; r++) {
            int token = rows.token_ids[r];
            const E* from = table.block(token / BLOCK) + token % BLOCK * GROUP;
            for (int k = 0; k < s.hidden; k++)
                stream[r * s.hidden + k] = to_float(from[k / GROUP * BLOCK * GROUP + k % GROUP]);
        }
        team.wait();
    }

    void run_layer(int index, const Rows& rows, Team team) {
        const Layer& layer = layers[index];
        const int n = rows.num_rows;
        const int queries = query_size(), keys = s.kv_heads * s.head_dim, inter = s.intermediate;
        norm_rows(layer.input_norm, n, team);
        project(normed.data(), layer.qkv, qkv_size(), s.hidden, qkv.data(), n, team);
        adapt(index, Q, rows, normed.data(), s.hidden, qkv.data(), qkv_size(), queries, team);
        adapt(index, K, rows, normed.data(), s.hidden, qkv.data() + queries, qkv_size(), keys, team);
        adapt(index, V, rows, normed.data(), s.hidden, qkv.data() + queries + keys, qkv_size(), keys, team);
        append(layer, rows, team);
        attend(layer, rows, team);
        project<true>(mixed.data(), layer.output, s.hidden, query_size(), stream.data(), n, team);
        adapt(index, O, rows, mixed.data(), queries, stream.data(), s.hidden, s.hidden, team);
        norm_rows(layer.mlp_norm, n, team);
        project(normed.data(), layer.gate_up, 2 * inter, s.hidden, gate_up.data(), n, team);
        adapt(index, GATE, rows, normed.data(), s.hidden, gate_up.data(), 2 * inter, inter, team);
        adapt(index, UP, rows, normed.data(), s.hidden, gate_up.data() + inter, 2 * inter, inter, team);
        activate(n, team);
        project<true>(active.data(), layer.down, s.hidden, inter, stream.data(), n, team);
        adapt(index, DOWN, rows, active.data(), inter, stream.data(), s.hidden, s.hidden, team);
        if (rows.adapters.of_row) team.wait();  // what reads the stream next may share the rows out differently
    }

    // A product with a matrix of a layer; all threads have it when this returns.
    template <bool ADD = false>
    void project(const E* x, const void* weights, int outputs, int inputs, float* y, int n, Team team) {
        product<ADD>(x, weights, s.layer_form, outputs, inputs, y, n, team);
        team.wait();
    }

    // This thread's part of y[n, outputs] (+)= x[n, inputs] W^T.
    template <bool ADD = false>
    void product(const E* x, const void* weights, Form form, int outputs, int inputs, float* y, int n, Team team) {
        const auto* codes = (const uint8_t*)weights;
        if (!form.bits) return multiply_best<ADD>(x, Matrix<E>{(const E*)weights, outputs, inputs}, y, n, team);
        digits.take(x, n, inputs, form.group, team);
        if (form.bits == 8)
            multiply_quantized<8, ADD>(digits, QuantizedMatrix<8>{codes, outputs, inputs, form.group}, y, n, team);
        else
            multiply_quantized<4, ADD>(digits, QuantizedMatrix<4>{codes, outputs, inputs, form.group}, y, n, team);
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

    // Bias, head norm and RoPE; queries (scaled) go to `query`, keys and values to their pages.
    void append(const Layer& layer, const Rows& rows, Team team) {
        Pages<E> cache = pages(layer);
        const float scale = 1.0f / sqrtf(s.head_dim);
        Range part = team.share(rows.num_rows);
        for (int64_t r = part.begin; r < part.end; r++) {
            float* row = &qkv[r * qkv_size()];
            if (layer.qkv_bias)
                for (int i = 0; i < qkv_size(); i++) row[i] += layer.qkv_bias[i];
            const int page = rows.pages(r)[rows.kv_index[r] / s.page_size], offset = rows.kv_index[r] % s.page_size;
            for (int h = 0; h < s.heads; h++) {
                float* head = row + h * s.head_dim;
                turn(head, layer.q_norm, rows.positions[r]);
                E* to = &query[r * query_size() + h * s.head_dim];
                for (int d = 0; d < s.head_dim; d += LANES) store(to + d, load_floats(head + d) * scale);
            }
            for (int h = 0; h < s.kv_heads; h++) {
                float* key = row + (s.heads + h) * s.head_dim;
                const float* value = key + s.kv_heads * s.head_dim;
                turn(key, layer.k_norm, rows.positions[r]);
                for (int d = 0; d < s.head_dim; d++) cache.write_key(page, h, offset, d, key[d]);
                for (int d = 0; d < s.head_dim; d++) cache.write_value(page, h, offset, d, value[d]);
            }
        }
        team.wait();
    }

    // Norm one head, if there is a weight, and rotate it to its position.
    void turn(float* head, const float* norm, int position) const {
        const int half = s.head_dim / 2;
        if (norm) rms_norm(head, norm, head, s.head_dim, s.norm_epsilon);
        const float *cosine = m.cosines + int64_t(position) * half, *sine = m.sines + int64_t(position) * half;
        for (int d = 0; d < half; d++) {
            float a = head[d], b = head[d + half];
            head[d] = a * cosine[d] - b * sine[d];
            head[d + half] = b * cosine[d] + a * sine[d];
        }
    }

    void attend(const Layer& layer, const Rows& rows, Team team) {
        Pages<E> cache = pages(layer);
        const int group = s.heads / s.kv_heads;
        // Rows differ in length: every thread takes each count-th of them rather than one piece.
        for (int64_t item = team.index; item < int64_t(rows.num_rows) * s.kv_heads; item += team.count) {
            const int64_t r = item / s.kv_heads, kv_head = item % s.kv_heads;
            const int mask_row = rows.key_mask ? rows.mask_of_row[r] : -1;
            const uint8_t* mask = mask_row < 0 ? nullptr : rows.key_mask + int64_t(mask_row) * rows.mask_width;
            const size_t at = r * query_size() + kv_head * group * s.head_dim;
            attend_group(&query[at], group, cache, kv_head, Visible{rows.pages(r), rows.kv_index[r], mask}, &mixed[at]);
        }
        team.wait();
    }

    // active = silu(gate) * up (Shazeer, "GLU variants improve transformer", 2020)
    void activate(int n, Team team) {
        Range part = team.share(n);
        for (int64_t r = part.begin; r < part.end; r++) {
            const float *gate = &gate_up[r * 2 * s.intermediate], *up = gate + s.intermediate;
            for (int i = 0; i < s.intermediate; i += LANES) {
                Floats g = load_floats(gate + i);
                store(&active[r * s.intermediate + i], g / (exponential(-g) + 1.0f) * load_floats(up + i));
            }
        }
        team.wait();
    }

    void read_out(const Rows& rows, float* hidden, float* logits, Team team) {
        const int n = rows.num_logits;
        Range part = team.share(n);
        for (int64_t i = part.begin; i < part.end; i++) {
            float* to = hidden + i * s.hidden;
            rms_norm(&stream[int64_t(rows.logit_rows[i]) * s.hidden], m.final_norm, to, s.hidden, s.norm_epsilon);
            for (int k = 0; k < s.hidden; k += LANES) store(&normed[i * s.hidden + k], load_floats(to + k));
        }
        team.wait();
        product(normed.data(), m.head, s.head_form, logits_stride(), s.hidden, logits, n, team);
    }

    Pages<E> pages(const Layer& layer) const {
        return {(E*)layer.keys, (E*)layer.values, s.page_size, s.kv_heads, s.head_dim};
    }

    ModelPointers m;
    Shape s;
    std::vector<Layer> layers;
    size_t capacity = 0;
    std::vector<float> stream, qkv, gate_up;
    std::vector<E> normed, query, mixed, active;
    Digits digits;
};

}  // namespace pie
