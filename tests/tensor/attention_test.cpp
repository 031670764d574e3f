// Window attention: the f64 reference against a second formulation (roll, partition, mask table) and against finite
// differences, then the f32 kernels, with norm and projections, against the reference.
#include "tensor/kernels/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tensor/core/philox.h"
#include "tensor/cpu/reference/attention.h"
#include "tensor/cpu/register.h"

namespace relume {
namespace {

using kernels::WindowAttentionOptions;

struct Case {
  int64_t batch, height, width;
  int heads, head_dim, window, shift;
  int64_t gap = 0;    // floats between the rows of qkv that do not belong to it
  double spread = 1;  // of queries and keys
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.batch << "x" << c.height << "x" << c.width << " heads " << c.heads << "x" << c.head_dim << " window " << c.window
       << " shift " << c.shift << " gap " << c.gap << " spread " << c.spread;
}

// Random values in [-spread, spread]; f32 values exactly, so that both types see the same numbers.
Tensor random(const Shape& shape, const char* purpose, DType dtype, double spread = 1) {
  RandomStream stream({.seed = 7, .purpose = purpose});
  Tensor t = Tensor::empty(shape, dtype);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const float x = float(stream.uniform(-spread, spread));
    if (dtype == DType::f32)
      t.data<float>()[i] = x;
    else
      t.data<double>()[i] = x;
  }
  return t;
}

double element(const Tensor& t, int64_t row, int64_t column) {
  const int64_t i = row * t.pitch() + column;
  return t.dtype() == DType::f32 ? double(t.data<float>()[i]) : t.data<double>()[i];
}
double relative_l2(const Tensor& a, const Tensor& b) {
  double difference = 0, norm = 0;
  for (int64_t row = 0; row < b.rows(); ++row)
    for (int64_t i = 0; i < b.shape(-1); ++i) {
      difference += std::pow(element(a, row, i) - element(b, row, i), 2);
      norm += std::pow(element(b, row, i), 2);
    }
  return std::sqrt(difference / std::max(norm, 1e-24));
}

// All inputs and outputs of one case: the attention alone, in f64.
struct Problem {
  Problem(const Case& c, DType dtype) : options{c.heads, c.window, c.shift, 1 / std::sqrt(double(c.head_dim))} {
    const int64_t channels = int64_t(c.heads) * c.head_dim, side = 2 * c.window - 1;
    const Shape map{c.batch, c.height, c.width, channels};
    qkv = random(map.with(3, 3 * channels + c.gap), "qkv", dtype, c.spread).columns(c.gap, 3 * channels + c.gap);
    table = random({side * side, c.heads}, "table", dtype);
    dy = random(map, "dy", dtype);
    y = Tensor::full(map, NAN, dtype), lse = Tensor::full(map.with(3, c.heads), NAN, dtype);
    dqkv = Tensor::full(map.with(3, 3 * channels), NAN, dtype), dtable = Tensor::full(table.shape(), NAN, dtype);
  }
  void forward() { cpu::reference::window_attention_forward(y, lse, qkv, table, options); }
  void backward() { cpu::reference::window_attention_backward(dqkv, dtable, dy, y, lse, qkv, table, options); }

  WindowAttentionOptions options;
  Tensor qkv, table, dy, y, lse, dqkv, dtable;
};

// The same with norm and projections around it, in one dtype.
struct Block {
  Block(const Case& c, DType dtype) {
    const int64_t channels = int64_t(c.heads) * c.head_dim, side = 2 * c.window - 1;
    const Shape map{c.batch, c.height, c.width, channels};
    const Shape wide = map.with(3, channels + c.gap);
    x = random(wide, "x", dtype, 3).columns(c.gap, channels + c.gap);
    dy = random(wide, "dy", dtype).columns(0, channels);
    const double size = 1 / std::sqrt(double(channels));
    const Tensor qkv = random({3 * channels, channels}, "qkv", dtype, 2 * size);
    for (int64_t i = 0; i < 2 * channels * channels; ++i) {  // queries and keys
      if (dtype == DType::f32)
        qkv.data<float>()[i] *= float(c.spread);
      else
        qkv.data<double>()[i] *= c.spread;
    }
    a.norm = {random({channels}, "norm", dtype), random({channels}, "shift", dtype), 1e-5,
              Tensor::full({x.rows(), 2}, NAN, dtype)};
    a.qkv_weight = qkv;
    a.qkv_bias = random({3 * channels}, "qkv bias", dtype);
    a.table = random({side * side, c.heads}, "table", dtype);
    a.proj_weight = random({channels, channels}, "proj", dtype, size);
    a.proj_bias = random({channels}, "proj bias", dtype);
    a.options = {c.heads, c.window, c.shift, 1 / std::sqrt(double(c.head_dim))};
    a.sample_scale = random({c.batch}, "scale", DType::f32);
    a.lse = Tensor::full(map.with(3, c.heads), NAN, dtype);
    y = Tensor::full(map, NAN, dtype);
    const auto like = [&](const Tensor& t) { return Tensor::full(t.shape(), NAN, dtype); };
    g = {like(x),          like(a.norm.weight), like(a.norm.bias),   like(a.qkv_weight),
         like(a.qkv_bias), like(a.table),       like(a.proj_weight), like(a.proj_bias)};
  }
  void forward() { kernels::residual_window_attention_forward.on({})(y, x, a); }
  void backward() { kernels::residual_window_attention_backward.on({})(g, dy, x, a); }
  std::vector<Tensor> gradients() const {
    return {g.dx, g.dnorm_weight, g.dnorm_bias, g.dqkv_weight, g.dqkv_bias, g.dproj_weight, g.dproj_bias, g.dtable};
  }

