// Attention within windows, without the linear maps around it: values and gradients against f64 on the CPU.
#include "tensor/cuda/window_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tensor/cpu/reference/attention.h"
#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

struct WindowCase {
  std::string name;
  int64_t batch, height, width;
  int heads, head_dim, window, shift;
  double mask = -100;
};
void PrintTo(const WindowCase& c, std::ostream* out) { *out << c.name; }

std::vector<WindowCase> window_cases() {
  return {{"plain", 1, 8, 8, 2, 6, 4, 0},
          {"shifted", 2, 8, 12, 2, 5, 4, 2},
          {"paper_heads", 1, 16, 8, 2, 30, 8, 4},
          {"one_window", 1, 4, 4, 3, 2, 4, 2},
          {"window_of_one", 1, 2, 3, 1, 1, 1, 0},
          {"prime", 1, 7, 14, 1, 5, 7, 3},
          {"sixteen_bytes", 1, 4, 8, 2, 8, 4, 1},
          {"two_tiles", 1, 9, 18, 1, 7, 9, 4},      // of queries: 64 and 17
          {"sixteen", 1, 16, 16, 1, 30, 16, 8},     // eight tiles in the backward pass
          {"many_windows", 1, 2, 257, 1, 3, 1, 0},  // more than blocks
          {"whole_tiles", 1, 8, 16, 2, 32, 8, 4},   // nothing is padded for tensor cores
          {"thirty_four", 1, 8, 8, 1, 34, 8, 4},    // more channels than tensor cores take
          {"hard_mask", 1, 8, 16, 2, 32, 8, 4, -std::numeric_limits<double>::infinity()}};
}

// What goes in and what comes out, in one type.
struct Problem {
  Problem(const WindowCase& c, DType dtype) : options{c.heads, c.window, c.shift, 1 / std::sqrt(double(c.head_dim)), c.mask} {
    const int64_t side = 2 * c.window - 1;
    const Shape map{c.batch, c.height, c.width, int64_t(c.heads) * c.head_dim};
    qkv = uniform(map.with(3, 3 * map[3]), 1, -2, 2).to(dtype);
    table = uniform({side * side, c.heads}, 2, -2, 2).to(dtype);
    dy = uniform(map, 3).to(dtype);
    y = empty_like(dy), lse = Tensor::empty(map.with(3, c.heads), dtype == DType::f64 ? DType::f64 : DType::f32);
    dqkv = empty_like(qkv), dtable = empty_like(table);
  }
  // The same numbers in another type or place.
  template <class F> Problem with(F&& f) const {
    Problem p = *this;
    for (Tensor* t : {&p.qkv, &p.table, &p.dy, &p.y, &p.lse, &p.dqkv, &p.dtable}) *t = f(*t);
    return p;
  }
  void reference() const {
    cpu::reference::window_attention_forward(y, lse, qkv, table, options);
    cpu::reference::window_attention_backward(dqkv, dtable, dy, y, lse, qkv, table, options);
  }
  void device() const {
    cuda::window_attention_forward(y, lse, qkv, table, options);
    cuda::window_attention_backward(dqkv, dtable, dy, y, lse, qkv, table, options);
  }

  kernels::WindowAttentionOptions options;
  Tensor qkv, table, dy, y, lse, dqkv, dtable;
};

class CudaWindowAttention : public testing::TestWithParam<WindowCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

void expect_near(const Problem& found, const Problem& exact, double tolerance, const std::string& run) {
  const auto compare = [&](const char* what, const Tensor& a, const Tensor& b) {
    EXPECT_LE(relative_l2(a.to(Device{}), b), tolerance) << what << ", " << run;
  };
  compare("y", found.y, exact.y), compare("lse", found.lse, exact.lse);
  compare("dqkv", found.dqkv, exact.dqkv), compare("dtable", found.dtable, exact.dtable);
}

