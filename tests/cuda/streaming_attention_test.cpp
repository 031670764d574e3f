// Attention over whole sequences: values and gradients against plain sums in f64.
#include "tensor/cuda/streaming_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

struct SequenceCase {
  std::string name;
  int64_t samples, queries, keys;
  int heads, head_dim;
  bool causal = false;
};
void PrintTo(const SequenceCase& c, std::ostream* out) { *out << c.name; }

std::vector<SequenceCase> sequence_cases() {
  return {{"one_token", 1, 1, 1, 1, 8},
          {"one_key", 1, 17, 1, 2, 8},
          {"one_query", 2, 1, 77, 1, 40},
          {"odd_heads", 2, 17, 64, 3, 30},
          {"whole_tiles", 1, 64, 64, 2, 64},
          {"unet", 1, 130, 77, 2, 40},  // cross attention
          {"eighty", 1, 17, 130, 1, 80},
          {"wide", 1, 64, 17, 1, 160},
          {"causal", 1, 77, 77, 1, 64, true},
          {"causal_tiles", 1, 130, 130, 1, 16, true},
          {"causal_thirty", 1, 77, 77, 1, 30, true}};
}

// What goes in and what comes out, in one type.
struct Problem {
  Problem(const SequenceCase& c, DType dtype) : options{c.heads, 1 / std::sqrt(double(c.head_dim)), c.causal} {
    const int64_t channels = int64_t(c.heads) * c.head_dim;
    const Shape of_queries{c.samples, c.queries, channels}, of_keys{c.samples, c.keys, channels};
    q = uniform(of_queries, 1, -3, 3).to(dtype), k = uniform(of_keys, 2, -3, 3).to(dtype), v = uniform(of_keys, 3).to(dtype);
    dy = uniform(of_queries, 4).to(dtype);
    y = empty_like(q), lse = Tensor::empty(q.shape().with(2, c.heads), dtype == DType::f64 ? DType::f64 : DType::f32);
    dq = empty_like(q), dk = empty_like(k), dv = empty_like(v);
  }
  // The same numbers in another type or place.
  template <class F> Problem with(F&& f) const {
    Problem p = *this;
    for (Tensor* t : p.all()) *t = f(*t);
    return p;
  }
  std::vector<Tensor*> all() { return {&q, &k, &v, &dy, &y, &lse, &dq, &dk, &dv}; }
  void device() const {
    cuda::streaming_attention_forward(y, lse, q, k, v, options);
    cuda::streaming_attention_backward({dq, dk, dv}, dy, y, lse, q, k, v, options);
  }

  kernels::AttentionOptions options;
  Tensor q, k, v, dy, y, lse, dq, dk, dv;
};

// One query of one head: its probabilities, result and gradients, from dense f64 tensors.
void solve_query(const Problem& p, int64_t sample, int64_t head, int64_t i) {
  const int64_t heads = p.options.heads, dim = p.q.shape(2) / heads, queries = p.q.shape(1), keys = p.k.shape(1);
  const auto row = [&](const Tensor& t, int64_t tokens, int64_t token) {
    return t.data<double>() + ((sample * tokens + token) * heads + head) * dim;
  };
  const auto dot = [&](const double* a, const double* b) {
    double sum = 0;
    for (int64_t c = 0; c < dim; ++c) sum += a[c] * b[c];
    return sum;
  };
  const int64_t seen = p.options.causal ? i + 1 : keys;
  const double *q = row(p.q, queries, i), *dy = row(p.dy, queries, i);
  double *y = row(p.y, queries, i), *dq = row(p.dq, queries, i), total = 0;
  std::vector<double> probability(size_t(seen), 0.0);
  for (int64_t j = 0; j < seen; ++j) total += probability[size_t(j)] = std::exp(p.options.scale * dot(q, row(p.k, keys, j)));
  p.lse.data<double>()[(sample * queries + i) * heads + head] = std::log(total);
  std::fill_n(y, dim, 0.0), std::fill_n(dq, dim, 0.0);
  for (double& weight : probability) weight /= total;
  for (int64_t j = 0; j < seen; ++j)
    for (int64_t c = 0; c < dim; ++c) y[c] += probability[size_t(j)] * row(p.v, keys, j)[c];
  for (int64_t j = 0; j < seen; ++j) {
    const double weight = probability[size_t(j)];
    const double dscore = p.options.scale * weight * (dot(dy, row(p.v, keys, j)) - dot(dy, y));
    for (int64_t c = 0; c < dim; ++c) {
      dq[c] += dscore * row(p.k, keys, j)[c];
      row(p.dk, keys, j)[c] += dscore * q[c];
      row(p.dv, keys, j)[c] += weight * dy[c];
    }
  }
}