  Tensor x, dy, y;
  kernels::ResidualWindowAttention a;
  kernels::ResidualWindowAttentionGradients g;
};

class WindowAttention : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() { register_cpu_kernels(); }
};

// The published formulation: roll the map, label it by Python slices, cut it into windows, add a table of 0 and -100.
std::vector<double> rolled_and_partitioned(const Case& c, const Problem& p) {
  const int64_t h = c.height, w = c.width, window = c.window, n = window * window, channels = int64_t(c.heads) * c.head_dim;
  std::vector<int64_t> source(c.batch * h * w);  // pixel of each token, windows one after another
  std::vector<int> label(h * w), labels(source.size());
  int next = 0;
  const std::vector<std::pair<int64_t, int64_t>> rows{{0, h - window}, {h - window, h - c.shift}, {h - c.shift, h}};
  const std::vector<std::pair<int64_t, int64_t>> columns{{0, w - window}, {w - window, w - c.shift}, {w - c.shift, w}};
  for (auto [y0, y1] : rows)
    for (auto [x0, x1] : columns) {
      for (int64_t y = y0; y < y1; ++y)
        for (int64_t x = x0; x < x1; ++x) label[y * w + x] = next;
      ++next;
    }
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < w; ++x) {
        const int64_t at = ((b * (h / window) + y / window) * (w / window) + x / window) * n + y % window * window + x % window;
        source[at] = (b * h + (y + c.shift) % h) * w + (x + c.shift) % w;
        labels[at] = c.shift > 0 ? label[y * w + x] : 0;
      }
  std::vector<double> out(p.y.numel());
  for (size_t first = 0; first < source.size(); first += n)
    for (int64_t head = 0; head < c.heads; ++head)
      for (int64_t i = 0; i < n; ++i) {
        std::vector<double> weight(n);
        double sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          double s = labels[first + i] == labels[first + j] ? 0 : -100;
          for (int64_t d = 0; d < c.head_dim; ++d)
            s += element(p.qkv, source[first + i], head * c.head_dim + d) * p.options.scale *
                 element(p.qkv, source[first + j], channels + head * c.head_dim + d);
          const int64_t dy = i / window - j / window, dx = i % window - j % window;
          s += element(p.table, (dy + window - 1) * (2 * window - 1) + dx + window - 1, head);
          sum += weight[j] = std::exp(s);
        }
        for (int64_t d = 0; d < c.head_dim; ++d)
          for (int64_t j = 0; j < n; ++j)
            out[source[first + i] * channels + head * c.head_dim + d] +=
                weight[j] / sum * element(p.qkv, source[first + j], 2 * channels + head * c.head_dim + d);
      }
  return out;
}

TEST_P(WindowAttention, ReferenceIsTheRolledAndPartitionedFormula) {
  Problem p(GetParam(), DType::f64);
  p.forward();
  EXPECT_LT(relative_l2(p.y, Tensor::of(p.y.shape(), rolled_and_partitioned(GetParam(), p))), 1e-13);
}

TEST_P(WindowAttention, FastKernelsMatchTheReference) {
  Block exact(GetParam(), DType::f64), fast(GetParam(), DType::f32);
  exact.forward(), fast.forward();
  EXPECT_LT(relative_l2(fast.y, exact.y), 2e-6);
  EXPECT_LT(relative_l2(fast.a.lse, exact.a.lse), 3e-6);
  EXPECT_LT(relative_l2(fast.a.norm.stats, exact.a.norm.stats), 2e-6);
  exact.backward(), fast.backward();
  const std::vector<Tensor> mine = fast.gradients(), reference = exact.gradients();
  for (size_t i = 0; i < mine.size(); ++i) {
    // A softmax over one token is 1: the exact gradient of its table is zero and has no relative error.
    if (GetParam().window == 1 && i == 7) continue;
    // Of one channel the norm is its bias.
    if (GetParam().heads * GetParam().head_dim == 1) continue;
    EXPECT_LT(relative_l2(mine[i], reference[i]), 2e-5) << "gradient " << i;
  }
}

