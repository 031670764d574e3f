// The optimiser on a CUDA device: what it computes on the CPU, and that a step waits for the device once.
#include "tensor/kernels/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/conv.h"
#include "autograd/reduce.h"
#include "tensor/cuda/context.h"
#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "train/adamw.h"

namespace relume::test {
namespace {

using kernels::AdamWStep, kernels::OptimizerTensors;

class CudaOptimizer : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

// Tensors of a number, of less and of more than a block takes, one without numbers, one without a gradient, and one whose
// gradient lies on no 16-byte boundary.
OptimizerTensors some_tensors(Device device, bool averages) {
  const auto numbers = [&](int64_t count, uint64_t seed, double low = -1) { return uniform({count}, seed, low, 1).to(device); };
  OptimizerTensors t;
  uint64_t seed = 0;
  for (const int64_t count : {1, 4, 1027, 40001, 0, 7, 30}) {
    t.parameters.push_back(numbers(count, ++seed)), t.first_moments.push_back(numbers(count, ++seed));
    t.second_moments.push_back(numbers(count, ++seed, 0));
    t.gradients.push_back(count == 7    ? Tensor()
                          : count == 30 ? numbers(count + 1, ++seed).slice(1, count + 1)
                                        : numbers(count, ++seed));
    if (averages) t.averages.push_back(numbers(count, ++seed));
  }
  return t;
}

std::vector<Tensor> all_of(const OptimizerTensors& t) {
  std::vector<Tensor> all;
  for (const std::vector<Tensor>* list : {&t.parameters, &t.first_moments, &t.second_moments, &t.averages})
    for (const Tensor& one : *list) all.push_back(one.to(Device{}));
  return all;
}

// Two steps, the second with other gradients, and the norm of each.
std::vector<Tensor> two_steps(Device device, bool averages, double clip_norm) {
  OptimizerTensors tensors = some_tensors(device, averages);
  std::vector<Tensor> norms;
  for (int64_t step = 3; step < 5; ++step) {
    const Tensor norm = Tensor::empty({1}, DType::f64, device);
    kernels::gradient_norm.on(device)(norm, tensors);
    kernels::adamw.on(device)(
        tensors, {.lr = 0.01, .weight_decay = 0.1, .step = step, .clip_norm = clip_norm, .average_decay = 0.9}, norm);
    norms.push_back(norm.to(Device{}));
    tensors.gradients[2] = tensors.gradients[2].clone(), tensors.gradients[3] = {};
  }
  std::vector<Tensor> all = all_of(tensors);
  all.insert(all.end(), norms.begin(), norms.end());
  return all;
}

TEST_F(CudaOptimizer, ComputesWhatTheCpuComputes) {
  for (const auto& [averages, clip_norm] : {std::pair{false, 0.0}, {true, 5.0}, {true, 1e6}}) {
    const std::vector<Tensor> host = two_steps({}, averages, clip_norm);
    std::vector<Tensor> first;
    for_each_run([&, averages = averages, clip_norm = clip_norm](const std::string& run) {
      const std::vector<Tensor> device = two_steps(cuda_device, averages, clip_norm);
      ASSERT_EQ(device.size(), host.size());
      for (size_t i = 0; i < host.size(); ++i) {
        if (host[i].numel() == 0) continue;
        if (i + 2 < host.size())  // numbers of size one, which the CPU may add up with other roundings
          EXPECT_LE(largest_difference(device[i], host[i]), 3e-7) << i << ", " << run;
        else
          EXPECT_LE(relative_l2(device[i], host[i]), 1e-13) << i << ", " << run;
        if (!first.empty()) {
          EXPECT_TRUE(same_bits(device[i], first[i])) << i << ": other bits than in the first run, " << run;
        }
      }
      first = device;
    });
  }
}

TEST_F(CudaOptimizer, NothingChangesUnlessEveryNumberIsFinite) {
  const OptimizerTensors tensors = some_tensors(cuda_device, true);
  const std::vector<Tensor> before = all_of(tensors);
  for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), std::nan("")})
    for (const size_t at : {0, 1, 2}) {
      std::vector<double> numbers{1, 2, 3};
      numbers[at] = bad;
      kernels::adamw.on(cuda_device)(tensors, {.average_decay = 0.5}, Tensor::of<double>({3}, numbers).to(cuda_device));
      const std::vector<Tensor> after = all_of(tensors);
      for (size_t i = 0; i < before.size(); ++i)
        EXPECT_TRUE(same_bits(after[i], before[i])) << i << " for " << bad << " at " << at;
    }
}

TEST_F(CudaOptimizer, TheNormOfNothingIsZero) {
  const Tensor norm = Tensor::full({1}, 7, DType::f64, cuda_device);
  kernels::gradient_norm.on(cuda_device)(norm, {});
  EXPECT_EQ(norm.item(), 0);
}

TEST_F(CudaOptimizer, RefusesDoublePrecision) {
  const Tensor norm = Tensor::zeros({1}, DType::f64, cuda_device), p = Tensor::zeros({2}, DType::f64, cuda_device);
  EXPECT_HAS(input_error([&] {
               kernels::gradient_norm.on(cuda_device)(norm, {{p}, {p}, {p}, {p}, {}});
             }),
             "optimiser: on cuda:0 expects f32, got f64 cuda:0 [2]");
}

// Some steps of a convolution that learns another: the loss of each, and how often the host waited for the device.
struct Course {
  std::vector<double> losses;
  std::vector<int64_t> waits;
};
Course trained(Device device) {
  const auto there = [&](const Tensor& t) { return t.to(device); };
  const Tensor w = require_grad(there(uniform({4, 3, 3, 3}, 1))), b = require_grad(there(uniform({4}, 2)));
  const Tensor x = there(uniform({2, 6, 5, 3}, 3)), y = there(uniform({2, 6, 5, 4}, 4));
  AdamW optimiser({{"w", w}, {"b", b}}, {.lr = 0.05, .clip_norm = 20});
  const WeightAverage average(optimiser.parameters(), 0.9);
  Course course;
  for (int step = 0; step < 5; ++step) {
    const int64_t waits = cuda::host_waits();
    optimiser.clear_gradients();
    const Tensor loss = sum_squared_error(conv2d(x, w, b, kernels::ConvOptions::same(3), gelu_activation), y);
    backward(loss);
    course.losses.push_back(optimiser.step(0.05, std::vector{loss.detach()}, &average).losses.at(0));
    course.waits.push_back(cuda::host_waits() - waits);
  }
  return course;
}

TEST_F(CudaOptimizer, AStepWaitsForTheDeviceOnce) {
  const Course host = trained({});
  EXPECT_LT(host.losses.back(), host.losses.front());
  for_each_run([&](const std::string& run) {
    const Course device = trained(cuda_device);
    EXPECT_EQ(device.waits, std::vector<int64_t>(5, 1)) << run;
    for (size_t i = 0; i < host.losses.size(); ++i)
      EXPECT_NEAR(device.losses[i], host.losses[i], 1e-5 * host.losses[i]) << "step " << i << ", " << run;
  });
}

}  // namespace
}  // namespace relume::test
