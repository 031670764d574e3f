#include <cmath>

#include "tests/cuda_sim/fake_cudnn_graph.h"

namespace relume::sim {
namespace {

// Calls f(x's index, w's index, y's index) for every product of the convolution.
template <class F> void for_each_product(const ConvOf& c, F&& f) {
  for_each_index(c.y.sizes, [&](const Axes& y) {
    for_each_index({1, c.w.sizes[1], c.w.sizes[2], c.w.sizes[3]}, [&](const Axes& tap) {
      const int64_t row = y[2] * c.stride[0] - c.before[0] + tap[2], column = y[3] * c.stride[1] - c.before[1] + tap[3];
      if (row < 0 || row >= c.x.sizes[2] || column < 0 || column >= c.x.sizes[3]) return;
      f(Axes{y[0], tap[1], row, column}, Axes{y[1], tap[1], tap[2], tap[3]}, y);
    });
  });
}

void execute_convolution(const ConvOf& c, Tensors& tensors) {
  Values &x = tensors.at(c.x.id), &w = tensors.at(c.w.id), &y = tensors.at(c.y.id);
  for_each_product(c, [&](const Axes& at_x, const Axes& at_w, const Axes& at_y) {
    if (c.pass == forward) y(at_y) += x(at_x) * w(at_w);
    if (c.pass == backward_data) x(at_x) += w(at_w) * y(at_y);
    if (c.pass == backward_weight) w(at_w) += x(at_x) * y(at_y);
  });
}

void execute_add(const AddOf& a, Tensors& tensors) {
  Values &x = tensors.at(a.x.id), &b = tensors.at(a.b.id), &y = tensors.at(a.y.id);
  for_each_index(a.y.sizes, [&](const Axes& at) {
    Axes from;
    for (size_t i = 0; i < 4; ++i) from[i] = a.b.sizes[i] == 1 ? 0 : at[i];
    y(at) = x(at) + b(from);
  });
}

void execute_attention(const AttentionOf& a, Tensors& tensors) {
  Values &q = tensors.at(a.q.id), &k = tensors.at(a.k.id), &v = tensors.at(a.v.id), &y = tensors.at(a.y.id);
  const double scale = tensors.at(a.scale.id)({});
  for_each_index({q.sizes[0], q.sizes[1], q.sizes[2], 1}, [&](const Axes& row) {
    const auto [sample, head, i, zero] = row;
    double sum = 0;
    for (int64_t j = 0; j < k.sizes[2]; ++j) {
      double score = 0;
      for (int64_t d = 0; d < q.sizes[3]; ++d) score += q({sample, head, i, d}) * k({sample, head, j, d});
      const double weight = std::exp(scale * score);
      sum += weight;
      for (int64_t d = 0; d < q.sizes[3]; ++d) y({sample, head, i, d}) += weight * v({sample, head, j, d});
    }
    for (int64_t d = 0; d < q.sizes[3]; ++d) y({sample, head, i, d}) /= sum;
    if (a.stats) tensors.at(a.stats->id)(row) = std::log(sum);
  });
}

}  // namespace

void execute_operation(const Fake& op, Tensors& tensors) {
  if (is_convolution(op)) return execute_convolution(ConvOf(op), tensors);
  if (is_attention(op)) return execute_attention(AttentionOf(op), tensors);
  execute_add(AddOf(op), tensors);
}

}  // namespace relume::sim