// Runs it in every way there is: results near the exact ones, and the same bits in all runs.
template <class Place> void check(const Problem& p, const Problem& exact, double tolerance, Place&& place) {
  Problem first = p;
  bool is_first = true;
  for_each_run([&](const std::string& run) {
    const Problem device = p.with(place);
    device.device();
    expect_near(device, exact, tolerance, run);
    const Problem back = device.with([](const Tensor& t) { return t.to(Device{}); });
    if (std::exchange(is_first, false)) first = back;
    EXPECT_TRUE(same_bits(back.y, first.y) && same_bits(back.lse, first.lse) && same_bits(back.dqkv, first.dqkv) &&
                same_bits(back.dtable, first.dtable))
        << run << ": other bits than in the first run";
  });
}

Problem solved(const Problem& p) {
  const Problem exact = p.with([](const Tensor& t) { return t.to(DType::f64); });
  exact.reference();
  return exact;
}

TEST_P(CudaWindowAttention, FloatAgreesWithReference) {
  const Problem p(GetParam(), DType::f32);
  check(p, solved(p), 2e-6, [](const Tensor& t) { return t.to(cuda_device); });
}

TEST_P(CudaWindowAttention, PitchedRowsGiveTheSame) {
  const Problem p(GetParam(), DType::f32);
  check(p, solved(p), 2e-6, [](const Tensor& t) { return pitched(t.to(cuda_device)); });
}

TEST_P(CudaWindowAttention, SixteenBitsAreComputedInFloat) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.01}, std::pair{DType::f16, 0.001}}) {
    const Problem p(GetParam(), dtype);
    check(p, solved(p), tolerance, [](const Tensor& t) { return t.to(cuda_device); });
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, CudaWindowAttention, testing::ValuesIn(window_cases()),
                         [](const auto& c) { return c.param.name; });

class CudaWindowAttentionOptions : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(CudaWindowAttentionOptions, WhatIsNotWantedIsUndefined) {
  const Problem host(window_cases()[1], DType::f32);
  for_each_run([&](const std::string& run) {
    const auto place = [](const Tensor& t) { return t.to(cuda_device); };
    const Problem all = host.with(place), some = host.with(place);
    all.device();
    cuda::window_attention_forward(some.y, {}, some.qkv, some.table, some.options);
    cuda::window_attention_backward(some.dqkv, {}, some.dy, all.y, all.lse, some.qkv, some.table, some.options);
    EXPECT_TRUE(same_bits(some.y.to(Device{}), all.y.to(Device{}))) << run;
    EXPECT_TRUE(same_bits(some.dqkv.to(Device{}), all.dqkv.to(Device{}))) << run;
  });
}

// Windows of 8 x 8 fit everywhere; larger ones fit by smaller tiles of queries, or are refused.
TEST_F(CudaWindowAttentionOptions, TilesFitAnySharedMemory) {
  const auto place = [](const Tensor& t) { return t.to(cuda_device); };
  const Problem paper(window_cases()[2], DType::f32), sixteen({"sixteen", 1, 16, 16, 1, 30, 16, 8}, DType::f32);
  const Problem exact_paper = solved(paper), exact_sixteen = solved(sixteen);
  for_each_shared_memory(99, [&] { check(paper, exact_paper, 2e-6, place); });
  for_each_shared_memory(163, [&] { check(sixteen, exact_sixteen, 2e-6, place); });
}

TEST_F(CudaWindowAttentionOptions, SaysWhatDoesNotFit) {
  const Problem host({"wide", 1, 8, 8, 1, 1024, 8, 0}, DType::f32);
  const Problem p = host.with([](const Tensor& t) { return t.to(cuda_device); });
  std::string text;
  try {
    p.device();
  } catch (const Error& e) {
    text = e.what();
  }
  EXPECT_HAS(text, "residual_window_attention_forward: windows of 8 x 8 with 1024 channels a head need ");
  EXPECT_HAS(text, "KB that a block has on cuda:0; use smaller windows, or more heads");
}

}  // namespace
}  // namespace relume::test
