// A mixture of experts: each row goes through the few MLPs that its router finds best (Shazeer et al., "Outrageously
// large neural networks", 2017).
//
// The rows of an expert lie together while it computes, so that its weights are read once in a step. What it gives for a
// row is that of the row alone, and a row adds its experts up in the order of their numbers.
#pragma once

#include <algorithm>
#include <vector>

#include "mlp.h"
#include "products.h"

namespace pie {

// The experts of one row, in the order of their numbers, and their shares. `scores` [experts padded to BLOCK] is lost.
inline void choose_experts(const Mlp& mlp, float* scores, int32_t* chosen, float* shares) {
    float top = -INFINITY, total = 0;
    for (int e = 0; e < mlp.experts; e++) top = scores[e] > top ? scores[e] : top;
    for (int e = 0; e < mlp.experts; e += LANES) store(scores + e, exponential(load_floats(scores + e) - top));
    for (int e = 0; e < mlp.experts; e++) total += scores[e];
    constexpr float TAKEN = -1;
    float taken = 0;
    for (int n = 0; n < mlp.per_token; n++) {
        int best = -1;
        for (int e = 0; e < mlp.experts; e++)
            if (scores[e] != TAKEN && (best < 0 || scores[e] > scores[best])) best = e;
        int place = n;
        for (; place > 0 && chosen[place - 1] > best; place--)
            chosen[place] = chosen[place - 1], shares[place] = shares[place - 1];
        chosen[place] = best, shares[place] = scores[best];
        taken += scores[best], scores[best] = TAKEN;
    }
    for (int n = 0; n < mlp.per_token; n++) shares[n] /= mlp.normed ? taken : total;
}

template <class E> class Mixture {
   public:
    Mixture(Products<E>& products, Form form, int hidden) : products(products), form(form), hidden(hidden) {}

    // Room for so many rows in a layer.
    void reserve(const Mlp& mlp, size_t rows) {
        const size_t places = rows * mlp.per_token;
        grow(scores, rows * padded(mlp)), grow(starts, mlp.experts + 1);
        grow(chosen, places), grow(shares, places), grow(place_of, places), grow(row_of, places);
        grow(gathered, places * hidden), grow(made, places * hidden);
        grow(gate_up, places * 2 * mlp.size), grow(active, places * mlp.size);
    }

    // y[rows, hidden] (+)= what the experts of each row of x[rows, hidden] give; a thread has its share of the rows then.
    template <bool ADD> void run(const Mlp& mlp, const E* x, int rows, float* y, Team team) {
        route(mlp, x, rows, team);
        const int places = rows * mlp.per_token;
        const Range part = team.share(places);
        for (int64_t p = part.begin; p < part.end; p++)
            std::copy_n(x + int64_t(row_of[p]) * hidden, hidden, &gathered[p * hidden]);
        team.wait();
        multiply(mlp, {mlp.gate_up, form, 2 * mlp.size, hidden}, gathered.data(), gate_up.data(), places, team);
        activate(mlp, gate_up.data(), part, active.data());
        team.wait();
        multiply(mlp, {mlp.down, form, hidden, mlp.size}, active.data(), made.data(), places, team);
        const Range mine = team.share(rows);
        for (int64_t r = mine.begin; r < mine.end; r++) add_up<ADD>(mlp, r, y + r * hidden);
    }

   private:
    static int padded(const Mlp& mlp) { return (mlp.experts + BLOCK - 1) / BLOCK * BLOCK; }

    template <class T> static void grow(std::vector<T>& values, size_t size) {
        if (values.size() < size) values.resize(size);
    }

    // Choose the experts of all rows, and give each of their places a row of an expert's.
    void route(const Mlp& mlp, const E* x, int rows, Team team) {
        products.multiply({mlp.router, Form{}, padded(mlp), hidden}, x, scores.data(), rows, team);
        team.wait();
        Range part = team.share(rows);
        for (int64_t r = part.begin; r < part.end; r++) {
            const int64_t first = r * mlp.per_token;
            choose_experts(mlp, &scores[r * padded(mlp)], &chosen[first], &shares[first]);
        }
        team.wait();
        if (team.index == 0) sort_by_expert(mlp, rows * mlp.per_token);
        team.wait();
    }

    void sort_by_expert(const Mlp& mlp, int places) {
        std::fill_n(starts.begin(), mlp.experts + 1, 0);
        for (int i = 0; i < places; i++) starts[chosen[i] + 1]++;
        for (int e = 0; e < mlp.experts; e++) starts[e + 1] += starts[e];
        for (int i = 0; i < places; i++) {
            place_of[i] = starts[chosen[i]]++;
            row_of[place_of[i]] = i / mlp.per_token;
        }
        for (int e = mlp.experts; e > 0; e--) starts[e] = starts[e - 1];
        starts[0] = 0;
    }

    // Each expert's part of y[places, outputs] = x[places, inputs] W^T; `w` is the first of their matrices.
    void multiply(const Mlp& mlp, const Weights& w, const E* from, float* to, int places, Team team) {
        products.take(w, from, places, team);
        for (int e = 0; e < mlp.experts; e++)
            if (starts[e] < starts[e + 1])
                products.multiply_taken(w, from, to, {starts[e], starts[e + 1]}, team, e);
        team.wait();
    }

    template <bool ADD> void add_up(const Mlp& mlp, int64_t row, float* y) const {
        const int64_t first = row * mlp.per_token;
        for (int i = 0; i < hidden; i += LANES) {
            Floats sums = {};
            for (int n = 0; n < mlp.per_token; n++)
                sums += shares[first + n] * load_floats(&made[int64_t(place_of[first + n]) * hidden + i]);
            store(y + i, ADD ? load_floats(y + i) + sums : sums);
        }
    }

    Products<E>& products;
    const Form form;
    const int hidden;
    std::vector<float> scores, shares, gate_up, made;
    std::vector<int32_t> chosen, place_of, row_of;  // place_of: where the n-th expert of a row has it
    std::vector<int32_t> starts;                    // of each expert's rows
    std::vector<E> gathered, active;
};

}  // namespace pie