TEST_P(WindowAttention, OptionalResultsMayBeLeftOut) {
  Block with(GetParam(), DType::f32), without(GetParam(), DType::f32);
  with.forward(), with.backward();
  without.a.lse = {}, without.a.norm.stats = {};
  without.forward();
  EXPECT_EQ(relative_l2(without.y, with.y), 0);
  for (int left_out = 0; left_out < 8; ++left_out) {
    Block some(GetParam(), DType::f32);
    some.forward();
    Tensor* const parts[] = {&some.g.dx,        &some.g.dnorm_weight, &some.g.dnorm_bias, &some.g.dqkv_weight,
                             &some.g.dqkv_bias, &some.g.dproj_weight, &some.g.dproj_bias, &some.g.dtable};
    *parts[left_out] = {};
    some.backward();
    const std::vector<Tensor> mine = some.gradients(), all = with.gradients();
    for (int i = 0; i < 8; ++i)
      if (i != left_out) {
        EXPECT_EQ(relative_l2(mine[size_t(i)], all[size_t(i)]), 0) << i << " without " << left_out;
      }
  }
}

TEST_P(WindowAttention, ThreadsChangeNoBit) {
  const int before = omp_get_max_threads();
  Block one(GetParam(), DType::f32), two(GetParam(), DType::f32);
  omp_set_num_threads(1), one.forward(), one.backward();
  omp_set_num_threads(2), two.forward(), two.backward();
  omp_set_num_threads(before);
  EXPECT_EQ(relative_l2(two.y, one.y), 0);
  EXPECT_EQ(relative_l2(two.a.lse, one.a.lse), 0);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(relative_l2(two.gradients()[i], one.gradients()[i]), 0) << i;
}

INSTANTIATE_TEST_SUITE_P(Shapes, WindowAttention,
                         testing::Values(Case{1, 8, 8, 6, 30, 8, 0},  // one window of the paper's network
                                         Case{1, 8, 8, 1, 30, 8, 4},  // the map is the window, shifted
                                         Case{2, 24, 16, 6, 30, 8, 4}, Case{1, 16, 24, 2, 32, 8, 3},
                                         Case{3, 16, 16, 2, 5, 8, 4, 7},  // pitched rows
                                         Case{1, 8, 12, 6, 1, 4, 2}, Case{2, 12, 8, 1, 12, 4, 0, 1},
                                         Case{1, 14, 21, 2, 6, 7, 3}, Case{2, 7, 7, 1, 17, 7, 0}, Case{1, 6, 4, 2, 8, 2, 1},
                                         Case{1, 3, 2, 2, 3, 1, 0}, Case{1, 32, 16, 1, 20, 16, 8}, Case{2, 48, 40, 2, 30, 8, 4},
                                         Case{1, 16, 16, 2, 64, 8, 4}, Case{1, 16, 16, 2, 30, 8, 4, 0, 2}),  // large scores
                         [](const auto& instance) { return "Case" + std::to_string(instance.index); });

TEST(WindowAttentionReference, GradientsAreThoseOfFiniteDifferences) {
  register_cpu_kernels();
  for (const Case& c : {Case{1, 4, 6, 2, 3, 2, 1}, Case{1, 3, 3, 1, 2, 3, 1}, Case{2, 4, 4, 2, 1, 2, 0, 3}}) {
    Problem p(c, DType::f64);
    p.forward(), p.backward();
    const auto loss = [&] {
      Problem probe(c, DType::f64);
      cpu::reference::window_attention_forward(probe.y, {}, p.qkv, p.table, p.options);
      double sum = 0;
      for (int64_t i = 0; i < p.dy.numel(); ++i) sum += p.dy.data<double>()[i] * probe.y.data<double>()[i];
      return sum;
    };
    const auto check = [&](const Tensor& x, const Tensor& dx, const char* what) {
      for (int64_t row = 0; row < x.rows(); ++row)
        for (int64_t i = 0; i < x.shape(-1); ++i) {
          double& value = x.data<double>()[row * x.pitch() + i];
          const double before = value, step = 1e-6;
          value = before + step;
          const double above = loss();
          value = before - step;
          const double below = loss();
          value = before;
          EXPECT_NEAR((above - below) / (2 * step), element(dx, row, i), 1e-8) << what << " " << row << ", " << i;
        }
    };
    check(p.qkv, p.dqkv, "qkv"), check(p.table, p.dtable, "table");
  }
}

TEST(WindowAttentionRange, LargeScoresStayFinite) {
  register_cpu_kernels();
  Block b({1, 16, 16, 2, 30, 8, 4, 0, 1000}, DType::f32);  // scores beyond +-1000: exp of them overflows
  b.forward(), b.backward();
  std::vector<Tensor> all = b.gradients();
  all.insert(all.end(), {b.y, b.a.lse});
  for (const Tensor& t : all)
    for (int64_t i = 0; i < t.numel(); ++i) ASSERT_TRUE(std::isfinite(t.data<float>()[i])) << i;
}

TEST(WindowAttentionRange, LeavesTheSubnormalModeOfTheThreadAlone) {
  register_cpu_kernels();
  Block b({1, 16, 16, 1, 8, 8, 4}, DType::f32);
  b.forward(), b.backward();
  volatile float small = 0x1p-126f;
  EXPECT_NE(small / 2, 0.0f);
}

}  // namespace
}  // namespace relume
