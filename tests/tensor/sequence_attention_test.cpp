// Attention over whole sequences: the f64 reference against the formula with all scores at hand, and the f32 and 16-bit kernels
// against the reference.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <string>
#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/kernels/attention.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

struct Case {
  int64_t batch, queries, keys;
  int heads;
  int64_t head_dim;
  bool causal = false;
  double spread = 1;  // of queries and keys
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.batch << "x" << c.queries << "x" << c.keys << " heads " << c.heads << "x" << c.head_dim << " causal " << c.causal;
}

// Everything that one case reads and writes. Results begin as NaN.
struct Problem {
  Problem(const Case& c, DType dtype) : options{c.heads, 1 / std::sqrt(double(c.head_dim)), c.causal} {
    const int64_t channels = c.heads * c.head_dim;
    const auto input = [&](int64_t length, uint64_t seed, double spread) {
      return uniform({c.batch, length, channels}, seed, -spread, spread, DType::f64).to(DType::f32).to(dtype);
    };
    q = input(c.queries, 1, c.spread), k = input(c.keys, 2, c.spread), v = input(c.keys, 3, 1), dy = input(c.queries, 4, 1);
    const auto result = [](const Tensor& like) { return Tensor::full(like.shape(), std::nan(""), like.dtype()); };
    y = result(q), gradients = {result(q), result(k), result(v)};
    lse = Tensor::full({c.batch, c.queries, c.heads}, std::nan(""), dtype == DType::f64 ? DType::f64 : DType::f32);
  }
  // The same numbers in f64.
  Problem exact() const {
    Problem p = *this;
    for (Tensor* t : p.all()) *t = t->to(DType::f64);
    return p;
  }
  // Rows inside wider ones, for all but the denominators.
  Problem in_pitched_rows() const {
    Problem p = *this;
    for (Tensor* t : p.all())
      if (t != &p.lse) *t = pitched(*t);
    return p;
  }
  void forward() const { kernels::attention_forward.on({})(y, lse, q, k, v, options); }
  void backward() const { kernels::attention_backward.on({})(gradients, dy, y, lse, q, k, v, options); }
  std::vector<Tensor*> all() { return {&q, &k, &v, &dy, &y, &lse, &gradients.dq, &gradients.dk, &gradients.dv}; }
  std::vector<Tensor> results() const {
    std::vector<Tensor> found;
    for (const Tensor& t : {y, lse, gradients.dq, gradients.dk, gradients.dv}) found.push_back(t.contiguous());
    return found;
  }

  kernels::AttentionOptions options;
  Tensor q, k, v, dy, y, lse;
  kernels::AttentionGradients gradients;
};

void expect_near(const Problem& found, const Problem& exact, double tolerance, double gradient_tolerance) {
  const std::vector<Tensor> mine = found.results(), right = exact.results();
  const char* const names[] = {"y", "lse", "dq", "dk", "dv"};
  for (size_t i = 0; i < mine.size(); ++i) {
    // A softmax over one key is 1: its scores have no gradient, and no relative error.
    if ((i == 2 || i == 3) && exact.k.shape(1) == 1) continue;
    EXPECT_LT(relative_l2(mine[i], right[i]), i < 2 ? tolerance : gradient_tolerance) << names[i];
  }
}

class SequenceAttention : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { register_cpu_kernels(); }
};

// Element d of row i of one sample and head.
double element(const Tensor& t, const Case& c, int64_t sample, int64_t head, int64_t i, int64_t d) {
  return t.data<double>()[(sample * t.shape(1) + i) * t.pitch() + head * c.head_dim + d];
}

TEST_P(SequenceAttention, ReferenceIsTheFormulaWithAllScoresAtHand) {
  const Case& c = GetParam();
  const Problem p(c, DType::f64);
  p.forward();
  const Tensor formula = Tensor::zeros(p.y.shape(), DType::f64);
  for (int64_t sample = 0; sample < c.batch; ++sample)
    for (int64_t head = 0; head < c.heads; ++head)
      for (int64_t i = 0; i < c.queries; ++i) {
        std::vector<double> weight(size_t(c.keys), 0.0);
        double sum = 0;
        for (int64_t j = 0; j < (c.causal ? i + 1 : c.keys); ++j) {
          double score = 0;
          for (int64_t d = 0; d < c.head_dim; ++d)
            score += element(p.q, c, sample, head, i, d) * element(p.k, c, sample, head, j, d);
          sum += weight[size_t(j)] = std::exp(score * p.options.scale);
        }
        double* to = formula.data<double>() + (sample * c.queries + i) * formula.pitch() + head * c.head_dim;
        for (int64_t j = 0; j < c.keys; ++j)
          for (int64_t d = 0; d < c.head_dim; ++d) to[d] += weight[size_t(j)] / sum * element(p.v, c, sample, head, j, d);
        EXPECT_NEAR(p.lse.data<double>()[(sample * c.queries + i) * c.heads + head], std::log(sum), 1e-11);
      }
  EXPECT_LT(relative_l2(p.y, formula), 1e-12);
}

