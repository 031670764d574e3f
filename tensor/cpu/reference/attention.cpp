#include "tensor/cpu/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {
namespace {

using kernels::WindowAttentionOptions;

// A token of one window: where it stands in its window, its pixel, and its region of the shifted map.
struct Token {
  int64_t y, x, pixel;
  int region;
};

// The label of one axis: slices [0, -window), [-window, -shift), [-shift, end) of the shifted map.
int region_of(int64_t i, int64_t size, const WindowAttentionOptions& o) {
  if (o.shift == 0 || i < size - o.window) return 0;
  return i < size - o.shift ? 1 : 2;
}

// Calls f(tokens of the window) for every window of every map of the batch.
template <class F> void for_each_window(const Tensor& qkv, const WindowAttentionOptions& o, F&& f) {
  const int64_t batch = qkv.shape(0), height = qkv.shape(1), width = qkv.shape(2);
  std::vector<Token> tokens;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t top = 0; top < height; top += o.window)
      for (int64_t left = 0; left < width; left += o.window) {
        tokens.clear();
        for (int64_t y = 0; y < o.window; ++y)
          for (int64_t x = 0; x < o.window; ++x) {
            const int64_t from_y = (top + y + o.shift) % height, from_x = (left + x + o.shift) % width;
            tokens.push_back({y, x, (n * height + from_y) * width + from_x,
                              3 * region_of(top + y, height, o) + region_of(left + x, width, o)});
          }
        f(tokens);
      }
}

int64_t bias_row(const Token& i, const Token& j, int64_t window) {
  return (i.y - j.y + window - 1) * (2 * window - 1) + (i.x - j.x + window - 1);
}

struct Inputs {
  Inputs(const Tensor& qkv, const Tensor& table_, const WindowAttentionOptions& o_)
      : o(o_),
        channels(qkv.shape(3) / 3),
        head_dim(channels / o.heads),
        table_pitch(table_.pitch()),
        pitch(qkv.pitch()),
        data(qkv.data<double>()),
        table(table_.data<double>()) {}
  // part: 0 queries, 1 keys, 2 values.
  int64_t at(const Token& t, int part, int head) const { return t.pixel * pitch + part * channels + head * head_dim; }
  double score(const Token& i, const Token& j, int head) const {
    double dot = 0;
    for (int64_t d = 0; d < head_dim; ++d) dot += data[at(i, 0, head) + d] * data[at(j, 1, head) + d];
    return o.scale * dot + table[bias_row(i, j, o.window) * table_pitch + head] + (i.region != j.region ? o.mask : 0.0);
  }

  const WindowAttentionOptions& o;
  int64_t channels, head_dim, table_pitch, pitch;
  const double *data, *table;
};

}  // namespace

void window_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                              const WindowAttentionOptions& o) {
  const Inputs in(qkv, table, o);
  double* out = y.data<double>();
  double* denominators = lse ? lse.data<double>() : nullptr;
  for_each_window(qkv, o, [&](const std::vector<Token>& tokens) {
    std::vector<double> score(tokens.size());
    for (int head = 0; head < o.heads; ++head)
      for (const Token& i : tokens) {
        double top = -std::numeric_limits<double>::infinity(), sum = 0;
        for (size_t j = 0; j < tokens.size(); ++j) top = std::max(top, score[j] = in.score(i, tokens[j], head));
        for (double& s : score) sum += s = std::exp(s - top);
        for (int64_t d = 0; d < in.head_dim; ++d) {
          double value = 0;
          for (size_t j = 0; j < tokens.size(); ++j) value += score[j] * in.data[in.at(tokens[j], 2, head) + d];
          out[i.pixel * y.pitch() + head * in.head_dim + d] = value / sum;
        }
        if (denominators) denominators[i.pixel * lse.pitch() + head] = top + std::log(sum);
      }
  });
}