Problem solved(const Problem& p) {
  const Problem exact = p.with([](const Tensor& t) { return t.to(DType::f64); });
  for (const Tensor& t : {exact.dk, exact.dv}) std::fill_n(t.data<double>(), t.numel(), 0.0);
  for (int64_t sample = 0; sample < p.q.shape(0); ++sample)
    for (int64_t head = 0; head < p.options.heads; ++head)
      for (int64_t i = 0; i < p.q.shape(1); ++i) solve_query(exact, sample, head, i);
  return exact;
}

void expect_near(const Problem& found, const Problem& exact, double tolerance, const std::string& run) {
  const auto compare = [&](const char* what, const Tensor& a, const Tensor& b, double within) {
    EXPECT_LE(relative_l2(a.to(Device{}), b), within) << what << ", " << a.dtype() << ", " << run;
  };
  compare("y", found.y, exact.y, tolerance), compare("lse", found.lse, exact.lse, 2e-6);
  for (const auto& [what, a, b] : {std::tuple{"dq", found.dq, exact.dq}, std::tuple{"dk", found.dk, exact.dk}})
    if (found.k.shape(1) > 1)
      compare(what, a, b, 2 * tolerance);
    else  // a key that has all the probability: what rounding leaves of 0
      EXPECT_LE(largest_difference(a.to(Device{}), b), 20 * tolerance) << what << ", " << a.dtype() << ", " << run;
  compare("dv", found.dv, exact.dv, tolerance);
}

// Runs it in every way there is: results near the exact ones, and the same bits in all runs.
template <class Place> void check(const Problem& p, double tolerance, Place&& place) {
  const Problem exact = solved(p);
  Problem first = p;
  bool is_first = true;
  for_each_run([&](const std::string& run) {
    const Problem device = p.with(place);
    device.device();
    expect_near(device, exact, tolerance, run);
    Problem back = device.with([](const Tensor& t) { return t.to(Device{}); });
    if (std::exchange(is_first, false)) first = back;
    const std::vector<Tensor*> found = back.all(), before = first.all();
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(same_bits(*found[i], *before[i])) << run << ": other bits than in the first run, tensor " << i;
  });
}

Tensor on_device(const Tensor& t) { return t.to(cuda_device); }
// Columns of wider rows that begin on 16 bytes, as the thirds of a packed map do.
Tensor third_of_packed(const Tensor& t) {
  const int64_t columns = t.shape(2), apart = (columns + 7) / 8 * 8;
  const Tensor packed = Tensor::full(t.shape().with(2, 3 * apart), std::nan(""), t.dtype(), cuda_device);
  const Tensor inside = packed.columns(apart, apart + columns);
  inside.copy_from(on_device(t));
  return inside;
}

constexpr std::pair<DType, double> sixteen_bits[] = {{DType::bf16, 0.008}, {DType::f16, 0.001}};

class CudaStreamingAttention : public testing::TestWithParam<SequenceCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(CudaStreamingAttention, FloatAgreesWithReference) { check(Problem(GetParam(), DType::f32), 2e-6, on_device); }