TEST_P(SequenceAttention, FastKernelsMatchTheReference) {
  const Problem fast(GetParam(), DType::f32), exact = fast.exact();
  exact.forward(), exact.backward();
  fast.forward(), fast.backward();
  expect_near(fast, exact, 2e-6, 1e-5);
}

TEST_P(SequenceAttention, SixteenBitsAreComputedInFloat) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.004}, std::pair{DType::f16, 0.0005}}) {
    const Problem narrow(GetParam(), dtype), exact = narrow.exact();
    exact.forward(), exact.backward();
    narrow.forward(), narrow.backward();
    expect_near(narrow, exact, tolerance, 2 * tolerance);
  }
}

TEST_P(SequenceAttention, PitchedRowsGiveTheSameBits) {
  const Problem dense(GetParam(), DType::f32), wide = dense.in_pitched_rows();
  dense.forward(), dense.backward();
  wide.forward(), wide.backward();
  for (size_t i = 0; i < 5; ++i) EXPECT_TRUE(same_bits(wide.results()[i], dense.results()[i])) << i;
}

TEST_P(SequenceAttention, OptionalResultsMayBeLeftOut) {
  const Problem with(GetParam(), DType::f32);
  with.forward(), with.backward();
  Problem without(GetParam(), DType::f32);
  without.lse = {};
  without.forward();
  EXPECT_TRUE(same_bits(without.y, with.y));
  for (size_t wanted = 0; wanted < 3; ++wanted) {
    Problem some(GetParam(), DType::f32);
    some.forward();
    Tensor* const parts[] = {&some.gradients.dq, &some.gradients.dk, &some.gradients.dv};
    for (size_t i = 0; i < 3; ++i)
      if (i != wanted) *parts[i] = {};
    some.backward();
    EXPECT_TRUE(same_bits(*parts[wanted], with.results()[2 + wanted])) << wanted;
  }
}

TEST_P(SequenceAttention, ThreadsChangeNoBit) {
  const int before = omp_get_max_threads();
  const Problem one(GetParam(), DType::f32), three(GetParam(), DType::f32);
  omp_set_num_threads(1), one.forward(), one.backward();
  omp_set_num_threads(3), three.forward(), three.backward();
  omp_set_num_threads(before);
  for (size_t i = 0; i < 5; ++i) EXPECT_TRUE(same_bits(three.results()[i], one.results()[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Shapes, SequenceAttention,
                         testing::Values(Case{1, 1, 1, 1, 1}, Case{2, 5, 3, 2, 7}, Case{1, 77, 77, 2, 64, true},
                                         Case{1, 97, 97, 1, 5, true}, Case{2, 193, 193, 1, 16, true},
                                         Case{1, 96, 192, 3, 40},  // whole blocks
                                         Case{1, 131, 77, 2, 64}, Case{1, 101, 211, 1, 80}, Case{2, 31, 97, 1, 160},
                                         Case{1, 109, 127, 1, 512}, Case{1, 1, 300, 2, 24}, Case{1, 300, 1, 1, 33},
                                         Case{1, 61, 113, 2, 32, false, 6}),  // scores of some tens
                         [](const auto& instance) { return "Case" + std::to_string(instance.index); });

TEST(SequenceAttentionRange, LargeScoresStayFinite) {
  register_cpu_kernels();
  const Problem p({1, 150, 150, 1, 32, true, 40}, DType::f32);  // scores beyond +-1000: exp of them overflows
  p.forward(), p.backward();
  for (const Tensor& t : p.results())
    for (int64_t i = 0; i < t.numel(); ++i) ASSERT_TRUE(std::isfinite(t.data<float>()[i])) << i;
}

TEST(SequenceAttentionRange, LeavesTheSubnormalModeOfTheThreadAlone) {
  register_cpu_kernels();
  const Problem p({1, 9, 9, 1, 8}, DType::f32);
  p.forward(), p.backward();
  volatile float small = 0x1p-126f;
  EXPECT_NE(small / 2, 0.0f);
}

}  // namespace
}  // namespace relume::test