void window_attention_backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                               const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& o) {
  const Inputs in(qkv, table, o);
  const double *outer = dy.data<double>(), *out = y.data<double>(), *denominators = lse.data<double>();
  double* grad = dqkv.data<double>();
  const auto grad_at = [&](const Token& t, int part, int head) {
    return grad + t.pixel * dqkv.pitch() + part * in.channels + head * in.head_dim;
  };
  for (int64_t row = 0; row < dqkv.rows(); ++row) std::fill_n(grad + row * dqkv.pitch(), dqkv.shape(-1), 0.0);
  std::vector<double> dbias(table.rows() * o.heads);
  for_each_window(qkv, o, [&](const std::vector<Token>& tokens) {
    for (int head = 0; head < o.heads; ++head)
      for (const Token& i : tokens) {
        const double* dout = outer + i.pixel * dy.pitch() + head * in.head_dim;
        double mean = 0;  // sum over j of p_ij * dp_ij
        for (int64_t d = 0; d < in.head_dim; ++d) mean += dout[d] * out[i.pixel * y.pitch() + head * in.head_dim + d];
        for (const Token& j : tokens) {
          const double p = std::exp(in.score(i, j, head) - denominators[i.pixel * lse.pitch() + head]);
          double dp = 0;
          for (int64_t d = 0; d < in.head_dim; ++d) dp += dout[d] * in.data[in.at(j, 2, head) + d];
          const double ds = p * (dp - mean);
          dbias[bias_row(i, j, o.window) * o.heads + head] += ds;
          for (int64_t d = 0; d < in.head_dim; ++d) {
            grad_at(i, 0, head)[d] += o.scale * ds * in.data[in.at(j, 1, head) + d];
            grad_at(j, 1, head)[d] += o.scale * ds * in.data[in.at(i, 0, head) + d];
            grad_at(j, 2, head)[d] += p * dout[d];
          }
        }
      }
  });
  if (!dtable) return;
  for (int64_t row = 0; row < table.rows(); ++row)
    std::copy_n(dbias.data() + row * o.heads, o.heads, dtable.data<double>() + row * dtable.pitch());
}

namespace {

using kernels::LinearEpilogue, kernels::ResidualWindowAttention, kernels::ResidualWindowAttentionGradients;

Tensor f64_like(const Tensor& t) { return Tensor::empty(t.shape(), DType::f64); }

struct Projected {
  Tensor qkv, attended, lse;
};
Projected projected(const Tensor& x, const ResidualWindowAttention& a) {
  Projected p{Tensor::empty(x.shape().with(3, 3 * x.shape(3)), DType::f64), f64_like(x),
              Tensor::empty(x.shape().with(3, a.options.heads), DType::f64)};
  linear_forward(p.qkv, x, a.qkv_weight, a.qkv_bias, a.norm, {});
  window_attention_forward(p.attended, p.lse, p.qkv, a.table, a.options);
  return p;
}

}  // namespace

void residual_window_attention_forward(const Tensor& y, const Tensor& x, const ResidualWindowAttention& a) {
  const Projected p = projected(x, a);
  if (a.lse) a.lse.copy_from(p.lse);
  linear_forward(y, p.attended, a.proj_weight, a.proj_bias, {}, {.sample_scale = a.sample_scale, .residual = x.clone()});
}

void residual_window_attention_backward(const ResidualWindowAttentionGradients& g, const Tensor& dy, const Tensor& x,
                                        const ResidualWindowAttention& a) {
  ResidualWindowAttention again = a;
  again.norm.stats = {};
  const Projected p = projected(x, again);
  const Tensor dattended = f64_like(x), dqkv = f64_like(p.qkv), dx = f64_like(x);
  linear_backward({dattended, g.dproj_weight, g.dproj_bias, {}, {}}, dy, p.attended, a.proj_weight, {},
                  {.sample_scale = a.sample_scale});
  window_attention_backward(dqkv, g.dtable, dattended, p.attended, a.lse, p.qkv, a.table, a.options);
  linear_backward({dx, g.dqkv_weight, g.dqkv_bias, g.dnorm_weight, g.dnorm_bias}, dqkv, x, a.qkv_weight, a.norm, {});
  if (!g.dx) return;
  for (int64_t row = 0; row < dx.rows(); ++row)
    for (int64_t c = 0; c < dx.shape(3); ++c)
      g.dx.data<double>()[row * g.dx.pitch() + c] =
          dx.data<double>()[row * dx.pitch() + c] + dy.data<double>()[row * dy.pitch() + c];
}