TEST_P(CudaStreamingAttention, SixteenBitsAreSummedInFloat) {
  for (const auto& [dtype, tolerance] : sixteen_bits) check(Problem(GetParam(), dtype), tolerance, on_device);
}

TEST_P(CudaStreamingAttention, PitchedRowsGiveTheSame) {
  check(Problem(GetParam(), DType::f32), 2e-6, third_of_packed);
  check(Problem(GetParam(), DType::bf16), 0.008, third_of_packed);
}

INSTANTIATE_TEST_SUITE_P(Sequences, CudaStreamingAttention, testing::ValuesIn(sequence_cases()),
                         [](const auto& c) { return c.param.name; });

class CudaStreamingAttentionSizes : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(CudaStreamingAttentionSizes, OneHeadOf512ChannelsInAnySharedMemory) {
  const SequenceCase vae{"vae", 1, 77, 77, 1, 512};
  check(Problem(vae, DType::f16), 0.001, on_device);
  for_each_shared_memory(163, [&] {
    check(Problem(vae, DType::f32), 2e-6, on_device);
    check(Problem(vae, DType::bf16), 0.008, on_device);
  });
}

TEST_F(CudaStreamingAttentionSizes, ChannelsBetweenTheTilesOfTensorCores) {
  for (const int channels : {136, 256, 320}) check(Problem({"between", 1, 5, 17, 1, channels}, DType::f16), 0.001, on_device);
}

TEST_F(CudaStreamingAttentionSizes, RowsBesideABoundary) {
  const auto beside = [](const Tensor& t) { return pitched(on_device(t)); };
  const SequenceCase cross{"cross", 1, 77, 17, 2, 16};
  check(Problem(cross, DType::f32), 2e-6, beside);
  for (const auto& [dtype, tolerance] : sixteen_bits) check(Problem(cross, dtype), tolerance, beside);
}

TEST_F(CudaStreamingAttentionSizes, WhatIsNotWantedIsUndefined) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Problem all = Problem(sequence_cases()[5], dtype).with(on_device), some = all.with(empty_like);
    all.device();
    cuda::streaming_attention_forward(some.y, {}, all.q, all.k, all.v, all.options);
    const auto gradients = [&](const kernels::AttentionGradients& wanted) {
      cuda::streaming_attention_backward(wanted, all.dy, all.y, all.lse, all.q, all.k, all.v, all.options);
    };
    gradients({some.dq, {}, {}}), gradients({{}, some.dk, {}}), gradients({{}, {}, some.dv});
    for (const auto& [a, b] : {std::pair{some.y, all.y}, {some.dq, all.dq}, {some.dk, all.dk}, {some.dv, all.dv}})
      EXPECT_TRUE(same_bits(a.to(Device{}), b.to(Device{}))) << dtype;
  }
}

TEST_F(CudaStreamingAttentionSizes, KeysThatNobodyAsksForHaveNoGradient) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Problem p = Problem({"no_queries", 1, 0, 17, 1, 8}, dtype).with(on_device);
    p.device();
    for (const Tensor& t : {p.dk, p.dv}) EXPECT_EQ(largest_difference(t.to(Device{}), Tensor::zeros(t.shape(), dtype)), 0);
  }
}

TEST_F(CudaStreamingAttentionSizes, SaysWhatDoesNotFit) {
  const Problem p = Problem({"huge", 1, 1, 1, 1, 16384}, DType::f32).with(on_device);
  EXPECT_HAS(input_error([&] { p.device(); }), "attention_forward: heads of 16384 channels need ");
  const Problem in_double = Problem(sequence_cases()[0], DType::f64).with(on_device);
  EXPECT_HAS(input_error([&] { in_double.device(); }), "attention_forward: on cuda:0 expects f32, f16 or bf16, got f64");
}

}  // namespace
}  // namespace relume::test
