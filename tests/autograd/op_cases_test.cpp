// Every case of tests/support/op_cases.cpp: values and gradients in f32 against f64, f64 gradients against central differences,
// pitched rows, 16-bit storage; and that the cases together use every slot there is.
#include "tests/support/op_cases.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "autograd/graph.h"
#include "autograd/reduce.h"
#include "tensor/kernels/all.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

class OpCases : public testing::TestWithParam<OpCase> {};

TEST_P(OpCases, FloatAgreesWithReference) {
  const OpCase& c = GetParam();
  const Outcome fast = run(c, inputs_of(c, DType::f32)), exact = run(c, inputs_of(c, DType::f64));
  EXPECT_LE(relative_l2(fast.y, exact.y), c.tolerance);
  for (size_t i = 0; i < exact.gradients.size(); ++i)
    if (exact.gradients[i]) {
      EXPECT_LE(relative_l2(fast.gradients[i], exact.gradients[i]), c.gradient_tolerance) << "gradient " << i;
    }
}

TEST_P(OpCases, GradientsAgreeWithCentralDifferences) {
  const OpCase& c = GetParam();
  const std::vector<Tensor> inputs = inputs_of(c, DType::f64);
  const Outcome exact = run(c, inputs);
  const NoGrad no_grad;
  const Tensor dy = direction(exact.y);
  const auto scalar = [&] {
    const Tensor y = c.run(inputs).contiguous();
    double sum = 0;
    for (int64_t i = 0; i < y.numel(); ++i) sum += y.data<double>()[i] * dy.data<double>()[i];
    return sum;
  };
  constexpr double step = 1e-6;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!c.inputs[i].differentiable) continue;
    double* v = inputs[i].data<double>();
    const int64_t checked = c.flops > 2e6 ? 4 : 40;  // elements of each input, about: the plain kernels are slow
    const int64_t stride = std::max<int64_t>(1, inputs[i].numel() / checked);
    double largest = 0;
    for (int64_t k = 0; k < inputs[i].numel(); ++k) largest = std::max(largest, std::abs(exact.gradients[i].data<double>()[k]));
    for (int64_t k = 0; k < inputs[i].numel(); k += stride) {
      const double kept = v[k];
      v[k] = kept + step;
      const double above = scalar();
      v[k] = kept - step;
      const double below = scalar();
      v[k] = kept;
      EXPECT_NEAR((above - below) / (2 * step), exact.gradients[i].data<double>()[k], 1e-6 * std::max(1.0, largest))
          << "input " << i << ", element " << k;
    }
  }
}

TEST_P(OpCases, PitchedRowsGiveTheSame) {
  const OpCase& c = GetParam();
  if (!c.pitched) GTEST_SKIP() << "this operation takes dense tensors only";
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::vector<Tensor> inputs = inputs_of(c, dtype);
    const Outcome dense = run(c, inputs);
    for (size_t i = 0; i < inputs.size(); ++i)
      inputs[i] = i == 0 || inputs[i].shape() == dense.y.shape() ? pitched(inputs[i]) : inputs[i];
    const Outcome wide = run(c, inputs);
    EXPECT_LE(relative_l2(wide.y, dense.y), 1e-6) << dtype;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (dense.gradients[i]) {
        EXPECT_LE(relative_l2(wide.gradients[i], dense.gradients[i]), 1e-6) << dtype << " gradient " << i;
      }
  }
}

TEST_P(OpCases, SixteenBitStorageIsWidened) {
  const OpCase& c = GetParam();
  const NoGrad no_grad;
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.02}, std::pair{DType::f16, 0.003}}) {
    std::vector<Tensor> narrow = inputs_of(c, dtype), wide;
    for (const Tensor& t : narrow) wide.push_back(t.to(DType::f32));
    if (c.name.starts_with("residual_window_attention")) {
      EXPECT_THROW(c.run(narrow), InputError) << "attention says that it has no 16-bit form on the CPU";
      continue;
    }
    const Tensor y = c.run(narrow);
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_LE(relative_l2(y, c.run(wide)), tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Op, OpCases, testing::ValuesIn(op_cases()), case_name);

// Slots that no differentiable operation uses have tests of their own; each is named here with its test.
const std::map<std::string, std::string>& tested_elsewhere() {
  static const std::map<std::string, std::string> slots{
      {"group_norm_apply", "tests/tensor/norm_test.cpp"},
      {"fill_uniform", "tests/tensor/random_test.cpp"},
      {"fill_normal", "tests/tensor/random_test.cpp"},
      {"gradient_norm", "tests/train/adamw_test.cpp"},
      {"adamw", "tests/train/adamw_test.cpp"},
      {"resample", "tests/data/resize_test.cpp"},
      {"correlate", "tests/degrade/filter_test.cpp"},
      {"correlate_separable", "tests/degrade/filter_test.cpp"},
      {"add_noise", "tests/degrade/noise_test.cpp"},
      {"poisson_noise", "tests/degrade/noise_test.cpp"},
      {"clamp_to_unit", "tests/degrade/noise_test.cpp"},
      {"round_to_levels", "tests/degrade/noise_test.cpp"},
      {"simulated_jpeg_forward", "tests/degrade/simulated_jpeg_test.cpp"},
      {"simulated_jpeg_backward", "tests/degrade/simulated_jpeg_test.cpp"},
      {"simulated_jpeg_coefficients", "tests/degrade/simulated_jpeg_test.cpp"},
      {"sharpen_mask", "tests/degrade/sharpen_test.cpp"},
      {"sharpen_blend", "tests/degrade/sharpen_test.cpp"},
      {"uploads", "tests/tensor/memory_test.cpp"},
      {"repeated", "tests/tensor/memory_test.cpp"},
      {"tune_products", "tests/tensor/backends_test.cpp"},
      {"transfer", "needs a second device"}};
  return slots;
}

TEST(OpCoverage, EverySlotHasCpuKernelAndCase) {
  std::map<std::string, uint64_t> before;
  kernels::for_each_slot([&](const auto& slot) { before[slot.name()] = slot.calls(); });
  for (const OpCase& c : op_cases()) run(c, inputs_of(c, DType::f32));
  kernels::for_each_slot([&](const auto& slot) {
    const std::string name = slot.name();
    EXPECT_TRUE(slot.has(DeviceKind::cpu) || name == "transfer") << name << " has no CPU kernel";
    if (tested_elsewhere().contains(name)) return;
    EXPECT_GT(slot.calls(), before[name]) << name << " is used by no case: add one to tests/support/op_cases.cpp";
  });
}

}  // namespace
}  // namespace relume::test