// ---- Over whole sequences
// -----------------------------------------------------------------------------------------------------

namespace {

using kernels::AttentionGradients, kernels::AttentionOptions;

// Element d of row i of one sample and head, in a tensor [N, L, heads * width].
struct HeadView {
  HeadView(const Tensor& t, int64_t sample, int64_t head, int heads)
      : data(t ? t.data<double>() + sample * t.shape(1) * t.pitch() + head * (t.shape(2) / heads) : nullptr),
        pitch(t ? t.pitch() : 0),
        rows(t ? t.shape(1) : 0),
        width(t ? t.shape(2) / heads : 0) {}
  double& operator()(int64_t i, int64_t d) const { return data[i * pitch + d]; }
  explicit operator bool() const { return data != nullptr; }
  double* data;
  int64_t pitch, rows, width;
};

double dot(const HeadView& a, int64_t i, const HeadView& b, int64_t j) {
  double sum = 0;
  for (int64_t d = 0; d < a.width; ++d) sum += a(i, d) * b(j, d);
  return sum;
}

// Calls f(sample, head) for all heads of all samples.
template <class F> void for_each_head(const Tensor& q, int heads, F&& f) {
  for (int64_t sample = 0; sample < q.shape(0); ++sample)
    for (int64_t head = 0; head < heads; ++head) f(sample, head);
}

int64_t visible_keys(int64_t query, int64_t keys, const AttentionOptions& o) { return o.causal ? query + 1 : keys; }

}  // namespace

void attention_forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                       const AttentionOptions& o) {
  for_each_head(q, o.heads, [&](int64_t sample, int64_t head) {
    const auto view = [&](const Tensor& t) { return HeadView(t, sample, head, o.heads); };
    const HeadView queries = view(q), keys = view(k), values = view(v), out = view(y), denominators = view(lse);
    for (int64_t i = 0; i < queries.rows; ++i) {
      std::vector<double> p(size_t(visible_keys(i, keys.rows, o)));
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (size_t j = 0; j < p.size(); ++j) top = std::max(top, p[j] = o.scale * dot(queries, i, keys, int64_t(j)));
      for (double& s : p) sum += s = std::exp(s - top);
      for (int64_t d = 0; d < out.width; ++d) {
        double value = 0;
        for (size_t j = 0; j < p.size(); ++j) value += p[j] * values(int64_t(j), d);
        out(i, d) = value / sum;
      }
      if (denominators) denominators(i, 0) = top + std::log(sum);
    }
  });
}

void attention_backward(const AttentionGradients& g, const Tensor& dy, const Tensor& y, const Tensor& lse, const Tensor& q,
                        const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  for_each_head(q, o.heads, [&](int64_t sample, int64_t head) {
    const auto view = [&](const Tensor& t) { return HeadView(t, sample, head, o.heads); };
    const HeadView queries = view(q), keys = view(k), values = view(v), out = view(y), dout = view(dy),
                   denominators = view(lse), dq = view(g.dq), dk = view(g.dk), dv = view(g.dv);
    for (const HeadView& gradient : {dq, dk, dv})
      for (int64_t i = 0; i < gradient.rows; ++i) std::fill_n(&gradient(i, 0), gradient.width, 0.0);
    for (int64_t i = 0; i < queries.rows; ++i) {
      const double mean = dot(dout, i, out, i);  // sum over j of p_ij * dp_ij
      for (int64_t j = 0; j < visible_keys(i, keys.rows, o); ++j) {
        const double p = std::exp(o.scale * dot(queries, i, keys, j) - denominators(i, 0));
        const double ds = p * (dot(dout, i, values, j) - mean);
        for (int64_t d = 0; d < queries.width; ++d) {
          if (dq) dq(i, d) += o.scale * ds * keys(j, d);
          if (dk) dk(j, d) += o.scale * ds * queries(i, d);
          if (dv) dv(j, d) += p * dout(i, d);
        }
      }
    }
  });
}

}  // namespace relume::cpu::reference
