#include <algorithm>
#include <cmath>

#include "tests/cuda_sim/fake_cudnn_graph.h"

namespace relume::sim {
namespace {

// Calls f(x, w, y) with the numbers of every product of the convolution.
template <class F> void for_each_product(const ConvOf& c, Values& x, Values& w, Values& y, F&& f) {
  for_each_index({y.sizes[0], y.sizes[1], x.sizes[1], 1}, [&](const Axes& planes) {
    const auto [sample, out, in, only] = planes;
    for_each_index({w.sizes[2], w.sizes[3], y.sizes[2], 1}, [&](const Axes& line) {
      const int64_t row = line[2] * c.stride[0] - c.before[0] + line[0];
      if (row < 0 || row >= x.sizes[2]) return;
      double *const from = &x({sample, in, row, 0}), *const to = &y({sample, out, line[2], 0});
      double& weight = w({out, in, line[0], line[1]});
      double here = weight;
      const int64_t step = c.stride[1], shift = line[1] - c.before[1];
      const int64_t first = shift < 0 ? (-shift + step - 1) / step : 0;
      const int64_t end = std::min(y.sizes[3], (x.sizes[3] - shift + step - 1) / step);
      if (step == 1)
        for (int64_t i = first; i < end; ++i) f(from[i + shift], here, to[i]);
      else
        for (int64_t i = first; i < end; ++i) f(from[i * step + shift], here, to[i]);
      weight = here;
    });
  });
}

void execute_convolution(const ConvOf& c, Tensors& tensors) {
  Values &x = tensors.at(c.x.id), &w = tensors.at(c.w.id), &y = tensors.at(c.y.id);
  switch (c.pass) {
    case forward: return for_each_product(c, x, w, y, [](double a, double b, double& to) { to += a * b; });
    case backward_data: return for_each_product(c, x, w, y, [](double& to, double a, double b) { to += a * b; });
    case backward_weight: return for_each_product(c, x, w, y, [](double a, double& to, double b) { to += a * b; });
  }
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
