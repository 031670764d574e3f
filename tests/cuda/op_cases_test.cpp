// Every case of tests/support/op_cases.cpp on a CUDA device or in the simulator: values and gradients against f64 on the CPU,
// pitched rows, 16-bit types, and the same bits in every run; and that the cases reach every CUDA kernel there is.
#include "tests/support/op_cases.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "autograd/graph.h"
#include "tensor/kernels/all.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

// Slots that no differentiable operation uses, with the test of each in this folder.
const std::map<std::string, std::string>& tested_elsewhere() {
  static const std::map<std::string, std::string> slots{{"fill", "same_as_cpu_test.cpp"},
                                                        {"fill_uniform", "same_as_cpu_test.cpp"},
                                                        {"fill_normal", "same_as_cpu_test.cpp"},
                                                        {"group_norm_apply", "group_norm_test.cpp"},
                                                        {"gradient_norm", "optimizer_test.cpp"},
                                                        {"adamw", "optimizer_test.cpp"},
                                                        {"correlate", "pictures_test.cpp"},
                                                        {"correlate_separable", "pictures_test.cpp"},
                                                        {"resample", "pictures_test.cpp"},
                                                        {"add_noise", "pictures_test.cpp"},
                                                        {"round_to_levels", "pictures_test.cpp"},
                                                        {"clamp_to_unit", "pictures_test.cpp"},
                                                        {"poisson_noise", "pictures_test.cpp"},
                                                        {"simulated_jpeg_forward", "pictures_test.cpp"},
                                                        {"simulated_jpeg_backward", "pictures_test.cpp"},
                                                        {"simulated_jpeg_coefficients", "pictures_test.cpp"},
                                                        {"sharpen_mask", "pictures_test.cpp"},
                                                        {"sharpen_blend", "pictures_test.cpp"},
                                                        {"uploads", "uploads_test.cpp"},
                                                        {"repeated", "captured_call_test.cpp"},
                                                        {"tune_products", "../cuda_sim/matmul_tuning_test.cpp"},
                                                        {"transfer", "every test"}};
  return slots;
}

class CudaOpCases : public testing::TestWithParam<OpCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

std::vector<Tensor> on_device(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> moved;
  for (const Tensor& t : tensors) moved.push_back(t.to(cuda_device));
  return moved;
}

// The numbers of a tensor as bytes.
std::string bytes_of(const Tensor& t) {
  const Tensor host = t.to(Device{}).contiguous();
  return {static_cast<const char*>(host.raw()), size_t(host.numel() * size_of(host.dtype()))};
}

std::string bytes_of(const Outcome& o) {
  std::string all = bytes_of(o.y);
  for (const Tensor& g : o.gradients)
    if (g) all += bytes_of(g);
  return all;
}

void expect_near(const Outcome& found, const Outcome& exact, double tolerance, double gradient_tolerance,
                 const std::string& run) {
  EXPECT_LE(relative_l2(found.y.to(Device{}), exact.y), tolerance) << run;
  for (size_t i = 0; i < exact.gradients.size(); ++i)
    if (exact.gradients[i]) {
      EXPECT_LE(relative_l2(found.gradients[i].to(Device{}), exact.gradients[i]), gradient_tolerance)
          << run << ", gradient " << i;
    }
}

// Runs the case in every way there is, checks each, and that all give the same bits.
template <class Check> void run_all(const OpCase& c, const std::vector<Tensor>& inputs, Check&& check) {
  std::string first;
  for_each_run([&](const std::string& name) {
    const Outcome o = run(c, on_device(inputs));
    check(o, name);
    const std::string bytes = bytes_of(o);
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes == first, true) << name << ": other bits than in the first run";
  });
}

TEST_P(CudaOpCases, FloatAgreesWithReference) {
  const OpCase& c = GetParam();
  const Outcome exact = run(c, inputs_of(c, DType::f64));
  run_all(c, inputs_of(c, DType::f32),
          [&](const Outcome& o, const std::string& name) { expect_near(o, exact, c.tolerance, c.gradient_tolerance, name); });
}

TEST_P(CudaOpCases, PitchedRowsGiveTheSame) {
  const OpCase& c = GetParam();
  if (!c.pitched) GTEST_SKIP() << "this operation takes dense tensors only";
  const std::vector<Tensor> inputs = inputs_of(c, DType::f32);
  const Outcome exact = run(c, inputs_of(c, DType::f64));
  for_each_run([&](const std::string& name) {
    std::vector<Tensor> wide = on_device(inputs);
    for (size_t i = 0; i < wide.size(); ++i)
      if (i == 0 || wide[i].shape() == exact.y.shape()) wide[i] = pitched(wide[i]);
    expect_near(run(c, wide), exact, c.tolerance, c.gradient_tolerance, name);
  });
}

// Values only: gradients are kept in f32.
TEST_P(CudaOpCases, SixteenBitsAreComputedInFloat) {
  const OpCase& c = GetParam();
  const NoGrad no_grad;
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.004}, std::pair{DType::f16, 0.0005}}) {
    const std::vector<Tensor> narrow = inputs_of(c, dtype);
    std::vector<Tensor> wide;
    for (const Tensor& t : narrow) wide.push_back(t.to(DType::f64));
    const Tensor exact = c.run(wide);
    std::string first;
    for_each_run([&](const std::string& name) {
      const Tensor y = c.run(on_device(narrow));
      EXPECT_EQ(y.dtype(), dtype);
      EXPECT_LE(relative_l2(y.to(Device{}), exact), tolerance) << name << ", " << dtype;
      const std::string bytes = bytes_of(y);
      if (first.empty()) first = bytes;
      EXPECT_TRUE(bytes == first) << name << ", " << dtype << ": other bits than in the first run";
    });
  }
}

TEST(CudaCoverage, EverySlotHasAKernelThatATestReaches) {
  if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  std::map<std::string, uint64_t> before;
  kernels::for_each_slot([&](const auto& slot) { before[slot.name()] = slot.calls(); });
  for (const OpCase& c : op_cases()) run(c, on_device(inputs_of(c, DType::f32)));
  kernels::for_each_slot([&](const auto& slot) {
    const std::string name = slot.name();
    EXPECT_TRUE(slot.has(DeviceKind::cuda)) << name << " has no CUDA kernel";
    if (!tested_elsewhere().contains(name)) {
      EXPECT_GT(slot.calls(), before[name]) << name << " is used by no case: add one to tests/support/op_cases.cpp";
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Op, CudaOpCases, testing::ValuesIn(op_cases()), case_name);

}  // namespace
}  // namespace relume::test
