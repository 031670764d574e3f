// Attention over whole sequences with 16-bit types, whichever kernels take the call: results and gradients against f64 on the
// CPU, and the same bits in every run. Floats are among the operation cases.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tensor/kernels/attention.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

struct Case {
  std::string name;
  int64_t batch, queries, keys;
  int heads;
  int64_t head_dim;
  bool causal = false, packed = false, pitched = false;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// Queries, keys, values and the gradient of the result, as a case gives them.
struct Inputs {
  Inputs(const Case& c, DType dtype) {
    const int64_t channels = c.heads * c.head_dim;
    const auto rows = [&](int64_t length, int64_t width, uint64_t seed) {
      return uniform({c.batch, length, width}, seed, -2, 2).to(dtype);
    };
    q = rows(c.queries, channels, 1), k = rows(c.keys, channels, 2), v = rows(c.keys, channels, 3);
    dy = rows(c.queries, channels, 4);
    if (!c.packed) return;
    const Tensor qkv = rows(c.queries, 3 * channels, 5);
    q = qkv.columns(0, channels), k = qkv.columns(channels, 2 * channels), v = qkv.columns(2 * channels, 3 * channels);
  }
  template <class Place> Inputs with(Place&& place) const {
    Inputs moved = *this;
    for (Tensor* t : {&moved.q, &moved.k, &moved.v, &moved.dy}) *t = place(*t);
    return moved;
  }
  Tensor q, k, v, dy;
};

// y, lse, dq, dk and dv.
std::vector<Tensor> attended(const Inputs& in, const kernels::AttentionOptions& o) {
  const Device device = in.q.device();
  const auto result = [](const Tensor& t) { return Tensor::full(t.shape(), std::nan(""), t.dtype(), t.device()); };
  const Tensor y = result(in.q), dq = result(in.q), dk = result(in.k), dv = result(in.v);
  const DType wide = in.q.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor lse = Tensor::full({in.q.shape(0), in.q.shape(1), o.heads}, std::nan(""), wide, device);
  kernels::attention_forward.on(device)(y, lse, in.q, in.k, in.v, o);
  kernels::attention_backward.on(device)({dq, dk, dv}, in.dy, y, lse, in.q, in.k, in.v, o);
  return {y.to(Device{}), lse.to(Device{}), dq.to(Device{}), dk.to(Device{}), dv.to(Device{})};
}

class CudaSequenceAttention : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(CudaSequenceAttention, SixteenBitsAreComputedInFloat) {
  const Case& c = GetParam();
  const kernels::AttentionOptions options{c.heads, 1 / std::sqrt(double(c.head_dim)), c.causal};
  const char* const names[] = {"y", "lse", "dq", "dk", "dv"};
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.01}, std::pair{DType::f16, 0.001}}) {
    const Inputs host(c, dtype);
    const std::vector<Tensor> exact = attended(host.with([](const Tensor& t) { return t.to(DType::f64); }), options);
    std::vector<Tensor> first;
    for_each_run([&](const std::string& run) {
      const Inputs device = host.with([&](const Tensor& t) {
        const Tensor moved = t.to(cuda_device);
        return c.pitched ? pitched(moved) : moved;
      });
      const std::vector<Tensor> found = attended(device, options);
      if (first.empty()) first = found;
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(relative_l2(found[i], exact[i]), tolerance) << names[i] << ", " << run << ", " << dtype;
        EXPECT_TRUE(same_bits(found[i], first[i])) << names[i] << ", " << run << ", " << dtype << ": other bits";
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Sequences, CudaSequenceAttention,
                         testing::Values(Case{"self", 2, 19, 19, 2, 64}, Case{"cross", 2, 11, 77, 3, 40},
                                         Case{"one_head", 1, 37, 23, 1, 128}, Case{"packed", 1, 33, 33, 2, 64, false, true},
                                         Case{"causal", 1, 29, 29, 2, 64, true}, Case{"odd_head", 1, 21, 17, 2, 13},
                                         Case{"wide_head", 1, 18, 35, 1, 160},
                                         Case{"pitched", 1, 20, 26, 2, 64, false, false, true}),
                         [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace relume::test
